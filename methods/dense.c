/* Dense: every causal pair. What all other methods are compared with, and the shortest example of a method. */
#include "methods/method.h"

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_dense(a, out);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return sf_dense(a, out);
}

const sf_method sf_dense_method = {
    .abi = SF_METHOD_ABI,
    .name = "dense",
    .summary = "every causal pair",
    .prefill = prefill,
    .decode = decode,
};
