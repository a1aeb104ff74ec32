/* The reference backend: every op as the plainest loops that compute what backend.h says, sums in double. It is the
 * oracle of the other fillings, so each loop is written to be checked against its contract by eye, not to be fast. */
#ifndef SF_REFERENCE_H
#define SF_REFERENCE_H

#include "kernels/backend.h"

/* The oracle of executors, count_pairs and mass: mask[j] = 1 where query head h at row i computes key j, else 0.
 * mask [N]. pattern NULL: every key that the row may see. Returns the number of ones. */
int64_t sf_reference_mask(const sf_attention *a, const sf_pattern *pattern, int h, int i, uint8_t *mask);

/* The same of a cache that holds every key: the pattern alone, keys are not looked at. */
void sf_reference_named(const sf_attention *a, const sf_pattern *pattern, int h, int i, uint8_t *mask);

/* Logical key j of kv head g, D floats; NULL where a compacted cache does not hold it. */
const float *sf_reference_key(const sf_attention *a, int g, int j);
const float *sf_reference_value(const sf_attention *a, int g, int j);

/* p[j] = exact softmax over the keys with mask[j] = 1, 0 elsewhere. p [N]. */
void sf_reference_softmax(const sf_attention *a, int h, int i, const uint8_t *mask, double *p);

/* layers.c */
sf_status sf_reference_embed(sf_backend *, const sf_tensor *, const int32_t *, int64_t, float, float *);
sf_status sf_reference_rms_norm(sf_backend *, const void *, sf_dtype, int64_t, int, const sf_tensor *, float, float,
                                void *);
sf_status sf_reference_linear(sf_backend *, const void *, int64_t, const sf_tensor *, const sf_tensor *, bool, void *,
                              sf_dtype);
sf_status sf_reference_rope(sf_backend *, void *, int64_t, int, int, const int32_t *, const float *, const float *,
                            bool);
sf_status sf_reference_gated(sf_backend *, void *, const void *, int64_t, int, sf_activation);
sf_status sf_reference_add(sf_backend *, float *, const void *, int64_t);
sf_status sf_reference_store_kv(sf_backend *, int, sf_kv_part *const *, int64_t, int, int, const void *, const void *);
sf_status sf_reference_gather_kv(sf_backend *, const sf_kv_part *, const sf_lists *, int, sf_kv_part *);
sf_status sf_reference_argmax(sf_backend *, const float *, int64_t, int64_t, int32_t *);

/* attention.c */
sf_status sf_reference_prefill(sf_backend *, const sf_attention *, const sf_pattern *, void *);
sf_status sf_reference_decode(sf_backend *, int, const sf_attention *const *, const sf_pattern *const *, void *);
sf_status sf_reference_count_pairs(sf_backend *, const sf_attention *, const sf_pattern *, uint64_t *);
sf_status sf_reference_mass(sf_backend *, const sf_attention *, const sf_pattern *, int, const int32_t *, float *);

/* estimate.c */
sf_status sf_reference_probe(sf_backend *, const sf_attention *, int, sf_reduce, float *, float *);
sf_status sf_reference_block_means(sf_backend *, const sf_attention *, bool, int, float *);
sf_status sf_reference_top_blocks(sf_backend *, const sf_attention *, const float *, int, const float *, int, int, int,
                                  int, int, sf_lists *);
sf_status sf_reference_block_probabilities(sf_backend *, const sf_attention *, const float *, int, const float *, int,
                                           float *);
sf_status sf_reference_top_block_mass(sf_backend *, const sf_attention *, int, int, int, int, sf_lists *);
sf_status sf_reference_page_bounds(sf_backend *, const sf_attention *, int, int, int64_t, float *, float *);
sf_status sf_reference_page_scores(sf_backend *, const sf_attention *, int, int64_t, const float *, const float *,
                                   float *);
sf_status sf_reference_key_probabilities(sf_backend *, const sf_attention *, float *);

/* select.c */
sf_status sf_reference_reduce_rows(sf_backend *, const float *, int64_t, int, int64_t, sf_reduce, float *);
sf_status sf_reference_pool(sf_backend *, const float *, int64_t, int64_t, int, sf_reduce, float *);
sf_status sf_reference_fill(sf_backend *, float *, int64_t, int64_t, int64_t, int64_t, float);
sf_status sf_reference_fill_at(sf_backend *, float *, int64_t, int64_t, const sf_lists *, float);
sf_status sf_reference_top(sf_backend *, const float *, int64_t, int64_t, int64_t, sf_lists *);
sf_status sf_reference_top_counts(sf_backend *, const float *, int64_t, int64_t, const int32_t *, int64_t, sf_lists *);
sf_status sf_reference_top_total(sf_backend *, const float *, int64_t, int64_t, int64_t, sf_lists *);
sf_status sf_reference_top_mass(sf_backend *, const float *, int64_t, int64_t, float, int64_t, int64_t, sf_lists *);

/* The k best of x[0..n) as an ascending list: by value, ties to the lowest index; -INFINITY and NaN never. Returns
 * their number. */
int32_t sf_reference_best(const float *x, int64_t n, int64_t k, int32_t *index);

#endif
