/* Probabilities over listed keys, scores of keys by themselves, and the small algebra of scores. Plain kernels: a block a
 * row, a warp a key; none of them is where time goes.
 *
 * Not run on a device yet: parity with the reference is to be shown by tests/cuda.sh. */
#include "kernels/cuda/rows.cuh"
extern "C" {
#include "kernels/count.h"
}

#include <stdlib.h>

enum { THREADS = 256, WARPS = THREADS / 32 };

/* One block a query head. */
__global__ void listed_probabilities(sf_lists at, const bf16 *q, rows keys, int N, int heads, int group, float scale, float cap, float *p)
{
    __shared__ float shared[32];
    int h = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int64_t row = at.rows == heads ? h : at.rows == heads / group ? h / group : 0;
    const int32_t *list = at.index + row * at.stride;
    int n = at.count[row];
    float most = -INFINITY, sum = 0;
    p += (int64_t)h * N, q += (int64_t)h * keys.D;
    for (int j = threadIdx.x; j < N; j += THREADS) p[j] = 0;
    __syncthreads();
    for (int i = warp; i < n; i += WARPS) {
        const bf16 *k = row_at(keys, h / group, list[i]);
        float dot = 0;
        for (int d = lane; d < keys.D; d += 32) dot += __bfloat162float(q[d]) * __bfloat162float(k[d]);
        dot = capped(warp_sum(dot) * scale, cap);
        most = fmaxf(most, dot);
        if (lane == 0) p[list[i]] = dot;
    }
    most = block_max(most, shared);
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS) sum += p[list[i]] = expf(p[list[i]] - most);
    sum = block_sum(sum, shared);
    for (int i = threadIdx.x; i < n; i += THREADS) p[list[i]] /= sum;
}

sf_status sf_cuda_listed_probabilities(sf_backend *b, const sf_attention *a, const sf_lists *at, float *p)
{
    listed_probabilities<<<a->heads, THREADS, 0, sf_cuda_of(b)->stream>>>(*at, (const bf16 *)a->q, rows_of(a, false), a->keys,
                                                                          a->heads, a->heads / a->kv_heads, a->scale, a->softcap, p);
    LAUNCH_TRY(listed_probabilities);
    int32_t *count = (int32_t *)malloc((size_t)at->rows * sizeof *count);
    if (!count) return sf_fail(SF_NO_MEMORY, "counts of %lld lists", (long long)at->rows);
    sf_status status = b->ops->download(b, count, at->count, (size_t)at->rows * sizeof *count);
    int64_t listed = 0;
    for (int64_t r = 0; r < at->rows && status == SF_OK; r++) listed += count[r];
    free(count);
    int64_t pairs = listed * (a->heads / at->rows);
    if (status == SF_OK)
        sf_meter_listed_probabilities(b, a, pairs, at->rows == a->heads ? pairs : pairs / (a->heads / a->kv_heads));
    return status;
}

__global__ void accumulate(float *y, int64_t stride, float keep, const float *x, int64_t n)
{
    y += blockIdx.y * stride;
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS)
        if (y[i] != -INFINITY) y[i] = keep * y[i] + (x ? x[blockIdx.y * n + i] : 0);
}

sf_status sf_cuda_accumulate(sf_backend *b, float *y, int64_t stride, float keep, const float *x, int64_t rows, int64_t n)
{
    if (rows && n) {
        dim3 grid((unsigned)ceil_div<int64_t>(n, THREADS), (unsigned)rows);
        accumulate<<<grid, THREADS, 0, sf_cuda_of(b)->stream>>>(y, stride, keep, x, n);
        LAUNCH_TRY(accumulate);
    }
    sf_meter_scores(b, (x ? 2 : 1) * rows * n, rows * n, 2 * rows * n);
    return SF_OK;
}

__global__ void multiply(float *y, const float *x, int64_t all)
{
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < all; i += (int64_t)gridDim.x * THREADS) y[i] *= x[i];
}

sf_status sf_cuda_multiply(sf_backend *b, float *y, const float *x, int64_t rows, int64_t n)
{
    if (rows && n) {
        multiply<<<(unsigned)ceil_div<int64_t>(rows * n, THREADS), THREADS, 0, sf_cuda_of(b)->stream>>>(y, x, rows * n);
        LAUNCH_TRY(multiply);
    }
    sf_meter_scores(b, 2 * rows * n, rows * n, rows * n);
    return SF_OK;
}

/* A listed index is found by halving: lists ascend. */
__global__ void fill_except(float *x, int64_t n, sf_lists at, float value)
{
    const int32_t *list = at.index + blockIdx.y * at.stride;
    x += blockIdx.y * n;
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS) {
        int low = 0, high = at.count[blockIdx.y];
        while (low < high) {
            int middle = (low + high) / 2;
            if (list[middle] < i)
                low = middle + 1;
            else
                high = middle;
        }
        if (low == at.count[blockIdx.y] || list[low] != i) x[i] = value;
    }
}

sf_status sf_cuda_fill_except(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value)
{
    if (rows && n) {
        dim3 grid((unsigned)ceil_div<int64_t>(n, THREADS), (unsigned)rows);
        fill_except<<<grid, THREADS, 0, sf_cuda_of(b)->stream>>>(x, n, *at, value);
        LAUNCH_TRY(fill_except);
    }
    sf_meter_scores(b, 0, rows * n, 0);
    return SF_OK;
}

/* A warp a key. */
__global__ void key_norms(rows r, int N, float *norm)
{
    int j = blockIdx.x * WARPS + threadIdx.x / 32, g = blockIdx.y;
    if (j >= N) return;
    const bf16 *x = row_at(r, g, j);
    float sum = 0;
    for (int d = threadIdx.x % 32; x && d < r.D; d += 32) sum += __bfloat162float(x[d]) * __bfloat162float(x[d]);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) norm[(int64_t)g * N + j] = x ? sqrtf(sum) : NAN;
}

sf_status sf_cuda_key_norms(sf_backend *b, const sf_attention *a, bool of_values, float *norm)
{
    dim3 grid((unsigned)ceil_div(a->keys, (int)WARPS), (unsigned)a->kv_heads);
    key_norms<<<grid, THREADS, 0, sf_cuda_of(b)->stream>>>(rows_of(a, of_values), a->keys, norm);
    LAUNCH_TRY(key_norms);
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 2 * a->head_dim);
    return SF_OK;
}

/* mean [G, D] of directions: a block a kv head, a thread a dimension, keys in order. */
__global__ void mean_directions(rows r, int N, const float *norm, float *mean)
{
    int g = blockIdx.x;
    for (int d = threadIdx.x; d < r.D; d += THREADS) {
        double sum = 0;
        for (int j = 0; j < N; j++) {
            const bf16 *k = row_at(r, g, j);
            if (k) sum += (double)__bfloat162float(k[d]) / norm[(int64_t)g * N + j];
        }
        mean[g * r.D + d] = (float)sum;
    }
}

__global__ void key_cosines(rows r, int N, const float *mean, float *cosine /* norms, before */)
{
    int j = blockIdx.x * WARPS + threadIdx.x / 32, g = blockIdx.y;
    if (j >= N) return;
    const bf16 *k = row_at(r, g, j);
    float dot = 0, size = 0;
    for (int d = threadIdx.x % 32; k && d < r.D; d += 32) {
        float m = mean[g * r.D + d];
        dot += m * __bfloat162float(k[d]), size += m * m;
    }
    dot = warp_sum(dot), size = warp_sum(size);
    if (threadIdx.x % 32 == 0) cosine[(int64_t)g * N + j] = k ? dot / sqrtf(size) / cosine[(int64_t)g * N + j] : NAN;
}

sf_status sf_cuda_key_cosines(sf_backend *b, const sf_attention *a, float *cosine)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    dim3 grid((unsigned)ceil_div(a->keys, (int)WARPS), (unsigned)a->kv_heads);
    float *mean;
    rows keys = rows_of(a, false);
    SF_TRY(sf_cuda_workspace(b, (size_t)a->kv_heads * a->head_dim * sizeof *mean, (void **)&mean));
    key_norms<<<grid, THREADS, 0, stream>>>(keys, a->keys, cosine);
    LAUNCH_TRY(key_norms);
    mean_directions<<<a->kv_heads, THREADS, 0, stream>>>(keys, a->keys, cosine, mean);
    LAUNCH_TRY(mean_directions);
    key_cosines<<<grid, THREADS, 0, stream>>>(keys, a->keys, mean, cosine);
    LAUNCH_TRY(key_cosines);
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 6 * a->head_dim);
    return SF_OK;
}

sf_status sf_cuda_expected_attention(sf_backend *b, const sf_attention *a, int skip, int ahead, float *p)
{
    (void)b, (void)a, (void)skip, (void)ahead, (void)p;
    return sf_fail(SF_UNSUPPORTED, "cuda computes no expected attention; run it on cpu");
}
