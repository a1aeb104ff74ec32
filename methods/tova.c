/* TOVA: at every step the cache drops the key that the latest query looks at least, on average over all query heads: one
 * choice for all heads of a layer.
 *
 * As the authors' code: the prompt's last query chooses first, a step's own key comes on top and is not protected after it.
 * kvpress' TOVAPress is the first choice alone, with the own key kept. */
#include "methods/method.h"
#include "methods/toll.h"

static const sf_param PARAMS[] = {
    SF_LIVING_PARAMS(1),
    {0},
};

enum { SCORE }; /* [1, max_keys] what the latest query gives */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params;
    out->tensor[SCORE] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {1, max_keys}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const sf_living_budget *p = params;
    sf_tensor score = s->tensor[SCORE], seen;
    if (first == 0) {
        sf_living_open(a, score);
        sf_probe(a, 1, SF_SUM, &seen, NULL);
    } else {
        if ((a->kv.tail.n - 1) % p->every == 0)
            sf_living_keep(a, score, sf_top(a, score, sf_living_most(a, p)));
        sf_living_born(a, score);
        seen = sf_listed_probabilities(a, sf_living(a, score));
    }
    sf_add(a, score, 0, sf_all_heads(a, seen, SF_MEAN));
    return a->status;
}

/* The last query's probabilities over the prompt, their mean over heads; of a step, the keys that live. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    sf_toll t;
    sf_toll_open(&t, e);
    if (e->phase == SF_PREFILL) sf_toll_probe(&t, 1), sf_toll_group(&t, e->tokens), sf_toll_add(&t, 1, e->tokens);
    else sf_toll_listed(&t, sf_toll_living(e, params));
    return sf_toll_paid(&t, 1);
}

static sf_estimate estimate(const sf_extent *e, const void *params)
{
    return sf_toll_mean(e, params, ((const sf_living_budget *)params)->every, of_step);
}

const sf_method sf_tova = {
    .abi = SF_METHOD_ABI,
    .name = "tova",
    .form = SF_FORM_EVICTING,
    .summary = "the cache drops what the latest query looks at least",
    .paper = "Oren et al. 2024, TOVA, arXiv 2401.06104",
    .version = 1, /* 0: without what choosing costs */
    .params = PARAMS,
    .params_size = sizeof(sf_living_budget),
    .fit = sf_living_fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = sf_living_decode,
    .evicts = true,
    .across = SF_ONE_FOR_ALL,
};
