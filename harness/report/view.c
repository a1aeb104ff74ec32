#include "harness/report/view.h"
#include "harness/report/stats.h"
#include "base/heap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Or as it was trained, which is the model's dense here. */
static bool is_dense(const sf_cell_info *c, int phase) { return sf_cell_own(c) || strcmp(c->method[phase], "dense") == 0; }

/* ---- Axes ---- */

struct axis_item {
    int at;
    double a, b;
    const char *name;
};

static int by_axis(const void *x, const void *y)
{
    const struct axis_item *p = x, *q = y;
    if (p->a != q->a) return p->a < q->a ? -1 : 1;
    if (p->b != q->b) return p->b < q->b ? -1 : 1;
    return strcmp(p->name, q->name);
}

/* Where each cell stands on each axis, before points are made. */
struct place {
    int cell, model, task, length, arm;
    double sparsity[SF_PHASES];
};

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
    if (!item || !place) {
        free(place);
        return no_memory();
    }
    for (int c = 0; c < r->cells; c++) {
        char name[512];
        double a = 0, b = 0;
        describe(user, &r->cell[c], name, &a, &b);
        int i = n - 1;
        while (i >= 0 && strcmp(item[i].name, name) != 0) i--;
        if (i < 0) {
            item[n] = (struct axis_item){.at = n, .a = a, .b = b, .name = sf_heap_text(heap, name, strlen(name))};
            if (!item[n].name) {
                free(place);
                return no_memory();
            }
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

static void describe_model(void *unused, const sf_cell_info *c, char name[512], double *a, double *b)
{
    (void)unused;
    snprintf(name, 512, "%.500s", c->model);
    *a = c->parameters;
    *b = 0;
}

static void describe_task(void *unused, const sf_cell_info *c, char name[512], double *a, double *b)
{
    (void)unused;
    snprintf(name, 512, "%.500s", c->task_label);
    *a = (double)c->dispersion + c->scope; /* whatever the file says, no overflow */
    *b = c->scope;
}

static void describe_length(void *unused, const sf_cell_info *c, char name[512], double *a, double *b)
{
    (void)unused;
    snprintf(name, 512, "%d", c->length);
    *a = c->length;
    *b = 0;
}

/* The versions of each method label of a phase that stand in the results; several of one label are arms of their own. */
struct versions {
    int count;
    const sf_cell_info *of[256]; /* a cell of each */
};

static void find_versions(const sf_results *r, int phase, struct versions *out)
{
    out->count = 0;
    for (int c = 0; c < r->cells; c++) {
        int i = 0;
        while (i < out->count && (strcmp(out->of[i]->version[phase], r->cell[c].version[phase]) != 0 ||
                                  strcmp(out->of[i]->label[phase], r->cell[c].label[phase]) != 0))
            i++;
        if (i == out->count && i < 256) out->of[out->count++] = &r->cell[c];
    }
}

/* "quest", or where it is told from another version "quest (version 2)" */
static void method_label(const struct versions *known, const sf_cell_info *c, int phase, char text[256])
{
    int versions = 0;
    for (int i = 0; i < known->count; i++) versions += strcmp(known->of[i]->label[phase], c->label[phase]) == 0;
    if (versions < 2)
        snprintf(text, 256, "%.240s", c->label[phase]);
    else if (*c->version[phase])
        snprintf(text, 256, "%.200s (version %.32s)", c->label[phase], c->version[phase]);
    else
        snprintf(text, 256, "%.200s (version not recorded)", c->label[phase]);
}

/* A method that serves both phases is an arm in each. Arms are told apart by these endings, which only such ones keep. */
static const char in_prefill[] = " (prefill)", in_decode[] = " (decode)";

/* Dense with a rounded cache costs less to read, and may differ from dense: an arm of decode. */
static bool is_sparse(const sf_cell_info *c, int phase)
{
    return !is_dense(c, phase) || (phase == SF_DECODE && is_dense(c, SF_PREFILL) && !sf_cell_exact(c));
}

/* ", fp8 cache", ", simulated fp8 cache", or nothing. */
static void cache_label(const sf_cell_info *c, char text[64])
{
    snprintf(text, 64, sf_cell_exact(c) ? "" : ", %.40s cache", sf_cell_cache(c));
    for (char *at = text; *at; at++)
        if (*at == '_') *at = ' ';
}

static void describe_arm(void *versions, const sf_cell_info *c, char name[512], double *a, double *b)
{
    const struct versions *known = versions; /* [phases] */
    char label[SF_PHASES][256], cache[64];
    for (int p = 0; p < SF_PHASES; p++) method_label(&known[p], c, p, label[p]);
    cache_label(c, cache);
    bool prefill = is_sparse(c, SF_PREFILL), decode = is_sparse(c, SF_DECODE);
    if (prefill && decode)
        snprintf(name, 512, "%.200s + %.200s%s", label[SF_PREFILL], label[SF_DECODE], cache);
    else
        snprintf(name, 512, "%.400s%s%s", prefill ? label[SF_PREFILL] : decode ? label[SF_DECODE] : "dense", cache,
                 prefill ? in_prefill : decode ? in_decode : "");
    *a = prefill + 2 * decode;
    *b = 0;
}

/* The arm's name without its ending, unless another arm has the same without its own. */
static const char *arm_label(sf_heap *heap, const struct axis_item *arm, int arms, int i)
{
    size_t n = strlen(arm[i].name);
    const char *ending = arm[i].a == 1 ? in_prefill : arm[i].a == 2 ? in_decode : "";
    size_t plain = n - strlen(ending);
    for (int j = 0; j < arms; j++)
        if (j != i && arm[j].a + arm[i].a == 3 && strncmp(arm[j].name, arm[i].name, plain) == 0 &&
            strcmp(arm[j].name + plain, arm[j].a == 1 ? in_prefill : in_decode) == 0)
            return arm[i].name;
    return sf_heap_text(heap, arm[i].name, plain);
}

static sf_status make_axes(sf_view *v, sf_heap *heap, struct place *place)
{
    const sf_results *r = v->results;
    struct axis_item *axis;
    int *at = malloc(((size_t)r->cells + 1) * sizeof *at);
    if (!at) return no_memory();

    sf_status status = collect(r, heap, NULL, describe_model, &v->models, &axis, at);
    if (status == SF_OK && !(v->model = sf_heap_alloc(heap, (size_t)v->models * sizeof *v->model)))
        status = no_memory();
    for (int i = 0; i < v->models && status == SF_OK; i++)
        v->model[i].label = axis[i].name, v->model[i].parameters = axis[i].a;
    for (int c = 0; c < r->cells && status == SF_OK; c++) v->model[place[c].model = at[c]].shape = &r->cell[c];

    if (status == SF_OK) status = collect(r, heap, NULL, describe_task, &v->tasks, &axis, at);
    if (status == SF_OK && !(v->task = sf_heap_alloc(heap, (size_t)v->tasks * sizeof *v->task))) status = no_memory();
    for (int c = 0; c < r->cells && status == SF_OK; c++) {
        const sf_cell_info *i = &r->cell[c];
        place[c].task = at[c];
        v->task[at[c]] = (sf_view_task){axis[at[c]].name, i->metric, i->dispersion, i->scope, i->natural};
    }

    if (status == SF_OK) status = collect(r, heap, NULL, describe_length, &v->lengths, &axis, at);
    if (status == SF_OK && !(v->length = sf_heap_alloc(heap, (size_t)v->lengths * sizeof *v->length)))
        status = no_memory();
    for (int c = 0; c < r->cells && status == SF_OK; c++) v->length[place[c].length = at[c]] = r->cell[c].length;

    struct versions known[SF_PHASES];
    for (int p = 0; p < SF_PHASES; p++) find_versions(r, p, &known[p]);
    if (status == SF_OK) status = collect(r, heap, known, describe_arm, &v->arms, &axis, at);
    /* Arm 0 is dense even where no dense cell was run. */
    bool dense = status == SF_OK && v->arms && axis[0].a == 0;
    if (status == SF_OK && !(v->arm = sf_heap_alloc(heap, (size_t)(v->arms + 1) * sizeof *v->arm)))
        status = no_memory();
    if (status == SF_OK) {
        v->arm[0] = (sf_view_arm){.label = "dense", .method = {"dense", "dense"}, .kind = {"", ""}, .cache = "exact"};
        for (int i = 0; i < v->arms && status == SF_OK; i++)
            if (!(v->arm[i + !dense].label = arm_label(heap, axis, v->arms, i))) status = no_memory();
        for (int c = 0; c < r->cells; c++) {
            sf_view_arm *arm = &v->arm[place[c].arm = at[c] + !dense];
            arm->cache = sf_cell_cache(&r->cell[c]);
            for (int p = 0; p < SF_PHASES; p++) {
                arm->sparse[p] = is_sparse(&r->cell[c], p);
                arm->method[p] = r->cell[c].method[p];
                arm->kind[p] = r->cell[c].kind[p] ? r->cell[c].kind[p] : "";
            }
        }
        v->arms += !dense;
    }
    free(at);
    return status;
}

/* ---- Points ---- */

sf_cell_means sf_view_cell_means(const sf_view *v, int cell)
{
    const sf_results *r = v->results;
    double n = r->records[cell], work[SF_PHASES] = {0}, chosen[SF_PHASES] = {0}, answers = 0, measured[SF_PHASES] = {0};
    sf_cell_means m = {0};
    for (int i = 0; i < n; i++) {
        const sf_record *x = &r->record[cell][i];
        answers += x->output_tokens > 0;
        for (int p = 0; p < SF_PHASES; p++) {
            m.achieved[p] += x->achieved[p] / n;
            m.cost_paper[p] += x->cost_paper[p] / n;
            m.cost_exact[p] += x->cost_exact[p] / n;
            m.seconds[p] += x->seconds[p] / n;
            double bytes = 0;
            for (int w = 0; w < SF_WORKS; w++) {
                const sf_count *count = &x->meter.at[p][w];
                work[p] += (double)count->flops;
                bytes += (double)count->weight_bytes + (double)count->cache_bytes + (double)count->other_bytes;
            }
            if (p == SF_PREFILL) m.bytes[p] += bytes / n;
            else if (x->output_tokens > 0) m.bytes[p] += bytes / (x->output_tokens + (isnan(x->late_tokens) ? 0 : x->late_tokens)); /* a step */
            chosen[p] += (double)x->meter.at[p][SF_ESTIMATION].flops;
            if (isnan(x->diverged[p].kl)) continue;
            measured[p]++;
            m.kl[p] += x->diverged[p].kl;
            m.agreement[p] += x->diverged[p].agreement;
        }
    }
    m.bytes[SF_DECODE] = answers ? m.bytes[SF_DECODE] / answers : NAN;
    for (int p = 0; p < SF_PHASES; p++) {
        m.estimation[p] = work[p] > 0 ? chosen[p] / work[p] : 0;
        m.kl[p] = measured[p] ? m.kl[p] / measured[p] : NAN;
        m.agreement[p] = measured[p] ? m.agreement[p] / measured[p] : NAN;
    }
    return m;
}

double sf_cost_at_batch(const sf_cell_info *c, int phase, double cost, double batch)
{
    return phase == SF_DECODE ? c->weight_elements + batch * (cost - c->weight_elements) : batch * cost;
}

static void add_means(const sf_view *v, sf_point *point, int cell)
{
    const sf_cell_info *info = &v->results->cell[cell];
    const sf_cell_means m = sf_view_cell_means(v, cell);
    double old = point->tasks, now = old + 1;
    for (int p = 0; p < SF_PHASES; p++) {
        double paper = sf_cost_at_batch(info, p, m.cost_paper[p], v->batch), exact = sf_cost_at_batch(info, p, m.cost_exact[p], v->batch);
        point->achieved[p] = (point->achieved[p] * old + m.achieved[p]) / now;
        point->cost_paper[p] = (point->cost_paper[p] * old + paper) / now;
        point->cost_exact[p] = (point->cost_exact[p] * old + exact) / now;
        point->seconds[p] = (point->seconds[p] * old + m.seconds[p]) / now;
        point->estimation[p] = (point->estimation[p] * old + m.estimation[p]) / now;
    }
    point->score = (point->score * old + v->mean[cell]) / now;
    point->error += v->error[cell] * v->error[cell];
    point->tasks++;
    point->samples += v->results->records[cell];
}

void sf_point_sum(const sf_view *v, sf_point *point)
{
    for (int t = 0; t < v->tasks; t++)
        if (point->cell[t] >= 0) add_means(v, point, point->cell[t]);
    point->error = point->tasks ? sqrt(point->error) / point->tasks : NAN;
    point->low = point->high = NAN;
    point->verdict = (sf_verdict){.dense = NAN, .difference = NAN, .low = NAN, .high = NAN, .p = NAN, .p_holm = NAN};
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
            *point = (sf_point){.model = at->model,
                                .length = at->length,
                                .arm = at->arm,
                                .sparsity = {at->sparsity[0], at->sparsity[1]},
                                .cell = cell};
            cell += v->tasks;
        }
        int *there = &point->cell[at->task];
        if (*there >= 0) v->left_out++;
        if (*there < 0 || r->records[at->cell] > r->records[*there]) *there = at->cell;
    }
    memset(v->point_of, -1, (size_t)r->cells * sizeof *v->point_of);
    for (int i = 0; i < v->points; i++) {
        sf_point_sum(v, &v->point[i]);
        for (int t = 0; t < v->tasks; t++)
            if (v->point[i].cell[t] >= 0) v->point_of[v->point[i].cell[t]] = i;
    }
    return SF_OK;
}

sf_status sf_view_make(const sf_results *r, sf_view *out)
{
    *out = (sf_view){.results = r, .batch = 64};
    for (int i = 0; i < r->runs; i++)
        if (r->run[i].batch > 0) out->batch = r->run[i].batch;
    if (r->runs && r->run[r->runs - 1].until > 0) out->until = r->run[r->runs - 1].until;
    sf_heap *heap = calloc(1, sizeof *heap);
    struct place *place = malloc(((size_t)r->cells + 1) * sizeof *place);
    sf_status status = heap && place ? SF_OK : no_memory();
    out->heap = heap;
    if (status == SF_OK) {
        out->mean = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->mean);
        out->error = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->error);
        out->point_of = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->point_of);
        out->verdict = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->verdict);
        out->low = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->low);
        out->high = sf_heap_alloc(heap, (size_t)r->cells * sizeof *out->high);
        if (!out->mean || !out->error || !out->low || !out->high || !out->point_of || !out->verdict) status = no_memory();
    }
    if (status == SF_OK) status = make_axes(out, heap, place);
    int places = 0;
    for (int c = 0; c < r->cells && status == SF_OK; c++) {
        double *score = malloc(((size_t)r->records[c] + 1) * sizeof *score);
        if (!score) {
            status = no_memory();
            break;
        }
        for (int i = 0; i < r->records[c]; i++) score[i] = r->record[c][i].strict;
        sf_mean_error(r->records[c], score, &out->mean[c], &out->error[c]);
        free(score);
        out->low[c] = out->high[c] = NAN;
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
    free(v->room);
    *v = (sf_view){0};
}
