/* Sampling that stops when it knows: which cells need more samples. */
#ifndef SF_STOPPING_H
#define SF_STOPPING_H

#include "harness/run/study.h"

/* What is known of a mean paired difference of scores, at 95 %, however often one has looked. */
typedef enum sf_known { SF_OPEN, SF_LESS, SF_MORE, SF_ALIKE } sf_known;

/* Of rounds that each brought the difference of one sample of every task, [rounds, tasks] in [-1, 1]: whether its mean over tasks is
 * below 0, above 0, or within `until` of it. */
sf_known sf_known_of(int rounds, int tasks, const double *difference, double until);

/* Methods that are to be held against each other: those of one phase, at all sparsities. */
typedef struct sf_contest {
    int arms, tasks;
    const int *rounds;           /* [arms] that each has; arm 0 is dense, and has most */
    const double *const *score;  /* [arms] [rounds, tasks] the same samples in the same order */
    const double (*sparsity)[2]; /* [arms] of both phases; NAN: nobody's rival */
    double until;
    int decide; /* bits of sf_decide */
} sf_contest;

/* What would have to be known of two arms; against dense: b is 0. */
typedef struct sf_decision {
    int a, b;
    sf_known known;
} sf_decision;

/* All decisions, at most arms * 4 of them: of each arm against dense; of each but the best of a sparsity against the best (unless neither
 * loses against dense); of those next to each other in the order of a sparsity; of each against the best that is at least as sparse.
 * Error: no memory. */
sf_status sf_stopping_decisions(const sf_contest *c, sf_decision *out, int *count);

/* Lets each cell have as many samples as it needs next: those of undecided points more, of the others as they have. `most`: [cells]
 * that each may have. *more: whether any got more. Reads what is stored at `path`. */
sf_status sf_stopping_next(sf_study *study, const int *most, const char *path, bool *more);

#endif
