/* SPARSEK: a score that was trained says of every key, whoever asks, what it is worth; a query reads the latest keys, and of all before
 * them the `k` with the highest scores.
 *
 * As the paper has it, of which summaries alone could be read, and no code of the authors: scores do not depend on the query and rise
 * with the position by a slope; a key that others have driven out of the k best is never among them again, so that a generation
 * keeps k + window keys, and a step costs the same at any length. Chosen are keys that have left the window. Other than there:
 * - The paper's score is linear in the layer's input; here in the query of the group's first head before rotation, which is linear in
 *   that: weights sparsek.weight [kv heads, head dim], sparsek.slope [kv heads] of each layer.
 * - In training the paper multiplies values by a soft mask, the scores' projection onto masks of sum k, which gives the scores
 *   a gradient; here the mask is 1 at the k best, as the recipe's kind `sparsek` has it in its forward pass too.
 * A target sparsity is shared out between window and best keys as they stand. */
#include "methods/gates.h"

#include <math.h>

struct params {
    int k, window;
    const char *weights;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 0, .high = 1 << 24, .initial = 256, .doc = "keys before the window that are read, those with the highest scores"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 256, .doc = "latest keys that are read, the query's own included"},
    SF_SIDE_FILE(struct params, weights, "the scores"),
    {0},
};

static const sf_side_weight WEIGHTS[] = {
    {.name = "model.layers.%d.self_attn.sparsek.weight", .dim = {SF_SIDE_KV_HEADS, SF_SIDE_HEAD_DIM}},
    {.name = "model.layers.%d.self_attn.sparsek.slope", .dim = {SF_SIDE_KV_HEADS}},
    {0},
};

enum { SCORE }; /* [G, max_keys] */

/* Scores of the keys from `first` on, [G, T], rows of `stride`. */
static void score_keys(sf_attention *a, float *score, int64_t stride)
{
    const sf_tensor slope = sf_weight(a, WEIGHTS[1].name);
    sf_query_gates(a, sf_weight(a, WEIGHTS[0].name), &slope, score, stride);
}

/* For each row the k best keys before its window: a list for each kv head and row. A key that is driven out never comes back, as the
 * best so far only get better. */
static sf_lists best_keys(sf_attention *a, const struct params *p)
{
    sf_tensor score = sf_room(a, a->kv_heads, a->queries);
    score_keys(a, score.data, a->queries);
    return sf_top_running(a, score, p->k < a->queries - p->window ? p->k : a->queries - p->window, p->window);
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    if (!sf_gates_are_here(a, 0)) return a->status;
    if (p->k == 0 || p->window >= a->keys) return sf_latest_and(a, p->window, (sf_lists){0}, out);
    sf_pattern part[2];
    sf_latest_and(a, p->window, (sf_lists){0}, &part[0]);
    sf_blocks(a, &part[1], a->kv_heads, 1, 1, best_keys(a, p));
    part[1].empty = true; /* the first rows see their window alone */
    return sf_parts(a, out, false, 2, part);
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    out->tensor[SCORE] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    (void)params;
    const sf_tensor to = s->tensor[SCORE];
    if (sf_gates_are_here(a, first)) score_keys(a, (float *)to.data + first, to.dim[1]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    sf_tensor score = sf_copy(a, s->tensor[SCORE]);
    sf_exclude(a, score, a->keys > p->window ? a->keys - p->window : 0, score.dim[1]);
    return sf_latest_and(a, p->window, sf_top(a, score, p->k), out);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    const double share = (double)p->window / (p->window + (double)p->k);
    int keys = e->phase == SF_PREFILL ? sf_fit_blocks(e, 1, sparsity) : sf_fit_keys(e, sparsity);
    if (sparsity <= 0) keys = e->tokens + e->output;
    p->window = (int)fmax(share * keys + 0.5, 1);
    p->k = keys > p->window ? keys - p->window : 0;
    return SF_OK;
}

/* Scores, and in prefill a look at each; but for nothing where nothing is left to choose. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    if (e->phase == SF_PREFILL && !e->watching && (p->k == 0 || p->window >= e->tokens)) return (sf_estimate){0};
    double cost = sf_query_gates_cost(e, true);
    if (e->phase == SF_PREFILL && !e->watching) cost += (double)e->kv_heads * e->tokens;
    return (sf_estimate){.paper = cost, .exact = cost};
}

const sf_method sf_sparsek = {
    .abi = SF_METHOD_ABI,
    .name = "sparsek",
    .version = 2, /* 1: another cost; 0: queries as YaRN had scaled them */
    .form = SF_FORM_EVICTING,
    .summary = "the latest keys, and those before them that a trained score ranks highest",
    .paper = "Lou et al. 2024, SPARSEK Attention, arXiv 2406.16747",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .weights = WEIGHTS,
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .state = state,
    .observe = observe,
    .decode = decode,
    .packs = true,
    .evicts = true,
    .leaves_sinks = true,
};
