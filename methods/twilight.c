/* Twilight: of the keys that another method selects generously, decode reads the fewest that hold a share of their estimated
 * probability. Estimates are those of keys in 4 bits.
 *
 * As the authors' code (tsinghua-ideal/Twilight 843ebcc): Quest's pages of 16 with a budget of 8192 keys; logits of the whole query
 * and keys of 4 bits, each between the least and the most number of its key; a softmax over what was selected alone; nothing is
 * forced, so that a step's own key and the first ones may go unread. {base: all} estimates every key. Left out: two dense
 * layers at the front (theirs: {dense_layers: 2}); the bisection of their kernel, which begins at the probability of key 0 and
 * so takes too many keys where that is small: here the set is exact. Quest's scores are summed over a group, as quest's are here;
 * the pruning is each query head's own, as in their code.
 *
 * A target sparsity is met at each step by all heads of a layer together, with one share for all of them. */
#include "methods/method.h"
#include "methods/toll.h"

struct params {
    double density, mass;
    int candidates, page, base, dense_layers;
};

static const sf_param PARAMS[] = {
    {.name = "mass", .type = SF_REAL, .offset = offsetof(struct params, mass), .budget = true,
     .low = 0, .high = 1, .initial = 0.85, .doc = "share of the estimated probability to read"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of the keys to read; 0: as mass says"},
    {.name = "candidates", .type = SF_INT, .offset = offsetof(struct params, candidates),
     .low = 1, .high = 1 << 24, .initial = 8192, .doc = "keys that Quest selects, the current page on top"},
    {.name = "page", .type = SF_INT, .offset = offsetof(struct params, page),
     .low = 1, .high = 4096, .initial = 16, .doc = "keys per page"},
    {.name = "base", .type = SF_CHOICE, .offset = offsetof(struct params, base),
     .choices = "quest|all", .initial = 0, .doc = "what is estimated: pages that Quest selects, or all keys"},
    {.name = "dense_layers", .type = SF_INT, .offset = offsetof(struct params, dense_layers),
     .low = 0, .high = 1024, .initial = 0, .doc = "first layers that read everything"},
    {0},
};

enum { LOW, HIGH, CODE, RANGE }; /* bounds of pages [G, pages, D]; keys in 4 bits */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const struct params *p = params;
    sf_packed_state(a, max_keys, &out->tensor[CODE], &out->tensor[RANGE]);
    for (int i = LOW; p->base == 0 && i <= HIGH; i++)
        out->tensor[i] = (sf_tensor){
            .dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, (max_keys + p->page - 1) / p->page, a->head_dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    sf_pack_keys(a, first, s->tensor[CODE], s->tensor[RANGE]);
    if (p->base == 0) sf_page_bounds(a, p->page, first, s->tensor[LOW], s->tensor[HIGH]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    if (a->layer < p->dense_layers) return sf_dense(a, out);
    sf_lists candidates, *among = NULL;
    if (p->base == 0) {
        sf_tensor score = sf_page_scores(a, p->page, s->tensor[LOW], s->tensor[HIGH]);
        candidates = sf_keys_of_pages(a, score, p->page, (p->candidates + p->page - 1) / p->page);
        among = &candidates;
    }
    sf_tensor share = sf_packed_probabilities(a, s->tensor[CODE], s->tensor[RANGE], among); /* [H, keys] */
    return sf_keys_of_mass(a, out, share, p->mass, p->density);
}

/* Keys in 4 bits and bounds of pages; of a step, its key and the keys of its page, both bounds of every page, and the candidates in 4 bits. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int keys = e->tokens, first = e->phase == SF_PREFILL ? 0 : keys - 1, pages = (keys + p->page - 1) / p->page;
    const int wanted = (p->candidates + p->page - 1) / p->page + 1, kept = wanted < pages ? wanted : pages;
    const int64_t candidates = p->base == 0 ? keys - (int64_t)(pages - kept) * p->page : keys;
    const double share = p->dense_layers < e->layers ? 1 - (double)p->dense_layers / e->layers : 0;
    sf_toll watched, chosen;
    sf_toll_open(&watched, e), sf_toll_open(&chosen, e);
    sf_meter_pack_keys(&watched.backend, &watched.a, first);
    if (p->base == 0) sf_meter_page_bounds(&watched.backend, &watched.a, p->page, first);
    sf_estimate all = sf_toll_paid(&watched, 1);
    if (e->phase == SF_PREFILL) return all;
    if (p->base == 0) sf_meter_page_scores(&chosen.backend, &chosen.a, p->page);
    sf_meter_packed_probabilities(&chosen.backend, &chosen.a, e->heads * candidates, e->kv_heads * candidates);
    all.exact += sf_toll_paid(&chosen, share).exact;
    return (sf_estimate){.paper = all.exact, .exact = all.exact};
}

/* On average over what a page can hold by then. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    return sf_toll_mean(e, params, ((const struct params *)params)->page, of_step);
}

const sf_method sf_twilight = {
    .abi = SF_METHOD_ABI,
    .name = "twilight",
    .version = 2, /* 0: estimates without the cap on logits; 1: choosing cost candidates and bounds alone */
    .summary = "of Quest's pages, the fewest keys that hold a share of what 4 bits of each estimate",
    .paper = "Lin et al. 2025, Twilight, arXiv 2502.02770",
    .form = SF_FORM_SAMPLED,
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
    .across = SF_OVER_HEADS,
};
