/* Quest: decode reads the pages of keys whose bounds allow the largest score for the query; the cache is kept whole.
 *
 * As in the study: pages of 16, scores summed over the query heads of a group, the page of the current token always
 * read on top of the budget. The authors' code leaves two layers dense and reads at least 3 pages: {dense_layers: 2,
 * least: 3}. */
#include "methods/method.h"
#include "methods/toll.h"

#include <math.h>

struct params {
    int page, budget, least, dense_layers;
};

static const sf_param PARAMS[] = {
    {.name = "budget", .type = SF_INT, .offset = offsetof(struct params, budget), .budget = true,
     .low = 0, .high = 1 << 24, .initial = 1024, .doc = "keys to read, rounded to pages; the current page on top"},
    {.name = "page", .type = SF_INT, .offset = offsetof(struct params, page),
     .low = 1, .high = 4096, .initial = 16, .doc = "keys per page"},
    {.name = "least", .type = SF_INT, .offset = offsetof(struct params, least),
     .low = 0, .high = 4096, .initial = 0, .doc = "pages read at least"},
    {.name = "dense_layers", .type = SF_INT, .offset = offsetof(struct params, dense_layers),
     .low = 0, .high = 1024, .initial = 0, .doc = "first layers that read everything"},
    {0},
};

enum { LOW, HIGH }; /* [G, pages, D] each: elementwise bounds of the keys of a page */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const struct params *p = params;
    for (int i = LOW; i <= HIGH; i++)
        out->tensor[i] = (sf_tensor){
            .dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, (max_keys + p->page - 1) / p->page, a->head_dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    sf_page_bounds(a, p->page, first, s->tensor[LOW], s->tensor[HIGH]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    if (a->layer < p->dense_layers) return sf_dense(a, out);

    int pages = (p->budget + p->page / 2) / p->page, current = (a->keys - 1) / p->page;
    if (pages < p->least) pages = p->least;
    sf_tensor score = sf_page_scores(a, p->page, s->tensor[LOW], s->tensor[HIGH]);
    sf_force(a, score, current, current + 1);
    return sf_pages(a, out, p->page, sf_top(a, score, pages + 1));
}

/* (1 - sparsity) of the prompt in whole pages, less the half page that the current one holds on average. */
static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    p->budget = sf_fit_keys(extent, sparsity);
    if (sparsity <= 0) return SF_OK;
    p->budget = (int)lround((p->budget - 0.5 * p->page) / p->page) * p->page;
    if (p->budget < p->page) p->budget = p->page;
    return SF_OK;
}

/* Bounds of all pages; of a step, the keys of the current one, and both bounds of every page. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const double share = p->dense_layers < e->layers ? 1 - (double)p->dense_layers / e->layers : 0;
    sf_toll watched, chosen;
    sf_toll_open(&watched, e), sf_toll_open(&chosen, e);
    sf_meter_page_bounds(&watched.backend, &watched.a, p->page, e->phase == SF_PREFILL ? 0 : e->tokens - 1);
    sf_estimate all = sf_toll_paid(&watched, 1);
    if (e->phase == SF_PREFILL) return all;
    sf_meter_page_scores(&chosen.backend, &chosen.a, p->page);
    all.exact += sf_toll_paid(&chosen, share).exact;
    return all;
}

/* On average over what a page can hold by then. The study: both bounds of every page. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    sf_estimate all = sf_toll_mean(e, params, p->page, of_step);
    if (e->phase == SF_DECODE) all.paper = 2.0 * e->kv_heads * e->head_dim * e->tokens / p->page;
    return all;
}

const sf_method sf_quest = {
    .abi = SF_METHOD_ABI,
    .name = "quest",
    .form = SF_FORM_PAGES,
    .summary = "pages whose key bounds allow the largest score for the query",
    .paper = "Tang et al. 2024, Quest, arXiv 2406.10774",
    .version = 1, /* 0: choosing cost the bounds alone */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
    .packs = true,
};
