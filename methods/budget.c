/* Budgets: from a target sparsity to the amounts that methods are parametrised by, under one definition of density. */
#include "methods/method.h"

#include <math.h>

#include "kernels/comm.h"

double sf_causal_pairs(int64_t queries, int64_t keys)
{
    return (double)queries * (double)(keys - queries) + 0.5 * (double)queries * (double)(queries + 1);
}

double sf_density(sf_attention *a, const sf_pattern *pattern)
{
    uint64_t pairs = 0;
    int heads = a->heads;
    if (a->status == SF_OK) a->status = a->backend->ops->count_pairs(a->backend, a, pattern, &pairs);
    if (a->comm) { /* of all heads of the layer, some of which several ranks may have counted */
        a->status = sf_comm_agree(a->comm, a->status);
        if (a->status == SF_OK) sf_comm_sum(a->comm, &pairs, 1);
        pairs /= (uint64_t)a->repeat;
        heads = a->all_heads;
    }
    return (double)pairs / (heads * sf_causal_pairs(a->queries, a->keys));
}

/* Pairs of one head when query block i reads k of its i + 1 causal key blocks, the diagonal one among them. */
static double block_pairs(int64_t tokens, int64_t block, int64_t k)
{
    double pairs = 0;
    for (int64_t i = 0; i * block < tokens; i++) {
        double rows = (double)(i * block + block < tokens ? block : tokens - i * block);
        double whole = (double)((k < i + 1 ? k : i + 1) - 1);
        pairs += whole * rows * (double)block + rows * (rows + 1) / 2;
    }
    return pairs;
}

int sf_fit_blocks(const sf_extent *e, int block, double sparsity)
{
    double target = (1 - sparsity) * sf_causal_pairs(e->tokens, e->tokens);
    int64_t below = 1, above = (e->tokens + block - 1) / block + 1; /* k = below is kept, k = above is too much */
    while (above - below > 1) {
        int64_t k = below + (above - below) / 2;
        if (block_pairs(e->tokens, block, k) <= target)
            below = k;
        else
            above = k;
    }
    double short_of = target - block_pairs(e->tokens, block, below);
    double over = block_pairs(e->tokens, block, below + 1) - target;
    return (int)(over > 0 && over < short_of ? below + 1 : below);
}

int sf_fit_keys(const sf_extent *e, double sparsity)
{
    if (sparsity <= 0) return e->tokens + e->output;
    long keys = lround((1 - sparsity) * e->tokens);
    return keys < 1 ? 1 : (int)keys;
}

sf_status sf_keys_fit(const sf_extent *extent, double sparsity, void *params)
{
    *(int *)params = sf_fit_keys(extent, sparsity);
    return SF_OK;
}

sf_status sf_density_fit(const sf_extent *extent, double sparsity, void *params)
{
    (void)extent;
    *(double *)params = sparsity < 1 ? 1 - sparsity : 1e-6;
    return SF_OK;
}

int sf_fit_amount(const sf_extent *e, double sparsity, int low, int high, sf_pairs_of pairs, const void *params)
{
    if (sparsity <= 0) return high;
    double whole = e->phase == SF_PREFILL ? sf_causal_pairs(e->tokens, e->tokens) : e->tokens, target = (1 - sparsity) * whole;
    int below = low, above = high + 1; /* below is kept, above is too much */
    while (above - below > 1) {
        int middle = below + (above - below) / 2;
        if (pairs(e, params, middle) <= target)
            below = middle;
        else
            above = middle;
    }
    if (below == high) return high;
    double short_of = target - pairs(e, params, below), over = pairs(e, params, below + 1) - target;
    return over > 0 && over < short_of ? below + 1 : below;
}

double sf_sum_rows(const sf_extent *e, const void *params, int amount, sf_keys_of keys)
{
    if (e->phase == SF_DECODE) return keys(params, amount, e->tokens);
    double sum = 0;
    for (int i = 0; i < e->tokens; i++) sum += keys(params, amount, i);
    return sum;
}

double sf_probe_flops(const sf_extent *e, int window)
{
    double probe = window < e->tokens ? window : e->tokens;
    return probe * e->heads * e->tokens * (2.0 * e->head_dim + 5);
}

/* Dials whose products with `grain` have the same whole part choose the same, which saves trying; 0: nothing is known. */
static sf_status choose_within(sf_attention *a, sf_pattern *out, double density, sf_dial choose, const void *what,
                               double grain)
{
    enum { STEPS = 20 }; /* finer than one key in a million */
    sf_backend *b = a->backend;
    sf_meter before = *b->meter; /* the search is the harness's, not the method's: its cost is not counted */
    double below = 0, above = 2; /* the first dial tried is 1, everything */
    if (a->comm) a->status = sf_comm_agree(a->comm, a->status); /* ranks search together, or not at all */
    for (int i = 0; i <= STEPS && below < 1 && a->status == SF_OK; i++) {
        double dial = (below + above) / 2;
        if (grain > 0 && below > 0 && floor(dial * grain) == floor(below * grain)) {
            below = dial;
            continue;
        }
        if (grain > 0 && above < 2 && floor(dial * grain) == floor(above * grain)) {
            above = dial;
            continue;
        }
        sf_mark mark = sf_scratch_mark(b);
        choose(a, what, dial, out);
        if (sf_density(a, out) <= density)
            below = dial;
        else
            above = dial;
        sf_scratch_release(b, mark);
    }
    *b->meter = before;
    return a->status ? a->status : choose(a, what, below, out);
}

sf_status sf_choose_within(sf_attention *a, sf_pattern *out, double density, sf_dial choose, const void *what)
{
    return choose_within(a, out, density, choose, what, 0);
}

struct scores {
    sf_tensor column, diagonal;
    int64_t k;          /* of both; 0: not known yet */
    sf_lists diagonals; /* k of them, once it is known */
};

static sf_status columns_and_diagonals(sf_attention *a, const void *what, double dial, sf_pattern *out)
{
    const struct scores *s = what;
    int64_t more = (int64_t)(dial * (double)(a->keys - (s->k ? s->k : 1)));
    if (s->k) return sf_columns_and_diagonals(a, out, sf_top(a, s->column, s->k + more), s->diagonals);
    return sf_columns_and_diagonals(a, out, sf_top(a, s->column, 1 + more), sf_top(a, s->diagonal, 1 + more));
}

uint64_t sf_most_pairs(const sf_attention *a, double density)
{
    double whole = (a->comm ? a->all_heads : a->heads) * sf_causal_pairs(a->queries, a->keys);
    uint64_t most = (uint64_t)(density * whole);
    while (most > 0 && (double)most / whole > density) most--;
    while ((double)(most + 1) / whole <= density) most++;
    return most;
}

sf_status sf_columns_and_diagonals_within(sf_attention *a, sf_pattern *out, sf_tensor column, sf_tensor diagonal,
                                          double density)
{
    sf_backend *b = a->backend;
    if (b->ops->fit_slashes && sf_sees_all(a) && !a->comm) {
        int64_t columns = 0, diagonals = 0;
        if (a->status == SF_OK)
            a->status = b->ops->fit_slashes(b, a, (int)column.dim[0], column.data, diagonal.data, sf_most_pairs(a, density),
                                            &columns, &diagonals);
        return sf_columns_and_diagonals(a, out, sf_top(a, column, columns), sf_top(a, diagonal, diagonals));
    }
    struct scores s = {.column = column, .diagonal = diagonal};
    sf_meter before = *a->backend->meter;
    SF_TRY(choose_within(a, out, density, columns_and_diagonals, &s, a->keys - 1));
    *a->backend->meter = before;
    s.k = out->second.stride;
    s.diagonals = sf_top(a, diagonal, s.k);
    return choose_within(a, out, density, columns_and_diagonals, &s, (double)(a->keys - s.k));
}

bool sf_fit_masses(sf_attention *a, sf_tensor column, sf_tensor diagonal, sf_tensor column_forced,
                   sf_tensor diagonal_forced, double density, double *mass, int64_t *least)
{
    sf_backend *b = a->backend;
    if (!b->ops->fit_masses || density >= 1 || a->comm || !sf_sees_all(a)) return false;
    *mass = 0;
    if (a->status == SF_OK)
        a->status = b->ops->fit_masses(b, a, (int)column.dim[0], column.data, diagonal.data, column_forced.data,
                                       diagonal_forced.data, sf_most_pairs(a, density), mass, least);
    return true;
}
