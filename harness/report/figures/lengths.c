/* What sparsity costs at each length: relative error (dense - sparse) / dense, and absolute, a panel a method. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };

static int plots(const sf_view *v)
{
    int arms = 0;
    for (int a = 1; a < v->arms; a++) arms += !sf_arm_joint(&v->arm[a]);
    return v->lengths > 1 && arms;
}

static sf_status make(const sf_view *v, sf_plot *plot, bool relative)
{
    int panels = 0;
    const char **panel = calloc((size_t)v->arms + (size_t)v->lengths, sizeof *panel), **name = panel + v->arms;
    char(*length)[32] = calloc((size_t)v->lengths, sizeof *length);
    if (!panel || !length) {
        free(panel), free(length);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a])) panel[panels++] = v->arm[a].label;
    for (int l = 0; l < v->lengths; l++) {
        snprintf(length[l], sizeof length[l], "%d tokens", v->length[l]);
        name[l] = length[l];
    }
    sf_curves c = {.panels = panels,
                   .series = v->lengths,
                   .panel = panel,
                   .name = name,
                   .percent = relative,
                   .ylabel = relative ? "Relative error" : "Score lost"};
    sf_curves_begin(plot, &c);
    for (int a = 1, at = 0; a < v->arms; a++) {
        double level[LEVELS][SF_PHASES];
        if (sf_arm_joint(&v->arm[a])) continue;
        int levels = sf_arm_levels(v, a, LEVELS, level);
        for (int l = 0; l < v->lengths; l++)
            for (int k = 0; k < levels; k++) {
                sf_selection s = {
                    .model = -1, .length = l, .task = -1, .arm = a, .hard = -1, .sparsity = {level[k][0], level[k][1]}};
                sf_average x = sf_view_average(v, &s, relative ? SF_LOSS : SF_DROP);
                sf_curves_row(plot, &c, at, l, &x);
            }
        at++;
    }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "%s by length, mean over %s, over the tasks that dense and sparse both have. Bars: 95 %% intervals of "
            "the paired difference%s.",
            relative ? "Relative error, (dense − sparse) / dense of mean scores," : "Score lost, dense − sparse,",
            v->models > 1 ? "models" : "tasks", relative ? ", over dense as it was measured" : "");
    free(panel), free(length);
    return SF_OK;
}

static sf_status make_relative(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    return make(v, plot, true);
}
static sf_status make_absolute(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    return make(v, plot, false);
}

const sf_figure sf_figure_lengths = {.name = "lengths",
                                     .title = "Length: relative error",
                                     .plots = plots,
                                     .make = make_relative,
                                     .lacks = "needs two lengths and a sparse method"};
const sf_figure sf_figure_lengths_absolute = {.name = "lengths_absolute",
                                              .title = "Length: score lost",
                                              .plots = plots,
                                              .make = make_absolute,
                                              .lacks = "needs two lengths and a sparse method"};
