/* ggml's rarer block formats: two to five bits a weight, with scales, code books, ternary digits or microscaling; part of tensor.c. Layouts are
 * those of llama.cpp's ggml-common.h, the arithmetic that of the Python package gguf, operation by operation; checked against it
 * bit for bit (tests/test_backend_dtypes.c). Little-endian.
 *
 *     Q2_K    4-bit (scale, min)[16]   2-bit q[256]   d m                 d·scale·q - m·min, one pair for 16
 *     Q3_K    bit h[256]   2-bit q[256]   6-bit scale[16]   d             d·(scale - 32)·(q + 4h - 4)
 *     Q5_K    d m   6-bit (scale, min)[8]   bit h[256]   nibble q[256]    as Q4_K, of 5 bits
 *     IQ4_NL  d   nibble q[32]                                            d·value[q], 16 values of a curve
 *     IQ4_XS  d   6-bit scale[8]   nibble q[256]                          likewise, d·(scale - 32), one for 32
 *     IQ2_…, IQ3_…  d, numbers of entries of a code book of 8 or 4 weights, signs, 4-bit scales
 *     IQ1_…   d, entries of a code book of -1, 0, 1, which are shifted by ±1/8, 3-bit scales
 *     TQ1_0   five ternary digits a byte          TQ2_0   four
 *     MXFP4   a power of two   nibble e2m1[32]    NVFP4   e4m3 scale[4]   nibble e2m1[64] */
#ifndef SF_GGML_BLOCKS_H
#define SF_GGML_BLOCKS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/ggml_grids.h"

/* fp16 */
static float half(const uint8_t *p)
{
    union {
        uint32_t bits;
        float value;
    } f;
    uint32_t h = p[0] | (uint32_t)p[1] << 8, sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    float subnormal = (float)mantissa * 0x1p-24f;
    if (exponent == 0) return sign ? -subnormal : subnormal;
    f.bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13;
    return f.value;
}

static uint32_t little16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t little32(const uint8_t *p) { return little16(p) | little16(p + 2) << 16; }

/* ---- scales and minima ------------------------------------------------------------------------------------------------- */

static void q2_k(const uint8_t *b, float *to)
{
    const uint8_t *scales = b, *q = b + 16;
    float d = half(b + 80), m = half(b + 82);
    for (int e = 0; e < 256; e++) {
        float scale = d * (float)(scales[e / 16] & 15), min = m * (float)(scales[e / 16] >> 4);
        to[e] = scale * (float)(q[e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3) - min;
    }
}

static void q3_k(const uint8_t *b, float *to)
{
    const uint8_t *high = b, *q = b + 32, *s = b + 96;
    float d = half(b + 108);
    for (int e = 0; e < 256; e++) {
        int j = e / 16, scale = (s[j % 8] >> (j < 8 ? 0 : 4) & 15) | (s[8 + j % 4] >> j / 4 * 2 & 3) << 4;
        int low = q[e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3, bit = high[e % 32] >> e / 32 & 1;
        to[e] = d * (float)(scale - 32) * (float)(low - (bit ? 0 : 4));
    }
}

/* Scale and min of the j-th 32 of a block: twelve bytes of eight 6-bit pairs (Q4_K, Q5_K). */
static void k_scales(const uint8_t *s, int j, int *scale, int *min)
{
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    *min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
}

static void q5_k(const uint8_t *b, float *to)
{
    float d = half(b), dmin = half(b + 2);
    const uint8_t *high = b + 16, *q = b + 48;
    for (int j = 0; j < 8; j++) { /* 32 elements each */
        int scale, min;
        k_scales(b + 4, j, &scale, &min);
        float a = d * (float)scale, m = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int byte = q[j / 2 * 32 + i], low = j % 2 ? byte >> 4 : byte & 15;
            to[j * 32 + i] = a * (float)(low | (high[i] >> j & 1) << 4) - m;
        }
    }
}

/* ---- a curve of 16 values ------------------------------------------------------------------------------------------------- */

static const int8_t CURVE[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* 32 elements: low nibbles, then high ones. */
static void curve(const uint8_t *q, float d, float *to)
{
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)CURVE[q[i] & 15];
        to[i + 16] = d * (float)CURVE[q[i] >> 4];
    }
}

static void iq4_xs(const uint8_t *b, float *to)
{
    float d = half(b);
    uint32_t high = little16(b + 2);
    for (int j = 0; j < 8; j++) {
        int scale = (b[4 + j / 2] >> j % 2 * 4 & 15) | (int)(high >> 2 * j & 3) << 4;
        curve(b + 8 + 16 * j, d * (float)(scale - 32), to + 32 * j);
    }
}

/* ---- code books ---------------------------------------------------------------------------------------------------------- */

/* Seven signs, and an eighth that makes their number even. */
static uint32_t even_signs(uint32_t seven) { return seven | (uint32_t)(__builtin_popcount(seven) & 1) << 7; }

/* `n` elements of an entry: 8 of 2 bits each, or 4 of 3. */
static void entry(uint32_t packed, int n, const int8_t *value, uint32_t signs, float d, float *to)
{
    int bits = n == 8 ? 2 : 3;
    for (int i = 0; i < n; i++) {
        float v = d * (float)value[packed >> bits * i & ((1u << bits) - 1)];
        to[i] = signs >> i & 1 ? -v : v;
    }
}

static void iq2_xxs(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int j = 0; j < 8; j++) { /* 32 elements each: four entries, then 4 × 7 signs and a scale */
        const uint8_t *at = b + 2 + 8 * j;
        uint32_t rest = little32(at + 4);
        float scale = d * (0.5f + (float)(rest >> 28)) * 0.25f;
        for (int i = 0; i < 4; i++)
            entry(iq2_xxs_grid[at[i]], 8, iq2_value, even_signs(rest >> 7 * i & 127), scale, to + 32 * j + 8 * i);
    }
}

static void iq2_xs(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int i = 0; i < 32; i++) {
        uint32_t q = little16(b + 2 + 2 * i), s = b[66 + i / 4] >> i / 2 % 2 * 4 & 15;
        entry(iq2_xs_grid[q & 511], 8, iq2_value, even_signs(q >> 9), d * (0.5f + (float)s) * 0.25f, to + 8 * i);
    }
}

static void iq2_s(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int i = 0; i < 32; i++) {
        uint32_t q = b[2 + i] | (uint32_t)(b[66 + i / 4] >> i % 4 * 2 & 3) << 8, s = b[74 + i / 4] >> i / 2 % 2 * 4 & 15;
        entry(iq2_s_grid[q], 8, iq2_value, b[34 + i], d * (0.5f + (float)s) * 0.25f, to + 8 * i);
    }
}

static void iq3_xxs(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int j = 0; j < 8; j++) {
        uint32_t rest = little32(b + 66 + 4 * j);
        float scale = d * (0.5f + (float)(rest >> 28)) * 0.5f;
        for (int i = 0; i < 8; i++) {
            uint32_t signs = even_signs(rest >> 7 * (i / 2) & 127) >> i % 2 * 4;
            entry(iq3_xxs_grid[b[2 + 8 * j + i]], 4, iq3_xxs_value, signs, scale, to + 32 * j + 4 * i);
        }
    }
}

static void iq3_s(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int i = 0; i < 64; i++) {
        uint32_t q = b[2 + i] | (uint32_t)(b[66 + i / 8] >> i % 8 & 1) << 8, s = b[106 + i / 16] >> i / 8 % 2 * 4 & 15;
        entry(iq3_s_grid[q], 4, iq3_s_value, (uint32_t)(b[74 + i / 2] >> i % 2 * 4), d * (float)(1 + 2 * s), to + 4 * i);
    }
}

/* -1, 0 and 1, all shifted by delta. */
static void ternary(uint32_t packed, float delta, float d, float *to)
{
    for (int i = 0; i < 8; i++) to[i] = d * ((float)((int)(packed >> 2 * i & 3) - 1) + delta);
}

static void iq1_s(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int i = 0; i < 32; i++) {
        uint32_t h = little16(b + 34 + i / 4 * 2), q = b[2 + i] | (h >> 3 * (i % 4) & 7) << 8;
        ternary(iq1_s_grid[q], h & 0x8000 ? -0.125f : 0.125f, d * (float)(2 * (h >> 12 & 7) + 1), to + 8 * i);
    }
}

static void iq1_m(const uint8_t *b, float *to)
{
    const uint8_t *s = b + 48; /* four words: twelve bits of scales, and a quarter of d */
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++) bits |= (little16(s + 2 * i) & 0xf000) >> (12 - 4 * i);
    float d = half((const uint8_t[]){(uint8_t)bits, (uint8_t)(bits >> 8)});
    for (int i = 0; i < 32; i++) {
        uint32_t h = b[32 + i / 2] >> i % 2 * 4, scale = little16(s + i / 8 * 2) >> i / 2 % 4 * 3 & 7;
        ternary(iq1_s_grid[b[i] | (h & 7) << 8], h & 8 ? -0.125f : 0.125f, d * (float)(2 * scale + 1), to + 8 * i);
    }
}

/* ---- ternary digits --------------------------------------------------------------------------------------------------------- */

/* Digit i of a byte that holds five of them as a fraction of 256. */
static float digit(uint8_t byte, int i)
{
    static const uint8_t POWER[] = {1, 3, 9, 27, 81};
    return (float)((int)((uint8_t)(byte * POWER[i]) * 3u >> 8) - 1);
}

static void tq1_0(const uint8_t *b, float *to)
{
    float d = half(b + 52);
    for (int e = 0; e < 160; e++) to[e] = d * digit(b[e % 32], e / 32);
    for (int e = 0; e < 80; e++) to[160 + e] = d * digit(b[32 + e % 16], e / 16);
    for (int e = 0; e < 16; e++) to[240 + e] = d * digit(b[48 + e % 4], e / 4);
}

static void tq2_0(const uint8_t *b, float *to)
{
    float d = half(b + 64);
    for (int e = 0; e < 256; e++) to[e] = d * (float)((int)(b[e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3) - 1);
}

/* ---- microscaling ----------------------------------------------------------------------------------------------------------- */

/* e2m1, doubled. */
static const int8_t FP4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void mxfp4(const uint8_t *b, float *to)
{
    float d = ldexpf(1, b[0] - 128); /* half of the power, as the values are doubled */
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)FP4[b[1 + i] & 15];
        to[i + 16] = d * (float)FP4[b[1 + i] >> 4];
    }
}

/* Unsigned e4m3, halved. */
static float half_e4m3(uint8_t x)
{
    int exponent = x >> 3 & 15, mantissa = x & 7;
    if (x == 0x7f) return 0;
    return 0.5f * (exponent ? ldexpf(1 + (float)mantissa / 8, exponent - 7) : ldexpf((float)mantissa, -9));
}

static void nvfp4(const uint8_t *b, float *to)
{
    for (int j = 0; j < 4; j++) {
        float d = half_e4m3(b[j]);
        for (int i = 0; i < 8; i++) {
            to[16 * j + i] = d * (float)FP4[b[4 + 8 * j + i] & 15];
            to[16 * j + 8 + i] = d * (float)FP4[b[4 + 8 * j + i] >> 4];
        }
    }
}

#endif
