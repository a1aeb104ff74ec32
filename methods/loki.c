/* Loki: keys are scored by their first components in a basis of principal components, and the best are read in full.
 *
 * As the authors' code (hpcgroup/loki 005913b): an orthogonal basis of the keys of each layer and head, from calibration, by
 * falling variance, the mean not subtracted; logits of the first `rank` of D components over sqrt(D); the k best of each query
 * head. Of keys as they are cached, after their rotation ("post-rotary" there); their evaluation masks the prefill too, which
 * is dense here. {selection: group} chooses once for a group.
 *
 * `basis` names a table that `frontier calibrate loki` makes: for each layer a row of [kv heads, D, D], a component a column.
 * Without one, components are the dimensions themselves, in order: what a basis is worth is the difference. */
#include <stdlib.h>

#include "methods/method.h"

struct params {
    int k, rank, selection;
    const char *basis;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys to read, the query's own included"},
    {.name = "rank", .type = SF_INT, .offset = offsetof(struct params, rank),
     .low = 1, .high = 1024, .initial = 32, .doc = "components that are looked at"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (scores summed)"},
    {.name = "basis", .type = SF_STRING, .offset = offsetof(struct params, basis), .file = true,
     .doc = "table of bases, made by `frontier calibrate`; without one, the dimensions themselves"},
    {0},
};

enum { COMPONENTS, BASIS }; /* [G, rank, max_keys], [G, D, rank] */

static int rank_of(const sf_attention *a, const struct params *p) { return p->rank < a->head_dim ? p->rank : a->head_dim; }

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    int rank = rank_of(a, params);
    out->tensor[COMPONENTS] = (sf_tensor){.dtype = a->kv.dtype, .rank = 3, .dim = {a->kv_heads, rank, max_keys}};
    out->tensor[BASIS] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, a->head_dim, rank}};
    return SF_OK;
}

/* The first `rank` columns of each kv head's basis, to the state. */
static sf_status load(sf_attention *a, const struct params *p, sf_tensor to)
{
    int dim = a->head_dim, rank = rank_of(a, p), all = sf_layer_kv_heads(a) * dim * dim;
    double *row = calloc((size_t)all, sizeof *row);
    float *basis = malloc((size_t)(a->kv_heads * dim * rank) * sizeof *basis);
    sf_status status = row && basis ? SF_OK : sf_fail(SF_NO_MEMORY, "loki: a basis of %d numbers", all);
    if (!status && p->basis && *p->basis) status = sf_table_row(p->basis, a->layer, all, row);
    for (int g = 0; g < a->kv_heads && !status; g++)
        for (int d = 0; d < dim; d++)
            for (int c = 0; c < rank; c++)
                basis[(g * dim + d) * rank + c] =
                    p->basis && *p->basis ? (float)row[((a->first_kv_head + g) * dim + d) * dim + c] : (float)(c == d);
    if (!status) sf_write(a, to, basis);
    free(row), free(basis);
    return status ? status : a->status;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    if (first == 0) SF_TRY(load(a, params, s->tensor[BASIS]));
    sf_key_components(a, s->tensor[BASIS], first, s->tensor[COMPONENTS]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    sf_tensor q = sf_query_components(a, s->tensor[BASIS]), score = sf_component_scores(a, q, s->tensor[COMPONENTS], NULL, false);
    if (p->selection == 1) score = sf_group(a, score, SF_SUM);
    sf_force(a, score, a->keys - 1, a->keys);
    return sf_pages(a, out, 1, sf_top(a, score, p->k));
}

/* Second moments of keys, [G, D, D]. */
static sf_status calibrate(sf_attention *a, const void *params, double *sum)
{
    (void)params;
    return sf_key_moments(a, sum);
}

static int64_t columns(const sf_attention *a, const void *params)
{
    (void)params;
    return (int64_t)a->kv_heads * a->head_dim * a->head_dim;
}

static int64_t conclude(const sf_attention *a, const void *params, double *row)
{
    int64_t each = (int64_t)a->head_dim * a->head_dim;
    for (int g = 0; g < a->kv_heads; g++)
        if (sf_principal_axes(a->head_dim, row + g * each)) return -1;
    return columns(a, params);
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    ((struct params *)params)->k = sf_fit_keys(extent, sparsity);
    return SF_OK;
}

/* `rank` components of each key. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double rank = p->rank < e->head_dim ? p->rank : e->head_dim, keys = rank * e->kv_heads * e->tokens;
    return (sf_estimate){.paper = keys, .exact = keys};
}

const sf_method sf_loki = {
    .abi = SF_METHOD_ABI,
    .name = "loki",
    .form = SF_FORM_PAGES,
    .summary = "keys with the largest logits in their first principal components",
    .paper = "Singhania et al. 2024, Loki, arXiv 2406.02542",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
    .columns = columns,
    .calibrate = calibrate,
    .conclude = conclude,
};
