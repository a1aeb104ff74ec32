/* H2O: the cache keeps the latest keys and, of the others, those that all queries so far have looked at most (heavy hitters);
 * what falls out never returns.
 *
 * As the paper and the authors' utils_real_drop: a key's score is the sum of its probabilities over all queries that saw
 * it, the prompt's among them, over the keys that were kept; the dense prompt is evicted from behind its end; a step's own
 * key comes on top. Other than there: scores are the mean over the query heads of a group, where their code knows heads
 * with keys of their own alone. Their utils_hh masks instead of evicting, so that a key may come back, and takes budgets
 * from the prompt's length: neither is offered. (kvpress divides a sum by the queries that saw the key; H2O does not.) */
#include "methods/method.h"
#include "methods/toll.h"

struct params {
    sf_living_budget budget;
    double recent;
};

static const sf_param PARAMS[] = {
    SF_LIVING_PARAMS(1),
    {.name = "recent", .type = SF_REAL, .offset = offsetof(struct params, recent),
     .low = 0, .high = 1, .initial = 0.5, .doc = "share of them that goes to the latest keys"},
    {0},
};

enum { SCORE }; /* [G, max_keys] */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    out->tensor[SCORE] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    return SF_OK;
}

static void evict(sf_attention *a, const struct params *p, sf_tensor score)
{
    int most = sf_living_most(a, &p->budget), recent = (int)(p->recent * most + 0.5), before = a->keys - 1;
    sf_tensor rank = sf_copy(a, score);
    if (recent > before) recent = before;
    sf_force(a, rank, before - recent, before);
    sf_living_keep(a, score, sf_top(a, rank, most));
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    sf_tensor score = s->tensor[SCORE], seen;
    if (first == 0) {
        sf_living_open(a, score);
        sf_probe(a, a->keys, SF_SUM, &seen, NULL);
    } else {
        if ((a->kv.tail.n - 1) % p->budget.every == 0) evict(a, p, score);
        sf_living_born(a, score);
        seen = sf_listed_probabilities(a, sf_living(a, score));
    }
    sf_add(a, score, 1, sf_group(a, seen, SF_MEAN));
    return a->status;
}

/* The probe of all queries, summed up; of a step, the keys that live. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    sf_toll t;
    sf_toll_open(&t, e);
    if (e->phase == SF_PREFILL) sf_toll_probe(&t, e->tokens), sf_toll_group(&t, e->tokens), sf_toll_add(&t, e->kv_heads, e->tokens);
    else sf_toll_listed(&t, sf_toll_living(e, &p->budget));
    return sf_toll_paid(&t, 1);
}

static sf_estimate estimate(const sf_extent *e, const void *params)
{
    return sf_toll_mean(e, params, ((const struct params *)params)->budget.every, of_step);
}

const sf_method sf_h2o = {
    .abi = SF_METHOD_ABI,
    .name = "h2o",
    .form = SF_FORM_EVICTING,
    .summary = "the cache keeps the latest keys and those that all queries look at most",
    .paper = "Zhang et al. 2023, H2O, arXiv 2306.14048",
    .version = 1, /* 0: without what choosing costs */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_living_fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = sf_living_decode,
    .evicts = true,
};
