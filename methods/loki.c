/* Loki: keys are scored by their first components in a basis of principal components, and the best are read in full.
 *
 * As the authors' code (hpcgroup/loki 005913b): an orthogonal basis of the keys of each layer and head, from calibration, by
 * falling variance, the mean not subtracted; logits of the first `rank` of D components over sqrt(D); the k best of each query
 * head. Of keys as they are cached, after their rotation ("post-rotary" there); their evaluation masks the prefill too, which
 * is dense here. {selection: group} chooses once for a group.
 *
 * `basis` names a table that `frontier calibrate loki` makes: for each layer a row of [kv heads, D, D], a component a column.
 * Without one, components are the dimensions themselves, in order: what a basis is worth is the difference. */
#include "methods/components.h"

static const sf_param PARAMS[] = {
    SF_COMPONENTS_PARAMS(32, "components"),
    {.name = "basis", .type = SF_STRING, .offset = offsetof(sf_components, table), .file = true,
     .doc = "table of bases, made by `frontier calibrate`; without one, the dimensions themselves"},
    {0},
};

static void axes(int dim, int rank, const double *axis, float *basis)
{
    for (int d = 0; d < dim; d++)
        for (int c = 0; c < rank; c++) basis[d * rank + c] = axis ? (float)axis[d * dim + c] : (float)(c == d);
}

static sf_status observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    return sf_components_observe(a, params, state, first, a->head_dim * a->head_dim, axes);
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

const sf_method sf_loki = {
    .abi = SF_METHOD_ABI,
    .name = "loki",
    .form = SF_FORM_PAGES,
    .summary = "keys with the largest logits in their first principal components",
    .paper = "Singhania et al. 2024, Loki, arXiv 2406.02542",
    .version = 1, /* 0: choosing cost the components alone */
    .params = PARAMS,
    .params_size = sizeof(sf_components),
    .fit = sf_keys_fit,
    .estimate = sf_components_estimate,
    .state = sf_components_state,
    .observe = observe,
    .decode = sf_components_decode,
    .columns = columns,
    .calibrate = calibrate,
    .conclude = conclude,
};
