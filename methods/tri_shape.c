/* Tri-shape: attention sinks and a sliding window, but the last queries of the prompt read everything.
 *
 * The authors' code uses {sinks: 128, local: 3968, last: 100}. */
#include "methods/method.h"

struct params {
    int sinks, local, last;
};

static const sf_param PARAMS[] = {
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1020, .doc = "latest keys a query reads, its own included"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always read"},
    {.name = "last", .type = SF_INT, .offset = offsetof(struct params, last), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 100, .doc = "last queries of the prompt, which read every key"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    sf_window(a, out, p->sinks, p->local);
    out->last = p->last;
    return a->status;
}

/* The window gets what the dense queries leave; those are cut to half of the pairs where a prompt is short. */
static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    if (sparsity <= 0) {
        p->last = 0, p->local = extent->tokens;
        return SF_OK;
    }
    double pairs = (1 - sparsity) * sf_causal_pairs(extent->tokens, extent->tokens);
    while (p->last > 0 && (p->last >= extent->tokens || sf_causal_pairs(p->last, extent->tokens) > pairs / 2))
        p->last--;

    sf_extent rest = *extent;
    rest.tokens -= p->last;
    double left = pairs - sf_causal_pairs(p->last, extent->tokens);
    int keys = sf_fit_blocks(&rest, 1, 1 - left / sf_causal_pairs(rest.tokens, rest.tokens));
    p->local = keys > p->sinks ? keys - p->sinks : 1;
    return SF_OK;
}

const sf_method sf_tri_shape = {
    .abi = SF_METHOD_ABI,
    .name = "tri_shape",
    .form = SF_FORM_FIXED,
    .summary = "the first keys, a sliding window, and dense last queries",
    .paper = "Li et al. 2024, SCBench, arXiv 2412.10319",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
};
