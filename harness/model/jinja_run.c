/* Statements, scopes and macros; and rendering a template from its variables. */
#include "harness/model/jinja_parts.h"

#include <stdlib.h>
#include <string.h>

typedef enum flow { GOES_ON, BREAKS, CONTINUES } flow;

static flow run(sf_jrun *r, const sf_jnodes *body);

/* Runs a body in a scope of its own and gives what it writes. */
static sf_jvalue captured(sf_jrun *r, const sf_jnodes *body, flow *how)
{
    sf_jbuffer own = {0}, *outer = r->output;
    sf_jscope *scope = r->scope;
    r->output = &own;
    r->scope = sf_jinja_scope(r, scope);
    flow f = run(r, body);
    if (how) *how = f;
    r->scope = scope;
    r->output = outer;
    return sf_jinja_made(&own);
}

static void assign(sf_jrun *r, sf_jscope *scope, const sf_jnode *to, sf_jvalue v)
{
    if (r->status != SF_OK) return;
    if (to->type == SF_J_NAME) {
        sf_jinja_bind(r, scope, to->name, v);
    } else if (to->type == SF_J_NAMESPACE_REF) {
        sf_jvalue n = sf_jinja_eval(r, to->a);
        if (n.kind == SF_J_NAMESPACE)
            sf_jinja_put_key(r, n.dict, sf_jinja_text(to->name, strlen(to->name)), v);
        else
            sf_jinja_fail(r, SF_BAD_INPUT, "'%s' is no namespace, so '%s' cannot be set", to->a->name, to->name);
    } else {
        const sf_jlist *l = sf_jinja_items(r, v);
        if (r->status == SF_OK && l->items != (size_t)to->items.n)
            sf_jinja_fail(r, SF_BAD_INPUT, "%zu values for %d names", l->items, to->items.n);
        for (int i = 0; i < to->items.n && r->status == SF_OK; i++) assign(r, scope, to->items.at[i], l->item[i]);
    }
}

/* ---- loops ----------------------------------------------------------------------------------------------------- */

/* The items for which the loop's own `if` holds. */
static const sf_jlist *chosen(sf_jrun *r, const sf_jnode *n, const sf_jlist *items, sf_jscope *outside)
{
    if (!n->c) return items;
    sf_jlist *l = sf_jinja_list(r, 0);
    for (size_t i = 0; i < items->items && r->status == SF_OK; i++) {
        r->scope = sf_jinja_scope(r, outside);
        assign(r, r->scope, n->a, items->item[i]);
        if (sf_jinja_true(sf_jinja_eval(r, n->c))) sf_jinja_append(r, l, items->item[i]);
    }
    r->scope = outside;
    return sf_jinja_listed(SF_J_LIST, l).list;
}

static flow run_loop(sf_jrun *r, const sf_jnode *n, sf_jvalue over, sf_jscope *outside, int depth0)
{
    sf_jscope *before = r->scope;
    sf_jloop *loop = sf_jinja_take(r, sizeof *loop);
    const sf_jlist *items = sf_jinja_items(r, over);
    if (!loop || r->status != SF_OK) return GOES_ON;
    r->scope = outside;
    *loop = (sf_jloop){.items = chosen(r, n, items, outside), .depth0 = depth0, .node = n, .outside = outside};
    flow how = GOES_ON;
    for (loop->at = 0; loop->at < loop->items->items && how != BREAKS && sf_jinja_step(r, 1); loop->at++) {
        r->scope = sf_jinja_scope(r, outside);
        sf_jinja_bind(r, r->scope, "loop", (sf_jvalue){.kind = SF_J_LOOP, .loop = loop});
        assign(r, r->scope, n->a, loop->items->item[loop->at]);
        how = run(r, &n->body);
    }
    if (!loop->items->items && r->status == SF_OK) {
        r->scope = sf_jinja_scope(r, outside);
        how = run(r, &n->other); /* its break is that of a loop around this one */
    } else {
        how = GOES_ON;
    }
    r->scope = before;
    return how;
}

sf_jvalue sf_jinja_call_loop(sf_jrun *r, sf_jloop *loop, sf_jvalue items)
{
    if (!loop->node->recursive) {
        sf_jinja_fail(r, SF_BAD_INPUT, "loop() in a loop that is not recursive");
        return sf_jinja_none();
    }
    sf_jbuffer own = {0}, *outer = r->output;
    r->output = &own;
    run_loop(r, loop->node, items, loop->outside, loop->depth0 + 1);
    r->output = outer;
    return sf_jinja_made(&own);
}

/* ---- macros ---------------------------------------------------------------------------------------------------- */

static bool names(sf_jrun *r, const sf_jnodes *nodes, const char *name);

static bool node_names(sf_jrun *r, const sf_jnode *n, const char *name)
{
    if (!n || !sf_jinja_step(r, 1) || !sf_jinja_sink(r)) return false;
    const sf_jarguments *a = n->arguments;
    bool found = n->type == SF_J_NAME && n->name && !strcmp(n->name, name);
    found = found || node_names(r, n->a, name) || node_names(r, n->b, name) || node_names(r, n->c, name) ||
            names(r, &n->items, name) || names(r, &n->body, name) || names(r, &n->other, name) ||
            (a && (names(r, &a->plain, name) || names(r, &a->named, name) || node_names(r, a->star, name) ||
                   node_names(r, a->stars, name)));
    sf_jinja_rise(r);
    return found;
}

/* Whether a macro's body names one of the words that jinja2 gives it only then. */
static bool names(sf_jrun *r, const sf_jnodes *nodes, const char *name)
{
    for (int i = 0; i < nodes->n; i++)
        if (node_names(r, nodes->at[i], name)) return true;
    return false;
}

static sf_jmacro *make_macro(sf_jrun *r, const char *name, const sf_jnode *n)
{
    sf_jmacro *m = sf_jinja_take(r, sizeof *m);
    if (!m) return NULL;
    *m = (sf_jmacro){.name = name,
                     .parameters = &n->items,
                     .body = &n->body,
                     .defined_in = r->scope,
                     .wants_rest = names(r, &n->body, "varargs"),
                     .wants_named = names(r, &n->body, "kwargs"),
                     .wants_caller = names(r, &n->body, "caller")};
    return m;
}

/* Binds what was given to the macro's parameters in the present scope; the rest is left in `given`. */
static void bind_parameters(sf_jrun *r, const sf_jmacro *m, sf_jgiven *given)
{
    size_t plain = given->plain ? given->plain->items : 0, used = 0;
    for (int i = 0; i < m->parameters->n && r->status == SF_OK; i++) {
        const sf_jnode *p = m->parameters->at[i];
        sf_jvalue v = sf_jinja_undefined(p->name), key = sf_jinja_text(p->name, strlen(p->name));
        bool named = given->named && sf_jinja_find(r, given->named, key, &v);
        if (named && used < plain) sf_jinja_fail(r, SF_BAD_INPUT, "macro '%s': two values for '%s'", m->name, p->name);
        if (used < plain)
            v = given->plain->item[used++];
        else if (!named && p->a)
            v = sf_jinja_eval(r, p->a);
        sf_jinja_bind(r, r->scope, p->name, v);
    }
    sf_jlist *rest = sf_jinja_list(r, 0);
    for (; used < plain; used++) sf_jinja_append(r, rest, given->plain->item[used]);
    given->plain = rest;
}

static bool is_parameter(const sf_jmacro *m, sf_jvalue key)
{
    for (int i = 0; i < m->parameters->n; i++)
        if (sf_jinja_says(key, m->parameters->at[i]->name)) return true;
    return false;
}

static void bind_rest(sf_jrun *r, const sf_jmacro *m, sf_jgiven given, const sf_jvalue *caller)
{
    sf_jdict *named = sf_jinja_dict(r);
    sf_jvalue called = caller ? *caller : sf_jinja_undefined("caller");
    for (size_t i = 0; given.named && i < given.named->items && r->status == SF_OK; i++) {
        sf_jvalue key = given.named->key[i];
        if (sf_jinja_says(key, "caller") && m->wants_caller)
            called = given.named->value[i];
        else if (!is_parameter(m, key))
            sf_jinja_put_key(r, named, key, given.named->value[i]);
    }
    if (r->status != SF_OK) return;
    if (given.plain->items && !m->wants_rest)
        sf_jinja_fail(r, SF_BAD_INPUT, "macro '%s' takes no more than %d arguments", m->name, m->parameters->n);
    if (named->items && !m->wants_named)
        sf_jinja_fail(r, SF_BAD_INPUT, "macro '%s' takes no argument of that name", m->name);
    if (caller && !m->wants_caller)
        sf_jinja_fail(r, SF_BAD_INPUT, "macro '%s' was called with a block and has no caller()", m->name);
    if (m->wants_rest) sf_jinja_bind(r, r->scope, "varargs", sf_jinja_listed(SF_J_TUPLE, given.plain));
    if (m->wants_named) sf_jinja_bind(r, r->scope, "kwargs", (sf_jvalue){.kind = SF_J_DICT, .dict = named});
    if (m->wants_caller) sf_jinja_bind(r, r->scope, "caller", called);
}

sf_jvalue sf_jinja_call_macro(sf_jrun *r, const sf_jmacro *m, sf_jgiven given, const sf_jvalue *caller)
{
    sf_jscope *before = r->scope;
    r->scope = sf_jinja_scope(r, m->defined_in);
    bind_parameters(r, m, &given);
    bind_rest(r, m, given, caller);
    sf_jvalue v = r->status == SF_OK ? captured(r, m->body, NULL) : sf_jinja_none();
    r->scope = before;
    return v;
}

static sf_jvalue call_block(sf_jrun *r, const sf_jnode *n)
{
    sf_jmacro *m = make_macro(r, "caller", n);
    sf_jvalue callee = sf_jinja_eval(r, n->a->a), caller = {.kind = SF_J_MACRO, .macro = m};
    sf_jgiven given = sf_jinja_arguments(r, n->a->arguments);
    if (!m || r->status != SF_OK) return sf_jinja_none();
    if (callee.kind == SF_J_MACRO) return sf_jinja_call_macro(r, callee.macro, given, &caller);
    sf_jinja_fail(r, SF_BAD_INPUT, "a call block for a value of type '%s'", sf_jinja_type(callee));
    return sf_jinja_none();
}

/* ---- statements ------------------------------------------------------------------------------------------------ */

/* A chain of filters over a text: the innermost has no operand of its own. */
static sf_jvalue filtered(sf_jrun *r, const sf_jnode *filter, sf_jvalue text)
{
    if (!filter || r->status != SF_OK) return text;
    if (!sf_jinja_sink(r)) return text;
    sf_jvalue v = filtered(r, filter->a, text);
    v = sf_jinja_filter(r, filter->name, v, sf_jinja_arguments(r, filter->arguments));
    sf_jinja_rise(r);
    return v;
}

static void write_value(sf_jrun *r, sf_jvalue v)
{
    sf_jvalue text = sf_jinja_str(r, v);
    if (r->status == SF_OK) sf_jinja_put_text(r, r->output, text);
}

static flow run_with(sf_jrun *r, const sf_jnode *n)
{
    sf_jscope *outside = r->scope, *inside = sf_jinja_scope(r, outside);
    for (int i = 0; i < n->items.n && r->status == SF_OK; i++) /* values do not see each other's names */
        assign(r, inside, n->items.at[i]->a, sf_jinja_eval(r, n->items.at[i]->b));
    r->scope = inside;
    flow how = run(r, &n->body);
    r->scope = outside;
    return how;
}

static flow run_if(sf_jrun *r, const sf_jnode *n)
{
    for (; n; n = n->c) {
        bool taken = sf_jinja_true(sf_jinja_eval(r, n->a));
        if (r->status != SF_OK) return GOES_ON;
        if (taken) return run(r, &n->body);
        if (!n->c) return run(r, &n->other);
    }
    return GOES_ON;
}

static flow run_one(sf_jrun *r, const sf_jnode *n)
{
    flow how = GOES_ON;
    sf_jvalue v;
    switch (n->type) {
    case SF_J_DATA:
        sf_jinja_put_text(r, r->output, n->value);
        break;
    case SF_J_OUTPUT:
        for (int i = 0; i < n->items.n && r->status == SF_OK; i++) write_value(r, sf_jinja_eval(r, n->items.at[i]));
        break;
    case SF_J_IF:
        return run_if(r, n);
    case SF_J_FOR:
        return run_loop(r, n, sf_jinja_eval(r, n->b), r->scope, 0);
    case SF_J_SET:
        assign(r, r->scope, n->a, sf_jinja_eval(r, n->b));
        break;
    case SF_J_SET_BLOCK:
        v = captured(r, &n->body, &how);
        if (how == GOES_ON) assign(r, r->scope, n->a, filtered(r, n->b, v));
        break;
    case SF_J_DEFINE_MACRO:
        v = (sf_jvalue){.kind = SF_J_MACRO, .macro = make_macro(r, n->name, n)};
        sf_jinja_bind(r, r->scope, n->name, v);
        break;
    case SF_J_CALL_BLOCK:
        write_value(r, call_block(r, n));
        break;
    case SF_J_FILTER_BLOCK:
        v = captured(r, &n->body, &how);
        if (how == GOES_ON) write_value(r, filtered(r, n->b, v));
        break;
    case SF_J_GROUP:
        write_value(r, captured(r, &n->body, NULL));
        break;
    case SF_J_WITH:
        return run_with(r, n);
    case SF_J_BREAK:
        return BREAKS;
    case SF_J_CONTINUE:
        return CONTINUES;
    default:
        sf_jinja_fail(r, SF_INTERNAL, "a node of kind %d where a statement is wanted", n->type);
    }
    return how;
}

static flow run(sf_jrun *r, const sf_jnodes *body)
{
    flow how = GOES_ON;
    if (!sf_jinja_sink(r)) return how;
    for (int i = 0; i < body->n && how == GOES_ON && sf_jinja_step(r, 1); i++) {
        r->line = body->at[i]->line;
        how = run_one(r, body->at[i]);
    }
    sf_jinja_rise(r);
    return how;
}

/* ---- rendering ------------------------------------------------------------------------------------------------- */

static void bind_variables(sf_jrun *r, const json_t *variables)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)variables, name, value)
        sf_jinja_bind(r, r->scope, name, sf_jinja_from_json(r, value));
}

static void hand_over(sf_jrun *r, const sf_jbuffer *written, sf_jinja_output *out)
{
    out->text = malloc(written->bytes + 1);
    out->mark = written->mark ? malloc(written->bytes + 1) : NULL;
    if (!out->text || (written->mark && !out->mark)) {
        sf_jinja_output_free(out);
        sf_jinja_fail(r, SF_NO_MEMORY, "no memory for %zu bytes", written->bytes);
        return;
    }
    if (written->bytes) memcpy(out->text, written->at, written->bytes);
    if (written->mark) memcpy(out->mark, written->mark, written->bytes);
    out->text[written->bytes] = 0;
    out->bytes = written->bytes;
    out->used_date = r->used_date;
}

sf_status sf_jinja_render(const sf_jinja *t, const sf_jinja_input *input, sf_jinja_output *out)
{
    *out = (sf_jinja_output){0};
    sf_jbuffer written = {0};
    sf_jscope globals = {0}, own = {.parent = &globals};
    sf_jrun r = {
        .where = t->memory.where, .limits = input->limits, .input = input, .output = &written, .scope = &globals};
    bind_variables(&r, input->variables);
    r.scope = &own;
    run(&r, &t->body);
    if (r.status == SF_OK) hand_over(&r, &written, out);
    sf_jinja_release(&r);
    return r.status;
}

void sf_jinja_output_free(sf_jinja_output *out)
{
    free(out->text);
    free(out->mark);
    *out = (sf_jinja_output){0};
}
