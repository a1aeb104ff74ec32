/* Reference: attention over a pattern that is expanded, for one head and one query row, into a mask over all keys. */
#include "kernels/reference/reference.h"

#include <math.h>
#include <string.h>

#include "kernels/host.h"

static const float *row_of(const sf_attention *a, int g, int j, bool value)
{
    const sf_kv_part *part = j < a->kv.prompt.n ? &a->kv.prompt : &a->kv.tail;
    if (part == &a->kv.tail) j -= a->kv.prompt.n;
    if (j >= (part->count ? part->count[g] : part->n)) return NULL;
    return (const float *)(value ? part->v : part->k) + sf_kv_row(part, g, j) * a->head_dim;
}

const float *sf_reference_key(const sf_attention *a, int g, int j) { return row_of(a, g, j, false); }
const float *sf_reference_value(const sf_attention *a, int g, int j) { return row_of(a, g, j, true); }

/* Sets mask[begin .. end), clipped to the keys there are. */
static void mark(uint8_t *mask, int64_t keys, int64_t begin, int64_t end)
{
    if (begin < 0) begin = 0;
    if (end > keys) end = keys;
    for (int64_t j = begin; j < end; j++) mask[j] = 1;
}

void sf_reference_named(const sf_attention *a, const sf_pattern *p, int h, int i, uint8_t *mask)
{
    int g = h / (a->heads / a->kv_heads), n = a->keys, position = a->keys - a->queries + i;
    memset(mask, 0, (size_t)n);

    static const sf_pattern dense = {.kind = SF_DENSE};
    if (!p) p = &dense;
    int64_t row = p->heads == a->heads ? h : g; /* of the selection */
    const int32_t *first = NULL;
    int32_t count = 0;
    if (p->kind == SF_BLOCKS) row = row * ((a->queries + p->block_q - 1) / p->block_q) + i / p->block_q;
    if (p->kind != SF_DENSE && p->kind != SF_WINDOW) {
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
    case SF_PATTERN_KINDS: break;
    }
    for (int j = 0; j < n; j++) mask[j] &= j <= position && (a->window == 0 || j > position - a->window);
}

int64_t sf_reference_mask(const sf_attention *a, const sf_pattern *p, int h, int i, uint8_t *mask)
{
    int64_t ones = 0;
    sf_reference_named(a, p, h, i, mask);
    for (int j = 0; j < a->keys; j++) {
        mask[j] = mask[j] && sf_reference_key(a, h / (a->heads / a->kv_heads), j);
        ones += mask[j];
    }
    return ones;
}

void sf_reference_softmax(const sf_attention *a, int h, int i, const uint8_t *mask, double *p)
{
    int g = h / (a->heads / a->kv_heads);
    const float *q = (const float *)a->q + ((int64_t)i * a->heads + h) * a->head_dim;
    double largest = -INFINITY, total = 0;
    for (int j = 0; j < a->keys; j++) {
        p[j] = 0;
        if (!mask[j]) continue;
        const float *k = sf_reference_key(a, g, j);
        double sum = 0;
        for (int d = 0; d < a->head_dim; d++) sum += (double)q[d] * k[d];
        p[j] = sum * a->scale;
        if (p[j] > largest) largest = p[j];
    }
    for (int j = 0; j < a->keys; j++)
        if (mask[j]) total += p[j] = exp(p[j] - largest);
    for (int j = 0; j < a->keys; j++) p[j] /= mask[j] ? total : 1;
}

/* One sequence, all heads and rows; out [T, H, D]. Shared by both executors. */
static sf_status attend(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const char *op, float *out)
{
    double *p; /* [keys], then the sums of one row: [D], then the mask: [keys] */
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * (sizeof *p + 1) + (size_t)a->head_dim * sizeof *p, (void **)&p));
    double *sum = p + a->keys;
    uint8_t *mask = (uint8_t *)(sum + a->head_dim);
    for (int h = 0; h < a->heads; h++) {
        int g = h / (a->heads / a->kv_heads);
        for (int i = 0; i < a->queries; i++) {
            int64_t pairs = sf_reference_mask(a, pattern, h, i, mask);
            if (pairs == 0) {
                sf_host_free(b, p);
                return sf_host_no_key(a, op, h, i);
            }
            if (a->pairs) a->pairs[h] += (uint64_t)pairs;
            sf_reference_softmax(a, h, i, mask, p);
            memset(sum, 0, (size_t)a->head_dim * sizeof *sum);
            for (int j = 0; j < a->keys; j++) {
                if (!mask[j]) continue;
                const float *v = sf_reference_value(a, g, j);
                for (int d = 0; d < a->head_dim; d++) sum[d] += p[j] * v[d];
            }
            float *row = out + ((int64_t)i * a->heads + h) * a->head_dim;
            for (int d = 0; d < a->head_dim; d++) row[d] = (float)sum[d];
        }
    }
    sf_host_free(b, p);
    return SF_OK;
}

sf_status sf_reference_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    return attend(b, a, pattern, "prefill", out);
}

sf_status sf_reference_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern,
                              void *out)
{
    for (int l = 0; l < lanes; l++)
        SF_TRY(attend(b, a[l], pattern[l], "decode", (float *)out + (int64_t)l * a[l]->heads * a[l]->head_dim));
    return SF_OK;
}

sf_status sf_reference_count_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, uint64_t *total)
{
    uint8_t *mask;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys, (void **)&mask));
    *total = 0;
    for (int h = 0; h < a->heads; h++)
        for (int i = 0; i < a->queries; i++) *total += (uint64_t)sf_reference_mask(a, pattern, h, i, mask);
    sf_host_free(b, mask);
    return SF_OK;
}

sf_status sf_reference_mass(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows,
                            const int32_t *row, float *covered)
{
    double *p;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * (sizeof *p + 1), (void **)&p));
    uint8_t *mask = (uint8_t *)(p + a->keys);
    for (int h = 0; h < a->heads; h++) {
        double mass = 0;
        for (int r = 0; r < rows; r++) {
            sf_reference_mask(a, NULL, h, row[r], mask);
            sf_reference_softmax(a, h, row[r], mask, p);
            sf_reference_mask(a, pattern, h, row[r], mask);
            for (int j = 0; j < a->keys; j++)
                if (mask[j]) mass += p[j];
        }
        covered[h] = (float)(mass / rows);
    }
    sf_host_free(b, p);
    return SF_OK;
}
