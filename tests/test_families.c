/* Real and tiny checkpoints against transformers: logits at every position, greedy tokens, prefill in pieces. The golden
 * files and their format: tests/golden/engine/sketch.py.
 *
 *   test_families logits MODEL IDS OUT     writes a prompt's logits (int32 ids in, f32 out): for check_smollm2.py */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/engine.h"

enum { SKETCHES = 2 };

typedef struct golden {
    int32_t tokens, greedy;
    int32_t *id, *next;      /* [tokens], [greedy] */
    float *sketch, *norm;    /* [tokens, SKETCHES], [tokens] */
} golden;

static void read_into(FILE *f, void *to, size_t size, size_t n)
{
    if (fread(to, size, n, f) != n) fail_msg("a golden file ends early");
}

static void read_golden(FILE *f, golden *g)
{
    read_into(f, &g->tokens, sizeof g->tokens, 1);
    read_into(f, &g->greedy, sizeof g->greedy, 1);
    size_t n = (size_t)g->tokens;
    g->id = malloc(n * sizeof *g->id);
    g->next = malloc((size_t)g->greedy * sizeof *g->next);
    g->sketch = malloc(n * SKETCHES * sizeof *g->sketch);
    g->norm = malloc(n * sizeof *g->norm);
    read_into(f, g->id, sizeof *g->id, n);
    read_into(f, g->next, sizeof *g->next, (size_t)g->greedy);
    read_into(f, g->sketch, sizeof *g->sketch, n * SKETCHES);
    read_into(f, g->norm, sizeof *g->norm, n);
}

static void free_golden(golden *g)
{
    free(g->id);
    free(g->next);
    free(g->sketch);
    free(g->norm);
}

static int sign(int k, int v)
{
    uint64_t x = 2 * (uint64_t)v + (uint64_t)k + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (x ^ (x >> 31)) & 1 ? 1 : -1;
}

/* Fails unless |logits - golden| <= tolerance · |golden| over the prompt, and 4 times that at each position (a single
 * position's estimate has but two samples). */
static void compare_logits(const char *name, const golden *g, const float *logits, int vocab, double tolerance)
{
    double error = 0, whole = 0;
    for (int p = 0; p < g->tokens; p++) {
        double here = 0, square = (double)g->norm[p] * g->norm[p];
        for (int k = 0; k < SKETCHES; k++) {
            double sum = 0;
            for (int v = 0; v < vocab; v++) sum += sign(k, v) * (double)logits[(int64_t)p * vocab + v];
            double difference = sum - g->sketch[p * SKETCHES + k];
            here += difference * difference / SKETCHES;
        }
        if (!(sqrt(here / square) <= 4 * tolerance))
            fail_msg("%s, %d tokens: logits at position %d differ by %.1e", name, g->tokens, p, sqrt(here / square));
        error += here;
        whole += square;
    }
    printf("             %s, %d tokens: |difference| / |reference| = %.1e\n", name, g->tokens, sqrt(error / whole));
    if (!(sqrt(error / whole) <= tolerance)) fail_msg("%s: expected at most %.0e", name, tolerance);
}

static float *logits_of(sf_engine *engine, const int32_t *id, int tokens, int vocab)
{
    float *logits = malloc((size_t)tokens * (size_t)vocab * sizeof *logits);
    if (!logits || sf_engine_logits(engine, id, tokens, logits) != SF_OK) fail_msg("%s", sf_error());
    return logits;
}

static void compare_prompt(const char *name, sf_engine *engine, const golden *g, int vocab, double tolerance)
{
    float *whole = logits_of(engine, g->id, g->tokens, vocab);
    compare_logits(name, g, whole, vocab, tolerance);
    if (g->tokens < 500) {
        sf_engine_set_chunk(engine, 13);
        float *pieces = logits_of(engine, g->id, g->tokens, vocab);
        sf_engine_set_chunk(engine, 0);
        assert_memory_equal(whole, pieces, (size_t)g->tokens * (size_t)vocab * sizeof *whole);
        free(pieces);
    }
    free(whole);

    int32_t *output = malloc((size_t)g->greedy * sizeof *output);
    sf_generation how = {.max_output = g->greedy};
    sf_lane lane = {.output = output};
    if (sf_engine_generate(engine, g->id, g->tokens, &how, 1, &lane) != SF_OK) fail_msg("%s", sf_error());
    assert_int_equal(lane.outputs, g->greedy);
    for (int i = 0; i < g->greedy; i++)
        if (output[i] != g->next[i])
            fail_msg("%s, %d tokens: greedy token %d is %d, expected %d", name, g->tokens, i, output[i], g->next[i]);
    free(output);
}

static void compare_model(const char *path, const char *golden_path, double tolerance)
{
    FILE *f = fopen(golden_path, "rb");
    if (!f) fail_msg("%s is missing", golden_path);
    int32_t prompts;
    read_into(f, &prompts, sizeof prompts, 1);
    sf_backend b;
    sf_model *model;
    if (sf_backend_open("cpu", 0, &b) != SF_OK || sf_model_open(path, &model) != SF_OK) fail_msg("%s", sf_error());
    model->stops = 0; /* the golden greedy ids go on after stop tokens */
    for (int i = 0; i < prompts; i++) {
        golden g;
        sf_engine *engine;
        read_golden(f, &g);
        if (sf_engine_open(&b, model, g.tokens + g.greedy, &engine) != SF_OK) fail_msg("%s", sf_error());
        compare_prompt(path, engine, &g, model->config.vocab, tolerance);
        sf_engine_close(engine);
        free_golden(&g);
    }
    fclose(f);
    sf_model_close(model);
    sf_backend_close(&b);
}

static void smollm2(void **state)
{
    (void)state;
    if (access("models/smollm2-135m", R_OK) != 0) {
        printf("skipped: models/smollm2-135m is not there; get it with `make models/smollm2-135m`\n");
        skip();
    }
    compare_model("models/smollm2-135m", "tests/golden/engine/smollm2.bin", 1e-3);
}

static int write_logits(const char *path, const char *ids, const char *out)
{
    FILE *in = fopen(ids, "rb"), *to = fopen(out, "wb");
    int32_t id[65536];
    if (!in || !to) return fprintf(stderr, "cannot open %s or %s\n", ids, out), 1;
    int n = (int)fread(id, sizeof *id, 65536, in);
    sf_backend b = {0};
    sf_model *model = NULL;
    sf_engine *engine = NULL;
    float *logits = NULL;
    sf_status status = sf_backend_open("cpu", 0, &b);
    if (status == SF_OK) status = sf_model_open(path, &model);
    if (status == SF_OK) status = sf_engine_open(&b, model, n, &engine);
    if (status == SF_OK) logits = malloc((size_t)n * (size_t)model->config.vocab * sizeof *logits);
    if (status == SF_OK) status = sf_engine_logits(engine, id, n, logits);
    if (status == SF_OK) fwrite(logits, sizeof *logits, (size_t)n * (size_t)model->config.vocab, to);
    if (status != SF_OK) fprintf(stderr, "%s\n", sf_error());
    fclose(in);
    bool written = fclose(to) == 0;
    free(logits);
    sf_engine_close(engine);
    sf_model_close(model);
    sf_backend_close(&b);
    return status != SF_OK || !written;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "logits") == 0) return write_logits(argv[2], argv[3], argv[4]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
