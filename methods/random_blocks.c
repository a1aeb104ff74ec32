/* Random blocks: what Block-Sparse forces, and the rest of the same budget drawn evenly; in decode, pages in place of
 * blocks. What choosing is worth. {sinks: 0, local: 1} forces nothing but the query's own block. */
#include "methods/method.h"

#include <math.h>

struct params {
    int block, k, sinks, local, seed;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 100, .doc = "key blocks for each query block (decode: query), forced ones included"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 16, .doc = "queries and keys per block"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 1, .doc = "first key blocks, always chosen"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 1, .high = 1 << 20, .initial = 2, .doc = "latest key blocks, always chosen, the diagonal one included"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the draws; the same for every sample"},
    {0},
};

/* Lists of `heads` heads, the first of which is number `first` of the layer's; each head of a prefill has one for each block of queries,
 * of a decode step one, drawn anew for each token. */
static sf_lists draw_lists(sf_attention *a, const struct params *p, int first, int heads, bool every_block)
{
    int blocks = (a->keys + p->block - 1) / p->block, forced = p->sinks + p->local, k = p->k > forced ? p->k : forced;
    if (k > blocks) k = blocks;
    const sf_drawn how = {.each = every_block ? blocks : 1, .seen = every_block ? 1 : blocks, .salt = every_block ? 1 : (uint64_t)a->keys,
                          .sinks = p->sinks, .local = p->local, .drawn = k > forced ? k - forced : 0};
    return sf_drawn_blocks(a, &how, p->seed, first, heads, k);
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_blocks(a, out, a->heads, p->block, p->block, draw_lists(a, p, a->first_head, a->heads, true));
}

/* Blocks of the cache are its pages. */
static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    return sf_pages(a, out, p->block, draw_lists(a, p, a->first_kv_head, a->kv_heads, false));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    /* In decode the current page is half full on average. */
    p->k = extent->phase == SF_PREFILL ? sf_fit_blocks(extent, p->block, sparsity)
                                       : (int)lround((double)sf_fit_keys(extent, sparsity) / p->block + 0.5);
    return SF_OK;
}

const sf_method sf_random_blocks = {
    .abi = SF_METHOD_ABI,
    .name = "random_blocks",
    .form = SF_FORM_FIXED,
    .summary = "sink and local blocks, the rest of the budget at random",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
    .random = true,
};
