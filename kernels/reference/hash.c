/* Reference: keys hashed by the signs of random projections, and which a query meets. */
#include <math.h>

#include "kernels/count.h"
#include "kernels/draw.h"
#include "kernels/host.h"
#include "kernels/reference/reference.h"

sf_status sf_reference_normals(sf_backend *b, uint64_t stream, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++) x[i] = sf_draw_normal(stream, (uint64_t)i);
    sf_meter_scores(b, 0, n, 12 * n);
    return SF_OK;
}

sf_status sf_reference_pick_at(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *out)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = 0; e < at->stride; e++)
            out[r * at->stride + e] = e < at->count[r] ? x[r * n + at->index[r * at->stride + e]] : 0;
    sf_meter_scores(b, rows * at->stride, rows * at->stride, 0);
    return SF_OK;
}

/* The code of table t. */
static uint32_t code_of(const sf_hash *hash, int dim, const double *x, const float *plane, int t)
{
    uint32_t code = 0;
    for (int i = 0; i < hash->bits; i++) {
        double dot = 0;
        for (int d = 0; d < dim; d++) dot += x[d] * plane[((int64_t)t * hash->bits + i) * dim + d];
        code |= (uint32_t)(dot > 0) << i;
    }
    return code;
}

sf_status sf_reference_hash_keys(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room,
                                 float *centre, int32_t *code)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "hash_keys"));
    int dim = a->head_dim;
    int64_t words = (hash->tables + 1) / 2;
    for (int g = 0; g < a->kv_heads; g++) {
        double x[dim];
        for (int d = 0; d < dim; d++) {
            double sum = 0;
            for (int j = hash->begin; j < hash->end; j++) sum += sf_reference_key(a, g, j)[d];
            centre[(int64_t)g * dim + d] = (float)(sum / (hash->end - hash->begin));
        }
        for (int j = hash->begin; j < hash->end; j++) {
            int32_t *to = code + (g * room + j) * words;
            for (int d = 0; d < dim; d++) x[d] = (double)sf_reference_key(a, g, j)[d] - centre[(int64_t)g * dim + d];
            for (int64_t w = 0; w < words; w++) to[w] = 0;
            for (int t = 0; t < hash->tables; t++) to[t / 2] |= (int32_t)(code_of(hash, dim, x, plane, t) << 16 * (t % 2));
        }
    }
    sf_meter_hash_keys(b, a, hash);
    return SF_OK;
}

sf_status sf_reference_hash_matches(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room,
                                    const float *centre, const int32_t *code, float *x)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "hash_matches"));
    int dim = a->head_dim;
    int64_t words = (hash->tables + 1) / 2;
    for (int h = 0; h < a->heads; h++) {
        int g = h / (a->heads / a->kv_heads);
        const float *from = (const float *)a->q + (int64_t)h * dim;
        double q[dim], length = 0;
        for (int d = 0; d < dim; d++) q[d] = from[d], length += q[d] * q[d];
        uint32_t own[hash->tables];
        for (int t = 0; t < hash->tables; t++) own[t] = code_of(hash, dim, q, plane, t);
        for (int j = 0; j < a->keys; j++) {
            float *to = x + (int64_t)h * a->keys + j;
            *to = 0;
            if (j < hash->begin || j >= hash->end) continue;
            const int32_t *key = code + (g * room + j) * words;
            int met = 0;
            for (int t = 0; t < hash->tables; t++) met += ((uint32_t)key[t / 2] >> 16 * (t % 2) & 0xffff) == own[t];
            double dot = 0, norm = 0;
            for (int d = 0; d < dim; d++) {
                double k = (double)sf_reference_key(a, g, j)[d] - centre[(int64_t)g * dim + d];
                dot += q[d] * k, norm += k * k;
            }
            double cosine = norm * length > 0 ? fmax(fmin(dot / sqrt(norm * length), 1), -1) : 0;
            double u = pow(1 - acos(cosine) / M_PI, hash->bits), miss = pow(1 - u, hash->tables);
            double chance = 1 - miss - (hash->least > 1 ? hash->tables * u * pow(1 - u, hash->tables - 1) : 0);
            *to = met >= hash->least ? (float)-log(fmax(chance, 0) + 1e-4) : -INFINITY;
        }
    }
    sf_meter_hash_matches(b, a, hash);
    return SF_OK;
}
