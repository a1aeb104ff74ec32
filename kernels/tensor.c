/* Element types: their sizes, and plain loops that turn each into fp32.
 *
 * The block layouts are ggml's. Scales are fp16, little-endian; nibbles of a byte are the element i (low) and the
 * element half a block further (high):
 *
 *     Q8_0   d                    int8 q[32]                         d * q
 *     Q4_0   d                    nibble q[32]                       d * (q - 8)
 *     Q4_1   d m                  nibble q[32]                       d * q + m
 *     Q5_0   d      bit h[32]     nibble q[32]                       d * (q + 16h - 16)
 *     Q5_1   d m    bit h[32]     nibble q[32]                       d * (q + 16h) + m
 *     Q4_K   d m    6-bit (scale, min)[8]   nibble q[256]            d * scale * q - m * min, one pair for 32 elements
 *     Q6_K   nibble l[256]   2-bit h[256]   int8 scale[16]   d       d * scale * (l + 16h - 32), one scale for 16
 *
 * The rarer ones are in ggml_blocks.h. Checked bit for bit against the Python package gguf: tests/test_backend_dtypes.c, tests/golden/dtypes.py. */
#include "kernels/tensor.h"

#include <assert.h>
#include <string.h>

#include "kernels/ggml_blocks.h"

const sf_dtype_info sf_dtypes[SF_DTYPES] = {
    [SF_F32] = {"F32", 1, 4},     [SF_F16] = {"F16", 1, 2},     [SF_BF16] = {"BF16", 1, 2},
    [SF_I32] = {"I32", 1, 4},     [SF_Q8_0] = {"Q8_0", 32, 34}, [SF_Q4_0] = {"Q4_0", 32, 18},
    [SF_Q4_1] = {"Q4_1", 32, 20}, [SF_Q5_0] = {"Q5_0", 32, 22}, [SF_Q5_1] = {"Q5_1", 32, 24},
    [SF_Q4_K] = {"Q4_K", 256, 144}, [SF_Q6_K] = {"Q6_K", 256, 210},
    [SF_Q2_K] = {"Q2_K", 256, 84},  [SF_Q3_K] = {"Q3_K", 256, 110},      [SF_Q5_K] = {"Q5_K", 256, 176},
    [SF_IQ4_NL] = {"IQ4_NL", 32, 18}, [SF_IQ4_XS] = {"IQ4_XS", 256, 136}, [SF_IQ2_XXS] = {"IQ2_XXS", 256, 66},
    [SF_IQ2_XS] = {"IQ2_XS", 256, 74}, [SF_IQ2_S] = {"IQ2_S", 256, 82},   [SF_IQ3_XXS] = {"IQ3_XXS", 256, 98},
    [SF_IQ3_S] = {"IQ3_S", 256, 110}, [SF_IQ1_S] = {"IQ1_S", 256, 50},    [SF_IQ1_M] = {"IQ1_M", 256, 56},
    [SF_TQ1_0] = {"TQ1_0", 256, 54},  [SF_TQ2_0] = {"TQ2_0", 256, 66},    [SF_MXFP4] = {"MXFP4", 32, 17},
    [SF_NVFP4] = {"NVFP4", 64, 36},   [SF_F64] = {"F64", 1, 8},           [SF_I8] = {"I8", 1, 1},
    [SF_I16] = {"I16", 1, 2},         [SF_I64] = {"I64", 1, 8},
};

size_t sf_bytes(sf_dtype dtype, int64_t elements)
{
    const sf_dtype_info *info = &sf_dtypes[dtype];
    assert(elements % info->block == 0);
    return (size_t)(elements / info->block) * (size_t)info->bytes;
}

int64_t sf_elements(const sf_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint64_t little64(const uint8_t *p) { return little32(p) | (uint64_t)little32(p + 4) << 32; }

static double from_bits64(const uint8_t *p)
{
    uint64_t bits = little64(p);
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void q8_0(const uint8_t *b, float *to)
{
    float d = half(b);
    for (int i = 0; i < 32; i++) to[i] = (float)(int8_t)b[2 + i] * d;
}

/* Q4_0, Q4_1, Q5_0, Q5_1. `high` holds the fifth bits, 0 for four-bit types. */
static void nibbles(const uint8_t *q, uint32_t high, int zero, float d, float m, float *to)
{
    for (int i = 0; i < 16; i++) {
        int low = (q[i] & 15) | (int)(high >> i & 1) << 4, top = q[i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        to[i] = (float)(low - zero) * d + m;
        to[i + 16] = (float)(top - zero) * d + m;
    }
}

static void q4_k(const uint8_t *b, float *to)
{
    float d = half(b), dmin = half(b + 2);
    const uint8_t *q = b + 16;
    for (int j = 0; j < 8; j++) { /* 32 elements each */
        int scale, min;
        k_scales(b + 4, j, &scale, &min);
        float a = d * (float)scale, m = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int byte = q[j / 2 * 32 + i];
            to[j * 32 + i] = a * (float)(j % 2 ? byte >> 4 : byte & 15) - m;
        }
    }
}

static void q6_k(const uint8_t *b, float *to)
{
    float d = half(b + 208);
    for (int e = 0; e < 256; e++) {
        int half = e / 128, quarter = e % 128 / 32, i = e % 32;
        int l = b[half * 64 + quarter % 2 * 32 + i], h = b[128 + half * 32 + i] >> (2 * quarter) & 3;
        int q = (quarter < 2 ? l & 15 : l >> 4) | h << 4, scale = (int8_t)b[192 + e / 16];
        to[e] = d * (float)scale * (float)(q - 32);
    }
}

void sf_to_f32(sf_dtype dtype, const void *from, float *to, int64_t elements)
{
    const sf_dtype_info *info = &sf_dtypes[dtype];
    assert(elements % info->block == 0);
    const uint8_t *b = from;
    for (int64_t i = 0; i < elements; i += info->block, b += info->bytes, to += info->block) {
        switch (dtype) {
        case SF_F32: memcpy(to, b, 4); break;
        case SF_F16: *to = half(b); break;
        case SF_BF16: *to = from_bits((uint32_t)b[0] << 16 | (uint32_t)b[1] << 24); break;
        case SF_I32: *to = (float)(int32_t)little32(b); break;
        case SF_Q8_0: q8_0(b, to); break;
        case SF_Q4_0: nibbles(b + 2, 0, 8, half(b), 0, to); break;
        case SF_Q4_1: nibbles(b + 4, 0, 0, half(b), half(b + 2), to); break;
        case SF_Q5_0: nibbles(b + 6, little32(b + 2), 16, half(b), 0, to); break;
        case SF_Q5_1: nibbles(b + 8, little32(b + 4), 0, half(b), half(b + 2), to); break;
        case SF_Q4_K: q4_k(b, to); break;
        case SF_Q6_K: q6_k(b, to); break;
        case SF_F64: *to = (float)from_bits64(b); break;
        case SF_I8: *to = (float)(int8_t)*b; break;
        case SF_I16: *to = (float)(int16_t)(b[0] | b[1] << 8); break;
        case SF_I64: *to = (float)(int64_t)little64(b); break;
        case SF_Q2_K: q2_k(b, to); break;
        case SF_Q3_K: q3_k(b, to); break;
        case SF_Q5_K: q5_k(b, to); break;
        case SF_IQ4_NL: curve(b + 2, half(b), to); break;
        case SF_IQ4_XS: iq4_xs(b, to); break;
        case SF_IQ2_XXS: iq2_xxs(b, to); break;
        case SF_IQ2_XS: iq2_xs(b, to); break;
        case SF_IQ2_S: iq2_s(b, to); break;
        case SF_IQ3_XXS: iq3_xxs(b, to); break;
        case SF_IQ3_S: iq3_s(b, to); break;
        case SF_IQ1_S: iq1_s(b, to); break;
        case SF_IQ1_M: iq1_m(b, to); break;
        case SF_TQ1_0: tq1_0(b, to); break;
        case SF_TQ2_0: tq2_0(b, to); break;
        case SF_MXFP4: mxfp4(b, to); break;
        case SF_NVFP4: nvfp4(b, to); break;
        case SF_DTYPES: assert(!"a dtype");
        }
    }
}
