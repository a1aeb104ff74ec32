/* Weights that a checkpoint stores otherwise than one matrix a tensor: made anew when it is opened, into memory of their own,
 * under the names by which they are looked for. */
#ifndef SF_UNPACK_H
#define SF_UNPACK_H

#include "harness/model/config.h"
#include "harness/model/safetensors.h"

/* gpt-oss: gate and up are columns of one tensor in turn, matrices stand transposed, or in MXFP4 as blocks and scales.
 * Makes PREFIXlayers.N.mlp.experts.{gate,up,down}, [E, m, d] or [E, d, m], and gate_bias and up_bias. */
sf_status sf_unpack_gpt_oss(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);

#endif
