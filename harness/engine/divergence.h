/* Divergence: a lane's predictions held against the dense model's after the same tokens.
 *
 * At rows of the prompt both have read the same tokens anyway. Along the generation the dense lane writes, and a lane that
 * follows it, beside the one that goes its own way, is fed with what the dense one wrote. Where a sample has a continuation, a
 * second dense lane is fed with that, and is the one that is followed. Nothing of it is counted or timed
 * as a lane's own. */
#ifndef SF_ENGINE_DIVERGENCE_H
#define SF_ENGINE_DIVERGENCE_H

#include "harness/engine/batch.h"

/* Divergence at rows of the wave's prompts and of the first token generated. */
sf_status sf_batch_predict(sf_batch *batch, const sf_wave *wave);
/* Divergence of a step: sequence [rows] of the logits at hand, next [rows] their likeliest tokens. */
sf_status sf_batch_diverge(sf_batch *batch, int rows, sf_sequence *const *sequence, int step, const int32_t *next);

/* Of attentions of one query each, over all keys it may see: adds weight · |out - dense| / |dense| of each query head to
 * sum[i] [H]; out[i] [H, D] is what the attention gave. Counted and timed as nobody's. */
sf_status sf_batch_output_error(sf_batch *batch, int layer, int rows, sf_attention *all, const void *const *out, double weight,
                                double *const *sum);

/* Of two rows of logits [vocab], scaled and capped. token: what is predicted; < 0: the dense model's likeliest. */
sf_divergence sf_divergence_of(const float *dense, const float *lane, int vocab, int position, int32_t token);

#endif
