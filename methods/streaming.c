/* Streaming: attention sinks and a sliding window, in prefill (A-shape) and in decode. */
#include "methods/method.h"

struct params {
    int sinks, local;
};

static const sf_param PARAMS[] = {
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1020, .doc = "latest keys a query reads, its own included"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always read"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_window(a, out, p->sinks, p->local);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    int keys = extent->phase == SF_PREFILL ? sf_fit_blocks(extent, 1, sparsity) : sf_fit_keys(extent, sparsity);
    p->local = keys > p->sinks ? keys - p->sinks : 1;
    return SF_OK;
}

const sf_method sf_streaming = {
    .abi = SF_METHOD_ABI,
    .name = "streaming",
    .form = SF_FORM_FIXED,
    .summary = "the first keys and a sliding window",
    .paper = "Xiao et al. 2023, StreamingLLM, arXiv 2309.17453; Han et al. 2023, LM-Infinite, arXiv 2308.16137",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
