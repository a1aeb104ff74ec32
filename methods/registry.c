/* The built-in methods: one line each. */
#include "methods/method.h"

extern const sf_method sf_dense_method, sf_null, sf_streaming, sf_tri_shape, sf_random_blocks, sf_oracle_blocks,
    sf_oracle_topk, sf_vertical_slash, sf_block_sparse, sf_flex_prefill, sf_flex_prefill_full, sf_snapkv, sf_ada_snapkv,
    sf_quest;

const sf_method *const sf_methods[] = {
    /* of the study */
    &sf_vertical_slash,
    &sf_block_sparse,
    &sf_flex_prefill,
    &sf_flex_prefill_full,
    &sf_snapkv,
    &sf_ada_snapkv,
    &sf_quest,
    /* baselines */
    &sf_dense_method,
    &sf_streaming,
    &sf_tri_shape,
    &sf_random_blocks,
    &sf_oracle_blocks,
    &sf_oracle_topk,
    &sf_null,
    NULL,
};
