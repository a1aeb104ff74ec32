/* Oracle top-p: decode reads the fewest keys that hold a share of the exact attention probability. It looks at every key to
 * choose, so no method; what an estimator of probabilities (twilight, double_p) could do at best.
 *
 * A target sparsity is met at each step by all heads of a layer together: one share for all of them, so that heads that need
 * more keys take more. */
#include "methods/method.h"

struct params {
    double density, mass;
    int selection;
};

static const sf_param PARAMS[] = {
    {.name = "mass", .type = SF_REAL, .offset = offsetof(struct params, mass), .budget = true,
     .low = 0, .high = 1, .initial = 0.9, .doc = "share of the probability to read"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of the keys to read; 0: as mass says"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (mean probability)"},
    {0},
};

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    sf_tensor share = sf_key_probabilities(a); /* [H, keys], or [G, keys] */
    if (p->selection == 1) share = sf_group(a, share, SF_MEAN);
    return sf_keys_of_mass(a, out, share, p->mass, p->density);
}

/* Every key is read to choose. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double keys = (double)e->kv_heads * e->head_dim * e->tokens;
    return (sf_estimate){.paper = keys, .exact = keys};
}

const sf_method sf_oracle_topp = {
    .abi = SF_METHOD_ABI,
    .name = "oracle_topp",
    .summary = "the fewest keys that hold a share of the exact probability (for analysis)",
    .form = SF_FORM_ORACLE,
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .decode = decode,
    .oracle = true,
    .across = SF_OVER_HEADS,
};
