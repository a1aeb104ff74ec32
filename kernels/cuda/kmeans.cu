/* k-means of keys: a block a segment of a kv head, a thread a key to assign it, a warp a cluster for its means, whose sums go in the
 * order of the keys. In double, so that few keys lie between two centroids for one and not for the other.
 *
 * Test: make test-cuda ("clusters"). */
#include "kernels/cuda/device.cuh"
extern "C" {
#include "kernels/count.h"
}

enum { THREADS = 512 };

/* Means of members' keys or values, lanes sharing out the head dim; clusters without any stay. */
__device__ static void means(const sf_kv &kv, int g, int D, int begin, int end, const int32_t *member, int first, int n, bool values,
                             double *out, int *there)
{
    int lane = threadIdx.x % 32;
    for (int c = threadIdx.x / 32; c < n; c += THREADS / 32) {
        double sum[SF_CUDA_HEAD_DIM / 32] = {};
        int count = 0;
        for (int from = begin; from < end; from += 32) {
            unsigned mine = __ballot_sync(~0u, from + lane < end && member[from + lane] == first + c);
            for (; mine; mine &= mine - 1) {
                const bf16 *x = sf_cuda_kv_row(kv, g, from + __ffs(mine) - 1, D, values);
                for (int i = 0; i * 32 + lane < D; i++) sum[i] += __bfloat162float(x[i * 32 + lane]);
                count++;
            }
        }
        for (int i = 0; count && i * 32 + lane < D; i++) out[c * D + i * 32 + lane] = sum[i] / count;
        if (lane == 0) there[c] = count;
    }
    __syncthreads();
}

/* at [G, C, D], half [G, C], there [G, C]: room of each. */
__global__ void __launch_bounds__(THREADS) kmeans(sf_kv kv, sf_kmeans_how how, int D, int heads, int group, int all, int64_t room, int32_t *member,
                                                  double *at, double *half, int *there, bf16 *centroid, bf16 *value, float *size, float *log_size)
{
    int g = blockIdx.y, begin = how.begin + blockIdx.x * how.segment, end = min(begin + how.segment, how.end);
    int first = blockIdx.x * ((how.segment + how.each - 1) / how.each), n = (end - begin + how.each - 1) / how.each;
    member += g * room, at += ((int64_t)g * all + first) * D, half += (int64_t)g * all + first, there += (int64_t)g * all + first;
    centroid += ((int64_t)g * all + first) * D, value += ((int64_t)g * all + first) * D;
    for (int i = threadIdx.x; i < n * D; i += THREADS)
        at[i] = __bfloat162float(sf_cuda_kv_row(kv, g, begin + (int)((int64_t)(i / D) * (end - begin) / n), D, false)[i % D]);
    for (int pass = 0; pass <= how.iterations; pass++) {
        __syncthreads();
        for (int c = threadIdx.x; c < n; c += THREADS) {
            double square = 0;
            for (int d = 0; d < D; d++) square += 0.5 * at[c * D + d] * at[c * D + d];
            half[c] = square;
        }
        __syncthreads();
        for (int j = begin + threadIdx.x; j < end; j += THREADS) {
            const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
            double most = -INFINITY;
            int best = 0;
            for (int c = 0; c < n; c++) {
                double dot = -half[c];
                for (int d = 0; d < D; d++) dot += __bfloat162float(k[d]) * at[c * D + d];
                if (dot > most) most = dot, best = c;
            }
            member[j] = first + best;
        }
        __syncthreads();
        means(kv, g, D, begin, end, member, first, n, false, at, there);
    }
    for (int i = threadIdx.x; i < n * D; i += THREADS) centroid[i] = __float2bfloat16((float)at[i]), at[i] = 0;
    __syncthreads();
    means(kv, g, D, begin, end, member, first, n, true, at, there);
    for (int i = threadIdx.x; i < n * D; i += THREADS) value[i] = __float2bfloat16((float)at[i]);
    for (int i = threadIdx.x; i < n * group; i += THREADS) {
        double keys = fmax((double)there[i % n], exp(-60.));
        int64_t to = (int64_t)(g * group + i / n) * all + first + i % n;
        size[to] = (float)keys, log_size[to] = (float)log(keys);
    }
}

__global__ void nobody(int64_t n, int32_t *member)
{
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS) member[i] = -1;
}

sf_status sf_cuda_kmeans(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how, int64_t room, int32_t *member, void *centroid,
                         void *value, float *size, float *log_size)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int64_t all = sf_clusters(how), n = (int64_t)a->kv_heads * all;
    if (a->head_dim > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most %d is built", a->head_dim, SF_CUDA_HEAD_DIM);
    double *at;
    SF_TRY(sf_cuda_workspace(b, (size_t)(n * (a->head_dim + 2)) * sizeof *at, (void **)&at));
    nobody<<<256, THREADS, 0, stream>>>(a->kv_heads * room, member);
    LAUNCH_TRY(nobody);
    if (all) {
        kmeans<<<dim3(ceil_div(how->end - how->begin, how->segment), a->kv_heads), THREADS, 0, stream>>>(
            a->kv, *how, a->head_dim, a->heads, a->heads / a->kv_heads, (int)all, room, member, at, at + n * a->head_dim,
            (int *)(at + n * (a->head_dim + 1)), (bf16 *)centroid, (bf16 *)value, size, log_size);
        LAUNCH_TRY(kmeans);
    }
    sf_meter_kmeans(b, a, how);
    return SF_OK;
}
