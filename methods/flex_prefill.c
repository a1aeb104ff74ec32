/* FlexPrefill, the study's arm (tau = 0): columns and diagonals as in Vertical-Slash, but each head takes as many as it
 * needs to cover a share alpha of the probe's attention, and at least min_budget of each.
 *
 * The probe has 512 queries for every task, as in the study's public code (PiotrNawrot/sparse-frontier 31d86c1:
 * approximation_size in configs/attention/flexprefill.yaml and the default of its FlexPrefill class), where
 * Vertical-Slash has 256.
 *
 * A target sparsity is met layer by layer: the largest alpha whose selection stays within it; where min_budget alone is
 * beyond it, alpha is 0 and min_budget shrinks, which is the study's own rule for high sparsity. min_budget is then at
 * most 1/32 of the prompt, its share at the study's shortest length. Heads of a layer share the budget by need, layers
 * do not; naming alpha and min_budget instead lets them. */
#include "methods/method.h"

struct params {
    double density, alpha;
    int window, min_budget, sinks, local, tiling;
};

static const sf_param PARAMS[] = {
    {.name = "alpha", .type = SF_REAL, .offset = offsetof(struct params, alpha), .budget = true,
     .low = 0, .high = 1, .initial = 0.9, .doc = "share of the probe's attention to cover"},
    {.name = "min_budget", .type = SF_INT, .offset = offsetof(struct params, min_budget), .budget = true,
     .low = 1, .high = 1 << 20, .initial = 512, .doc = "columns and diagonals a head takes at least"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of causal pairs to execute; 0: as alpha and min_budget say"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 512, .doc = "queries of the probe, the last of the prompt"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first columns, chosen first"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 1, .high = 1 << 20, .initial = 64, .doc = "latest diagonals, chosen first"},
    {.name = "tiling", .type = SF_CHOICE, .offset = offsetof(struct params, tiling), .late = true,
     .choices = "own|authors", .initial = 0, .doc = "tiles along each diagonal, or melted as in MInference's kernel (slower)"},
    {0},
};

/* What the choice looks at: scores as probed, which say how many, and with the forced ones, which say which. */
struct scores {
    sf_tensor column, diagonal, column_forced, diagonal_forced;
    int floor;   /* least budget of a searched choice */
    bool merged; /* tiling: authors */
};

static sf_lists cover(sf_attention *a, sf_tensor x, sf_tensor forced, double alpha, int64_t least)
{
    const sf_budgets same = {.each = 1, .most = a->keys};
    return sf_top_budgets(a, forced, sf_top_mass(a, x, alpha, least, a->keys).count, &same, NULL);
}

static sf_status choose(sf_attention *a, const struct scores *s, double alpha, int64_t least, sf_pattern *out)
{
    sf_lists columns = cover(a, s->column, s->column_forced, alpha, least),
             diagonals = cover(a, s->diagonal, s->diagonal_forced, alpha, least);
    return s->merged ? sf_columns_and_diagonals_merged(a, out, columns, diagonals)
                     : sf_columns_and_diagonals(a, out, columns, diagonals);
}

/* The lower half of the dial raises the floor at alpha 0, the upper half alpha; at the end, everything. What
 * sf_fit_masses() finds is where this search ends. */
static sf_status by_dial(sf_attention *a, const void *what, double dial, sf_pattern *out)
{
    const struct scores *s = what;
    if (dial >= 1) return sf_dense(a, out);
    if (dial >= 0.5) return choose(a, s, 2 * dial - 1, s->floor, out);
    return choose(a, s, 0, 1 + (int64_t)(2 * dial * (double)(s->floor - 1)), out);
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    struct scores s = {.floor = p->min_budget > a->keys / 32 ? a->keys / 32 + 1 : p->min_budget,
                       .merged = p->tiling == 1};
    sf_probe(a, p->window, SF_SUM, &s.column, &s.diagonal); /* [H, keys], [H, offsets] */
    s.column_forced = sf_copy(a, s.column);
    s.diagonal_forced = sf_copy(a, s.diagonal);
    sf_force(a, s.column_forced, 0, p->sinks);
    sf_force(a, s.diagonal_forced, 0, p->local);
    if (p->density <= 0) return choose(a, &s, p->alpha, p->min_budget, out);
    double alpha;
    int64_t least = s.floor;
    if (!s.merged && sf_fit_masses(a, s.column, s.diagonal, s.column_forced, s.diagonal_forced, p->density, &alpha, &least))
        return choose(a, &s, alpha, least, out);
    return sf_choose_within(a, out, p->density, by_dial, &s);
}

/* Probe; how many and which, for columns and for diagonals. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double flops = sf_probe_flops(e, p->window) + (p->density < 1 ? 4.0 * e->heads * e->tokens : 0);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_flex_prefill = {
    .abi = SF_METHOD_ABI,
    .name = "flex_prefill",
    .form = SF_FORM_COLUMNS,
    .summary = "columns and diagonals, as many for each head as cover a share of its attention",
    .paper = "Lai et al. 2025, FlexPrefill, arXiv 2502.20766",
    .version = 1, /* 0: cost of a selection at full budget */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
};
