/* Rotary position embedding: the tables of cos and sin that a model's queries and keys are rotated by.
 *
 * Angle of position p in pair i = p · frequency[i]. Frequencies, angles and tables are computed in fp32, operation by
 * operation as Hugging Face transformers does, since models were trained and are compared under that rounding: at
 * position 100000 a last-bit difference of a frequency near 1 already turns a pair by 0.006 rad. */
#ifndef SF_ROPE_H
#define SF_ROPE_H

#include "harness/model/model.h"

/* frequency [D/2], radians per position; *scale multiplies cos and sin (1 but for YaRN). `max_tokens` gives YaRN by
 * rule (factor 0) its factor, max(1, max_tokens / original_positions). */
void sf_rope_frequencies(const sf_rope_config *rope, int head_dim, int max_tokens, float *frequency, float *scale);

/* cosine, sine [positions, D/2] */
void sf_rope_table(const float *frequency, float scale, int head_dim, int positions, float *cosine, float *sine);

#endif
