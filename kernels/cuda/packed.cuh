/* Numbers of a packed cache (kernels/cache.h) on the device: as the floats that the simulated format leaves there, which are of bf16. */
#ifndef SF_CUDA_PACKED_CUH
#define SF_CUDA_PACKED_CUH

#include "kernels/cuda/device.cuh"
#include <cuda_fp16.h>
#include <cuda_fp8.h>

/* How rows are held: as floats, or by an sf_cache_kind. */
enum sf_cuda_held { SF_HELD_FLOATS, SF_HELD_E4M3, SF_HELD_INT8, SF_HELD_Q4_0 };

static_assert((int)SF_HELD_E4M3 == SF_CACHE_E4M3 + 1 && (int)SF_HELD_INT8 == SF_CACHE_INT8 + 1 && (int)SF_HELD_Q4_0 == SF_CACHE_Q4_0 + 1,
              "a kind is one below how it is held");

static inline sf_cuda_held sf_cuda_held_of(const sf_kv_part *part)
{
    return part->packed ? (sf_cuda_held)(part->format->kind + 1) : SF_HELD_FLOATS;
}

/* Where a part's k or v has its numbers and scales. */
struct sf_cuda_packed {
    unsigned char *numbers, *scales;
    sf_cuda_held held; /* FLOATS: it is not packed, and nothing else is set */
    int row_bytes, scale_bytes; /* of a row */
};
struct sf_cuda_packed_pair {
    sf_cuda_packed of[2]; /* keys, values */
};

static inline sf_cuda_packed sf_cuda_packed_of(const sf_kv_part *part, const void *x, int kv_heads, int head_dim)
{
    sf_cuda_packed p = {};
    p.held = sf_cuda_held_of(part);
    if (p.held == SF_HELD_FLOATS) return p;
    p.numbers = (unsigned char *)x;
    p.scales = p.numbers + sf_cache_scales_at(part->format, kv_heads, part->capacity, head_dim);
    p.row_bytes = (int)sf_cache_row_bytes(part->format, head_dim);
    p.scale_bytes = sf_cache_groups(part->format, head_dim) * part->format->scale_bytes;
    return p;
}

static inline sf_cuda_packed_pair sf_cuda_packed_pair_of(const sf_kv_part *part, int kv_heads, int head_dim)
{
    return {{sf_cuda_packed_of(part, part->k, kv_heads, head_dim), sf_cuda_packed_of(part, part->v, kv_heads, head_dim)}};
}

#ifdef __CUDACC__
/* Number d of a row, alone: for what is not worth more. */
__device__ static inline float sf_cuda_packed_number(const sf_cuda_packed &p, int64_t row, int d)
{
    const unsigned char *of = p.numbers + row * p.row_bytes;
    float x;
    if (p.held == SF_HELD_E4M3) {
        x = sf_cache_e4m3_of(of[d]);
    } else if (p.held == SF_HELD_INT8) {
        x = SF_CACHE_TIMES((float)((const int8_t *)of)[d], ((const float *)p.scales)[row]);
    } else {
        const int group = d / 32, at = d % 32, code = of[group * 16 + at % 16] >> (at < 16 ? 0 : 4) & 15;
        x = SF_CACHE_TIMES(sf_cache_half_of(((const uint16_t *)(p.scales + row * p.scale_bytes))[group]), (float)(code - 8));
    }
    return __bfloat162float(__float2bfloat16(x));
}

/* Eight neighbours, all of one group, before they are rounded to bf16. No step rounds, or it is the one that the format rounds by.
 *
 *   e4m3   8 bytes. To fp16 and on, which both hold it
 *   int8   8 bytes, scale fp32. A byte, 128 more than the code, is a small fp16, q + 128 times 2^-24: (q + 128) · scale - 128 · scale is rounded
 *          once, as q · scale is. scale below 2^103
 *   int4   8 bytes, of which the low halves are meant (high: the high ones), scale fp16. A half becomes fp32 by standing among the digits of 2^n,
 *          of 7 and 15: (2^n + q) · scale - (2^n + 8) · scale has 24 digits at most and is exact. Of an infinite scale, numbers are NaN */
__device__ static inline void sf_cuda_eight_e4m3(uint2 raw, float (&x)[8])
{
    const uint32_t from[2] = {raw.x, raw.y};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const __half2_raw wide = __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(from[i / 2] >> i % 2 * 16), __NV_E4M3);
        const float2 both = __half22float2(__half2(wide));
        x[2 * i] = both.x, x[2 * i + 1] = both.y;
    }
}

__device__ static inline void sf_cuda_eight_int8(uint2 raw, float scale, float (&x)[8])
{
    const uint32_t from[2] = {raw.x ^ 0x80808080, raw.y ^ 0x80808080};
    const float by = __fmul_rn(scale, 0x1p24f), off = __fmul_rn(scale, -128.f);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint32_t pair = __byte_perm(from[i / 2], 0, i % 2 ? 0x4342 : 0x4140);
        const float2 both = __half22float2(*(const __half2 *)&pair);
        x[2 * i] = __fmaf_rn(both.x, by, off), x[2 * i + 1] = __fmaf_rn(both.y, by, off);
    }
}

/* The float of bits (x & mask) | power, in one instruction, which takes one constant: the other is kept from being one. */
__device__ static inline float sf_cuda_digits_of(uint32_t x, uint32_t mask, uint32_t power)
{
    uint32_t y;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(y) : "r"(x), "r"(mask), "r"(power));
    return __uint_as_float(y);
}

__device__ static inline void sf_cuda_eight_q4_0(uint2 raw, bool high, float scale, float (&x)[8])
{
    const uint32_t from[2] = {high ? raw.x >> 4 : raw.x, high ? raw.y >> 4 : raw.y};
    const float off7 = __fmul_rn(-136.f, scale), off15 = __fmul_rn(-32776.f, scale); /* exact: 5 digits and 13 */
    uint32_t two7 = 0x43000000, two15 = 0x47000000;
    asm("" : "+r"(two7), "+r"(two15));
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t turned = __byte_perm(from[i], 0, 0x1032);
        x[4 * i] = __fmaf_rn(sf_cuda_digits_of(turned, 0x000f0000, two7), scale, off7);
        x[4 * i + 1] = __fmaf_rn(sf_cuda_digits_of(from[i], 0x00000f00, two15), scale, off15);
        x[4 * i + 2] = __fmaf_rn(sf_cuda_digits_of(from[i], 0x000f0000, two7), scale, off7);
        x[4 * i + 3] = __fmaf_rn(sf_cuda_digits_of(turned, 0x00000f00, two15), scale, off15);
    }
}
#endif

#endif
