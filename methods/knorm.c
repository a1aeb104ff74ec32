/* Knorm: each kv head keeps the keys of smallest norm, which queries tend to look at most. No query is asked.
 *
 * As kvpress' KnormPress: nothing is forced; an attention sink, whose norm is small, stays by itself. The paper leaves the
 * first two layers whole: {dense_layers: 2}. */
#include "methods/method.h"

struct params {
    int capacity, dense_layers;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys a kv head keeps"},
    {.name = "dense_layers", .type = SF_INT, .offset = offsetof(struct params, dense_layers),
     .low = 0, .high = 1024, .initial = 0, .doc = "first layers that keep everything"},
    {0},
};

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    const struct params *p = params;
    if (a->layer < p->dense_layers) return sf_dense(a, out);
    sf_tensor score = sf_key_norms(a, false);
    sf_scale(a, score, -1);
    return sf_keep(a, out, sf_top(a, score, p->capacity));
}

/* A norm a key, its sign, selection. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double share = p->dense_layers < e->layers ? 1 - (double)p->dense_layers / e->layers : 0;
    double flops = share * e->tokens * e->kv_heads * (2.0 * e->head_dim + 3);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_knorm = {
    .abi = SF_METHOD_ABI,
    .name = "knorm",
    .form = SF_FORM_EVICTING,
    .summary = "each kv head keeps the keys of smallest norm",
    .paper = "Devoto et al. 2024, A Simple and Effective L2 Norm-Based Strategy, arXiv 2406.11430",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .compress = compress,
    .leaves_sinks = true,
};
