/* Choosing from rows of scores: shared by select.cu and estimate.cu. */
#ifndef SF_CUDA_SELECT_CUH
#define SF_CUDA_SELECT_CUH

#include "kernels/cuda/device.cuh"

#ifdef __CUDACC__
/* The same order as the scores'; 0 for those that are never chosen. */
__device__ static inline uint32_t sf_cuda_key_of(float x)
{
    if (isnan(x) || x == -INFINITY) return 0;
    uint32_t bits = __float_as_uint(x + 0.f); /* -0 is 0 */
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
#endif

/* Rows of block scores: `each` rows a list, query blocks first + 0 … of it; scores end at the last key block that the
 * query block may see. List row of x's row r: r / each * queries + first + r % each. each 0: plain rows, all whole. */
struct sf_cuda_ramp {
    int each, first, queries, block_q, block_k, T, N;
};

/* Queues: row r of x [rows, n] gives the min(k, n) largest as an ascending list at out.count[r], out.index + r *
 * stride. count: a k of each row's own, at most k; or NULL. */
sf_status sf_cuda_select_rows(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, const int32_t *count,
                              sf_cuda_ramp ramp, const sf_lists *out);

#endif
