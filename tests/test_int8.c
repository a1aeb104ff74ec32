/* Linear layers in whole numbers (cpu-int8): against plain loops over rows that were rounded here and weights as sf_to_f32() widens them,
 * in double; the same bits on every instruction set, for any number of rows and threads; against NumPy (tests/golden/int8.py); numbers
 * that are none; and types that stay in fp32. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"

static const sf_dtype TYPES[] = {SF_Q8_0, SF_Q4_0, SF_Q4_1, SF_Q5_0, SF_Q5_1, SF_IQ4_NL, SF_Q4_K, SF_Q5_K, SF_Q6_K, SF_IQ4_XS};
enum { KINDS = sizeof TYPES / sizeof *TYPES };

static uint32_t random32(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 32);
}

/* About normal, of either sign; blocks of many sizes, some of them 0, some numbers far from the others. */
static float *randoms(uint64_t *seed, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x), size = 1;
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        if (i % 32 == 0) size = random32(seed) % 20 == 0 ? 0 : ldexpf(1, (int)(random32(seed) % 8) - 4);
        x[i] = 0;
        for (int j = 0; j < 4; j++) x[i] += size * ((float)random32(seed) / 4294967296.f - .5f);
        if (random32(seed) % 500 == 0) x[i] *= 30;
    }
    return x;
}

/* Where the fp16 numbers of a block stand. */
static int halves_at(sf_dtype t, int at[2])
{
    if (t == SF_Q6_K) return at[0] = 208, 1;
    at[0] = 0, at[1] = 2;
    return t == SF_Q4_1 || t == SF_Q5_1 || t == SF_Q4_K || t == SF_Q5_K ? 2 : 1;
}

/* Any bits, all levels among them, and the least number of 8 bits, which no quantiser writes; scales that are finite. */
static void *random_weights(uint64_t *seed, sf_dtype t, int64_t n)
{
    size_t bytes = sf_bytes(t, n), size = (size_t)sf_dtypes[t].bytes;
    uint8_t *w = malloc(bytes);
    int at[2], halves = halves_at(t, at);
    assert_non_null(w);
    for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)(random32(seed) >> 24);
    for (size_t block = 0; block < bytes; block += size)
        for (int h = 0; h < halves; h++) {
            uint16_t half = (uint16_t)(0x1c00 + random32(seed) % 0x800) | (uint16_t)(random32(seed) % 2 << 15);
            memcpy(w + block + at[h], &half, sizeof half);
        }
    return w;
}

static void product(const char *set, const char *device, int threads, const float *x, int64_t rows, int64_t in, const void *w, sf_dtype dtype,
                    int64_t out, const float *bias, bool add, float *y)
{
    sf_backend b;
    if (set) setenv("SF_CPU_ISA", set, 1);
    sf_status status = sf_backend_open(device, threads, &b);
    unsetenv("SF_CPU_ISA");
    if (status != SF_OK) fail_msg("%s", sf_error());
    const sf_tensor weight = {.data = (void *)(uintptr_t)w, .dtype = dtype, .rank = 2, .dim = {out, in}},
                    shift = {.data = (void *)(uintptr_t)bias, .dtype = SF_F32, .rank = 1, .dim = {out}};
    if (b.ops->linear(&b, x, rows, &weight, &shift, add, y, SF_F32) != SF_OK) fail_msg("%s", sf_error());
    sf_backend_close(&b);
}

static bool has(const char *set)
{
    sf_backend b;
    setenv("SF_CPU_ISA", set, 1);
    bool there = sf_backend_open("cpu-int8", 1, &b) == SF_OK;
    unsetenv("SF_CPU_ISA");
    if (there) sf_backend_close(&b);
    return there;
}

/* x in place, as integers.h says it: 32 share a scale. */
static void rounded(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32) {
        float most = 0;
        for (int k = 0; k < 32; k++) most = fmaxf(most, fabsf(x[i + k]));
        float scale = most / 127, by = 127 / most;
        for (int k = 0; k < 32; k++) x[i + k] = most > 0 ? scale * nearbyintf(x[i + k] * by) : 0;
    }
}

static const int64_t shapes[][3] = {{1, 256, 5},    {1, 2048, 130}, {17, 512, 16},  {40, 4352, 33}, {3, 256, 1},
                                    {5, 768, 64},   {6, 1024, 31},  {13, 768, 40},  {410, 512, 70}, {2, 1280, 9}}; /* rows, in, out */
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void as_plain_loops(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int s = 0; s < SHAPES * KINDS; s++) {
        sf_dtype type = TYPES[s % KINDS];
        int64_t rows = shapes[s / KINDS][0], in = shapes[s / KINDS][1], out = shapes[s / KINDS][2];
        if (sf_dtypes[type].block == 32) in += 32 * (s % 3); /* no multiple of 256 */
        bool add = s % 2, biased = s % 5 == 1;
        float *x = randoms(&seed, rows * in), *near = malloc((size_t)(rows * in) * sizeof *near), *bias = randoms(&seed, out), *y, *before;
        float *wide = malloc((size_t)(out * in) * sizeof *wide);
        void *w = random_weights(&seed, type, out * in);
        before = randoms(&seed, rows * out), y = malloc((size_t)(rows * out) * sizeof *y);
        assert_true(near && wide && y);
        memcpy(y, before, (size_t)(rows * out) * sizeof *y);
        memcpy(near, x, (size_t)(rows * in) * sizeof *x);
        rounded(near, rows * in);
        sf_to_f32(type, w, wide, out * in);
        product(NULL, "cpu-int8", 2, x, rows, in, w, type, out, biased ? bias : NULL, add, y);
        double apart = 0, all = 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t o = 0; o < out; o++) {
                double want = (add ? (double)before[r * out + o] : 0) + (biased ? (double)bias[o] : 0), size = fabs(want), exact = want;
                for (int64_t i = 0; i < in; i++) {
                    double one = (double)near[r * in + i] * (double)wide[o * in + i];
                    want += one, size += fabs(one), exact += (double)x[r * in + i] * (double)wide[o * in + i];
                }
                if (!(fabs((double)y[r * out + o] - want) <= 1e-6 * size))
                    fail_msg("%s, %d rows, %d to %d%s%s: row %d, output %d is %.9g, expected %.9g", sf_dtypes[type].name, (int)rows, (int)in,
                             (int)out, add ? ", add" : "", biased ? ", bias" : "", (int)r, (int)o, (double)y[r * out + o], want);
                apart += fabs(exact - want), all += size;
            }
        assert_true(apart > 1e-5 * all); /* or the check would pass fp32 as well */

        static const char *const sets[] = {"avx512", "avx2", "generic"};
        float *other = malloc((size_t)(rows * out) * sizeof *other);
        assert_non_null(other);
        for (int k = 0; k < 3; k++) {
            if (!has(sets[k])) continue;
            memcpy(other, before, (size_t)(rows * out) * sizeof *y);
            product(sets[k], "cpu-int8", 1 + k, x, rows, in, w, type, out, biased ? bias : NULL, add, other);
            if (memcmp(y, other, (size_t)(rows * out) * sizeof *y) != 0) fail_msg("%s: %s gives other bits", sf_dtypes[type].name, sets[k]);
        }
        for (int64_t r = 0; r < rows; r += 1 + rows / 7) { /* a row alone, and in less company */
            int64_t many = r % 2 && r + 3 <= rows ? 3 : 1;
            memcpy(other, before + r * out, (size_t)(many * out) * sizeof *y);
            product(NULL, "cpu-int8", 1, x + r * in, many, in, w, type, out, biased ? bias : NULL, add, other);
            if (memcmp(y + r * out, other, (size_t)(many * out) * sizeof *y) != 0)
                fail_msg("%s: row %d of %d alone gives other bits", sf_dtypes[type].name, (int)r, (int)rows);
        }
        free(x), free(near), free(bias), free(y), free(before), free(wide), free(w), free(other);
    }
}

/* A row with a number that is none is nothing but NaN, as in fp32, and its neighbours are what they are without it; a block of zeros, of
 * the least numbers and of the largest. */
static void extremes(void **state)
{
    (void)state;
    enum { ROWS = 7, IN = 256, OUT = 40 };
    uint64_t seed = 8;
    static const char *const sets[] = {"avx512", "avx2", "generic"};
    for (int k = 0; k < 3; k++) {
        if (!has(sets[k])) continue;
        for (int s = 0; s < KINDS; s++) {
            float *x = randoms(&seed, ROWS * IN), y[2][ROWS * OUT];
            void *w = random_weights(&seed, TYPES[s], OUT * IN);
            product(sets[k], "cpu-int8", 1, x, ROWS, IN, w, TYPES[s], OUT, NULL, false, y[0]);
            x[1 * IN + 77] = NAN, x[3 * IN + 5] = INFINITY, x[3 * IN + 200] = -INFINITY;
            for (int i = 0; i < IN; i++) x[4 * IN + i] = 0, x[5 * IN + i] = i % 2 ? 1e-42f : -1e-38f, x[6 * IN + i] = i % 3 ? 3e28f : -3e28f;
            product(sets[k], "cpu-int8", 1, x, ROWS, IN, w, TYPES[s], OUT, NULL, false, y[1]);
            for (int o = 0; o < OUT; o++) {
                assert_true(isnan(y[1][OUT + o]) && isnan(y[1][3 * OUT + o]));
                assert_true(y[1][4 * OUT + o] == 0 && y[1][5 * OUT + o] == 0 && !isnan(y[1][6 * OUT + o]));
            }
            assert_memory_equal(y[0], y[1], OUT * sizeof(float));
            assert_memory_equal(y[0] + 2 * OUT, y[1] + 2 * OUT, OUT * sizeof(float));
            free(x), free(w);
        }
    }
}

/* Weights of other types are multiplied as on `cpu`. */
static void others_stay(void **state)
{
    (void)state;
    enum { ROWS = 9, IN = 512, OUT = 21 };
    uint64_t seed = 12;
    for (sf_dtype t = 0; t < SF_F64; t++) {
        bool whole = t == SF_I32;
        for (int i = 0; i < KINDS; i++) whole |= TYPES[i] == t;
        if (whole) continue;
        float *x = randoms(&seed, ROWS * IN), *w = randoms(&seed, OUT * IN), y[2][ROWS * OUT];
        for (int i = 0; t != SF_F32 && i < OUT * IN; i++) ((uint8_t *)w)[i] = (uint8_t)(random32(&seed) >> 24) & 0x3b; /* small scales */
        product(NULL, "cpu", 2, x, ROWS, IN, w, t, OUT, NULL, false, y[0]);
        product(NULL, "cpu-int8", 2, x, ROWS, IN, w, t, OUT, NULL, false, y[1]);
        if (memcmp(y[0], y[1], sizeof y[0]) != 0) fail_msg("%s: not as on cpu", sf_dtypes[t].name);
        free(x), free(w);
    }
}

/* Golden products of golden weights (tests/golden/dtypes.bin: of each type 512 elements as stored, then as fp32). */
static void as_numpy(void **state)
{
    (void)state;
    enum { ROWS = 5, IN = 256, OUT = 2 };
    float x[ROWS * IN], y[ROWS * OUT];
    double want[ROWS * OUT];
    FILE *weights = fopen("tests/golden/dtypes.bin", "rb"), *golden = fopen("tests/golden/int8.bin", "rb");
    assert_non_null(weights);
    assert_non_null(golden);
    assert_int_equal(fread(x, sizeof *x, ROWS * IN, golden), ROWS * IN);
    int compared = 0;
    for (sf_dtype t = 0; t < SF_DTYPES; t++) {
        size_t bytes = sf_bytes(t, IN * OUT);
        uint8_t *w = malloc(bytes);
        assert_non_null(w);
        assert_int_equal(fread(w, 1, bytes, weights), bytes);
        assert_int_equal(fseek(weights, IN * OUT * (long)sizeof(float), SEEK_CUR), 0);
        if (sf_integer_type(t)) {
            assert_int_equal(fread(want, sizeof *want, ROWS * OUT, golden), ROWS * OUT);
            product(NULL, "cpu-int8", 1, x, ROWS, IN, w, t, OUT, NULL, false, y);
            double apart = 0, size = 0;
            for (int i = 0; i < ROWS * OUT; i++) apart += ((double)y[i] - want[i]) * ((double)y[i] - want[i]), size += want[i] * want[i];
            if (!(apart <= 1e-12 * size)) fail_msg("%s: off by %.1e of NumPy's products", sf_dtypes[t].name, sqrt(apart / size));
            compared++;
        }
        free(w);
    }
    assert_int_equal(compared, KINDS);
    assert_int_equal(fgetc(golden), EOF);
    fclose(weights), fclose(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_plain_loops), cmocka_unit_test(as_numpy), cmocka_unit_test(extremes), cmocka_unit_test(others_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
