/* MInference: each query head has a pattern of its own kind, found once for a model: A-shape, Vertical-Slash or Block-Sparse.
 *
 * As the authors' search (microsoft/MInference fb56c91): of kinds that cost as much, a head gets the one that holds most of its
 * attention over a sample of prompts. Other than there: what costs as much is as many executed pairs, not their kernels' time,
 * and a kind has one size, met layer by layer, where their tables mix several.
 *
 * `kinds` names a table that `frontier calibrate minference` makes, at the density that it is given: for each layer a row of
 * [heads] numbers, 0 A-shape, 1 Vertical-Slash, 2 Block-Sparse. Without one every head is Vertical-Slash, as most of the
 * authors' are. Their sizes: {sinks: 128} of the A-shape, a probe of 64 queries with 30 columns and 100 diagonals forced,
 * blocks of 64. */
#include "methods/method.h"
#include "methods/toll.h"

#include <string.h>

enum { A_SHAPE, VERTICAL_SLASH, BLOCK_SPARSE, KINDS };

struct params {
    double density;
    int window, sinks, columns, diagonals, block;
    const char *kinds;
};

static const sf_param PARAMS[] = {
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 1e-6, .high = 1, .initial = 0.1, .doc = "share of causal pairs that each head executes"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 64, .doc = "queries of the probe, the last of the prompt"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "first keys of an A-shape, at most half of what it reads"},
    {.name = "columns", .type = SF_INT, .offset = offsetof(struct params, columns),
     .low = 0, .high = 1 << 20, .initial = 30, .doc = "first columns, chosen first"},
    {.name = "diagonals", .type = SF_INT, .offset = offsetof(struct params, diagonals),
     .low = 1, .high = 1 << 20, .initial = 100, .doc = "latest diagonals, chosen first"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 64, .doc = "queries and keys per block"},
    {.name = "kinds", .type = SF_STRING, .offset = offsetof(struct params, kinds), .file = true,
     .doc = "table of kinds, made by `frontier calibrate`; without one, all are Vertical-Slash"},
    {0},
};

/* Blocks (of 1: keys) that each query of a head may read. */
static int most(const sf_attention *a, const struct params *p, int block)
{
    return sf_fit_blocks(&(sf_extent){.phase = SF_PREFILL, .tokens = a->keys}, block, 1 - p->density);
}

/* Patterns of one kind each, for the heads that `kind` names so; others' rows are empty. */
static void a_shape(sf_attention *a, const struct params *p, const int *kind, sf_pattern *out)
{
    sf_band band[a->heads][SF_BANDS_A_HEAD];
    int keys = most(a, p, 1), sinks = p->sinks < keys / 2 ? p->sinks : keys / 2;
    memset(band, 0, sizeof band);
    for (int h = 0; h < a->heads; h++)
        if (kind[h] == A_SHAPE) band[h][0] = (sf_band){.sinks = sinks, .far = keys - sinks, .step = 1};
    sf_bands(a, out, a->heads, band[0], (sf_lists){0}, (sf_lists){0});
}

static void vertical_slash(sf_attention *a, const struct params *p, const int *kind, int many, sf_pattern *out)
{
    sf_tensor column, diagonal; /* [H, keys], [H, offsets] */
    sf_probe(a, p->window, SF_SUM, &column, &diagonal);
    sf_force(a, column, 0, p->columns);
    sf_force(a, diagonal, 0, p->diagonals);
    for (int h = 0; h < a->heads; h++) {
        if (kind[h] == VERTICAL_SLASH) continue;
        sf_exclude(a, sf_row(column, h), 0, a->keys);
        sf_exclude(a, sf_row(diagonal, h), 0, a->keys);
    }
    sf_columns_and_diagonals_within(a, out, column, diagonal, p->density * many / a->heads);
}

static void block_sparse(sf_attention *a, const struct params *p, const int *kind, sf_pattern *out)
{
    sf_tensor q = sf_block_means(a, false, p->block), k = sf_block_means(a, true, p->block);
    sf_lists chosen = sf_top_blocks(a, q, p->block, k, p->block, a->heads, most(a, p, p->block), 0, 1);
    for (int h = 0; h < a->heads; h++)
        if (kind[h] != BLOCK_SPARSE) sf_clear(a, chosen, h * q.dim[1], (h + 1) * q.dim[1]);
    sf_blocks(a, out, a->heads, p->block, p->block, chosen);
}

static sf_status patterns(sf_attention *a, const struct params *p, const int *kind, sf_pattern *out)
{
    sf_pattern part[KINDS];
    int many[KINDS] = {0}, parts = 0;
    for (int h = 0; h < a->heads; h++) many[kind[h]]++;
    if (p->density >= 1) return sf_dense(a, out);
    if (many[A_SHAPE]) a_shape(a, p, kind, &part[parts++]);
    if (many[VERTICAL_SLASH]) vertical_slash(a, p, kind, many[VERTICAL_SLASH], &part[parts++]);
    if (many[BLOCK_SPARSE]) block_sparse(a, p, kind, &part[parts++]);
    for (int i = 0; i < parts; i++) part[i].empty = parts > 1;
    if (parts > 1) return sf_parts(a, out, false, parts, part);
    *out = part[0];
    return a->status;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int all = a->comm ? a->all_heads : a->heads, kind[all];
    for (int h = 0; h < all; h++) kind[h] = VERTICAL_SLASH;
    if (p->kinds && *p->kinds) SF_TRY(sf_table_choices(p->kinds, a->layer, all, KINDS, kind));
    return patterns(a, p, kind + a->first_head, out);
}

/* Recall of each head under each kind, [H, KINDS]; of which the largest is its kind. */
static int64_t columns(const sf_attention *a, const void *params)
{
    (void)params;
    return (int64_t)a->heads * KINDS;
}

static sf_status calibrate(sf_attention *a, const void *params, double *sum)
{
    int kind[a->heads];
    for (int k = 0; k < KINDS; k++) {
        sf_pattern pattern;
        for (int h = 0; h < a->heads; h++) kind[h] = k;
        SF_TRY(patterns(a, params, kind, &pattern));
        SF_TRY(sf_recalled(a, &pattern, sum + k, KINDS));
    }
    return SF_OK;
}

static int64_t conclude(const sf_attention *a, const void *params, double *row)
{
    (void)params;
    for (int h = 0; h < a->heads; h++) {
        int best = 0;
        for (int k = 1; k < KINDS; k++)
            if (row[h * KINDS + k] > row[h * KINDS + best]) best = k;
        row[h] = best;
    }
    return a->heads;
}

/* Where a layer has heads of a kind: the probe and the choice of columns and diagonals; means and scores of blocks. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    int kind[e->heads + 1];
    sf_toll t;
    sf_toll_open(&t, e);
    for (int layer = 0; layer < e->layers && p->density < 1; layer++) {
        bool has[KINDS] = {false};
        for (int h = 0; h < e->heads; h++) kind[h] = VERTICAL_SLASH;
        if (p->kinds && *p->kinds && sf_table_choices(p->kinds, layer, e->heads, KINDS, kind) != SF_OK) return (sf_estimate){0};
        for (int h = 0; h < e->heads; h++) has[kind[h]] = true;
        if (has[VERTICAL_SLASH]) {
            sf_meter_probe(&t.backend, &t.a, p->window, 1, true, true);
            sf_toll_top(&t, e->heads, e->tokens), sf_toll_top(&t, e->heads, e->tokens);
        }
        if (has[BLOCK_SPARSE]) {
            sf_meter_block_means(&t.backend, &t.a, false, p->block), sf_meter_block_means(&t.backend, &t.a, true, p->block);
            sf_meter_top_blocks(&t.backend, &t.a, p->block, p->block);
        }
    }
    return sf_toll_paid(&t, e->layers ? 1.0 / e->layers : 0);
}

const sf_method sf_minference = {
    .abi = SF_METHOD_ABI,
    .name = "minference",
    .form = SF_FORM_COLUMNS,
    .summary = "each head a pattern of the kind that suits it, found by calibration",
    .paper = "Jiang et al. 2024, MInference 1.0, arXiv 2407.02490",
    .version = 1, /* 0: without what choosing costs */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
    .columns = columns,
    .calibrate = calibrate,
    .conclude = conclude,
};
