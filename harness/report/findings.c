#include "harness/report/findings.h"
#include "harness/report/limits.h"
#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"
#include "harness/report/stats.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double most_sparsity = 0.9;

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory for findings"); }

static sf_status add(sf_findings *f, const char *question, const char *verdict, bool detail, int samples, double number,
                     double low, double high, const char *format, ...) __attribute__((format(printf, 9, 10)));
static sf_status add(sf_findings *f, const char *question, const char *verdict, bool detail, int samples, double number,
                     double low, double high, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) text = NULL;
    va_end(args);
    sf_finding *grown = text ? realloc(f->at, ((size_t)f->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(text);
        return no_memory();
    }
    f->at = grown;
    f->at[f->count++] = (sf_finding){.question = question, .verdict = verdict, .text = text, .number = number, .low = low, .high = high,
                                     .samples = samples, .detail = detail};
    return SF_OK;
}

void sf_findings_free(sf_findings *f)
{
    for (int i = 0; i < f->count; i++) free(f->at[i].text);
    free(f->at);
    *f = (sf_findings){0};
}

/* ---- Replicates ---- */

/* Mean over the tasks of `in`, added to replicate with a weight. False: a task is missing. */
static bool add_point(const sf_view *v, const sf_point *p, const bool *in, double weight, double *replicate)
{
    int tasks = 0, B = v->resamples;
    for (int t = 0; t < v->tasks; t++) {
        if (!in[t]) continue;
        if (p->cell[t] < 0) return false;
        tasks++;
    }
    for (int t = 0; t < v->tasks && tasks; t++)
        for (int b = 0; b < B && in[t]; b++) replicate[b] += weight / tasks * v->replicate[(size_t)p->cell[t] * B + b];
    return tasks > 0;
}

bool sf_interpolate(const sf_view *v, int model, int length, int arm, const bool *in, double s, double *replicate)
{
    const sf_point *below = NULL, *above = NULL;
    double low = -1, high = 2;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->model != model || p->length != length || (p->arm != arm && p->arm != 0)) continue;
        double at = p->arm ? sf_point_sparsity(v, p) : 0;
        if (at <= s + 1e-12 && at > low) below = p, low = at;
        if (at >= s - 1e-12 && at < high) above = p, high = at;
    }
    memset(replicate, 0, (size_t)v->resamples * sizeof *replicate);
    if (!below || !above) return false;
    double w = high > low ? (s - low) / (high - low) : 0;
    return add_point(v, below, in, 1 - w, replicate) && (w == 0 || add_point(v, above, in, w, replicate));
}

/* The cells of the tasks `in` of an arm's points at a model and length, as far as they were run. */
static void stand_on(const sf_view *v, int model, int length, int arm, const bool *in, sf_basis *basis)
{
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->model != model || p->length != length || p->arm != arm) continue;
        for (int t = 0; t < v->tasks; t++) {
            int n = in[t] && p->cell[t] >= 0 ? v->results->records[p->cell[t]] : basis->fewest;
            if (!basis->fewest || n < basis->fewest) basis->fewest = n;
        }
    }
}

/* Mean of replicates (of twice the room) and 95 % interval of a statistic that lies in [-reach, reach]. */
static void interval(int n, double *replicate, sf_basis basis, double reach, double *mean, double *low, double *high)
{
    *mean = 0;
    for (int b = 0; b < n; b++) *mean += replicate[b] / n;
    basis.least = -reach, basis.most = reach;
    sf_interval_bounded(n, replicate, &basis, 0.95, low, high);
}

/* ---- 1. At equal cost, does the larger model made sparse beat the smaller one? ---- */

static sf_status compare_costs(const sf_view *v, sf_findings *out, double *replicate, bool *in)
{
    for (int phase = 0; phase < SF_PHASES; phase++) {
        int wins = 0, losses = 0, open = 0, none = 0, full = 0, fewest = 0;
        bool ceiling = false;
        double shown[3] = {NAN, NAN, NAN};
        char example[400] = "";
        for (int l = 0; l < v->lengths; l++)
            for (int m = 0; m + 1 < v->models; m++) {
                const sf_point *dense = sf_view_find(v, m, l, 0, 0, 0), *best = NULL;
                int tried = 0;
                for (int i = 0; i < v->points && dense; i++) {
                    const sf_point *p = &v->point[i];
                    const sf_view_arm *arm = &v->arm[p->arm];
                    if (p->length != l || p->model <= m || !arm->sparse[phase] || arm->sparse[!phase]) continue;
                    if (v->model[p->model].parameters <= v->model[m].parameters) continue;
                    bool whole = p->cost_paper[phase] <= dense->cost_paper[phase] * SF_SAME_COST;
                    for (int t = 0; t < v->tasks; t++) whole &= dense->cell[t] < 0 || p->cell[t] >= 0;
                    tried += whole;
                    if (whole && (!best || p->score > best->score)) best = p;
                }
                if (!dense || *sf_model_attention(&v->model[m])) continue;
                if (!best) {
                    none++;
                    continue;
                }
                for (int t = 0; t < v->tasks; t++) in[t] = dense->cell[t] >= 0;
                memset(replicate, 0, (size_t)v->resamples * sizeof *replicate);
                add_point(v, best, in, 1, replicate);
                add_point(v, dense, in, -1, replicate);
                double mean, low, high;
                char level[32], text[400];
                sf_basis basis = {0};
                for (int t = 0; t < v->tasks; t++) basis.means += in[t];
                stand_on(v, m, l, 0, in, &basis);
                stand_on(v, best->model, l, best->arm, in, &basis);
                interval(v->resamples, replicate, basis, 1, &mean, &low, &high);
                const char *verdict = low > 0 ? "yes" : high < 0 ? "no" : "not decided";
                *(low > 0 ? &wins : high < 0 ? &losses : &open) += 1;
                sf_point_level(v, best, level);
                snprintf(
                    text, sizeof text,
                    "%d tokens, %s: %.60s with %.60s at %s costs %.2f of dense %.60s and differs from it in score by %s "
                    "[%s, %s] (best of %d points that are no dearer)",
                    v->length[l], phase ? "decode" : "prefill", v->model[best->model].label, v->arm[best->arm].label,
                    level, best->cost_paper[phase] / dense->cost_paper[phase], v->model[m].label,
                    SF_NUMBER("%+.3f", mean), SF_NUMBER("%+.3f", low), SF_NUMBER("%+.3f", high), tried);
                SF_TRY(add(out, "isoCost", verdict, true, basis.fewest, mean, low, high, "%s", text));
                const bool nothing_to_win = dense->score >= 1 - SF_MARGIN;
                full += nothing_to_win;
                if (*example && nothing_to_win && !ceiling) continue; /* the longest length comes last, but where much can be won */
                snprintf(example, sizeof example, "%s", text);
                shown[0] = mean, shown[1] = low, shown[2] = high, fewest = basis.fewest, ceiling = nothing_to_win;
            }
        int compared = wins + losses + open;
        if (!compared && !none) continue;
        if (!compared) {
            SF_TRY(add(out, "isoCost", "not decided", false, 0, NAN, NAN, NAN,
                       "At equal %s cost: no sparse point of a larger model is as "
                       "cheap as a smaller dense model.",
                       phase ? "decode" : "prefill"));
            continue;
        }
        char little[120] = "";
        if (full) snprintf(little, sizeof little, " In %d the smaller scores above %g, and leaves little to win.", full, 1 - SF_MARGIN);
        SF_TRY(add(out, "isoCost",
                   wins > losses && 2 * wins > compared     ? "yes"
                   : losses > wins && 2 * losses > compared ? "no"
                                                            : "not decided",
                   false, fewest, shown[0], shown[1], shown[2],
                   "At equal %s cost or less, a larger model made sparse beats the smaller dense one in %d "
                   "of %d comparisons, loses in %d; in %d more nothing sparse is as cheap.%s For example: %s.",
                   phase ? "decode" : "prefill", wins, compared, losses, none, little, example));
        out->at[out->count - 1].ceiling = ceiling;
    }
    return SF_OK;
}

/* ---- 2. Which method? ---- */

static bool of_phase(const sf_view *v, int arm, int phase)
{
    return arm && v->arm[arm].sparse[phase] && !v->arm[arm].sparse[!phase];
}

/* The highest sparsity that an arm reaches with every model and length that it was run with; 0: never run. */
static double reach(const sf_view *v, int arm)
{
    double least = INFINITY;
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            double most = 0;
            for (int i = 0; i < v->points; i++) {
                const sf_point *p = &v->point[i];
                if (p->arm == arm && p->model == m && p->length == l) most = fmax(most, sf_point_sparsity(v, p));
            }
            if (most > 0) least = fmin(least, most);
        }
    return isinf(least) ? 0 : fmin(least, most_sparsity);
}

/* Methods of a phase that are held against each other, and where: all that reach about as far as the second furthest.
 */
struct ranking {
    int arms, *arm;
    double sparsity;
    double *loss, *mean; /* [arms, resamples], [arms]: score lost against dense */
    double *single;      /* [settings, arms] mean loss with one model and length */
    int settings;        /* models and lengths in which every arm can be read off */
    sf_basis basis;
};

static void choose_arms(const sf_view *v, int phase, struct ranking *r)
{
    const double as_far = 0.02;
    double first = 0, second = 0;
    for (int a = 1; a < v->arms; a++) {
        double far = of_phase(v, a, phase) ? reach(v, a) : 0;
        if (far > first)
            second = first, first = far;
        else if (far > second)
            second = far;
    }
    r->arms = 0;
    r->sparsity = 1;
    for (int a = 1; a < v->arms && second > 0; a++) {
        double far = of_phase(v, a, phase) ? reach(v, a) : 0;
        if (far < second - as_far || far <= 0) continue;
        r->arm[r->arms++] = a;
        r->sparsity = fmin(r->sparsity, far);
    }
}

static void measure_losses(const sf_view *v, const bool *in, struct ranking *r, double *scratch)
{
    int B = v->resamples;
    r->settings = 0;
    r->basis = (sf_basis){0};
    memset(r->loss, 0, (size_t)r->arms * B * sizeof *r->loss);
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            bool all = sf_interpolate(v, m, l, 0, in, 0, scratch);
            for (int i = 0; i < r->arms && all; i++) all = sf_interpolate(v, m, l, r->arm[i], in, r->sparsity, scratch);
            if (!all) continue;
            for (int i = 0; i < r->arms; i++) {
                double *loss = r->loss + (size_t)i * B, *single = &r->single[r->settings * r->arms + i];
                *single = 0;
                sf_interpolate(v, m, l, 0, in, 0, scratch);
                for (int b = 0; b < B; b++) loss[b] += scratch[b], *single += scratch[b] / B;
                sf_interpolate(v, m, l, r->arm[i], in, r->sparsity, scratch);
                for (int b = 0; b < B; b++) loss[b] -= scratch[b], *single -= scratch[b] / B;
            }
            r->settings++;
            for (int t = 0; t < v->tasks; t++) r->basis.means += in[t];
            stand_on(v, m, l, 0, in, &r->basis);
            for (int i = 0; i < r->arms; i++) stand_on(v, m, l, r->arm[i], in, &r->basis);
        }
    for (int i = 0; i < r->arms && r->settings; i++) {
        double *loss = r->loss + (size_t)i * B;
        r->mean[i] = 0;
        for (int b = 0; b < B; b++) r->mean[i] += (loss[b] /= r->settings) / B;
    }
}

static sf_status state_ranking(const sf_view *v, sf_findings *out, const char *tasks, int phase,
                               const struct ranking *r, double *scratch)
{
    int B = v->resamples, best = 0, second = 1, first = 0, rankings = 0;
    for (int i = 1; i < r->arms; i++)
        if (r->mean[i] < r->mean[best])
            second = best, best = i;
        else if (second == best || r->mean[i] < r->mean[second])
            second = i;
    for (int b = 0; b < B; b++) {
        bool alone = true; /* two that lose nothing are both first, and neither is */
        for (int i = 0; i < r->arms; i++) alone &= i == best || r->loss[(size_t)best * B + b] < r->loss[(size_t)i * B + b];
        first += alone;
        scratch[b] = r->loss[(size_t)second * B + b] - r->loss[(size_t)best * B + b];
    }
    double difference, low, high, agreement = 0;
    interval(B, scratch, r->basis, 1, &difference, &low, &high);
    for (int k = 0; k < r->settings; k++) {
        double tau = sf_kendall(r->arms, r->mean, r->single + k * r->arms);
        if (!isnan(tau)) agreement += tau, rankings++;
    }
    char stable[128] = "";
    if (r->arms > 2 && rankings > 1)
        snprintf(stable, sizeof stable,
                 "; Kendall's tau with the rankings of single models and lengths is %.2f on the mean (1: all alike, 0: unrelated)",
                 agreement / rankings);
    char often[64] = ""; /* a share of resamples is one of samples only where there are enough */
    if (r->basis.fewest >= SF_SHARES_FROM) snprintf(often, sizeof often, "; it alone is first in %.0f %% of resamples", 100.0 * first / B);
    return add(out, "method", low > 0 ? "yes" : "not decided", false, r->basis.fewest, difference, low, high,
               "On %s tasks at sparsity %.2f, %s loses least among %d %s methods: %.3f of score against %.3f with %s, "
               "difference %s [%s, %s]%s%s.",
               tasks, r->sparsity, v->arm[r->arm[best]].label, r->arms, phase ? "decode" : "prefill", r->mean[best],
               r->mean[second], v->arm[r->arm[second]].label, SF_NUMBER("%.3f", difference), SF_NUMBER("%+.3f", low),
               SF_NUMBER("%+.3f", high), often, stable);
}

static sf_status rank_methods(const sf_view *v, sf_findings *out, double *scratch, bool *in)
{
    struct ranking r = {.arm = calloc((size_t)v->arms, sizeof *r.arm),
                        .mean = calloc((size_t)v->arms, sizeof *r.mean),
                        .loss = malloc((size_t)v->arms * v->resamples * sizeof *r.loss),
                        .single = calloc((size_t)v->models * v->lengths * v->arms + 1, sizeof *r.single)};
    sf_status status = r.arm && r.mean && r.loss && r.single ? SF_OK : no_memory();
    for (int phase = 0; phase < SF_PHASES && status == SF_OK; phase++) {
        choose_arms(v, phase, &r);
        for (int group = 0; group < SF_TASK_GROUPS && r.arms > 1 && status == SF_OK; group++) {
            if (!sf_view_task_group(v, group, in)) continue;
            measure_losses(v, in, &r, scratch);
            if (r.settings) status = state_ranking(v, out, sf_task_groups[group], phase, &r, scratch);
        }
    }
    free(r.arm), free(r.mean), free(r.loss), free(r.single);
    return status;
}

/* ---- 3. Does the relative error fall with length? ---- */

/* Slope of y over x, plain least squares; *most: of any y in [-1, 1]. */
static double slope(int n, const double *x, const double *y, double *most)
{
    double mx = 0, my = 0, xy = 0, xx = 0, reach = 0;
    for (int i = 0; i < n; i++) mx += x[i] / n, my += y[i] / n;
    for (int i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my), xx += (x[i] - mx) * (x[i] - mx);
        reach += fabs(x[i] - mx);
    }
    *most = reach / xx;
    return xy / xx;
}

static sf_status length_effect(const sf_view *v, sf_findings *out, int arm, double *scratch, bool *in)
{
    enum { LENGTHS = 16 };
    int B = v->resamples, lengths = 0, of[LENGTHS] = {0};
    double s = reach(v, arm), x[LENGTHS], y[LENGTHS], mean[LENGTHS] = {0};
    sf_basis basis = {0};
    double *error = calloc((size_t)LENGTHS * B, sizeof *error);
    double *sparse = malloc((size_t)B * sizeof *sparse);
    if (!error || !sparse) {
        free(error), free(sparse);
        return no_memory();
    }
    for (int t = 0; t < v->tasks; t++) in[t] = true;
    /* Models that can be read off at every length: a change of models would pass for an effect of length. */
    for (int l = 0; l < v->lengths && lengths < LENGTHS; l++) {
        int models = 0;
        for (int m = 0; m < v->models; m++) {
            bool everywhere = true;
            for (int k = 0; k < v->lengths && everywhere; k++)
                everywhere = sf_interpolate(v, m, k, arm, in, s, sparse) && sf_interpolate(v, m, k, 0, in, 0, scratch);
            if (!everywhere) continue;
            sf_interpolate(v, m, l, arm, in, s, sparse);
            sf_interpolate(v, m, l, 0, in, 0, scratch);
            for (int b = 0; b < B; b++)
                error[(size_t)lengths * B + b] += scratch[b] > 0 ? (scratch[b] - sparse[b]) / scratch[b] : 0;
            models++;
            if (!lengths) basis.means += v->tasks;
            stand_on(v, m, l, 0, in, &basis);
            stand_on(v, m, l, arm, in, &basis);
        }
        if (!models) continue;
        for (int b = 0; b < B; b++) mean[lengths] += (error[(size_t)lengths * B + b] /= models) / B;
        x[lengths] = log2(v->length[l]);
        of[lengths++] = v->length[l];
    }
    sf_status status = SF_OK;
    if (lengths > 1) {
        double change, low, high, most = 0;
        for (int b = 0; b < B; b++) {
            for (int l = 0; l < lengths; l++) y[l] = error[(size_t)l * B + b];
            scratch[b] = slope(lengths, x, y, &most);
        }
        interval(B, scratch, basis, most, &change, &low, &high);
        status = add(out, "length",
                     high < 0  ? "yes"
                     : low > 0 ? "no"
                               : "not decided",
                     false, basis.fewest, change, low, high,
                     "%s at sparsity %.2f: the relative error goes from %s %% at %d tokens to %s %% at %d, %s points a "
                     "doubling [%s, %s]%s.",
                     v->arm[arm].label, s, SF_NUMBER("%.1f", 100 * mean[0]), of[0], SF_NUMBER("%.1f", 100 * mean[lengths - 1]),
                     of[lengths - 1], SF_NUMBER("%+.1f", 100 * change), SF_NUMBER("%+.1f", 100 * low), SF_NUMBER("%+.1f", 100 * high),
                     high < 0  ? ": it falls with length"
                     : low > 0 ? ": it grows with length"
                               : "");
    }
    free(error), free(sparse);
    return status;
}

sf_status sf_find(const sf_view *v, sf_findings *out)
{
    *out = (sf_findings){0};
    double *scratch = malloc(2 * (size_t)v->resamples * sizeof *scratch); /* sf_interval_bounded() */
    bool *in = malloc((size_t)v->tasks + 1);
    sf_status status = scratch && in ? SF_OK : no_memory();
    if (status == SF_OK) status = compare_costs(v, out, scratch, in);
    if (status == SF_OK) status = rank_methods(v, out, scratch, in);
    for (int a = 1; a < v->arms && v->lengths > 1 && status == SF_OK; a++)
        if (!sf_arm_joint(&v->arm[a])) status = length_effect(v, out, a, scratch, in);
    free(scratch), free(in);
    if (status != SF_OK) sf_findings_free(out);
    return status;
}

/* ---- Scaling fit ---- */

struct observation {
    int model, length;
    double x[4], score, n;
};

static int collect(const sf_view *v, int arm, struct observation *o)
{
    int n = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        double s = p->arm ? sf_point_sparsity(v, p) : 0;
        if (!p->arm && *sf_model_attention(&v->model[p->model])) continue; /* what is not dense is no place at sparsity 0 */
        if ((p->arm != arm && p->arm) || !(s < 1) || !(v->model[p->model].parameters > 0)) continue;
        o[n++] = (struct observation){p->model,
                                      p->length,
                                      {1, log(v->model[p->model].parameters), log(v->length[p->length]), log(1 - s)},
                                      p->score,
                                      p->samples};
    }
    return n;
}

/* Fits on the observations whose `skip` is false; coefficients of the columns in use, others 0. */
static sf_status fit(int n, const struct observation *o, const bool *skip, const bool *use, double coefficient[4])
{
    int k = 0, rows = 0, column[4];
    for (int j = 0; j < 4; j++)
        if (use[j]) column[k++] = j;
    double *x = malloc((size_t)n * 5 * sizeof *x), *y = x + (size_t)n * 4, found[4];
    if (!x) return no_memory();
    for (int i = 0; i < n; i++) {
        if (skip[i]) continue;
        double half = 0.5 / (o[i].n + 1), s = fmin(1 - half, fmax(half, o[i].score));
        for (int j = 0; j < k; j++) x[rows * k + j] = o[i].x[column[j]];
        y[rows++] = log(s / (1 - s));
    }
    sf_status status = sf_least_squares(rows, k, x, y, found);
    for (int j = 0; j < 4; j++) coefficient[j] = 0;
    for (int j = 0; j < k && status == SF_OK; j++) coefficient[column[j]] = found[j];
    free(x);
    return status;
}

static double predicted(const struct observation *o, const double coefficient[4])
{
    double logit = 0;
    for (int j = 0; j < 4; j++) logit += coefficient[j] * o->x[j];
    return 1 / (1 + exp(-logit));
}

sf_status sf_scaling_fit(const sf_view *v, int arm, sf_fit *out)
{
    *out = (sf_fit){.residual = NAN, .held_out = NAN, .coefficient = {NAN, NAN, NAN, NAN}};
    struct observation *o = malloc(((size_t)v->points + 1) * sizeof *o);
    bool *skip = calloc((size_t)v->points + 1, 1), use[4] = {true, false, false, false};
    sf_status status = o && skip ? SF_OK : no_memory();
    int n = status == SF_OK ? collect(v, arm, o) : 0, terms = 1;
    for (int i = 1; i < n; i++)
        for (int j = 1; j < 4; j++) use[j] |= o[i].x[j] != o[0].x[j];
    for (int j = 1; j < 4; j++) terms += use[j];
    if (status == SF_OK && n > terms && use[3]) {
        double coefficient[4], square = 0;
        if (fit(n, o, skip, use, coefficient) == SF_OK) {
            for (int i = 0; i < n; i++) square += pow(predicted(&o[i], coefficient) - o[i].score, 2);
            out->cells = n;
            out->residual = sqrt(square / n);
            for (int j = 0; j < 4; j++)
                if (use[j]) out->coefficient[j] = coefficient[j];
        }
        /* Leave out one (model, length) at a time: what the fit says about a setting it has not seen. */
        double held = 0;
        int seen = 0;
        for (int m = 0; m < v->models && out->cells; m++)
            for (int l = 0; l < v->lengths; l++) {
                int left = 0;
                for (int i = 0; i < n; i++) left += !(skip[i] = o[i].model == m && o[i].length == l);
                if (left == n || left <= terms || fit(n, o, skip, use, coefficient) != SF_OK) continue;
                for (int i = 0; i < n; i++)
                    if (skip[i]) held += pow(predicted(&o[i], coefficient) - o[i].score, 2), seen++;
            }
        if (seen) out->held_out = sqrt(held / seen);
    }
    free(o), free(skip);
    return status;
}
