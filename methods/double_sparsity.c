/* Double Sparsity: keys are scored by a few channels, the same for every query, that matter most in calibration; the best are
 * read in full.
 *
 * As the paper: channels of each kv head by the mean size of q times that of k, over a sample of texts, before the softmax; their
 * copies lie together (the label cache); the k best keys. Theirs can store labels in INT4, and has a table of channels for each
 * query head too: neither is offered. Which statistic their tables were made by is not in the paper's text as read; sums of
 * |q| and |k| over positions, multiplied, here.
 *
 * `channels` names a table that `frontier calibrate double_sparsity` makes: for each layer a row of [kv heads, D], the channels'
 * weights. Without one, channels are evenly apart: what calibration is worth is the difference. */
#include "methods/components.h"

static const sf_param PARAMS[] = {
    SF_COMPONENTS_PARAMS(16, "channels"),
    {.name = "channels", .type = SF_STRING, .offset = offsetof(sf_components, table), .file = true,
     .doc = "table of weights, made by `frontier calibrate`; without one, channels evenly apart"},
    {0},
};

/* The heaviest channel that is not taken, ties to the first. */
static int next_heaviest(const double *weight, int dim, const bool *taken)
{
    int best = -1;
    for (int d = 0; d < dim; d++)
        if (!taken[d] && (best < 0 || weight[d] > weight[best])) best = d;
    return best;
}

/* A 1 in each column. */
static void channels(int dim, int rank, const double *weight, float *basis)
{
    bool taken[dim];
    for (int d = 0; d < dim; d++) taken[d] = false;
    for (int c = 0; c < rank; c++) {
        int d = weight ? next_heaviest(weight, dim, taken) : c * dim / rank;
        taken[d] = true, basis[d * rank + c] = 1;
    }
}

static sf_status observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    return sf_components_observe(a, params, state, first, a->head_dim, channels);
}

static int64_t columns(const sf_attention *a, const void *params)
{
    (void)params;
    return (int64_t)a->kv_heads * a->head_dim;
}

static sf_status calibrate(sf_attention *a, const void *params, double *sum)
{
    (void)params;
    return sf_channel_sizes(a, sum);
}

const sf_method sf_double_sparsity = {
    .abi = SF_METHOD_ABI,
    .name = "double_sparsity",
    .form = SF_FORM_PAGES,
    .summary = "keys with the largest logits in the channels that matter most in calibration",
    .paper = "Yang et al. 2024, Double Sparsity, arXiv 2408.07092",
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
};
