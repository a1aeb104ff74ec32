/* Sliding window: each query reads its latest keys, its own included, and nothing before them.
 *
 * As Mistral 7B v0.1 was trained, on all layers of a model that was not: the baseline that falls once the first keys
 * leave the window. mistral-inference counts as this does: row i sees i - window < j <= i. */
#include "methods/method.h"

struct params {
    int window;
};

static const sf_param PARAMS[] = {
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 4096, .doc = "latest keys a query reads, its own included"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    return sf_window(a, out, 0, ((const struct params *)params)->window);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    p->window = e->phase == SF_PREFILL ? sf_fit_blocks(e, 1, sparsity) : sf_fit_keys(e, sparsity);
    return SF_OK;
}

const sf_method sf_sliding_window = {
    .abi = SF_METHOD_ABI,
    .name = "sliding_window",
    .form = SF_FORM_FIXED,
    .summary = "the latest keys and nothing else",
    .paper = "Jiang et al. 2023, Mistral 7B, arXiv 2310.06825",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
    .leaves_sinks = true,
};
