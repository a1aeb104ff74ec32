/* The lock-step. */
#ifndef SF_BATCH_DECODE_H
#define SF_BATCH_DECODE_H

#include "harness/engine/batch.h"

/* Until every lane has stopped or has its limit of tokens. */
sf_status sf_batch_decode(sf_batch *batch);

#endif
