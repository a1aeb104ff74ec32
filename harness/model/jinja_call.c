/* Arguments to parameters, the global functions, and the objects that only Jinja has: loop, namespace, cycler, joiner.
 */
#include "harness/model/jinja_parts.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const sf_jrow *sf_jinja_row(const sf_jrow *table, const char *name)
{
    for (; table->name; table++)
        if (!strcmp(table->name, name)) return table;
    return NULL;
}

/* ---- arguments ------------------------------------------------------------------------------------------------- */

/* The next word of a parameter list; its length in *n. NULL: none is left. */
static const char *next_word(const char **at, size_t *n)
{
    *at += strspn(*at, " ");
    const char *word = *at;
    *n = strcspn(word, " ");
    *at += *n;
    return *n ? word : NULL;
}

static bool take_named(sf_jrun *r, sf_jdict *named, const char *word, size_t n, sf_jvalue *out)
{
    for (size_t i = 0; named && i < named->items && r->status == SF_OK; i++) {
        sf_jvalue key = named->key[i];
        if (key.kind != SF_J_TEXT || key.text.bytes != n || memcmp(key.text.at, word, n)) continue;
        *out = named->value[i];
        named->items--;
        memmove(named->key + i, named->key + i + 1, (named->items - i) * sizeof key);
        memmove(named->value + i, named->value + i + 1, (named->items - i) * sizeof key);
        return true;
    }
    return false;
}

sf_jvalue sf_jinja_apply(sf_jrun *r, const char *kind, const sf_jrow *row, sf_jvalue self, sf_jgiven given)
{
    if (r->status != SF_OK) return sf_jinja_none();
    if (!row->call) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "the %s '%s'", kind, row->name);
        return sf_jinja_none();
    }
    sf_jargs a = {.self = self};
    const char *at = row->params ? row->params : "", *word;
    size_t n, plain = given.plain ? given.plain->items : 0, used = 0;
    bool any_more = false, any_named = false, by_position = false, optional = false;
    for (int slot = 0; (word = next_word(&at, &n));) {
        if (*word == '/') {
            by_position = true;
            continue;
        }
        if (*word == '*') {
            *(n == 1 ? &any_more : &any_named) = true;
            continue;
        }
        if (word[n - 1] == '?') optional = true, n--;
        a.has[slot] = used < plain;
        if (a.has[slot])
            a.arg[slot] = given.plain->item[used++];
        else if (!by_position)
            a.has[slot] = take_named(r, given.named, word, n, &a.arg[slot]);
        if (!a.has[slot] && !optional) {
            sf_jinja_fail(r, SF_BAD_INPUT, "the %s '%s' needs an argument '%.*s'", kind, row->name, (int)n, word);
            return sf_jinja_none();
        }
        slot++;
    }
    if ((used < plain && !any_more) || (given.named && given.named->items && !any_named)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "the %s '%s' takes no such argument, or not so many", kind, row->name);
        return sf_jinja_none();
    }
    a.rest.named = given.named;
    if (any_more) {
        a.rest.plain = sf_jinja_list(r, plain - used);
        for (; used < plain; used++) sf_jinja_append(r, a.rest.plain, given.plain->item[used]);
    }
    return r->status == SF_OK ? row->call(r, &a) : sf_jinja_none();
}

int64_t sf_jinja_whole_or(sf_jrun *r, const sf_jargs *a, int i, int64_t otherwise)
{
    if (!a->has[i] || a->arg[i].kind == SF_J_NONE) return otherwise;
    if (sf_jinja_is_int(a->arg[i])) return sf_jinja_whole(a->arg[i]);
    sf_jinja_fail(r, SF_BAD_INPUT, "expected an integer, found '%s'", sf_jinja_type(a->arg[i]));
    return otherwise;
}

/* ---- functions ------------------------------------------------------------------------------------------------- */

static sf_jvalue raise_exception(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text = sf_jinja_str(r, a->arg[0]);
    int n = text.text.bytes < 600 ? (int)text.text.bytes : 600;
    sf_jinja_fail(r, SF_BAD_INPUT, "the template refuses the conversation: %.*s", n, text.text.at);
    return sf_jinja_none();
}

static sf_jvalue range(sf_jrun *r, sf_jargs *a)
{
    enum { MOST = 100000 }; /* jinja2's sandbox has the same */
    int64_t number[3] = {0, 0, 1};
    for (int i = 0; i < 3 && a->has[i]; i++) {
        if (!sf_jinja_is_int(a->arg[i])) {
            sf_jinja_fail(r, SF_BAD_INPUT, "range(): expected integers, found '%s'", sf_jinja_type(a->arg[i]));
            return sf_jinja_none();
        }
        number[i] = sf_jinja_whole(a->arg[i]);
    }
    if (!a->has[1]) number[1] = number[0], number[0] = 0;
    int64_t step = number[2];
    if (step == 0) sf_jinja_fail(r, SF_BAD_INPUT, "range() with steps of 0");
    sf_jlist *l = sf_jinja_list(r, 0);
    for (int64_t i = number[0]; (step > 0 ? i < number[1] : i > number[1]) && r->status == SF_OK;) {
        sf_jinja_append(r, l, sf_jinja_int(i));
        if (l && l->items > MOST) sf_jinja_fail(r, SF_BAD_INPUT, "range() of more than %d numbers", MOST);
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return sf_jinja_listed(SF_J_RANGE, l);
}

/* dict(…) and namespace(…): a mapping or pairs, then named ones. */
static sf_jdict *new_dict(sf_jrun *r, sf_jargs *a)
{
    sf_jdict *d = sf_jinja_dict(r);
    sf_jvalue from = a->arg[0];
    if (a->has[0] && from.kind == SF_J_DICT) {
        for (size_t i = 0; i < from.dict->items; i++) sf_jinja_put_key(r, d, from.dict->key[i], from.dict->value[i]);
    } else if (a->has[0]) {
        const sf_jlist *pairs = sf_jinja_items(r, from);
        for (size_t i = 0; i < pairs->items && r->status == SF_OK; i++) {
            const sf_jlist *pair = sf_jinja_items(r, pairs->item[i]);
            if (pair->items != 2)
                sf_jinja_fail(r, SF_BAD_INPUT, "dict(): expected pairs");
            else
                sf_jinja_put_key(r, d, pair->item[0], pair->item[1]);
        }
    }
    for (size_t i = 0; a->rest.named && i < a->rest.named->items; i++)
        sf_jinja_put_key(r, d, a->rest.named->key[i], a->rest.named->value[i]);
    return d;
}

static sf_jvalue dict(sf_jrun *r, sf_jargs *a)
{
    sf_jdict *d = new_dict(r, a);
    return d ? (sf_jvalue){.kind = SF_J_DICT, .dict = d} : sf_jinja_none();
}

static sf_jvalue namespace(sf_jrun *r, sf_jargs *a)
{
    sf_jdict *d = new_dict(r, a);
    return d ? (sf_jvalue){.kind = SF_J_NAMESPACE, .dict = d} : sf_jinja_none();
}

static sf_jvalue cycler(sf_jrun *r, sf_jargs *a)
{
    if (!a->rest.plain->items) sf_jinja_fail(r, SF_BAD_INPUT, "cycler() without items");
    sf_jturn *t = sf_jinja_take(r, sizeof *t);
    if (!t) return sf_jinja_none();
    t->items = a->rest.plain;
    return (sf_jvalue){.kind = SF_J_CYCLER, .turn = t};
}

static sf_jvalue joiner(sf_jrun *r, sf_jargs *a)
{
    sf_jturn *t = sf_jinja_take(r, sizeof *t);
    if (!t) return sf_jinja_none();
    t->separator = a->has[0] ? a->arg[0] : sf_jinja_text(", ", 2);
    return (sf_jvalue){.kind = SF_J_JOINER, .turn = t};
}

/* The C locale's names are English, as in the Python that renders templates. */
static sf_jvalue strftime_now(sf_jrun *r, sf_jargs *a)
{
    struct tm day = {0};
    char out[256], format[128];
    sf_jvalue text = a->arg[0];
    r->used_date = true;
    if (sscanf(r->input->date, "%4d-%2d-%2d", &day.tm_year, &day.tm_mon, &day.tm_mday) != 3) {
        sf_jinja_fail(r, SF_BAD_INPUT, "date: expected YYYY-MM-DD, found %.40s", r->input->date);
        return sf_jinja_none();
    }
    if (text.kind != SF_J_TEXT || text.text.bytes >= sizeof format) {
        sf_jinja_fail(r, SF_BAD_INPUT, "strftime_now(): expected a format of up to %zu letters", sizeof format - 1);
        return sf_jinja_none();
    }
    memcpy(format, text.text.at, text.text.bytes);
    format[text.text.bytes] = 0;
    for (const char *p = strchr(format, '%'); p; p = p[1] ? strchr(p + 2, '%') : NULL)
        if (!p[1] || !strchr("aAbBdHIjmMpSuUwWyYFT%-e", p[1])) {
            sf_jinja_fail(r, SF_UNSUPPORTED, "strftime_now('%.60s')", format);
            return sf_jinja_none();
        }
    day.tm_year -= 1900;
    day.tm_mon -= 1;
    day.tm_isdst = 0;
    timegm(&day); /* fills the day of the week and of the year */
    size_t n = format[0] ? strftime(out, sizeof out, format, &day) : 0;
    char *made = sf_jinja_take(r, n + 1);
    if (!made) return sf_jinja_none();
    memcpy(made, out, n);
    return sf_jinja_text(made, n);
}

const sf_jrow sf_jinja_functions[] = {
    {"raise_exception", "message", raise_exception},
    {"strftime_now", "format", strftime_now},
    {"range", "/ start stop? step?", range},
    {"dict", "/ mapping? **", dict},
    {"namespace", "/ mapping? **", namespace},
    {"cycler", "*", cycler},
    {"joiner", "sep?", joiner},
    {"lipsum", NULL, NULL},
    {"self", NULL, NULL},
    {NULL, NULL, NULL},
};

/* ---- loop, namespace, cycler ----------------------------------------------------------------------------------- */

static sf_jvalue bound_to(sf_jrun *r, sf_jvalue self, const sf_jrow *row)
{
    sf_jbound *b = sf_jinja_take(r, sizeof *b);
    if (!b) return sf_jinja_none();
    *b = (sf_jbound){self, row};
    return (sf_jvalue){.kind = SF_J_METHOD, .method = b};
}

static sf_jvalue loop_cycle(sf_jrun *r, sf_jargs *a)
{
    if (!a->rest.plain->items) {
        sf_jinja_fail(r, SF_BAD_INPUT, "loop.cycle() without items");
        return sf_jinja_none();
    }
    return a->rest.plain->item[a->self.loop->at % a->rest.plain->items];
}

static sf_jvalue loop_changed(sf_jrun *r, sf_jargs *a)
{
    sf_jloop *l = a->self.loop;
    sf_jvalue now = sf_jinja_listed(SF_J_TUPLE, a->rest.plain);
    bool same = l->has_seen && sf_jinja_equal(r, l->seen, now);
    l->seen = now;
    l->has_seen = true;
    return sf_jinja_bool(!same);
}

static sf_jvalue cycler_next(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    sf_jturn *t = a->self.turn;
    return t->items->item[t->at++ % t->items->items];
}

static sf_jvalue cycler_reset(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    a->self.turn->at = 0;
    return sf_jinja_none();
}

static bool loop_attribute(sf_jrun *r, sf_jvalue of, const char *name, sf_jvalue *out)
{
    static const sf_jrow cycle = {"cycle", "*", loop_cycle}, changed = {"changed", "*", loop_changed};
    static const char *const counts[] = {"index", "index0", "revindex", "revindex0", "length", "depth", "depth0"};
    const sf_jloop *l = of.loop;
    int64_t at = (int64_t)l->at, n = (int64_t)l->items->items;
    const int64_t count[] = {at + 1, at, n - at, n - at - 1, n, l->depth0 + 1, l->depth0};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!strcmp(name, counts[i])) return *out = sf_jinja_int(count[i]), true;
    if (!strcmp(name, "first")) return *out = sf_jinja_bool(at == 0), true;
    if (!strcmp(name, "last")) return *out = sf_jinja_bool(at == n - 1), true;
    if (!strcmp(name, "previtem"))
        return *out = at > 0 ? l->items->item[at - 1] : sf_jinja_undefined("there is no previous item"), true;
    if (!strcmp(name, "nextitem"))
        return *out = at + 1 < n ? l->items->item[at + 1] : sf_jinja_undefined("there is no next item"), true;
    if (!strcmp(name, "cycle")) return *out = bound_to(r, of, &cycle), true;
    if (!strcmp(name, "changed")) return *out = bound_to(r, of, &changed), true;
    return false;
}

bool sf_jinja_own_attribute(sf_jrun *r, sf_jvalue of, const char *name, sf_jvalue *out)
{
    static const sf_jrow next = {"next", "", cycler_next}, reset = {"reset", "", cycler_reset};
    if (of.kind == SF_J_LOOP) return loop_attribute(r, of, name, out);
    if (of.kind == SF_J_NAMESPACE) return sf_jinja_find(r, of.dict, sf_jinja_text(name, strlen(name)), out);
    if (of.kind != SF_J_CYCLER) return false;
    if (!strcmp(name, "next")) return *out = bound_to(r, of, &next), true;
    if (!strcmp(name, "reset")) return *out = bound_to(r, of, &reset), true;
    if (!strcmp(name, "current")) return *out = of.turn->items->item[of.turn->at % of.turn->items->items], true;
    return false;
}
