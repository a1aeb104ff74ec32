/* Statistics against NumPy and SciPy (tests/golden/stats/make.py), and against known truth in simulations. */
#include "harness/report/stats.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *golden;

static int load(void **state)
{
    (void)state;
    golden = json_load_file("tests/golden/stats/golden.json", 0, NULL);
    return golden ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static double *numbers(const json_t *list, int *n)
{
    *n = (int)json_array_size(list);
    double *x = malloc((size_t)*n * sizeof *x + 1);
    for (int i = 0; i < *n; i++) x[i] = json_number_value(json_array_get(list, (size_t)i));
    return x;
}

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }
static double item(const json_t *list, size_t i) { return json_number_value(json_array_get(list, i)); }

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.9g, expected %.9g within %.2g", what, got, want, tolerance);
}

enum { R = 100000 };

/* Replicates of the mean of a sample, with room to work in. */
static double *replicates(int n, const double *x)
{
    double *out = calloc(2 * R, sizeof *out);
    float *weight = malloc((size_t)n * sizeof *weight);
    for (int r = 0; r < R; r++) {
        sf_resample(2, r, n, weight);
        for (int i = 0; i < n; i++) out[r] += weight[i] * x[i] / n;
    }
    free(weight);
    return out;
}

static void test_mean_and_intervals(void **state)
{
    (void)state;
    size_t k;
    json_t *sample;
    json_array_foreach(json_object_get(golden, "samples"), k, sample)
    {
        int n;
        double *x = numbers(json_object_get(sample, "x"), &n), mean, error, low, high;
        double least = number(sample, "least"), most = number(sample, "most");
        sf_mean_error(n, x, &mean, &error);
        near(mean, number(sample, "mean"), 1e-12, "mean");
        near(error, number(sample, "se"), 1e-12, "standard error");
        assert_int_equal(sf_bootstrap_mean(n, x, least, most, R, 1, 0.95, &low, &high), SF_OK);
        const json_t *bounded = json_object_get(sample, "bounded"), *seen = json_object_get(sample, "seen");
        double tolerance = 0.02 * (item(bounded, 1) - item(bounded, 0)); /* four standard errors of these quantiles */
        near(low, item(bounded, 0), tolerance, "lower end");
        near(high, item(bounded, 1), tolerance, "upper end");
        double *replicate = replicates(n, x); /* nothing unseen beside so many */
        sf_interval_bounded(R, replicate, &(sf_basis){1, 1 << 30, least, most, 0, 0}, 0.95, &low, &high);
        near(low, item(seen, 0), tolerance, "what was seen, lower end");
        near(high, item(seen, 1), tolerance, "what was seen, upper end");
        free(replicate);
        free(x);
    }
}

/* Answers that are right or wrong: Clopper and Pearson's interval. Differences that are all 0: the rule of three's. */
static void test_exact_intervals(void **state)
{
    (void)state;
    size_t k;
    json_t *row;
    double low, high, x[128];
    json_array_foreach(json_object_get(golden, "binary"), k, row)
    {
        int n = (int)number(row, "n"), right = (int)number(row, "k");
        for (int i = 0; i < n; i++) x[i] = i < right;
        assert_int_equal(sf_bootstrap_mean(n, x, 0, 1, R, 1, 0.95, &low, &high), SF_OK);
        near(low, number(row, "low"), 0.003, "Clopper and Pearson, lower end");
        near(high, number(row, "high"), 0.003, "Clopper and Pearson, upper end");
    }
    memset(x, 0, sizeof x);
    json_array_foreach(json_object_get(golden, "alike"), k, row)
    {
        int n = (int)number(row, "n");
        assert_int_equal(sf_bootstrap_mean(n, x, -1, 1, R, 1, 0.95, &low, &high), SF_OK);
        near(high, number(row, "loss"), 1e-4, "equal pairs, upper end");
        near(low, -number(row, "loss"), 1e-4, "equal pairs, lower end");
    }
}

static void test_degenerate(void **state)
{
    (void)state;
    double mean, error, low, high, same[5] = {0.25, 0.25, 0.25, 0.25, 0.25};
    sf_mean_error(0, NULL, &mean, &error);
    assert_true(isnan(mean) && isnan(error));
    sf_mean_error(1, same, &mean, &error);
    assert_true(mean == 0.25 && isnan(error));
    const double behind[][4] = {{0.25, 0.5, 0.75, 0}, {0.25, 0.5, 0.75, NAN}}; /* what lies behind the last is not looked at */
    double end[2][2];
    for (int k = 0; k < 2; k++)
        assert_int_equal(sf_bootstrap_mean(3, behind[k], -10, 10, 1000, 1, 0.95, &end[k][0], &end[k][1]), SF_OK);
    assert_true(end[0][0] == end[1][0] && end[0][1] == end[1][1]);
    assert_int_equal(sf_bootstrap_mean(1, same, 0, 1, 1000, 1, 0.95, &low, &high), SF_OK);
    near(low, 0.25 * 0.025, 1e-3, "one sample, lower end");
    near(high, 1 - 0.75 * 0.025, 1e-3, "one sample, upper end");
    assert_int_equal(sf_bootstrap_mean(0, same, 0, 1, 1000, 1, 0.95, &low, &high), SF_OK);
    assert_true(isnan(low) && isnan(high));
    assert_true(isnan(sf_quantile(0, NULL, 0.5)));
    assert_int_equal(sf_sign_flip_test(0, NULL, 1000, 1, &low), SF_OK);
    assert_true(low == 1);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Ends of an interval are those of the sorted replicates, few or many, sorted, alike, few values. */
static void test_selection(void **state)
{
    (void)state;
    enum { MOST = 3000 };
    static double x[2 * MOST], sorted[2 * MOST];
    uint64_t noise = 11;
    const int sizes[] = {1, 2, 3, 7, 100, MOST};
    for (int kind = 0; kind < 5; kind++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (double level = 0; level < 1; level += 0.19) {
                int n = sizes[k];
                double low, high;
                for (int i = 0; i < n; i++) {
                    noise = noise * 6364136223846793005u + 1442695040888963407u;
                    double u = (double)(noise >> 11) / 9007199254740992.0;
                    x[i] = kind == 0 ? u : kind == 1 ? floor(4 * u) : kind == 2 ? i : kind == 3 ? -i : 1;
                }
                memcpy(sorted, x, sizeof x);
                qsort(sorted, (size_t)n, sizeof *sorted, ascending);
                sf_interval_bounded(n, x, &(sf_basis){.means = 1, .fewest = INT_MAX, .least = -MOST, .most = MOST}, level, &low, &high); /* nothing unseen */
                near(low, sf_quantile(n, sorted, (1 - level) / 2), 1e-4, "lower quantile");
                near(high, sf_quantile(n, sorted, (1 + level) / 2), 1e-4, "upper quantile");
            }
}

static void test_resampling(void **state)
{
    (void)state;
    float weight[7], again[7];
    double sum[7] = {0};
    double square = 0;
    for (int r = 0; r < 20000; r++) {
        double total = 0;
        sf_resample(9, r, 7, weight);
        for (int i = 0; i < 7; i++) total += weight[i], sum[i] += weight[i], square += weight[i] * weight[i] / 7 / 20000;
        near(total, 7, 1e-5, "sum of weights");
    }
    near(square, 2 * 7 / 8.0, 0.03, "mean square of weights"); /* uniform on the simplex */
    for (int i = 0; i < 7; i++) near(sum[i] / 20000, 1, 0.03, "mean weight");
    sf_resample(9, 123, 7, weight);
    sf_resample(9, 123, 7, again);
    assert_memory_equal(weight, again, sizeof weight);
    sf_resample(10, 123, 7, again);
    assert_memory_not_equal(weight, again, sizeof weight);
}

static void test_sign_flips(void **state)
{
    (void)state;
    size_t k;
    json_t *row;
    json_array_foreach(json_object_get(golden, "flips"), k, row)
    {
        int n;
        double *d = numbers(json_object_get(row, "d"), &n), p = number(row, "p"), got;
        bool exact = n <= 12 || p == 1 || k == 3;
        assert_int_equal(sf_sign_flip_test(n, d, exact ? 20000 : 200000, 4, &got), SF_OK);
        near(got, p, n <= 12 || p == 1 ? 1e-12 : 4 * sqrt(p * (1 - p) / 200000) + 2e-3 * p, "sign flips");
        free(d);
    }
    /* Below what resampling sees: never under the exact value, 2 / 2^20 with all signs alike, and not far above it. */
    double alike[20], got;
    for (int i = 0; i < 20; i++) alike[i] = 1;
    assert_int_equal(sf_sign_flip_test(20, alike, 10000, 1, &got), SF_OK);
    assert_true(got >= 2.0 / (1 << 20) && got < 1e-4);
}

static void test_holm(void **state)
{
    (void)state;
    size_t k;
    json_t *row;
    json_array_foreach(json_object_get(golden, "holm"), k, row)
    {
        int n, m;
        double *p = numbers(json_object_get(row, "p"), &n), *want = numbers(json_object_get(row, "adjusted"), &m),
               got[64];
        assert_int_equal(sf_holm(n, p, got), SF_OK);
        for (int i = 0; i < n; i++) near(got[i], want[i], 1e-12, "Holm");
        free(p);
        free(want);
    }
    double p[] = {0.01, NAN, 0.03}, got[3];
    assert_int_equal(sf_holm(3, p, got), SF_OK);
    assert_true(got[0] == 0.02 && isnan(got[1]) && got[2] == 0.03);
}

static void test_pareto(void **state)
{
    (void)state;
    size_t k;
    json_t *row;
    json_array_foreach(json_object_get(golden, "pareto"), k, row)
    {
        int n;
        double *cost = numbers(json_object_get(row, "cost"), &n), *score = numbers(json_object_get(row, "score"), &n);
        double *want = numbers(json_object_get(row, "on"), &n);
        bool on[64];
        assert_int_equal(sf_pareto(n, cost, score, on), SF_OK);
        for (int i = 0; i < n; i++)
            if (on[i] != (want[i] != 0)) fail_msg("point %d of set %zu", i, k);
        free(cost);
        free(score);
        free(want);
    }
    const float replicate[] = {0.5f, 0.5f, 0.7f, 0.4f, 0.6f, 0.6f}; /* two resamples of each */
    double probability[4] = {[3] = 7};
    sf_pareto_probability(3, (double[]){1, 2, 3}, 2, replicate, probability);
    assert_true(probability[0] == 1 && probability[1] == 0.5 && probability[2] == 0.5 && probability[3] == 7);
    bool on[3];
    assert_int_equal(sf_pareto(3, (double[]){1, 2, NAN}, (double[]){NAN, 0.5, 0.9}, on), SF_OK);
    assert_true(!on[0] && on[1] && !on[2]);
}

static void test_quantiles_and_normal(void **state)
{
    (void)state;
    int n;
    size_t k;
    json_t *row;
    double *x = numbers(json_object_get(json_object_get(golden, "quantiles"), "x"), &n);
    json_array_foreach(json_object_get(json_object_get(golden, "quantiles"), "q"), k, row)
        near(sf_quantile(n, x, item(row, 0)), item(row, 1), 1e-12, "quantile");
    free(x);
    json_array_foreach(json_object_get(golden, "normal"), k, row)
    {
        near(sf_normal_cdf(item(row, 0)), item(row, 1), 1e-14, "normal cdf");
        near(sf_normal_quantile(item(row, 1)), item(row, 0), 1e-6, "normal quantile");
    }
}

static void test_fit_and_rank(void **state)
{
    (void)state;
    const json_t *fit = json_object_get(golden, "fits");
    int n, m, k;
    double *x = numbers(json_object_get(fit, "x"), &m), *y = numbers(json_object_get(fit, "y"), &n), got[3];
    double *want = numbers(json_object_get(fit, "coefficient"), &k);
    assert_int_equal(sf_least_squares(n, k, x, y, got), SF_OK);
    for (int i = 0; i < k; i++) near(got[i], want[i], 1e-9 * fabs(want[i]), "least squares");
    for (int i = 0; i < n; i++) x[i * 3 + 2] = 2 * x[i * 3 + 1];
    assert_int_equal(sf_least_squares(n, k, x, y, got), SF_BAD_INPUT);
    assert_int_equal(sf_least_squares(2, 3, x, y, got), SF_BAD_INPUT);
    const double tiny[] = {1e-12, 2e-12, 1e-12, 3e-12, 1e-12, 5e-12}, of_tiny[] = {8, 11, 17}; /* 2e12 and 3e12 of each */
    assert_int_equal(sf_least_squares(3, 2, tiny, of_tiny, got), SF_OK);
    near(got[0], 2e12, 1e4, "a fit of small numbers");
    near(got[1], 3e12, 1e4, "a fit of small numbers");
    free(x);
    free(y);
    free(want);
    const json_t *kendall = json_object_get(golden, "kendall");
    double *a = numbers(json_object_get(kendall, "a"), &n), *b = numbers(json_object_get(kendall, "b"), &n);
    near(sf_kendall(n, a, b), number(kendall, "tau"), 1e-12, "Kendall");
    free(a);
    free(b);
}

/* ---- Known truth ---- */

static uint64_t noise = 12345;

static double uniform(void)
{
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    return ((double)(noise >> 11) + 0.5) / 9007199254740992.0;
}

/* Intervals of the mean paired difference: two skewed scores of five steps that share the sample's difficulty. */
static void test_coverage(void **state)
{
    (void)state;
    enum { SIMULATIONS = 1000, N = 60 };
    const double effect = 0.15; /* dense passes, sparse does not */
    int covered = 0;
    for (int s = 0; s < SIMULATIONS; s++) {
        double d[N], low, high;
        for (int i = 0; i < N; i++) {
            double u = uniform(); /* -0.25 with .05, +0.5 with .325, else 0: mean 0.15 */
            d[i] = u < 0.05 ? -0.25 : u < 0.375 ? 0.5 : 0;
        }
        assert_int_equal(sf_bootstrap_mean(N, d, -1, 1, 1000, (uint64_t)s, 0.95, &low, &high), SF_OK);
        covered += low <= effect && effect <= high;
    }
    double share = (double)covered / SIMULATIONS;
    if (share < 0.94 || share > 0.995) fail_msg("95 %% intervals cover the truth in %.1f %%", 100 * share);
}

static double choose(int n, int k) { return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)); }

/* Few samples of answers that are right or wrong: coverage is a sum over all outcomes, no simulation. One task, and the mean
 * of two whose chances differ. */
static void test_small_samples(void **state)
{
    (void)state;
    enum { DRAWS = 4000, MOST = 20, CHANCES = 19 };
    static double replicate[2 * DRAWS], low[MOST + 1][MOST + 1], high[MOST + 1][MOST + 1];
    const int sizes[] = {1, 2, 5, 10, 20};
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++)
        for (int tasks = 1; tasks <= 2; tasks++) {
            int n = sizes[at];
            float weight[2][MOST];
            for (int a = 0; a <= n; a++)
                for (int b = 0; b <= (tasks == 2 ? n : 0); b++) {
                    for (int r = 0; r < DRAWS; r++) {
                        replicate[r] = 0;
                        for (int t = 0; t < tasks; t++) {
                            sf_resample((uint64_t)t + 3, r, n, weight[t]);
                            for (int i = 0; i < (t ? b : a); i++) replicate[r] += weight[t][i] / n / tasks;
                        }
                    }
                    double mean[2] = {(double)a / n, (double)(tasks == 2 ? b : a) / n};
                    sf_interval_bounded(DRAWS, replicate,
                                        &(sf_basis){tasks, n, 0, 1, fmin(mean[0], mean[1]), fmax(mean[0], mean[1])}, 0.95,
                                        &low[a][b], &high[a][b]);
                    assert_true(0 <= low[a][b] && low[a][b] <= high[a][b] && high[a][b] <= 1);
                }
            for (int p = 0; p <= CHANCES + 1; p++)
                for (int q = tasks == 2 ? 0 : p; q <= (tasks == 2 ? CHANCES + 1 : p); q++) {
                    double chance[2] = {p / (CHANCES + 1.0), q / (CHANCES + 1.0)}, covered = 0;
                    double truth = tasks == 2 ? (chance[0] + chance[1]) / 2 : chance[0];
                    for (int a = 0; a <= n; a++)
                        for (int b = 0; b <= (tasks == 2 ? n : 0); b++) {
                            double mass = choose(n, a) * pow(chance[0], a) * pow(1 - chance[0], n - a);
                            if (tasks == 2) mass *= choose(n, b) * pow(chance[1], b) * pow(1 - chance[1], n - b);
                            if (low[a][b] <= truth + 1e-9 && truth - 1e-9 <= high[a][b]) covered += mass;
                        }
                    if (covered < 0.93)
                        fail_msg("%d samples of %d tasks, chances %g and %g: 95 %% intervals hold the truth in %.1f %%", n, tasks,
                                 chance[0], chance[1], 100 * covered);
                }
        }
}

/* Families of ten true null hypotheses: a family shows any effect after Holm in at most 5 %. */
static void test_false_positives(void **state)
{
    (void)state;
    enum { FAMILIES = 400, TESTS = 10, N = 30 };
    int wrong = 0;
    for (int f = 0; f < FAMILIES; f++) {
        double p[TESTS], adjusted[TESTS], smallest = 1;
        for (int t = 0; t < TESTS; t++) {
            double d[N];
            for (int i = 0; i < N; i++) d[i] = floor(uniform() * 5) / 4 - floor(uniform() * 5) / 4;
            assert_int_equal(sf_sign_flip_test(N, d, 2000, (uint64_t)(f * TESTS + t), &p[t]), SF_OK);
        }
        assert_int_equal(sf_holm(TESTS, p, adjusted), SF_OK);
        for (int t = 0; t < TESTS; t++) smallest = fmin(smallest, adjusted[t]);
        wrong += smallest <= 0.05;
    }
    double share = (double)wrong / FAMILIES; /* 5 % and two standard errors of this simulation */
    if (share > 0.05 + 2 * sqrt(0.05 * 0.95 / FAMILIES))
        fail_msg("an effect is seen in %.1f %% of the families", 100 * share);
    if (wrong == 0) fail_msg("never an effect: the test has no power at all");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mean_and_intervals),
                                       cmocka_unit_test(test_exact_intervals),
                                       cmocka_unit_test(test_degenerate),
                                       cmocka_unit_test(test_selection), cmocka_unit_test(test_resampling),
                                       cmocka_unit_test(test_sign_flips),
                                       cmocka_unit_test(test_holm),
                                       cmocka_unit_test(test_pareto),
                                       cmocka_unit_test(test_quantiles_and_normal),
                                       cmocka_unit_test(test_fit_and_rank),
                                       cmocka_unit_test(test_coverage),
                                       cmocka_unit_test(test_small_samples),
                                       cmocka_unit_test(test_false_positives)};
    return cmocka_run_group_tests(tests, load, unload);
}
