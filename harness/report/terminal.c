/* What a terminal shows: the table at the end of a run, dense and sparse side by side, what it says, and the warnings. */
#include "harness/report/gates.h"
#include "harness/report/limits.h"
#include "harness/report/points.h"
#include "harness/report/report.h"
#include "harness/report/resample.h"
#include "harness/report/settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 118, CELL = 7 /* "0.43*  " */, LABEL = 30, LINES = 120, JOINT_COLUMNS = 8, RESAMPLES = 2000 };

/* A column is an arm at a sparsity, whatever the model and length. */
struct column {
    int arm;
    double sparsity[SF_PHASES];
    char head[32];
    int width;
};

static bool same_column(const struct column *c, const sf_point *p)
{
    bool same = c->arm == p->arm;
    for (int i = 0; i < SF_PHASES; i++)
        same &= c->sparsity[i] == p->sparsity[i] || (isnan(c->sparsity[i]) && isnan(p->sparsity[i]));
    return same;
}

static int by_column(const void *a, const void *b)
{
    const struct column *x = a, *y = b;
    if (x->arm != y->arm) return x->arm - y->arm;
    for (int i = 0; i < SF_PHASES; i++) {
        double p = x->sparsity[i], q = y->sparsity[i];
        if (isnan(p) != isnan(q)) return isnan(p) - isnan(q);
        if (p != q && !isnan(p)) return p < q ? -1 : 1;
    }
    return 0;
}

/* Display width: UTF-8 continuation bytes take no room. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return n;
}

/* The columns of `first`'s arm from there on, and their width. */
static int end_of_arm(const struct column *column, int first, int last, int *width)
{
    int end = first;
    for (*width = 0; end < last && column[end].arm == column[first].arm; end++) *width += column[end].width;
    return end;
}

/* Joint arms are left out where they are a plane rather than a few columns; the report draws them. */
static int find_columns(const sf_view *v, struct column *column)
{
    int n = 0, joint = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        int at = 0;
        while (at < n && !same_column(&column[at], p)) at++;
        if (at < n) continue;
        column[n] = (struct column){.arm = p->arm, .sparsity = {p->sparsity[0], p->sparsity[1]}};
        sf_point_level(v, p, column[n].head);
        if (!p->arm) column[n].head[0] = 0;
        column[n].width = strlen(column[n].head) + 2 > CELL ? (int)strlen(column[n].head) + 2 : CELL;
        joint += sf_arm_joint(&v->arm[p->arm]);
        n++;
    }
    for (int i = 0; i < n && joint > JOINT_COLUMNS;)
        if (sf_arm_joint(&v->arm[column[i].arm]))
            column[i] = column[--n];
        else
            i++;
    qsort(column, (size_t)n, sizeof *column, by_column);
    for (int first = 0, end, width; first < n; first = end) { /* room for the arm's name, unless it is a long one */
        int label = width_of(v->arm[column[first].arm].label);
        end = end_of_arm(column, first, n, &width);
        if (label + 2 > width && label <= LABEL) column[end - 1].width += label + 2 - width;
    }
    return n;
}

static void put(FILE *out, const char *text, int width)
{
    fprintf(out, "%s%*s", text, width > width_of(text) ? width - width_of(text) : 0, "");
}

static const sf_point *point_at(const sf_view *v, int model, int length, const struct column *c)
{
    return sf_view_find(v, model, length, c->arm, c->sparsity[SF_PREFILL], c->sparsity[SF_DECODE]);
}

/* The columns [first, last) that fit beside the row heads, whole arms where possible. */
static int last_column(const struct column *column, int columns, int first, int room)
{
    int last = first, whole = first;
    while (last < columns && (room -= column[last].width) >= 0) {
        last++;
        if (last == columns || column[last].arm != column[last - 1].arm) whole = last;
    }
    return whole > first ? whole : last > first ? last : first + 1;
}

struct heads {
    int model, task;
};

/* What a block shows: scores of tasks and their mean, of the mean alone, or shares of answers that cannot be parsed. */
enum content { TASKS, MEANS, UNPARSED };

static bool any_unparsed(const sf_view *v, const sf_point *p, int first_task, int last_task)
{
    for (int t = first_task; p && t <= last_task; t++)
        if (p->cell[t] >= 0 && sf_cell_unparsed(v->results, p->cell[t]) > 0) return true;
    return false;
}

static void print_block(const sf_view *v, const struct column *column, int first, int last, enum content content,
                        struct heads width, FILE *out)
{
    int left = width.model + width.task + 9;
    fprintf(out, "\n%*s", left, "");
    for (int c = first, end; c < last; c = end) { /* arm names over their columns; one that is too long is numbered */
        int room;
        char text[32];
        end = end_of_arm(column, c, last, &room);
        snprintf(text, sizeof text, "[%d]", column[c].arm);
        const char *label = v->arm[column[c].arm].label;
        put(out, width_of(label) < room ? label : text, room);
    }
    fputc('\n', out);
    put(out, "model", width.model);
    put(out, "task", width.task);
    fprintf(out, "%7s  ", "tokens");
    for (int c = first; c < last; c++) put(out, column[c].head, column[c].width);
    fputc('\n', out);
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            bool any = false;
            for (int c = first; c < last; c++) any |= point_at(v, m, l, &column[c]) != NULL;
            if (!any) continue;
            for (int t = content == MEANS ? v->tasks : 0; t <= v->tasks; t++) {
                bool mean = t == v->tasks;
                if (mean && (v->tasks == 1 || content == UNPARSED)) continue;
                bool there = mean;
                for (int c = first; c < last && !there; c++) {
                    const sf_point *p = point_at(v, m, l, &column[c]);
                    there = content == UNPARSED ? any_unparsed(v, p, t, t) : p && p->cell[t] >= 0;
                }
                if (!there) continue;
                char text[64];
                snprintf(text, sizeof text, "mean of %d", v->tasks);
                put(out, v->model[m].label, width.model);
                put(out, mean ? text : v->task[t].label, width.task);
                fprintf(out, "%7d  ", v->length[l]);
                for (int c = first; c < last; c++) {
                    const sf_point *p = point_at(v, m, l, &column[c]);
                    if (!p || (mean ? p->tasks < v->tasks : p->cell[t] < 0)) {
                        put(out, "  -", column[c].width);
                        continue;
                    }
                    bool loss = sf_verdict_loss(mean ? &p->verdict : &v->verdict[p->cell[t]]);
                    if (content == UNPARSED)
                        snprintf(text, sizeof text, "%.0f %%", 100 * sf_cell_unparsed(v->results, p->cell[t]));
                    else
                        snprintf(text, sizeof text, "%.2f%s", mean ? p->score : v->mean[p->cell[t]], loss ? "*" : "");
                    put(out, text, column[c].width);
                }
                fputc('\n', out);
            }
        }
    for (int c = first, end, room; c < last; c = end) {
        end = end_of_arm(column, c, last, &room);
        if (width_of(v->arm[column[c].arm].label) >= room)
            fprintf(out, "[%d] %s\n", column[c].arm, v->arm[column[c].arm].label);
    }
}

/* Blocks of the columns that fit beside each other. */
static void print_blocks(const sf_view *v, const struct column *column, int columns, int room, enum content content,
                         struct heads width, FILE *out)
{
    for (int first = 0, last; first < columns; first = last) {
        last = last_column(column, columns, first, room);
        bool any = content != UNPARSED;
        for (int m = 0; m < v->models && !any; m++)
            for (int l = 0; l < v->lengths; l++)
                for (int c = first; c < last; c++) any |= any_unparsed(v, point_at(v, m, l, &column[c]), 0, v->tasks - 1);
        if (any) print_block(v, column, first, last, content, width, out);
    }
}

/* What holds of an arm at every model and length: how much loss is excluded, and where one is shown. */
static void print_limit(const sf_view *v, int arm, int width, FILE *out)
{
    sf_limit x;
    if (!sf_view_limit(v, -1, -1, -1, arm, &x)) return;
    fputs("  ", out);
    put(out, v->arm[arm].label, width);
    if (x.safe >= 0)
        fprintf(out, "up to sparsity %.2f a loss above %.2f is excluded", x.safe, SF_MARGIN);
    else
        fprintf(out, "at sparsity %.2f a loss above %.2f is excluded, no smaller one", x.lowest, x.excluded);
    if (x.shown >= 0)
        fprintf(out, "; from %.2f on a loss is shown\n", x.shown);
    else
        fputs("\n", out);
}

/* Equivalence first: what cannot be excluded is not called no loss. */
static void print_limits(const sf_view *v, FILE *out)
{
    int tasks = 0, samples = 0, width = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (!p->verdict.tasks) continue;
        if (p->verdict.tasks > tasks) tasks = p->verdict.tasks;
        if (p->verdict.samples > samples) samples = p->verdict.samples;
        if (!sf_arm_joint(&v->arm[p->arm]) && width_of(v->arm[p->arm].label) + 2 > width)
            width = width_of(v->arm[p->arm].label) + 2;
    }
    if (!tasks) {
        fprintf(out, "\nNothing to compare yet: no sparse cell stands beside a dense one of the same model, task and "
                     "length.\n");
        return;
    }
    fprintf(out, "\nAgainst dense, mean of %d task%s (95 %% intervals of paired differences; losses: sign flips, Holm); what "
                 "holds for every model and length:\n", tasks, tasks == 1 ? "" : "s");
    for (int arm = 1; arm < v->arms; arm++)
        if (!sf_arm_joint(&v->arm[arm])) print_limit(v, arm, width, out); /* a joint arm has no one sparsity */
    int needed = sf_pairs_needed(SF_MARGIN);
    if (samples < needed)
        fprintf(out, "Too few samples to call anything lossless: %d pairs a mean at most; a loss of %.2f can only be excluded "
                     "with %d or more.\n", samples, SF_MARGIN, needed);
}

static sf_status print_table(const sf_results *results, FILE *out)
{
    sf_view v;
    SF_TRY(sf_view_make(results, &v));
    struct column *column = calloc((size_t)v.points + 1, sizeof *column);
    sf_status status = column ? sf_view_bootstrap(&v, RESAMPLES, 43) : sf_fail(SF_NO_MEMORY, "out of memory for the table");
    if (status == SF_OK) {
        int columns = find_columns(&v, column);
        struct heads width = {7, 11};
        for (int m = 0; m < v.models; m++)
            if (width_of(v.model[m].label) + 2 > width.model) width.model = width_of(v.model[m].label) + 2;
        for (int t = 0; t < v.tasks; t++)
            if (width_of(v.task[t].label) + 2 > width.task) width.task = width_of(v.task[t].label) + 2;
        /* A grid of thousands of cells would scroll away: then the means alone, the tasks are in the report. */
        int blocks = 0, room = WIDTH - width.model - width.task - 9;
        for (int first = 0; first < columns; first = last_column(column, columns, first, room)) blocks++;
        bool tasks = v.tasks == 1 || blocks * v.models * v.lengths * (v.tasks + 1) <= LINES;
        fprintf(out, "\nScore, mean over samples (strict: what cannot be parsed counts 0). *: below dense, p < 0.05 "
                     "(paired sign flips, Holm).\n");
        print_blocks(&v, column, columns, room, tasks ? TASKS : MEANS, width, out);
        bool unparsed = false;
        for (int i = 0; i < v.points; i++) unparsed |= any_unparsed(&v, &v.point[i], 0, v.tasks - 1);
        if (tasks && unparsed) {
            fprintf(out, "\nShare of answers that could not be parsed, where there are any:\n");
            print_blocks(&v, column, columns, room, UNPARSED, width, out);
        }
        print_limits(&v, out);
    }
    free(column);
    sf_view_free(&v);
    return status;
}

void sf_report_table(const sf_results *results, FILE *out)
{
    sf_settings settings;
    sf_status status = sf_settings_split(results, &settings);
    if (status == SF_OK && settings.groups) status = print_table(&settings.group[0].results, out);
    if (status != SF_OK)
        fprintf(out, "\nThe table could not be made: %s\n", sf_error());
    else if (!settings.groups)
        fprintf(out, "\nNo results yet.\n");
    for (int g = 1; g < settings.groups; g++)
        fprintf(out, "%sNot compared with these: %d cells, %d samples with other settings (%s); `frontier report` shows them "
                     "by themselves.\n", g > 1 ? "" : "\n", settings.group[g].cells, settings.group[g].samples,
                settings.group[g].name);
    sf_settings_free(&settings);
}

static sf_status find_warnings(const sf_results *results, sf_warnings *out)
{
    sf_view view;
    SF_TRY(sf_view_make(results, &view));
    sf_status status = sf_view_test(&view);
    if (status == SF_OK) status = sf_gates(&view, out);
    sf_view_free(&view);
    return status;
}

int sf_report_gates(const sf_results *results, FILE *out)
{
    sf_settings settings;
    sf_warnings warnings = {0};
    sf_status status = sf_settings_split(results, &settings);
    if (status == SF_OK && settings.groups) status = find_warnings(&settings.group[0].results, &warnings);
    sf_settings_free(&settings);
    if (status != SF_OK) {
        fprintf(out, "\nWarnings could not be made: %s\n", sf_error());
        return 1;
    }
    const int count = warnings.count;
    const bool colours = isatty(fileno(out)) && !getenv("NO_COLOR"); /* https://no-color.org */
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%sWARNING:%s %s\n         %s\n", i ? "" : "\n", colours ? "\033[1;33m" : "", colours ? "\033[0m" : "", warnings.at[i].text,
                warnings.at[i].todo);
    sf_warnings_free(&warnings);
    return count;
}
