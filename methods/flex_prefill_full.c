/* FlexPrefill as its authors have it: in blocks of 128, each head decides between two arms. Where the pooled attention
 * of the last queries is close to their exact one (Jensen-Shannon distance below tau), the head is query-aware: it
 * takes the block pairs that cover a share gamma of the pooled attention map. Otherwise it takes the block columns and
 * block diagonals that cover gamma of the exact attention of the last queries. The first column and the main diagonal
 * always.
 *
 * Where the prompt is not a multiple of the block, block diagonals are counted from the query's own block. A target
 * sparsity is met layer by layer, as in flex_prefill.c. */
#include "methods/method.h"

struct params {
    double density, gamma, tau;
    int block, min_budget;
};

static const sf_param PARAMS[] = {
    {.name = "gamma", .type = SF_REAL, .offset = offsetof(struct params, gamma), .budget = true,
     .low = 0, .high = 1, .initial = 0.9, .doc = "share of attention to cover"},
    {.name = "min_budget", .type = SF_INT, .offset = offsetof(struct params, min_budget), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys covered at least by columns, and by diagonals"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of causal pairs to execute; 0: as gamma and min_budget say"},
    {.name = "tau", .type = SF_REAL, .offset = offsetof(struct params, tau),
     .low = 0, .high = 1, .initial = 0.1, .doc = "distance below which a head is query-aware; 0: none is"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 128, .doc = "queries and keys per block, and queries of the probe"},
    {0},
};

/* What the choice looks at. n blocks; H query heads. */
struct scores {
    const struct params *p;
    int n, least;                             /* blocks covered at least */
    sf_tensor column, diagonal;               /* [H, keys]: how many */
    sf_tensor column_blocks, diagonal_blocks; /* [H, n]: which; the first forced */
    sf_tensor map;                            /* [H, n * n] pooled attention of block pairs; absent: no head is aware */
    int32_t *aware;                           /* [H] 1: the head is; NULL: not looked yet */
};

/* The top of `from` in each head: as many as cover gamma of x. Keys count in blocks, at least `least`, and no more in
 * query-aware heads; pairs of blocks count in those heads only. */
static sf_lists cover(sf_attention *a, const struct scores *s, sf_tensor x, sf_tensor from, double gamma, int least)
{
    const bool pairs = x.data == s->map.data;
    const int most = (int)from.dim[1], fewest = least < most ? least : most;
    const sf_budgets of_keys = {.each = s->p->block, .more = 1, .least = fewest, .most = most, .marked = 1, .fixed = fewest},
                     of_pairs = {.each = 1, .most = most, .marked = 0};
    return sf_top_budgets(a, from, sf_top_mass(a, x, gamma, 1, x.dim[1]).count, pairs ? &of_pairs : &of_keys, s->aware);
}

static sf_status choose(sf_attention *a, const struct scores *s, double gamma, int least, sf_pattern *out)
{
    sf_lists columns = cover(a, s, s->column, s->column_blocks, gamma, least);
    sf_lists diagonals = cover(a, s, s->diagonal, s->diagonal_blocks, gamma, least);
    sf_lists pairs = s->map.data ? cover(a, s, s->map, s->map, gamma, 0) : (sf_lists){0};
    return sf_blocks(a, out, a->heads, s->p->block, s->p->block, sf_block_union(a, s->n, columns, diagonals, pairs));
}

/* The lower half of the dial raises the floor at gamma 0, the upper half gamma; at the end, everything. By trials:
 * sf_fit_masses() counts pairs of single columns and diagonals, not of blocks. */
static sf_status by_dial(sf_attention *a, const void *what, double dial, sf_pattern *out)
{
    const struct scores *s = what;
    int least = s->least > s->n / 32 ? s->n / 32 + 1 : s->least;
    if (dial >= 1) return sf_dense(a, out);
    if (dial >= 0.5) return choose(a, s, 2 * dial - 1, least, out);
    return choose(a, s, 0, 1 + (int)(2 * dial * (least - 1)), out);
}

/* Which heads are query-aware, and their map. */
static void look(sf_attention *a, struct scores *s)
{
    int block = s->p->block;
    sf_tensor k = sf_block_means(a, true, block), q = sf_block_means(a, false, block);
    if (!sf_rows_alike(a, sf_last_block_probabilities(a, block, k, block), s->column_blocks, s->p->tau, &s->aware)) return;
    s->map = sf_block_probabilities(a, q, block, k, block);
    s->map.rank = 2, s->map.dim[1] *= s->map.dim[2];
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    struct scores s = {.p = p, .n = (a->keys + p->block - 1) / p->block, .least = (p->min_budget + p->block - 1) / p->block};
    if (a->keys <= 2 * p->block || (p->density <= 0 && a->keys <= p->min_budget)) {
        sf_dense(a, out); /* too short for blocks, as the authors' code decides */
    } else {
        sf_probe(a, p->block, SF_SUM, &s.column, &s.diagonal);
        s.column_blocks = sf_block_sums(a, s.column, p->block);
        s.diagonal_blocks = sf_block_sums(a, s.diagonal, p->block);
        look(a, &s);
        sf_force(a, s.column_blocks, 0, 1);
        sf_force(a, s.diagonal_blocks, 0, 1);
        if (p->density > 0)
            sf_choose_within(a, out, p->density, by_dial, &s);
        else
            choose(a, &s, p->gamma, s.least, out);
    }
    return a->status;
}

/* Probe and its sums over blocks; means; the pooled map (where tau allows query-aware heads) and its selection; how
 * many keys and which blocks, for columns and for diagonals. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double heads = e->heads, width = e->head_dim, n = (e->tokens + p->block - 1) / p->block;
    bool all = p->density >= 1;
    double rows = p->block < e->tokens ? p->block : e->tokens;
    double means = width * ((heads + e->kv_heads) * e->tokens + heads * rows), pooled = heads * n * (2 * width + 5);
    double map = p->tau > 0 ? heads * (n * (n + 1) / 2 * (2 * width + 5) + (all ? 0 : 2 * n * n)) : 0;
    double flops = sf_probe_flops(e, p->block) + 2 * heads * n * p->block + means + pooled + map + (all ? 0 : 2 * heads * (e->tokens + n));
    if (e->tokens <= 2 * p->block || (p->density <= 0 && e->tokens <= p->min_budget)) flops = 0;
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_flex_prefill_full = {
    .abi = SF_METHOD_ABI,
    .name = "flex_prefill_full",
    .form = SF_FORM_BLOCKS,
    .summary = "FlexPrefill with its query-aware arm, in blocks, as its authors have it",
    .paper = "Lai et al. 2025, FlexPrefill, arXiv 2502.20766",
    .version = 1, /* 0: cost of a selection at full budget, and of short prompts */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .prefill = prefill,
    .steers_backwards = true,
    .data_dependent = true, /* no map where no head is query-aware */
};
