/* Oracle sample: decode reads keys drawn by their exact attention probability, each weighted by the inverse of its chance. It looks
 * at every key to draw, so no method; what a sampler (magicpig, vattention) could do at best.
 *
 * Drawn without replacement, as a priority sample (Duffield, Lund & Thorup 2007): key j of probability p has the priority p / u,
 * u even in (0, 1); the `budget` highest are read, and what stands below the next priority t weighs t / p as much as it is. Sums over
 * keys are unbiased, the large ones are certain, and no scheme of so many keys does better by more than one key. MagicPIG's
 * paper draws with replacement, where a key drawn twice is read once and so wastes budget. */
#include "methods/method.h"

struct params {
    int budget, seed;
};

static const sf_param PARAMS[] = {
    {.name = "budget", .type = SF_INT, .offset = offsetof(struct params, budget), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys to read"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the draws; the same for every sample"},
    {0},
};

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    sf_tensor chance = sf_key_probabilities(a), priority = sf_draws(a, p->seed, 0, &chance); /* [H, keys] */
    sf_lists drawn = sf_top(a, priority, p->budget);
    return sf_weighted_keys(a, out, drawn, sf_sample_bias(a, priority, &chance, drawn));
}

/* Every key is read to draw. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double keys = (double)e->kv_heads * e->head_dim * e->tokens;
    return (sf_estimate){.paper = keys, .exact = keys};
}

const sf_method sf_oracle_sample = {
    .abi = SF_METHOD_ABI,
    .name = "oracle_sample",
    .summary = "keys drawn by their exact probability, weighted by its inverse (for analysis)",
    .form = SF_FORM_ORACLE,
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .decode = decode,
    .oracle = true,
    .leaves_sinks = true,
};
