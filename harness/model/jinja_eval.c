/* Expressions: names, operators, subscripts, calls. */
#include "harness/model/jinja_parts.h"

#include <math.h>
#include <string.h>

/* ---- names ----------------------------------------------------------------------------------------------------- */

sf_jscope *sf_jinja_scope(sf_jrun *r, sf_jscope *parent)
{
    sf_jscope *s = sf_jinja_take(r, sizeof *s);
    if (s) s->parent = parent;
    return s ? s : parent;
}

void sf_jinja_bind(sf_jrun *r, sf_jscope *scope, const char *name, sf_jvalue value)
{
    for (sf_jbinding *b = scope->first; b; b = b->next) {
        if (!sf_jinja_step(r, 1)) return;
        if (strcmp(b->name, name)) continue;
        b->value = value;
        return;
    }
    sf_jbinding *b = sf_jinja_take(r, sizeof *b);
    if (!b) return;
    *b = (sf_jbinding){name, value, scope->first};
    scope->first = b;
}

static sf_jvalue look_up(sf_jrun *r, const char *name)
{
    for (const sf_jscope *s = r->scope; s; s = s->parent)
        for (const sf_jbinding *b = s->first; b && sf_jinja_step(r, 1); b = b->next)
            if (!strcmp(b->name, name)) return b->value;
    const sf_jrow *f = sf_jinja_row(sf_jinja_functions, name);
    if (f) return (sf_jvalue){.kind = SF_J_FUNCTION, .function = f};
    return sf_jinja_undefined(name);
}

/* What nothing can be done with but ask whether it is defined, and write it, which gives nothing. */
static bool needs(sf_jrun *r, sf_jvalue v)
{
    if (v.kind != SF_J_UNDEFINED) return r->status == SF_OK;
    sf_jinja_fail(r, SF_BAD_INPUT, "'%.100s' is undefined", v.name ? v.name : "?");
    return false;
}

/* ---- operators ------------------------------------------------------------------------------------------------- */

static const char *const SIGNS[] = {
    "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

static sf_jvalue cannot(sf_jrun *r, sf_jop op, sf_jvalue a, sf_jvalue b)
{
    sf_jinja_fail(r, SF_BAD_INPUT, "'%s' %s '%s' has no meaning", sf_jinja_type(a), SIGNS[op], sf_jinja_type(b));
    return sf_jinja_none();
}

static sf_jvalue too_big(sf_jrun *r)
{
    sf_jinja_fail(r, SF_UNSUPPORTED, "an integer beyond 64 bits");
    return sf_jinja_none();
}

static sf_jvalue power(sf_jrun *r, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0) return sf_jinja_float(pow((double)base, (double)exponent));
    if (base == 0 || base == 1) return sf_jinja_int(exponent ? base : 1);
    if (base == -1) return sf_jinja_int(exponent % 2 ? -1 : 1);
    while (exponent-- > 0)
        if (__builtin_mul_overflow(result, base, &result)) return too_big(r);
    return sf_jinja_int(result);
}

static sf_jvalue whole_numbers(sf_jrun *r, sf_jop op, int64_t a, int64_t b)
{
    int64_t c = 0;
    bool over = false;
    if ((op == SF_J_DIV || op == SF_J_FLOORDIV || op == SF_J_MOD || (op == SF_J_POW && a == 0 && b < 0))) {
        if (op == SF_J_POW || b == 0) {
            sf_jinja_fail(r, SF_BAD_INPUT, "division by zero");
            return sf_jinja_none();
        }
        over = a == INT64_MIN && b == -1;
    }
    switch (op) {
    case SF_J_ADD:
        over = __builtin_add_overflow(a, b, &c);
        break;
    case SF_J_SUB:
        over = __builtin_sub_overflow(a, b, &c);
        break;
    case SF_J_MUL:
        over = __builtin_mul_overflow(a, b, &c);
        break;
    case SF_J_DIV:
        return sf_jinja_float((double)a / (double)b);
    case SF_J_FLOORDIV:
        c = over ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case SF_J_MOD:
        c = over ? 0 : a % b, c += c && (c < 0) != (b < 0) ? b : 0;
        break;
    default:
        return power(r, a, b);
    }
    return over ? too_big(r) : sf_jinja_int(c);
}

static sf_jvalue real_numbers(sf_jrun *r, sf_jop op, double a, double b)
{
    if (b == 0 && (op == SF_J_DIV || op == SF_J_FLOORDIV || op == SF_J_MOD)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "division by zero");
        return sf_jinja_none();
    }
    double rest = op == SF_J_FLOORDIV || op == SF_J_MOD ? fmod(a, b) : 0;
    if (rest && (rest < 0) != (b < 0)) rest += b;
    switch (op) {
    case SF_J_ADD:
        return sf_jinja_float(a + b);
    case SF_J_SUB:
        return sf_jinja_float(a - b);
    case SF_J_MUL:
        return sf_jinja_float(a * b);
    case SF_J_DIV:
        return sf_jinja_float(a / b);
    case SF_J_FLOORDIV:
        return sf_jinja_float(round((a - rest) / b));
    case SF_J_MOD:
        return sf_jinja_float(rest ? rest : copysign(0, b));
    default:
        break;
    }
    if ((a < 0 && b != floor(b)) || (a == 0 && b < 0)) sf_jinja_fail(r, SF_UNSUPPORTED, "this power of a number");
    return sf_jinja_float(pow(a, b));
}

static sf_jvalue repeated(sf_jrun *r, sf_jvalue what, int64_t times)
{
    if (what.kind == SF_J_TEXT) {
        sf_jbuffer b = {0};
        for (; times > 0 && what.text.bytes && sf_jinja_step(r, 1); times--) sf_jinja_put_text(r, &b, what);
        return sf_jinja_made(&b);
    }
    sf_jlist *l = sf_jinja_list(r, 0);
    for (; times > 0 && what.list->items && r->status == SF_OK; times--)
        for (size_t i = 0; i < what.list->items && r->status == SF_OK; i++) sf_jinja_append(r, l, what.list->item[i]);
    return sf_jinja_listed(what.kind, l);
}

static bool is_sequence(sf_jvalue v) { return v.kind == SF_J_TEXT || v.kind == SF_J_LIST || v.kind == SF_J_TUPLE; }

static sf_jvalue added(sf_jrun *r, sf_jvalue a, sf_jvalue b)
{
    if (a.kind == SF_J_TEXT) {
        bool safe = a.safe || b.safe;
        sf_jbuffer joined = {0};
        sf_jinja_put_text(r, &joined, safe ? sf_jinja_escape(r, a) : a);
        sf_jinja_put_text(r, &joined, safe ? sf_jinja_escape(r, b) : b);
        sf_jvalue v = sf_jinja_made(&joined);
        v.safe = safe;
        return v;
    }
    sf_jlist *l = sf_jinja_list(r, a.list->items + b.list->items);
    for (size_t i = 0; i < a.list->items; i++) sf_jinja_append(r, l, a.list->item[i]);
    for (size_t i = 0; i < b.list->items; i++) sf_jinja_append(r, l, b.list->item[i]);
    return sf_jinja_listed(a.kind, l);
}

sf_jvalue sf_jinja_binary(sf_jrun *r, sf_jop op, sf_jvalue a, sf_jvalue b)
{
    if (!needs(r, a) || !needs(r, b)) return sf_jinja_none();
    if (sf_jinja_is_int(a) && sf_jinja_is_int(b)) return whole_numbers(r, op, sf_jinja_whole(a), sf_jinja_whole(b));
    if (sf_jinja_is_number(a) && sf_jinja_is_number(b)) return real_numbers(r, op, sf_jinja_real(a), sf_jinja_real(b));
    if (op == SF_J_ADD && is_sequence(a) && a.kind == b.kind) return added(r, a, b);
    if ((a.kind == SF_J_TEXT && a.safe) || (b.kind == SF_J_TEXT && b.safe)) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "%s with a text that is marked as safe", SIGNS[op]);
        return sf_jinja_none();
    }
    if (op == SF_J_MUL && is_sequence(a) && sf_jinja_is_int(b)) return repeated(r, a, sf_jinja_whole(b));
    if (op == SF_J_MUL && sf_jinja_is_int(a) && is_sequence(b)) return repeated(r, b, sf_jinja_whole(a));
    if (op == SF_J_MOD && a.kind == SF_J_TEXT) {
        sf_jlist *one = b.kind == SF_J_TUPLE ? b.list : sf_jinja_list(r, 1);
        if (b.kind != SF_J_TUPLE) sf_jinja_append(r, one, b);
        return sf_jinja_format(r, a, (sf_jgiven){.plain = one, .named = b.kind == SF_J_DICT ? b.dict : NULL});
    }
    return cannot(r, op, a, b);
}

static bool holds(sf_jrun *r, sf_jop op, sf_jvalue a, sf_jvalue b)
{
    switch (op) {
    case SF_J_EQ:
        return sf_jinja_equal(r, a, b);
    case SF_J_NE:
        return !sf_jinja_equal(r, a, b);
    case SF_J_IN:
        return sf_jinja_contains(r, b, a);
    case SF_J_NOT_IN:
        return !sf_jinja_contains(r, b, a);
    default:
        break;
    }
    if (!needs(r, a) || !needs(r, b)) return false;
    int order = sf_jinja_order(r, a, b);
    return op == SF_J_LT ? order < 0 : op == SF_J_LE ? order <= 0 : op == SF_J_GT ? order > 0 : order >= 0;
}

/* a < b < c: each is evaluated once, and none behind the first that does not hold. */
static sf_jvalue compare(sf_jrun *r, const sf_jnode *n)
{
    sf_jvalue left = sf_jinja_eval(r, n->a);
    bool good = true;
    for (int i = 0; i < n->items.n && good && r->status == SF_OK; i++) {
        sf_jvalue right = sf_jinja_eval(r, n->items.at[i]->a);
        good = r->status == SF_OK && holds(r, n->items.at[i]->op, left, right);
        left = right;
    }
    return sf_jinja_bool(good);
}

static sf_jvalue signed_number(sf_jrun *r, sf_jvalue v, bool negative)
{
    if (!needs(r, v)) return v;
    if (!sf_jinja_is_number(v)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "the sign of a value of type '%s'", sf_jinja_type(v));
        return v;
    }
    if (v.kind == SF_J_FLOAT) return sf_jinja_float(negative ? -v.real : v.real);
    return whole_numbers(r, negative ? SF_J_SUB : SF_J_ADD, 0, sf_jinja_whole(v));
}

static sf_jvalue concatenate(sf_jrun *r, const sf_jnode *n)
{
    sf_jbuffer b = {0};
    for (int i = 0; i < n->items.n && r->status == SF_OK; i++)
        sf_jinja_put_text(r, &b, sf_jinja_str(r, sf_jinja_eval(r, n->items.at[i])));
    return sf_jinja_made(&b);
}

/* ---- subscripts ------------------------------------------------------------------------------------------------ */

static sf_jvalue indexed(sf_jrun *r, sf_jvalue of, int64_t i, bool *found)
{
    int64_t n = (int64_t)sf_jinja_length(r, of);
    if (i < 0) i += n;
    *found = i >= 0 && i < n && r->status == SF_OK;
    if (!*found) return sf_jinja_undefined(NULL);
    if (of.kind != SF_J_TEXT) return of.list->item[i];
    size_t at = sf_jinja_byte_of(of, i);
    sf_jvalue letter = sf_jinja_part(of, at, at + (size_t)sf_jinja_letter(of.text.at + at, of.text.bytes - at));
    letter.safe = of.safe;
    return letter;
}

sf_jvalue sf_jinja_get_item(sf_jrun *r, sf_jvalue of, sf_jvalue key)
{
    sf_jvalue v;
    bool found = false;
    if (!needs(r, of)) return sf_jinja_none();
    bool sequence = is_sequence(of) || of.kind == SF_J_RANGE;
    if (sequence && sf_jinja_is_int(key))
        v = indexed(r, of, sf_jinja_whole(key), &found);
    else if (of.kind == SF_J_DICT && key.kind != SF_J_LIST && key.kind != SF_J_DICT)
        found = sf_jinja_find(r, of.dict, key, &v);
    if (found || r->status != SF_OK) return found ? v : sf_jinja_none();
    if (key.kind != SF_J_TEXT) return sf_jinja_undefined("an item that is not there");
    char *name = sf_jinja_take(r, key.text.bytes + 1);
    if (!name) return sf_jinja_none();
    memcpy(name, key.text.at, key.text.bytes);
    if (strlen(name) == key.text.bytes && (sf_jinja_own_attribute(r, of, name, &v) || sf_jinja_method(r, of, name, &v)))
        return v;
    return sf_jinja_undefined(name);
}

sf_jvalue sf_jinja_get_attribute(sf_jrun *r, sf_jvalue of, const char *name)
{
    sf_jvalue v;
    if (!needs(r, of)) return sf_jinja_none();
    if (sf_jinja_own_attribute(r, of, name, &v) || sf_jinja_method(r, of, name, &v)) return v;
    if (of.kind == SF_J_DICT && sf_jinja_find(r, of.dict, sf_jinja_text(name, strlen(name)), &v)) return v;
    return sf_jinja_undefined(name);
}

/* A bound of a slice, as Python's slice.indices() has it. */
static bool bound(sf_jrun *r, const sf_jnode *n, int64_t items, int64_t step, int64_t absent, int64_t *out)
{
    sf_jvalue v = n ? sf_jinja_eval(r, n) : sf_jinja_none();
    *out = absent;
    if (v.kind == SF_J_NONE) return r->status == SF_OK;
    if (!sf_jinja_is_int(v)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "a slice by a value of type '%s'", sf_jinja_type(v));
        return false;
    }
    int64_t i = sf_jinja_whole(v), low = step < 0 ? -1 : 0, high = step < 0 ? items - 1 : items;
    if (i < 0) i = i < -items ? -1 : i + items; /* no overflow */
    *out = i < low ? low : i > high ? high : i;
    return true;
}

static sf_jvalue sliced_text(sf_jrun *r, sf_jvalue of, int64_t from, int64_t to, int64_t step)
{
    if (step == 1) {
        size_t begin = sf_jinja_byte_of(of, from);
        sf_jvalue rest = sf_jinja_part(of, begin, of.text.bytes);
        return from >= to ? sf_jinja_text("", 0) : sf_jinja_part(rest, 0, sf_jinja_byte_of(rest, to - from));
    }
    sf_jbuffer b = {0};
    const sf_jlist *letters = sf_jinja_items(r, of);
    for (int64_t i = from; (step < 0 ? i > to : i < to) && r->status == SF_OK; i += step)
        sf_jinja_put_text(r, &b, letters->item[i]);
    return sf_jinja_made(&b);
}

static sf_jvalue slice(sf_jrun *r, sf_jvalue of, const sf_jnode *n)
{
    if (!needs(r, of)) return sf_jinja_none();
    sf_jvalue by = n->c ? sf_jinja_eval(r, n->c) : sf_jinja_none();
    int64_t step = sf_jinja_is_int(by) ? sf_jinja_whole(by) : by.kind == SF_J_NONE, items, from, to;
    if ((!is_sequence(of) && of.kind != SF_J_RANGE) || step == 0) {
        sf_jinja_fail(r, SF_BAD_INPUT, "a slice of a value of type '%s', or with steps of 0", sf_jinja_type(of));
        return sf_jinja_none();
    }
    items = (int64_t)sf_jinja_length(r, of);
    if (step > items + 1) step = items + 1; /* no overflow when it is added */
    if (step < -items - 1) step = -items - 1;
    if (!bound(r, n->a, items, step, step < 0 ? items - 1 : 0, &from) ||
        !bound(r, n->b, items, step, step < 0 ? -1 : items, &to))
        return sf_jinja_none();
    if (of.kind == SF_J_TEXT) {
        sf_jvalue part = sliced_text(r, of, from, to, step);
        part.safe = of.safe;
        return part;
    }
    sf_jlist *l = sf_jinja_list(r, 0);
    for (int64_t i = from; (step < 0 ? i > to : i < to) && r->status == SF_OK; i += step)
        sf_jinja_append(r, l, of.list->item[i]);
    return sf_jinja_listed(of.kind, l);
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

sf_jgiven sf_jinja_arguments(sf_jrun *r, const sf_jarguments *a)
{
    if (!a) return (sf_jgiven){0};
    sf_jgiven g = {sf_jinja_list(r, (size_t)a->plain.n), a->named.n || a->stars ? sf_jinja_dict(r) : NULL};
    for (int i = 0; i < a->plain.n && r->status == SF_OK; i++)
        sf_jinja_append(r, g.plain, sf_jinja_eval(r, a->plain.at[i]));
    for (int i = 0; i < a->named.n && r->status == SF_OK; i++) {
        const char *name = a->named.at[i]->name;
        sf_jinja_put_key(r, g.named, sf_jinja_text(name, strlen(name)), sf_jinja_eval(r, a->named.at[i]->a));
    }
    if (a->star) {
        const sf_jlist *more = sf_jinja_items(r, sf_jinja_eval(r, a->star));
        for (size_t i = 0; i < more->items && r->status == SF_OK; i++) sf_jinja_append(r, g.plain, more->item[i]);
    }
    if (a->stars) {
        sf_jvalue more = sf_jinja_eval(r, a->stars);
        if (more.kind != SF_J_DICT)
            sf_jinja_fail(r, SF_BAD_INPUT, "** before a value of type '%s'", sf_jinja_type(more));
        for (size_t i = 0; r->status == SF_OK && i < more.dict->items; i++)
            sf_jinja_put_key(r, g.named, more.dict->key[i], more.dict->value[i]);
    }
    return g;
}

sf_jvalue sf_jinja_call(sf_jrun *r, sf_jvalue callee, sf_jgiven given)
{
    sf_jvalue v = sf_jinja_none();
    if (!needs(r, callee) || !sf_jinja_sink(r)) return v;
    switch (callee.kind) {
    case SF_J_FUNCTION:
        v = sf_jinja_apply(r, "function", callee.function, v, given);
        break;
    case SF_J_METHOD:
        v = sf_jinja_apply(r, "method", callee.method->row, callee.method->self, given);
        break;
    case SF_J_MACRO:
        v = sf_jinja_call_macro(r, callee.macro, given, NULL);
        break;
    case SF_J_LOOP:
        if (given.plain && given.plain->items == 1)
            v = sf_jinja_call_loop(r, callee.loop, given.plain->item[0]);
        else
            sf_jinja_fail(r, SF_BAD_INPUT, "loop(): expected one argument");
        break;
    case SF_J_JOINER:
        v = callee.turn->at++ ? callee.turn->separator : sf_jinja_text("", 0);
        break;
    default:
        sf_jinja_fail(r, SF_BAD_INPUT, "calling a value of type '%s'", sf_jinja_type(callee));
    }
    sf_jinja_rise(r);
    return v;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static sf_jvalue make_list(sf_jrun *r, const sf_jnode *n, sf_jkind kind)
{
    sf_jlist *l = sf_jinja_list(r, (size_t)n->items.n);
    for (int i = 0; i < n->items.n && r->status == SF_OK; i++) sf_jinja_append(r, l, sf_jinja_eval(r, n->items.at[i]));
    return sf_jinja_listed(kind, l);
}

static sf_jvalue make_dict(sf_jrun *r, const sf_jnode *n)
{
    sf_jdict *d = sf_jinja_dict(r);
    for (int i = 0; i + 1 < n->items.n && r->status == SF_OK; i += 2) {
        sf_jvalue key = sf_jinja_eval(r, n->items.at[i]);
        sf_jinja_put_key(r, d, key, sf_jinja_eval(r, n->items.at[i + 1]));
    }
    return d ? (sf_jvalue){.kind = SF_J_DICT, .dict = d} : sf_jinja_none();
}

static sf_jvalue apply_word(sf_jrun *r, const sf_jnode *n)
{
    sf_jvalue self = sf_jinja_eval(r, n->a);
    sf_jgiven given = sf_jinja_arguments(r, n->arguments);
    if (r->status != SF_OK) return self;
    r->line = n->line;
    if (n->type == SF_J_TEST) return sf_jinja_bool(sf_jinja_test(r, n->name, self, given));
    return sf_jinja_filter(r, n->name, self, given);
}

static sf_jvalue evaluated(sf_jrun *r, const sf_jnode *n)
{
    sf_jvalue a;
    switch (n->type) {
    case SF_J_CONST:
        return n->value;
    case SF_J_NAME:
        return look_up(r, n->name);
    case SF_J_MAKE_LIST:
        return make_list(r, n, SF_J_LIST);
    case SF_J_MAKE_TUPLE:
        return make_list(r, n, SF_J_TUPLE);
    case SF_J_MAKE_DICT:
        return make_dict(r, n);
    case SF_J_ATTRIBUTE:
        return sf_jinja_get_attribute(r, sf_jinja_eval(r, n->a), n->name);
    case SF_J_ITEM:
        a = sf_jinja_eval(r, n->a);
        return n->b->type == SF_J_SLICE ? slice(r, a, n->b) : sf_jinja_get_item(r, a, sf_jinja_eval(r, n->b));
    case SF_J_CALL:
        a = sf_jinja_eval(r, n->a);
        return sf_jinja_call(r, a, sf_jinja_arguments(r, n->arguments));
    case SF_J_FILTER:
    case SF_J_TEST:
        return apply_word(r, n);
    case SF_J_NOT:
        return sf_jinja_bool(!sf_jinja_true(sf_jinja_eval(r, n->a)));
    case SF_J_AND:
        return sf_jinja_true(a = sf_jinja_eval(r, n->a)) ? sf_jinja_eval(r, n->b) : a;
    case SF_J_OR:
        return sf_jinja_true(a = sf_jinja_eval(r, n->a)) ? a : sf_jinja_eval(r, n->b);
    case SF_J_IF_ELSE:
        if (sf_jinja_true(sf_jinja_eval(r, n->b))) return sf_jinja_eval(r, n->a);
        return n->c ? sf_jinja_eval(r, n->c) : sf_jinja_undefined("an 'if' without 'else'");
    case SF_J_COMPARE:
        return compare(r, n);
    case SF_J_CONCAT:
        return concatenate(r, n);
    case SF_J_BINARY:
        a = sf_jinja_eval(r, n->a);
        return sf_jinja_binary(r, n->op, a, sf_jinja_eval(r, n->b));
    case SF_J_NEGATIVE:
    case SF_J_POSITIVE:
        return signed_number(r, sf_jinja_eval(r, n->a), n->type == SF_J_NEGATIVE);
    default:
        sf_jinja_fail(r, SF_INTERNAL, "a node of kind %d where a value is wanted", n->type);
        return sf_jinja_none();
    }
}

sf_jvalue sf_jinja_eval(sf_jrun *r, const sf_jnode *n)
{
    if (!sf_jinja_step(r, 1) || !sf_jinja_sink(r)) return sf_jinja_none();
    r->line = n->line;
    sf_jvalue v = evaluated(r, n);
    sf_jinja_rise(r);
    return r->status == SF_OK ? v : sf_jinja_none();
}
