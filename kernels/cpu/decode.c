/* CPU: attention of one query row for each of several sequences, and exact probabilities of single rows.
 *
 * A decode is limited by reading the cache, so keys are used as they lie, row by row, each once for the whole group of
 * query heads. A sequence's keys are cut every SPLIT keys of those that its pattern names; the parts are shared out
 * over threads, all lanes' parts of the same stretch one after the other, so that lanes which share a prompt find its
 * keys in cache; then the parts of a row are merged in order. The cut depends on the row alone.
 *
 * Test: build/tests/test_backend_attention. Measured as in tile_attention.h: 32k keys, 32 query and 8 kv heads of 128,
 * one thread: 10 to 11 GB/s where plain reading had 13 to 14; 2k keys out of cache 17 to 22 GB/s. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { SPLIT = 512 };

static const float LOG2E = 1.4426950408889634f;

/* The keys and values that kv head g of one lane reads, in order. */
typedef struct reads {
    const float **k, **v;
    int64_t n;
} reads;

/* Adds the addresses of the panels' keys. */
static void list_reads(const sf_attention *a, int g, const sf_panel *panel, int panels, reads *to)
{
    const sf_kv_part *prompt = &a->kv.prompt, *tail = &a->kv.tail;
    int64_t dim = a->head_dim, before = prompt->n, n = 0;
    for (int c = 0; c < panels; c++) {
        int64_t first = panel[c].first, seen = a->keys - panel[c].reach; /* the first key that the row sees */
        for (unsigned lanes = panel[c].lanes; lanes; lanes &= lanes - 1) {
            int64_t j = first + __builtin_ctz(lanes);
            if (j < seen) continue;
            const sf_kv_part *part = j < before ? prompt : tail;
            int64_t at = sf_kv_row(part, g, j < before ? j : j - before) * dim;
            to->k[n] = (const float *)part->k + at;
            to->v[n++] = (const float *)part->v + at;
        }
    }
    to->n = n;
}

typedef struct part {
    float *most, *sum, *out;
} part; /* [group], [group], [group, padded] */

static part part_at(float *base, int64_t index, int group, int padded)
{
    float *p = base + index * group * (padded + 2);
    return (part){p, p + group, p + 2 * group};
}

static void run_part(sf_backend *b, const sf_attention *a, int g, const reads *r, int64_t begin, float *q, part to)
{
    int group = a->heads / a->kv_heads, padded = sf_cpu_padded(a->head_dim);
    sf_decode_tile t = {
        .group = group, .dim = a->head_dim, .padded = padded, .q = q, .most = to.most, .sum = to.sum, .out = to.out};
    memset(q, 0, (size_t)(group * padded) * sizeof *q);
    memset(to.out, 0, (size_t)(group * padded) * sizeof *q);
    for (int h = 0; h < group; h++) {
        const float *from = (const float *)a->q + ((int64_t)g * group + h) * a->head_dim;
        for (int d = 0; d < a->head_dim; d++) q[h * padded + d] = from[d] * (a->scale * LOG2E);
        t.most[h] = -INFINITY;
        t.sum[h] = 0;
    }
    int64_t end = begin + SPLIT < r->n ? begin + SPLIT : r->n;
    for (int64_t j = begin; j < end; j += SF_STEP) {
        int n = (int)(end - j < SF_STEP ? end - j : SF_STEP), left = (int)(end - j - n);
        sf_cpu_tiles(b)->decode(&t, r->k + j, r->v + j, n, left < SF_STEP ? left : SF_STEP);
    }
}

static void merge(const sf_attention *a, int g, const float *parts, int64_t first, int64_t n, float *out)
{
    int group = a->heads / a->kv_heads, padded = sf_cpu_padded(a->head_dim);
    for (int h = 0; h < group; h++) {
        float *to = out + ((int64_t)g * group + h) * a->head_dim, most = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++) {
            part p = part_at((float *)parts, first + i, group, padded);
            most = p.most[h] > most ? p.most[h] : most;
        }
        memset(to, 0, (size_t)a->head_dim * sizeof *to);
        for (int64_t i = 0; i < n; i++) {
            part p = part_at((float *)parts, first + i, group, padded);
            float factor = exp2f(p.most[h] - most);
            sum += p.sum[h] * factor;
            for (int d = 0; d < a->head_dim; d++) to[d] += p.out[h * padded + d] * factor;
        }
        for (int d = 0; d < a->head_dim; d++) to[d] /= sum;
    }
}

/* The lanes of one call have the same heads; each its own cache, keys and pattern. */
sf_status sf_cpu_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern,
                        void *out)
{
    if (lanes == 0) return SF_OK;
    int kv_heads = a[0]->kv_heads, group = a[0]->heads / kv_heads, padded = sf_cpu_padded(a[0]->head_dim),
        rows = lanes * kv_heads;
    int64_t most_panels = 0, most_keys = 0;
    for (int l = 0; l < lanes; l++) {
        if (sf_cpu_most_panels(a[l]) > most_panels) most_panels = sf_cpu_most_panels(a[l]);
        if (a[l]->keys > most_keys) most_keys = a[l]->keys;
    }
    int64_t most_parts = sf_cpu_parts(most_keys, SPLIT);

    sf_mark mark = sf_scratch_mark(b);
    sf_panel *panels;
    const float **address;
    reads *list; /* [lanes, G] */
    float *parts, *q;
    SF_TRY(sf_cpu_room(b, most_panels, sizeof *panels, (void **)&panels));
    SF_TRY(sf_cpu_room(b, group * padded, sizeof *q, (void **)&q));
    SF_TRY(sf_scratch_alloc(b, (size_t)rows * sizeof *list, (void **)&list));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * 2 * most_keys) * sizeof *address, (void **)&address));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * most_parts * group * (padded + 2)) * sizeof *parts, (void **)&parts));

    int empty = rows;
#pragma omp parallel num_threads(b->threads)
    {
        int64_t thread = omp_get_thread_num();
#pragma omp for schedule(dynamic) reduction(min : empty)
        for (int r = 0; r < rows; r++) {
            int l = r / kv_heads, g = r % kv_heads;
            uint64_t pairs = 0;
            sf_panel *mine = panels + thread * most_panels;
            int n = sf_cpu_panels(a[l], pattern[l], (sf_rows){g * group, 0, 1}, mine, &pairs);
            list[r] = (reads){address + r * 2 * most_keys, address + (r * 2 + 1) * most_keys, 0};
            list_reads(a[l], g, mine, n, &list[r]);
            if (list[r].n == 0 && r < empty) empty = r;
            for (int h = 0; a[l]->pairs && h < group; h++) a[l]->pairs[g * group + h] += pairs;
        }
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < kv_heads * most_parts * lanes; unit++) {
            int l = (int)(unit % lanes), g = (int)(unit / lanes / most_parts), r = l * kv_heads + g;
            int64_t i = unit / lanes % most_parts;
            if (i * SPLIT >= list[r].n) continue;
            run_part(b, a[l], g, &list[r], i * SPLIT, q + thread * group * padded,
                     part_at(parts, r * most_parts + i, group, padded));
        }
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            int l = r / kv_heads;
            merge(a[l], r % kv_heads, parts, r * most_parts, sf_cpu_parts(list[r].n, SPLIT),
                  (float *)out + (int64_t)l * a[l]->heads * a[l]->head_dim);
        }
    }
    sf_scratch_release(b, mark);
    if (empty == rows) return SF_OK;
    return sf_host_no_key(a[empty / kv_heads], "decode", empty % kv_heads * group, 0);
}

/* ---- exact probabilities of single rows -------------------------------------------------------------------------- */

typedef struct row_room {
    const float **key;
    float *x, *q;
} row_room; /* [N], [N + 8], [padded] */

static sf_status row_rooms(sf_backend *b, const sf_attention *a, row_room *base)
{
    SF_TRY(sf_cpu_room(b, a->keys, sizeof *base->key, (void **)&base->key));
    SF_TRY(sf_cpu_room(b, a->keys + 8, sizeof *base->x, (void **)&base->x));
    return sf_cpu_room(b, sf_cpu_padded(a->head_dim), sizeof *base->q, (void **)&base->q);
}

static row_room row_room_of_thread(const sf_attention *a, const row_room *base)
{
    int64_t t = omp_get_thread_num();
    return (row_room){base->key + t * a->keys, base->x + t * (a->keys + 8), base->q + t * sf_cpu_padded(a->head_dim)};
}

/* x[j] = 2^(score - largest) for the keys that a row sees, 0 for the others; returns their sum. */
static double row_powers(sf_backend *b, const sf_attention *a, int h, int i, row_room r)
{
    int g = h / (a->heads / a->kv_heads), position = a->keys - a->queries + i, n = 0;
    int first = a->window > 0 && position - a->window + 1 > 0 ? position - a->window + 1 : 0;
    const float *q = (const float *)a->q + ((int64_t)i * a->heads + h) * a->head_dim;
    memset(r.q, 0, (size_t)sf_cpu_padded(a->head_dim) * sizeof *r.q);
    for (int d = 0; d < a->head_dim; d++) r.q[d] = q[d] * (a->scale * LOG2E);
    for (int j = first; j <= position; j++) {
        const float *k = sf_cpu_row(a, g, j, false);
        if (k) r.key[n++] = k;
    }
    if (n > 0) sf_cpu_tiles(b)->dots(r.q, 1, a->head_dim, r.key, n, r.x, 0);
    memset(r.x + n, 0, (size_t)(a->keys - n) * sizeof *r.x);
    if (n == 0) return 0;
    double sum = sf_cpu_tiles(b)->powers(r.x, n, sf_cpu_tiles(b)->largest(r.x, n));
    if (n == a->keys) return sum;
    for (int j = position; j >= 0 && n > 0; j--) { /* back to where the keys are, from the end */
        bool seen = j >= first && sf_cpu_row(a, g, j, false);
        float x = seen ? r.x[--n] : 0;
        if (seen) r.x[n] = 0;
        r.x[j] = x;
    }
    return sum;
}

sf_status sf_cpu_mass(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows, const int32_t *row,
                      float *covered)
{
    sf_mark mark = sf_scratch_mark(b);
    row_room base;
    sf_panel *panels;
    SF_TRY(row_rooms(b, a, &base));
    SF_TRY(sf_cpu_room(b, sf_cpu_most_panels(a), sizeof *panels, (void **)&panels));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int h = 0; h < a->heads; h++) {
        row_room room = row_room_of_thread(a, &base);
        sf_panel *mine = panels + (int64_t)omp_get_thread_num() * sf_cpu_most_panels(a);
        double mass = 0;
        for (int r = 0; r < rows; r++) {
            uint64_t pairs = 0;
            double sum = row_powers(b, a, h, row[r], room), inside = 0;
            int n = sf_cpu_panels(a, pattern, (sf_rows){h, row[r], 1}, mine, &pairs);
            for (int c = 0; c < n; c++)
                for (int i = 0; i < SF_PANEL; i++)
                    if (mine[c].lanes >> i & 1) inside += room.x[mine[c].key ? mine[c].key[i] : mine[c].first + i];
            mass += sum > 0 ? inside / sum : 0;
        }
        covered[h] = (float)(mass / rows);
    }
    sf_scratch_release(b, mark);
    return SF_OK;
}

sf_status sf_cpu_key_probabilities(sf_backend *b, const sf_attention *a, float *out)
{
    sf_mark mark = sf_scratch_mark(b);
    row_room base;
    SF_TRY(row_rooms(b, a, &base));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int h = 0; h < a->heads; h++) {
        row_room room = row_room_of_thread(a, &base);
        double sum = row_powers(b, a, h, 0, room);
        for (int j = 0; j < a->keys; j++) out[(int64_t)h * a->keys + j] = (float)(sum > 0 ? room.x[j] / sum : 0);
    }
    sf_scratch_release(b, mark);
    sf_meter_key_probabilities(b, a);
    return SF_OK;
}
