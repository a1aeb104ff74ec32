/* Does keeping the attention mass keep the score? Every sparse point, its recall against its score relative to dense.
 */
#include "harness/report/figure.h"
#include "harness/report/stats.h"

#include <stdlib.h>

/* Mean recall of a point over its cells, layers and heads; NAN: not recorded. */
static double recall_of(const sf_view *v, const sf_point *p)
{
    int phase = v->arm[p->arm].sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE, n = 0;
    double sum = 0;
    for (int t = 0; t < v->tasks; t++) {
        const float *map = p->cell[t] >= 0 ? v->results->mean[p->cell[t]].recall[phase] : NULL;
        const sf_cell_info *c = p->cell[t] >= 0 ? &v->results->cell[p->cell[t]] : NULL;
        for (int i = 0; map && i < c->layers * c->heads; i++)
            if (!isnan(map[i])) sum += map[i], n++;
    }
    return n ? sum / n : NAN;
}

static int plots(const sf_view *v)
{
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i], *dense = sf_view_dense(v, p);
        if (p->arm && !sf_arm_joint(&v->arm[p->arm]) && p->verdict.tasks && dense && dense->score > 0 &&
            !isnan(recall_of(v, p)))
            return 1;
    }
    return 0;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    const char **arm = calloc((size_t)v->arms, sizeof *arm);
    double *dashed = calloc((size_t)v->arms, sizeof *dashed), *x = calloc((size_t)v->points * 2 + 1, sizeof *x),
           *y = x + v->points;
    if (!arm || !dashed || !x) {
        free(arm), free(dashed), free(x);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    int arms = 0, n = 0, longest = 0;
    double lowest = 1, worst = 1, best = 1;
    fprintf(plot->csv, "arm,model,tokens,requested,recall,value,difference,tasks,arm_id\n");
    for (int a = 1; a < v->arms; a++) {
        bool any = false;
        if (sf_arm_joint(&v->arm[a])) continue;
        for (int i = 0; i < v->points; i++) {
            const sf_point *p = &v->point[i], *dense = sf_view_dense(v, p);
            double recall = p->arm == a ? recall_of(v, p) : NAN;
            if (isnan(recall) || !p->verdict.tasks || !dense || !(dense->score > 0)) continue;
            double ratio = 1 + p->verdict.difference / dense->score;
            char level[32];
            sf_point_level(v, p, level);
            sf_csv_row(plot->csv, "ssdsfffdd", v->arm[a].label, v->model[p->model].label, v->length[p->length], level,
                       recall, ratio, p->verdict.difference, p->verdict.tasks, arms + 1);
            lowest = fmin(lowest, recall);
            worst = fmin(worst, ratio);
            best = fmax(best, ratio);
            x[n] = recall;
            y[n++] = ratio;
            any = true;
        }
        if (!any) continue;
        dashed[arms] = v->arm[a].sparse[SF_DECODE];
        if ((int)strlen(v->arm[a].label) > longest) longest = (int)strlen(v->arm[a].label);
        arm[arms++] = v->arm[a].label;
    }
    plot->template = "recall";
    sf_set_legend(plot, arms, longest);
    plot->height += 70;
    sf_set_texts(plot, "arm", arms, arm);
    sf_set_numbers(plot, "dashed", arms, dashed);
    sf_set_number(plot, "xmin", floor(lowest * 10) / 10);
    sf_set_number(plot, "ymin", floor(worst * 10) / 10);
    sf_set_number(plot, "ymax", ceil(best * 10) / 10 + 0.02);
    double tau = sf_kendall(n, x, y);
    fprintf(plot->caption,
            "Share of the dense attention mass that falls on what a method selected (mean over samples, layers and "
            "heads) against its score relative to dense; one point a model, length, method and sparsity (%d points). "
            "Filled: "
            "prefill, hollow: decode. No bars, which would hide the cloud: each score's interval is in tables/scores.csv.",
            n);
    if (!isnan(tau)) fprintf(plot->caption, " Rank correlation (Kendall's tau-b): %.2f.", tau);
    free(arm), free(dashed), free(x);
    return SF_OK;
}

const sf_figure sf_figure_recall = {.name = "recall",
                                    .title = "Attention mass and score",
                                    .plots = plots,
                                    .make = make,
                                    .lacks = "needs attention-mass recall (config: recall)"};
