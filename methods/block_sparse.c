/* Block-Sparse: for each block of queries, the blocks of keys whose means agree most with its own.
 *
 * As in the study: 16x16 blocks; the first block, the diagonal one and the one below it are forced, so at least 3. The
 * authors' code uses {block: 64, k: 100}. */
#include "methods/method.h"

struct params {
    int block, k, sinks, local, selection;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 100, .doc = "key blocks for each query block, forced ones included"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 16, .doc = "queries and keys per block"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 1, .doc = "first key blocks, always chosen"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 1, .high = 1 << 20, .initial = 2, .doc = "latest key blocks, always chosen, the diagonal one included"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (scores summed)"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int heads = p->selection == 1 ? a->kv_heads : a->heads, forced = p->sinks + p->local;
    sf_tensor q = sf_block_means(a, false, p->block); /* [H, query blocks, D] */
    sf_tensor k = sf_block_means(a, true, p->block);  /* [G, key blocks, D] */
    sf_lists chosen =
        sf_top_blocks(a, q, p->block, k, p->block, heads, p->k > forced ? p->k : forced, p->sinks, p->local);
    return sf_blocks(a, out, heads, p->block, p->block, chosen);
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    p->k = sf_fit_blocks(extent, p->block, sparsity);
    return SF_OK;
}

/* Means of queries and keys, and a score for each causal pair of blocks. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double width = (double)e->head_dim, blocks = (e->tokens + p->block - 1) / p->block;
    double flops = width * (e->heads + e->kv_heads) * e->tokens + 2 * width * e->heads * blocks * (blocks + 1) / 2;
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_block_sparse = {
    .abi = SF_METHOD_ABI,
    .name = "block_sparse",
    .form = SF_FORM_BLOCKS,
    .summary = "key blocks whose mean agrees most with the query block's",
    .paper = "Jiang et al. 2024, MInference 1.0, arXiv 2407.02490",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true, /* the block's later queries are in its mean */
};
