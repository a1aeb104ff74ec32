/* An example of a method outside of Frontier: attention sinks and a sliding window, in prefill and in decode.
 *
 *     make PREFIX=/usr/local          against the headers that `make install` put there
 *     frontier check ./sink_window.so
 *
 * and in a sweep:
 *
 *     plugins: [./sink_window.so]
 *     methods: {prefill: [sink_window], decode: [sink_window: {sinks: 8}]} */
#include "methods/method.h"

struct params {
    int sinks, local;
};

/* One row a parameter: the config is checked against it, `frontier list methods` prints it. */
static const sf_param PARAMS[] = {
    {.name = "local",
     .type = SF_INT,
     .offset = offsetof(struct params, local),
     .budget = true, /* sets how much is computed: naming it replaces target sparsities */
     .low = 1,
     .high = 1 << 24,
     .initial = 508,
     .doc = "latest keys that a query reads, its own included"},
    {.name = "sinks",
     .type = SF_INT,
     .offset = offsetof(struct params, sinks),
     .low = 0,
     .high = 1 << 24,
     .initial = 4,
     .doc = "first keys, read by every query"},
    {0},
};

/* A target sparsity for a prompt of this length: how many keys may a query read? */
static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    int keys = extent->phase == SF_PREFILL ? sf_fit_blocks(extent, 1, sparsity) : sf_fit_keys(extent, sparsity);
    p->local = keys > p->sinks ? keys - p->sinks : 1; /* sinks are no budget, so they stay as they are */
    return SF_OK;
}

/* Once a layer, all queries of the prompt. */
static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_window(a, out, p->sinks, p->local);
}

/* Once a layer and generated token. */
static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state; /* keeps none */
    return prefill(a, params, out);
}

static const sf_method method = {
    .abi = SF_METHOD_ABI,
    .name = "sink_window",
    .summary = "the first keys and the latest ones",
    .paper = "Xiao et al. 2023, StreamingLLM, arXiv 2309.17453",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
