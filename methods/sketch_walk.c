/* Sketch-and-Walk: one choice of key blocks for all heads of a layer, by a walk over blocks that goes on from layer to layer.
 *
 * As the paper's first version: means of queries and of keys, over heads and blocks of 64, are sketched by random signs and the
 * first `rank` rows of a Hadamard matrix; their products are the map A; W = A^power, number by number (an even power takes
 * large negative ones for large: so it is printed); R = R_before · W; each block of queries reads its own, the first, and those
 * where its row of R is largest, `k` in all. Their first two layers are dense, which then do not walk: {dense_layers: 2}; here
 * none are, so that a target sparsity is met. R holds nothing of later blocks (W is 0 there); its rows are scaled, which chooses
 * nothing else. Head dims are filled with 0 to a power of two. Decoding is dense; theirs goes on with running means.
 *
 * The authors' code (Escanord/SketchWalk 35048bb, the conference's version) does otherwise: heads by themselves, summed as
 * probabilities whose softmax has later blocks in it; all 128 dimensions, which is no sketch; three damped steps a layer; blocks
 * above a quantile beside shares of sinks and window; the last four query blocks dense. */
#include <stdlib.h>

#include "base/splitmix.h"
#include "methods/method.h"

struct params {
    int k, block, rank, power, dense_layers, seed;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 16, .doc = "key blocks for each query block, the first and the own one included (both at least)"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 64, .doc = "queries and keys per block"},
    {.name = "rank", .type = SF_INT, .offset = offsetof(struct params, rank),
     .low = 1, .high = 4096, .initial = 64, .doc = "numbers of the sketch, at most the head dim"},
    {.name = "power", .type = SF_INT, .offset = offsetof(struct params, power),
     .low = 1, .high = 64, .initial = 8, .doc = "that the map is raised to: the higher, the fewer paths count"},
    {.name = "dense_layers", .type = SF_INT, .offset = offsetof(struct params, dense_layers),
     .low = 0, .high = 1 << 10, .initial = 0, .doc = "first layers, left dense"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the signs"},
    {0},
};

enum { WALK }; /* [blocks, blocks], of which a prompt has the first n * n numbers: R, [n, n] */

static sf_status carry(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a;
    int64_t block = ((const struct params *)params)->block, blocks = (max_keys + block - 1) / block;
    out->tensor[WALK] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {blocks, blocks}};
    return SF_OK;
}

static int power_of_two(int dim)
{
    int n = 1;
    while (n < dim) n *= 2;
    return n;
}

static int sketched(const struct params *p, int dim) { return p->rank < power_of_two(dim) ? p->rank : power_of_two(dim); }

/* Rows of a Hadamard matrix whose columns have signs: [sketched, D]. */
static sf_tensor signs(sf_attention *a, const struct params *p)
{
    int rows = sketched(p, a->head_dim);
    sf_tensor sketch = sf_room(a, rows, a->head_dim);
    float *host = malloc((size_t)(rows * a->head_dim) * sizeof *host);
    if (!host) a->status = sf_fail(SF_NO_MEMORY, "sketch_walk: a sketch of %d numbers", rows);
    for (int r = 0; r < rows && host; r++)
        for (int d = 0; d < a->head_dim; d++) {
            int negative = (int)(sf_splitmix((uint64_t)p->seed, (uint64_t)d) >> 63) + __builtin_popcount((unsigned)(r & d));
            host[r * a->head_dim + d] = negative % 2 ? -1 : 1;
        }
    sf_write(a, sketch, host);
    free(host);
    return sketch;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    if (a->layer < p->dense_layers) return sf_dense(a, out);
    if (a->queries != a->keys) return sf_fail(SF_UNSUPPORTED, "sketch_walk: keys before the first query");
    sf_tensor sketch = signs(a, p), q = sf_inner_products(a, sf_block_means_of_all(a, false, p->block), sketch),
              k = sf_inner_products(a, sf_block_means_of_all(a, true, p->block), sketch);
    sf_tensor walk = {a->carry->tensor[WALK].data, SF_F32, 2, {q.dim[0], q.dim[0]}};
    sf_walk(a, walk, sf_inner_products(a, q, k), p->power);
    return sf_blocks(a, out, 1, p->block, p->block, sf_top_walked(a, walk, p->k > 2 ? p->k : 2));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    p->k = sf_fit_blocks(extent, p->block, sparsity);
    return SF_OK;
}

/* Means over blocks, and over heads; sketches; their products; a step of the walk; the choice. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double n = (e->tokens + p->block - 1) / p->block, rank = sketched(p, e->head_dim), dim = e->head_dim, pairs = n * (n + 1) / 2;
    double share = p->dense_layers < e->layers ? 1 - (double)p->dense_layers / e->layers : 0;
    double flops = dim * (e->heads + e->kv_heads) * (e->tokens + n) + 4 * n * dim * rank + 2 * n * n * rank +
                   pairs * (2 * (n + 2) / 3 + p->power + 1) + n * n;
    flops *= share;
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_sketch_walk = {
    .abi = SF_METHOD_ABI,
    .name = "sketch_walk",
    .form = SF_FORM_BLOCKS,
    .summary = "key blocks that a walk over blocks comes to, from layer to layer; one choice for all heads",
    .paper = "Le et al. 2026, Sketch-and-Walk, arXiv 2602.07397",
    .version = 1, /* 0: cost of choosing at dense layers */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .carry = carry,
    .prefill = prefill,
    .steers_backwards = true, /* the block's later queries are in its mean */
    .across = SF_ONE_FOR_ALL,
};
