/* Rotation tables against transformers' (tests/golden/engine/rope.py): plain, linear, Llama 3, YaRN fixed, by rule, dynamic, long. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/engine/rope.h"

static const int POSITIONS[] = {0, 1, 77, 4095, 131071};
enum { LAST = 131072, MOST_PAIRS = 128 };

static struct { int head_dim, max_tokens; sf_rope_config rope; } cases[] = {
    {64, LAST, {.theta = 1e5, .factor = 1}},
    {128, LAST, {.theta = 1e6, .factor = 1}},
    {256, LAST, {.theta = 1e6, .scaling = SF_ROPE_LINEAR, .factor = 8}},
    {128, LAST, {.theta = 5e5, .scaling = SF_ROPE_LLAMA3, .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4,
                 .original_positions = 8192}},
    {128, LAST, {.theta = 1e6, .scaling = SF_ROPE_YARN, .factor = 4, .beta_fast = 32, .beta_slow = 1,
                 .original_positions = 32768}},
    {128, 129024, {.theta = 1e6, .scaling = SF_ROPE_YARN, .factor = 0, .beta_fast = 32, .beta_slow = 1,
                   .original_positions = 32768}},
    {64, LAST, {.theta = 1e4, .scaling = SF_ROPE_YARN, .factor = 2.5, .beta_fast = 24, .beta_slow = 2,
                .attention_factor = 1.25, .original_positions = 2048}},
    {96, LAST, {.theta = 5e5, .scaling = SF_ROPE_DYNAMIC, .factor = 2, .original_positions = 32768}},
    {64, LAST, {.theta = 1e4, .scaling = SF_ROPE_LONG, .factor = 32, .original_positions = 4096}}, /* longer: below */
};

static void as_transformers(void **state)
{
    (void)state;
    float(*longer)[SF_LONG_PAIRS] = cases[sizeof cases / sizeof *cases - 1].rope.longer;
    for (int i = 0; i < 32; i++) longer[0][i] = 1, longer[1][i] = 1 + (float)(i * i) / 32;
    FILE *f = fopen("tests/golden/engine/rope.bin", "rb");
    assert_non_null(f);
    float *cosine = malloc(LAST * MOST_PAIRS * sizeof *cosine), *sine = malloc(LAST * MOST_PAIRS * sizeof *sine);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int pairs = cases[i].head_dim / 2;
        float frequency[MOST_PAIRS], expected[MOST_PAIRS], scale, expected_scale;
        sf_rope_frequencies(&cases[i].rope, cases[i].head_dim, cases[i].max_tokens, frequency, &scale);
        assert_int_equal(fread(expected, sizeof(float), (size_t)pairs, f), pairs);
        assert_int_equal(fread(&expected_scale, sizeof(float), 1, f), 1);
        if (scale != expected_scale) fail_msg("case %zu: scale %.9g, expected %.9g", i, scale, expected_scale);
        for (int p = 0; p < pairs; p++)
            if (frequency[p] != expected[p])
                fail_msg("case %zu, pair %d: frequency %.9g, expected %.9g", i, p, frequency[p], expected[p]);

        sf_rope_table(frequency, scale, cases[i].head_dim, LAST, cosine, sine);
        for (size_t k = 0; k < sizeof POSITIONS / sizeof *POSITIONS; k++) {
            const float *tables[] = {cosine, sine};
            for (int t = 0; t < 2; t++) {
                const float *row = tables[t] + (size_t)POSITIONS[k] * (size_t)pairs;
                assert_int_equal(fread(expected, sizeof(float), (size_t)pairs, f), pairs);
                for (int p = 0; p < pairs; p++)
                    if (fabsf(row[p] - expected[p]) > 2e-7f)
                        fail_msg("case %zu, position %d, pair %d: %.9g, expected %.9g", i, POSITIONS[k], p, row[p],
                                 expected[p]);
            }
        }
    }
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    free(cosine);
    free(sine);
}

static void by_rule_within_the_original_is_plain(void **state)
{
    (void)state;
    sf_rope_config rope = {
        .theta = 1e6, .scaling = SF_ROPE_YARN, .beta_fast = 32, .beta_slow = 1, .original_positions = 32768};
    sf_rope_config plain = {.theta = 1e6, .factor = 1};
    float a[64], b[64], scale_a, scale_b;
    sf_rope_frequencies(&rope, 128, 32768, a, &scale_a);
    sf_rope_frequencies(&plain, 128, 32768, b, &scale_b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(scale_a == 1 && scale_b == 1);
    sf_rope_frequencies(&rope, 128, 32769, a, &scale_a);
    assert_true(scale_a > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers),
        cmocka_unit_test(by_rule_within_the_original_is_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
