/* SnapKV that goes on while tokens are generated: the prompt's cache is cut as SnapKV cuts it, and every so many steps the
 * whole cache is cut again, by what the queries of the last steps looked at.
 *
 * kvpress' DecodingPress does so with any press: {every: 512, capacity: 2048, window: 32, kernel: 5}; it pools over the keys
 * that are left as if they were neighbours, without the window's; this over neighbours in the text, the window's among them
 * (as snapkv does), of which the gone weigh nothing. Between two cuts the cache grows by `every` keys. */
#include "methods/method.h"
#include "methods/toll.h"

struct params {
    sf_living_budget budget;
    int window, kernel, pooling;
};

static const sf_param PARAMS[] = {
    SF_LIVING_PARAMS(32),
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 32, .doc = "queries that look, and latest keys that stay (half of what lives at most)"},
    {.name = "kernel", .type = SF_INT, .offset = offsetof(struct params, kernel),
     .low = 1, .high = 4095, .initial = 5, .doc = "keys pooled together, odd"},
    {.name = "pooling", .type = SF_CHOICE, .offset = offsetof(struct params, pooling),
     .choices = "mean|max", .initial = 0, .doc = "how neighbouring keys are pooled"},
    {0},
};

enum { ALIVE, SEEN }; /* [G, max_keys] 0 or -INFINITY; what the latest queries looked at */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    for (int i = ALIVE; i <= SEEN; i++)
        out->tensor[i] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    return SF_OK;
}

static void cut(sf_attention *a, const struct params *p, sf_state *s)
{
    int before = a->keys - 1, most = sf_living_most(a, &p->budget), local = p->window < most / 2 ? p->window : most / 2;
    sf_tensor rank = sf_copy(a, s->tensor[ALIVE]);
    sf_add(a, rank, 1, sf_pool(a, s->tensor[SEEN], p->kernel, p->pooling == 1 ? SF_MAX : SF_MEAN));
    sf_force(a, rank, before > local ? before - local : 0, before);
    sf_living_keep(a, s->tensor[ALIVE], sf_top(a, rank, most));
    sf_fill(a, s->tensor[SEEN], 0, s->tensor[SEEN].dim[1], 0);
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    sf_tensor seen;
    if (p->kernel % 2 == 0) return sf_fail(SF_BAD_INPUT, "decoding_snapkv: kernel must be odd, is %d", p->kernel);
    if (first == 0) {
        sf_living_open(a, s->tensor[ALIVE]);
        sf_probe(a, p->window, SF_SUM, &seen, NULL);
    } else {
        int since = (a->kv.tail.n - 1) % p->budget.every; /* steps since the last cut */
        if (since == 0) cut(a, p, s);
        sf_living_born(a, s->tensor[ALIVE]);
        if (since < p->budget.every - p->window) return a->status;
        seen = sf_listed_probabilities(a, sf_living(a, s->tensor[ALIVE]));
    }
    sf_add(a, s->tensor[SEEN], 1, sf_group(a, seen, SF_MEAN));
    return a->status;
}

/* Half of what a cut takes is there on average. */
static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    sf_fit_living(extent, sparsity, sparsity > 0 ? p->budget.every / 2 : 0, &p->budget);
    return SF_OK;
}

/* The probe, summed up; of the last `window` steps before a cut, the keys that live. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int since = e->step > 0 ? (e->step - 1) % p->budget.every : 0;
    sf_toll t;
    sf_toll_open(&t, e);
    if (e->phase == SF_PREFILL) sf_toll_probe(&t, p->window), sf_toll_group(&t, e->tokens), sf_toll_add(&t, e->kv_heads, e->tokens);
    else if (since >= p->budget.every - p->window) sf_toll_listed(&t, sf_toll_living(e, &p->budget));
    return sf_toll_paid(&t, 1);
}

static sf_estimate estimate(const sf_extent *e, const void *params)
{
    return sf_toll_mean(e, params, ((const struct params *)params)->budget.every, of_step);
}

const sf_method sf_decoding_snapkv = {
    .abi = SF_METHOD_ABI,
    .name = "decoding_snapkv",
    .form = SF_FORM_EVICTING,
    .summary = "SnapKV that cuts the cache again while tokens are generated",
    .paper = "Li et al. 2024, SnapKV, arXiv 2404.14469; kvpress, DecodingPress",
    .version = 1, /* 0: without what choosing costs */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = sf_living_decode,
    .evicts = true,
};
