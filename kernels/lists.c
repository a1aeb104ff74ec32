/* What is made of lists and counts of what has been chosen, in host memory: rows by themselves, as many at once as there are threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"
#include "kernels/host.h"

sf_status sf_host_budgets(sf_backend *b, const int32_t *count, int64_t rows, const sf_budgets *how, const int32_t *mark, int32_t *budget,
                          int32_t *largest)
{
    (void)b;
    *largest = 0;
    for (int64_t r = 0; r < rows; r++) {
        int32_t k = count[r] / how->each + how->more;
        k = k < how->least ? how->least : k;
        k = k > how->most ? how->most : k;
        budget[r] = mark && mark[r] == how->marked ? how->fixed : k;
        *largest = budget[r] > *largest ? budget[r] : *largest;
    }
    return SF_OK;
}

static double distance(const float *x, const float *y, int64_t n)
{
    double sum = 0, js = 0;
    for (int64_t i = 0; i < n; i++) sum += y[i];
    for (int64_t i = 0; i < n; i++) {
        double u = x[i], v = y[i] / sum, m = (u + v) / 2;
        js += 0.5 * ((u > 0 ? u * log(u / m) : 0) + (v > 0 ? v * log(v / m) : 0));
    }
    return sqrt(js > 0 ? js : 0);
}

sf_status sf_host_rows_alike(sf_backend *b, const float *x, const float *y, int64_t rows, int64_t n, double below, int32_t *alike,
                             int32_t *many)
{
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) alike[r] = distance(x + r * n, y + r * n, n) < below;
    *many = 0;
    for (int64_t r = 0; r < rows; r++) *many += alike[r];
    return SF_OK;
}

/* [rows, n] marks of what lists name; NULL: no memory, and *failed. */
static char *marks(const sf_lists *l, int64_t n, bool *failed)
{
    char *mark = l ? calloc((size_t)l->rows, (size_t)n) : NULL;
    *failed |= l && !mark;
    for (int64_t r = 0; mark && r < l->rows; r++)
        for (int32_t i = 0; i < l->count[r]; i++) mark[r * n + l->index[r * l->stride + i]] = 1;
    return mark;
}

sf_status sf_host_unite_blocks(sf_backend *b, int64_t n, const sf_lists *columns, const sf_lists *diagonals, const sf_lists *pairs,
                               sf_lists *out)
{
    bool failed = false;
    char *column = marks(columns, n, &failed), *diagonal = marks(diagonals, n, &failed), *pair = marks(pairs, n * n, &failed);
    out->rows = columns->rows * n;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t row = 0; row < (failed ? 0 : out->rows); row++) {
        int64_t h = row / n, i = row % n;
        out->count[row] = 0;
        for (int64_t j = 0; j <= i; j++)
            if (column[h * n + j] || diagonal[h * n + i - j] || (pair && pair[row * n + j]))
                out->index[row * out->stride + out->count[row]++] = (int32_t)j;
    }
    free(column), free(diagonal), free(pair);
    return failed ? sf_fail(SF_NO_MEMORY, "union of %lld lists of %lld blocks", (long long)out->rows, (long long)n) : SF_OK;
}

/* ---- tiles along diagonals, melted ------------------------------------------------------------------------------- */

enum { TILE = SF_DIAGONAL_TILE };

static int smaller(int x, int y) { return x < y ? x : y; }
static int larger(int x, int y) { return x > y ? x : y; }

/* Writes the keys of the tile of queries [end - 64, end) and returns how many they are. index NULL: counts them. */
static int32_t merged_keys(const int32_t *column, int columns, const int32_t *diagonal, int diagonals, int end, int keys, int32_t *index)
{
    int32_t n = 0;
    int c = 0, d = diagonals - 1;
    while (d >= 0 && diagonal[d] >= end) d--;
    while (d >= 0) {
        int to = larger(end - diagonal[d], TILE), from = to - TILE;
        for (int next; --d >= 0 && (next = larger(end - diagonal[d], TILE)) <= to + TILE;)
            if (next > to) to += TILE;
        for (; c < columns && column[c] < from; c++, n++)
            if (index) index[n] = column[c];
        while (c < columns && column[c] < to) c++;
        for (int key = from; key < smaller(to, smaller(end, keys)); key++, n++)
            if (index) index[n] = key;
    }
    return n;
}

sf_status sf_host_merge_tiles(sf_backend *b, const sf_attention *a, const sf_lists *column, const sf_lists *diagonal, sf_lists *out,
                              int32_t *longest)
{
    const int64_t tiles = (a->queries + TILE - 1) / TILE;
    out->rows = column->rows * tiles;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic, 16)
    for (int64_t row = 0; row < out->rows; row++) {
        int64_t h = row / tiles;
        int end = a->keys - a->queries + (int)(row % tiles + 1) * TILE;
        out->count[row] = merged_keys(column->index + h * column->stride, column->count[h], diagonal->index + h * diagonal->stride,
                                      diagonal->count[h], end, a->keys, out->index ? out->index + row * out->stride : NULL);
    }
    *longest = 0;
    for (int64_t row = 0; row < out->rows; row++) *longest = larger(*longest, out->count[row]);
    return SF_OK;
}

/* ---- draws ------------------------------------------------------------------------------------------------------- */

/* The ascending list of a row that sees so many blocks; returns its length. `chosen` is room for as many marks. */
static int32_t drawn_list(const sf_drawn *how, int seen, uint64_t stream, char *chosen, int32_t *index)
{
    int first = smaller(how->sinks, seen), last = larger(seen - how->local, first), end = smaller(last, how->until);
    int wanted = smaller(how->drawn, end - first);
    memset(chosen, seen >= how->whole, (size_t)seen);
    memset(chosen, 1, (size_t)first);
    memset(chosen + last, 1, (size_t)(seen - last));
    for (int j = end - wanted; j < end; j++) {
        int t = first + (int)(sf_splitmix(stream, (uint64_t)j) % (uint64_t)(j - first + 1));
        chosen[chosen[t] ? j : t] = 1;
    }
    int32_t n = 0;
    for (int j = 0; j < seen; j++)
        if (chosen[j]) index[n++] = j;
    return n;
}

sf_status sf_host_draw_blocks(sf_backend *b, const sf_drawn *how, int first, int64_t heads, sf_lists *out)
{
    bool failed = false;
    out->rows = heads * how->each;
#pragma omp parallel num_threads(b->threads)
    {
        char *chosen = malloc((size_t)(how->seen + how->each));
        if (!chosen) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 64)
        for (int64_t row = 0; row < out->rows; row++) {
            int i = (int)(row % how->each);
            uint64_t of_head = sf_splitmix(how->stream, (uint64_t)(first + row / how->each)), stream = sf_splitmix(of_head, how->salt + (uint64_t)i);
            if (chosen) out->count[row] = drawn_list(how, how->seen + i, stream, chosen, out->index + row * out->stride);
        }
        free(chosen);
    }
    return failed ? sf_fail(SF_NO_MEMORY, "draws of %lld lists of blocks", (long long)out->rows) : SF_OK;
}
