/* Values as Python has them: truth, equality, order, iteration, str() and repr(). */
#include "harness/model/jinja_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists and dictionaries ------------------------------------------------------------------------------------ */

const char *sf_jinja_type(sf_jvalue v)
{
    static const char *const name[] = {[SF_J_UNDEFINED] = "Undefined", [SF_J_NONE] = "NoneType",
                                       [SF_J_BOOL] = "bool",           [SF_J_INT] = "int",
                                       [SF_J_FLOAT] = "float",         [SF_J_TEXT] = "str",
                                       [SF_J_LIST] = "list",           [SF_J_TUPLE] = "tuple",
                                       [SF_J_RANGE] = "range",         [SF_J_VIEW] = "dict view",
                                       [SF_J_STREAM] = "generator",    [SF_J_DICT] = "dict",
                                       [SF_J_NAMESPACE] = "Namespace", [SF_J_LOOP] = "loop",
                                       [SF_J_MACRO] = "macro",         [SF_J_FUNCTION] = "function",
                                       [SF_J_METHOD] = "method",       [SF_J_CYCLER] = "Cycler",
                                       [SF_J_JOINER] = "Joiner"};
    return name[v.kind];
}

bool sf_jinja_says(sf_jvalue v, const char *word)
{
    return v.kind == SF_J_TEXT && v.text.bytes == strlen(word) && !memcmp(v.text.at, word, v.text.bytes);
}

static void *doubled(sf_jrun *r, const void *old, size_t items, size_t room)
{
    sf_jvalue *more = sf_jinja_take(r, room * sizeof *more);
    if (more && items) memcpy(more, old, items * sizeof *more);
    return more;
}

sf_jlist *sf_jinja_list(sf_jrun *r, size_t room)
{
    sf_jlist *l = sf_jinja_take(r, sizeof *l);
    if (l && room) l->item = sf_jinja_take(r, room * sizeof *l->item), l->room = l->item ? room : 0;
    return r->status == SF_OK ? l : NULL;
}

void sf_jinja_append(sf_jrun *r, sf_jlist *l, sf_jvalue item)
{
    if (!l || !sf_jinja_step(r, 1)) return;
    if (l->items == l->room) {
        size_t room = l->room ? 2 * l->room : 8;
        sf_jvalue *more = doubled(r, l->item, l->items, room);
        if (!more) return;
        l->item = more;
        l->room = room;
    }
    l->item[l->items++] = item;
}

sf_jvalue sf_jinja_listed(sf_jkind kind, sf_jlist *l)
{
    static sf_jlist none; /* never appended to: its maker has failed */
    return (sf_jvalue){.kind = kind, .list = l ? l : &none};
}

sf_jdict *sf_jinja_dict(sf_jrun *r) { return sf_jinja_take(r, sizeof(sf_jdict)); }

static bool hashable(sf_jvalue v)
{
    for (size_t i = 0; v.kind == SF_J_TUPLE && i < v.list->items; i++)
        if (v.list->item[i].kind == SF_J_TUPLE || !hashable(v.list->item[i])) return false;
    return v.kind != SF_J_LIST && v.kind != SF_J_DICT && v.kind != SF_J_VIEW;
}

static size_t place_of(sf_jrun *r, const sf_jdict *d, sf_jvalue key)
{
    size_t i = 0;
    while (i < d->items && !sf_jinja_equal(r, d->key[i], key)) i++;
    return i;
}

void sf_jinja_put_key(sf_jrun *r, sf_jdict *d, sf_jvalue key, sf_jvalue value)
{
    if (!d || r->status != SF_OK) return;
    if (!hashable(key)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "a dictionary's key of type '%s'", sf_jinja_type(key));
        return;
    }
    size_t i = place_of(r, d, key);
    if (!sf_jinja_step(r, 1)) return;
    if (i == d->room) {
        size_t room = d->room ? 2 * d->room : 8;
        sf_jvalue *keys = doubled(r, d->key, d->items, room), *values = doubled(r, d->value, d->items, room);
        if (!keys || !values) return;
        d->key = keys;
        d->value = values;
        d->room = room;
    }
    if (i == d->items) d->key[d->items++] = key;
    d->value[i] = value;
}

bool sf_jinja_find(sf_jrun *r, const sf_jdict *d, sf_jvalue key, sf_jvalue *out)
{
    if (!hashable(key)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "a dictionary's key of type '%s'", sf_jinja_type(key));
        return false;
    }
    size_t i = place_of(r, d, key);
    if (i == d->items || r->status != SF_OK) return false;
    *out = d->value[i];
    return true;
}

/* ---- truth, equality, order ------------------------------------------------------------------------------------ */

bool sf_jinja_true(sf_jvalue v)
{
    switch (v.kind) {
    case SF_J_UNDEFINED:
    case SF_J_NONE:
        return false;
    case SF_J_BOOL:
        return v.truth;
    case SF_J_INT:
        return v.number != 0;
    case SF_J_FLOAT:
        return v.real != 0;
    case SF_J_TEXT:
        return v.text.bytes != 0;
    case SF_J_LIST:
    case SF_J_TUPLE:
    case SF_J_RANGE:
    case SF_J_VIEW:
        return v.list->items != 0;
    case SF_J_DICT:
        return v.dict->items != 0;
    default:
        return true;
    }
}

static bool equal_numbers(sf_jvalue a, sf_jvalue b)
{
    if (a.kind == SF_J_FLOAT || b.kind == SF_J_FLOAT) return sf_jinja_real(a) == sf_jinja_real(b);
    return sf_jinja_whole(a) == sf_jinja_whole(b);
}

static bool equal_dicts(sf_jrun *r, const sf_jdict *a, const sf_jdict *b)
{
    if (a->items != b->items) return false;
    for (size_t i = 0; i < a->items; i++) {
        sf_jvalue other;
        if (!sf_jinja_find(r, b, a->key[i], &other) || !sf_jinja_equal(r, a->value[i], other)) return false;
    }
    return true;
}

bool sf_jinja_equal(sf_jrun *r, sf_jvalue a, sf_jvalue b)
{
    if (!sf_jinja_step(r, 1)) return false;
    if (sf_jinja_is_number(a) && sf_jinja_is_number(b)) return equal_numbers(a, b);
    if (a.kind != b.kind) return false;
    bool same = true;
    switch (a.kind) {
    case SF_J_UNDEFINED:
    case SF_J_NONE:
        return true;
    case SF_J_TEXT:
        if (a.text.bytes != b.text.bytes || !sf_jinja_step(r, a.text.bytes / 64)) return false;
        return !a.text.bytes || !memcmp(a.text.at, b.text.at, a.text.bytes);
    case SF_J_VIEW:
        sf_jinja_fail(r, SF_UNSUPPORTED, "comparing a dictionary's keys() or items()");
        return false;
    case SF_J_LIST:
    case SF_J_TUPLE:
    case SF_J_RANGE:
        if (a.list->items != b.list->items || !sf_jinja_sink(r)) return false;
        for (size_t i = 0; same && i < a.list->items; i++) same = sf_jinja_equal(r, a.list->item[i], b.list->item[i]);
        sf_jinja_rise(r);
        return same;
    case SF_J_DICT:
        if (!sf_jinja_sink(r)) return false;
        same = equal_dicts(r, a.dict, b.dict);
        sf_jinja_rise(r);
        return same;
    default:
        return a.list == b.list; /* the same thing: all of these are pointers */
    }
}

int sf_jinja_order(sf_jrun *r, sf_jvalue a, sf_jvalue b)
{
    if (sf_jinja_is_number(a) && sf_jinja_is_number(b)) {
        if (!sf_jinja_step(r, 1)) return 0;
        if (sf_jinja_is_int(a) && sf_jinja_is_int(b))
            return (sf_jinja_whole(a) > sf_jinja_whole(b)) - (sf_jinja_whole(a) < sf_jinja_whole(b));
        double x = sf_jinja_real(a), y = sf_jinja_real(b);
        if (isnan(x) || isnan(y)) sf_jinja_fail(r, SF_UNSUPPORTED, "the order of what is not a number");
        return (x > y) - (x < y);
    }
    if (a.kind == SF_J_TEXT && b.kind == SF_J_TEXT) { /* the order of UTF-8 is that of code points */
        size_t n = a.text.bytes < b.text.bytes ? a.text.bytes : b.text.bytes;
        if (!sf_jinja_step(r, 1 + n / 64)) return 0;
        int order = n ? memcmp(a.text.at, b.text.at, n) : 0;
        return order ? order : (a.text.bytes > b.text.bytes) - (a.text.bytes < b.text.bytes);
    }
    if (a.kind == b.kind && (a.kind == SF_J_LIST || a.kind == SF_J_TUPLE)) {
        int order = 0;
        if (!sf_jinja_sink(r)) return 0;
        size_t i = 0, n = a.list->items < b.list->items ? a.list->items : b.list->items;
        while (i < n && sf_jinja_equal(r, a.list->item[i], b.list->item[i])) i++;
        if (i < n)
            order = sf_jinja_order(r, a.list->item[i], b.list->item[i]);
        else
            order = (a.list->items > b.list->items) - (a.list->items < b.list->items);
        sf_jinja_rise(r);
        return order;
    }
    sf_jinja_fail(r, SF_BAD_INPUT, "'%s' and '%s' have no order", sf_jinja_type(a), sf_jinja_type(b));
    return 0;
}

bool sf_jinja_contains(sf_jrun *r, sf_jvalue whole, sf_jvalue part)
{
    if (whole.kind == SF_J_TEXT) {
        if (part.kind == SF_J_TEXT) return sf_jinja_search(r, whole, 0, part) != NULL;
        sf_jinja_fail(r, SF_BAD_INPUT, "'in' a text: expected a text before it, found '%s'", sf_jinja_type(part));
        return false;
    }
    if (whole.kind == SF_J_DICT) {
        sf_jvalue found;
        return sf_jinja_find(r, whole.dict, part, &found);
    }
    const sf_jlist *l = sf_jinja_items(r, whole);
    for (size_t i = 0; i < l->items && r->status == SF_OK; i++)
        if (sf_jinja_equal(r, l->item[i], part)) return true;
    return false;
}

/* ---- length, iteration ----------------------------------------------------------------------------------------- */

size_t sf_jinja_length(sf_jrun *r, sf_jvalue v)
{
    switch (v.kind) {
    case SF_J_UNDEFINED:
        return 0;
    case SF_J_TEXT:
        return sf_jinja_step(r, v.text.bytes / 64) ? sf_jinja_letters(v) : 0;
    case SF_J_LIST:
    case SF_J_TUPLE:
    case SF_J_RANGE:
    case SF_J_VIEW:
        return v.list->items;
    case SF_J_DICT:
        return v.dict->items;
    case SF_J_LOOP:
        return v.loop->items->items;
    default:
        sf_jinja_fail(r, SF_BAD_INPUT, "'%s' has no length", sf_jinja_type(v));
        return 0;
    }
}

static sf_jlist *letters_of(sf_jrun *r, sf_jvalue text)
{
    sf_jlist *l = sf_jinja_list(r, 0);
    for (size_t at = 0, n; at < text.text.bytes && r->status == SF_OK; at += n) {
        n = (size_t)sf_jinja_letter(text.text.at + at, text.text.bytes - at);
        sf_jinja_append(r, l, sf_jinja_part(text, at, at + n));
    }
    return l;
}

const sf_jlist *sf_jinja_items(sf_jrun *r, sf_jvalue v)
{
    static const sf_jlist none;
    sf_jlist *l = NULL;
    switch (v.kind) {
    case SF_J_UNDEFINED:
        return &none;
    case SF_J_LIST:
    case SF_J_TUPLE:
    case SF_J_RANGE:
    case SF_J_VIEW:
        return v.list;
    case SF_J_STREAM:
        l = sf_jinja_list(r, 0);
        if (l) *l = *v.list;
        v.list->items = 0;
        break;
    case SF_J_DICT:
        l = sf_jinja_list(r, v.dict->items);
        for (size_t i = 0; i < v.dict->items; i++) sf_jinja_append(r, l, v.dict->key[i]);
        break;
    case SF_J_TEXT:
        l = letters_of(r, v);
        break;
    case SF_J_LOOP:
        sf_jinja_fail(r, SF_UNSUPPORTED, "iterating over `loop`");
        break;
    default:
        sf_jinja_fail(r, SF_BAD_INPUT, "'%s' cannot be iterated over", sf_jinja_type(v));
    }
    return l && r->status == SF_OK ? l : &none;
}

/* ---- str() and repr() ------------------------------------------------------------------------------------------ */

void sf_jinja_float_text(double f, char out[40])
{
    if (isnan(f) || isinf(f)) {
        snprintf(out, 40, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    char digits[40];
    int precision = 0; /* behind the first digit: the fewest that give the number back */
    do snprintf(digits, sizeof digits, "%.*e", precision, f);
    while (strtod(digits, NULL) != f && ++precision < 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent >= -4 && exponent < 16) {
        snprintf(out, 40, "%.*f", precision > exponent ? precision - exponent : 1, f);
        return;
    }
    char *e = strchr(digits, 'e');
    *e = 0;
    snprintf(out, 40, "%.26se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
}

static void put_repr(sf_jrun *r, sf_jbuffer *b, sf_jvalue v);

static void put_list(sf_jrun *r, sf_jbuffer *b, sf_jvalue v)
{
    bool tuple = v.kind == SF_J_TUPLE;
    sf_jinja_put_word(r, b, tuple ? "(" : "[");
    for (size_t i = 0; i < v.list->items && r->status == SF_OK; i++) {
        if (i) sf_jinja_put_word(r, b, ", ");
        put_repr(r, b, v.list->item[i]);
    }
    sf_jinja_put_word(r, b, tuple ? v.list->items == 1 ? ",)" : ")" : "]");
}

static void put_dict(sf_jrun *r, sf_jbuffer *b, const sf_jdict *d)
{
    sf_jinja_put_word(r, b, "{");
    for (size_t i = 0; i < d->items && r->status == SF_OK; i++) {
        if (i) sf_jinja_put_word(r, b, ", ");
        put_repr(r, b, d->key[i]);
        sf_jinja_put_word(r, b, ": ");
        put_repr(r, b, d->value[i]);
    }
    sf_jinja_put_word(r, b, "}");
}

static void put_plain(sf_jrun *r, sf_jbuffer *b, sf_jvalue v)
{
    char number[40];
    switch (v.kind) {
    case SF_J_NONE:
        sf_jinja_put_word(r, b, "None");
        break;
    case SF_J_BOOL:
        sf_jinja_put_word(r, b, v.truth ? "True" : "False");
        break;
    case SF_J_INT:
        snprintf(number, sizeof number, "%lld", (long long)v.number);
        sf_jinja_put_word(r, b, number);
        break;
    case SF_J_FLOAT:
        sf_jinja_float_text(v.real, number);
        sf_jinja_put_word(r, b, number);
        break;
    default:
        sf_jinja_fail(r, SF_UNSUPPORTED, "writing a value of type '%s' as text", sf_jinja_type(v));
    }
}

static void put_repr(sf_jrun *r, sf_jbuffer *b, sf_jvalue v)
{
    if (!sf_jinja_step(r, 1) || !sf_jinja_sink(r)) return;
    if (v.kind == SF_J_TEXT && !v.safe)
        sf_jinja_put_repr(r, b, v);
    else if (v.kind == SF_J_UNDEFINED)
        sf_jinja_put_word(r, b, "Undefined");
    else if (v.kind == SF_J_LIST || v.kind == SF_J_TUPLE)
        put_list(r, b, v);
    else if (v.kind == SF_J_DICT)
        put_dict(r, b, v.dict);
    else
        put_plain(r, b, v);
    sf_jinja_rise(r);
}

sf_jvalue sf_jinja_str(sf_jrun *r, sf_jvalue v)
{
    if (v.kind == SF_J_TEXT) return v;
    if (v.kind == SF_J_UNDEFINED) return sf_jinja_text("", 0);
    sf_jbuffer b = {0};
    put_repr(r, &b, v);
    return sf_jinja_made(&b);
}

/* ---- from JSON ------------------------------------------------------------------------------------------------- */

static sf_jvalue text_from(sf_jrun *r, const json_t *j)
{
    sf_jvalue v = sf_jinja_text(json_string_value(j), json_string_length(j));
    if (!r->input || j != r->input->marked || !v.text.bytes) return v;
    uint8_t *mark = sf_jinja_take(r, v.text.bytes);
    if (mark) memset(mark, 1, v.text.bytes);
    v.text.mark = mark;
    return v;
}

sf_jvalue sf_jinja_from_json(sf_jrun *r, const json_t *j)
{
    sf_jvalue v = sf_jinja_none();
    if (!sf_jinja_sink(r)) return v;
    switch (json_typeof(j)) {
    case JSON_NULL:
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v = sf_jinja_bool(json_is_true(j));
        break;
    case JSON_INTEGER:
        v = sf_jinja_int(json_integer_value(j));
        break;
    case JSON_REAL:
        v = sf_jinja_float(json_real_value(j));
        break;
    case JSON_STRING:
        v = text_from(r, j);
        break;
    case JSON_ARRAY: {
        sf_jlist *l = sf_jinja_list(r, json_array_size(j));
        for (size_t i = 0; i < json_array_size(j) && r->status == SF_OK; i++)
            sf_jinja_append(r, l, sf_jinja_from_json(r, json_array_get(j, i)));
        v = sf_jinja_listed(SF_J_LIST, l);
        break;
    }
    case JSON_OBJECT: {
        sf_jdict *d = sf_jinja_dict(r);
        const char *key;
        json_t *item;
        json_object_foreach((json_t *)(uintptr_t)j, key, item)
            sf_jinja_put_key(r, d, sf_jinja_text(key, strlen(key)), sf_jinja_from_json(r, item));
        if (d) v = (sf_jvalue){.kind = SF_J_DICT, .dict = d};
        break;
    }
    }
    sf_jinja_rise(r);
    return v;
}
