/* jinja2's filters. What works on several items gives a stream, as there: it can be gone through once. */
#include "harness/model/jinja_parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------------------------- */

static sf_jvalue cased(sf_jrun *r, sf_jargs *a, sf_jcase how) { return sf_jinja_cased(r, sf_jinja_str(r, a->self), how); }
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

static int64_t whole_or(sf_jrun *r, const sf_jargs *a, int i, int64_t otherwise)
{
    if (!a->has[i] || a->arg[i].kind == SF_J_NONE) return otherwise;
    if (sf_jinja_is_int(a->arg[i])) return sf_jinja_whole(a->arg[i]);
    sf_jinja_fail(r, SF_BAD_INPUT, "expected an integer, found '%s'", sf_jinja_type(a->arg[i]));
    return otherwise;
}

static bool flag(const sf_jargs *a, int i) { return a->has[i] && sf_jinja_true(a->arg[i]); }

static sf_jvalue replace(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue from = sf_jinja_str(r, a->arg[0]), to = sf_jinja_str(r, a->arg[1]);
    return sf_jinja_replace(r, sf_jinja_str(r, a->self), from, to, whole_or(r, a, 2, -1));
}

static sf_jvalue indent(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text = sf_jinja_str(r, a->self), by = a->arg[0];
    sf_jbuffer b = {0}, spaces = {0};
    if (text.safe) sf_jinja_fail(r, SF_UNSUPPORTED, "indent of a text that is marked as safe");
    if (!a->has[0] || by.kind != SF_J_TEXT) {
        for (int64_t n = whole_or(r, a, 0, 4); n > 0 && sf_jinja_step(r, 1); n--) sf_jinja_put_word(r, &spaces, " ");
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

static size_t byte_of(sf_jvalue text, int64_t i)
{
    size_t at = 0;
    while (i-- > 0 && at < text.text.bytes) at += (size_t)sf_jinja_letter(text.text.at + at, text.text.bytes - at);
    return at;
}

static sf_jvalue truncate_(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue text = sf_jinja_str(r, a->self), end = a->has[2] ? sf_jinja_str(r, a->arg[2]) : sf_jinja_text("...", 3);
    int64_t length = whole_or(r, a, 0, 255), leeway = whole_or(r, a, 3, 5), marks = (int64_t)sf_jinja_letters(end);
    if (length < marks || leeway < 0) sf_jinja_fail(r, SF_UNSUPPORTED, "truncate to less than its end mark");
    if (r->status != SF_OK || (int64_t)sf_jinja_letters(text) <= length + leeway) return text;
    sf_jvalue part = sf_jinja_part(text, 0, byte_of(text, length - marks)), space = sf_jinja_text(" ", 1);
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
    sf_jinja_append(r, width, sf_jinja_int(whole_or(r, a, 0, 80)));
    if (r->status != SF_OK || !sf_jinja_method(r, text, "center", &method)) return text;
    return sf_jinja_call(r, method, (sf_jgiven){.plain = width});
}

/* ---- "…" % (…) ------------------------------------------------------------------------------------------------- */

struct conversion {
    char flags[8], letter;
    int width, precision;
    sf_jvalue key;
    bool keyed;
};

/* Reads what follows a '%'; returns where it ends. */
static size_t read_conversion(sf_jrun *r, sf_jvalue p, size_t i, struct conversion *c)
{
    *c = (struct conversion){.precision = -1};
    const char *s = p.text.at;
    size_t n = p.text.bytes, flags = 0;
    if (i < n && s[i] == '(') {
        size_t from = ++i;
        while (i < n && s[i] != ')') i++;
        c->keyed = true;
        c->key = sf_jinja_part(p, from, i < n ? i++ : i);
    }
    while (i < n && s[i] && strchr("-0+ #", s[i]) && flags < 5) c->flags[flags++] = s[i++];
    while (i < n && s[i] >= '0' && s[i] <= '9' && c->width < 1000) c->width = c->width * 10 + s[i++] - '0';
    if (i < n && s[i] == '.')
        for (c->precision = 0, i++; i < n && s[i] >= '0' && s[i] <= '9' && c->precision < 100; i++)
            c->precision = c->precision * 10 + s[i] - '0';
    c->letter = i < n ? s[i++] : 0;
    if (!c->letter || !strchr("%sdifFeEgGxXo", c->letter))
        sf_jinja_fail(r, c->letter ? SF_UNSUPPORTED : SF_BAD_INPUT, "the format %%%c", c->letter ? c->letter : ' ');
    return i;
}

static void put_number(sf_jrun *r, sf_jbuffer *b, const struct conversion *c, sf_jvalue v)
{
    char pattern[64], out[1600];
    bool real = strchr("fFeEgG", c->letter) != NULL;
    if (!sf_jinja_is_number(v) || (!real && v.kind == SF_J_FLOAT && (c->letter == 'x' || c->letter == 'X' || c->letter == 'o'))) {
        sf_jinja_fail(r, SF_BAD_INPUT, "the format %%%c of a value of type '%s'", c->letter, sf_jinja_type(v));
        return;
    }
    double f = sf_jinja_real(v);
    if (!real && v.kind == SF_J_FLOAT && !(fabs(f) < 9e18)) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "an integer beyond 64 bits");
        return;
    }
    long long whole = v.kind == SF_J_FLOAT ? (long long)f : (long long)sf_jinja_whole(v);
    bool hex = c->letter == 'x' || c->letter == 'X' || c->letter == 'o';
    if ((hex && (whole < 0 || strchr(c->flags, '#'))) || (real && !isfinite(f))) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "this number with the format %%%c", c->letter);
        return;
    }
    snprintf(pattern, sizeof pattern, "%%%s*%s%s%c", c->flags, c->precision >= 0 ? ".*" : "", real ? "" : "ll",
             c->letter == 'i' ? 'd' : c->letter);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (real && c->precision >= 0) snprintf(out, sizeof out, pattern, c->width, c->precision, f);
    else if (real) snprintf(out, sizeof out, pattern, c->width, f);
    else if (c->precision >= 0) snprintf(out, sizeof out, pattern, c->width, c->precision, whole);
    else snprintf(out, sizeof out, pattern, c->width, whole);
#pragma GCC diagnostic pop
    sf_jinja_put_word(r, b, out);
}

static void put_padded(sf_jrun *r, sf_jbuffer *b, const struct conversion *c, sf_jvalue text)
{
    if (c->precision >= 0) text = sf_jinja_part(text, 0, byte_of(text, c->precision));
    int64_t missing = c->width - (int64_t)sf_jinja_letters(text);
    bool left = strchr(c->flags, '-') != NULL;
    for (int64_t i = 0; !left && i < missing; i++) sf_jinja_put_word(r, b, " ");
    sf_jinja_put_text(r, b, text);
    for (int64_t i = 0; left && i < missing; i++) sf_jinja_put_word(r, b, " ");
}

sf_jvalue sf_jinja_format(sf_jrun *r, sf_jvalue p, sf_jgiven given)
{
    static const sf_jlist nothing;
    const sf_jlist *plain = given.plain ? given.plain : &nothing;
    size_t used = 0;
    sf_jbuffer b = {0};
    for (size_t i = 0; i < p.text.bytes && sf_jinja_step(r, 1);) {
        const char *sign = memchr(p.text.at + i, '%', p.text.bytes - i);
        size_t at = sign ? (size_t)(sign - p.text.at) : p.text.bytes;
        sf_jinja_put_text(r, &b, sf_jinja_part(p, i, at));
        if (!sign) break;
        struct conversion c;
        i = read_conversion(r, p, at + 1, &c);
        sf_jvalue v = sf_jinja_none();
        if (r->status != SF_OK) break;
        if (c.letter == '%') {
            sf_jinja_put_word(r, &b, "%");
            continue;
        }
        bool found = c.keyed ? given.named && sf_jinja_find(r, given.named, c.key, &v) : used < plain->items;
        if (found && !c.keyed) v = plain->item[used++];
        if (!found) sf_jinja_fail(r, SF_BAD_INPUT, "format: nothing was given for %%%c", c.letter);
        if (c.letter == 's') put_padded(r, &b, &c, sf_jinja_str(r, v));
        else if (r->status == SF_OK) put_number(r, &b, &c, v);
    }
    if (used < plain->items && !given.named) sf_jinja_fail(r, SF_BAD_INPUT, "format: more was given than is used");
    return sf_jinja_made(&b);
}

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
    int64_t base = whole_or(r, a, 1, 10);
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
    int64_t places = whole_or(r, a, 0, 0);
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

/* ---- items ----------------------------------------------------------------------------------------------------- */

static sf_jvalue default_(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    bool absent = a->self.kind == SF_J_UNDEFINED || (flag(a, 1) && !sf_jinja_true(a->self));
    return !absent ? a->self : a->has[0] ? a->arg[0] : sf_jinja_text("", 0);
}

static sf_jvalue length(sf_jrun *r, sf_jargs *a) { return sf_jinja_int((int64_t)sf_jinja_length(r, a->self)); }

static sf_jvalue first(sf_jrun *r, sf_jargs *a)
{
    if (a->self.kind == SF_J_STREAM && a->self.list->items) {
        sf_jlist *l = a->self.list;
        l->items--, l->room--;
        return *l->item++;
    }
    if (a->self.kind == SF_J_TEXT && a->self.text.bytes)
        return sf_jinja_part(a->self, 0, (size_t)sf_jinja_letter(a->self.text.at, a->self.text.bytes));
    const sf_jlist *l = sf_jinja_items(r, a->self);
    return l->items ? l->item[0] : sf_jinja_undefined("the first item of none");
}

static sf_jvalue last(sf_jrun *r, sf_jargs *a)
{
    if (a->self.kind == SF_J_STREAM) sf_jinja_fail(r, SF_BAD_INPUT, "last: a 'generator' has no last item");
    const sf_jlist *l = sf_jinja_items(r, a->self);
    return l->items ? l->item[l->items - 1] : sf_jinja_undefined("the last item of none");
}

static sf_jlist *copied(sf_jrun *r, sf_jvalue v)
{
    const sf_jlist *items = sf_jinja_items(r, v);
    sf_jlist *l = sf_jinja_list(r, items->items);
    for (size_t i = 0; i < items->items && r->status == SF_OK; i++) sf_jinja_append(r, l, items->item[i]);
    return l;
}

static sf_jvalue list(sf_jrun *r, sf_jargs *a) { return sf_jinja_listed(SF_J_LIST, copied(r, a->self)); }

static sf_jvalue items(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue method;
    if (a->self.kind == SF_J_UNDEFINED) return sf_jinja_listed(SF_J_STREAM, sf_jinja_list(r, 0));
    if (a->self.kind != SF_J_DICT || !sf_jinja_method(r, a->self, "items", &method)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "items: expected a dictionary, found '%s'", sf_jinja_type(a->self));
        return sf_jinja_none();
    }
    sf_jvalue pairs = sf_jinja_call(r, method, (sf_jgiven){0});
    if (pairs.kind == SF_J_VIEW) pairs.kind = SF_J_STREAM;
    return pairs;
}

static sf_jvalue reverse(sf_jrun *r, sf_jargs *a)
{
    const sf_jlist *from = sf_jinja_items(r, a->self);
    sf_jlist *l = sf_jinja_list(r, from->items);
    for (size_t i = from->items; i-- > 0 && r->status == SF_OK;) sf_jinja_append(r, l, from->item[i]);
    if (a->self.kind == SF_J_TEXT && l) return sf_jinja_join(r, sf_jinja_text("", 0), l);
    return sf_jinja_listed(a->self.kind == SF_J_STREAM ? SF_J_LIST : SF_J_STREAM, l);
}

static sf_jvalue batch(sf_jrun *r, sf_jargs *a)
{
    int64_t n = whole_or(r, a, 0, 0);
    sf_jlist *out = sf_jinja_list(r, 0), *row = NULL, *all = copied(r, a->self);
    if (n < 1) sf_jinja_fail(r, SF_UNSUPPORTED, "batch of %lld items", (long long)n);
    for (size_t i = 0; all && i < all->items && r->status == SF_OK; i++) {
        if (i % (size_t)n == 0) {
            row = sf_jinja_list(r, 0);
            sf_jinja_append(r, out, sf_jinja_listed(SF_J_LIST, row));
        }
        sf_jinja_append(r, row, all->item[i]);
    }
    while (row && a->has[1] && a->arg[1].kind != SF_J_NONE && (int64_t)row->items < n && r->status == SF_OK)
        sf_jinja_append(r, row, a->arg[1]);
    return sf_jinja_listed(SF_J_STREAM, out);
}

/* item.a.b, as `attribute=` of filters finds it: by items first, then by attributes. */
static sf_jvalue attribute_of(sf_jrun *r, sf_jvalue item, sf_jvalue path)
{
    if (sf_jinja_is_int(path)) return sf_jinja_get_item(r, item, path);
    if (path.kind != SF_J_TEXT) {
        sf_jinja_fail(r, SF_BAD_INPUT, "an attribute of type '%s'", sf_jinja_type(path));
        return sf_jinja_none();
    }
    sf_jvalue dot = sf_jinja_text(".", 1), v = item;
    const sf_jlist *parts = sf_jinja_split(r, path, &dot, -1, false);
    for (size_t i = 0; parts && i < parts->items && r->status == SF_OK; i++) {
        sf_jvalue part = parts->item[i], number;
        bool digits = part.text.bytes > 0;
        for (size_t k = 0; k < part.text.bytes; k++) digits = digits && part.text.at[k] >= '0' && part.text.at[k] <= '9';
        if (digits && parsed(r, part, true, 10, &number)) part = number;
        v = sf_jinja_get_item(r, v, part);
    }
    return v;
}

/* What items are compared by: an attribute (several with commas, if `many`), texts without their case. */
static sf_jvalue key_of(sf_jrun *r, sf_jvalue item, const sf_jvalue *path, bool many, bool by_case)
{
    sf_jvalue comma = sf_jinja_text(",", 1), key = item;
    if (path && many && path->kind == SF_J_TEXT && sf_jinja_search(r, *path, 0, comma)) {
        const sf_jlist *paths = sf_jinja_split(r, *path, &comma, -1, false);
        sf_jlist *all = sf_jinja_list(r, 0);
        for (size_t i = 0; paths && i < paths->items && r->status == SF_OK; i++)
            sf_jinja_append(r, all, key_of(r, item, &paths->item[i], false, by_case));
        return sf_jinja_listed(SF_J_LIST, all);
    }
    if (path) key = attribute_of(r, item, *path);
    return key.kind == SF_J_TEXT && !by_case ? sf_jinja_cased(r, key, SF_J_LOWER) : key;
}

static const sf_jvalue *given_path(const sf_jargs *a, int i)
{
    return a->has[i] && a->arg[i].kind != SF_J_NONE ? &a->arg[i] : NULL;
}

/* Stable: merges halves. Reversed, equal ones keep their order too. */
static void merge_sort(sf_jrun *r, sf_jvalue *item, sf_jvalue *key, sf_jvalue *spare, size_t n, bool reverse)
{
    if (n < 2 || r->status != SF_OK) return;
    size_t half = n / 2, a = 0, b = half, to = 0;
    merge_sort(r, item, key, spare, half, reverse);
    merge_sort(r, item + half, key + half, spare, n - half, reverse);
    while (to < n) {
        bool second = a == half || (b < n && (reverse ? sf_jinja_order(r, key[b], key[a]) > 0
                                                      : sf_jinja_order(r, key[b], key[a]) < 0));
        size_t from = second ? b++ : a++;
        spare[2 * to] = item[from];
        spare[2 * to++ + 1] = key[from];
    }
    for (size_t i = 0; i < n; i++) item[i] = spare[2 * i], key[i] = spare[2 * i + 1];
}

static sf_jvalue sorted(sf_jrun *r, sf_jlist *l, sf_jlist *keys, bool reverse)
{
    sf_jlist *spare = sf_jinja_list(r, l ? 2 * l->items : 0);
    if (l && keys && spare && keys->items == l->items) merge_sort(r, l->item, keys->item, spare->item, l->items, reverse);
    return sf_jinja_listed(SF_J_LIST, l);
}

static sf_jvalue sort(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *l = copied(r, a->self), *keys = sf_jinja_list(r, l ? l->items : 0);
    for (size_t i = 0; l && i < l->items && r->status == SF_OK; i++)
        sf_jinja_append(r, keys, key_of(r, l->item[i], given_path(a, 2), true, flag(a, 1)));
    return sorted(r, l, keys, flag(a, 0));
}

static sf_jvalue dictsort(sf_jrun *r, sf_jargs *a)
{
    bool by_value = a->has[1] && sf_jinja_says(a->arg[1], "value");
    if (a->has[1] && !by_value && !sf_jinja_says(a->arg[1], "key"))
        sf_jinja_fail(r, SF_BAD_INPUT, "dictsort: expected by='key' or 'value'");
    sf_jlist *pairs = copied(r, items(r, a)), *keys = sf_jinja_list(r, pairs ? pairs->items : 0);
    for (size_t i = 0; pairs && i < pairs->items && r->status == SF_OK; i++)
        sf_jinja_append(r, keys, key_of(r, pairs->item[i].list->item[by_value], NULL, false, flag(a, 0)));
    return sorted(r, pairs, keys, flag(a, 2));
}

static sf_jvalue unique(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *from = copied(r, a->self), *l = sf_jinja_list(r, 0);
    sf_jdict *seen = sf_jinja_dict(r);
    for (size_t i = 0; from && i < from->items && r->status == SF_OK; i++) {
        sf_jvalue key = key_of(r, from->item[i], given_path(a, 1), false, flag(a, 0)), found;
        if (!seen || sf_jinja_find(r, seen, key, &found)) continue;
        sf_jinja_put_key(r, seen, key, sf_jinja_none());
        sf_jinja_append(r, l, from->item[i]);
    }
    return sf_jinja_listed(SF_J_STREAM, l);
}

static sf_jvalue extreme(sf_jrun *r, sf_jargs *a, int sign)
{
    sf_jlist *l = copied(r, a->self);
    sf_jvalue best = sf_jinja_undefined("the least or greatest of none"), best_key = best;
    for (size_t i = 0; l && i < l->items && r->status == SF_OK; i++) {
        sf_jvalue key = key_of(r, l->item[i], given_path(a, 1), false, flag(a, 0));
        if (i && sign * sf_jinja_order(r, key, best_key) <= 0) continue;
        best = l->item[i];
        best_key = key;
    }
    return best;
}

static sf_jvalue min_(sf_jrun *r, sf_jargs *a) { return extreme(r, a, -1); }
static sf_jvalue max_(sf_jrun *r, sf_jargs *a) { return extreme(r, a, 1); }

static sf_jvalue sum(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *l = copied(r, a->self);
    sf_jvalue all = a->has[1] ? a->arg[1] : sf_jinja_int(0);
    if (all.kind == SF_J_TEXT) sf_jinja_fail(r, SF_BAD_INPUT, "sum of texts");
    for (size_t i = 0; l && i < l->items && r->status == SF_OK; i++)
        all = sf_jinja_binary(r, SF_J_ADD, all,
                              given_path(a, 0) ? attribute_of(r, l->item[i], a->arg[0]) : l->item[i]);
    return all;
}

static sf_jvalue join(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *l = copied(r, a->self);
    for (size_t i = 0; given_path(a, 1) && l && i < l->items && r->status == SF_OK; i++)
        l->item[i] = attribute_of(r, l->item[i], a->arg[1]);
    sf_jvalue by = a->has[0] ? sf_jinja_str(r, a->arg[0]) : sf_jinja_text("", 0);
    return l ? sf_jinja_join(r, by, l) : sf_jinja_none();
}

/* ---- filters and tests over items ------------------------------------------------------------------------------ */

static sf_jgiven all_but_first(sf_jrun *r, sf_jgiven g)
{
    sf_jlist *l = sf_jinja_list(r, 0);
    for (size_t i = 1; i < g.plain->items; i++) sf_jinja_append(r, l, g.plain->item[i]);
    return (sf_jgiven){l, g.named};
}

/* What is given to a filter or test that is called for each item: those take named ones out of it. */
static sf_jgiven again(sf_jrun *r, sf_jgiven g)
{
    sf_jdict *d = g.named ? sf_jinja_dict(r) : NULL;
    for (size_t i = 0; d && i < g.named->items; i++) sf_jinja_put_key(r, d, g.named->key[i], g.named->value[i]);
    return (sf_jgiven){g.plain, d};
}

static const char *word(sf_jrun *r, sf_jvalue v)
{
    char *name = v.kind == SF_J_TEXT ? sf_jinja_take(r, v.text.bytes + 1) : NULL;
    if (name) memcpy(name, v.text.at, v.text.bytes);
    else sf_jinja_fail(r, SF_BAD_INPUT, "expected the name of a filter or test");
    return name ? name : "";
}

static sf_jvalue map(sf_jrun *r, sf_jargs *a)
{
    if (!sf_jinja_true(a->self)) return sf_jinja_listed(SF_J_STREAM, sf_jinja_list(r, 0));
    sf_jgiven g = a->rest;
    sf_jvalue path = sf_jinja_none(), otherwise = sf_jinja_undefined(NULL);
    bool by_path = !g.plain->items && g.named && sf_jinja_find(r, g.named, sf_jinja_text("attribute", 9), &path);
    if (by_path) sf_jinja_find(r, g.named, sf_jinja_text("default", 7), &otherwise);
    if (by_path ? g.named->items > 1u + (otherwise.kind != SF_J_UNDEFINED) : !g.plain->items)
        sf_jinja_fail(r, SF_BAD_INPUT, "map: expected a filter's name, or attribute= and default=");
    const char *name = by_path || r->status != SF_OK ? "" : word(r, g.plain->item[0]);
    if (!by_path && r->status == SF_OK) g = all_but_first(r, g);
    sf_jlist *from = copied(r, a->self), *l = sf_jinja_list(r, 0);
    for (size_t i = 0; from && i < from->items && r->status == SF_OK; i++) {
        sf_jvalue v = by_path ? attribute_of(r, from->item[i], path) : sf_jinja_filter(r, name, from->item[i], again(r, g));
        sf_jinja_append(r, l, by_path && v.kind == SF_J_UNDEFINED && otherwise.kind != SF_J_UNDEFINED ? otherwise : v);
    }
    return sf_jinja_listed(SF_J_STREAM, l);
}

static sf_jvalue chosen(sf_jrun *r, sf_jargs *a, bool wanted, bool by_attribute)
{
    if (!sf_jinja_true(a->self)) return sf_jinja_listed(SF_J_STREAM, sf_jinja_list(r, 0)); /* none is none of them */
    sf_jgiven g = a->rest;
    sf_jvalue path = sf_jinja_none();
    if (by_attribute && !g.plain->items) sf_jinja_fail(r, SF_BAD_INPUT, "selectattr: expected an attribute");
    if (by_attribute && r->status == SF_OK) path = g.plain->item[0], g = all_but_first(r, g);
    bool tests = r->status == SF_OK && g.plain->items;
    const char *name = tests ? word(r, g.plain->item[0]) : "";
    if (tests) g = all_but_first(r, g);
    sf_jlist *from = copied(r, a->self), *l = sf_jinja_list(r, 0);
    for (size_t i = 0; from && i < from->items && r->status == SF_OK; i++) {
        sf_jvalue v = by_attribute ? attribute_of(r, from->item[i], path) : from->item[i];
        bool good = tests ? sf_jinja_test(r, name, v, again(r, g)) : sf_jinja_true(v);
        if (good == wanted) sf_jinja_append(r, l, from->item[i]);
    }
    return sf_jinja_listed(SF_J_STREAM, l);
}

static sf_jvalue select_(sf_jrun *r, sf_jargs *a) { return chosen(r, a, true, false); }
static sf_jvalue reject(sf_jrun *r, sf_jargs *a) { return chosen(r, a, false, false); }
static sf_jvalue selectattr(sf_jrun *r, sf_jargs *a) { return chosen(r, a, true, true); }
static sf_jvalue rejectattr(sf_jrun *r, sf_jargs *a) { return chosen(r, a, false, true); }

/* ---- the table ------------------------------------------------------------------------------------------------- */

const sf_jrow sf_jinja_filters[] = {
    {"abs", "", absolute}, {"batch", "linecount fill_with?", batch}, {"capitalize", "", capitalize},
    {"center", "width?", center}, {"count", "", length}, {"d", "default_value? boolean?", default_},
    {"default", "default_value? boolean?", default_}, {"dictsort", "case_sensitive? by? reverse?", dictsort},
    {"e", "", escape}, {"escape", "", escape}, {"first", "", first}, {"float", "default?", to_float},
    {"format", "* **", format}, {"indent", "width? first? blank?", indent}, {"int", "default? base?", to_int},
    {"items", "", items}, {"join", "d? attribute?", join}, {"last", "", last}, {"length", "", length}, {"list", "", list},
    {"lower", "", lower}, {"map", "* **", map}, {"max", "case_sensitive? attribute?", max_},
    {"min", "case_sensitive? attribute?", min_}, {"reject", "* **", reject}, {"rejectattr", "* **", rejectattr},
    {"replace", "old new count?", replace}, {"reverse", "", reverse}, {"round", "precision? method?", round_},
    {"safe", "", safe}, {"select", "* **", select_}, {"selectattr", "* **", selectattr},
    {"sort", "reverse? case_sensitive? attribute?", sort}, {"string", "", string}, {"sum", "attribute? start?", sum},
    {"title", "", title}, {"tojson", "ensure_ascii? indent? separators? sort_keys?", sf_jinja_to_json},
    {"trim", "chars?", trim}, {"truncate", "length? killwords? end? leeway?", truncate_},
    {"unique", "case_sensitive? attribute?", unique}, {"upper", "", upper},
    {"attr", NULL, NULL}, {"filesizeformat", NULL, NULL}, {"forceescape", NULL, NULL}, {"groupby", NULL, NULL},
    {"pprint", NULL, NULL}, {"random", NULL, NULL}, {"slice", NULL, NULL}, {"striptags", NULL, NULL},
    {"urlencode", NULL, NULL}, {"urlize", NULL, NULL}, {"wordcount", NULL, NULL}, {"wordwrap", NULL, NULL},
    {"xmlattr", NULL, NULL}, {NULL, NULL, NULL},
};

sf_jvalue sf_jinja_filter(sf_jrun *r, const char *name, sf_jvalue self, sf_jgiven given)
{
    const sf_jrow *row = sf_jinja_row(sf_jinja_filters, name);
    if (row) return sf_jinja_apply(r, "filter", row, self, given);
    sf_jinja_fail(r, SF_BAD_INPUT, "no filter '%.64s'", name);
    return sf_jinja_none();
}
