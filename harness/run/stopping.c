#include "harness/run/stopping.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/confidence.h"

static const double ALPHA = 0.05; /* of each decision, or of all of a study */

sf_known sf_known_of(int rounds, int tasks, const double *difference, double until, double alpha)
{
    const sf_side zero = sf_confidence_side(rounds, tasks, difference, -1, 1, 0, alpha);
    if (zero.above != zero.below) return zero.above ? SF_MORE : SF_LESS;
    const bool within = sf_confidence_side(rounds, tasks, difference, -1, 1, -until, 2 * alpha).above &&
                        sf_confidence_side(rounds, tasks, difference, -1, 1, until, 2 * alpha).below; /* a side is alpha: stopping.h */
    return within ? SF_ALIKE : SF_OPEN;
}

static double mean(int n, const double *x)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return n ? sum / n : -INFINITY;
}

static bool same_level(const double (*sparsity)[2], int a, int b) { return sparsity[a][0] == sparsity[b][0] && sparsity[a][1] == sparsity[b][1]; }

static bool as_sparse(const double (*sparsity)[2], int a, int b) /* as b, or sparser */
{
    return sparsity[a][0] >= sparsity[b][0] && sparsity[a][1] >= sparsity[b][1];
}

int sf_stopping_pairs(int arms, const double (*sparsity)[2], int decide)
{
    int pairs = arms - 1;
    for (int a = 1; a < arms; a++)
        for (int b = 1; b < a; b++) {
            const bool rivals = same_level(sparsity, a, b);
            const bool over = (decide & SF_DECIDE_FRONTIER) && (as_sparse(sparsity, a, b) || as_sparse(sparsity, b, a));
            pairs += over || (rivals && (decide & (SF_DECIDE_BEST | SF_DECIDE_RANKING)));
        }
    return pairs;
}

/* The best of the others that are at arm's sparsity (or at least as sparse), or that come behind `below` in their order; 0: there is none.
 * Of two that are equal, the first. */
static int best_rival(const sf_contest *c, const double *means, int arm, bool sparser, bool behind)
{
    int best = 0;
    for (int b = 1; b < c->arms; b++) {
        if (b == arm || !(sparser ? as_sparse(c->sparsity, b, arm) : same_level(c->sparsity, b, arm))) continue;
        if (behind && (means[b] > means[arm] || (means[b] == means[arm] && b < arm))) continue;
        if (!best || means[b] > means[best]) best = b;
    }
    return best;
}

static sf_status add(const sf_contest *c, int a, int b, sf_decision *out, int *count)
{
    const int n = c->rounds[a] < c->rounds[b] ? c->rounds[a] : c->rounds[b];
    double *difference = malloc(((size_t)n * (size_t)c->tasks + 1) * sizeof *difference);
    if (!difference) return sf_fail(SF_NO_MEMORY, "no memory for %d rounds of samples", n);
    for (int i = 0; i < n * c->tasks; i++) difference[i] = c->score[a][i] - c->score[b][i];
    out[(*count)++] = (sf_decision){a, b, sf_known_of(n, c->tasks, difference, c->until, c->alpha)};
    free(difference);
    return SF_OK;
}

sf_status sf_stopping_decisions(const sf_contest *c, sf_decision *out, int *count)
{
    double means[c->arms];
    *count = 0;
    for (int a = 0; a < c->arms; a++) means[a] = mean(c->rounds[a] * c->tasks, c->score[a]);
    for (int a = 1; a < c->arms; a++) SF_TRY(add(c, a, 0, out, count)); /* out[a - 1] */
    for (int a = 1; a < c->arms; a++) {
        const int best = c->decide & SF_DECIDE_BEST ? best_rival(c, means, a, false, false) : 0,
                  next = c->decide & SF_DECIDE_RANKING ? best_rival(c, means, a, false, true) : 0,
                  over = c->decide & SF_DECIDE_FRONTIER ? best_rival(c, means, a, true, false) : 0;
        const bool is_best = best && best_rival(c, means, a, false, true) == best; /* all others come behind it */
        const bool loses = out[a - 1].known != SF_ALIKE;
        if (best && !is_best && (loses || out[best - 1].known != SF_ALIKE)) SF_TRY(add(c, a, best, out, count));
        if (next) SF_TRY(add(c, a, next, out, count));
        if (over && (loses || out[over - 1].known != SF_ALIKE)) SF_TRY(add(c, a, over, out, count));
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

static bool is_dense(const sf_cell *c) { return sf_cell_plain(c) && !c->cache; }

static bool same_phase(const sf_cell *a, const sf_cell *b) 
{
    return a->cache == b->cache && !a->prefill == !b->prefill && !a->decode == !b->decode;
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

/* Cells of one model, length and task; of each task of it the cells that come at the same place are a point. */
typedef struct group {
    int *begin; /* [tasks] its dense cell's place in the plan */
    int tasks, points;
} group;

/* Who decides together with arm `first`: dense, and the arms of its phase. Returns how many; who [points], sparsity of each. */
static int gather(const sf_study *study, const group *g, int first, int *who, double (*sparsity)[2])
{
    const sf_cell *cell = study->plan.cell + g->begin[0];
    int n = 0;
    for (int j = 0; j < g->points; j++) {
        if (j != 0 && !same_phase(&cell[first], &cell[j])) continue;
        memcpy(sparsity[n], cell[j].sparsity, sizeof *sparsity);
        who[n++] = j;
    }
    return n;
}

/* The first arm of each phase, in turn, from 1 on; points: there is none after `arm`. */
static int next_phase(const sf_study *study, const group *g, int arm)
{
    const sf_cell *cell = study->plan.cell + g->begin[0];
    for (arm++; arm < g->points; arm++) {
        int before = 1;
        while (before < arm && !same_phase(&cell[before], &cell[arm])) before++;
        if (before == arm) return arm;
    }
    return arm;
}

static int pairs_of(const sf_study *study, const group *g)
{
    int who[g->points], pairs = 0;
    double sparsity[g->points][2];
    for (int i = next_phase(study, g, 0); i < g->points; i = next_phase(study, g, i)) {
        const int n = gather(study, g, i, who, sparsity);
        pairs += sf_stopping_pairs(n, sparsity, study->sweep->decide);
    }
    return pairs;
}

/* Marks the points of which something is open. */
static sf_status decide(const sf_study *study, const group *g, double alpha, point *p)
{
    for (int i = next_phase(study, g, 0); i < g->points; i = next_phase(study, g, i)) {
        const double *score[g->points];
        double sparsity[g->points][2];
        int rounds[g->points], who[g->points], decisions;
        const int n = gather(study, g, i, who, sparsity);
        for (int k = 0; k < n; k++) score[k] = p[who[k]].score, rounds[k] = p[who[k]].rounds;
        const sf_contest contest = {n, g->tasks, rounds, score, sparsity, study->sweep->until, study->sweep->decide, alpha};
        sf_decision decision[4 * n];
        SF_TRY(sf_stopping_decisions(&contest, decision, &decisions));
        for (int k = 0; k < decisions; k++)
            if (decision[k].known == SF_OPEN) p[who[decision[k].a]].open = p[who[decision[k].b]].open = true;
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

static sf_status next_of(sf_study *study, const sf_results *r, const int *most, const group *g, double alpha, bool *more)
{
    point *p = calloc((size_t)g->points, sizeof *p);
    int *cell = calloc((size_t)g->points * (size_t)g->tasks, sizeof *cell);
    sf_status status = p && cell ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for %d points", g->points);
    for (int i = 0; status == SF_OK && i < g->points; i++) {
        p[i].cell = cell + (size_t)i * (size_t)g->tasks;
        for (int t = 0; t < g->tasks; t++) p[i].cell[t] = g->begin[t] + i;
        status = read_point(study, r, g->tasks, most, &p[i]);
    }
    if (status == SF_OK) status = decide(study, g, alpha, p);
    if (status == SF_OK) *more |= raise(study, g->tasks, g->points, p, most);
    for (int i = 0; p && i < g->points; i++) free(p[i].score);
    free(p), free(cell);
    return status;
}

/* The cells from `at` on that are of one model and length; begin: room for the sweep's tasks. Returns where they end. */
static int group_at(const sf_plan *plan, int at, group *g)
{
    const sf_cell *first = &plan->cell[at];
    int n = 0;
    g->tasks = 0;
    for (; at + n < plan->cells && plan->cell[at + n].model == first->model && plan->cell[at + n].length == first->length; n++)
        if (is_dense(&plan->cell[at + n])) g->begin[g->tasks++] = at + n;
    g->points = n / g->tasks;
    return at + n;
}

double sf_stopping_alpha(const sf_study *study)
{
    int begin[study->sweep->tasks], pairs = 0;
    group g = {.begin = begin};
    if (!study->sweep->error_of_study) return ALPHA;
    for (int at = 0; at < study->plan.cells;) {
        at = group_at(&study->plan, at, &g);
        pairs += pairs_of(study, &g);
    }
    return pairs ? ALPHA / pairs : ALPHA;
}

/* Nothing is put on a model that was trained sparse, and so nothing is decided on it: for a place beside those that methods are put on, it has
 * as many samples as their dense cells of the task and length. */
static bool raise_own(sf_study *study, const int *most)
{
    sf_cell *cell = study->plan.cell;
    bool more = false;
    for (int i = 0; i < study->plan.cells; i++)
        for (int j = 0; j < study->plan.cells && cell[i].own; j++) {
            if (cell[j].own || !is_dense(&cell[j]) || cell[j].task != cell[i].task || cell[j].length != cell[i].length) continue;
            const int wanted = cell[j].samples < most[i] ? cell[j].samples : most[i];
            if (wanted > cell[i].samples) cell[i].samples = wanted, more = true;
        }
    return more;
}

sf_status sf_stopping_next(sf_study *study, const int *most, const char *path, bool *more)
{
    sf_results r;
    int begin[study->sweep->tasks];
    group g = {.begin = begin};
    const double alpha = sf_stopping_alpha(study);
    *more = false;
    SF_TRY(sf_results_read(1, &path, 0, &r));
    sf_status status = SF_OK;
    for (int at = 0; status == SF_OK && at < study->plan.cells;) {
        at = group_at(&study->plan, at, &g);
        status = next_of(study, &r, most, &g, alpha, more);
    }
    if (status == SF_OK) *more |= raise_own(study, most);
    sf_results_free(&r);
    return status;
}
