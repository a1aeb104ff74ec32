/* Simulated studies of which the truth is known: how often sampling that stops decides wrongly, and how many samples it takes.
 *
 *     make build/tests/tools/stopping && build/tests/tools/stopping [STUDIES] [UNTIL] [LEAST] [MOST] [NOISE] [SAFE] [DECIDE] [ERROR]
 *
 * A study: methods at four sparsities against dense, on tasks. A sample of a task has a difficulty that all methods share; a method's
 * answer is right or wrong, or of four parts, and NOISE of them are a matter of luck of its own; what a sparsity costs a method is
 * drawn anew for each study, from nothing to all of the score, and nothing at all of SAFE of them (less at each higher sparsity).
 * Decisions: does the method lose against dense (or gain, or is it within UNTIL); and, by the letters of DECIDE, is it worse than the best
 * of its sparsity (b), than the next in its order (r), than the best that is at least as sparse (f), each or within UNTIL. A decision is
 * wrong where the true mean says otherwise; "alike" where the truth is farther than UNTIL. ERROR: decision, each at 5 %; study, all of
 * them, at 5 % over all pairs that decisions may be of. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"
#include "harness/run/stopping.h"

enum { METHODS = 6, LEVELS = 4, ARMS = 1 + METHODS * LEVELS /* dense first */, TASKS = 6, ROUNDS = 1000 };

static uint64_t state;
static double noise = 0.05, safe = 0.5;
static double uniform(void) { return (double)(sf_splitmix_next(&state) >> 11) / 9007199254740992.0; }

/* The chance that a method is right on a sample of this difficulty: that of dense, less what it loses. */
static double chance(double skill, double loss, double difficulty) { return fmin(fmax(skill - loss - 0.5 * (difficulty - 0.5), 0), 1); }

/* Its mean over difficulties, by the midpoint rule. */
static double truth_of(double skill, double loss)
{
    enum { N = 2000 };
    double sum = 0;
    for (int i = 0; i < N; i++) sum += chance(skill, loss, (i + 0.5) / N);
    return sum / N;
}

typedef struct tally {
    long decisions, wrong, open, samples, cells;
    int studies, spoilt; /* with a wrong decision */
} tally;

static int sign(double x, double until, sf_known known)
{
    return known == SF_LESS ? x < 0 : known == SF_MORE ? x > 0 : fabs(x) <= until;
}

static void count(tally *t, sf_known known, double truth, double until, bool *spoilt)
{
    if (known == SF_OPEN) {
        t->open++;
        return;
    }
    const bool wrong = !sign(truth, until, known);
    t->decisions++;
    t->wrong += wrong;
    *spoilt |= wrong;
}

/* A study, sample by sample. */
static void draw(int most, double score[ARMS][ROUNDS * TASKS], double truth[ARMS])
{
    static double loss[ARMS][TASKS];
    double skill[TASKS];
    int parts[LEVELS];
    memset(truth, 0, ARMS * sizeof *truth);
    for (int l = 0; l < LEVELS; l++) parts[l] = 1 + 3 * (uniform() < 0.5);
    for (int s = 0; s < TASKS; s++) skill[s] = 0.55 + 0.4 * uniform();
    for (int a = 0; a < ARMS; a++) {
        const int level = (a - 1) / METHODS;
        const double u = uniform(), hurt = a && uniform() >= safe * (LEVELS - level) / LEVELS ? u * (level + 1) / LEVELS : 0;
        for (int s = 0; s < TASKS; s++) {
            loss[a][s] = a && uniform() < 0.8 ? hurt * (0.5 + uniform()) : 0;
            truth[a] += truth_of(skill[s], loss[a][s]) / TASKS;
        }
    }
    for (int r = 0; r < most; r++)
        for (int s = 0; s < TASKS; s++) {
            const double difficulty = uniform();
            const int pieces = parts[s % LEVELS];
            double luck[4];
            for (int k = 0; k < pieces; k++) luck[k] = uniform();
            for (int a = 0; a < ARMS; a++) {
                int right = 0;
                for (int k = 0; k < pieces; k++) /* mostly the same luck: pairs are alike */
                    right += (uniform() < noise ? uniform() : luck[k]) < chance(skill[s], loss[a][s], difficulty);
                score[a][r * TASKS + s] = (double)right / pieces;
            }
        }
}

static void run_study(int least, int most, double until, int decide, bool of_study, tally *t)
{
    static double score[ARMS][ROUNDS * TASKS];
    double truth[ARMS], sparsity[ARMS][2];
    const double *scores[ARMS];
    int rounds[ARMS], decisions;
    sf_decision decision[4 * ARMS];
    bool spoilt = false;
    draw(most, score, truth);
    for (int a = 0; a < ARMS; a++) scores[a] = score[a], rounds[a] = least, sparsity[a][0] = a ? 1 + (a - 1) / METHODS : 0, sparsity[a][1] = 0;
    const double alpha = of_study ? 0.05 / sf_stopping_pairs(ARMS, sparsity, decide) : 0.05;
    const sf_contest contest = {ARMS, TASKS, rounds, scores, sparsity, until, decide, alpha};
    for (bool more = true; more;) {
        bool open[ARMS] = {false};
        more = false;
        if (sf_stopping_decisions(&contest, decision, &decisions) != SF_OK) abort();
        for (int i = 0; i < decisions; i++)
            if (decision[i].known == SF_OPEN) open[decision[i].a] = open[decision[i].b] = true;
        for (int a = 1; a < ARMS; a++) {
            if (!open[a] || rounds[a] == most) continue;
            const int step = (least + 1) / 2;
            rounds[a] = rounds[a] + step < most ? rounds[a] + step : most;
            more = true;
        }
        for (int a = 1; a < ARMS; a++) rounds[0] = rounds[a] > rounds[0] ? rounds[a] : rounds[0];
    }
    for (int i = 0; i < decisions; i++) count(t, decision[i].known, truth[decision[i].a] - truth[decision[i].b], until, &spoilt);
    for (int a = 0; a < ARMS; a++) t->samples += (long)rounds[a] * TASKS, t->cells += TASKS;
    t->spoilt += spoilt;
}

int main(int argc, char **argv)
{
    const int studies = argc > 1 ? atoi(argv[1]) : 1000, least = argc > 3 ? atoi(argv[3]) : 10, most = argc > 4 ? atoi(argv[4]) : 200;
    const double until = argc > 2 ? atof(argv[2]) : 0.03;
    if (argc > 5) noise = atof(argv[5]);
    if (argc > 6) safe = atof(argv[6]);
    const char *letters = argc > 7 ? argv[7] : "b";
    const int decide = (strchr(letters, 'b') ? SF_DECIDE_BEST : 0) | (strchr(letters, 'r') ? SF_DECIDE_RANKING : 0) | (strchr(letters, 'f') ? SF_DECIDE_FRONTIER : 0);
    if (studies < 1 || least < 2 || most < least || most > ROUNDS || !(until > 0) || !(noise >= 0 && noise <= 1) || !(safe >= 0 && safe <= 1)) return fprintf(stderr, "usage: stopping [STUDIES] [UNTIL] [LEAST] [MOST] [NOISE] [SAFE] [DECIDE] [decision|study]\n"), 2;
    const bool of_study = argc > 8 && strcmp(argv[8], "study") == 0;
    tally t = {.studies = studies};
    for (int i = 0; i < studies; i++) {
        state = 1000003u * (uint64_t)i + 7;
        run_study(least, most, until, decide, of_study, &t);
    }
    printf("samples: {least: %d, most: %d, until: %g}, decide %s, error: %s, noise %g, safe %g, %d studies of %d cells\n", least, most, until, letters, of_study ? "study" : "decision", noise, safe, studies,
           ARMS * TASKS);
    printf("decisions %ld, wrong %ld (%.2f %%); left open %ld (%.1f %%); studies with a wrong one %d (%.1f %%)\n", t.decisions, t.wrong,
           100.0 * (double)t.wrong / (double)t.decisions, t.open, 100.0 * (double)t.open / (double)(t.open + t.decisions), t.spoilt, 100.0 * t.spoilt / studies);
    printf("samples a cell %.1f; a fixed 100 takes %.2f times as many\n", (double)t.samples / (double)t.cells, 100.0 * (double)t.cells / (double)t.samples);
    return 0;
}
