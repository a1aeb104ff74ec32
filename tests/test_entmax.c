/* Models whose attention is normalised by α-entmax (kernels/attention.h, alpha), with queries that grow with their position, end to
 * end: decoding is what prefill says, counts are those of a brute-force walk over all pairs, and what does not go with it is refused. */
#include "tests/engine_world.h"
#include "tests/testing.h"

#include "harness/engine/transformer.h"
#include "harness/model/cost.h"

static sf_model_config entmax_shape(float alpha, bool scales)
{
    sf_model_config c = shape(LLAMA);
    c.layers = 1; /* so that queries and keys can be had without attention */
    c.entmax_alpha = alpha;
    c.query_scales = scales;
    c.scale_delta = 1, c.scale_range = 2;
    c.attention_scale = 2; /* peaked */
    return c;
}

static void open_entmax(world *w, const char *device, const sf_model_config *c)
{
    w->model = random_model(c);
    open_engine(w, device, 2, MOST_TOKENS);
}

/* α = 1.5 by the definition: p_j = (z_j / 2 - τ)+², Σ p = 1. How many are above 0. */
static int weighing(const double *logit, int n)
{
    double low = -1e9, high = -1e9;
    int count = 0;
    for (int j = 0; j < n; j++) high = fmax(high, logit[j] / 2);
    low = high - 1;
    for (int step = 0; step < 80; step++) {
        double tau = (low + high) / 2, sum = 0;
        for (int j = 0; j < n; j++) sum += pow(fmax(logit[j] / 2 - tau, 0), 2);
        if (sum >= 1) low = tau;
        else high = tau;
    }
    for (int j = 0; j < n; j++) count += logit[j] / 2 > high;
    return count;
}

/* Keys that weigh in rows [from, to) of the one layer, over query heads, from its own queries and keys. */
static uint64_t by_hand(world *w, const int32_t *token, int from, int to)
{
    const sf_model_config *c = &w->model->config;
    static float hidden[MOST_TOKENS * 32], q[MOST_TOKENS * HEADS * 8], k[MOST_TOKENS * HEADS * 8], v[MOST_TOKENS * HEADS * 8];
    sf_transformer t;
    sf_workspace work;
    sf_arena arena = {.backend = &w->backend};
    uint64_t sum = 0;
    OK(sf_transformer_open(&w->backend, w->model, (sf_stage){0, 1}, NULL, MOST_TOKENS, &t));
    OK(sf_workspace_open(c, SF_F32, to, 0, &arena, &work));
    OK(sf_transformer_embed(&t, token, to, hidden, &work));
    OK(sf_transformer_qkv(&t, 0, hidden, to, t.positions.position, q, k, v, &work));
    for (int h = 0; h < c->heads; h++)
        for (int i = from; i < to; i++) {
            double logit[MOST_TOKENS];
            for (int j = 0; j <= i; j++) {
                logit[j] = 0;
                for (int d = 0; d < 8; d++)
                    logit[j] += (double)q[(i * c->heads + h) * 8 + d] * k[(j * c->kv_heads + h / (c->heads / c->kv_heads)) * 8 + d];
                logit[j] *= (double)c->attention_scale;
            }
            sum += (uint64_t)weighing(logit, i + 1);
        }
    sf_arena_close(&arena);
    sf_transformer_close(&t);
    return sum;
}

/* What the exact cost has for attention, or for the cache of a step, is what was counted. */
static void check_cost(const sf_model_config *c, const sf_lane *lane, int phase, int tokens, uint64_t pairs, uint64_t weighs, uint64_t keys)
{
    const double share = (double)weighs / (double)pairs, values = fmin(1, (double)weighs / (double)keys);
    sf_cost cost;
    assert_true(fabs(sf_lane_weighing(lane, c, (sf_phase)phase) - share) < 1e-12);
    sf_cost_of(c, &(sf_cost_query){.phase = (sf_phase)phase, .tokens = tokens, .batch = 1, .density = 1, .weighing = share}, &cost);
    for (int i = 0; i < cost.terms; i++) {
        const double exact = cost.term[i].exact;
        if (!strcmp(cost.term[i].name, "attention")) assert_true(fabs(exact - (double)lane->meter.at[phase][SF_ATTENTION].flops) < 1);
        if (!strcmp(cost.term[i].name, "cache")) assert_true(fabs(exact - tokens * 2 * 8 * (1 + values)) < 1e-6);
    }
}

static void counted_as_by_hand(void **state)
{
    (void)state;
    enum { TOKENS = 150 };
    static const char *const devices[] = {"reference", "cpu"};
    for (int scales = 0; scales < 2; scales++)
        for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
            const sf_model_config c = entmax_shape(1.5f, scales);
            world w;
            result r;
            int32_t token[MOST_TOKENS];
            open_entmax(&w, devices[i], &c);
            set_arms(1, (arm[]){{NULL, NULL}}, &r);
            run(w.engine, TOKENS, 3, 1, &r);
            fill_prompt(token, TOKENS, 3);
            memcpy(token + TOKENS, r.output, (size_t)r.lane.outputs * sizeof *token);
            const int steps = r.lane.outputs - 1 + r.lane.stopped;
            const uint64_t d = 8, from[2] = {0, TOKENS}, to[2] = {TOKENS, (uint64_t)(TOKENS + steps)};
            assert_true(steps > 3);
            for (int phase = 0; phase < SF_PHASES; phase++) {
                const sf_count *found = &r.lane.meter.at[phase][SF_ATTENTION];
                uint64_t pairs = HEADS * (to[phase] * (to[phase] + 1) - from[phase] * (from[phase] + 1)) / 2,
                         weighs = by_hand(&w, token, (int)from[phase], (int)to[phase]),
                         keys = phase == SF_PREFILL ? 2 * TOKENS : pairs / 2, values = weighs < keys ? weighs : keys;
                assert_true(weighs < pairs / 2 && weighs > HEADS * (to[phase] - from[phase]));
                assert_int_equal(found->pairs, pairs);
                assert_int_equal(found->flops, pairs * (2 * d + 3) + weighs * 2 * d);
                assert_int_equal(found->cache_bytes, (keys + values) * d * sizeof(float));
                check_cost(&c, &r.lane, phase, TOKENS, pairs, weighs, keys);
            }
            close_world(&w);
        }
}

/* Each token that decode chose is the likeliest by the logits of a prefill of what stood before it. */
static void decodes_as_it_prefills(void **state)
{
    (void)state;
    enum { TOKENS = 90 };
    static const float alphas[] = {1.5f, 2, 1.3f};
    static float logits[MOST_TOKENS * VOCAB];
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        sf_model_config c = entmax_shape(alphas[i], i == 0);
        c.layers = LAYERS;
        world w;
        result r;
        int32_t token[MOST_TOKENS];
        open_entmax(&w, "cpu", &c);
        set_arms(1, (arm[]){{NULL, NULL}}, &r);
        run(w.engine, TOKENS, 5, 1, &r);
        fill_prompt(token, TOKENS, 5);
        memcpy(token + TOKENS, r.output, (size_t)r.lane.outputs * sizeof *token);
        OK(sf_engine_logits(w.engine, token, TOKENS + r.lane.outputs, logits));
        for (int k = 0; k < r.lane.outputs; k++) {
            const float *row = logits + (TOKENS - 1 + k) * VOCAB;
            int best = 0;
            for (int x = 1; x < VOCAB; x++) best = row[x] > row[best] ? x : best;
            assert_int_equal(best, r.output[k]);
        }
        close_world(&w);
    }
}

/* Methods choose among the keys; what has parts, weights or distances of its own is softmax's alone. */
static void with_methods(void **state)
{
    (void)state;
    static const allowed_arm arms[] = {
        {{NULL, "quest budget=4096 page=8"}, NULL},
        {{"vertical_slash columns=4096 diagonals=4096 window=16", "snapkv capacity=4096 window=16 kernel=5"}, NULL},
        {{"block_sparse block=16 k=2", "quest budget=32 page=8"}, NULL}, /* these two run */
        {{"moba k=2 block=16", "tova capacity=40"}, NULL},
        {{"lm_infinite local=20 global=4", NULL}, "normalised by 1.5-entmax: only softmax"},
        {{NULL, "streaming_llm recent=20"}, "normalised by 1.5-entmax: only softmax"},
    };
    sf_model_config c = entmax_shape(1.5f, true);
    c.layers = LAYERS;
    world w;
    result dense;
    open_entmax(&w, "cpu", &c);
    set_arms(1, (arm[]){{NULL, NULL}}, &dense);
    run(w.engine, 120, 3, 1, &dense);
    run_or_refuse(&w, 120, &dense, 2, sizeof arms / sizeof *arms, arms);
    close_world(&w);
}

/* Heads that have no key in a row give 0, by either normaliser, on both devices. */
static void rows_without_keys(void **state)
{
    (void)state;
    enum { TOKENS = 90 };
    static float logits[2][TOKENS * VOCAB];
    for (int softmax = 0; softmax < 2; softmax++) {
        sf_model_config c = entmax_shape(softmax ? 0 : 1.5f, false);
        c.layers = LAYERS;
        for (int d = 0; d < 2; d++) {
            world w;
            result r;
            int32_t token[TOKENS];
            open_entmax(&w, d ? "cpu" : "reference", &c);
            set_arms(1, (arm[]){{"spattention length=70", "spattention length=70"}}, &r);
            run(w.engine, TOKENS, 5, 1, &r);
            fill_prompt(token, TOKENS, 5);
            OK(sf_engine_logits_under(w.engine, token, TOKENS, &r.lane, logits[d]));
            close_world(&w);
        }
        for (int i = 0; i < TOKENS * VOCAB; i++)
            if (!(fabsf(logits[0][i] - logits[1][i]) <= 1e-4f)) fail_msg("logit %d: %g and %g", i, (double)logits[0][i], (double)logits[1][i]);
    }
}

/* A device of bf16 beside the reference: the same pairs, so many of them that weigh, logits that differ as its roundings do, and the same
 * bits whether a prompt goes through it whole or in pieces. */
static void on_a_device(void **state)
{
    enum { TOKENS = 170 };
    static const float alphas[] = {1.5f, 2, 1.3f};
    static float logits[3][TOKENS * VOCAB];
    needs_device(*state);
    for (int kind = 0; kind < 6; kind++) {
        sf_model_config c = entmax_shape(alphas[kind / 2], kind % 2);
        c.layers = LAYERS, c.attention_scale = 1;
        sf_count found[2][SF_PHASES];
        for (int d = 0; d < 2; d++) {
            world w;
            result r;
            int32_t token[TOKENS];
            open_entmax(&w, d ? *state : "reference", &c);
            set_arms(1, (arm[]){{NULL, NULL}}, &r);
            run(w.engine, TOKENS, 3, 1, &r);
            for (int phase = 0; phase < SF_PHASES; phase++) found[d][phase] = r.lane.meter.at[phase][SF_ATTENTION];
            fill_prompt(token, TOKENS, 3);
            OK(sf_engine_logits(w.engine, token, TOKENS, logits[d]));
            sf_engine_set_chunk(w.engine, 33);
            OK(sf_engine_logits(w.engine, token, TOKENS, logits[2]));
            assert_memory_equal(logits[d], logits[2], sizeof logits[2]);
            close_world(&w);
        }
        const uint64_t d = 8, pairs = found[0][SF_PREFILL].pairs;
        double apart = 0, size = 0, weighs[2];
        assert_int_equal(found[1][SF_PREFILL].pairs, pairs);
        for (int i = 0; i < 2; i++) weighs[i] = (double)(found[i][SF_PREFILL].flops - pairs * (2 * d + 3)) / (2 * d);
        if (!(weighs[0] > 0 && fabs(weighs[1] / weighs[0] - 1) < 0.05)) fail_msg("%g keys weigh, expected about %g", weighs[1], weighs[0]);
        assert_true(found[1][SF_DECODE].pairs > 0 && found[1][SF_DECODE].flops > found[1][SF_DECODE].pairs * (2 * d + 3));
        for (int i = 0; i < TOKENS * VOCAB; i++) {
            const double by = (double)logits[1][i] - (double)logits[0][i];
            apart += by * by, size += (double)logits[0][i] * (double)logits[0][i];
        }
        printf("%g-entmax%s on %s: logits differ by %.1e, %.4f of the pairs weigh, %.4f on the reference\n", (double)c.entmax_alpha,
               c.query_scales ? ", scaled queries" : "", (const char *)*state, sqrt(apart / size), weighs[1] / (double)pairs, weighs[0] / (double)pairs);
        /* the reference's activations rounded to bf16: .026 to .061, .082 to .17 where queries grow */
        assert_true(sqrt(apart / size) < (c.query_scales ? 0.3 : 0.1));
    }
}

static void bad_numbers(void **state)
{
    (void)state;
    sf_model_config c = entmax_shape(2.5f, false);
    assert_error(sf_config_validate(&c, "here"), "here: entmax alpha: expected a number above 1 and at most 2, found 2.5");
    c = entmax_shape(1.5f, false), c.sinks = true;
    assert_error(sf_config_validate(&c, "here"), "learned attention sinks together with 1.5-entmax");
    c = entmax_shape(1.5f, true), c.scale_range = -1;
    assert_error(sf_config_validate(&c, "here"), "a delta and a range of queries' scales of at least 0, found 1 and -1");
    char plain[33] = "", other[33] = "";
    c = entmax_shape(0, false), c.scale_delta = c.scale_range = 0, sf_config_hash(&c, plain);
    c.entmax_alpha = 1.5f, sf_config_hash(&c, other);
    assert_string_not_equal(plain, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counted_as_by_hand), cmocka_unit_test(decodes_as_it_prefills),
                                       cmocka_unit_test(with_methods), cmocka_unit_test(rows_without_keys), cmocka_unit_test(bad_numbers),
                                       cmocka_unit_test_prestate(on_a_device, "cuda"), cmocka_unit_test_prestate(on_a_device, "cpu")};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
