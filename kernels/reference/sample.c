/* Reference: samples of keys and what they stand for; keys in 4 bits. */
#include <math.h>

#include "kernels/count.h"
#include "kernels/draw.h"
#include "kernels/host.h"
#include "kernels/reference/reference.h"

sf_status sf_reference_draw(sf_backend *b, uint64_t stream, int64_t first, int64_t rows, int64_t n, const float *weight, float *x)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            float u = sf_draw_unit(sf_splitmix(stream, (uint64_t)(first + r)), (uint64_t)i);
            x[r * n + i] = weight ? weight[r * n + i] / u : u;
        }
    sf_meter_scores(b, weight ? rows * n : 0, rows * n, 2 * rows * n);
    return SF_OK;
}

static bool listed(const sf_lists *at, int64_t r, int64_t what)
{
    for (int32_t e = 0; e < at->count[r]; e++)
        if (at->index[r * at->stride + e] == what) return true;
    return false;
}

sf_status sf_reference_sample_bias(sf_backend *b, const float *x, const float *weight, int64_t rows, int64_t n, const sf_lists *at,
                                   float *bias)
{
    for (int64_t r = 0; r < rows; r++) {
        double population = 0, drawn = 0, left = 0;
        for (int64_t i = 0; i < n; i++) {
            if (!isfinite(x[r * n + i])) continue;
            population++;
            if (listed(at, r, i)) drawn++;
            else if (x[r * n + i] > left) left = x[r * n + i];
        }
        for (int64_t e = 0; e < at->stride; e++) {
            int64_t i = e < at->count[r] ? r * n + at->index[r * at->stride + e] : -1;
            double is = 1;
            if (i >= 0 && isfinite(x[i])) is = !weight ? population / drawn : weight[i] > 0 && left > weight[i] ? left / weight[i] : 1;
            bias[r * at->stride + e] = (float)log(is);
        }
    }
    sf_meter_scores(b, rows * n, rows * at->stride, rows * n);
    return SF_OK;
}

sf_status sf_reference_sample_moments(sf_backend *b, const sf_attention *a, const float *x, const sf_lists *at, bool values,
                                      sf_moments *moment)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "sample_moments"));
    int dim = a->head_dim;
    double *e;
    SF_TRY(sf_host_alloc(b, (size_t)(a->keys + 1) * (sizeof *e + 1), (void **)&e));
    uint8_t *mask = (uint8_t *)(e + a->keys + 1);
    for (int h = 0; h < a->heads; h++) {
        const float *own = x + (int64_t)h * a->keys;
        const int32_t *list = at->index + h * at->stride;
        int32_t m = at->count[h];
        double n = 0, taken = 0, drawn = 0, fixed = 0, sum = 0, squares = 0, fixed_v[dim], sum_v[dim], squares_v[dim];
        for (int j = 0; j < a->keys; j++) n += isfinite(own[j]), mask[j] = 0;
        for (int32_t i = 0; i < m; i++) mask[list[i]] = 1;
        sf_reference_softmax(a, h, 0, mask, e); /* shares of what is listed: scale does not matter */
        for (int d = 0; d < dim; d++) fixed_v[d] = sum_v[d] = squares_v[d] = 0;
        for (int32_t i = 0; i < m; i++) {
            double p = e[list[i]];
            const float *v = values ? sf_reference_value(a, h / (a->heads / a->kv_heads), list[i]) : NULL;
            bool free = isfinite(own[list[i]]);
            if (free) drawn++, sum += p, squares += p * p;
            else taken++, fixed += p;
            for (int d = a->rotated; v && d < dim; d++) {
                if (free) sum_v[d] += p * v[d], squares_v[d] += p * v[d] * p * v[d];
                else fixed_v[d] += p * v[d];
            }
        }
        double mean = sum / drawn, trace = 0, length = 0;
        for (int d = a->rotated; values && d < dim; d++) {
            trace += (squares_v[d] - sum_v[d] * sum_v[d] / drawn) / (drawn - 1);
            length += pow(fixed_v[d] + n * sum_v[d] / drawn, 2);
        }
        moment[h] = (sf_moments){.others = n, .taken = taken, .drawn = drawn, .total = fixed + n * mean,
                                 .variance = (squares - sum * mean) / (drawn - 1), .length = sqrt(length), .trace = trace};
    }
    sf_host_free(b, e);
    sf_meter_sample_moments(b, a, at->rows * at->stride, values);
    return SF_OK;
}

sf_status sf_reference_sample_sizes(sf_backend *b, const sf_moments *moment, int64_t rows, sf_promise promise, int64_t most, int32_t *count)
{
    return sf_host_sample_sizes(b, moment, rows, promise, most, count);
}

/* ---- keys in 4 bits ----------------------------------------------------------------------------------------------------- */

sf_status sf_reference_pack_keys(sf_backend *b, const sf_attention *a, int first, int64_t room, int32_t *code, float *range)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "pack_keys"));
    int64_t words = (a->head_dim + 7) / 8;
    for (int64_t g = 0; g < a->kv_heads; g++)
        for (int j = first; j < a->keys; j++) {
            const float *k = sf_reference_key(a, (int)g, j);
            float low = INFINITY, high = -INFINITY, step = NAN;
            for (int d = 0; k && d < a->head_dim; d++) low = fminf(low, k[d]), high = fmaxf(high, k[d]);
            if (k) step = (high - low) / 15;
            range[(g * room + j) * 2] = low, range[(g * room + j) * 2 + 1] = step;
            for (int64_t w = 0; w < words; w++) {
                uint32_t word = 0;
                for (int d = 0; k && d < 8 && w * 8 + d < a->head_dim; d++)
                    word |= (uint32_t)(step > 0 ? rintf((k[w * 8 + d] - low) / step) : 0) << 4 * d;
                code[(g * room + j) * words + w] = (int32_t)word;
            }
        }
    sf_meter_pack_keys(b, a, first);
    return SF_OK;
}

sf_status sf_reference_packed_probabilities(sf_backend *b, const sf_attention *a, int64_t room, const int32_t *code,
                                            const float *range, const sf_lists *at, float *p)
{
    int64_t words = (a->head_dim + 7) / 8, pairs = 0, group = a->heads / a->kv_heads;
    for (int64_t h = 0; h < a->heads; h++) {
        const float *q = (const float *)a->q + h * a->head_dim;
        float *own = p + h * a->keys;
        int64_t row = !at ? 0 : at->rows == a->heads ? h : at->rows == a->kv_heads ? h / group : 0, n = at ? at->count[row] : a->keys;
        double most = -INFINITY, sum = 0;
        for (int j = 0; j < a->keys; j++) own[j] = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            int64_t j = at ? at->index[row * at->stride + i] : i, key = h / group * room + j;
            double dot = 0;
            for (int d = 0; d < a->head_dim; d++) {
                int bits = (int)((uint32_t)code[key * words + d / 8] >> 4 * (d % 8) & 15);
                dot += (double)q[d] * (range[key * 2] + (double)range[key * 2 + 1] * bits);
            }
            if (isnan(range[key * 2 + 1])) continue;
            own[j] = (float)sf_reference_capped(a, dot * a->scale);
            most = fmax(most, own[j]);
        }
        pairs += at ? at->stride : n;
        for (int j = 0; j < a->keys; j++) sum += exp(own[j] - most);
        for (int j = 0; j < a->keys; j++)
            if (own[j] != -INFINITY) own[j] = (float)(exp(own[j] - most) / sum);
    }
    sf_meter_packed_probabilities(b, a, pairs, at && at->rows == a->heads ? pairs : pairs / group);
    return SF_OK;
}

sf_status sf_reference_spread(sf_backend *b, const float *y, int64_t rows, int64_t n, int page, const int32_t *member, int64_t members,
                              int64_t room, int64_t keys, float *x)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < keys; j++) {
            int64_t m = member ? member[r * members / rows * room + j] : j / page;
            x[r * keys + j] = m < 0 ? INFINITY : y[r * n + m];
        }
    sf_meter_scores(b, rows * (n + (member ? keys : 0)), rows * keys, 0);
    return SF_OK;
}
