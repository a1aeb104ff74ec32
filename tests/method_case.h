/* A method on one synthetic attention, told as JSON: what tests/test_methods.c holds against golden values, and
 * tests/tools/choices.c against whatever asks for it.
 *
 *     {"method": "tova", "phase": "prefill" | "compress" | "decode", "params": {…}, "sparsity": null | 0.5, "tokens": 97,
 *      "tail": 4, "output": 64, "heads": 8, "kv_heads": 2, "head_dim": 64, "layer": 1, "sinks": 1, "needles": 0, "ties": 0,
 *      "seed": 7}
 *
 * tail: generated tokens, the last of which decodes. layers: of the model, 3 if not said. Of a trained method, "width" of the layer's
 * input, and "weights": [[rows, columns], [numbers], …], the shapes of what it owns, which is made up. */
#ifndef SF_METHOD_CASE_H
#define SF_METHOD_CASE_H

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "harness/lab/synthetic.h"
#include "base/splitmix.h"
#include "methods/find.h"
#include "methods/side.h"

#ifndef METHOD_CASE_FAIL
#define METHOD_CASE_FAIL fail_msg
#endif
#ifndef METHOD_CASE_THREADS
#define METHOD_CASE_THREADS 2
#endif

typedef struct method_case {
    const sf_method *method;
    void *params;
    sf_synthetic s;
    sf_backend b;
    sf_state state, carry;
    sf_pattern pattern, reads; /* what the hook chose; what attends, by it or over what it has kept */
    sf_attention look, a;      /* what the hook saw; what attends */
    sf_side side;              /* weights of a trained method */
} method_case;

static const sf_method *find(const char *name)
{
    const sf_method *m = sf_method_find(name);
    if (!m) METHOD_CASE_FAIL("'%s' is not registered", name);
    return m;
}

static int position(const char *choices, const char *name)
{
    int n = 0;
    for (const char *c = choices; *c; n++) {
        size_t length = strcspn(c, "|");
        if (strlen(name) == length && strncmp(c, name, length) == 0) return n;
        c += length + (c[length] == '|');
    }
    METHOD_CASE_FAIL("'%s' is none of %s", name, choices);
    return -1;
}

static void ok(sf_status status, const char *at)
{
    if (status != SF_OK) METHOD_CASE_FAIL("%s: %s", at, sf_error());
}

/* Defaults, then what the case names; texts stay the case's. */
static void *make_params(const sf_method *m, const json_t *named)
{
    char *params = calloc(1, m->params_size + 1);
    ok(sf_yaml_params(NULL, m->params, NULL, params), m->name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)named, key, value)
    {
        const sf_param *p = m->params;
        while (p && p->name && strcmp(p->name, key) != 0) p++;
        if (!p || !p->name) METHOD_CASE_FAIL("%s has no parameter '%s'", m->name, key);
        if (p->type == SF_INT) *(int *)(params + p->offset) = (int)json_integer_value(value);
        if (p->type == SF_REAL) *(double *)(params + p->offset) = json_number_value(value);
        if (p->type == SF_BOOL) *(bool *)(params + p->offset) = json_is_true(value);
        if (p->type == SF_CHOICE) *(int *)(params + p->offset) = position(p->choices, json_string_value(value));
        if (p->type == SF_STRING) *(const char **)(params + p->offset) = json_string_value(value);
    }
    return params;
}

static int integer(const json_t *c, const char *key) { return (int)json_integer_value(json_object_get(c, key)); }
static const char *text(const json_t *c, const char *key) { return json_string_value(json_object_get(c, key)); }

/* Multiples of 1/64 in [-2, 2), of a stream for each weight, on a device that is the host; all layers' are this one's. */
static void make_weights(const json_t *told, method_case *c)
{
    const json_t *shapes = json_object_get(told, "weights"), *shape;
    size_t i;
    const int n = (int)json_array_size(shapes);
    for (const sf_param *p = c->method->params; n && p->name; p++)
        if (strcmp(p->name, "weights") == 0) *(const char **)((char *)c->params + p->offset) = "made up";
    c->side = (sf_side){.method = c->method, .path = (char *)(uintptr_t)"made up", .weights = n};
    c->side.tensor = calloc((size_t)n * (size_t)(c->s.layer + 1) + 1, sizeof *c->side.tensor);
    json_array_foreach((json_t *)shapes, i, shape)
    {
        sf_tensor *t = &c->side.tensor[c->s.layer * n + (int)i];
        *t = (sf_tensor){.dtype = SF_F32, .rank = (int)json_array_size(shape)};
        for (int d = 0; d < t->rank; d++) t->dim[d] = json_integer_value(json_array_get(shape, (size_t)d));
        float *x = t->data = malloc((size_t)sf_elements(t) * sizeof *x);
        for (int64_t e = 0; e < sf_elements(t); e++)
            x[e] = ((float)(sf_splitmix(8 * (c->s.seed + (2 << 20)) + i, (uint64_t)e) >> 56) - 128) / 64;
    }
}

static sf_extent extent_of(const json_t *told)
{
    int layers = integer(told, "layers");
    return (sf_extent){.phase = strcmp(text(told, "phase"), "prefill") == 0 ? SF_PREFILL : SF_DECODE,
                       .tokens = integer(told, "tokens"),
                       .output = integer(told, "output"),
                       .heads = integer(told, "heads"),
                       .kv_heads = integer(told, "kv_heads"),
                       .head_dim = integer(told, "head_dim"),
                       .layers = layers ? layers : 3};
}

/* Asks the hook. `at` says where in failures. */
static void open_case(const json_t *told, const char *device, const char *at, method_case *c)
{
    const char *phase = text(told, "phase");
    bool prefill = strcmp(phase, "prefill") == 0, compress = strcmp(phase, "compress") == 0;
    const json_t *sparsity = json_object_get(told, "sparsity");
    *c = (method_case){.method = find(text(told, "method")), .reads = {.kind = SF_DENSE}};
    c->s = (sf_synthetic){.tokens = integer(told, "tokens"),
                          .tail = integer(told, "tail"),
                          .heads = integer(told, "heads"),
                          .kv_heads = integer(told, "kv_heads"),
                          .head_dim = integer(told, "head_dim"),
                          .layer = integer(told, "layer"),
                          .layers = integer(told, "layers"),
                          .width = integer(told, "width"),
                          .sinks = integer(told, "sinks"),
                          .needles = integer(told, "needles"),
                          .ties = integer(told, "ties"),
                          .seed = (uint64_t)json_integer_value(json_object_get(told, "seed"))};
    const sf_extent extent = extent_of(told);
    c->params = make_params(c->method, json_object_get(told, "params"));
    if (json_is_number(sparsity) && c->method->fit)
        ok(sf_hook_fit(c->method, &extent, json_number_value(sparsity), c->params), at);
    ok(sf_backend_open(device, METHOD_CASE_THREADS, &c->b), at);
    ok(sf_synthetic_open(&c->s, &c->b), at);
    ok(sf_synthetic_weights(&c->s, c->method, c->params), at);
    c->b.phase = extent.phase;
    make_weights(told, c);
    if (c->side.weights) c->s.sides = &c->side;
    c->look = sf_synthetic_prompt(&c->s);
    if (!prefill && !compress) {
        ok(sf_synthetic_observe(&c->s, c->method, c->params, &c->state), at);
        c->look = sf_synthetic_step(&c->s, c->s.tail);
    }
    ok(sf_hook_carry(&c->look, c->method, c->params, c->s.tokens + c->s.tail, &c->s.arena, &c->carry), at);
    c->look.carry = &c->carry;
    sf_hook hook = prefill ? SF_HOOK_PREFILL : compress ? SF_HOOK_COMPRESS : SF_HOOK_DECODE;
    ok(sf_hook_choose(hook, &c->look, c->method, c->params, prefill || compress ? NULL : &c->state, &c->pattern), at);
    c->a = c->look;
    if (compress)
        ok(sf_synthetic_evict(&c->s, &c->pattern, &c->a), at);
    else
        c->reads = c->pattern;
}

static void close_case(method_case *c)
{
    free(c->params);
    for (int i = 0; i < c->side.weights; i++) free(c->side.tensor[c->s.layer * c->side.weights + i].data);
    free(c->side.tensor);
    sf_synthetic_close(&c->s);
    sf_backend_close(&c->b);
}

#endif
