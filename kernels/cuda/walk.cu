/* Inner products of rows, and a walk over blocks: 64 x 64 numbers a block of threads, 4 x 4 a thread, in shared memory by slices of
 * 16; of the walk, only those of blocks in between. Sums go in order. A walk over the 2048 blocks of 128k tokens is 2.9 GFLOP in
 * double, which H200s do at half the rate of fp32.
 *
 * Test: make test-cuda ("walks"). */
#include "kernels/cuda/device.cuh"
extern "C" {
#include "kernels/count.h"
}

enum { THREADS = 256, TILE = 64, SLICE = 16, EACH = 4 };

/* y[i, j] += x[i, c] · w[c, j] over the slice in shared memory, x [TILE, SLICE] transposed. */
template <typename T> __device__ static inline void add_slice(const T (*x)[TILE], const T (*w)[TILE], T (*y)[EACH])
{
    int row = threadIdx.x / (TILE / EACH) * EACH, column = threadIdx.x % (TILE / EACH) * EACH;
#pragma unroll
    for (int c = 0; c < SLICE; c++)
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++) y[i][j] += x[c][row + i] * w[c][column + j];
}

__global__ void __launch_bounds__(THREADS) inner_products(const float *x, const float *w, int64_t m, int64_t n, int64_t k, float *y)
{
    __shared__ float a[SLICE][TILE], b[SLICE][TILE];
    int64_t i0 = (int64_t)blockIdx.y * TILE, j0 = (int64_t)blockIdx.x * TILE;
    float sum[EACH][EACH] = {};
    for (int64_t c0 = 0; c0 < k; c0 += SLICE) {
        __syncthreads();
        for (int e = threadIdx.x; e < TILE * SLICE; e += THREADS) {
            int64_t row = e / SLICE, c = c0 + e % SLICE;
            a[e % SLICE][row] = i0 + row < m && c < k ? x[(i0 + row) * k + c] : 0;
            b[e % SLICE][row] = j0 + row < n && c < k ? w[(j0 + row) * k + c] : 0;
        }
        __syncthreads();
        add_slice(a, b, sum);
    }
    int64_t row = i0 + threadIdx.x / (TILE / EACH) * EACH, column = j0 + threadIdx.x % (TILE / EACH) * EACH;
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            if (row + i < m && column + j < n) y[(row + i) * n + column + j] = sum[i][j];
}

sf_status sf_cuda_inner_products(sf_backend *b, const float *x, const float *w, int64_t m, int64_t n, int64_t k, float *y)
{
    if (m && n) {
        dim3 grid((unsigned)ceil_div<int64_t>(n, TILE), (unsigned)ceil_div<int64_t>(m, TILE));
        inner_products<<<grid, THREADS, 0, sf_cuda_of(b)->stream>>>(x, w, m, n, k, y);
        LAUNCH_TRY(inner_products);
    }
    sf_meter_scores(b, (m + n) * k, m * n, 2 * m * n * k);
    return SF_OK;
}

/* most[c] of row c up to its own block. */
__global__ void largest_scores(const float *score, int64_t n, float *most)
{
    __shared__ float shared[32];
    int64_t c = blockIdx.x;
    float x = 0;
    for (int64_t j = threadIdx.x; j <= c; j += THREADS) x = fmaxf(x, fabsf(score[c * n + j]));
    x = block_max(x, shared);
    if (threadIdx.x == 0) most[c] = x;
}

/* W [n, n]; above its diagonal nothing is written. */
__global__ void weigh(const float *score, int64_t n, int power, const float *most, double *w)
{
    __shared__ float shared[32];
    int64_t c = blockIdx.x;
    float all = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) all = fmaxf(all, most[i]);
    all = block_max(all, shared);
    if (all == 0) all = 1;
    for (int64_t j = threadIdx.x; j <= c; j += THREADS) {
        double x = score[c * n + j] / (double)all, y = x;
        for (int s = 1; s < power; s++) y *= x;
        w[c * n + j] = y;
    }
}

/* sum [n, n] of what lies at or below the diagonal; other tiles are left as they are. */
__global__ void __launch_bounds__(THREADS) step(const float *walk, const double *w, int64_t n, double *sum)
{
    __shared__ double a[SLICE][TILE], b[SLICE][TILE];
    int64_t i0 = (int64_t)blockIdx.y * TILE, j0 = (int64_t)blockIdx.x * TILE;
    if (j0 > i0) return;
    double y[EACH][EACH] = {};
    for (int64_t c0 = j0; c0 < i0 + TILE && c0 < n; c0 += SLICE) {
        __syncthreads();
        for (int e = threadIdx.x; e < TILE * SLICE; e += THREADS) {
            int64_t i = i0 + e / SLICE, c = c0 + e % SLICE;
            a[e % SLICE][e / SLICE] = i < n && c <= i ? walk[i * n + c] : 0;
            int64_t from = c0 + e / TILE, j = j0 + e % TILE;
            b[e / TILE][e % TILE] = from < n && j <= from ? w[from * n + j] : 0;
        }
        __syncthreads();
        add_slice(a, b, y);
    }
    int64_t row = i0 + threadIdx.x / (TILE / EACH) * EACH, column = j0 + threadIdx.x % (TILE / EACH) * EACH;
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            if (row + i < n && column + j <= row + i) sum[(row + i) * n + column + j] = y[i][j];
}

__device__ static double largest(const double *row, int64_t n, double *shared)
{
    double most = 0;
    for (int64_t j = threadIdx.x; j < n; j += THREADS) most = fmax(most, fabs(row[j]));
    __syncthreads();
    shared[threadIdx.x] = most;
    __syncthreads();
    for (int i = 0; i < THREADS; i++) most = fmax(most, shared[i]);
    return most;
}

/* Row i of the walk by its sums, or by W where all of them are 0. */
__global__ void scale_rows(const double *sum, const double *w, int64_t n, float *walk)
{
    __shared__ double shared[THREADS];
    int64_t i = blockIdx.x;
    const double *row = sum + i * n;
    double scale = largest(row, i + 1, shared);
    if (scale == 0) row = w + i * n, scale = largest(row, i + 1, shared);
    for (int64_t j = threadIdx.x; j < n; j += THREADS) walk[i * n + j] = j > i ? -INFINITY : (float)(scale > 0 ? row[j] / scale : 0);
}

sf_status sf_cuda_walk(sf_backend *b, int64_t n, const float *score, int power, float *walk)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    if (n) {
        double *w;
        unsigned tiles = (unsigned)ceil_div<int64_t>(n, TILE);
        SF_TRY(sf_cuda_workspace(b, (size_t)(2 * n * n) * sizeof *w + (size_t)n * sizeof(float), (void **)&w));
        double *sum = w + n * n;
        float *most = (float *)(sum + n * n);
        largest_scores<<<(unsigned)n, THREADS, 0, stream>>>(score, n, most);
        LAUNCH_TRY(largest_scores);
        weigh<<<(unsigned)n, THREADS, 0, stream>>>(score, n, power, most, w);
        LAUNCH_TRY(weigh);
        step<<<dim3(tiles, tiles), THREADS, 0, stream>>>(walk, w, n, sum);
        LAUNCH_TRY(step);
        scale_rows<<<(unsigned)n, THREADS, 0, stream>>>(sum, w, n, walk);
        LAUNCH_TRY(scale_rows);
    }
    sf_meter_walk(b, n, power);
    return SF_OK;
}
