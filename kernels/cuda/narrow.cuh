/* What a warp does with 16 keys that lie in shared memory (narrow_sm90.cu, gather_sm90.cu): [half of the head dim][key][64], swizzled. */
#ifndef SF_CUDA_NARROW_CUH
#define SF_CUDA_NARROW_CUH

#include "kernels/cuda/prefill_sm90.cuh"

enum { KEYS = 16 };

#ifdef SM90A
/* score[tile][n]: 16 rows x 8 keys. Of the query, d < HELD lie in registers, the others in shared memory. A single tile's products
 * are summed in two chains, so that one need not wait for the other. */
template <int DIM, int HELD, int TILES>
__device__ static inline void multiply_keys(float (&score)[TILES][2][4], const uint32_t (&held)[TILES][HELD / 4], const bf16 *q,
                                            const bf16 *k)
{
    const int CHAINS = TILES == 1 ? 2 : 1;
    int lane = threadIdx.x % 32, row = lane % 8 + lane / 16 * 8, swizzle = lane % 8 ^ lane / 8 % 2;
    float sum[CHAINS][TILES][2][4] = {};
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        uint32_t b[4];
        ldmatrix(b, k + d / 64 * KEYS * 64 + row * 64 + (d / 8 % 8 ^ swizzle) * 8);
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            uint32_t a[4];
            if (d >= HELD) ldmatrix(a, q + (t * 16 + lane % 16) * 64 + ((d - HELD) / 8 + lane / 16 ^ lane % 8) * 8);
            mma(sum[d / 16 % CHAINS][t][0], d < HELD ? held[t] + d / 4 : a, b[0], b[1]);
            mma(sum[d / 16 % CHAINS][t][1], d < HELD ? held[t] + d / 4 : a, b[2], b[3]);
        }
    }
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) score[t][n][i] = sum[0][t][n][i] + (CHAINS > 1 ? sum[CHAINS - 1][t][n][i] : 0.f);
}

template <int DIM, int TILES>
__device__ static inline void multiply_values(float (&out)[TILES][DIM / 2], const uint32_t (&prob)[TILES][4], const bf16 *v)
{
    int lane = threadIdx.x % 32, row = lane % 16, swizzle = lane % 8 ^ lane / 16;
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        uint32_t b[4];
        ldmatrix_transposed(b, v + d / 64 * KEYS * 64 + row * 64 + (d / 8 % 8 ^ swizzle) * 8);
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            mma(out[t] + d / 2, prob[t], b[0], b[1]);
            mma(out[t] + d / 2 + 4, prob[t], b[2], b[3]);
        }
    }
}

/* Turns the scores of 16 keys into exp2(score - maximum), and the rows' states and outputs along. */
template <int DIM, int TILES>
__device__ static inline void soften(float (&score)[TILES][2][4], row_state (&r)[TILES], float (&out)[TILES][DIM / 2], float scale)
{
    float most[TILES][2];
    bool grows = false;
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            most[t][h] = fmaxf(fmaxf(score[t][0][h * 2], score[t][0][h * 2 + 1]), fmaxf(score[t][1][h * 2], score[t][1][h * 2 + 1]));
            grows |= (most[t][h] - r[t].most[h]) * scale > 8.f; /* also from -INFINITY */
        }
    if (__any_sync(~0u, grows)) {
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float before = r[t].most[h], now = most[t][h];
                now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
                now = fmaxf(now, __shfl_xor_sync(~0u, now, 2));
                if ((now - before) * scale > 8.f) r[t].most[h] = now;
                float fade = before == r[t].most[h] ? 1.f : exp2_fast((before - r[t].most[h]) * scale);
                r[t].sum[h] *= fade;
#pragma unroll
                for (int n = 0; n < DIM / 8; n++) out[t][n * 4 + h * 2] *= fade, out[t][n * 4 + h * 2 + 1] *= fade;
            }
    }
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float offset = r[t].most[h] == -INFINITY ? 0.f : r[t].most[h] * scale;
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float &x = score[t][n][h * 2 + e];
                    x = exp2_fast(fmaf(x, scale, -offset));
                    r[t].sum[h] += x;
                }
        }
}
#endif
#endif
