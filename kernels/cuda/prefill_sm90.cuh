/* What the prefill kernels for Hopper share (prefill_sm90.cu, narrow_sm90.cu, single_sm90.cu, units_sm90.cu, gather_sm90.cu): their
 * queries, what a row has come to, and where it goes. */
#ifndef SF_CUDA_PREFILL_SM90_CUH
#define SF_CUDA_PREFILL_SM90_CUH

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/pattern.cuh"
#include "kernels/cuda/wgmma.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SM90A 1
#endif

enum { GROUP = 128 };

struct rows_work {
    const bf16 *q;
    sf_cuda_finish finish;
    float scale; /* times log2 e */
    sf_cuda_report *report;
};

/* A map of bf16 values for the copy engine, boxes of rows of 64 swizzled as the tensor cores want them; what lies outside comes as
 * zeros. */
sf_status sf_hopper_map(sf_backend *b, CUtensorMap *map, const void *data, int rank, const cuuint64_t *size, const cuuint64_t *stride,
                        const cuuint32_t *box);

#ifdef SM90A
__device__ static inline float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Query rows [ROWS] from d = HELD on, to shared memory, swizzled, by THREADS threads, of which this is number `me`; rows past
 * the tile's end as zeros. Rows: the tile, which has `query`, `queries` and `head`. */
template <int DIM, int HELD, int ROWS, int THREADS, typename Rows>
__device__ static inline void load_queries(bf16 *to, const sf_cuda_plan &p, const bf16 *q, const Rows &t,
                                           int row0, int me)
{
    const int CHUNKS = (DIM - HELD) / 8;
    for (int i = me; i < ROWS * CHUNKS; i += THREADS) {
        int row = i / CHUNKS, chunk = i % CHUNKS, r = row0 + row;
        bool valid = r < t.queries * p.packed;
        const bf16 *from =
            q + ((int64_t)(t.query + r / p.packed) * p.every * p.H + t.head + r % p.packed) * DIM + HELD + chunk * 8;
        uint4 x = valid ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
        *(uint4 *)(to + chunk / 8 * ROWS * 64 + row * 64 + (chunk % 8 ^ row % 8) * 8) = x;
    }
}

/* Rows row0 and row0 + 8, d < HELD, likewise as this thread's fragments of the first operand. */
template <int DIM, int HELD, typename Rows>
__device__ static inline void hold_queries(uint32_t (&to)[HELD / 4], const sf_cuda_plan &p, const bf16 *q,
                                           const Rows &t, int row0)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = row0 + h * 8;
        bool valid = r < t.queries * p.packed;
        const bf16 *from = q + ((int64_t)(t.query + r / p.packed) * p.every * p.H + t.head + r % p.packed) * DIM + lane % 4 * 2;
#pragma unroll
        for (int d = 0; d < HELD / 16; d++) {
            to[d * 4 + h] = valid ? *(const uint32_t *)(from + d * 16) : 0;
            to[d * 4 + h + 2] = valid ? *(const uint32_t *)(from + d * 16 + 8) : 0;
        }
    }
}

struct row_state {
    float most[2], sum[2];
};

/* What a row has come to, to where it goes. */
template <int DIM, typename Rows>
__device__ static inline void store_rows(const float (&out)[DIM / 2], const row_state &r, const sf_cuda_plan &p, const rows_work &w,
                                         const Rows &t, int row)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = r.sum[h];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        int at = row + h * 8;
        if (at >= t.queries * p.packed) continue;
        int query = (t.query + at / p.packed) * p.every, head = t.head + at % p.packed;
        float lse = sum > 0 ? (r.most[h] * w.scale + log2f(sum)) * (float)M_LN2 : -INFINITY;
        sf_cuda_weights weights = sf_cuda_weigh(w.finish, p, query, head, lse, lane % 4 == 0, w.report);
        float share = sum > 0 ? weights.found / sum : 0;
        bf16 *to = w.finish.out + ((int64_t)query * p.H + head) * DIM + lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
            float x = out[n * 4 + h * 2] * share, y = out[n * 4 + h * 2 + 1] * share;
            if (weights.there > 0) {
                float2 there = __bfloat1622float2(*(const __nv_bfloat162 *)(to + n * 8));
                x += weights.there * there.x, y += weights.there * there.y;
            }
            *(uint32_t *)(to + n * 8) = pack(x, y);
        }
    }
}
#endif
#endif
