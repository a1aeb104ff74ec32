/* The filter `tojson` as transformers defines it: json.dumps of Python, without the escapes for HTML of jinja2's own.
 */
#include "harness/model/jinja_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct dump {
    sf_jrun *r;
    sf_jbuffer out;
    bool ascii, sorted, indented;
    sf_jvalue indent; /* text of one level */
    sf_jvalue comma, colon;
};

static void put_value(struct dump *d, sf_jvalue v, int level);

static void new_line(struct dump *d, int level)
{
    if (!d->indented) return;
    sf_jinja_put_word(d->r, &d->out, "\n");
    for (int i = 0; i < level; i++) sf_jinja_put_text(d->r, &d->out, d->indent);
}

static void put_text(struct dump *d, sf_jvalue v)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    sf_jinja_put_word(d->r, &d->out, "\"");
    for (size_t at = 0, n; at < v.text.bytes && sf_jinja_step(d->r, 1); at += n) {
        n = (size_t)sf_jinja_letter(v.text.at + at, v.text.bytes - at);
        int32_t c = sf_jinja_point(v.text.at + at, n);
        char out[16];
        const char *name = NULL;
        for (const char *p = named; *p && !name; p += 2)
            if (*p == c) name = p + 1;
        if (name)
            snprintf(out, sizeof out, "\\%c", *name);
        else if (c >= 0x10000 && d->ascii)
            snprintf(out, sizeof out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                     0xdc00 + ((c - 0x10000) & 0x3ff));
        else if (c < ' ' || (c >= 0x7f && d->ascii))
            snprintf(out, sizeof out, "\\u%04x", (unsigned)c);
        else
            snprintf(out, sizeof out, "%.*s", (int)n, v.text.at + at);
        sf_jinja_put_like(d->r, &d->out, out, strlen(out), v.text.mark && v.text.mark[at]);
    }
    sf_jinja_put_word(d->r, &d->out, "\"");
}

static void put_scalar(struct dump *d, sf_jvalue v)
{
    char number[40];
    switch (v.kind) {
    case SF_J_NONE:
        sf_jinja_put_word(d->r, &d->out, "null");
        break;
    case SF_J_BOOL:
        sf_jinja_put_word(d->r, &d->out, v.truth ? "true" : "false");
        break;
    case SF_J_FLOAT:
        if (isnan(v.real))
            snprintf(number, sizeof number, "NaN");
        else if (isinf(v.real))
            snprintf(number, sizeof number, v.real < 0 ? "-Infinity" : "Infinity");
        else
            sf_jinja_float_text(v.real, number);
        sf_jinja_put_word(d->r, &d->out, number);
        break;
    case SF_J_INT:
        sf_jinja_put_text(d->r, &d->out, sf_jinja_str(d->r, v));
        break;
    default:
        sf_jinja_fail(d->r, SF_BAD_INPUT, "tojson: a value of type '%s' is not JSON", sf_jinja_type(v));
    }
}

static void put_list(struct dump *d, const sf_jlist *l, int level)
{
    sf_jinja_put_word(d->r, &d->out, "[");
    for (size_t i = 0; i < l->items && d->r->status == SF_OK; i++) {
        if (i) sf_jinja_put_text(d->r, &d->out, d->comma);
        new_line(d, level + 1);
        put_value(d, l->item[i], level + 1);
    }
    if (l->items) new_line(d, level);
    sf_jinja_put_word(d->r, &d->out, "]");
}

/* Keys that are numbers, true, false and null become texts. */
static void put_key(struct dump *d, sf_jvalue key)
{
    if (key.kind == SF_J_TEXT) {
        put_text(d, key);
        return;
    }
    if (key.kind == SF_J_TUPLE) sf_jinja_fail(d->r, SF_BAD_INPUT, "tojson: a key of type 'tuple'");
    sf_jinja_put_word(d->r, &d->out, "\"");
    put_scalar(d, key);
    sf_jinja_put_word(d->r, &d->out, "\"");
}

/* The next key in order behind `last`; -1: none. */
static int64_t next_sorted(struct dump *d, const sf_jdict *o, int64_t last)
{
    int64_t best = -1;
    for (size_t i = 0; i < o->items && d->r->status == SF_OK; i++) {
        if (last >= 0 && sf_jinja_order(d->r, o->key[i], o->key[last]) <= 0) continue;
        if (best < 0 || sf_jinja_order(d->r, o->key[i], o->key[best]) < 0) best = (int64_t)i;
    }
    return best;
}

static void put_dict(struct dump *d, const sf_jdict *o, int level)
{
    sf_jinja_put_word(d->r, &d->out, "{");
    int64_t at = -1;
    for (size_t i = 0; i < o->items && d->r->status == SF_OK; i++) {
        at = d->sorted ? next_sorted(d, o, at) : at + 1;
        if (at < 0) break;
        if (i) sf_jinja_put_text(d->r, &d->out, d->comma);
        new_line(d, level + 1);
        put_key(d, o->key[at]);
        sf_jinja_put_text(d->r, &d->out, d->colon);
        put_value(d, o->value[at], level + 1);
    }
    if (o->items) new_line(d, level);
    sf_jinja_put_word(d->r, &d->out, "}");
}

static void put_value(struct dump *d, sf_jvalue v, int level)
{
    if (!sf_jinja_step(d->r, 1) || !sf_jinja_sink(d->r)) return;
    if (v.kind == SF_J_TEXT)
        put_text(d, v);
    else if (v.kind == SF_J_LIST || v.kind == SF_J_TUPLE)
        put_list(d, v.list, level);
    else if (v.kind == SF_J_DICT)
        put_dict(d, v.dict, level);
    else
        put_scalar(d, v);
    sf_jinja_rise(d->r);
}

static void read_indent(struct dump *d, sf_jvalue indent)
{
    d->indented = true;
    d->indent = indent;
    if (indent.kind == SF_J_TEXT) return;
    int64_t n = sf_jinja_is_int(indent) ? sf_jinja_whole(indent) : -1;
    if (n > 64 || !sf_jinja_is_int(indent)) sf_jinja_fail(d->r, SF_UNSUPPORTED, "tojson with this indent");
    static const char spaces[] = "                                                                ";
    d->indent = sf_jinja_text(spaces, n < 0 ? 0 : (size_t)n);
}

static void read_separators(struct dump *d, sf_jvalue pair)
{
    if ((pair.kind == SF_J_TUPLE || pair.kind == SF_J_LIST) && pair.list->items == 2) {
        d->comma = pair.list->item[0];
        d->colon = pair.list->item[1];
        if (d->comma.kind == SF_J_TEXT && d->colon.kind == SF_J_TEXT) return;
    }
    sf_jinja_fail(d->r, SF_BAD_INPUT, "tojson: expected two texts as separators");
}

sf_jvalue sf_jinja_to_json(sf_jrun *r, sf_jargs *a)
{
    struct dump d = {.r = r,
                     .ascii = a->has[0] && sf_jinja_true(a->arg[0]),
                     .sorted = a->has[3] && sf_jinja_true(a->arg[3]),
                     .comma = sf_jinja_text(", ", 2),
                     .colon = sf_jinja_text(": ", 2)};
    if (a->has[1] && a->arg[1].kind != SF_J_NONE) {
        read_indent(&d, a->arg[1]);
        d.comma = sf_jinja_text(",", 1);
    }
    if (a->has[2] && a->arg[2].kind != SF_J_NONE) read_separators(&d, a->arg[2]);
    put_value(&d, a->self, 0);
    return sf_jinja_made(&d.out);
}
