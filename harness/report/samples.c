#include "harness/report/samples.h"
#include "base/files.h"
#include "harness/report/out.h"
#include "harness/report/points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INSIDE = 8 << 20 /* bytes of samples that a page carries */, HEAD = 3000, TAIL = 2000 /* of a long prompt */ };

static void comma(FILE *out, int i)
{
    if (i) fputc(',', out);
}

/* ---- How much there is ---- */

static size_t bytes_of_cell(const sf_view *v, int cell)
{
    const sf_results *r = v->results;
    const size_t map = (size_t)r->cell[cell].layers * (size_t)r->cell[cell].heads * 6, picture = 3000;
    size_t bytes = 100;
    for (int i = 0; i < r->records[cell]; i++) {
        const sf_record *x = &r->record[cell][i];
        bytes += 60 + (x->prediction ? strlen(x->prediction) : 0);
        for (int p = 0; p < SF_PHASES; p++) bytes += x->picture[p] ? picture : 0;
    }
    for (int p = 0; p < SF_PHASES && r->mean; p++) bytes += (r->mean[cell].density[p] ? map : 0) + (r->mean[cell].recall[p] ? map : 0);
    return bytes;
}

bool sf_samples_inside(const sf_view *v)
{
    size_t bytes = 0;
    for (int c = 0; c < v->results->cells; c++)
        if (v->point_of[c] >= 0) bytes += bytes_of_cell(v, c);
    return bytes <= INSIDE;
}

/* ---- The list ---- */

enum { UNPARSED = 1, CUT = 2, DIFFERS = 4 };

/* The record of a sample, records being by number; *at goes on from one call to the next. NULL: none. */
static const sf_record *record_of(const sf_results *r, int cell, int sample, int *at)
{
    while (*at < r->records[cell] && r->record[cell][*at].sample < sample) ++*at;
    return *at < r->records[cell] && r->record[cell][*at].sample == sample ? &r->record[cell][*at] : NULL;
}

static void list_cell(const sf_view *v, int c, FILE *out)
{
    const sf_results *r = v->results;
    const int n = r->records[c], dense = sf_cell_dense(v, c);
    bool plain = true;
    for (int i = 0; i < n; i++) plain &= r->record[c][i].sample == i;
    fputc('[', out);
    if (plain) fprintf(out, "%d", n);
    for (int i = 0; i < n && !plain; i++) fprintf(out, "%s%d", i ? "," : "[", r->record[c][i].sample);
    fputs(plain ? ",[" : "],[", out);
    for (int i = 0; i < n; i++) comma(out, i), sf_script_number(out, r->record[c][i].strict);
    fputs("],\"", out);
    for (int i = 0, at = 0; i < n; i++) {
        const sf_record *x = &r->record[c][i], *d = dense >= 0 ? record_of(r, dense, x->sample, &at) : NULL;
        bool differs = d && x->prediction && d->prediction && strcmp(x->prediction, d->prediction) != 0;
        fputc('0' + (!x->parsed ? UNPARSED : 0) + (x->truncated ? CUT : 0) + (differs ? DIFFERS : 0), out);
    }
    fputs("\"]", out);
}

void sf_samples_list(const sf_view *v, FILE *out)
{
    fprintf(out, "\"samples\":{\"inside\":%s,\"rows\":[\n", sf_samples_inside(v) ? "true" : "false");
    for (int c = 0, n = 0; c < v->results->cells; c++) {
        if (v->point_of[c] < 0) continue;
        comma(out, n++);
        list_cell(v, c, out);
        fputc('\n', out);
    }
    fputs("]},\n", out);
}

/* ---- What is shown of a cell ---- */

static void map_of(FILE *out, const char *phase, const char *what, const float *map, const sf_cell_info *c)
{
    if (!map) return;
    fprintf(out, ",\"%s_%s\":[", phase, what);
    for (int l = 0; l < c->layers; l++)
        for (int h = 0; h < c->heads; h++) {
            double value = map[l * c->heads + h];
            fputs(h ? "," : l ? ",[" : "[", out);
            if (isnan(value)) fputs("null", out);
            else fprintf(out, "%.3g", round(1000 * value) / 1000);
            if (h == c->heads - 1) fputc(']', out);
        }
    fputc(']', out);
}

/* A picture as runs, line after line: a letter, A to Z and a to z for the root of the value from 0 to 1, '.' where there is
 * none; behind it how often it stands, unless once. */
static void picture_of(FILE *out, const char *phase, int sample, const sf_picture *p)
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    enum { N = SF_PICTURE_SIDE * SF_PICTURE_SIDE };
    const float *value = &p->at[0][0];
    char last = 0;
    int run = 0;
    fprintf(out, ",\"%s_picture\":{\"sample\":%d,\"layer\":%d,\"head\":%d,\"queries\":%d,\"keys\":%d,\"side\":%d,\"runs\":\"", phase, sample, p->layer,
            p->head, p->queries, p->keys, SF_PICTURE_SIDE);
    for (int i = 0; i <= N; i++) {
        char now = i == N ? 0 : isnan(value[i]) ? '.' : letter[(int)lround(51 * sqrt(fmin(1, fmax(0, value[i]))))];
        if (now == last) {
            run++;
            continue;
        }
        if (last) fputc(last, out);
        if (run > 1) fprintf(out, "%d", run);
        last = now, run = 1;
    }
    fputs("\"}", out);
}

static void show_cell(const sf_view *v, int c, FILE *out)
{
    static const char *const phase[SF_PHASES] = {"prefill", "decode"};
    const sf_results *r = v->results;
    const sf_cell_info *info = &r->cell[c];
    fputs("{\"answers\":[", out);
    for (int i = 0; i < r->records[c]; i++) comma(out, i), sf_script_text(out, r->record[c][i].prediction);
    fputs("],\"tokens\":[", out);
    for (int i = 0; i < r->records[c]; i++)
        comma(out, i), fprintf(out, "[%d,%d]", r->record[c][i].input_tokens, r->record[c][i].output_tokens);
    fputc(']', out);
    for (int p = 0; p < SF_PHASES && r->mean; p++) {
        map_of(out, phase[p], "density", r->mean[c].density[p], info);
        map_of(out, phase[p], "recall", r->mean[c].recall[p], info);
    }
    for (int p = 0; p < SF_PHASES; p++)
        for (int i = 0; i < r->records[c]; i++)
            if (r->record[c][i].picture[p]) {
                picture_of(out, phase[p], r->record[c][i].sample, r->record[c][i].picture[p]);
                break;
            }
    fputs("}", out);
}

/* ---- What was asked ---- */

/* Where a text of so many bytes may be cut at or before `at`: not within a character. */
static size_t cut_at(const char *text, size_t at)
{
    while (at && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    return at;
}

static void show_prompt(FILE *out, char *prompt)
{
    const size_t n = strlen(prompt);
    if (n <= HEAD + TAIL + 500) {
        fputs("[", out);
        sf_script_text(out, prompt);
        fputs("]", out);
        return;
    }
    const size_t from = cut_at(prompt, HEAD), to = cut_at(prompt, n - TAIL);
    fputc('[', out);
    char first = prompt[from];
    prompt[from] = 0;
    sf_script_text(out, prompt);
    prompt[from] = first;
    fprintf(out, ",%zu,", to - from);
    sf_script_text(out, prompt + to);
    fputc(']', out);
}

/* One model, task and length, whose cells share their prompts: `c` has the most samples of them. */
static void show_setting(const sf_view *v, int c, const sf_report_options *o, FILE *out)
{
    const sf_results *r = v->results;
    const int prompts = o->prompt ? o->prompts : 0;
    fputs("{\"number\":[", out);
    for (int i = 0; i < r->records[c]; i++) comma(out, i), fprintf(out, "%d", r->record[c][i].sample);
    fputs("],\"gold\":[", out);
    for (int i = 0; i < r->records[c]; i++) comma(out, i), sf_script_text(out, r->record[c][i].gold);
    fputs("],\"prompt\":[", out);
    const char *reason = o->no_prompt ? o->no_prompt : "no prompts were asked for";
    for (int i = 0; i < r->records[c]; i++) {
        const sf_record *x = &r->record[c][i];
        char *prompt = NULL;
        comma(out, i);
        if (i < prompts && o->prompt(o->user, &r->cell[c], x, &prompt) == SF_OK) show_prompt(out, prompt);
        else fputs("null", out), reason = !o->prompt ? reason : i < prompts ? sf_error() : "of each task the first samples' prompts are here";
        free(prompt);
    }
    fputs("],\"why\":", out);
    sf_script_text(out, reason);
    fputs("}", out);
}

/* ---- Where it goes ---- */

/* Opens a piece of data, in the page or in a file of its own. */
static FILE *begin(FILE *page, bool inside, const char *folder, const char *name, sf_status *status)
{
    if (*status != SF_OK) return NULL;
    FILE *out = inside ? page : sf_report_open(folder, name, ".js", status);
    if (out) fprintf(out, inside ? "<script type=\"application/json\" id=\"%s\">" : "frontier_sample(\"%s\",", name);
    return out;
}

static void end(FILE *out, bool inside, const char *name, sf_status *status)
{
    if (!out) return;
    fputs(inside ? "</script>\n" : ");\n", out);
    if (!inside) sf_report_close(out, name, status);
}

sf_status sf_samples_write(const sf_view *v, const sf_report_options *o, const char *folder, FILE *page)
{
    const sf_results *r = v->results;
    const bool inside = sf_samples_inside(v);
    char beside[4400], name[128];
    snprintf(beside, sizeof beside, "%.4300s/samples", folder);
    if (!inside) SF_TRY(sf_make_folder(beside, "the report"));
    sf_status status = SF_OK;
    for (int c = 0; c < r->cells; c++) {
        if (v->point_of[c] < 0) continue;
        snprintf(name, sizeof name, "cell-%s", r->cell[c].key);
        FILE *out = begin(page, inside, beside, name, &status);
        if (out) show_cell(v, c, out);
        end(out, inside, name, &status);
    }
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++)
            for (int t = 0; t < v->tasks; t++) {
                int best = -1;
                for (int i = 0; i < v->points; i++) {
                    const sf_point *p = &v->point[i];
                    int c = p->model == m && p->length == l ? p->cell[t] : -1;
                    if (c >= 0 && (best < 0 || r->records[c] > r->records[best])) best = c;
                }
                if (best < 0) continue;
                snprintf(name, sizeof name, "setting-%d-%d-%d", m, l, t);
                FILE *out = begin(page, inside, beside, name, &status);
                if (out) show_setting(v, best, o, out);
                end(out, inside, name, &status);
            }
    return status;
}
