/* How far predictions are from the dense model's: KL(dense ‖ sparse) against sparsity, a panel a task and one for their mean. Of
 * a method of prefill at rows of the prompt, of one of decode along what the dense model generates. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };

/* Over cells: each the mean of its samples. */
typedef struct kl {
    double sum; /* of the cells' means */
    int cells, samples;
} kl;

static void add_cell(const sf_view *v, int cell, int phase, kl *to)
{
    const sf_results *r = v->results;
    double sum = 0;
    int n = 0;
    for (int i = 0; cell >= 0 && i < r->records[cell]; i++) {
        double x = r->record[cell][i].diverged[phase].kl;
        if (!isnan(x)) sum += x, n++;
    }
    if (!n) return;
    to->sum += sum / n;
    to->cells++;
    to->samples += n;
}

/* Every cell of the arm at this level, over all models and lengths; task < 0: of all tasks. */
static kl average(const sf_view *v, int arm, const double level[SF_PHASES], int task, int phase)
{
    kl out = {0};
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            const sf_point *p = sf_view_find(v, m, l, arm, level[0], level[1]);
            for (int t = 0; p && t < v->tasks; t++)
                if (task < 0 || t == task) add_cell(v, p->cell[t], phase, &out);
        }
    return out;
}

static int phase_of(const sf_view_arm *arm) { return arm->sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE; }

static double sparsity_of(const sf_view *v, int arm, const double level[SF_PHASES])
{
    double sum = 0;
    int n = 0;
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            const sf_point *p = sf_view_find(v, m, l, arm, level[0], level[1]);
            if (p) sum += sf_point_sparsity(v, p), n++;
        }
    return n ? sum / n : NAN;
}

static int plots(const sf_view *v)
{
    for (int a = 1; a < v->arms; a++) {
        double level[LEVELS][SF_PHASES];
        int levels = sf_arm_joint(&v->arm[a]) ? 0 : sf_arm_levels(v, a, LEVELS, level);
        for (int k = 0; k < levels; k++)
            if (average(v, a, level[k], -1, phase_of(&v->arm[a])).cells) return 1;
    }
    return 0;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    int panels = v->tasks + (v->tasks > 1), series = 0, most = 0;
    const char **panel = calloc((size_t)panels + (size_t)v->arms, sizeof *panel), **name = panel + panels;
    bool *dashed = calloc((size_t)v->arms, sizeof *dashed);
    if (!panel || !dashed) {
        free(panel), free(dashed);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    for (int t = 0; t < panels; t++) panel[t] = t == v->tasks ? "mean over tasks" : v->task[t].label;
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a])) {
            dashed[series] = v->arm[a].sparse[SF_DECODE];
            name[series++] = v->arm[a].label;
        }
    sf_curves c = {.panels = panels, .series = series, .panel = panel, .name = name, .dashed = dashed, .logarithmic = true,
                   .ylabel = "KL from dense (nat)"};
    sf_curves_begin(plot, &c);
    for (int t = 0; t < panels; t++)
        for (int a = 1, s = 0; a < v->arms; a++) {
            double level[LEVELS][SF_PHASES];
            if (sf_arm_joint(&v->arm[a])) continue;
            int levels = sf_arm_levels(v, a, LEVELS, level);
            for (int k = 0; k < levels; k++) {
                kl x = average(v, a, level[k], t < v->tasks ? t : -1, phase_of(&v->arm[a]));
                if (!x.cells) continue;
                sf_curves_row(plot, &c, t, s,
                              &(sf_average){.cells = x.cells, .samples = x.samples, .value = x.sum / x.cells, .low = NAN, .high = NAN,
                                            .sparsity = sparsity_of(v, a, level[k])});
                most = x.samples > most ? x.samples : most;
            }
            s++;
        }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "KL divergence of the sparse model's predictions from the dense model's after the same tokens, against executed "
            "sparsity; means over %s and samples, up to %d a point. No bars: KL has no bound, so that no interval of a mean of few "
            "samples holds. Solid: sparse prefill, at rows of the prompt; dashed: sparse decode, along what the dense model "
            "generates.",
            v->models > 1 ? "models, lengths" : "lengths", most);
    free(panel), free(dashed);
    return SF_OK;
}

const sf_figure sf_figure_divergence = {.name = "divergence",
                                        .title = "Divergence from dense",
                                        .plots = plots,
                                        .make = make,
                                        .lacks = "needs divergence (config: measures)"};
