/* The reference backend: every op as the plainest loops that compute what backend.h says, sums in double. It is the
 * oracle of the other fillings, so each loop is written to be checked against its contract by eye, not to be fast. */
#ifndef SF_REFERENCE_H
#define SF_REFERENCE_H

#include "kernels/backend.h"

/* The oracle of executors, count_pairs and mass: mask[j] = 1 where query head h at row i computes key j: where
 * sf_pattern_named() says so and the cache holds it. mask [N]. Returns the number of ones. */
int64_t sf_reference_mask(const sf_attention *a, const sf_pattern *pattern, int h, int i, uint8_t *mask);

/* Logical key j of kv head g, D floats; NULL where a compacted cache does not hold it. */
const float *sf_reference_key(const sf_attention *a, int g, int j);
const float *sf_reference_value(const sf_attention *a, int g, int j);

/* *own: a, its prompt's keys and values as floats, from scratch where they are packed. */
sf_status sf_reference_unpacked(sf_backend *b, const sf_attention *a, sf_attention *own);

/* p[j] = exact softmax over the keys with mask[j] = 1, 0 elsewhere. p [N]. */
void sf_reference_softmax(const sf_attention *a, int h, int i, const uint8_t *mask, double *p);
/* The same by the row's own normaliser (a->alpha). */
void sf_reference_weights(const sf_attention *a, int h, int i, const uint8_t *mask, double *p);
double sf_reference_capped(const sf_attention *a, double logit);

/* The k best of x[0..n) as an ascending list: by value, ties to the lowest index; -INFINITY and NaN never. *count: how
 * many. Error: no memory. */
sf_status sf_reference_best(const float *x, int64_t n, int64_t k, int32_t *index, int32_t *count);

/* p = α-entmax of x, 1 < α <= 2: p_j = ((α - 1) x_j - τ)+^(1 / (α - 1)), with the τ for which they sum to 1. In place. For α = 1.5
 * and 2 by sorting (Peters et al. 2019, arXiv 1905.05702, algorithm 2; Martins and Astudillo 2016, arXiv 1602.02068), else by
 * bisection (algorithm 1). entmax.c. */
void sf_reference_entmax(double *x, int64_t n, double alpha);

/* ---- the ops: layers.c, attention.c, estimate.c, select.c -------------------------------------------------------------- */

SF_EACH_OP(SF_OP_PROTOTYPE, sf_reference_)
SF_OP_PROTOTYPE(sf_reference_, convolve)
SF_OP_PROTOTYPE(sf_reference_, delta_rule)
SF_OP_PROTOTYPE(sf_reference_, state_space)
SF_OP_PROTOTYPE(sf_reference_, scale)
SF_OP_PROTOTYPE(sf_reference_, weigh_experts)
SF_OP_PROTOTYPE(sf_reference_, index_scores)

#endif
