#include "harness/report/resample.h"
#include "harness/report/points.h"
#include "harness/report/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory for the report's statistics"); }

/* ---- Tests ---- */

enum { FLIPS = 50000 /* resamples of a test: cheap, and Holm multiplies what they cannot resolve */ };

bool sf_verdict_loss(const sf_verdict *x) { return x->tasks && x->difference < 0 && x->p_holm <= 0.05; }

sf_status sf_view_test(sf_view *v)
{
    const sf_results *r = v->results;
    double *p = malloc(((size_t)r->cells + 1) * 2 * sizeof *p);
    if (!p) return no_memory();
    sf_status bad = SF_OK;
#pragma omp parallel for schedule(dynamic, 16)
    for (int c = 0; c < r->cells; c++) {
        sf_verdict *x = &v->verdict[c];
        *x = (sf_verdict){.difference = NAN, .low = NAN, .high = NAN, .p = NAN, .p_holm = NAN};
        int dense = sf_cell_dense(v, c);
        double *difference = dense >= 0 ? malloc(((size_t)r->records[c] + 1) * sizeof *difference) : NULL;
        int pairs = difference ? sf_cell_differences(r, c, dense, difference) : 0;
        if (pairs) {
            double error;
            x->tasks = 1;
            x->samples = pairs;
            sf_mean_error(pairs, difference, &x->difference, &error);
            sf_status mine = sf_sign_flip_test(pairs, difference, FLIPS, (uint64_t)c, &x->p);
            if (mine != SF_OK) {
#pragma omp atomic write
                bad = mine;
            }
        }
        free(difference);
        p[c] = x->p;
    }
    sf_status status = bad == SF_OK ? sf_holm(r->cells, p, p + r->cells) : no_memory();
    for (int c = 0; c < r->cells && status == SF_OK; c++) v->verdict[c].p_holm = p[r->cells + c];
    free(p);
    return status;
}

/* ---- Resampling ---- */

/* Cells that share their samples: of one model, task and length. */
struct group {
    int cells, *cell;
};

static sf_status resample_group(sf_view *v, const struct group *g, uint64_t seed)
{
    const sf_results *r = v->results;
    const int cells = g->cells;
    int highest = -1, n = 0;
    for (int c = 0; c < cells; c++)
        for (int i = 0; i < r->records[g->cell[c]]; i++)
            if (r->record[g->cell[c]][i].sample > highest) highest = r->record[g->cell[c]][i].sample;
    /* row of each sample that any cell has */
    int *row = malloc(((size_t)highest + 2) * sizeof *row);
    if (!row) return no_memory();
    memset(row, -1, ((size_t)highest + 2) * sizeof *row);
    for (int c = 0; c < cells; c++)
        for (int i = 0; i < r->records[g->cell[c]]; i++) row[r->record[g->cell[c]][i].sample] = 0;
    for (int s = 0; s <= highest; s++)
        if (row[s] == 0) row[s] = n++;
    /* [samples, cells]: a draw goes through all cells at once */
    float *weight = malloc(((size_t)n + 1) * sizeof *weight), *score = calloc((size_t)cells * n + 1, sizeof *score);
    float *there = calloc((size_t)cells * n + 1, sizeof *there), *sum = malloc(2 * (size_t)cells * sizeof *sum);
    sf_status status = weight && score && there && sum ? SF_OK : no_memory();
    bool whole = true;
    for (int c = 0; c < cells && status == SF_OK; c++) {
        whole &= r->records[g->cell[c]] == n;
        for (int i = 0; i < r->records[g->cell[c]]; i++) {
            const sf_record *x = &r->record[g->cell[c]][i];
            score[(size_t)row[x->sample] * cells + c] = (float)x->strict;
            there[(size_t)row[x->sample] * cells + c] = 1;
        }
    }
    const sf_cell_info *first = &r->cell[g->cell[0]];
    char name[1100];
    snprintf(name, sizeof name, "%.500s|%.500s|%d", first->model, first->task_label, first->length);
    seed = sf_seed_of(seed, name);
    for (int b = 0; b < v->resamples && status == SF_OK; b++) {
        float *restrict total = sum + cells, *restrict scores = sum;
        for (int c = 0; c < cells; c++) scores[c] = 0, total[c] = whole ? (float)n : 0;
        sf_resample(seed, b, n, weight);
        for (int i = 0; i < n; i++) {
            const float w = weight[i], *x = score + (size_t)i * cells, *has = there + (size_t)i * cells;
            if (w == 0) continue;
#pragma omp simd
            for (int c = 0; c < cells; c++) scores[c] += w * x[c];
            if (whole) continue;
#pragma omp simd
            for (int c = 0; c < cells; c++) total[c] += w * has[c];
        }
        for (int c = 0; c < cells;
             c++) /* a draw without any sample of a partial cell says nothing: its mean stands in */
            v->replicate[(size_t)g->cell[c] * v->resamples + b] =
                total[c] > 0 ? scores[c] / total[c] : (float)v->mean[g->cell[c]];
    }
    free(row);
    free(weight);
    free(score);
    free(there);
    free(sum);
    return status;
}

static int by_group(const void *a, const void *b, void *results)
{
    const sf_results *r = results;
    const sf_cell_info *x = &r->cell[*(const int *)a], *y = &r->cell[*(const int *)b];
    int o = strcmp(x->model_hash, y->model_hash);
    if (!o) o = strcmp(x->model, y->model);
    if (!o) o = strcmp(x->task_label, y->task_label);
    if (!o) o = strcmp(x->task_params, y->task_params);
    if (!o) o = x->length - y->length;
    if (!o) o = (x->seed > y->seed) - (x->seed < y->seed);
    return o;
}

/* Replicates are made of single-precision means: those that should equal the estimate are set to it, as ties count. */
static void snap(int n, double *replicate, double estimate)
{
    for (int b = 0; b < n; b++)
        if (fabs(replicate[b] - estimate) < 1e-6) replicate[b] = estimate;
}

/* Interval and test of a point: its score, and its difference to dense over the tasks that both have. */
static sf_status judge(const sf_view *v, sf_point *point, uint64_t seed)
{
    const sf_results *r = v->results;
    const sf_point *dense = sf_view_dense(v, point);
    int B = v->resamples, n = 0, common = 0;
    double *replicate = malloc((size_t)B * sizeof *replicate);
    double *influence = malloc(((size_t)point->samples + 1) * sizeof *influence);
    sf_status status = replicate && influence ? SF_OK : no_memory();
    if (status != SF_OK) goto done;

    for (int b = 0; b < B; b++) replicate[b] = 0;
    for (int t = 0; t < v->tasks; t++) {
        int c = point->cell[t];
        if (c < 0) continue;
        for (int i = 0; i < r->records[c]; i++)
            influence[n++] = (r->record[c][i].strict - v->mean[c]) / (point->tasks * (double)r->records[c]);
        for (int b = 0; b < B; b++) replicate[b] += v->replicate[(size_t)c * B + b] / point->tasks;
    }
    snap(B, replicate, point->score);
    sf_interval_bca(B, replicate, point->score, n, influence, 0.95, &point->low, &point->high);

    if (!dense || dense == point) goto done;
    for (int t = 0; t < v->tasks; t++) common += point->cell[t] >= 0 && dense->cell[t] >= 0;
    double difference = 0;
    n = 0;
    for (int b = 0; b < B; b++) replicate[b] = 0;
    for (int t = 0; t < v->tasks; t++) {
        int c = point->cell[t], d = dense->cell[t];
        if (c < 0 || d < 0) continue;
        int pairs = sf_cell_differences(r, c, d, influence + n);
        if (!pairs) {
            common--;
            continue;
        }
        n += pairs;
    }
    /* second walk: the number of tasks is known now */
    double *test = malloc(((size_t)n + 1) * sizeof *test);
    if (!test) {
        status = no_memory();
        goto done;
    }
    n = 0;
    for (int t = 0; t < v->tasks && common; t++) {
        int c = point->cell[t], d = dense->cell[t];
        if (c < 0 || d < 0) continue;
        int pairs = sf_cell_differences(r, c, d, influence + n);
        if (!pairs) continue;
        double average = 0;
        for (int i = 0; i < pairs; i++) average += influence[n + i] / pairs;
        difference += average / common;
        for (int i = 0; i < pairs; i++) {
            test[n + i] = influence[n + i] / (common * (double)pairs);
            influence[n + i] = (influence[n + i] - average) / (common * (double)pairs);
        }
        for (int b = 0; b < B; b++)
            replicate[b] += ((double)v->replicate[(size_t)c * B + b] - v->replicate[(size_t)d * B + b]) / common;
        n += pairs;
    }
    if (common) {
        sf_verdict *verdict = &point->verdict;
        *verdict = (sf_verdict){.tasks = common, .samples = n, .difference = difference, .p_holm = NAN};
        snap(B, replicate, difference);
        sf_interval_bca(B, replicate, difference, n, influence, 0.95, &verdict->low, &verdict->high);
        status = sf_sign_flip_test(n, test, FLIPS, seed, &verdict->p);
    }
    free(test);
done:
    free(replicate);
    free(influence);
    return status;
}

void sf_cell_interval(const sf_view *v, int cell, double *low, double *high)
{
    int n = v->results->records[cell], B = v->resamples;
    double *replicate = malloc(((size_t)B + (size_t)n) * sizeof *replicate), *influence = replicate ? replicate + B : NULL;
    *low = *high = NAN;
    if (replicate && v->replicate && n > 1) {
        for (int b = 0; b < B; b++) replicate[b] = v->replicate[(size_t)cell * B + b];
        for (int i = 0; i < n; i++) influence[i] = (v->results->record[cell][i].strict - v->mean[cell]) / n;
        snap(B, replicate, v->mean[cell]);
        sf_interval_bca(B, replicate, v->mean[cell], n, influence, 0.95, low, high);
    }
    free(replicate);
}

/* Interval of a cell's difference to dense. */
static sf_status judge_cell(const sf_view *v, int cell)
{
    sf_verdict *x = &v->verdict[cell];
    int dense = sf_cell_dense(v, cell), B = v->resamples;
    if (!x->tasks) return SF_OK;
    double *replicate = malloc((size_t)B * sizeof *replicate),
           *influence = malloc(((size_t)x->samples + 1) * sizeof *influence);
    sf_status status = replicate && influence ? SF_OK : no_memory();
    if (status == SF_OK) {
        int n = sf_cell_differences(v->results, cell, dense, influence);
        for (int i = 0; i < n; i++) influence[i] = (influence[i] - x->difference) / n;
        for (int b = 0; b < B; b++)
            replicate[b] = (double)v->replicate[(size_t)cell * B + b] - v->replicate[(size_t)dense * B + b];
        snap(B, replicate, x->difference);
        sf_interval_bca(B, replicate, x->difference, n, influence, 0.95, &x->low, &x->high);
    }
    free(replicate);
    free(influence);
    return status;
}

sf_status sf_view_bootstrap(sf_view *v, int resamples, uint64_t seed)
{
    const sf_results *r = v->results;
    int *order = malloc(((size_t)r->cells + 1) * sizeof *order), groups = 0, n = 0;
    struct group *group = malloc(((size_t)r->cells + 1) * sizeof *group);
    double *p = malloc(((size_t)v->points + 1) * 2 * sizeof *p);
    v->resamples = resamples;
    v->replicate = malloc(((size_t)r->cells * resamples + 1) * sizeof *v->replicate);
    sf_status status = order && group && p && v->replicate ? sf_view_test(v) : no_memory();
    if (status != SF_OK) goto done;
    for (int c = 0; c < r->cells; c++)
        if (r->records[c]) order[n++] = c;
    qsort_r(order, (size_t)n, sizeof *order, by_group, (void *)r);
    for (int i = 0; i < n; i++) {
        if (!i || by_group(&order[i - 1], &order[i], (void *)r) != 0)
            group[groups++] = (struct group){.cell = order + i};
        group[groups - 1].cells++;
    }
    /* Each group and each point is computed alone, from seeds of its own: the thread count changes nothing. */
    sf_status bad = SF_OK;
#pragma omp parallel for schedule(dynamic)
    for (int g = 0; g < groups; g++) {
        sf_status mine = resample_group(v, &group[g], seed);
        if (mine != SF_OK) {
#pragma omp atomic write
            bad = mine;
        }
    }
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < v->points; i++) {
        sf_status mine = bad == SF_OK ? judge(v, &v->point[i], seed + (uint64_t)i + 1) : SF_OK;
        if (mine != SF_OK) {
#pragma omp atomic write
            bad = mine;
        }
    }
#pragma omp parallel for schedule(dynamic, 16)
    for (int c = 0; c < r->cells; c++) {
        sf_status mine = bad == SF_OK ? judge_cell(v, c) : SF_OK;
        if (mine != SF_OK) {
#pragma omp atomic write
            bad = mine;
        }
    }
    if (bad != SF_OK) {
        status = no_memory();
        goto done;
    }
    for (int i = 0; i < v->points; i++) p[i] = v->point[i].verdict.p;
    status = sf_holm(v->points, p, p + v->points);
    for (int i = 0; i < v->points && status == SF_OK; i++) v->point[i].verdict.p_holm = p[v->points + i];
done:
    free(order);
    free(group);
    free(p);
    return status;
}
