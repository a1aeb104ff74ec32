/* Sampling that stops when it knows: which cells need more samples. */
#ifndef SF_STOPPING_H
#define SF_STOPPING_H

#include "harness/run/study.h"

/* What is known of a mean paired difference of scores, at 95 %, however often one has looked. */
typedef enum sf_known { SF_OPEN, SF_LESS, SF_MORE, SF_ALIKE } sf_known;

/* Of rounds that each brought the difference of one sample of every task, [rounds, tasks] in [-1, 1]: whether its mean over tasks is
 * below 0, above 0, or within `until` of it. */
sf_known sf_known_of(int rounds, int tasks, const double *difference, double until);

/* Methods that are to be held against each other: those of one phase at one sparsity. score[a] [rounds[a], tasks], the same samples
 * in the same order; arm 0 is dense, and has most rounds. open [arms]: whether more samples of the arm would decide something: if it
 * loses against dense, or which is the best of those that do. Error: no memory. */
sf_status sf_stopping_open(int arms, int tasks, const int *rounds, const double *const *score, double until, bool *open);

/* Lets each cell have as many samples as it needs next: those of undecided points more, of the others as they have. `most`: [cells]
 * that each may have. *more: whether any got more. Reads what is stored at `path`. */
sf_status sf_stopping_next(sf_study *study, const int *most, const char *path, bool *more);

#endif
