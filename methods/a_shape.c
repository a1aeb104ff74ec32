/* A-shape: in prefill, each query reads the first keys and its latest ones; decode reads what it will.
 *
 * Sizes as SCBench's code has them (128 and 3968). It is the prefill of streaming with these defaults; tri_shape is this
 * with dense last queries. */
#include "methods/method.h"

struct params {
    int sinks, local;
};

static const sf_param PARAMS[] = {
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 3968, .doc = "latest keys a query reads, its own included"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "first keys, always read; at most half of a target's keys"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_window(a, out, p->sinks, p->local);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int keys = sf_fit_blocks(e, 1, sparsity);
    if (p->sinks > keys / 2) p->sinks = keys / 2;
    p->local = keys > p->sinks ? keys - p->sinks : 1;
    return SF_OK;
}

const sf_method sf_a_shape = {
    .abi = SF_METHOD_ABI,
    .name = "a_shape",
    .form = SF_FORM_FIXED,
    .summary = "in prefill the first keys and a sliding window",
    .paper = "Li et al. 2024, SCBench, arXiv 2412.10319",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
};
