/* Sampling that stops when it knows: which cells need more samples. */
#ifndef SF_STOPPING_H
#define SF_STOPPING_H

#include "harness/run/study.h"

/* What is known of a mean paired difference of scores, however often one has looked. */
typedef enum sf_known { SF_OPEN, SF_LESS, SF_MORE, SF_ALIKE } sf_known;

/* Of rounds that each brought the difference of one sample of every task, [rounds, tasks] in [-1, 1]: whether its mean over tasks is
 * below 0, above 0, or within `until` of it; wrongly with a probability of at most alpha, of all that is ever said of it. Each side of 0
 * is held to alpha / 2, each end of `until` to alpha (two one-sided tests, as of equivalence: Schuirmann 1987): where the mean is 0 only
 * "below" and "above" are wrong, alpha / 2 each; where it is above 0, by no more than `until`, only "below"; farther above, "below" and
 * "within", and both take a capital against means above it, at 0 or at `until`, of which the latter is never the smaller, and comes to
 * 1 / alpha with a probability of alpha at most. So also below. */
sf_known sf_known_of(int rounds, int tasks, const double *difference, double until, double alpha);

/* Methods that are to be held against each other: those of one phase, at all sparsities. */
typedef struct sf_contest {
    int arms, tasks;
    const int *rounds;           /* [arms] that each has; arm 0 is dense, and has most */
    const double *const *score;  /* [arms] [rounds, tasks] the same samples in the same order */
    const double (*sparsity)[2]; /* [arms] of both phases; NAN: nobody's rival */
    double until;
    int decide; /* bits of sf_decide */
    double alpha; /* of each decision */
} sf_contest;

/* What would have to be known of two arms; against dense: b is 0. */
typedef struct sf_decision {
    int a, b;
    sf_known known;
} sf_decision;

/* Pairs of arms that decisions may be of, whatever the scores: each arm against dense, and all rivals that `decide` may hold against each
 * other (of one sparsity, or of which one is at least as sparse). Which of them are asked about hangs on scores. Where each is held to
 * alpha / pairs, none of all decisions is wrong but with a probability of alpha (Bonferroni over confidence sequences, which hold at
 * all times at once: Waudby-Smith and Ramdas 2024, and whatever is chosen of them). */
int sf_stopping_pairs(int arms, const double (*sparsity)[2], int decide);

/* All decisions, at most arms * 4 of them: of each arm against dense; of each but the best of a sparsity against the best (unless neither
 * loses against dense); of those next to each other in the order of a sparsity; of each against the best that is at least as sparse.
 * Error: no memory. */
sf_status sf_stopping_decisions(const sf_contest *c, sf_decision *out, int *count);

/* To what each decision of the study is held: 0.05, or that over all pairs that its decisions may be of (samples: {error: study}). */
double sf_stopping_alpha(const sf_study *study);

/* Lets each cell have as many samples as it needs next: those of undecided points more, of the others as they have. `most`: [cells]
 * that each may have. *more: whether any got more. Reads what is stored at `path`. */
sf_status sf_stopping_next(sf_study *study, const int *most, const char *path, bool *more);

#endif
