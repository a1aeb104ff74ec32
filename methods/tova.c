/* TOVA: at every step the cache drops the key that the latest query looks at least, on average over all query heads: one
 * choice for all heads of a layer.
 *
 * As the authors' code: the prompt's last query chooses first, a step's own key comes on top and is not protected after it.
 * kvpress' TOVAPress is the first choice alone, with the own key kept, for each kv head by its group's mean. */
#include "methods/method.h"

struct params {
    int capacity, every;
    double share;
    bool grows;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys that live in a layer; a step's own one on top"},
    {.name = "share", .type = SF_REAL, .offset = offsetof(struct params, share), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "instead: share of all tokens so far that lives; 0: as `capacity` says"},
    {.name = "every", .type = SF_INT, .offset = offsetof(struct params, every),
     .low = 1, .high = 1 << 20, .initial = 1, .doc = "steps between evictions"},
    {.name = "grows", .type = SF_BOOL, .offset = offsetof(struct params, grows),
     .doc = "a target sparsity is of all tokens so far, not of the prompt"},
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
    const struct params *p = params;
    sf_tensor score = s->tensor[SCORE], seen;
    if (first == 0) {
        sf_living_open(a, score);
        sf_probe(a, 1, SF_SUM, &seen, NULL);
    } else {
        if ((a->kv.tail.n - 1) % p->every == 0)
            sf_living_keep(a, score, sf_top(a, score, sf_living_most(a, p->capacity, p->share)));
        sf_living_born(a, score);
        seen = sf_listed_probabilities(a, sf_living(a, score));
    }
    sf_add(a, score, 0, sf_all_heads(a, seen, SF_MEAN));
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    (void)params;
    return sf_pages(a, out, 1, sf_living(a, s->tensor[SCORE]));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    int keys = sf_fit_keys(extent, sparsity) - 1;
    p->capacity = keys > 1 ? keys : 1;
    p->share = p->grows ? (sparsity < 0.999 ? 1 - sparsity : 0.001) : 0;
    return SF_OK;
}

const sf_method sf_tova = {
    .abi = SF_METHOD_ABI,
    .name = "tova",
    .summary = "the cache drops what the latest query looks at least",
    .paper = "Oren et al. 2024, TOVA, arXiv 2401.06104",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .state = state,
    .observe = observe,
    .decode = decode,
    .evicts = true,
    .across = SF_ONE_FOR_ALL,
};
