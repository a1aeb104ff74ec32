/* KeyDiff: each kv head keeps the keys whose direction differs most from the mean of all directions. No query is asked.
 *
 * As kvpress' KeyDiffPress: one choice over the whole prompt, nothing forced. The paper goes through the prompt in blocks
 * with a cache of fixed size. */
#include "methods/method.h"

struct params {
    int capacity;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys a kv head keeps"},
    {0},
};

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    const struct params *p = params;
    sf_tensor score = sf_key_cosines(a);
    sf_scale(a, score, -1);
    return sf_keep(a, out, sf_top(a, score, p->capacity));
}

/* Norms, mean direction and cosines, their sign, selection. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double flops = (double)e->tokens * e->kv_heads * (6.0 * e->head_dim + 3);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_keydiff = {
    .abi = SF_METHOD_ABI,
    .name = "keydiff",
    .form = SF_FORM_EVICTING,
    .summary = "each kv head keeps the keys that differ most from their mean direction",
    .paper = "Park et al. 2025, KeyDiff, arXiv 2504.15364",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .compress = compress,
    .leaves_sinks = true,
};
