/* Reference: the estimation primitives that look at queries, keys and blocks of them. */
#include "kernels/count.h"
#include "kernels/reference/reference.h"

#include <math.h>
#include <string.h>

#include "kernels/host.h"

static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

sf_status sf_reference_probe(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce, float *column,
                             float *diagonal)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "probe"));
    int n = a->keys, rows = (int)parts(a->queries, step), w = window < rows ? window : rows;
    double *p, *columns, *diagonals;
    SF_TRY(sf_host_alloc(b, (size_t)n * (3 * sizeof *p + 1), (void **)&p));
    columns = p + n, diagonals = columns + n;
    uint8_t *mask = (uint8_t *)(diagonals + n);
    for (int h = 0; h < a->heads; h++) {
        memset(columns, 0, 2 * (size_t)n * sizeof *columns);
        for (int i = a->queries - 1 - (w - 1) * step; i < a->queries; i += step) {
            int position = a->keys - a->queries + i;
            sf_reference_mask(a, NULL, h, i, mask);
            sf_reference_softmax(a, h, i, mask, p);
            for (int j = 0; j <= position; j++) {
                if (reduce != SF_MAX)
                    columns[j] += p[j];
                else if (p[j] > columns[j])
                    columns[j] = p[j];
                diagonals[position - j] += p[j];
            }
        }
        for (int j = 0; j < n; j++) {
            if (column) column[(int64_t)h * n + j] = (float)(reduce == SF_MEAN ? columns[j] / w : columns[j]);
            if (diagonal) diagonal[(int64_t)h * n + j] = (float)diagonals[j];
        }
    }
    sf_host_free(b, p);
    sf_meter_probe(b, a, window, step, column, diagonal);
    return SF_OK;
}

sf_status sf_reference_key_probabilities(sf_backend *b, const sf_attention *a, float *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_probabilities"));
    double *p;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * (sizeof *p + 1), (void **)&p));
    uint8_t *mask = (uint8_t *)(p + a->keys);
    for (int h = 0; h < a->heads; h++) {
        sf_reference_mask(a, NULL, h, 0, mask);
        sf_reference_weights(a, h, 0, mask, p);
        for (int j = 0; j < a->keys; j++) out[(int64_t)h * a->keys + j] = (float)p[j];
    }
    sf_host_free(b, p);
    sf_meter_key_probabilities(b, a);
    return SF_OK;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

sf_status sf_reference_block_means(sf_backend *b, const sf_attention *a, bool of_keys, int block, float *out)
{
    if (of_keys) SF_TRY(sf_cache_refuse(&a->kv.prompt, "block_means"));
    int heads = of_keys ? a->kv_heads : a->heads, rows = of_keys ? a->keys : a->queries;
    for (int h = 0; h < heads; h++) {
        for (int first = 0; first < rows; first += block) {
            for (int d = 0; d < a->head_dim; d++) {
                double sum = 0;
                int there = 0;
                for (int r = first; r < first + block && r < rows; r++) {
                    const float *x = of_keys ? sf_reference_key(a, h, r)
                                             : (const float *)a->q + ((int64_t)r * a->heads + h) * a->head_dim;
                    if (x) sum += x[d], there++;
                }
                *out++ = (float)(sum / there); /* NaN where a compacted cache holds none of them */
            }
        }
    }
    sf_meter_block_means(b, a, of_keys, block);
    return SF_OK;
}

/* Key blocks that query block i may see, at least in part. */
static int64_t visible_blocks(const sf_attention *a, int block_q, int block_k, int64_t i)
{
    int64_t end = (i + 1) * block_q < a->queries ? (i + 1) * block_q : a->queries;
    return (a->keys - a->queries + end - 1) / block_k + 1;
}

/* score[j] for the visible key blocks of query block i and query head h. */
static void block_scores(const sf_attention *a, const float *q_mean, int block_q, const float *k_mean, int block_k,
                         int h, int64_t i, double *score)
{
    int64_t g = h / (a->heads / a->kv_heads), dim = a->head_dim;
    const float *q = q_mean + (h * parts(a->queries, block_q) + i) * dim,
                *k = k_mean + g * parts(a->keys, block_k) * dim;
    for (int64_t j = 0; j < visible_blocks(a, block_q, block_k, i); j++) {
        score[j] = 0;
        for (int d = 0; d < dim; d++) score[j] += (double)q[d] * k[j * dim + d];
        score[j] *= a->scale;
    }
}

sf_status sf_reference_top_blocks(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q,
                                  const float *k_mean, int block_k, int heads, int k, int sinks, int local,
                                  sf_lists *out)
{
    int64_t queries = parts(a->queries, block_q), blocks = parts(a->keys, block_k), group = a->heads / heads;
    double *score;
    SF_TRY(sf_host_alloc(b, (size_t)blocks * (sizeof *score + sizeof(float)) * 2, (void **)&score));
    double *sum = score + blocks;
    float *rounded = (float *)(sum + blocks);
    sf_status status = SF_OK;
    out->rows = heads * queries;
    for (int s = 0; s < heads; s++) {
        for (int64_t i = 0; i < queries && status == SF_OK; i++) {
            int64_t visible = visible_blocks(a, block_q, block_k, i);
            memset(sum, 0, (size_t)blocks * sizeof *sum);
            for (int64_t m = 0; m < group; m++) {
                block_scores(a, q_mean, block_q, k_mean, block_k, (int)(s * group + m), i, score);
                for (int64_t j = 0; j < visible; j++) sum[j] += score[j];
            }
            for (int64_t j = 0; j < visible; j++) {
                bool forced = j < sinks || j >= visible - local;
                rounded[j] = forced ? INFINITY : (float)sum[j];
            }
            int64_t row = s * queries + i;
            status = sf_reference_best(rounded, visible, k, out->index + row * out->stride, &out->count[row]);
        }
    }
    sf_host_free(b, score);
    sf_meter_top_blocks(b, a, block_q, block_k);
    return status;
}

sf_status sf_reference_block_probabilities(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q,
                                           const float *k_mean, int block_k, float *p)
{
    int64_t queries = parts(a->queries, block_q), blocks = parts(a->keys, block_k);
    double *score;
    SF_TRY(sf_host_alloc(b, (size_t)blocks * sizeof *score, (void **)&score));
    for (int h = 0; h < a->heads; h++) {
        for (int64_t i = 0; i < queries; i++) {
            int64_t visible = visible_blocks(a, block_q, block_k, i);
            block_scores(a, q_mean, block_q, k_mean, block_k, h, i, score);
            double largest = -INFINITY, sum = 0;
            for (int64_t j = 0; j < visible; j++) largest = score[j] > largest ? score[j] : largest;
            for (int64_t j = 0; j < visible; j++) sum += score[j] = exp(score[j] - largest);
            for (int64_t j = 0; j < blocks; j++)
                p[(h * queries + i) * blocks + j] = j < visible ? (float)(score[j] / sum) : -INFINITY;
        }
    }
    sf_host_free(b, score);
    sf_meter_block_probabilities(b, a, block_q, block_k);
    return SF_OK;
}

sf_status sf_reference_top_block_mass(sf_backend *b, const sf_attention *a, int block_q, int block_k, int heads, int k,
                                      sf_lists *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "top_block_mass"));
    int64_t queries = parts(a->queries, block_q), blocks = parts(a->keys, block_k), n = a->keys,
            group = a->heads / heads;
    double *p;
    SF_TRY(sf_host_alloc(b, (size_t)n * (sizeof *p + 1) + (size_t)blocks * (sizeof *p + sizeof(float)), (void **)&p));
    double *mass = p + n;
    float *rounded = (float *)(mass + blocks);
    uint8_t *mask = (uint8_t *)(rounded + blocks);
    sf_status status = SF_OK;
    out->rows = heads * queries;
    for (int s = 0; s < heads; s++) {
        for (int64_t i = 0; i < queries && status == SF_OK; i++) {
            memset(mass, 0, (size_t)blocks * sizeof *mass);
            for (int64_t r = i * block_q; r < (i + 1) * block_q && r < a->queries; r++) {
                for (int64_t m = 0; m < group; m++) {
                    int h = (int)(s * group + m);
                    sf_reference_mask(a, NULL, h, (int)r, mask);
                    sf_reference_softmax(a, h, (int)r, mask, p);
                    for (int64_t j = 0; j < n; j++) mass[j / block_k] += p[j];
                }
            }
            int64_t row = s * queries + i, visible = visible_blocks(a, block_q, block_k, i);
            for (int64_t j = 0; j < visible; j++) rounded[j] = (float)mass[j];
            status = sf_reference_best(rounded, visible, k, out->index + row * out->stride, &out->count[row]);
        }
    }
    sf_host_free(b, p);
    sf_meter_top_block_mass(b, a);
    return status;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

sf_status sf_reference_page_bounds(sf_backend *b, const sf_attention *a, int page, int first, int64_t pages, float *low,
                                   float *high)
{
    sf_mark mark = sf_scratch_mark(b);
    sf_attention own;
    SF_TRY(sf_reference_unpacked(b, a, &own));
    for (int g = 0; g < a->kv_heads; g++) {
        for (int64_t p = first / page; p * page < a->keys; p++) {
            for (int d = 0; d < a->head_dim; d++) {
                float least = NAN, most = NAN; /* stay so where a compacted cache holds no key of the page */
                for (int64_t j = p * page; j < (p + 1) * page && j < a->keys; j++) {
                    const float *k = sf_reference_key(&own, g, (int)j);
                    if (!k) continue;
                    if (!(k[d] >= least)) least = k[d];
                    if (!(k[d] <= most)) most = k[d];
                }
                low[(g * pages + p) * a->head_dim + d] = least;
                high[(g * pages + p) * a->head_dim + d] = most;
            }
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_page_bounds(b, a, page, first);
    return SF_OK;
}

sf_status sf_reference_page_scores(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                                   const float *high, float *score)
{
    int64_t there = parts(a->keys, page), group = a->heads / a->kv_heads, dim = a->head_dim;
    for (int64_t g = 0; g < a->kv_heads; g++) {
        for (int64_t p = 0; p < there; p++) {
            double sum = 0;
            for (int64_t h = g * group; h < (g + 1) * group; h++) {
                for (int64_t d = 0; d < dim; d++) {
                    double q = ((const float *)a->q)[h * dim + d];
                    double at_low = q * low[(g * pages + p) * dim + d], at_high = q * high[(g * pages + p) * dim + d];
                    sum += at_low > at_high ? at_low : at_high;
                }
            }
            score[g * there + p] = (float)sum;
        }
    }
    sf_meter_page_scores(b, a, page);
    return SF_OK;
}
