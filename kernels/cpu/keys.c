/* CPU: probabilities over listed keys, and scores of keys by themselves. Each row is one thread's. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

static int64_t list_of(const sf_attention *a, const sf_lists *at, int h)
{
    return at->rows == a->heads ? h : at->rows == a->kv_heads ? h / (a->heads / a->kv_heads) : 0;
}

sf_status sf_cpu_listed_probabilities(sf_backend *b, const sf_attention *a, const sf_lists *at, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "listed_probabilities"));
    sf_mark mark = sf_scratch_mark(b);
    const float **key;
    float *x, *q;
    int64_t padded = sf_cpu_padded(a->head_dim), pairs = 0;
    SF_TRY(sf_cpu_room(b, a->keys, sizeof *key, (void **)&key));
    SF_TRY(sf_cpu_room(b, a->keys + 8, sizeof *x, (void **)&x));
    SF_TRY(sf_cpu_room(b, padded, sizeof *q, (void **)&q));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(+ : pairs)
    for (int h = 0; h < a->heads; h++) {
        int64_t t = omp_get_thread_num(), l = list_of(a, at, h), n = at->count[l];
        const int32_t *list = at->index + l * at->stride;
        const float **keys = key + t * a->keys, *from = (const float *)a->q + (int64_t)h * a->head_dim;
        float *scores = x + t * (a->keys + 8), *turned = q + t * padded, *out = p + (int64_t)h * a->keys;
        memset(turned, 0, (size_t)padded * sizeof *turned);
        for (int d = 0; d < a->head_dim; d++) turned[d] = from[d] * (a->scale * LOG2E);
        for (int64_t i = 0; i < n; i++) keys[i] = sf_cpu_row(a, h / (a->heads / a->kv_heads), list[i], false);
        memset(out, 0, (size_t)a->keys * sizeof *out);
        pairs += n;
        if (n == 0) continue;
        sf_cpu_tiles(b)->dots(turned, 1, a->head_dim, keys, (int)n, scores, 0);
        sf_cpu_tiles(b)->cap(scores, n, a->softcap * LOG2E);
        float sum = sf_cpu_tiles(b)->powers(scores, n, sf_cpu_tiles(b)->largest(scores, n));
        for (int64_t i = 0; i < n; i++) out[list[i]] = scores[i] / sum;
    }
    sf_scratch_release(b, mark);
    sf_meter_listed_probabilities(b, a, pairs, at->rows == a->heads ? pairs : pairs / (a->heads / a->kv_heads));
    return SF_OK;
}

static double length(const float *x, int dim)
{
    double sum = 0;
    for (int d = 0; d < dim; d++) sum += (double)x[d] * x[d];
    return sqrt(sum);
}

sf_status sf_cpu_key_norms(sf_backend *b, const sf_attention *a, bool of_values, float *norm)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_norms"));
    const int first = of_values ? a->rotated : 0;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t r = 0; r < (int64_t)a->kv_heads * a->keys; r++) {
        const float *x = sf_cpu_row(a, (int)(r / a->keys), r % a->keys, of_values);
        norm[r] = x ? (float)length(x + first, a->head_dim - first) : NAN;
    }
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 2 * (a->head_dim - first));
    return SF_OK;
}

sf_status sf_cpu_key_cosines(sf_backend *b, const sf_attention *a, float *cosine)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_cosines"));
    int dim = a->head_dim;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int g = 0; g < a->kv_heads; g++) {
        double mean[dim], size = 0;
        float *out = cosine + (int64_t)g * a->keys;
        memset(mean, 0, sizeof mean);
        for (int j = 0; j < a->keys; j++) {
            const float *k = sf_cpu_row(a, g, j, false);
            double norm = k ? length(k, dim) : 1;
            for (int d = 0; k && d < dim; d++) mean[d] += k[d] / norm;
        }
        for (int d = 0; d < dim; d++) size += mean[d] * mean[d];
        for (int j = 0; j < a->keys; j++) {
            const float *k = sf_cpu_row(a, g, j, false);
            double dot = 0;
            for (int d = 0; k && d < dim; d++) dot += mean[d] * k[d];
            out[j] = k ? (float)(dot / sqrt(size) / length(k, dim)) : NAN;
        }
    }
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 6 * dim);
    return SF_OK;
}

/* ---- expected attention ------------------------------------------------------------------------------------------- */

/* A row with its pairs next to each other's order untouched: (x, y) to (x·cos - y·sin, x·sin + y·cos). */
static void rotate(const sf_attention *a, const double *cosine, const double *sine, double *x, int64_t stride)
{
    int half = a->head_dim / 2, apart = a->interleaved ? 1 : half;
    for (int d = 0; d < half; d++) {
        double *u = x + (a->interleaved ? 2 * d : d) * stride, *v = u + apart * stride, was = *u;
        *u = was * cosine[d] - *v * sine[d];
        *v = was * sine[d] + *v * cosine[d];
    }
}

/* back [rows, D] = the head's queries before rotation, less their mean. */
static void centre(const sf_attention *a, int h, int skip, const double *table, double *back, double *mean)
{
    int dim = a->head_dim, rows = a->queries - skip;
    memset(mean, 0, (size_t)dim * sizeof *mean);
    for (int i = 0; i < rows; i++) {
        const float *q = (const float *)a->q + ((int64_t)(skip + i) * a->heads + h) * dim;
        double *x = back + (int64_t)i * dim;
        for (int d = 0; d < dim; d++) x[d] = q[d];
        rotate(a, table + (int64_t)i * dim, table + (int64_t)i * dim + dim / 2, x, 1);
        for (int d = 0; d < dim; d++) mean[d] += x[d] / rows;
    }
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < dim; d++) back[(int64_t)i * dim + d] -= mean[d];
}

/* S [D, D] of the centred rows, turned to R S R'. */
static void covariance(const sf_attention *a, const double *back, int rows, const double *rotation, double *s)
{
    int dim = a->head_dim;
    memset(s, 0, (size_t)(dim * dim) * sizeof *s);
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < dim; d++) {
            double x = back[(int64_t)i * dim + d] / rows;
            for (int e = 0; e < dim; e++) s[d * dim + e] += x * back[(int64_t)i * dim + e];
        }
    for (int d = 0; d < dim; d++) rotate(a, rotation, rotation + dim / 2, s + d * dim, 1);
    for (int e = 0; e < dim; e++) rotate(a, rotation, rotation + dim / 2, s + e, dim);
}

static void expect(const sf_attention *a, int h, int skip, const double *mean, const double *s, float *p)
{
    int dim = a->head_dim, g = h / (a->heads / a->kv_heads);
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < a->keys; j++) {
        const float *k = j >= skip ? sf_cpu_row(a, g, j, false) : NULL;
        double first = 0, second = 0;
        for (int d = 0; k && d < dim; d++) {
            double inner = 0;
            for (int e = 0; e < dim; e++) inner += s[d * dim + e] * k[e];
            first += mean[d] * k[d], second += inner * k[d];
        }
        p[j] = k ? (float)(first * a->scale + second * a->scale * a->scale / 2) : -INFINITY;
        if (p[j] > most) most = p[j];
    }
    for (int j = 0; j < a->keys; j++) sum += exp((double)p[j] - most);
    for (int j = 0; j < a->keys; j++) p[j] = (float)(exp((double)p[j] - most) / sum);
}

sf_status sf_cpu_expected_attention(sf_backend *b, const sf_attention *a, int skip, int ahead, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "expected_attention"));
    if (!a->frequency) return sf_fail(SF_UNSUPPORTED, "expected attention needs rotary positions");
    if (skip >= a->queries) skip = 0;
    int64_t dim = a->head_dim, rows = a->queries - skip;
    sf_mark mark = sf_scratch_mark(b);
    double *table, *back, *s, rotation[dim];
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * dim) * sizeof *table, (void **)&table));
    SF_TRY(sf_cpu_room(b, rows * dim, sizeof *back, (void **)&back));
    SF_TRY(sf_cpu_room(b, dim * (dim + 1), sizeof *s, (void **)&s));
    for (int d = 0; d < dim / 2; d++) {
        rotation[d] = rotation[d + dim / 2] = 0;
        for (int i = 0; i < ahead; i++) {
            double angle = (double)(a->keys + i) * (double)a->frequency[d];
            rotation[d] += cos(angle) / ahead, rotation[d + dim / 2] += sin(angle) / ahead;
        }
    }
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t i = 0; i < rows; i++)
        for (int d = 0; d < dim / 2; d++) {
            double angle = -(double)(a->keys - rows + i) * (double)a->frequency[d];
            table[i * dim + d] = cos(angle), table[i * dim + dim / 2 + d] = sin(angle);
        }
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int h = 0; h < a->heads; h++) {
        int64_t t = omp_get_thread_num();
        double *mean = s + t * dim * (dim + 1), *own = mean + dim, *centred = back + t * rows * dim;
        centre(a, h, skip, table, centred, mean);
        covariance(a, centred, (int)rows, rotation, own);
        rotate(a, rotation, rotation + dim / 2, mean, 1);
        expect(a, h, skip, mean, own, p + (int64_t)h * a->keys);
    }
    sf_scratch_release(b, mark);
    sf_meter_key_scores(b, a, (int64_t)a->heads * dim * dim * (a->queries + 2 * (int64_t)a->keys));
    return SF_OK;
}
