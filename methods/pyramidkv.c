/* PyramidKV: SnapKV whose budget falls from layer to layer, as attention gathers on fewer keys the higher the layer.
 *
 * As the authors' code: with B = capacity - window, the last layer keeps B div beta and the first 2B less that, in between
 * by whole steps, each and the window; where the first would keep more than there is, it keeps all and the last the rest of
 * 2B. Whole steps leave the mean at B + window + half a step, or some keys below. Layers keep alike where the prompt is
 * shorter than 2B, and everything where it is shorter than `capacity`. Their default chooses for each query head; this is
 * their GQA path, by the mean of the group. (kvpress divides in reals, counts the window among B, and is plain SnapKV
 * unless B / beta is at least the window.) */
#include "methods/method.h"

struct params {
    int capacity, window, kernel, pooling, beta;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 2048, .doc = "keys a kv head keeps on average over layers, the window's included"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 32, .doc = "queries that look, the last, whose keys stay (half the capacity at most)"},
    {.name = "kernel", .type = SF_INT, .offset = offsetof(struct params, kernel),
     .low = 1, .high = 4095, .initial = 5, .doc = "keys pooled together, odd"},
    {.name = "pooling", .type = SF_CHOICE, .offset = offsetof(struct params, pooling),
     .choices = "mean|max", .initial = 0, .doc = "how neighbouring keys are pooled"},
    {.name = "beta", .type = SF_INT, .offset = offsetof(struct params, beta),
     .low = 1, .high = 1 << 20, .initial = 20, .doc = "how steep: the last layer keeps the average's beta-th part"},
    {0},
};

/* Keys that this layer keeps beside its window. */
static int budget(int layer, int layers, int keys, int average, int window, int beta)
{
    int least = average / beta, most = 2 * average - least;
    if (keys < 2 * average) return average;
    if (most >= keys - window) most = keys - window, least = 2 * average - most;
    return most - layer * (layers > 1 ? (most - least) / (layers - 1) : 0);
}

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    const struct params *p = params;
    if (p->kernel % 2 == 0) return sf_fail(SF_BAD_INPUT, "pyramidkv: kernel must be odd, is %d", p->kernel);
    if (a->keys < p->capacity) return sf_dense(a, out);
    int window = p->window < p->capacity / 2 ? p->window : p->capacity / 2;
    int keeps = window + budget(a->layer, a->layers, a->keys, p->capacity - window, window, p->beta);
    sf_tensor column; /* [H, keys], then [G, keys] */
    sf_probe(a, p->window, SF_SUM, &column, NULL);
    column = sf_group(a, column, SF_MEAN);
    sf_fill(a, column, a->keys - window, a->keys, 0); /* the window is cut off before pooling */
    column = sf_pool(a, column, p->kernel, p->pooling == 1 ? SF_MAX : SF_MEAN);
    sf_force(a, column, a->keys - window, a->keys);
    return sf_keep(a, out, sf_top(a, column, keeps > 1 ? keeps : 1));
}

/* Probe, mean over the group, pooling, selection. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    bool all = e->tokens < p->capacity;
    double flops = sf_probe_flops(e, p->window) + (double)e->tokens * (e->heads + e->kv_heads * (p->kernel + 1.0));
    return (sf_estimate){.paper = all ? 0 : flops, .exact = all ? 0 : flops};
}

const sf_method sf_pyramidkv = {
    .abi = SF_METHOD_ABI,
    .name = "pyramidkv",
    .form = SF_FORM_EVICTING,
    .summary = "SnapKV whose budget falls from layer to layer",
    .paper = "Cai et al. 2024, PyramidKV, arXiv 2406.02069",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .compress = compress,
    .over_layers = true,
};
