/* DMS, Dynamic Memory Sparsification: each kv head decides for every token, by a gate that was trained, whether its key will be evicted;
 * it goes `window` tokens later, when its neighbours have taken in what it held.
 *
 * As the authors' code (NVIDIA Model-Optimizer a2fbac7, experimental/dms): a decision is 1 where the gate's logit is above 0; that of key
 * j is made by token j + 1; key j is then read by the queries i <= j + window, others by all, in prefill as in training. A head keeps as
 * many as its gate says: there is no budget, and sparsity is what was trained (compression 8 with a window of 512 as published).
 *
 * The gate is linear in the query of the group's first head before rotation: weights dms.weight [kv heads, head dim], and dms.offset [kv
 * heads] that is taken off, of each layer. There the authors' first form reads its decision (dms_separate_alpha
 * false, Qwen3-8B-DMS-8x): 100 x - 5 of the last number x of that query is a weight of 100 at its place, and offset 5. But such a model
 * also takes x out of the query, before rotation and after, which a method cannot; under this one its logits would be off by that
 * product: it is not that model. Their second form (dms_separate_alpha true) is linear in the layer's input behind a norm of its own,
 * which hooks do not see. One decision for all heads of a layer (dms_alpha_per: layer) is weights that repeat. Of the paper's text
 * only summaries could be read. */
#include "methods/gates.h"

struct params {
    int window;
    const char *weights;
};

static const sf_param PARAMS[] = {
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 24, .initial = 256, .doc = "tokens that a key outlives its own by, if it is to go"},
    SF_SIDE_FILE(struct params, weights, "the gates"),
    {0},
};

static const sf_side_weight WEIGHTS[] = {
    {.name = "model.layers.%d.self_attn.dms.weight", .dim = {SF_SIDE_KV_HEADS, SF_SIDE_HEAD_DIM}},
    {.name = "model.layers.%d.self_attn.dms.offset", .dim = {SF_SIDE_KV_HEADS}},
    {0},
};

enum { KEPT }; /* [G, max_keys]: 0 where a key was decided to stay, else -INFINITY */

/* Of the keys [first - 1, first + T - 1), each of which the next token decides on, less one in front of the first: 0 for those that stay,
 * -INFINITY for those to go. Rows of y, one for each kv head, are `stride` apart. */
static void decide(sf_attention *a, int first, float *y, int64_t stride)
{
    const int64_t rows = a->queries, skipped = first ? 0 : 1;
    if (!sf_gates_are_here(a, first)) return;
    sf_tensor gate = sf_room(a, a->kv_heads, rows);
    if (a->status) return;
    sf_query_gates(a, sf_weight(a, WEIGHTS[0].name), NULL, gate.data, rows);
    if (rows > skipped)
        sf_marks(a, (float *)gate.data + skipped, rows, a->kv_heads, rows - skipped, sf_weight(a, WEIGHTS[1].name), y, stride);
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const int64_t keys = a->queries - 1;
    sf_lists stay = {0};
    if (keys > 0) {
        sf_tensor y = sf_room(a, a->kv_heads, keys);
        decide(a, 0, y.data, keys);
        stay = sf_top(a, y, keys);
    } else {
        sf_gates_are_here(a, 0);
    }
    return sf_latest_and(a, ((const struct params *)params)->window + 1, stay, out);
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    out->tensor[KEPT] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    (void)params;
    sf_tensor kept = s->tensor[KEPT];
    if (first == 0) sf_exclude(a, kept, 0, kept.dim[1]);
    decide(a, first, (float *)kept.data + (first ? first - 1 : 0), kept.dim[1]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    return sf_latest_and(a, ((const struct params *)params)->window + 1, sf_living(a, s->tensor[KEPT]), out);
}

/* Gates, decisions, and in prefill the lists of who stays. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    (void)params;
    double cost = sf_query_gates_cost(e, false);
    if (e->phase == SF_PREFILL && !e->watching && e->tokens < 2) return (sf_estimate){0}; /* a token decides on the one before it */
    if (e->phase == SF_PREFILL) cost += (e->watching ? 1.0 : 2.0) * e->kv_heads * (e->tokens - 1);
    return (sf_estimate){.paper = cost, .exact = cost};
}

const sf_method sf_dms = {
    .abi = SF_METHOD_ABI,
    .name = "dms",
    .version = 2, /* 1: another cost; 0: queries as YaRN had scaled them */
    .form = SF_FORM_EVICTING,
    .summary = "keys that a trained gate marks are evicted a window later",
    .paper = "Lancucki et al. 2025, Inference-Time Hyper-Scaling with KV Cache Compression, arXiv 2506.05345",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .weights = WEIGHTS,
    .estimate = estimate,
    .prefill = prefill,
    .state = state,
    .observe = observe,
    .decode = decode,
    .packs = true,
    .evicts = true,
    .never_dense = true,
    .leaves_sinks = true,
};
