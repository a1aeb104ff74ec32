/* The engine on tiny random models: lanes alone and in company, threads, backends, chunks, meters, recall, state, bad
 * methods, memory. Everything that is called equal here is compared bit for bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/engine.h"

enum { LAYERS = 3, HEADS = 4, VOCAB = 131, MOST_TOKENS = 192, OUTPUT = 12, MOST_LANES = 16, PARAMS = 256 };

/* ---- models ------------------------------------------------------------------------------------------------------ */

enum { LLAMA, QWEN, GEMMA, GGML, SHAPES };

static sf_model_config shape(int which)
{
    sf_model_config c = {
        .architecture = "llama", .layers = LAYERS, .d = 32, .heads = HEADS, .kv_heads = 2, .head_dim = 8, .mlp = 48,
        .vocab = VOCAB, .norm_eps = 1e-6, .activation = SF_SILU, .embed_scale = 1, .attention_scale = 0.35f,
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
    }
    c.rope_local = c.rope;
    if (which == GEMMA) c.rope_local.theta = 500;
    return c;
}

static sf_model *new_model(int which)
{
    sf_model_config c = shape(which);
    sf_model *m;
    if (sf_model_random(&c, 7, &m) != SF_OK) fail_msg("%s", sf_error());
    return m;
}

static void fill_prompt(int32_t *token, int n, uint32_t seed)
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

static void set_param(const sf_param *p, void *params, double value)
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

static const sf_method *method_of(const char *arm_text, void *params)
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

static void set_result(result *r, const sf_method *prefill, const sf_method *decode)
{
    r->lane = (sf_lane){.prefill = prefill, .decode = decode, .output = r->output,
                        .prefill_params = r->params[SF_PREFILL], .decode_params = r->params[SF_DECODE]};
    memset(r->output, 0xff, sizeof r->output);
    for (int phase = 0; phase < SF_PHASES; phase++) {
        r->lane.density[phase] = &r->density[phase][0][0];
        r->lane.recall[phase] = &r->recall[phase][0][0];
    }
}

static void set_arms(int n, const arm *arms, result *r)
{
    memset(r, 0, (size_t)n * sizeof *r);
    for (int i = 0; i < n; i++) {
        const sf_method *prefill = method_of(arms[i].prefill, r[i].params[SF_PREFILL]);
        const sf_method *decode = method_of(arms[i].decode, r[i].params[SF_DECODE]);
        set_result(&r[i], prefill, decode);
    }
}

static const sf_generation HOW = {.max_output = OUTPUT, .recall_rows = 4, .seed = 1};

static sf_status try_run(sf_engine *e, int tokens, uint32_t seed, const sf_generation *how, int n, result *r)
{
    int32_t token[MOST_TOKENS];
    sf_lane lane[MOST_LANES];
    fill_prompt(token, tokens, seed);
    for (int i = 0; i < n; i++) lane[i] = r[i].lane;
    sf_status status = sf_engine_generate(e, token, tokens, how, n, lane);
    for (int i = 0; i < n; i++) r[i].lane = lane[i];
    return status;
}

static void run(sf_engine *e, int tokens, uint32_t seed, int n, result *r)
{
    if (try_run(e, tokens, seed, &HOW, n, r) != SF_OK) fail_msg("%s", sf_error());
}

/* Everything that a lane reports but the time it took. */
static void assert_same(const result *a, const result *b, const char *what)
{
    if (a->lane.outputs != b->lane.outputs || a->lane.stopped != b->lane.stopped) fail_msg("%s: outputs differ", what);
    if (memcmp(a->output, b->output, sizeof a->output) != 0) fail_msg("%s: tokens differ", what);
    if (memcmp(a->density, b->density, sizeof a->density) != 0) fail_msg("%s: densities differ", what);
    if (memcmp(a->recall, b->recall, sizeof a->recall) != 0) fail_msg("%s: recall differs", what);
    for (int phase = 0; phase < SF_PHASES; phase++) {
        for (int work = 0; work < SF_WORKS; work++) {
            const sf_count *x = &a->lane.meter.at[phase][work], *y = &b->lane.meter.at[phase][work];
            if (memcmp(x, y, sizeof *x) == 0) continue;
            fail_msg("%s: phase %d work %d: flops %lu %lu, weights %lu %lu, cache %lu %lu, other %lu %lu, pairs %lu %lu", what,
                     phase, work, x->flops, y->flops, x->weight_bytes, y->weight_bytes, x->cache_bytes, y->cache_bytes,
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
};
enum { LANES = sizeof COMPANY / sizeof *COMPANY };

typedef struct world {
    sf_backend backend;
    sf_model *model;
    sf_engine *engine;
} world;

static void open_world(world *w, const char *device, int threads, int which)
{
    if (sf_backend_open(device, threads, &w->backend) != SF_OK) fail_msg("%s", sf_error());
    w->model = new_model(which);
    if (sf_engine_open(&w->backend, w->model, MOST_TOKENS, &w->engine) != SF_OK) fail_msg("%s", sf_error());
}

static void close_world(world *w)
{
    sf_engine_close(w->engine);
    sf_model_close(w->model);
    sf_backend_close(&w->backend);
}

/* ---- economies change nothing ------------------------------------------------------------------------------------ */

static void alone_and_in_company(void **state)
{
    (void)state;
    static const char *const devices[] = {"reference", "cpu"};
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result *together = calloc(LANES, sizeof *together), alone;
        open_world(&w, devices[which % 2], 2, which);
        set_arms(LANES, COMPANY, together);
        run(w.engine, 130, 5, LANES, together);
        for (int i = 0; i < LANES; i++) {
            char what[64];
            snprintf(what, sizeof what, "shape %d, lane %d", which, i);
            set_arms(1, &COMPANY[i], &alone);
            run(w.engine, 130, 5, 1, &alone);
            assert_same(&alone, &together[i], what);
        }
        free(together);
        close_world(&w);
    }
}

static void threads_and_chunks(void **state)
{
    (void)state;
    for (int which = 0; which < SHAPES; which++) {
        world one, two;
        result *a = calloc(LANES, sizeof *a), *b = calloc(LANES, sizeof *b);
        open_world(&one, "cpu", 1, which);
        open_world(&two, "cpu", 2, which);
        sf_engine_set_chunk(two.engine, 17);
        set_arms(LANES, COMPANY, a);
        set_arms(LANES, COMPANY, b);
        run(one.engine, 130, 5, LANES, a);
        run(two.engine, 130, 5, LANES, b);
        for (int i = 0; i < LANES; i++) {
            /* Weights are read once a chunk, so that only these bytes may differ. */
            for (int work = 0; work < SF_WORKS; work++)
                b[i].lane.meter.at[SF_PREFILL][work].weight_bytes = a[i].lane.meter.at[SF_PREFILL][work].weight_bytes;
            assert_same(&a[i], &b[i], "1 thread, whole prompt; 2 threads, 17 rows");
        }
        free(a);
        free(b);
        close_world(&one);
        close_world(&two);
    }
}

static void no_state_between_samples(void **state)
{
    (void)state;
    world w;
    result *first = calloc(LANES, sizeof *first), *again = calloc(LANES, sizeof *again);
    open_world(&w, "cpu", 1, GEMMA);
    set_arms(LANES, COMPANY, first);
    run(w.engine, 120, 5, LANES, first);
    set_arms(LANES, COMPANY, again);
    run(w.engine, 150, 6, LANES, again);
    set_arms(LANES, COMPANY, again);
    run(w.engine, 120, 5, LANES, again);
    for (int i = 0; i < LANES; i++) assert_same(&first[i], &again[i], "same sample after another");
    free(first);
    free(again);
    close_world(&w);
}

/* ---- right results ----------------------------------------------------------------------------------------------- */

static float *logits_of(sf_engine *e, const int32_t *token, int tokens)
{
    float *out = malloc((size_t)tokens * VOCAB * sizeof *out);
    if (sf_engine_logits(e, token, tokens, out) != SF_OK) fail_msg("%s", sf_error());
    return out;
}

/* Greedy tokens from the cache are the argmax of a prefill of everything before them: positions, caches and sliding
 * windows line up, also where the window has dropped keys. */
static void decode_continues_prefill(void **state)
{
    (void)state;
    for (int which = 0; which < SHAPES; which++) {
        for (int tokens = 1; tokens <= 45; tokens += 22) {
            world w;
            result r;
            int32_t all[MOST_TOKENS];
            open_world(&w, "reference", 1, which);
            set_arms(1, COMPANY, &r);
            run(w.engine, tokens, 9, 1, &r);
            fill_prompt(all, tokens, 9);
            memcpy(all + tokens, r.output, sizeof r.output);
            float *logits = logits_of(w.engine, all, tokens + OUTPUT);
            for (int i = 0; i < OUTPUT; i++) {
                const float *row = logits + (size_t)(tokens - 1 + i) * VOCAB;
                for (int t = 0; t < VOCAB; t++) assert_true(row[t] <= row[r.output[i]] + 1e-5f);
            }
            free(logits);
            close_world(&w);
        }
    }
}

static void reference_and_cpu(void **state)
{
    (void)state;
    int32_t token[130];
    fill_prompt(token, 130, 3);
    for (int which = 0; which < SHAPES; which++) {
        world a, b;
        open_world(&a, "reference", 1, which);
        open_world(&b, "cpu", 2, which);
        float *x = logits_of(a.engine, token, 130), *y = logits_of(b.engine, token, 130);
        double difference = 0, norm = 0;
        for (int i = 0; i < 130 * VOCAB; i++) {
            difference += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
            norm += (double)x[i] * x[i];
        }
        assert_true(norm > 0);
        assert_true(sqrt(difference / norm) < 1e-5);
        free(x);
        free(y);
        close_world(&a);
        close_world(&b);
    }
}

static void whole_budget_is_dense(void **state)
{
    (void)state;
    static const arm arms[] = {
        {NULL, NULL},
        {NULL, "quest budget=4096"},
        {NULL, "snapkv capacity=4096"},
        {NULL, "ada_snapkv capacity=4096"},
        {NULL, "streaming local=4096"},
        {"vertical_slash columns=4096 diagonals=4096", NULL},
        {"block_sparse k=4096", NULL},
        {"streaming local=4096", "quest budget=4096"},
    };
    enum { N = sizeof arms / sizeof *arms };
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result r[N];
        open_world(&w, "cpu", 1, which);
        set_arms(N, arms, r);
        run(w.engine, 130, 11, N, r);
        for (int i = 1; i < N; i++) {
            assert_int_equal(r[i].lane.outputs, r[0].lane.outputs);
            assert_memory_equal(r[i].output, r[0].output, sizeof r[0].output);
            assert_memory_equal(r[i].density, r[0].density, sizeof r[0].density);
            for (int phase = 0; phase < SF_PHASES; phase++)
                for (int j = 0; j < LAYERS * HEADS; j++) {
                    float recall = (&r[i].recall[phase][0][0])[j];
                    if (which == GEMMA && j / HEADS != 1)
                        assert_true(isnan(recall));
                    else
                        assert_true(fabsf(recall - 1) < 1e-5f);
                }
        }
        close_world(&w);
    }
}

static void stop_tokens(void **state)
{
    (void)state;
    world w;
    result dense[2], stopped[2];
    static const arm arms[2] = {{NULL, NULL}, {NULL, "streaming local=2 sinks=1"}};
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(2, arms, dense);
    run(w.engine, 60, 21, 2, dense);
    assert_int_equal(dense[0].lane.outputs, OUTPUT);
    assert_false(dense[0].lane.stopped);

    int at = 3;
    w.model->stops = 2;
    w.model->stop[0] = VOCAB - 1;
    w.model->stop[1] = dense[0].output[at];
    while (at > 0 && dense[0].output[at - 1] == dense[0].output[at]) at--;
    for (int i = 0; i < at; i++) assert_int_not_equal(dense[0].output[i], w.model->stop[1]);
    set_arms(2, arms, stopped);
    run(w.engine, 60, 21, 2, stopped);
    assert_int_equal(stopped[0].lane.outputs, at);
    assert_true(stopped[0].lane.stopped);
    assert_memory_equal(stopped[0].output, dense[0].output, (size_t)at * sizeof(int32_t));
    for (int i = 0; i < stopped[1].lane.outputs; i++) assert_int_equal(stopped[1].output[i], dense[1].output[i]);
    close_world(&w);
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

/* Causal pairs of one head under a sliding window of w keys (0: none). */
static uint64_t causal(uint64_t n, uint64_t w) { return !w || n <= w ? n * (n + 1) / 2 : w * (w + 1) / 2 + (n - w) * w; }

static void dense_counts_in_closed_form(void **state)
{
    (void)state;
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result r;
        open_world(&w, "cpu", 1, which);
        const sf_model_config *c = &w.model->config;
        set_arms(1, COMPANY, &r);
        run(w.engine, 100, 2, 1, &r);

        uint64_t prefill = 0, decode = 0, steps = OUTPUT - 1, d = (uint64_t)c->d, hd = (uint64_t)c->head_dim;
        for (int layer = 0; layer < LAYERS; layer++) {
            uint64_t window = sf_layer_slides(c, layer) ? (uint64_t)c->window : 0;
            prefill += HEADS * causal(100, window);
            for (uint64_t s = 0; s < steps; s++) decode += HEADS * (window ? window : 101 + s);
        }
        const sf_count *p = r.lane.meter.at[SF_PREFILL], *q = r.lane.meter.at[SF_DECODE];
        assert_int_equal(p[SF_ATTENTION].pairs, prefill);
        assert_int_equal(q[SF_ATTENTION].pairs, decode);
        assert_int_equal(p[SF_ATTENTION].flops, prefill * (4 * hd + 3));
        assert_int_equal(q[SF_ATTENTION].flops, decode * (4 * hd + 3));
        uint64_t kv = (uint64_t)c->kv_heads;
        assert_int_equal(p[SF_ATTENTION].cache_bytes, LAYERS * kv * 100 * 2 * hd * sizeof(float));
        assert_int_equal(q[SF_ATTENTION].cache_bytes, decode / (HEADS / kv) * 2 * hd * sizeof(float));

        uint64_t row = LAYERS * (2 * d * hd * (HEADS + kv) + 3 * d * (uint64_t)c->mlp), head = d * VOCAB;
        assert_int_equal(p[SF_LINEAR].flops, 2 * (100 * row + head));
        assert_int_equal(q[SF_LINEAR].flops, 2 * steps * (row + head));
        assert_int_equal(p[SF_ESTIMATION].flops + q[SF_ESTIMATION].flops, 0);

        for (int phase = 0; phase < SF_PHASES; phase++)
            for (int i = 0; i < LAYERS * HEADS; i++) {
                float density = (&r.density[phase][0][0])[i];
                if (sf_layer_slides(c, i / HEADS))
                    assert_true(isnan(density));
                else
                    assert_true(density == 1);
            }
        close_world(&w);
    }
}

static void sparse_densities(void **state)
{
    (void)state;
    static const arm arms[] = {{"streaming local=10 sinks=2", "streaming local=10 sinks=2"},
                               {NULL, "snapkv capacity=25 window=8 kernel=3"},
                               {NULL, "quest budget=16 page=8"}};
    world w;
    result r[3];
    open_world(&w, "cpu", 1, QWEN);
    set_arms(3, arms, r);
    run(w.engine, 100, 2, 3, r);
    double window = 0, all = 0, kept = 0;
    for (int i = 0; i < 100; i++) window += i < 12 ? i + 1 : 12;
    for (int s = 0; s < OUTPUT - 1; s++) {
        all += 101 + s;
        kept += 25 + 1 + s;
    }
    for (int i = 0; i < LAYERS * HEADS; i++) {
        assert_true((&r[0].density[SF_PREFILL][0][0])[i] == (float)(window / 5050));
        assert_true((&r[0].density[SF_DECODE][0][0])[i] == (float)(12 * (OUTPUT - 1) / all));
        assert_true((&r[1].density[SF_PREFILL][0][0])[i] == 1);
        assert_true((&r[1].density[SF_DECODE][0][0])[i] == (float)(kept / all));
        for (int j = 0; j < 3; j++) {
            float recall = (&r[j].recall[SF_DECODE][0][0])[i];
            assert_true(recall > 0.01f && recall < 0.999f);
        }
    }
    const sf_count *quest = r[2].lane.meter.at[SF_DECODE], *snapkv = r[1].lane.meter.at[SF_PREFILL];
    assert_true(quest[SF_ESTIMATION].flops > 0 && snapkv[SF_ESTIMATION].flops > 0);
    assert_int_equal(r[2].lane.meter.at[SF_PREFILL][SF_ATTENTION].pairs, snapkv[SF_ATTENTION].pairs);
    close_world(&w);
}

static void one_token_needs_no_step(void **state)
{
    (void)state;
    world w;
    result r;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, &COMPANY[1], &r);
    sf_generation how = HOW;
    how.max_output = 1;
    assert_int_equal(try_run(w.engine, 40, 1, &how, 1, &r), SF_OK);
    assert_int_equal(r.lane.outputs, 1);
    assert_true(isnan(r.density[SF_DECODE][0][0]) && isnan(r.recall[SF_DECODE][0][0]));
    assert_int_equal(r.lane.meter.at[SF_DECODE][SF_LINEAR].flops, 0);
    close_world(&w);
}

/* ---- methods that the engine must see through -------------------------------------------------------------------- */

/* A method that writes down how it was called. */
static struct { int states, observed[64], keys[64], observes, decodes, zeroed; } diary;

static sf_status diary_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    diary.states++;
    if (max_keys != a->keys + OUTPUT - 1) return sf_fail(SF_INTERNAL, "max_keys is %d", max_keys);
    out->tensor[1] = (sf_tensor){.dtype = SF_I32, .rank = 1, .dim = {1}};
    return SF_OK;
}

static sf_status diary_observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    (void)params;
    int32_t *calls = state->tensor[1].data; /* host memory on this backend */
    if (first == 0) diary.zeroed += *calls == 0;
    ++*calls;
    if (a->layer == 1 && diary.observes < 64) {
        diary.observed[diary.observes] = first;
        diary.keys[diary.observes++] = a->keys;
    }
    return SF_OK;
}

static sf_status diary_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params;
    diary.decodes++;
    if (*(int32_t *)state->tensor[1].data != a->keys - 40 + 1) return sf_fail(SF_INTERNAL, "state was lost");
    return sf_dense(a, out);
}

static void hooks_in_order(void **state)
{
    (void)state;
    static const sf_method m = {.abi = SF_METHOD_ABI, .name = "diary", .state = diary_state, .observe = diary_observe,
                                .decode = diary_decode};
    world w;
    result r[2];
    open_world(&w, "reference", 1, LLAMA);
    for (int sample = 0; sample < 2; sample++) {
        memset(&diary, 0, sizeof diary);
        set_arms(2, COMPANY, r);
        set_result(&r[0], NULL, &m);
        run(w.engine, 40, 3, 2, r);
        assert_int_equal(diary.states, LAYERS);
        assert_int_equal(diary.zeroed, LAYERS);
        assert_int_equal(diary.decodes, LAYERS * (OUTPUT - 1));
        assert_int_equal(diary.observes, OUTPUT);
        for (int i = 0; i < OUTPUT; i++) {
            assert_int_equal(diary.observed[i], i ? 39 + i : 0);
            assert_int_equal(diary.keys[i], 40 + i);
        }
    }
    close_world(&w);
}

static sf_status host_pattern(sf_attention *a, sf_pattern *out, int page, const int32_t *index, int n)
{
    int32_t count[8], all[8 * 8];
    for (int g = 0; g < a->kv_heads; g++) {
        count[g] = n;
        memcpy(all + g * 8, index, (size_t)n * sizeof *index);
    }
    sf_lists lists = sf_host_lists(a, a->kv_heads, 8, count, all);
    return page ? sf_pages(a, out, page, lists) : sf_keep(a, out, lists);
}

static sf_status range_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return host_pattern(a, out, 16, (int32_t[]){0, 99}, 2);
}

static sf_status order_compress(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return host_pattern(a, out, 0, (int32_t[]){5, 3}, 2);
}

static sf_status empty_compress(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return host_pattern(a, out, 0, (int32_t[]){0}, 0);
}

static sf_status kind_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return host_pattern(a, out, 0, (int32_t[]){0, 1}, 2);
}

static sf_status bare_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    *out = (sf_pattern){.kind = SF_BLOCKS, .heads = a->heads, .block_q = 16, .block_k = 16};
    return SF_OK;
}

static sf_status failing_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params, (void)out;
    return a->layer == 2 ? sf_fail(SF_BAD_INPUT, "out of ideas") : SF_OK;
}

static sf_status silent_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state, (void)out;
    a->status = sf_fail(SF_BAD_INPUT, "only in status");
    return SF_OK;
}

static sf_status huge_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys;
    out->tensor[0] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {4, -1}};
    return SF_OK;
}

static sf_status dense_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return sf_dense(a, out);
}

static void bad_methods_end_the_sample(void **state)
{
    (void)state;
    static const struct {
        sf_method method;
        bool prefill;
        const char *expected[4];
    } cases[] = {
        {{.name = "range", .decode = range_decode}, false, {"'range'", "decode at layer 0", "99"}},
        {{.name = "order", .compress = order_compress}, false, {"'order'", "compress at layer 0", "ascending"}},
        {{.name = "empty", .compress = empty_compress}, false, {"'empty'", "compress at layer 0", "empty"}},
        {{.name = "kind", .prefill = kind_prefill}, true, {"'kind'", "prefill at layer 0", "blocks"}},
        {{.name = "bare", .prefill = bare_prefill}, true, {"'bare'", "prefill at layer 0", "lists are not set"}},
        {{.name = "failing", .prefill = failing_prefill}, true, {"'failing'", "prefill at layer 2", "out of ideas"}},
        {{.name = "silent", .decode = silent_decode}, false, {"'silent'", "decode at layer 0", "only in status"}},
        {{.name = "huge", .state = huge_state, .decode = dense_decode}, false, {"'huge'", "state at layer 0", "-1"}},
        {{.name = "nothing", .prefill = kind_prefill}, false, {"'nothing'", "no compress or decode"}},
        {{.name = "other", .decode = dense_decode}, true, {"'other'", "cannot be used in prefill"}},
    };
    world w;
    result before, after, r[2];
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, COMPANY, &before);
    run(w.engine, 40, 3, 1, &before);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_arms(2, COMPANY, r);
        set_result(&r[1], cases[i].prefill ? &cases[i].method : NULL, cases[i].prefill ? NULL : &cases[i].method);
        assert_int_equal(try_run(w.engine, 40, 3, &HOW, 2, r), SF_BAD_INPUT);
        for (int k = 0; cases[i].expected[k]; k++)
            if (!strstr(sf_error(), cases[i].expected[k]))
                fail_msg("expected '%s' in: %s", cases[i].expected[k], sf_error());
    }
    set_arms(1, COMPANY, &after);
    run(w.engine, 40, 3, 1, &after);
    assert_same(&before, &after, "after errors");
    close_world(&w);
}

static void bad_input(void **state)
{
    (void)state;
    world w;
    result r;
    int32_t wrong[3] = {1, VOCAB, 2};
    sf_generation none = {.max_output = 0};
    sf_engine *refused;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, COMPANY, &r);
    assert_int_equal(try_run(w.engine, MOST_TOKENS, 1, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "opened for 192"));
    assert_int_equal(sf_engine_generate(w.engine, wrong, 3, &HOW, 1, &r.lane), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "token 1 of the input is 131"));
    assert_int_equal(sf_engine_generate(w.engine, wrong, 0, &HOW, 1, &r.lane), SF_BAD_INPUT);
    assert_int_equal(sf_engine_generate(w.engine, wrong, 1, &none, 1, &r.lane), SF_BAD_INPUT);
    assert_int_equal(sf_engine_generate(w.engine, wrong, 1, &HOW, 0, NULL), SF_BAD_INPUT);
    w.model->config.max_position = 100;
    assert_int_equal(sf_engine_open(&w.backend, w.model, 101, &refused), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "100 positions"));
    assert_null(refused);
    sf_model hollow = {.config = w.model->config};
    assert_int_equal(sf_engine_open(&w.backend, &hollow, 10, &refused), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "without weights"));
    close_world(&w);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static struct { size_t live, calls; struct { void *p; size_t bytes; } block[256]; } heap;
static const sf_backend_ops *counted_ops;

static sf_status counted_alloc(sf_backend *b, size_t bytes, void **out)
{
    SF_TRY(counted_ops->alloc(b, bytes, out));
    for (int i = 0; i < 256; i++) {
        if (heap.block[i].p) continue;
        heap.block[i].p = *out;
        heap.block[i].bytes = bytes;
        heap.live += bytes;
        heap.calls++;
        return SF_OK;
    }
    return sf_fail(SF_INTERNAL, "too many blocks");
}

static void counted_free(sf_backend *b, void *p)
{
    for (int i = 0; p && i < 256; i++) {
        if (heap.block[i].p != p) continue;
        heap.live -= heap.block[i].bytes;
        heap.block[i].p = NULL;
    }
    counted_ops->free(b, p);
}

static sf_status half_compress(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    int n = a->keys / 2;
    int32_t count[2] = {n, n}, *index = malloc(2 * (size_t)n * sizeof *index);
    for (int i = 0; i < 2 * n; i++) index[i] = i % n;
    sf_lists kept = sf_host_lists(a, 2, n, count, index);
    free(index);
    return sf_keep(a, out, kept);
}

static void memory_as_estimated_and_steady(void **state)
{
    (void)state;
    enum { TOKENS = 1400 };
    static const sf_method half = {.name = "half", .compress = half_compress};
    sf_backend b;
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    sf_backend_ops counted = *b.ops;
    counted_ops = b.ops;
    counted.alloc = counted_alloc;
    counted.free = counted_free;
    b.ops = &counted;
    memset(&heap, 0, sizeof heap);

    sf_model_config c = shape(GEMMA);
    c.head_dim = 64; /* large enough that the arena's smallest chunk does not matter */
    c.heads = 8;
    sf_model *model;
    sf_engine *engine;
    assert_int_equal(sf_model_random(&c, 1, &model), SF_OK);
    assert_int_equal(sf_engine_open(&b, model, TOKENS + OUTPUT, &engine), SF_OK);
    void *warm;
    sf_mark mark = sf_scratch_mark(&b);
    assert_int_equal(sf_scratch_alloc(&b, 1 << 20, &warm), SF_OK);
    sf_scratch_release(&b, mark);

    int32_t token[TOKENS], output[3][OUTPUT];
    fill_prompt(token, TOKENS, 3);
    _Alignas(8) char params[PARAMS] = {0};
    sf_lane lane[3] = {{.output = output[0]}, {.output = output[1], .decode = &half}, {.output = output[2]}};
    lane[2].decode = method_of("quest page=4 budget=64", params);
    lane[2].decode_params = params;
    double kept[3] = {1, 0.5, 1};
    sf_generation how = {.max_output = OUTPUT};
    size_t estimate, before = heap.live;
    assert_int_equal(sf_engine_memory(&c, &b, TOKENS, &how, 3, lane, kept, &estimate), SF_OK);
    for (int sample = 0; sample < 2; sample++) assert_int_equal(sf_engine_generate(engine, token, TOKENS, &how, 3, lane), SF_OK);
    size_t calls = heap.calls;
    assert_int_equal(sf_engine_generate(engine, token, TOKENS, &how, 3, lane), SF_OK);
    assert_int_equal(heap.calls, calls);
    double held = (double)(heap.live - before);
    if (fabs(held / (double)estimate - 1) > 0.01) fail_msg("held %.0f bytes, estimated %zu", held, estimate);

    sf_engine_close(engine);
    sf_model_close(model);
    sf_backend_close(&b);
    assert_int_equal(heap.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_and_in_company),
        cmocka_unit_test(threads_and_chunks),
        cmocka_unit_test(no_state_between_samples),
        cmocka_unit_test(decode_continues_prefill),
        cmocka_unit_test(reference_and_cpu),
        cmocka_unit_test(whole_budget_is_dense),
        cmocka_unit_test(stop_tokens),
        cmocka_unit_test(dense_counts_in_closed_form),
        cmocka_unit_test(sparse_densities),
        cmocka_unit_test(one_token_needs_no_step),
        cmocka_unit_test(hooks_in_order),
        cmocka_unit_test(bad_methods_end_the_sample),
        cmocka_unit_test(bad_input),
        cmocka_unit_test(memory_as_estimated_and_steady),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
