/* What trained methods make of queries, in host memory: loops that the fillings there share (host.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/host.h"

/* How much larger the query of row t is than the projection that it was. */
static float grown(const sf_attention *a, int64_t t)
{
    const sf_query_scale *s = &a->scaled;
    const float by = s->by != 0 ? s->by : 1;
    if (s->growth == 0) return by;
    return by * (1 + s->growth * logf(1 + floorf((float)(a->keys - a->queries + t + s->from) / (float)s->every)));
}

/* <w, q>, w [D] being turned as q was, by cosine and sine [D/2], which is the product of the two before. */
static double turned_product(const sf_attention *a, const float *w, const float *cosine, const float *sine, const float *q)
{
    const int half = a->head_dim / 2, apart = a->interleaved ? 1 : half, step = a->interleaved ? 2 : 1;
    double sum = 0;
    for (int d = 0; d < half; d++) {
        const float c = cosine[d], s = sine[d], u = w[step * d], v = w[step * d + apart];
        sum += (double)(u * c - v * s) * q[step * d] + (double)(u * s + v * c) * q[step * d + apart];
    }
    return sum;
}

sf_status sf_host_query_gates(sf_backend *b, const sf_attention *a, const float *weight, const float *slope, float *gate, int64_t stride)
{
    const int64_t dim = a->head_dim, half = dim / 2, group = a->heads / a->kv_heads, first = a->keys - a->queries;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t t = 0; t < a->queries; t++) {
        float cosine[half + 1], sine[half + 1]; /* in fp32 as the model's own tables (harness/engine/rope.h) */
        for (int64_t d = 0; d < half; d++) {
            const float angle = (float)(first + t) * a->frequency[d];
            cosine[d] = cosf(angle), sine[d] = sinf(angle);
        }
        for (int64_t g = 0; g < a->kv_heads; g++) {
            const float *q = (const float *)a->q + (t * a->heads + g * group) * dim;
            const float product = (float)turned_product(a, weight + g * dim, cosine, sine, q) / grown(a, t);
            gate[g * stride + t] = slope ? product + slope[g] * (float)(first + t) : product;
        }
    }
    sf_meter_query_gates(b, a, slope != NULL);
    return SF_OK;
}

sf_status sf_host_marks(sf_backend *b, const float *x, int64_t from, int64_t rows, int64_t n, const float *most, float *y, int64_t to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) y[r * to + i] = x[r * from + i] <= most[r] ? 0 : -INFINITY;
    sf_meter_scores(b, rows * n, rows * n, rows * n);
    return SF_OK;
}

/* The best so far, in order of their numbers. */
typedef struct best {
    int64_t n;
    int32_t *index;
} best;

/* x[j] may be chosen too; of equal scores the first stay. */
static void offer(best *b, int64_t k, const float *x, int32_t j)
{
    int64_t out = 0;
    if (k == 0 || !(x[j] > -INFINITY)) return;
    for (int64_t i = 1; b->n == k && i < k; i++)
        if (x[b->index[i]] <= x[b->index[out]]) out = i;
    if (b->n == k && x[j] <= x[b->index[out]]) return;
    if (b->n == k) memmove(b->index + out, b->index + out + 1, (size_t)(k - 1 - out) * sizeof *b->index), b->n--;
    b->index[b->n++] = j;
}

sf_status sf_host_top_running(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, int64_t behind, sf_lists *out)
{
    if (k > n) k = n;
    int32_t *room = malloc((size_t)(rows * k + 1) * sizeof *room);
    if (!room) return sf_fail(SF_NO_MEMORY, "top_running: the %lld best of %lld rows", (long long)k, (long long)rows);
    out->rows = rows * n;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        best so_far = {0, room + r * k};
        for (int64_t i = 0; i < n; i++) {
            if (i >= behind) offer(&so_far, k, x + r * n, (int32_t)(i - behind));
            out->count[r * n + i] = (int32_t)so_far.n;
            memcpy(out->index + (r * n + i) * out->stride, so_far.index, (size_t)so_far.n * sizeof *so_far.index);
        }
    }
    free(room);
    sf_meter_select(b, rows * n);
    return SF_OK;
}
