#include "harness/report/fidelity.h"
#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/stats.h"
#include "harness/report/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 0.02, /* of executed sparsity */
    equal = 0.0005;                   /* of recall: below what the table shows */

static const char *const phase_name[SF_PHASES] = {[SF_PREFILL] = "prefill", [SF_DECODE] = "decode"};

/* Walks the rows of both tables: arms that make one phase sparse, prefill first. */
typedef struct row {
    int phase, model, length, arm;
} row;

static bool next_row(const sf_view *v, row *r)
{
    while (v->arms > 1) {
        if (++r->length == v->lengths) r->length = 0, r->arm++;
        if (r->arm == v->arms) r->arm = 1, r->model++;
        if (r->model == v->models) r->model = 0, r->phase++;
        if (r->phase == SF_PHASES) return false;
        if (v->arm[r->arm].sparse[r->phase] && !sf_arm_joint(&v->arm[r->arm])) return true;
    }
    return false;
}

static const row before_first = {.length = -1, .arm = 1};

/* ---- Requested and executed sparsity ---- */

typedef struct spread {
    int n;
    double mean, low, high, off; /* off: executed - requested of the sample that is farthest off */
} spread;

static spread executed(const sf_view *v, const sf_point *p, int phase)
{
    spread s = {.low = INFINITY, .high = -INFINITY};
    for (int t = 0; p && t < v->tasks; t++)
        for (int i = 0; p->cell[t] >= 0 && i < v->results->records[p->cell[t]]; i++) {
            double x = v->results->record[p->cell[t]][i].achieved[phase], off = x - p->sparsity[phase];
            s.n++;
            s.mean += (x - s.mean) / s.n;
            s.low = fmin(s.low, x);
            s.high = fmax(s.high, x);
            if (fabs(off) > fabs(s.off)) s.off = off;
        }
    return s;
}

static void budget_row(const sf_view *v, sf_table *table, const row *r, int levels, const double *level)
{
    spread at[SF_LEVELS];
    int worst = -1;
    for (int l = 0; l < levels; l++) {
        at[l] = executed(v, sf_point_at_level(v, r->model, r->length, r->arm, level[l]), r->phase);
        if (at[l].n && (worst < 0 || fabs(at[l].off) > fabs(at[worst].off))) worst = l;
    }
    if (worst < 0) return;
    sf_table_cell(table, v->model[r->model].label, "");
    sf_table_cell(table, phase_name[r->phase], "");
    sf_table_cell(table, v->arm[r->arm].label, "");
    sf_table_number(table, "%.0f", v->length[r->length], "");
    for (int l = 0; l < levels; l++)
        sf_table_number(table, "%.3f", at[l].n ? at[l].mean : NAN, at[l].n && fabs(at[l].off) > tolerance ? "*" : "");
    sf_table_number(table, "%+.1f", 100 * at[worst].off, "");
    sf_table_number(table, "%g", level[worst], "");
    sf_table_number(table, "%.3f", at[worst].low, "");
    sf_table_number(table, "%.3f", at[worst].high, "");
}

static void budget_table(const sf_view *v, sf_table *table)
{
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level), shown = 0, off = 0;
    for (row r = before_first; next_row(v, &r);)
        for (int l = 0; l < levels; l++) {
            spread s = executed(v, sf_point_at_level(v, r.model, r.length, r.arm, level[l]), r.phase);
            shown += s.n > 0;
            off += s.n && fabs(s.off) > tolerance;
        }
    char caption[512];
    snprintf(caption, sizeof caption,
             "Executed sparsity at each requested one, mean over samples; at the right the sample that is farthest off "
             "(points of a hundred), at which level, and the range of the samples there. Asterisk: a sample is more than "
             "%g points off (%d of %d).",
             100 * tolerance, off, shown);
    sf_table_begin(table, 3, levels + 5, caption);
    static const char *const left[] = {"model", "phase", "method", "tokens"},
                             *const right[] = {"off", "at", "least", "most"};
    for (int i = 0; i < 4; i++) sf_table_cell(table, left[i], "");
    for (int l = 0; l < levels; l++) sf_table_number(table, "%g", level[l], "");
    for (int i = 0; i < 4; i++) sf_table_cell(table, right[i], "");
    for (row r = before_first; next_row(v, &r);) budget_row(v, table, &r, levels, level);
    sf_table_end(table, "budgets", caption);
}

static void budget_csv(const sf_view *v, FILE *out)
{
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level);
    fprintf(out, "model,phase,arm,tokens,requested,samples,mean,min,max,farthest_off,within_%g\n", tolerance);
    for (row r = before_first; next_row(v, &r);)
        for (int l = 0; l < levels; l++) {
            spread s = executed(v, sf_point_at_level(v, r.model, r.length, r.arm, level[l]), r.phase);
            if (s.n)
                sf_csv_row(out, "sssdfdffffd", v->model[r.model].label, phase_name[r.phase], v->arm[r.arm].label,
                           v->length[r.length], level[l], s.n, s.mean, s.low, s.high, s.off, fabs(s.off) <= tolerance);
        }
}

/* ---- Attention mass ---- */

/* Mean over samples, layers and heads; NAN: not recorded. */
static double recall_at(const sf_view *v, int phase, int model, int task, int length, int arm, double level)
{
    const sf_point *p = sf_point_at_level(v, model, length, arm, level);
    int cell = p ? p->cell[task] : -1, n = 0;
    const float *map = cell >= 0 && v->results->mean ? v->results->mean[cell].recall[phase] : NULL;
    double sum = 0;
    for (int i = 0; map && i < v->results->cell[cell].layers * v->results->cell[cell].heads; i++)
        if (!isnan(map[i])) sum += map[i], n++;
    return n ? sum / n : NAN;
}

enum kind { METHOD, ORACLE, RANDOM };
static const char *const kind_name[] = {"", "oracle", "random"};

static enum kind kind_of(const sf_view *v, int arm, int phase)
{
    const char *kind = v->arm[arm].kind[phase];
    return strcmp(kind, "oracle") == 0 ? ORACLE : strcmp(kind, "random") == 0 ? RANDOM : METHOD;
}

/* What the bounds recall where a method is compared: the best oracle, the least random choice; NAN: none was run. */
static void bounds(const sf_view *v, const row *r, int task, double level, double bound[3])
{
    bound[ORACLE] = bound[RANDOM] = NAN;
    for (int a = 1; a < v->arms; a++) {
        if (!v->arm[a].sparse[r->phase] || sf_arm_joint(&v->arm[a])) continue;
        double x = recall_at(v, r->phase, r->model, task, r->length, a, level);
        enum kind k = kind_of(v, a, r->phase);
        if (k == ORACLE) bound[k] = fmax(bound[k], x); /* passes over NAN */
        if (k == RANDOM) bound[k] = fmin(bound[k], x);
    }
}

/* "+" above the oracle, "-" below random, "" between them. */
static const char *order(const sf_view *v, const row *r, int task, double level, double recall)
{
    double bound[3];
    if (kind_of(v, r->arm, r->phase) != METHOD) return "";
    bounds(v, r, task, level, bound);
    return recall > bound[ORACLE] + equal ? "+" : recall < bound[RANDOM] - equal ? "-" : "";
}

static void recall_table(const sf_view *v, sf_table *table)
{
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level), shown = 0, above = 0, below = 0;
    for (row r = before_first; next_row(v, &r);)
        for (int i = 0; i < v->tasks * levels; i++) {
            double x = recall_at(v, r.phase, r.model, i / levels, r.length, r.arm, level[i % levels]);
            const char *mark = order(v, &r, i / levels, level[i % levels], x);
            shown += !isnan(x) && kind_of(v, r.arm, r.phase) == METHOD;
            above += *mark == '+';
            below += *mark == '-';
        }
    char caption[512];
    snprintf(caption, sizeof caption,
             "Share of the dense attention mass on what was selected, at each requested sparsity; mean over samples, "
             "layers, heads and sampled queries, each method on its own hidden states. +: above every oracle of its phase "
             "(%d of %d); -: below every random choice (%d).",
             above, shown, below);
    sf_table_begin(table, 4, levels + 1, caption);
    static const char *const left[] = {"model", "task", "phase", "method", "tokens"};
    for (int i = 0; i < 5; i++) sf_table_cell(table, left[i], "");
    for (int l = 0; l < levels; l++) sf_table_number(table, "%g", level[l], "");
    for (int t = 0; t < v->tasks; t++)
        for (row r = before_first; next_row(v, &r);) {
            double recall[SF_LEVELS];
            bool any = false;
            for (int l = 0; l < levels; l++) {
                recall[l] = recall_at(v, r.phase, r.model, t, r.length, r.arm, level[l]);
                any |= !isnan(recall[l]);
            }
            if (!any) continue;
            enum kind kind = kind_of(v, r.arm, r.phase);
            char label[256];
            snprintf(label, sizeof label, kind == METHOD ? "%s" : "%s = %s", v->arm[r.arm].label, kind_name[kind]);
            sf_table_cell(table, v->model[r.model].label, "");
            sf_table_cell(table, v->task[t].label, "");
            sf_table_cell(table, phase_name[r.phase], "");
            sf_table_cell(table, label, "");
            sf_table_number(table, "%.0f", v->length[r.length], "");
            for (int l = 0; l < levels; l++) sf_table_number(table, "%.3f", recall[l], order(v, &r, t, level[l], recall[l]));
        }
    sf_table_end(table, "recall", caption);
}

static void recall_csv(const sf_view *v, FILE *out)
{
    double level[SF_LEVELS], bound[3];
    int levels = sf_view_levels(v, level);
    fprintf(out, "model,task,phase,arm,kind,tokens,requested,executed,samples,recall,best_oracle,least_random\n");
    for (int t = 0; t < v->tasks; t++)
        for (row r = before_first; next_row(v, &r);)
            for (int l = 0; l < levels; l++) {
                double recall = recall_at(v, r.phase, r.model, t, r.length, r.arm, level[l]), mean = 0;
                if (isnan(recall)) continue;
                int cell = sf_point_at_level(v, r.model, r.length, r.arm, level[l])->cell[t];
                int n = v->results->records[cell];
                for (int i = 0; i < n; i++) mean += v->results->record[cell][i].achieved[r.phase] / n;
                bounds(v, &r, t, level[l], bound);
                sf_csv_row(out, "sssssdffdfff", v->model[r.model].label, v->task[t].label, phase_name[r.phase],
                           v->arm[r.arm].label, kind_name[kind_of(v, r.arm, r.phase)], v->length[r.length], level[l],
                           mean, n, recall, bound[ORACLE], bound[RANDOM]);
            }
}

/* ---- Divergence ---- */

/* Of one cell's samples in a phase; n 0: not measured. */
typedef struct apart {
    int n;
    double kl, kl_error, nll, dense_nll, agreement, rank;
    double error; /* of attention's outputs, over layers and heads; NAN: not measured */
} apart;

static apart apart_of(const sf_view *v, const row *r, int task, double level)
{
    const sf_point *p = sf_point_at_level(v, r->model, r->length, r->arm, level);
    const int cell = p ? p->cell[task] : -1;
    apart out = {.error = NAN};
    if (cell < 0) return out;
    double *kl = malloc((size_t)v->results->records[cell] * sizeof *kl);
    for (int i = 0; kl && i < v->results->records[cell]; i++) {
        const sf_diverged *d = &v->results->record[cell][i].diverged[r->phase];
        if (isnan(d->kl)) continue;
        kl[out.n++] = d->kl;
        out.nll += d->nll, out.dense_nll += d->dense_nll, out.agreement += d->agreement, out.rank += d->rank;
    }
    sf_mean_error(out.n, kl, &out.kl, &out.kl_error);
    free(kl);
    out.nll /= out.n, out.dense_nll /= out.n, out.agreement /= out.n, out.rank /= out.n;
    const float *map = v->results->mean ? v->results->mean[cell].error[r->phase] : NULL;
    double sum = 0;
    int n = 0;
    for (int i = 0; map && i < v->results->cell[cell].layers * v->results->cell[cell].heads; i++)
        if (!isnan(map[i])) sum += map[i], n++;
    if (n) out.error = sum / n;
    return out;
}

static void divergence_table(const sf_view *v, sf_table *table)
{
    static const char caption[] = "KL divergence (nat) of a method's predictions from the dense model's after the same tokens, at each "
                                  "requested sparsity: at rows of the prompt in prefill, along the generation or the text in decode; mean "
                                  "over samples, ± its standard error (no interval: KL has no bound).";
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level);
    sf_table_begin(table, 4, levels + 1, caption);
    static const char *const left[] = {"model", "task", "phase", "method", "tokens"};
    for (int i = 0; i < 5; i++) sf_table_cell(table, left[i], "");
    for (int l = 0; l < levels; l++) sf_table_number(table, "%g", level[l], "");
    for (int t = 0; t < v->tasks; t++)
        for (row r = before_first; next_row(v, &r);) {
            apart x[SF_LEVELS];
            bool any = false;
            for (int l = 0; l < levels; l++) {
                x[l] = apart_of(v, &r, t, level[l]);
                any |= x[l].n > 0;
            }
            if (!any) continue;
            sf_table_cell(table, v->model[r.model].label, "");
            sf_table_cell(table, v->task[t].label, "");
            sf_table_cell(table, phase_name[r.phase], "");
            sf_table_cell(table, v->arm[r.arm].label, "");
            sf_table_number(table, "%.0f", v->length[r.length], "");
            for (int l = 0; l < levels; l++) {
                char text[64] = "";
                if (x[l].n > 1) snprintf(text, sizeof text, "%.3g ± %.1g", x[l].kl, x[l].kl_error);
                else if (x[l].n) snprintf(text, sizeof text, "%.3g", x[l].kl);
                sf_table_cell(table, text, "");
            }
        }
    sf_table_end(table, "divergence", caption);
}

static void divergence_csv(const sf_view *v, FILE *out)
{
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level);
    fprintf(out, "model,task,phase,arm,tokens,requested,samples,kl,kl_standard_error,nll,dense_nll,agreement,rank,output_error\n");
    for (int t = 0; t < v->tasks; t++)
        for (row r = before_first; next_row(v, &r);)
            for (int l = 0; l < levels; l++) {
                const apart x = apart_of(v, &r, t, level[l]);
                if (x.n)
                    sf_csv_row(out, "ssssdfdfffffff", v->model[r.model].label, v->task[t].label, phase_name[r.phase], v->arm[r.arm].label,
                               v->length[r.length], level[l], x.n, x.kl, x.kl_error, x.nll, x.dense_nll, x.agreement, x.rank, x.error);
            }
}

/* ---- Where they go ---- */

static const struct {
    const char *name, *title, *asks /* what in a config */;
    void (*table)(const sf_view *v, sf_table *table);
    void (*csv)(const sf_view *v, FILE *out);
} tables[] = {{"budgets", "Requested and executed sparsity", "sparsity", budget_table, budget_csv},
              {"recall", "Attention mass kept", "recall", recall_table, recall_csv},
              {"divergence", "Divergence from dense", "measures: [score, divergence]", divergence_table, divergence_csv}};

enum { TABLES = sizeof tables / sizeof *tables };

sf_status sf_report_fidelity(const sf_view *v, const char *folder)
{
    static const char *const ending[] = {[SF_TEX] = ".tex", [SF_MD] = ".md"};
    sf_status status = SF_OK;
    for (int i = 0; i < TABLES; i++) {
        FILE *csv = sf_report_open(folder, tables[i].name, ".csv", &status);
        if (csv) tables[i].csv(v, csv);
        sf_report_close(csv, tables[i].name, &status);
        for (sf_markup style = SF_TEX; style <= SF_MD; style++) {
            sf_table table = {.out = sf_report_open(folder, tables[i].name, ending[style], &status), .style = style};
            if (table.out) tables[i].table(v, &table);
            sf_report_close(table.out, tables[i].name, &status);
        }
    }
    return status;
}

void sf_report_fidelity_html(const sf_view *v, FILE *out)
{
    for (int i = 0; i < TABLES; i++) {
        fprintf(out, "<h3>%s</h3>\n", tables[i].title);
        sf_table table = {.out = out, .style = SF_HTML};
        tables[i].table(v, &table);
        if (table.cells == table.columns) fprintf(out, "<p class=note>Nothing was measured: <code>%s</code> in the config asks for it.</p>\n", tables[i].asks);
    }
}
