/* Reference: antidiagonals, components of queries and keys, and what stands for many keys. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/host.h"
#include "kernels/reference/reference.h"

static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

static const float *query(const sf_attention *a, int h, int64_t row)
{
    return (const float *)a->q + (row * a->heads + h) * a->head_dim;
}

static double dot(const float *x, const float *y, int n)
{
    double sum = 0;
    for (int d = 0; d < n; d++) sum += (double)x[d] * y[d];
    return sum;
}

/* In place; entries of -INFINITY become 0. */
static void softmax(double *x, int64_t n)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < n; i++) sum += x[i] = x[i] == -INFINITY ? 0 : exp(x[i] - most);
    for (int64_t i = 0; i < n; i++) x[i] = sum > 0 ? x[i] / sum : 0;
}

/* ---- antidiagonals -------------------------------------------------------------------------------------------------- */

sf_status sf_reference_antidiagonals(sf_backend *b, const sf_attention *a, int block, int stride, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "antidiagonals"));
    const int64_t T = a->queries, N = a->keys, queries = parts(T, block), blocks = parts(N, block), groups = parts(N, stride);
    double *s, *sum;
    SF_TRY(sf_host_alloc(b, (size_t)(groups + blocks) * sizeof *s, (void **)&s));
    sum = s + groups;
    for (int h = 0; h < a->heads; h++)
        for (int64_t i = 0; i < queries; i++) {
            int64_t rows = 0, end = (i + 1) * block < T ? (i + 1) * block : T; /* of the block's queries */
            memset(sum, 0, (size_t)blocks * sizeof *sum);
            for (int64_t first = i * block; first < end; first += stride, rows++) {
                int64_t last = first + stride < T ? first + stride - 1 : T - 1, seen = (N - T + last) / stride + 1;
                for (int64_t c = 0; c < groups; c++) {
                    s[c] = c < seen ? 0 : -INFINITY;
                    for (int64_t t = 0; t < stride && c < seen; t++) {
                        int64_t row = first + stride - 1 - t, key = c * stride + t;
                        if (row < T && key < N)
                            s[c] += dot(query(a, h, row), sf_reference_key(a, h / (a->heads / a->kv_heads), (int)key), a->head_dim);
                    }
                    if (c < seen) s[c] *= a->scale / stride;
                }
                softmax(s, groups);
                for (int64_t c = 0; c < groups; c++) sum[c * stride / block] += s[c];
            }
            for (int64_t j = 0; j < blocks; j++)
                p[(h * queries + i) * blocks + j] = j * block <= N - T + end - 1 ? (float)(sum[j] / (double)rows) : -INFINITY;
        }
    sf_host_free(b, s);
    sf_meter_antidiagonals(b, a, block, stride);
    return SF_OK;
}

/* ---- components ----------------------------------------------------------------------------------------------------- */

static float component(const float *x, const float *basis, int R, int dim, int c)
{
    double sum = 0;
    if (!basis) return x[c];
    for (int d = 0; d < dim; d++) sum += (double)basis[(int64_t)d * R + c] * x[d];
    return (float)sum;
}

sf_status sf_reference_components(sf_backend *b, const sf_attention *a, bool of_keys, const float *basis, int R, int first,
                                  int64_t stride, void *to)
{
    if (of_keys) SF_TRY(sf_cache_refuse(&a->kv.prompt, "components"));
    int dim = a->head_dim, group = a->heads / a->kv_heads;
    float *out = to;
    for (int h = 0; h < a->heads && !of_keys; h++)
        for (int c = 0; c < R; c++)
            out[h * R + c] = component(query(a, h, 0), basis ? basis + (int64_t)(h / group) * dim * R : NULL, R, dim, c);
    for (int g = 0; g < a->kv_heads && of_keys; g++)
        for (int j = first; j < a->keys; j++) {
            const float *k = sf_reference_key(a, g, j);
            for (int c = 0; c < R; c++)
                out[((int64_t)g * R + c) * stride + j] = k ? component(k, basis ? basis + (int64_t)g * dim * R : NULL, R, dim, c) : NAN;
        }
    sf_meter_components(b, a, of_keys, basis, R, first);
    return SF_OK;
}

/* Share of the listed components in the sum of all magnitudes. */
static double coverage(const float *q, int R, const int32_t *list, int listed)
{
    double some = 0, all = 0;
    for (int c = 0; c < R; c++) all += fabs((double)q[c]);
    for (int i = 0; i < listed; i++) some += fabs((double)q[list[i]]);
    return some / all;
}

sf_status sf_reference_component_scores(sf_backend *b, const sf_attention *a, const float *q, const void *keys, int R,
                                        int64_t stride, const sf_lists *at, bool tempered, float *score)
{
    const float *k = keys;
    for (int h = 0; h < a->heads; h++) {
        int64_t g = h / (a->heads / a->kv_heads);
        const int32_t *list = at ? at->index + g * at->stride : NULL;
        int listed = at ? at->count[g] : R;
        double scale = a->scale;
        if (tempered && at) scale /= sqrt(coverage(q + (int64_t)h * R, R, list, listed));
        for (int j = 0; j < a->keys; j++) {
            double sum = 0;
            for (int i = 0; i < listed; i++) {
                int c = list ? list[i] : i;
                sum += (double)q[(int64_t)h * R + c] * k[(g * R + c) * stride + j];
            }
            score[(int64_t)h * a->keys + j] = (float)(sum * scale);
        }
    }
    sf_meter_component_scores(b, a, R, at);
    return SF_OK;
}

sf_status sf_reference_page_component_scores(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                                             const float *high, const sf_lists *at, bool tempered, float *score)
{
    int dim = a->head_dim, group = a->heads / a->kv_heads;
    int64_t there = parts(a->keys, page);
    for (int h = 0; h < a->heads; h++) {
        int64_t g = h / group;
        const int32_t *list = at->index + g * at->stride;
        double scale = a->scale;
        if (tempered) scale /= sqrt(coverage(query(a, h, 0), dim, list, at->count[g]));
        for (int64_t p = 0; p < there; p++) {
            double sum = 0;
            for (int i = 0; i < at->count[g]; i++) {
                int d = list[i];
                double together = 0;
                for (int m = 0; m < group; m++) together += query(a, (int)g * group + m, 0)[d];
                sum += (double)query(a, h, 0)[d] * (together >= 0 ? high : low)[(g * pages + p) * dim + d];
            }
            score[h * there + p] = (float)(sum * scale);
        }
    }
    sf_meter_page_component_scores(b, a, page, at);
    return SF_OK;
}

/* ---- algebra of scores ---------------------------------------------------------------------------------------------- */

sf_status sf_reference_magnitudes(sf_backend *b, float *x, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows * n; i++) x[i] = fabsf(x[i]);
    sf_meter_scores(b, rows * n, rows * n, rows * n);
    return SF_OK;
}

sf_status sf_reference_softmax_rows(sf_backend *b, float *x, int64_t rows, int64_t n)
{
    double *row;
    SF_TRY(sf_host_alloc(b, (size_t)n * sizeof *row, (void **)&row));
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < n; i++) row[i] = x[r * n + i];
        softmax(row, n);
        for (int64_t i = 0; i < n; i++) x[r * n + i] = (float)row[i];
    }
    sf_host_free(b, row);
    sf_meter_scores(b, rows * n, rows * n, 5 * rows * n);
    return SF_OK;
}

sf_status sf_reference_sums_at(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *sum)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t l = r / (rows / at->rows);
        double some = 0;
        for (int32_t i = 0; i < at->count[l]; i++) some += x[r * n + at->index[l * at->stride + i]];
        sum[r] = (float)some, sum[rows + r] = (float)(1 - some);
    }
    sf_meter_scores(b, rows * at->stride, 2 * rows, rows * at->stride);
    return SF_OK;
}

/* ---- what stands for many keys -------------------------------------------------------------------------------------- */

sf_status sf_reference_value_means(sf_backend *b, const sf_attention *a, int first, float *sum, void *mean)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "value_means"));
    for (int g = 0; g < a->kv_heads; g++)
        for (int d = 0; d < a->head_dim; d++) {
            int at = g * a->head_dim + d;
            double more = 0;
            for (int j = first; j < a->keys; j++) more += sf_reference_value(a, g, j)[d];
            sum[at] = (float)((first ? sum[at] : 0) + more);
            ((float *)mean)[at] = sum[at] / (float)a->keys;
        }
    sf_meter_value_means(b, a, first);
    return SF_OK;
}

sf_status sf_reference_representatives(sf_backend *b, const sf_attention *a, int page, int most, const float *score,
                                       int64_t stride, int first, int end, int64_t pages, float *mean)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "representatives"));
    int32_t index[page], n;
    for (int g = 0; g < a->kv_heads; g++)
        for (int p = first; p < end; p++) {
            SF_TRY(sf_reference_best(score + g * stride + (int64_t)p * page, page, most, index, &n));
            for (int d = 0; d < a->head_dim; d++) {
                double sum = 0;
                for (int i = 0; i < n; i++) sum += sf_reference_key(a, g, p * page + index[i])[d];
                mean[(g * pages + p) * a->head_dim + d] = (float)(sum / n);
            }
        }
    sf_meter_representatives(b, a, page, most, end - first);
    return SF_OK;
}

sf_status sf_reference_segment_summaries(sf_backend *b, const sf_attention *a, int segment, int64_t m, void *k, void *v)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "segment_summaries"));
    int dim = a->head_dim, group = a->heads / a->kv_heads;
    double p[segment], q[dim];
    for (int g = 0; g < a->kv_heads; g++)
        for (int64_t s = 0; s < m; s++) {
            int first = (int)s * segment;
            memset(q, 0, sizeof q);
            for (int j = first; j < first + segment; j++)
                for (int h = g * group; h < (g + 1) * group; h++)
                    for (int d = 0; d < dim; d++) q[d] += query(a, h, j - (a->keys - a->queries))[d] / (double)(segment * group);
            for (int j = 0; j < segment; j++) {
                p[j] = 0;
                for (int d = 0; d < dim; d++) p[j] += q[d] * sf_reference_key(a, g, first + j)[d];
                p[j] *= a->scale;
            }
            softmax(p, segment);
            for (int d = 0; d < dim; d++) {
                double key = 0, value = 0;
                for (int j = 0; j < segment; j++)
                    key += sf_reference_key(a, g, first + j)[d], value += p[j] * sf_reference_value(a, g, first + j)[d];
                ((float *)k)[(g * m + s) * dim + d] = (float)(key / segment);
                ((float *)v)[(g * m + s) * dim + d] = (float)value;
            }
        }
    sf_meter_segment_summaries(b, a, segment, m);
    return SF_OK;
}
