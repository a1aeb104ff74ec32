/* Ada-SnapKV: SnapKV whose budget is shared by the kv heads of a layer: a floor for each, the rest to the best scores.
 *
 * As in the study: probe of 256 queries, maximum over queries and group, mean pooling of 21 keys, the first 4 and the
 * last 128 keys forced, a floor of 20 %. The authors' code: {window: 32, kernel: 7, pooling: max, sinks: 0, local: 32}.
 */
#include "methods/method.h"

struct params {
    int capacity, window, kernel, pooling, sinks, local;
    double floor;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys kept per kv head on average, forced ones included"},
    {.name = "floor", .type = SF_REAL, .offset = offsetof(struct params, floor),
     .low = 0, .high = 1, .initial = 0.2, .doc = "share of the capacity that every kv head has for itself"},
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
static int larger(int x, int y) { return x > y ? x : y; }

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    const struct params *p = params;
    if (p->kernel % 2 == 0) return sf_fail(SF_BAD_INPUT, "ada_snapkv: kernel must be odd, is %d", p->kernel);
    int sinks = smaller(p->sinks, p->capacity / 2), local = smaller(p->local, p->capacity / 2 - sinks);
    int own = larger(larger((int)(p->floor * p->capacity), sinks + local), 1);
    sf_tensor column; /* [H, keys], then [G, keys] */
    sf_probe(a, p->window, SF_MAX, &column, NULL);
    column = sf_group(a, column, SF_MAX);
    column = sf_pool(a, column, p->kernel, p->pooling == 1 ? SF_MAX : SF_MEAN);
    sf_force(a, column, 0, sinks);
    sf_force(a, column, a->keys - local, a->keys);
    sf_force_at(a, column, sf_top(a, column, own));
    return sf_keep(a, out, sf_top_total(a, column, (int64_t)p->capacity * a->kv_heads));
}

/* Probe, maximum over the group, pooling, two selections. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double flops = sf_probe_flops(e, p->window) + (double)e->tokens * (e->heads + e->kv_heads * (p->kernel + 2.0));
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_ada_snapkv = {
    .abi = SF_METHOD_ABI,
    .name = "ada_snapkv",
    .form = SF_FORM_EVICTING,
    .summary = "SnapKV with one budget for all kv heads of a layer",
    .paper = "Feng et al. 2024, Ada-KV, arXiv 2407.11550",
    .version = 1, /* 0: cost of choosing stood under decode */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_keys_fit,
    .estimate = estimate,
    .compress = compress,
    .across = SF_OVER_HEADS,
};
