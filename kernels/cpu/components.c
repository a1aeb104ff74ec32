/* CPU: antidiagonals, components of queries and keys, and what stands for many keys. Each row is one thread's.
 *
 * The antidiagonal map is a map of rows that are `stride` times as long: the queries of a group, the last one first, against
 * the keys of a group, which lie side by side. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

static const float *query(const sf_attention *a, int64_t h, int64_t row)
{
    return (const float *)a->q + (row * a->heads + h) * a->head_dim;
}

static float dot(const float *restrict x, const float *restrict y, int n)
{
    float sum = 0;
    for (int d = 0; d < n; d++) sum += x[d] * y[d];
    return sum;
}

/* In place; entries of -INFINITY become 0. */
static void softmax(const sf_backend *b, float *x, int64_t n)
{
    float most = sf_cpu_tiles(b)->largest(x, n), sum;
    if (most == -INFINITY) {
        memset(x, 0, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < n; i++) x[i] *= LOG2E;
    sum = sf_cpu_tiles(b)->powers(x, n, most * LOG2E);
    for (int64_t i = 0; i < n; i++) x[i] /= sum;
}

/* ---- antidiagonals -------------------------------------------------------------------------------------------------- */

typedef struct diagonal_room {
    float *panels, *q, *score, *sum; /* [groups, stride · D, 16]; a thread's: [stride · D, 8], [8, ld], [blocks] */
    int64_t groups, ld, wide, blocks;
} diagonal_room;

static sf_status diagonal_rooms(sf_backend *b, const sf_attention *a, int block, int stride, diagonal_room *r)
{
    r->wide = (int64_t)stride * a->head_dim, r->groups = sf_cpu_parts(a->keys, stride), r->blocks = sf_cpu_parts(a->keys, block);
    r->ld = sf_cpu_parts(r->groups, SF_PANEL) * SF_PANEL;
    SF_TRY(sf_scratch_alloc(b, (size_t)(r->ld * r->wide) * sizeof *r->panels, (void **)&r->panels));
    SF_TRY(sf_cpu_room(b, SF_STRIP * r->wide, sizeof *r->q, (void **)&r->q));
    SF_TRY(sf_cpu_room(b, SF_STRIP * r->ld, sizeof *r->score, (void **)&r->score));
    return sf_cpu_room(b, r->blocks, sizeof *r->sum, (void **)&r->sum);
}

static void pack_groups(sf_backend *b, const sf_attention *a, int g, int stride, const diagonal_room *r)
{
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t c = 0; c < r->ld; c++)
        for (int64_t t = 0; t < stride; t++) {
            int64_t j = c * stride + t;
            const float *k = j < a->keys ? sf_cpu_row(a, g, j, false) : NULL;
            float *to = r->panels + (c / SF_PANEL * r->wide + t * a->head_dim) * SF_PANEL + c % SF_PANEL;
            for (int64_t d = 0; d < a->head_dim; d++) to[d * SF_PANEL] = k ? k[d] : 0;
        }
}

/* Query groups first, first + stride … of head h, `rows` of them: their softmax is added to sum [blocks]. */
static void add_groups(sf_backend *b, const sf_attention *a, int h, int64_t first, int rows, int block, int stride,
                       const diagonal_room *r, float *q, float *score, float *sum)
{
    int64_t T = a->queries, last = first + (int64_t)rows * stride < T ? first + (int64_t)rows * stride - 1 : T - 1;
    int64_t most = (a->keys - T + last) / stride + 1;
    for (int i = 0; i < SF_STRIP; i++)
        for (int64_t t = 0; t < stride; t++) {
            int64_t row = first + i * (int64_t)stride + stride - 1 - t;
            const float *from = i < rows && row < T ? query(a, h, row) : NULL;
            for (int64_t d = 0; d < a->head_dim; d++) q[(t * a->head_dim + d) * SF_STRIP + i] = from ? from[d] * (a->scale / (float)stride) : 0;
        }
    sf_cpu_tiles(b)->score(q, (int)r->wide, r->panels, (int)sf_cpu_parts(most, SF_PANEL), score, r->ld, NULL, NULL);
    for (int i = 0; i < rows; i++) {
        int64_t end = first + (i + 1) * (int64_t)stride < T ? first + (i + 1) * (int64_t)stride - 1 : T - 1,
                seen = (a->keys - T + end) / stride + 1;
        float *x = score + i * r->ld;
        softmax(b, x, seen);
        for (int64_t c = 0; c < seen; c++) sum[c * stride / block] += x[c];
    }
}

sf_status sf_cpu_antidiagonals(sf_backend *b, const sf_attention *a, int block, int stride, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "antidiagonals"));
    int64_t queries = sf_cpu_parts(a->queries, block), group = a->heads / a->kv_heads;
    sf_mark mark = sf_scratch_mark(b);
    diagonal_room room;
    SF_TRY(diagonal_rooms(b, a, block, stride, &room));
    for (int g = 0; g < a->kv_heads; g++) {
        pack_groups(b, a, g, stride, &room);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
        for (int64_t unit = 0; unit < group * queries; unit++) {
            int64_t t = omp_get_thread_num(), h = g * group + unit % group, i = queries - 1 - unit / group;
            int64_t end = (i + 1) * block < a->queries ? (i + 1) * block : a->queries, groups = sf_cpu_parts(end - i * block, stride);
            float *sum = room.sum + t * room.blocks, *to = p + (h * queries + i) * room.blocks;
            memset(sum, 0, (size_t)room.blocks * sizeof *sum);
            for (int64_t r = 0; r < groups; r += SF_STRIP)
                add_groups(b, a, (int)h, i * block + r * stride, groups - r < SF_STRIP ? (int)(groups - r) : SF_STRIP, block,
                           stride, &room, room.q + t * SF_STRIP * room.wide, room.score + t * SF_STRIP * room.ld, sum);
            for (int64_t j = 0; j < room.blocks; j++)
                to[j] = j * block <= a->keys - a->queries + end - 1 ? sum[j] / (float)groups : -INFINITY;
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_antidiagonals(b, a, block, stride);
    return SF_OK;
}

/* ---- components ----------------------------------------------------------------------------------------------------- */

/* out[c · step] = Σ_d basis[d, c] x[d] */
static void components_of(const float *x, const float *basis, int R, int dim, float *out, int64_t step)
{
    for (int c = 0; c < R; c++) {
        float sum = 0;
        for (int d = 0; basis && d < dim; d++) sum += basis[(int64_t)d * R + c] * x[d];
        out[c * step] = basis ? sum : x[c];
    }
}

sf_status sf_cpu_components(sf_backend *b, const sf_attention *a, bool of_keys, const float *basis, int R, int first,
                            int64_t stride, void *to)
{
    if (of_keys) SF_TRY(sf_cache_refuse(&a->kv.prompt, "components"));
    int64_t dim = a->head_dim, group = a->heads / a->kv_heads, keys = a->keys - first;
    float *out = to;
    for (int64_t h = 0; h < a->heads && !of_keys; h++)
        components_of(query(a, h, 0), basis ? basis + h / group * dim * R : NULL, R, (int)dim, out + h * R, 1);
    if (of_keys) {
#pragma omp parallel for num_threads(b->threads) schedule(static) if (keys > 16)
        for (int64_t unit = 0; unit < a->kv_heads * keys; unit++) {
            int64_t g = unit / keys, j = first + unit % keys;
            const float *k = sf_cpu_row(a, (int)g, j, false);
            float *at = out + g * R * stride + j;
            if (k)
                components_of(k, basis ? basis + g * dim * R : NULL, R, (int)dim, at, stride);
            else
                for (int c = 0; c < R; c++) at[c * stride] = NAN;
        }
    }
    sf_meter_components(b, a, of_keys, basis, R, first);
    return SF_OK;
}

/* 1 / the root of the share of the listed components in the sum of all magnitudes. */
static float temper(const float *q, int R, const int32_t *list, int listed)
{
    float some = 0, all = 0;
    for (int c = 0; c < R; c++) all += fabsf(q[c]);
    for (int i = 0; i < listed; i++) some += fabsf(q[list[i]]);
    return 1 / sqrtf(some / all);
}

enum { KEYS_AT_ONCE = 512 }; /* whose sums stay near while components are added */

sf_status sf_cpu_component_scores(sf_backend *b, const sf_attention *a, const float *q, const void *keys, int R, int64_t stride,
                                  const sf_lists *at, bool tempered, float *score)
{
    int64_t pieces = sf_cpu_parts(a->keys, KEYS_AT_ONCE), group = a->heads / a->kv_heads;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t unit = 0; unit < a->heads * pieces; unit++) {
        int64_t h = unit / pieces, g = h / group, first = unit % pieces * KEYS_AT_ONCE,
                end = first + KEYS_AT_ONCE < a->keys ? first + KEYS_AT_ONCE : a->keys;
        const int32_t *list = at ? at->index + g * at->stride : NULL;
        int listed = at ? at->count[g] : R;
        const float *from = q + h * R;
        float scale = a->scale * (tempered && at ? temper(from, R, list, listed) : 1), *restrict to = score + h * a->keys;
        memset(to + first, 0, (size_t)(end - first) * sizeof *to);
        for (int i = 0; i < listed; i++) {
            int c = list ? list[i] : i;
            const float *restrict k = (const float *)keys + (g * R + c) * stride;
            for (int64_t j = first; j < end; j++) to[j] += from[c] * k[j];
        }
        for (int64_t j = first; j < end; j++) to[j] *= scale;
    }
    sf_meter_component_scores(b, a, R, at);
    return SF_OK;
}

sf_status sf_cpu_page_component_scores(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                                       const float *high, const sf_lists *at, bool tempered, float *score)
{
    int64_t dim = a->head_dim, group = a->heads / a->kv_heads, there = sf_cpu_parts(a->keys, page);
    sf_mark mark = sf_scratch_mark(b);
    float *together; /* [G, D] */
    SF_TRY(sf_scratch_alloc(b, (size_t)(a->kv_heads * dim) * sizeof *together, (void **)&together));
    for (int64_t g = 0; g < a->kv_heads; g++)
        for (int64_t d = 0; d < dim; d++) {
            float sum = 0;
            for (int64_t h = g * group; h < (g + 1) * group; h++) sum += query(a, h, 0)[d];
            together[g * dim + d] = sum;
        }
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t h = 0; h < a->heads; h++) {
        int64_t g = h / group;
        const int32_t *list = at->index + g * at->stride;
        const float *q = query(a, h, 0);
        float scale = a->scale * (tempered ? temper(q, (int)dim, list, at->count[g]) : 1);
        for (int64_t p = 0; p < there; p++) {
            float sum = 0;
            for (int i = 0; i < at->count[g]; i++) {
                int d = list[i];
                sum += q[d] * (together[g * dim + d] >= 0 ? high : low)[(g * pages + p) * dim + d];
            }
            score[h * there + p] = sum * scale;
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_page_component_scores(b, a, page, at);
    return SF_OK;
}

/* ---- algebra of scores ---------------------------------------------------------------------------------------------- */

sf_status sf_cpu_magnitudes(sf_backend *b, float *x, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows * n; i++) x[i] = fabsf(x[i]);
    sf_meter_scores(b, rows * n, rows * n, rows * n);
    return SF_OK;
}

sf_status sf_cpu_softmax_rows(sf_backend *b, float *x, int64_t rows, int64_t n)
{
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) softmax(b, x + r * n, n);
    sf_meter_scores(b, rows * n, rows * n, 5 * rows * n);
    return SF_OK;
}

sf_status sf_cpu_sums_at(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *sum)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t l = r / (rows / at->rows);
        float some = 0;
        for (int32_t i = 0; i < at->count[l]; i++) some += x[r * n + at->index[l * at->stride + i]];
        sum[r] = some, sum[rows + r] = 1 - some;
    }
    sf_meter_scores(b, rows * at->stride, 2 * rows, rows * at->stride);
    return SF_OK;
}

/* ---- what stands for many keys -------------------------------------------------------------------------------------- */

sf_status sf_cpu_value_means(sf_backend *b, const sf_attention *a, int first, float *sum, void *mean)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "value_means"));
    int64_t dim = a->head_dim;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (a->keys - first > 64)
    for (int64_t g = 0; g < a->kv_heads; g++) {
        float *restrict to = sum + g * dim;
        if (first == 0) memset(to, 0, (size_t)dim * sizeof *to);
        for (int64_t j = first; j < a->keys; j++) {
            const float *restrict v = sf_cpu_row(a, (int)g, j, true);
            for (int64_t d = 0; d < dim; d++) to[d] += v[d];
        }
        for (int64_t d = 0; d < dim; d++) ((float *)mean)[g * dim + d] = to[d] / (float)a->keys;
    }
    sf_meter_value_means(b, a, first);
    return SF_OK;
}

sf_status sf_cpu_representatives(sf_backend *b, const sf_attention *a, int page, int most, const float *score, int64_t stride,
                                 int first, int end, int64_t pages, float *mean)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "representatives"));
    int64_t dim = a->head_dim, units = (int64_t)a->kv_heads * (end - first);
#pragma omp parallel for num_threads(b->threads) schedule(static) if (units > 4)
    for (int64_t unit = 0; unit < units; unit++) {
        int64_t g = unit / (end - first), p = first + unit % (end - first);
        uint32_t room[page];
        int32_t index[page], n = sf_cpu_tiles(b)->best(score + g * stride + p * page, page, most, room, index);
        float *restrict to = mean + (g * pages + p) * dim;
        memset(to, 0, (size_t)dim * sizeof *to);
        for (int32_t i = 0; i < n; i++) {
            const float *restrict k = sf_cpu_row(a, (int)g, p * page + index[i], false);
            for (int64_t d = 0; d < dim; d++) to[d] += k[d];
        }
        for (int64_t d = 0; d < dim; d++) to[d] /= (float)n;
    }
    sf_meter_representatives(b, a, page, most, end - first);
    return SF_OK;
}

sf_status sf_cpu_segment_summaries(sf_backend *b, const sf_attention *a, int segment, int64_t m, void *keys, void *values)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "segment_summaries"));
    int64_t dim = a->head_dim, group = a->heads / a->kv_heads;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t unit = 0; unit < a->kv_heads * m; unit++) {
        int64_t g = unit / m, first = unit % m * segment, row = first - (a->keys - a->queries);
        float q[dim], p[segment], *restrict k = (float *)keys + unit * dim, *restrict v = (float *)values + unit * dim;
        memset(q, 0, sizeof q), memset(k, 0, sizeof q), memset(v, 0, sizeof q);
        for (int64_t j = 0; j < segment; j++)
            for (int64_t h = g * group; h < (g + 1) * group; h++)
                for (int64_t d = 0; d < dim; d++) q[d] += query(a, h, row + j)[d];
        for (int64_t d = 0; d < dim; d++) q[d] *= a->scale / (float)(segment * group);
        for (int64_t j = 0; j < segment; j++) p[j] = dot(q, sf_cpu_row(a, (int)g, first + j, false), (int)dim);
        softmax(b, p, segment);
        for (int64_t j = 0; j < segment; j++) {
            const float *restrict key = sf_cpu_row(a, (int)g, first + j, false), *restrict value = sf_cpu_row(a, (int)g, first + j, true);
            for (int64_t d = 0; d < dim; d++) k[d] += key[d] / (float)segment, v[d] += p[j] * value[d];
        }
    }
    sf_meter_segment_summaries(b, a, segment, m);
    return SF_OK;
}
