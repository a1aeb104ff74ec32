/* How a checkpoint's files say what its queries and keys are rotated by, in all the spellings there have been. Keys that
 * contradict each other are refused, naming both: readers differ in which of them they obey. */
#ifndef SF_POSITIONS_H
#define SF_POSITIONS_H

#include "harness/model/family.h"

/* Fill c->rope and c->rope_local, whose sizes and max_position are there. `at`: the decoder's config, without defaults. */
sf_status sf_positions_from_json(sf_json_at at, const sf_family *f, sf_model_config *c, sf_doubts *doubts);
sf_status sf_positions_from_gguf(const sf_gguf *g, const sf_family *f, sf_model_config *c);

#endif
