/* Tokens → nodes: expressions, by jinja2's grammar (its parser.py is the reference for precedence). */
#include "harness/model/jinja_parser.h"

#include <string.h>

/* ---- tokens and nodes ------------------------------------------------------------------------------------------ */

const sf_jtoken *sf_jinja_next(sf_jparser *p)
{
    const sf_jtoken *t = p->at;
    if (t->kind != SF_J_T_EOF) p->at++;
    return t;
}

bool sf_jinja_is_sign(const sf_jparser *p, const char *sign)
{
    return p->r->status == SF_OK && p->at->kind == SF_J_T_SIGN && !strcmp(p->at->sign, sign);
}

bool sf_jinja_is_name(const sf_jparser *p, const char *name)
{
    return p->r->status == SF_OK && p->at->kind == SF_J_T_NAME && !strcmp(p->at->name, name);
}

bool sf_jinja_is_kind(const sf_jparser *p, sf_jtoken_kind kind) { return p->r->status == SF_OK && p->at->kind == kind; }

bool sf_jinja_skip_sign(sf_jparser *p, const char *sign) { return sf_jinja_is_sign(p, sign) && sf_jinja_next(p); }
bool sf_jinja_skip_name(sf_jparser *p, const char *name) { return sf_jinja_is_name(p, name) && sf_jinja_next(p); }

void sf_jinja_unexpected(sf_jparser *p, const char *expected)
{
    static const char *const what[] = {
        [SF_J_T_DATA] = "text",    [SF_J_T_BEGIN] = "{%",       [SF_J_T_END] = "%}",
        [SF_J_T_PRINT] = "{{",     [SF_J_T_PRINT_END] = "}}",   [SF_J_T_TEXT] = "a quoted text",
        [SF_J_T_INT] = "a number", [SF_J_T_FLOAT] = "a number", [SF_J_T_EOF] = "the end"};
    const sf_jtoken *t = p->at;
    p->r->line = t->line;
    const char *found = t->kind == SF_J_T_NAME ? t->name : t->kind == SF_J_T_SIGN ? t->sign : what[t->kind];
    sf_jinja_fail(p->r, SF_BAD_INPUT, "expected %s, found %.64s", expected, found);
}

void sf_jinja_expect_sign(sf_jparser *p, const char *sign)
{
    if (!sf_jinja_skip_sign(p, sign)) sf_jinja_unexpected(p, sign);
}

void sf_jinja_expect_name(sf_jparser *p, const char *name)
{
    if (!sf_jinja_skip_name(p, name)) sf_jinja_unexpected(p, name);
}

const char *sf_jinja_any_name(sf_jparser *p)
{
    if (sf_jinja_is_kind(p, SF_J_T_NAME)) return sf_jinja_next(p)->name;
    sf_jinja_unexpected(p, "a name");
    return "";
}

/* Never NULL: after a failure, a node that nobody evaluates. */
sf_jnode *sf_jinja_node(sf_jparser *p, sf_jtype type)
{
    static sf_jnode nothing;
    sf_jnode *n = sf_jinja_take(p->r, sizeof *n);
    if (!n) return &nothing;
    n->type = type;
    n->line = p->at->line;
    return n;
}

/* A node with a child. After a failure it stays unwritten, as it may be the shared one. */
sf_jnode *sf_jinja_node_of(sf_jparser *p, sf_jtype type, sf_jnode *a, sf_jnode *b)
{
    sf_jnode *n = sf_jinja_node(p, type);
    if (p->r->status != SF_OK) return n;
    n->line = a->line;
    n->a = a;
    n->b = b;
    return n;
}

void sf_jinja_push(sf_jparser *p, sf_jnodes *list, sf_jnode *n)
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

static sf_jnode *disjunction(sf_jparser *p);
static sf_jnode *unary(sf_jparser *p, bool with_filter);

static sf_jnode *constant(sf_jparser *p, sf_jvalue v)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_CONST);
    if (p->r->status == SF_OK) n->value = v;
    return n;
}

sf_jnode *sf_jinja_named(sf_jparser *p, sf_jtype type, const char *name)
{
    sf_jnode *n = sf_jinja_node(p, type);
    if (p->r->status == SF_OK) n->name = name;
    return n;
}

static sf_jnode *name_or_word(sf_jparser *p, bool namespace)
{
    const char *name = sf_jinja_any_name(p);
    if (!strcmp(name, "true") || !strcmp(name, "True")) return constant(p, sf_jinja_bool(true));
    if (!strcmp(name, "false") || !strcmp(name, "False")) return constant(p, sf_jinja_bool(false));
    if (!strcmp(name, "none") || !strcmp(name, "None")) return constant(p, sf_jinja_none());
    sf_jnode *n = sf_jinja_named(p, SF_J_NAME, name);
    if (!namespace || !sf_jinja_skip_sign(p, ".")) return n;
    sf_jnode *ref = sf_jinja_node_of(p, SF_J_NAMESPACE_REF, n, NULL);
    const char *attribute = sf_jinja_any_name(p);
    if (p->r->status == SF_OK) ref->name = attribute;
    return ref;
}

/* Quoted texts that follow each other are one. */
static sf_jnode *text(sf_jparser *p)
{
    sf_jvalue v = sf_jinja_next(p)->value;
    if (!sf_jinja_is_kind(p, SF_J_T_TEXT)) return constant(p, v);
    sf_jbuffer b = {0};
    sf_jinja_put_text(p->r, &b, v);
    while (sf_jinja_is_kind(p, SF_J_T_TEXT)) sf_jinja_put_text(p->r, &b, sf_jinja_next(p)->value);
    return constant(p, sf_jinja_made(&b));
}

static sf_jnode *list(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_MAKE_LIST);
    sf_jinja_expect_sign(p, "[");
    while (p->r->status == SF_OK && !sf_jinja_is_sign(p, "]")) {
        sf_jinja_push(p, &n->items, sf_jinja_expression(p));
        if (!sf_jinja_is_sign(p, "]")) sf_jinja_expect_sign(p, ",");
    }
    sf_jinja_expect_sign(p, "]");
    return n;
}

static sf_jnode *dictionary(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_MAKE_DICT);
    sf_jinja_expect_sign(p, "{");
    while (p->r->status == SF_OK && !sf_jinja_is_sign(p, "}")) {
        sf_jinja_push(p, &n->items, sf_jinja_expression(p));
        sf_jinja_expect_sign(p, ":");
        sf_jinja_push(p, &n->items, sf_jinja_expression(p));
        if (!sf_jinja_is_sign(p, "}")) sf_jinja_expect_sign(p, ",");
    }
    sf_jinja_expect_sign(p, "}");
    return n;
}

static sf_jnode *primary(sf_jparser *p, bool namespace)
{
    if (sf_jinja_is_kind(p, SF_J_T_NAME)) return name_or_word(p, namespace);
    if (sf_jinja_is_kind(p, SF_J_T_TEXT)) return text(p);
    if (sf_jinja_is_kind(p, SF_J_T_INT) || sf_jinja_is_kind(p, SF_J_T_FLOAT))
        return constant(p, sf_jinja_next(p)->value);
    if (sf_jinja_is_sign(p, "[")) return list(p);
    if (sf_jinja_is_sign(p, "{")) return dictionary(p);
    if (sf_jinja_skip_sign(p, "(")) {
        sf_jnode *n = sf_jinja_tuple(p, SF_J_TUPLE_PARENTHESES, NULL);
        sf_jinja_expect_sign(p, ")");
        return n;
    }
    sf_jinja_unexpected(p, "an expression");
    return sf_jinja_node(p, SF_J_CONST);
}

static bool tuple_ends(const sf_jparser *p, const char *end)
{
    return p->r->status != SF_OK || sf_jinja_is_kind(p, SF_J_T_PRINT_END) || sf_jinja_is_kind(p, SF_J_T_END) ||
           sf_jinja_is_sign(p, ")") || (end && sf_jinja_is_name(p, end));
}

sf_jnode *sf_jinja_tuple(sf_jparser *p, int how, const char *end)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_MAKE_TUPLE);
    bool commas = false;
    while (!tuple_ends(p, end)) {
        sf_jinja_push(p, &n->items,
                      how & SF_J_TUPLE_TARGET  ? primary(p, how & SF_J_TUPLE_NAMESPACE)
                      : how & SF_J_TUPLE_NO_IF ? disjunction(p)
                                               : sf_jinja_expression(p));
        if (!sf_jinja_skip_sign(p, ",")) break;
        commas = true;
    }
    if (p->r->status != SF_OK || commas) return n;
    if (n->items.n) return n->items.at[0];
    if (!(how & SF_J_TUPLE_PARENTHESES)) sf_jinja_unexpected(p, "an expression");
    return n;
}

static sf_jnode *slice_or_index(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_SLICE), *first = NULL;
    if (!sf_jinja_is_sign(p, ":")) {
        first = sf_jinja_expression(p);
        if (!sf_jinja_is_sign(p, ":")) return first;
    }
    sf_jinja_next(p);
    if (p->r->status != SF_OK) return n;
    n->a = first;
    if (!sf_jinja_is_sign(p, ":") && !sf_jinja_is_sign(p, "]") && !sf_jinja_is_sign(p, ","))
        n->b = sf_jinja_expression(p);
    if (sf_jinja_skip_sign(p, ":") && !sf_jinja_is_sign(p, "]") && !sf_jinja_is_sign(p, ","))
        n->c = sf_jinja_expression(p);
    return n;
}

static sf_jnode *subscript(sf_jparser *p, sf_jnode *of)
{
    if (sf_jinja_skip_sign(p, ".")) {
        if (sf_jinja_is_kind(p, SF_J_T_INT))
            return sf_jinja_node_of(p, SF_J_ITEM, of, constant(p, sf_jinja_next(p)->value));
        sf_jnode *n = sf_jinja_node_of(p, SF_J_ATTRIBUTE, of, NULL);
        const char *name = sf_jinja_any_name(p);
        if (p->r->status == SF_OK) n->name = name;
        return n;
    }
    sf_jinja_expect_sign(p, "[");
    sf_jnode *n = sf_jinja_node_of(p, SF_J_ITEM, of, slice_or_index(p));
    if (sf_jinja_is_sign(p, ",")) sf_jinja_fail(p->r, SF_UNSUPPORTED, "an index of several parts");
    sf_jinja_expect_sign(p, "]");
    return n;
}

static sf_jarguments *arguments(sf_jparser *p)
{
    static sf_jarguments none;
    sf_jarguments *a = sf_jinja_take(p->r, sizeof *a);
    sf_jinja_expect_sign(p, "(");
    while (p->r->status == SF_OK && !sf_jinja_is_sign(p, ")")) {
        bool after_star = a->star || a->stars;
        if (sf_jinja_skip_sign(p, "*") && !after_star) {
            a->star = sf_jinja_expression(p);
        } else if (!a->stars && sf_jinja_skip_sign(p, "**")) {
            a->stars = sf_jinja_expression(p);
        } else if (sf_jinja_is_kind(p, SF_J_T_NAME) && p->at[1].kind == SF_J_T_SIGN && !strcmp(p->at[1].sign, "=") &&
                   !a->stars) {
            sf_jnode *n = sf_jinja_named(p, SF_J_NAME, sf_jinja_next(p)->name);
            sf_jinja_next(p);
            sf_jnode *value = sf_jinja_expression(p);
            if (p->r->status == SF_OK) n->a = value;
            sf_jinja_push(p, &a->named, n);
        } else if (!after_star && !a->named.n) {
            sf_jinja_push(p, &a->plain, sf_jinja_expression(p));
        } else {
            sf_jinja_unexpected(p, "a named argument");
        }
        if (!sf_jinja_is_sign(p, ")")) sf_jinja_expect_sign(p, ",");
    }
    sf_jinja_expect_sign(p, ")");
    return a ? a : &none;
}

static sf_jnode *call(sf_jparser *p, sf_jnode *callee)
{
    sf_jnode *n = sf_jinja_node_of(p, SF_J_CALL, callee, NULL);
    sf_jarguments *a = arguments(p);
    if (p->r->status == SF_OK) n->arguments = a;
    return n;
}

/* A filter or test by its name, which may have dots. jinja2 knows all its names when it compiles. */
static sf_jnode *word(sf_jparser *p, sf_jtype type, sf_jnode *of)
{
    p->r->line = p->at->line;
    const char *name = sf_jinja_any_name(p);
    if (sf_jinja_is_sign(p, ".")) sf_jinja_fail(p->r, SF_BAD_INPUT, "no filter or test '%.64s.…'", name);
    if (p->r->status == SF_OK && !p->soft &&
        !(type == SF_J_FILTER ? sf_jinja_filter_row(name) : sf_jinja_row(sf_jinja_tests, name)))
        sf_jinja_fail(p->r, SF_BAD_INPUT, "no %s '%.64s'", type == SF_J_FILTER ? "filter" : "test", name);
    sf_jnode *n = sf_jinja_named(p, type, name);
    if (p->r->status == SF_OK) n->a = of;
    return n;
}

sf_jnode *sf_jinja_filter_of(sf_jparser *p, sf_jnode *of)
{
    sf_jnode *n = word(p, SF_J_FILTER, of);
    if (!sf_jinja_is_sign(p, "(")) return n;
    sf_jarguments *a = arguments(p);
    if (p->r->status == SF_OK) n->arguments = a;
    return n;
}

static sf_jnode *test(sf_jparser *p, sf_jnode *of)
{
    bool negated = sf_jinja_skip_name(p, "not");
    sf_jnode *n = word(p, SF_J_TEST, of);
    if (sf_jinja_is_sign(p, "(")) {
        sf_jarguments *a = arguments(p);
        if (p->r->status == SF_OK) n->arguments = a;
    } else if ((sf_jinja_is_kind(p, SF_J_T_NAME) || sf_jinja_is_kind(p, SF_J_T_TEXT) ||
                sf_jinja_is_kind(p, SF_J_T_INT) || sf_jinja_is_kind(p, SF_J_T_FLOAT) || sf_jinja_is_sign(p, "[") ||
                sf_jinja_is_sign(p, "{")) &&
               !sf_jinja_is_name(p, "else") && !sf_jinja_is_name(p, "or") && !sf_jinja_is_name(p, "and")) {
        if (sf_jinja_is_name(p, "is")) sf_jinja_unexpected(p, "one test, no chain of them");
        sf_jarguments *a = sf_jinja_take(p->r, sizeof *a);
        sf_jnode *argument = primary(p, false);
        while (sf_jinja_is_sign(p, ".") || sf_jinja_is_sign(p, "[") || sf_jinja_is_sign(p, "("))
            argument = sf_jinja_is_sign(p, "(") ? call(p, argument) : subscript(p, argument);
        if (a) sf_jinja_push(p, &a->plain, argument);
        if (p->r->status == SF_OK) n->arguments = a;
    }
    return negated ? sf_jinja_node_of(p, SF_J_NOT, n, NULL) : n;
}

static sf_jnode *postfix(sf_jparser *p, sf_jnode *n)
{
    while (sf_jinja_is_sign(p, ".") || sf_jinja_is_sign(p, "[") || sf_jinja_is_sign(p, "("))
        n = sf_jinja_is_sign(p, "(") ? call(p, n) : subscript(p, n);
    return n;
}

static sf_jnode *filtered(sf_jparser *p, sf_jnode *n)
{
    for (;;) {
        if (sf_jinja_skip_sign(p, "|"))
            n = sf_jinja_filter_of(p, n);
        else if (sf_jinja_skip_name(p, "is"))
            n = test(p, n);
        else if (sf_jinja_is_sign(p, "("))
            n = call(p, n);
        else
            return n;
    }
}

static sf_jnode *unary(sf_jparser *p, bool with_filter)
{
    sf_jnode *n;
    bool negative = sf_jinja_is_sign(p, "-");
    if (negative || sf_jinja_is_sign(p, "+")) {
        sf_jinja_next(p);
        if (!sf_jinja_sink(p->r)) return sf_jinja_node(p, SF_J_CONST);
        n = sf_jinja_node_of(p, negative ? SF_J_NEGATIVE : SF_J_POSITIVE, unary(p, false), NULL);
        sf_jinja_rise(p->r);
    } else {
        n = primary(p, false);
    }
    n = postfix(p, n);
    return with_filter ? filtered(p, n) : n;
}

/* Binary operators, from those that bind closest to those that bind least. All are read from left to right, ** as well.
 */
static const struct {
    const char *sign;
    sf_jop op;
    int level;
} OPERATORS[] = {
    {"**", SF_J_POW, 0}, {"*", SF_J_MUL, 1}, {"/", SF_J_DIV, 1}, {"//", SF_J_FLOORDIV, 1},
    {"%", SF_J_MOD, 1},  {"+", SF_J_ADD, 3}, {"-", SF_J_SUB, 3},
};
enum { LEVEL_CONCAT = 2, LEVEL_SUM = 3 };

static sf_jnode *arithmetic(sf_jparser *p, int level)
{
    sf_jnode *n = level ? arithmetic(p, level - 1) : unary(p, true);
    if (level == LEVEL_CONCAT) {
        if (!sf_jinja_is_sign(p, "~")) return n;
        sf_jnode *all = sf_jinja_node_of(p, SF_J_CONCAT, n, NULL);
        sf_jinja_push(p, &all->items, n);
        while (sf_jinja_skip_sign(p, "~")) sf_jinja_push(p, &all->items, arithmetic(p, level - 1));
        return all;
    }
    for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS;) {
        if (OPERATORS[i].level != level || !sf_jinja_skip_sign(p, OPERATORS[i].sign)) {
            i++;
            continue;
        }
        n = sf_jinja_node_of(p, SF_J_BINARY, n, level ? arithmetic(p, level - 1) : unary(p, true));
        if (p->r->status == SF_OK) n->op = OPERATORS[i].op;
        i = 0;
    }
    return n;
}

static bool comparison(sf_jparser *p, sf_jop *op)
{
    static const struct {
        const char *sign;
        sf_jop op;
    } signs[] = {{"==", SF_J_EQ}, {"!=", SF_J_NE}, {"<", SF_J_LT}, {"<=", SF_J_LE}, {">", SF_J_GT}, {">=", SF_J_GE}};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (sf_jinja_skip_sign(p, signs[i].sign)) return *op = signs[i].op, true;
    if (sf_jinja_skip_name(p, "in")) return *op = SF_J_IN, true;
    if (sf_jinja_is_name(p, "not") && p->at[1].kind == SF_J_T_NAME && !strcmp(p->at[1].name, "in"))
        return sf_jinja_next(p), sf_jinja_next(p), *op = SF_J_NOT_IN, true;
    return false;
}

static sf_jnode *compared(sf_jparser *p)
{
    sf_jnode *n = arithmetic(p, LEVEL_SUM), *all = NULL;
    sf_jop op;
    while (comparison(p, &op)) {
        if (!all) all = sf_jinja_node_of(p, SF_J_COMPARE, n, NULL);
        sf_jnode *operand = sf_jinja_node_of(p, SF_J_COMPARE, arithmetic(p, LEVEL_SUM), NULL);
        if (p->r->status == SF_OK) operand->op = op;
        sf_jinja_push(p, &all->items, operand);
    }
    return all ? all : n;
}

static sf_jnode *negation(sf_jparser *p)
{
    if (!sf_jinja_skip_name(p, "not")) return compared(p);
    if (!sf_jinja_sink(p->r)) return sf_jinja_node(p, SF_J_CONST);
    sf_jnode *n = sf_jinja_node_of(p, SF_J_NOT, negation(p), NULL);
    sf_jinja_rise(p->r);
    return n;
}

static sf_jnode *conjunction(sf_jparser *p)
{
    sf_jnode *n = negation(p);
    while (sf_jinja_skip_name(p, "and")) n = sf_jinja_node_of(p, SF_J_AND, n, negation(p));
    return n;
}

static sf_jnode *disjunction(sf_jparser *p)
{
    if (!sf_jinja_sink(p->r)) return sf_jinja_node(p, SF_J_CONST);
    sf_jnode *n = conjunction(p);
    while (sf_jinja_skip_name(p, "or")) n = sf_jinja_node_of(p, SF_J_OR, n, conjunction(p));
    sf_jinja_rise(p->r);
    return n;
}

sf_jnode *sf_jinja_expression(sf_jparser *p)
{
    if (!sf_jinja_sink(p->r)) return sf_jinja_node(p, SF_J_CONST);
    sf_jnode *n = disjunction(p);
    bool soft = p->soft;
    while (sf_jinja_skip_name(p, "if")) {
        p->soft = true;
        n = sf_jinja_node_of(p, SF_J_IF_ELSE, n, disjunction(p));
        sf_jnode *other = sf_jinja_skip_name(p, "else") ? sf_jinja_expression(p) : NULL;
        if (p->r->status == SF_OK) n->c = other;
    }
    p->soft = soft;
    sf_jinja_rise(p->r);
    return n;
}
