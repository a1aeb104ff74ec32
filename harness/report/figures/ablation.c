/* Ablations: methods that were run with several settings, a panel a method, a curve a setting. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };

static const char *method_of(const sf_view_arm *arm)
{
    return arm->method[arm->sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE];
}

/* How many arms share this one's method and phase. */
static int siblings(const sf_view *v, int arm)
{
    int n = 0;
    for (int a = 1; a < v->arms; a++)
        n += !sf_arm_joint(&v->arm[a]) && v->arm[a].sparse[SF_PREFILL] == v->arm[arm].sparse[SF_PREFILL] &&
             strcmp(method_of(&v->arm[a]), method_of(&v->arm[arm])) == 0;
    return n;
}

static int plots(const sf_view *v)
{
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a]) && siblings(v, a) > 1) return 1;
    return 0;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    int panels = 0, series = 0;
    const char **panel = calloc((size_t)v->arms * 2, sizeof *panel), **name = panel + v->arms;
    bool *dashed = calloc((size_t)v->arms, sizeof *dashed);
    sf_average *reference = calloc((size_t)v->arms, sizeof *reference);
    if (!panel || !dashed || !reference) {
        free(panel), free(dashed), free(reference);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    sf_average dense = sf_view_average(v, &(sf_selection){.model = -1, .length = -1, .task = -1, .hard = -1}, SF_SCORE);
    sf_curves c = {.panel = panel,
                   .name = name,
                   .dashed = dashed,
                   .reference = reference,
                   .ylabel = "Score (mean over tasks)"};
    sf_curves_begin(plot, &c);
    for (int a = 1; a < v->arms; a++) {
        double level[LEVELS][SF_PHASES];
        int at = 0;
        if (sf_arm_joint(&v->arm[a]) || siblings(v, a) < 2) continue;
        while (at < panels && strcmp(panel[at], method_of(&v->arm[a])) != 0) at++;
        if (at == panels) {
            panel[panels] = method_of(&v->arm[a]);
            reference[panels++] = dense;
        }
        dashed[series] = v->arm[a].sparse[SF_DECODE];
        name[series] = v->arm[a].label;
        int levels = sf_arm_levels(v, a, LEVELS, level);
        for (int k = 0; k < levels; k++) {
            sf_selection s = {
                .model = -1, .length = -1, .task = -1, .arm = a, .hard = -1, .sparsity = {level[k][0], level[k][1]}};
            sf_average x = sf_view_average(v, &s, SF_SCORE);
            sf_curves_row(plot, &c, at, series, &x);
        }
        series++;
    }
    c.panels = panels;
    c.series = series;
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "Settings of a method against each other: score against executed sparsity, means over models, lengths "
            "and tasks. Bars and the band around dense: 95 %% intervals.");
    free(panel), free(dashed), free(reference);
    return SF_OK;
}

const sf_figure sf_figure_ablation = {.name = "ablation",
                                      .title = "Settings of a method",
                                      .plots = plots,
                                      .make = make,
                                      .lacks = "needs a method with two settings"};
