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
#include <stdlib.h>

#include "methods/method.h"

struct params {
    int k, rank, selection;
    const char *channels;
};

static const sf_param PARAMS[] = {
    {.name = "k", .type = SF_INT, .offset = offsetof(struct params, k), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys to read, the query's own included"},
    {.name = "rank", .type = SF_INT, .offset = offsetof(struct params, rank),
     .low = 1, .high = 1024, .initial = 16, .doc = "channels that are looked at"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (scores summed)"},
    {.name = "channels", .type = SF_STRING, .offset = offsetof(struct params, channels), .file = true,
     .doc = "table of weights, made by `frontier calibrate`; without one, channels evenly apart"},
    {0},
};

enum { LABELS, BASIS }; /* [G, rank, max_keys], [G, D, rank]: a 1 in each column */

static int rank_of(const sf_attention *a, const struct params *p) { return p->rank < a->head_dim ? p->rank : a->head_dim; }

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    int rank = rank_of(a, params);
    out->tensor[LABELS] = (sf_tensor){.dtype = a->kv.dtype, .rank = 3, .dim = {a->kv_heads, rank, max_keys}};
    out->tensor[BASIS] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, a->head_dim, rank}};
    return SF_OK;
}

/* The rank-th heaviest of the weights from `before` down, ties to the first. */
static int next_heaviest(const double *weight, int dim, const bool *taken)
{
    int best = -1;
    for (int d = 0; d < dim; d++)
        if (!taken[d] && (best < 0 || weight[d] > weight[best])) best = d;
    return best;
}

static sf_status load(sf_attention *a, const struct params *p, sf_tensor to)
{
    int dim = a->head_dim, rank = rank_of(a, p), all = sf_layer_kv_heads(a) * dim;
    bool given = p->channels && *p->channels, taken[dim];
    double *row = calloc((size_t)all, sizeof *row);
    float *basis = calloc((size_t)(a->kv_heads * dim * rank), sizeof *basis);
    sf_status status = row && basis ? SF_OK : sf_fail(SF_NO_MEMORY, "double_sparsity: weights of %d channels", all);
    if (!status && given) status = sf_table_row(p->channels, a->layer, all, row);
    for (int g = 0; g < a->kv_heads && !status; g++) {
        for (int d = 0; d < dim; d++) taken[d] = false;
        for (int c = 0; c < rank; c++) {
            int d = given ? next_heaviest(row + (a->first_kv_head + g) * dim, dim, taken) : c * dim / rank;
            taken[d] = true, basis[(g * dim + d) * rank + c] = 1;
        }
    }
    if (!status) sf_write(a, to, basis);
    free(row), free(basis);
    return status ? status : a->status;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    if (first == 0) SF_TRY(load(a, params, s->tensor[BASIS]));
    sf_key_components(a, s->tensor[BASIS], first, s->tensor[LABELS]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    sf_tensor q = sf_query_components(a, s->tensor[BASIS]), score = sf_component_scores(a, q, s->tensor[LABELS], NULL, false);
    if (p->selection == 1) score = sf_group(a, score, SF_SUM);
    sf_force(a, score, a->keys - 1, a->keys);
    return sf_pages(a, out, 1, sf_top(a, score, p->k));
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

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    ((struct params *)params)->k = sf_fit_keys(extent, sparsity);
    return SF_OK;
}

/* `rank` channels of each key. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double rank = p->rank < e->head_dim ? p->rank : e->head_dim, keys = rank * e->kv_heads * e->tokens;
    return (sf_estimate){.paper = keys, .exact = keys};
}

const sf_method sf_double_sparsity = {
    .abi = SF_METHOD_ABI,
    .name = "double_sparsity",
    .form = SF_FORM_PAGES,
    .summary = "keys with the largest logits in the channels that matter most in calibration",
    .paper = "Yang et al. 2024, Double Sparsity, arXiv 2408.07092",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
    .columns = columns,
    .calibrate = calibrate,
};
