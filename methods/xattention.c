/* XAttention: for each block of queries the key blocks whose antidiagonals hold a share of all antidiagonals' softmax.
 *
 * As the authors' code (mit-han-lab/x-attention e379887, Triton path): queries and keys in groups of `stride`; a pair of
 * groups scores the sum along the antidiagonal of its logits, over sqrt(D) · stride; softmax over the groups at or before the
 * query's; blocks take the fewest others that, with the first and the own one, reach `threshold` of it. Causality holds for
 * groups, not rows, so that the diagonal tile looks ahead. Threshold .9 as their README; their function's default is .8,
 * and for Llama-3.1 they have a table by head, which is not used. Left out: keep_sink (sets a row where a column was meant),
 * and the PyTorch path's mask, which hides everything when the prompt is a whole number of chunks.
 *
 * A target sparsity is met layer by layer by the threshold. */
#include <stdlib.h>

#include "methods/method.h"

struct params {
    double density, threshold;
    int block, stride;
};

static const sf_param PARAMS[] = {
    {.name = "threshold", .type = SF_REAL, .offset = offsetof(struct params, threshold), .budget = true,
     .low = 0, .high = 1, .initial = 0.9, .doc = "share of the antidiagonals' softmax that a query block's choice holds"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of causal pairs to execute; 0: as `threshold` says"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 128, .doc = "queries and keys per block, a multiple of the stride"},
    {.name = "stride", .type = SF_INT, .offset = offsetof(struct params, stride),
     .low = 1, .high = 128, .initial = 16, .doc = "queries and keys per group; 4 or 8 look closer"},
    {0},
};

struct scores {
    sf_tensor map; /* [H · query blocks, key blocks], rows add up to 1 and SURE for each block that is always read */
    int block;
};

enum { SURE = 1 }; /* more than any other block can have */

/* The fewest blocks that hold `threshold`: of what rows add up to now, with SURE twice, a share (threshold + 2) / 3. (The
 * first query block has one block, which is both.) */
static sf_status choose(sf_attention *a, const void *what, double threshold, sf_pattern *out)
{
    const struct scores *s = what;
    if (threshold >= 1) return sf_dense(a, out);
    sf_lists chosen = sf_top_mass(a, s->map, (threshold + 2 * SURE) / (1 + 2 * SURE), 2, s->map.dim[1]);
    return sf_blocks(a, out, a->heads, s->block, s->block, chosen);
}

/* The first block and the own one, for each row of the map. */
static sf_lists sure(sf_attention *a, int64_t rows, int64_t blocks)
{
    int32_t *count = malloc((size_t)rows * sizeof *count), *index = malloc((size_t)rows * 2 * sizeof *index);
    if (!count || !index) a->status = sf_fail(SF_NO_MEMORY, "xattention: %lld lists of blocks", (long long)rows);
    for (int64_t r = 0; r < rows && !a->status; r++) {
        index[2 * r] = 0, index[2 * r + 1] = (int32_t)(r % blocks);
        count[r] = r % blocks > 0 ? 2 : 1;
    }
    sf_lists lists = {0};
    if (!a->status) lists = sf_host_lists(a, rows, 2, count, index);
    free(count), free(index);
    return lists;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    if (p->block % p->stride) return sf_fail(SF_BAD_INPUT, "xattention: block %d is no multiple of stride %d", p->block, p->stride);
    if (a->queries != a->keys) return sf_fail(SF_UNSUPPORTED, "xattention: keys before the first query");
    sf_tensor map = sf_antidiagonals(a, p->block, p->stride);
    struct scores s = {.map = {map.data, SF_F32, 2, {map.dim[0] * map.dim[1], map.dim[2]}}, .block = p->block};
    sf_tensor more = sf_copy(a, s.map);
    sf_fill(a, more, 0, more.dim[1], 0);
    sf_fill_at(a, more, sure(a, more.dim[0], more.dim[1]), SURE);
    sf_add(a, s.map, 1, more);
    if (p->density <= 0) return choose(a, &s, p->threshold, out);
    return sf_choose_within(a, out, p->density, choose, &s);
}

/* Scores of groups and their softmax; what is added to the map, and the choice in it. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double groups = (e->tokens + p->stride - 1) / p->stride, blocks = (e->tokens + p->block - 1) / p->block, scored = groups * (groups + 1) / 2;
    double flops = e->heads * (scored * (2.0 * e->head_dim * p->stride + 5) + (p->density < 1 ? 3 : 2) * blocks * blocks);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_xattention = {
    .abi = SF_METHOD_ABI,
    .name = "xattention",
    .form = SF_FORM_BLOCKS,
    .summary = "key blocks whose antidiagonals hold a share of the attention",
    .paper = "Xu et al. 2025, XAttention, arXiv 2503.16428",
    .version = 1, /* 0: cost of a selection at full budget */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
};
