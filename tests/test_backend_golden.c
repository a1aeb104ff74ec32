/* The reference and each instruction set of the CPU that this machine has against PyTorch (tests/golden/backend.py): the
 * oracle of the twin test is itself checked by another implementation. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "tests/testing.h"

static FILE *golden;
static sf_backend b;


static float *values(uint32_t seed, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = (uint32_t)i + seed * 1000003;
        u = (u ^ u >> 15) * 0x2C1B3C6D;
        u = (u ^ u >> 12) * 0x297A2D39;
        u ^= u >> 15;
        x[i] = (float)(u / 2147483648.0 - 1);
    }
    return x;
}

static void *next(int64_t n)
{
    void *x = malloc((size_t)n * 4);
    assert_non_null(x);
    assert_int_equal(fread(x, 4, (size_t)n, golden), n);
    return x;
}

static void expect(const char *what, const float *got, int64_t n)
{
    float *want = next(n);
    for (int64_t i = 0; i < n; i++) {
        bool alike = isinf(want[i]) ? got[i] == want[i] : fabsf(got[i] - want[i]) <= 3e-6f * (1 + fabsf(want[i]));
        if (!alike)
            fail_msg("%s on %s: [%lld] is %g, expected %g", what, b.ops->name, (long long)i, (double)got[i],
                     (double)want[i]);
    }
    free(want);
}

static void expect_ints(const char *what, const int32_t *got, int64_t n)
{
    int32_t *want = next(n);
    for (int64_t i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s on %s: [%lld] is %d, expected %d", what, b.ops->name, (long long)i, got[i], want[i]);
    free(want);
}

static void layers(void)
{
    static float y[1000];
    float *x = values(1, 5 * 48), *w = values(2, 20 * 48), *bias = values(3, 20), *norm = values(4, 48);
    sf_tensor weight = {w, SF_F32, 2, {20, 48}}, shift = {bias, SF_F32, 1, {20}}, scale = {norm, SF_F32, 1, {48}};
    OK(b.ops->linear(&b, x, 5, &weight, &shift, false, y, SF_F32));
    expect("linear", y, 5 * 20);
    OK(b.ops->rms_norm(&b, x, SF_F32, 5, 48, &scale, 1, 1e-5f, y));
    expect("rms_norm", y, 5 * 48);
    free(x), free(w), free(bias), free(norm);

    for (int kind = 0; kind < 2; kind++) {
        float *gate = values(5, 150), *up = values(6, 150);
        for (int i = 0; i < 150; i++) gate[i] *= 6;
        OK(b.ops->gated(&b, gate, up, 3, 50, (sf_curve){.kind = kind ? SF_GELU_TANH : SF_SILU}));
        expect("gated", gate, 150);
        free(gate), free(up);
    }

    enum { T = 7, HEADS = 2, D = 16 };
    const int32_t position[T] = {0, 3, 4, 9, 1, 30, 2};
    float cosine[31 * D / 2], sine[31 * D / 2];
    for (int i = 0; i < 31 * D / 2; i++) {
        float angle = (float)(i / (D / 2) / pow(10000, i % (D / 2) / (D / 2.0)));
        cosine[i] = cosf(angle), sine[i] = sinf(angle);
    }
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        x = values(7, T * HEADS * D);
        OK(b.ops->rope(&b, x, T, HEADS, D, D, position, cosine, sine, interleaved));
        expect("rope", x, T * HEADS * D);
        free(x);
    }

    x = values(8, 4 * 60);
    OK(b.ops->pool(&b, x, 4, 60, 7, SF_MEAN, y));
    expect("mean pool", y, 4 * 60);
    OK(b.ops->pool(&b, x, 4, 60, 5, SF_MAX, y));
    expect("max pool", y, 4 * 60);
    int32_t count[4], index[4 * 9];
    sf_lists top = {4, 9, count, index};
    OK(b.ops->top(&b, x, 4, 60, 9, &top));
    expect_ints("top", index, 4 * 9);
    free(x);
}

enum { T = 90, N = 100, H = 4, G = 2, D = 16 };

static void attend(const char *what, const sf_attention *a, const sf_pattern *p)
{
    static float out[T * H * D];
    uint64_t pairs[H] = {0};
    sf_attention mine = *a;
    mine.pairs = pairs;
    OK(b.ops->check_pattern(&b, &mine, p, what));
    OK(b.ops->prefill(&b, &mine, p, out));
    expect(what, out, T * H * D);
    int32_t counted[H];
    for (int h = 0; h < H; h++) counted[h] = (int32_t)pairs[h];
    expect_ints(what, counted, H);
}

static void attention(void)
{
    float *q = values(11, T * H * D), *k = values(12, G * N * D), *v = values(13, G * N * D);
    sf_attention a = {.backend = &b,
                      .layers = 1,
                      .heads = H,
                      .kv_heads = G,
                      .head_dim = D,
                      .queries = T,
                      .keys = N,
                      .scale = 1.5f,
                      .q = q,
                      .kv = {.prompt = {k, v, N, N, NULL}, .dtype = SF_F32}};

    sf_pattern dense = {.kind = SF_DENSE};
    attend("dense", &a, &dense);
    a.window = 30;
    attend("sliding window", &a, &dense);
    a.window = 0;
    sf_pattern window = {.kind = SF_WINDOW, .sinks = 4, .local = 20, .last = 5};
    attend("window", &a, &window);

    int32_t counts[H * 6] = {0}, indices[H * 6 * 7];
    sf_pattern blocks = {
        .kind = SF_BLOCKS, .heads = H, .block_q = 16, .block_k = 16, .first = {H * 6, 7, counts, indices}};
    for (int h = 0; h < H; h++)
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 7; j++)
                if (j == 0 || (j * 5 + i * 3 + h) % 4 == 0) indices[(h * 6 + i) * 7 + counts[h * 6 + i]++] = j;
    attend("blocks", &a, &blocks);

    int32_t columns[G], column[G * N], diagonals[G], diagonal[G * N];
    sf_pattern slash = {.kind = SF_COLUMNS_DIAGONALS,
                        .heads = G,
                        .first = {G, N, columns, column},
                        .second = {G, N, diagonals, diagonal}};
    for (int g = 0; g < G; g++) {
        columns[g] = diagonals[g] = 0;
        for (int j = 0; j < N; j++) {
            if ((j * 7 + g) % 13 == 0) column[g * N + columns[g]++] = j;
            if (j == 0 || (j + g) % 41 == 40) diagonal[g * N + diagonals[g]++] = j;
        }
    }
    attend("columns and diagonals", &a, &slash);

    static float one[H * N], two[H * N], q_mean[H * 6 * D], k_mean[G * 7 * D], low[G * 7 * D], high[G * 7 * D];
    OK(b.ops->probe(&b, &a, 20, 1, SF_SUM, one, two));
    expect("column sums", one, H * N);
    OK(b.ops->probe(&b, &a, 20, 1, SF_MAX, one, NULL));
    expect("column maxima", one, H * N);
    expect("diagonal sums", two, H * N);
    const int32_t row[] = {3, 50, 89};
    diagonals[0] = diagonals[1] = 0; /* mass of the columns alone */
    OK(b.ops->mass(&b, &a, &slash, 3, row, one));
    expect("mass", one, H);

    OK(b.ops->block_means(&b, &a, false, 16, q_mean));
    expect("means of queries", q_mean, H * 6 * D);
    OK(b.ops->block_means(&b, &a, true, 16, k_mean));
    expect("means of keys", k_mean, G * 7 * D);
    OK(b.ops->block_probabilities(&b, &a, q_mean, 16, k_mean, 16, one));
    expect("block probabilities", one, H * 6 * 7);
    for (int i = 0; i < H * 6 * 7; i++) indices[i] = -1;
    sf_lists top = {H * 6, 4, counts, indices};
    OK(b.ops->top_blocks(&b, &a, q_mean, 16, k_mean, 16, H, 4, 1, 1, &top));
    expect_ints("top blocks", indices, H * 6 * 4);

    OK(b.ops->page_bounds(&b, &a, 16, 0, 7, low, high));
    expect("lower bounds", low, G * 7 * D);
    expect("upper bounds", high, G * 7 * D);
    a.q = q + (T - 1) * H * D;
    a.queries = 1;
    OK(b.ops->page_scores(&b, &a, 16, 7, low, high, one));
    expect("page scores", one, G * 7);
    OK(b.ops->key_probabilities(&b, &a, one));
    expect("key probabilities", one, H * N);
    free(q), free(k), free(v);
}

static void agrees_with_pytorch(void **state)
{
    static const char *const sets[] = {"reference", "avx512", "avx2", "generic"}; /* CUDA computes in bf16: its own tests */
    (void)state;
    for (int i = 0; i < 4; i++) {
        setenv("SF_CPU_ISA", sets[i], 1);
        sf_status status = sf_backend_open(i ? "cpu" : "reference", 2, &b);
        if (status == SF_UNSUPPORTED && i < 3) continue; /* not on this machine */
        OK(status);
        golden = fopen("tests/golden/backend.bin", "rb");
        assert_non_null(golden);
        layers();
        attention();
        assert_int_equal(fgetc(golden), EOF);
        fclose(golden);
        sf_backend_close(&b);
    }
    unsetenv("SF_CPU_ISA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
