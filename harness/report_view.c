#include "harness/report_view.h"
#include "harness/stats.h"
#include "harness/store_schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_dense(const sf_cell_info *c, int phase) { return strcmp(c->method[phase], "dense") == 0; }

/* ---- Axes ---- */

struct axis_item { int at; double a, b; const char *name; };

static int by_axis(const void *x, const void *y)
{
    const struct axis_item *p = x, *q = y;
    if (p->a != q->a) return p->a < q->a ? -1 : 1;
    if (p->b != q->b) return p->b < q->b ? -1 : 1;
    return strcmp(p->name, q->name);
}

/* Where each cell stands on each axis, before points are made. */
struct place { int cell, model, task, length, arm; double sparsity[SF_PHASES]; };

static int order_of_reals(double a, double b) /* NAN last, equal to itself */
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

static int by_point(const struct place *x, const struct place *y)
{
    int o = x->model - y->model;
    if (!o) o = x->length - y->length;
    if (!o) o = x->arm - y->arm;
    for (int p = 0; p < SF_PHASES && !o; p++) o = order_of_reals(x->sparsity[p], y->sparsity[p]);
    return o;
}

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int o = by_point(x, y);
    if (!o) o = x->task - y->task;
    return o ? o : x->cell - y->cell;
}

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory for the report"); }

/* Collects an axis: `describe` gives each cell's name and sorting numbers; at[cell] becomes its position. */
static sf_status collect(const sf_results *r, sf_heap *heap, void *user,
                         void (*describe)(void *user, const sf_cell_info *c, char name[512], double *a, double *b),
                         int *count, struct axis_item **axis, int *at)
{
    struct axis_item *item = sf_heap_alloc(heap, (size_t)r->cells * sizeof *item);
    int n = 0, *place = calloc((size_t)r->cells + 1, sizeof *place);
    if (!item || !place) { free(place); return no_memory(); }
    for (int c = 0; c < r->cells; c++) {
        char name[512];
        double a = 0, b = 0;
        describe(user, &r->cell[c], name, &a, &b);
        int i = n - 1;
        while (i >= 0 && strcmp(item[i].name, name) != 0) i--;
        if (i < 0) {
            item[n] = (struct axis_item){.at = n, .a = a, .b = b, .name = sf_heap_text(heap, name, strlen(name))};
            if (!item[n].name) { free(place); return no_memory(); }
            i = n++;
        }
        at[c] = i;
    }
    qsort(item, (size_t)n, sizeof *item, by_axis);
    for (int i = 0; i < n; i++) place[item[i].at] = i;
    for (int c = 0; c < r->cells; c++) at[c] = place[at[c]];
    free(place);
    *count = n;
    *axis = item;
    return SF_OK;
}

/* Files of two devices or dtypes put side by side are two models on the page. */
static void describe_model(void *several, const sf_cell_info *c, char name[512], double *a, double *b)
{
    if (*(bool *)several) snprintf(name, 512, "%.300s (%.60s %.60s)", c->model, c->device, c->dtype);
    else snprintf(name, 512, "%.500s", c->model);
    *a = c->parameters;
    *b = 0;
}

static void describe_task(void *unused, const sf_cell_info *c, char name[512], double *a, double *b)
{
    (void)unused;
    snprintf(name, 512, "%.500s", c->task_label);
    *a = c->dispersion + c->scope;
    *b = c->scope;
}

static void describe_length(void *unused, const sf_cell_info *c, char name[512], double *a, double *b)
{
    (void)unused;
    snprintf(name, 512, "%d", c->length);
    *a = c->length;
    *b = 0;
}

static void describe_arm(void *unused, const sf_cell_info *c, char name[512], double *a, double *b)
{
    (void)unused;
    bool prefill = !is_dense(c, SF_PREFILL), decode = !is_dense(c, SF_DECODE);
    if (prefill && decode) snprintf(name, 512, "%.240s + %.240s", c->label[SF_PREFILL], c->label[SF_DECODE]);
    else snprintf(name, 512, "%.500s", prefill ? c->label[SF_PREFILL] : decode ? c->label[SF_DECODE] : "dense");
    *a = prefill + 2 * decode;
    *b = 0;
}

static sf_status make_axes(sf_view *v, sf_heap *heap, struct place *place)
{
    const sf_results *r = v->results;
    struct axis_item *axis;
    int *at = malloc(((size_t)r->cells + 1) * sizeof *at);
    if (!at) return no_memory();
    bool several = false;
    for (int c = 1; c < r->cells; c++)
        several |= strcmp(r->cell[c].device, r->cell[0].device) || strcmp(r->cell[c].dtype, r->cell[0].dtype);

    sf_status status = collect(r, heap, &several, describe_model, &v->models, &axis, at);
    if (status == SF_OK && !(v->model = sf_heap_alloc(heap, (size_t)v->models * sizeof *v->model))) status = no_memory();
    for (int i = 0; i < v->models && status == SF_OK; i++) v->model[i].label = axis[i].name, v->model[i].parameters = axis[i].a;
    for (int c = 0; c < r->cells && status == SF_OK; c++) v->model[place[c].model = at[c]].shape = &r->cell[c];

    if (status == SF_OK) status = collect(r, heap, NULL, describe_task, &v->tasks, &axis, at);
    if (status == SF_OK && !(v->task = sf_heap_alloc(heap, (size_t)v->tasks * sizeof *v->task))) status = no_memory();
    for (int c = 0; c < r->cells && status == SF_OK; c++) {
        const sf_cell_info *i = &r->cell[c];
        place[c].task = at[c];
        v->task[at[c]] = (sf_view_task){axis[at[c]].name, i->metric, i->dispersion, i->scope, i->natural};
    }

    if (status == SF_OK) status = collect(r, heap, NULL, describe_length, &v->lengths, &axis, at);
    if (status == SF_OK && !(v->length = sf_heap_alloc(heap, (size_t)v->lengths * sizeof *v->length))) status = no_memory();
    for (int c = 0; c < r->cells && status == SF_OK; c++) v->length[place[c].length = at[c]] = r->cell[c].length;

    if (status == SF_OK) status = collect(r, heap, NULL, describe_arm, &v->arms, &axis, at);
    /* Arm 0 is dense even where no dense cell was run. */
    bool dense = status == SF_OK && v->arms && axis[0].a == 0;
    if (status == SF_OK && !(v->arm = sf_heap_alloc(heap, (size_t)(v->arms + 1) * sizeof *v->arm))) status = no_memory();
    if (status == SF_OK) {
        v->arm[0] = (sf_view_arm){.label = "dense", .method = {"dense", "dense"}};
        for (int c = 0; c < r->cells; c++) {
            sf_view_arm *arm = &v->arm[place[c].arm = at[c] + !dense];
            arm->label = axis[at[c]].name;
            for (int p = 0; p < SF_PHASES; p++) {
                arm->sparse[p] = !is_dense(&r->cell[c], p);
                arm->method[p] = r->cell[c].method[p];
            }
        }
        v->arms += !dense;
    }
    free(at);
    return status;
}

/* ---- Points ---- */

static void add_means(sf_view *v, sf_point *point, int cell)
{
    const sf_results *r = v->results;
    const sf_cell_info *info = &r->cell[cell];
    double weights = info->weight_elements, n = r->records[cell], work[SF_PHASES] = {0}, chosen[SF_PHASES] = {0};
    double achieved[SF_PHASES] = {0}, paper[SF_PHASES] = {0}, exact[SF_PHASES] = {0}, seconds[SF_PHASES] = {0};
    for (int i = 0; i < n; i++) {
        const sf_record *x = &r->record[cell][i];
        for (int p = 0; p < SF_PHASES; p++) {
            achieved[p] += x->achieved[p] / n;
            /* At batch B a prefill costs B times as much; a decode step reads the weights once, the caches B times. */
            bool decode = p == SF_DECODE;
            paper[p] += (decode ? weights + v->batch * (x->cost_paper[p] - weights) : v->batch * x->cost_paper[p]) / n;
            exact[p] += (decode ? weights + v->batch * (x->cost_exact[p] - weights) : v->batch * x->cost_exact[p]) / n;
            seconds[p] += x->seconds[p] / n;
            for (int w = 0; w < SF_WORKS; w++) work[p] += (double)x->meter.at[p][w].flops;
            chosen[p] += (double)x->meter.at[p][SF_ESTIMATION].flops;
        }
    }
    double old = point->tasks, now = old + 1;
    for (int p = 0; p < SF_PHASES; p++) {
        point->achieved[p] = (point->achieved[p] * old + achieved[p]) / now;
        point->cost_paper[p] = (point->cost_paper[p] * old + paper[p]) / now;
        point->cost_exact[p] = (point->cost_exact[p] * old + exact[p]) / now;
        point->seconds[p] = (point->seconds[p] * old + seconds[p]) / now;
        point->estimation[p] = (point->estimation[p] * old + (work[p] > 0 ? chosen[p] / work[p] : 0)) / now;
    }
    point->score = (point->score * old + v->mean[cell]) / now;
    point->error += v->error[cell] * v->error[cell];
    point->tasks++;
    point->samples += r->records[cell];
}

static sf_status make_points(sf_view *v, sf_heap *heap, struct place *place, int places)
{
    const sf_results *r = v->results;
    qsort(place, (size_t)places, sizeof *place, by_place);
    for (int i = 0; i < places; i++) v->points += !i || by_point(&place[i - 1], &place[i]) != 0;
    v->point = sf_heap_alloc(heap, (size_t)v->points * sizeof *v->point);
    int *cell = sf_heap_alloc(heap, (size_t)v->points * (size_t)v->tasks * sizeof *cell);
    if (!v->point || !cell) return no_memory();
    memset(cell, -1, (size_t)v->points * (size_t)v->tasks * sizeof *cell);
    sf_point *point = v->point - 1;
    for (int i = 0; i < places; i++) {
        const struct place *at = &place[i];
        if (!i || by_point(&place[i - 1], at) != 0) {
            ++point;
            *point = (sf_point){.model = at->model, .length = at->length, .arm = at->arm,
                                .sparsity = {at->sparsity[0], at->sparsity[1]}, .cell = cell};
            cell += v->tasks;
        }
        int *there = &point->cell[at->task];
        if (*there >= 0) v->left_out++;
        if (*there < 0 || r->records[at->cell] > r->records[*there]) *there = at->cell;
    }
    memset(v->point_of, -1, (size_t)r->cells * sizeof *v->point_of);
    for (int i = 0; i < v->points; i++) {
        point = &v->point[i];
        for (int t = 0; t < v->tasks; t++)
            if (point->cell[t] >= 0) {
                add_means(v, point, point->cell[t]);
                v->point_of[point->cell[t]] = i;
            }
        point->error = sqrt(point->error) / point->tasks;
        point->low = point->high = NAN;
        point->verdict = (sf_verdict){.difference = NAN, .low = NAN, .high = NAN, .p = NAN, .p_holm = NAN};
    }
    return SF_OK;
}

sf_status sf_view_make(const sf_results *r, sf_view *out)
{
    *out = (sf_view){.results = r, .batch = 64};
    for (int i = 0; i < r->runs; i++)
        if (r->run[i].batch > 0) out->batch = r->run[i].batch;
    sf_heap *heap = calloc(1, sizeof *heap);
    struct place *place = malloc(((size_t)r->cells + 1) * sizeof *place);
    sf_status status = heap && place ? SF_OK : no_memory();
    out->heap = heap;
    if (status == SF_OK) {
        out->mean = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->mean);
        out->error = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->error);
        out->point_of = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->point_of);
        out->verdict = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->verdict);
        if (!out->mean || !out->error || !out->point_of || !out->verdict) status = no_memory();
    }
    if (status == SF_OK) status = make_axes(out, heap, place);
    int places = 0;
    for (int c = 0; c < r->cells && status == SF_OK; c++) {
        double *score = malloc(((size_t)r->records[c] + 1) * sizeof *score);
        if (!score) { status = no_memory(); break; }
        for (int i = 0; i < r->records[c]; i++) score[i] = r->record[c][i].strict;
        sf_mean_error(r->records[c], score, &out->mean[c], &out->error[c]);
        free(score);
        if (!r->records[c]) continue; /* a cell without records is not there */
        place[places] = place[c];
        place[places].cell = c;
        for (int p = 0; p < SF_PHASES; p++)
            place[places].sparsity[p] = is_dense(&r->cell[c], p) ? 0 : r->cell[c].sparsity[p];
        places++;
    }
    if (status == SF_OK) status = make_points(out, heap, place, places);
    free(place);
    if (status != SF_OK) sf_view_free(out);
    return status;
}

void sf_view_free(sf_view *v)
{
    if (v->heap) {
        sf_heap_free(v->heap);
        free(v->heap);
    }
    free(v->replicate);
    *v = (sf_view){0};
}

/* ---- Finding and naming ---- */

const sf_point *sf_view_find(const sf_view *v, int model, int length, int arm, double prefill, double decode)
{
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->model == model && p->length == length && p->arm == arm && !order_of_reals(p->sparsity[SF_PREFILL], prefill) &&
            !order_of_reals(p->sparsity[SF_DECODE], decode))
            return p;
    }
    return NULL;
}

const sf_point *sf_view_dense(const sf_view *v, const sf_point *point)
{
    return sf_view_find(v, point->model, point->length, 0, 0, 0);
}

double sf_point_sparsity(const sf_view *v, const sf_point *point)
{
    return point->achieved[v->arm[point->arm].sparse[SF_PREFILL] || !v->arm[point->arm].sparse[SF_DECODE] ? SF_PREFILL : SF_DECODE];
}

void sf_point_level(const sf_view *v, const sf_point *point, char text[32])
{
    const sf_view_arm *arm = &v->arm[point->arm];
    char part[SF_PHASES][12];
    for (int p = 0; p < SF_PHASES; p++)
        snprintf(part[p], sizeof part[p], isnan(point->sparsity[p]) ? "set" : "%.2f", point->sparsity[p]);
    if (arm->sparse[SF_PREFILL] && arm->sparse[SF_DECODE] && strcmp(part[0], part[1]) != 0)
        snprintf(text, 32, "%s/%s", part[SF_PREFILL], part[SF_DECODE]);
    else snprintf(text, 32, "%s", part[arm->sparse[SF_DECODE] && !arm->sparse[SF_PREFILL] ? SF_DECODE : SF_PREFILL]);
}

void sf_cell_name(const sf_view *v, int cell, char text[256])
{
    const sf_cell_info *c = &v->results->cell[cell];
    char level[32];
    if (v->point_of[cell] < 0) {
        snprintf(text, 256, "%.60s %.60s %d (cell %s)", c->model, c->task_label, c->length, c->key);
        return;
    }
    const sf_point *point = &v->point[v->point_of[cell]];
    sf_point_level(v, point, level);
    snprintf(text, 256, "%.60s %.60s %d %.80s%s%s", v->model[point->model].label, c->task_label, c->length,
             v->arm[point->arm].label, point->arm ? " " : "", point->arm ? level : "");
}

int sf_cell_differences(const sf_results *r, int cell, int minus, double *difference)
{
    int n = 0, i = 0, j = 0;
    while (i < r->records[cell] && j < r->records[minus]) {
        const sf_record *a = &r->record[cell][i], *b = &r->record[minus][j];
        if (a->sample == b->sample) difference[n++] = a->strict - b->strict, i++, j++;
        else if (a->sample < b->sample) i++;
        else j++;
    }
    return n;
}

int sf_cell_dense(const sf_view *v, int cell)
{
    if (v->point_of[cell] < 0) return -1;
    const sf_point *point = &v->point[v->point_of[cell]], *dense = sf_view_dense(v, point);
    for (int t = 0; dense && dense != point && t < v->tasks; t++)
        if (point->cell[t] == cell) return dense->cell[t];
    return -1;
}

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
struct group { int cells, *cell; };

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
        for (int c = 0; c < cells; c++) /* a draw without any sample of a partial cell says nothing: its mean stands in */
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
        if (!pairs) { common--; continue; }
        n += pairs;
    }
    /* second walk: the number of tasks is known now */
    double *test = malloc(((size_t)n + 1) * sizeof *test);
    if (!test) { status = no_memory(); goto done; }
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

/* Interval of a cell's difference to dense. */
static sf_status judge_cell(const sf_view *v, int cell)
{
    sf_verdict *x = &v->verdict[cell];
    int dense = sf_cell_dense(v, cell), B = v->resamples;
    if (!x->tasks) return SF_OK;
    double *replicate = malloc((size_t)B * sizeof *replicate), *influence = malloc(((size_t)x->samples + 1) * sizeof *influence);
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
        if (!i || by_group(&order[i - 1], &order[i], (void *)r) != 0) group[groups++] = (struct group){.cell = order + i};
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
    if (bad != SF_OK) { status = no_memory(); goto done; }
    for (int i = 0; i < v->points; i++) p[i] = v->point[i].verdict.p;
    status = sf_holm(v->points, p, p + v->points);
    for (int i = 0; i < v->points && status == SF_OK; i++) v->point[i].verdict.p_holm = p[v->points + i];
done:
    free(order);
    free(group);
    free(p);
    return status;
}
