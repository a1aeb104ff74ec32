/* Pictures of what a query head read. */
#ifndef SF_BATCH_PICTURE_H
#define SF_BATCH_PICTURE_H

#include "harness/engine/batch.h"

/* Of one prefill (`pattern` NULL: the attention mass), of what an evicting lane keeps, of a decode step. */
void sf_picture_clear(sf_picture *picture, int layer, int head, int queries, int keys);
sf_status sf_batch_picture_prefill(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, sf_picture *out);
sf_status sf_batch_picture_kept(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, sf_sequence *s);
sf_status sf_batch_picture_step(sf_batch *batch, sf_sequence *s, const sf_attention *a, const sf_pattern *pattern,
                                int step);

#endif
