#include "harness/report/limits.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"

#include <math.h>
#include <stdio.h>

/* The verdict on a point, or on its cell of a task; NULL: not one of those, or nothing to compare with. */
static const sf_verdict *verdict_of(const sf_view *v, const sf_point *p, int model, int task, int length, int arm)
{
    if ((model >= 0 && p->model != model) || (length >= 0 && p->length != length) || p->arm != arm) return NULL;
    if (task >= 0 && p->cell[task] < 0) return NULL;
    const sf_verdict *x = task >= 0 ? &v->verdict[p->cell[task]] : &p->verdict;
    return x->tasks ? x : NULL;
}

bool sf_view_limit(const sf_view *v, int model, int task, int length, int arm, sf_limit *out)
{
    double open = INFINITY; /* the lowest sparsity with a point that does not exclude the loss */
    *out = (sf_limit){.safe = -1, .shown = INFINITY, .lowest = INFINITY, .excluded = -INFINITY};
    for (int i = 0; i < v->points; i++) {
        const sf_verdict *x = verdict_of(v, &v->point[i], model, task, length, arm);
        if (!x) continue;
        double s = sf_point_requested(v, &v->point[i]);
        out->lowest = fmin(out->lowest, s);
        if (!out->samples || x->samples < out->samples) out->samples = x->samples;
        if (!(x->low >= -SF_MARGIN)) open = fmin(open, s);
        if (sf_verdict_loss(x)) out->shown = fmin(out->shown, s);
    }
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < v->points; i++) {
            const sf_verdict *x = verdict_of(v, &v->point[i], model, task, length, arm);
            if (!x) continue;
            double s = sf_point_requested(v, &v->point[i]);
            if (pass == 0 && s < open) out->safe = fmax(out->safe, s);
            if (pass == 1 && s == (out->safe < 0 ? out->lowest : out->safe)) out->excluded = fmax(out->excluded, -x->low);
        }
    if (isinf(out->shown)) out->shown = -1;
    return out->samples > 0;
}

int sf_pairs_needed(double loss) { return (int)ceil(log(0.025) / log1p(-loss)); }

void sf_limit_text(double sparsity, char text[16]) { snprintf(text, 16, sparsity < 0 ? "none" : "%.2f", sparsity); }
