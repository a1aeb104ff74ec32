/* Tile: y = x · Wᵀ in whole numbers (integers.h), for any number of rows.
 *
 * Levels of 32 outputs are unpacked once for all rows of x, a byte each, four neighbouring inputs of LANE_OUTS outputs side by side:
 *
 *     panel  [groups of outputs, blocks, 8, LANE_OUTS, 4]
 *
 * so that four inputs of a row, spread to all lanes, meet as many outputs in one instruction, and the sums of a block are a vector over
 * outputs: nothing is added up across lanes. AVX-512 VNNI multiplies bytes and adds four products at once; AVX2 adds two, in 16 bits,
 * where levels of few bits can wait: eight pairs of 4-bit levels, four of 5 bits, two of 6. Levels of 8 bits have a sign there, which
 * goes over to x, since of two signed bytes AVX2 has no product. A row alone
 * meets levels as they are unpacked, one block of 8 outputs after the other, whose sums of four are added up across lanes.
 *
 * Test: build/tests/test_int8. Measured on a core of a Zen 4, 128 rows of 1536 to 1536: 260 to 310 GFLOP/s (AVX2 107 to 157; fp32 84), a
 * row alone 22 to 40 G weights/s from the second cache, that is more bytes than memory gives: results/bench/cpu-int8.txt. */
#ifndef SF_TILE_INTEGERS_H
#define SF_TILE_INTEGERS_H

#include "kernels/cpu/integers.h"
#include "kernels/cpu/tile_formats.h"

#if defined __AVX512VNNI__
enum { LANE_OUTS = 16, AT_ONCE = 2, ROWS = 6 };
#elif defined __AVX2__
enum { LANE_OUTS = 8, AT_ONCE = 2, ROWS = 3 };
#else
enum { LANE_OUTS = 8, AT_ONCE = 1, ROWS = 3 };
#endif
enum { DEPTH = 16 /* blocks of a panel, a multiple of 8 */, GROUPS = SF_INTEGER_OUTS / LANE_OUTS };

typedef struct integer_panel {
    uint8_t level[GROUPS][DEPTH][8][LANE_OUTS][4];
    float a[GROUPS][DEPTH * 2][LANE_OUTS], m[GROUPS][DEPTH][LANE_OUTS]; /* a: parts of a block one behind the other */
} integer_panel;
_Static_assert(sizeof(integer_panel) <= SF_INTEGER_ROOM, "a panel does not fit the room for it");

INLINE bool integer_min(sf_dtype t) { return t == SF_Q4_1 || t == SF_Q5_1 || t == SF_Q4_K || t == SF_Q5_K; }

/* How many bits a level has; of 8 bits it has a sign, unless VNNI takes it, which wants none. */
INLINE int integer_bits(sf_dtype t)
{
    return t == SF_Q4_0 || t == SF_Q4_1 || t == SF_Q4_K ? 4 : t == SF_Q5_0 || t == SF_Q5_1 || t == SF_Q5_K ? 5 : t == SF_Q6_K ? 6 : 8;
}

/* What a level is too large by. */
INLINE int integer_constant(sf_dtype t)
{
    if (integer_min(t)) return 0;
#if !defined __AVX512VNNI__
    if (integer_bits(t) == 8) return 0;
#endif
    return 1 << (integer_bits(t) - 1);
}

/* ---- rows of x ---------------------------------------------------------------------------------------------------- */

/* A scale's largest number; sums of whole numbers begin at -constant · Σ q. Magnitudes are compared as their bits, where what is not
 * finite is the largest. */
static void integer_round(const sf_integers *l, const float *x, int64_t first, int64_t count)
{
    const int constant = integer_constant(l->dtype), parts = sf_integer_parts(l->dtype);
    const int64_t blocks = l->in / SF_INTEGER_BLOCK;
    for (int64_t i = first * blocks; i < (first + count) * blocks; i++) {
        const float *from = x + i * SF_INTEGER_BLOCK;
        int8_t *q = l->q + i * SF_INTEGER_BLOCK;
        uint32_t most = 0;
        int32_t sum[2] = {0, 0};
        const uint32_t infinite = 0x7f800000, nothing = 0x0d800000; /* 2^-100, below which 127 over it might overflow */
#if defined __AVX2__
        const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
        __m256 v[4];
        __m256i top = _mm256_setzero_si256();
        UNROLL for (int k = 0; k < 4; k++)
        {
            v[k] = _mm256_loadu_ps(from + 8 * k);
            top = _mm256_max_epi32(top, _mm256_and_si256(_mm256_castps_si256(v[k]), magnitude));
        }
        __m128i half = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
        half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
        half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
        most = (uint32_t)_mm_cvtsi128_si32(half);
#else
        for (int k = 0; k < SF_INTEGER_BLOCK; k++) {
            uint32_t bits;
            memcpy(&bits, from + k, sizeof bits);
            bits &= 0x7fffffff;
            if (bits > most) most = bits;
        }
#endif
        if (most >= infinite || most < nothing) {
            l->scale[i] = most < nothing ? 0 : NAN;
            memset(q, 0, SF_INTEGER_BLOCK);
        } else {
            float largest, by;
            memcpy(&largest, &most, sizeof largest);
            l->scale[i] = largest / 127;
            by = 127 / largest;
#if defined __AVX2__
            __m256i r[4];
            UNROLL for (int k = 0; k < 4; k++) r[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[k], _mm256_set1_ps(by)));
            __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(r[0], r[1]), _mm256_packs_epi32(r[2], r[3]));
            bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            _mm256_storeu_si256((void *)q, bytes);
            __m256i four = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
            __m128i low = _mm256_castsi256_si128(four), high = _mm256_extracti128_si256(four, 1);
            low = _mm_hadd_epi32(low, high);
            low = _mm_hadd_epi32(low, low);
            sum[0] = _mm_cvtsi128_si32(low), sum[1] = _mm_extract_epi32(low, 1);
#else
            for (int k = 0; k < SF_INTEGER_BLOCK; k++) {
                float near = rintf(from[k] * by);
                q[k] = (int8_t)near;
                sum[k / 16] += q[k];
            }
#endif
        }
        l->sum[i] = l->scale[i] * (float)(sum[0] + sum[1]);
        for (int h = 0; h < parts; h++) l->begin[i * parts + h] = -constant * (parts == 2 ? sum[h] : sum[0] + sum[1]);
    }
}

/* ---- blocks of weights -------------------------------------------------------------------------------------------- */

static const int8_t INTEGER_CURVE[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}; /* IQ4_NL, IQ4_XS */

#if defined __AVX2__
typedef __m256i bytes32;
INLINE bytes32 bytes32_at(const uint8_t *p) { return _mm256_loadu_si256((const void *)p); }

/* Sixteen bytes: their low nibbles, then their high ones. */
INLINE bytes32 nibbles32(const uint8_t *p)
{
    __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
    return _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

/* 16 where a bit of 32 is set. */
INLINE bytes32 fifth32(const uint8_t *p)
{
    const __m256i at = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((int64_t)UINT64_C(0x8040201008040201));
    int32_t h;
    memcpy(&h, p, sizeof h);
    __m256i x = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(h), at), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(x, bit), _mm256_set1_epi8(16));
}

INLINE bytes32 on_curve32(const uint8_t *p)
{
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)INTEGER_CURVE));
    return _mm256_shuffle_epi8(table, nibbles32(p));
}

/* Levels of the 32 inputs 32 s … of the block at p. */
INLINE bytes32 levels32(sf_dtype t, const uint8_t *p, int s)
{
    const __m256i low4 = _mm256_set1_epi8(15), low2 = _mm256_set1_epi8(3);
    bytes32 b;
    switch (t) {
    case SF_Q8_0: b = bytes32_at(p + 2); break;
    case SF_Q4_0: b = nibbles32(p + 2); break;
    case SF_Q4_1: b = nibbles32(p + 4); break;
    case SF_Q5_0: b = _mm256_or_si256(nibbles32(p + 6), fifth32(p + 2)); break;
    case SF_Q5_1: b = _mm256_or_si256(nibbles32(p + 8), fifth32(p + 4)); break;
    case SF_IQ4_NL: b = on_curve32(p + 2); break;
    case SF_IQ4_XS: b = on_curve32(p + 8 + 16 * s); break;
    case SF_Q6_K: {
        int half = s / 4, quarter = s % 4;
        __m256i l = bytes32_at(p + half * 64 + quarter % 2 * 32), h = bytes32_at(p + 128 + half * 32);
        b = _mm256_and_si256(_mm256_srli_epi16(l, quarter < 2 ? 0 : 4), low4);
        b = _mm256_or_si256(b, _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(h, 2 * quarter), low2), 4));
        break;
    }
    default: /* Q4_K, Q5_K */
        b = _mm256_and_si256(_mm256_srli_epi16(bytes32_at(p + (t == SF_Q5_K ? 48 : 16) + s / 2 * 32), s % 2 * 4), low4);
        if (t == SF_Q5_K)
            b = _mm256_or_si256(b, _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(bytes32_at(p + 16), s), _mm256_set1_epi8(1)), 4));
    }
#if defined __AVX512VNNI__
    if (integer_bits(t) == 8) b = _mm256_xor_si256(b, _mm256_set1_epi8((char)0x80));
#endif
    return b;
}

/* to[j, o] = four bytes j of v[o], for 8 outputs; rows of `to` are LANE_OUTS outputs long. */
INLINE void lay_out(const bytes32 v[8], uint8_t *to)
{
    __m256i a[8], b[8];
    UNROLL for (int i = 0; i < 4; i++)
    {
        a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        b[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    UNROLL for (int j = 0; j < 4; j++)
    {
        _mm256_storeu_si256((void *)(to + j * LANE_OUTS * 4), _mm256_permute2x128_si256(b[j], b[j + 4], 0x20));
        _mm256_storeu_si256((void *)(to + (j + 4) * LANE_OUTS * 4), _mm256_permute2x128_si256(b[j], b[j + 4], 0x31));
    }
}
#else
typedef struct bytes32 { uint8_t b[32]; } bytes32;

INLINE bytes32 levels32(sf_dtype t, const uint8_t *p, int s)
{
    bytes32 out;
    for (int i = 0; i < 32; i++) {
        const uint8_t *nibble = p + (t == SF_IQ4_XS ? 8 + 16 * s : t == SF_Q4_1 ? 4 : t == SF_Q5_0 ? 6 : t == SF_Q5_1 ? 8 : 2);
        int four = t == SF_Q8_0 || sf_dtypes[t].block == 256 ? 0 : nibble[i % 16] >> i / 16 * 4 & 15, fifth = t == SF_Q5_1 ? 4 : 2;
        switch (t) {
        case SF_Q8_0: out.b[i] = p[2 + i]; break;
        case SF_Q5_0:
        case SF_Q5_1: out.b[i] = (uint8_t)(four | (p[fifth + i / 8] >> i % 8 & 1) << 4); break;
        case SF_IQ4_NL: out.b[i] = (uint8_t)INTEGER_CURVE[four]; break;
        case SF_IQ4_XS: out.b[i] = (uint8_t)INTEGER_CURVE[nibble[i % 16] >> i / 16 * 4 & 15]; break;
        case SF_Q6_K: {
            int half = s / 4, quarter = s % 4, l = p[half * 64 + quarter % 2 * 32 + i] >> quarter / 2 * 4 & 15;
            out.b[i] = (uint8_t)(l | (p[128 + half * 32 + i] >> 2 * quarter & 3) << 4);
            break;
        }
        case SF_Q4_K: out.b[i] = p[16 + s / 2 * 32 + i] >> s % 2 * 4 & 15; break;
        case SF_Q5_K: out.b[i] = (uint8_t)((p[48 + s / 2 * 32 + i] >> s % 2 * 4 & 15) | (p[16 + i] >> s & 1) << 4); break;
        default: out.b[i] = (uint8_t)four;
        }
    }
    return out;
}

INLINE void lay_out(const bytes32 v[8], uint8_t *to)
{
    for (int j = 0; j < 8; j++)
        for (int o = 0; o < 8; o++) memcpy(to + (j * LANE_OUTS + o) * 4, v[o].b + 4 * j, 4);
}
#endif

/* 32s of a block, and its bytes: constants, as sf_dtypes would not be. */
INLINE int blocks_in(sf_dtype t) { return (t == SF_Q4_K || t == SF_Q5_K || t == SF_Q6_K || t == SF_IQ4_XS) ? 8 : 1; }
INLINE size_t bytes_in(sf_dtype t)
{
    switch (t) {
    case SF_Q8_0: return 34;
    case SF_Q4_1: return 20;
    case SF_Q5_0: return 22;
    case SF_Q5_1: return 24;
    case SF_Q4_K: return 144;
    case SF_Q5_K: return 176;
    case SF_Q6_K: return 210;
    case SF_IQ4_XS: return 136;
    default: return 18; /* Q4_0, IQ4_NL */
    }
}

/* The block of output o of 8 whose rows are `stride` bytes apart. */
INLINE const uint8_t *block_of(const uint8_t *p, size_t stride, int o) { return (o < 4 ? p : p + 4 * stride) + (size_t)(o % 4) * stride; }

INLINE short half_bits(const uint8_t *p)
{
    short h;
    memcpy(&h, p, sizeof h);
    return h;
}

/* Scales of a block's parts of 8 outputs: a [parts, LANE_OUTS], and minima of its 32s where it has them: m [32s, LANE_OUTS]. */
INLINE void integer_scales(sf_dtype t, const uint8_t *p, size_t stride, float *a, float *m)
{
    if (blocks_in(t) == 1) {
#if defined __AVX2__
#define HALF_(o, from) half_bits(block_of(p, stride, o) + (from))
#define HALVES_(from)                                                                                                  \
    _mm256_cvtph_ps(_mm_setr_epi16(HALF_(0, from), HALF_(1, from), HALF_(2, from), HALF_(3, from), HALF_(4, from), HALF_(5, from), \
                                   HALF_(6, from), HALF_(7, from)))
        _mm256_storeu_ps(a, HALVES_(0));
        if (integer_min(t)) _mm256_storeu_ps(m, HALVES_(2));
#undef HALVES_
#undef HALF_
#else
        for (int o = 0; o < 8; o++) a[o] = half_at(block_of(p, stride, o));
        for (int o = 0; integer_min(t) && o < 8; o++) m[o] = half_at(block_of(p, stride, o) + 2);
#endif
        return;
    }
    bytes32 scale[2][8], low[8]; /* eight numbers each */
    for (int o = 0; o < 8; o++) {
        const uint8_t *b = block_of(p, stride, o);
        float eight[3][8];
        if (t == SF_Q6_K) {
            for (int h = 0; h < 2; h++) times_bytes(b + 192 + 8 * h, true, half_at(b + 208), eight[h]);
        } else if (t == SF_IQ4_XS) {
            float d = half_at(b);
            int high = b[2] | b[3] << 8;
            for (int j = 0; j < 8; j++) eight[0][j] = d * (float)(((b[4 + j / 2] >> j % 2 * 4 & 15) | (high >> 2 * j & 3) << 4) - 32);
        } else {
            scales_k(b + 4, half_at(b), half_at(b + 2), eight[0], eight[2]);
        }
        memcpy(&scale[0][o], eight[0], sizeof eight[0]);
        if (t == SF_Q6_K) memcpy(&scale[1][o], eight[1], sizeof eight[1]);
        if (integer_min(t)) memcpy(&low[o], eight[2], sizeof eight[2]);
    }
    for (int h = 0; h < sf_integer_parts(t); h++) lay_out(scale[h], (uint8_t *)(a + h * 8 * LANE_OUTS));
    if (integer_min(t)) lay_out(low, (uint8_t *)m);
}

/* The same blocks, of outputs that come later: their weights are called. */
INLINE void call_ahead(sf_dtype t, const uint8_t *p, size_t stride, size_t ahead, int64_t block)
{
    if (bytes_in(t) < 32 && block % 2) return; /* two of these are in reach of one line */
    UNROLL for (int o = 0; o < 8; o++)
        UNROLL for (size_t i = 0; i < bytes_in(t); i += 64) __builtin_prefetch(block_of(p, stride, o) + ahead + i, 0, 2);
}

/* `blocks` blocks of 32 inputs of 8 outputs, from w on, into the panel from lane `lane` of its group on. */
#define UNPACK_(dtype)                                                                                                 \
    NOINLINE void unpack_##dtype(const uint8_t *w, size_t stride, int64_t blocks, integer_panel *to, int group, int lane) \
    {                                                                                                                  \
        for (int64_t b = 0; b < blocks; b += blocks_in(dtype), w += bytes_in(dtype)) {                                 \
            call_ahead(dtype, w, stride, SF_INTEGER_OUTS * stride, b);                                                 \
            integer_scales(dtype, w, stride, &to->a[group][b * sf_integer_parts(dtype)][lane], &to->m[group][b][lane]); \
            UNROLL for (int s = 0; s < blocks_in(dtype); s++)                                                          \
            {                                                                                                          \
                bytes32 v[8];                                                                                          \
                UNROLL for (int o = 0; o < 8; o++) v[o] = levels32(dtype, block_of(w, stride, o), s);                  \
                lay_out(v, to->level[group][b + s][0][lane]);                                                          \
            }                                                                                                          \
        }                                                                                                              \
    }
#define INTEGER_TYPES(f)                                                                                               \
    f(SF_Q8_0) f(SF_Q4_0) f(SF_Q4_1) f(SF_Q5_0) f(SF_Q5_1) f(SF_Q4_K) f(SF_Q5_K) f(SF_Q6_K) f(SF_IQ4_NL) f(SF_IQ4_XS)
INTEGER_TYPES(UNPACK_)
#undef UNPACK_

typedef void unpacker(const uint8_t *w, size_t stride, int64_t blocks, integer_panel *to, int group, int lane);
static unpacker *unpacker_of(sf_dtype t)
{
    switch (t) {
#define CASE_(dtype)                                                                                                   \
    case dtype: return unpack_##dtype;
        INTEGER_TYPES(CASE_)
#undef CASE_
    default: return NULL; /* sf_integer_type() */
    }
}

/* ---- register tiles ----------------------------------------------------------------------------------------------- */

/* What the tiles of one panel have in common: x from the panel's first block on. */
typedef struct integer_tiling {
    const integer_panel *panel;
    const int8_t *q;
    const float *scale, *sum;
    const int32_t *begin;
    int64_t in, all_blocks, blocks, ldy; /* of a row; of the panel */
} integer_tiling;

INLINE int32_t four_of(const int8_t *q)
{
    int32_t x;
    memcpy(&x, q, sizeof x);
    return x;
}

/* y[r, o] += … for `rows` rows from `first` on and AT_ONCE groups of outputs. bits, min and parts as a type's, constants here. */
#if defined __AVX512VNNI__
INLINE void integer_tile(int rows, bool min, int parts, const integer_tiling *t, int64_t first, int group, float *y)
{
    const integer_panel *p = t->panel;
    const int8_t *q = t->q + first * t->in;
    const float *scale = t->scale + first * t->all_blocks, *sum = t->sum + first * t->all_blocks;
    const int32_t *begin = t->begin + first * t->all_blocks * parts;
    __m512 acc[ROWS][AT_ONCE];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < AT_ONCE; v++) acc[r][v] = _mm512_loadu_ps(y + r * t->ldy + v * LANE_OUTS);
    for (int64_t b = 0; b < t->blocks; b++) {
        UNROLL for (int h = 0; h < parts; h++)
        {
            __m512i i[ROWS][AT_ONCE];
            UNROLL for (int r = 0; r < rows; r++)
                UNROLL for (int v = 0; v < AT_ONCE; v++) i[r][v] = _mm512_set1_epi32(begin[(r * t->all_blocks + b) * parts + h]);
            UNROLL for (int j = h * 8 / parts; j < (h + 1) * 8 / parts; j++)
            {
                __m512i w[AT_ONCE];
                UNROLL for (int v = 0; v < AT_ONCE; v++) w[v] = _mm512_loadu_si512(p->level[group + v][b][j]);
                UNROLL for (int r = 0; r < rows; r++)
                {
                    __m512i x = _mm512_set1_epi32(four_of(q + r * t->in + b * SF_INTEGER_BLOCK + 4 * j));
                    UNROLL for (int v = 0; v < AT_ONCE; v++) i[r][v] = _mm512_dpbusd_epi32(i[r][v], w[v], x);
                }
            }
            UNROLL for (int v = 0; v < AT_ONCE; v++)
            {
                __m512 a = _mm512_loadu_ps(p->a[group + v][b * parts + h]);
                UNROLL for (int r = 0; r < rows; r++)
                    acc[r][v] = _mm512_fmadd_ps(_mm512_mul_ps(a, _mm512_cvtepi32_ps(i[r][v])),
                                                _mm512_set1_ps(scale[r * t->all_blocks + b]), acc[r][v]);
            }
        }
        UNROLL for (int v = 0; min && v < AT_ONCE; v++)
        {
            __m512 m = _mm512_loadu_ps(p->m[group + v][b]);
            UNROLL for (int r = 0; r < rows; r++) acc[r][v] = _mm512_fmadd_ps(m, _mm512_set1_ps(sum[r * t->all_blocks + b]), acc[r][v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < AT_ONCE; v++) _mm512_storeu_ps(y + r * t->ldy + v * LANE_OUTS, acc[r][v]);
}
#define INTEGER_FORMS(f) f(plain, 8, false, 1) f(low, 8, true, 1) f(halves, 8, false, 2)
INLINE int form_of(sf_dtype t) { return integer_min(t) ? 1 : sf_integer_parts(t) == 2 ? 2 : 0; }
#define TILE_OF(rows, bits, min, parts) integer_tile(rows, min, parts, t, first, group, y)
#else
INLINE void integer_tile(int rows, int bits, bool min, int parts, const integer_tiling *t, int64_t first, int group, float *y)
{
    const integer_panel *p = t->panel;
    const int8_t *q = t->q + first * t->in;
    const float *scale = t->scale + first * t->all_blocks, *sum = t->sum + first * t->all_blocks;
    const int32_t *begin = t->begin + first * t->all_blocks * parts;
#if defined __AVX2__
    const int wait = bits == 4 ? 8 / parts : bits == 5 ? 4 : bits == 6 ? 2 : 1; /* pairs that 16 bits hold the sum of */
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 acc[ROWS][AT_ONCE];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < AT_ONCE; v++) acc[r][v] = _mm256_loadu_ps(y + r * t->ldy + v * LANE_OUTS);
    for (int64_t b = 0; b < t->blocks; b++) {
        UNROLL for (int h = 0; h < parts; h++)
        {
            __m256i i[ROWS][AT_ONCE];
            UNROLL for (int r = 0; r < rows; r++)
                UNROLL for (int v = 0; v < AT_ONCE; v++) i[r][v] = _mm256_set1_epi32(begin[(r * t->all_blocks + b) * parts + h]);
            UNROLL for (int j = h * 8 / parts; j < (h + 1) * 8 / parts; j += wait)
            {
                __m256i pairs[ROWS][AT_ONCE];
                UNROLL for (int k = j; k < j + wait; k++)
                {
                    __m256i w[AT_ONCE];
                    UNROLL for (int v = 0; v < AT_ONCE; v++) w[v] = _mm256_loadu_si256((const void *)p->level[group + v][b][k]);
                    UNROLL for (int r = 0; r < rows; r++)
                    {
                        __m256i x = _mm256_set1_epi32(four_of(q + r * t->in + b * SF_INTEGER_BLOCK + 4 * k));
                        UNROLL for (int v = 0; v < AT_ONCE; v++)
                        {
                            __m256i two = bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[v]), _mm256_sign_epi8(x, w[v]))
                                                    : _mm256_maddubs_epi16(w[v], x);
                            pairs[r][v] = k == j ? two : _mm256_add_epi16(pairs[r][v], two);
                        }
                    }
                }
                UNROLL for (int r = 0; r < rows; r++)
                    UNROLL for (int v = 0; v < AT_ONCE; v++) i[r][v] = _mm256_add_epi32(i[r][v], _mm256_madd_epi16(pairs[r][v], ones));
            }
            UNROLL for (int v = 0; v < AT_ONCE; v++)
            {
                __m256 a = _mm256_loadu_ps(p->a[group + v][b * parts + h]);
                UNROLL for (int r = 0; r < rows; r++)
                    acc[r][v] = _mm256_fmadd_ps(_mm256_mul_ps(a, _mm256_cvtepi32_ps(i[r][v])),
                                                _mm256_set1_ps(scale[r * t->all_blocks + b]), acc[r][v]);
            }
        }
        UNROLL for (int v = 0; min && v < AT_ONCE; v++)
        {
            __m256 m = _mm256_loadu_ps(p->m[group + v][b]);
            UNROLL for (int r = 0; r < rows; r++) acc[r][v] = _mm256_fmadd_ps(m, _mm256_set1_ps(sum[r * t->all_blocks + b]), acc[r][v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < AT_ONCE; v++) _mm256_storeu_ps(y + r * t->ldy + v * LANE_OUTS, acc[r][v]);
#else
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < LANE_OUTS; o++) {
            float acc = y[r * t->ldy + o];
            for (int64_t b = 0; b < t->blocks; b++) {
                for (int h = 0; h < parts; h++) {
                    int32_t i = begin[(r * t->all_blocks + b) * parts + h];
                    for (int k = h * 32 / parts; k < (h + 1) * 32 / parts; k++) {
                        uint8_t level = p->level[group][b][k / 4][o][k % 4];
                        i += (bits == 8 ? (int8_t)level : level) * q[r * t->in + b * SF_INTEGER_BLOCK + k];
                    }
                    acc = fmaf(p->a[group][b * parts + h][o] * (float)i, scale[r * t->all_blocks + b], acc);
                }
                if (min) acc = fmaf(p->m[group][b][o], sum[r * t->all_blocks + b], acc);
            }
            y[r * t->ldy + o] = acc;
        }
#endif
}
#define INTEGER_FORMS(f)                                                                                               \
    f(eight, 8, false, 1) f(four, 4, false, 1) f(four_low, 4, true, 1) f(five, 5, false, 1) f(five_low, 5, true, 1) f(six, 6, false, 2)
INLINE int form_of(sf_dtype t) { return integer_bits(t) == 8 ? 0 : integer_bits(t) == 6 ? 5 : 1 + 2 * (integer_bits(t) - 4) + integer_min(t); }
#define TILE_OF(rows, bits, min, parts) integer_tile(rows, bits, min, parts, t, first, group, y)
#endif

typedef void integer_tile_of(const integer_tiling *t, int64_t first, int group, float *y);
#define ROWS_(form, count, bits, min, parts)                                                                           \
    NOINLINE void form##count(const integer_tiling *t, int64_t first, int group, float *y) { TILE_OF(count, bits, min, parts); }
#if defined __AVX512VNNI__
#define FORM_(form, bits, min, parts)                                                                                  \
    ROWS_(form, 1, bits, min, parts) ROWS_(form, 2, bits, min, parts) ROWS_(form, 3, bits, min, parts)                 \
    ROWS_(form, 4, bits, min, parts) ROWS_(form, 5, bits, min, parts) ROWS_(form, 6, bits, min, parts)
#define NAMES_(form, bits, min, parts) {NULL, form##1, form##2, form##3, form##4, form##5, form##6},
#else
#define FORM_(form, bits, min, parts)                                                                                  \
    ROWS_(form, 1, bits, min, parts) ROWS_(form, 2, bits, min, parts) ROWS_(form, 3, bits, min, parts)
#define NAMES_(form, bits, min, parts) {NULL, form##1, form##2, form##3},
#endif
INTEGER_FORMS(FORM_)
static integer_tile_of *const integer_tiles[][ROWS + 1] = {INTEGER_FORMS(NAMES_)};
#undef ROWS_
#undef FORM_
#undef NAMES_

/* ---- a row alone: levels meet it as they are unpacked, and lanes are added up ------------------------------------- */

#if defined __AVX2__
/* Sums of four neighbouring products of 32. */
INLINE __m256i products32(int bits, __m256i level, __m256i q)
{
#if defined __AVX512VNNI__
    (void)bits;
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), level, q);
#else
    __m256i two = bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(level), _mm256_sign_epi8(q, level)) : _mm256_maddubs_epi16(level, q);
    return _mm256_madd_epi16(two, _mm256_set1_epi16(1));
#endif
}

/* Of 8 outputs' 8 sums each: those of the first four, added up, to *low, of the others to *high. */
INLINE void add_up(const __m256i v[8], __m256i *low, __m256i *high)
{
    __m256i t[4], u[2];
    UNROLL for (int i = 0; i < 4; i++)
        t[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    UNROLL for (int i = 0; i < 2; i++)
        u[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(t[2 * i], t[2 * i + 1]), _mm256_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
    *low = _mm256_permute2x128_si256(u[0], u[1], 0x20);
    *high = _mm256_permute2x128_si256(u[0], u[1], 0x31);
}

#define ALONE_(dtype)                                                                                                  \
    NOINLINE void alone_##dtype(const sf_integers *l, int64_t row, int64_t out, float *y)                              \
    {                                                                                                                  \
        const int64_t blocks = l->in / SF_INTEGER_BLOCK;                                                               \
        const int parts = sf_integer_parts(dtype);                                                                     \
        const size_t stride = l->row_bytes;                                                                            \
        const uint8_t *w = (const uint8_t *)l->w + (size_t)out * stride;                                               \
        const int8_t *q = l->q + row * l->in;                                                                          \
        const int32_t *begin = l->begin + row * blocks * parts;                                                        \
        const float *scales = l->scale + row * blocks, *sums = l->sum + row * blocks;                                  \
        __m256 acc = _mm256_loadu_ps(y);                                                                               \
        for (int64_t b = 0; b < blocks; b += blocks_in(dtype), w += bytes_in(dtype)) {                                 \
            float a[16][LANE_OUTS], m[8][LANE_OUTS];                                                                   \
            call_ahead(dtype, w, stride, 8 * stride, b);                                                               \
            integer_scales(dtype, w, stride, a[0], m[0]);                                                              \
            UNROLL for (int s = 0; s < blocks_in(dtype); s++)                                                          \
            {                                                                                                          \
                __m256i v[8], low, high, x = _mm256_loadu_si256((const void *)(q + (b + s) * SF_INTEGER_BLOCK));       \
                __m256 scale = _mm256_set1_ps(scales[b + s]);                                                          \
                UNROLL for (int o = 0; o < 8; o++) v[o] = products32(integer_bits(dtype), levels32(dtype, block_of(w, stride, o), s), x); \
                add_up(v, &low, &high);                                                                                \
                if (parts == 1) low = _mm256_add_epi32(low, high);                                                     \
                low = _mm256_add_epi32(low, _mm256_set1_epi32(begin[(b + s) * parts]));                                \
                acc = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(a[s * parts]), _mm256_cvtepi32_ps(low)), scale, acc);\
                if (parts == 2) {                                                                                      \
                    high = _mm256_add_epi32(high, _mm256_set1_epi32(begin[(b + s) * parts + 1]));                      \
                    acc = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(a[s * parts + 1]), _mm256_cvtepi32_ps(high)), scale, acc); \
                }                                                                                                      \
                if (integer_min(dtype)) acc = _mm256_fmadd_ps(_mm256_loadu_ps(m[s]), _mm256_set1_ps(sums[b + s]), acc); \
            }                                                                                                          \
        }                                                                                                              \
        _mm256_storeu_ps(y, acc);                                                                                      \
    }
INTEGER_TYPES(ALONE_)
#undef ALONE_

/* 8 outputs of a row. */
static void integer_row(const sf_integers *l, int64_t row, int64_t out)
{
    float *to = l->y + row * l->ldy + out, y[8];
    for (int k = 0; k < 8; k++) y[k] = (l->add ? to[k] : 0) + (l->bias ? l->bias[out + k] : 0);
    switch (l->dtype) {
#define CASE_(dtype)                                                                                                   \
    case dtype: alone_##dtype(l, row, out, y); break;
        INTEGER_TYPES(CASE_)
#undef CASE_
    default: break; /* sf_integer_type() */
    }
    memcpy(to, y, sizeof y);
}
#endif

/* Outputs [out, out + outs), at most SF_INTEGER_OUTS. */
static void integer_strip(const sf_integers *l, int64_t first, int64_t rows, int64_t out, int outs, integer_panel *panel)
{
    enum { WIDTH = LANE_OUTS * AT_ONCE };
    integer_tile_of *const *tiles = integer_tiles[form_of(l->dtype)];
    unpacker *unpack = unpacker_of(l->dtype);
    const int64_t all = l->in / SF_INTEGER_BLOCK, step = sf_dtypes[l->dtype].block / SF_INTEGER_BLOCK;
    const int64_t spans = (all + DEPTH - 1) / DEPTH, deep = ((all + spans - 1) / spans + step - 1) / step * step;
    for (int64_t b = 0; b < all; b += deep) {
        integer_tiling t = {.panel = panel, .q = l->q + b * SF_INTEGER_BLOCK, .scale = l->scale + b, .sum = l->sum + b,
                            .begin = l->begin + b * sf_integer_parts(l->dtype), .in = l->in, .all_blocks = all,
                            .blocks = all - b < deep ? all - b : deep};
        for (int o = 0; o < (outs + WIDTH - 1) / WIDTH * WIDTH; o += 8) { /* of outputs that are not there the last one stands in */
            const uint8_t *w = (const uint8_t *)l->w + (size_t)out * l->row_bytes + sf_bytes(l->dtype, b * SF_INTEGER_BLOCK);
            uint8_t copy[8 * DEPTH * 34];
            size_t part = sf_bytes(l->dtype, t.blocks * SF_INTEGER_BLOCK);
            if (o + 8 <= outs) {
                unpack(w + (size_t)o * l->row_bytes, l->row_bytes, t.blocks, panel, o / LANE_OUTS, o % LANE_OUTS);
                continue;
            }
            for (int k = 0; k < 8; k++) memcpy(copy + (size_t)k * part, w + (size_t)(o + k < outs ? o + k : outs - 1) * l->row_bytes, part);
            unpack(copy, part, t.blocks, panel, o / LANE_OUTS, o % LANE_OUTS);
        }
        for (int64_t r = first; r < first + rows; r += ROWS) {
            int many = first + rows - r < ROWS ? (int)(first + rows - r) : ROWS;
            for (int o = 0; o < outs; o += WIDTH) {
                float *y = l->y + r * l->ldy + out + o, aside[ROWS * WIDTH];
                int there = outs - o < WIDTH ? outs - o : WIDTH;
                if (b == 0)
                    for (int i = 0; i < many; i++)
                        for (int k = 0; k < there; k++)
                            y[i * l->ldy + k] = (l->add ? y[i * l->ldy + k] : 0) + (l->bias ? l->bias[out + o + k] : 0);
                t.ldy = there < WIDTH ? WIDTH : l->ldy;
                if (there < WIDTH) {
                    memset(aside, 0, sizeof aside);
                    for (int i = 0; i < many; i++) memcpy(aside + i * WIDTH, y + i * l->ldy, (size_t)there * sizeof *y);
                }
                tiles[many](&t, r, o / LANE_OUTS, there < WIDTH ? aside : y);
                for (int i = 0; there < WIDTH && i < many; i++) memcpy(y + i * l->ldy, aside + i * WIDTH, (size_t)there * sizeof *y);
            }
        }
    }
}

static void integer_product(const sf_integers *l, int64_t first, int64_t rows, int64_t out, int64_t outs, void *room)
{
#if defined __AVX2__
    for (; rows == 1 && outs >= 8; out += 8, outs -= 8) integer_row(l, first, out);
#endif
    for (int64_t o = 0; o < outs; o += SF_INTEGER_OUTS)
        integer_strip(l, first, rows, out + o, outs - o < SF_INTEGER_OUTS ? (int)(outs - o) : SF_INTEGER_OUTS, room);
}

/* ---- the ceiling -------------------------------------------------------------------------------------------------- */

/* 12 sums at a time, as for multiply_add() of tile_linear.h. What AVX2 multiplies is the sum itself, else once would do. */
static int32_t integer_multiply_add(int64_t steps, int32_t x)
{
    enum { SUMS_AT_ONCE = 12 };
    int32_t sum = 0;
#if defined __AVX512VNNI__
    enum { TURNS = SF_INTEGER_CHAIN / (SUMS_AT_ONCE * 64) };
    __m512i acc[SUMS_AT_ONCE], a = _mm512_set1_epi32(x), b = _mm512_set1_epi8(1);
    UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) acc[i] = _mm512_set1_epi32(i);
    for (int64_t s = 0; s < steps * TURNS; s++) {
        UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
    }
    UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) sum ^= _mm512_reduce_add_epi32(acc[i]);
#elif defined __AVX2__
    enum { TURNS = SF_INTEGER_CHAIN / (SUMS_AT_ONCE * 32) };
    __m256i acc[SUMS_AT_ONCE], b = _mm256_set1_epi32(x);
    UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) acc[i] = _mm256_set1_epi32(i);
    for (int64_t s = 0; s < steps * TURNS; s++) {
        UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) acc[i] = _mm256_maddubs_epi16(acc[i], b);
    }
    UNROLL for (int i = 0; i < SUMS_AT_ONCE; i++) sum ^= _mm256_extract_epi32(acc[i], 0);
#else
    enum { TURNS = SF_INTEGER_CHAIN / (SUMS_AT_ONCE * 4) };
    uint32_t acc[SUMS_AT_ONCE][4], b = (uint32_t)x;
    for (int i = 0; i < SUMS_AT_ONCE; i++)
        for (int j = 0; j < 4; j++) acc[i][j] = (uint32_t)i;
    for (int64_t s = 0; s < steps * TURNS; s++)
        for (int i = 0; i < SUMS_AT_ONCE; i++)
            for (int j = 0; j < 4; j++) acc[i][j] = acc[i][j] * b + 1;
    for (int i = 0; i < SUMS_AT_ONCE; i++) sum ^= (int32_t)acc[i][0];
#endif
    return sum;
}

#define SF_INTEGER_TILES(isa) {.name = isa, .round = integer_round, .product = integer_product, .multiply_add = integer_multiply_add}

#endif
