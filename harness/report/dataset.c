#include "harness/report/dataset.h"
#include "harness/report/leaderboard.h"
#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"
#include "harness/report/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lists of values: a comma before every one but the first ---- */

static void comma(FILE *out, int i)
{
    if (i) fputc(',', out);
}

static void numbers(FILE *out, int n, const double *x)
{
    for (int i = 0; i < n; i++) comma(out, i), sf_script_number(out, x[i]);
}

/* "name":"text", */
static void text_of(FILE *out, const char *name, const char *text)
{
    fprintf(out, "\"%s\":", name);
    sf_script_text(out, text);
    fputc(',', out);
}

/* ---- Axes ---- */

static void models(const sf_view *v, FILE *out)
{
    fputs("\"models\":[", out);
    for (int m = 0; m < v->models; m++) {
        const sf_cell_info *shape = v->model[m].shape;
        comma(out, m);
        fputc('{', out);
        text_of(out, "label", v->model[m].label);
        text_of(out, "attention", sf_model_attention(&v->model[m]));
        fprintf(out, "\"layers\":%d,\"heads\":%d,\"parameters\":", shape->layers, shape->heads);
        sf_script_number(out, v->model[m].parameters);
        fputs(",\"weights\":", out);
        sf_script_number(out, shape->weight_elements);
        fputc('}', out);
    }
    fputs("],\n", out);
}

static void tasks(const sf_view *v, FILE *out)
{
    fputs("\"tasks\":[", out);
    for (int t = 0; t < v->tasks; t++) {
        comma(out, t);
        fputc('{', out);
        text_of(out, "label", v->task[t].label);
        text_of(out, "metric", v->task[t].metric);
        fprintf(out, "\"dispersion\":%d,\"scope\":%d}", v->task[t].dispersion, v->task[t].scope);
    }
    fputs("],\n\"lengths\":[", out);
    for (int l = 0; l < v->lengths; l++) comma(out, l), fprintf(out, "%d", v->length[l]);
    fputs("],\n", out);
}

static void arms(const sf_view *v, FILE *out)
{
    fputs("\"arms\":[", out);
    for (int a = 0; a < v->arms; a++) {
        const sf_view_arm *arm = &v->arm[a];
        comma(out, a);
        fputc('{', out);
        text_of(out, "label", arm->label);
        text_of(out, "kind", arm->sparse[SF_PREFILL] ? arm->kind[SF_PREFILL] : arm->kind[SF_DECODE]);
        fprintf(out, "\"phase\":\"%s\"}",
                sf_arm_joint(arm)         ? "both"
                : arm->sparse[SF_PREFILL] ? "prefill"
                : arm->sparse[SF_DECODE]  ? "decode"
                                          : "dense");
    }
    fputs("],\n", out);
}

/* ---- Points and cells ---- */

static void points(const sf_view *v, FILE *out)
{
    fputs("\"points\":{\"columns\":[\"model\",\"length\",\"arm\",\"prefill_level\",\"decode_level\"],\"rows\":[\n", out);
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        comma(out, i);
        fprintf(out, "[%d,%d,%d,", p->model, p->length, p->arm);
        numbers(out, SF_PHASES, p->sparsity);
        fputs("]\n", out);
    }
    fputs("]},\n", out);
}

static double mean_of_map(const float *map, int n)
{
    double sum = 0;
    int there = 0;
    for (int i = 0; map && i < n; i++)
        if (!isnan(map[i])) sum += map[i], there++;
    return there ? sum / there : NAN;
}

/* What is held against a limit is exact, so that the page's leaderboard is leaderboard.c's. */
static void verdict(FILE *out, double score, double low, double high, const sf_verdict *x)
{
    const double none = x->tasks ? 0 : NAN; /* what was not compared has no numbers */
    const double exact[] = {x->dense + none, x->difference + none, x->low + none, x->high + none};
    numbers(out, 3, (const double[]){score, low, high});
    for (int i = 0; i < 4; i++) fputc(',', out), sf_script_exact(out, exact[i]);
    fputc(',', out), sf_script_number(out, x->p_holm + none);
}

static void cells(const sf_view *v, FILE *out)
{
    fputs("\"cells\":{\"columns\":[\"key\",\"point\",\"task\",\"samples\",\"score\",\"low\",\"high\",\"dense\",\"difference\",\"difference_"
          "low\",\"difference_high\",\"p\"",
          out);
    static const char *const measures[] = {"sparsity", "paper", "exact", "seconds", "choosing", "bytes", "kl", "agreement", "recall"};
    for (size_t m = 0; m < sizeof measures / sizeof *measures; m++)
        fprintf(out, ",\"prefill_%s\",\"decode_%s\"", measures[m], measures[m]);
    fputs("],\"rows\":[\n", out);
    for (int c = 0, n = 0; c < v->results->cells; c++) {
        if (v->point_of[c] < 0) continue;
        const sf_cell_info *info = &v->results->cell[c];
        const sf_point *point = &v->point[v->point_of[c]];
        int task = 0;
        while (point->cell[task] != c) task++;
        comma(out, n++);
        fputc('[', out);
        sf_script_text(out, info->key);
        fprintf(out, ",%d,%d,%d,", v->point_of[c], task, v->results->records[c]);
        verdict(out, v->mean[c], v->low[c], v->high[c], &v->verdict[c]);
        const sf_cell_means m = sf_view_cell_means(v, c);
        const double *column[] = {m.achieved, m.cost_paper, m.cost_exact, m.seconds, m.estimation, m.bytes, m.kl, m.agreement};
        for (size_t k = 0; k < sizeof column / sizeof *column; k++) fputc(',', out), numbers(out, SF_PHASES, column[k]);
        for (int p = 0; p < SF_PHASES; p++) {
            const float *map = v->results->mean ? v->results->mean[c].recall[p] : NULL;
            fputc(',', out);
            sf_script_number(out, mean_of_map(map, info->layers * info->heads));
        }
        fputs("]\n", out);
    }
    fputs("]},\n", out);
}

/* ---- Statistics over several tasks ---- */

static void summary(const sf_view *v, const char *label, const bool *in, const sf_point *point, FILE *out)
{
    fputc('{', out);
    text_of(out, "label", label);
    fputs("\"tasks\":[", out);
    for (int t = 0, n = 0; t < v->tasks; t++)
        if (in[t]) comma(out, n++), fprintf(out, "%d", t);
    fputs("],\"rows\":[\n", out);
    for (int i = 0; i < v->points; i++) {
        comma(out, i);
        fprintf(out, "[%d,%d,", point[i].tasks, point[i].samples);
        verdict(out, point[i].tasks ? point[i].score : NAN, point[i].low, point[i].high, &point[i].verdict);
        fputs("]\n", out);
    }
    fputs("]}", out);
}

/* Of all tasks, and of each of the study's groups that has several of them but not all; what is of one task stands in its
 * cells. */
static sf_status summaries(const sf_view *v, uint64_t seed, FILE *out)
{
    bool *in = malloc((size_t)v->tasks + 1);
    sf_point *point = malloc(((size_t)v->points + 1) * sizeof *point);
    int *cell = malloc(((size_t)v->points * (size_t)v->tasks + 1) * sizeof *cell);
    sf_status status = in && point && cell ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory for the page's data");
    fputs("\"summaries\":{\"columns\":[\"tasks\",\"samples\",\"score\",\"low\",\"high\",\"dense\",\"difference\",\"difference_low\","
          "\"difference_high\",\"p\"],\"groups\":[\n",
          out);
    if (status == SF_OK) {
        for (int t = 0; t < v->tasks; t++) in[t] = true;
        summary(v, "all tasks", in, v->point, out);
    }
    for (int g = 0; g < SF_TASK_GROUPS && status == SF_OK; g++) {
        int n = sf_view_task_group(v, g, in);
        if (n < 2 || n == v->tasks) continue;
        status = sf_view_points_over(v, in, seed, point, cell);
        fputs(",\n", out);
        if (status == SF_OK) summary(v, sf_task_groups[g], in, point, out);
    }
    fputs("]}\n", out);
    free(in), free(point), free(cell);
    return status;
}

/* Overrides of the last run, which its stored config begins with as "# --set KEY=VALUE" lines. */
static void overrides(const sf_view *v, FILE *out)
{
    const sf_results *r = v->results;
    const char *at = r->runs ? r->run[r->runs - 1].config : NULL;
    fputs("\"set\":[", out);
    for (int n = 0; at && *at;) {
        size_t length = strcspn(at, "\n");
        if (strncmp(at, "# --set ", 8) == 0) {
            char *one = strndup(at + 8, length - 8);
            comma(out, n++);
            sf_script_text(out, one);
            free(one);
        }
        at += length + (at[length] == '\n');
    }
    fputs("],\n", out);
}

sf_status sf_report_dataset(const sf_view *v, uint64_t seed, FILE *out)
{
    fputs("{\"batch\":", out);
    sf_script_number(out, v->batch);
    fprintf(out, ",\"within\":%g,\n", 100 * SF_WITHIN);
    overrides(v, out);
    models(v, out);
    tasks(v, out);
    arms(v, out);
    points(v, out);
    cells(v, out);
    sf_samples_list(v, out);
    sf_status status = summaries(v, seed, out);
    fputs("}\n", out);
    return status;
}
