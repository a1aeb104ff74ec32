/* Tile: y = x · Wᵀ for some rows of W, any number of rows of x, and weights of any dtype.
 *
 * The sum runs along vectors of 16 inputs: 16 partial sums for each (row, output), over spans of 1024 inputs, folded in
 * one fixed tree; the spans' sums are added in order. How many rows and outputs a register tile holds is no part of
 * that order, so one row alone and a row among a thousand give the same bits, and one kernel serves decode and prefill.
 *
 * Weight rows are widened to fp32 a few at a time, once for all rows of x, and laid side by side so that a register
 * tile reads one stream; many rows of x are laid side by side too:
 *
 *     weights  [groups of outputs, 16/W, span/16, TILE_OUTS, W]      x  [strips of rows, 16/W, span/16, TILE_ROWS, W]
 *
 * where W floats are a vector. Where 16 are more than one, a tile passes over its span for each vector of them: so it can have
 * more rows and loads less. And where a strip and a group are too much for the nearest cache, a strip passes over all groups
 * with one vector before the next, and sums wait in memory. A row alone multiplies weights as it widens them.
 *
 * Test: build/tests/test_backends. Measured as in tile_attention.h, 576 to 1536, before rows alone had a way of their own:
 * 4096 rows 138 GFLOP/s (a register tile whose rows are near already: 162), 28 rows 112.
 * On one core of a Zen 4 that was loaded (tests/bench_cpu.c: best of 3 to 7 by processor time), 2048 rows, 1024 to 1024: AVX2 82
 * GFLOP/s (70 before), OpenBLAS's sgemm 101; one row, 4096 to 14336, GB/s of some 20 that are read: F32, F16 and BF16 all of them
 * (10, 8, 2 before), Q8_0 11 (6), Q6_K 7 (3), Q4_0 and Q4_K 6.5 (3), Q5_0, Q5_K and IQ4_XS 5 to 6 (3). Formats without a
 * decoder are widened element by element, some fifty times slower. */

/* Register tile: rows of x by outputs, as many sums as the registers hold. */
#if defined __AVX512F__
enum { TILE_ROWS = 6, TILE_OUTS = 4 };
#else
enum { TILE_ROWS = 6, TILE_OUTS = 2 };
#endif
/* Inputs summed at a time; floats of x, and of x and weights, that stay near; rows that pass over weights that stay near. */
enum { SPAN = 1024, NEAR = 7168, NEAR_BOTH = 6144, FEW_ROWS = 48 };

#include "kernels/cpu/tile_formats.h"

/* Sixteen bytes; of AVX2 in both halves of a vector, which a load does as it loads, so that they spread to 32 bits by one shuffle. */
#if defined __AVX2__ && !defined __AVX512F__
typedef uint8_t bytes16 __attribute__((vector_size(32)));
INLINE bytes16 bytes_at(const uint8_t *p) { return (bytes16)_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p)); }
#else
typedef uint8_t bytes16 __attribute__((vector_size(16)));
INLINE bytes16 bytes_at(const uint8_t *p)
{
    bytes16 b;
    memcpy(&b, p, sizeof b);
    return b;
}
#endif

/* Where decoders put weights, 16 at a time: number k of them to memory, at `to` and a step further each, its vectors so far
 * apart; or times the inputs at x + 16 k onto `sum`, as a register tile of one row adds them up. */
typedef struct taker {
    bool adds; /* a constant where decoders are inlined */
    float *to;
    int64_t step, apart;
    const float *x;
    vec sum[WIDE];
} taker;

INLINE void take_vec(taker *t, int64_t k, int u, vec w)
{
    if (t->adds)
        t->sum[u] += load(t->x + k * LANES + u * W) * w;
    else
        store(t->to + k * t->step + u * t->apart, w);
}

/* a * q[i] + m for 16 bytes */
INLINE void scale16(bytes16 q, float a, float m, taker *t, int64_t k)
{
#if defined __AVX512F__
    take_vec(t, k, 0, (vec)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32((__m128i)q)) * a + m);
#elif defined __AVX2__
    const __m256i low = _mm256_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1, 4, -1, -1, -1, 5, -1, -1, -1,
                                         6, -1, -1, -1, 7, -1, -1, -1);
    const __m256i high = _mm256_setr_epi8(8, -1, -1, -1, 9, -1, -1, -1, 10, -1, -1, -1, 11, -1, -1, -1, 12, -1, -1, -1, 13, -1, -1,
                                          -1, 14, -1, -1, -1, 15, -1, -1, -1);
    take_vec(t, k, 0, (vec)_mm256_cvtepi32_ps(_mm256_shuffle_epi8((__m256i)q, low)) * a + m);
    take_vec(t, k, 1, (vec)_mm256_cvtepi32_ps(_mm256_shuffle_epi8((__m256i)q, high)) * a + m);
#else
    UNROLL for (int u = 0; u < WIDE; u++)
    {
        vec w;
        for (int i = 0; i < W; i++) w[i] = (float)q[u * W + i];
        take_vec(t, k, u, w * a + m);
    }
#endif
}

/* d * (q[i] - zero): exactly so, as d has bits to spare. */
INLINE void scale16_from(bytes16 q, int zero, float d, taker *t, int64_t k) { scale16(q, d, d * (float)-zero, t, k); }

/* Q4_0, Q4_1: d * q + m for a block of 32; the block begins with d, and with m or else m = -8 d. */
INLINE void nibbles(const uint8_t *block, bool with_min, taker *t, int64_t k)
{
    const uint8_t *q = block + (with_min ? 4 : 2);
#if defined __AVX512F__
    /* The 16 values that a block can have, once; each weight looks up its own by its low 4 bits. Both halves at the
     * front are spread by the load itself, since shuffles are what this waits for. */
    const vec digit = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int32_t front;
    memcpy(&front, block, sizeof front);
    __m512 pairs = _mm512_cvtph_ps(_mm256_set1_epi32(front));
    vec d = (vec)_mm512_moveldup_ps(pairs), m = with_min ? (vec)_mm512_movehdup_ps(pairs) : d * -8;
    __m512 value = (__m512)(digit * d + m);
    __m512i wide = _mm512_cvtepu8_epi32((__m128i)bytes_at(q));
    take_vec(t, k, 0, (vec)_mm512_permutexvar_ps(wide, value));
    take_vec(t, k + 1, 0, (vec)_mm512_permutexvar_ps(_mm512_srli_epi32(wide, 4), value));
#else
    bytes16 b = bytes_at(q);
    float d = half_at(block), m = with_min ? half_at(block + 2) : -8 * d;
    scale16(b & 15, d, m, t, k);
    scale16(b >> 4, d, m, t, k + 1);
#endif
}

/* 16 where a bit of the two bytes at h is set, the lowest first. */
INLINE bytes16 fifth_bits(const uint8_t *h)
{
    const uint64_t bits = UINT64_C(0x8040201008040201);
#if defined __AVX2__
    const __m128i at = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    int16_t both;
    memcpy(&both, h, sizeof both);
#if defined __AVX512F__
    bytes16 bit = (bytes16)_mm_set1_epi64x((int64_t)bits), x = (bytes16)_mm_shuffle_epi8(_mm_set1_epi16(both), at);
#else
    bytes16 bit = (bytes16)_mm256_set1_epi64x((int64_t)bits),
            x = (bytes16)_mm256_shuffle_epi8(_mm256_set1_epi16(both), _mm256_broadcastsi128_si256(at));
#endif
#else
    bytes16 bit, x;
    for (int i = 0; i < 16; i++) bit[i] = (uint8_t)(bits >> i % 8 * 8), x[i] = h[i / 8];
#endif
    return (bytes16)((x & bit) == bit) & 16;
}

/* The same with fifth bits, Q5_0 and Q5_1. */
INLINE void nibbles_and_bit(const uint8_t *q, const uint8_t *h, float d, float m, taker *t, int64_t k)
{
    bytes16 b = bytes_at(q);
    scale16((b & 15) | fifth_bits(h), d, m, t, k);
    scale16((b >> 4) | fifth_bits(h + 2), d, m, t, k + 1);
}

/* Q4_K, and with fifth bits Q5_K. */
INLINE void widen_q45_k(const uint8_t *b, bool five, taker *t)
{
    float a[8], m[8];
    scales_k(b + 4, half_at(b), half_at(b + 2), a, m);
    const uint8_t *h = b + 16, *q = five ? b + 48 : b + 16;
    UNROLL for (int j = 0; j < 16; j++)
    { /* 32 low nibbles, then their 32 high ones */
        int k = j / 2, part = j % 2 * 16;
        bytes16 x = bytes_at(q + k / 2 * 32 + part);
        x = k % 2 ? x >> 4 : x & 15;
        if (five) x |= (bytes_at(h + part) >> k & 1) << 4;
        scale16(x, a[k], m[k], t, j);
    }
}

/* Q2_K and Q3_K: two bits, the lowest first, in 32 bytes for each half of a block; 16 elements of one scale. */
INLINE bytes16 two_bits(const uint8_t *q, int i) { return bytes_at(q + i / 8 * 32 + i % 2 * 16) >> i / 2 % 4 * 2 & 3; }

INLINE void widen_q2_k(const uint8_t *b, taker *t)
{
    float d = half_at(b + 80), m = half_at(b + 82);
    UNROLL for (int i = 0; i < 16; i++)
        scale16(two_bits(b + 16, i), d * (float)(b[i] & 15), -m * (float)(b[i] >> 4), t, i);
}

INLINE void widen_q3_k(const uint8_t *b, taker *t)
{
    const uint8_t *s = b + 96;
    float d = half_at(b + 108);
    UNROLL for (int i = 0; i < 16; i++)
    {
        int scale = (s[i % 8] >> (i < 8 ? 0 : 4) & 15) | (s[8 + i % 4] >> i / 4 * 2 & 3) << 4;
        bytes16 high = (bytes_at(b + i % 2 * 16) >> i / 2 & 1) << 2;
        scale16_from(two_bits(b + 32, i) | high, 4, d * (float)(scale - 32), t, i);
    }
}

/* Of the 16 values of a type, those that bytes below 16 name; 128 more than they are. */
static const uint8_t CURVE_VALUES[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                         129, 141, 153, 166, 181, 197, 217, 241}; /* IQ4_NL, IQ4_XS: -127 … 113 */
static const uint8_t FP4_VALUES[16] = {128, 129, 130, 131, 132, 134, 136, 140,
                                       128, 127, 126, 125, 124, 122, 120, 116}; /* e2m1, doubled: 0 … 12, 0 … -12 */

INLINE bytes16 named_by(const uint8_t *table, bytes16 index)
{
#if defined __AVX2__ && !defined __AVX512F__
    return (bytes16)_mm256_shuffle_epi8((__m256i)bytes_at(table), (__m256i)index);
#elif defined __SSSE3__
    return (bytes16)_mm_shuffle_epi8((__m128i)bytes_at(table), (__m128i)index);
#else
    bytes16 out;
    for (int i = 0; i < 16; i++) out[i] = table[index[i]];
    return out;
#endif
}

INLINE void by_table(const uint8_t *q, const uint8_t *table, float d, taker *t, int64_t k)
{
    bytes16 x = bytes_at(q);
    scale16_from(named_by(table, x & 15), 128, d, t, k);
    scale16_from(named_by(table, x >> 4), 128, d, t, k + 1);
}

INLINE void widen_iq4_xs(const uint8_t *b, taker *t)
{
    float d = half_at(b);
    uint32_t high = b[2] | (uint32_t)b[3] << 8;
    UNROLL for (int j = 0; j < 8; j++)
    {
        int scale = (b[4 + j / 2] >> j % 2 * 4 & 15) | (int)(high >> 2 * j & 3) << 4;
        by_table(b + 8 + 16 * j, CURVE_VALUES, d * (float)(scale - 32), t, 2 * j);
    }
}

/* Half of the power of two whose exponent a byte is. */
INLINE float half_e8m0(uint8_t x)
{
    uint32_t bits = x < 2 ? 0x200000u << x : (uint32_t)(x - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

INLINE void widen_q6_k(const uint8_t *b, taker *t)
{
    float d = half_at(b + 208), a[16], m[16];
    for (int i = 0; i < 16; i += 8) times_bytes(b + 192 + i, true, d, a + i), times_bytes(b + 192 + i, true, d * -32, m + i);
    UNROLL for (int i = 0; i < 16; i++)
    { /* 16 elements of one scale */
        int half = i / 8, quarter = i / 2 % 4, part = i % 2 * 16;
        bytes16 l = bytes_at(b + half * 64 + quarter % 2 * 32 + part), h = bytes_at(b + 128 + half * 32 + part);
        bytes16 low = quarter < 2 ? l & 15 : l >> 4, high = (quarter < 2 ? h << (4 - 2 * quarter) : h >> (2 * quarter - 4)) & 48;
        scale16(low | high, a[i], m[i], t, i);
    }
}

INLINE void widen_q8_0(const uint8_t *b, taker *t)
{
    const uint8_t *q = b + 2;
#if defined __AVX512F__
    const vec d = (vec)_mm512_cvtph_ps(_mm256_set1_epi16((int16_t)(b[0] | b[1] << 8)));
    UNROLL for (int v = 0; v < 2; v++)
        take_vec(t, v, 0, (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(q + v * W)))) * d);
#elif defined __AVX2__
    const vec d = (vec)_mm256_cvtph_ps(_mm_set1_epi16((int16_t)(b[0] | b[1] << 8)));
    UNROLL for (int v = 0; v < 4; v++)
        take_vec(t, v / 2, v % 2, (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(q + v * W)))) * d);
#else
    UNROLL for (int i = 0; i < 2; i++) scale16_from(bytes_at(q + 16 * i) ^ 128, 128, half_at(b), t, i);
#endif
}

/* 16 elements of a plain type. */
INLINE void widen_plain16(sf_dtype dtype, const uint8_t *from, taker *t)
{
    UNROLL for (int u = 0; u < WIDE; u++)
    {
        if (dtype == SF_F32) {
            take_vec(t, 0, u, load((const float *)(const void *)from + u * W));
        } else if (dtype == SF_BF16) {
            uint16_t half[W] __attribute__((aligned(8)));
            uvec bits;
            memcpy(half, from + 2 * u * W, sizeof half);
#if defined __AVX512F__
            bits = (uvec)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)half));
#elif defined __AVX2__
            bits = (uvec)_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)half));
#else
            for (int i = 0; i < W; i++) bits[i] = half[i];
#endif
            take_vec(t, 0, u, (vec)(bits << 16));
        } else {
#if defined __AVX512F__
            take_vec(t, 0, u, (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)from)));
#elif defined __F16C__ && defined __AVX2__
            take_vec(t, 0, u, (vec)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + 2 * u * W))));
#else
            float wide[W];
            sf_to_f32(SF_F16, from + 2 * u * W, wide, W);
            take_vec(t, 0, u, load(wide));
#endif
        }
    }
}

INLINE void widen_mxfp4(const uint8_t *b, taker *t)
{
    if (b[0] < 240) {
        by_table(b + 1, FP4_VALUES, half_e8m0(b[0]), t, 0);
        return;
    }
    float wide[32]; /* whose scale leaves no room for the 128 that by_table() takes off again */
    sf_to_f32(SF_MXFP4, b, wide, 32);
    UNROLL for (int i = 0; i < 2; i++) UNROLL for (int u = 0; u < WIDE; u++) take_vec(t, i, u, load(wide + i * LANES + u * W));
}

/* The formats that have a decoder of their own, with elements and bytes of a block; of a plain type 16 elements are one. */
#define FAST_TYPES(f)                                                                                                  \
    f(SF_F32, 16, 64) f(SF_F16, 16, 32) f(SF_BF16, 16, 32) f(SF_Q8_0, 32, 34) f(SF_Q4_0, 32, 18) f(SF_Q4_1, 32, 20)    \
    f(SF_Q5_0, 32, 22) f(SF_Q5_1, 32, 24) f(SF_Q4_K, 256, 144) f(SF_Q5_K, 256, 176) f(SF_Q2_K, 256, 84)                \
    f(SF_Q3_K, 256, 110) f(SF_Q6_K, 256, 210) f(SF_IQ4_NL, 32, 18) f(SF_IQ4_XS, 256, 136) f(SF_MXFP4, 32, 17)

INLINE void widen_block(sf_dtype dtype, const uint8_t *b, taker *t)
{
    switch (dtype) {
    case SF_Q8_0: widen_q8_0(b, t); return;
    case SF_Q4_0: nibbles(b, false, t, 0); return;
    case SF_Q4_1: nibbles(b, true, t, 0); return;
    case SF_Q5_0: nibbles_and_bit(b + 6, b + 2, half_at(b), -16 * half_at(b), t, 0); return;
    case SF_Q5_1: nibbles_and_bit(b + 8, b + 4, half_at(b), half_at(b + 2), t, 0); return;
    case SF_Q4_K: widen_q45_k(b, false, t); return;
    case SF_Q5_K: widen_q45_k(b, true, t); return;
    case SF_Q2_K: widen_q2_k(b, t); return;
    case SF_Q3_K: widen_q3_k(b, t); return;
    case SF_Q6_K: widen_q6_k(b, t); return;
    case SF_IQ4_NL: by_table(b + 2, CURVE_VALUES, half_at(b), t, 0); return;
    case SF_IQ4_XS: widen_iq4_xs(b, t); return;
    case SF_MXFP4: widen_mxfp4(b, t); return;
    default: widen_plain16(dtype, b, t); return;
    }
}

INLINE int block_elements(sf_dtype dtype) { return sf_dtypes[dtype].block > 1 ? sf_dtypes[dtype].block : LANES; }

#define WIDEN_(dtype, elements, size)                                                                                  \
    NOINLINE void widen_##dtype(const uint8_t *b, int64_t blocks, float *to, int64_t step, int64_t apart)              \
    {                                                                                                                  \
        taker t = {.to = to, .step = step, .apart = apart};                                                            \
        for (; blocks > 0; blocks--, b += size, t.to += elements / LANES * step) widen_block(dtype, b, &t);            \
    }
FAST_TYPES(WIDEN_)
#undef WIDEN_

/* n elements as a taker lays them out; of plain types they may end inside 16: then zeros follow. */
static void widen_stepped(sf_dtype dtype, const void *from, int64_t n, float *to, int64_t step, int64_t apart)
{
    const uint8_t *b = from;
    int elements = block_elements(dtype);
    int64_t blocks = n / elements, done = blocks * elements;
    switch (dtype) {
#define CASE_(dtype, elements, size)                                                                                   \
    case dtype: widen_##dtype(b, blocks, to, step, apart); break;
        FAST_TYPES(CASE_)
#undef CASE_
    default: done = 0; /* formats without a fast path */
    }
    for (; done < n; done += elements) {
        float wide[256] = {0};
        sf_to_f32(dtype, b + sf_bytes(dtype, done), wide, n - done < elements ? n - done : elements);
        widen_SF_F32((const void *)wide, elements / LANES, to + done / LANES * step, step, apart);
    }
}

static void widen(sf_dtype dtype, const void *from, float *to, int64_t n)
{
    int64_t whole = n / LANES * LANES; /* a block is as many */
    float tail[LANES];
    widen_stepped(dtype, from, whole, to, LANES, W);
    if (whole == n) return;
    sf_to_f32(dtype, (const uint8_t *)from + sf_bytes(dtype, whole), tail, n - whole);
    memcpy(to + whole, tail, (size_t)(n - whole) * sizeof *to);
}

#if !defined ROUNDS /* tile_bf16.h has linear layers of its own */
enum { SUMS = TILE_ROWS * TILE_OUTS + LANES }; /* reduce() writes whole vectors */

/* What the register tiles of one span have in common. */
typedef struct tiling {
    /* Vector u of the 16 inputs of step s of row r lies at x + r * row + s * step + u * apart, of output o at
     * w + o * W + s * TILE_OUTS * W + u * w_apart. */
    int64_t row, step, apart, w_apart;
    int64_t steps, ldy;
    int begin, end; /* vectors to pass for now; before the last, sums wait */
    bool add;
} tiling;

/* y[r, o] (+)= <x[r], w[o]> (+ bias[o]) for `rows` rows (a constant where this is inlined) and `outs` outputs. waiting
 * [WIDE, rows, TILE_OUTS, W] */
INLINE void register_tile(int rows, const tiling *t, const float *x, const float *w, int outs, const float *bias,
                          float *y, float *waiting)
{
    int64_t row = t->row, step = t->step, ldy = t->ldy;
    const int n = rows * TILE_OUTS, begin = WIDE > 1 ? t->begin : 0, end = WIDE > 1 ? t->end : 1; /* n below 32 */
    vec flat[TILE_ROWS * TILE_OUTS][WIDE], acc[TILE_ROWS][TILE_OUTS];
    for (int u = begin; u < end; u++) {
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int o = 0; o < TILE_OUTS; o++) acc[r][o] = all(0);
        const float *from = x + u * t->apart, *by = w + u * t->w_apart;
        for (int64_t s = 0; s < t->steps; s++, from += step, by += TILE_OUTS * W) {
            vec b[TILE_OUTS];
            UNROLL for (int o = 0; o < TILE_OUTS; o++) b[o] = load(by + o * W);
            UNROLL for (int r = 0; r < rows; r++)
            {
                vec a = held(load(from + r * row));
                UNROLL for (int o = 0; o < TILE_OUTS; o++) acc[r][o] += a * b[o];
            }
        }
        if (WIDE > 1) UNROLL for (int i = 0; i < n; i++) flat[i][u] = acc[i / TILE_OUTS][i % TILE_OUTS];
    }
    if (end < WIDE) {
        for (int u = begin; u < end; u++) UNROLL for (int i = 0; i < n; i++) store(waiting + (u * n + i) * W, flat[i][u]);
        return;
    }
    for (int u = 0; u < begin; u++) UNROLL for (int i = 0; i < n; i++) flat[i][u] = load(waiting + (u * n + i) * W);
    float sums[SUMS] = {0};
    const vec(*v)[WIDE] = WIDE > 1 ? (const vec(*)[WIDE])flat : (const vec(*)[WIDE])acc;
    if (n & 16) reduce(16, v, SUM, sums);
    if (n & 8) reduce(8, v + (n & 16), SUM, sums + (n & 16));
    if (n & 4) reduce(4, v + (n & 24), SUM, sums + (n & 24));
    if (n & 2) reduce(2, v + (n & 28), SUM, sums + (n & 28));
    if (n & 1) reduce(1, v + (n & 30), SUM, sums + (n & 30));
    for (int r = 0; r < rows; r++) {
        float *to = y + r * ldy, *from = sums + r * TILE_OUTS;
        if (outs == TILE_OUTS) {
            if (bias) UNROLL for (int o = 0; o < TILE_OUTS; o++) from[o] += bias[o];
            if (t->add)
                UNROLL for (int o = 0; o < TILE_OUTS; o++) to[o] += from[o];
            else
                UNROLL for (int o = 0; o < TILE_OUTS; o++) to[o] = from[o];
        } else {
            for (int o = 0; o < outs; o++) to[o] = (bias ? from[o] + bias[o] : from[o]) + (t->add ? to[o] : 0);
        }
    }
}

/* Each number of rows is a function of its own: see tile_attention.h. */
typedef void rows_tile(const tiling *t, const float *x, const float *w, int outs, const float *bias, float *y, float *waiting);
#define ROWS_(count)                                                                                                   \
    NOINLINE void rows##count(const tiling *t, const float *x, const float *w, int outs, const float *bias, float *y,  \
                              float *waiting)                                                                          \
    {                                                                                                                  \
        register_tile(count, t, x, w, outs, bias, y, waiting);                                                         \
    }
ROWS_(1)
ROWS_(2)
ROWS_(3)
ROWS_(4)
ROWS_(5)
ROWS_(6)
#undef ROWS_

static rows_tile *const rows_of[] = {NULL, rows1, rows2, rows3, rows4, rows5, rows6};

/* Side by side, span after span; each row is padded with zeros to whole steps. */
static void pack_rows(const float *x, int64_t rows, int64_t in, int64_t first, int64_t count, float *to)
{
    for (int64_t i = 0; i < in; i += SPAN) {
        int64_t n = in - i < SPAN ? in - i : SPAN, steps = (n + LANES - 1) / LANES, strip = TILE_ROWS * steps * LANES;
        for (int64_t r = first; r < first + count; r++)
            widen_stepped(SF_F32, x + r * in + i, n, to + r / TILE_ROWS * strip + r % TILE_ROWS * W, TILE_ROWS * W, steps * TILE_ROWS * W);
        to += (rows + TILE_ROWS - 1) / TILE_ROWS * strip;
    }
}

static void linear_part(const sf_linear *l, int64_t first, int64_t rows, int64_t out, int outs, float *room)
{
    const float *packed = l->packed, *bias = l->bias ? l->bias + out : NULL;
    const char *w = l->w + out * l->row_bytes;
    tiling t = {.row = packed ? W : l->in, .step = packed ? TILE_ROWS * W : LANES, .ldy = l->ldy, .add = l->add};
    for (int64_t i = 0; i < l->in; i += SPAN) {
        int64_t n = l->in - i < SPAN ? l->in - i : SPAN, steps = (n + LANES - 1) / LANES, near = NEAR / steps / LANES;
        int64_t block = near < TILE_ROWS ? TILE_ROWS : near / TILE_ROWS * TILE_ROWS; /* rows of x that stay near */
        if (rows <= FEW_ROWS) block = FEW_ROWS;                        /* here it is the weights that stay near */
        int64_t group = rows <= block ? 0 : steps * TILE_OUTS * LANES; /* of widened weights, kept if they come again */
        bool by_vectors = block == TILE_ROWS && steps * LANES * (TILE_ROWS + TILE_OUTS) > NEAR_BOTH;
        int passes = group && by_vectors ? WIDE : 1;
        t.steps = steps;
        t.apart = packed ? steps * TILE_ROWS * W : W;
        t.w_apart = steps * TILE_OUTS * W;
        for (int64_t part = 0; part < (rows + block - 1) / block * passes; part++) {
            int64_t r0 = part / passes * block, end = r0 + block < rows ? r0 + block : rows;
            const float *next = packed ? packed + (first + end) * steps * LANES : NULL;
            bool begins = part % passes == 0;
            int64_t coming = packed && end < rows && begins ? steps * LANES * block : 0; /* floats of the block after this one */
            t.begin = passes > 1 ? (int)(part % passes) : 0;
            t.end = passes > 1 ? t.begin + 1 : WIDE;
            for (int o = 0; o < outs; o += TILE_OUTS) {
                float *wide = room + o / TILE_OUTS * group, *waiting = room + SF_LINEAR_OUTS * SPAN + o * TILE_ROWS * LANES;
                int there = outs - o < TILE_OUTS ? outs - o : TILE_OUTS;
                for (int64_t f = coming * o / outs / LANES * LANES; f < coming * (o + there) / outs; f += LANES)
                    __builtin_prefetch(next + f, 0, 2);
                for (int k = 0; part == 0 && k < TILE_OUTS; k++) /* the last group is filled up with its last row */
                    widen_stepped(l->dtype, w + (o + (k < there ? k : there - 1)) * l->row_bytes + sf_bytes(l->dtype, i), n,
                                  wide + k * W, TILE_OUTS * W, t.w_apart);
                for (int64_t r = r0; r < end; r += TILE_ROWS)
                    rows_of[end - r < TILE_ROWS ? end - r : TILE_ROWS](
                        &t, packed ? packed + (first + r) * steps * LANES : l->x + (first + r) * l->in + i, wide, there,
                        bias ? bias + o : NULL, l->y + (first + r) * l->ldy + out + o, waiting);
            }
        }
        if (packed) packed += (l->rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS * steps * LANES;
        bias = NULL;
        t.add = true;
    }
}

/* ---- a row alone: weights are multiplied as they are widened, and go through no memory ---------------------------- */

/* sum[o] = <x, w + o * row_bytes> over `blocks` blocks for two outputs, whose chains of sums hide each other's latency; the
 * two that come next are called. */
#define PAIR_(dtype, elements, size)                                                                                   \
    NOINLINE void pair_##dtype(const uint8_t *w, size_t row_bytes, const float *x, int64_t blocks, float *sum)         \
    {                                                                                                                  \
        taker one = {.adds = true, .x = x}, two = {.adds = true, .x = x};                                              \
        for (; blocks > 0; blocks--, w += size, one.x += elements, two.x += elements) {                                \
            UNROLL for (int i = 0; i < size; i += 64) __builtin_prefetch(w + 2 * row_bytes + i, 0, 2);                 \
            widen_block(dtype, w, &one);                                                                               \
            UNROLL for (int i = 0; i < size; i += 64) __builtin_prefetch(w + 3 * row_bytes + i, 0, 2);                 \
            widen_block(dtype, w + row_bytes, &two);                                                                   \
        }                                                                                                              \
        vec v[2][WIDE];                                                                                                \
        memcpy(v[0], one.sum, sizeof one.sum);                                                                         \
        memcpy(v[1], two.sum, sizeof two.sum);                                                                         \
        reduce(2, (const vec(*)[WIDE])v, SUM, sum);                                                                    \
    }
FAST_TYPES(PAIR_)
#undef PAIR_

typedef void pair_tile(const uint8_t *w, size_t row_bytes, const float *x, int64_t blocks, float *sum);
static pair_tile *pair_of_type(sf_dtype dtype)
{
    switch (dtype) {
#define CASE_(dtype, elements, size)                                                                                   \
    case dtype: return pair_##dtype;
        FAST_TYPES(CASE_)
#undef CASE_
    default: return NULL;
    }
}

static void row_alone(const sf_linear *l, pair_tile *of_pair, int64_t row, int64_t out, int outs)
{
    const float *x = l->x + row * l->in;
    float *y = l->y + row * l->ldy;
    for (int64_t o = out; o < out + outs; o += 2) {
        bool pair = o + 1 < out + outs;
        for (int64_t i = 0; i < l->in; i += SPAN) {
            float sum[2 + LANES];
            int64_t n = l->in - i < SPAN ? l->in - i : SPAN;
            of_pair((const uint8_t *)l->w + (size_t)o * l->row_bytes + sf_bytes(l->dtype, i), pair ? l->row_bytes : 0, x + i,
                 n / block_elements(l->dtype), sum);
            for (int k = 0; k < 1 + pair; k++) {
                if (l->bias && i == 0) sum[k] += l->bias[o + k];
                y[o + k] = l->add || i ? y[o + k] + sum[k] : sum[k];
            }
        }
    }
}

static void linear(const sf_linear *l, int64_t first, int64_t rows, int64_t out, int outs, float *room)
{
    int at_once = rows > FEW_ROWS ? outs : TILE_OUTS; /* few rows: read each weight row from end to end */
    pair_tile *of_pair = rows == 1 && !l->packed ? pair_of_type(l->dtype) : NULL;
    if (of_pair) {
        row_alone(l, of_pair, first, out, outs);
        return;
    }
    for (int o = 0; o < outs; o += at_once)
        linear_part(l, first, rows, out + o, outs - o < at_once ? outs - o : at_once, room);
}

#endif

/* ---- the small layers -------------------------------------------------------------------------------------------- */

static void rms_norm(const float *x, const float *weight, float offset, float eps, int width, float *out)
{
    vec squares[WIDE];
    for (int u = 0; u < WIDE; u++) squares[u] = all(0);
    int i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int u = 0; u < WIDE; u++) squares[u] += load(x + i + u * W) * load(x + i + u * W);
    float sum = sum16(squares);
    for (; i < width; i++) sum += x[i] * x[i];
    float root = 1 / sqrtf(sum / (float)width + eps);
    for (i = 0; i < width; i++) out[i] = x[i] * root * (weight[i] + offset);
}

/* Both activations are x / (1 + exp(-z)): SiLU with z = x, GELU by tanh with z = 2 √(2/π) (x + 0.044715 x³). */
INLINE vec over_one_plus_power(vec x, vec z) { return x / (exp2v(all(0) - larger(z, all(-127))) + 1); }
INLINE vec silu(vec x) { return over_one_plus_power(x, x * 1.4426950408889634f); }
INLINE vec gelu(vec x)
{
    return over_one_plus_power(x, x * (x * x * 0.044715f + 1) * (1.5957691216057308f * 1.4426950408889634f));
}

static void gated(float *gate, const float *up, int64_t n, sf_activation kind)
{
    int64_t i = 0;
    if (kind == SF_SILU) {
        for (; i + W <= n; i += W) store(gate + i, silu(load(gate + i)) * load(up + i));
        for (; i < n; i++) gate[i] = silu(all(gate[i]))[0] * up[i];
    } else {
        for (; i + W <= n; i += W) store(gate + i, gelu(load(gate + i)) * load(up + i));
        for (; i < n; i++) gate[i] = gelu(all(gate[i]))[0] * up[i];
    }
}

/* ---- the ceiling ------------------------------------------------------------------------------------------------- */

/* 12 sums at a time hide the latency of a multiply-add on two units, and fit the registers of every set. */
static float multiply_add(int64_t steps, float x)
{
    enum { SUMS_AT_ONCE = 12, TURNS = SF_CHAIN_FLOATS / (SUMS_AT_ONCE * W) };
    vec acc[SUMS_AT_ONCE], a = all(1 - x), b = all(x);
    UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) acc[i] = all((float)i);
    for (int64_t s = 0; s < steps * TURNS; s++) {
        UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) acc[i] = acc[i] * a + b;
    }
    float sum = 0;
    UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) for (int j = 0; j < W; j++) sum += acc[i][j];
    return sum;
}
