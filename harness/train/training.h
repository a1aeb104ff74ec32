/* Training samples: a sweep's tasks, tokenised as a model reads and should answer them, for training small models. */
#ifndef SF_TRAINING_H
#define SF_TRAINING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sf_training_options {
    const char *config, *out;
    int sets;
    const char *const *set;
    const char *mix;     /* "task=weight,…": a weight multiplies the task's samples; NULL: all weigh 1 */
    uint64_t seed;       /* not the one that evaluation uses: an error */
    int first, samples;  /* of every task and length: samples first … first + samples - 1 */
    int threads;         /* 0: the config's, or all cores */
    bool overwrite;
} sf_training_options;

/* Writes samples of every task and length to an HDF5 file, which appears when it is whole (schema: training_hdf5.h).
 * Lengths follow each other; within a length, tasks are shuffled, by the seed. Every answer is scored by its task
 * first: less than 1 is an error. The file does not depend on the number of threads. Prints what it wrote. */
sf_status sf_training_export(const sf_training_options *options);

#endif
