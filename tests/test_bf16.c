/* Products of bf16 on the CPU: linear layers against sums in double of numbers that were rounded here; where the machine has AMX-BF16, what
 * it makes against the loops that stand for it elsewhere, to the bit; where not, the refusal. That attention agrees with the
 * reference is test_backends' to say (cpu-bf16). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"

enum { LOOPS, AMX };

static bool opened(sf_backend *b, int which, int threads)
{
    if (which == LOOPS) setenv("SF_CPU_ISA", "loops", 1);
    sf_status status = sf_backend_open("cpu-bf16", threads, b);
    unsetenv("SF_CPU_ISA");
    if (status != SF_OK && which == LOOPS) fail_msg("%s", sf_error());
    return status == SF_OK;
}

static uint32_t random32(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 32);
}

/* About normal, of either sign, some 0. */
static float *randoms(uint64_t *seed, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = 0;
        for (int j = 0; j < 4 && random32(seed) % 50; j++) x[i] += (float)random32(seed) / 4294967296.f - .5f;
    }
    return x;
}

/* Nearest with 8 significant bits, of two the even one. */
static double rounded(float x)
{
    int power;
    double front = frexp((double)x, &power);
    return ldexp(nearbyint(front * 256), power - 8);
}

static void product(int which, int threads, const float *x, int64_t rows, int64_t in, float *w, int64_t out, float *y)
{
    sf_backend b;
    assert_true(opened(&b, which, threads));
    const sf_tensor weight = {.data = w, .dtype = SF_F32, .rank = 2, .dim = {out, in}}, none = {0};
    if (b.ops->linear(&b, x, rows, &weight, &none, false, y, SF_F32) != SF_OK) fail_msg("%s", sf_error());
    sf_backend_close(&b);
}

static const int64_t shapes[][3] = {{1, 33, 5}, {1, 2080, 130}, {17, 100, 16}, {40, 4128, 33}, {3, 64, 1}, {1100, 96, 40}}; /* rows, in, out */
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void linear_of_rounded(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int s = 0; s < SHAPES; s++) {
        int64_t rows = shapes[s][0], in = shapes[s][1], out = shapes[s][2];
        float *x = randoms(&seed, rows * in), *w = randoms(&seed, out * in), *y = randoms(&seed, rows * out);
        product(LOOPS, 2, x, rows, in, w, out, y);
        double apart = 0, all = 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t o = 0; o < out; o++) {
                double want = 0, exact = 0, size = 0;
                for (int64_t i = 0; i < in; i++) {
                    double product = rounded(x[r * in + i]) * rounded(w[o * in + i]);
                    want += product, size += fabs(product), exact += (double)x[r * in + i] * (double)w[o * in + i];
                }
                if (!(fabs((double)y[r * out + o] - want) <= 1e-6 * size))
                    fail_msg("%d rows, %d to %d: row %d, output %d is %.9g, expected %.9g", (int)rows, (int)in, (int)out, (int)r, (int)o,
                             (double)y[r * out + o], want);
                apart += fabs(exact - want), all += size;
            }
        assert_true(apart > 1e-5 * all); /* or the check would pass fp32 as well */
        free(x), free(w), free(y);
    }
}

/* Attention of a group of two heads, dense or by blocks of 16, every third of which is named. */
static void attend(int which, int threads, bool blocks, int dim, int queries, int keys, float *q, float *k, float *v, float *out)
{
    sf_backend b;
    assert_true(opened(&b, which, threads));
    int32_t list[64], count[64];
    sf_attention a = {.backend = &b, .layers = 1, .heads = 2, .kv_heads = 1, .head_dim = dim, .queries = queries, .keys = keys,
                      .scale = .2f, .q = q};
    a.kv.dtype = SF_F32;
    a.kv.prompt = (sf_kv_part){.k = k, .v = v, .n = keys, .capacity = keys};
    sf_pattern p = {.kind = SF_DENSE};
    int n = 0, rows = (queries + 15) / 16;
    int32_t *index = calloc((size_t)rows * 64, sizeof *index);
    for (int j = 0; j < keys / 16; j += 3) list[n++] = j;
    for (int i = 0; i < rows; i++) {
        int own = (keys - queries + i * 16) / 16, there = 0;
        for (int j = 0; j < n && list[j] < own; j++) index[i * 64 + there++] = list[j];
        index[i * 64 + there++] = own;
        count[i] = there;
    }
    if (blocks) p = (sf_pattern){.kind = SF_BLOCKS, .heads = 1, .block_q = 16, .block_k = 16, .first = {rows, 64, count, index}};
    if (b.ops->prefill(&b, &a, &p, out) != SF_OK) fail_msg("%s", sf_error());
    free(index);
    sf_backend_close(&b);
}

/* The other: AMX, or on a machine without it the loops once more, shared out to more threads. */
static void others_as_loops(void **state)
{
    (void)state;
    sf_backend b;
    int other = opened(&b, AMX, 1) ? AMX : LOOPS;
    if (other == AMX) sf_backend_close(&b);
    else assert_non_null(strstr(sf_error(), "AMX-BF16")); /* the refusal names what lacks */
    print_message("%s\n", other == AMX ? "AMX-BF16 against loops" : sf_error());
    uint64_t seed = 11;
    for (int s = 0; s < SHAPES; s++) {
        int64_t rows = shapes[s][0], in = shapes[s][1], out = shapes[s][2];
        float *x = randoms(&seed, rows * in), *w = randoms(&seed, out * in), *y = randoms(&seed, rows * out), *z = randoms(&seed, rows * out);
        product(LOOPS, 1, x, rows, in, w, out, y);
        product(other, 3, x, rows, in, w, out, z);
        assert_memory_equal(y, z, (size_t)(rows * out) * sizeof *y);
        free(x), free(w), free(y), free(z);
    }
    for (int s = 0; s < 12; s++) {
        int dim = s % 3 == 0 ? 64 : s % 3 == 1 ? 128 : 32, queries = 17 + 61 * s, keys = queries + s % 2 * 80;
        float *q = randoms(&seed, (int64_t)queries * 2 * dim), *k = randoms(&seed, (int64_t)keys * dim), *v = randoms(&seed, (int64_t)keys * dim);
        float *y = calloc((size_t)queries * 2 * (size_t)dim, sizeof *y), *z = calloc((size_t)queries * 2 * (size_t)dim, sizeof *z);
        attend(LOOPS, 1, s % 4 > 1, dim, queries, keys, q, k, v, y);
        attend(other, 3, s % 4 > 1, dim, queries, keys, q, k, v, z);
        for (int64_t i = 0; i < (int64_t)queries * 2 * dim; i++) /* a weight may be rounded otherwise where the compiler contracts */
            if (other == LOOPS ? memcmp(y + i, z + i, sizeof *y) != 0 : !(fabsf(y[i] - z[i]) <= 5e-4f))
                fail_msg("%d rows of %d, head dim %d, number %d: %.9g, by loops %.9g", queries, keys, dim, (int)i, (double)z[i], (double)y[i]);
        free(q), free(k), free(v), free(y), free(z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(linear_of_rounded), cmocka_unit_test(others_as_loops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
