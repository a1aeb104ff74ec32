/* Python's two ways to put values into a text: "%s" % (…), and "{}".format(…). */
#include "harness/model/jinja_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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
    if (!sf_jinja_is_number(v) ||
        (!real && v.kind == SF_J_FLOAT && (c->letter == 'x' || c->letter == 'X' || c->letter == 'o'))) {
        sf_jinja_fail(r, SF_BAD_INPUT, "the format %%%c of a value of type '%s'", c->letter, sf_jinja_type(v));
        return;
    }
    double f = sf_jinja_real(v);
    if (!real && v.kind == SF_J_FLOAT && !(fabs(f) < 9e18)) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "an integer beyond 64 bits");
        return;
    }
    long long whole = real ? 0 : v.kind == SF_J_FLOAT ? (long long)f : (long long)sf_jinja_whole(v);
    bool hex = c->letter == 'x' || c->letter == 'X' || c->letter == 'o';
    if ((hex && (whole < 0 || strchr(c->flags, '#'))) || (real && !isfinite(f))) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "this number with the format %%%c", c->letter);
        return;
    }
    snprintf(pattern, sizeof pattern, "%%%s*%s%s%c", c->flags, c->precision >= 0 ? ".*" : "", real ? "" : "ll",
             c->letter == 'i' ? 'd' : c->letter);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (real && c->precision >= 0)
        snprintf(out, sizeof out, pattern, c->width, c->precision, f);
    else if (real)
        snprintf(out, sizeof out, pattern, c->width, f);
    else if (c->precision >= 0)
        snprintf(out, sizeof out, pattern, c->width, c->precision, whole);
    else
        snprintf(out, sizeof out, pattern, c->width, whole);
#pragma GCC diagnostic pop
    sf_jinja_put_word(r, b, out);
}

static void put_padded(sf_jrun *r, sf_jbuffer *b, const struct conversion *c, sf_jvalue text)
{
    if (c->precision >= 0) text = sf_jinja_part(text, 0, sf_jinja_byte_of(text, c->precision));
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
        if (c.letter == 's')
            put_padded(r, &b, &c, sf_jinja_str(r, v));
        else if (r->status == SF_OK)
            put_number(r, &b, &c, v);
    }
    if (used < plain->items && !given.named) sf_jinja_fail(r, SF_BAD_INPUT, "format: more was given than is used");
    return sf_jinja_made(&b);
}

/* ---- "…".format(…) --------------------------------------------------------------------------------------------- */

/* "…{}…{0}…{name}…".format(…): fields without attributes and format specifications. */
static sf_jvalue format_field(sf_jrun *r, const sf_jargs *a, sf_jvalue name, size_t *next)
{
    size_t plain = a->rest.plain->items, at = name.text.bytes ? 0 : (*next)++;
    bool number = name.text.bytes > 0 && name.text.bytes < 6;
    sf_jvalue v;
    for (size_t i = 0; i < name.text.bytes; i++) {
        char c = name.text.at[i];
        number = number && c >= '0' && c <= '9';
        if (number) at = at * 10 + (size_t)(c - '0');
        if (strchr(".[]!:{", c)) {
            sf_jinja_fail(r, SF_UNSUPPORTED, "format() with the field {%.*s}", (int)name.text.bytes, name.text.at);
            return sf_jinja_none();
        }
    }
    if ((number || !name.text.bytes) && at < plain) return a->rest.plain->item[at];
    if (!number && name.text.bytes && a->rest.named && sf_jinja_find(r, a->rest.named, name, &v)) return v;
    sf_jinja_fail(r, SF_BAD_INPUT, "format(): nothing was given for {%.*s}", (int)name.text.bytes, name.text.at);
    return sf_jinja_none();
}

sf_jvalue sf_jinja_format_fields(sf_jrun *r, sf_jargs *a)
{
    sf_jbuffer b = {0};
    sf_jvalue self = a->self;
    size_t next = 0;
    for (size_t i = 0; i < self.text.bytes && sf_jinja_step(r, 1); i++) {
        char c = self.text.at[i];
        bool twice = i + 1 < self.text.bytes && self.text.at[i + 1] == c;
        if ((c == '{' || c == '}') && twice) i++;
        if ((c != '{' && c != '}') || twice) {
            sf_jinja_put_text(r, &b, sf_jinja_part(self, i, i + 1));
            continue;
        }
        const char *end = c == '{' ? memchr(self.text.at + i, '}', self.text.bytes - i) : NULL;
        if (!end) {
            sf_jinja_fail(r, SF_BAD_INPUT, "format(): a single '%c'", c);
            break;
        }
        size_t shut = (size_t)(end - self.text.at);
        sf_jinja_put_text(r, &b, sf_jinja_str(r, format_field(r, a, sf_jinja_part(self, i + 1, shut), &next)));
        i = shut;
    }
    return sf_jinja_made(&b);
}
