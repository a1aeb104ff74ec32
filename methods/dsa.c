/* DeepSeek Sparse Attention: the keys that a small indexer, trained to know where attention looks, scores highest: one choice for all heads.
 *
 *     score of key j for query i = Σ_h w_ih · max(0, <q_ih, k_j>)        q = turned(Wq x), k = turned(norm(Wk x)), w = Ww x
 *
 * As deepseek-ai/DeepSeek-V3.2-Exp 3b99a53 (inference/model.py, Indexer), with this: queries come from the layer's input, where that model
 * has a latent; in f32, where it has fp8 after a Hadamard transform, which changes no inner product but by rounding; w without the factor
 * heads^-½ · dim^-½, which changes no order. Turned are the first numbers of each head, in halves, as many as the model's own heads
 * turn, and not scaled, be the rotation YaRN's, as there. Nothing is forced: the own key is read if it scores high enough. A query with
 * no more than k keys reads all of them. */
#include "methods/method.h"

struct params {
    int k, heads, dim;
    const char *weights;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 2048, .doc = "keys a query reads"},
    {.name = "index_heads", .type = SF_INT, .offset = offsetof(struct params, heads),
     .low = 1, .high = 1024, .initial = 64, .doc = "of the indexer"},
    {.name = "index_dim", .type = SF_INT, .offset = offsetof(struct params, dim),
     .low = 2, .high = 1024, .initial = 128, .doc = "numbers of each of its heads"},
    SF_SIDE_FILE(struct params, weights, "the indexer"),
    {0},
};

#define OF_LAYER "model.layers.%d.self_attn.indexer."
static const char QUERY[] = OF_LAYER "wq.weight", KEY[] = OF_LAYER "wk.weight", WEIGHT[] = OF_LAYER "weights_proj.weight",
                  NORM[] = OF_LAYER "k_norm.weight", NORM_BIAS[] = OF_LAYER "k_norm.bias";
static const sf_side_weight WEIGHTS[] = {
    {.name = QUERY, .dim = {SF_SIDE_PARAMS, SF_SIDE_WIDTH}, .by = {"index_heads", "index_dim"}},
    {.name = KEY, .dim = {SF_SIDE_PARAMS, SF_SIDE_WIDTH}, .by = {"index_dim"}},
    {.name = WEIGHT, .dim = {SF_SIDE_PARAMS, SF_SIDE_WIDTH}, .by = {"index_heads"}},
    {.name = NORM, .dim = {SF_SIDE_PARAMS}, .by = {"index_dim"}},
    {.name = NORM_BIAS, .dim = {SF_SIDE_PARAMS}, .by = {"index_dim"}},
    {0},
};
static const double EPS = 1e-6;

/* Keys of the indexer for the rows at hand, [T, dim]. */
static sf_tensor new_keys(sf_attention *a, const struct params *p)
{
    sf_tensor k = sf_layer_norm(a, sf_hidden_products(a, sf_weight(a, KEY)), sf_weight(a, NORM), sf_weight(a, NORM_BIAS), EPS);
    sf_turn(a, k, p->dim, a->keys - a->queries);
    return k;
}

static sf_lists best(sf_attention *a, const struct params *p, sf_tensor k)
{
    return sf_top_indexed(a, sf_weight(a, QUERY), sf_weight(a, WEIGHT), k, p->k);
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    if (a->queries != a->keys) return sf_fail(SF_UNSUPPORTED, "dsa: keys before the first query");
    return sf_blocks(a, out, 1, 1, 1, best(a, params, new_keys(a, params)));
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a;
    out->tensor[0] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {max_keys, ((const struct params *)params)->dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    sf_put_rows(a, state->tensor[0], first, new_keys(a, params));
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    return sf_pages(a, out, 1, best(a, params, state->tensor[0]));
}

static double keys(const void *params, int k, int i)
{
    (void)params;
    return k < i + 1 ? k : i + 1;
}

static double pairs(const sf_extent *e, const void *params, int k) { return sf_sum_rows(e, params, k, keys); }

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    ((struct params *)params)->k = sf_fit_amount(e, sparsity, 1, e->tokens + e->output, pairs, params);
    return SF_OK;
}

/* Prefill: the indexer's products and scores, watching its keys alone; a step: its weights, and its keys, which are f32. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int64_t rows = (int64_t)p->heads * p->dim + p->dim + p->heads;
    double cost;
    if (e->phase == SF_DECODE) cost = (double)rows * e->width + (double)e->tokens * p->dim * (double)sf_bytes(SF_F32, 1) / (double)sf_bytes(e->element, 1);
    else if (e->watching) cost = sf_hidden_flops(e, p->dim);
    else cost = sf_hidden_flops(e, rows) + sf_top_indexed_flops(e, p->heads, p->dim);
    return (sf_estimate){.paper = cost, .exact = cost};
}

const sf_method sf_dsa = {
    .abi = SF_METHOD_ABI,
    .name = "dsa",
    .version = 2, /* 1: with looks at keys ahead; 0: without the cost of choosing */
    .form = SF_FORM_PAGES,
    .summary = "trained: the keys that an indexer of the layer's input scores highest, one choice for all heads",
    .paper = "DeepSeek-AI 2025, DeepSeek-V3.2-Exp",
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
    .packs = true,
    .across = SF_ONE_FOR_ALL,
    .leaves_sinks = true,
    .leaves_own = true,
};
