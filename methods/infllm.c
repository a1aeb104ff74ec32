/* InfLLM: the latest keys, the first ones, and the blocks of older keys whose representatives agree most with the queries at
 * hand; what is older than the window stands as far away as its edge.
 *
 * As the authors' code (thunlp/InfLLM 12b7079): blocks of 128; a block is stood for by the mean of the 4 keys that queries inside
 * the window looked at most; a chunk of 512 queries (in decode, one query) reads the 16 blocks whose mean agrees most with
 * its mean query, the first 128 keys and a window of 4096; logits of keys beyond the window are those at distance 4096, so
 * that a model sees no distance that it was not trained on. Other than there: blocks are chosen for each kv head (its
 * group's scores added up), where theirs adds up all heads; representatives score at their true positions, where theirs turns
 * the query to distance 4096 and the key to 0; the window is rounded up to whole blocks at its far end, as their remainder. */
#include "methods/method.h"
#include "methods/toll.h"

struct params {
    int topk, local, init, block, chunk, representatives;
};

static const sf_param PARAMS[] = {
    {.name = "topk", .type = SF_INT, .offset = offsetof(struct params, topk), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 16, .doc = "blocks beyond the window that are read"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 4096, .doc = "latest keys, always read"},
    {.name = "init", .type = SF_INT, .offset = offsetof(struct params, init),
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "first keys, always read, in whole blocks"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 128, .doc = "keys per block"},
    {.name = "chunk", .type = SF_INT, .offset = offsetof(struct params, chunk),
     .low = 1, .high = 4096, .initial = 512, .doc = "queries of a prefill that choose together"},
    {.name = "representatives", .type = SF_INT, .offset = offsetof(struct params, representatives),
     .low = 1, .high = 4096, .initial = 4, .doc = "keys that stand for a block"},
    {0},
};

enum { SCORE, MEAN }; /* [G, max_keys], [G, blocks, D] */

static int blocks_of(int n, int block) { return (n + block - 1) / block; }

/* The first block that the window of a query at `position` reaches. */
static int edge(const struct params *p, int position)
{
    int begin = position - p->local + 1;
    return begin > 0 ? begin / p->block : 0;
}

static sf_tensor received(sf_attention *a, const struct params *p) { return sf_group(a, sf_probe_near(a, p->local, SF_SUM), SF_SUM); }

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int blocks = blocks_of(a->keys, p->block), init = blocks_of(p->init, p->block);
    int near = blocks_of(p->local + p->chunk, p->block) + 1; /* blocks that a chunk's windows can touch */
    sf_tensor mean = sf_block_means(a, true, p->block); /* [G, blocks, D]: of the last one, if it is not whole */
    sf_representatives(a, p->block, p->representatives, received(a, p), 0, a->keys / p->block, mean);
    sf_lists chosen = sf_top_blocks(a, sf_block_means(a, false, p->chunk), p->chunk, mean, p->block, a->kv_heads,
                                    init + near + p->topk < blocks ? init + near + p->topk : blocks, init, near);
    sf_blocks(a, out, a->kv_heads, p->chunk, p->block, chosen);
    out->reach = (sf_reach){1, p->local};
    return a->status;
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const struct params *p = params;
    out->tensor[SCORE] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    out->tensor[MEAN] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, blocks_of(max_keys, p->block), a->head_dim}};
    return SF_OK;
}

/* Blocks that have left the window get their representatives. */
static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    int begin = a->keys > p->local ? a->keys - p->local : 0;
    sf_tensor seen = first == 0 ? received(a, p)
                                : sf_group(a, sf_listed_probabilities(a, sf_every(a, 1, begin, a->keys, 1)), SF_SUM);
    sf_add(a, s->tensor[SCORE], 1, seen);
    sf_representatives(a, p->block, p->representatives, s->tensor[SCORE], first == 0 ? 0 : edge(p, first - 1), edge(p, a->keys - 1), s->tensor[MEAN]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    int blocks = blocks_of(a->keys, p->block), far = edge(p, a->keys - 1), init = blocks_of(p->init, p->block);
    sf_lists all = sf_every(a, a->kv_heads, 0, a->head_dim, 1);
    sf_tensor score = sf_group(a, sf_page_component_scores(a, p->block, s->tensor[MEAN], s->tensor[MEAN], all, false), SF_SUM);
    sf_force(a, score, 0, init);
    sf_force(a, score, far, blocks);
    sf_pages(a, out, p->block, sf_top(a, score, (init < far ? init : far) + blocks - far + p->topk));
    out->reach = (sf_reach){1, p->local};
    return a->status;
}

/* So many blocks, a third of them beyond the window, as the authors' 2048 and 4096. */
static void share(struct params *p, int blocks)
{
    p->topk = blocks / 3 > 1 ? blocks / 3 : 1;
    p->local = blocks > p->topk ? (blocks - p->topk) * p->block : 1;
}

static double keys(const void *params, int blocks, int i)
{
    struct params p = *(const struct params *)params;
    share(&p, blocks);
    int first = i / p.chunk * p.chunk, begin = edge(&p, first) * p.block, others = (p.topk + blocks_of(p.init, p.block)) * p.block;
    return i + 1 - begin + (others < begin ? others : begin);
}

static double pairs(const sf_extent *e, const void *params, int blocks)
{
    struct params p = *(const struct params *)params;
    if (e->phase == SF_DECODE) p.chunk = 1;
    return sf_sum_rows(e, &p, blocks, keys);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    share(p, sf_fit_amount(e, sparsity, 1, 2 * blocks_of(e->tokens + e->output, p->block), pairs, p));
    return SF_OK;
}

/* What keys receive from near, and the representatives of blocks by it; in prefill scores of blocks for each chunk; of a step, the
 * window's keys, those that then stand for the block that it leaves, and the representatives of all blocks. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int keys = e->tokens, far = edge(p, keys - 1);
    const sf_lists all = {.stride = e->head_dim};
    sf_toll t;
    sf_toll_open(&t, e);
    if (e->phase == SF_PREFILL) {
        t.a.window = p->local < keys ? p->local : 0;
        sf_toll_probe(&t, keys), sf_toll_group(&t, keys);
        t.a.window = 0;
        if (e->watching) sf_toll_add(&t, e->kv_heads, keys);
        const int represented = e->watching ? far : keys / p->block;
        if (represented > 0) sf_meter_representatives(&t.backend, &t.a, p->block, p->representatives, represented);
        if (e->watching) return sf_toll_paid(&t, 1);
        sf_meter_block_means(&t.backend, &t.a, true, p->block), sf_meter_block_means(&t.backend, &t.a, false, p->chunk);
        sf_meter_top_blocks(&t.backend, &t.a, p->chunk, p->block);
        return sf_toll_paid(&t, 1);
    }
    sf_toll_listed(&t, keys < p->local ? keys : p->local);
    if (far > edge(p, keys - 2)) sf_meter_representatives(&t.backend, &t.a, p->block, p->representatives, far - edge(p, keys - 2));
    sf_meter_page_component_scores(&t.backend, &t.a, p->block, &all);
    return sf_toll_paid(&t, 1);
}

const sf_method sf_infllm = {
    .abi = SF_METHOD_ABI,
    .name = "infllm",
    .form = SF_FORM_BLOCKS,
    .summary = "a window, and older blocks whose representatives agree most with the queries",
    .paper = "Xiao et al. 2024, InfLLM, arXiv 2402.04617",
    .version = 1, /* 0: without what choosing costs */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .state = state,
    .observe = observe,
    .decode = decode,
    .steers_backwards = true, /* the chunk's later queries are in its mean */
};
