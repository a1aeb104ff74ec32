#include "harness/report/leaderboard.h"
#include "base/heap.h"
#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"
#include "harness/report/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory for the leaderboard"); }

/* ---- Rows ---- */

/* The points of an arm at a model and length by sparsity asked for; the room is the view's number of points. */
static int points_of(const sf_view *v, const sf_point *point, int model, int length, int arm, const sf_point **out)
{
    int n = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &point[i];
        if (p->model != model || p->length != length || p->arm != arm || !p->verdict.tasks) continue;
        int at = n++;
        for (; at > 0 && sf_point_requested(v, out[at - 1]) > sf_point_requested(v, p); at--) out[at] = out[at - 1];
        out[at] = p;
    }
    return n;
}

/* Means over the cells of a point, each task weighing the same. */
static sf_cell_means means_of(const sf_view *v, const sf_point *p)
{
    sf_cell_means sum = {0};
    enum { FIELDS = sizeof sum / sizeof(double) };
    double n = p->tasks;
    for (int t = 0; t < v->tasks; t++) {
        if (p->cell[t] < 0) continue;
        const sf_cell_means one = sf_view_cell_means(v, p->cell[t]);
        for (int f = 0; f < FIELDS; f++) ((double *)&sum)[f] += ((const double *)&one)[f] / n;
    }
    return sum;
}

static void rate(const sf_view *v, double within, int n, const sf_point *const *point, sf_leader *row)
{
    bool mean_holds = true, all_holds = true;
    row->requested = row->sure = row->loss = row->low = row->high = row->score = NAN;
    for (int i = 0; i < n; i++) {
        const sf_verdict *x = &point[i]->verdict;
        const bool some = x->dense > 0; /* of nothing, any share could be lost */
        const double most = within * x->dense + 1e-9; /* a loss of just so much, whatever rounding made of it, is within */
        mean_holds &= some && -x->difference <= most;
        all_holds &= some && -x->low <= most;
        if (!i || x->samples < row->samples) row->samples = x->samples;
        if (all_holds) row->sure = sf_point_requested(v, point[i]);
        if (!mean_holds) continue;
        row->point = point[i];
        row->requested = sf_point_requested(v, point[i]);
        row->loss = -x->difference / x->dense;
        row->low = -x->high / x->dense;
        row->high = fmin(-x->low / x->dense, 1); /* no more than all can be lost */
        row->score = point[i]->score;
    }
    if (row->point) row->means = means_of(v, row->point);
}

static int best_first(const void *a, const void *b)
{
    const sf_leader *x = a, *y = b;
    double p = isnan(x->requested) ? -1 : x->requested, q = isnan(y->requested) ? -1 : y->requested;
    if (p != q) return p > q ? -1 : 1;
    p = isnan(x->loss) ? INFINITY : x->loss, q = isnan(y->loss) ? INFINITY : y->loss;
    return p != q ? p < q ? -1 : 1 : x->arm - y->arm;
}

static sf_status add_group(const sf_view *v, const char *tasks, const sf_point *point, sf_leaderboard *board)
{
    const sf_point **own = malloc(((size_t)v->points + 1) * sizeof *own);
    sf_leader *grown = realloc(board->row, ((size_t)board->rows + (size_t)v->models * v->lengths * v->arms + 1) * sizeof *grown);
    if (grown) board->row = grown;
    if (!own || !grown) {
        free(own);
        return no_memory();
    }
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            int first = board->rows;
            for (int a = 1; a < v->arms; a++) {
                int n = sf_arm_joint(&v->arm[a]) ? 0 : points_of(v, point, m, l, a, own);
                if (!n) continue;
                sf_leader *row = &board->row[board->rows++];
                *row = (sf_leader){.tasks = tasks, .model = m, .length = l, .arm = a};
                rate(v, board->within, n, own, row);
            }
            qsort(board->row + first, (size_t)(board->rows - first), sizeof *board->row, best_first);
        }
    free(own);
    return SF_OK;
}

sf_status sf_leaderboard_make(const sf_view *v, double within, uint64_t seed, sf_leaderboard *out)
{
    *out = (sf_leaderboard){.within = within, .heap = calloc(1, sizeof(sf_heap))};
    bool *in = out->heap ? sf_heap_alloc(out->heap, (size_t)v->tasks + 1) : NULL;
    sf_status status = in ? add_group(v, "all tasks", v->point, out) : no_memory();
    for (int g = 0; g < SF_TASK_GROUPS && status == SF_OK; g++) {
        int n = sf_view_task_group(v, g, in);
        if (!n || n == v->tasks) continue;
        sf_point *point = sf_heap_alloc(out->heap, ((size_t)v->points + 1) * sizeof *point);
        int *cell = sf_heap_alloc(out->heap, ((size_t)v->points * (size_t)v->tasks + 1) * sizeof *cell);
        status = point && cell ? sf_view_points_over(v, in, seed, point, cell) : no_memory();
        if (status == SF_OK) status = add_group(v, sf_task_groups[g], point, out);
    }
    if (status != SF_OK) sf_leaderboard_free(out);
    return status;
}

void sf_leaderboard_free(sf_leaderboard *board)
{
    if (board->heap) sf_heap_free(board->heap);
    free(board->heap);
    free(board->row);
    *board = (sf_leaderboard){0};
}

/* ---- Writing ---- */

const char *const sf_leaderboard_formats[] = {"csv", "md", "tex", "json", NULL};

static const char *const numbers[] = {"sparsity",   "executed", "loss",     "loss_low",         "loss_high",
                                      "sure_up_to", "score",    "choosing", "seconds_a_sample", "bytes"};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static void numbers_of(const sf_view *v, const sf_leader *row, double out[NUMBERS])
{
    const int phase = v->arm[row->arm].sparse[SF_DECODE] ? SF_DECODE : SF_PREFILL;
    const double none = row->point ? 0 : NAN;
    const double all[NUMBERS] = {row->requested, row->means.achieved[phase] + none,   row->loss,
                                 row->low,       row->high,                           row->sure,
                                 row->score,     row->means.estimation[phase] + none, row->means.seconds[phase] + none,
                                 row->means.bytes[phase] + none};
    memcpy(out, all, sizeof all);
}

static const char *phase_of(const sf_view *v, const sf_leader *row) { return v->arm[row->arm].sparse[SF_DECODE] ? "decode" : "prefill"; }

static void write_csv(const sf_view *v, const sf_leaderboard *board, FILE *out)
{
    fprintf(out, "tasks,model,tokens,phase,arm,within");
    for (int k = 0; k < NUMBERS; k++) fprintf(out, ",%s", numbers[k]);
    fprintf(out, ",samples\n");
    for (int i = 0; i < board->rows; i++) {
        const sf_leader *row = &board->row[i];
        double x[NUMBERS];
        numbers_of(v, row, x);
        sf_csv_row(out, "ssdssfffffffffffd", row->tasks, v->model[row->model].label, v->length[row->length], phase_of(v, row),
                   v->arm[row->arm].label, board->within, x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], row->samples);
    }
}

static void write_json(const sf_view *v, const sf_leaderboard *board, FILE *out)
{
    fputs("[", out);
    for (int i = 0; i < board->rows; i++) {
        const sf_leader *row = &board->row[i];
        const char *const texts[][2] = {{"tasks", row->tasks},
                                        {"model", v->model[row->model].label},
                                        {"phase", phase_of(v, row)},
                                        {"arm", v->arm[row->arm].label}};
        double x[NUMBERS];
        numbers_of(v, row, x);
        fputs(i ? ",\n{" : "\n{", out);
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            fprintf(out, "\"%s\":", texts[k][0]);
            sf_script_text(out, texts[k][1]);
            fputc(',', out);
        }
        fprintf(out, "\"tokens\":%d,\"samples\":%d,\"within\":", v->length[row->length], row->samples);
        sf_script_number(out, board->within);
        for (int k = 0; k < NUMBERS; k++) {
            fprintf(out, ",\"%s\":", numbers[k]);
            sf_script_number(out, x[k]);
        }
        fputc('}', out);
    }
    fputs("\n]\n", out);
}

static void write_table(const sf_view *v, const sf_leaderboard *board, sf_markup style, FILE *out)
{
    char caption[700], text[64];
    snprintf(caption, sizeof caption,
             "Largest sparsity asked for up to which a method loses at most %g %% of dense's score, at every lower one too; the loss "
             "there with its 95 %% interval; up to which sparsity the whole interval stays within; share of FLOPs spent on "
             "choosing; seconds a sample (prefill or decode) and bytes (a prefill, or a generated token), at batch 1.%s",
             100 * board->within, sf_stopped_note(v));
    sf_table table = {.out = out, .style = style};
    sf_table_begin(&table, 3, 8, caption);
    static const char *const head[] = {"tasks", "model", "method", "tokens", "sparsity", "loss %", "95 %", "sure", "choosing %", "s", "MB"};
    for (size_t k = 0; k < sizeof head / sizeof *head; k++) sf_table_cell(&table, head[k], "");
    for (int i = 0; i < board->rows; i++) {
        const sf_leader *row = &board->row[i];
        double x[NUMBERS];
        numbers_of(v, row, x);
        sf_table_cell(&table, row->tasks, "");
        sf_table_cell(&table, v->model[row->model].label, "");
        sf_table_cell(&table, v->arm[row->arm].label, "");
        sf_table_number(&table, "%.0f", v->length[row->length], "");
        sf_table_number(&table, "%.2f", x[0], "");
        sf_table_number(&table, "%.1f", 100 * x[2], "");
        snprintf(text, sizeof text, isnan(x[3]) ? "--" : "[%s, %s]", SF_NUMBER("%.1f", 100 * x[3]), SF_NUMBER("%.1f", 100 * x[4]));
        sf_table_cell(&table, text, "");
        sf_table_number(&table, "%.2f", x[5], "");
        sf_table_number(&table, "%.1f", 100 * x[7], "");
        sf_table_number(&table, "%.3g", x[8], "");
        sf_table_number(&table, "%.4g", x[9] / 1e6, "");
    }
    sf_table_end(&table, "leaderboard", caption);
}

sf_status sf_leaderboard_write(const sf_view *v, const sf_leaderboard *board, const char *format, FILE *out)
{
    if (strcmp(format, "csv") == 0) write_csv(v, board, out);
    else if (strcmp(format, "json") == 0) write_json(v, board, out);
    else if (strcmp(format, "tex") == 0 || strcmp(format, "md") == 0) write_table(v, board, *format == 't' ? SF_TEX : SF_MD, out);
    else return sf_fail(SF_BAD_INPUT, "there is no leaderboard format '%s'; there are csv, md, tex, json", format);
    return SF_OK;
}
