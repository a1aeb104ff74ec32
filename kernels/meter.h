/* What was executed, counted inside the ops, so that no method can forget it.
 *
 * FLOPs: a linear layer 2·rows·in·out; attention (4·D + 3) per query–key pair and query head (the study's formula, for
 * the pairs that were executed); estimation primitives as documented at each op; norms, rotations and activations under
 * SF_OTHER. Bytes are compulsory traffic: weights once per op, cache once per key read and kv head, activations once. */
#ifndef SF_METER_H
#define SF_METER_H

#include <stdint.h>

#include "kernels/pattern.h"

typedef enum sf_work { SF_LINEAR, SF_ATTENTION, SF_ESTIMATION, SF_OTHER, SF_WORKS } sf_work;

typedef struct sf_count {
    uint64_t flops;
    uint64_t weight_bytes; /* read, in the dtype they are stored in; of estimation, a basis that keys are turned into */
    uint64_t cache_bytes;  /* keys and values read, and, to choose, what stands for keys: bounds, means, components, codes; of recurrent
                              layers (linear) their state, read and written */
    uint64_t other_bytes;  /* activations and scores, read and written */
    uint64_t pairs;        /* query–key pairs, summed over query heads */
} sf_count;

typedef struct sf_meter {
    sf_count at[SF_PHASES][SF_WORKS];
} sf_meter;

#endif
