#include "harness/report/points.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool sf_same_level(const double *a, const double *b)
{
    for (int p = 0; p < SF_PHASES; p++)
        if (!(a[p] == b[p] || (isnan(a[p]) && isnan(b[p])))) return false;
    return true;
}

/* NAN where a phase has explicit parameters; fmax() would pass over it. */
static double requested(const sf_point *p)
{
    bool given = isnan(p->sparsity[SF_PREFILL]) || isnan(p->sparsity[SF_DECODE]);
    return given ? NAN : fmax(p->sparsity[SF_PREFILL], p->sparsity[SF_DECODE]);
}

/* ---- Finding ---- */

const sf_point *sf_view_find(const sf_view *v, int model, int length, int arm, double prefill, double decode)
{
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->model == model && p->length == length && p->arm == arm &&
            sf_same_level(p->sparsity, (const double[SF_PHASES]){[SF_PREFILL] = prefill, [SF_DECODE] = decode}))
            return p;
    }
    return NULL;
}

const sf_point *sf_view_dense(const sf_view *v, const sf_point *point)
{
    return sf_view_find(v, point->model, point->length, 0, 0, 0);
}

int sf_cell_dense(const sf_view *v, int cell)
{
    if (v->point_of[cell] < 0) return -1;
    const sf_point *point = &v->point[v->point_of[cell]], *dense = sf_view_dense(v, point);
    for (int t = 0; dense && dense != point && t < v->tasks; t++)
        if (point->cell[t] == cell) return dense->cell[t];
    return -1;
}

int sf_view_levels(const sf_view *v, double level[SF_LEVELS])
{
    int n = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        double s = requested(p);
        int at = 0;
        if (!p->arm || isnan(s) || s == 0 /* dense, but for its cache */ || sf_arm_joint(&v->arm[p->arm])) continue;
        while (at < n && level[at] != s) at++;
        if (at < n || n == SF_LEVELS) continue;
        for (at = n++; at > 0 && level[at - 1] > s; at--) level[at] = level[at - 1];
        level[at] = s;
    }
    return n;
}

const sf_point *sf_point_at_level(const sf_view *v, int model, int length, int arm, double level)
{
    return sf_view_find(v, model, length, arm, v->arm[arm].sparse[SF_PREFILL] ? level : 0,
                        v->arm[arm].sparse[SF_DECODE] ? level : 0);
}

int sf_arm_levels(const sf_view *v, int arm, int most, double (*level)[SF_PHASES])
{
    int n = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        int at = 0;
        while (at < n && !sf_same_level(level[at], p->sparsity)) at++;
        if (p->arm != arm || at < n || n == most) continue;
        for (at = n++; at > 0 && (level[at - 1][0] > p->sparsity[0] ||
                                  (level[at - 1][0] == p->sparsity[0] && level[at - 1][1] > p->sparsity[1]));
             at--)
            memcpy(level[at], level[at - 1], sizeof level[at]);
        memcpy(level[at], p->sparsity, sizeof level[at]);
    }
    return n;
}

/* ---- Naming ---- */

double sf_point_sparsity(const sf_view *v, const sf_point *point)
{
    return point->achieved[v->arm[point->arm].sparse[SF_PREFILL] || !v->arm[point->arm].sparse[SF_DECODE] ? SF_PREFILL
                                                                                                          : SF_DECODE];
}

double sf_point_requested(const sf_view *v, const sf_point *point)
{
    double level = requested(point);
    return isnan(level) ? sf_point_sparsity(v, point) : level;
}

void sf_point_level(const sf_view *v, const sf_point *point, char text[32])
{
    const sf_view_arm *arm = &v->arm[point->arm];
    char part[SF_PHASES][12];
    for (int p = 0; p < SF_PHASES; p++)
        snprintf(part[p], sizeof part[p], isnan(point->sparsity[p]) ? "set" : "%.2f", point->sparsity[p]);
    if (arm->sparse[SF_PREFILL] && arm->sparse[SF_DECODE] && strcmp(part[0], part[1]) != 0)
        snprintf(text, 32, "%s/%s", part[SF_PREFILL], part[SF_DECODE]);
    else
        snprintf(text, 32, "%s", part[arm->sparse[SF_DECODE] && !arm->sparse[SF_PREFILL] ? SF_DECODE : SF_PREFILL]);
}

void sf_point_name(const sf_view *v, const sf_point *point, char text[SF_POINT_NAME])
{
    static const char dense[] = "dense";
    const sf_view_arm *arm = &v->arm[point->arm];
    const char *attention = sf_model_attention(&v->model[point->model]);
    const bool own = *attention && strncmp(arm->label, dense, strlen(dense)) == 0; /* "dense", or with a cache behind it */
    snprintf(text, SF_POINT_NAME, "%.200s%.110s", own ? attention : arm->label, own ? arm->label + strlen(dense) : "");
}

void sf_cell_name(const sf_view *v, int cell, char text[SF_CELL_NAME])
{
    const sf_cell_info *c = &v->results->cell[cell];
    char level[32], arm[SF_POINT_NAME];
    if (v->point_of[cell] < 0) {
        snprintf(text, SF_CELL_NAME, "%.120s %.120s %d (cell %s)", c->model, c->task_label, c->length, c->key);
        return;
    }
    const sf_point *point = &v->point[v->point_of[cell]];
    sf_point_level(v, point, level);
    sf_point_name(v, point, arm);
    snprintf(text, SF_CELL_NAME, "%.120s %.120s %d %.200s%s%s", v->model[point->model].label, c->task_label, c->length,
             arm, point->arm ? " " : "", point->arm ? level : "");
}

const char *sf_trained_note(const sf_view *v)
{
    for (int m = 0; m < v->models; m++)
        if (*sf_model_attention(&v->model[m])) return " A model that was trained under a method has that method's name, and its score as dense.";
    return "";
}

const char *sf_stopped_note(const sf_view *v)
{
    return v->until > 0 ? " Samples stopped once they had decided; intervals are of a number fixed beforehand." : "";
}

/* ---- Groups of tasks ---- */

const char *const sf_task_groups[SF_TASK_GROUPS] = {"retrieval and lookup (low dispersion, low scope)",
                                                    "multi-hop (high dispersion)", "aggregation (high scope)"};

int sf_view_task_group(const sf_view *v, int group, bool *in)
{
    int n = 0;
    for (int t = 0; t < v->tasks; t++) {
        const sf_view_task *task = &v->task[t];
        in[t] = group == 0 ? !task->dispersion && !task->scope : group == 1 ? task->dispersion : task->scope;
        n += in[t];
    }
    return n;
}

/* ---- Comparing ---- */

double sf_cell_unparsed(const sf_results *r, int cell)
{
    int bad = 0;
    for (int i = 0; i < r->records[cell]; i++) bad += !r->record[cell][i].parsed;
    return (double)bad / r->records[cell];
}

/* The next sample that both cells have, with the same prompt; *i and *j begin at 0. False: no more. */
static bool next_pair(const sf_results *r, int cell, int minus, int *i, int *j, double *difference)
{
    while (*i < r->records[cell] && *j < r->records[minus]) {
        const sf_record *a = &r->record[cell][*i], *b = &r->record[minus][*j];
        if (a->sample != b->sample) {
            ++*(a->sample < b->sample ? i : j);
            continue;
        }
        ++*i, ++*j;
        if (a->prompt_hash && b->prompt_hash && a->prompt_hash != b->prompt_hash) continue;
        *difference = a->strict - b->strict;
        return true;
    }
    return false;
}

int sf_cell_differences(const sf_results *r, int cell, int minus, double *difference)
{
    int n = 0, i = 0, j = 0;
    while (next_pair(r, cell, minus, &i, &j, &difference[n])) n++;
    return n;
}

int sf_cell_mean_difference(const sf_results *r, int cell, int minus, double *mean)
{
    int n = 0, i = 0, j = 0;
    double x, sum = 0;
    for (; next_pair(r, cell, minus, &i, &j, &x); n++) sum += x;
    *mean = n ? sum / n : NAN;
    return n;
}
