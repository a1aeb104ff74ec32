/* The vector type of the instruction set that is being compiled for, and the few operations that the tiles need on it.
 *
 * Included by the isa_*.c files after they have named their target. A `vec` has W floats; what must not depend on W is
 * written over 16 lanes, that is WIDE vectors, and reduced in one fixed tree: lane i + lane i+8, then i+4, i+2, i+1.
 *
 * Do not write `condition ? vector : vector` with a scalar condition: GCC 12 turns it into an AVX-512 mask of one lane. */
#ifndef SF_SIMD_H
#define SF_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined __F16C__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { W = 16 };
#elif defined __AVX2__
enum { W = 8 };
#else
enum { W = 4 };
#endif
enum { LANES = 16, WIDE = LANES / W };

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(W * sizeof(float))));
typedef int32_t ivec __attribute__((vector_size(W * sizeof(int32_t))));

INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec all(float x) { return x - (vec){0}; } /* not x + 0, which would lose the sign of -0 */

#if defined __AVX512F__
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); } /* b where either is NaN */
INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#else
INLINE vec larger(vec a, vec b)
{
    vec r;
    for (int i = 0; i < W; i++) r[i] = a[i] > b[i] ? a[i] : b[i];
    return r;
}

INLINE vec smaller(vec a, vec b)
{
    vec r;
    for (int i = 0; i < W; i++) r[i] = a[i] < b[i] ? a[i] : b[i];
    return r;
}
#endif

/* 2^x for x <= 127, relative error below 1e-7; exactly 1 at 0, exactly 0 from -127 down. 2^x = 2^n 2^f, |f| <= 1/2, the
 * latter by a polynomial of degree 6 (minimax with its constant term held at 1). */
INLINE vec exp2v(vec x)
{
    const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
    x = larger(smaller(x, all(127)), all(-127));
    vec shifted = x + round, f = x - (shifted - round);
    vec p = all(0x1.4204d51478fdbp-13f);
    p = p * f + 0x1.5f3e74c9e0b1cp-10f;
    p = p * f + 0x1.3b2d3f43f80edp-7f;
    p = p * f + 0x1.c6aee860fbf89p-5f;
    p = p * f + 0x1.ebfbdc4f055afp-3f;
    p = p * f + 0x1.62e430aeff6ecp-1f;
    p = p * f + 1;
    return p * (vec)(((ivec)shifted << 23) + (127 << 23));
}

INLINE float sum16(const vec v[WIDE])
{
    float s[LANES];
    memcpy(s, v, sizeof s);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

INLINE float max16(const vec v[WIDE])
{
    float s[LANES];
    memcpy(s, v, sizeof s);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) s[i] = s[i] > s[i + half] ? s[i] : s[i + half];
    return s[0];
}

#endif
