/* MoBA without its training: each query reads its own block, up to itself, and the blocks whose mean key agrees most with it.
 *
 * As the authors' code (MoonshotAI/MoBA 61e456b, moba_naive): chosen for every query by itself, each query head for itself,
 * by <q, mean of keys>; the own block is always read and counted in k; a block that is not over yet is no other's choice.
 * Their example takes blocks of 4096 and k 12 for a model trained so; an untrained one finds single keys in the mean of a
 * block of 64 to 512 at best, so 64 here. Theirs chooses only where all keys are new, so that decoding is dense: here too. */
#include "methods/method.h"

struct params {
    int block, k, selection;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 12, .doc = "blocks a query reads, its own included"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 64, .doc = "keys per block"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (scores summed)"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int heads = p->selection == 1 ? a->kv_heads : a->heads;
    sf_tensor q = sf_block_means(a, false, 1);       /* [H, queries, D]: the queries themselves */
    sf_tensor k = sf_block_means(a, true, p->block); /* [G, blocks, D] */
    return sf_blocks(a, out, heads, 1, p->block, sf_top_blocks(a, q, 1, k, p->block, heads, p->k, 0, 1));
}

/* Keys that row i reads: what there is of its own block, and whole ones. */
static double keys(const void *params, int k, int i)
{
    const struct params *p = params;
    double most = i % p->block + 1 + (double)(k - 1) * p->block;
    return most < i + 1 ? most : i + 1;
}

static double pairs(const sf_extent *e, const void *params, int k) { return sf_sum_rows(e, params, k, keys); }

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    p->k = sf_fit_amount(e, sparsity, 1, (e->tokens + p->block - 1) / p->block, pairs, p);
    return SF_OK;
}

/* Means of keys, the queries as floats, and a score for each query and block that has begun. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double scored = 0, dim = e->head_dim;
    for (int i = 0; i < e->tokens; i++) scored += i / p->block + 1;
    double flops = dim * (e->heads + e->kv_heads) * e->tokens + 2 * dim * e->heads * scored;
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_moba = {
    .abi = SF_METHOD_ABI,
    .name = "moba",
    .form = SF_FORM_BLOCKS,
    .summary = "for each query by itself, the key blocks whose mean agrees most with it",
    .paper = "Lu et al. 2025, MoBA, arXiv 2502.13189",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .leaves_sinks = true,
};
