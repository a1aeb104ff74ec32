/* The prefill kernels for Hopper (prefill_sm90.cu, narrow_sm90.cu, single_sm90.cu, units_sm90.cu, gather_sm90.cu): TMA, wgmma, warp specialisation. */
#ifndef SF_CUDA_HOPPER_CUH
#define SF_CUDA_HOPPER_CUH

#include "kernels/cuda/pattern.cuh"

/* Whether the image of the current device holds sm_90a code. */
bool sf_hopper_built(void);

/* Whether the kernels take this shape: head dim 64, 128 or 256, key blocks that divide or are divided by its key tile, or few rows a list; of lists,
 * all of their pairs. */
bool sf_hopper_takes(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, sf_cuda_share share);

/* A pass of sf_backend_ops.prefill, for shapes that it takes. */
sf_status sf_hopper_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, sf_cuda_share share,
                            const sf_cuda_finish *to);

/* narrow_sm90.cu: the same of lists that so few rows share; of shapes that sf_hopper_takes() takes, whether this kernel has them. */
bool sf_narrow_takes(const sf_attention *a, const sf_pattern *p, int rows);
sf_status sf_narrow_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, int rows, const sf_cuda_finish *to);

/* single_sm90.cu, units_sm90.cu: likewise, of lists of key blocks of which every query has its own. */
bool sf_single_takes(const sf_attention *a, const sf_pattern *p);
sf_status sf_single_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_cuda_finish *to);

/* gather_sm90.cu: likewise, of lists of keys, or of blocks that 16 do not divide. */
bool sf_gather_takes(const sf_attention *a, const sf_pattern *p);
sf_status sf_gather_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_cuda_finish *to);

#endif
