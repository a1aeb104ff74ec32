/* SparQ: keys are scored by the components in which the query is large; what the chosen keys do not hold of the softmax is
 * filled with the mean value.
 *
 * As the authors' code (graphcore-research/llm-inference-research ead9b6a, ann_attention.py): one set of components for a
 * group, the largest sums of |q|; logits over sqrt(D · their share of |q|); the latest keys and the query's own forced; top k
 * + 1 of the group's sum of raw logits ({rank_by: softmax}: of their softmax, as the paper's figure has it); out = alpha ·
 * attention + (1 - alpha) · mean of all values, alpha the chosen keys' share of the estimated softmax. {mean_value: false}
 * is their `reallocate_to_mean_value`, off. Their experiments read k 128, rank 16 to 64, a quarter of k latest. */
#include "methods/method.h"
#include "methods/toll.h"

struct params {
    int k, rank, rank_by;
    double recent;
    bool mean_value;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 128, .doc = "keys to read, the query's own on top"},
    {.name = "rank", .type = SF_INT, .offset = offsetof(struct params, rank),
     .low = 1, .high = 1024, .initial = 32, .doc = "components that are looked at"},
    {.name = "recent", .type = SF_REAL, .offset = offsetof(struct params, recent),
     .low = 0, .high = 1, .initial = 0.25, .doc = "share of k that goes to the latest keys"},
    {.name = "rank_by", .type = SF_CHOICE, .offset = offsetof(struct params, rank_by),
     .choices = "logits|softmax", .initial = 0, .doc = "what is summed over the group to choose by"},
    {.name = "mean_value", .type = SF_BOOL, .offset = offsetof(struct params, mean_value),
     .initial = 1, .doc = "the rest of the softmax goes to the mean of all values"},
    {0},
};

enum { COMPONENTS, SUM, MEAN }; /* [G, D, max_keys] of keys; [G, D], [G, 1, D] of values */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    out->tensor[COMPONENTS] = (sf_tensor){.dtype = a->kv.dtype, .rank = 3, .dim = {a->kv_heads, a->head_dim, max_keys}};
    out->tensor[SUM] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, a->head_dim}};
    out->tensor[MEAN] = (sf_tensor){.dtype = a->kv.dtype, .rank = 3, .dim = {a->kv_heads, 1, a->head_dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    sf_key_components(a, (sf_tensor){0}, first, s->tensor[COMPONENTS]);
    if (p->mean_value) sf_value_means(a, first, s->tensor[SUM], s->tensor[MEAN]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    sf_tensor q = sf_query_components(a, (sf_tensor){0}), size = sf_copy(a, q); /* [H, D] */
    sf_magnitudes(a, size);
    sf_lists at = sf_top(a, sf_group(a, size, SF_SUM), p->rank);
    sf_tensor logit = sf_component_scores(a, q, s->tensor[COMPONENTS], &at, true), share = sf_copy(a, logit); /* [H, keys] */
    sf_softmax(a, share);
    sf_tensor rank = sf_group(a, p->rank_by == 1 ? share : logit, SF_SUM);
    sf_force(a, rank, a->keys - 1 - (int)(p->recent * p->k), a->keys);
    sf_lists keys = sf_top(a, rank, (int64_t)p->k + 1);
    if (!p->mean_value) return sf_pages(a, out, 1, keys);

    sf_tensor held = sf_sums_at(a, share, keys); /* [2, H] */
    sf_pattern part[2];
    sf_pages(a, &part[0], 1, keys);
    part[0].gate = (sf_tensor){held.data, SF_F32, 2, {1, a->heads}};
    part[1] = (sf_pattern){.kind = SF_CONSTANT, .sum.v = s->tensor[MEAN]};
    part[1].gate = (sf_tensor){(float *)held.data + a->heads, SF_F32, 2, {1, a->heads}};
    return sf_parts(a, out, true, 2, part);
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    int keys = sf_fit_keys(extent, sparsity) - 1;
    ((struct params *)params)->k = keys > 1 ? keys : 1;
    return SF_OK;
}

/* Values added up; of a step, its key and value, and `rank` components of each key. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int keys = e->tokens, dim = e->head_dim, first = e->phase == SF_PREFILL ? 0 : keys - 1;
    const sf_lists at = {.stride = p->rank < dim ? p->rank : dim};
    sf_toll t;
    sf_toll_open(&t, e);
    sf_meter_components(&t.backend, &t.a, true, false, dim, first);
    if (p->mean_value) sf_meter_value_means(&t.backend, &t.a, first);
    if (e->phase == SF_PREFILL) return sf_toll_paid(&t, 1);
    sf_meter_component_scores(&t.backend, &t.a, dim, &at);
    return sf_toll_paid(&t, 1);
}

const sf_method sf_sparq = {
    .abi = SF_METHOD_ABI,
    .name = "sparq",
    .form = SF_FORM_PAGES,
    .summary = "keys scored by the query's largest components; the rest counts as the mean value",
    .paper = "Ribar et al. 2023, SparQ Attention, arXiv 2312.04985",
    .version = 1, /* 0: choosing cost the components alone */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
};
