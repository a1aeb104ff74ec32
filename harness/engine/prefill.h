/* The prefills of a wave, and the first tokens. */
#ifndef SF_BATCH_PREFILL_H
#define SF_BATCH_PREFILL_H

#include "harness/engine/batch.h"

sf_status sf_batch_prefill(sf_batch *batch, const sf_wave *wave); /* leaves `hidden` */
sf_status sf_batch_first_tokens(sf_batch *batch, const sf_wave *wave);

#endif
