/* The report on results with known truth: numbers, warnings, tables, figures, export, comparison. */
#include "harness/report/report.h"
#include "harness/report/fidelity.h"
#include "harness/report/figures/curves.h"
#include "harness/report/figures/registry.h"
#include "harness/report/findings.h"
#include "harness/report/limits.h"
#include "harness/report/out.h"
#include "harness/report/resample.h"
#include "harness/report/settings.h"
#include "harness/report/stats.h"
#include "tests/synthetic_results.h"
#include "tests/testing.h"

#include <ctype.h>
#include <jansson.h>
#include <omp.h>
#include <sys/stat.h>
#include <unistd.h>


static char folder[64]; /* of each test */
static sf_results results;

static int make_folder(void **state) { return (void)state, folder_make(folder); }
static int clear_folder(void **state)
{
    (void)state;
    sf_results_free(&results);
    return folder_remove(folder);
}

static const struct synthetic small = {
    .models = 2, .tasks = 3, .lengths = 2, .levels = 3, .samples = 12, .prefill = true, .decode = true, .gain = 1};

static void make_results(const struct synthetic *s)
{
    sf_results_free(&results);
    OK(synthetic_make(s, &results));
}

static char *slurp(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return file_read(path, NULL);
}

static bool there(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static const char *report_folder(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/report", folder);
    return path;
}

static int lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

static char *table_of(void)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    sf_report_table(&results, f);
    fclose(f);
    return text;
}

static int find_cell(const char *task, const char *label, double sparsity)
{
    for (int c = 0; c < results.cells; c++) {
        const sf_cell_info *x = &results.cell[c];
        for (int p = 0; p < SF_PHASES; p++)
            if (!strcmp(x->model, "mini-8m") && !strcmp(x->task, task) && !strcmp(x->label[p], label) &&
                fabs(x->sparsity[p] - sparsity) < 1e-9 && (strcmp(label, "dense") || !strcmp(x->label[!p], "dense")))
                return c;
    }
    fail_msg("no cell %s %s %g", task, label, sparsity);
    return -1;
}

/* Reports without drawing, which takes most of the time: numbers, words, and what the templates are told. test_report_files
 * draws all figures. */
static void report_undrawn(sf_report_options *o)
{
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "", 1);
    assert_error(sf_report(&results, o), "gnuplot");
    setenv("PATH", path, 1);
    free(path);
}

/* ---- Numbers ---- */

/* Most tests make their results in memory; through a file the same comes out. */
static void test_from_a_file(void **state)
{
    (void)state;
    char path[128];
    struct synthetic s = small;
    s.models = s.lengths = 1, s.samples = 3, s.maps = true;
    snprintf(path, sizeof path, "%s/results.h5", folder);
    OK(synthetic_write(path, &s));
    sf_results_free(&results);
    OK(sf_results_read(1, (const char *const[]){path}, SF_READ_TEXTS | SF_READ_MEANS | SF_READ_PICTURES, &results));
    char *read = table_of();
    sf_results kept = results;
    results = (sf_results){0};
    make_results(&s);
    char *made = table_of();
    assert_string_equal(read, made);
    assert_int_equal(kept.cells, results.cells);
    assert_int_equal(kept.runs, results.runs);
    for (int c = 0; c < kept.cells; c++) {
        int same = 0;
        while (strcmp(results.cell[same].key, kept.cell[c].key)) same++;
        assert_int_equal(kept.records[c], results.records[same]);
        for (int i = 0; i < 3; i++) {
            const sf_record *x = &kept.record[c][i], *y = &results.record[same][i];
            assert_true(x->strict == y->strict && x->prompt_hash == y->prompt_hash);
            assert_memory_equal(&x->meter, &y->meter, sizeof x->meter);
            assert_string_equal(x->prediction, y->prediction);
            for (int p = 0; p < SF_PHASES; p++) assert_int_equal(!x->picture[p], !y->picture[p]);
        }
        for (int p = 0; p < SF_PHASES; p++)
            for (int h = 0; h < kept.cell[c].layers * kept.cell[c].heads; h++)
                near(kept.mean[c].density[p][h], results.mean[same].density[p][h], 1e-6, "mean density");
    }
    free(read), free(made);
    sf_results_free(&kept);
}

static void test_points(void **state)
{
    (void)state;
    sf_view v;
    make_results(&small);
    OK(sf_view_make(&results, &v));
    assert_int_equal(v.models, 2);
    assert_int_equal(v.tasks, 3);
    assert_int_equal(v.lengths, 2);
    assert_int_equal(v.arms, 5);
    assert_int_equal(v.points, 2 * 2 * (1 + 4 * 3));
    assert_string_equal(v.model[0].label, "mini-8m"); /* by size */
    assert_string_equal(v.task[0].label, "niah");     /* easy ones first */
    assert_string_equal(v.arm[0].label, "dense");
    assert_true(v.arm[1].sparse[SF_PREFILL] && v.arm[4].sparse[SF_DECODE] && !v.arm[4].sparse[SF_PREFILL]);
    for (int i = 0; i < v.points; i++) {
        const sf_point *p = &v.point[i];
        double score = 0, variance = 0;
        for (int t = 0; t < 3; t++) {
            int c = p->cell[t];
            double x[12], mean, error;
            for (int k = 0; k < 12; k++) x[k] = results.record[c][k].strict;
            sf_mean_error(12, x, &mean, &error);
            score += mean / 3;
            variance += error * error / 9;
        }
        near(p->score, score, 1e-12, "score");
        near(p->error, sqrt(variance), 1e-12, "standard error");
    }
    sf_view_free(&v);
}

/* Both cost models at batch 64: a prefill costs 64 times as much; a decode step reads the weights once, the caches 64
 * times. */
static void test_costs_at_batch(void **state)
{
    (void)state;
    sf_view v;
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < results.records[c]; i++)
            for (int p = 0; p < SF_PHASES; p++) { /* far apart, so that none is taken for another */
                double weights = results.cell[c].weight_elements;
                results.record[c][i].cost_paper[p] = weights + 1000 + 10 * i + c;
                results.record[c][i].cost_exact[p] = weights + 7000 + 20 * i + c;
            }
    OK(sf_view_make(&results, &v));
    for (int i = 0; i < v.points; i++) {
        const sf_point *x = &v.point[i];
        double weights = results.cell[x->cell[0]].weight_elements, cells = 0;
        for (int t = 0; t < 3; t++) cells += x->cell[t] / 3.0;
        double paper = 1000 + 10 * 5.5 + cells, exact = 7000 + 20 * 5.5 + cells;
        near(x->cost_paper[SF_PREFILL], 64 * (weights + paper), 1e-3, "paper, prefill");
        near(x->cost_exact[SF_PREFILL], 64 * (weights + exact), 1e-3, "exact, prefill");
        near(x->cost_paper[SF_DECODE], weights + 64 * paper, 1e-3, "paper, decode");
        near(x->cost_exact[SF_DECODE], weights + 64 * exact, 1e-3, "exact, decode");
    }
    sf_view_free(&v);
}

static void test_verdicts(void **state)
{
    (void)state;
    sf_view v;
    make_results(&small);
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 4000, 1));
    int losses = 0, tests = 0;
    for (int i = 0; i < v.points; i++) {
        const sf_point *p = &v.point[i], *dense = sf_view_dense(&v, p);
        const sf_verdict *x = &p->verdict;
        assert_true(0 <= p->low && p->low < p->score && p->score < p->high && p->high <= 1);
        assert_in_range(100 * (p->high - p->low), 100 * 3.5 * p->error, 100 * 3.92 * p->error + 2 * 100.0 / 36 * 3);
        if (dense == p) {
            assert_int_equal(x->tasks, 0);
            continue;
        }
        assert_int_equal(x->tasks, 3);
        assert_int_equal(x->samples, 36);
        near(x->difference, p->score - dense->score, 1e-12, "difference");
        assert_true(x->low <= x->difference && x->difference <= x->high);
        assert_true(x->p_holm >= x->p);
        losses += sf_verdict_loss(x);
        tests++;
    }
    assert_int_equal(tests, 48);
    assert_in_range(losses, 4, 47); /* planted: the sparsest of each arm lose much, the least sparse little */
    /* Another thread count, the same numbers. */
    sf_view again;
    OK(sf_view_make(&results, &again));
    omp_set_num_threads(1);
    OK(sf_view_bootstrap(&again, 4000, 1));
    for (int i = 0; i < v.points; i++)
        assert_true(v.point[i].low == again.point[i].low &&
                    (v.point[i].verdict.p == again.point[i].verdict.p || isnan(v.point[i].verdict.p)));
    sf_view_free(&again);
    sf_view_free(&v);
}

/* The intervals of a cell and of a point with one task are those of the paired differences alone. */
static void test_intervals(void **state)
{
    (void)state;
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 5, .samples = 40, .decode = true, .gain = 1};
    sf_view v;
    make_results(&s);
    uint64_t noise = 5; /* continuous, skewed scores: no ties, no steps */
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < 40; i++)
            results.record[c][i].strict = pow(synthetic_uniform(&noise), 1.0 + c) * (c ? 0.5 : 1);
    results.records[3] = 30; /* one lacks samples */
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 20000, 1));
    for (int i = 0; i < v.points; i++) {
        const sf_point *p = &v.point[i];
        const sf_verdict *of[] = {&p->verdict, &v.verdict[p->cell[0]]};
        double d[40], mean, error, low, high;
        int n = results.records[p->cell[0]];
        for (int k = 0; k < n; k++) d[k] = results.record[p->cell[0]][k].strict;
        OK(sf_bootstrap_mean(n, d, 0, 1, 20000, 7, 0.95, &low, &high));
        near(p->low, low, 0.03 * (high - low), "lower end of a score"); /* four standard errors of these quantiles */
        near(p->high, high, 0.03 * (high - low), "upper end of a score");
        near(v.low[p->cell[0]], low, 0.03 * (high - low), "lower end of a cell's score");
        if (!p->arm) continue;
        assert_int_equal(sf_cell_differences(&results, p->cell[0], sf_cell_dense(&v, p->cell[0]), d), n);
        sf_mean_error(n, d, &mean, &error);
        OK(sf_bootstrap_mean(n, d, -1, 1, 20000, 7, 0.95, &low, &high));
        for (int k = 0; k < 2; k++) {
            near(of[k]->difference, mean, 1e-9, "difference");
            near(of[k]->low, low, (n < 40 ? 0.15 : 0.03) * (high - low), "lower end");
            near(of[k]->high, high, (n < 40 ? 0.15 : 0.03) * (high - low), "upper end");
        }
    }
    sf_view_free(&v);
}

/* Pairs without a difference: what they exclude is what their number allows, in cells, points, limits and words. */
static void test_no_loss_without_power(void **state)
{
    (void)state;
    const int sizes[] = {1, 4, 59, 71, 72, 100};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = sizes[k], .decode = true};
        sf_view v;
        sf_limit limit;
        make_results(&s);
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < sizes[k]; i++) results.record[c][i].strict = i % 2;
        OK(sf_view_make(&results, &v));
        OK(sf_view_bootstrap(&v, 10000, 1));
        double loss = 1 - pow(0.025, 1.0 / sizes[k]);
        for (int i = 0; i < v.points; i++) {
            if (!v.point[i].arm) continue;
            near(v.point[i].verdict.low, -loss, 5e-4, "loss that equal pairs exclude");
            near(v.verdict[v.point[i].cell[0]].low, -loss, 5e-4, "loss that equal pairs of a cell exclude");
        }
        assert_true(sf_view_limit(&v, 0, -1, 0, 1, &limit));
        assert_true(limit.safe == (sizes[k] < 72 ? -1 : 0.7) && limit.shown == -1);
        near(limit.excluded, loss, 5e-4, "excluded loss");
        assert_int_equal(sf_pairs_needed(SF_MARGIN), 72);
        sf_view_free(&v);
        char *text = table_of();
        assert_int_equal(strstr(text, "Too few samples to call anything lossless") != NULL, sizes[k] < 72);
        assert_int_equal(strstr(text, "up to sparsity 0.70 a loss above 0.05 is excluded") != NULL, sizes[k] >= 72);
        free(text);
    }
}

/* A large loss over few samples is neither called none, nor proven. */
static void test_large_loss_few_samples(void **state)
{
    (void)state;
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 5, .decode = true};
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < 5; i++) results.record[c][i].strict = strcmp(results.cell[c].label[SF_DECODE], "quest") ? 0.75 : 0.25;
    char *text = table_of();
    assert_non_null(strstr(text, "quest   at sparsity 0.50 a loss above 0.7"));
    assert_null(strstr(text, "no loss"));
    free(text);
}

/* One sample decides nothing, however clear it looks. */
static void test_findings_need_samples(void **state)
{
    (void)state;
    struct synthetic s = {
        .models = 3, .tasks = 3, .lengths = 3, .levels = 4, .samples = 1, .prefill = true, .decode = true, .gain = 3};
    sf_view v;
    sf_findings f;
    make_results(&s);
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 1000, 1));
    OK(sf_find(&v, &f));
    assert_true(f.count > 4);
    for (int i = 0; i < f.count; i++)
        if (strcmp(f.at[i].verdict, "not decided")) fail_msg("decided by one sample: %s", f.at[i].text);
    sf_findings_free(&f);
    sf_view_free(&v);
}

/* Where sparsity changes nothing, nothing is found; this file has 48 comparisons. */
static void test_nothing_planted(void **state)
{
    (void)state;
    struct synthetic s = small;
    sf_view v;
    s.gain = 0;
    s.samples = 20;
    make_results(&s);
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 4000, 1));
    for (int i = 0; i < v.points; i++) assert_false(sf_verdict_loss(&v.point[i].verdict));
    sf_view_free(&v);
}

static void test_pareto_probability(void **state)
{
    (void)state;
    enum { N = 9, B = 50 };
    double cost[N] = {1, 1, 2, 3, 3, 3, 4, 5, 8}, probability[N], counted[N] = {0};
    float replicate[N * B];
    uint64_t noise = 3;
    for (int i = 0; i < N * B; i++)
        replicate[i] = (float)floor(8 * synthetic_uniform(&noise)) / 8 + (float)(i / B) / 16;
    sf_pareto_probability(N, cost, B, replicate, probability);
    for (int b = 0; b < B; b++) {
        double score[N];
        bool on[N];
        for (int i = 0; i < N; i++) score[i] = replicate[i * B + b];
        OK(sf_pareto(N, cost, score, on));
        for (int i = 0; i < N; i++) counted[i] += on[i] / (double)B;
    }
    for (int i = 0; i < N; i++) near(probability[i], counted[i], 1e-12, "frontier probability");
}

/* Two versions of a method under one label are two arms, each said by its name; of one that was not recorded, so. */
static void test_versions(void **state)
{
    (void)state;
    sf_view v;
    char name[SF_CELL_NAME];
    int older = 0;
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest")) {
            bool old = results.cell[c].sparsity[SF_DECODE] < 0.6;
            results.cell[c].version[SF_DECODE] = old ? "" : "2 3fa2b8c1";
            if (old) older = c;
        }
    OK(sf_view_make(&results, &v));
    assert_int_equal(v.arms, 6);
    assert_string_equal(v.arm[3].label, "quest (version 2 3fa2b8c1)");
    assert_string_equal(v.arm[4].label, "quest (version not recorded)");
    assert_string_equal(v.arm[5].label, "snapkv");
    sf_cell_name(&v, older, name);
    assert_non_null(strstr(name, "quest (version not recorded) 0.50"));
    sf_view_free(&v);
}

/* An arm with explicit parameters has no requested sparsity: it is no column "0", and stands where it was executed. */
static void test_explicit_parameters(void **state)
{
    (void)state;
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 100, .prefill = true, .decode = true};
    sf_view v;
    sf_limit limit;
    double level[SF_LEVELS];
    make_results(&s);
    for (int c = 0; c < results.cells; c++) {
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest")) results.cell[c].sparsity[SF_DECODE] = NAN;
        for (int i = 0; i < 100; i++) results.record[c][i].strict = 1;
    }
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 1000, 1));
    assert_int_equal(sf_view_levels(&v, level), 1);
    assert_true(level[0] == 0.5);
    int quest = 0;
    while (strcmp(v.arm[quest].label, "quest")) quest++;
    assert_true(sf_view_limit(&v, 0, -1, 0, quest, &limit));
    near(limit.safe, 0.4975, 0.003, "executed sparsity");
    sf_view_free(&v);
}

/* Few tics that read well; where there is one value, that value, to three digits. */
static void test_tics(void **state)
{
    (void)state;
    char text[256];
    int logarithmic;
    sf_axis_tics(1, 100, text, &logarithmic);
    assert_string_equal(text, "(1, 3, 10, 30, 100)");
    assert_true(logarithmic);
    sf_axis_tics(0.55, 0.85, text, &logarithmic);
    assert_string_equal(text, "0.1");
    assert_false(logarithmic);
    sf_axis_tics(0.550261, 0.550261, text, &logarithmic);
    assert_string_equal(text, "('0.55' 0.550261)");
    sf_axis_tics(136.419, 136.42, text, &logarithmic);
    assert_string_equal(text, "('136' 136.42)");
}

/* What a figure of curves tells its template of its axes, of values from low to high, known to a hundredth. */
static void curves_axes(const char *want, double low, double high, bool percent)
{
    const char *panel = "tasks", *name = "quest";
    sf_curves c = {.panels = 1, .series = 1, .panel = &panel, .name = &name, .ylabel = "y", .percent = percent};
    char *set = NULL, *csv = NULL, got[128] = "";
    size_t room;
    sf_plot plot = {.set = open_memstream(&set, &room), .csv = open_memstream(&csv, &room)};
    sf_curves_begin(&plot, &c);
    sf_curves_row(&plot, &c, 0, 0, &(sf_average){1, 1, low, low - 0.01, low + 0.01, 0.5});
    sf_curves_row(&plot, &c, 0, 0, &(sf_average){1, 1, high, high - 0.01, high + 0.01, 0.875});
    sf_curves_end(&plot, &c);
    fclose(plot.set), fclose(plot.csv);
    static const char *const shown[] = {"ymin = ", "ymax = ", "ystep = ", "xmax = "};
    for (int i = 0; i < 4; i++) {
        char *at = strstr(set, shown[i]);
        assert_non_null(at);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.6g", i ? " " : "", atof(at + strlen(shown[i])));
    }
    if (strcmp(got, want) != 0) fail_msg("%g to %g: %s, expected %s", low, high, got, want);
    free(set), free(csv);
}

static void test_curves_axes(void **state)
{
    (void)state;
    /* lowest, highest, step, and the end of the axis of sparsity: three halvings and a quarter */
    curves_axes("0.45 0.7 0.05 3.25", 0.47, 0.69, false);
    curves_axes("0.4 1 0.2 3.25", 0.43, 0.93, false);
    curves_axes("0.4 1.1 0.2 3.25", 0.43, 1.03, false);
    curves_axes("40 110 20 3.25", 0.43, 1.03, true);
    curves_axes("0 1.5 0.2 3.25", 0.05, 1.43, false);
    curves_axes("0 1.6 0.2 3.25", 0.05, 1.55, false);
    curves_axes("0 2.5 0.5 3.25", 0.05, 2.37, false);
    curves_axes("0 35 5 3.25", 0.1, 33, false);
    curves_axes("0 800 100 3.25", 3, 723, false);
    curves_axes("0.6 0.7 0.05 3.25", 0.6125, 0.6125, false);
    curves_axes("-1.5 1.5 0.5 3.25", -1.22, 1.22, false);
}

/* Tics of the map of heads: every one of a few, fewer of many. */
static void test_heads_tics(void **state)
{
    (void)state;
    static const struct {
        int heads, layers, every_head, every_layer;
    } row[] = {{1, 4, 1, 1}, {4, 5, 1, 4}, {5, 12, 4, 4}, {12, 13, 4, 8}, {13, 32, 8, 8}, {32, 33, 8, 16}, {33, 1, 16, 1}};
    static float map[33 * 33];
    struct synthetic s = small;
    s.models = s.tasks = s.lengths = s.levels = 1, s.samples = 2, s.maps = true;
    make_results(&s);
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        for (int c = 0; c < results.cells; c++) {
            results.cell[c].heads = row[k].heads, results.cell[c].kv_heads = 1, results.cell[c].layers = row[k].layers;
            for (int p = 0; p < SF_PHASES; p++) results.mean[c].density[p] = results.mean[c].recall[p] = map;
        }
        sf_report_options o = {.folder = report_folder(), .figures = "heads", .formats = "png"};
        char want[64];
        report_undrawn(&o);
        char *gp = slurp("report/figures/heads.gp");
        snprintf(want, sizeof want, "x_tics[1] = '%d'\n", row[k].every_head);
        if (!strstr(gp, want)) fail_msg("%d heads: no %s in %.900s", row[k].heads, want, gp);
        snprintf(want, sizeof want, "y_tics[1] = '%d'\n", row[k].every_layer);
        if (!strstr(gp, want)) fail_msg("%d layers: no %s in %.900s", row[k].layers, want, gp);
        free(gp);
    }
}

/* ---- Settings ---- */

/* Another group of settings: copies of all cells, changed by `change`, in the same results. */
static void add_copies(void (*change)(sf_cell_info *cell))
{
    int n = results.cells;
    sf_results wide = results;
    wide.cell = sf_heap_alloc(results.arena, 2 * (size_t)n * sizeof *wide.cell);
    wide.records = sf_heap_alloc(results.arena, 2 * (size_t)n * sizeof *wide.records);
    wide.record = sf_heap_alloc(results.arena, 2 * (size_t)n * sizeof *wide.record);
    wide.mean = sf_heap_alloc(results.arena, 2 * (size_t)n * sizeof *wide.mean);
    for (int copy = 0; copy < 2; copy++)
        for (int c = 0; c < n; c++) {
            int at = copy * n + c;
            size_t bytes = (size_t)results.records[c] * sizeof(sf_record);
            wide.cell[at] = results.cell[c];
            wide.records[at] = results.records[c];
            wide.record[at] = synthetic_copy(&results, results.record[c], bytes);
            wide.mean[at] = results.mean[c];
            if (!copy) continue;
            wide.cell[at].key[0] = 'c';
            change(&wide.cell[at]);
        }
    wide.cells = 2 * n;
    results = wide;
}

static void other_output(sf_cell_info *c) { c->output_limit = 16; }
static void other_chat(sf_cell_info *c) { c->chat = "{\"prefix\":\"<\",\"suffix\":\">\"}"; }
static void other_prompt(sf_cell_info *c) { c->task_params = "{\"answer\":\"explain\"}"; }
static void other_device(sf_cell_info *c) { c->device = "cuda", c->dtype = "bf16"; }
static void other_files(sf_cell_info *c) { c->model_hash = "cd"; }
static void other_seed(sf_cell_info *c) { c->seed = 44; }
static void other_card(sf_cell_info *c) { c->device = "cpu:1"; }

/* Cells of other settings are never put beside each other: a group of their own, named, in the table and the report. */
static void test_settings(void **state)
{
    (void)state;
    static const struct {
        void (*change)(sf_cell_info *cell);
        const char *name;
    } row[] = {{other_output, "output 16"},      {other_chat, "chat {\"prefix\":\"<\",\"suffix\":\">\"}"},
               {other_prompt, "answer explain"}, {other_device, "cuda bf16"},
               {other_files, "mini-8m of other files (cd)"}};
    struct synthetic s = {.models = 1, .tasks = 2, .lengths = 2, .levels = 2, .samples = 3, .decode = true, .gain = 1};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        sf_settings split;
        sf_run_info run[] = {{.started = "2025-01-01T00:00:00Z", .cells = ""}, {.started = "2025-01-02T00:00:00Z", .cells = ""}};
        make_results(&s);
        for (int c = 0; c < results.cells; c++)
            if (!strcmp(row[k].name, "answer explain")) results.cell[c].task_params = "{\"answer\":\"direct\"}";
        add_copies(row[k].change);
        const int n = results.cells / 2;
        char keys[2][2 * 33]; /* a run names a cell of each task */
        for (int g = 0; g < 2; g++) {
            int other = g * n;
            while (!strcmp(results.cell[other].task, results.cell[g * n].task)) other++;
            snprintf(keys[g], sizeof keys[g], "%s %s", results.cell[g * n].key, results.cell[other].key);
        }
        run[1].cells = keys[0], run[0].cells = keys[1];
        results.run = run, results.runs = 2;
        OK(sf_settings_split(&results, &split));
        assert_int_equal(split.groups, 2);
        assert_string_equal(split.group[0].name, "");
        assert_string_equal(split.group[1].name, row[k].name);
        for (int g = 0; g < 2; g++) {
            assert_int_equal(split.group[g].results.cells, n);
            for (int c = 0; c < n; c++) assert_true((split.group[g].results.cell[c].key[0] == 'c') == g);
        }
        sf_settings_free(&split);
        char *text = table_of();
        assert_non_null(strstr(text, "Not compared with these"));
        assert_non_null(strstr(text, row[k].name));
        free(text);
        run[0].started = "2025-01-03T00:00:00Z"; /* now the copies are what was run last */
        OK(sf_settings_split(&results, &split));
        for (int c = 0; c < n; c++) assert_int_equal(split.group[0].results.cell[c].key[0], 'c');
        sf_settings_free(&split);
    }
    make_results(&s); /* a task that the last run did not have, of a run with another limit, does not join it */
    add_copies(other_output);
    sf_run_info run[] = {{.started = "1", .cells = ""}, {.started = "2", .cells = ""}};
    char both[2 * 33];
    int other = 0;
    while (!strcmp(results.cell[other].task, results.cell[0].task)) other++;
    snprintf(both, sizeof both, "%s %s", results.cell[0].key, results.cell[other].key);
    run[0].cells = both, run[1].cells = results.cell[results.cells / 2].key;
    results.run = run, results.runs = 2;
    sf_settings split;
    OK(sf_settings_split(&results, &split));
    assert_int_equal(split.group[0].results.cells, results.cells / 4);
    assert_string_equal(split.group[1].name, "output 64");
    assert_int_equal(split.group[1].results.cells, results.cells / 2);
    sf_settings_free(&split);

    make_results(&s);
    add_copies(other_output);
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "svg"};
    OK(sf_report(&results, &o));
    char *page = slurp("report/index.html"), *own = strstr(page, "settings-output_16");
    assert_non_null(own);
    char csv[128];
    snprintf(csv, sizeof csv, "report/%.*s/tables/scores.csv", (int)strcspn(own, "/"), own);
    free(page);
    char *of_main = slurp("report/tables/scores.csv"), *of_other = slurp(csv);
    assert_int_equal(lines(of_main), 1 + 2 * (1 + 2 * 2));
    assert_int_equal(lines(of_other), 1 + 2 * (1 + 2 * 2));
    free(of_main), free(of_other);
}

/* Seeds of equal settings are one cell with the samples of all; which card ran it does not matter. */
static void test_seeds_are_pooled(void **state)
{
    (void)state;
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 3, .decode = true, .maps = true};
    sf_settings split;
    make_results(&s);
    add_copies(other_seed);
    const int n = results.cells / 2;
    for (int c = 0; c < n; c++) { /* numbers that no array could be indexed with */
        results.record[c][2].sample = INT32_MAX;
        results.record[c][0].sample = INT32_MIN;
        for (int i = 0; i < 3; i++) results.record[n + c][i].strict = 1 - results.record[c][i].strict;
    }
    OK(sf_settings_split(&results, &split));
    assert_int_equal(split.groups, 1);
    const sf_results *g = &split.group[0].results;
    assert_int_equal(g->cells, n);
    for (int c = 0; c < n; c++) {
        double mean = 0;
        assert_int_equal(g->records[c], 6);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(g->record[c][i].sample, i);
            mean += g->record[c][i].strict / 6;
        }
        near(mean, 0.5, 1e-12, "mean of both seeds");
        for (int h = 0; h < g->cell[c].layers * g->cell[c].heads; h++)
            near(g->mean[c].density[0][h], results.mean[c].density[0][h], 1e-6, "mean density");
    }
    sf_view v;
    OK(sf_view_make(g, &v));
    OK(sf_view_bootstrap(&v, 500, 1));
    assert_int_equal(v.point[1].verdict.samples, 6);
    sf_view_free(&v);
    sf_settings_free(&split);
    make_results(&s);
    add_copies(other_card);
    OK(sf_settings_split(&results, &split));
    assert_int_equal(split.groups, 1);
    sf_settings_free(&split);

    s.tasks = 2; /* of which one asks the same questions under every seed: those samples do not count twice */
    make_results(&s);
    const char *task = results.cell[0].task;
    int asked = 0;
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].task, task)) results.cell[c].questions = "fixed", asked++;
    add_copies(other_seed);
    OK(sf_settings_split(&results, &split));
    assert_int_equal(split.groups, 2);
    assert_string_equal(split.group[1].name, "seed 44");
    assert_int_equal(split.group[1].results.cells, asked);
    assert_int_equal(split.group[0].results.cells, results.cells / 2);
    for (int c = 0; c < split.group[0].results.cells; c++)
        assert_int_equal(split.group[0].results.records[c], strcmp(split.group[0].results.cell[c].task, task) ? 6 : 3);
    sf_settings_free(&split);
}

/* Whatever numbers samples have, the bootstrap takes them, in no more room than there are samples. */
static void test_huge_sample_numbers(void **state)
{
    (void)state;
    sf_view v;
    make_results(&small);
    for (int c = 0; c < results.cells; c++) {
        results.record[c][11].sample = INT32_MAX;
        results.record[c][0].sample = -7;
        results.cell[c].dispersion = results.cell[c].scope = INT32_MAX; /* of a file that says so */
    }
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 500, 1));
    assert_int_equal(v.point[1].verdict.samples, 36);
    sf_view_free(&v);
}

/* A sample whose prompts differ is no pair. */
static void test_pairs_have_one_prompt(void **state)
{
    (void)state;
    double d[12];
    make_results(&small);
    int sparse = find_cell("vt", "quest", 0.5), dense = find_cell("vt", "dense", 0);
    assert_int_equal(sf_cell_differences(&results, sparse, dense, d), 12);
    results.record[sparse][4].prompt_hash ^= 7;
    assert_int_equal(sf_cell_differences(&results, sparse, dense, d), 11);
}

/* ---- Findings ---- */

static const sf_finding *finding(const sf_findings *f, const char *question, const char *with, const char *too)
{
    for (int i = 0; i < f->count; i++)
        if (!f->at[i].detail && !strcmp(f->at[i].question, question) && strstr(f->at[i].text, with) &&
            strstr(f->at[i].text, too))
            return &f->at[i];
    fail_msg("no finding about %s with \"%s\" and \"%s\"", question, with, too);
    return NULL;
}

/* The planted truth: vertical_slash and quest lose least, the loss falls with length, larger models are better. */
static void test_findings(void **state)
{
    (void)state;
    struct synthetic s = {
        .models = 3, .tasks = 3, .lengths = 3, .levels = 4, .samples = 40, .prefill = true, .decode = true, .gain = 1};
    sf_view v;
    sf_findings f;
    make_results(&s);
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 2000, 1));
    OK(sf_find(&v, &f));
    for (int i = 0; i < f.count; i++)
        if (!isnan(f.at[i].number)) assert_true(f.at[i].low <= f.at[i].number && f.at[i].number <= f.at[i].high);
    const char *const groups[] = {"low dispersion, low scope", "high dispersion)", "high scope"};
    for (int g = 0; g < 3; g++) {
        char text[128];
        for (int phase = 0; phase < 2; phase++) {
            snprintf(text, sizeof text, ", %s loses least among 2 %s", phase ? "quest" : "vertical_slash",
                     phase ? "decode" : "prefill");
            assert_string_equal(finding(&f, "method", groups[g], text)->verdict, "yes");
        }
    }
    assert_string_equal(finding(&f, "length", "snapkv at sparsity", "falls with length")->verdict, "yes");
    assert_true(finding(&f, "isoCost", "At equal decode cost", "beats")->low > 0);

    bool in[3] = {true, true, true};
    double at[2000], level[2000];
    int quest = 0;
    while (strcmp(v.arm[quest].label, "quest")) quest++;
    const sf_point *p = sf_view_find(&v, 1, 1, quest, 0, 0.8), *next = sf_view_find(&v, 1, 1, quest, 0, 0.9);
    double sparsity = sf_point_sparsity(&v, p), further = sf_point_sparsity(&v, next), sum = 0, halfway = 0;
    assert_true(sf_interpolate(&v, 1, 1, quest, in, sparsity, at));
    for (int b = 0; b < 2000; b++) {
        level[b] = 0;
        for (int t = 0; t < 3; t++) level[b] += v.replicate[p->cell[t] * 2000 + b] / 3.0;
        near(at[b], level[b], 1e-9, "replicate at a level");
        sum += at[b] / 2000;
    }
    near(sum, p->score, 0.01, "mean of replicates");
    assert_true(sf_interpolate(&v, 1, 1, quest, in, (sparsity + further) / 2, at));
    for (int b = 0; b < 2000; b++) halfway += at[b] / 2000;
    near(halfway, (p->score + next->score) / 2, 0.01, "halfway between levels");
    assert_false(sf_interpolate(&v, 1, 1, quest, in, 0.99, at));

    sf_fit fit;
    OK(sf_scaling_fit(&v, quest, &fit));
    assert_int_equal(fit.cells, 9 * 5);
    assert_true(fit.coefficient[1] > 0.3 && fit.coefficient[2] < 0 && fit.coefficient[3] > 0.1);
    assert_true(fit.residual < 0.08 && fit.held_out >= fit.residual && fit.held_out < 0.1);
    sf_findings_free(&f);
    sf_view_free(&v);
}

/* A cost within 1 % of another is no dearer, neither for a finding nor on a frontier; beyond that it is. */
static void test_same_cost(void **state)
{
    (void)state;
    static const struct {
        double dearer;
        const char *says;
    } rows[] = {{1.0075, "that are no dearer"}, {1.0125, "no sparse point of a larger model is as cheap"}};
    for (int r = 0; r < 2; r++) {
        sf_view v;
        sf_findings f;
        make_results(&small);
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < results.records[c]; i++) {
                const sf_cell_info *x = &results.cell[c];
                bool near_dense = !strcmp(x->label[SF_PREFILL], "vertical_slash") && x->sparsity[SF_PREFILL] == 0.8;
                double cost = strcmp(x->model, "mini-8m") == 0 ? 1000 : near_dense ? 1000 * rows[r].dearer : 9000;
                results.record[c][i].cost_paper[SF_PREFILL] = cost;
            }
        OK(sf_view_make(&results, &v));
        OK(sf_view_bootstrap(&v, 200, 1));
        OK(sf_find(&v, &f));
        bool said = false;
        for (int i = 0; i < f.count; i++)
            said |= strstr(f.at[i].text, "prefill") && strstr(f.at[i].text, rows[r].says);
        if (!said) fail_msg("at %g of the cost, no \"%s\"", rows[r].dearer, rows[r].says);
        sf_findings_free(&f);
        sf_view_free(&v);

        /* The dense larger model is made better than all: with the same cost as the best smaller one it stands alone. */
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < results.records[c]; i++) {
                const sf_cell_info *x = &results.cell[c];
                bool dense = !strcmp(x->label[SF_PREFILL], "dense") && !strcmp(x->label[SF_DECODE], "dense");
                bool larger = !strcmp(x->model, "mini-30m");
                results.record[c][i].cost_paper[SF_PREFILL] = !dense ? 90000 : larger ? 1000 * rows[r].dearer : 1000;
                results.record[c][i].strict = !dense ? 0 : larger ? 0.75 : 0.5;
            }
        sf_report_options o = {.folder = report_folder(), .figures = "frontier", .formats = "png"};
        OK(sf_report(&results, &o));
        char *csv = slurp("report/figures/frontier.csv");
        int on = 0;
        for (char *line = strchr(csv, '\n') + 1; !strncmp(line, "prefill,1024", 12); line = strchr(line, '\n') + 1) {
            char mark;
            assert_int_equal(sscanf(line, "prefill,1024,%*[^,],%*[^,],%*[^,],%*[^,],%*f,%*f,%*[^,],%*[^,],%*[^,],%*[^,],%c", &mark),
                             1);
            on += mark == '1';
        }
        assert_int_equal(on, r == 0 ? 1 : 2);
        free(csv);
    }
}

/* A method that was run in either phase alone is two arms, never one with two kinds of points. */
static void test_same_name_in_both_phases(void **state)
{
    (void)state;
    sf_view v;
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest")) results.cell[c].label[SF_DECODE] = "vertical_slash";
    OK(sf_view_make(&results, &v));
    assert_int_equal(v.arms, 5);
    int seen = 0;
    for (int a = 1; a < v.arms; a++)
        seen += !strcmp(v.arm[a].label, v.arm[a].sparse[SF_PREFILL] ? "vertical_slash (prefill)" : "vertical_slash (decode)");
    assert_int_equal(seen, 2);
    sf_view_free(&v);
}

/* ---- Gates ---- */

static char *warnings_of(int *count)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    *count = sf_report_gates(&results, f);
    fclose(f);
    return text;
}

static void test_gates(void **state)
{
    (void)state;
    enum { N = 20 };
    int count;
    struct synthetic s = small;
    s.samples = N;
    make_results(&s);
    char *text = warnings_of(&count);
    if (count || *text) fail_msg("warnings about good results: %s", text);
    free(text);

    struct {
        const char *says, *names;
    } expected[] = {{"more than one BOS", "mini-8m niah 1024 dense (2 in sample 3)"},
                    {"not dense's prompt", "mini-8m vt 1024 quest 0.50 (sample 4)"},
                    {"the answer is not dense's", "mini-8m niah 1024 vertical_slash 0.70 (sample 0)"},
                    {"no BOS token in front of the input", "vt 1024 dense (<s> in sample 2)"},
                    {"every layer of the model has a sliding window", "mini-8m vt 1024 vertical_slash 0.80 (window of 96"},
                    {"not the requested one", "mini-8m niah 1024 block_sparse 0.50 (0.300 for 0.500)"},
                    {"near zero", "mini-8m cwe 1024 dense (0.000)"},
                    {"cannot be parsed, which score 0", "mini-8m niah 1024 block_sparse 0.80 (25 %)"},
                    {"cut off at the output limit", "mini-8m niah 1024 block_sparse 0.80 (30 %)"},
                    {"reference scorer", "mini-8m vt 1024 snapkv 0.80 (1.00 for"},
                    {"incomplete against dense", "mini-8m vt 1024 snapkv 0.50 (2 of 20 samples missing)"},
                    {"beyond noise", "mini-8m cwe 1024 quest 0.50 (+1.00"}};
    results.record[find_cell("niah", "dense", 0)][3].bos_tokens = 2;
    results.cell[find_cell("vt", "dense", 0)].bos = "<s>";
    results.record[find_cell("vt", "dense", 0)][2].bos_tokens = 0;
    results.record[find_cell("vt", "quest", 0.5)][4].prompt_hash ^= 7;
    sf_record *whole = results.record[find_cell("niah", "vertical_slash", 0.7)];
    whole[0].achieved[SF_PREFILL] = whole[0].achieved[SF_DECODE] = 0;
    whole[0].prediction = "something else";
    int cell = find_cell("niah", "block_sparse", 0.5);
    for (int i = 0; i < N; i++) results.record[cell][i].achieved[SF_PREFILL] = 0.3;
    cell = find_cell("vt", "vertical_slash", 0.8);
    results.cell[cell].sliding_layers = results.cell[cell].layers;
    results.cell[cell].window = 96;
    cell = find_cell("niah", "block_sparse", 0.8);
    for (int i = 0; i < 5; i++) results.record[cell][i].parsed = false;
    for (int i = 0; i < 6; i++) results.record[cell][i].truncated = true;
    cell = find_cell("vt", "snapkv", 0.8);
    for (int i = 0; i < N; i++) results.record[cell][i].reference = 1;
    results.records[find_cell("vt", "snapkv", 0.5)] = N - 2;
    cell = find_cell("cwe", "dense", 0);
    for (int i = 0; i < N; i++) results.record[cell][i].strict = 0;
    cell = find_cell("cwe", "quest", 0.5);
    for (int i = 0; i < N; i++) results.record[cell][i].strict = 1;
    results.problems = 1;
    results.problem = (const char *[]){"a part is damaged"};

    text = warnings_of(&count);
    assert_non_null(strstr(text, "left out: a part is damaged"));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (!strstr(text, expected[i].says)) fail_msg("no warning \"%s\" in:\n%s", expected[i].says, text);
        if (!strstr(text, expected[i].names)) fail_msg("\"%s\" is not named in:\n%s", expected[i].names, text);
    }
    assert_int_equal(count, (int)(sizeof expected / sizeof *expected) + 1);
    free(text);
}

/* One gain of many that are looked at is no finding, whatever its own p says. */
static void test_uncorrected_gain(void **state)
{
    (void)state;
    int count;
    sf_view v;
    struct synthetic s = small;
    s.samples = 20;
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < 20; i++)
            results.record[c][i].strict = results.record[c][i].reference = 0.25 + 0.05 * (i % 5);
    int cell = find_cell("cwe", "quest", 0.5);
    for (int i = 0; i < 7; i++) results.record[cell][i].strict += 0.125;
    OK(sf_view_make(&results, &v));
    OK(sf_view_test(&v));
    assert_true(v.verdict[cell].p < 0.05 && v.verdict[cell].p_holm > 0.05 && v.verdict[cell].difference > 0);
    sf_view_free(&v);
    char *text = warnings_of(&count);
    if (count) fail_msg("warnings: %s", text);
    free(text);
    for (int i = 7; i < 20; i++) results.record[cell][i].strict += 0.125;
    text = warnings_of(&count);
    assert_non_null(strstr(text, "beyond noise")); /* of all twenty: p 2^-19, times 144 */
    free(text);
}

/* ---- Text ---- */

static void test_unparsed_shares(void **state)
{
    (void)state;
    make_results(&small);
    int dense = find_cell("niah", "dense", 0);
    for (int i = 0; i < 3; i++) results.record[dense][i].parsed = false;
    char *text = table_of();
    assert_non_null(strstr(text, "Share of answers that could not be parsed"));
    assert_non_null(strstr(text, "1024  25 %   0 %"));
    free(text);
}

static void test_terminal(void **state)
{
    (void)state;
    make_results(&small);
    char *text = table_of(), wanted[64];
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        size_t n = strcspn(line, "\n");
        if (strncmp(line, "Against", 7) && strncmp(line, "Too few", 7) && n > 130) fail_msg("a line of %zu characters: %.*s", n, (int)n, line);
    }
    int dense = find_cell("niah", "dense", 0), sparse = find_cell("niah", "block_sparse", 0.5);
    double mean[2] = {0};
    for (int i = 0; i < 12; i++)
        mean[0] += results.record[dense][i].strict / 12, mean[1] += results.record[sparse][i].strict / 12;
    snprintf(wanted, sizeof wanted, "1024  %.2f   %.2f", mean[0], mean[1]);
    if (!strstr(text, wanted)) fail_msg("no \"%s\" in:\n%s", wanted, text);
    assert_non_null(strstr(text, "mean of 3"));
    assert_non_null(strstr(text, "Against dense, mean of 3 tasks"));
    assert_null(strstr(text, "could not be parsed"));
    free(text);

    struct synthetic one = {
        .models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 3, .gain = 1}; /* dense alone */
    make_results(&one);
    text = table_of();
    assert_non_null(strstr(text, "Nothing to compare yet"));
    free(text);
    one.samples = 4;
    one.prefill = true;
    make_results(&one);
    text = table_of();
    assert_non_null(strstr(text, "Too few samples to call anything lossless: 4 pairs a mean at most"));
    free(text);
    sf_results nothing = {0};
    FILE *f = open_memstream(&text, &(size_t){0});
    sf_report_table(&nothing, f);
    fclose(f);
    assert_non_null(strstr(text, "No results yet"));
    free(text);
}

static void test_export(void **state)
{
    (void)state;
    make_results(&small);
    results.record[0][0].prediction = "two\nlines, \"quoted\" and \xff";
    results.record[0][0].prompt_hash = 0x8000000000000000u;
    results.record[0][1].prompt_hash = 0;
    results.cell[0].version[SF_DECODE] = "1";
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    OK(sf_export(&results, SF_EXPORT_JSONL, f));
    fclose(f);
    int records = 0;
    for (int c = 0; c < results.cells; c++) records += results.records[c];
    assert_int_equal(lines(text), records);
    char *line = text;
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < results.records[c]; i++) {
            char *end = strchr(line, '\n');
            json_t *row = json_loadb(line, (size_t)(end - line), 0, NULL);
            assert_non_null(row);
            assert_string_equal(json_string_value(json_object_get(row, "cell")), results.cell[c].key);
            assert_int_equal(json_integer_value(json_object_get(row, "sample")), results.record[c][i].sample);
            assert_true(json_real_value(json_object_get(row, "strict")) == results.record[c][i].strict);
            assert_int_equal(json_integer_value(json_object_get(row, "decode_attention_flops")),
                             results.record[c][i].meter.at[SF_DECODE][SF_ATTENTION].flops);
            if (!c && !i) {
                assert_string_equal(json_string_value(json_object_get(row, "prediction")),
                                    "two\nlines, \"quoted\" and ?");
                assert_string_equal(json_string_value(json_object_get(row, "prompt_hash")), "XXH3:8000000000000000");
                assert_string_equal(json_string_value(json_object_get(row, "decode_version")), "v1");
                assert_true(json_is_null(json_object_get(row, "prefill_version")));
            }
            if (!c && i == 1) assert_true(json_is_null(json_object_get(row, "prompt_hash")));
            json_decref(row);
            line = end + 1;
        }
    free(text);
    f = open_memstream(&text, &size);
    OK(sf_export(&results, SF_EXPORT_CSV, f));
    fclose(f);
    assert_int_equal(lines(text), records + 2); /* a header, and one line break within quotes */
    assert_int_equal(strncmp(text, "cell,model,model_hash,task,", 27), 0);
    assert_non_null(strstr(text, ",\"two\nlines, \"\"quoted\"\" and \xff\","));
    assert_non_null(strstr(text, ",XXH3:8000000000000000,") && strstr(text, ",,v1,") ? text : NULL);
    free(text);
}

/* A file of one cell holds one. */
static void test_compare_one(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .samples = 4};
    sf_results other;
    char *text = NULL;
    make_results(&s);
    OK(synthetic_make(&s, &other));
    assert_int_equal(results.cells, 1);
    FILE *f = open_memstream(&text, &(size_t){0});
    OK(sf_compare(&results, &other, f));
    fclose(f);
    const char want[] = "1 cells in both, 0 only in the first, 0 only in the second.\n"
                        "4 of 4 samples score the same; 0 cells changed, the largest mean by 0.000; 0 differ beyond noise "
                        "(paired sign flips, Holm, p < 0.05).\n";
    if (strncmp(text, want, sizeof want - 1) != 0) fail_msg("%s", text);
    free(text);
    sf_results_free(&other);
}

static void second_version(sf_cell_info *c) { c->version[SF_DECODE] = "2"; }

static void test_compare(void **state)
{
    (void)state;
    sf_results other;
    char *text = NULL;
    size_t size;
    make_results(&small);
    OK(synthetic_make(&small, &other));
    FILE *f = open_memstream(&text, &size);
    OK(sf_compare(&results, &other, f));
    fclose(f);
    assert_non_null(strstr(text, "156 cells in both, 0 only in the first, 0 only in the second"));
    assert_non_null(strstr(text, "1872 of 1872 samples score the same; 0 cells changed"));
    free(text);

    int changed = find_cell("vt", "quest", 0.5);
    for (int i = 0; i < 12; i++) other.record[changed][i].strict = results.record[changed][i].strict > 0.5 ? 0 : 1;
    other.cells--;
    other.record[0][0].prompt_hash ^= 1;
    f = open_memstream(&text, &size);
    OK(sf_compare(&results, &other, f));
    fclose(f);
    assert_non_null(strstr(text, "155 cells in both, 1 only in the first"));
    assert_non_null(strstr(text, "1 samples left out: their prompts differ"));
    assert_non_null(strstr(text, "1 cells changed"));
    assert_non_null(strstr(text, "quest 0.50"));
    free(text);
    other.cells++;
    sf_results_free(&other);

    /* A second version of quest stands beside the first: the newer is compared, the older named. */
    OK(synthetic_make(&small, &other));
    make_results(&small);
    for (int c = 0; c < results.cells; c++) results.cell[c].version[SF_DECODE] = other.cell[c].version[SF_DECODE] = "1";
    add_copies(second_version);
    int n = results.cells / 2, of_quest = 0, kept = n;
    for (int c = 0; c < n; c++) {
        if (strcmp(results.cell[c].label[SF_DECODE], "quest")) continue;
        of_quest++;
        results.cell[kept] = results.cell[n + c], results.records[kept] = results.records[n + c];
        results.record[kept++] = results.record[n + c];
    }
    results.cells = kept;
    results.record[n][0].strict = results.record[n][0].strict > 0.5 ? 0 : 1;
    char words[2][128];
    snprintf(words[0], sizeof words[0], "%d cells in both, 0 only in the first, 0 only in the second", n);
    snprintf(words[1], sizeof words[1], "%d cells are not compared, since a newer version of their method stands beside them: quest 1.\n",
             of_quest);
    for (int way = 0; way < 2; way++) {
        f = open_memstream(&text, &size);
        OK(way ? sf_compare(&other, &results, f) : sf_compare(&results, &other, f));
        fclose(f);
        for (int i = 0; i < 2; i++)
            if (!strstr(text, words[i])) fail_msg("no \"%s\" in:\n%s", words[i], text);
        assert_non_null(strstr(text, "1 cells changed"));
        free(text);
    }
    sf_results_free(&other);
}

/* ---- The report as files ---- */

/* The document compiles, whatever the names. */
static void test_paper(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.samples = 4;
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest"))
            results.cell[c].label[SF_DECODE] = "quest(x='$%_&#`)";
    sf_report_options o = {.folder = report_folder(), .figures = "frontier,tasks", .formats = "pdf"};
    OK(sf_report(&results, &o));
    char *tex = slurp("report/paper.tex"), command[512];
    assert_non_null(strstr(tex, "{figures/frontier.pdf}"));
    assert_non_null(strstr(tex, "{figures/tasks.pdf}"));
    assert_non_null(strstr(tex, "\\input{tables/limits}"));
    free(tex);
    if (system("pdflatex -version >/dev/null 2>&1 && kpsewhich booktabs.sty >/dev/null") != 0) {
        printf("skipped: pdflatex with booktabs is not installed (Debian: texlive-latex-recommended)\n");
        skip();
    }
    /* All tables in an article as LaTeX makes it by default, 345 points wide. */
    static const char *const article = "\\documentclass{article}\n\\usepackage{textcomp,booktabs,graphicx}\n\\begin{document}\n"
                                       "\\input{tables/scores}\\input{tables/tasks}\\input{tables/limits}\n"
                                       "\\input{tables/budgets}\\input{tables/leaderboard}\n\\end{document}\n";
    char path[256];
    snprintf(path, sizeof path, "%s/article.tex", report_folder());
    FILE *f = fopen(path, "w");
    fputs(article, f);
    fclose(f);
    static const char *const documents[] = {"paper", "article"};
    for (int d = 0; d < 2; d++) {
        snprintf(command, sizeof command, "cd '%s' && pdflatex -interaction=batchmode -halt-on-error %s.tex >/dev/null 2>&1",
                 report_folder(), documents[d]);
        if (system(command) != 0) fail_msg("%s.tex does not compile: see its log, or run\n%s", documents[d], command);
        snprintf(path, sizeof path, "report/%s.pdf", documents[d]);
        char *pdf = slurp(path);
        assert_int_equal(memcmp(pdf, "%PDF", 4), 0);
        free(pdf);
        snprintf(path, sizeof path, "report/%s.log", documents[d]);
        tex = slurp(path);
        for (const char *line = tex; (line = strstr(line, "Overfull \\hbox (")); line++)
            if (atof(line + 16) > 5) fail_msg("%s: %.80s", documents[d], line);
        assert_null(strstr(tex, "Missing character"));
        free(tex);
    }
}

static void test_patterns(void **state)
{
    (void)state;
    enum { N = SF_PICTURE_SIDE };
    struct synthetic s = {.models = 2, .tasks = 2, .lengths = 2, .levels = 3, .samples = 3, .prefill = true, .decode = true,
                          .maps = true, .gain = 1};
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "patterns,canvas", .formats = "png"};
    OK(sf_report(&results, &o));
    assert_true(there("report/figures/patterns.png") && there("report/figures/canvas.png"));
    char *csv = slurp("report/figures/patterns.csv"), arm[64];
    assert_int_equal(lines(csv), 1 + 2 * N * N + 2 * 10 * N);
    int rows = 0, computed[2] = {0};
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n")); rows++) {
        double key, sparsest = NAN;
        int y, rgb[3], panel, x = rows % N;
        if (sscanf(line, "%lf,%d,%lf,%d,%d,%d,%d,%63s", &key, &y, &sparsest, rgb, rgb + 1, rgb + 2, &panel, arm) != 8)
            assert_int_equal(sscanf(line, "%lf,%d,,%d,%d,%d,%d,%63s", &key, &y, rgb, rgb + 1, rgb + 2, &panel, arm), 7);
        bool decode = panel > 2, future = !decode && x > y;
        int distance = (decode ? N - 1 : y) - x;
        double want = distance < N * 0.2 ? 0.8 : distance < N * 0.3 ? 0.7 : distance < N * 0.5 ? 0.5 : NAN;
        if (future) want = NAN;
        if (!(isnan(want) ? isnan(sparsest) : fabs(want - sparsest) < 1e-6))
            fail_msg("%s, line %d, column %d: computed at %g, expected %g", arm, y, x, sparsest, want);
        assert_true((rgb[0] + rgb[1] + rgb[2] == 765) == (isnan(want) && !future)); /* paper */
        computed[decode] += !isnan(want);
    }
    assert_true(computed[0] > 1000 && computed[1] > 1000);
    free(csv);
    csv = slurp("report/figures/canvas.csv");
    assert_int_equal(lines(csv), 1 + 3 * N * N + 3 * 10 * N);
    int shown = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        double key, mass;
        int y, panel;
        if (sscanf(line, "%lf,%d,%lf,%d", &key, &y, &mass, &panel) != 4) continue;
        shown += panel == 2; /* block_sparse at 0.8, the nearest to 0.9 */
    }
    assert_int_equal(shown, 26 * (26 + 1) / 2 + (N - 26) * 26);
    free(csv);
}

static void test_depth(void **state)
{
    (void)state;
    make_results(&small); /* niah alone has a depth */
    sf_report_options o = {.folder = report_folder(), .figures = "depth", .formats = "png"};
    OK(sf_report(&results, &o));
    char *csv = slurp("report/figures/depth-mini-8m.csv");
    assert_int_equal(lines(csv), 1 + 5 * 2 * 5); /* five arms, two lengths, fifths */
    int rows = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        double depth, value, sum = 0;
        int y, tokens, n, seen = 0;
        char arm[64];
        if (sscanf(line, "%*d,%d,%d,%lf,%lf,%*[^,],%d,%*d,%63s", &y, &tokens, &depth, &value, &n, arm) != 6 ||
            strcmp(arm, "quest") != 0)
            continue;
        int cell = -1;
        for (int c = 0; c < results.cells; c++)
            if (!strcmp(results.cell[c].model, "mini-8m") && !strcmp(results.cell[c].task, "niah") &&
                results.cell[c].length == tokens && !strcmp(results.cell[c].label[SF_DECODE], "quest") &&
                results.cell[c].sparsity[SF_DECODE] == 0.8)
                cell = c;
        for (int i = 0; i < 12; i++)
            if ((int)(results.record[cell][i].depth * 5) == y) sum += results.record[cell][i].strict, seen++;
        assert_int_equal(n, seen);
        near(value, sum / seen, 1e-5, "score at a depth");
        rows++;
    }
    assert_true(rows > 4);
    free(csv);
}

/* Divergence of a method is the mean of its cells' means, in its own phase; it has no bound, and so no interval that holds. */
static void test_divergence_figure(void **state)
{
    (void)state;
    make_results(&small);
    sf_report_options o = {.folder = report_folder(), .figures = "divergence", .formats = "png"};
    OK(sf_report(&results, &o));
    char *csv = slurp("report/figures/divergence.csv");
    int rows = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        char panel[64], arm[64];
        double sparsity, value, sum = 0;
        int cells, samples, seen = 0;
        assert_int_equal(sscanf(line, "%63[^,],%63[^,],%lf,%lf,,,%d,%d", panel, arm, &sparsity, &value, &cells, &samples), 6);
        const bool decode = !strcmp(arm, "quest");
        if ((!decode && strcmp(arm, "vertical_slash") != 0) || strcmp(panel, "mean over tasks") != 0) continue;
        for (int c = 0; c < results.cells; c++) {
            const sf_cell_info *x = &results.cell[c];
            const int p = decode ? SF_DECODE : SF_PREFILL;
            if (strcmp(x->label[p], arm) != 0 || strcmp(x->label[1 - p], "dense") != 0 || fabs(x->sparsity[p] - sparsity) > 0.02) continue;
            double mean = 0;
            for (int i = 0; i < results.records[c]; i++) mean += results.record[c][i].diverged[p].kl / results.records[c];
            sum += mean, seen++;
        }
        assert_int_equal(cells, seen);
        near(value, sum / seen, 1e-4, "divergence");
        rows++;
    }
    assert_true(rows > 4);
    free(csv);

    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < results.records[c]; i++)
            for (int p = 0; p < SF_PHASES; p++) results.record[c][i].diverged[p] = (sf_diverged)SF_NOT_DIVERGED;
    assert_error(sf_report(&results, &o), "needs divergence");
}

static void test_report_files(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.samples = 6;
    s.joint = s.ablation = s.maps = true;
    make_results(&s);
    /* Names that a shell, gnuplot, CSV, HTML or LaTeX could trip over. */
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest(page=64)"))
            results.cell[c].label[SF_DECODE] = "quest(page=64, x='`touch /tmp/no`$%_&<b>\")";
    sf_report_options o = {.folder = report_folder(), .formats = "png"};
    OK(sf_report(&results, &o));
    for (int i = 0; sf_figures[i]; i++) {
        char name[128];
        const char *own = sf_figures[i]->name;
        if (!strcmp(own, "forms")) continue; /* of more arms than there are here */
        if (!strcmp(own, "heads")) own = "heads-mini-8m";
        if (!strcmp(own, "output_error")) own = "output_error-mini-8m";
        if (!strcmp(own, "depth")) own = "depth-mini-8m";
        const char *const endings[] = {"csv", "gp", "png"};
        for (int e = 0; e < 3; e++) {
            snprintf(name, sizeof name, "report/figures/%s.%s", own, endings[e]);
            char *content = slurp(name);
            if (e == 0 && lines(content) < 2) fail_msg("%s has no rows", name);
            if (e == 2) assert_int_equal(memcmp(content, "\x89PNG", 4), 0);
            free(content);
        }
    }
    assert_false(there("report/figures/frontier.pdf"));
    o = (sf_report_options){.folder = report_folder(), .figures = "joint", .formats = "pdf,svg", .style = "slides"};
    OK(sf_report(&results, &o));
    assert_true(there("report/figures/joint.pdf") && there("report/figures/joint.svg"));
    char *csv = slurp("report/figures/frontier.csv");
    assert_int_equal(lines(csv), 1 + 2 * 2 * (1 + 2 * 3) + 2 * 2 * (1 + 3 * 3));
    /* Rows of a panel stand by cost. Costs within 1 % are one cost: no two scores of it are on the frontier. */
    double last_cost = 0, last_score = 0;
    int pairs = 0;
    for (char *line = strchr(csv, '\n') + 1; !strncmp(line, "prefill,1024", 12); line = strchr(line, '\n') + 1) {
        double cost, score;
        char on;
        assert_int_equal(sscanf(line, "prefill,1024,%*[^,],%*[^,],%*[^,],%*[^,],%lf,%lf,%*[^,],%*[^,],%*[^,],%*[^,],%c", &cost,
                                &score, &on),
                         3);
        if (on != '1') continue;
        if (last_cost && cost < 1.005 * last_cost && score != last_score)
            fail_msg("two points at cost %g on the frontier", cost);
        pairs++;
        last_cost = cost, last_score = score;
    }
    assert_true(pairs > 2);
    free(csv);
    const char *const tables[] = {"scores.csv", "scores.tex", "scores.md",  "tasks.csv", "tasks.tex",
                                  "tasks.md",   "limits.csv", "limits.tex", "limits.md",
                                  "budgets.csv", "budgets.tex", "budgets.md", "recall.csv", "recall.tex", "recall.md"};
    for (int i = 0; i < 15; i++) {
        char name[64];
        snprintf(name, sizeof name, "report/tables/%s", tables[i]);
        free(slurp(name));
    }
    char *tex = slurp("report/tables/scores.tex");
    assert_non_null(strstr(tex, "\\$\\%\\_\\&"));
    free(tex);
    char *page = slurp("report/index.html");
    assert_non_null(strstr(page, "data:image/png;base64,iVBORw0KGgo"));
    for (char *at = page; (at = strstr(at, ";base64,")); at++) { /* its data, then its caption */
        size_t data = strspn(at + 8, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
        assert_memory_equal(at + 8 + data, "\"><figcaption>", 14);
    }
    assert_non_null(strstr(page, "&lt;b&gt;"));
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "src=\"figures"));
    assert_null(strstr(page, "src=\"http"));
    assert_null(strstr(page, "href=\"http"));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "@import"));
    assert_non_null(strstr(page, "name: synthetic"));
    free(page);
}

/* The first difference of two texts, or NULL. Numbers may differ by 1 in 100 000, as machines round. */
static const char *first_difference(const char *got, const char *want)
{
    const char *begin = got;
    while (*got && *want) {
        bool number = (isdigit((unsigned char)*got) || *got == '.') && (got == begin || !isalnum((unsigned char)got[-1]));
        char *got_end, *want_end;
        double x = number ? strtod(got, &got_end) : 0, y = number ? strtod(want, &want_end) : 0;
        if (number && got_end > got && want_end > want) {
            if (fabs(x - y) > 1e-5 * fabs(y) + 1e-9) return got;
            got = got_end, want = want_end;
        } else if (*got++ != *want++) {
            return got - 1;
        }
    }
    return *got || *want ? got : NULL;
}

/* A text as it was when somebody last looked at it: tests/golden/report/NAME. */
static void as_before(const char *name, const char *got)
{
    char path[256];
    snprintf(path, sizeof path, "tests/golden/report/%s", name);
    if (getenv("FRONTIER_GOLDEN")) return file_write(path, got, strlen(got));
    char *want = file_read(path, NULL);
    const char *at = first_difference(got, want);
    if (at) {
        while (at > got && at[-1] != '\n') at--;
        fail_msg("%s has another line %d than when it was last looked at: %.*s\nIf that is meant: FRONTIER_GOLDEN=write "
                 "build/tests/test_report, and look at what git diff says", name, 1 + (int)lines(got) - lines(at),
                 (int)strcspn(at, "\n"), at);
    }
    free(want);
}

/* A page's words: what lies in its script and style elements is looked at elsewhere. */
static void drop_scripts(char *page)
{
    static const char *const element[] = {"script", "style"};
    for (int i = 0; i < 2; i++) {
        char begin[16], end[16];
        snprintf(begin, sizeof begin, "<%s", element[i]);
        snprintf(end, sizeof end, "</%s>", element[i]);
        for (char *at = page; (at = strstr(at, begin));) {
            char *from = strchr(at, '>'), *to = strstr(at, end);
            assert_true(from && to);
            memmove(from + 1, to, strlen(to) + 1);
            at = from + 1;
        }
    }
}

/* What a report writes about results that never change: order, numbers, words, and what the figures' templates are told. */
static void whole_as_before(const char *which, const struct synthetic *what, int files, const char *const *file)
{
    make_results(what);
    sf_report_options o = {.folder = report_folder()};
    char name[128];
    setenv("FRONTIER_D3", "tests/synthetic_results.h", 1); /* any text, whether D3 is installed here or not */
    report_undrawn(&o);
    unsetenv("FRONTIER_D3");
    for (int i = 0; i < files; i++) {
        snprintf(name, sizeof name, "report/%s", file[i]);
        char *got = slurp(name), *template = strstr(got, "# Shared by all figures");
        if (template) *template = '\0';
        if (!strcmp(file[i], "index.html")) drop_scripts(got);
        snprintf(name, sizeof name, "%s/%s", which, file[i]);
        for (char *slash = strrchr(name, '/'); slash > strchr(name, '/'); slash = strrchr(name, '/')) *slash = '-';
        as_before(name, got);
        free(got);
    }
    char *got = table_of();
    snprintf(name, sizeof name, "%s/terminal.txt", which);
    as_before(name, got);
    free(got);
}

#define FIGURE(name)  "figures/" name ".csv", "figures/" name ".gp"
#define TABLE(name)   "tables/" name ".csv", "tables/" name ".md"
static void test_several_as_before(void **state)
{
    (void)state;
    static const char *const FILES[] = {
        FIGURE("frontier"), FIGURE("frontier_exact"), FIGURE("isotime"), FIGURE("tasks"), FIGURE("lengths"),
        FIGURE("lengths_absolute"), FIGURE("depth-mini-8m"), FIGURE("models"), FIGURE("ablation"), FIGURE("joint"),
        FIGURE("estimation"), FIGURE("recall"), FIGURE("heads-mini-8m"), FIGURE("cost"), "figures/patterns.gp",
        "figures/canvas.gp", "figures/heads-mini-30m.gp", TABLE("budgets"), TABLE("limits"), TABLE("recall"),
        TABLE("scores"), "tables/budgets.tex", "tables/findings.csv", "tables/fits.csv", "tables/tasks.md", "paper.tex", "index.html"};
    struct synthetic s = small;
    s.samples = 6, s.faults = 0.1;
    s.joint = s.ablation = s.maps = true;
    whole_as_before("several", &s, sizeof FILES / sizeof *FILES, FILES);
}

static void test_few_as_before(void **state)
{
    (void)state;
    static const char *const FILES[] = {
        FIGURE("frontier-1"), FIGURE("frontier-2"), FIGURE("tasks"), FIGURE("lengths"), FIGURE("cost"), FIGURE("estimation"),
        FIGURE("depth"), "figures/heads.gp", "figures/patterns.gp", "figures/recall.gp", TABLE("budgets"), TABLE("scores"), "tables/scores.tex",
        "tables/findings.csv", "paper.tex", "index.html"};
    const struct synthetic s = {.models = 1, .tasks = 4, .lengths = 5, .levels = 2, .samples = 30, .prefill = true,
                                .decode = true, .more = true, .maps = true, .gain = 2.5};
    whole_as_before("few", &s, sizeof FILES / sizeof *FILES, FILES);
}

/* Labels that other programs could take for markup, formulas or commands are text everywhere. */
static void test_hostile_labels(void **state)
{
    (void)state;
    static const char label[] = "=x^2 {v} a\\openout7 ~7B <i>|`b` #$%&_[c](d)";
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 2, .decode = true};
    make_results(&s);
    for (int c = 0; c < results.cells; c++) results.cell[c].model = label;
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "svg"};
    OK(sf_report(&results, &o));
    static const struct {
        const char *file, *holds, *lacks;
    } row[] = {
        {"report/tables/limits.tex",
         "=x\\textasciicircum{}2 \\{v\\} a\\textbackslash{}openout7 \\textasciitilde{}7B \\textless{}i\\textgreater{}"
         "\\textbar{}\\textasciigrave{}b\\textasciigrave{} \\#\\$\\%\\&\\_[c](d)", "a\\openout"},
        {"report/tables/limits.md", "=x^2 {v} a\\\\openout7 \\~7B &lt;i&gt;\\|\\`b\\` \\#\\$%&amp;\\_[c]\\(d)", "<i>"},
        {"report/tables/limits.csv", "\n'=x^2 {v} a\\openout7 ~7B <i>|`b` #$%&_[c](d),", "\n="},
        {"report/figures/tasks.csv", "mean over tasks", "\n="},
        {"report/index.html", "=x^2 {v} a\\openout7 ~7B &lt;i&gt;|`b` #$%&amp;_[c](d)", "<i>"}};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        char *text = slurp(row[k].file);
        if (k != 3 && !strstr(text, row[k].holds)) fail_msg("%s lacks \"%s\":\n%.600s", row[k].file, row[k].holds, text);
        if (strstr(text, row[k].lacks)) fail_msg("%s holds \"%s\"", row[k].file, row[k].lacks);
        free(text);
    }
    static const char *const formula[] = {"=1", "+1", "-1", "@a", "\t1", "\r1"};
    for (int k = 0; k < 6; k++) { /* model output in an export, too */
        results.record[0][0].prediction = formula[k];
        char *text = NULL, want[16];
        FILE *f = open_memstream(&text, &(size_t){0});
        OK(sf_export(&results, SF_EXPORT_CSV, f));
        fclose(f);
        snprintf(want, sizeof want, k == 5 ? ",\"'%s\"," : ",'%s,", formula[k]);
        if (!strstr(text, want)) fail_msg("no %s", want);
        free(text);
    }
}

/* ---- The page's own data ---- */

static json_t *data_of(const char *page)
{
    const char *begin = strstr(page, "id=data>"), *end = begin ? strstr(begin, "</script>") : NULL;
    if (!end) fail_msg("the page holds no data");
    json_error_t error;
    begin += strlen("id=data>");
    json_t *data = json_loadb(begin, (size_t)(end - begin), 0, &error);
    if (!data) fail_msg("the page's data: %s at %d", error.text, error.position);
    return data;
}

/* Reports with a stand-in for D3 that would end its script element; returns the page, and what it holds as data. */
static char *page_with_data(json_t **data)
{
    char d3[128];
    snprintf(d3, sizeof d3, "%s/d3.js", folder);
    FILE *f = fopen(d3, "w");
    fputs("this.d3 = '</script><i>';\n", f);
    fclose(f);
    setenv("FRONTIER_D3", d3, 1);
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    OK(sf_report(&results, &o));
    unsetenv("FRONTIER_D3");
    char *page = slurp("report/index.html");
    *data = data_of(page);
    return page;
}

/* A value of a row of a table {"columns": […], "rows": […]}. */
static const json_t *value_at(const json_t *columns, const json_t *row, const char *name)
{
    for (size_t i = 0; i < json_array_size(columns); i++)
        if (!strcmp(json_string_value(json_array_get(columns, i)), name)) return json_array_get(row, i);
    fail_msg("no column %s", name);
    return NULL;
}

/* Field `column` of line `row` (from 0, the head not counted) of a CSV text without quotes. */
static void csv_at(const char *csv, int row, const char *column, char out[128])
{
    int field = 0;
    const char *at = csv, *end = strchr(csv, '\n');
    for (size_t n = strlen(column); strncmp(at, column, n) != 0 || (at[n] != ',' && at[n] != '\n'); field++) {
        at = strchr(at, ',');
        if (!at++ || at > end) fail_msg("no column %s", column);
    }
    for (at = csv; row-- >= 0;) at = strchr(at, '\n') + 1;
    while (field--) at = strchr(at, ',') + 1;
    snprintf(out, 128, "%.*s", (int)strcspn(at, ",\n"), at);
}

/* The page's number, in the CSV file's six digits. */
static void same_number(const json_t *columns, const json_t *row, const char *name, const char *csv, int line, const char *column)
{
    char text[128], rounded[32];
    const json_t *value = value_at(columns, row, name);
    csv_at(csv, line, column, text);
    snprintf(rounded, sizeof rounded, "%.6g", json_number_value(value));
    if (json_is_null(value) ? *text : atof(rounded) != atof(text))
        fail_msg("%s of line %d: %.9g in the page, %s in the CSV", name, line, json_number_value(value), text);
}

/* The line of a CSV text that begins so. */
static int row_of(const char *csv, const char *begin)
{
    const char *at = csv;
    for (int row = -1; at && *at; row++, at = strchr(at, '\n') + 1)
        if (!strncmp(at, begin, strlen(begin))) return row;
    fail_msg("no line begins with %s", begin);
    return 0;
}

static double csv_number(const char *csv, const char *begin, const char *column)
{
    char text[128];
    csv_at(csv, row_of(csv, begin), column, text);
    return atof(text);
}

/* A figure's bars are the intervals of the tables, of a point and of what it loses; and so they are there where all scores are
 * alike, and where there is one. */
static void test_bars(void **state)
{
    (void)state;
    static const struct {
        const char *figure, *row, *point;
        enum { SCORE, DROP, LOSS } kind;
    } rows[] = {
        {"frontier", "decode,4096,mini-8m,quest,", "mini-8m,4096,quest,", SCORE},
        {"frontier", "prefill,1024,mini-8m,dense,", "mini-8m,1024,dense,", SCORE},
        {"tasks", "niah,dense,", "mini-8m,niah,4096,dense,", SCORE},
        {"lengths_absolute", "quest,4096 tokens,", "mini-8m,4096,quest,", DROP},
        {"lengths", "quest,4096 tokens,", "mini-8m,4096,quest,", LOSS},
    };
    const int sizes[] = {1, 5, 12};
    for (int k = 0; k < 6; k++) {
        const bool alike = k >= 3;
        struct synthetic s = {.models = 1, .tasks = 2, .lengths = 2, .levels = 1, .samples = sizes[k % 3], .decode = true, .gain = 1};
        make_results(&s);
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < s.samples; i++) {
                if (alike) results.record[c][i].strict = 0.75;
                if (results.cell[c].length == 1024 && !strcmp(results.cell[c].task, "niah")) results.cell[c].task_label = "niah_short";
            }
        sf_report_options o = {.folder = report_folder(), .figures = "frontier,tasks,lengths,lengths_absolute", .formats = "svg"};
        report_undrawn(&o);
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            char name[64];
            snprintf(name, sizeof name, "report/figures/%s.csv", rows[r].figure);
            char *figure = slurp(name), *table = slurp(strchr(rows[r].point, ',')[1] == 'n' ? "report/tables/tasks.csv" : "report/tables/scores.csv");
            const double low = csv_number(figure, rows[r].row, "low"), high = csv_number(figure, rows[r].row, "high");
            if (rows[r].kind == SCORE) {
                near(low, csv_number(table, rows[r].point, "low"), 2e-5, "lower end of a score");
                near(high, csv_number(table, rows[r].point, "high"), 2e-5, "upper end of a score");
            } else {
                const double dense = rows[r].kind == LOSS ? csv_number(table, "mini-8m,4096,dense,", "score") : 1;
                near(low, -csv_number(table, rows[r].point, "difference_high") / dense, 2e-5, "lower end of a loss");
                near(high, fmin(1, -csv_number(table, rows[r].point, "difference_low") / dense), 2e-5, "upper end of a loss");
            }
            const double least = 1 - pow(0.025, 1.0 / (2 * s.samples)); /* that so many alike leave open on one side */
            if (!(high - low >= 0.4 * least)) fail_msg("%s: %d samples, from %g to %g", rows[r].figure, s.samples, low, high);
            free(figure), free(table);
        }
    }
}

/* Every number of the page's charts is one of the tables'. */
static void test_page_data(void **state)
{
    (void)state;
    static const char *const both[] = {"samples", "score", "low", "high", "difference", "difference_low", "difference_high"};
    struct synthetic s = small;
    s.maps = s.joint = true;
    make_results(&s);
    results.records[find_cell("vt", "quest", 0.7)] = 0;
    json_t *data;
    char *page = page_with_data(&data), *scores = slurp("report/tables/scores.csv"), *tasks = slurp("report/tables/tasks.csv");
    const json_t *summaries = json_object_get(data, "summaries"), *columns = json_object_get(summaries, "columns");
    const json_t *all = json_object_get(json_array_get(json_object_get(summaries, "groups"), 0), "rows");
    assert_int_equal(json_array_size(all), lines(scores) - 1);
    for (int i = 0; i < lines(scores) - 1; i++)
        for (size_t k = 0; k < sizeof both / sizeof *both; k++)
            same_number(columns, json_array_get(all, (size_t)i), both[k], scores, i, both[k]);
    const json_t *cells = json_object_get(data, "cells"), *rows = json_object_get(cells, "rows");
    columns = json_object_get(cells, "columns");
    assert_int_equal(json_array_size(rows), lines(tasks) - 1);
    for (int i = 0; i < lines(tasks) - 1; i++) {
        const json_t *row = json_array_get(rows, (size_t)i);
        char key[128];
        csv_at(tasks, i, "cell", key);
        assert_string_equal(json_string_value(value_at(columns, row, "key")), key);
        for (size_t k = 0; k < sizeof both / sizeof *both; k++) same_number(columns, row, both[k], tasks, i, both[k]);
        same_number(columns, row, "p", tasks, i, "p_holm");
    }
    assert_non_null(strstr(page, "<\\/script><i>"));
    free(page), free(scores), free(tasks);
    json_decref(data);
}

/* Over a group of tasks: what a report of these tasks alone says. */
static void test_page_groups(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.tasks = 5;
    make_results(&s); /* niah, vt, cwe, story_retrieval, story_multihop: two of high dispersion */
    json_t *data;
    free(page_with_data(&data));
    const json_t *summaries = json_object_get(data, "summaries"), *columns = json_object_get(summaries, "columns");
    const json_t *hops = json_array_get(json_object_get(summaries, "groups"), 2);
    assert_string_equal(json_string_value(json_object_get(hops, "label")), "multi-hop (high dispersion)");
    for (int c = 0; c < results.cells; c++)
        if (!results.cell[c].dispersion) results.records[c] = 0;
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    OK(sf_report(&results, &o));
    char *scores = slurp("report/tables/scores.csv");
    static const char *const same[] = {"tasks", "samples", "score", "low", "high", "difference", "difference_low", "difference_high"};
    for (int i = 0; i < lines(scores) - 1; i++)
        for (size_t k = 0; k < sizeof same / sizeof *same; k++)
            same_number(columns, json_array_get(json_object_get(hops, "rows"), (size_t)i), same[k], scores, i, same[k]);
    free(scores);
    json_decref(data);
}

/* The leaderboard by its rule, from scores.csv: as far up as every tested sparsity loses at most so much. */
static void test_leaderboard(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.samples = 40, s.levels = 5, s.gain = 0.6;
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    OK(sf_report(&results, &o));
    char *scores = slurp("report/tables/scores.csv"), *board = slurp("report/tables/leaderboard.csv");
    int rows = 0, some = 0, sure = 0;
    for (int i = 0; i < lines(board) - 1; i++) {
        char tasks[128], model[128], tokens[128], arm[128], text[128];
        csv_at(board, i, "tasks", tasks), csv_at(board, i, "model", model);
        csv_at(board, i, "tokens", tokens), csv_at(board, i, "arm", arm);
        if (strcmp(tasks, "all tasks") != 0) continue;
        double best = NAN, safe = NAN, loss = NAN, dense = NAN, level = -1;
        bool holds = true, all = true;
        for (;;) { /* the levels of this arm, ascending */
            double next = INFINITY;
            int line = -1;
            for (int k = 0; k < lines(scores) - 1; k++) {
                char m[128], t[128], a[128], l[128];
                csv_at(scores, k, "model", m), csv_at(scores, k, "tokens", t), csv_at(scores, k, "arm", a), csv_at(scores, k, "requested", l);
                if (strcmp(m, model) != 0 || strcmp(t, tokens) != 0) continue;
                if (!strcmp(a, "dense")) csv_at(scores, k, "score", text), dense = atof(text);
                if (!strcmp(a, arm) && atof(l) > level && atof(l) < next) next = atof(l), line = k;
            }
            if (line < 0) break;
            level = next;
            csv_at(scores, line, "difference", text);
            double difference = atof(text);
            csv_at(scores, line, "difference_low", text);
            holds &= -difference <= 0.05 * dense;
            all &= -atof(text) <= 0.05 * dense;
            if (holds) best = level, loss = -difference / dense;
            if (all) safe = level;
        }
        csv_at(board, i, "sparsity", text);
        if (isnan(best) ? *text : fabs(atof(text) - best) > 1e-6) fail_msg("%s %s %s: %s, expected %g", model, tokens, arm, text, best);
        csv_at(board, i, "sure_up_to", text);
        if (isnan(safe) ? *text : fabs(atof(text) - safe) > 1e-6) fail_msg("%s %s %s: sure %s, expected %g", model, tokens, arm, text, safe);
        csv_at(board, i, "loss", text);
        if (!isnan(best)) near(atof(text), loss, 1e-4, "loss");
        rows++, some += !isnan(best), sure += !isnan(safe);
    }
    assert_int_equal(rows, 2 * 2 * 4);
    assert_true(some > 0 && some < rows && sure < some);
    char last[128]; /* a group of one task is there, too: aggregation */
    csv_at(board, lines(board) - 2, "tasks", last);
    assert_string_equal(last, "aggregation (high scope)");
    free(scores), free(board);
}

/* ---- Samples ---- */

static sf_status made_up_prompt(void *user, const sf_cell_info *cell, const sf_record *record, char **prompt)
{
    (void)cell;
    if (record->sample == 1) return sf_fail(SF_BAD_INPUT, "not \"here\"");
    *prompt = strdup(user);
    return *prompt ? SF_OK : SF_NO_MEMORY;
}

/* A piece of the page: in it, or in a file beside it. */
static json_t *piece(const char *name, bool inside)
{
    char path[256], begin[256];
    snprintf(path, sizeof path, inside ? "report/index.html" : "report/samples/%s.js", name);
    snprintf(begin, sizeof begin, inside ? "id=\"%s\">" : "frontier_sample(\"%s\",", name);
    char *text = slurp(path), *at = strstr(text, begin), *end = at ? strstr(at, inside ? "</script>" : ");\n") : NULL;
    if (!end) fail_msg("no %s in %s", name, path);
    at += strlen(begin);
    json_error_t error;
    json_t *value = json_loadb(at, (size_t)(end - at), 0, &error);
    if (!value) fail_msg("%s: %s", name, error.text);
    free(text);
    return value;
}

/* Answers, maps, pictures and prompts come back, from the page and from files beside it. */
static void test_page_samples(void **state)
{
    (void)state;
    static char prompt[3 * 4000 + 1], name[64];
    for (int i = 0; i < 4000; i++) memcpy(prompt + 3 * i, i % 2 ? "\xe2\x82\xac" : "</s", 3); /* cuts fall within characters */
    for (int large = 0; large < 2; large++) {
        struct synthetic s = {.models = 1, .tasks = 2, .lengths = 1, .levels = 2, .samples = 3, .decode = true, .maps = true, .gain = 1};
        make_results(&s);
        char *long_answer = malloc(9 << 20);
        memset(long_answer, 'x', 9 << 20);
        strcpy(long_answer + (9 << 20) - 16, "</script>\n");
        const int cell = find_cell("niah", "quest", 0.7);
        if (large) results.record[cell][2].prediction = long_answer;
        results.record[cell][1].parsed = false, results.record[cell][0].truncated = true;
        results.record[cell][1].prediction = "\xff is no text";
        sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png", .prompt = made_up_prompt, .user = prompt, .prompts = 2};
        setenv("FRONTIER_D3", "tests/synthetic_results.h", 1); /* any text */
        OK(sf_report(&results, &o));
        unsetenv("FRONTIER_D3");
        snprintf(name, sizeof name, "cell-%s", results.cell[cell].key);
        json_t *own = piece(name, !large), *answers = json_object_get(own, "answers");
        assert_int_equal(json_array_size(answers), 3);
        assert_string_equal(json_string_value(json_array_get(answers, 1)), "\xef\xbf\xbd is no text");
        assert_string_equal(json_string_value(json_array_get(answers, 2)), results.record[cell][2].prediction);
        json_t *map = json_object_get(own, "decode_recall"), *row = json_array_get(map, 5);
        assert_int_equal(json_array_size(map), 6);
        near(json_number_value(json_array_get(row, 3)), results.mean[cell].recall[SF_DECODE][5 * 4 + 3], 0.0006, "recall of layer 5, head 3");
        const char *runs = json_string_value(json_object_get(json_object_get(own, "decode_picture"), "runs"));
        const sf_picture *picture = results.record[cell][0].picture[SF_DECODE];
        int at = 0;
        while (*runs) { /* 0, 1 and NAN alone stand in this one */
            const char letter = *runs++;
            const int length = isdigit((unsigned char)*runs) ? (int)strtol(runs, (char **)&runs, 10) : 1;
            for (int end = at + length; at < end; at++) {
                float value = (&picture->at[0][0])[at];
                if (letter != (isnan(value) ? '.' : value > 0.5f ? 'z' : 'A')) fail_msg("picture at %d: %c for %g", at, letter, value);
            }
        }
        assert_int_equal(at, 128 * 128);
        json_decref(own);
        json_t *setting = piece("setting-0-0-0", !large), *prompts = json_object_get(setting, "prompt"), *first = json_array_get(prompts, 0);
        const char *head = json_string_value(json_array_get(first, 0)), *tail = json_string_value(json_array_get(first, 2));
        assert_int_equal(strncmp(prompt, head, strlen(head)), 0);
        assert_int_equal(strcmp(prompt + strlen(prompt) - strlen(tail), tail), 0);
        assert_int_equal((int)strlen(head) + (int)json_integer_value(json_array_get(first, 1)) + (int)strlen(tail), (int)strlen(prompt));
        assert_true(json_is_null(json_array_get(prompts, 1)) && json_is_null(json_array_get(prompts, 2)));
        json_decref(setting);
        free(long_answer);
    }
    char *page = slurp("report/index.html");
    assert_null(strstr(page, "id=\"cell-"));
    json_t *data = data_of(page), *list = json_object_get(data, "samples"), *rows = json_object_get(list, "rows");
    assert_true(json_is_false(json_object_get(list, "inside")));
    const json_t *columns = json_object_get(json_object_get(data, "cells"), "columns"), *cells = json_object_get(json_object_get(data, "cells"), "rows");
    const int c = find_cell("niah", "quest", 0.7);
    size_t at = 0;
    while (strcmp(json_string_value(value_at(columns, json_array_get(cells, at), "key")), results.cell[c].key) != 0) at++;
    const json_t *row = json_array_get(rows, at);
    assert_int_equal(json_integer_value(json_array_get(row, 0)), 3);
    for (int i = 0; i < 3; i++)
        near(json_number_value(json_array_get(json_array_get(row, 1), (size_t)i)), results.record[c][i].strict, 1e-5, "score in the list");
    const char *flags = json_string_value(json_array_get(row, 2)); /* 1: no answer, 2: cut off, 4: not dense's answer */
    assert_true(((flags[0] - '0') & 2) && flags[1] == '0' + 1 + 4 && flags[2] == '0' + 4);
    json_decref(data);
    free(page);
}

/* Labels and bytes that could end the script, or are no text at all, come back as they were. */
static void test_page_data_hostile(void **state)
{
    (void)state;
    static const char label[] = "</script><!--<script>&\"\\'\n\xe2\x80\xa8|\xff|\xed\xa0\x80|\xc0\xaf|\xf4\x90\x80\x80|\xe2\x82";
    static const char back[] = "</script><!--<script>&\"\\'\n\xe2\x80\xa8|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd"
                               "\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd";
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].model, "mini-8m")) results.cell[c].model = label;
    json_t *data;
    char *page = page_with_data(&data);
    const json_t *model = json_array_get(json_object_get(data, "models"), 0);
    assert_string_equal(json_string_value(json_object_get(model, "label")), back);
    assert_null(strstr(page, "<!--"));
    free(page);
    json_decref(data);
    setenv("FRONTIER_D3", "/nowhere/d3.js", 1); /* without D3: no script, and what to install */
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    OK(sf_report(&results, &o));
    unsetenv("FRONTIER_D3");
    page = slurp("report/index.html");
    assert_null(strstr(page, "<script"));
    assert_non_null(strstr(page, "apt-get install libjs-d3"));
    free(page);
}

/* Names that look alike as file names are files of their own. */
static void test_file_labels(void **state)
{
    (void)state;
    static const char *const alike[] = {"a b", "a_b", "a/b", "a  b", "a__b", "a\\b"};
    char name[6][64];
    for (int i = 0; i < 6; i++) {
        sf_file_label(alike[i], name[i]);
        for (const char *at = name[i]; *at; at++) assert_true(isalnum((unsigned char)*at) || strchr("-_.", *at));
        for (int j = 0; j < i; j++) assert_string_not_equal(name[i], name[j]);
    }
    assert_string_equal(name[1], "a_b");
    char longer[2][200], shorter[2][64];
    for (int i = 0; i < 2; i++) {
        memset(longer[i], 'x', sizeof longer[i] - 1);
        longer[i][199] = 0, longer[i][198] = (char)('a' + i);
        sf_file_label(longer[i], shorter[i]);
    }
    assert_string_not_equal(shorter[0], shorter[1]);

    struct synthetic s = small;
    s.tasks = 1, s.lengths = 1, s.levels = 1, s.samples = 2;
    make_results(&s);
    for (int c = 0; c < results.cells; c++) results.cell[c].model = strcmp(results.cell[c].model, "mini-8m") ? "a b" : "a/b";
    sf_report_options o = {.folder = report_folder(), .figures = "depth", .formats = "svg"};
    OK(sf_report(&results, &o));
    char command[256];
    snprintf(command, sizeof command, "test $(ls '%s'/figures/depth-a_b-*.svg | wc -l) = 2", report_folder());
    assert_int_equal(system(command), 0);
}

/* One cell far off its budget, and known recall: a method above the oracle, one below random, the rest between. */
static void test_fidelity(void **state)
{
    (void)state;
    static const struct synthetic one = {
        .models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 3, .prefill = true, .decode = true, .maps = true};
    static float map[32][6 * 4];
    make_results(&one);
    int cells[] = {find_cell("niah", "vertical_slash", 0.5), find_cell("niah", "vertical_slash", 0.7),
                   find_cell("niah", "quest", 0.5), find_cell("niah", "quest", 0.7)};
    for (int c = 0; c < results.cells; c++) {
        sf_cell_info *x = &results.cell[c];
        bool bound = false;
        for (int p = 0; p < SF_PHASES; p++) {
            if (!strcmp(x->method[p], "block_sparse")) /* of a plug-in that this program has not loaded */
                x->method[p] = x->label[p] = "someones_bound", x->kind[p] = "oracle", bound = true;
            if (!strcmp(x->method[p], "snapkv")) x->kind[p] = "random", bound = true;
            for (int h = 0; h < 6 * 4; h++) map[c][h] = bound ? 0.75f : c == cells[1] ? 0.875f : c == cells[3] ? 0.25f : 0.75f;
            if (results.mean[c].recall[p]) results.mean[c].recall[p] = map[c];
        }
        for (int i = 0; i < 3; i++)
            for (int p = 0; p < SF_PHASES; p++) results.record[c][i].achieved[p] = x->sparsity[p];
    }
    results.record[cells[2]][1].achieved[SF_DECODE] = 0.47;

    sf_view v;
    OK(sf_view_make(&results, &v));
    OK(sf_report_fidelity(&v, folder));
    char *md = slurp("budgets.md"), *csv = slurp("budgets.csv");
    assert_non_null(strstr(md, "2 points off (1 of 8)"));
    assert_non_null(strstr(md, "| mini-8m | decode | quest | 1024 | 0.490\\* | 0.700 | -3.0 | 0.5 | 0.470 | 0.500 |\n"));
    assert_non_null(strstr(csv, "mini-8m,decode,quest,1024,0.5,3,0.49,0.47,0.5,-0.03"));
    assert_int_equal(lines(csv), 1 + 8);
    free(md), free(csv);
    md = slurp("recall.md"), csv = slurp("recall.csv");
    assert_non_null(strstr(md, "(1 of 4); -: below every random choice (1)"));
    assert_non_null(strstr(md, "| prefill | vertical\\_slash | 1024 | 0.750 | 0.875+ |\n"));
    assert_non_null(strstr(md, "| prefill | someones\\_bound = oracle | 1024 | 0.750 | 0.750 |\n"));
    assert_non_null(strstr(md, "| decode | quest | 1024 | 0.750 | 0.250- |\n"));
    assert_int_equal(lines(csv), 1 + 8);
    free(md), free(csv);
    sf_view_free(&v);
}

/* Whatever is there, a page comes of it. */
static void test_partial_results(void **state)
{
    (void)state;
    const struct synthetic odd[] = {
        {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 1, .gain = 1}, /* one dense sample */
        {.models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 4, .prefill = true, .gain = 1}, /* one phase */
        {.models = 1,
         .tasks = 2,
         .lengths = 2,
         .levels = 1,
         .samples = 3,
         .decode = true,
         .gain = 1,
         .faults = 1}}; /* all wrong */
    for (int i = 0; i < 3; i++) {
        make_results(&odd[i]);
        sf_report_options o = {.folder = report_folder(), .formats = "png", .figures = i ? "frontier,tasks" : "frontier"};
        OK(sf_report(&results, &o));
        char *page = slurp("report/index.html");
        assert_non_null(strstr(page, "Scores"));
        free(page);
    }
    /* Half of the cells are missing, at random: no dense for some, gaps in curves. */
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        if ((c * 7919) % 5 < 2) results.records[c] = 0;
    sf_report_options o = {.folder = report_folder(), .formats = "png", .figures = "frontier,tasks,lengths,models"};
    OK(sf_report(&results, &o));
}

static void test_report_errors(void **state)
{
    (void)state;
    const struct synthetic s = {
        .models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 4, .prefill = true, .gain = 1};
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "frontier,fronteer"};
    assert_error(sf_report(&results, &o), "there is no figure 'fronteer'; there are patterns, frontier");
    o = (sf_report_options){.folder = report_folder(), .formats = "gif"};
    assert_error(sf_report(&results, &o), "there is no format 'gif'; there are png, pdf, svg");
    o = (sf_report_options){.folder = report_folder(), .style = "poster"};
    assert_error(sf_report(&results, &o), "there is no style 'poster'");
    char path[128];
    snprintf(path, sizeof path, "%s/a-file", folder);
    fclose(fopen(path, "w"));
    o = (sf_report_options){.folder = path};
    assert_error(sf_report(&results, &o), "Not a directory");
    sf_results nothing = {0};
    o = (sf_report_options){.folder = report_folder()};
    assert_error(sf_report(&nothing, &o), "no results to report");

    char *search = strdup(getenv("PATH")); /* without gnuplot: an error that says so, and everything but pictures */
    setenv("PATH", "/nowhere", 1);
    o = (sf_report_options){.folder = report_folder(), .figures = "frontier"};
    assert_error(sf_report(&results, &o), "gnuplot is not installed");
    setenv("PATH", search, 1);
    free(search);
    assert_true(there("report/figures/frontier.csv") && there("report/tables/scores.csv") &&
                there("report/index.html"));
    assert_false(there("report/figures/frontier.png"));
    char *page = slurp("report/index.html");
    assert_non_null(strstr(page, "gnuplot is not installed"));
    free(page);
    setenv("FRONTIER_DATA", folder, 1); /* templates of one's own, which gnuplot does not understand */
    char command[256];
    snprintf(command, sizeof command, "cp -r plots '%s' && echo 'plot nonsense(' >> '%s/plots/frontier.gp'", folder, folder);
    assert_int_equal(system(command), 0);
    assert_error(sf_report(&results, &o), "gnuplot failed on");
    unsetenv("FRONTIER_DATA");

    /* A figure that was asked for, and cannot be: the others are made, and it is said. */
    o = (sf_report_options){.folder = report_folder(), .figures = "tasks,recall,lengths", .formats = "png"};
    assert_error(sf_report(&results, &o), "recall needs attention-mass recall (config: recall)");
    assert_error(sf_report(&results, &o), "lengths needs two lengths and a sparse method");
    assert_true(there("report/figures/tasks.png"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, clear_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_from_a_file),
        TEST(test_points),
        TEST(test_costs_at_batch),
        TEST(test_verdicts),
        TEST(test_intervals),
        TEST(test_nothing_planted),
        TEST(test_pareto_probability),
        TEST(test_versions),
        TEST(test_no_loss_without_power),
        TEST(test_large_loss_few_samples),
        TEST(test_findings_need_samples),
        TEST(test_settings),
        TEST(test_seeds_are_pooled),
        TEST(test_huge_sample_numbers),
        TEST(test_pairs_have_one_prompt),
        TEST(test_explicit_parameters),
        TEST(test_tics),
        TEST(test_curves_axes),
        TEST(test_heads_tics),
        TEST(test_findings),
        TEST(test_same_name_in_both_phases),
        TEST(test_gates),
        TEST(test_uncorrected_gain),
        TEST(test_same_cost),
        TEST(test_terminal),
        TEST(test_unparsed_shares),
        TEST(test_export),
        TEST(test_compare),
        TEST(test_compare_one),
        TEST(test_report_files),
        TEST(test_several_as_before),
        TEST(test_few_as_before),
        TEST(test_hostile_labels),
        TEST(test_page_data),
        TEST(test_page_groups),
        TEST(test_leaderboard),
        TEST(test_page_samples),
        TEST(test_page_data_hostile),
        TEST(test_file_labels),
        TEST(test_fidelity),
        TEST(test_paper),
        TEST(test_patterns),
        TEST(test_depth),
        TEST(test_divergence_figure),
        TEST(test_bars),
        TEST(test_partial_results),
        TEST(test_report_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
