/* The built-in methods: one line each. SF_METHOD(x) names `const sf_method sf_x`, defined in a file here. */
#include "methods/find.h"

#define METHODS                     \
    /* of the study */              \
    SF_METHOD(vertical_slash)       \
    SF_METHOD(block_sparse)         \
    SF_METHOD(flex_prefill)         \
    SF_METHOD(flex_prefill_full)    \
    SF_METHOD(snapkv)               \
    SF_METHOD(ada_snapkv)           \
    SF_METHOD(quest)                \
    /* baselines */                 \
    SF_METHOD(dense_method)         \
    SF_METHOD(streaming)            \
    SF_METHOD(tri_shape)            \
    SF_METHOD(a_shape)              \
    SF_METHOD(sliding_window)       \
    SF_METHOD(streaming_llm)        \
    SF_METHOD(lm_infinite)          \
    SF_METHOD(longformer)           \
    SF_METHOD(etc_hubs)             \
    SF_METHOD(bigbird)              \
    SF_METHOD(sparse_transformer)   \
    SF_METHOD(dilated)              \
    SF_METHOD(head_roles)           \
    SF_METHOD(spattention)          \
    SF_METHOD(combiner)             \
    /* that choose blocks or columns in prefill */ \
    SF_METHOD(moba)                 \
    SF_METHOD(infllm)               \
    SF_METHOD(xattention)           \
    SF_METHOD(sketch_walk)          \
    SF_METHOD(sample_attention)     \
    SF_METHOD(minference)           \
    /* that choose keys in decode */ \
    SF_METHOD(sparq)                \
    SF_METHOD(loki)                 \
    SF_METHOD(double_sparsity)      \
    SF_METHOD(rocketkv)             \
    /* that keep a part of the cache */ \
    SF_METHOD(h2o)                  \
    SF_METHOD(tova)                 \
    SF_METHOD(decoding_snapkv)      \
    SF_METHOD(pyramidkv)            \
    SF_METHOD(knorm)                \
    SF_METHOD(keydiff)              \
    SF_METHOD(expected_attention)   \
    SF_METHOD(dms)                  \
    SF_METHOD(sparsek)              \
    /* by mass, by samples */        \
    SF_METHOD(twilight)             \
    SF_METHOD(vattention)           \
    SF_METHOD(magicpig)             \
    SF_METHOD(double_p)             \
    /* trained */                   \
    SF_METHOD(nsa)                  \
    SF_METHOD(dsa)                  \
    /* for analysis */              \
    SF_METHOD(random_blocks)        \
    SF_METHOD(oracle_blocks)        \
    SF_METHOD(oracle_topk)          \
    SF_METHOD(oracle_topp)          \
    SF_METHOD(oracle_sample)        \
    SF_METHOD(null)

const char *const sf_form_names[SF_FORMS] = {"", "fixed", "blocks", "columns", "pages", "sampled", "evicting", "oracle"};

#define SF_METHOD(name) extern const sf_method sf_##name;
METHODS
#undef SF_METHOD

#define SF_METHOD(name) &sf_##name,
const sf_method *const sf_methods[] = {METHODS NULL};
