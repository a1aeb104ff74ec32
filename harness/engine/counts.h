/* What was done and how long it took: looks at recall, shares of common work, tallies. */
#ifndef SF_BATCH_COUNTS_H
#define SF_BATCH_COUNTS_H

#include "harness/engine/batch.h"

/* Queues a look: weight · recall of the pattern on sampled rows, which sf_batch_looked() adds to sum [H]. Looks are made
 * while the backend watches. sf_batch_looked() waits, so it is called once a step, not once a look. */
sf_status sf_batch_look(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, int rows, const int32_t *row,
                        double weight, double *sum);
sf_status sf_batch_looked(sf_batch *batch);

/* Of what `whole` rows took together: what `part` of them alone would have counted is added to a meter. A row's work is
 * its part of the whole, but weights are read whole however many rows there are; of the embedding (`gathered`) each row
 * reads its own. */
void sf_batch_share(const sf_meter *together, int64_t part, int64_t whole, bool gathered, sf_meter *to);
/* From tallies to the lanes' meters, densities and recall. */
sf_status sf_batch_tally(sf_batch *batch);

#endif
