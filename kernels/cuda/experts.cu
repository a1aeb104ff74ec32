/* Mixtures of experts: routing, and the weighted sum of what the chosen ones give (their products: grouped.cu).
 * Test: make test-cuda. */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256, ROUTE_THREADS = 128 };

static unsigned grid_for(int64_t n)
{
    return (unsigned)(n < 1 ? 1 : ceil_div<int64_t>(n, THREADS) > 1 << 20 ? 1 << 20 : ceil_div<int64_t>(n, THREADS));
}

/* The k best of score, marked; ties to the lower one. By one thread. */
__device__ static void mark_best(const float *score, int n, int k, bool *best)
{
    for (int i = 0; i < n; i++) best[i] = false;
    for (int i = 0; i < k && i < n; i++) {
        int at = 0;
        while (best[at]) at++;
        for (int e = at + 1; e < n; e++)
            if (!best[e] && score[e] > score[at]) at = e;
        best[at] = true;
    }
}

__device__ static void keep_best_groups(const sf_router &r, float *score, bool *best)
{
    int size = r.experts / r.groups;
    float worth[SF_MOST_GROUPS];
    bool kept[SF_MOST_GROUPS];
    for (int g = 0; g < r.groups; g++) {
        mark_best(score + g * size, size, r.group_top, best);
        worth[g] = 0;
        for (int i = 0; i < size; i++) worth[g] += best[i] ? score[g * size + i] : 0;
    }
    mark_best(worth, r.groups, r.best_groups, kept);
    for (int e = 0; e < r.experts; e++)
        if (!kept[e / size]) score[e] = -INFINITY;
}

/* -1: none. Of equal ones the lower is better. */
__device__ static inline bool beats(int other, float its, int at, float worth)
{
    return other >= 0 && (at < 0 || its > worth || (its == worth && other < at));
}

/* A block a row. */
__global__ void __launch_bounds__(ROUTE_THREADS)
    route(const float *logits, sf_router r, const float *correction, int32_t *expert, float *share)
{
    __shared__ float score[SF_MOST_EXPERTS], part[SF_MOST_EXPERTS], maxima[32], best_score[ROUTE_THREADS / 32], sum;
    __shared__ bool best[SF_MOST_EXPERTS];
    __shared__ int best_at[ROUTE_THREADS / 32];
    sf_begin();
    logits += blockIdx.x * (int64_t)r.experts;
    expert += blockIdx.x * (int64_t)r.chosen;
    share += blockIdx.x * (int64_t)r.chosen;
    float largest = -INFINITY;
    for (int e = threadIdx.x; e < r.experts; e += blockDim.x) largest = fmaxf(largest, logits[e]);
    largest = block_max(largest, maxima);
    for (int e = threadIdx.x; e < r.experts; e += blockDim.x) {
        part[e] = r.kind == SF_ROUTE_SIGMOID ? 1.f / (1.f + expf(-logits[e])) : expf(logits[e] - largest);
        score[e] = (r.kind == SF_ROUTE_SIGMOID ? part[e] : logits[e]) + (correction ? correction[e] : 0.f);
        best[e] = false;
    }
    __syncthreads();
    if (r.groups > 1 && threadIdx.x == 0) {
        keep_best_groups(r, score, best);
        for (int e = 0; e < r.experts; e++) best[e] = false;
    }
    __syncthreads();
    for (int i = 0; i < r.chosen; i++) {
        int at = -1;
        for (int e = threadIdx.x; e < r.experts; e += blockDim.x)
            if (!best[e] && (at < 0 || score[e] > score[at])) at = e;
        float worth = at < 0 ? 0 : score[at];
        for (int step = 16; step; step >>= 1) {
            int other = __shfl_xor_sync(~0u, at, step);
            float its = __shfl_xor_sync(~0u, worth, step);
            if (beats(other, its, at, worth)) at = other, worth = its;
        }
        if (threadIdx.x % 32 == 0) best_at[threadIdx.x / 32] = at, best_score[threadIdx.x / 32] = worth;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int w = 1; w < ROUTE_THREADS / 32; w++)
                if (beats(best_at[w], best_score[w], at, worth)) at = best_at[w], worth = best_score[w];
            best[at] = true;
        }
        __syncthreads();
    }
    if (threadIdx.x) return;
    float all = 0;
    sum = 0;
    int k = 0;
    for (int e = 0; e < r.experts; e++) {
        all += part[e];
        if (best[e]) sum += part[e], expert[k++] = e;
    }
    float whole = r.normalize || r.kind == SF_ROUTE_CHOSEN ? sum : r.kind == SF_ROUTE_SOFTMAX ? all : 1.f;
    for (int i = 0; i < k; i++) share[i] = part[expert[i]] / whole * r.scale;
}

sf_status sf_cuda_route(sf_backend *b, const float *logits, int64_t rows, const sf_router *router, const sf_tensor *correction,
                        int32_t *expert, float *share)
{
    const float *shift = correction ? (const float *)correction->data : NULL;
    if (shift && correction->dtype != SF_F32) return sf_fail(SF_INTERNAL, "cuda: route: the correction was not imported by this backend");
    if (rows) SF_TRY(sf_cuda_follow(b, route, (unsigned)rows, ROUTE_THREADS, 0, logits, *router, shift, expert, share));
    sf_meter_route(b, rows, router, correction);
    return SF_OK;
}

template <int N> struct __align__(N < 4 ? 4 * N : 16) floats {
    float at[N];
};
template <int N> struct __align__(2 * N) halves {
    bf16 at[N];
};

/* A thread has N neighbours of a row: 16 bytes of y where they are 8. */
template <int N> __global__ void combine(float *x, const bf16 *y, int64_t n, int chosen, int width, const float *share)
{
    sf_begin();
    for (int64_t i = (blockIdx.x * (int64_t)blockDim.x + threadIdx.x) * N; i < n; i += (int64_t)gridDim.x * blockDim.x * N) {
        int64_t row = i / width, d = i % width;
        floats<N> sum = *(const floats<N> *)(x + i);
        for (int k = 0; k < chosen; k++) {
            const halves<N> own = *(const halves<N> *)(y + (row * chosen + k) * width + d);
            const float part = share[row * chosen + k];
#pragma unroll
            for (int e = 0; e < N; e++) sum.at[e] += part * __bfloat162float(own.at[e]);
        }
        *(floats<N> *)(x + i) = sum;
    }
}

sf_status sf_cuda_combine(sf_backend *b, float *x, const void *y, int64_t rows, int chosen, int width, const float *share)
{
    const int64_t n = rows * width;
    const bool wide = width % 8 == 0 && ((uintptr_t)x | (uintptr_t)y) % 16 == 0;
    if (rows) SF_TRY(sf_cuda_follow(b, wide ? combine<8> : combine<1>, grid_for(wide ? n / 8 : n), THREADS, 0, x, (const bf16 *)y, n, chosen, width, share));
    sf_meter_combine(b, rows, chosen, width);
    return SF_OK;
}
