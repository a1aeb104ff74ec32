#include "harness/report/gates.h"
#include "harness/report/limits.h"
#include "harness/report/points.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMED = 4 /* cells that a warning names; the rest are counted */ };

static const double budget_ratio = 1.25, /* executed / requested budget further from 1 than this */
    budget_slack = 0.01,                 /* and by more than this */
    share_of_answers = 0.2,              /* unparseable, or cut off */
    near_zero = 0.05,                    /* a dense score that leaves nothing to lose */
    flattery = 0.05,                     /* reference - strict */
    alpha = 0.05;

/* A gate sees one cell (and its dense twin, or -1) and says whether it fails, and how badly: the worst are named. */
struct finding {
    int cell;
    double badness;
    char detail[320];
};
struct gate {
    bool (*fails)(const sf_view *v, int cell, int dense, struct finding *out);
    sf_topic topic;
    const char *text, *todo;
};

static bool is_sparse(const sf_cell_info *c, int phase) { return !sf_cell_own(c) && strcmp(c->method[phase], "dense") != 0; }

/* What others are held against: no method, and a cache that nothing rounds. */
static bool is_dense(const sf_cell_info *c) { return !is_sparse(c, SF_PREFILL) && !is_sparse(c, SF_DECODE) && sf_cell_exact(c); }

/* Whether methods are held against it: not where the model was trained under a method, whose score is a result. */
static bool is_reference(const sf_cell_info *c) { return is_dense(c) && !sf_cell_own(c); }

/* Whether the arm was asked for other sparsities too, and executed no higher one at this length. */
static bool is_sparsest(const sf_view *v, int cell, int phase, double achieved)
{
    const sf_point *point = &v->point[v->point_of[cell]];
    int others = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p == point || p->model != point->model || p->length != point->length || p->arm != point->arm) continue;
        if (p->achieved[phase] > achieved + 0.001) return false;
        others++;
    }
    return others > 0;
}

static bool none_attends(const sf_cell_info *c)
{
    const int others = c->sliding_layers + (c->recurrent_layers > 0 ? (int)c->recurrent_layers : 0);
    return others > 0 && others == c->layers;
}

static bool nothing_to_choose(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const sf_cell_info *c = &v->results->cell[cell];
    if (!none_attends(c) || (!is_sparse(c, SF_PREFILL) && !is_sparse(c, SF_DECODE))) return false;
    out->badness = 1;
    if (c->sliding_layers && c->window == 0) snprintf(out->detail, sizeof out->detail, "chunks");
    else if (c->sliding_layers) snprintf(out->detail, sizeof out->detail, "window of %d tokens", c->window);
    else snprintf(out->detail, sizeof out->detail, "%.0f recurrent layers", c->recurrent_layers);
    return true;
}

static bool off_budget(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const sf_cell_info *c = &v->results->cell[cell];
    const int n = v->results->records[cell];
    if (none_attends(c)) return false;
    for (int p = 0; p < SF_PHASES; p++) {
        if (!is_sparse(c, p) || isnan(c->sparsity[p]) || !n) continue;
        double achieved = 0, wanted = 1 - c->sparsity[p];
        for (int i = 0; i < n; i++) achieved += v->results->record[cell][i].achieved[p] / n;
        double budget = 1 - achieved, ratio = budget > wanted ? budget / wanted : wanted / budget;
        if (!(ratio > budget_ratio && fabs(budget - wanted) > budget_slack)) continue;
        out->badness = ratio;
        bool floor = budget > wanted && is_sparsest(v, cell, p, achieved);
        snprintf(out->detail, sizeof out->detail, "computes %.3f of the pairs where %.3g was asked for%s", budget, wanted,
                 floor ? ", the fewest here" : "");
        return true;
    }
    return false;
}

static bool share_over(const sf_view *v, int cell, bool cut_off, struct finding *out)
{
    int n = v->results->records[cell], bad = 0;
    for (int i = 0; i < n; i++) {
        const sf_record *x = &v->results->record[cell][i];
        bad += cut_off ? x->truncated : !x->parsed;
    }
    if (!n || bad <= share_of_answers * n) return false;
    out->badness = (double)bad / n;
    snprintf(out->detail, sizeof out->detail, "%.0f %%", 100 * out->badness);
    return true;
}

/* Whether the task asks for the answer alone, without words before it. */
static bool asks_directly(const sf_view *v, int cell)
{
    const char *params = v->results->cell[cell].task_params;
    return params && strstr(params, "\"answer\":\"direct\"");
}

static bool unparsed(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    return !asks_directly(v, cell) && share_over(v, cell, false, out);
}
static bool unparsed_direct(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    return asks_directly(v, cell) && share_over(v, cell, false, out);
}
static bool cut_off(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    return share_over(v, cell, true, out);
}

static bool nothing_to_lose(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const sf_cell_info *c = &v->results->cell[cell];
    if (!is_reference(c) || !(v->mean[cell] < near_zero)) return false;
    out->badness = -v->mean[cell];
    snprintf(out->detail, sizeof out->detail, "%.3f", v->mean[cell]);
    return true;
}

/* Of a model that a larger one stands beside: what it leaves to be won. */
static bool nothing_to_win(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const sf_cell_info *c = &v->results->cell[cell];
    bool larger = false;
    for (int m = 0; m < v->models; m++) larger |= v->model[m].parameters > c->parameters;
    if (!is_reference(c) || !larger || !(v->mean[cell] >= 1 - SF_MARGIN)) return false;
    out->badness = v->mean[cell];
    snprintf(out->detail, sizeof out->detail, "%.3f", v->mean[cell]);
    return true;
}

static bool flattered(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    double sum = 0;
    int n = 0;
    for (int i = 0; i < v->results->records[cell]; i++) {
        double reference = v->results->record[cell][i].reference;
        if (!isnan(reference)) sum += reference, n++;
    }
    if (!n || !(sum / n - v->mean[cell] > flattery)) return false;
    out->badness = sum / n - v->mean[cell];
    snprintf(out->detail, sizeof out->detail, "%.2f for %.2f", sum / n, v->mean[cell]);
    return true;
}

static bool many_bos(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    for (int i = 0; i < v->results->records[cell]; i++) {
        const sf_record *x = &v->results->record[cell][i];
        if (x->bos_tokens <= 1) continue;
        out->badness = x->bos_tokens;
        snprintf(out->detail, sizeof out->detail, "%d in sample %d", x->bos_tokens, x->sample);
        return true;
    }
    return false;
}

static bool no_bos(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const char *due = v->results->cell[cell].bos;
    for (int i = 0; due && *due && i < v->results->records[cell]; i++) {
        const sf_record *x = &v->results->record[cell][i];
        if (x->bos_tokens) continue;
        out->badness = 1;
        snprintf(out->detail, sizeof out->detail, "%.40s in sample %d", due, x->sample);
        return true;
    }
    return false;
}

/* Pairs of the cell's and its dense twin's records of the same sample. */
static const sf_record *twin(const sf_results *r, int dense, int sample, int *at)
{
    while (*at < r->records[dense] && r->record[dense][*at].sample < sample) ++*at;
    return *at < r->records[dense] && r->record[dense][*at].sample == sample ? &r->record[dense][*at] : NULL;
}

static bool other_prompts(const sf_view *v, int cell, int dense, struct finding *out)
{
    if (dense < 0) return false;
    for (int i = 0, at = 0; i < v->results->records[cell]; i++) {
        const sf_record *x = &v->results->record[cell][i], *d = twin(v->results, dense, x->sample, &at);
        if (!d || !x->prompt_hash || !d->prompt_hash || x->prompt_hash == d->prompt_hash) continue;
        out->badness = 1;
        snprintf(out->detail, sizeof out->detail, "sample %d", x->sample);
        return true;
    }
    return false;
}

/* With nothing left out, and nothing rounded, the answer must be dense's own: text where it was read, else score and length. */
static bool full_budget_differs(const sf_view *v, int cell, int dense, struct finding *out)
{
    if (dense < 0 || !sf_cell_exact(&v->results->cell[cell])) return false;
    for (int i = 0, at = 0; i < v->results->records[cell]; i++) {
        const sf_record *x = &v->results->record[cell][i], *d = twin(v->results, dense, x->sample, &at);
        if (!d || x->achieved[SF_PREFILL] != 0 || x->achieved[SF_DECODE] != 0) continue;
        bool same = x->prediction && d->prediction ? strcmp(x->prediction, d->prediction) == 0
                                                   : x->strict == d->strict && x->output_tokens == d->output_tokens;
        if (same) continue;
        out->badness = 1;
        snprintf(out->detail, sizeof out->detail, "sample %d", x->sample);
        return true;
    }
    return false;
}

/* Whether cells have as many samples as it took to know; in a run that did not end, some have fewer. */
static bool stopped_early(const sf_view *v) { return v->until > 0 && !isnan(v->results->run[v->results->runs - 1].seconds); }

static bool fewer_samples(const sf_view *v, int cell, int dense, struct finding *out)
{
    if (is_dense(&v->results->cell[cell])) return false;
    if (dense < 0) {
        out->badness = 1;
        snprintf(out->detail, sizeof out->detail, "no dense cell");
        return true;
    }
    int missing = 0;
    for (int i = 0, at = 0; i < v->results->records[dense]; i++)
        missing += !twin(v->results, cell, v->results->record[dense][i].sample, &at);
    if (!missing || stopped_early(v)) return false;
    out->badness = (double)missing / v->results->records[dense];
    snprintf(out->detail, sizeof out->detail, "%d of %d samples missing", missing, v->results->records[dense]);
    return true;
}

static bool better_than_dense(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const sf_verdict *x = &v->verdict[cell];
    if (!x->tasks || !(x->difference > 0) || !(x->p_holm <= alpha)) return false;
    out->badness = x->difference;
    snprintf(out->detail, sizeof out->detail, "+%.2f, p %.2g", x->difference, x->p_holm);
    return true;
}

/* Named once a model. */
static bool doubted(const sf_view *v, int cell, int dense, struct finding *out)
{
    (void)dense;
    const sf_cell_info *c = &v->results->cell[cell];
    if (!*c->doubts || (cell && strcmp(c[-1].model, c->model) == 0 && strcmp(c[-1].doubts, c->doubts) == 0)) return false;
    out->badness = 1;
    snprintf(out->detail, sizeof out->detail, "%s", c->doubts);
    return true;
}

static const struct gate gates[] = {
    {fewer_samples, SF_TOPIC_RUN, "incomplete against dense", "the same `frontier run` goes on with what is missing"},
    {doubted, SF_TOPIC_INPUT, "what was read of a model may not be what its authors meant; `frontier verify MODEL` says more",
     "settle each doubt before numbers of this model are quoted"},
    {many_bos, SF_TOPIC_INPUT, "more than one BOS token in the input: the chat template and the tokenizer both add one",
     "`frontier show MODEL --chat` shows where each comes from"},
    {no_bos, SF_TOPIC_INPUT,
     "no BOS token in front of the input, and the tokenizer puts one there: the chat template writes none (`chat: {bos: "
     "true}` puts it there, `bos: false` says that none is meant)",
     "decide which is meant, and run again"},
    {other_prompts, SF_TOPIC_INPUT, "the prompt is not dense's prompt: these cells cannot be compared sample by sample",
     "run dense and sparse with one version of the program, into a file of their own (`--out`)"},
    {nothing_to_choose, SF_TOPIC_METHOD,
     "every layer of the model has a sliding window, and methods leave such layers as they are: these cells are dense ones",
     "take a model with layers of full attention"},
    {full_budget_differs, SF_TOPIC_METHOD, "nothing was left out, and yet the answer is not dense's",
     "a fault of the method or of a kernel (`frontier check METHOD`), unless it moves keys, as infllm does beyond its window"},
    {off_budget, SF_TOPIC_METHOD, "executed sparsity is not the requested one: more pairs are computed than were asked for, or fewer, by over a quarter",
     "read these cells at the sparsity that they executed, as the charts do; means over tasks: tables/budgets.csv"},
    {better_than_dense, SF_TOPIC_ANSWERS,
     "sparse scores above dense beyond noise, which sparsity should not do: look for a fault, or for a "
     "dense setting that hurts",
     "compare the answers of both, sample by sample"},
    {nothing_to_lose, SF_TOPIC_ANSWERS, "the dense score is near zero: these tasks say nothing about sparsity here",
     "take a shorter length, an easier setting of the task, or a larger model; leave these cells out of means"},
    {nothing_to_win, SF_TOPIC_ANSWERS,
     "the dense score of a smaller model is near 1: no larger one, dense or sparse, can be much better here, however many samples there are "
     "(a loss can still be seen)",
     "to compare models, take a greater length, a harder setting of the task, or smaller models"},
    {unparsed, SF_TOPIC_ANSWERS, "answers that cannot be parsed, which score 0",
     "read some; small models answer better with `answer: direct`"},
    {unparsed_direct, SF_TOPIC_ANSWERS, "answers that cannot be parsed, which score 0", "read some, and the expected ones beside them"},
    {cut_off, SF_TOPIC_ANSWERS, "answers cut off at the output limit", "raise `output`, for dense and sparse alike"},
    {flattered, SF_TOPIC_ANSWERS,
     "the reference scorer leaves out answers that it cannot parse, and scores higher than the strict one",
     "quote the strict score"},
};

/* ---- Warnings ---- */

const char *const sf_topic_names[SF_TOPICS] = {"What was not run", "What the models were given", "What the methods did",
                                               "What the answers can say"};

/* Takes both strings. */
static sf_status add(sf_warnings *w, sf_topic topic, char *text, char *cells, const char *todo)
{
    sf_warning *grown = text ? realloc(w->at, ((size_t)w->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(text), free(cells);
        return sf_fail(SF_NO_MEMORY, "out of memory for warnings");
    }
    w->at = grown;
    w->at[w->count++] = (sf_warning){topic, text, cells, todo};
    return SF_OK;
}

static int worst_first(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    if (x->badness != y->badness) return x->badness > y->badness ? -1 : 1;
    return x->cell - y->cell;
}

static sf_status warn(const sf_view *v, sf_warnings *w, const struct gate *gate, int n, struct finding *finding)
{
    char *text = NULL, *cells = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size), *all = n > NAMED ? open_memstream(&cells, &size) : NULL;
    qsort(finding, (size_t)n, sizeof *finding, worst_first);
    if (f) fprintf(f, "%s (%d of %d cells): ", gate->text, n, v->results->cells);
    for (int i = 0; i < n; i++) {
        char name[SF_CELL_NAME];
        sf_cell_name(v, finding[i].cell, name);
        if (f && i < NAMED) fprintf(f, "%s%s (%s)", i ? ", " : "", name, finding[i].detail);
        if (all) fprintf(all, "%s (%s)\n", name, finding[i].detail);
    }
    if (f && n > NAMED) fprintf(f, ", and %d more", n - NAMED);
    bool written = f && fclose(f) == 0 && (n <= NAMED || (all && fclose(all) == 0));
    if (written) return add(w, gate->topic, text, cells, gate->todo);
    free(text), free(cells);
    return sf_fail(SF_NO_MEMORY, "out of memory for warnings");
}

/* Of all numbers of such a study, also of the points that went on to the end. */
static sf_status warn_stopped(const sf_view *v, sf_warnings *w)
{
    char *text = NULL;
    if (asprintf(&text, "samples stopped once it was known what they say (`samples: {until: %g}`). The tests by which they stopped hold however "
                 "often one looks; the 95 %% intervals and p values shown here are of a number of samples that is fixed beforehand, and say too "
                 "much after such a stop", v->until) < 0)
        text = NULL;
    return add(w, SF_TOPIC_ANSWERS, text, NULL, "for intervals and p values to quote, run again with a seed of its own and `samples: N`");
}

/* A cell that could not be run, in whole or from some sample on. */
static sf_status warn_failed(sf_warnings *w, const sf_failure *f)
{
    char *text = NULL;
    if (asprintf(&text, "failed at sample %d and left out: %s, %s, %d tokens, %s in prefill, %s in decode: %s", f->sample,
                 f->model, f->task, f->length, f->label[SF_PREFILL], f->label[SF_DECODE], f->message) < 0)
        text = NULL;
    return add(w, SF_TOPIC_RUN, text, NULL, "once its cause is mended, `frontier run --retry` tries it again");
}

sf_status sf_gates(const sf_view *v, sf_warnings *out)
{
    *out = (sf_warnings){0};
    const sf_results *r = v->results;
    struct finding *finding = malloc(((size_t)r->cells + 1) * sizeof *finding);
    sf_status status = finding ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory for the gates");
    for (int i = 0; i < r->problems && status == SF_OK; i++) {
        char *text = NULL;
        if (asprintf(&text, "left out: %s", r->problem[i]) < 0) text = NULL;
        status = add(out, SF_TOPIC_RUN, text, NULL, "what is damaged is run again by `frontier run`, once the file named is moved away");
    }
    for (int i = 0; i < r->failures && status == SF_OK; i++) status = warn_failed(out, &r->failure[i]);
    if (v->left_out && status == SF_OK) {
        char *text = NULL;
        if (asprintf(&text,
                     "%d cells stand where others stand, of another version of the task or the program; the one with "
                     "more samples is shown",
                     v->left_out) < 0)
            text = NULL;
        status = add(out, SF_TOPIC_RUN, text, NULL, "`frontier report` of a file of its own shows one version alone");
    }
    for (size_t g = 0; g < sizeof gates / sizeof *gates && status == SF_OK; g++) {
        int n = 0;
        for (int c = 0; c < r->cells; c++) {
            finding[n] = (struct finding){.cell = c};
            n += v->point_of[c] >= 0 && gates[g].fails(v, c, sf_cell_dense(v, c), &finding[n]);
        }
        if (n) status = warn(v, out, &gates[g], n, finding);
    }
    if (stopped_early(v) && status == SF_OK) status = warn_stopped(v, out);
    free(finding);
    if (status != SF_OK) sf_warnings_free(out);
    return status;
}

void sf_warnings_free(sf_warnings *w)
{
    for (int i = 0; i < w->count; i++) free(w->at[i].text), free(w->at[i].cells);
    free(w->at);
    *w = (sf_warnings){0};
}
