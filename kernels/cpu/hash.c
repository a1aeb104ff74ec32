/* CPU: keys hashed by the signs of random projections, and which a query meets. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"
#include "kernels/draw.h"

sf_status sf_cpu_normals(sf_backend *b, uint64_t stream, int64_t n, float *x)
{
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t i = 0; i < n; i++) x[i] = sf_draw_normal(stream, (uint64_t)i);
    sf_meter_scores(b, 0, n, 12 * n);
    return SF_OK;
}

sf_status sf_cpu_pick_at(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *out)
{
    for (int64_t r = 0; r < rows; r++) {
        const int32_t *list = at->index + r * at->stride;
        float *to = out + r * at->stride;
        for (int32_t e = 0; e < at->count[r]; e++) to[e] = x[r * n + list[e]];
        memset(to + at->count[r], 0, (size_t)(at->stride - at->count[r]) * sizeof *to);
    }
    sf_meter_scores(b, rows * at->stride, rows * at->stride, 0);
    return SF_OK;
}

/* Codes of all tables of one row x, two a word. */
static void encode(const sf_hash *hash, int dim, const float *x, const float *plane, int32_t *to)
{
    memset(to, 0, (size_t)((hash->tables + 1) / 2) * sizeof *to);
    for (int64_t p = 0; p < (int64_t)hash->bits * hash->tables; p++) {
        const float *along = plane + p * dim;
        float part[8] = {0}, dot = 0;
        for (int d = 0; d < dim; d++) part[d % 8] += x[d] * along[d];
        for (int i = 0; i < 8; i++) dot += part[i];
        int64_t t = p / hash->bits;
        if (dot > 0) to[t / 2] |= (int32_t)(1u << (p % hash->bits + 16 * (t % 2)));
    }
}

sf_status sf_cpu_hash_keys(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room, float *centre,
                           int32_t *code)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "hash_keys"));
    int64_t dim = a->head_dim, words = (hash->tables + 1) / 2, keys = hash->end - hash->begin;
    for (int g = 0; g < a->kv_heads; g++) {
        double sum[dim];
        memset(sum, 0, sizeof sum);
        for (int j = hash->begin; j < hash->end; j++)
            for (int d = 0; d < dim; d++) sum[d] += sf_cpu_row(a, g, j, false)[d];
        for (int d = 0; d < dim; d++) centre[g * dim + d] = (float)(sum[d] / (double)keys);
    }
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t unit = 0; unit < a->kv_heads * keys; unit++) {
        int64_t g = unit / keys, j = hash->begin + unit % keys;
        const float *k = sf_cpu_row(a, (int)g, j, false);
        float x[dim];
        for (int d = 0; d < dim; d++) x[d] = k[d] - centre[g * dim + d];
        encode(hash, (int)dim, x, plane, code + (g * room + j) * words);
    }
    sf_meter_hash_keys(b, a, hash);
    return SF_OK;
}

/* What a key of this cosine weighs: minus the log of its chance to be met. */
static float weight_of(const sf_hash *hash, double cosine)
{
    double u = pow(1 - acos(fmax(fmin(cosine, 1), -1)) / M_PI, hash->bits), miss = pow(1 - u, hash->tables - 1);
    double chance = 1 - miss * (1 - u) - (hash->least > 1 ? hash->tables * u * miss : 0);
    return (float)-log(fmax(chance, 0) + 1e-4);
}

sf_status sf_cpu_hash_matches(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room,
                              const float *centre, const int32_t *code, float *x)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "hash_matches"));
    int64_t dim = a->head_dim, words = (hash->tables + 1) / 2;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int64_t h = 0; h < a->heads; h++) {
        int64_t g = h / (a->heads / a->kv_heads);
        const float *q = (const float *)a->q + h * dim, *middle = centre + g * dim;
        float *to = x + h * a->keys;
        int32_t own[words];
        double length = 0;
        for (int d = 0; d < dim; d++) length += (double)q[d] * q[d];
        encode(hash, (int)dim, q, plane, own);
        for (int64_t j = 0; j < a->keys; j++) to[j] = 0;
        for (int64_t j = hash->begin; j < hash->end; j++) {
            const int32_t *key = code + (g * room + j) * words;
            int met = 0;
            for (int64_t w = 0; w < words; w++) {
                uint32_t differs = (uint32_t)(key[w] ^ own[w]);
                met += ((differs & 0xffff) == 0) + (2 * w + 1 < hash->tables && differs >> 16 == 0);
            }
            to[j] = -INFINITY;
            if (met < hash->least) continue;
            const float *k = sf_cpu_row(a, (int)g, j, false);
            double dot = 0, norm = 0;
            for (int d = 0; d < dim; d++) {
                double part = (double)k[d] - middle[d];
                dot += q[d] * part, norm += part * part;
            }
            to[j] = weight_of(hash, norm * length > 0 ? dot / sqrt(norm * length) : 0);
        }
    }
    sf_meter_hash_matches(b, a, hash);
    return SF_OK;
}
