/* Choosing from rows of scores: shared by select.cu and estimate.cu. */
#ifndef SF_CUDA_SELECT_CUH
#define SF_CUDA_SELECT_CUH

#include "kernels/cuda/device.cuh"

/* Rows whose scores end early: row r is that of query block first + r, and holds scores of the key blocks that it may see.
 * block_k 0: all rows are whole. */
struct sf_cuda_ramp { int first, block_q, block_k, T, N; };

__host__ __device__ static inline int64_t sf_cuda_row_length(const sf_cuda_ramp &ramp, int64_t row, int64_t n)
{
    if (!ramp.block_k) return n;
    int64_t end = (ramp.first + row + 1) * ramp.block_q;
    return (ramp.N - ramp.T + (end < ramp.T ? end : ramp.T) - 1) / ramp.block_k + 1;
}

/* Queues: row r of x [rows, n] gives the min(k, n) largest as an ascending list at out.count[r], out.index + r * stride.
 * count: a k of each row's own, at most k; or NULL. */
sf_status sf_cuda_select_rows(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, const int32_t *count,
                              sf_cuda_ramp ramp, const sf_lists *out);

#endif
