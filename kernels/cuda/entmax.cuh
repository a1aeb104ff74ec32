/* Attention whose rows are normalised by α-entmax (Peters et al. 2019, arXiv 1905.05702), as the other files of the CUDA backend ask for it.
 *
 *     p_j = (z_j - τ)+^q, z = (α - 1) logits, q = 1 / (α - 1) >= 1, with the one τ for which they sum to 1
 *
 * entmax_row.cuh: a row's normaliser. Prefill: entmax_prefill.cu, and entmax_many.cu for rows in which many keys weigh; entmax_tiles.cuh
 * is what these share. Decode, and exact probabilities: entmax_decode.cu. */
#ifndef SF_CUDA_ENTMAX_CUH
#define SF_CUDA_ENTMAX_CUH

#include "kernels/cuda/device.cuh"

/* The executors, where a->alpha is not 0. */
sf_status sf_cuda_entmax_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, bf16 *out);
sf_status sf_cuda_entmax_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out);

/* What both executors refuse of α and of the pattern. */
sf_status sf_cuda_entmax_refuse(const sf_attention *a, const sf_pattern *pattern);

/* Each of `rows` rows of n logits, -INFINITY where there is none, becomes its probabilities. A row without logits becomes 0. */
sf_status sf_cuda_entmax_rows(sf_backend *b, float *x, int64_t rows, int n, float alpha);

/* p [H, N]: the exact probabilities of row `row` of q (estimate.cu). */
sf_status sf_cuda_entmax_row(sf_backend *b, const sf_attention *a, int row, float *p);

#endif
