/* The prefill kernel for Hopper (prefill_sm90.cu): TMA, wgmma, warp specialisation. */
#ifndef SF_CUDA_HOPPER_CUH
#define SF_CUDA_HOPPER_CUH

/* Whether this build holds sm_90a code; asks the current device's loaded image. */
bool sf_hopper_built(void);

#endif
