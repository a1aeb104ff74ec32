/* SnapKV: after a dense prefill, each kv head keeps the keys that the last queries of the prompt look at.
 *
 * As in the study: probe of 256 queries, mean over the group, mean pooling of 21 keys, the first 4 and the last 128
 * keys forced. The authors' code: {window: 32, kernel: 7, pooling: max, sinks: 0, local: 32}. */
#include "methods/method.h"

struct params {
    int capacity, window, kernel, pooling, sinks, local;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys a kv head keeps, forced ones included"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 256, .doc = "queries of the probe, the last of the prompt"},
    {.name = "kernel", .type = SF_INT, .offset = offsetof(struct params, kernel),
     .low = 1, .high = 4095, .initial = 21, .doc = "keys pooled together, odd"},
    {.name = "pooling", .type = SF_CHOICE, .offset = offsetof(struct params, pooling),
     .choices = "mean|max", .initial = 0, .doc = "how neighbouring keys are pooled"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always kept"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "last keys, always kept; with the sinks at most half of it all"},
    {0},
};

static int smaller(int x, int y) { return x < y ? x : y; }

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    const struct params *p = params;
    if (p->kernel % 2 == 0) return sf_fail(SF_BAD_INPUT, "snapkv: kernel must be odd, is %d", p->kernel);
    int sinks = smaller(p->sinks, p->capacity / 2), local = smaller(p->local, p->capacity / 2 - sinks);
    sf_tensor column; /* [H, keys], then [G, keys] */
    sf_probe(a, p->window, SF_SUM, &column, NULL);
    column = sf_group(a, column, SF_MEAN);
    column = sf_pool(a, column, p->kernel, p->pooling == 1 ? SF_MAX : SF_MEAN);
    sf_force(a, column, 0, sinks);
    sf_force(a, column, a->keys - local, a->keys);
    return sf_keep(a, out, sf_top(a, column, p->capacity));
}

/* Probe, mean over the group, pooling, selection. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double flops = sf_probe_flops(e, p->window) + (double)e->tokens * (e->heads + e->kv_heads * (p->kernel + 1.0));
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_snapkv = {
    .abi = SF_METHOD_ABI,
    .name = "snapkv",
    .form = SF_FORM_EVICTING,
    .summary = "each kv head keeps the keys that the last queries look at",
    .paper = "Li et al. 2024, SnapKV, arXiv 2404.14469",
    .version = 1, /* 0: cost of choosing stood under decode */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .compress = compress,
};
