/* Probabilities over listed keys, scores of keys by themselves, and the small algebra of scores. Plain kernels: a block a
 * row, a warp a key; none of them is where time goes. */
#include "kernels/cuda/device.cuh"
extern "C" {
#include "kernels/count.h"
}

enum { THREADS = 256, WARPS = THREADS / 32 };

/* One block a query head. */
__global__ void listed_probabilities(sf_lists at, const bf16 *q, sf_kv kv, int D, int N, int heads, int group, float scale, float cap, float *p)
{
    __shared__ float shared[32];
    int h = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int64_t row = at.rows == heads ? h : at.rows == heads / group ? h / group : 0;
    const int32_t *list = at.index + row * at.stride;
    int n = at.count[row];
    float most = -INFINITY, sum = 0;
    p += (int64_t)h * N, q += (int64_t)h * D;
    for (int j = threadIdx.x; j < N; j += THREADS) p[j] = 0;
    __syncthreads();
    for (int i = warp; i < n; i += WARPS) {
        const bf16 *k = sf_cuda_kv_row(kv, h / group, list[i], D, false);
        float dot = 0;
        for (int d = lane; d < D; d += 32) dot += __bfloat162float(q[d]) * __bfloat162float(k[d]);
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
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "listed_probabilities"));
    listed_probabilities<<<a->heads, THREADS, 0, sf_cuda_of(b)->stream>>>(*at, (const bf16 *)a->q, a->kv, a->head_dim, a->keys,
                                                                          a->heads, a->heads / a->kv_heads, a->scale, a->softcap, p);
    LAUNCH_TRY(listed_probabilities);
    return sf_cuda_owe(b, a, at);
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
__global__ void key_norms(sf_kv kv, int D, int first, bool values, int N, float *norm)
{
    int j = blockIdx.x * WARPS + threadIdx.x / 32, g = blockIdx.y;
    if (j >= N) return;
    const bf16 *x = sf_cuda_kv_row(kv, g, j, D, values);
    float sum = 0;
    for (int d = first + threadIdx.x % 32; x && d < D; d += 32) sum += __bfloat162float(x[d]) * __bfloat162float(x[d]);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) norm[(int64_t)g * N + j] = x ? sqrtf(sum) : NAN;
}

sf_status sf_cuda_key_norms(sf_backend *b, const sf_attention *a, bool of_values, float *norm)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_norms"));
    const int first = of_values ? a->rotated : 0;
    dim3 grid((unsigned)ceil_div(a->keys, (int)WARPS), (unsigned)a->kv_heads);
    key_norms<<<grid, THREADS, 0, sf_cuda_of(b)->stream>>>(a->kv, a->head_dim, first, of_values, a->keys, norm);
    LAUNCH_TRY(key_norms);
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 2 * (a->head_dim - first));
    return SF_OK;
}

/* mean [G, D] of directions: a block a kv head, a thread a dimension, keys in order. */
__global__ void mean_directions(sf_kv kv, int D, int N, const float *norm, float *mean)
{
    int g = blockIdx.x;
    for (int d = threadIdx.x; d < D; d += THREADS) {
        double sum = 0;
        for (int j = 0; j < N; j++) {
            const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
            if (k) sum += (double)__bfloat162float(k[d]) / norm[(int64_t)g * N + j];
        }
        mean[g * D + d] = (float)sum;
    }
}

__global__ void key_cosines(sf_kv kv, int D, int N, const float *mean, float *cosine /* norms, before */)
{
    int j = blockIdx.x * WARPS + threadIdx.x / 32, g = blockIdx.y;
    if (j >= N) return;
    const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
    float dot = 0, size = 0;
    for (int d = threadIdx.x % 32; k && d < D; d += 32) {
        float m = mean[g * D + d];
        dot += m * __bfloat162float(k[d]), size += m * m;
    }
    dot = warp_sum(dot), size = warp_sum(size);
    if (threadIdx.x % 32 == 0) cosine[(int64_t)g * N + j] = k ? dot / sqrtf(size) / cosine[(int64_t)g * N + j] : NAN;
}

sf_status sf_cuda_key_cosines(sf_backend *b, const sf_attention *a, float *cosine)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_cosines"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    dim3 grid((unsigned)ceil_div(a->keys, (int)WARPS), (unsigned)a->kv_heads);
    float *mean;
    SF_TRY(sf_cuda_workspace(b, (size_t)a->kv_heads * a->head_dim * sizeof *mean, (void **)&mean));
    key_norms<<<grid, THREADS, 0, stream>>>(a->kv, a->head_dim, 0, false, a->keys, cosine);
    LAUNCH_TRY(key_norms);
    mean_directions<<<a->kv_heads, THREADS, 0, stream>>>(a->kv, a->head_dim, a->keys, cosine, mean);
    LAUNCH_TRY(mean_directions);
    key_cosines<<<grid, THREADS, 0, stream>>>(a->kv, a->head_dim, a->keys, mean, cosine);
    LAUNCH_TRY(key_cosines);
    sf_meter_key_scores(b, a, (int64_t)a->kv_heads * a->keys * 6 * a->head_dim);
    return SF_OK;
}

/* ---- expected attention: head after head, in double, as the moments of one take rows * D numbers ---- */

/* Where pair d of D / 2 stands. */
struct pairing {
    int half;
    bool interleaved;
    __device__ int x(int d) const { return interleaved ? 2 * d : d; }
    __device__ int y(int d) const { return interleaved ? 2 * d + 1 : d + half; }
};

__device__ static inline void turn_pair(double &x, double &y, double cosine, double sine)
{
    double was = x;
    x = was * cosine - y * sine, y = was * sine + y * cosine;
}

/* rotation [2, D / 2]: means of cosine and sine over the positions from, from + 1, … A block. */
__global__ void mean_rotation(const float *frequency, int half, int from, int positions, double *rotation)
{
    for (int d = threadIdx.x; d < half; d += THREADS) {
        double cosines = 0, sines = 0;
        for (int i = 0; i < positions; i++) {
            double cosine, sine;
            sincos((double)(from + i) * (double)frequency[d], &sine, &cosine);
            cosines += cosine, sines += sine;
        }
        rotation[d] = cosines / positions, rotation[half + d] = sines / positions;
    }
}

/* back [rows, D]: a head's queries, which stand at `from` and behind, as they were before rotation. */
__global__ void turn_back(const bf16 *q, int heads, int rows, int from, const float *frequency, pairing at, float *back)
{
    int64_t all = (int64_t)rows * at.half, D = 2 * at.half;
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < all; i += (int64_t)gridDim.x * THREADS) {
        int64_t row = i / at.half;
        int d = (int)(i % at.half);
        const bf16 *of = q + row * heads * D;
        double x = __bfloat162float(of[at.x(d)]), y = __bfloat162float(of[at.y(d)]), cosine, sine;
        sincos(-(double)(from + row) * (double)frequency[d], &sine, &cosine);
        turn_pair(x, y, cosine, sine);
        back[row * D + at.x(d)] = (float)x, back[row * D + at.y(d)] = (float)y;
    }
}

/* Sum over the block's threads, in one order; all get it. */
__device__ static inline double block_total(double x, double *shared)
{
    __syncthreads();
    shared[threadIdx.x] = x;
    for (int n = THREADS / 2; n > 0; n /= 2) {
        __syncthreads();
        if (threadIdx.x < n) shared[threadIdx.x] += shared[threadIdx.x + n];
    }
    __syncthreads();
    return shared[0];
}

/* A block a dimension. */
__global__ void mean_rows(const float *back, int rows, int D, double *mean)
{
    __shared__ double shared[THREADS];
    double sum = 0;
    for (int i = threadIdx.x; i < rows; i += THREADS) sum += back[(int64_t)i * D + blockIdx.x];
    sum = block_total(sum, shared);
    if (threadIdx.x == 0) mean[blockIdx.x] = sum / rows;
}

/* Row blockIdx.x of the covariance [D, D]; THREADS / D threads share an entry where D is smaller. */
__global__ void covariances(const float *back, const double *mean, int rows, int D, double *covariance)
{
    __shared__ double shared[THREADS];
    int d = blockIdx.x, parts = D < THREADS ? THREADS / D : 1, e = threadIdx.x % D, part = threadIdx.x / D;
    double sum = 0;
    for (int i = part; i < rows && part < parts; i += parts)
        sum += (back[(int64_t)i * D + d] - mean[d]) * (back[(int64_t)i * D + e] - mean[e]);
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (part) return;
    for (int n = 1; n < parts; n++) sum += shared[n * D + e];
    covariance[d * D + e] = sum / rows;
}

/* m becomes R m, S becomes R S R'. A block. */
__global__ void turn_moments(const double *rotation, pairing at, double *mean, double *covariance)
{
    int D = 2 * at.half;
    for (int d = threadIdx.x; d < D; d += THREADS)
        for (int i = 0; i < at.half; i++)
            turn_pair(covariance[d * D + at.x(i)], covariance[d * D + at.y(i)], rotation[i], rotation[at.half + i]);
    __syncthreads();
    for (int e = threadIdx.x; e < D; e += THREADS)
        for (int i = 0; i < at.half; i++)
            turn_pair(covariance[at.x(i) * D + e], covariance[at.y(i) * D + e], rotation[i], rotation[at.half + i]);
    for (int i = threadIdx.x; i < at.half; i += THREADS) turn_pair(mean[at.x(i)], mean[at.y(i)], rotation[i], rotation[at.half + i]);
}

/* A warp a key. */
__global__ void expected_logits(sf_kv kv, int D, int g, int N, int skip, const double *mean, const double *covariance, float scale, float *p)
{
    int j = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (j >= N) return;
    const bf16 *k = j >= skip ? sf_cuda_kv_row(kv, g, j, D, false) : NULL;
    double first = 0, second = 0;
    for (int e = lane; k && e < D; e += 32) {
        double own = __bfloat162float(k[e]), inner = 0;
        for (int d = 0; d < D; d++) inner += (double)__bfloat162float(k[d]) * covariance[d * D + e];
        first += mean[e] * own, second += inner * own;
    }
    for (int n = 16; n > 0; n /= 2) first += __shfl_xor_sync(~0u, first, n), second += __shfl_xor_sync(~0u, second, n);
    if (lane == 0) p[j] = k ? (float)(first * scale + second * scale * scale / 2) : -INFINITY;
}

__global__ void softmax_row(float *p, int N)
{
    __shared__ float few[32];
    __shared__ double shared[THREADS];
    float most = -INFINITY;
    for (int j = threadIdx.x; j < N; j += THREADS) most = fmaxf(most, p[j]);
    most = block_max(most, few);
    double sum = 0;
    for (int j = threadIdx.x; j < N; j += THREADS) sum += exp((double)p[j] - most);
    sum = block_total(sum, shared);
    for (int j = threadIdx.x; j < N; j += THREADS) p[j] = (float)(exp((double)p[j] - most) / sum);
}

sf_status sf_cuda_expected_attention(sf_backend *b, const sf_attention *a, int skip, int ahead, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "expected_attention"));
    if (!a->frequency) return sf_fail(SF_UNSUPPORTED, "expected attention needs rotary positions");
    if (skip >= a->queries) skip = 0;
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const int D = a->head_dim, rows_there = a->queries - skip, from = a->keys - rows_there;
    const pairing at = {D / 2, a->interleaved};
    double *rotation, *mean, *covariance;
    size_t moments = (size_t)D * (size_t)(D + 2);
    SF_TRY(sf_cuda_workspace(b, moments * sizeof *rotation + (size_t)rows_there * D * sizeof(float), (void **)&rotation));
    mean = rotation + D, covariance = mean + D;
    float *back = (float *)(covariance + (size_t)D * D);
    mean_rotation<<<1, THREADS, 0, stream>>>(a->frequency, at.half, a->keys, ahead, rotation);
    LAUNCH_TRY(mean_rotation);
    for (int h = 0; h < a->heads; h++) {
        const bf16 *q = (const bf16 *)a->q + ((int64_t)skip * a->heads + h) * D;
        float *row = p + (int64_t)h * a->keys;
        turn_back<<<ceil_div<int64_t>((int64_t)rows_there * at.half, THREADS), THREADS, 0, stream>>>(q, a->heads, rows_there, from,
                                                                                                    a->frequency, at, back);
        LAUNCH_TRY(turn_back);
        mean_rows<<<D, THREADS, 0, stream>>>(back, rows_there, D, mean);
        LAUNCH_TRY(mean_rows);
        covariances<<<D, THREADS, 0, stream>>>(back, mean, rows_there, D, covariance);
        LAUNCH_TRY(covariances);
        turn_moments<<<1, THREADS, 0, stream>>>(rotation, at, mean, covariance);
        LAUNCH_TRY(turn_moments);
        expected_logits<<<ceil_div(a->keys, (int)WARPS), THREADS, 0, stream>>>(a->kv, a->head_dim, h / (a->heads / a->kv_heads), a->keys, skip, mean,
                                                                              covariance, a->scale, row);
        LAUNCH_TRY(expected_logits);
        softmax_row<<<1, THREADS, 0, stream>>>(row, a->keys);
        LAUNCH_TRY(softmax_row);
    }
    sf_meter_key_scores(b, a, (int64_t)a->heads * D * D * (a->queries + 2 * (int64_t)a->keys));
    return SF_OK;
}
