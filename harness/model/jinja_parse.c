/* Tokens → nodes, by jinja2's grammar (its parser.py is the reference for precedence and for what a tag may hold). */
#include "harness/model/jinja_parts.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    sf_jrun *r;
    const sf_jtoken *at;
    int loops;    /* around here, for break and continue */
    bool soft;    /* inside an `if`: jinja2 complains of an unknown filter only when it comes to it */
};

static const sf_jtoken *next(struct parser *p)
{
    const sf_jtoken *t = p->at;
    if (t->kind != SF_J_T_EOF) p->at++;
    return t;
}

/* After a failure nothing matches any more, so that every loop ends. */
static bool is_sign(const struct parser *p, const char *sign)
{
    return p->r->status == SF_OK && p->at->kind == SF_J_T_SIGN && !strcmp(p->at->sign, sign);
}

static bool is_name(const struct parser *p, const char *name)
{
    return p->r->status == SF_OK && p->at->kind == SF_J_T_NAME && !strcmp(p->at->name, name);
}

static bool is_kind(const struct parser *p, sf_jtoken_kind kind)
{
    return p->r->status == SF_OK && p->at->kind == kind;
}

static bool skip_sign(struct parser *p, const char *sign) { return is_sign(p, sign) && next(p); }
static bool skip_name(struct parser *p, const char *name) { return is_name(p, name) && next(p); }

static void unexpected(struct parser *p, const char *expected)
{
    static const char *const what[] = {[SF_J_T_DATA] = "text",    [SF_J_T_BEGIN] = "{%",  [SF_J_T_END] = "%}",
                                       [SF_J_T_PRINT] = "{{",     [SF_J_T_PRINT_END] = "}}", [SF_J_T_TEXT] = "a quoted text",
                                       [SF_J_T_INT] = "a number", [SF_J_T_FLOAT] = "a number", [SF_J_T_EOF] = "the end"};
    const sf_jtoken *t = p->at;
    p->r->line = t->line;
    const char *found = t->kind == SF_J_T_NAME ? t->name : t->kind == SF_J_T_SIGN ? t->sign : what[t->kind];
    sf_jinja_fail(p->r, SF_BAD_INPUT, "expected %s, found %.64s", expected, found);
}

static void expect_sign(struct parser *p, const char *sign)
{
    if (!skip_sign(p, sign)) unexpected(p, sign);
}

static void expect_name(struct parser *p, const char *name)
{
    if (!skip_name(p, name)) unexpected(p, name);
}

static const char *any_name(struct parser *p)
{
    if (is_kind(p, SF_J_T_NAME)) return next(p)->name;
    unexpected(p, "a name");
    return "";
}

/* Never NULL: after a failure, a node that nobody evaluates. */
static sf_jnode *node(struct parser *p, sf_jtype type)
{
    static sf_jnode nothing;
    sf_jnode *n = sf_jinja_take(p->r, sizeof *n);
    if (!n) return &nothing;
    n->type = type;
    n->line = p->at->line;
    return n;
}

/* A node with a child. After a failure it stays unwritten, as it may be the shared one. */
static sf_jnode *node_of(struct parser *p, sf_jtype type, sf_jnode *a, sf_jnode *b)
{
    sf_jnode *n = node(p, type);
    if (p->r->status != SF_OK) return n;
    n->line = a->line;
    n->a = a;
    n->b = b;
    return n;
}

static void push(struct parser *p, sf_jnodes *list, sf_jnode *n)
{
    if (p->r->status != SF_OK) return;
    if (list->n == list->room) {
        int room = list->room ? 2 * list->room : 4;
        sf_jnode **more = sf_jinja_take(p->r, (size_t)room * sizeof *more);
        if (!more) return;
        if (list->n) memcpy(more, list->at, (size_t)list->n * sizeof *more);
        list->at = more;
        list->room = room;
    }
    list->at[list->n++] = n;
}

/* ---- expressions ----------------------------------------------------------------------------------------------- */

static sf_jnode *expression(struct parser *p);
static sf_jnode *disjunction(struct parser *p);
static sf_jnode *unary(struct parser *p, bool with_filter);

enum { TUPLE_PLAIN = 0, TUPLE_PARENTHESES = 1, TUPLE_NO_IF = 2, TUPLE_TARGET = 4, TUPLE_NAMESPACE = 8 };
static sf_jnode *tuple(struct parser *p, int how, const char *end);

static sf_jnode *constant(struct parser *p, sf_jvalue v)
{
    sf_jnode *n = node(p, SF_J_CONST);
    if (p->r->status == SF_OK) n->value = v;
    return n;
}

static sf_jnode *named(struct parser *p, sf_jtype type, const char *name)
{
    sf_jnode *n = node(p, type);
    if (p->r->status == SF_OK) n->name = name;
    return n;
}

static sf_jnode *name_or_word(struct parser *p, bool namespace)
{
    const char *name = any_name(p);
    if (!strcmp(name, "true") || !strcmp(name, "True")) return constant(p, sf_jinja_bool(true));
    if (!strcmp(name, "false") || !strcmp(name, "False")) return constant(p, sf_jinja_bool(false));
    if (!strcmp(name, "none") || !strcmp(name, "None")) return constant(p, sf_jinja_none());
    sf_jnode *n = named(p, SF_J_NAME, name);
    if (!namespace || !skip_sign(p, ".")) return n;
    sf_jnode *ref = node_of(p, SF_J_NAMESPACE_REF, n, NULL);
    const char *attribute = any_name(p);
    if (p->r->status == SF_OK) ref->name = attribute;
    return ref;
}

/* Quoted texts that follow each other are one. */
static sf_jnode *text(struct parser *p)
{
    sf_jvalue v = next(p)->value;
    if (!is_kind(p, SF_J_T_TEXT)) return constant(p, v);
    sf_jbuffer b = {0};
    sf_jinja_put_text(p->r, &b, v);
    while (is_kind(p, SF_J_T_TEXT)) sf_jinja_put_text(p->r, &b, next(p)->value);
    return constant(p, sf_jinja_made(&b));
}

static sf_jnode *list(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_MAKE_LIST);
    expect_sign(p, "[");
    while (p->r->status == SF_OK && !is_sign(p, "]")) {
        push(p, &n->items, expression(p));
        if (!is_sign(p, "]")) expect_sign(p, ",");
    }
    expect_sign(p, "]");
    return n;
}

static sf_jnode *dictionary(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_MAKE_DICT);
    expect_sign(p, "{");
    while (p->r->status == SF_OK && !is_sign(p, "}")) {
        push(p, &n->items, expression(p));
        expect_sign(p, ":");
        push(p, &n->items, expression(p));
        if (!is_sign(p, "}")) expect_sign(p, ",");
    }
    expect_sign(p, "}");
    return n;
}

static sf_jnode *primary(struct parser *p, bool namespace)
{
    if (is_kind(p, SF_J_T_NAME)) return name_or_word(p, namespace);
    if (is_kind(p, SF_J_T_TEXT)) return text(p);
    if (is_kind(p, SF_J_T_INT) || is_kind(p, SF_J_T_FLOAT)) return constant(p, next(p)->value);
    if (is_sign(p, "[")) return list(p);
    if (is_sign(p, "{")) return dictionary(p);
    if (skip_sign(p, "(")) {
        sf_jnode *n = tuple(p, TUPLE_PARENTHESES, NULL);
        expect_sign(p, ")");
        return n;
    }
    unexpected(p, "an expression");
    return node(p, SF_J_CONST);
}

static bool tuple_ends(const struct parser *p, const char *end)
{
    return p->r->status != SF_OK || is_kind(p, SF_J_T_PRINT_END) || is_kind(p, SF_J_T_END) || is_sign(p, ")") ||
           (end && is_name(p, end));
}

/* One expression, or several with commas between, which make a tuple. `end`: a name that ends it. */
static sf_jnode *tuple(struct parser *p, int how, const char *end)
{
    sf_jnode *n = node(p, SF_J_MAKE_TUPLE);
    bool commas = false;
    while (!tuple_ends(p, end)) {
        push(p, &n->items,
             how & TUPLE_TARGET  ? primary(p, how & TUPLE_NAMESPACE)
             : how & TUPLE_NO_IF ? disjunction(p)
                                 : expression(p));
        if (!skip_sign(p, ",")) break;
        commas = true;
    }
    if (p->r->status != SF_OK || commas) return n;
    if (n->items.n) return n->items.at[0];
    if (!(how & TUPLE_PARENTHESES)) unexpected(p, "an expression");
    return n;
}

static sf_jnode *slice_or_index(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_SLICE), *first = NULL;
    if (!is_sign(p, ":")) {
        first = expression(p);
        if (!is_sign(p, ":")) return first;
    }
    next(p);
    if (p->r->status != SF_OK) return n;
    n->a = first;
    if (!is_sign(p, ":") && !is_sign(p, "]") && !is_sign(p, ",")) n->b = expression(p);
    if (skip_sign(p, ":") && !is_sign(p, "]") && !is_sign(p, ",")) n->c = expression(p);
    return n;
}

static sf_jnode *subscript(struct parser *p, sf_jnode *of)
{
    if (skip_sign(p, ".")) {
        if (is_kind(p, SF_J_T_INT)) return node_of(p, SF_J_ITEM, of, constant(p, next(p)->value));
        sf_jnode *n = node_of(p, SF_J_ATTRIBUTE, of, NULL);
        const char *name = any_name(p);
        if (p->r->status == SF_OK) n->name = name;
        return n;
    }
    expect_sign(p, "[");
    sf_jnode *n = node_of(p, SF_J_ITEM, of, slice_or_index(p));
    if (is_sign(p, ",")) sf_jinja_fail(p->r, SF_UNSUPPORTED, "an index of several parts");
    expect_sign(p, "]");
    return n;
}

static sf_jarguments *arguments(struct parser *p)
{
    static sf_jarguments none;
    sf_jarguments *a = sf_jinja_take(p->r, sizeof *a);
    expect_sign(p, "(");
    while (p->r->status == SF_OK && !is_sign(p, ")")) {
        bool after_star = a->star || a->stars;
        if (skip_sign(p, "*") && !after_star) {
            a->star = expression(p);
        } else if (!a->stars && skip_sign(p, "**")) {
            a->stars = expression(p);
        } else if (is_kind(p, SF_J_T_NAME) && p->at[1].kind == SF_J_T_SIGN && !strcmp(p->at[1].sign, "=") && !a->stars) {
            sf_jnode *n = named(p, SF_J_NAME, next(p)->name);
            next(p);
            sf_jnode *value = expression(p);
            if (p->r->status == SF_OK) n->a = value;
            push(p, &a->named, n);
        } else if (!after_star && !a->named.n) {
            push(p, &a->plain, expression(p));
        } else {
            unexpected(p, "a named argument");
        }
        if (!is_sign(p, ")")) expect_sign(p, ",");
    }
    expect_sign(p, ")");
    return a ? a : &none;
}

static sf_jnode *call(struct parser *p, sf_jnode *callee)
{
    sf_jnode *n = node_of(p, SF_J_CALL, callee, NULL);
    sf_jarguments *a = arguments(p);
    if (p->r->status == SF_OK) n->arguments = a;
    return n;
}

/* A filter or test by its name, which may have dots. jinja2 knows all its names when it compiles. */
static sf_jnode *word(struct parser *p, sf_jtype type, const sf_jrow *table, sf_jnode *of)
{
    p->r->line = p->at->line;
    const char *name = any_name(p);
    if (is_sign(p, ".")) sf_jinja_fail(p->r, SF_BAD_INPUT, "no filter or test '%.64s.…'", name);
    if (p->r->status == SF_OK && !p->soft && !sf_jinja_row(table, name))
        sf_jinja_fail(p->r, SF_BAD_INPUT, "no %s '%.64s'", type == SF_J_FILTER ? "filter" : "test", name);
    sf_jnode *n = named(p, type, name);
    if (p->r->status == SF_OK) n->a = of;
    return n;
}

static sf_jnode *filter(struct parser *p, sf_jnode *of)
{
    sf_jnode *n = word(p, SF_J_FILTER, sf_jinja_filters, of);
    if (!is_sign(p, "(")) return n;
    sf_jarguments *a = arguments(p);
    if (p->r->status == SF_OK) n->arguments = a;
    return n;
}

static sf_jnode *test(struct parser *p, sf_jnode *of)
{
    bool negated = skip_name(p, "not");
    sf_jnode *n = word(p, SF_J_TEST, sf_jinja_tests, of);
    if (is_sign(p, "(")) {
        sf_jarguments *a = arguments(p);
        if (p->r->status == SF_OK) n->arguments = a;
    } else if ((is_kind(p, SF_J_T_NAME) || is_kind(p, SF_J_T_TEXT) || is_kind(p, SF_J_T_INT) ||
                is_kind(p, SF_J_T_FLOAT) || is_sign(p, "[") || is_sign(p, "{")) &&
               !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and")) {
        if (is_name(p, "is")) unexpected(p, "one test, no chain of them");
        sf_jarguments *a = sf_jinja_take(p->r, sizeof *a);
        sf_jnode *argument = primary(p, false);
        while (is_sign(p, ".") || is_sign(p, "[") || is_sign(p, "("))
            argument = is_sign(p, "(") ? call(p, argument) : subscript(p, argument);
        if (a) push(p, &a->plain, argument);
        if (p->r->status == SF_OK) n->arguments = a;
    }
    return negated ? node_of(p, SF_J_NOT, n, NULL) : n;
}

static sf_jnode *postfix(struct parser *p, sf_jnode *n)
{
    while (is_sign(p, ".") || is_sign(p, "[") || is_sign(p, "(")) n = is_sign(p, "(") ? call(p, n) : subscript(p, n);
    return n;
}

static sf_jnode *filtered(struct parser *p, sf_jnode *n)
{
    for (;;) {
        if (skip_sign(p, "|")) n = filter(p, n);
        else if (skip_name(p, "is")) n = test(p, n);
        else if (is_sign(p, "(")) n = call(p, n);
        else return n;
    }
}

static sf_jnode *unary(struct parser *p, bool with_filter)
{
    sf_jnode *n;
    bool negative = is_sign(p, "-");
    if (negative || is_sign(p, "+")) {
        next(p);
        if (!sf_jinja_sink(p->r)) return node(p, SF_J_CONST);
        n = node_of(p, negative ? SF_J_NEGATIVE : SF_J_POSITIVE, unary(p, false), NULL);
        sf_jinja_rise(p->r);
    } else {
        n = primary(p, false);
    }
    n = postfix(p, n);
    return with_filter ? filtered(p, n) : n;
}

/* Binary operators, from those that bind closest to those that bind least. All are read from left to right, ** as well. */
static const struct {
    const char *sign;
    sf_jop op;
    int level;
} OPERATORS[] = {
    {"**", SF_J_POW, 0}, {"*", SF_J_MUL, 1}, {"/", SF_J_DIV, 1}, {"//", SF_J_FLOORDIV, 1}, {"%", SF_J_MOD, 1},
    {"+", SF_J_ADD, 3},  {"-", SF_J_SUB, 3},
};
enum { LEVEL_CONCAT = 2, LEVEL_SUM = 3 };

static sf_jnode *arithmetic(struct parser *p, int level)
{
    sf_jnode *n = level ? arithmetic(p, level - 1) : unary(p, true);
    if (level == LEVEL_CONCAT) {
        if (!is_sign(p, "~")) return n;
        sf_jnode *all = node_of(p, SF_J_CONCAT, n, NULL);
        push(p, &all->items, n);
        while (skip_sign(p, "~")) push(p, &all->items, arithmetic(p, level - 1));
        return all;
    }
    for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS;) {
        if (OPERATORS[i].level != level || !skip_sign(p, OPERATORS[i].sign)) {
            i++;
            continue;
        }
        n = node_of(p, SF_J_BINARY, n, level ? arithmetic(p, level - 1) : unary(p, true));
        if (p->r->status == SF_OK) n->op = OPERATORS[i].op;
        i = 0;
    }
    return n;
}

static bool comparison(struct parser *p, sf_jop *op)
{
    static const struct {
        const char *sign;
        sf_jop op;
    } signs[] = {{"==", SF_J_EQ}, {"!=", SF_J_NE}, {"<", SF_J_LT}, {"<=", SF_J_LE}, {">", SF_J_GT}, {">=", SF_J_GE}};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (skip_sign(p, signs[i].sign)) return *op = signs[i].op, true;
    if (skip_name(p, "in")) return *op = SF_J_IN, true;
    if (is_name(p, "not") && p->at[1].kind == SF_J_T_NAME && !strcmp(p->at[1].name, "in"))
        return next(p), next(p), *op = SF_J_NOT_IN, true;
    return false;
}

static sf_jnode *compared(struct parser *p)
{
    sf_jnode *n = arithmetic(p, LEVEL_SUM), *all = NULL;
    sf_jop op;
    while (comparison(p, &op)) {
        if (!all) all = node_of(p, SF_J_COMPARE, n, NULL);
        sf_jnode *operand = node_of(p, SF_J_COMPARE, arithmetic(p, LEVEL_SUM), NULL);
        if (p->r->status == SF_OK) operand->op = op;
        push(p, &all->items, operand);
    }
    return all ? all : n;
}

static sf_jnode *negation(struct parser *p)
{
    if (!skip_name(p, "not")) return compared(p);
    if (!sf_jinja_sink(p->r)) return node(p, SF_J_CONST);
    sf_jnode *n = node_of(p, SF_J_NOT, negation(p), NULL);
    sf_jinja_rise(p->r);
    return n;
}

static sf_jnode *conjunction(struct parser *p)
{
    sf_jnode *n = negation(p);
    while (skip_name(p, "and")) n = node_of(p, SF_J_AND, n, negation(p));
    return n;
}

static sf_jnode *disjunction(struct parser *p)
{
    if (!sf_jinja_sink(p->r)) return node(p, SF_J_CONST);
    sf_jnode *n = conjunction(p);
    while (skip_name(p, "or")) n = node_of(p, SF_J_OR, n, conjunction(p));
    sf_jinja_rise(p->r);
    return n;
}

static sf_jnode *expression(struct parser *p)
{
    if (!sf_jinja_sink(p->r)) return node(p, SF_J_CONST);
    sf_jnode *n = disjunction(p);
    bool soft = p->soft;
    while (skip_name(p, "if")) {
        p->soft = true;
        n = node_of(p, SF_J_IF_ELSE, n, disjunction(p));
        sf_jnode *other = skip_name(p, "else") ? expression(p) : NULL;
        if (p->r->status == SF_OK) n->c = other;
    }
    p->soft = soft;
    sf_jinja_rise(p->r);
    return n;
}

/* ---- statements ------------------------------------------------------------------------------------------------ */

static void statements(struct parser *p, sf_jnodes *body, const char *const *ends);

/* The rest of a tag, then all up to a tag that begins with one of the names: p->at is at that name. */
static void body_until(struct parser *p, sf_jnodes *body, const char *const *ends)
{
    skip_sign(p, ":");
    if (!is_kind(p, SF_J_T_END)) {
        unexpected(p, "%}");
        return;
    }
    next(p);
    statements(p, body, ends);
}

/* A body that is a scope of its own, up to its end tag, which is read. */
static void whole_body(struct parser *p, sf_jnodes *body, const char *end)
{
    const char *const ends[] = {end, NULL};
    bool soft = p->soft;
    int loops = p->loops;
    p->soft = false;
    body_until(p, body, ends);
    p->soft = soft;
    p->loops = loops;
    expect_name(p, end);
}

static void check_target(struct parser *p, const sf_jnode *n)
{
    if (p->r->status != SF_OK || n->type == SF_J_NAME || n->type == SF_J_NAMESPACE_REF) return;
    if (n->type != SF_J_MAKE_TUPLE) {
        p->r->line = n->line;
        sf_jinja_fail(p->r, SF_BAD_INPUT, "expected a name to assign to");
        return;
    }
    for (int i = 0; i < n->items.n; i++) check_target(p, n->items.at[i]);
}

static sf_jnode *target(struct parser *p, int how, const char *end)
{
    sf_jnode *n = tuple(p, TUPLE_TARGET | how, end);
    check_target(p, n);
    return n;
}

static sf_jnode *parse_if(struct parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const end[] = {"endif", NULL};
    bool soft = p->soft;
    p->soft = true;
    sf_jnode *first = node(p, SF_J_IF), *n = first;
    for (;;) {
        sf_jnode *condition = tuple(p, TUPLE_NO_IF, NULL);
        if (p->r->status != SF_OK) break;
        n->a = condition;
        body_until(p, &n->body, ends);
        if (skip_name(p, "elif")) {
            sf_jnode *more = node(p, SF_J_IF);
            if (p->r->status == SF_OK) n->c = more;
            n = more;
            continue;
        }
        if (skip_name(p, "else")) body_until(p, &n->other, end);
        expect_name(p, "endif");
        break;
    }
    p->soft = soft;
    return first;
}

static sf_jnode *parse_for(struct parser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    static const char *const end[] = {"endfor", NULL};
    sf_jnode *n = node(p, SF_J_FOR), *items = NULL, *condition = NULL;
    sf_jnode *to = target(p, 0, "in");
    expect_name(p, "in");
    items = tuple(p, TUPLE_NO_IF, "recursive");
    bool soft = p->soft;
    p->soft = false;
    if (skip_name(p, "if")) condition = expression(p);
    bool recursive = skip_name(p, "recursive");
    if (p->r->status == SF_OK) n->a = to, n->b = items, n->c = condition, n->recursive = recursive;
    p->loops++;
    body_until(p, &n->body, ends);
    p->loops--;
    if (skip_name(p, "else")) body_until(p, &n->other, end);
    expect_name(p, "endfor");
    p->soft = soft;
    return n;
}

static sf_jnode *parse_set(struct parser *p)
{
    sf_jnode *to = target(p, TUPLE_NAMESPACE, NULL);
    if (skip_sign(p, "=")) return node_of(p, SF_J_SET, to, tuple(p, TUPLE_PLAIN, NULL));
    sf_jnode *n = node_of(p, SF_J_SET_BLOCK, to, NULL), *filters = NULL;
    while (skip_sign(p, "|")) filters = filter(p, filters);
    if (p->r->status == SF_OK) n->b = filters;
    whole_body(p, &n->body, "endset");
    return n;
}

static void parameters(struct parser *p, sf_jnodes *out)
{
    expect_sign(p, "(");
    bool defaults = false;
    while (p->r->status == SF_OK && !is_sign(p, ")")) {
        if (out->n) expect_sign(p, ",");
        sf_jnode *n = named(p, SF_J_NAME, any_name(p));
        if (skip_sign(p, "=")) {
            sf_jnode *value = expression(p);
            if (p->r->status == SF_OK) n->a = value;
            defaults = true;
        } else if (defaults) {
            unexpected(p, "a default, as the parameter before has one");
        }
        push(p, out, n);
    }
    expect_sign(p, ")");
}

static sf_jnode *parse_macro(struct parser *p)
{
    sf_jnode *n = named(p, SF_J_DEFINE_MACRO, any_name(p));
    int loops = p->loops;
    p->loops = 0;
    parameters(p, &n->items);
    whole_body(p, &n->body, "endmacro");
    p->loops = loops;
    return n;
}

static sf_jnode *parse_call(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_CALL_BLOCK);
    int loops = p->loops;
    p->loops = 0;
    if (is_sign(p, "(")) parameters(p, &n->items);
    sf_jnode *callee = expression(p);
    if (p->r->status == SF_OK && callee->type != SF_J_CALL) unexpected(p, "a call before it");
    if (p->r->status == SF_OK) n->a = callee;
    whole_body(p, &n->body, "endcall");
    p->loops = loops;
    return n;
}

static sf_jnode *parse_filter_block(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_FILTER_BLOCK), *filters = filter(p, NULL);
    while (skip_sign(p, "|")) filters = filter(p, filters);
    if (p->r->status == SF_OK) n->b = filters;
    whole_body(p, &n->body, "endfilter");
    return n;
}

static sf_jnode *parse_with(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_WITH);
    while (p->r->status == SF_OK && !is_kind(p, SF_J_T_END)) {
        if (n->items.n) expect_sign(p, ",");
        sf_jnode *to = target(p, 0, NULL);
        expect_sign(p, "=");
        push(p, &n->items, node_of(p, SF_J_SET, to, expression(p)));
    }
    whole_body(p, &n->body, "endwith");
    return n;
}

static sf_jnode *parse_generation(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_GROUP);
    int loops = p->loops;
    p->loops = 0; /* it is a call block in transformers */
    whole_body(p, &n->body, "endgeneration");
    p->loops = loops;
    return n;
}

static sf_jnode *parse_print(struct parser *p)
{
    sf_jnode *n = node(p, SF_J_OUTPUT);
    while (p->r->status == SF_OK && !is_kind(p, SF_J_T_END)) {
        if (n->items.n) expect_sign(p, ",");
        push(p, &n->items, expression(p));
    }
    return n;
}

static sf_jnode *leave_loop(struct parser *p, sf_jtype type)
{
    if (!p->loops) unexpected(p, "a loop around 'break' or 'continue', before it");
    return node(p, type);
}

static sf_jnode *parse_break(struct parser *p) { return leave_loop(p, SF_J_BREAK); }
static sf_jnode *parse_continue(struct parser *p) { return leave_loop(p, SF_J_CONTINUE); }

static const struct {
    const char *name;
    sf_jnode *(*parse)(struct parser *p); /* NULL: jinja2 has it, we do not */
} STATEMENTS[] = {
    {"if", parse_if},         {"for", parse_for},       {"set", parse_set},     {"macro", parse_macro},
    {"call", parse_call},     {"with", parse_with},     {"print", parse_print}, {"filter", parse_filter_block},
    {"break", parse_break},   {"continue", parse_continue}, {"generation", parse_generation},
    {"block", NULL},          {"extends", NULL},        {"include", NULL},      {"import", NULL},
    {"from", NULL},           {"autoescape", NULL},
};

static sf_jnode *statement(struct parser *p)
{
    p->r->line = p->at->line;
    if (!is_kind(p, SF_J_T_NAME)) unexpected(p, "a statement");
    for (size_t i = 0; p->r->status == SF_OK && i < sizeof STATEMENTS / sizeof *STATEMENTS; i++) {
        if (strcmp(STATEMENTS[i].name, p->at->name)) continue;
        if (!STATEMENTS[i].parse) {
            sf_jinja_fail(p->r, SF_UNSUPPORTED, "the statement '%s'", p->at->name);
            break;
        }
        next(p);
        if (!sf_jinja_sink(p->r)) break;
        sf_jnode *n = STATEMENTS[i].parse(p);
        sf_jinja_rise(p->r);
        return n;
    }
    if (p->r->status == SF_OK) unexpected(p, "a statement that Jinja knows");
    return node(p, SF_J_GROUP);
}

static void statements(struct parser *p, sf_jnodes *body, const char *const *ends)
{
    while (p->r->status == SF_OK && p->at->kind != SF_J_T_EOF) {
        if (is_kind(p, SF_J_T_DATA)) {
            sf_jnode *n = node(p, SF_J_DATA);
            sf_jvalue v = next(p)->value;
            if (p->r->status == SF_OK) n->value = v;
            push(p, body, n);
        } else if (is_kind(p, SF_J_T_PRINT)) {
            next(p);
            sf_jnode *n = node(p, SF_J_OUTPUT);
            push(p, &n->items, tuple(p, TUPLE_PLAIN, NULL));
            if (!is_kind(p, SF_J_T_PRINT_END)) unexpected(p, "}}");
            next(p);
            push(p, body, n);
        } else {
            next(p);
            for (int i = 0; ends && ends[i]; i++)
                if (is_name(p, ends[i])) return;
            push(p, body, statement(p));
            if (!is_kind(p, SF_J_T_END)) unexpected(p, "%}");
            next(p);
        }
    }
    if (ends && p->r->status == SF_OK) unexpected(p, ends[0]);
}

sf_jinja_limits sf_jinja_limits_for(size_t bytes)
{
    return (sf_jinja_limits){.steps = 20000000 + (int64_t)bytes * 16, .bytes = ((size_t)64 << 20) + bytes * 64, .depth = 500};
}

sf_status sf_jinja_parse(const char *text, size_t bytes, const char *where, sf_jinja **out)
{
    *out = NULL;
    sf_jinja *t = calloc(1, sizeof *t);
    if (!t) return sf_fail(SF_NO_MEMORY, "%s: no memory for a template", where);
    sf_jrun *r = &t->memory;
    r->limits = sf_jinja_limits_for(bytes);
    r->where = where;
    char *copy = sf_jinja_take(r, strlen(where) + 1);
    if (copy) r->where = strcpy(copy, where);
    sf_jtoken *tokens;
    sf_jinja_lex(r, text, bytes, &tokens);
    struct parser p = {.r = r, .at = tokens};
    if (r->status == SF_OK) statements(&p, &t->body, NULL);
    if (r->status == SF_OK) {
        *out = t;
        return SF_OK;
    }
    sf_status status = r->status;
    sf_jinja_free(t);
    return status;
}

void sf_jinja_free(sf_jinja *t)
{
    if (!t) return;
    sf_jinja_release(&t->memory);
    free(t);
}
