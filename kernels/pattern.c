/* A pattern expanded into a mask over all keys, for one query head and one query row: what its definition says, by eye. */
#include "kernels/attention.h"

#include <string.h>

/* Sets mask[begin .. end), clipped to the first `keys`. */
static void mark(uint8_t *mask, int64_t keys, int64_t begin, int64_t end)
{
    if (begin < 0) begin = 0;
    if (end > keys) end = keys;
    if (begin < end) memset(mask + begin, 1, (size_t)(end - begin));
}

int64_t sf_pattern_list(const sf_attention *a, const sf_pattern *p, int h, int i)
{
    int64_t row = sf_selection_of(p, a->heads, a->kv_heads, h);
    if (p->kind != SF_BLOCKS) return row;
    return row * ((a->queries + p->block_q - 1) / p->block_q) + i / p->block_q;
}

static bool listed(const sf_lists *l, int64_t row, int32_t what)
{
    for (int32_t e = 0; l->rows && e < l->count[row]; e++)
        if (l->index[row * l->stride + e] == what) return true;
    return false;
}

void sf_pattern_named(const sf_attention *a, const sf_pattern *p, int h, int i, uint8_t *mask)
{
    int position = a->keys - a->queries + i, n = position + 1; /* keys that it may see */
    memset(mask, 0, (size_t)a->keys);

    static const sf_pattern dense = {.kind = SF_DENSE};
    if (!p) p = &dense;
    int64_t row = sf_pattern_list(a, p, h, i);
    const int32_t *first = NULL;
    int32_t count = 0;
    if (p->first.rows) {
        first = p->first.index + row * p->first.stride;
        count = p->first.count[row];
    }

    switch (p->kind) {
    case SF_DENSE: mark(mask, n, 0, n); break;
    case SF_BLOCKS:
        for (int32_t e = 0; e < count; e++)
            mark(mask, n, (int64_t)first[e] * p->block_k, ((int64_t)first[e] + 1) * p->block_k);
        break;
    case SF_COLUMNS_DIAGONALS: {
        for (int32_t e = 0; e < count; e++) mark(mask, n, first[e], first[e] + 1);
        const int32_t *offset = p->second.index + row * p->second.stride;
        int64_t tile = position - i % SF_DIAGONAL_TILE; /* position of the first row of this row's tile */
        for (int32_t e = 0; e < p->second.count[row]; e++)
            mark(mask, n, tile - offset[e], tile - offset[e] + SF_DIAGONAL_TILE);
        break;
    }
    case SF_WINDOW:
        if (i >= a->queries - p->last) mark(mask, n, 0, n);
        mark(mask, n, 0, p->sinks);
        mark(mask, n, (int64_t)position - p->local + 1, position + 1);
        break;
    case SF_PAGES:
        for (int32_t e = 0; e < count; e++)
            mark(mask, n, (int64_t)first[e] * p->page, ((int64_t)first[e] + 1) * p->page);
        break;
    case SF_TOKENS:
        for (int32_t e = 0; e < count; e++) mark(mask, n, first[e], first[e] + 1);
        break;
    case SF_BANDS:
        for (int b = 0; b < SF_BANDS_A_HEAD; b++)
            for (int j = 0; j < n; j++) mask[j] |= sf_band_sees(&p->band[row * SF_BANDS_A_HEAD + b], position, j);
        for (int32_t e = 0; e < count; e++) mark(mask, n, first[e], first[e] + 1);
        if (listed(&p->second, row, i)) mark(mask, n, 0, n);
        break;
    case SF_PARTS: {
        uint8_t one[a->keys];
        for (int k = 0; k < p->parts; k++) {
            sf_pattern_named(a, &p->part[k], h, p->part[k].repeat ? i - i % p->part[k].repeat : i, one);
            for (int j = 0; j < n; j++) mask[j] |= one[j];
        }
        break;
    }
    case SF_CONSTANT:
    case SF_PATTERN_KINDS: break;
    }
    if (a->window > 0 && n > a->window) memset(mask, 0, (size_t)(n - a->window));
}
