/* Samples of keys and what they stand for; keys in 4 bits. Plain kernels: a block a row, a warp or a thread a key.
 *
 * Test: make test-cuda ("samples"). */
#include "kernels/cuda/select.cuh"
extern "C" {
#include "kernels/count.h"
}
#include "kernels/draw.h"

enum { THREADS = 256, WARPS = THREADS / 32 };

static dim3 grid_of(int64_t n, int64_t rows)
{
    int64_t blocks = ceil_div<int64_t>(n, THREADS);
    return dim3((unsigned)(blocks < 1 ? 1 : blocks > 4096 ? 4096 : blocks), (unsigned)rows);
}

#define FOR_ROW(i, n) for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < (n); i += (int64_t)gridDim.x * THREADS)

__global__ void draw(uint64_t stream, int64_t first, int64_t n, const float *weight, float *x)
{
    uint64_t own = sf_splitmix(stream, (uint64_t)(first + blockIdx.y));
    int64_t row = blockIdx.y * n;
    FOR_ROW(i, n)
    {
        float u = sf_draw_unit(own, (uint64_t)i);
        x[row + i] = weight ? __fdiv_rn(weight[row + i], u) : u;
    }
}

sf_status sf_cuda_draw(sf_backend *b, uint64_t stream, int64_t first, int64_t rows, int64_t n, const float *weight, float *x)
{
    if (rows && n) {
        draw<<<grid_of(n, rows), THREADS, 0, sf_cuda_of(b)->stream>>>(stream, first, n, weight, x);
        LAUNCH_TRY(draw);
    }
    sf_meter_scores(b, weight ? rows * n : 0, rows * n, 2 * rows * n);
    return SF_OK;
}

/* Whether an ascending list holds i. */
__device__ static inline bool holds(const int32_t *list, int n, int64_t i)
{
    int low = 0, high = n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (list[middle] < i) low = middle + 1;
        else high = middle;
    }
    return low < n && list[low] == i;
}

__global__ void sample_bias(const float *x, const float *weight, int64_t n, sf_lists at, float *bias)
{
    __shared__ float shared[32];
    int64_t row = blockIdx.x;
    const int32_t *list = at.index + row * at.stride;
    int count = at.count[row];
    float population = 0, drawn = 0, left = 0; /* counts are below 2^24 in a thread, and so is their sum */
    x += row * n, bias += row * at.stride;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
        if (!isfinite(x[i])) continue;
        bool in = holds(list, count, i);
        population++, drawn += in;
        if (!in) left = fmaxf(left, x[i]);
    }
    population = block_sum(population, shared), drawn = block_sum(drawn, shared), left = block_max(left, shared);
    float uniform = drawn > 0 ? (float)log((double)population / (double)drawn) : 0;
    for (int64_t e = threadIdx.x; e < at.stride; e += THREADS) {
        float is = 0;
        if (e < count && isfinite(x[list[e]])) {
            float w = weight ? weight[row * n + list[e]] : 0;
            is = !weight ? uniform : w > 0 && left > w ? (float)log((double)left / (double)w) : 0;
        }
        bias[e] = is;
    }
}

sf_status sf_cuda_sample_bias(sf_backend *b, const float *x, const float *weight, int64_t rows, int64_t n, const sf_lists *at,
                              float *bias)
{
    if (rows) {
        sample_bias<<<(unsigned)rows, THREADS, 0, sf_cuda_of(b)->stream>>>(x, weight, n, *at, bias);
        LAUNCH_TRY(sample_bias);
    }
    sf_meter_scores(b, rows * n, rows * at->stride, rows * n);
    return SF_OK;
}

/* ---- sizes of samples --------------------------------------------------------------------------------------------------- */

/* Sum over the block in a fixed order. shared: WARPS doubles. */
__device__ static double sum_of_block(double x, double *shared)
{
    for (int i = 16; i; i >>= 1) x += __shfl_xor_sync(~0u, x, i);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    double sum = 0;
    for (int i = 0; i < WARPS; i++) sum += shared[i];
    return sum;
}

/* One block a query head. weight: room for at.stride floats a head. */
__global__ void sample_moments(const float *x, sf_lists at, const bf16 *q, sf_kv kv, int N, int group, int D, int first, float scale, float cap,
                               bool values, float *weight, sf_moments *moment)
{
    __shared__ float shared[32], query[SF_CUDA_HEAD_DIM];
    __shared__ double sums[WARPS];
    int h = blockIdx.x, lane = threadIdx.x % 32, m = at.count[h];
    const int32_t *list = at.index + h * at.stride;
    float most = -INFINITY;
    x += (int64_t)h * N, weight += h * at.stride;
    for (int d = threadIdx.x; d < D; d += THREADS) query[d] = __bfloat162float(q[(int64_t)h * D + d]) * scale;
    __syncthreads();
    for (int i = threadIdx.x / 32; i < m; i += WARPS) {
        const bf16 *k = sf_cuda_kv_row(kv, h / group, list[i], D, false);
        float dot = 0;
        for (int d = lane; d < D; d += 32) dot += query[d] * __bfloat162float(k[d]);
        dot = capped(warp_sum(dot), cap);
        if (lane == 0) weight[i] = dot;
        most = fmaxf(most, dot);
    }
    most = block_max(most, shared);
    __syncthreads();
    double n = 0, drawn = 0, fixed = 0, sum = 0, squares = 0;
    for (int j = threadIdx.x; j < N; j += THREADS) n += isfinite(x[j]);
    for (int i = threadIdx.x; i < m; i += THREADS) {
        double p = weight[i] = expf(weight[i] - most);
        if (isfinite(x[list[i]])) drawn++, sum += p, squares += p * p;
        else fixed += p;
    }
    n = sum_of_block(n, sums), drawn = sum_of_block(drawn, sums), fixed = sum_of_block(fixed, sums);
    sum = sum_of_block(sum, sums), squares = sum_of_block(squares, sums);
    double trace = 0, length = 0;
    __syncthreads();
    if (values) { /* a thread a dimension */
        for (int d = first + threadIdx.x; d < D; d += THREADS) {
            double v_fixed = 0, v_sum = 0, v_squares = 0;
            for (int i = 0; i < m; i++) {
                double part = (double)weight[i] * __bfloat162float(sf_cuda_kv_row(kv, h / group, list[i], D, true)[d]);
                if (isfinite(x[list[i]])) v_sum += part, v_squares += part * part;
                else v_fixed += part;
            }
            trace += (v_squares - v_sum * v_sum / drawn) / (drawn - 1);
            length += (v_fixed + n * v_sum / drawn) * (v_fixed + n * v_sum / drawn);
        }
        trace = sum_of_block(trace, sums), length = sum_of_block(length, sums);
    }
    if (threadIdx.x == 0)
        moment[h] = {n, m - drawn, drawn, fixed + n * sum / drawn, (squares - sum * sum / drawn) / (drawn - 1), sqrt(length), trace};
}

sf_status sf_cuda_sample_moments(sf_backend *b, const sf_attention *a, const float *x, const sf_lists *at, bool values, sf_moments *moment)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "sample_moments"));
    if (a->head_dim > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most %d is built", a->head_dim, SF_CUDA_HEAD_DIM);
    float *weight;
    SF_TRY(sf_cuda_workspace(b, (size_t)(a->heads * at->stride + 1) * sizeof *weight, (void **)&weight));
    sample_moments<<<a->heads, THREADS, 0, sf_cuda_of(b)->stream>>>(x, *at, (const bf16 *)a->q, a->kv, a->keys, a->heads / a->kv_heads,
                                                                    a->head_dim, a->rotated, a->scale, a->softcap, values, weight, moment);
    LAUNCH_TRY(sample_moments);
    sf_meter_sample_moments(b, a, at->rows * at->stride, values);
    return SF_OK;
}

__global__ void __launch_bounds__(1024) sample_sizes(const sf_moments *moment, int rows, sf_promise promise, long long most, int32_t *count)
{
    auto weigh = [=](int k) {
        sf_promise tried = sf_promise_at(promise, sf_dial_at(k));
        long long sum = 0;
        for (int r = threadIdx.x % 32; r < rows; r += 32) sum += sf_sample_size(&moment[r], tried);
        return sum;
    };
    if (most >= 0) promise = sf_promise_at(promise, sf_dial_at(sf_cuda_largest_dial(most, weigh)));
    for (int r = threadIdx.x; r < rows; r += blockDim.x) count[r] = sf_sample_size(&moment[r], promise);
}

sf_status sf_cuda_sample_sizes(sf_backend *b, const sf_moments *moment, int64_t rows, sf_promise promise, int64_t most, int32_t *count)
{
    if (!rows) return SF_OK;
    sample_sizes<<<1, 1024, 0, sf_cuda_of(b)->stream>>>(moment, (int)rows, promise, most, count);
    LAUNCH_TRY(sample_sizes);
    return SF_OK;
}

/* ---- keys in 4 bits ----------------------------------------------------------------------------------------------------- */

/* A warp a key; lane w packs words w, w + 32, … */
__global__ void pack_keys(sf_kv kv, int first, int N, int D, int64_t room, int32_t *code, float *range)
{
    int g = blockIdx.y, lane = threadIdx.x % 32, words = (D + 7) / 8;
    for (int j = first + blockIdx.x * WARPS + threadIdx.x / 32; j < N; j += gridDim.x * WARPS) {
        const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
        float low = INFINITY, high = -INFINITY;
        for (int d = lane; k && d < D; d += 32) low = fminf(low, __bfloat162float(k[d])), high = fmaxf(high, __bfloat162float(k[d]));
        low = -warp_max(-low), high = warp_max(high);
        float step = k ? __fdiv_rn(high - low, 15.f) : NAN;
        int64_t at = g * room + j;
        if (lane == 0) range[at * 2] = low, range[at * 2 + 1] = step;
        for (int w = lane; w < words; w += 32) {
            uint32_t word = 0;
            for (int d = 0; step > 0 && d < 8 && w * 8 + d < D; d++)
                word |= (uint32_t)rintf(__fdiv_rn(__bfloat162float(k[w * 8 + d]) - low, step)) << 4 * d;
            code[at * words + w] = (int32_t)word;
        }
    }
}

sf_status sf_cuda_pack_keys(sf_backend *b, const sf_attention *a, int first, int64_t room, int32_t *code, float *range)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "pack_keys"));
    if (a->keys > first) {
        int blocks = ceil_div(a->keys - first, (int)WARPS);
        pack_keys<<<dim3(blocks < 4096 ? blocks : 4096, a->kv_heads), THREADS, 0, sf_cuda_of(b)->stream>>>(a->kv, first, a->keys,
                                                                                                     a->head_dim, room, code, range);
        LAUNCH_TRY(pack_keys);
    }
    sf_meter_pack_keys(b, a, first);
    return SF_OK;
}

/* Logits, a thread a key; p is -INFINITY before. at.count NULL: all keys. */
__global__ void packed_logits(const bf16 *q, int N, int group, int heads, int D, float scale, float cap, int64_t room,
                              const int32_t *code, const float *range, sf_lists at, float *p)
{
    __shared__ float query[SF_CUDA_HEAD_DIM];
    __shared__ float shared[32];
    int h = blockIdx.y, words = (D + 7) / 8;
    float own = 0;
    for (int d = threadIdx.x; d < D; d += THREADS) own += query[d] = __bfloat162float(q[(int64_t)h * D + d]);
    float all = block_sum(own, shared);
    int64_t row = at.rows == heads ? h : at.rows == heads / group ? h / group : 0;
    __syncthreads();
    FOR_ROW(i, at.count ? at.count[row] : N)
    {
        int64_t j = at.count ? at.index[row * at.stride + i] : i, key = h / group * room + j;
        float dot = 0, step = range[key * 2 + 1];
        for (int w = 0; w < words; w++) {
            uint32_t word = (uint32_t)code[key * words + w];
            for (int d = 0; d < 8 && w * 8 + d < D; d++) dot += query[w * 8 + d] * (float)(word >> 4 * d & 15);
        }
        if (!isnan(step)) p[(int64_t)h * N + j] = capped((all * range[key * 2] + dot * step) * scale, cap);
    }
}

__global__ void fill_with(float *x, int64_t n, float value) { FOR_ROW(i, n) x[i] = value; }

/* Of each row, over its entries that are not -INFINITY. */
__global__ void soften(float *x, int64_t n)
{
    __shared__ float shared[32];
    float *row = x + blockIdx.x * n, most = -INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) most = fmaxf(most, row[i]);
    most = block_max(most, shared);
    for (int64_t i = threadIdx.x; i < n; i += THREADS)
        if (row[i] != -INFINITY) sum += row[i] = expf(row[i] - most);
    sum = block_sum(sum, shared);
    for (int64_t i = threadIdx.x; i < n; i += THREADS)
        if (row[i] != -INFINITY) row[i] /= sum;
}

sf_status sf_cuda_packed_probabilities(sf_backend *b, const sf_attention *a, int64_t room, const int32_t *code, const float *range,
                                       const sf_lists *at, float *p)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int64_t n = (int64_t)a->heads * a->keys, rows = at ? at->rows : 1, all = at ? rows * at->stride : a->keys, group = a->heads / a->kv_heads;
    if (a->head_dim > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most %d is built", a->head_dim, SF_CUDA_HEAD_DIM);
    fill_with<<<grid_of(n, 1), THREADS, 0, stream>>>(p, n, -INFINITY);
    LAUNCH_TRY(fill_with);
    packed_logits<<<grid_of(at ? at->stride : a->keys, a->heads), THREADS, 0, stream>>>(
        (const bf16 *)a->q, a->keys, (int)group, a->heads, a->head_dim, a->scale, a->softcap, room, code, range, at ? *at : sf_lists{}, p);
    LAUNCH_TRY(packed_logits);
    soften<<<a->heads, THREADS, 0, stream>>>(p, a->keys);
    LAUNCH_TRY(soften);
    int64_t pairs = all * (a->heads / rows);
    sf_meter_packed_probabilities(b, a, pairs, rows == a->heads ? pairs : pairs / group);
    return SF_OK;
}

__global__ void spread(const float *y, int64_t rows, int64_t n, int page, const int32_t *member, int64_t members, int64_t room,
                       int64_t keys, float *x)
{
    int64_t r = blockIdx.y;
    FOR_ROW(j, keys)
    {
        int64_t m = member ? member[r * members / rows * room + j] : j / page;
        x[r * keys + j] = m < 0 ? INFINITY : y[r * n + m];
    }
}

sf_status sf_cuda_spread(sf_backend *b, const float *y, int64_t rows, int64_t n, int page, const int32_t *member, int64_t members,
                         int64_t room, int64_t keys, float *x)
{
    if (rows && keys) {
        spread<<<grid_of(keys, rows), THREADS, 0, sf_cuda_of(b)->stream>>>(y, rows, n, page, member, members, room, keys, x);
        LAUNCH_TRY(spread);
    }
    sf_meter_scores(b, rows * (n + (member ? keys : 0)), rows * keys, 0);
    return SF_OK;
}
