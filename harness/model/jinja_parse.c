/* Tokens → nodes: statements, and the whole. */
#include "harness/model/jinja_parser.h"

#include <stdlib.h>
#include <string.h>

/* ---- statements ------------------------------------------------------------------------------------------------ */

static void statements(sf_jparser *p, sf_jnodes *body, const char *const *ends);

/* The rest of a tag, then all up to a tag that begins with one of the names: p->at is at that name. */
static void body_until(sf_jparser *p, sf_jnodes *body, const char *const *ends)
{
    sf_jinja_skip_sign(p, ":");
    if (!sf_jinja_is_kind(p, SF_J_T_END)) {
        sf_jinja_unexpected(p, "%}");
        return;
    }
    sf_jinja_next(p);
    statements(p, body, ends);
}

/* A body that is a scope of its own, up to its end tag, which is read. */
static void whole_body(sf_jparser *p, sf_jnodes *body, const char *end)
{
    const char *const ends[] = {end, NULL};
    bool soft = p->soft;
    int loops = p->loops;
    p->soft = false;
    body_until(p, body, ends);
    p->soft = soft;
    p->loops = loops;
    sf_jinja_expect_name(p, end);
}

static void check_target(sf_jparser *p, const sf_jnode *n)
{
    if (p->r->status != SF_OK || n->type == SF_J_NAME || n->type == SF_J_NAMESPACE_REF) return;
    if (n->type != SF_J_MAKE_TUPLE) {
        p->r->line = n->line;
        sf_jinja_fail(p->r, SF_BAD_INPUT, "expected a name to assign to");
        return;
    }
    for (int i = 0; i < n->items.n; i++) check_target(p, n->items.at[i]);
}

static sf_jnode *target(sf_jparser *p, int how, const char *end)
{
    sf_jnode *n = sf_jinja_tuple(p, SF_J_TUPLE_TARGET | how, end);
    check_target(p, n);
    return n;
}

static sf_jnode *parse_if(sf_jparser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const end[] = {"endif", NULL};
    bool soft = p->soft;
    p->soft = true;
    sf_jnode *first = sf_jinja_node(p, SF_J_IF), *n = first;
    for (;;) {
        sf_jnode *condition = sf_jinja_tuple(p, SF_J_TUPLE_NO_IF, NULL);
        if (p->r->status != SF_OK) break;
        n->a = condition;
        body_until(p, &n->body, ends);
        if (sf_jinja_skip_name(p, "elif")) {
            sf_jnode *more = sf_jinja_node(p, SF_J_IF);
            if (p->r->status == SF_OK) n->c = more;
            n = more;
            continue;
        }
        if (sf_jinja_skip_name(p, "else")) body_until(p, &n->other, end);
        sf_jinja_expect_name(p, "endif");
        break;
    }
    p->soft = soft;
    return first;
}

static sf_jnode *parse_for(sf_jparser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    static const char *const end[] = {"endfor", NULL};
    sf_jnode *n = sf_jinja_node(p, SF_J_FOR), *items = NULL, *condition = NULL;
    sf_jnode *to = target(p, 0, "in");
    sf_jinja_expect_name(p, "in");
    items = sf_jinja_tuple(p, SF_J_TUPLE_NO_IF, "recursive");
    bool soft = p->soft;
    p->soft = false;
    if (sf_jinja_skip_name(p, "if")) condition = sf_jinja_expression(p);
    bool recursive = sf_jinja_skip_name(p, "recursive");
    if (p->r->status == SF_OK) n->a = to, n->b = items, n->c = condition, n->recursive = recursive;
    p->loops++;
    body_until(p, &n->body, ends);
    p->loops--;
    if (sf_jinja_skip_name(p, "else")) body_until(p, &n->other, end);
    sf_jinja_expect_name(p, "endfor");
    p->soft = soft;
    return n;
}

static sf_jnode *parse_set(sf_jparser *p)
{
    sf_jnode *to = target(p, SF_J_TUPLE_NAMESPACE, NULL);
    if (sf_jinja_skip_sign(p, "=")) return sf_jinja_node_of(p, SF_J_SET, to, sf_jinja_tuple(p, SF_J_TUPLE_PLAIN, NULL));
    sf_jnode *n = sf_jinja_node_of(p, SF_J_SET_BLOCK, to, NULL), *filters = NULL;
    while (sf_jinja_skip_sign(p, "|")) filters = sf_jinja_filter_of(p, filters);
    if (p->r->status == SF_OK) n->b = filters;
    whole_body(p, &n->body, "endset");
    return n;
}

static void parameters(sf_jparser *p, sf_jnodes *out)
{
    sf_jinja_expect_sign(p, "(");
    bool defaults = false;
    while (p->r->status == SF_OK && !sf_jinja_is_sign(p, ")")) {
        if (out->n) sf_jinja_expect_sign(p, ",");
        sf_jnode *n = sf_jinja_named(p, SF_J_NAME, sf_jinja_any_name(p));
        if (sf_jinja_skip_sign(p, "=")) {
            sf_jnode *value = sf_jinja_expression(p);
            if (p->r->status == SF_OK) n->a = value;
            defaults = true;
        } else if (defaults) {
            sf_jinja_unexpected(p, "a default, as the parameter before has one");
        }
        sf_jinja_push(p, out, n);
    }
    sf_jinja_expect_sign(p, ")");
}

static sf_jnode *parse_macro(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_named(p, SF_J_DEFINE_MACRO, sf_jinja_any_name(p));
    int loops = p->loops;
    p->loops = 0;
    parameters(p, &n->items);
    whole_body(p, &n->body, "endmacro");
    p->loops = loops;
    return n;
}

static sf_jnode *parse_call(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_CALL_BLOCK);
    int loops = p->loops;
    p->loops = 0;
    if (sf_jinja_is_sign(p, "(")) parameters(p, &n->items);
    sf_jnode *callee = sf_jinja_expression(p);
    if (p->r->status == SF_OK && callee->type != SF_J_CALL) sf_jinja_unexpected(p, "a call before it");
    if (p->r->status == SF_OK) n->a = callee;
    whole_body(p, &n->body, "endcall");
    p->loops = loops;
    return n;
}

static sf_jnode *parse_filter_block(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_FILTER_BLOCK), *filters = sf_jinja_filter_of(p, NULL);
    while (sf_jinja_skip_sign(p, "|")) filters = sf_jinja_filter_of(p, filters);
    if (p->r->status == SF_OK) n->b = filters;
    whole_body(p, &n->body, "endfilter");
    return n;
}

static sf_jnode *parse_with(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_WITH);
    while (p->r->status == SF_OK && !sf_jinja_is_kind(p, SF_J_T_END)) {
        if (n->items.n) sf_jinja_expect_sign(p, ",");
        sf_jnode *to = target(p, 0, NULL);
        sf_jinja_expect_sign(p, "=");
        sf_jinja_push(p, &n->items, sf_jinja_node_of(p, SF_J_SET, to, sf_jinja_expression(p)));
    }
    whole_body(p, &n->body, "endwith");
    return n;
}

static sf_jnode *parse_generation(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_GROUP);
    int loops = p->loops;
    p->loops = 0; /* it is a call block in transformers */
    whole_body(p, &n->body, "endgeneration");
    p->loops = loops;
    return n;
}

static sf_jnode *parse_print(sf_jparser *p)
{
    sf_jnode *n = sf_jinja_node(p, SF_J_OUTPUT);
    while (p->r->status == SF_OK && !sf_jinja_is_kind(p, SF_J_T_END)) {
        if (n->items.n) sf_jinja_expect_sign(p, ",");
        sf_jinja_push(p, &n->items, sf_jinja_expression(p));
    }
    return n;
}

static sf_jnode *leave_loop(sf_jparser *p, sf_jtype type)
{
    if (!p->loops) sf_jinja_unexpected(p, "a loop around 'break' or 'continue', before it");
    return sf_jinja_node(p, type);
}

static sf_jnode *parse_break(sf_jparser *p) { return leave_loop(p, SF_J_BREAK); }
static sf_jnode *parse_continue(sf_jparser *p) { return leave_loop(p, SF_J_CONTINUE); }

static const struct {
    const char *name;
    sf_jnode *(*parse)(sf_jparser *p); /* NULL: jinja2 has it, we do not */
} STATEMENTS[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call},
    {"with", parse_with},
    {"print", parse_print},
    {"filter", parse_filter_block},
    {"break", parse_break},
    {"continue", parse_continue},
    {"generation", parse_generation},
    {"block", NULL},
    {"extends", NULL},
    {"include", NULL},
    {"import", NULL},
    {"from", NULL},
    {"autoescape", NULL},
};

static sf_jnode *statement(sf_jparser *p)
{
    p->r->line = p->at->line;
    if (!sf_jinja_is_kind(p, SF_J_T_NAME)) sf_jinja_unexpected(p, "a statement");
    for (size_t i = 0; p->r->status == SF_OK && i < sizeof STATEMENTS / sizeof *STATEMENTS; i++) {
        if (strcmp(STATEMENTS[i].name, p->at->name)) continue;
        if (!STATEMENTS[i].parse) {
            sf_jinja_fail(p->r, SF_UNSUPPORTED, "the statement '%s'", p->at->name);
            break;
        }
        sf_jinja_next(p);
        if (!sf_jinja_sink(p->r)) break;
        sf_jnode *n = STATEMENTS[i].parse(p);
        sf_jinja_rise(p->r);
        return n;
    }
    if (p->r->status == SF_OK) sf_jinja_unexpected(p, "a statement that Jinja knows");
    return sf_jinja_node(p, SF_J_GROUP);
}

static void statements(sf_jparser *p, sf_jnodes *body, const char *const *ends)
{
    while (p->r->status == SF_OK && p->at->kind != SF_J_T_EOF) {
        if (sf_jinja_is_kind(p, SF_J_T_DATA)) {
            sf_jnode *n = sf_jinja_node(p, SF_J_DATA);
            sf_jvalue v = sf_jinja_next(p)->value;
            if (p->r->status == SF_OK) n->value = v;
            sf_jinja_push(p, body, n);
        } else if (sf_jinja_is_kind(p, SF_J_T_PRINT)) {
            sf_jinja_next(p);
            sf_jnode *n = sf_jinja_node(p, SF_J_OUTPUT);
            sf_jinja_push(p, &n->items, sf_jinja_tuple(p, SF_J_TUPLE_PLAIN, NULL));
            if (!sf_jinja_is_kind(p, SF_J_T_PRINT_END)) sf_jinja_unexpected(p, "}}");
            sf_jinja_next(p);
            sf_jinja_push(p, body, n);
        } else {
            sf_jinja_next(p);
            for (int i = 0; ends && ends[i]; i++)
                if (sf_jinja_is_name(p, ends[i])) return;
            sf_jinja_push(p, body, statement(p));
            if (!sf_jinja_is_kind(p, SF_J_T_END)) sf_jinja_unexpected(p, "%}");
            sf_jinja_next(p);
        }
    }
    if (ends && p->r->status == SF_OK) sf_jinja_unexpected(p, ends[0]);
}

sf_jinja_limits sf_jinja_limits_for(size_t bytes)
{
    return (sf_jinja_limits){
        .steps = 20000000 + (int64_t)bytes * 16, .bytes = ((size_t)64 << 20) + bytes * 64, .depth = 500};
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
    sf_jparser p = {.r = r, .at = tokens};
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
