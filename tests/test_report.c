/* The report on results with known truth: numbers, settings, findings, warnings, what is printed and exported, comparison. */
#include "harness/report/findings.h"
#include "harness/report/limits.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"
#include "harness/report/settings.h"
#include "harness/report/stats.h"
#include "tests/report_world.h"

#include <jansson.h>
#include <omp.h>

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
    report_undrawn(&o);
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

/* The example of a finding at equal cost is of a place where the smaller model leaves something to win, if there is one. */
static void test_example_can_be_won(void **state)
{
    (void)state;
    struct synthetic s = {.models = 2, .tasks = 2, .lengths = 2, .levels = 2, .samples = 20, .prefill = true};
    for (int everywhere = 0; everywhere < 2; everywhere++) {
        sf_view v;
        sf_findings f;
        int longest = 0, shortest = 1 << 30;
        char says[64];
        make_results(&s);
        for (int c = 0; c < results.cells; c++) {
            if (results.cell[c].length > longest) longest = results.cell[c].length;
            if (results.cell[c].length < shortest) shortest = results.cell[c].length;
        }
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < results.records[c]; i++) {
                const sf_cell_info *x = &results.cell[c];
                results.record[c][i].cost_paper[SF_PREFILL] = 1000;
                if (!strcmp(x->model, "mini-8m") && (everywhere || x->length == longest)) results.record[c][i].strict = 1;
            }
        OK(sf_view_make(&results, &v));
        OK(sf_view_bootstrap(&v, 200, 1));
        OK(sf_find(&v, &f));
        snprintf(says, sizeof says, "For example: %d tokens", everywhere ? longest : shortest);
        assert_int_equal(finding(&f, "isoCost", "At equal prefill cost", says)->ceiling, everywhere);
        sf_findings_free(&f);
        sf_view_free(&v);
    }
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
        report_undrawn(&o);
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
                    {"not the requested one", "mini-8m niah 1024 block_sparse 0.50 (computes 0.700 of the pairs where 0.5 was asked for)"},
                    {"near zero", "mini-8m cwe 1024 dense (0.000)"},
                    {"cannot be parsed, which score 0", "mini-8m niah 1024 block_sparse 0.80 (25 %)"},
                    {"read some, and the expected ones", "mini-8m vt 1024 block_sparse 0.80 (35 %)"},
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
    cell = find_cell("vt", "block_sparse", 0.8);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].task, "vt")) results.cell[c].task_params = "{\"params\":{},\"answer\":\"direct\"}";
    for (int i = 0; i < 7; i++) results.record[cell][i].parsed = false;
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

/* Dense with a rounded cache is no dense cell: it may answer otherwise and score near zero, and says nothing of methods, kernels or tasks
 * by that; what lacks of it is told as of a method's. */
static void test_gates_of_rounded_caches(void **state)
{
    (void)state;
    int count;
    make_results(&small);
    for (int c = 0; c < results.cells; c++) { /* snapkv at 0.5 becomes dense under a format, quest at 0.5 one that left nothing out */
        sf_cell_info *o = &results.cell[c];
        const bool dense = !strcmp(o->label[SF_DECODE], "snapkv"), whole = !strcmp(o->label[SF_DECODE], "quest");
        if (o->sparsity[SF_DECODE] != 0.5 || (!dense && !whole)) continue;
        o->cache = "simulated_int4";
        if (dense) o->method[SF_DECODE] = o->label[SF_DECODE] = "dense";
        if (dense) o->sparsity[SF_DECODE] = 0;
        for (int i = 0; i < results.records[c]; i++) {
            sf_record *x = &results.record[c][i];
            x->achieved[SF_PREFILL] = 0, x->prediction = "something else";
            if (dense) x->achieved[SF_DECODE] = 0, x->strict = x->reference = 0;
            if (whole && i == 0) x->achieved[SF_DECODE] = 0;
        }
        if (dense && !strcmp(o->model, "mini-8m") && !strcmp(o->task, "vt") && o->length == 1024) results.records[c] -= 2;
    }
    char *text = warnings_of(&count);
    assert_null(strstr(text, "the answer is not dense's"));
    assert_null(strstr(text, "near zero"));
    if (!strstr(text, "mini-8m vt 1024 dense, simulated int4 cache 0.00 (2 of 12 samples missing)") || count != 1)
        fail_msg("not what lacks alone: %s", text);
    free(text);
}

/* Where the smaller model has next to nothing wrong, no larger one can be seen to beat it: said of the smaller alone, and samples are
 * not advised for what takes a harder task. */
static void test_nothing_to_win(void **state)
{
    (void)state;
    static const struct {
        int models;
        double score;
        bool warns;
    } rows[] = {{2, 1, true}, {2, 0.96, true}, {2, 0.94, false}, {1, 1, false}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct synthetic s = small;
        s.models = rows[k].models;
        make_results(&s);
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < results.records[c]; i++) results.record[c][i].strict = rows[k].score;
        int count;
        char *text = warnings_of(&count);
        if (rows[k].warns != (strstr(text, "the dense score of a smaller model is near 1") && strstr(text, "mini-8m niah 1024 dense (") &&
                              strstr(text, "(6 of "))) /* three tasks at two lengths */
            fail_msg("%d models at %g: %s", rows[k].models, rows[k].score, text);
        if (strstr(text, "mini-30m")) fail_msg("of the largest model, too: %s", text);
        free(text);
        sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "svg"};
        report_undrawn(&o);
        char *page = slurp("report/index.html");
        const char *advice = strstr(page, "which takes a harder task"), *question = strstr(page, "Which method loses least?");
        assert_non_null(question);
        if (!advice != !rows[k].warns) fail_msg("%d models at %g: advice of a harder task is%s there", rows[k].models, rows[k].score, advice ? "" : " not");
        if (advice && strstr(page, "Nothing differs here so far") < question) fail_msg("samples are advised where they cannot help");
        free(page);
    }
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

/* Samples of a cell are taken away wherever `lost` says so. */
static void lose(bool (*lost)(const sf_cell_info *cell))
{
    for (int c = 0; c < results.cells; c++)
        if (lost(&results.cell[c])) results.records[c] = 0;
}

static bool is_joint(const sf_cell_info *x) { return strcmp(x->label[SF_PREFILL], "dense") && strcmp(x->label[SF_DECODE], "dense"); }
static bool is_sparsest_pair(const sf_cell_info *x) { return is_joint(x) && x->sparsity[SF_PREFILL] == 0.8 && x->sparsity[SF_DECODE] == 0.8; }
static bool is_first_of_shortest(const sf_cell_info *x)
{
    return !strcmp(x->label[SF_DECODE], "quest") && !is_joint(x) && x->sparsity[SF_DECODE] == 0.5 && x->length == 1024;
}

/* Joint arms are shown as long as they are eight columns; a column that the first length lacks stands at its place. */
static void test_terminal_columns(void **state)
{
    (void)state;
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 2, .levels = 3, .samples = 2, .prefill = true, .decode = true, .joint = true};
    for (int shown = 0; shown < 2; shown++) {
        make_results(&s);
        lose(is_first_of_shortest);
        if (shown) lose(is_sparsest_pair); /* eight of nine are left */
        char *text = table_of();
        if ((strstr(text, "vertical_slash + quest") != NULL) != shown) fail_msg("%d columns of a joint arm:\n%s", 9 - shown, text);
        /* The heads of the first block: three levels of each of three arms. */
        static const char heads[] = "0.50   0.70   0.80   0.50   0.70   0.80   0.50   0.70   0.80";
        if (!strstr(text, heads)) fail_msg("columns are out of order:\n%s", text);
        free(text);
    }
}

/* Rankings are held against each other where there are two or more. */
static void test_rankings(void **state)
{
    (void)state;
    for (int lengths = 1; lengths <= 2; lengths++) {
        const struct synthetic s = {.models = 1, .tasks = 1, .lengths = lengths, .levels = 2, .samples = 8, .decode = true, .more = true, .gain = 1};
        sf_view v;
        sf_findings f;
        int said = 0;
        make_results(&s);
        OK(sf_view_make(&results, &v));
        OK(sf_view_bootstrap(&v, 200, 1));
        OK(sf_find(&v, &f));
        assert_non_null(finding(&f, "method", "loses least among 4 decode methods", "difference"));
        for (int i = 0; i < f.count; i++) said += strstr(f.at[i].text, "Kendall") != NULL;
        assert_int_equal(said > 0, lengths == 2);
        sf_findings_free(&f);
        sf_view_free(&v);
    }
}

/* A limit is of the view's points, and of no other. */
static void test_limit_of_points(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 100, .decode = true};
    sf_view v;
    sf_limit limit;
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < 100; i++) results.record[c][i].strict = results.cell[c].sparsity[SF_DECODE] == 0.7 ? 0.25 : 1;
    OK(sf_view_make(&results, &v));
    OK(sf_view_bootstrap(&v, 1000, 1));
    const int last = v.point[v.points - 1].arm;
    assert_true(sf_view_limit(&v, 0, -1, 0, last, &limit));
    assert_true(limit.safe == 0.5 && limit.shown == 0.7);
    v.points--;
    assert_true(sf_view_limit(&v, 0, -1, 0, last, &limit));
    assert_true(limit.safe == 0.5 && limit.shown == -1);
    v.points++;
    sf_view_free(&v);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_from_a_file),
        REPORT_TEST(test_points),
        REPORT_TEST(test_costs_at_batch),
        REPORT_TEST(test_verdicts),
        REPORT_TEST(test_intervals),
        REPORT_TEST(test_no_loss_without_power),
        REPORT_TEST(test_large_loss_few_samples),
        REPORT_TEST(test_findings_need_samples),
        REPORT_TEST(test_nothing_planted),
        REPORT_TEST(test_pareto_probability),
        REPORT_TEST(test_versions),
        REPORT_TEST(test_explicit_parameters),
        REPORT_TEST(test_settings),
        REPORT_TEST(test_seeds_are_pooled),
        REPORT_TEST(test_huge_sample_numbers),
        REPORT_TEST(test_pairs_have_one_prompt),
        REPORT_TEST(test_findings),
        REPORT_TEST(test_example_can_be_won),
        REPORT_TEST(test_same_cost),
        REPORT_TEST(test_same_name_in_both_phases),
        REPORT_TEST(test_gates),
        REPORT_TEST(test_gates_of_rounded_caches),
        REPORT_TEST(test_nothing_to_win),
        REPORT_TEST(test_uncorrected_gain),
        REPORT_TEST(test_unparsed_shares),
        REPORT_TEST(test_terminal),
        REPORT_TEST(test_terminal_columns),
        REPORT_TEST(test_rankings),
        REPORT_TEST(test_limit_of_points),
        REPORT_TEST(test_export),
        REPORT_TEST(test_compare_one),
        REPORT_TEST(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
