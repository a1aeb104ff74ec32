/* Formats that a key–value cache is rounded to. Simulated: a part of the cache holds floats as ever, of what the format can hold. What is read
 * of it, by executors and by who chooses, are the rounded numbers; cache bytes are counted as the format packs them, scales included.
 *
 *   simulated_fp8   e4m3 without infinities, saturating, scale 1 for each tensor: what vLLM's kv_cache_dtype fp8 (fp8_e4m3) does with a
 *                   checkpoint that was not calibrated (docs, Quantized KV Cache). 1 byte a number.
 *   simulated_int8  symmetric, a fp32 scale for each token and head, max|x| / 127 and at least 1e-6: vLLM's int8_per_token_head.
 *                   1 byte a number and 4 a row.
 *   simulated_int4  a scale for each 32 channels of a token and head: ggml's Q4_0, as llama.cpp's --cache-type-k q4_0 stores rows. 18 bytes
 *                   for 32 numbers. It is not KIVI's (2402.02750), which has scales of keys for each channel over 32 tokens and the newest
 *                   tokens in full precision: there a key's numbers depend on the keys beside it.
 *
 * Each row is rounded by itself, after rotation, as it is stored: a row's numbers do not depend on when it came or what came with it,
 * and a cache that is compacted holds them as they were. */
#ifndef SF_CACHE_H
#define SF_CACHE_H

#include <math.h>
#include <string.h>

#include "base/splitmix.h" /* SF_ON_DEVICES */
#include "kernels/tensor.h"

typedef enum sf_cache_kind { SF_CACHE_E4M3, SF_CACHE_INT8, SF_CACHE_Q4_0 } sf_cache_kind;

typedef struct sf_cache_format {
    const char *name;  /* as a config has it */
    const char *shown; /* behind a label: "fp8 cache" */
    sf_cache_kind kind;
    int bits;          /* a number */
    int group;         /* numbers that share a scale; 0: all of a row */
    int scale_bytes;   /* of each group */
} sf_cache_format;

extern const sf_cache_format sf_cache_formats[]; /* ended by the row {0} */

/* NULL: there is none of this name. */
const sf_cache_format *sf_cache_format_of(const char *name);

/* Bytes of so many rows of dim numbers, a multiple of the group; of a part without a format those of its dtype. */
size_t sf_cache_bytes(const sf_cache_format *format, sf_dtype dtype, int64_t rows, int dim);

/* Rounds a row of dim numbers in host memory. */
void sf_cache_round(const sf_cache_format *format, float *row, int dim);

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

/* most: the largest magnitude of the row. */
SF_ON_DEVICES static inline float sf_cache_int8(float x, float most)
{
    const float given = SF_CACHE_OVER(most, 127.0f), scale = given > 1e-6f ? given : 1e-6f;
    float q = rintf(SF_CACHE_TIMES(x, SF_CACHE_OVER(1.0f, scale)));
    q = q > 127 ? 127 : q < -128 ? -128 : q;
    return SF_CACHE_TIMES(q, scale);
}

/* most: the number of the largest magnitude in the group, with its sign; the first of several. */
SF_ON_DEVICES static inline float sf_cache_q4_0(float x, float most)
{
    const float scale = SF_CACHE_OVER(most, -8.0f), by = scale != 0 ? SF_CACHE_OVER(1.0f, scale) : 0;
    float q = truncf(SF_CACHE_PLUS(SF_CACHE_TIMES(x, by), 8.5f));
    q = q > 15 ? 15 : q < 0 ? 0 : q;
    return SF_CACHE_TIMES(sf_cache_half(scale), q - 8);
}

#endif
