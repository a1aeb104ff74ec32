/* Oracle top-k: decode reads the keys with the largest exact attention probability, summed over the query heads of a
 * group. It looks at every key to choose, so no method; the most that any choice of as many keys can recall. */
#include "methods/method.h"

struct params {
    int budget;
};

static const sf_param PARAMS[] = {
    {.name = "budget", .type = SF_INT, .offset = offsetof(struct params, budget), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys to read"},
    {0},
};

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    sf_tensor mass = sf_group(a, sf_key_probabilities(a), SF_SUM); /* [G, keys] */
    return sf_pages(a, out, 1, sf_top(a, mass, p->budget));
}

/* Every key is read to choose. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double keys = (double)e->kv_heads * e->head_dim * e->tokens;
    return (sf_estimate){.paper = keys, .exact = keys};
}

const sf_method sf_oracle_topk = {
    .abi = SF_METHOD_ABI,
    .name = "oracle_topk",
    .form = SF_FORM_ORACLE,
    .summary = "keys with the largest exact probability for the query (for analysis)",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .decode = decode,
    .oracle = true,
};
