/* The methods of Python's str, list, tuple and dict that templates may call. Those that change a list or dictionary are
 * kept from templates by jinja2's sandbox: there is nothing of that name. */
#include "harness/model/jinja_parts.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- str ------------------------------------------------------------------------------------------------------- */

static bool is_text(sf_jrun *r, sf_jvalue v, const char *method)
{
    if (v.kind == SF_J_TEXT) return r->status == SF_OK;
    sf_jinja_fail(r, SF_BAD_INPUT, "%s: expected a text, found '%s'", method, sf_jinja_type(v));
    return false;
}

static sf_jvalue strip(sf_jrun *r, sf_jargs *a, int sides)
{
    bool given = a->has[0] && a->arg[0].kind != SF_J_NONE;
    if (given && !is_text(r, a->arg[0], "strip()")) return sf_jinja_none();
    return sf_jinja_strip(r, a->self, given ? &a->arg[0] : NULL, sides);
}

static sf_jvalue both(sf_jrun *r, sf_jargs *a) { return strip(r, a, SF_J_LEFT | SF_J_RIGHT); }
static sf_jvalue left(sf_jrun *r, sf_jargs *a) { return strip(r, a, SF_J_LEFT); }
static sf_jvalue right(sf_jrun *r, sf_jargs *a) { return strip(r, a, SF_J_RIGHT); }

static sf_jvalue cut(sf_jrun *r, sf_jargs *a, bool from_right)
{
    bool given = a->has[0] && a->arg[0].kind != SF_J_NONE;
    if (given && !is_text(r, a->arg[0], "split()")) return sf_jinja_none();
    int64_t most = sf_jinja_whole_or(r, a, 1, -1);
    return sf_jinja_listed(SF_J_LIST, sf_jinja_split(r, a->self, given ? &a->arg[0] : NULL, most, from_right));
}

static sf_jvalue split(sf_jrun *r, sf_jargs *a) { return cut(r, a, false); }
static sf_jvalue rsplit(sf_jrun *r, sf_jargs *a) { return cut(r, a, true); }

static sf_jvalue splitlines(sf_jrun *r, sf_jargs *a)
{
    return sf_jinja_listed(SF_J_LIST, sf_jinja_lines(r, a->self, a->has[0] && sf_jinja_true(a->arg[0])));
}

static sf_jvalue around(sf_jrun *r, sf_jargs *a, bool from_right)
{
    sf_jlist *l = sf_jinja_list(r, 3);
    if (!is_text(r, a->arg[0], "partition()") || !l) return sf_jinja_none();
    sf_jlist *two = sf_jinja_split(r, a->self, &a->arg[0], 1, from_right);
    bool found = two && two->items == 2;
    sf_jvalue nothing = sf_jinja_text("", 0);
    sf_jinja_append(r, l, found ? two->item[0] : from_right ? nothing : a->self);
    sf_jinja_append(r, l, found ? a->arg[0] : nothing);
    sf_jinja_append(r, l, found ? two->item[1] : from_right ? a->self : nothing);
    return sf_jinja_listed(SF_J_TUPLE, l);
}

static sf_jvalue partition(sf_jrun *r, sf_jargs *a) { return around(r, a, false); }
static sf_jvalue rpartition(sf_jrun *r, sf_jargs *a) { return around(r, a, true); }

/* The part of the text between the characters that arguments 1 and 2 number; false: there is no such part. */
static bool window(sf_jrun *r, const sf_jargs *a, sf_jvalue *out, int64_t *skipped)
{
    int64_t n = a->has[1] || a->has[2] ? (int64_t)sf_jinja_letters(a->self) : INT64_MAX;
    int64_t from = sf_jinja_whole_or(r, a, 1, 0), to = sf_jinja_whole_or(r, a, 2, n);
    *skipped = 0;
    *out = a->self;
    if (n == INT64_MAX) return r->status == SF_OK;
    if (from < 0) from = from + n < 0 ? 0 : from + n;
    if (to < 0) to = to + n < 0 ? 0 : to + n;
    if (to > n) to = n;
    if (from > to || r->status != SF_OK) return false;
    size_t begin = 0, end;
    for (int64_t i = 0; i < from; i++)
        begin += (size_t)sf_jinja_letter(a->self.text.at + begin, a->self.text.bytes - begin);
    end = begin;
    for (int64_t i = from; i < to; i++) end += (size_t)sf_jinja_letter(a->self.text.at + end, a->self.text.bytes - end);
    *out = sf_jinja_part(a->self, begin, end);
    *skipped = from;
    return true;
}

static bool has_end(sf_jvalue text, sf_jvalue part, bool at_start)
{
    if (part.text.bytes > text.text.bytes) return false;
    const char *at = at_start ? text.text.at : text.text.at + text.text.bytes - part.text.bytes;
    return !part.text.bytes || !memcmp(at, part.text.at, part.text.bytes);
}

static sf_jvalue has_an_end(sf_jrun *r, sf_jargs *a, bool at_start)
{
    sf_jvalue text;
    int64_t skipped;
    bool there = window(r, a, &text, &skipped), found = false;
    if (a->arg[0].kind != SF_J_TUPLE) {
        if (is_text(r, a->arg[0], at_start ? "startswith()" : "endswith()")) found = has_end(text, a->arg[0], at_start);
    } else {
        for (size_t i = 0; i < a->arg[0].list->items && !found; i++)
            found =
                is_text(r, a->arg[0].list->item[i], "startswith()") && has_end(text, a->arg[0].list->item[i], at_start);
    }
    return sf_jinja_bool(there && found);
}

static sf_jvalue startswith(sf_jrun *r, sf_jargs *a) { return has_an_end(r, a, true); }
static sf_jvalue endswith(sf_jrun *r, sf_jargs *a) { return has_an_end(r, a, false); }

/* The character at which the part begins; -1: it is not in it. */
static int64_t found_at(sf_jrun *r, sf_jargs *a, bool last)
{
    sf_jvalue text;
    int64_t skipped;
    if (!is_text(r, a->arg[0], "find()") || !window(r, a, &text, &skipped)) return -1;
    const char *found = NULL;
    if (last && !a->arg[0].text.bytes) {
        found = text.text.at + text.text.bytes;
    } else if (last) {
        const sf_jlist *two = sf_jinja_split(r, text, &a->arg[0], 1, true);
        if (two && two->items == 2) found = text.text.at + two->item[0].text.bytes;
    } else {
        found = sf_jinja_search(r, text, 0, a->arg[0]);
    }
    if (!found) return -1;
    return skipped + (int64_t)sf_jinja_letters(sf_jinja_text(text.text.at, (size_t)(found - text.text.at)));
}

static sf_jvalue find(sf_jrun *r, sf_jargs *a) { return sf_jinja_int(found_at(r, a, false)); }
static sf_jvalue rfind(sf_jrun *r, sf_jargs *a) { return sf_jinja_int(found_at(r, a, true)); }

static sf_jvalue required(sf_jrun *r, int64_t at)
{
    if (at < 0) sf_jinja_fail(r, SF_BAD_INPUT, "index(): not found");
    return sf_jinja_int(at);
}

static sf_jvalue text_index(sf_jrun *r, sf_jargs *a) { return required(r, found_at(r, a, false)); }
static sf_jvalue text_rindex(sf_jrun *r, sf_jargs *a) { return required(r, found_at(r, a, true)); }

static sf_jvalue text_count(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text;
    int64_t skipped, n = 0;
    if (!is_text(r, a->arg[0], "count()") || !window(r, a, &text, &skipped)) return sf_jinja_int(0);
    if (!a->arg[0].text.bytes) return sf_jinja_int((int64_t)sf_jinja_letters(text) + 1);
    const char *found;
    for (size_t at = 0; (found = sf_jinja_search(r, text, at, a->arg[0])); n++)
        at = (size_t)(found - text.text.at) + a->arg[0].text.bytes;
    return sf_jinja_int(n);
}

static sf_jvalue replace(sf_jrun *r, sf_jargs *a)
{
    if (!is_text(r, a->arg[0], "replace()") || !is_text(r, a->arg[1], "replace()")) return sf_jinja_none();
    return sf_jinja_replace(r, a->self, a->arg[0], a->arg[1], sf_jinja_whole_or(r, a, 2, -1));
}

static sf_jvalue join(sf_jrun *r, sf_jargs *a)
{
    const sf_jlist *items = sf_jinja_items(r, a->arg[0]);
    for (size_t i = 0; i < items->items; i++)
        if (!is_text(r, items->item[i], "join()")) return sf_jinja_none();
    return sf_jinja_join(r, a->self, items);
}

static sf_jvalue without(sf_jrun *r, sf_jargs *a, bool at_start)
{
    if (!is_text(r, a->arg[0], "removeprefix()") || !has_end(a->self, a->arg[0], at_start)) return a->self;
    size_t n = a->arg[0].text.bytes, all = a->self.text.bytes;
    return at_start ? sf_jinja_part(a->self, n, all) : sf_jinja_part(a->self, 0, all - n);
}

static sf_jvalue removeprefix(sf_jrun *r, sf_jargs *a) { return without(r, a, true); }
static sf_jvalue removesuffix(sf_jrun *r, sf_jargs *a) { return without(r, a, false); }

static sf_jvalue upper(sf_jrun *r, sf_jargs *a) { return sf_jinja_cased(r, a->self, SF_J_UPPER); }
static sf_jvalue lower(sf_jrun *r, sf_jargs *a) { return sf_jinja_cased(r, a->self, SF_J_LOWER); }
static sf_jvalue title(sf_jrun *r, sf_jargs *a) { return sf_jinja_cased(r, a->self, SF_J_TITLE); }
static sf_jvalue capitalize(sf_jrun *r, sf_jargs *a) { return sf_jinja_cased(r, a->self, SF_J_CAPITALIZE); }
static sf_jvalue swapcase(sf_jrun *r, sf_jargs *a) { return sf_jinja_cased(r, a->self, SF_J_SWAPCASE); }

static sf_jvalue padded(sf_jrun *r, sf_jargs *a, bool before, bool behind)
{
    int64_t width = sf_jinja_whole_or(r, a, 0, 0), missing = width - (int64_t)sf_jinja_letters(a->self);
    sf_jvalue with = a->has[1] ? a->arg[1] : sf_jinja_text(" ", 1);
    if (!is_text(r, with, "padding") || missing <= 0) return a->self;
    int64_t first = before && behind ? missing / 2 + (missing & width & 1) : before ? missing : 0;
    sf_jbuffer b = {0};
    for (int64_t i = 0; i < first && sf_jinja_step(r, 1); i++) sf_jinja_put_text(r, &b, with);
    sf_jinja_put_text(r, &b, a->self);
    for (int64_t i = first; i < missing && sf_jinja_step(r, 1); i++) sf_jinja_put_text(r, &b, with);
    return sf_jinja_made(&b);
}

static sf_jvalue ljust(sf_jrun *r, sf_jargs *a) { return padded(r, a, false, true); }
static sf_jvalue rjust(sf_jrun *r, sf_jargs *a) { return padded(r, a, true, false); }
static sf_jvalue center(sf_jrun *r, sf_jargs *a) { return padded(r, a, true, true); }

/* What the characters of a text are; each test is over all of them. */
typedef enum letters { SPACE, ASCII, ALPHA, DIGIT, ALNUM, LOWER, UPPER } letters;

static bool is_one(sf_jrun *r, int32_t c, letters what, bool *cased)
{
    bool low = c >= 'a' && c <= 'z', up = c >= 'A' && c <= 'Z', digit = c >= '0' && c <= '9';
    *cased = *cased || low || up;
    if (what == SPACE) return sf_jinja_space(c);
    if (what == ASCII) return c < 0x80;
    if (c >= 0x80) {
        utf8proc_category_t k = utf8proc_category(c);
        bool letter = k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO, number = k == UTF8PROC_CATEGORY_ND;
        bool known =
            what == ALPHA || (what == DIGIT && k != UTF8PROC_CATEGORY_NO) || (what == ALNUM && (letter || number));
        if (!known) sf_jinja_fail(r, SF_UNSUPPORTED, "asking what kind of character U+%04X is", (unsigned)c);
        return what == ALPHA ? letter : what == DIGIT ? number : true;
    }
    switch (what) {
    case ALPHA:
        return low || up;
    case DIGIT:
        return digit;
    case ALNUM:
        return low || up || digit;
    case LOWER:
        return !up;
    default:
        return !low;
    }
}

static sf_jvalue all_are(sf_jrun *r, sf_jargs *a, letters what)
{
    bool all = a->self.text.bytes || what == ASCII, cased = false;
    for (size_t at = 0, n; all && at < a->self.text.bytes && sf_jinja_step(r, 1); at += n) {
        n = (size_t)sf_jinja_letter(a->self.text.at + at, a->self.text.bytes - at);
        all = is_one(r, sf_jinja_point(a->self.text.at + at, n), what, &cased);
    }
    return sf_jinja_bool(all && (cased || (what != LOWER && what != UPPER)));
}

static sf_jvalue isspace_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, SPACE); }
static sf_jvalue isascii_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, ASCII); }
static sf_jvalue isalpha_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, ALPHA); }
static sf_jvalue isdigit_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, DIGIT); }
static sf_jvalue isalnum_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, ALNUM); }
static sf_jvalue islower_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, LOWER); }
static sf_jvalue isupper_(sf_jrun *r, sf_jargs *a) { return all_are(r, a, UPPER); }

static const sf_jrow OF_TEXT[] = {
    {"strip", "/ chars?", both},
    {"lstrip", "/ chars?", left},
    {"rstrip", "/ chars?", right},
    {"split", "sep? maxsplit?", split},
    {"rsplit", "sep? maxsplit?", rsplit},
    {"splitlines", "keepends?", splitlines},
    {"startswith", "/ prefix start? end?", startswith},
    {"endswith", "/ suffix start? end?", endswith},
    {"replace", "/ old new count?", replace},
    {"join", "/ iterable", join},
    {"format", "* **", sf_jinja_format_fields},
    {"upper", "", upper},
    {"lower", "", lower},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"swapcase", "", swapcase},
    {"find", "/ sub start? end?", find},
    {"rfind", "/ sub start? end?", rfind},
    {"index", "/ sub start? end?", text_index},
    {"rindex", "/ sub start? end?", text_rindex},
    {"count", "/ sub start? end?", text_count},
    {"partition", "/ sep", partition},
    {"rpartition", "/ sep", rpartition},
    {"removeprefix", "/ prefix", removeprefix},
    {"removesuffix", "/ suffix", removesuffix},
    {"ljust", "/ width fillchar?", ljust},
    {"rjust", "/ width fillchar?", rjust},
    {"center", "/ width fillchar?", center},
    {"isspace", "", isspace_},
    {"isascii", "", isascii_},
    {"isalpha", "", isalpha_},
    {"isdigit", "", isdigit_},
    {"isalnum", "", isalnum_},
    {"islower", "", islower_},
    {"isupper", "", isupper_},
    {"casefold", NULL, NULL},
    {"encode", NULL, NULL},
    {"expandtabs", NULL, NULL},
    {"format_map", NULL, NULL},
    {"isdecimal", NULL, NULL},
    {"isidentifier", NULL, NULL},
    {"isnumeric", NULL, NULL},
    {"isprintable", NULL, NULL},
    {"istitle", NULL, NULL},
    {"maketrans", NULL, NULL},
    {"translate", NULL, NULL},
    {"zfill", NULL, NULL},
    {NULL, NULL, NULL},
};

/* ---- list, tuple, dict ----------------------------------------------------------------------------------------- */

static sf_jvalue list_count(sf_jrun *r, sf_jargs *a)
{
    int64_t n = 0;
    for (size_t i = 0; i < a->self.list->items && r->status == SF_OK; i++)
        n += sf_jinja_equal(r, a->self.list->item[i], a->arg[0]);
    return sf_jinja_int(n);
}

static sf_jvalue list_index(sf_jrun *r, sf_jargs *a)
{
    for (size_t i = 0; i < a->self.list->items && r->status == SF_OK; i++)
        if (sf_jinja_equal(r, a->self.list->item[i], a->arg[0])) return sf_jinja_int((int64_t)i);
    return required(r, -1);
}

static sf_jvalue same(sf_jrun *r, sf_jargs *a) /* copy(): nothing can change either of them */
{
    (void)r;
    return a->self;
}

static const sf_jrow OF_LIST[] = {
    {"count", "/ value", list_count}, {"index", "/ value", list_index}, {"copy", "", same}, {NULL, NULL, NULL}};
static const sf_jrow OF_TUPLE[] = {
    {"count", "/ value", list_count}, {"index", "/ value", list_index}, {NULL, NULL, NULL}};
static const sf_jrow OF_RANGE[] = {{"count", "/ value", list_count},
                                   {"index", "/ value", list_index},
                                   {"start", NULL, NULL},
                                   {"stop", NULL, NULL},
                                   {"step", NULL, NULL},
                                   {NULL, NULL, NULL}};

static sf_jvalue get(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue v;
    if (sf_jinja_find(r, a->self.dict, a->arg[0], &v)) return v;
    return a->has[1] ? a->arg[1] : sf_jinja_none();
}

static sf_jvalue view(sf_jrun *r, const sf_jdict *d, bool keys, bool values)
{
    sf_jlist *l = sf_jinja_list(r, d->items);
    for (size_t i = 0; i < d->items && r->status == SF_OK; i++) {
        sf_jlist *pair = keys && values ? sf_jinja_list(r, 2) : NULL;
        if (pair) sf_jinja_append(r, pair, d->key[i]), sf_jinja_append(r, pair, d->value[i]);
        sf_jinja_append(r, l, pair ? sf_jinja_listed(SF_J_TUPLE, pair) : keys ? d->key[i] : d->value[i]);
    }
    return sf_jinja_listed(SF_J_VIEW, l);
}

static sf_jvalue keys(sf_jrun *r, sf_jargs *a) { return view(r, a->self.dict, true, false); }
static sf_jvalue values(sf_jrun *r, sf_jargs *a) { return view(r, a->self.dict, false, true); }
static sf_jvalue items(sf_jrun *r, sf_jargs *a) { return view(r, a->self.dict, true, true); }

static const sf_jrow OF_DICT[] = {{"get", "/ key default?", get},
                                  {"keys", "", keys},
                                  {"values", "", values},
                                  {"items", "", items},
                                  {"copy", "", same},
                                  {"fromkeys", NULL, NULL},
                                  {NULL, NULL, NULL}};

static const sf_jrow OF_NUMBER[] = {{"real", NULL, NULL},       {"imag", NULL, NULL},
                                    {"numerator", NULL, NULL},  {"denominator", NULL, NULL},
                                    {"conjugate", NULL, NULL},  {"bit_length", NULL, NULL},
                                    {"bit_count", NULL, NULL},  {"to_bytes", NULL, NULL},
                                    {"from_bytes", NULL, NULL}, {"as_integer_ratio", NULL, NULL},
                                    {"is_integer", NULL, NULL}, {"hex", NULL, NULL},
                                    {"fromhex", NULL, NULL},    {NULL, NULL, NULL}};

static const sf_jrow OF_MACRO[] = {{"name", NULL, NULL},         {"arguments", NULL, NULL},
                                   {"catch_kwargs", NULL, NULL}, {"catch_varargs", NULL, NULL},
                                   {"caller", NULL, NULL},       {NULL, NULL, NULL}};

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static bool kept_away(sf_jvalue of, const char *name)
{
    static const char *const list[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort", NULL};
    static const char *const dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    const char *const *words = of.kind == SF_J_LIST ? list : of.kind == SF_J_DICT ? dict : NULL;
    for (; words && *words; words++)
        if (!strcmp(*words, name)) return true;
    return false;
}

bool sf_jinja_method(sf_jrun *r, sf_jvalue of, const char *name, sf_jvalue *out)
{
    static const sf_jrow *const of_kind[] = {
        [SF_J_BOOL] = OF_NUMBER, [SF_J_INT] = OF_NUMBER,  [SF_J_FLOAT] = OF_NUMBER, [SF_J_TEXT] = OF_TEXT,
        [SF_J_LIST] = OF_LIST,   [SF_J_TUPLE] = OF_TUPLE, [SF_J_RANGE] = OF_RANGE,  [SF_J_DICT] = OF_DICT,
        [SF_J_MACRO] = OF_MACRO, [SF_J_JOINER] = NULL};
    if (kept_away(of, name)) return *out = sf_jinja_undefined("what changes a list or dictionary"), true;
    const sf_jrow *row = of_kind[of.kind] ? sf_jinja_row(of_kind[of.kind], name) : NULL;
    if (!row) return false;
    if (of.kind == SF_J_TEXT && of.safe) sf_jinja_fail(r, SF_UNSUPPORTED, "a method of a text that is marked as safe");
    if (!row->call && (of_kind[of.kind] == OF_NUMBER || of.kind == SF_J_MACRO || of.kind == SF_J_RANGE))
        sf_jinja_fail(r, SF_UNSUPPORTED, "the attribute '%s' of a value of type '%s'", name, sf_jinja_type(of));
    sf_jbound *b = sf_jinja_take(r, sizeof *b);
    if (!b) return *out = sf_jinja_none(), true;
    *b = (sf_jbound){of, row};
    *out = (sf_jvalue){.kind = SF_J_METHOD, .method = b};
    return true;
}
