/* Formats that a key–value cache is rounded to. Simulated: a part of the cache holds floats as ever, of what the format can hold. Packed: the
 * prompt's part holds the format's own bytes, which executors turn into the same floats as they read them. What is read, by executors and by who
 * chooses, are the rounded numbers; cache bytes are counted as the format packs them, scales included: of the two alike.
 *
 *   fp8   e4m3 without infinities, saturating, scale 1 for each tensor: what vLLM's kv_cache_dtype fp8 (fp8_e4m3) does with a
 *         checkpoint that was not calibrated (docs, Quantized KV Cache). 1 byte a number.
 *   int8  symmetric, a fp32 scale for each token and head, max|x| / 127 and at least 1e-6: vLLM's int8_per_token_head.
 *         1 byte a number and 4 a row.
 *   int4  a scale for each 32 channels of a token and head: ggml's Q4_0, as llama.cpp's --cache-type-k q4_0 stores rows. 18 bytes
 *         for 32 numbers. It is not KIVI's (2402.02750), which has scales of keys for each channel over 32 tokens and the newest
 *         tokens in full precision: there a key's numbers depend on the keys beside it.
 *
 * Each row is rounded by itself, after rotation, as it is stored: a row's numbers do not depend on when it came or what came with it,
 * and a cache that is compacted holds them as they were.
 *
 * A packed k, and likewise v, is one allocation of sf_cache_packed_bytes(): the numbers [G, capacity, D · bits / 8] bytes, then, from
 * sf_cache_scales_at() on, scales [G, capacity, groups], so that row sf_kv_row() has the same number in both.
 *
 *   fp8   e4m3fn bytes, no scales. NaN is 0x7f
 *   int8  two's complement, times a scale of fp32
 *   int4  ggml's order: byte i of a group's 16 holds number i in its low bits, number i + 16 in its high ones, q of 0 … 15 for q - 8, times a scale
 *         of fp16
 *
 * A code of int8 or int4 cannot be NaN: where a row, or a group, has one, its scale is, so that all of it reads as NaN. */
#ifndef SF_CACHE_H
#define SF_CACHE_H

#include <math.h>
#include <string.h>

#include "base/splitmix.h" /* SF_ON_DEVICES */
#include "base/status.h"
#include "kernels/tensor.h"

typedef enum sf_cache_kind { SF_CACHE_E4M3, SF_CACHE_INT8, SF_CACHE_Q4_0 } sf_cache_kind;

typedef struct sf_cache_format {
    const char *name;  /* as a config has it */
    const char *shown; /* behind a label: "simulated fp8 cache" */
    sf_cache_kind kind;
    int bits;          /* a number */
    int group;         /* numbers that share a scale; 0: all of a row */
    int scale_bytes;   /* of each group */
    bool packed;       /* stored so; else simulated */
} sf_cache_format;

extern const sf_cache_format sf_cache_formats[]; /* ended by the row {0} */

/* NULL: there is none of this name. */
const sf_cache_format *sf_cache_format_of(const char *name);

/* Bytes of so many rows of dim numbers, a multiple of the group; of a part without a format those of its dtype. */
size_t sf_cache_bytes(const sf_cache_format *format, sf_dtype dtype, int64_t rows, int dim);

/* Rounds a row of dim numbers in host memory. */
void sf_cache_round(const sf_cache_format *format, float *row, int dim);

/* Bytes of a packed row's numbers, and scales of a row. */
static inline size_t sf_cache_row_bytes(const sf_cache_format *f, int dim) { return (size_t)dim * (size_t)f->bits / 8; }
static inline int sf_cache_groups(const sf_cache_format *f, int dim) { return f->group ? dim / f->group : 1; }

/* Where a packed part's scales begin in k and in v, in bytes: a multiple of 256; and the bytes of all of k, or of v. */
static inline size_t sf_cache_scales_at(const sf_cache_format *f, int64_t kv_heads, int64_t capacity, int dim)
{
    return ((size_t)(kv_heads * capacity) * sf_cache_row_bytes(f, dim) + 255) / 256 * 256;
}

static inline size_t sf_cache_packed_bytes(const sf_cache_format *f, int64_t kv_heads, int64_t capacity, int dim)
{
    const size_t scales = (size_t)sf_cache_groups(f, dim) * (size_t)f->scale_bytes;
    return sf_cache_scales_at(f, kv_heads, capacity, dim) + (size_t)(kv_heads * capacity) * scales;
}

/* Packs a row of dim numbers, a multiple of the group, that are not rounded yet, to its bytes and its scales (not touched by fp8), in host
 * memory; and back: the numbers that sf_cache_round() leaves, to the bit (NaN as above). */
void sf_cache_pack(const sf_cache_format *format, const float *row, int dim, void *numbers, void *scales);
void sf_cache_unpack(const sf_cache_format *format, const void *numbers, const void *scales, int dim, float *row);

/* Where row `row` (sf_kv_row()) of a packed part of so many kv heads has its bytes and its scales in k or v. */
static inline char *sf_cache_numbers(const sf_kv_part *part, const void *packed, int64_t row, int dim)
{
    return (char *)packed + (size_t)row * sf_cache_row_bytes(part->format, dim);
}

static inline char *sf_cache_scales(const sf_kv_part *part, const void *packed, int kv_heads, int64_t row, int dim)
{
    const sf_cache_format *f = part->format;
    return (char *)packed + sf_cache_scales_at(f, kv_heads, part->capacity, dim) + (size_t)row * (size_t)(sf_cache_groups(f, dim) * f->scale_bytes);
}

/* Row `row` (sf_kv_row()) of a packed part of so many kv heads, k or v, in host memory. */
void sf_cache_pack_row(const sf_kv_part *part, void *packed, int kv_heads, int64_t row, int dim, const float *from);
void sf_cache_unpack_row(const sf_kv_part *part, const void *packed, int kv_heads, int64_t row, int dim, float *to);

/* SF_OK of a part that is not packed; else the refusal of an op, by its name, that reads floats alone. */
sf_status sf_cache_refuse(const sf_kv_part *part, const char *op);

/* ---- what a number becomes, on the host and on devices to the bit the same ---------------------------------------------- */

/* The host's compiler is told not to join a product and a sum (cache.c); nvcc by these. */
#ifdef __CUDA_ARCH__
#define SF_CACHE_TIMES(x, y) __fmul_rn(x, y)
#define SF_CACHE_PLUS(x, y)  __fadd_rn(x, y)
#define SF_CACHE_OVER(x, y)  __fdiv_rn(x, y)
#else
#define SF_CACHE_TIMES(x, y) ((x) * (y))
#define SF_CACHE_PLUS(x, y)  ((x) + (y))
#define SF_CACHE_OVER(x, y)  ((x) / (y))
#endif

/* x with `digits` binary digits behind the first, those of 2^least below it; ties to even. Exact but for the rounding. */
SF_ON_DEVICES static inline float sf_cache_digits(float x, int digits, int least)
{
    uint32_t bits;
    float step;
    memcpy(&bits, &x, sizeof bits);
    const int own = (int)(bits >> 23 & 255) - 127, exponent = own > least ? own : least;
    bits = (uint32_t)(exponent - digits + 127) << 23;
    memcpy(&step, &bits, sizeof step);
    return rintf(x / step) * step;
}

SF_ON_DEVICES static inline float sf_cache_e4m3(float x)
{
    const float y = sf_cache_digits(x, 3, -6);
    return y > 448 ? 448 : y < -448 ? -448 : y;
}

/* fp16, of what lies in its range. */
SF_ON_DEVICES static inline float sf_cache_half(float x)
{
    const float y = sf_cache_digits(x, 10, -14);
    return y > 65504 ? INFINITY : y < -65504 ? -INFINITY : y;
}

/* The code of int8, before it is a whole number's byte, and its scale. most: the largest magnitude of the row. Codes are never -0, whose
 * sign a byte would lose. */
SF_ON_DEVICES static inline float sf_cache_int8_scale(float most)
{
    const float given = SF_CACHE_OVER(most, 127.0f);
    return given > 1e-6f ? given : 1e-6f;
}

SF_ON_DEVICES static inline float sf_cache_int8_code(float x, float scale)
{
    const float q = rintf(SF_CACHE_TIMES(x, SF_CACHE_OVER(1.0f, scale)));
    return SF_CACHE_PLUS(q > 127 ? 127 : q < -128 ? -128 : q, 0.0f);
}

SF_ON_DEVICES static inline float sf_cache_int8(float x, float most)
{
    const float scale = sf_cache_int8_scale(most);
    return SF_CACHE_TIMES(sf_cache_int8_code(x, scale), scale);
}

/* Likewise of int4: the scale before it is rounded to fp16, sf_cache_half(), and the code, 0 … 15. most: the number of the largest magnitude in the
 * group, with its sign; the first of several. */
SF_ON_DEVICES static inline float sf_cache_q4_0_scale(float most) { return SF_CACHE_OVER(most, -8.0f); }

SF_ON_DEVICES static inline float sf_cache_q4_0_code(float x, float scale)
{
    const float by = scale != 0 ? SF_CACHE_OVER(1.0f, scale) : 0, q = truncf(SF_CACHE_PLUS(SF_CACHE_TIMES(x, by), 8.5f));
    return q > 15 ? 15 : q < 0 ? 0 : q;
}

SF_ON_DEVICES static inline float sf_cache_q4_0(float x, float most)
{
    const float scale = sf_cache_q4_0_scale(most);
    return SF_CACHE_TIMES(sf_cache_half(scale), sf_cache_q4_0_code(x, scale) - 8);
}

/* The bits of a number that sf_cache_e4m3() or sf_cache_half() has left, and back. `digits` behind the first, `bias` of the exponent. */
SF_ON_DEVICES static inline uint32_t sf_cache_small_bits(float y, int digits, int bias)
{
    uint32_t bits;
    memcpy(&bits, &y, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffff;
    const int exponent = (int)(magnitude >> 23) - 127 + bias;
    if (exponent > 0) return ((uint32_t)exponent << digits) | (magnitude & 0x7fffff) >> (23 - digits);
    memcpy(&y, &magnitude, sizeof y); /* subnormal: a whole number of the smallest steps */
    bits = (uint32_t)(127 + digits + bias - 1) << 23;
    float steps;
    memcpy(&steps, &bits, sizeof steps);
    return (uint32_t)(y * steps);
}

SF_ON_DEVICES static inline uint8_t sf_cache_e4m3_code(float y)
{
    return isnan(y) ? 0x7f : (uint8_t)(sf_cache_small_bits(y, 3, 7) | (signbit(y) ? 0x80 : 0));
}

SF_ON_DEVICES static inline uint16_t sf_cache_half_code(float y)
{
    if (isnan(y)) return 0x7e00;
    return (uint16_t)((isinf(y) ? 0x7c00 : sf_cache_small_bits(y, 10, 15)) | (signbit(y) ? 0x8000 : 0));
}

/* Exponent and digits moved to their places in fp32, whose bias is larger: the product says the difference, of subnormal numbers too. */
SF_ON_DEVICES static inline float sf_cache_e4m3_of(uint8_t code)
{
    const uint32_t bits = (uint32_t)(code & 0x80) << 24 | (uint32_t)(code & 0x7f) << 20;
    float y;
    memcpy(&y, &bits, sizeof y);
    return (code & 0x7f) == 0x7f ? NAN : y * 0x1p120f;
}

SF_ON_DEVICES static inline float sf_cache_half_of(uint16_t code)
{
    const uint32_t sign = (uint32_t)(code & 0x8000) << 16, magnitude = (uint32_t)(code & 0x7fff) << 13;
    uint32_t bits = sign | magnitude;
    float y;
    if ((code & 0x7c00) == 0x7c00) bits = sign | 0x7f800000 | magnitude;
    memcpy(&y, &bits, sizeof y);
    return (code & 0x7c00) == 0x7c00 ? y : y * 0x1p112f;
}

#endif
