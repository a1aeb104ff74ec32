/* CPU: samples of keys and what they stand for; keys in 4 bits. A row is one thread's. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"
#include "kernels/draw.h"
#include "kernels/host.h"

sf_status sf_cpu_draw(sf_backend *b, uint64_t stream, int64_t first, int64_t rows, int64_t n, const float *weight, float *x)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++) {
        uint64_t own = sf_splitmix(stream, (uint64_t)(first + r));
        for (int64_t i = 0; i < n; i++) x[r * n + i] = sf_draw_unit(own, (uint64_t)i);
        for (int64_t i = 0; weight && i < n; i++) x[r * n + i] = weight[r * n + i] / x[r * n + i];
    }
    sf_meter_scores(b, weight ? rows * n : 0, rows * n, 2 * rows * n);
    return SF_OK;
}

sf_status sf_cpu_sample_bias(sf_backend *b, const float *x, const float *weight, int64_t rows, int64_t n, const sf_lists *at, float *bias)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++) {
        const float *own = x + r * n, *w = weight ? weight + r * n : NULL;
        const int32_t *next = at->index + r * at->stride, *end = next + at->count[r];
        int64_t population = 0, drawn = 0;
        float left = 0;
        for (int64_t i = 0; i < n; i++) {
            bool in = next < end && *next == i;
            next += in;
            if (!isfinite(own[i])) continue;
            population++, drawn += in;
            if (!in && own[i] > left) left = own[i];
        }
        float uniform = drawn ? (float)log((double)population / (double)drawn) : 0;
        for (int64_t e = 0; e < at->stride; e++) {
            int64_t i = e < at->count[r] ? at->index[r * at->stride + e] : -1;
            float *to = bias + r * at->stride + e;
            *to = 0;
            if (i < 0 || !isfinite(own[i])) continue;
            *to = !w ? uniform : w[i] > 0 && left > w[i] ? (float)log((double)left / w[i]) : 0;
        }
    }
    sf_meter_scores(b, rows * n, rows * at->stride, rows * n);
    return SF_OK;
}

/* Of what is listed: how many were drawn, what is summed of those that were taken and of those drawn, and of their squares. */
typedef struct sums {
    double drawn, fixed, sum, squares;
} sums;

/* p [n]: exp(logit), to the same scale, of the keys listed. room: n pointers; scaled: the padded head dim. */
static void weigh(sf_backend *b, const sf_attention *a, int h, const int32_t *list, int n, const float **key, float *scaled, float *p)
{
    const float *q = (const float *)a->q + (int64_t)h * a->head_dim;
    memset(scaled, 0, (size_t)sf_cpu_padded(a->head_dim) * sizeof *scaled);
    for (int d = 0; d < a->head_dim; d++) scaled[d] = q[d] * (a->scale * LOG2E);
    for (int i = 0; i < n; i++) key[i] = sf_cpu_row(a, h / (a->heads / a->kv_heads), list[i], false);
    sf_cpu_tiles(b)->dots(scaled, 1, a->head_dim, key, n, p, 0);
    sf_cpu_tiles(b)->cap(p, n, a->softcap * LOG2E);
    float most = sf_cpu_tiles(b)->largest(p, n);
    for (int i = 0; i < n; i++) p[i] = exp2f(p[i] - most);
}

sf_status sf_cpu_sample_moments(sf_backend *b, const sf_attention *a, const float *x, const sf_lists *at, bool values, sf_moments *moment)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "sample_moments"));
    int dim = a->head_dim, group = a->heads / a->kv_heads;
    sf_mark mark = sf_scratch_mark(b);
    const float **key;
    float *weight, *scaled;
    double *vectors;
    SF_TRY(sf_cpu_room(b, at->stride, sizeof *key, (void **)&key));
    SF_TRY(sf_cpu_room(b, at->stride + 8, sizeof *weight, (void **)&weight));
    SF_TRY(sf_cpu_room(b, sf_cpu_padded(dim), sizeof *scaled, (void **)&scaled));
    SF_TRY(sf_cpu_room(b, 3 * dim, sizeof *vectors, (void **)&vectors));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int h = 0; h < a->heads; h++) {
        int64_t t = omp_get_thread_num();
        const int32_t *list = at->index + h * at->stride;
        const float *own = x + (int64_t)h * a->keys;
        float *p = weight + t * (at->stride + 8);
        double *v_sum = vectors + t * 3 * dim, *v_squares = v_sum + dim, *v_fixed = v_squares + dim, n = 0;
        sums m = {0};
        memset(v_sum, 0, 3 * (size_t)dim * sizeof *v_sum);
        for (int j = 0; j < a->keys; j++) n += isfinite(own[j]);
        weigh(b, a, h, list, at->count[h], key + t * at->stride, scaled + t * sf_cpu_padded(dim), p);
        for (int32_t i = 0; i < at->count[h]; i++) {
            bool drawn = isfinite(own[list[i]]);
            const float *v = values ? sf_cpu_row(a, h / group, list[i], true) : NULL;
            if (drawn) m.drawn++, m.sum += p[i], m.squares += (double)p[i] * p[i];
            else m.fixed += p[i];
            for (int d = a->rotated; v && d < dim; d++) {
                double part = (double)p[i] * v[d];
                if (drawn) v_sum[d] += part, v_squares[d] += part * part;
                else v_fixed[d] += part;
            }
        }
        double trace = 0, length = 0, mean = m.sum / m.drawn;
        for (int d = a->rotated; values && d < dim; d++) {
            double total = v_fixed[d] + n * v_sum[d] / m.drawn;
            trace += (v_squares[d] - v_sum[d] * v_sum[d] / m.drawn) / (m.drawn - 1);
            length += total * total;
        }
        moment[h] = (sf_moments){.others = n, .taken = at->count[h] - m.drawn, .drawn = m.drawn, .total = m.fixed + n * mean,
                                 .variance = (m.squares - m.sum * mean) / (m.drawn - 1), .length = sqrt(length), .trace = trace};
    }
    sf_scratch_release(b, mark);
    sf_meter_sample_moments(b, a, at->rows * at->stride, values);
    return SF_OK;
}

sf_status sf_cpu_sample_sizes(sf_backend *b, const sf_moments *moment, int64_t rows, sf_promise promise, int64_t most, int32_t *count)
{
    return sf_host_sample_sizes(b, moment, rows, promise, most, count);
}

/* ---- keys in 4 bits ----------------------------------------------------------------------------------------------------- */

sf_status sf_cpu_pack_keys(sf_backend *b, const sf_attention *a, int first, int64_t room, int32_t *code, float *range)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "pack_keys"));
    int64_t words = sf_cpu_parts(a->head_dim, 8), more = a->keys - first;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (more > 16)
    for (int64_t unit = 0; unit < a->kv_heads * more; unit++) {
        int64_t g = unit / more, j = first + unit % more, at = g * room + j;
        const float *k = sf_cpu_row(a, (int)g, j, false);
        float low = INFINITY, high = -INFINITY;
        memset(code + at * words, 0, (size_t)words * sizeof *code);
        for (int d = 0; k && d < a->head_dim; d++) {
            low = k[d] < low ? k[d] : low;
            high = k[d] > high ? k[d] : high;
        }
        float step = k ? (high - low) / 15 : NAN;
        range[at * 2] = low, range[at * 2 + 1] = step;
        for (int d = 0; step > 0 && d < a->head_dim; d++)
            code[at * words + d / 8] |= (int32_t)((uint32_t)rintf((k[d] - low) / step) << 4 * (d % 8));
    }
    sf_meter_pack_keys(b, a, first);
    return SF_OK;
}

sf_status sf_cpu_packed_probabilities(sf_backend *b, const sf_attention *a, int64_t room, const int32_t *code, const float *range,
                                      const sf_lists *at, float *p)
{
    int64_t words = sf_cpu_parts(a->head_dim, 8), pairs = 0, group = a->heads / a->kv_heads;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(+ : pairs)
    for (int64_t h = 0; h < a->heads; h++) {
        const float *q = (const float *)a->q + h * a->head_dim;
        float *own = p + h * a->keys, all = 0, most = -INFINITY;
        int64_t row = !at ? 0 : at->rows == a->heads ? h : at->rows == a->kv_heads ? h / group : 0, n = at ? at->count[row] : a->keys;
        double sum = 0;
        for (int d = 0; d < a->head_dim; d++) all += q[d];
        for (int j = 0; j < a->keys; j++) own[j] = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            int64_t j = at ? at->index[row * at->stride + i] : i, key = h / group * room + j;
            float dot = 0, step = range[key * 2 + 1];
            for (int64_t w = 0; w < words; w++) {
                uint32_t word = (uint32_t)code[key * words + w];
                for (int d = 0; d < 8 && w * 8 + d < a->head_dim; d++) dot += q[w * 8 + d] * (float)(word >> 4 * d & 15);
            }
            if (isnan(step)) continue;
            own[j] = (all * range[key * 2] + dot * step) * a->scale;
            if (a->softcap != 0) own[j] = a->softcap * tanhf(own[j] / a->softcap);
            most = own[j] > most ? own[j] : most;
        }
        pairs += at ? at->stride : n;
        for (int j = 0; j < a->keys; j++)
            if (own[j] != -INFINITY) sum += own[j] = expf(own[j] - most);
        for (int j = 0; j < a->keys; j++)
            if (own[j] != -INFINITY) own[j] = (float)(own[j] / sum);
    }
    sf_meter_packed_probabilities(b, a, pairs, at && at->rows == a->heads ? pairs : pairs / group);
    return SF_OK;
}

sf_status sf_cpu_spread(sf_backend *b, const float *y, int64_t rows, int64_t n, int page, const int32_t *member, int64_t members,
                        int64_t room, int64_t keys, float *x)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * keys > 1 << 15)
    for (int64_t r = 0; r < rows; r++) {
        const int32_t *own = member ? member + r * members / rows * room : NULL;
        for (int64_t j = 0; j < keys; j++) {
            int64_t m = own ? own[j] : j / page;
            x[r * keys + j] = m < 0 ? INFINITY : y[r * n + m];
        }
    }
    sf_meter_scores(b, rows * (n + (member ? keys : 0)), rows * keys, 0);
    return SF_OK;
}
