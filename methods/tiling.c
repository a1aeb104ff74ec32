/* Columns and diagonals as the authors' kernel of MInference computes them (csrc/vertical_slash_index.cu of
 * microsoft/MInference; the study runs the same): for each tile of 64 queries the tiles of its diagonals, from the
 * oldest on, melt into ranges. A range begins at a tile's first key and grows by whole tiles: by one where the next
 * diagonal's tile ends beyond it and begins at or before its end, however little is missing. A tile that would begin
 * before the first key begins at it. Columns inside a range are computed with it.
 *
 * So a diagonal's keys move with the ones before it, and differ from tile to tile: what is handed to the executors is
 * the list of keys of every tile, as blocks of 64 queries and one key. Exact, and slower than the own tiles. */
#include "methods/method.h"

#include <stdlib.h>

enum { TILE = SF_DIAGONAL_TILE };

/* The ascending lists of one head, and the tile that ends before row `end`. */
struct slashes {
    const int32_t *column, *diagonal;
    int columns, diagonals;
};

static int smaller(int x, int y) { return x < y ? x : y; }
static int larger(int x, int y) { return x > y ? x : y; }

/* Writes the keys of the tile of queries [end - 64, end) and returns how many they are. index NULL: counts them. */
static int32_t keys_of(const struct slashes *s, int end, int keys, int32_t *index)
{
    int32_t n = 0;
    int c = 0, d = s->diagonals - 1;
    while (d >= 0 && s->diagonal[d] >= end) d--;
    while (d >= 0) {
        int to = larger(end - s->diagonal[d], TILE), from = to - TILE;
        for (int next; --d >= 0 && (next = larger(end - s->diagonal[d], TILE)) <= to + TILE;)
            if (next > to) to += TILE;
        for (; c < s->columns && s->column[c] < from; c++, n++)
            if (index) index[n] = s->column[c];
        while (c < s->columns && s->column[c] < to) c++;
        for (int key = from; key < smaller(to, smaller(end, keys)); key++, n++)
            if (index) index[n] = key;
    }
    return n;
}

/* The lists of all heads' tiles: rows = heads × tiles. */
static sf_lists lists_of(sf_attention *a, sf_lists columns, sf_lists diagonals)
{
    size_t heads = (size_t)columns.rows, tiles = ((size_t)a->queries + TILE - 1) / TILE, rows = heads * tiles;
    int32_t *columns_of = malloc((heads + 1) * sizeof *columns_of),
            *diagonals_of = malloc((heads + 1) * sizeof *columns_of);
    int32_t *column = malloc((heads * (size_t)columns.stride + 1) * sizeof *column);
    int32_t *diagonal = malloc((heads * (size_t)diagonals.stride + 1) * sizeof *diagonal);
    int32_t *count = malloc((rows + 1) * sizeof *count), *index = NULL;
    sf_lists out = {0};
    if (!columns_of || !diagonals_of || !column || !diagonal || !count)
        a->status = sf_fail(SF_NO_MEMORY, "tiling: lists of %zu tiles", rows);
    sf_read_lists(a, columns, columns_of, column);
    sf_read_lists(a, diagonals, diagonals_of, diagonal);
    int32_t most = 1;
    for (int fill = 0; fill < 2 && !a->status; fill++) {
        if (fill && !(index = malloc(rows * (size_t)most * sizeof *index)))
            a->status = sf_fail(SF_NO_MEMORY, "tiling: %zu lists of %d keys", rows, (int)most);
        for (size_t row = 0; row < rows && !a->status; row++) {
            size_t h = row / tiles;
            struct slashes s = {column + h * (size_t)columns.stride, diagonal + h * (size_t)diagonals.stride,
                                columns_of[h], diagonals_of[h]};
            int end = a->keys - a->queries + (int)(row % tiles + 1) * TILE;
            count[row] = keys_of(&s, end, a->keys, fill ? index + row * (size_t)most : NULL);
            if (count[row] > most) most = count[row];
        }
    }
    if (!a->status) out = sf_host_lists(a, (int64_t)rows, most, count, index);
    free(columns_of), free(diagonals_of), free(column), free(diagonal), free(count), free(index);
    return out;
}

sf_status sf_columns_and_diagonals_merged(sf_attention *a, sf_pattern *out, sf_lists columns, sf_lists diagonals)
{
    sf_lists keys = a->status ? (sf_lists){0} : lists_of(a, columns, diagonals);
    return sf_blocks(a, out, (int)columns.rows, TILE, 1, keys);
}
