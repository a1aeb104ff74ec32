#include "harness/run/dispatch.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A unit as it is sorted. */
struct ranked {
    double model, group; /* the largest work of a sample of them */
    sf_unit unit;
};

static int larger_first(double a, double b) { return a > b ? -1 : a < b; }

static int by_work(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int order = larger_first(x->model, y->model);
    if (!order) order = x->unit.model - y->unit.model;
    if (!order) order = larger_first(x->group, y->group);
    if (!order) order = x->unit.at - y->unit.at;
    return order ? order : x->unit.sample - y->unit.sample;
}

/* The units of a group stand together, and so do the groups of a model. */
static void rank_units(int units, struct ranked *r)
{
    for (int i = 0, end, m; i < units; i = end) {
        double model = 0;
        for (end = i; end < units && r[end].unit.model == r[i].unit.model; end++)
            if (r[end].unit.work > model) model = r[end].unit.work;
        for (int g = i; g < end; g = m) {
            double group = 0;
            for (m = g; m < end && r[m].unit.at == r[g].unit.at; m++)
                if (r[m].unit.work > group) group = r[m].unit.work;
            for (int k = g; k < m; k++) r[k].group = group, r[k].model = model;
        }
    }
}

static sf_status longest_first(int units, sf_unit *unit)
{
    struct ranked *r = malloc((size_t)units * sizeof *r + 1);
    if (!r) return sf_fail(SF_NO_MEMORY, "no memory for a list of %d samples", units);
    for (int i = 0; i < units; i++) r[i].unit = unit[i];
    rank_units(units, r);
    qsort(r, (size_t)units, sizeof *r, by_work);
    for (int i = 0; i < units; i++) unit[i] = r[i].unit;
    free(r);
    return SF_OK;
}

sf_status sf_dispatch_open(int units, sf_unit *unit, int workers, sf_dispatch *out)
{
    *out = (sf_dispatch){.units = units, .workers = workers, .unit = unit};
    if (workers > 1) SF_TRY(longest_first(units, unit));
    out->left = malloc(((size_t)units + 1) * sizeof *out->left);
    if (!out->left) return sf_fail(SF_NO_MEMORY, "no memory for a list of %d samples", units);
    out->left[units] = 0;
    for (int i = units; i-- > 0;) out->left[i] = out->left[i + 1] + unit[i].work;
    return SF_OK;
}

void sf_dispatch_close(sf_dispatch *d)
{
    free(d->unit);
    free(d->left);
    *d = (sf_dispatch){0};
}

/* The unit behind those that are given out together, from `first` on. */
static int end_of(const sf_dispatch *d, int first)
{
    const double most = d->workers > 1 ? d->left[first] / (2.0 * d->workers) : d->left[first];
    int end = first, lanes = 0;
    do lanes += d->unit[end++].lanes;
    while (end < d->units && d->unit[end].at == d->unit[first].at && lanes < SF_LANES_TOGETHER &&
           d->left[first] - d->left[end + 1] <= most);
    return end;
}

bool sf_dispatch_take(const sf_dispatch *d, _Atomic int *next, sf_take *out)
{
    int first = atomic_load(next), end;
    do {
        if (first >= d->units) return false;
        end = end_of(d, first);
    } while (!atomic_compare_exchange_weak(next, &first, end));
    *out = (sf_take){.at = d->unit[first].at, .from = d->unit[first].sample, .to = d->unit[end - 1].sample + 1,
                     .work = d->left[first] - d->left[end]};
    return true;
}
