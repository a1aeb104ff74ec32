/* Choosing from rows of scores: shared by the files that choose, and search within a budget. */
#ifndef SF_CUDA_SELECT_CUH
#define SF_CUDA_SELECT_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/promise.h"

#ifdef __CUDACC__
/* The same order as the scores'; 0 for those that are never chosen. */
__device__ static inline uint32_t sf_cuda_key_of(float x)
{
    if (isnan(x) || x == -INFINITY) return 0;
    uint32_t bits = __float_as_uint(x + 0.f); /* -0 is 0 */
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ static inline float sf_cuda_score_of(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

static const uint32_t SF_CUDA_INFINITE = 0xff800000; /* the key of +INFINITY */

/* A score's mass, in fixed point, whose sums do not depend on their order; `most`: the row's largest finite one. The sum of n of them
 * has room in 64 bits: 48 behind the point, fewer of rows from 65536 scores on. */
__device__ static inline unsigned long long sf_cuda_fixed(float x, float most, int n)
{
    return isfinite(x) && x > 0 ? (unsigned long long)((double)(x / most) * (double)(1ull << min(48, 32 + __clz(n)))) : 0;
}

/* The largest k below SF_DIALS at which weigh(k), which never falls with k, is at most `most`; 0, if it is at none. For a block of
 * 1024, each warp of which tries one of 32 dials, four times over. weigh(): a lane's part of it. */
template <typename Weigh> __device__ static inline int sf_cuda_largest_dial(long long most, Weigh weigh)
{
    __shared__ unsigned fits;
    static_assert(SF_DIALS == 1 << 20, "four times five bits");
    int warp = threadIdx.x / 32, k = 0;
    for (int shift = 15; shift >= 0; shift -= 5) {
        __syncthreads();
        if (threadIdx.x == 0) fits = 1;
        __syncthreads();
        long long sum = weigh(k + (warp << shift));
        for (int i = 16; i; i >>= 1) sum += __shfl_xor_sync(~0u, sum, i);
        if (threadIdx.x % 32 == 0 && sum <= most) atomicOr(&fits, 1u << warp);
        __syncthreads();
        k += (31 - __clz(fits)) << shift;
    }
    return k;
}
#endif

/* Up to so many scores are sorted by one block. */
enum { SF_CUDA_SHORT_ROW = 8192 };

/* Queues: how many entries top_mass() takes of each row of x, *count [rows], in workspace; for rows too long for histograms, whose
 * additions meet in few bins. fit.cu. */
sf_status sf_cuda_count_sorted_mass(sf_backend *b, const float *x, int rows, int n, float share, int least, int most, int32_t **count);

/* Rows of block scores: `each` rows a list, query blocks first + 0 … of it; scores end at the last key block that the
 * query block may see. List row of x's row r: r / each * queries + first + r % each. each 0: plain rows, all whole. one: all rows of a
 * list are of the same scores, x [rows / each, n], seen so far. */
struct sf_cuda_ramp {
    int each, first, queries, block_q, block_k, T, N;
    bool one;
};

/* Queues: row r of x [rows, n] gives the min(k, n) largest as an ascending list at out.count[r], out.index + r *
 * stride. count: a k of each row's own, at most k; or NULL. */
sf_status sf_cuda_select_rows(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, const int32_t *count,
                              sf_cuda_ramp ramp, const sf_lists *out);

#endif
