/* What choosing costs: the share of executed FLOPs that went into estimating what to compute, a panel a length. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };

static int plots(const sf_view *v)
{
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->arm && !sf_arm_joint(&v->arm[p->arm]) && (p->estimation[SF_PREFILL] > 0 || p->estimation[SF_DECODE] > 0)) return 1;
    }
    return 0;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    int series = 0;
    const char **panel = calloc((size_t)v->lengths + (size_t)v->arms, sizeof *panel), **name = panel + v->lengths;
    char(*length)[32] = calloc((size_t)v->lengths, sizeof *length);
    bool *dashed = calloc((size_t)v->arms, sizeof *dashed);
    if (!panel || !length || !dashed) {
        free(panel), free(length), free(dashed);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    for (int l = 0; l < v->lengths; l++) {
        snprintf(length[l], sizeof length[l], "%d tokens", v->length[l]);
        panel[l] = length[l];
    }
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a])) {
            dashed[series] = v->arm[a].sparse[SF_DECODE];
            name[series++] = v->arm[a].label;
        }
    sf_curves c = {.panels = v->lengths,
                   .series = series,
                   .panel = panel,
                   .name = name,
                   .dashed = dashed,
                   .percent = true,
                   .ylabel = "FLOPs of the phase"};
    sf_curves_begin(plot, &c);
    for (int l = 0; l < v->lengths; l++)
        for (int a = 1, s = 0; a < v->arms; a++) {
            double level[LEVELS][SF_PHASES];
            if (sf_arm_joint(&v->arm[a])) continue;
            int levels = sf_arm_levels(v, a, LEVELS, level),
                phase = v->arm[a].sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE;
            for (int k = 0; k < levels; k++) {
                double share = 0, sparsity = 0;
                int n = 0, samples = 0;
                for (int m = 0; m < v->models; m++) {
                    const sf_point *p = sf_view_find(v, m, l, a, level[k][0], level[k][1]);
                    if (!p) continue;
                    share += p->estimation[phase];
                    sparsity += sf_point_sparsity(v, p);
                    samples += p->samples;
                    n++;
                }
                if (n)
                    sf_curves_row(plot, &c, l, s,
                                  &(sf_average){.cells = n, .samples = samples, .value = share / n, .low = NAN, .high = NAN, .sparsity = sparsity / n});
            }
            s++;
        }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "Share of the FLOPs executed in a method's own phase that went into estimating what to compute, counted "
            "inside the kernels; means over models, tasks and samples. Solid: prefill, dashed: decode.");
    free(panel), free(length), free(dashed);
    return SF_OK;
}

const sf_figure sf_figure_estimation = {.name = "estimation",
                                        .title = "Cost of estimation",
                                        .plots = plots,
                                        .make = make,
                                        .lacks = "needs a method that estimates"};
