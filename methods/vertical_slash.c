/* Vertical-Slash: the columns (verticals) and diagonals (slashes) that the last queries of the prompt look at.
 *
 * As in the study: probe of 256 queries, the first 4 columns and the 64 latest diagonals forced. The authors' code
 * probes 64 and forces 30 and 100: {window: 64, sinks: 30, local: 100, columns: 1000, diagonals: 6096}. Their kernel
 * melts the tiles of neighbouring diagonals, so that as many columns and diagonals compute a little more: {tiling:
 * authors}, which published budgets mean. */
#include "methods/method.h"

#include <math.h>

enum { OWN, AUTHORS };

struct params {
    int window, columns, diagonals, sinks, local, selection, tiling;
    double density;
};

static const sf_param PARAMS[] = {
    {.name = "columns", .type = SF_INT, .offset = offsetof(struct params, columns), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 0, .doc = "columns a head, forced ones included; 0 of both: by density"},
    {.name = "diagonals", .type = SF_INT, .offset = offsetof(struct params, diagonals), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 0, .doc = "diagonals a head, forced ones included; 0 of both: by density"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 1, .doc = "share of a layer's causal pairs to execute, with columns = diagonals"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 256, .doc = "queries of the probe, the last of the prompt"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first columns, always chosen"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 1, .high = 1 << 20, .initial = 64, .doc = "latest diagonals, always chosen"},
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(struct params, selection),
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (scores summed)"},
    {.name = "tiling", .type = SF_CHOICE, .offset = offsetof(struct params, tiling), .late = true,
     .choices = "own|authors", .initial = 0, .doc = "tiles along each diagonal, or melted as in MInference's kernel (slower)"},
    {0},
};

static int larger(int x, int y) { return x > y ? x : y; }

struct scores {
    sf_tensor column, diagonal;
};

/* As many columns as diagonals; at the end, everything. */
static sf_status by_dial(sf_attention *a, const void *what, double dial, sf_pattern *out)
{
    const struct scores *s = what;
    int64_t k = 1 + (int64_t)(dial * (double)(a->keys - 1));
    if (dial >= 1) return sf_dense(a, out);
    return sf_columns_and_diagonals_merged(a, out, sf_top(a, s->column, k), sf_top(a, s->diagonal, k));
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    sf_tensor column, diagonal; /* [H, keys], [H, offsets]; [G, …] when shared in the group */
    sf_probe(a, p->window, SF_SUM, &column, &diagonal);
    if (p->selection == 1) {
        column = sf_group(a, column, SF_SUM);
        diagonal = sf_group(a, diagonal, SF_SUM);
    }
    sf_force(a, column, 0, p->sinks);
    sf_force(a, diagonal, 0, p->local);

    if (p->columns == 0 && p->diagonals == 0) {
        const struct scores scores = {column, diagonal};
        return p->tiling == AUTHORS ? sf_choose_within(a, out, p->density, by_dial, &scores)
                                    : sf_columns_and_diagonals_within(a, out, column, diagonal, p->density);
    }
    sf_lists columns = sf_top(a, column, larger(p->columns, p->sinks)),
             diagonals = sf_top(a, diagonal, larger(p->diagonals, p->local));
    return p->tiling == AUTHORS ? sf_columns_and_diagonals_merged(a, out, columns, diagonals)
                                : sf_columns_and_diagonals(a, out, columns, diagonals);
}

/* The tiles along diagonals overlap by an amount that only the selection tells, so k is found layer by layer. */
static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    (void)extent;
    p->columns = p->diagonals = 0;
    p->density = 1 - sparsity;
    return SF_OK;
}

/* Probe and selection. The study adds a sort of both score vectors, and the making of an index that grows with the
 * columns and diagonals: that part only where they are given in numbers, since a density fixes them layer by layer. */
static sf_estimate estimate(const sf_extent *extent, const void *params)
{
    const struct params *p = params;
    double keys = extent->tokens, heads = extent->heads, probe = sf_probe_flops(extent, p->window);
    bool all = p->tiling == AUTHORS && p->columns == 0 && p->diagonals == 0 && p->density >= 1; /* no selection */
    double scores = 2 * keys * ((p->selection == 1 ? heads : 0) + (all ? 0 : p->selection == 1 ? extent->kv_heads : heads)); /* columns and diagonals */
    return (sf_estimate){
        .paper = probe + heads * keys * (2 * log2(keys) + 64.0 * (p->columns + p->diagonals)),
        .exact = probe + scores,
    };
}

const sf_method sf_vertical_slash = {
    .abi = SF_METHOD_ABI,
    .name = "vertical_slash",
    .form = SF_FORM_COLUMNS,
    .summary = "columns and diagonals that the last queries look at",
    .paper = "Jiang et al. 2024, MInference 1.0, arXiv 2407.02490",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
};
