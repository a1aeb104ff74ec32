/* What the stages of a pipeline say to each other: rows of hidden state, from each to the next; what methods carry from layer to
 * layer beside them; and what the last one knows of the next tokens, to all.
 *
 *     prefill   stage 0   wave 0 ┐ wave 1 ┐ wave 2 …         a stage takes the next wave while the one after it has the last
 *               stage 1          └ wave 0 ┘ wave 1 …
 *     decode    stage 0   step 0 ┐        ┌ step 1           one after the other, since a token waits for the one before it
 *               stage 1          └ step 0 ┘
 *
 * A stage that has failed goes on handing rows over, so that none waits for it, until all hear of it: after the prefills, and
 * after each step. Without a pipeline nothing is done here, but for the room of what is carried. */
#ifndef SF_STAGES_H
#define SF_STAGES_H

#include "harness/engine/batch.h"

/* Room for what methods carry, of all prompts and lanes: zeroed. Also without a pipeline. */
sf_status sf_stages_carry(sf_batch *batch);

/* A wave's hidden state and what its methods carry, from the stage before; to the stage after. */
sf_status sf_stages_receive_wave(sf_batch *batch, const sf_wave *wave);
sf_status sf_stages_send_wave(sf_batch *batch, const sf_wave *wave);

/* Those of `rows` sequences' newest tokens. */
sf_status sf_stages_receive_step(sf_batch *batch, int rows, sf_sequence *const *sequence);
sf_status sf_stages_send_step(sf_batch *batch, int rows, sf_sequence *const *sequence);
/* What methods carry from a step, or from the prefill, to the first layer of the next: from the last stage to the first. */
sf_status sf_stages_carry_on(sf_batch *batch, int rows, sf_sequence *const *sequence);

/* SF_OK where all stages bring it, else everywhere the failure of the first of them; ends all where the other ranks of this stage
 * have not heard of it. */
sf_status sf_stages_agree(sf_batch *batch, sf_status status);
/* Likewise over all ranks, who all come here. */
sf_status sf_stages_agree_all(sf_batch *batch, sf_status status);
/* The last stage's bytes, to all; host memory. */
sf_status sf_stages_tell(const sf_batch *batch, void *data, size_t bytes);
/* What the last stage alone has measured of the lanes, and how long each stage took over their prefills, to all. */
sf_status sf_stages_share(sf_batch *batch);

#endif
