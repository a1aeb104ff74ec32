/* SampleAttention: the latest keys, and the columns that a sample of the queries looks at, as many for each head as hold a
 * share of what they look at.
 *
 * The paper's text (no code of its authors was found): 5 % of the rows, evenly apart, are computed in full; their
 * probabilities are added up by column; the fewest columns that hold 95 % of the sum are read by all rows, beside a window of
 * 8 % of the prompt. Which rows of the grid are sampled the paper leaves open: here the last one and what lies whole steps
 * before it.
 *
 * A target sparsity is met layer by layer by the share of mass; where the window alone would take more than half of the
 * pairs it is cut to that. */
#include <math.h>

#include "methods/method.h"

struct params {
    double density, mass, sample, window;
};

static const sf_param PARAMS[] = {
    {.name = "mass", .type = SF_REAL, .offset = offsetof(struct params, mass), .budget = true,
     .low = 0, .high = 1, .initial = 0.95, .doc = "share of the sampled attention that columns hold"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of causal pairs to execute; 0: as `mass` says"},
    {.name = "sample", .type = SF_REAL, .offset = offsetof(struct params, sample),
     .low = 1e-4, .high = 1, .initial = 0.05, .doc = "share of the queries that are looked at"},
    {.name = "window", .type = SF_REAL, .offset = offsetof(struct params, window),
     .low = 0, .high = 1, .initial = 0.08, .doc = "latest keys a query reads, a share of the prompt"},
    {0},
};

struct scores {
    sf_tensor column; /* [H, keys] */
    int window;
};

static sf_status choose(sf_attention *a, const void *what, double mass, sf_pattern *out)
{
    const struct scores *s = what;
    if (mass >= 1) return sf_dense(a, out);
    sf_band band[SF_BANDS_A_HEAD] = {{.far = s->window, .step = 1}}, bands[a->heads][SF_BANDS_A_HEAD];
    for (int h = 0; h < a->heads; h++) bands[h][0] = band[0], bands[h][1] = band[1];
    return sf_bands(a, out, a->heads, bands[0], sf_top_mass(a, s->column, mass, 1, a->keys), (sf_lists){0});
}

/* The widest window, no wider than `most`, that takes at most half of a density. */
static int within(const sf_attention *a, int most, double density)
{
    double pairs = density / 2 * sf_causal_pairs(a->queries, a->keys);
    while (most > 1 && (double)most * a->queries > pairs + (double)most * most / 2) most--;
    return most;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    struct scores s = {.window = (int)ceil(p->window * a->keys)};
    if (s.window < 1) s.window = 1;
    s.column = sf_probe_every(a, (int)lround(1 / p->sample), SF_SUM);
    if (p->density <= 0) return choose(a, &s, p->mass, out);
    s.window = within(a, s.window, p->density);
    return sf_choose_within(a, out, p->density, choose, &s);
}

/* The sampled rows, and the choice among their columns. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double step = (double)lround(1 / p->sample), flops = sf_probe_flops(e, (int)ceil(e->tokens / step)) + (p->density < 1 ? (double)e->heads * e->tokens : 0);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_sample_attention = {
    .abi = SF_METHOD_ABI,
    .name = "sample_attention",
    .form = SF_FORM_COLUMNS,
    .summary = "a window, and the columns that a sample of all queries looks at",
    .paper = "Zhu et al. 2024, SampleAttention, arXiv 2406.15877",
    .version = 1, /* 0: cost of a selection at full budget */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
};
