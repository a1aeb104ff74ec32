/* Cost models against numbers computed on their own from the study's formulas (tests/golden/model/cost.py), for the
 * study's nine models, and the shapes that they come from. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/model/cost.h"
#include "base/yaml.h"
#include "harness/engine/engine.h"
#include "harness/config/sweep.h"
#include "methods/find.h"

static void open_shape(const char *name, sf_model_config *out)
{
    char path[256];
    snprintf(path, sizeof path, "configs/models/%s.yaml", name);
    if (sf_shape_open(path, out) != SF_OK) fail_msg("%s", sf_error());
}

static void check(const char *line, const char *what, double expected, double found)
{
    if (fabs(found - expected) > 1e-12 * fabs(expected))
        fail_msg("%s%s: expected %.17g, found %.17g", line, what, expected, found);
}

static const sf_cost_term *find_term(const sf_cost *cost, const char *name)
{
    for (int i = 0; i < cost->terms; i++) {
        if (strcmp(cost->term[i].name, name) == 0) return &cost->term[i];
    }
    return NULL;
}

static void nine_models(void **state)
{
    (void)state;
    FILE *f = fopen("tests/golden/model/cost.tsv", "r");
    assert_non_null(f);
    char line[512], model[64], phase[16], term[64];
    int rows = 0, totals = 0;
    while (fgets(line, sizeof line, f)) {
        long long tokens, batch;
        double density, paper, exact;
        assert_int_equal(sscanf(line, "%63[^\t]\t%15[^\t]\t%lld\t%lld\t%lf\t%63[^\t]\t%lf\t%lf", model, phase, &tokens,
                                &batch, &density, term, &paper, &exact),
                         8);
        sf_model_config c;
        open_shape(model, &c);
        sf_cost cost;
        sf_cost_of(&c,
                   &(sf_cost_query){.phase = phase[0] == 'p' ? SF_PREFILL : SF_DECODE,
                                    .tokens = tokens,
                                    .batch = batch,
                                    .density = density},
                   &cost);
        if (strcmp(term, "total") == 0) {
            check(line, "paper", paper, cost.paper);
            check(line, "exact", exact, cost.exact);
            totals++;
        } else {
            const sf_cost_term *t = find_term(&cost, term);
            if (!t) fail_msg("%sno such term", line);
            check(line, "paper", paper, t->paper);
            check(line, "exact", exact, t->exact);
        }
        rows++;
    }
    fclose(f);
    assert_int_equal(totals, 9 * 2 * 2);
    assert_true(rows > 200);
}

/* The weights of a decode step are those of the checkpoint, the embedding table but for one row left out where it is
 * not the head too. Parameter counts as published: 7.6, 70.6 and 27.0 billion. */
static void weights_of_a_step(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        double billions;
    } rows[] = {{"qwen2.5-7b", 7.62}, {"llama-3.1-70b", 70.55}, {"gemma-3-27b", 27.01}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sf_model_config c;
        open_shape(rows[i].model, &c);
        sf_cost cost;
        sf_cost_of(&c, &(sf_cost_query){.phase = SF_DECODE, .tokens = 1, .batch = 1, .density = 1}, &cost);
        double all = cost.weights + (c.tied ? 0 : (double)c.vocab * c.d);
        assert_true(fabs(all / 1e9 - rows[i].billions) < 0.02);
    }
}

static sf_estimate estimate(const sf_extent *e, const void *params)
{
    double width = *(const double *)params;
    return (sf_estimate){.paper = width * e->heads * e->tokens, .exact = width * e->kv_heads * e->head_dim};
}

static sf_status keep_all(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)a, (void)params, (void)out;
    return SF_OK;
}

/* Estimation is counted for every sequence at every global layer, and nowhere without a hook. */
static void estimation(void **state)
{
    (void)state;
    static const sf_method with = {.name = "with", .estimate = estimate}, without = {.name = "without"};
    sf_model_config c;
    open_shape("gemma-3-12b", &c);
    double width = 3;
    for (int phase = 0; phase < SF_PHASES; phase++) {
        sf_cost_query q = {.phase = (sf_phase)phase, .tokens = 5000, .batch = 4, .density = 0.1, .params = &width};
        sf_cost none, some;
        q.method = &without;
        sf_cost_of(&c, &q, &none);
        assert_null(find_term(&none, "estimation"));
        q.method = &with;
        sf_cost_of(&c, &q, &some);
        const sf_cost_term *t = find_term(&some, "estimation");
        assert_non_null(t);
        check("", "paper", 4 * 8 * 3.0 * 16 * 5000, t->paper);
        check("", "exact", 4 * 8 * 3.0 * 8 * 256, t->exact);
        check("", "total", none.paper + t->paper, some.paper);
        check("", "total", none.exact + t->exact, some.exact);
    }
    /* What chooses once, to evict, costs FLOPs behind the prefill, and decode steps nothing. */
    static const sf_method evicts = {.name = "evicts", .estimate = estimate, .compress = keep_all};
    sf_cost_query q = {.phase = SF_DECODE, .tokens = 5000, .batch = 4, .density = 0.1, .method = &evicts, .params = &width};
    sf_cost cost;
    sf_cost_of(&c, &q, &cost);
    assert_null(find_term(&cost, "estimation"));
    q = (sf_cost_query){.phase = SF_PREFILL, .tokens = 5000, .batch = 4, .density = 1, .watches = &evicts, .watches_params = &width};
    sf_cost_of(&c, &q, &cost);
    check("", "exact", 4 * 8 * 3.0 * 8 * 256, find_term(&cost, "eviction")->exact);
}

static void set(const sf_method *method, void *params, const char *name, int value)
{
    const sf_param *p = method->params;
    while (p->name && strcmp(p->name, name) != 0) p++;
    assert_non_null(p->name);
    *(int *)((char *)params + p->offset) = value;
}

/* The study's two estimation terms, worked out by hand for Qwen2.5-7B at 65536 tokens: per layer and sequence
 * 28·(2·128·L·256 + 5·L·256 + 2L·16 + 64L·(960 + 960)) FLOPs, and 2·4·128·L/16 elements. */
static void estimation_of_the_study(void **state)
{
    (void)state;
    sf_model_config c;
    open_shape("qwen2.5-7b", &c);
    int64_t L = 65536, params[64] = {0};
    sf_cost cost;

    const sf_method *vs = sf_method_find("vertical_slash");
    assert_true(vs && vs->params_size <= sizeof params);
    set(vs, params, "window", 256);
    set(vs, params, "columns", 960);
    set(vs, params, "diagonals", 960);
    sf_cost_of(
        &c,
        &(sf_cost_query){.phase = SF_PREFILL, .tokens = L, .batch = 2, .density = 0.2, .method = vs, .params = params},
        &cost);
    double per_token = 65536 + 1280 + 32 + 122880;
    check("vertical_slash", " paper", 2 * 28 * 28 * 65536.0 * per_token, find_term(&cost, "estimation")->paper);
    check("vertical_slash", " exact", 2 * 28 * 28 * 65536.0 * (65536 + 1280 + 2),
          find_term(&cost, "estimation")->exact);

    const sf_method *quest = sf_method_find("quest");
    assert_true(quest && quest->params_size <= sizeof params);
    memset(params, 0, sizeof params);
    set(quest, params, "page", 16);
    sf_cost_of(&c,
               &(sf_cost_query){
                   .phase = SF_DECODE, .tokens = L, .batch = 64, .density = 0.1, .method = quest, .params = params},
               &cost);
    check("quest", " paper", 64 * 28 * 4194304.0, find_term(&cost, "estimation")->paper);
    /* One page more, which the steps that follow begin; and its keys, of which there are 1 to 16, whose bounds are taken anew. */
    check("quest", " exact", 64 * 28 * (4194304 + 1024 + 8.5 * 512), find_term(&cost, "estimation")->exact);
}

/* A prompt shorter than the window costs the same with and without it. */
static void short_prompts(void **state)
{
    (void)state;
    sf_model_config c;
    open_shape("gemma-3-4b", &c);
    sf_model_config all_global = c;
    memset(all_global.sliding, 0, sizeof all_global.sliding);
    all_global.window = 0;
    for (int phase = 0; phase < SF_PHASES; phase++) {
        sf_cost_query q = {.phase = (sf_phase)phase, .tokens = 1024, .batch = 2, .density = 1};
        sf_cost a, b;
        sf_cost_of(&c, &q, &a);
        sf_cost_of(&all_global, &q, &b);
        check("", "exact", b.exact, a.exact);
        q.tokens = 1025;
        sf_cost_of(&c, &q, &a);
        sf_cost_of(&all_global, &q, &b);
        assert_true(a.exact < b.exact);
    }
}

/* What the engine's meter counts of a dense run is what `exact` says. */
static void counted_by_the_meter(void **state)
{
    (void)state;
    static const char *const models[] = {"tests/golden/model/qwen2", "tests/golden/model/gemma3", "tests/golden/model/gemma3"};
    enum { TOKENS = 130 };
    int32_t token[TOKENS], output[2];
    for (int i = 0; i < TOKENS; i++) token[i] = 20 + i;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        sf_model *m;
        sf_backend b;
        sf_engine *e;
        if (sf_model_open(models[i], &m) != SF_OK) fail_msg("%s", sf_error());
        if (i == 2) { /* as Llama 4 has them */
            m->config.chunked = m->config.qk_unit = true;
            m->config.qk_norm = false;
        }
        assert_int_equal(sf_backend_open("reference", 1, &b), SF_OK);
        assert_int_equal(sf_engine_open(&b, m, 256, &e), SF_OK);
        sf_lane lane = {.output = output};
        assert_int_equal(sf_engine_generate(e, token, TOKENS, &(sf_generation){.max_output = 2}, 1, &lane), SF_OK);
        assert_int_equal(lane.outputs, 2);

        sf_cost cost;
        sf_cost_query q = {.phase = SF_PREFILL, .tokens = TOKENS, .batch = 1, .density = 1};
        sf_cost_of(&m->config, &q, &cost);
        const sf_count *at = lane.meter.at[SF_PREFILL];
        check(models[i], " prefill", cost.exact, (double)(at[SF_LINEAR].flops + at[SF_ATTENTION].flops));

        q.phase = SF_DECODE;
        q.tokens = TOKENS + 1; /* the second token reads the prompt and the first */
        sf_cost_of(&m->config, &q, &cost);
        at = lane.meter.at[SF_DECODE];
        uint64_t bytes = 0;
        for (int w = 0; w < SF_WORKS; w++) bytes += at[w].weight_bytes + at[w].cache_bytes;
        check(models[i], " decode", cost.exact, (double)bytes / sizeof(float)); /* weights and cache are f32 here */

        /* And of a method's choosing. */
        const sf_method *vs = sf_method_find("vertical_slash");
        int64_t params[64] = {0};
        set(vs, params, "window", 32);
        set(vs, params, "columns", 20);
        set(vs, params, "diagonals", 20);
        set(vs, params, "local", 4);
        lane = (sf_lane){.output = output, .prefill = vs, .prefill_params = params};
        assert_int_equal(sf_engine_generate(e, token, TOKENS, &(sf_generation){.max_output = 1}, 1, &lane), SF_OK);
        q = (sf_cost_query){
            .phase = SF_PREFILL, .tokens = TOKENS, .batch = 1, .density = 1, .method = vs, .params = params};
        sf_cost_of(&m->config, &q, &cost);
        check(models[i], " estimation", find_term(&cost, "estimation")->exact,
              (double)lane.meter.at[SF_PREFILL][SF_ESTIMATION].flops);

        /* Of decode methods, at the prompt and in the one step, whose key is beside the prompt's. */
        static const char *const WATCHING[] = {"h2o", "rocketkv", "quest", "snapkv"};
        for (int k = 0; k < 4; k++) {
            const sf_method *w = sf_method_find(WATCHING[k]);
            assert_int_equal(sf_yaml_params(NULL, w->params, NULL, params), SF_OK);
            set(w, params, k == 2 ? "budget" : "capacity", 40);
            lane = (sf_lane){.output = output, .decode = w, .decode_params = params};
            assert_int_equal(sf_engine_generate(e, token, TOKENS, &(sf_generation){.max_output = 2}, 1, &lane), SF_OK);
            q = (sf_cost_query){.phase = SF_PREFILL, .tokens = TOKENS, .batch = 1, .density = 1, .watches = w, .watches_params = params, .output = 1};
            sf_cost_of(&m->config, &q, &cost);
            check(w->name, " at the prompt", find_term(&cost, w->compress ? "eviction" : "observation")->exact,
                  (double)lane.meter.at[SF_PREFILL][SF_ESTIMATION].flops);
            q = (sf_cost_query){.phase = SF_DECODE, .tokens = TOKENS, .batch = 1, .density = 1, .method = w, .params = params, .output = 1};
            sf_cost_of(&m->config, &q, &cost);
            const sf_count *chosen = &lane.meter.at[SF_DECODE][SF_ESTIMATION];
            const sf_cost_term *said = find_term(&cost, "estimation");
            check(w->name, " in a step", said ? said->exact : 0, (double)(chosen->weight_bytes + chosen->cache_bytes) / sizeof(float));
        }
        sf_engine_close(e);
        sf_backend_close(&b);
        sf_model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_models),   cmocka_unit_test(weights_of_a_step),
        cmocka_unit_test(estimation),    cmocka_unit_test(estimation_of_the_study),
        cmocka_unit_test(short_prompts), cmocka_unit_test(counted_by_the_meter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
