/* Divergence on tiny random models, on cpu, and on cuda where there is one (in bf16, so by its rounding): against logits taken apart, the generation against the same tokens as a prompt, and
 * nothing else changed by it. */
#include "tests/engine_world.h"

#include "harness/engine/company.h"
#include "harness/engine/divergence.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != SF_OK) fail_msg("%s: %s", #call, sf_error());                                                    \
    } while (0)

enum { TOKENS = 100, ROWS = 16 };

static const sf_generation MEASURED = {.max_output = OUTPUT, .recall_rows = 4, .seed = 1, .divergence_rows = ROWS};

/* What rounding may do to a measure, where both sides are computed on different ways. */
static double rounding = 1e-4;

/* *state names the device. */
static bool is_there(void **state)
{
    sf_backend probe;
    if (sf_backend_open(*state, 1, &probe) != SF_OK) {
        skip();
        return false;
    }
    sf_backend_close(&probe);
    rounding = strcmp(*state, "cuda") == 0 ? 0.1 : 1e-4;
    return true;
}
static bool is_exact(void) { return rounding < 1e-3; }

typedef struct measured {
    result r;
    sf_divergence prompt[MOST_TOKENS], generation[OUTPUT];
    float error[SF_PHASES][LAYERS][HEADS];
} measured;

static void set_measured(int n, const arm *arms, measured *m)
{
    for (int i = 0; i < n; i++) {
        set_arms(1, &arms[i], &m[i].r);
        m[i].r.lane.divergence[SF_PREFILL] = m[i].prompt;
        m[i].r.lane.divergence[SF_DECODE] = m[i].generation;
        for (int p = 0; p < SF_PHASES; p++) m[i].r.lane.error[p] = &m[i].error[p][0][0];
    }
}

static void run_measured(sf_engine *e, const int32_t *token, int tokens, const sf_generation *how, int n, measured *m)
{
    sf_lane lane[MOST_LANES];
    for (int i = 0; i < n; i++) lane[i] = m[i].r.lane;
    OK(sf_engine_generate(e, token, tokens, how, n, lane));
    for (int i = 0; i < n; i++) m[i].r.lane = lane[i];
}

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%s: %.9g instead of %.9g", what, found, expected);
}

/* ½ ¼ ¼ against ¼ ½ ¼ */
static void two_rows(void **state)
{
    (void)state;
    const float dense[] = {logf(0.5F) + 3, logf(0.25F) + 3, logf(0.25F) + 3}, lane[] = {logf(0.25F), logf(0.5F), logf(0.25F)};
    sf_divergence d = sf_divergence_of(dense, lane, 3, 7, 2);
    assert_int_equal(d.position, 7);
    assert_int_equal(d.rank, 2);
    near(d.nll, log(4), 1e-6, "nll");
    near(d.dense_nll, log(4), 1e-6, "dense nll");
    near(d.kl, 0.5 * log(2) + 0.25 * log(0.5), 1e-6, "kl");
    d = sf_divergence_of(dense, dense, 3, 0, -1);
    assert_int_equal(d.rank, 1);
    near(d.nll, log(2), 1e-6, "nll of the likeliest");
    near(d.kl, 0, 1e-9, "kl of the same");
}

/* The dense lane against logits of the same tokens as one prompt. */
static void dense_is_its_own_measure(void **state)
{
    if (!is_there(state)) return;
    for (int which = 0; which < SHAPES; which++) {
        static measured m[1];
        static float logit[MOST_TOKENS * VOCAB];
        int32_t token[MOST_TOKENS];
        world w;
        open_world(&w, *state, 1, which);
        fill_prompt(token, TOKENS, 3);
        set_measured(1, (const arm[]){{NULL, NULL}}, m);
        run_measured(w.engine, token, TOKENS, &MEASURED, 1, m);
        const sf_lane *lane = &m->r.lane;
        assert_int_equal(lane->divergences[SF_PREFILL], ROWS);
        assert_int_equal(lane->divergences[SF_DECODE], lane->outputs + lane->stopped);
        memcpy(token + TOKENS, m->r.output, (size_t)lane->outputs * sizeof *token);
        OK(sf_engine_logits(w.engine, token, TOKENS + lane->outputs - 1, logit));
        for (int p = 0, before = 0; p < SF_PHASES; p++) {
            for (int i = 0; i < lane->divergences[p]; i++) {
                const sf_divergence *d = &lane->divergence[p][i];
                if (d->position >= TOKENS + lane->outputs) continue; /* the stop token */
                double sum = 0;
                const float *row = logit + (d->position - 1) * VOCAB;
                for (int v = 0; v < VOCAB; v++) sum += exp((double)row[v]);
                assert_true(d->position > before);
                before = d->position;
                near(d->nll, log(sum) - (double)row[token[d->position]], rounding, "nll");
                near(d->dense_nll, d->nll, 0, "dense nll");
                near(d->kl, 0, 0, "kl");
                assert_int_equal(d->rank, p == SF_DECODE ? 1 : d->rank);
            }
        }
        close_world(&w);
    }
}

/* A window is the same in both phases: along the generation as at those tokens of a longer prompt. */
static void generation_as_prompt(void **state)
{
    if (!is_there(state)) return;
    for (int which = 0; which < SHAPES; which++) {
        static measured sparse[2], whole[1];
        int32_t token[MOST_TOKENS];
        world w;
        open_world(&w, *state, 1, which);
        fill_prompt(token, TOKENS, 4);
        const arm window = {"sliding_window window=12", "sliding_window window=12"}, dense = {NULL, NULL};
        set_measured(2, (const arm[]){window, dense}, sparse);
        run_measured(w.engine, token, TOKENS, &MEASURED, 2, sparse);
        const sf_lane *lane = &sparse[0].r.lane;
        int n = sparse[1].r.lane.outputs, far = 0;
        assert_int_equal(lane->divergences[SF_DECODE], sparse[1].r.lane.divergences[SF_DECODE]);
        memcpy(token + TOKENS, sparse[1].r.output, (size_t)n * sizeof *token);
        sf_generation all = MEASURED;
        all.divergence_rows = TOKENS + n;
        set_measured(1, (const arm[]){{window.prefill, NULL}}, whole);
        run_measured(w.engine, token, TOKENS + n, &all, 1, whole);
        assert_int_equal(whole->r.lane.divergences[SF_PREFILL], TOKENS + n - 1);
        for (int i = 0; i < n; i++) {
            const sf_divergence *d = &sparse[0].generation[i], *e = &whole->prompt[TOKENS + i - 1];
            assert_int_equal(d->position, TOKENS + i);
            assert_int_equal(e->position, d->position);
            near(d->nll, e->nll, rounding, "nll");
            near(d->dense_nll, e->dense_nll, rounding, "dense nll");
            near(d->kl, e->kl, rounding, "kl");
            if (is_exact()) assert_int_equal(d->rank, e->rank);
            far += d->kl > 1e-3F;
        }
        assert_true(far > 0 || which == GEMMA);
        close_world(&w);
    }
}

/* A budget of everything is dense; tokens, counts, densities and recall are those of a run that measures nothing, with a
 * dense lane beside and without. */
static void nothing_else_changes(void **state)
{
    if (!is_there(state)) return;
    static const arm arms[] = {{NULL, "quest budget=1000 page=8"}, {"vertical_slash columns=10 diagonals=20 window=16 sinks=2 local=4", NULL},
                               {NULL, "snapkv capacity=40 window=16 kernel=5"}, {NULL, "quest budget=32 page=8"}, {NULL, NULL}};
    enum { N = sizeof arms / sizeof *arms };
    int32_t token[MOST_TOKENS];
    fill_prompt(token, TOKENS, 5);
    for (int which = 0; which <= WITH_SINKS; which++) {
        static measured with[N], without[N];
        world w;
        open_world(&w, *state, 1, which);
        for (int n = N - 1; n <= N; n++) {
            set_measured(n, arms, with);
            set_measured(n, arms, without);
            for (int i = 0; i < n; i++) {
                memset(without[i].r.lane.divergence, 0, sizeof without[i].r.lane.divergence);
                memset(without[i].r.lane.error, 0, sizeof without[i].r.lane.error);
            }
            run_measured(w.engine, token, TOKENS, &MEASURED, n, with);
            run_measured(w.engine, token, TOKENS, &MEASURED, n, without);
            for (int i = 0; i < n; i++) assert_same(&with[i].r, &without[i].r, "measured or not");
            for (int i = 0; i < with[0].r.lane.divergences[SF_DECODE]; i++) near(with[0].generation[i].kl, 0, is_exact() ? 1e-6 : 1e-3, "whole budget");
            for (int i = 0; i < ROWS; i++) near(with[2].prompt[i].kl, 0, 0, "a dense prefill");
            float most = 0;
            for (int layer = 0; layer < LAYERS; layer++)
                for (int h = 0; h < HEADS; h++) {
                    const bool slides = sf_layer_slides(&w.model->config, layer);
                    static const double none[][2] = {{0, 0}, {1, 0}, {0, 1}, {0, 1}}; /* of each arm in prefill and decode: is there an error? */
                    for (int i = 0; i < 4; i++)
                        for (int p = 0; p < SF_PHASES; p++) {
                            const float e = with[i].error[p][layer][h];
                            if (slides) assert_true(isnan(e));
                            else if (none[i][p] == 1 && !(e > 0 && e < 10)) fail_msg("arm %d phase %d layer %d head %d: %g", i, p, layer, h, (double)e);
                            else if (none[i][p] == 1) most = fmaxf(most, e);
                            else near((double)e, 0, is_exact() ? 1e-5 : 2e-2, "no error");
                        }
                }
            assert_true(most > 0.01F);
        }
        close_world(&w);
    }
}

/* A text is forced through all lanes, whatever the dense one would write and whatever stops: as at those tokens of a longer
 * prompt. What lanes write by themselves stays. */
static void along_a_continuation(void **state)
{
    if (!is_there(state)) return;
    enum { BEHIND = 9 };
    for (int which = 0; which < SHAPES; which++) {
        static measured sparse[2], alone[2], whole[2];
        int32_t token[MOST_TOKENS];
        world w;
        open_world(&w, *state, 1, which);
        fill_prompt(token, TOKENS + BEHIND, 6);
        w.model->stop[w.model->stops++] = token[TOKENS + 2];
        const arm window = {"sliding_window window=12", "sliding_window window=12"}, dense = {NULL, NULL};
        set_measured(2, (const arm[]){window, dense}, sparse);
        set_measured(2, (const arm[]){window, dense}, alone);
        sf_lane lane[2] = {sparse[0].r.lane, sparse[1].r.lane};
        const sf_job job = {.token = token, .tokens = TOKENS, .lanes = 2, .lane = lane, .continuation = token + TOKENS, .continuations = BEHIND};
        OK(sf_engine_run(w.engine, 1, &job, &MEASURED));
        run_measured(w.engine, token, TOKENS, &MEASURED, 2, alone);
        sf_generation all = MEASURED;
        all.divergence_rows = TOKENS + BEHIND;
        set_measured(2, (const arm[]){{window.prefill, NULL}, dense}, whole);
        run_measured(w.engine, token, TOKENS + BEHIND, &all, 2, whole);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(lane[i].divergences[SF_DECODE], BEHIND);
            assert_int_equal(lane[i].outputs, alone[i].r.lane.outputs);
            assert_memory_equal(lane[i].output, alone[i].r.output, (size_t)lane[i].outputs * sizeof *token);
            for (int k = 0; k < BEHIND; k++) {
                const sf_divergence *d = &sparse[i].generation[k], *e = &whole[i].prompt[TOKENS + k - 1];
                assert_int_equal(d->position, TOKENS + k);
                near(d->nll, e->nll, rounding, "nll");
                near(d->dense_nll, e->dense_nll, rounding, "dense nll");
                near(d->kl, e->kl, rounding, "kl");
                if (is_exact()) assert_int_equal(d->rank, e->rank);
            }
        }
        close_world(&w);
    }
}

/* Behind a question that is asked late: as along a text that is that question and what the dense lane then writes. */
static void along_an_answer(void **state)
{
    if (!is_there(state)) return;
    enum { ASKED = 5, REST = OUTPUT - ASKED };
    for (int which = 0; which < SHAPES; which++) {
        static const arm arms[] = {{NULL, NULL}, {NULL, "streaming local=12 sinks=2"}, {"streaming local=20", "snapkv capacity=20 window=8"}, {NULL, "h2o capacity=20 every=4"}};
        enum { N = sizeof arms / sizeof *arms };
        static measured late[N], text[N];
        int32_t token[MOST_TOKENS];
        sf_lane lane[N];
        world w;
        open_world(&w, *state, 1, which);
        fill_prompt(token, TOKENS + ASKED, 6);
        sf_generation how = MEASURED;
        how.max_output = REST;
        set_measured(N, arms, late);
        for (int i = 0; i < N; i++) lane[i] = late[i].r.lane;
        sf_job job = {.token = token, .tokens = TOKENS, .lanes = N, .lane = lane, .question = token + TOKENS, .questions = ASKED};
        OK(sf_engine_run(w.engine, 1, &job, &how));
        for (int i = 0; i < N; i++) late[i].r.lane = lane[i];
        assert_int_equal(late[0].r.lane.outputs, REST);
        memcpy(token + TOKENS + ASKED, late[0].r.output, REST * sizeof *token);
        set_measured(N, arms, text);
        for (int i = 0; i < N; i++) lane[i] = text[i].r.lane;
        job = (sf_job){.token = token, .tokens = TOKENS, .lanes = N, .lane = lane, .continuation = token + TOKENS, .continuations = OUTPUT};
        OK(sf_engine_run(w.engine, 1, &job, &MEASURED));
        for (int i = 0; i < N; i++) {
            assert_int_equal(late[i].r.lane.divergences[SF_DECODE], REST);
            assert_int_equal(lane[i].divergences[SF_DECODE], OUTPUT);
            if (is_exact()) assert_memory_equal(late[i].generation, text[i].generation + ASKED, REST * sizeof(sf_divergence));
            if (is_exact()) assert_memory_equal(late[i].prompt, text[i].prompt, ROWS * sizeof(sf_divergence));
            if (i) assert_true(late[i].generation[REST - 1].kl > 1e-6F);
        }
        close_world(&w);
    }
}

/* A step's error is that of the same row of a longer prompt: one row each. */
static void error_of_outputs(void **state)
{
    if (!is_there(state)) return;
    for (int which = 0; which <= WITH_SINKS; which++) {
        static measured steps[1], rows[1];
        int32_t token[MOST_TOKENS];
        world w;
        open_world(&w, *state, 1, which);
        fill_prompt(token, TOKENS, 9);
        const arm window = {"sliding_window window=12", "sliding_window window=12"};
        sf_generation one = MEASURED;
        one.max_output = 2;
        set_measured(1, &window, steps);
        run_measured(w.engine, token, TOKENS, &one, 1, steps);
        assert_int_equal(steps->r.lane.outputs, 2);
        token[TOKENS] = steps->r.output[0];
        one.recall_rows = TOKENS + 1; /* all of them: their sum, less that of the prompt alone, is the step's */
        set_measured(1, (const arm[]){{window.prefill, NULL}}, rows);
        run_measured(w.engine, token, TOKENS + 1, &one, 1, rows);
        static measured before[1];
        set_measured(1, (const arm[]){{window.prefill, NULL}}, before);
        run_measured(w.engine, token, TOKENS, &one, 1, before);
        for (int layer = 0; layer < LAYERS; layer++)
            for (int h = 0; h < HEADS && !sf_layer_slides(&w.model->config, layer); h++) {
                double whole = (double)rows->error[SF_PREFILL][layer][h] * (TOKENS + 1), less = (double)before->error[SF_PREFILL][layer][h] * TOKENS;
                near((double)steps->error[SF_DECODE][layer][h], whole - less, is_exact() ? 1e-3 : 0.1, "error of a step");
                assert_true(steps->error[SF_DECODE][layer][h] > 1e-3F);
            }
        close_world(&w);
    }
}

/* Scale and cap of logits change what is predicted, not what is likeliest. */
static void scaled_and_capped(void **state)
{
    if (!is_there(state)) return;
    static measured m[1];
    static float logit[MOST_TOKENS * VOCAB];
    int32_t token[MOST_TOKENS];
    world w;
    open_world(&w, *state, 1, LLAMA);
    w.model->config.logit_scale = 3, w.model->config.logit_softcap = 2;
    fill_prompt(token, TOKENS, 8);
    set_measured(1, (const arm[]){{NULL, NULL}}, m);
    run_measured(w.engine, token, TOKENS, &MEASURED, 1, m);
    OK(sf_engine_logits(w.engine, token, TOKENS, logit));
    float most = 0;
    for (int i = 0; i < ROWS; i++) {
        const sf_divergence *d = &m->prompt[i];
        const float *row = logit + (d->position - 1) * VOCAB;
        double sum = 0;
        for (int v = 0; v < VOCAB; v++) sum += exp((double)row[v]), most = fmaxf(most, fabsf(row[v]));
        near(d->nll, log(sum) - (double)row[token[d->position]], rounding, "nll");
    }
    assert_true(most > 1 && most < 2);
    close_world(&w);
}

/* Those who come along keep what was asked of their own sample's lanes. */
static void company_keeps(void **state)
{
    (void)state;
    enum { JOBS = 3 };
    static const double kept[2 * JOBS] = {1, 0.25, 1, 0.5, 1, 0.75};
    measured m[2];
    sf_job job[JOBS];
    sf_company company;
    set_measured(2, (const arm[]){{NULL, NULL}, {NULL, "snapkv capacity=40 window=16 kernel=5"}}, m);
    sf_lane lane[2] = {m[0].r.lane, m[1].r.lane};
    for (int j = 0; j < JOBS; j++) job[j] = (sf_job){.tokens = TOKENS, .lanes = 2, .lane = lane};
    OK(sf_company_open((int64_t)LAYERS * HEADS, JOBS, job, &MEASURED, kept, &company));
    int at = 0;
    for (int j = 0; j < JOBS; at += company.job[j++].lanes) {
        assert_int_equal(company.job[j].lanes, 3); /* the dense one, the other, and one that follows */
        for (int i = 0; i < 3; i++) near(company.kept[at + i], i ? kept[2 * j + 1] : 1, 0, "share of keys that stay");
    }
    sf_company_close(&company);
}

int main(void)
{
#define ON(test, device) {.name = #test ", " device, .test_func = test, .initial_state = device}
#define ON_BOTH(test) ON(test, "cpu"), ON(test, "cuda")
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_rows),
                                       cmocka_unit_test(company_keeps),
                                       ON_BOTH(dense_is_its_own_measure),
                                       ON_BOTH(generation_as_prompt),
                                       ON_BOTH(nothing_else_changes),
                                       ON_BOTH(along_a_continuation),
                                       ON_BOTH(along_an_answer),
                                       ON_BOTH(scaled_and_capped),
                                       ON_BOTH(error_of_outputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
