/* The vector type of the instruction set that is being compiled for, and the few operations that the tiles need on it.
 *
 * Included by the isa_*.c files after they have named their target. A `vec` has W floats; what must not depend on W is
 * written over 16 lanes, that is WIDE vectors, and reduced in one fixed tree: lane i + lane i+8, then i+4, i+2, i+1.
 *
 * Beware of `condition ? vector : vector` with a scalar condition: GCC 12 makes an AVX-512 mask of one lane of it. */
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

#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define UNROLL   _Pragma("GCC unroll 16") /* loops over registers: whole, or the registers become an array in memory */

typedef float vec __attribute__((vector_size(W * sizeof(float))));
typedef int32_t ivec __attribute__((vector_size(W * sizeof(int32_t))));
typedef uint32_t uvec __attribute__((vector_size(W * sizeof(uint32_t)))); /* of a float; wraps around */

INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* v, held in a register: GCC otherwise loads it anew for each multiply-add that takes it, and loads are what a tile has none of
 * to spare. */
INLINE vec held(vec v)
{
#if defined __AVX512F__
    __asm__("" : "+v"(v));
#elif defined __x86_64__
    __asm__("" : "+x"(v));
#endif
    return v;
}

INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec all(float x) { return x - (vec){0}; } /* not x + 0, which would lose the sign of -0 */

/* v * scale + sum in one rounding, where the set has that. GCC sees to it wherever the three stand together; clang 14 not in the last
 * row of an unrolled loop, whose last digits would then tell which row of a tile it was. */
#if defined __clang__ && defined __AVX512F__
#define SCALED_SUM(v, scale, sum) ((vec)_mm512_fmadd_ps((__m512)(v), (__m512)all(scale), (__m512)(sum)))
#elif defined __clang__ && defined __FMA__
#define SCALED_SUM(v, scale, sum) ((vec)_mm256_fmadd_ps((__m256)(v), (__m256)all(scale), (__m256)(sum)))
#else
#define SCALED_SUM(v, scale, sum) ((v) * (scale) + (sum))
#endif

#if defined __AVX512F__
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); } /* b where either is NaN */
#elif defined __AVX2__
INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE vec larger(vec a, vec b)
{
    vec r;
    for (int i = 0; i < W; i++) r[i] = a[i] > b[i] ? a[i] : b[i];
    return r;
}
#endif

/* 2^x for x <= 127, relative error below 1e-7; exactly 1 at 0, exactly 0 from -127 down. 2^x = 2^n 2^f, |f| <= 1/2, the
 * latter by a polynomial of degree 6 (minimax with its constant term held at 1). */
INLINE vec exp2v(vec x)
{
    const float round = 0x1.8p23f + 127; /* adding it leaves n + 127, the exponent of 2^n, in the low bits */
    x = larger(x, all(-127));
    vec shifted = x + round, f = x - (shifted - round);
    vec p = all(0x1.4204d51478fdbp-13f);
    p = p * f + 0x1.5f3e74c9e0b1cp-10f;
    p = p * f + 0x1.3b2d3f43f80edp-7f;
    p = p * f + 0x1.c6aee860fbf89p-5f;
    p = p * f + 0x1.ebfbdc4f055afp-3f;
    p = p * f + 0x1.62e430aeff6ecp-1f;
    p = p * f + 1;
    return p * (vec)((uvec)shifted << 23);
}

/* Lane tables for folding pieces of `size` lanes of two vectors into their halves: the low halves of all pieces, in
 * order, and the high halves. */
#define AT_(k, size)  ((k) / ((size) / 2) * (size) + (k) % ((size) / 2))
#define AT4_(k, size) AT_(k, size), AT_(k + 1, size), AT_(k + 2, size), AT_(k + 3, size)
#if defined __AVX512F__
#define LOW_(size) ((ivec){AT4_(0, size), AT4_(4, size), AT4_(8, size), AT4_(12, size)})
#elif defined __AVX2__
#define LOW_(size) ((ivec){AT4_(0, size), AT4_(4, size)})
#else
#define LOW_(size) ((ivec){AT4_(0, size)})
#endif

/* Elements of a and b, which stand one behind the other, at constant places. */
INLINE vec shuffled(vec a, vec b, ivec at)
{
#if defined __clang__ /* makes shuffles of it */
    vec out;
    for (int i = 0; i < W; i++) out[i] = at[i] < W ? a[at[i]] : b[at[i] - W];
    return out;
#else
    return __builtin_shuffle(a, b, at);
#endif
}

enum { SUM, MOST };

INLINE vec both(vec a, vec b, int how)
{
    if (how == MOST) return larger(a, b);
    return a + b;
}

INLINE vec fold(vec a, vec b, ivec low, int half, int how)
{
    return both(shuffled(a, b, low), shuffled(a, b, low + half), how);
}

/* out[i] = sum (or maximum) of the 16 lanes of v[i], i < n; n is a power of two up to 16, a constant. Two vectors are
 * folded into one at every level, so that 16 sums cost 15 additions; `out` has room for n, at least W. */
INLINE void reduce(int n, const vec (*v)[WIDE], int how, float *out)
{
    vec t[LANES];
    for (int i = 0; i < n; i++) {
#if defined __AVX512F__
        t[i] = v[i][0];
#elif defined __AVX2__
        t[i] = both(v[i][0], v[i][1], how);
#else
        t[i] = both(both(v[i][0], v[i][2], how), both(v[i][1], v[i][3], how), how);
#endif
    }
    int left = n;
#define LEVEL_(size)                                                                                                   \
    for (int i = 0; i < (left + 1) / 2; i++)                                                                           \
        t[i] = fold(t[2 * i], t[2 * i + 1 < left ? 2 * i + 1 : 2 * i], LOW_(size), (size) / 2, how);                   \
    left = (left + 1) / 2;
#if defined __AVX512F__
    LEVEL_(16)
#endif
#if defined __AVX2__
    LEVEL_(8)
#endif
    LEVEL_(4)
    LEVEL_(2)
#undef LEVEL_
    for (int i = 0; i < left; i++) store(out + i * W, t[i]);
}

INLINE float sum16(const vec v[WIDE])
{
    float out[W];
    reduce(1, (const vec(*)[WIDE])v, SUM, out);
    return out[0];
}

#endif
