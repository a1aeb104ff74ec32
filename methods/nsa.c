/* Native Sparse Attention: three attentions of the same query, each a softmax of its own, added up by gates that were trained.
 *
 *     out = c · (means of blocks that are over) + s · (`blocks` blocks of keys) + w · (the latest `window` keys)
 *
 * c, s, w: for each query head the sigmoid of a product with the layer's input. Blocks are chosen for every query by itself, one choice for
 * the group: the first, its own and the one before it, then the likeliest by the softmax over the means. As flash-linear-attention has
 * it (fla/ops/nsa/naive.py at 012a873): one key and one value for all three, a mean for a block, blocks that do not overlap; the
 * paper has projections of each, and blocks that do. A query that no block lies behind gets 0 from the means.
 *
 * The logits over the means are counted twice, as they are computed twice: once where blocks are chosen, once where means are attended
 * to; a kernel that keeps them has the first for nothing. Keys that two of the three read are read, and count, twice. */
#include "methods/toll.h"

struct params {
    int blocks, block, window;
    const char *weights;
};

static const sf_param PARAMS[] = {
    {.name = "blocks", .type = SF_INT, .offset = offsetof(struct params, blocks), .budget = true,
     .low = 3, .high = 1 << 20, .initial = 16, .doc = "blocks a query reads: the first, its own, the one before it, and chosen ones"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 64, .doc = "keys per block"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 512, .doc = "latest keys, the query's own included"},
    SF_SIDE_FILE(struct params, weights, "the gates"),
    {0},
};

enum { MEANS, CHOSEN, LATEST, BRANCHES };
static const char GATES[] = "model.layers.%d.self_attn.g_proj.weight";
static const sf_side_weight WEIGHTS[] = {{.name = GATES, .dim = {SF_SIDE_TIMES(BRANCHES, SF_SIDE_HEADS), SF_SIDE_WIDTH}}, {0}};

/* The pattern, of means [G, keys / block, D]; from: the keys that see them, NULL: all. */
static sf_status add_up(sf_attention *a, const struct params *p, sf_tensor k, sf_tensor v, const int32_t *from, sf_pattern *out)
{
    static const sf_band nothing[SF_BANDS_A_HEAD];
    sf_pattern part[BRANCHES];
    sf_tensor gate[BRANCHES];
    int n = 0;
    sf_hidden_gates(a, sf_weight(a, GATES), BRANCHES, gate);
    if (a->keys >= p->block) {
        sf_bands(a, &part[n], 1, nothing, (sf_lists){0}, (sf_lists){0});
        part[n].sum = (sf_summaries){.k = sf_as_activations(a, k), .v = sf_as_activations(a, v), .from = from};
        part[n++].gate = gate[MEANS];
    }
    sf_lists blocks = sf_top_summarised(a, k, p->block, p->blocks);
    if (from) sf_blocks(a, &part[n], a->kv_heads, 1, p->block, blocks);
    else sf_pages(a, &part[n], p->block, blocks);
    part[n++].gate = gate[CHOSEN];
    sf_window(a, &part[n], 0, p->window);
    part[n++].gate = gate[LATEST];
    return sf_parts(a, out, true, n, part);
}

static sf_tensor means(sf_attention *a, int64_t n)
{
    return (sf_tensor){sf_room(a, a->kv_heads, n * a->head_dim + 1).data, SF_F32, 3, {a->kv_heads, n, a->head_dim}};
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    const int n = a->keys / p->block;
    sf_tensor k = means(a, n), v = means(a, n);
    sf_block_summaries(a, p->block, 0, k, v);
    return add_up(a, p, k, v, sf_every(a, 1, p->block - 1, (int64_t)n * p->block, p->block).index, out);
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const struct params *p = params;
    for (int i = 0; i < 2 && max_keys >= p->block; i++)
        out->tensor[i] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, max_keys / p->block, a->head_dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    sf_block_summaries(a, ((const struct params *)params)->block, first, state->tensor[0], state->tensor[1]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    const int n = a->keys / p->block;
    return add_up(a, p, sf_first_of_each(a, state->tensor[0], n), sf_first_of_each(a, state->tensor[1], n), NULL, out);
}

/* Keys and means that row i reads. */
static double keys(const void *params, int blocks, int i)
{
    const struct params *p = params;
    double chosen = i % p->block + 1 + (double)(blocks - 1) * p->block;
    return (double)((i + 1) / p->block) + (chosen < i + 1 ? chosen : i + 1) + (p->window < i + 1 ? p->window : i + 1);
}

static double pairs(const sf_extent *e, const void *params, int blocks) { return sf_sum_rows(e, params, blocks, keys); }

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int all = (e->tokens + e->output + p->block - 1) / p->block;
    p->blocks = sf_fit_amount(e, sparsity, 3, all > 3 ? all : 3, pairs, p);
    return SF_OK;
}

/* Decode: weights of the gates, means of the keys' blocks, which are f32; and, where a step ends a block, the keys and values that become
 * its means. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    const int block = ((const struct params *)params)->block, of_gates = BRANCHES * e->heads;
    const double row = (double)e->kv_heads * e->head_dim;
    double cost;
    if (e->phase == SF_DECODE)
        cost = (double)of_gates * e->width + row * (e->tokens / block) * (double)sf_bytes(SF_F32, 1) / (double)sf_bytes(e->element, 1) +
               (e->tokens % block ? 0 : 2 * row * block);
    else if (e->watching) cost = sf_summaries_flops(e, block);
    else cost = sf_hidden_flops(e, of_gates) + sf_summaries_flops(e, block) + sf_top_summarised_flops(e, block);
    return (sf_estimate){.paper = cost, .exact = cost};
}

static sf_estimate estimate(const sf_extent *e, const void *params)
{
    return sf_toll_mean(e, params, ((const struct params *)params)->block, of_step);
}

const sf_method sf_nsa = {
    .abi = SF_METHOD_ABI,
    .name = "nsa",
    .version = 1, /* 0: without the cost of choosing */
    .form = SF_FORM_BLOCKS,
    .summary = "trained: means of blocks, chosen blocks and the latest keys, each attended to and added up by gates",
    .paper = "Yuan et al. 2025, Native Sparse Attention, arXiv 2502.11089",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .weights = WEIGHTS,
    .hidden = true,
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .state = state,
    .observe = observe,
    .decode = decode,
    .never_dense = true,
};
