/* What methods are calibrated with (methods/calibrate.c), against loops over the same queries and keys, and by its own properties. */
#include "tests/testing.h"

#include <math.h>

#include "base/splitmix.h"
#include "harness/lab/synthetic.h"
#include "methods/method.h"

enum { TOKENS = 40, H = 4, G = 2, D = 16, LOCAL = 8 };

static sf_backend backend;
static sf_synthetic made = {.tokens = TOKENS, .heads = H, .kv_heads = G, .head_dim = D, .seed = 3, .sinks = true};

static int open_all(void **state)
{
    (void)state;
    OK(sf_backend_open("reference", 1, &backend));
    OK(sf_synthetic_open(&made, &backend));
    backend.phase = SF_PREFILL;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    sf_synthetic_close(&made);
    sf_backend_close(&backend);
    return 0;
}

static float query(const sf_attention *a, int i, int h, int d) { return ((const float *)a->q)[(i * H + h) * D + d]; }
static float key(const sf_attention *a, int g, int j, int d) { return ((const float *)a->kv.prompt.k)[(g * a->kv.prompt.capacity + j) * D + d]; }

static void near(double got, double want, const char *what)
{
    if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want)))) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

static void moments(void **state)
{
    (void)state;
    sf_attention a = sf_synthetic_prompt(&made);
    double sum[G * D * D] = {1};
    OK(sf_key_moments(&a, sum));
    for (int g = 0; g < G; g++)
        for (int d = 0; d < D; d++)
            for (int e = 0; e < D; e++) {
                double want = g + d + e == 0; /* added to what is there */
                for (int j = 0; j < TOKENS; j++) want += (double)key(&a, g, j, d) * key(&a, g, j, e);
                near(sum[(g * D + d) * D + e], want, "moment");
            }
}

static void channel_sizes(void **state)
{
    (void)state;
    sf_attention a = sf_synthetic_prompt(&made);
    double sum[G * D] = {0};
    OK(sf_channel_sizes(&a, sum));
    for (int g = 0; g < G; g++)
        for (int d = 0; d < D; d++) {
            double of_q = 0, of_k = 0;
            for (int i = 0; i < TOKENS; i++)
                for (int h = g * H / G; h < (g + 1) * H / G; h++) of_q += fabs(query(&a, i, h, d)) / (TOKENS * H / G);
            for (int j = 0; j < TOKENS; j++) of_k += fabs(key(&a, g, j, d)) / TOKENS;
            near(sum[g * D + d], of_q * of_k, "channel");
        }
}

static void recalled(void **state)
{
    (void)state;
    sf_attention a = sf_synthetic_prompt(&made);
    sf_pattern window = {0}, whole = {0};
    double sum[2 * H] = {0}, all[H] = {0};
    OK(sf_window(&a, &window, 0, LOCAL));
    OK(sf_recalled(&a, &window, sum, 2));
    OK(sf_recalled(&a, &whole, all, 1));
    for (int h = 0; h < H; h++) {
        double want = 0;
        for (int i = 0; i < TOKENS; i++) {
            double near_by = 0, every = 0;
            for (int j = 0; j <= i; j++) {
                double dot = 0;
                for (int d = 0; d < D; d++) dot += (double)query(&a, i, h, d) * key(&a, h * G / H, j, d);
                every += exp(dot * (double)a.scale);
                near_by += j > i - LOCAL ? exp(dot * (double)a.scale) : 0;
            }
            want += near_by / every / TOKENS;
        }
        if (fabs(sum[2 * h] - want) > 1e-4) fail_msg("head %d: %g, expected %g", h, sum[2 * h], want);
        assert_true(sum[2 * h + 1] == 0);
        if (fabs(all[h] - 1) > 1e-5) fail_msg("head %d: all keys hold %g", h, all[h]);
    }
}

/* M v = λ v, orthonormal, by falling λ, the largest number of each positive. */
static void axes(void **state)
{
    (void)state;
    enum { N = 7 };
    uint64_t seed = 5;
    double m[N][N], v[N][N], last = INFINITY;
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) m[i][j] = m[j][i] = (double)(sf_splitmix_next(&seed) >> 11) / 4503599627370496.0 - 1;
    memcpy(v, m, sizeof m);
    OK(sf_principal_axes(N, v[0]));
    for (int c = 0; c < N; c++) {
        double of[N] = {0}, value = 0, largest = 0;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) of[i] += m[i][j] * v[j][c];
        for (int i = 0; i < N; i++) value += of[i] * v[i][c], largest = fabs(v[i][c]) > fabs(largest) ? v[i][c] : largest;
        for (int i = 0; i < N; i++) near(of[i], value * v[i][c], "an eigenvector");
        for (int e = 0; e < N; e++) {
            double dot = 0;
            for (int i = 0; i < N; i++) dot += v[i][c] * v[i][e];
            near(dot, c == e, "orthonormal");
        }
        assert_true(value <= last && largest > 0);
        last = value;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(moments), cmocka_unit_test(channel_sizes), cmocka_unit_test(recalled),
                                       cmocka_unit_test(axes)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
