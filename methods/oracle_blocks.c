/* Oracle blocks: for each block of queries the key blocks that hold most of its exact attention mass. Quadratic, so no
 * method; the most that any choice of as many blocks can recall. */
#include "methods/method.h"

struct params {
    int block, k, selection;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 100, .doc = "key blocks for each query block"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 16, .doc = "queries and keys per block"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (masses summed)"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int heads = p->selection == 1 ? a->kv_heads : a->heads;
    return sf_blocks(a, out, heads, p->block, p->block, sf_top_block_mass(a, p->block, heads, p->k));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    p->k = sf_fit_blocks(extent, p->block, sparsity);
    return SF_OK;
}

/* All of the attention. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double flops = (2.0 * e->head_dim + 5) * e->heads * sf_causal_pairs(e->tokens, e->tokens);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_oracle_blocks = {
    .abi = SF_METHOD_ABI,
    .name = "oracle_blocks",
    .form = SF_FORM_ORACLE,
    .summary = "key blocks with most exact attention mass (quadratic, for analysis)",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
    .oracle = true,
};
