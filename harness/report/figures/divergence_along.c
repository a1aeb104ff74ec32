/* Divergence and NLL by position: along the prompt of methods of prefill, along the generation of those of decode; a panel a task
 * and phase, each method at its sparsity nearest to 0.9. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>

enum { LEVELS = 64 };
static const double wanted = 0.9;

/* What is drawn: of the sparse model, or of the dense one after the same tokens. */
typedef enum measure { KL, NLL } measure;

static int phase_of(const sf_view_arm *arm) { return arm->sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE; }

/* Means over the models and lengths that an arm was run at, of its level nearest to the wanted one. */
typedef struct average {
    double kl[SF_STRETCHES], nll[SF_STRETCHES], dense[SF_STRETCHES];
    int n[SF_STRETCHES], cells, samples;
} average;

static void add(average *to, const sf_profile *p, int samples)
{
    for (int k = 0; k < SF_STRETCHES; k++) {
        if (isnan(p->kl[k])) continue;
        to->kl[k] += p->kl[k], to->nll[k] += p->nll[k], to->dense[k] += p->dense_nll[k];
        to->n[k]++;
    }
    to->cells++;
    to->samples += samples;
}

static const sf_point *nearest(const sf_view *v, int model, int length, int arm)
{
    const sf_point *best = NULL;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->arm != arm || p->model != model || p->length != length) continue;
        if (!best || fabs(sf_point_sparsity(v, p) - wanted) < fabs(sf_point_sparsity(v, best) - wanted)) best = p;
    }
    return best;
}

static average average_of(const sf_view *v, int arm, int task, int phase)
{
    average out = {0};
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            const sf_point *p = nearest(v, m, l, arm);
            const int cell = p ? p->cell[task] : -1;
            const sf_profile *profile = cell >= 0 && v->results->mean ? v->results->mean[cell].along[phase] : NULL;
            if (profile) add(&out, profile, v->results->records[cell]);
        }
    for (int k = 0; k < SF_STRETCHES; k++) {
        const double n = out.n[k] ? out.n[k] : NAN;
        out.kl[k] /= n, out.nll[k] /= n, out.dense[k] /= n;
    }
    return out;
}

/* Whether some method of the phase was measured on the task. */
static bool is_measured(const sf_view *v, int task, int phase)
{
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a]) && phase_of(&v->arm[a]) == phase && average_of(v, a, task, phase).cells) return true;
    return false;
}

static int plots(const sf_view *v)
{
    for (int t = 0; t < v->tasks; t++)
        if (is_measured(v, t, SF_PREFILL) || is_measured(v, t, SF_DECODE)) return 1;
    return 0;
}

static void row(sf_plot *plot, sf_curves *c, int panel, int series, double place, double value, const average *mean)
{
    sf_curves_row(plot, c, panel, series, &(sf_average){.sparsity = place, .value = value, .low = NAN, .high = NAN,
                                                        .cells = mean->cells, .samples = mean->samples});
}

static sf_status make(const sf_view *v, measure what, sf_plot *plot)
{
    int panels = 0, series = 0;
    const char **panel = calloc(2 * (size_t)v->tasks + (size_t)v->arms, sizeof *panel), **name = panel + 2 * v->tasks;
    char(*title)[160] = calloc(2 * (size_t)v->tasks, sizeof *title);
    bool *dashed = calloc((size_t)v->arms, sizeof *dashed);
    if (!panel || !title || !dashed) {
        free(panel), free(title), free(dashed);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    for (int p = 0; p < SF_PHASES; p++)
        for (int t = 0; t < v->tasks; t++) {
            if (!is_measured(v, t, p)) continue;
            snprintf(title[panels], sizeof title[panels], "%.120s, %s", v->task[t].label, p == SF_PREFILL ? "prompt" : "generation");
            panel[panels] = title[panels];
            panels++;
        }
    if (what == NLL) name[series++] = "dense";
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a])) {
            dashed[series] = v->arm[a].sparse[SF_DECODE];
            name[series++] = v->arm[a].label;
        }
    sf_curves c = {.panels = panels, .series = series, .panel = panel, .name = name, .dashed = dashed, .logarithmic = what == KL,
                   .columns = panels > 1 ? 3 : 1, .ylabel = what == KL ? "KL from dense (nat)" : "NLL (nat)", .xlabel = "Position (share)"};
    sf_curves_begin(plot, &c);
    int at = 0, most = 0;
    for (int p = 0; p < SF_PHASES; p++)
        for (int t = 0; t < v->tasks; t++) {
            if (!is_measured(v, t, p)) continue;
            bool drawn = what == KL; /* the dense model's own */
            for (int a = 1, s = what == NLL; a < v->arms; a++) {
                if (sf_arm_joint(&v->arm[a])) continue;
                const average mean = average_of(v, a, t, p);
                for (int k = 0; mean.cells && phase_of(&v->arm[a]) == p && k < SF_STRETCHES; k++) {
                    const double place = (k + 0.5) / SF_STRETCHES;
                    if (!drawn) row(plot, &c, at, 0, place, mean.dense[k], &mean);
                    row(plot, &c, at, s, place, what == KL ? mean.kl[k] : mean.nll[k], &mean);
                    most = mean.samples > most ? mean.samples : most;
                }
                drawn |= mean.cells && phase_of(&v->arm[a]) == p;
                s++;
            }
            at++;
        }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "%s by position, each method at its executed sparsity nearest to %g: along the prompt, at sampled rows, of methods of "
            "prefill (solid); along what is generated or what follows in the text of methods of decode (dashed). %d stretches; means "
            "over %s and samples, up to %d a point.",
            what == KL ? "KL divergence of the sparse model's predictions from the dense model's" : "Negative log-likelihood of the tokens that follow",
            wanted, SF_STRETCHES, v->models > 1 ? "models, lengths" : "lengths", most);
    free(panel), free(title), free(dashed);
    return SF_OK;
}

static sf_status make_kl(const sf_view *v, int which, sf_plot *plot) { (void)which; return make(v, KL, plot); }
static sf_status make_nll(const sf_view *v, int which, sf_plot *plot) { (void)which; return make(v, NLL, plot); }

const sf_figure sf_figure_divergence_along = {.name = "divergence_along",
                                              .title = "Divergence by position",
                                              .plots = plots,
                                              .make = make_kl,
                                              .lacks = "needs divergence (config: measures)"};

const sf_figure sf_figure_nll_along = {.name = "nll_along",
                                       .title = "NLL by position",
                                       .plots = plots,
                                       .make = make_nll,
                                       .lacks = "needs divergence (config: measures)"};
