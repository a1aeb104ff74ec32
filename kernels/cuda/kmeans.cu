/* k-means of keys, queued pass after pass. To assign, a block takes 64 keys of a segment, whose centroids pass by in shared memory, 32
 * at a time; a thread has a key and 8 of them. For the means, a warp takes a cluster, and adds its members up in the order of the keys.
 * In double, so that few keys lie between two centroids for one and not for the other; each product and sum in one fixed order.
 *
 * Before, one block did all passes of a segment of a kv head: of a prompt of one segment, as many SMs as it had kv heads worked, and
 * double_p spent 1.9 s on a prompt of 4096 tokens (H200). Per segment and head a pass of 8192 keys, 256 clusters and D = 128 is
 * 2.7e8 double FMAs: 2.5 ms on one SM of 64 a clock, 20 us on all. What is queued for a layer: 2 · passes + 3 kernels, no wait.
 *
 * Test: make test-cuda ("clusters"). */
#include "kernels/cuda/device.cuh"
extern "C" {
#include "kernels/count.h"
}

enum { THREADS = 256, KEYS = 64, TOGETHER = 8, PASSING = THREADS / KEYS * TOGETHER, WARPS = THREADS / 32, AHEAD = 8 };

/* Of one run: member [G, room]; at [G, C, D] centroids, half [G, C] half of their squared lengths. */
struct clustering {
    sf_kv kv;
    sf_kmeans_how how;
    int G, D, group, all; /* C */
    int64_t room;
    int32_t *member;
    double *at, *half;
};

/* A segment's keys and clusters. */
struct segment {
    int begin, end, first, n;
};

__device__ static segment segment_of(const sf_kmeans_how &how, int i)
{
    int begin = how.begin + i * how.segment, end = min(begin + how.segment, how.end);
    return {begin, end, i * ((how.segment + how.each - 1) / how.each), (end - begin + how.each - 1) / how.each};
}

/* One thread's: in the order of the dimensions. */
__device__ static double half_square(const double *at, int D)
{
    double square = 0;
    for (int d = 0; d < D; d++) square += 0.5 * at[d] * at[d];
    return square;
}

/* A warp a cluster, here and below: it begins at a key. */
__global__ void begin_clusters(const __grid_constant__ clustering x)
{
    int c = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32, g = blockIdx.y;
    if (c >= x.all) return;
    segment s = segment_of(x.how, c / ((x.how.segment + x.how.each - 1) / x.how.each));
    const bf16 *k = sf_cuda_kv_row(x.kv, g, s.begin + (int)((int64_t)(c - s.first) * (s.end - s.begin) / s.n), x.D, false);
    double *at = x.at + ((int64_t)g * x.all + c) * x.D;
    for (int d = lane; d < x.D; d += 32) at[d] = __bfloat162float(k[d]);
    __syncwarp();
    if (lane == 0) x.half[(int64_t)g * x.all + c] = half_square(at, x.D);
}

/* Grid: tiles of keys, segments, kv heads. */
__global__ void __launch_bounds__(THREADS) assign(const __grid_constant__ clustering x)
{
    extern __shared__ __align__(16) double shared[];
    double *centroid = shared;                                /* [PASSING, D] */
    float *key = (float *)(centroid + (int64_t)PASSING * x.D); /* [D, KEYS + 1] */
    __shared__ double most_of[THREADS];
    __shared__ int best_of[THREADS];
    int g = blockIdx.z, mine = threadIdx.x % KEYS, part = threadIdx.x / KEYS;
    segment s = segment_of(x.how, blockIdx.y);
    int from = s.begin + blockIdx.x * KEYS;
    if (from >= s.end) return;
    const double *at = x.at + ((int64_t)g * x.all + s.first) * x.D, *half = x.half + (int64_t)g * x.all + s.first;
    for (int i = threadIdx.x; i < KEYS * x.D; i += THREADS) {
        int j = from + i / x.D, d = i % x.D;
        key[d * (KEYS + 1) + i / x.D] = j < s.end ? __bfloat162float(sf_cuda_kv_row(x.kv, g, j, x.D, false)[d]) : 0;
    }
    double most = -INFINITY;
    int best = 0;
    for (int passing = 0; passing < s.n; passing += PASSING) {
        int there = min((int)PASSING, s.n - passing), first = passing + part * TOGETHER;
        __syncthreads();
        for (int i = threadIdx.x; i < there * x.D; i += THREADS) centroid[i] = at[(int64_t)passing * x.D + i];
        __syncthreads();
        double dot[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) dot[i] = first + i < s.n ? -half[first + i] : -INFINITY;
        const double *own = centroid + part * TOGETHER * x.D; /* rows beyond the last hold what was there: their products are left out */
        for (int d = 0; d < x.D; d++) {
            double k = key[d * (KEYS + 1) + mine];
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) dot[i] += k * own[i * x.D + d];
        }
#pragma unroll
        for (int i = 0; i < TOGETHER; i++)
            if (first + i < s.n && dot[i] > most) most = dot[i], best = first + i;
    }
    most_of[threadIdx.x] = most, best_of[threadIdx.x] = best;
    __syncthreads();
    if (part || from + mine >= s.end) return;
    for (int i = mine + KEYS; i < THREADS; i += KEYS) /* the first of equal ones, as one thread would find it */
        if (most_of[i] > most || (most_of[i] == most && best_of[i] < best)) most = most_of[i], best = best_of[i];
    x.member[g * x.room + from + mine] = s.first + best;
}

/* The mean of a cluster's keys or values, lanes sharing out the head dim; returns how many they are. Of none, `to` stays. */
__device__ static int mean(const clustering &x, const segment &s, int g, int c, bool values, double *to)
{
    int lane = threadIdx.x % 32, count = 0;
    const int32_t *member = x.member + g * x.room;
    double sum[SF_CUDA_HEAD_DIM / 32] = {};
    for (int from = s.begin; from < s.end; from += 32 * AHEAD) {
        bool ours[AHEAD];
#pragma unroll
        for (int u = 0; u < AHEAD; u++) ours[u] = from + u * 32 + lane < s.end && member[from + u * 32 + lane] == c;
#pragma unroll
        for (int u = 0; u < AHEAD; u++)
            for (unsigned mine = __ballot_sync(~0u, ours[u]); mine; mine &= mine - 1) {
                const bf16 *row = sf_cuda_kv_row(x.kv, g, from + u * 32 + __ffs(mine) - 1, x.D, values);
#pragma unroll
                for (int i = 0; i < SF_CUDA_HEAD_DIM / 32; i++)
                    if (i * 32 + lane < x.D) sum[i] += __bfloat162float(row[i * 32 + lane]);
                count++;
            }
    }
#pragma unroll
    for (int i = 0; i < SF_CUDA_HEAD_DIM / 32; i++)
        if (count && i * 32 + lane < x.D) to[i * 32 + lane] = sum[i] / count;
    return count;
}

__global__ void move_centroids(const __grid_constant__ clustering x)
{
    int c = blockIdx.x * WARPS + threadIdx.x / 32, g = blockIdx.y;
    if (c >= x.all) return;
    segment s = segment_of(x.how, c / ((x.how.segment + x.how.each - 1) / x.how.each));
    double *at = x.at + ((int64_t)g * x.all + c) * x.D;
    mean(x, s, g, c, false, at);
    __syncwarp();
    if (threadIdx.x % 32 == 0) x.half[(int64_t)g * x.all + c] = half_square(at, x.D);
}

/* Centroids as they are, then, in their place, the means of the values; sizes for each query head. */
__global__ void end_clusters(const __grid_constant__ clustering x, bf16 *centroid, bf16 *value, float *size, float *log_size)
{
    int c = blockIdx.x * WARPS + threadIdx.x / 32, g = blockIdx.y, lane = threadIdx.x % 32;
    if (c >= x.all) return;
    segment s = segment_of(x.how, c / ((x.how.segment + x.how.each - 1) / x.how.each));
    int64_t to = ((int64_t)g * x.all + c) * x.D;
    double *at = x.at + to;
    for (int d = lane; d < x.D; d += 32) centroid[to + d] = __float2bfloat16((float)at[d]), at[d] = 0;
    int count = mean(x, s, g, c, true, at);
    for (int d = lane; d < x.D; d += 32) value[to + d] = __float2bfloat16((float)at[d]); /* each lane its own: mean() shares out alike */
    double keys = fmax((double)count, exp(-60.));
    for (int h = g * x.group + lane; h < (g + 1) * x.group; h += 32) {
        size[(int64_t)h * x.all + c] = (float)keys;
        log_size[(int64_t)h * x.all + c] = (float)log(keys);
    }
}

__global__ void nobody(int64_t n, int32_t *member)
{
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS) member[i] = -1;
}

sf_status sf_cuda_kmeans(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how, int64_t room, int32_t *member, void *centroid,
                         void *value, float *size, float *log_size)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "kmeans"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    clustering x = {a->kv, *how, a->kv_heads, a->head_dim, a->heads / a->kv_heads, sf_clusters(how), room, member, NULL, NULL};
    int64_t n = (int64_t)x.G * x.all;
    if (x.D > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most %d is built", x.D, SF_CUDA_HEAD_DIM);
    SF_TRY(sf_cuda_workspace(b, (size_t)(n * (x.D + 1)) * sizeof *x.at, (void **)&x.at));
    x.half = x.at + n * x.D;
    nobody<<<256, THREADS, 0, stream>>>(x.G * room, member);
    LAUNCH_TRY(nobody);
    if (x.all) {
        dim3 clusters(ceil_div(x.all, (int)WARPS), x.G);
        int keys = how->end - how->begin, longest = how->segment < keys ? how->segment : keys;
        dim3 tiles(ceil_div(longest, (int)KEYS), ceil_div(keys, how->segment), x.G);
        size_t bytes = (size_t)PASSING * x.D * sizeof(double) + (size_t)x.D * (KEYS + 1) * sizeof(float);
        SF_TRY(sf_cuda_allow_shared((const void *)assign, bytes));
        begin_clusters<<<clusters, THREADS, 0, stream>>>(x);
        LAUNCH_TRY(begin_clusters);
        for (int pass = 0; pass <= how->iterations; pass++) {
            assign<<<tiles, THREADS, bytes, stream>>>(x);
            LAUNCH_TRY(assign);
            move_centroids<<<clusters, THREADS, 0, stream>>>(x);
            LAUNCH_TRY(move_centroids);
        }
        end_clusters<<<clusters, THREADS, 0, stream>>>(x, (bf16 *)centroid, (bf16 *)value, size, log_size);
        LAUNCH_TRY(end_clusters);
    }
    sf_meter_kmeans(b, a, how);
    return SF_OK;
}
