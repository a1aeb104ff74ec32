/* What the engine's tests share: tiny models of several shapes, lanes with all their arrays, comparison bit for bit. */
#ifndef SF_TESTS_ENGINE_WORLD_H
#define SF_TESTS_ENGINE_WORLD_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/engine/engine.h"
#include "methods/find.h"

enum { LAYERS = 3, HEADS = 4, VOCAB = 131, MOST_TOKENS = 192, OUTPUT = 12, MOST_LANES = 16, PARAMS = 256 };

/* ---- models ------------------------------------------------------------------------------------------------------ */

enum { LLAMA, QWEN, GEMMA, GGML, SHAPES, WITH_SINKS = SHAPES, CHUNKS };

static inline sf_model_config shape(int which)
{
    sf_model_config c = {
        .architecture = "llama",
        .layers = LAYERS,
        .d = 32,
        .heads = HEADS,
        .kv_heads = 2,
        .head_dim = 8,
        .mlp = 48,
        .vocab = VOCAB,
        .norm_eps = 1e-6,
        .activation = SF_SILU,
        .embed_scale = 1,
        .attention_scale = 0.35f,
        .rope = {.theta = 10000, .factor = 1},
    };
    strcpy(c.name, "tiny");
    switch (which) {
    case QWEN:
        strcpy(c.architecture, "qwen3");
        c.qkv_bias = c.qk_norm = c.tied = true;
        c.kv_heads = 1;
        break;
    case GEMMA:
        strcpy(c.architecture, "gemma3");
        c.qk_norm = c.post_norms = c.tied = true;
        c.norm_offset = 1;
        c.activation = SF_GELU_TANH;
        c.embed_scale = sqrtf(32);
        c.window = 16;
        c.sliding[0] = c.sliding[2] = 1;
        break;
    case GGML: c.rope_interleaved = true; break;
    case WITH_SINKS: c.sinks = true; break;
    case CHUNKS: /* as Llama 4 has them; not on cuda */
        c.chunked = c.qk_unit = c.rope_interleaved = true;
        c.window = 16;
        c.sliding[0] = c.sliding[2] = c.unrotated[1] = 1;
        c.still_growth = 0.3f;
        c.still_positions = 7;
        break;
    }
    c.rope_local = c.rope;
    if (which == GEMMA) c.rope_local.theta = 500;
    return c;
}

static inline sf_model *random_model(const sf_model_config *c)
{
    sf_model *m;
    if (sf_model_random(c, 7, &m) != SF_OK) fail_msg("%s", sf_error());
    return m;
}

static inline sf_model *new_model(int which)
{
    sf_model_config c = shape(which);
    return random_model(&c);
}

static inline void fill_prompt(int32_t *token, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        token[i] = (int32_t)((seed >> 8) % VOCAB);
    }
}

/* ---- lanes ------------------------------------------------------------------------------------------------------- */

typedef struct arm {
    const char *prefill, *decode; /* "name key=value key=value", NULL: dense */
} arm;

/* A lane with all its arrays. */
typedef struct result {
    sf_lane lane;
    _Alignas(8) char params[SF_PHASES][PARAMS];
    int32_t output[OUTPUT];
    float density[SF_PHASES][LAYERS][HEADS], recall[SF_PHASES][LAYERS][HEADS];
} result;

static inline void set_param(const sf_param *p, void *params, double value)
{
    void *at = (char *)params + p->offset;
    switch (p->type) {
    case SF_INT:
    case SF_CHOICE: *(int *)at = (int)value; break;
    case SF_REAL: *(double *)at = value; break;
    case SF_BOOL: *(bool *)at = value != 0; break;
    case SF_STRING: *(const char **)at = p->text; break;
    }
}

static inline const sf_method *method_of(const char *arm_text, void *params)
{
    if (!arm_text) return NULL;
    char text[256], *rest = text;
    snprintf(text, sizeof text, "%s", arm_text);
    const char *name = strtok_r(text, " ", &rest);
    const sf_method *m = NULL;
    for (int i = 0; sf_methods[i]; i++)
        if (strcmp(sf_methods[i]->name, name) == 0) m = sf_methods[i];
    assert_non_null(m);
    assert_true(m->params_size <= PARAMS);
    for (const sf_param *p = m->params; p && p->name; p++) set_param(p, params, p->initial);
    for (char *pair; (pair = strtok_r(NULL, " ", &rest)) != NULL;) {
        char *value = strchr(pair, '=');
        *value++ = 0;
        bool known = false;
        for (const sf_param *p = m->params; p && p->name; p++) {
            if (strcmp(p->name, pair) != 0) continue;
            set_param(p, params, atof(value));
            known = true;
        }
        if (!known) fail_msg("method %s has no parameter %s", name, pair);
    }
    return m;
}

static inline void set_result(result *r, const sf_method *prefill, const sf_method *decode)
{
    r->lane = (sf_lane){.prefill = prefill,
                        .decode = decode,
                        .output = r->output,
                        .prefill_params = r->params[SF_PREFILL],
                        .decode_params = r->params[SF_DECODE]};
    memset(r->output, 0xff, sizeof r->output);
    for (int phase = 0; phase < SF_PHASES; phase++) {
        r->lane.density[phase] = &r->density[phase][0][0];
        r->lane.recall[phase] = &r->recall[phase][0][0];
    }
}

static inline void set_arms(int n, const arm *arms, result *r)
{
    memset(r, 0, (size_t)n * sizeof *r);
    for (int i = 0; i < n; i++) {
        const sf_method *prefill = method_of(arms[i].prefill, r[i].params[SF_PREFILL]);
        const sf_method *decode = method_of(arms[i].decode, r[i].params[SF_DECODE]);
        set_result(&r[i], prefill, decode);
    }
}

static const sf_generation HOW = {.max_output = OUTPUT, .recall_rows = 4, .seed = 1};

static inline sf_status try_run(sf_engine *e, int tokens, uint32_t seed, const sf_generation *how, int n, result *r)
{
    int32_t token[MOST_TOKENS];
    sf_lane lane[MOST_LANES];
    fill_prompt(token, tokens, seed);
    for (int i = 0; i < n; i++) lane[i] = r[i].lane;
    sf_status status = sf_engine_generate(e, token, tokens, how, n, lane);
    for (int i = 0; i < n; i++) r[i].lane = lane[i];
    return status;
}

static inline void run(sf_engine *e, int tokens, uint32_t seed, int n, result *r)
{
    if (try_run(e, tokens, seed, &HOW, n, r) != SF_OK) fail_msg("%s", sf_error());
}

/* Everything that a lane reports but the time it took. */
static inline void assert_same(const result *a, const result *b, const char *what)
{
    if (a->lane.outputs != b->lane.outputs || a->lane.stopped != b->lane.stopped) fail_msg("%s: outputs differ", what);
    if (memcmp(a->output, b->output, sizeof a->output) != 0) fail_msg("%s: tokens differ", what);
    if (memcmp(a->density, b->density, sizeof a->density) != 0) fail_msg("%s: densities differ", what);
    if (memcmp(a->recall, b->recall, sizeof a->recall) != 0) fail_msg("%s: recall differs", what);
    for (int phase = 0; phase < SF_PHASES; phase++) {
        for (int work = 0; work < SF_WORKS; work++) {
            const sf_count *x = &a->lane.meter.at[phase][work], *y = &b->lane.meter.at[phase][work];
            if (memcmp(x, y, sizeof *x) == 0) continue;
            fail_msg(
                "%s: phase %d work %d: flops %lu %lu, weights %lu %lu, cache %lu %lu, other %lu %lu, pairs %lu %lu",
                what, phase, work, x->flops, y->flops, x->weight_bytes, y->weight_bytes, x->cache_bytes, y->cache_bytes,
                x->other_bytes, y->other_bytes, x->pairs, y->pairs);
        }
    }
}

static const arm COMPANY[] = {
    {NULL, NULL},
    {NULL, "quest budget=32 page=8"},
    {NULL, "quest budget=64"},
    {NULL, "snapkv capacity=40 window=16 kernel=5"},
    {NULL, "ada_snapkv capacity=24 window=16 kernel=5"},
    {NULL, "streaming local=30"},
    {"vertical_slash columns=10 diagonals=20 window=16 sinks=2 local=4", NULL},
    {"streaming local=40", "quest budget=32"},
    {"streaming local=40", "snapkv capacity=40 window=16"},
    {"streaming local=20", NULL},
    {NULL, "snapkv capacity=20 window=16 kernel=5"}, /* asks again what another lane has asked */
    {NULL, "snapkv capacity=30 window=9"},
};
enum { LANES = sizeof COMPANY / sizeof *COMPANY, PREFILLS = 4 };

typedef struct world {
    sf_backend backend;
    sf_model *model;
    sf_engine *engine;
} world;

/* Of a world that has its model. */
static inline void open_engine(world *w, const char *device, int threads, int tokens)
{
    if (sf_backend_open(device, threads, &w->backend) != SF_OK) fail_msg("%s", sf_error());
    if (sf_engine_open(&w->backend, w->model, tokens, &w->engine) != SF_OK) fail_msg("%s", sf_error());
}

static inline void open_world(world *w, const char *device, int threads, int which)
{
    w->model = new_model(which);
    open_engine(w, device, threads, MOST_TOKENS);
}

static inline void close_world(world *w)
{
    sf_engine_close(w->engine);
    sf_model_close(w->model);
    sf_backend_close(&w->backend);
}

static inline void needs_device(const char *device)
{
    sf_backend probe;
    if (sf_backend_open(device, 1, &probe) != SF_OK) {
        printf("skipped: %s\n", sf_error());
        skip();
    }
    sf_backend_close(&probe);
}

typedef struct allowed_arm {
    arm a;
    const char *refused; /* with these words; NULL: it runs */
} allowed_arm;

/* Each arm alone runs, the first `full` of them to what dense says, or is refused. */
static inline void run_or_refuse(world *w, int tokens, const result *dense, size_t full, size_t n, const allowed_arm *arms)
{
    result r;
    for (size_t i = 0; i < n; i++) {
        set_arms(1, &arms[i].a, &r);
        sf_status status = try_run(w->engine, tokens, 3, &HOW, 1, &r);
        if ((status != SF_OK) != (arms[i].refused != NULL) || (status && !strstr(sf_error(), arms[i].refused)))
            fail_msg("arm %zu: expected '%s', found '%s'", i, arms[i].refused ? arms[i].refused : "nothing", status ? sf_error() : "nothing");
        if (i < full && memcmp(r.output, dense->output, sizeof r.output) != 0) fail_msg("arm %zu: not what dense says", i);
    }
}

/* Keeps the first n of the prompt's keys. */
static inline sf_status keep_first(sf_attention *a, int n, sf_pattern *out)
{
    int32_t count[HEADS], *index = malloc(HEADS * (size_t)n * sizeof *index);
    for (int g = 0; g < a->kv_heads; g++) count[g] = n;
    for (int i = 0; i < a->kv_heads * n; i++) index[i] = i % n;
    sf_lists kept = sf_host_lists(a, a->kv_heads, n, count, index);
    free(index);
    return sf_keep(a, out, kept);
}

static inline sf_status half_compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return keep_first(a, a->keys / 2, out);
}

/* ---- hooks that count by what is carried along: in prefill, and in decode ---- */

static inline sf_status carry_one(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    if (a->layer != 0 || max_keys != a->keys + OUTPUT - 1) return sf_fail(SF_INTERNAL, "layer %d, %d keys", a->layer, max_keys);
    out->tensor[2] = (sf_tensor){.dtype = SF_I32, .rank = 1, .dim = {1}};
    return SF_OK;
}

/* How often it was called before, by what is carried; what is expected, of a model whose layers all are the method's. */
static inline sf_status count_carried(sf_attention *a, int expected)
{
    int32_t *calls = a->carry->tensor[2].data; /* host memory on this backend */
    return (*calls)++ == expected ? SF_OK : sf_fail(SF_INTERNAL, "layer %d: carries %d, not %d", a->layer, *calls - 1, expected);
}

static inline sf_status carry_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    SF_TRY(count_carried(a, a->layer));
    return sf_dense(a, out);
}

static inline sf_status carry_observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    (void)params, (void)state;
    return first ? SF_OK : count_carried(a, a->layer);
}

static inline sf_status carry_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    SF_TRY(count_carried(a, LAYERS * a->kv.tail.n + a->layer));
    return sf_dense(a, out);
}

#endif
