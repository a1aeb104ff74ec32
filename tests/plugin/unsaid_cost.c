/* Quest's choice without a word of what it costs: it runs, and is not certified. */
#include "methods/method.h"

struct params {
    int budget;
};

static const sf_param PARAMS[] = {
    {.name = "budget", .type = SF_INT, .offset = offsetof(struct params, budget), .budget = true, .low = 1, .high = 1 << 24, .initial = 1024,
     .doc = "keys to read, in pages of 16; the current page on top"},
    {0},
};

enum { PAGE = 16, LOW = 0, HIGH };

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    for (int i = LOW; i <= HIGH; i++)
        out->tensor[i] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, (max_keys + PAGE - 1) / PAGE, a->head_dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    (void)params;
    sf_page_bounds(a, PAGE, first, s->tensor[LOW], s->tensor[HIGH]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    int current = (a->keys - 1) / PAGE;
    sf_tensor score = sf_page_scores(a, PAGE, s->tensor[LOW], s->tensor[HIGH]);
    sf_force(a, score, current, current + 1);
    return sf_pages(a, out, PAGE, sf_top(a, score, (p->budget + PAGE / 2) / PAGE + 1));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    int keys = sf_fit_keys(extent, sparsity), whole = keys / PAGE * PAGE; /* the current page holds half of what is cut, on average */
    ((struct params *)params)->budget = sparsity <= 0 ? keys : whole > PAGE ? whole : PAGE;
    return SF_OK;
}

static const sf_method method = {
    .abi = SF_METHOD_ABI,
    .name = "unsaid_cost",
    .summary = "pages whose key bounds allow the largest score, at a cost that it does not say",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .state = state,
    .observe = observe,
    .decode = decode,
};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
