/* jinja2's filters of texts and numbers. */
#include "harness/model/jinja_parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------------------------- */

static sf_jvalue cased(sf_jrun *r, sf_jargs *a, sf_jcase how)
{
    return sf_jinja_cased(r, sf_jinja_str(r, a->self), how);
}
static sf_jvalue upper(sf_jrun *r, sf_jargs *a) { return cased(r, a, SF_J_UPPER); }
static sf_jvalue lower(sf_jrun *r, sf_jargs *a) { return cased(r, a, SF_J_LOWER); }
static sf_jvalue capitalize(sf_jrun *r, sf_jargs *a) { return cased(r, a, SF_J_CAPITALIZE); }

/* The first letter of each word large, the others small; unlike str.title() only spaces, - and ( { [ < end a word. */
static sf_jvalue title(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text = sf_jinja_str(r, a->self);
    sf_jbuffer b = {0};
    for (size_t at = 0, n, end; at < text.text.bytes && r->status == SF_OK; at = end) {
        for (end = at; end < text.text.bytes; end += n) {
            n = (size_t)sf_jinja_letter(text.text.at + end, text.text.bytes - end);
            int32_t c = sf_jinja_point(text.text.at + end, n);
            if (sf_jinja_space(c) || (c > 0 && c < 0x80 && strchr("-({[<", c))) break;
        }
        sf_jinja_put_text(r, &b, sf_jinja_cased(r, sf_jinja_part(text, at, end), SF_J_CAPITALIZE));
        if (end < text.text.bytes) sf_jinja_put_text(r, &b, sf_jinja_part(text, end, end + n)), end += n;
    }
    return sf_jinja_made(&b);
}

static sf_jvalue trim(sf_jrun *r, sf_jargs *a)
{
    bool given = a->has[0] && a->arg[0].kind != SF_J_NONE;
    if (given && a->arg[0].kind != SF_J_TEXT) sf_jinja_fail(r, SF_BAD_INPUT, "trim: expected a text of characters");
    return sf_jinja_strip(r, sf_jinja_str(r, a->self), given ? &a->arg[0] : NULL, SF_J_LEFT | SF_J_RIGHT);
}

static sf_jvalue string(sf_jrun *r, sf_jargs *a) { return sf_jinja_str(r, a->self); }

static sf_jvalue safe(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue v = sf_jinja_str(r, a->self);
    v.safe = true;
    return v;
}

static sf_jvalue escape(sf_jrun *r, sf_jargs *a) { return sf_jinja_escape(r, sf_jinja_str(r, a->self)); }

static bool flag(const sf_jargs *a, int i) { return a->has[i] && sf_jinja_true(a->arg[i]); }

static sf_jvalue replace(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue from = sf_jinja_str(r, a->arg[0]), to = sf_jinja_str(r, a->arg[1]);
    return sf_jinja_replace(r, sf_jinja_str(r, a->self), from, to, sf_jinja_whole_or(r, a, 2, -1));
}

static sf_jvalue indent(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text = sf_jinja_str(r, a->self), by = a->arg[0];
    sf_jbuffer b = {0}, spaces = {0};
    if (text.safe) sf_jinja_fail(r, SF_UNSUPPORTED, "indent of a text that is marked as safe");
    if (!a->has[0] || by.kind != SF_J_TEXT) {
        for (int64_t n = sf_jinja_whole_or(r, a, 0, 4); n > 0 && sf_jinja_step(r, 1); n--)
            sf_jinja_put_word(r, &spaces, " ");
        by = sf_jinja_made(&spaces);
    }
    sf_jbuffer closed = {0}; /* the last line is a line even if it is empty */
    sf_jinja_put_text(r, &closed, text);
    sf_jinja_put_word(r, &closed, "\n");
    const sf_jlist *lines = sf_jinja_lines(r, sf_jinja_made(&closed), false);
    for (size_t i = 0; lines && i < lines->items && r->status == SF_OK; i++) {
        if (i) sf_jinja_put_word(r, &b, "\n");
        if (i ? flag(a, 2) || lines->item[i].text.bytes : flag(a, 1)) sf_jinja_put_text(r, &b, by);
        sf_jinja_put_text(r, &b, lines->item[i]);
    }
    return sf_jinja_made(&b);
}

static sf_jvalue truncate_(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text = sf_jinja_str(r, a->self), end = a->has[2] ? sf_jinja_str(r, a->arg[2]) : sf_jinja_text("...", 3);
    int64_t length = sf_jinja_whole_or(r, a, 0, 255), leeway = sf_jinja_whole_or(r, a, 3, 5),
            marks = (int64_t)sf_jinja_letters(end);
    if (length < marks || leeway < 0) sf_jinja_fail(r, SF_UNSUPPORTED, "truncate to less than its end mark");
    if (r->status != SF_OK || (int64_t)sf_jinja_letters(text) <= length + leeway) return text;
    sf_jvalue part = sf_jinja_part(text, 0, sf_jinja_byte_of(text, length - marks)), space = sf_jinja_text(" ", 1);
    const sf_jlist *words = flag(a, 1) ? NULL : sf_jinja_split(r, part, &space, 1, true);
    sf_jbuffer b = {0};
    sf_jinja_put_text(r, &b, words && words->items ? words->item[0] : part);
    sf_jinja_put_text(r, &b, end);
    return sf_jinja_made(&b);
}

static sf_jvalue center(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue method, text = sf_jinja_str(r, a->self);
    sf_jlist *width = sf_jinja_list(r, 1);
    sf_jinja_append(r, width, sf_jinja_int(sf_jinja_whole_or(r, a, 0, 80)));
    if (r->status != SF_OK || !sf_jinja_method(r, text, "center", &method)) return text;
    return sf_jinja_call(r, method, (sf_jgiven){.plain = width});
}

/* ---- "…" % (…) ------------------------------------------------------------------------------------------------- */

static sf_jvalue format(sf_jrun *r, sf_jargs *a)
{
    sf_jgiven given = a->rest;
    if (given.named && !given.named->items) given.named = NULL;
    if (given.named && given.plain->items) {
        sf_jinja_fail(r, SF_BAD_INPUT, "format: named and unnamed values");
        return sf_jinja_none();
    }
    return sf_jinja_format(r, sf_jinja_str(r, a->self), given);
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

/* Python's float(text), or int(text, base) if `whole`. */
static bool parsed(sf_jrun *r, sf_jvalue text, bool whole, int base, sf_jvalue *out)
{
    char copy[400], *end;
    text = sf_jinja_strip(r, text, NULL, SF_J_LEFT | SF_J_RIGHT);
    size_t n = 0;
    for (size_t i = 0; i < text.text.bytes; i++) {
        char c = text.text.at[i];
        bool between = i && i + 1 < text.text.bytes && text.text.at[i - 1] != '_' && text.text.at[i + 1] != '_';
        if ((unsigned char)c >= 0x80) sf_jinja_fail(r, SF_UNSUPPORTED, "a number in digits beyond ASCII");
        if ((c == '_' && !between) || n == sizeof copy - 1 || sf_jinja_space(c) || !c) return false;
        if (c != '_') copy[n++] = c;
    }
    copy[n] = 0;
    const char *digits = copy + (*copy == '-' || *copy == '+');
    if (!n || *digits == '-' || *digits == '+') return false;
    errno = 0;
    if (whole) {
        *out = sf_jinja_int(strtoll(copy, &end, base));
        if (!*end && errno == ERANGE) sf_jinja_fail(r, SF_UNSUPPORTED, "an integer beyond 64 bits");
        return !*end && end != copy && (base == 10 || !strpbrk(digits, "xXoObB"));
    }
    if (strpbrk(digits, "xXpP(")) return false; /* C reads more than Python */
    *out = sf_jinja_float(strtod(copy, &end));
    return !*end && end != copy;
}

static sf_jvalue to_whole(sf_jrun *r, double f, sf_jvalue otherwise)
{
    if (!isfinite(f)) return otherwise;
    if (fabs(f) < 9.2e18) return sf_jinja_int((int64_t)f);
    sf_jinja_fail(r, SF_UNSUPPORTED, "an integer beyond 64 bits");
    return otherwise;
}

static bool refuse_undefined(sf_jrun *r, sf_jvalue v)
{
    if (v.kind == SF_J_UNDEFINED) sf_jinja_fail(r, SF_BAD_INPUT, "'%.100s' is undefined", v.name ? v.name : "?");
    return v.kind == SF_J_UNDEFINED;
}

static sf_jvalue to_int(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue otherwise = a->has[0] ? a->arg[0] : sf_jinja_int(0), v = a->self;
    int64_t base = sf_jinja_whole_or(r, a, 1, 10);
    if (refuse_undefined(r, v)) return otherwise;
    if (base < 2 || base > 36) sf_jinja_fail(r, SF_UNSUPPORTED, "int with base %lld", (long long)base);
    if (v.kind == SF_J_TEXT) {
        if (r->status == SF_OK && parsed(r, a->self, true, (int)base, &v)) return v;
        if (base != 10 && r->status == SF_OK && a->self.text.bytes > 1 && a->self.text.at[0] == '0')
            sf_jinja_fail(r, SF_UNSUPPORTED, "int of a number with a prefix");
        return parsed(r, a->self, false, 10, &v) ? to_whole(r, v.real, otherwise) : otherwise;
    }
    if (v.kind == SF_J_FLOAT) return to_whole(r, v.real, otherwise);
    return sf_jinja_is_int(v) ? sf_jinja_int(sf_jinja_whole(v)) : otherwise;
}

static sf_jvalue to_float(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue otherwise = a->has[0] ? a->arg[0] : sf_jinja_float(0), v;
    if (refuse_undefined(r, a->self)) return otherwise;
    if (a->self.kind == SF_J_TEXT) return parsed(r, a->self, false, 10, &v) ? v : otherwise;
    return sf_jinja_is_number(a->self) ? sf_jinja_float(sf_jinja_real(a->self)) : otherwise;
}

static sf_jvalue absolute(sf_jrun *r, sf_jargs *a)
{
    if (a->self.kind == SF_J_FLOAT) return sf_jinja_float(fabs(a->self.real));
    if (!sf_jinja_is_int(a->self) || sf_jinja_whole(a->self) == INT64_MIN) {
        sf_jinja_fail(r, SF_BAD_INPUT, "abs of a value of type '%s'", sf_jinja_type(a->self));
        return sf_jinja_none();
    }
    return sf_jinja_int(llabs(sf_jinja_whole(a->self)));
}

static sf_jvalue round_(sf_jrun *r, sf_jargs *a)
{
    int64_t places = sf_jinja_whole_or(r, a, 0, 0);
    bool up = a->has[1] && sf_jinja_says(a->arg[1], "ceil"), down = a->has[1] && sf_jinja_says(a->arg[1], "floor");
    if (!sf_jinja_is_number(a->self) || (a->has[1] && !up && !down && !sf_jinja_says(a->arg[1], "common"))) {
        sf_jinja_fail(r, SF_BAD_INPUT, "round: expected a number, and common, ceil or floor");
        return sf_jinja_none();
    }
    double f = sf_jinja_real(a->self);
    if (places < 0 || places > 15 || !isfinite(f) || fabs(f) > 1e15) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "round of this number to this many places");
        return sf_jinja_none();
    }
    if (up || down) {
        double scale = pow(10, (double)places);
        return sf_jinja_float((up ? ceil(f * scale) : floor(f * scale)) / scale);
    }
    if (sf_jinja_is_int(a->self)) return sf_jinja_int(sf_jinja_whole(a->self));
    char text[400]; /* the C library rounds the exact value to even, as Python does */
    snprintf(text, sizeof text, "%.*f", (int)places, f);
    return sf_jinja_float(strtod(text, NULL));
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

static const sf_jrow OF_TEXTS[] = {
    {"abs", "", absolute},
    {"capitalize", "", capitalize},
    {"center", "width?", center},
    {"e", "", escape},
    {"escape", "", escape},
    {"float", "default?", to_float},
    {"format", "* **", format},
    {"indent", "width? first? blank?", indent},
    {"int", "default? base?", to_int},
    {"lower", "", lower},
    {"replace", "old new count?", replace},
    {"round", "precision? method?", round_},
    {"safe", "", safe},
    {"string", "", string},
    {"title", "", title},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", sf_jinja_to_json},
    {"trim", "chars?", trim},
    {"truncate", "length? killwords? end? leeway?", truncate_},
    {"upper", "", upper},
    {"attr", NULL, NULL},
    {"filesizeformat", NULL, NULL},
    {"forceescape", NULL, NULL},
    {"pprint", NULL, NULL},
    {"striptags", NULL, NULL},
    {"urlencode", NULL, NULL},
    {"urlize", NULL, NULL},
    {"wordcount", NULL, NULL},
    {"wordwrap", NULL, NULL},
    {"xmlattr", NULL, NULL},
    {NULL, NULL, NULL},
};

const sf_jrow *sf_jinja_filter_row(const char *name)
{
    const sf_jrow *row = sf_jinja_row(OF_TEXTS, name);
    return row ? row : sf_jinja_row(sf_jinja_item_filters, name);
}

sf_jvalue sf_jinja_filter(sf_jrun *r, const char *name, sf_jvalue self, sf_jgiven given)
{
    const sf_jrow *row = sf_jinja_filter_row(name);
    if (row) return sf_jinja_apply(r, "filter", row, self, given);
    sf_jinja_fail(r, SF_BAD_INPUT, "no filter '%.64s'", name);
    return sf_jinja_none();
}
