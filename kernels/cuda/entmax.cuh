/* Attention by α-entmax (entmax.cu), as the other files of the CUDA backend ask for it. */
#ifndef SF_CUDA_ENTMAX_CUH
#define SF_CUDA_ENTMAX_CUH

#include "kernels/cuda/device.cuh"

/* The executors, where a->alpha is not 0. */
sf_status sf_cuda_entmax_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, bf16 *out);
sf_status sf_cuda_entmax_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out);

/* Each of `rows` rows of n logits, -INFINITY where there is none, becomes its probabilities. A row without logits becomes 0. */
sf_status sf_cuda_entmax_rows(sf_backend *b, float *x, int64_t rows, int n, float alpha);

/* p [H, N]: the exact probabilities of row `row` of q (estimate.cu). */
sf_status sf_cuda_entmax_row(sf_backend *b, const sf_attention *a, int row, float *p);

#endif
