#include "harness/report/tables.h"
#include "harness/report/fidelity.h"
#include "harness/report/leaderboard.h"
#include "harness/report/limits.h"
#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"
#include "harness/report/table.h"

#include <math.h>

/* ---- Scores: a row a (model, task or mean, length, arm), a column a requested sparsity ---- */

/* One row: the score at each level with its interval, dense first; task -1: the mean over tasks. */
static void score_row(const sf_view *v, sf_table *table, int model, int task, int length, int arm, int levels,
                      const double *level)
{
    const sf_point *shown[SF_LEVELS + 1] = {sf_view_find(v, model, length, 0, 0, 0)};
    char text[64];
    int n = 0;
    for (int l = 0; l <= levels; l++) {
        const sf_point *p = !l ? shown[0] : arm ? sf_point_at_level(v, model, length, arm, level[l - 1]) : NULL;
        if (p && task >= 0 && p->cell[task] < 0) p = NULL;
        shown[l] = p;
        int samples = !p ? 0 : task < 0 ? p->samples : v->results->records[p->cell[task]];
        if ((l || !arm) && p && (!n || samples < n)) n = samples;
    }
    if (!n) return;
    sf_table_cell(table, v->model[model].label, "");
    if (task >= 0) sf_table_cell(table, v->task[task].label, "");
    char name[SF_POINT_NAME];
    snprintf(name, sizeof name, "%.310s", v->arm[arm].label);
    if (!arm) sf_point_name(v, shown[0], name);
    sf_table_cell(table, name, "");
    sf_table_number(table, "%.0f", v->length[length], "");
    sf_table_number(table, "%.0f", n, "");
    for (int l = 0; l <= levels; l++) {
        const sf_point *p = shown[l];
        const sf_verdict *verdict = !p ? NULL : task < 0 ? &p->verdict : &v->verdict[p->cell[task]];
        double score = !p ? NAN : p->score, low = !p ? NAN : p->low, high = !p ? NAN : p->high;
        if (p && task >= 0) score = v->mean[p->cell[task]], low = v->low[p->cell[task]], high = v->high[p->cell[task]];
        snprintf(text, sizeof text, isnan(score) ? "--" : isnan(low) ? "%.2f" : "%.2f [%.2f, %.2f]", score, low, high);
        sf_table_cell(table, text, verdict && sf_verdict_loss(verdict) ? "*" : "");
    }
}

static sf_status score_table(const sf_view *v, const char *folder, bool tasks, sf_markup style)
{
    sf_status status = SF_OK;
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level);
    const char *name = tasks ? "tasks" : "scores";
    char caption[512];
    snprintf(caption, sizeof caption,
             "Strict score at each requested sparsity, mean over n samples%s, with its 95 %% interval. "
             "Asterisk: below dense (paired sign-flip test, p at most 0.05 after Holm's correction over all rows).%s%s",
             tasks ? "" : " of all tasks, each task weighing the same", sf_trained_note(v), sf_stopped_note(v));
    sf_table table = {.out = sf_report_open(folder, name, style == SF_TEX ? ".tex" : ".md", &status), .style = style};
    if (!table.out) return status;
    sf_table_begin(&table, tasks ? 3 : 2, levels + 3, caption);
    sf_table_cell(&table, "model", "");
    if (tasks) sf_table_cell(&table, "task", "");
    sf_table_cell(&table, "method", "");
    sf_table_cell(&table, "tokens", "");
    sf_table_cell(&table, "n", "");
    sf_table_cell(&table, "dense", "");
    for (int l = 0; l < levels; l++) sf_table_number(&table, "%g", level[l], "");
    for (int m = 0; m < v->models; m++)
        for (int t = tasks ? 0 : -1; t < (tasks ? v->tasks : 0); t++)
            for (int l = 0; l < v->lengths; l++)
                for (int a = *sf_model_attention(&v->model[m]) ? 0 : 1; a < v->arms; a++)
                    if (!sf_arm_joint(&v->arm[a])) score_row(v, &table, m, t, l, a, levels, level);
    sf_table_end(&table, name, caption);
    sf_report_close(table.out, name, &status);
    return status;
}

static sf_status score_csv(const sf_view *v, const char *folder)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "scores", ".csv", &status);
    if (out) {
        fprintf(
            out,
            "model,tokens,arm,requested,prefill_sparsity,decode_sparsity,tasks,samples,score,standard_error,low,high,"
            "difference,difference_low,difference_high,p,p_holm\n");
        for (int i = 0; i < v->points; i++) {
            const sf_point *p = &v->point[i];
            char level[32], arm[SF_POINT_NAME];
            sf_point_level(v, p, level);
            sf_point_name(v, p, arm);
            sf_csv_row(out, "sdssffddfffffffff", v->model[p->model].label, v->length[p->length], arm,
                       level, p->achieved[SF_PREFILL], p->achieved[SF_DECODE], p->tasks, p->samples, p->score, p->error,
                       p->low, p->high, p->verdict.difference, p->verdict.low, p->verdict.high, p->verdict.p,
                       p->verdict.p_holm);
        }
        sf_report_close(out, "scores.csv", &status);
    }
    out = sf_report_open(folder, "tasks", ".csv", &status);
    if (out) {
        fprintf(
            out,
            "model,task,tokens,arm,requested,samples,score,standard_error,low,high,difference,difference_low,difference_high,p,"
            "p_holm,unparsed,cell\n");
        for (int c = 0; c < v->results->cells; c++) {
            if (v->point_of[c] < 0) continue;
            const sf_point *p = &v->point[v->point_of[c]];
            const sf_verdict *x = &v->verdict[c];
            char level[32], arm[SF_POINT_NAME];
            sf_point_level(v, p, level);
            sf_point_name(v, p, arm);
            sf_csv_row(out, "ssdssdffffffffffs", v->model[p->model].label, v->results->cell[c].task_label,
                       v->length[p->length], arm, level, v->results->records[c], v->mean[c],
                       v->error[c], v->low[c], v->high[c], x->difference, x->low, x->high, x->p, x->p_holm,
                       sf_cell_unparsed(v->results, c), v->results->cell[c].key);
        }
        sf_report_close(out, "tasks.csv", &status);
    }
    return status;
}

/* ---- Limits: how sparse one may go ---- */

static sf_status limits_csv(const sf_view *v, const char *folder)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "limits", ".csv", &status);
    if (!out) return status;
    fprintf(out, "model,task,tokens,arm,loss_shown_from,no_loss_above_%g_up_to\n", SF_MARGIN);
    for (int m = 0; m < v->models; m++)
        for (int t = -1; t < v->tasks; t++)
            for (int l = 0; l < v->lengths; l++)
                for (int a = 1; a < v->arms; a++) {
                    sf_limit limit;
                    char text[2][16];
                    if (sf_arm_joint(&v->arm[a]) || !sf_view_limit(v, m, t, l, a, &limit)) continue;
                    sf_limit_text(limit.shown, text[0]);
                    sf_limit_text(limit.safe, text[1]);
                    sf_csv_row(out, "ssdsss", v->model[m].label, t < 0 ? "mean" : v->task[t].label, v->length[l],
                               v->arm[a].label, text[0], text[1]);
                }
    sf_report_close(out, "limits.csv", &status);
    return status;
}

/* Rows are model and length, columns arms: the sparsity up to which a loss is excluded, then the one that shows one. */
static sf_status limits_table(const sf_view *v, const char *folder, sf_markup style)
{
    sf_status status = SF_OK;
    sf_table table = {.out = sf_report_open(folder, "limits", style == SF_TEX ? ".tex" : ".md", &status), .style = style};
    if (!table.out) return status;
    int arms = 0, needed = sf_pairs_needed(SF_MARGIN);
    for (int a = 1; a < v->arms; a++) arms += !sf_arm_joint(&v->arm[a]);
    char caption[512];
    snprintf(caption, sizeof caption,
             "How sparse one may go, means over %d tasks. First: highest tested sparsity up to which the 95 %% interval of the "
             "paired difference to dense excludes a loss above %g (no fewer than %d pairs can). Second: lowest sparsity with "
             "a loss that is shown (paired sign-flip test, Holm).%s",
             v->tasks, SF_MARGIN, needed, sf_stopped_note(v));
    sf_table_begin(&table, 1, arms + 1, caption);
    sf_table_cell(&table, "model", "");
    sf_table_cell(&table, "tokens", "");
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a])) sf_table_cell(&table, v->arm[a].label, "");
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            sf_table_cell(&table, v->model[m].label, "");
            sf_table_number(&table, "%.0f", v->length[l], "");
            for (int a = 1; a < v->arms; a++) {
                sf_limit limit;
                char side[2][16], text[40] = "--";
                if (sf_arm_joint(&v->arm[a])) continue;
                if (sf_view_limit(v, m, -1, l, a, &limit)) {
                    sf_limit_text(limit.safe, side[0]);
                    sf_limit_text(limit.shown, side[1]);
                    snprintf(text, sizeof text, "%s / %s", side[0], side[1]);
                }
                sf_table_cell(&table, text, "");
            }
        }
    sf_table_end(&table, "limits", caption);
    sf_report_close(table.out, "limits", &status);
    return status;
}

static sf_status findings_csv(const sf_view *v, const char *folder, const sf_findings *findings)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "findings", ".csv", &status);
    if (out) {
        fprintf(out, "question,verdict,number,low,high,text\n");
        for (int i = 0; i < findings->count; i++) {
            const sf_finding *f = &findings->at[i];
            sf_csv_row(out, "ssfffs", f->question, f->verdict, f->number, f->low, f->high, f->text);
        }
        sf_report_close(out, "findings.csv", &status);
    }
    out = sf_report_open(folder, "fits", ".csv", &status);
    if (out) {
        fprintf(out, "arm,points,constant,ln_parameters,ln_tokens,ln_budget,residual,held_out\n");
        for (int a = 1; a < v->arms && status == SF_OK; a++) {
            sf_fit fit;
            if (sf_arm_joint(&v->arm[a])) continue;
            status = sf_scaling_fit(v, a, &fit);
            if (fit.cells)
                sf_csv_row(out, "sdffffff", v->arm[a].label, fit.cells, fit.coefficient[0], fit.coefficient[1],
                           fit.coefficient[2], fit.coefficient[3], fit.residual, fit.held_out);
        }
        sf_report_close(out, "fits.csv", &status);
    }
    return status;
}

static sf_status leaderboard(const sf_view *v, const char *folder, uint64_t seed)
{
    sf_leaderboard board;
    SF_TRY(sf_leaderboard_make(v, SF_WITHIN, seed, &board));
    sf_status status = SF_OK;
    for (int f = 0; sf_leaderboard_formats[f]; f++) {
        char ending[16];
        snprintf(ending, sizeof ending, ".%s", sf_leaderboard_formats[f]);
        FILE *out = sf_report_open(folder, "leaderboard", ending, &status);
        if (out) status = sf_leaderboard_write(v, &board, sf_leaderboard_formats[f], out);
        sf_report_close(out, "leaderboard", &status);
    }
    sf_leaderboard_free(&board);
    return status;
}

sf_status sf_report_tables(const sf_view *v, const char *folder, const sf_findings *findings, uint64_t seed)
{
    SF_TRY(leaderboard(v, folder, seed));
    SF_TRY(findings_csv(v, folder, findings));
    SF_TRY(score_csv(v, folder));
    SF_TRY(limits_csv(v, folder));
    for (sf_markup style = SF_TEX; style <= SF_MD; style++) {
        SF_TRY(score_table(v, folder, false, style));
        SF_TRY(score_table(v, folder, true, style));
        SF_TRY(limits_table(v, folder, style));
    }
    return sf_report_fidelity(v, folder);
}
