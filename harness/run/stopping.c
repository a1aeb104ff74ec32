#include "harness/run/stopping.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/confidence.h"

static const double ALPHA = 0.05; /* of each decision */

sf_known sf_known_of(int rounds, int tasks, const double *difference, double until)
{
    const sf_side zero = sf_confidence_side(rounds, tasks, difference, -1, 1, 0, ALPHA);
    if (zero.above != zero.below) return zero.above ? SF_MORE : SF_LESS;
    const bool within = sf_confidence_side(rounds, tasks, difference, -1, 1, -until, ALPHA).above &&
                        sf_confidence_side(rounds, tasks, difference, -1, 1, until, ALPHA).below;
    return within ? SF_ALIKE : SF_OPEN;
}

static sf_status compare(int tasks, const int *rounds, const double *const *score, int a, int b, double until, sf_known *out)
{
    const int n = rounds[a] < rounds[b] ? rounds[a] : rounds[b];
    double *difference = malloc(((size_t)n * (size_t)tasks + 1) * sizeof *difference);
    if (!difference) return sf_fail(SF_NO_MEMORY, "no memory for %d rounds of samples", n);
    for (int i = 0; i < n * tasks; i++) difference[i] = score[a][i] - score[b][i];
    *out = sf_known_of(n, tasks, difference, until);
    free(difference);
    return SF_OK;
}

static double mean(int n, const double *x)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return n ? sum / n : -INFINITY;
}

sf_status sf_stopping_open(int arms, int tasks, const int *rounds, const double *const *score, double until, bool *open)
{
    sf_known against_dense[arms];
    int best = 1;
    memset(open, 0, (size_t)arms * sizeof *open);
    for (int a = 1; a < arms; a++) {
        SF_TRY(compare(tasks, rounds, score, a, 0, until, &against_dense[a]));
        open[a] = against_dense[a] == SF_OPEN;
        if (mean(rounds[a] * tasks, score[a]) > mean(rounds[best] * tasks, score[best])) best = a;
    }
    for (int a = 1; a < arms; a++) {
        sf_known known;
        if (a == best || (against_dense[a] == SF_ALIKE && against_dense[best] == SF_ALIKE)) continue; /* neither loses */
        SF_TRY(compare(tasks, rounds, score, a, best, until, &known));
        if (known == SF_OPEN) open[a] = open[best] = true;
    }
    return SF_OK;
}

/* ---- on a study ------------------------------------------------------------------------------------------------------ */

/* A point of the plan: its cell of each task. */
typedef struct point {
    int *cell; /* [tasks] positions in the plan */
    int rounds; /* samples 0 … of all tasks */
    double *score; /* [rounds, tasks] */
    bool open;
} point;

static bool same_level(double a, double b) { return a == b; } /* not of explicit parameters, which are NAN: nobody's rivals */

static bool is_dense(const sf_cell *c) { return !c->prefill && !c->decode; }

static bool are_rivals(const sf_cell *a, const sf_cell *b)
{
    return !is_dense(a) && !is_dense(b) && !a->prefill == !b->prefill && !a->decode == !b->decode &&
           same_level(a->sparsity[SF_PREFILL], b->sparsity[SF_PREFILL]) && same_level(a->sparsity[SF_DECODE], b->sparsity[SF_DECODE]);
}

static int stored_cell(const sf_results *r, const char *key)
{
    for (int c = 0; c < r->cells; c++)
        if (strcmp(r->cell[c].key, key) == 0) return c;
    return -1;
}

/* How many samples from 0 on are stored without a gap, at most `most`. */
static int samples_from_0(const sf_results *r, int cell, int most)
{
    int n = 0;
    while (cell >= 0 && n < most && n < r->records[cell] && r->record[cell][n].sample == n) n++;
    return n;
}

static sf_status read_point(const sf_study *study, const sf_results *r, int tasks, const int *most, point *p)
{
    int stored[tasks];
    p->rounds = most[p->cell[0]];
    for (int t = 0; t < tasks; t++) {
        stored[t] = stored_cell(r, study->plan.cell[p->cell[t]].key);
        const int n = samples_from_0(r, stored[t], most[p->cell[t]]);
        if (n < p->rounds) p->rounds = n;
    }
    p->score = malloc(((size_t)p->rounds * (size_t)tasks + 1) * sizeof *p->score);
    if (!p->score) return sf_fail(SF_NO_MEMORY, "no memory for %d rounds of samples", p->rounds);
    for (int i = 0; i < p->rounds; i++)
        for (int t = 0; t < tasks; t++) p->score[i * tasks + t] = r->record[stored[t]][i].strict;
    return SF_OK;
}

/* The points of one model and length, of which the first is dense; those that are at a level with point i decide together. */
static sf_status decide(const sf_study *study, int tasks, int points, point *p)
{
    bool done[points];
    memset(done, 0, sizeof done);
    for (int i = 1; i < points; i++) {
        const double *score[points];
        int rounds[points], who[points], n = 0;
        bool open[points];
        if (done[i]) continue;
        for (int j = 0; j < points; j++) {
            if (j != 0 && j != i && !are_rivals(&study->plan.cell[p[i].cell[0]], &study->plan.cell[p[j].cell[0]])) continue;
            who[n] = j, score[n] = p[j].score, rounds[n++] = p[j].rounds;
            done[j] = true;
        }
        SF_TRY(sf_stopping_open(n, tasks, rounds, score, study->sweep->until, open));
        for (int k = 1; k < n; k++) p[who[k]].open = open[k];
    }
    return SF_OK;
}

/* From the samples of the open points on; dense has as many as any of them. */
static bool raise(sf_study *study, int tasks, int points, const point *p, const int *most)
{
    const int step = (study->sweep->least + 1) / 2;
    bool more = false;
    for (int i = 1; i < points; i++)
        for (int t = 0; t < tasks && p[i].open; t++) {
            const int c = p[i].cell[t], dense = p[0].cell[t], wanted = p[i].rounds + step < most[c] ? p[i].rounds + step : most[c];
            sf_cell *cell = study->plan.cell;
            if (wanted > cell[c].samples) cell[c].samples = wanted, more = true;
            if (wanted > cell[dense].samples) cell[dense].samples = wanted;
        }
    return more;
}

/* Points of a model and length: cell k of each task's cells, which stand in the same order. */
static sf_status next_of(sf_study *study, const sf_results *r, const int *most, int tasks, const int *begin, int points, bool *more)
{
    point *p = calloc((size_t)points, sizeof *p);
    int *cell = calloc((size_t)points * (size_t)tasks, sizeof *cell);
    sf_status status = p && cell ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for %d points", points);
    for (int i = 0; status == SF_OK && i < points; i++) {
        p[i].cell = cell + (size_t)i * (size_t)tasks;
        for (int t = 0; t < tasks; t++) p[i].cell[t] = begin[t] + i;
        status = read_point(study, r, tasks, most, &p[i]);
    }
    if (status == SF_OK) status = decide(study, tasks, points, p);
    if (status == SF_OK) *more |= raise(study, tasks, points, p, most);
    for (int i = 0; p && i < points; i++) free(p[i].score);
    free(p), free(cell);
    return status;
}

sf_status sf_stopping_next(sf_study *study, const int *most, const char *path, bool *more)
{
    sf_results r;
    const sf_plan *plan = &study->plan;
    *more = false;
    SF_TRY(sf_results_read(1, &path, 0, &r));
    sf_status status = SF_OK;
    for (int at = 0; status == SF_OK && at < plan->cells;) {
        const sf_cell *first = &plan->cell[at];
        int begin[study->sweep->tasks], tasks = 0, n = 0;
        for (; at + n < plan->cells && plan->cell[at + n].model == first->model && plan->cell[at + n].length == first->length; n++)
            if (is_dense(&plan->cell[at + n])) begin[tasks++] = at + n;
        status = next_of(study, &r, most, tasks, begin, n / tasks, more);
        at += n;
    }
    sf_results_free(&r);
    return status;
}
