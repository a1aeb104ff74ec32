/* What the kernels of attention by α-entmax share (entmax_prefill.cu, entmax_many.cu, entmax_decode.cu): a row's normaliser, Newton's method
 * by steps, and sums of the values that weigh.
 *
 * z is less the row's largest, so that τ lies in [-1, 0), however large logits are. |(z - τ)+|_q - 1 is convex in τ and falls, so that
 * Newton's method comes up from any τ below its root without passing it; for α = 2 and 1.5 it ends on the root when no key leaves
 * any more (kernels/cpu/entmax.c has the same steps in double). */
#ifndef SF_CUDA_ENTMAX_ROW_CUH
#define SF_CUDA_ENTMAX_ROW_CUH

#include "kernels/cuda/entmax.cuh"

enum { THREADS = 128, WARPS = THREADS / 32, STEPS = 40 }; /* STEPS: of Newton's method, at most */

/* Of the power that a weight is, how it is computed. */
enum shape { SQUARES, PLAIN, POWERS };

struct normaliser {
    float by, q; /* α - 1; 1 / (α - 1) */
    shape kind;
};

static inline normaliser normaliser_of(float alpha)
{
    const double by = (double)alpha - 1;
    return {(float)by, (float)(1 / by), alpha == 1.5f ? SQUARES : alpha == 2 ? PLAIN : POWERS};
}

/* y^q, y > 0. */
__device__ static inline float weight_of(const normaliser &w, float y)
{
    return w.kind == SQUARES ? __fmul_rn(y, y) : w.kind == PLAIN ? y : exp2f(w.q * log2f(y));
}

/* Adds a key with y = z - τ to the sums of y^q and y^(q - 1). */
__device__ static inline void add_key(const normaliser &w, float y, float &total, float &slope)
{
    if (!(y > 0)) return;
    if (w.kind == SQUARES) {
        total = __fmaf_rn(y, y, total), slope = __fadd_rn(slope, y);
    } else if (w.kind == PLAIN) {
        total = __fadd_rn(total, y), slope = __fadd_rn(slope, 1.f);
    } else {
        float lower = exp2f((w.q - 1) * log2f(y));
        total = __fmaf_rn(lower, y, total), slope = __fadd_rn(slope, lower);
    }
}

/* Where Newton's method goes from τ. */
__device__ static inline float next_of(const normaliser &w, float tau, float total, float slope)
{
    if (w.kind == SQUARES) {
        float norm = sqrtf(total);
        return tau + (norm - 1) * norm / slope;
    }
    if (w.kind == PLAIN) return tau + (total - 1) / slope;
    float norm = exp2f(log2f(total) * w.by);
    return tau + (norm - 1) * total / (norm * slope);
}

__device__ static inline float y_of(const normaliser &w, float x, float most, float tau) { return __fmaf_rn(x - most, w.by, -tau); }

/* A logit at or below which no key weighs, by τ over some of the keys, or less; less what rounding may have made of it. */
__device__ static inline float bound_of(const normaliser &w, float most, float tau) { return most + (tau - 4e-6f) * w.q - fabsf(most) * 1e-6f; }

/* τ by such a bound. */
__device__ static inline float tau_of(const normaliser &w, float most, float bound) { return fmaxf(-1.f, (bound - most) * w.by); }

/* The larger, or NaN if one is. */
__device__ static inline float largest(float x, float y)
{
    float z;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}

/* Over the four threads that share a row of a product; in an order that does not depend on which of them asks. */
__device__ static inline float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ static inline float quad_largest(float x)
{
    x = largest(x, __shfl_xor_sync(~0u, x, 1));
    return largest(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ static inline int quad_sum(int x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ static inline bool quad_any(bool x) { return __ballot_sync(~0u, x) >> (threadIdx.x % 32 / 4 * 4) & 15; }

/* sum[c] += Σ weight · row[lane · DIM/32 + c] over the rows that the first `here` lanes name, in their order; the others name some row that
 * weighs, and weigh 0. For a whole warp. */
template <int DIM> __device__ static inline void add_values(float (&sum)[DIM / 32], const bf16 *row, float weight, int here, int D)
{
    const int EACH = DIM / 32, d = threadIdx.x % 32 * EACH;
    const bool whole = D % EACH == 0;
    for (int i = 0; i < here; i += 8) {
        float own[8];
        __align__(16) bf16 x[8][EACH];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            own[j] = __shfl_sync(~0u, weight, i + j);
            const bf16 *at = (const bf16 *)__shfl_sync(~0u, (unsigned long long)row, i + j) + d;
            if (whole && d < D) {
                if constexpr (EACH == 2) *(uint32_t *)x[j] = *(const uint32_t *)at;
                if constexpr (EACH == 4) *(uint2 *)x[j] = *(const uint2 *)at;
                if constexpr (EACH == 8) *(uint4 *)x[j] = *(const uint4 *)at;
            } else {
#pragma unroll
                for (int c = 0; c < EACH; c++) x[j][c] = d + c < D ? at[c] : __float2bfloat16(0.f);
            }
        }
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int c = 0; c < EACH; c++) sum[c] = __fmaf_rn(own[j], __bfloat162float(x[j][c]), sum[c]);
    }
}

#endif
