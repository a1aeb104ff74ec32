/* BigBird in a decoder: for each block of queries the first block of keys, its own and the one before, and some at random;
 * the last block of queries reads everything.
 *
 * The authors' encoder also reads the block after, the last one, and for its first block everything. Their random blocks
 * come from the first 1024 tokens only at the lengths that they trained at ("old plans used in paper"): {drawn_from:
 * 1024}, so that what was published read a random prefix. Draws are per head and layer, fixed for the model. */
#include "methods/method.h"

struct params {
    int block, random, local, drawn_from, seed;
    bool last;
};

static const sf_param PARAMS[] = {
    {.name = "random", .type = SF_INT, .offset = offsetof(struct params, random), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 3, .doc = "key blocks drawn for each query block"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 64, .doc = "queries and keys per block"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 1, .high = 1 << 20, .initial = 2, .doc = "latest blocks, the own one included"},
    {.name = "last", .type = SF_BOOL, .offset = offsetof(struct params, last), .initial = 1,
     .doc = "whether the last block of queries reads everything"},
    {.name = "drawn_from", .type = SF_INT, .offset = offsetof(struct params, drawn_from),
     .low = 0, .high = 1 << 24, .initial = 0, .doc = "tokens of the prompt that blocks are drawn from, the first; 0: all"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the draws"},
    {0},
};

/* Blocks that row `own` may draw from: 1 … own - local, inside the stretch that draws come from. */
static int free_blocks(const struct params *p, int own)
{
    int last = own - p->local, stretch = p->drawn_from ? (p->drawn_from + p->block - 1) / p->block - 1 : last;
    last = last < stretch ? last : stretch;
    return last > 0 ? last : 0;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int blocks = (a->keys + p->block - 1) / p->block, few = 1 + p->local + p->random, most = p->last || few > blocks ? blocks : few;
    const sf_drawn how = {.each = blocks, .seen = 1, .sinks = 1, .local = p->local, .drawn = p->random,
                          .until = (p->drawn_from + p->block - 1) / p->block, .whole = p->last ? blocks : 0};
    return sf_blocks(a, out, a->heads, p->block, p->block, sf_drawn_blocks(a, &how, p->seed, a->first_head, a->heads, most));
}

static double keys_of(const void *params, int amount, int row)
{
    const struct params *p = params;
    int own = row / p->block, others = free_blocks(p, own), local = (own < p->local ? own : p->local - 1);
    int whole = local + (own >= p->local) + (amount < others ? amount : others);
    return (double)whole * p->block + row % p->block + 1;
}

static double pairs(const sf_extent *e, const void *params, int amount)
{
    const struct params *p = params;
    int first = p->last ? (e->tokens - 1) / p->block * p->block : e->tokens;
    double sum = 0;
    for (int i = 0; i < e->tokens; i++) sum += i >= first ? i + 1 : keys_of(params, amount, i);
    return sum;
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    p->random = sf_fit_amount(e, sparsity, 0, (e->tokens + p->block - 1) / p->block, pairs, p);
    return SF_OK;
}

const sf_method sf_bigbird = {
    .abi = SF_METHOD_ABI,
    .name = "bigbird",
    .form = SF_FORM_FIXED,
    .summary = "the first, the latest and random blocks",
    .paper = "Zaheer et al. 2020, Big Bird, arXiv 2007.14062",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
};
