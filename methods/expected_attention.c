/* Expected Attention: each kv head keeps the keys that the queries of the next positions are expected to look at, if they are
 * distributed as the prompt's were, times the length of the value.
 *
 * As kvpress' ExpectedAttentionPress: mean and covariance of the prompt's queries before rotation, without the first
 * `sinks`, turned by the mean rotation of the next 512 positions; softmax over the other keys, mean over the group, times the
 * value's norm; the first `sinks` keys are kept. (Its epsilon is 0 by default, and so not offered.) */
#include "methods/method.h"

struct params {
    int capacity, sinks, ahead;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys a kv head keeps"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always kept (half of the capacity at most)"},
    {.name = "ahead", .type = SF_INT, .offset = offsetof(struct params, ahead),
     .low = 1, .high = 1 << 20, .initial = 512, .doc = "positions to come that queries are expected at"},
    {0},
};

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    const struct params *p = params;
    int sinks = p->sinks < p->capacity / 2 ? p->sinks : p->capacity / 2;
    sf_tensor score = sf_group(a, sf_expected_probabilities(a, p->sinks, p->ahead), SF_MEAN); /* [G, keys] */
    sf_multiply(a, score, sf_key_norms(a, true));
    sf_force(a, score, 0, sinks);
    return sf_keep(a, out, sf_top(a, score, p->capacity));
}

/* Moments and expected logits, mean over the group, norms of values and their product, selection. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double keys = e->tokens, dim = e->head_dim;
    double flops = e->heads * (3 * keys * dim * dim + keys) + e->kv_heads * keys * (2 * dim + 2);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_expected_attention = {
    .abi = SF_METHOD_ABI,
    .name = "expected_attention",
    .form = SF_FORM_EVICTING,
    .summary = "each kv head keeps the keys that queries to come are expected to look at",
    .paper = "Devoto et al. 2025, Expected Attention, arXiv 2510.00636",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .compress = compress,
};
