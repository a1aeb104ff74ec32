/* Model size: score against sparsity, a curve a model; for each method easy tasks (low dispersion, low scope) beside
 * hard. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };

static int plots(const sf_view *v)
{
    bool any = false; /* joint ones have figures of their own */
    for (int a = 1; a < v->arms; a++) any |= !sf_arm_joint(&v->arm[a]);
    return v->models > 1 && any;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    int panels = 0;
    const char **panel = calloc((size_t)v->arms * 4 + (size_t)v->models, sizeof *panel), **note = panel + 2 * v->arms;
    const char **name = note + 2 * v->arms;
    char(*title)[160] = calloc((size_t)v->arms * 2, sizeof *title);
    if (!panel || !title) {
        free(panel), free(title);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    for (int a = 1; a < v->arms; a++)
        for (int hard = 0; hard < 2 && !sf_arm_joint(&v->arm[a]); hard++, panels++) {
            snprintf(title[panels], sizeof title[panels], "%.120s: %s tasks", v->arm[a].label, hard ? "hard" : "easy");
            panel[panels] = title[panels];
        }
    for (int m = 0; m < v->models; m++) name[m] = v->model[m].label;
    sf_curves c = {.panels = panels,
                   .series = v->models,
                   .panel = panel,
                   .name = name,
                   .note = note,
                   .ylabel = "Score",
                   .columns = panels <= 2 ? 2 : 4};
    sf_curves_begin(plot, &c);
    for (int a = 1, at = 0; a < v->arms; a++) {
        double level[LEVELS][SF_PHASES];
        if (sf_arm_joint(&v->arm[a])) continue;
        int levels = sf_arm_levels(v, a, LEVELS, level);
        for (int hard = 0; hard < 2; hard++, at++) {
            bool any = false;
            for (int m = 0; m < v->models; m++)
                for (int k = *sf_model_attention(&v->model[m]) ? 0 : -1; k < levels; k++) { /* dense, as sparsity 0 */
                    sf_selection s = {.model = m, .length = -1, .task = -1, .arm = k < 0 ? 0 : a, .hard = hard};
                    if (k >= 0) memcpy(s.sparsity, level[k], sizeof s.sparsity);
                    sf_average x = sf_view_average(v, &s, SF_SCORE);
                    if (!x.cells) continue;
                    if (k < 0) x.sparsity = 0;
                    sf_curves_row(plot, &c, at, m, &x);
                    any |= k >= 0;
                }
            note[at] = any ? "" : hard ? "no hard tasks" : "no easy tasks";
        }
    }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "Score against executed sparsity by model size, means over lengths and tasks; easy: tasks of low "
            "dispersion and low scope, hard: the others. Bars: 95 %% intervals.");
    free(panel), free(title);
    return SF_OK;
}

const sf_figure sf_figure_models = {.name = "models",
                                    .title = "Model size",
                                    .plots = plots,
                                    .make = make,
                                    .lacks = "needs two models and a sparse method"};
