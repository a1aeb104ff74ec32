/* The vocabulary of methods/method.h that makes lists of other lists, of counts, and of draws. Where a filling leaves an op to its
 * caller, what it needs is brought home, and what the host makes of it goes back. */
#include "methods/method.h"

#include <limits.h>
#include <stdlib.h>

#include "base/splitmix.h"
#include "kernels/host.h"

static void *room(sf_attention *a, size_t bytes)
{
    void *p = NULL;
    if (a->status == SF_OK) a->status = sf_scratch_alloc(a->backend, bytes, &p);
    return p;
}

static sf_lists empty_lists(sf_attention *a, int64_t rows, int64_t stride)
{
    sf_lists l = {.rows = rows, .stride = stride};
    l.count = room(a, (size_t)rows * sizeof *l.count);
    l.index = room(a, (size_t)(rows * stride) * sizeof *l.index);
    return l;
}

/* ---- host memory that stands for a device's ---- */

/* Room for `bytes`, filled from backend memory where there is any; freed by the caller. */
static void *at_home(sf_attention *a, const void *from, size_t bytes)
{
    if (a->status) return NULL;
    void *p = malloc(bytes + 1);
    if (!p) a->status = sf_fail(SF_NO_MEMORY, "a copy of %zu bytes", bytes);
    if (p && from) a->status = a->backend->ops->download(a->backend, p, from, bytes);
    return p;
}

static sf_lists lists_at_home(sf_attention *a, sf_lists l, bool filled)
{
    l.count = at_home(a, filled ? l.count : NULL, (size_t)l.rows * sizeof *l.count);
    l.index = at_home(a, filled ? l.index : NULL, (size_t)(l.rows * l.stride) * sizeof *l.index);
    return l;
}

static void send(sf_attention *a, void *to, const void *from, size_t bytes)
{
    if (a->status == SF_OK) a->status = a->backend->ops->upload(a->backend, to, from, bytes);
}

static void send_lists(sf_attention *a, sf_lists to, sf_lists from)
{
    send(a, to.count, from.count, (size_t)to.rows * sizeof *to.count);
    send(a, to.index, from.index, (size_t)(to.rows * to.stride) * sizeof *to.index);
}

static void free_lists(sf_lists l) { free(l.count), free(l.index); }

static void budgets_at_home(sf_attention *a, const int32_t *count, int64_t rows, const sf_budgets *how, const int32_t *mark, int32_t *budget,
                            int32_t *most)
{
    const size_t bytes = (size_t)rows * sizeof *count;
    int32_t *from = at_home(a, count, bytes), *to = at_home(a, NULL, bytes), *marked = mark ? at_home(a, mark, bytes) : NULL;
    if (!a->status) a->status = sf_host_budgets(a->backend, from, rows, how, marked, to, most);
    send(a, budget, to, bytes);
    free(from), free(to), free(marked);
}

static void alike_at_home(sf_attention *a, sf_tensor x, sf_tensor y, double below, int32_t *alike, int32_t *many)
{
    const size_t bytes = (size_t)sf_elements(&x) * sizeof(float), marks = (size_t)x.dim[0] * sizeof *alike;
    float *p = at_home(a, x.data, bytes), *q = at_home(a, y.data, bytes);
    int32_t *to = at_home(a, NULL, marks);
    if (!a->status) a->status = sf_host_rows_alike(a->backend, p, q, x.dim[0], x.dim[1], below, to, many);
    send(a, alike, to, marks);
    free(p), free(q), free(to);
}

static void union_at_home(sf_attention *a, int n, sf_lists columns, sf_lists diagonals, sf_lists pairs, sf_lists out)
{
    sf_lists column = lists_at_home(a, columns, true), diagonal = lists_at_home(a, diagonals, true), to = lists_at_home(a, out, false);
    sf_lists pair = pairs.count ? lists_at_home(a, pairs, true) : pairs;
    if (!a->status) a->status = sf_host_unite_blocks(a->backend, n, &column, &diagonal, pairs.count ? &pair : NULL, &to);
    send_lists(a, out, to);
    free_lists(column), free_lists(diagonal), free_lists(to);
    if (pairs.count) free_lists(pair);
}

static sf_lists tiles_at_home(sf_attention *a, sf_lists columns, sf_lists diagonals, int64_t rows)
{
    sf_lists column = lists_at_home(a, columns, true), diagonal = lists_at_home(a, diagonals, true);
    sf_lists to = {.rows = rows, .count = at_home(a, NULL, (size_t)rows * sizeof *to.count)};
    int32_t longest = 0;
    if (!a->status) a->status = sf_host_merge_tiles(a->backend, a, &column, &diagonal, &to, &longest);
    to.stride = longest > 1 ? longest : 1;
    to.index = at_home(a, NULL, (size_t)(rows * to.stride) * sizeof *to.index);
    if (!a->status) a->status = sf_host_merge_tiles(a->backend, a, &column, &diagonal, &to, &longest);
    sf_lists out = empty_lists(a, rows, to.stride);
    send_lists(a, out, to);
    free_lists(column), free_lists(diagonal), free_lists(to);
    return out;
}

static void drawn_at_home(sf_attention *a, const sf_drawn *how, int first, int64_t heads, sf_lists out)
{
    sf_lists to = lists_at_home(a, out, false);
    if (!a->status) a->status = sf_host_draw_blocks(a->backend, how, first, heads, &to);
    send_lists(a, out, to);
    free_lists(to);
}

/* ---- the vocabulary ---- */

sf_lists sf_top_budgets(sf_attention *a, sf_tensor x, const int32_t *count, const sf_budgets *how, const int32_t *mark)
{
    sf_backend *b = a->backend;
    const int64_t rows = x.dim[0];
    int32_t *budget = room(a, (size_t)rows * sizeof *budget), most = 0;
    if (!a->status && b->ops->budgets) a->status = b->ops->budgets(b, count, rows, how, mark, budget, &most);
    else budgets_at_home(a, count, rows, how, mark, budget, &most);
    sf_lists out = empty_lists(a, rows, most);
    if (!a->status) a->status = b->ops->top_counts(b, x.data, rows, x.dim[1], budget, most, &out);
    return out;
}

int sf_rows_alike(sf_attention *a, sf_tensor x, sf_tensor y, double below, int32_t **alike)
{
    sf_backend *b = a->backend;
    int32_t many = 0;
    *alike = room(a, (size_t)x.dim[0] * sizeof **alike);
    if (!a->status && b->ops->rows_alike) a->status = b->ops->rows_alike(b, x.data, y.data, x.dim[0], x.dim[1], below, *alike, &many);
    else alike_at_home(a, x, y, below, *alike, &many);
    return many;
}

sf_lists sf_block_union(sf_attention *a, int n, sf_lists columns, sf_lists diagonals, sf_lists pairs)
{
    sf_backend *b = a->backend;
    sf_lists out = empty_lists(a, columns.rows * n, n);
    if (!a->status && b->ops->unite_blocks)
        a->status = b->ops->unite_blocks(b, n, &columns, &diagonals, pairs.count ? &pairs : NULL, &out);
    else
        union_at_home(a, n, columns, diagonals, pairs, out);
    return out;
}

sf_status sf_columns_and_diagonals_merged(sf_attention *a, sf_pattern *out, sf_lists columns, sf_lists diagonals)
{
    sf_backend *b = a->backend;
    sf_lists keys = {.rows = columns.rows * ((a->queries + SF_DIAGONAL_TILE - 1) / SF_DIAGONAL_TILE)};
    int32_t longest = 0;
    if (!a->status && b->ops->merge_tiles) {
        keys.count = room(a, (size_t)keys.rows * sizeof *keys.count);
        if (!a->status) a->status = b->ops->merge_tiles(b, a, &columns, &diagonals, &keys, &longest);
        keys.stride = longest > 1 ? longest : 1;
        keys.index = room(a, (size_t)(keys.rows * keys.stride) * sizeof *keys.index);
        if (!a->status) a->status = b->ops->merge_tiles(b, a, &columns, &diagonals, &keys, &longest);
    } else if (!a->status) {
        keys = tiles_at_home(a, columns, diagonals, keys.rows);
    }
    return sf_blocks(a, out, (int)columns.rows, SF_DIAGONAL_TILE, 1, keys);
}

sf_lists sf_drawn_blocks(sf_attention *a, const sf_drawn *how, int seed, int first, int heads, int64_t longest)
{
    sf_backend *b = a->backend;
    sf_drawn from = *how;
    from.stream = sf_splitmix((uint64_t)seed, (uint64_t)a->layer);
    if (!from.until) from.until = INT_MAX;
    if (!from.whole) from.whole = INT_MAX;
    sf_lists out = empty_lists(a, (int64_t)heads * how->each, longest);
    if (!a->status && b->ops->draw_blocks) a->status = b->ops->draw_blocks(b, &from, first, heads, &out);
    else drawn_at_home(a, &from, first, heads, out);
    return out;
}
