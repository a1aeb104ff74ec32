/* StreamingLLM with the positions of its cache: the first keys and the latest ones, at the distances that they have in a
 * cache which holds nothing else. Recent keys keep their true distances; a first key j stands local + start - 1 - j away
 * however far it is. (streaming reads the same keys at true distances.)
 *
 * In the authors' code the perplexity loop evicts after a step, so that the query's own key comes on top of `recent`:
 * {own: on_top}; the default counts it among them, as the paper's figure does. Their demo leaves the prefill dense over
 * what is cached: use it in decode alone for that. In prefill this is what token by token would have given. */
#include "methods/method.h"

#include <limits.h>

struct params {
    int start, recent, own;
};

static const sf_param PARAMS[] = {
    {.name = "recent", .type = SF_INT, .offset = offsetof(struct params, recent), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1020, .doc = "latest keys a query reads"},
    {.name = "start", .type = SF_INT, .offset = offsetof(struct params, start),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always read"},
    {.name = "own", .type = SF_CHOICE, .offset = offsetof(struct params, own),
     .choices = "counted|on_top", .initial = 0, .doc = "whether the query's own key is one of `recent`"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int local = p->recent + (p->own == 1);
    const sf_band latest[SF_BANDS_A_HEAD] = {{.far = local, .step = 1}}, first[SF_BANDS_A_HEAD] = {{.sinks = p->start, .apart = local}};
    sf_pattern part[2];
    sf_bands(a, &part[0], 1, latest, (sf_lists){0}, (sf_lists){0});
    sf_bands(a, &part[1], 1, first, (sf_lists){0}, (sf_lists){0});
    part[1].reach = (sf_reach){INT_MAX, p->start + local - 1};
    return sf_parts(a, out, false, 2, part);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int keys = e->phase == SF_PREFILL ? sf_fit_blocks(e, 1, sparsity) : sf_fit_keys(e, sparsity), others = p->start + (p->own == 1);
    p->recent = keys > others ? keys - others : 1;
    return SF_OK;
}

const sf_method sf_streaming_llm = {
    .abi = SF_METHOD_ABI,
    .name = "streaming_llm",
    .form = SF_FORM_FIXED,
    .summary = "the first keys and a sliding window, at positions in the cache",
    .paper = "Xiao et al. 2023, StreamingLLM, arXiv 2309.17453",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
