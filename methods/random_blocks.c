/* Random blocks: what Block-Sparse forces, and the rest of the same budget drawn evenly; in decode, pages in place of
 * blocks. What choosing is worth. {sinks: 0, local: 1} forces nothing but the query's own block. */
#include "methods/method.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"

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

/* Marks `wanted` of the blocks [begin, end), every subset equally likely (Floyd). */
static void mark(char *chosen, int begin, int end, int wanted, uint64_t stream)
{
    for (int j = end - wanted; j < end; j++) {
        int t = begin + (int)(sf_splitmix(stream, (uint64_t)j) % (uint64_t)(j - begin + 1));
        chosen[chosen[t] ? j : t] = 1;
    }
}

/* The ascending list of a query that sees blocks 0 … seen - 1; returns its length. `chosen` is room for `seen` marks. */
static int32_t choose(const struct params *p, int k, int seen, uint64_t stream, char *chosen, int32_t *index)
{
    int first = p->sinks < seen ? p->sinks : seen, last = seen - p->local > first ? seen - p->local : first;
    int wanted = k - first - (seen - last);
    memset(chosen, 0, (size_t)seen);
    memset(chosen, 1, (size_t)first);
    memset(chosen + last, 1, (size_t)(seen - last));
    if (wanted > last - first) wanted = last - first;
    mark(chosen, first, last, wanted, stream);
    int32_t n = 0;
    for (int j = 0; j < seen; j++)
        if (chosen[j]) index[n++] = j;
    return n;
}

/* Lists of `heads` heads, the first of which is number `first` of the layer's; each head of a prefill has one for each block of queries, of a decode step one. */
static sf_lists draw_lists(sf_attention *a, const struct params *p, int first, int heads, bool every_block)
{
    int blocks = (a->keys + p->block - 1) / p->block, forced = p->sinks + p->local, each = every_block ? blocks : 1;
    int k = p->k > forced ? p->k : forced;
    if (k > blocks) k = blocks;
    size_t rows = (size_t)heads * (size_t)each;
    int32_t *count = malloc(rows * sizeof *count), *index = malloc(rows * (size_t)k * sizeof *index);
    char *chosen = malloc((size_t)blocks);
    if (!count || !index || !chosen)
        a->status = sf_fail(SF_NO_MEMORY, "random_blocks: %zu lists of %d blocks", rows, k);

    for (size_t row = 0; row < rows && a->status == SF_OK; row++) {
        int head = first + (int)(row / (size_t)each), seen = every_block ? (int)(row % (size_t)each) + 1 : blocks;
        uint64_t stream = sf_splitmix(sf_splitmix((uint64_t)p->seed, (uint64_t)a->layer), (uint64_t)head);
        count[row] = choose(p, k, seen, sf_splitmix(stream, (uint64_t)(every_block ? seen : a->keys)), chosen,
                            index + row * (size_t)k);
    }
    sf_lists lists = {0};
    if (a->status == SF_OK) lists = sf_host_lists(a, (int64_t)rows, k, count, index);
    free(count), free(index), free(chosen);
    return lists;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_blocks(a, out, a->heads, p->block, p->block, draw_lists(a, p, a->first_head, a->heads, true));
}

/* Blocks of the cache are its pages; drawn anew for each token. */
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
    .random = true,
};
