/* Reference: probabilities over listed keys, and scores of keys by themselves. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/host.h"
#include "kernels/reference/reference.h"

static int64_t list_of(const sf_attention *a, const sf_lists *at, int h)
{
    return at->rows == a->heads ? h : at->rows == a->kv_heads ? h / (a->heads / a->kv_heads) : 0;
}

sf_status sf_reference_listed_probabilities(sf_backend *b, const sf_attention *a, const sf_lists *at, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "listed_probabilities"));
    double *x;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * (sizeof *x + 1), (void **)&x));
    uint8_t *mask = (uint8_t *)(x + a->keys);
    int64_t pairs = 0;
    for (int h = 0; h < a->heads; h++) {
        int64_t l = list_of(a, at, h);
        memset(mask, 0, (size_t)a->keys);
        for (int32_t i = 0; i < at->count[l]; i++) mask[at->index[l * at->stride + i]] = 1;
        sf_reference_softmax(a, h, 0, mask, x);
        for (int j = 0; j < a->keys; j++) p[(int64_t)h * a->keys + j] = (float)x[j];
        pairs += at->count[l];
    }
    sf_host_free(b, x);
    sf_meter_listed_probabilities(b, a, pairs, at->rows == a->heads ? pairs : pairs / (a->heads / a->kv_heads));
    return SF_OK;
}

static double length(const float *x, int dim)
{
    double sum = 0;
    for (int d = 0; d < dim; d++) sum += (double)x[d] * x[d];
    return sqrt(sum);
}

sf_status sf_reference_key_norms(sf_backend *b, const sf_attention *a, bool of_values, float *norm)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_norms"));
    for (int g = 0; g < a->kv_heads; g++)
        for (int j = 0; j < a->keys; j++) {
            const float *x = of_values ? sf_reference_value(a, g, j) : sf_reference_key(a, g, j);
            int first = of_values ? a->rotated : 0;
            norm[(int64_t)g * a->keys + j] = x ? (float)length(x + first, a->head_dim - first) : NAN;
        }
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 2 * (of_values ? sf_value_numbers(a) : a->head_dim));
    return SF_OK;
}

sf_status sf_reference_key_cosines(sf_backend *b, const sf_attention *a, float *cosine)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_cosines"));
    int dim = a->head_dim;
    for (int g = 0; g < a->kv_heads; g++) {
        double mean[dim], size = 0;
        memset(mean, 0, sizeof mean);
        for (int j = 0; j < a->keys; j++) {
            const float *k = sf_reference_key(a, g, j);
            for (int d = 0; k && d < dim; d++) mean[d] += k[d] / length(k, dim);
        }
        for (int d = 0; d < dim; d++) size += mean[d] * mean[d];
        for (int j = 0; j < a->keys; j++) {
            const float *k = sf_reference_key(a, g, j);
            double dot = 0;
            for (int d = 0; k && d < dim; d++) dot += mean[d] * k[d];
            cosine[(int64_t)g * a->keys + j] = k ? (float)(dot / sqrt(size) / length(k, dim)) : NAN;
        }
    }
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 6 * dim);
    return SF_OK;
}

/* The mean of rotations by the positions first … first + n - 1: for each pair, its mean cosine and sine. */
static void mean_rotation(const sf_attention *a, int64_t first, int n, double *cosine, double *sine)
{
    for (int d = 0; d < a->head_dim / 2; d++) {
        cosine[d] = sine[d] = 0;
        for (int i = 0; i < n; i++) {
            cosine[d] += cos((double)(first + i) * a->frequency[d]) / n;
            sine[d] += sin((double)(first + i) * a->frequency[d]) / n;
        }
    }
}

/* x [D] turned: in each pair (x, y) becomes (x·cos - y·sin, x·sin + y·cos). */
static void rotate(const sf_attention *a, const double *cosine, const double *sine, const double *x, double *out)
{
    int half = a->head_dim / 2, apart = a->interleaved ? 1 : half;
    for (int d = 0; d < half; d++) {
        int at = a->interleaved ? 2 * d : d;
        double u = x[at], v = x[at + apart];
        out[at] = u * cosine[d] - v * sine[d];
        out[at + apart] = u * sine[d] + v * cosine[d];
    }
}

/* Mean and covariance of the head's queries before rotation, rows of out [D + 1, D]: the mean, then the covariance. */
static void moments(const sf_attention *a, int h, int skip, double *mean, double *covariance)
{
    int dim = a->head_dim, rows = a->queries - skip;
    double x[dim], back[dim], cosine[dim], sine[dim];
    memset(mean, 0, (size_t)dim * sizeof *mean);
    memset(covariance, 0, (size_t)(dim * dim) * sizeof *covariance);
    for (int pass = 0; pass < 2; pass++)
        for (int i = skip; i < a->queries; i++) {
            const float *q = (const float *)a->q + ((int64_t)i * a->heads + h) * dim;
            mean_rotation(a, -(int64_t)(a->keys - a->queries + i), 1, cosine, sine);
            for (int d = 0; d < dim; d++) x[d] = q[d];
            rotate(a, cosine, sine, x, back);
            for (int d = 0; d < dim; d++) {
                if (pass == 0) mean[d] += back[d] / rows;
                for (int e = 0; pass == 1 && e < dim; e++) covariance[d * dim + e] += (back[d] - mean[d]) * (back[e] - mean[e]) / rows;
            }
        }
}

sf_status sf_reference_expected_attention(sf_backend *b, const sf_attention *a, int skip, int ahead, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "expected_attention"));
    int dim = a->head_dim, group = a->heads / a->kv_heads;
    double mean[dim], covariance[dim][dim], turned[dim], half[dim][dim], column[dim], whole[dim], cosine[dim], sine[dim], *logit;
    if (!a->frequency) return sf_fail(SF_UNSUPPORTED, "expected attention needs rotary positions");
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * sizeof *logit, (void **)&logit));
    if (skip >= a->queries) skip = 0;
    mean_rotation(a, a->keys, ahead, cosine, sine);
    for (int h = 0; h < a->heads; h++) {
        moments(a, h, skip, mean, covariance[0]);
        rotate(a, cosine, sine, mean, turned); /* m becomes R m, S becomes R S R' */
        for (int d = 0; d < dim; d++) rotate(a, cosine, sine, covariance[d], half[d]);
        for (int e = 0; e < dim; e++) {
            for (int d = 0; d < dim; d++) column[d] = half[d][e];
            rotate(a, cosine, sine, column, whole);
            for (int d = 0; d < dim; d++) covariance[d][e] = whole[d];
        }
        double most = -INFINITY, sum = 0;
        for (int j = 0; j < a->keys; j++) {
            const float *k = sf_reference_key(a, h / group, j);
            double first = 0, second = 0;
            for (int d = 0; k && d < dim; d++) {
                first += turned[d] * k[d];
                for (int e = 0; e < dim; e++) second += k[d] * covariance[d][e] * k[e];
            }
            logit[j] = k && j >= skip ? first * a->scale + second * a->scale * a->scale / 2 : -INFINITY;
            if (logit[j] > most) most = logit[j];
        }
        for (int j = 0; j < a->keys; j++) sum += logit[j] = exp(logit[j] - most);
        for (int j = 0; j < a->keys; j++) p[(int64_t)h * a->keys + j] = (float)(logit[j] / sum);
    }
    sf_host_free(b, logit);
    sf_meter_key_scores(b, a, (int64_t)a->heads * dim * dim * (a->queries + 2 * (int64_t)a->keys));
    return SF_OK;
}
