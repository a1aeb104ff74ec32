/* Dual Chunk Attention: logits and generations of the authors' three attentions (tests/golden/engine/dca.py), what stays as it
 * was within the trained positions, and with which methods it goes. */
#include "tests/engine_world.h"

enum { VOCABULARY = 320, MOST_FULL = 8 };

static const char *const CHECKPOINT[] = {"qwen2", "qwen2", "llama", "llama"};

static sf_model *open_checkpoint(const char *name)
{
    char path[256];
    sf_model *m;
    snprintf(path, sizeof path, "tests/golden/model/%s", name);
    if (sf_model_open(path, &m) != SF_OK) fail_msg("%s", sf_error());
    return m;
}

static double apart(const float *got, const float *want, int64_t n)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += (double)want[i] * want[i];
    }
    return sqrt(difference / size);
}

static void as_the_authors(void **state)
{
    (void)state;
    static const char *const devices[] = {"reference", "cpu"};
    FILE *f = fopen("tests/golden/engine/dca.bin", "rb");
    assert_non_null(f);
    for (size_t c = 0; c < sizeof CHECKPOINT / sizeof *CHECKPOINT; c++) {
        int32_t head[5], id[256], position[MOST_FULL];
        float want[MOST_FULL * VOCABULARY];
        assert_int_equal(fread(head, sizeof *head, 5, f), 5);
        int n = head[0], outputs = head[1], full = head[2];
        assert_int_equal(fread(id, sizeof *id, (size_t)(n + outputs), f), n + outputs);
        assert_int_equal(fread(position, sizeof *position, (size_t)full, f), full);
        assert_int_equal(fread(want, sizeof *want, (size_t)(full * VOCABULARY), f), full * VOCABULARY);
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
            sf_backend b;
            sf_engine *engine;
            sf_model *m = open_checkpoint(CHECKPOINT[c]);
            char before[33];
            memcpy(before, m->hash, sizeof before);
            if (sf_model_dual_chunks(m, (sf_reach){head[3], head[4]}) != SF_OK) fail_msg("%s", sf_error());
            assert_string_not_equal(m->hash, before);
            assert_int_equal(sf_backend_open(devices[d], 2, &b), SF_OK);
            if (sf_engine_open(&b, m, n + outputs, &engine) != SF_OK) fail_msg("%s", sf_error());
            float *logits = malloc((size_t)(n * VOCABULARY) * sizeof *logits);
            if (sf_engine_logits(engine, id, n, logits) != SF_OK) fail_msg("%s", sf_error());
            for (int i = 0; i < full; i++) {
                double error = apart(logits + (int64_t)position[i] * VOCABULARY, want + i * VOCABULARY, VOCABULARY);
                if (!(error < 1e-5)) fail_msg("case %zu, %s, position %d: logits are off by %.1e", c, devices[d], position[i], error);
            }
            int32_t output[64];
            sf_lane lane = {.output = output};
            const sf_generation how = {.max_output = outputs};
            m->stops = 0;
            if (sf_engine_generate(engine, id, n, &how, 1, &lane) != SF_OK) fail_msg("%s", sf_error());
            assert_int_equal(lane.outputs, outputs);
            assert_memory_equal(output, id + n, (size_t)outputs * sizeof *output);
            free(logits);
            sf_engine_close(engine);
            sf_model_close(m);
            sf_backend_close(&b);
        }
    }
    fclose(f);
}

/* A tiny model with so many positions, in dual chunks or not. */
static void open_tiny(world *w, int positions, bool dual)
{
    sf_model_config c = shape(LLAMA);
    c.max_position = positions;
    w->model = random_model(&c);
    if (dual && sf_model_dual_chunks(w->model, (sf_reach){0}) != SF_OK) fail_msg("%s", sf_error());
    open_engine(w, "cpu", 1, dual ? MOST_TOKENS : positions);
}

static void as_it_was_within_trained_positions(void **state)
{
    (void)state;
    enum { TRAINED = 96 };
    int32_t token[MOST_TOKENS];
    static float plain[TRAINED * VOCAB], dual[MOST_TOKENS * VOCAB];
    world w;
    fill_prompt(token, MOST_TOKENS, 3);
    open_tiny(&w, TRAINED, false);
    assert_int_equal(sf_engine_logits(w.engine, token, TRAINED, plain), SF_OK);
    assert_int_equal(sf_engine_logits(w.engine, token, TRAINED + 1, dual), SF_BAD_INPUT);
    close_world(&w);
    open_tiny(&w, TRAINED, true);
    assert_int_equal(w.model->config.reach.chunk, 72);
    assert_int_equal(w.model->config.reach.cap, 95);
    assert_int_equal(sf_engine_logits(w.engine, token, MOST_TOKENS, dual), SF_OK);
    assert_true(apart(dual, plain, TRAINED * VOCAB) < 1e-5);
    close_world(&w);
    open_tiny(&w, MOST_TOKENS, false);
    static float longer[MOST_TOKENS * VOCAB];
    assert_int_equal(sf_engine_logits(w.engine, token, MOST_TOKENS, longer), SF_OK);
    assert_true(apart(longer + TRAINED * VOCAB, dual + TRAINED * VOCAB, (MOST_TOKENS - TRAINED) * VOCAB) > 1e-3);
    close_world(&w);
}

/* At full budget they are what dense is; what cuts the cache, or has distances of its own, is refused. */
static void with_methods(void **state)
{
    (void)state;
    static const allowed_arm arms[] = {
        {{NULL, "quest budget=4096 page=8"}, NULL},
        {{NULL, "tova capacity=4096"}, NULL},
        {{NULL, "streaming local=4096"}, NULL},
        {{"vertical_slash columns=4096 diagonals=4096 window=16", NULL}, NULL},
        {{"streaming local=4096", NULL}, NULL},
        {{"longformer window=4096", NULL}, NULL},
        {{NULL, "quest budget=32 page=8"}, NULL}, /* runs */
        {{"lm_infinite local=20 global=4", NULL}, "method 'lm_infinite' has distances of its own"},
        {{NULL, "streaming_llm recent=20"}, "method 'streaming_llm' has distances of its own"},
        {{NULL, "snapkv capacity=40 window=16 kernel=5"}, "method 'snapkv' cuts the cache"},
    };
    world w;
    open_tiny(&w, 96, true);
    result dense;
    set_arms(1, COMPANY, &dense);
    run(w.engine, 150, 3, 1, &dense);
    assert_true(isnan(dense.recall[SF_PREFILL][0][0]) && isnan(dense.recall[SF_DECODE][0][0]));
    run_or_refuse(&w, 150, &dense, 6, sizeof arms / sizeof *arms, arms);
    close_world(&w);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        int positions;
        sf_reach asked;
        const char *expected;
    } cases[] = {
        {0, {0}, "do not say how many positions"}, {96, {60, 96}, "at most 95"}, {96, {40, 38}, "from chunk - 1"},
        {96, {40, 81}, "twice the chunk"},         {96, {-1, 9}, "at most 95"},  {96, {40, 80}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sf_model_config c = shape(LLAMA);
        sf_model *m;
        c.max_position = cases[i].positions;
        assert_int_equal(sf_model_random(&c, 7, &m), SF_OK);
        sf_status status = sf_model_dual_chunks(m, cases[i].asked);
        if ((status != SF_OK) != (cases[i].expected != NULL) || (status && !strstr(sf_error(), cases[i].expected)))
            fail_msg("case %zu: expected '%s', found '%s'", i, cases[i].expected ? cases[i].expected : "nothing", status ? sf_error() : "nothing");
        sf_model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_authors),
        cmocka_unit_test(as_it_was_within_trained_positions),
        cmocka_unit_test(with_methods),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
