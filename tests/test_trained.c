/* Methods that were trained, in the engine: what the layer's input is that they see, and how they read with weights of their own; alone, in
 * company, on threads, in prefill and in decode. What they choose: tests/golden/methods; what models trained so say: tests/peers/trained.py. */
#include "tests/engine_world.h"
#include "tests/testing.h"

#include "base/splitmix.h"
#include "harness/lab/synthetic.h"
#include "harness/model/cost.h"
#include "harness/model/side.h"
#include "harness/model/weights.h"
#include "methods/gates.h"

enum { PROMPT = 90, WIDTH = 32, DIM = 8 };

/* ---- the layer's input --------------------------------------------------------------------------------------------- */

static struct {
    const sf_model *model;
    int rows, missing, hooks;
    double worst;
} seen;

/* v is not rotated: each row of it is a product of the layer's input and the model's own weight. */
static void hold_against_values(const sf_attention *a)
{
    const sf_tensor *w = &seen.model->weights.layer[a->layer].v, *bias = &seen.model->weights.layer[a->layer].v_bias;
    float weight[2 * DIM * WIDTH], add[2 * DIM] = {0};
    seen.hooks++;
    if (!a->hidden || a->width != WIDTH) {
        seen.missing++;
        return;
    }
    sf_to_f32(w->dtype, w->data, weight, sf_elements(w));
    if (bias->data) sf_to_f32(bias->dtype, bias->data, add, sf_elements(bias));
    for (int i = 0; i < a->queries; i++)
        for (int g = 0; g < a->kv_heads; g++) {
            const int j = a->keys - a->queries + i, in_prompt = j < a->kv.prompt.n;
            const sf_kv_part *part = in_prompt ? &a->kv.prompt : &a->kv.tail;
            const float *v = (const float *)part->v + sf_kv_row(part, g, in_prompt ? j : j - a->kv.prompt.n) * DIM, *x = (const float *)a->hidden + i * WIDTH;
            for (int d = 0; d < DIM; d++) {
                double sum = (double)add[g * DIM + d];
                for (int c = 0; c < WIDTH; c++) sum += (double)x[c] * (double)weight[(g * DIM + d) * WIDTH + c];
                if (!(fabs(sum - (double)v[d]) <= seen.worst)) seen.worst = fabs(sum - (double)v[d]);
            }
            seen.rows++;
        }
}

static sf_status looking_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    hold_against_values(a);
    return sf_dense(a, out);
}

static sf_status looking_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys, (void)out;
    return SF_OK;
}

static sf_status looking_observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    (void)params, (void)state, (void)first;
    hold_against_values(a);
    return a->status;
}

static sf_status looking_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return looking_prefill(a, params, out);
}

#define LOOKING .abi = SF_METHOD_ABI, .name = "looking", .summary = "looks", .prefill = looking_prefill, .state = looking_state, .observe = looking_observe, .decode = looking_decode
static const sf_method looking = {LOOKING, .hidden = true}, not_looking = {LOOKING};

/* Rows of each layer with full attention, in waves and in pieces, at prefill, at the first observation and at each step. */
static void the_input_is_what_keys_are_made_of(void **state)
{
    (void)state;
    static const arm arms[] = {{"vertical_slash", NULL}, {NULL, NULL}, {NULL, "quest budget=16"}, {NULL, NULL}};
    for (int which = 0; which < SHAPES; which++)
        for (int chunk = 0; chunk < 2; chunk++) {
            world w;
            result r[4];
            open_world(&w, which % 2 ? "cpu" : "reference", 1, which);
            sf_engine_set_chunk(w.engine, chunk ? 17 : 0);
            set_arms(4, arms, r);
            set_result(&r[1], &looking, &looking);
            set_result(&r[3], NULL, &looking);
            memset(&seen, 0, sizeof seen);
            seen.model = w.model;
            run(w.engine, PROMPT, 3, 4, r);
            int full = 0, steps = 0;
            for (int l = 0; l < LAYERS; l++) full += sf_layer_full(&w.model->config, l);
            for (int i = 1; i < 4; i += 2) steps += r[i].lane.outputs - 1 + r[i].lane.stopped;
            const int kv = w.model->config.kv_heads;
            assert_int_equal(seen.missing, 0);
            assert_int_equal(seen.rows, full * kv * (3 * PROMPT + 2 * steps)); /* a step is observed, then chosen for */
            if (!(seen.worst <= 1e-5)) fail_msg("shape %d, chunk %d: rows are %g apart", which, chunk, seen.worst);
            close_world(&w);
        }
}

/* ---- gates of queries ---------------------------------------------------------------------------------------------- */

/* As they were trained: linear in the projection, whatever rotation and position make of it later. Against the product in double. */
static void hold_gates_against_projections(sf_attention *a)
{
    const sf_tensor *w = &seen.model->weights.layer[a->layer].q;
    const int group = a->heads / a->kv_heads;
    static float weight[HEADS * DIM * WIDTH], gate[2 * MOST_TOKENS];
    float of_gate[2 * DIM];
    seen.hooks++;
    if (!a->hidden || a->width != WIDTH) {
        seen.missing++;
        return;
    }
    for (int i = 0; i < 2 * DIM; i++) of_gate[i] = (float)(i * 7 % 11) / 4 - 1;
    sf_to_f32(w->dtype, w->data, weight, sf_elements(w));
    sf_query_gates(a, (sf_tensor){of_gate, SF_F32, 2, {a->kv_heads, DIM}}, NULL, gate, a->queries);
    for (int g = 0; g < a->kv_heads && !a->status; g++)
        for (int i = 0; i < a->queries; i++, seen.rows++) {
            const float *x = (const float *)a->hidden + i * WIDTH;
            double sum = 0;
            for (int d = 0; d < DIM; d++)
                for (int c = 0; c < WIDTH; c++) sum += (double)of_gate[g * DIM + d] * (double)weight[(g * group * DIM + d) * WIDTH + c] * (double)x[c];
            const double apart = fabs(sum - (double)gate[g * a->queries + i]);
            if (!(apart <= seen.worst)) seen.worst = apart;
        }
}

static sf_status gated_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    hold_gates_against_projections(a);
    return sf_dense(a, out);
}

static sf_status gated_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return gated_prefill(a, params, out);
}

static void gates_see_queries_as_in_training(void **state)
{
    (void)state;
    static const sf_method gated = {.abi = SF_METHOD_ABI, .name = "gated", .summary = "looks", .prefill = gated_prefill, .decode = gated_decode, .hidden = true};
    static const sf_rope_config yarn = {.scaling = SF_ROPE_YARN, .theta = 10000, .factor = 4, .original_positions = 32, .beta_fast = 32, .beta_slow = 1};
    enum { PLAIN, YARN, STRONG, BY_RULE, LONG, GROWING, STILL, CASES };
    for (int i = 0; i < 2 * CASES; i++) {
        sf_model_config c = shape(i / 2 == STILL ? CHUNKS : i % 2 ? GGML : LLAMA);
        world w;
        result r;
        switch (i / 2) {
        case YARN: c.rope = yarn; break;                                   /* 0.1 ln 4 + 1 fold */
        case STRONG: c.rope = yarn, c.rope.attention_factor = 3; break;
        case BY_RULE: c.rope = yarn, c.rope.factor = 0; break;             /* by the longest sequence */
        case LONG:
            c.rope = yarn, c.rope.scaling = SF_ROPE_LONG, c.rope.attention_factor = 1.5;
            for (int j = 0; j < SF_LONG_PAIRS; j++) c.rope.longer[0][j] = c.rope.longer[1][j] = (float)(1 + j);
            break;
        case GROWING: c.rope = yarn, c.query_growth = 0.5f; break;
        }
        c.rope_local = c.rope;
        w.model = random_model(&c);
        open_engine(&w, i % 2 ? "cpu" : "reference", 1, MOST_TOKENS);
        set_arms(1, (arm[]){{NULL, NULL}}, &r);
        set_result(&r, &gated, &gated);
        memset(&seen, 0, sizeof seen);
        seen.model = w.model;
        run(w.engine, PROMPT, 3, 1, &r);
        int full = 0;
        for (int l = 0; l < LAYERS; l++) full += sf_layer_full(&c, l);
        assert_int_equal(seen.missing, 0);
        assert_int_equal(seen.rows, full * c.kv_heads * (PROMPT + r.lane.outputs - 1 + r.lane.stopped));
        if (!(seen.worst <= 2e-5)) fail_msg("case %d on %s: gates are %g apart", i / 2, w.backend.ops->name, seen.worst);
        close_world(&w);
    }
}

static void nobody_asks(void **state)
{
    (void)state;
    world w;
    result r[2];
    size_t plain, asked;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(2, (arm[]){{NULL, NULL}, {NULL, NULL}}, r);
    set_result(&r[1], &not_looking, &not_looking);
    memset(&seen, 0, sizeof seen);
    seen.model = w.model;
    run(w.engine, PROMPT, 3, 2, r);
    assert_true(seen.hooks > 0);
    assert_int_equal(seen.missing, seen.hooks);

    sf_lane lane = {.prefill = &not_looking};
    const sf_job job = {.tokens = PROMPT, .lanes = 1, .lane = &lane};
    OK(sf_engine_memory(&w.model->config, &w.backend, 1, &job, &HOW, NULL, &plain));
    lane.prefill = &looking;
    OK(sf_engine_memory(&w.model->config, &w.backend, 1, &job, &HOW, NULL, &asked));
    assert_true(asked >= plain + PROMPT * WIDTH * sizeof(float));
    close_world(&w);
}

/* ---- weights ------------------------------------------------------------------------------------------------------- */

static char weights[96];

typedef struct entry {
    const char *name;
    int rows, columns; /* columns 0: of one dimension */
} entry;

/* Tensors of each layer, drawn from their names' places. */
static void write_weights(const char *path, int n, const entry *entries)
{
    static char header[8192];
    static float data[65536];
    int used = snprintf(header, sizeof header, "{"), at = 0;
    uint64_t seed = 5;
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < n; i++) {
            const int columns = entries[i].columns, begin = at, elements = entries[i].rows * (columns ? columns : 1);
            char shape[32];
            for (int e = 0; e < elements; e++) data[at++] = ((float)(sf_splitmix_next(&seed) >> 56) - 128) / 128;
            snprintf(shape, sizeof shape, columns ? "[%d,%d]" : "[%d]", entries[i].rows, columns);
            used += snprintf(header + used, sizeof header - (size_t)used, "%s\"model.layers.%d.self_attn.%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%d,%d]}",
                             used > 1 ? "," : "", l, entries[i].name, shape, begin * 4, at * 4);
        }
    used += snprintf(header + used, sizeof header - (size_t)used, "}");
    while (used % 8) header[used++] = ' ';
    const uint64_t length = (uint64_t)used;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(&length, sizeof length, 1, f), fwrite(header, 1, (size_t)used, f), fwrite(data, sizeof *data, (size_t)at, f);
    fclose(f);
}

static const entry OWN[] = {{"g_proj.weight", 3 * HEADS, WIDTH}, {"indexer.wq.weight", 3 * 16, WIDTH}, {"indexer.wk.weight", 16, WIDTH},
                            {"indexer.weights_proj.weight", 3, WIDTH}, {"indexer.k_norm.weight", 16, 0}, {"indexer.k_norm.bias", 16, 0}};

static const char *const ARMS[] = {"nsa block=8 blocks=4 window=12", "dsa k=20 index_heads=3 index_dim=16"};

/* Lanes as arms say, whose weights are in the file. */
static void set_trained(int n, const arm *arms, result *r)
{
    set_arms(n, arms, r);
    for (int i = 0; i < n; i++)
        for (int phase = 0; phase < SF_PHASES; phase++) {
            const sf_method *m = phase == SF_PREFILL ? r[i].lane.prefill : r[i].lane.decode;
            for (const sf_param *p = m ? m->params : NULL; p && p->name; p++)
                if (strcmp(p->name, "weights") == 0) *(const char **)(r[i].params[phase] + p->offset) = weights;
        }
}

/* Pairs that a head reads of the row at position i. */
static double by_definition(int method, int i)
{
    if (method == 1) return i + 1 < 20 ? i + 1 : 20;
    const int own = i % 8 + 1 + 3 * 8;
    return (i + 1) / 8 + (own < i + 1 ? own : i + 1) + (i + 1 < 12 ? i + 1 : 12);
}

static void alone_in_company_and_counted(void **state)
{
    (void)state;
    for (int which = 0; which < SHAPES; which++) {
        world w[3];
        result r[3][4];
        open_world(&w[0], "cpu", 1, which), open_world(&w[1], "cpu", 2, which), open_world(&w[2], "reference", 1, which);
        const arm arms[] = {{ARMS[0], ARMS[0]}, {ARMS[1], ARMS[1]}, {NULL, ARMS[0]}, {ARMS[1], NULL}};
        for (int d = 0; d < 3; d++) {
            set_trained(4, arms, r[d]);
            run(w[d].engine, PROMPT, 3, 4, r[d]);
        }
        for (int i = 0; i < 4; i++) {
            result one;
            set_trained(1, &arms[i], &one);
            run(w[1].engine, PROMPT, 3, 1, &one);
            assert_same(&one, &r[0][i], "alone, on two threads");
            assert_same(&r[1][i], &r[0][i], "on two threads");
            if (r[2][i].lane.outputs != r[0][i].lane.outputs || memcmp(r[2][i].output, r[0][i].output, sizeof one.output) != 0)
                fail_msg("shape %d, arm %d: the reference says other tokens", which, i);
        }
        for (int i = 0; i < 2; i++)
            for (int l = 0; l < LAYERS; l++) {
                if (!sf_layer_full(&w[0].model->config, l)) continue;
                const int steps = r[0][i].lane.outputs - 1 + r[0][i].lane.stopped;
                double read = 0, causal = 0;
                for (int row = 0; row < PROMPT; row++) read += by_definition(i, row), causal += row + 1;
                for (int h = 0; h < HEADS; h++) assert_float_equal((double)r[0][i].density[SF_PREFILL][l][h], read / causal, 1e-6);
                read = causal = 0;
                for (int row = PROMPT; row < PROMPT + steps; row++) read += by_definition(i, row), causal += row + 1;
                for (int h = 0; h < HEADS; h++) assert_float_equal((double)r[0][i].density[SF_DECODE][l][h], read / causal, 1e-6);
            }
        for (int d = 0; d < 3; d++) close_world(&w[d]);
    }
}

/* On a device, whose rows are bf16: each alone, in company and once more, with the pairs that its rule says. */
static void on_a_device(void **state)
{
    needs_device(*state);
    for (int which = 0; which < SHAPES; which++) {
        const arm arms[] = {{ARMS[0], ARMS[0]}, {ARMS[1], ARMS[1]}, {NULL, ARMS[0]}, {ARMS[1], NULL}};
        world w;
        result r[4], one;
        open_world(&w, *state, 1, which);
        set_trained(4, arms, r);
        run(w.engine, PROMPT, 3, 4, r);
        for (int i = 0; i < 4; i++)
            for (int again = 0; again < 2; again++) {
                set_trained(1, &arms[i], &one);
                run(w.engine, PROMPT, 3, 1, &one);
                assert_same(&one, &r[i], "alone");
            }
        for (int i = 0; i < 2; i++)
            for (int l = 0; l < LAYERS; l++) {
                double read = 0, causal = 0;
                for (int row = 0; row < PROMPT; row++) read += by_definition(i, row), causal += row + 1;
                for (int h = 0; h < HEADS && sf_layer_full(&w.model->config, l); h++)
                    assert_float_equal((double)r[i].density[SF_PREFILL][l][h], read / causal, 1e-6);
            }
        close_world(&w);
    }
}

/* What is generated is what a prefill of it says, under the same method; a prompt that ends where a block does, and not. */
static void decode_is_prefill(void **state)
{
    (void)state;
    for (int which = 0; which < SHAPES; which++)
        for (int i = 0; i < 2; i++)
            for (int tokens = 63; tokens <= 66; tokens++) {
                world w;
                result r;
                int32_t token[MOST_TOKENS];
                static float logits[MOST_TOKENS * VOCAB];
                open_world(&w, tokens % 2 ? "cpu" : "reference", 1, which);
                set_trained(1, &(arm){ARMS[i], ARMS[i]}, &r);
                run(w.engine, tokens, 3, 1, &r);
                fill_prompt(token, tokens, 3);
                memcpy(token + tokens, r.output, (size_t)r.lane.outputs * sizeof *token);
                OK(sf_engine_logits_under(w.engine, token, tokens + r.lane.outputs, &r.lane, logits));
                for (int n = 0; n < r.lane.outputs; n++) {
                    const float *row = logits + (tokens + n - 1) * VOCAB;
                    int best = 0;
                    for (int v = 1; v < VOCAB; v++) best = row[v] > row[best] ? v : best;
                    if (best != r.output[n] && row[best] - row[r.output[n]] > 1e-4f)
                        fail_msg("shape %d, %s, %d tokens: token %d is %d, a prefill says %d", which, ARMS[i], tokens, n, r.output[n], best);
                }
                close_world(&w);
            }
}

/* Of blocks of 2, a group of two heads: one head looks at its own block if it may, else at block 1; the other at block 2. At position 9 the
 * own block is over, and takes the first head's part; at 8 it is not, and block 1 has more than block 2. */
static void a_block_is_looked_at_once_it_is_over(void **state)
{
    (void)state;
    enum { D = 8, BLOCKS = 5 };
    static const char *const devices[] = {"reference", "cpu"};
    static const float one[D] = {0, 10, 0, 0, 30}, other[D] = {-5, 0, 1, -5, -5};
    for (int d = 0; d < 2; d++) {
        sf_backend b;
        float q[2][2][D], k[BLOCKS][D] = {{0}};
        int32_t count[2], index[2][4];
        OK(sf_backend_open(devices[d], 1, &b));
        for (int i = 0; i < 2; i++) memcpy(q[i][0], one, sizeof one), memcpy(q[i][1], other, sizeof other);
        for (int j = 0; j < BLOCKS; j++) k[j][j] = 1;
        sf_attention a = {.backend = &b, .layers = 1, .heads = 2, .kv_heads = 1, .head_dim = D, .queries = 2, .keys = 10, .scale = 1, .q = q,
                          .kv = {.dtype = SF_F32}};
        sf_lists chosen = sf_top_summarised(&a, (sf_tensor){k, SF_F32, 3, {1, BLOCKS, D}}, 2, 4);
        sf_read_lists(&a, chosen, count, &index[0][0]);
        OK(a.status);
        assert_memory_equal(count, ((int32_t[]){4, 4}), sizeof count);
        assert_memory_equal(index, ((int32_t[2][4]){{0, 1, 3, 4}, {0, 2, 3, 4}}), sizeof index);
        sf_backend_close(&b);
    }
}

/* ---- what choosing costs ----------------------------------------------------------------------------------------- */

static double bytes_read(const sf_meter *m)
{
    const sf_count *c = &m->at[SF_DECODE][SF_ESTIMATION];
    return (double)(c->weight_bytes + c->cache_bytes);
}

/* One hook alone, on made-up rows: the meter's FLOPs of a prompt, all at once and in strips of rows; and what steps read, over the `every`
 * after which they repeat. Scores of nsa are 2 H + 3 G a block: by what a block more costs. */
static void costs_what_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *arm;
        int tokens, every;
    } rows[] = {{"nsa block=8 blocks=4 window=12", 333, 8}, {"nsa block=64 blocks=4 window=12", 40, 64}, {"nsa block=1 blocks=5 window=3", 1900, 1},
                {"dsa k=20 index_heads=3 index_dim=16", 333, 1}, {"dsa k=20 index_heads=40 index_dim=4", 1500, 1}};
    static const int BEHIND = 128;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sf_backend b;
        sf_meter meter = {0};
        sf_synthetic s = {.tokens = rows[i].tokens, .tail = 2 * BEHIND, .heads = 6, .kv_heads = 2, .head_dim = 32, .width = 48, .seed = 3};
        sf_extent e = {.phase = SF_PREFILL, .tokens = s.tokens, .heads = 6, .kv_heads = 2, .head_dim = 32, .layers = 1, .width = 48};
        _Alignas(8) char params[PARAMS];
        const sf_method *m = method_of(rows[i].arm, params);
        sf_pattern pattern;
        OK(sf_backend_open("cpu", 1, &b));
        OK(sf_synthetic_open(&s, &b));
        OK(sf_synthetic_weights(&s, m, params));
        b.meter = &meter, b.phase = SF_PREFILL;
        sf_attention a = sf_synthetic_prompt(&s);
        OK(sf_hook_choose(SF_HOOK_PREFILL, &a, m, params, NULL, &pattern));
        assert_float_equal(m->estimate(&e, params).exact, (double)meter.at[SF_PREFILL][SF_ESTIMATION].flops, 0);

        sf_state kept;
        OK(sf_hook_state(&a, m, params, s.tokens + s.tail, &s.arena, &kept));
        OK(sf_hook_observe(&a, m, params, &kept, 0));
        sf_scratch_release(&b, (sf_mark){0, 0});
        memset(&meter, 0, sizeof meter), b.phase = e.phase = SF_DECODE;
        const bool blocks = strncmp(rows[i].arm, "nsa", 3) == 0;
        const int first = blocks ? rows[i].every - 1 - rows[i].tokens % rows[i].every : 0;
        double said = 0, others[2] = {0};
        for (int n = 1; n <= first + BEHIND + 1; n++) {
            if (n == first + 1) memset(&meter, 0, sizeof meter); /* steps that end a block are every so many from here on */
            a = sf_synthetic_step(&s, n);
            OK(sf_hook_observe(&a, m, params, &kept, a.keys - 1));
            const uint64_t observed = meter.at[SF_DECODE][SF_ESTIMATION].other_bytes;
            OK(sf_hook_choose(SF_HOOK_DECODE, &a, m, params, &kept, &pattern));
            e.tokens = a.keys, e.step = n;
            if (n > first && n <= first + BEHIND) said += m->estimate(&e, params).exact;
            if (n == first + 1) others[0] = (double)(meter.at[SF_DECODE][SF_ESTIMATION].other_bytes - observed);
            if (n == first + BEHIND) assert_float_equal(4 * said, bytes_read(&meter), 0);
            if (n == first + BEHIND + 1) others[1] = (double)(meter.at[SF_DECODE][SF_ESTIMATION].other_bytes - observed);
            sf_scratch_release(&b, (sf_mark){0, 0});
        }
        const double more = BEHIND / rows[i].every;
        if (blocks) assert_float_equal(others[1] - others[0], 4 * more * (2 * e.heads + 3 * e.kv_heads), 0);
        sf_synthetic_close(&s);
        sf_backend_close(&b);
    }
}

/* In the engine, and as the cost model has it. */
static void cost_of_a_run(void **state)
{
    (void)state;
    for (int which = 0; which < SHAPES; which++)
        for (int i = 0; i < 2; i++) {
            world w;
            result r[2];
            sf_cost cost;
            open_world(&w, "cpu", 1, which);
            set_trained(2, (arm[]){{ARMS[i], NULL}, {NULL, ARMS[i]}}, r);
            run(w.engine, PROMPT, 3, 2, r);
            sf_cost_query q = {.phase = SF_PREFILL, .tokens = PROMPT, .batch = 1, .density = 1, .method = r[0].lane.prefill, .params = r[0].params[SF_PREFILL]};
            sf_cost_of(&w.model->config, &q, &cost);
            assert_string_equal(cost.term[cost.terms - 1].name, "estimation");
            assert_float_equal(cost.term[cost.terms - 1].exact, (double)r[0].lane.meter.at[SF_PREFILL][SF_ESTIMATION].flops, 0);
            if (i == 0) { /* of blocks: steps are not all alike, as above */
                close_world(&w);
                continue;
            }
            double said = 0, steps = r[1].lane.outputs - 1 + r[1].lane.stopped;
            q.phase = SF_DECODE, q.method = r[1].lane.decode, q.params = r[1].params[SF_DECODE];
            for (int n = 1; n <= steps; n++) {
                q.tokens = PROMPT + n;
                sf_cost_of(&w.model->config, &q, &cost);
                said += cost.term[cost.terms - 1].exact;
            }
            const sf_count *at = &r[1].lane.meter.at[SF_DECODE][SF_ESTIMATION];
            assert_float_equal(4 * said, (double)(at->weight_bytes + at->cache_bytes), 0);
            close_world(&w);
        }
}

static void refused(void **state)
{
    (void)state;
    world w;
    result r;
    open_world(&w, "cpu", 1, LLAMA);
    set_trained(1, &(arm){"dsa k=20 index_heads=2 index_dim=16", NULL}, &r);
    assert_int_equal(try_run(w.engine, PROMPT, 3, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "tensor model.layers.0.self_attn.indexer.wq.weight: expected shape [32, 32] by index_heads * index_dim, found [48, 32]"));
    result two[2]; /* beside a lane whose sizes are those of the same file */
    set_trained(2, (arm[]){{ARMS[1], NULL}, {"dsa k=20 index_heads=3 index_dim=8", NULL}}, two);
    assert_int_equal(try_run(w.engine, PROMPT, 3, &HOW, 2, two), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "wq.weight: expected shape [24, 32] by index_heads * index_dim, found [48, 32]"));
    const entry narrow[] = {{"g_proj.weight", 3 * HEADS, WIDTH + 1}};
    write_weights(weights, 1, narrow);
    close_world(&w);
    open_world(&w, "cpu", 1, LLAMA);
    set_trained(1, &(arm){ARMS[0], NULL}, &r);
    assert_int_equal(try_run(w.engine, PROMPT, 3, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "g_proj.weight: expected shape [12, 32], found [12, 33]"));
    set_trained(1, &(arm){ARMS[1], NULL}, &r);
    assert_int_equal(try_run(w.engine, PROMPT, 3, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "wq.weight: expected shape [48, 32] by index_heads * index_dim, not found"));
    close_world(&w);

    sf_attention a = {.queries = 1, .width = 4}; /* a method that does not say that it looks */
    sf_hidden_products(&a, (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {2, 4}});
    assert_int_equal(a.status, SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "says so (`hidden`)"));

    float frequency[1] = {0}, gate[1]; /* queries that are no longer what gates were trained on */
    sf_query_gates(&(sf_attention){.queries = 1, .heads = 1, .kv_heads = 1, .head_dim = 2, .frequency = frequency, .scaled = {.learned = true}},
                   (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {1, 2}}, NULL, gate, 1);
    assert_non_null(strstr(sf_error(), "numbers of its own (adaptive-scalable entmax)"));
}

int main(void)
{
    char folder[64];
    if (folder_make(folder) != 0) return 1;
    snprintf(weights, sizeof weights, "%s/own.safetensors", folder);
    write_weights(weights, sizeof OWN / sizeof *OWN, OWN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_input_is_what_keys_are_made_of), cmocka_unit_test(gates_see_queries_as_in_training),
                                       {.name = "on_a_device, cpu", .test_func = on_a_device, .initial_state = "cpu"},
                                       {.name = "on_a_device, cuda", .test_func = on_a_device, .initial_state = "cuda"},
                                       cmocka_unit_test(nobody_asks),
                                       cmocka_unit_test(a_block_is_looked_at_once_it_is_over), cmocka_unit_test(alone_in_company_and_counted), cmocka_unit_test(decode_is_prefill),
                                       cmocka_unit_test(costs_what_it_says), cmocka_unit_test(cost_of_a_run), cmocka_unit_test(refused)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove(folder);
    return failed;
}
