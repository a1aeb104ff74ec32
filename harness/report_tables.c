/* Tables of a report, each as CSV (every number), LaTeX (booktabs) and Markdown. */
#include "harness/report_page.h"

#include <stdlib.h>

enum { LEVELS = 32 };
static const double margin = 0.05; /* the loss of score that the second limit allows */

typedef enum style { TEX, MD } style;

/* ---- Text of cells ---- */

static void escaped(FILE *out, style how, const char *text)
{
    for (; *text; text++) {
        if (how == TEX && strchr("_&%#$", *text)) fputc('\\', out);
        if (how == MD && strchr("|_*", *text)) fputc('\\', out);
        fputc(*text, out);
    }
}

static void begin_row(FILE *out, style how) { fputs(how == MD ? "| " : "", out); }
static void next_cell(FILE *out, style how) { fputs(how == MD ? " | " : " & ", out); }
static void end_row(FILE *out, style how) { fputs(how == MD ? " |\n" : " \\\\\n", out); }

static void head(FILE *out, style how, int texts, int numbers, const char *caption)
{
    if (how == MD) return;
    fprintf(out, "%% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n\\caption{%s}\n\\begin{tabular}{",
            caption);
    for (int i = 0; i < texts; i++) fputc('l', out);
    for (int i = 0; i < numbers; i++) fputc('r', out);
    fputs("}\n\\toprule\n", out);
}

static void rule(FILE *out, style how, int columns)
{
    if (how == TEX)
        fputs("\\midrule\n", out);
    else
        for (int i = 0; i < columns; i++) fputs(i == columns - 1 ? "|---|\n" : "|---", out);
}

static void tail(FILE *out, style how, const char *name, const char *caption)
{
    if (how == TEX)
        fprintf(out, "\\bottomrule\n\\end{tabular}\n\\label{tab:%s}\n\\end{table}\n", name);
    else
        fprintf(out, "\n%s\n", caption);
}

/* ---- Scores: a row a (model, task or mean, length, arm), a column a requested sparsity ---- */

static int all_levels(const sf_view *v, double level[LEVELS])
{
    int n = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        double s = fmax(p->sparsity[SF_PREFILL], p->sparsity[SF_DECODE]);
        int at = 0;
        if (!p->arm || isnan(s) || sf_arm_joint(&v->arm[p->arm])) continue;
        while (at < n && level[at] != s) at++;
        if (at < n || n == LEVELS) continue;
        for (at = n++; at > 0 && level[at - 1] > s; at--) level[at] = level[at - 1];
        level[at] = s;
    }
    return n;
}

static const sf_point *at_level(const sf_view *v, int model, int length, int arm, double level)
{
    return sf_view_find(v, model, length, arm, v->arm[arm].sparse[SF_PREFILL] ? level : 0,
                        v->arm[arm].sparse[SF_DECODE] ? level : 0);
}

/* task -1: the mean over tasks */
static bool score_row(const sf_view *v, FILE *out, style how, int model, int task, int length, int arm, int levels,
                      const double *level)
{
    bool any = false;
    for (int l = 0; l < levels; l++) {
        const sf_point *p = at_level(v, model, length, arm, level[l]);
        any |= p && (task < 0 || p->cell[task] >= 0);
    }
    if (!any) return false;
    char text[64];
    const sf_point *dense = sf_view_find(v, model, length, 0, 0, 0);
    begin_row(out, how);
    escaped(out, how, v->model[model].label);
    next_cell(out, how);
    if (task >= 0) {
        escaped(out, how, v->task[task].label);
        next_cell(out, how);
    }
    fprintf(out, "%d", v->length[length]);
    next_cell(out, how);
    escaped(out, how, v->arm[arm].label);
    for (int l = -1; l < levels; l++) { /* dense first */
        const sf_point *p = l < 0 ? dense : at_level(v, model, length, arm, level[l]);
        next_cell(out, how);
        if (!p || (task >= 0 && p->cell[task] < 0)) {
            fputs("--", out);
            continue;
        }
        const sf_verdict *verdict = task >= 0 ? &v->verdict[p->cell[task]] : &p->verdict;
        snprintf(text, sizeof text, "%.3f", task >= 0 ? v->mean[p->cell[task]] : p->score);
        fprintf(out, sf_verdict_loss(verdict) ? how == TEX ? "%s\\rlap{$^*$}" : "%s\\*" : "%s", text);
    }
    end_row(out, how);
    return true;
}

static sf_status score_table(const sf_view *v, const char *folder, bool tasks, style how)
{
    sf_status status = SF_OK;
    double level[LEVELS];
    int levels = all_levels(v, level), most = 0;
    const char *name = tasks ? "tasks" : "scores";
    for (int i = 0; i < v->points; i++) most = v->point[i].samples > most ? v->point[i].samples : most;
    char caption[512], from[64];
    snprintf(from, sizeof from, how == TEX ? "$p \\le 0.05$" : "p ≤ 0.05");
    snprintf(caption, sizeof caption,
             "Strict score at each requested sparsity, mean over samples%s; up to %d samples. Asterisk: below "
             "dense, %s (paired sign-flip test, Holm over the table's comparisons).",
             tasks ? "" : " and tasks", most, from);
    FILE *out = sf_report_open(folder, name, how == TEX ? ".tex" : ".md", &status);
    if (!out) return status;
    head(out, how, tasks ? 4 : 3, levels + 1, caption);
    begin_row(out, how);
    fputs("model", out);
    next_cell(out, how);
    if (tasks) {
        fputs("task", out);
        next_cell(out, how);
    }
    fputs("tokens", out);
    next_cell(out, how);
    fputs("method", out);
    next_cell(out, how);
    fputs("dense", out);
    for (int l = 0; l < levels; l++) {
        next_cell(out, how);
        fprintf(out, "%g", level[l]);
    }
    end_row(out, how);
    rule(out, how, levels + (tasks ? 5 : 4));
    for (int m = 0; m < v->models; m++)
        for (int t = tasks ? 0 : -1; t < (tasks ? v->tasks : 0); t++)
            for (int l = 0; l < v->lengths; l++)
                for (int a = 1; a < v->arms; a++)
                    if (!sf_arm_joint(&v->arm[a])) score_row(v, out, how, m, t, l, a, levels, level);
    tail(out, how, name, caption);
    sf_report_close(out, name, &status);
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
            char level[32];
            sf_point_level(v, p, level);
            sf_csv_row(out, "sdssffddfffffffff", v->model[p->model].label, v->length[p->length], v->arm[p->arm].label,
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
            "model,task,tokens,arm,requested,samples,score,standard_error,difference,difference_low,difference_high,p,"
            "p_holm,cell\n");
        for (int c = 0; c < v->results->cells; c++) {
            if (v->point_of[c] < 0) continue;
            const sf_point *p = &v->point[v->point_of[c]];
            const sf_verdict *x = &v->verdict[c];
            char level[32];
            sf_point_level(v, p, level);
            sf_csv_row(out, "ssdssdfffffffs", v->model[p->model].label, v->results->cell[c].task_label,
                       v->length[p->length], v->arm[p->arm].label, level, v->results->records[c], v->mean[c],
                       v->error[c], x->difference, x->low, x->high, x->p, x->p_holm, v->results->cell[c].key);
        }
        sf_report_close(out, "tasks.csv", &status);
    }
    return status;
}

/* ---- Limits: how sparse one may go ---- */

/* Over levels in ascending order: the last before the first loss (significant) and before the first whose interval
 * allows a loss above the margin. -1: already the lowest; NAN: nothing to compare. task -1: the mean over tasks. */
static void find_limits(const sf_view *v, int model, int task, int length, int arm, double *significant, double *within)
{
    bool stop[2] = {false, false};
    *significant = *within = NAN;
    for (int i = 0; i < v->points; i++) { /* points stand by sparsity within an arm */
        const sf_point *p = &v->point[i];
        if (p->model != model || p->length != length || p->arm != arm || (task >= 0 && p->cell[task] < 0)) continue;
        const sf_verdict *x = task >= 0 ? &v->verdict[p->cell[task]] : &p->verdict;
        double requested = fmax(p->sparsity[SF_PREFILL], p->sparsity[SF_DECODE]);
        double s = isnan(requested) ? sf_point_sparsity(v, p) : requested;
        if (!x->tasks) continue;
        stop[0] |= sf_verdict_loss(x);
        stop[1] |= !(x->low >= -margin);
        if (!stop[0])
            *significant = s;
        else if (isnan(*significant))
            *significant = -1;
        if (!stop[1])
            *within = s;
        else if (isnan(*within))
            *within = -1;
    }
}

static void limit_text(double limit, char text[16]) { snprintf(text, 16, limit < 0 ? "none" : "%.2f", limit); }

static sf_status limits_csv(const sf_view *v, const char *folder)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "limits", ".csv", &status);
    if (!out) return status;
    fprintf(out, "model,task,tokens,arm,no_significant_loss_up_to,no_loss_above_%g_up_to\n", margin);
    for (int m = 0; m < v->models; m++)
        for (int t = -1; t < v->tasks; t++)
            for (int l = 0; l < v->lengths; l++)
                for (int a = 1; a < v->arms; a++) {
                    double significant, within;
                    char text[2][16];
                    if (sf_arm_joint(&v->arm[a])) continue;
                    find_limits(v, m, t, l, a, &significant, &within);
                    if (isnan(significant)) continue;
                    limit_text(significant, text[0]);
                    limit_text(within, text[1]);
                    sf_csv_row(out, "ssdsss", v->model[m].label, t < 0 ? "mean" : v->task[t].label, v->length[l],
                               v->arm[a].label, text[0], text[1]);
                }
    sf_report_close(out, "limits.csv", &status);
    return status;
}

/* Rows are model and length, columns arms: the limit by significance, then the one by margin. */
static sf_status limits_table(const sf_view *v, const char *folder, style how)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "limits", how == TEX ? ".tex" : ".md", &status);
    if (!out) return status;
    int arms = 0;
    for (int a = 1; a < v->arms; a++) arms += !sf_arm_joint(&v->arm[a]);
    char caption[400];
    snprintf(
        caption, sizeof caption,
        "Highest tested sparsity without a loss, means over %d tasks. First: no significant loss up to "
        "there (paired sign-flip test, Holm); second: the 95%s interval of the difference excludes a loss above %g.",
        v->tasks, how == TEX ? "\\,\\%" : " %", margin);
    head(out, how, 1, arms + 1, caption);
    begin_row(out, how);
    fputs("model", out);
    next_cell(out, how);
    fputs("tokens", out);
    for (int a = 1; a < v->arms; a++)
        if (!sf_arm_joint(&v->arm[a])) {
            next_cell(out, how);
            escaped(out, how, v->arm[a].label);
        }
    end_row(out, how);
    rule(out, how, arms + 2);
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            begin_row(out, how);
            escaped(out, how, v->model[m].label);
            next_cell(out, how);
            fprintf(out, "%d", v->length[l]);
            for (int a = 1; a < v->arms; a++) {
                double significant, within;
                char text[2][16];
                if (sf_arm_joint(&v->arm[a])) continue;
                find_limits(v, m, -1, l, a, &significant, &within);
                limit_text(significant, text[0]);
                limit_text(within, text[1]);
                next_cell(out, how);
                if (isnan(significant))
                    fputs("--", out);
                else
                    fprintf(out, "%s / %s", text[0], text[1]);
            }
            end_row(out, how);
        }
    tail(out, how, "limits", caption);
    sf_report_close(out, "limits", &status);
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

sf_status sf_report_tables(const sf_view *v, const char *folder, const sf_findings *findings)
{
    SF_TRY(findings_csv(v, folder, findings));
    SF_TRY(score_csv(v, folder));
    SF_TRY(limits_csv(v, folder));
    for (style how = TEX; how <= MD; how++) {
        SF_TRY(score_table(v, folder, false, how));
        SF_TRY(score_table(v, folder, true, how));
        SF_TRY(limits_table(v, folder, how));
    }
    return SF_OK;
}
