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
        *x = (sf_verdict){.dense = NAN, .difference = NAN, .low = NAN, .high = NAN, .p = NAN, .p_holm = NAN};
        int dense = sf_cell_dense(v, c);
        double *difference = dense >= 0 ? malloc(((size_t)r->records[c] + 1) * sizeof *difference) : NULL;
        int pairs = difference ? sf_cell_differences(r, c, dense, difference) : 0;
        if (pairs) {
            double error;
            x->tasks = 1;
            x->samples = pairs;
            x->dense = v->mean[dense];
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

static int ascending(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* The samples that any cell of a group has, each once: a sample's row is its place there, whatever its number. */
static int *find_samples(const sf_results *r, const struct group *g, int *count)
{
    size_t n = 0, kept = 0;
    for (int c = 0; c < g->cells; c++) n += (size_t)r->records[g->cell[c]];
    int *sample = malloc((n + 1) * sizeof *sample);
    if (!sample) return NULL;
    n = 0;
    for (int c = 0; c < g->cells; c++)
        for (int i = 0; i < r->records[g->cell[c]]; i++) sample[n++] = r->record[g->cell[c]][i].sample;
    qsort(sample, n, sizeof *sample, ascending);
    for (size_t i = 0; i < n; i++)
        if (!i || sample[i] != sample[i - 1]) sample[kept++] = sample[i];
    *count = (int)kept;
    return sample;
}

static sf_status resample_group(sf_view *v, const struct group *g, uint64_t seed)
{
    const sf_results *r = v->results;
    const int cells = g->cells;
    int n = 0, *sample = find_samples(r, g, &n);
    if (!sample) return no_memory();
    /* [samples, cells]: a draw goes through all cells at once */
    float *weight = malloc(((size_t)n + 1) * sizeof *weight), *score = calloc((size_t)cells * n + 1, sizeof *score);
    float *there = calloc((size_t)cells * n + 1, sizeof *there), *sum = malloc(2 * (size_t)cells * sizeof *sum);
    sf_status status = weight && score && there && sum ? SF_OK : no_memory();
    bool whole = true;
    for (int c = 0; c < cells && status == SF_OK; c++) {
        whole &= r->records[g->cell[c]] == n;
        for (int i = 0; i < r->records[g->cell[c]]; i++) {
            const sf_record *x = &r->record[g->cell[c]][i];
            size_t row = (size_t)((int *)bsearch(&x->sample, sample, (size_t)n, sizeof *sample, ascending) - sample);
            score[row * cells + c] = (float)x->strict;
            there[row * cells + c] = 1;
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
#pragma omp simd
            for (int c = 0; c < cells; c++) scores[c] += w * x[c];
            if (whole) continue;
#pragma omp simd
            for (int c = 0; c < cells; c++) total[c] += w * has[c];
        }
        for (int c = 0; c < cells; c++) v->replicate[(size_t)g->cell[c] * v->resamples + b] = scores[c] / total[c];
    }
    free(sample);
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
    int o = strcmp(x->model, y->model);
    if (!o) o = strcmp(x->task_label, y->task_label);
    return o ? o : (x->length > y->length) - (x->length < y->length);
}

/* ---- Intervals and verdicts ---- */

static const double level = 0.95;

/* A weighted sum of means as it grows: its replicates, and what its interval stands on. */
struct total {
    double *replicate; /* [2 * resamples], of which the second half is room to work in */
    int means, fewest;
    double least, most, down, up; /* bounds; how far an unseen observation beside those of one mean alone can move it */
};

static struct total nothing(const sf_view *v, double *replicate)
{
    memset(replicate, 0, (size_t)v->resamples * sizeof *replicate);
    return (struct total){.replicate = replicate};
}

/* Adds the mean of a cell's scores, or of its differences to cell `minus` (-1: none), over so many samples. */
static void add_mean(const sf_view *v, int cell, int minus, int samples, double mean, double weight, struct total *to)
{
    const float *of_cell = v->replicate + (size_t)cell * v->resamples;
    const float *of_minus = minus < 0 ? NULL : v->replicate + (size_t)minus * v->resamples;
    /* Replicates are of all samples that each has: moved to those that both have. */
    const double least = of_minus ? -1 : 0, aside = of_minus ? mean - (v->mean[cell] - v->mean[minus]) : 0;
    for (int b = 0; b < v->resamples; b++) to->replicate[b] += weight * (of_cell[b] - (of_minus ? of_minus[b] : 0) + aside);
    to->fewest = to->means++ && to->fewest < samples ? to->fewest : samples;
    to->least += weight * least;
    to->most += weight;
    to->down = fmax(to->down, weight * (mean - least));
    to->up = fmax(to->up, weight * (1 - mean));
}

static void scale(const sf_view *v, double by, struct total *t)
{
    for (int b = 0; b < v->resamples; b++) t->replicate[b] *= by;
    t->least *= by, t->most *= by, t->down *= by, t->up *= by;
}

/* Leaves nothing of the replicates. */
static void interval(const sf_view *v, const struct total *t, double *low, double *high)
{
    const sf_basis basis = {.means = t->means, .fewest = t->fewest, .least = t->least, .most = t->most,
                            .lowest = t->most - t->means * t->up, .highest = t->least + t->means * t->down};
    sf_interval_bounded(v->resamples, t->replicate, &basis, level, low, high);
}

/* Of the mean over a point's tasks; `in` [tasks]: over these of them, NULL: all. */
static void score_interval(const sf_view *v, const sf_point *point, const bool *in, double *replicate, double *low, double *high)
{
    int tasks = 0;
    struct total total = nothing(v, replicate);
    for (int t = 0; t < v->tasks; t++) tasks += point->cell[t] >= 0 && (!in || in[t]);
    for (int t = 0; t < v->tasks; t++) {
        int c = point->cell[t];
        if (c >= 0 && (!in || in[t])) add_mean(v, c, -1, v->results->records[c], v->mean[c], 1.0 / tasks, &total);
    }
    interval(v, &total, low, high);
}

/* Difference of a point to dense over the tasks that both have: its interval and its test. */
static sf_status judge_difference(const sf_view *v, sf_point *point, const sf_point *dense, uint64_t seed, double *replicate)
{
    const sf_results *r = v->results;
    double *difference = malloc(((size_t)point->samples + 1) * sizeof *difference), sum = 0;
    if (!difference) return no_memory();
    int n = 0, common = 0;
    double of_dense = 0;
    for (int t = 0; t < v->tasks; t++)
        if (point->cell[t] >= 0 && dense->cell[t] >= 0)
            common += sf_cell_differences(r, point->cell[t], dense->cell[t], difference) > 0;
    struct total total = nothing(v, replicate);
    for (int t = 0; t < v->tasks && common; t++) {
        int c = point->cell[t], d = dense->cell[t];
        int pairs = c >= 0 && d >= 0 ? sf_cell_differences(r, c, d, difference + n) : 0;
        double mean = 0;
        if (!pairs) continue;
        for (int i = 0; i < pairs; i++) {
            mean += difference[n + i] / pairs;
            difference[n + i] /= common * (double)pairs; /* to its weight in the mean of means */
        }
        sum += mean / common;
        of_dense += v->mean[d] / common;
        add_mean(v, c, d, pairs, mean, 1.0 / common, &total);
        n += pairs;
    }
    sf_status status = SF_OK;
    if (common) {
        sf_verdict *x = &point->verdict;
        *x = (sf_verdict){.tasks = common, .samples = n, .dense = of_dense, .difference = sum, .p_holm = NAN};
        interval(v, &total, &x->low, &x->high);
        status = sf_sign_flip_test(n, difference, FLIPS, seed, &x->p);
    }
    free(difference);
    return status;
}

/* `whole`: the view's own point, where `point` is of some of its tasks. */
static sf_status judge(const sf_view *v, sf_point *point, const sf_point *whole, uint64_t seed)
{
    const sf_point *dense = sf_view_dense(v, whole);
    double *replicate = malloc(2 * (size_t)v->resamples * sizeof *replicate);
    if (!replicate) return no_memory();
    score_interval(v, point, NULL, replicate, &point->low, &point->high);
    sf_status status = dense && dense != whole ? judge_difference(v, point, dense, seed, replicate) : SF_OK;
    free(replicate);
    return status;
}

/* Intervals of a cell's score and of its difference to dense. */
static sf_status judge_cell(const sf_view *v, int cell)
{
    sf_verdict *x = &v->verdict[cell];
    int dense = sf_cell_dense(v, cell), n = v->results->records[cell];
    double *replicate = malloc(2 * (size_t)v->resamples * sizeof *replicate);
    if (!replicate) return no_memory();
    if (n) {
        struct total total = nothing(v, replicate);
        add_mean(v, cell, -1, n, v->mean[cell], 1, &total);
        interval(v, &total, &v->low[cell], &v->high[cell]);
    }
    if (x->tasks) {
        struct total total = nothing(v, replicate);
        add_mean(v, cell, dense, x->samples, x->difference, 1, &total);
        interval(v, &total, &x->low, &x->high);
    }
    free(replicate);
    return SF_OK;
}

sf_status sf_view_points_over(const sf_view *v, const bool *in, uint64_t seed, sf_point *out, int *cell)
{
    double *p = malloc(((size_t)v->points + 1) * 2 * sizeof *p);
    sf_status bad = p ? SF_OK : no_memory();
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < v->points; i++) {
        const sf_point *whole = &v->point[i];
        out[i] = (sf_point){.model = whole->model, .length = whole->length, .arm = whole->arm, .cell = cell + (size_t)i * v->tasks};
        memcpy(out[i].sparsity, whole->sparsity, sizeof out[i].sparsity);
        for (int t = 0; t < v->tasks; t++) out[i].cell[t] = in[t] ? whole->cell[t] : -1;
        sf_point_sum(v, &out[i]);
        sf_status mine = bad == SF_OK && out[i].tasks ? judge(v, &out[i], whole, seed + (uint64_t)i + 1) : SF_OK;
        if (mine != SF_OK) {
#pragma omp atomic write
            bad = mine;
        }
    }
    for (int i = 0; i < v->points && bad == SF_OK; i++) p[i] = out[i].verdict.p;
    if (bad == SF_OK) bad = sf_holm(v->points, p, p + v->points);
    for (int i = 0; i < v->points && bad == SF_OK; i++) out[i].verdict.p_holm = p[v->points + i];
    free(p);
    return bad;
}

sf_status sf_view_bootstrap(sf_view *v, int resamples, uint64_t seed)
{
    const sf_results *r = v->results;
    int *order = malloc(((size_t)r->cells + 1) * sizeof *order), groups = 0, n = 0;
    struct group *group = malloc(((size_t)r->cells + 1) * sizeof *group);
    double *p = malloc(((size_t)v->points + 1) * 2 * sizeof *p);
    v->resamples = resamples;
    v->replicate = malloc(((size_t)r->cells * resamples + 1) * sizeof *v->replicate);
    v->room = malloc(2 * (size_t)resamples * sizeof *v->room);
    sf_status status = order && group && p && v->replicate && v->room ? sf_view_test(v) : no_memory();
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
        sf_status mine = bad == SF_OK ? judge(v, &v->point[i], &v->point[i], seed + (uint64_t)i + 1) : SF_OK;
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

/* ---- Averages ---- */

void sf_point_interval(const sf_view *v, const sf_point *point, const bool *in, double *low, double *high)
{
    score_interval(v, point, in, v->room, low, high);
}

static bool selected(const sf_view *v, const sf_selection *s, const sf_point *p)
{
    /* A mean over models is of dense attention, that methods are held against: not of what was trained sparse. */
    if (s->model < 0 && p->arm == 0 && *sf_model_attention(&v->model[p->model])) return false;
    return p->arm == s->arm && sf_same_level(p->sparsity, s->sparsity) && (s->model < 0 || p->model == s->model) &&
           (s->length < 0 || p->length == s->length);
}

/* The next task, from *t on, in which the point has a cell that the selection names and of which there is something to average:
 * its mean, over how many samples; 0: no more. */
static int next_cell(const sf_view *v, const sf_selection *s, sf_averaged of, const sf_point *p, const sf_point *dense, int *t,
                     double *mean)
{
    for (; *t < v->tasks; ++*t) {
        int c = p->cell[*t], d = dense ? dense->cell[*t] : -1, hard = v->task[*t].dispersion || v->task[*t].scope;
        if (c < 0 || (s->task >= 0 && *t != s->task) || (s->hard >= 0 && hard != s->hard)) continue;
        *mean = v->mean[c];
        int samples = of == SF_SCORE ? v->results->records[c] : d < 0 ? 0 : sf_cell_mean_difference(v->results, c, d, mean);
        if (samples) return samples;
    }
    return 0;
}

sf_average sf_view_average(const sf_view *v, const sf_selection *s, sf_averaged of)
{
    sf_average a = {.value = NAN, .low = NAN, .high = NAN, .sparsity = NAN};
    int points = 0, samples;
    double sum = 0, sparsity = 0, mean;
    struct total total = nothing(v, v->room);
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (!selected(v, s, p)) continue;
        const sf_point *dense = of == SF_SCORE ? NULL : sf_view_dense(v, p);
        int n = 0;
        double of_dense = 0;
        for (int t = 0; next_cell(v, s, of, p, dense, &t, &mean); t++, n++) of_dense += dense ? v->mean[dense->cell[t]] : 1;
        if (!n || !(of_dense > 0)) continue;
        double weight = 1 / (of == SF_LOSS ? of_dense : n);
        for (int t = 0; (samples = next_cell(v, s, of, p, dense, &t, &mean)); t++) {
            add_mean(v, p->cell[t], dense ? dense->cell[t] : -1, samples, mean, weight, &total);
            sum += weight * mean;
            a.samples += v->results->records[p->cell[t]];
        }
        a.cells += n;
        sparsity += sf_point_sparsity(v, p);
        points++;
    }
    if (!points) return a;
    scale(v, 1.0 / points, &total);
    interval(v, &total, &a.low, &a.high);
    a.value = sum / points;
    a.sparsity = sparsity / points;
    if (of == SF_SCORE) return a;
    const double low = a.low;
    a.value = -a.value, a.low = -a.high, a.high = of == SF_LOSS ? fmin(1, -low) : -low; /* no more than all is lost */
    return a;
}
