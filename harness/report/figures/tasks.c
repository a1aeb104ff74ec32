/* Score against sparsity, a panel a task and one for their mean: over all models and lengths, then for each model. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };

static int plots(const sf_view *v) { return v->arms < 2 ? 0 : v->models > 1 ? 1 + v->models : 1; }

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    int model = which - 1, panels = v->tasks + (v->tasks > 1), series = 0;
    const char **panel = calloc((size_t)panels * 2 + (size_t)v->arms, sizeof *panel), **note = panel + panels,
               **name = note + panels;
    bool *dashed = calloc((size_t)v->arms, sizeof *dashed);
    sf_average *reference = calloc((size_t)panels, sizeof *reference);
    char(*title)[128] = calloc((size_t)panels, sizeof *title);
    if (!panel || !dashed || !reference || !title) {
        free(panel), free(dashed), free(reference), free(title);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    if (model >= 0) {
        char label[64];
        sf_file_label(v->model[model].label, label);
        snprintf(plot->name + strlen(plot->name), 66, "-%s", label);
    }
    for (int t = 0; t < panels; t++) {
        const sf_view_task *task = &v->task[t];
        const char *hard = t == v->tasks                     ? ""
                           : task->dispersion && task->scope ? " (high dispersion, scope)"
                           : task->dispersion                ? " (high dispersion)"
                           : task->scope                     ? " (high scope)"
                                                             : "";
        snprintf(title[t], sizeof title[t], "%.90s%s", t == v->tasks ? "mean over tasks" : task->label, hard);
        panel[t] = title[t];
    }
    for (int a = 1; a < v->arms; a++) {
        if (sf_arm_joint(&v->arm[a])) continue;
        dashed[series] = v->arm[a].sparse[SF_DECODE];
        name[series++] = v->arm[a].label;
    }
    sf_curves c = {.panels = panels,
                   .series = series,
                   .panel = panel,
                   .name = name,
                   .dashed = dashed,
                   .reference = reference,
                   .note = note,
                   .ylabel = "Score"};
    sf_curves_begin(plot, &c);
    int most = 0, fewest = 1 << 30, samples = 0;
    for (int t = 0; t < panels; t++) {
        sf_selection all = {.model = model, .length = -1, .task = t < v->tasks ? t : -1, .arm = 0, .hard = -1};
        reference[t] = sf_view_average(v, &all, SF_SCORE);
        reference[t].sparsity = 0;
        sf_curves_row(plot, &c, t, -1, &reference[t]);
        bool any = false;
        for (int a = 1, s = 0; a < v->arms; a++) {
            double level[LEVELS][SF_PHASES];
            if (sf_arm_joint(&v->arm[a])) continue;
            int levels = sf_arm_levels(v, a, LEVELS, level);
            for (int l = 0; l < levels; l++) {
                sf_selection one = all;
                one.arm = a;
                memcpy(one.sparsity, level[l], sizeof one.sparsity);
                sf_average x = sf_view_average(v, &one, SF_SCORE);
                if (!x.cells) continue;
                sf_curves_row(plot, &c, t, s, &x);
                any = true;
                if (t == panels - 1)
                    most = x.cells > most ? x.cells : most, fewest = x.cells < fewest ? x.cells : fewest;
                if (x.samples > samples) samples = x.samples;
            }
            s++;
        }
        note[t] = any ? "" : "no sparse cells";
    }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "Score (strict) against executed sparsity%s%s, means over %s; bars and the band around dense: 95 %% "
            "intervals; up to %d samples a point. Solid: sparse prefill, dashed: sparse decode.",
            model >= 0 ? ", " : "", model >= 0 ? v->model[model].label : "",
            model >= 0 || v->models == 1 ? "lengths" : "models and lengths", samples);
    if (fewest < most)
        fprintf(plot->caption,
                " Some points lack models, tasks or lengths that others have: column `cells` of the CSV.");
    free(panel), free(dashed), free(reference), free(title);
    return SF_OK;
}

const sf_figure sf_figure_tasks = {.name = "tasks",
                                   .title = "Score against sparsity, by task",
                                   .plots = plots,
                                   .make = make,
                                   .lacks = "needs a sparse cell",
                                   .in_paper = true};
