/* Tile: y = x · Wᵀ for some rows of W, any number of rows of x, and weights of any dtype.
 *
 * The sum runs along vectors of 16 inputs: 16 partial sums for each (row, output), over spans of 1024 inputs, folded in
 * one fixed tree; the spans' sums are added in order. How many rows and outputs a register tile holds is no part of
 * that order, so one row alone and a row among a thousand give the same bits, and one kernel serves decode and prefill.
 *
 * Weight rows are widened to fp32 a few at a time, once for all rows of x, and laid side by side so that a register
 * tile reads one stream; many rows of x are laid side by side too:
 *
 *     weights  [groups of outputs, span/16, TILE_OUTS, 16]        x  [strips of rows, span/16, TILE_ROWS, 16]
 *
 * Test: build/tests/test_backends. Measured as in tile_attention.h, 576 to 1536: 4096 rows 138 GFLOP/s (a register tile
 * whose rows are near already: 162), 28 rows 112, one row 12.5 G weights/s of Q4_0, 11.5 of Q4_1, 9 of Q4_K, 7 of
 * Q5_0 and Q6_K, 13 of F16 and BF16; on a loaded core 11 of IQ4_NL, IQ4_XS and MXFP4, 8 of Q5_K, Q3_K and Q2_K. The other
 * formats are widened element by element, some fifty times slower. */

/* Register tile: rows of x by outputs, as many accumulators as the registers hold. */
#if defined __AVX512F__
#define TILE_ROWS_MAX 6
enum { TILE_ROWS = 6, TILE_OUTS = 4 };
#elif defined __AVX2__
#define TILE_ROWS_MAX 3
enum { TILE_ROWS = 3, TILE_OUTS = 2 };
#else
#define TILE_ROWS_MAX 2
enum { TILE_ROWS = 2, TILE_OUTS = 1 };
#endif
enum { SPAN = 1024, NEAR = 7168, FEW_ROWS = 48 }; /* inputs summed at a time; floats of x kept near */

INLINE float half_at(const uint8_t *p)
{
#if defined __F16C__
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
#else
    float f;
    sf_to_f32(SF_F16, p, &f, 1);
    return f;
#endif
}

typedef uint8_t bytes16 __attribute__((vector_size(16)));

INLINE bytes16 bytes_at(const uint8_t *p)
{
    bytes16 b;
    memcpy(&b, p, sizeof b);
    return b;
}

/* Decoders write 16 elements at `to`, the next 16 at to + step, and so on. */

/* to[i] = a * q[i] + m for 16 signed bytes */
INLINE void scale16(bytes16 q, float a, float m, float *to)
{
#if defined __AVX512F__
    store(to, (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)q)) * a + m);
#elif defined __AVX2__
    store(to, (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32((__m128i)q)) * a + m);
    store(to + 8, (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128((__m128i)q, 8))) * a + m);
#else
    for (int i = 0; i < 16; i++) to[i] = (float)(int8_t)q[i] * a + m;
#endif
}

/* Q4_0, Q4_1: to = d * q + m for a block of 32; the block begins with d, and with m or else m = -8 d. */
INLINE void nibbles(const uint8_t *block, bool with_min, float *to, int64_t step)
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
    store(to, (vec)_mm512_permutexvar_ps(wide, value));
    store(to + step, (vec)_mm512_permutexvar_ps(_mm512_srli_epi32(wide, 4), value));
#else
    bytes16 b = bytes_at(q);
    float d = half_at(block), m = with_min ? half_at(block + 2) : -8 * d;
    scale16(b & 15, d, m, to);
    scale16(b >> 4, d, m, to + step);
#endif
}

/* The same with fifth bits, Q5_0 and Q5_1. */
INLINE void nibbles_and_bit(const uint8_t *q, const uint8_t *h, float d, float m, float *to, int64_t step)
{
    const bytes16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
#if defined __clang__ /* has no __builtin_shuffle: each of the four bytes, eight times */
    bytes16 low, high;
    memset(&low, h[0], 8), memset((uint8_t *)&low + 8, h[1], 8);
    memset(&high, h[2], 8), memset((uint8_t *)&high + 8, h[3], 8);
#else
    const bytes16 first = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    bytes16 bits = {0};
    memcpy(&bits, h, 4);
    bytes16 low = __builtin_shuffle(bits, first), high = __builtin_shuffle(bits, first + 2);
#endif
    bytes16 b = bytes_at(q);
    scale16((b & 15) | ((bytes16)((low & bit) == bit) & 16), d, m, to);
    scale16((b >> 4) | ((bytes16)((high & bit) == bit) & 16), d, m, to + step);
}

/* Q4_K, and with fifth bits Q5_K. */
INLINE void widen_q45_k(const uint8_t *b, bool five, float *to, int64_t step)
{
    float d = half_at(b), dmin = half_at(b + 2);
    const uint8_t *s = b + 4, *h = b + 16, *q = five ? b + 48 : b + 16;
    for (int j = 0; j < 8; j += 2, q += 32) { /* 32 low nibbles, then their 32 high ones */
        for (int k = j; k < j + 2; k++) {
            int scale = k < 4 ? s[k] & 63 : (s[k + 4] & 15) | (s[k - 4] >> 6) << 4;
            int min = k < 4 ? s[k + 4] & 63 : s[k + 4] >> 4 | (s[k] >> 6) << 4;
            float a = d * (float)scale, m = -dmin * (float)min;
            for (int i = 0; i < 32; i += 16) {
                bytes16 x = bytes_at(q + i), bit = (bytes16){0} + (uint8_t)(1 << k);
                x = k == j ? x & 15 : x >> 4;
                if (five) x |= (bytes16)((bytes_at(h + i) & bit) == bit) & 16;
                scale16(x, a, m, to + (k * 2 + i / 16) * step);
            }
        }
    }
}

/* Q2_K and Q3_K: two bits, the lowest first, in 32 bytes for each half of a block; 16 elements of one scale. */
INLINE bytes16 two_bits(const uint8_t *q, int i) { return bytes_at(q + i / 8 * 32 + i % 2 * 16) >> i / 2 % 4 * 2 & 3; }

INLINE void widen_q2_k(const uint8_t *b, float *to, int64_t step)
{
    float d = half_at(b + 80), m = half_at(b + 82);
    UNROLL for (int i = 0; i < 16; i++)
        scale16(two_bits(b + 16, i), d * (float)(b[i] & 15), -m * (float)(b[i] >> 4), to + i * step);
}

INLINE void widen_q3_k(const uint8_t *b, float *to, int64_t step)
{
    const uint8_t *s = b + 96;
    float d = half_at(b + 108);
    UNROLL for (int i = 0; i < 16; i++)
    {
        int scale = (s[i % 8] >> (i < 8 ? 0 : 4) & 15) | (s[8 + i % 4] >> i / 4 * 2 & 3) << 4;
        bytes16 bit = (bytes16){0} + (uint8_t)(1 << i / 2), high = (bytes16)((bytes_at(b + i % 2 * 16) & bit) == bit) & 4;
        scale16((two_bits(b + 32, i) | high) - 4, d * (float)(scale - 32), 0, to + i * step);
    }
}

/* Of the 16 values of a type, those that bytes below 16 name. */
static const int8_t CURVE_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}; /* IQ4_NL, IQ4_XS */
static const int8_t FP4_VALUES[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}; /* e2m1, doubled */

INLINE bytes16 named_by(const int8_t *table, bytes16 index)
{
#if defined __SSSE3__
    return (bytes16)_mm_shuffle_epi8(_mm_loadu_si128((const void *)table), (__m128i)index);
#else
    bytes16 out;
    for (int i = 0; i < 16; i++) out[i] = (uint8_t)table[index[i]];
    return out;
#endif
}

INLINE void by_table(const uint8_t *q, const int8_t *table, float d, float *to, int64_t step)
{
    bytes16 x = bytes_at(q);
    scale16(named_by(table, x & 15), d, 0, to);
    scale16(named_by(table, x >> 4), d, 0, to + step);
}

INLINE void widen_iq4_xs(const uint8_t *b, float *to, int64_t step)
{
    float d = half_at(b);
    uint32_t high = b[2] | (uint32_t)b[3] << 8;
    for (int j = 0; j < 8; j++) {
        int scale = (b[4 + j / 2] >> j % 2 * 4 & 15) | (int)(high >> 2 * j & 3) << 4;
        by_table(b + 8 + 16 * j, CURVE_VALUES, d * (float)(scale - 32), to + 2 * j * step, step);
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

INLINE void widen_q6_k(const uint8_t *b, float *to, int64_t step)
{
    float d = half_at(b + 208);
    UNROLL for (int i = 0; i < 16; i++)
    { /* 16 elements of one scale */
        int half = i / 8, quarter = i / 2 % 4, part = i % 2 * 16;
        bytes16 l = bytes_at(b + half * 64 + quarter % 2 * 32 + part), h = bytes_at(b + 128 + half * 32 + part);
        bytes16 low = l & 15, high = (quarter < 2 ? h << (4 - 2 * quarter) : h >> (2 * quarter - 4)) & 48;
        if (quarter >= 2) low = l >> 4;
        scale16((low | high) - 32, d * (float)(int8_t)b[192 + i], 0, to + i * step);
    }
}

/* 16 elements of a plain type. */
INLINE void widen_plain16(sf_dtype dtype, const uint8_t *from, float *to)
{
    if (dtype == SF_F32) {
        memcpy(to, from, 16 * sizeof *to);
    } else if (dtype == SF_BF16) {
#if defined __AVX512F__
        __m256i h = _mm256_loadu_si256((const void *)from);
        _mm512_storeu_si512(to, _mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
#else
        uint16_t h[16];
        uint32_t bits[16];
        memcpy(h, from, sizeof h);
        for (int i = 0; i < 16; i++) bits[i] = (uint32_t)h[i] << 16;
        memcpy(to, bits, sizeof bits);
#endif
    } else {
#if defined __AVX512F__
        _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)from)));
#elif defined __F16C__
        for (int i = 0; i < 16; i += 8)
            _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + 2 * i))));
#else
        sf_to_f32(SF_F16, from, to, 16);
#endif
    }
}

/* n elements, which for plain types may end inside 16: then `pad` says whether zeros follow or nothing is written. */
INLINE void widen_stepped(sf_dtype dtype, const void *from, float *to, int64_t n, int64_t step, bool pad)
{
    const uint8_t *b = from;
    int size = sf_dtypes[dtype].bytes;
    int64_t blocks = n / sf_dtypes[dtype].block;
    switch (dtype) {
    case SF_Q8_0:
        for (; blocks > 0; blocks--, b += size, to += 2 * step) {
            scale16(bytes_at(b + 2), half_at(b), 0, to);
            scale16(bytes_at(b + 18), half_at(b), 0, to + step);
        }
        return;
    case SF_Q4_0:
        for (; blocks > 0; blocks--, b += size, to += 2 * step) nibbles(b, false, to, step);
        return;
    case SF_Q4_1:
        for (; blocks > 0; blocks--, b += size, to += 2 * step) nibbles(b, true, to, step);
        return;
    case SF_Q5_0:
        for (; blocks > 0; blocks--, b += size, to += 2 * step)
            nibbles_and_bit(b + 6, b + 2, half_at(b), -16 * half_at(b), to, step);
        return;
    case SF_Q5_1:
        for (; blocks > 0; blocks--, b += size, to += 2 * step)
            nibbles_and_bit(b + 8, b + 4, half_at(b), half_at(b + 2), to, step);
        return;
    case SF_Q4_K:
        for (; blocks > 0; blocks--, b += size, to += 16 * step) widen_q45_k(b, false, to, step);
        return;
    case SF_Q5_K:
        for (; blocks > 0; blocks--, b += size, to += 16 * step) widen_q45_k(b, true, to, step);
        return;
    case SF_Q2_K:
        for (; blocks > 0; blocks--, b += size, to += 16 * step) widen_q2_k(b, to, step);
        return;
    case SF_Q3_K:
        for (; blocks > 0; blocks--, b += size, to += 16 * step) widen_q3_k(b, to, step);
        return;
    case SF_IQ4_NL:
        for (; blocks > 0; blocks--, b += size, to += 2 * step) by_table(b + 2, CURVE_VALUES, half_at(b), to, step);
        return;
    case SF_IQ4_XS:
        for (; blocks > 0; blocks--, b += size, to += 16 * step) widen_iq4_xs(b, to, step);
        return;
    case SF_MXFP4:
        for (; blocks > 0; blocks--, b += size, to += 2 * step) by_table(b + 1, FP4_VALUES, half_e8m0(b[0]), to, step);
        return;
    case SF_Q6_K:
        for (; blocks > 0; blocks--, b += size, to += 16 * step) widen_q6_k(b, to, step);
        return;
    default:
        break;
    }
    if (sf_dtypes[dtype].block > 1) { /* formats without a fast path */
        float wide[256];
        for (; blocks > 0; blocks--, b += size) {
            sf_to_f32(dtype, b, wide, sf_dtypes[dtype].block);
            for (int i = 0; i < sf_dtypes[dtype].block; i += LANES, to += step) memcpy(to, wide + i, LANES * sizeof *to);
        }
        return;
    }
    bool known = dtype == SF_F32 || dtype == SF_BF16 || dtype == SF_F16;
    for (; known && n >= LANES; n -= LANES, b += LANES * size, to += step) widen_plain16(dtype, b, to);
    for (; n >= LANES; n -= LANES, b += LANES * size, to += step) sf_to_f32(dtype, b, to, LANES);
    if (n == 0) return;
    float tail[LANES] = {0};
    sf_to_f32(dtype, b, tail, n);
    memcpy(to, tail, (size_t)(pad ? LANES : n) * sizeof *to);
}

static void widen(sf_dtype dtype, const void *from, float *to, int64_t n)
{
    widen_stepped(dtype, from, to, n, LANES, false);
}

enum { SUMS = TILE_ROWS * TILE_OUTS + LANES }; /* reduce() writes whole vectors */

/* What the register tiles of one span have in common. */
typedef struct tiling {
    int64_t row, step; /* the 16 inputs of step s of row r lie at x + r * row + s * step */
    int64_t steps, ldy;
    bool add;
} tiling;

/* y[r, o] (+)= <x[r], w[o]> (+ bias[o]) for `rows` rows (a constant where this is inlined) and `outs` outputs. */
INLINE void register_tile(int rows, const tiling *t, const float *x, const float *w, int outs, const float *bias,
                          float *y)
{
    int64_t row = t->row, step = t->step, ldy = t->ldy;
    vec acc[TILE_ROWS][TILE_OUTS][WIDE];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int o = 0; o < TILE_OUTS; o++)
        UNROLL for (int u = 0; u < WIDE; u++) acc[r][o][u] = all(0);
    for (int64_t s = 0; s < t->steps; s++) {
        UNROLL for (int u = 0; u < WIDE; u++)
        {
            vec b[TILE_OUTS];
            UNROLL for (int o = 0; o < TILE_OUTS; o++) b[o] = load(w + s * (TILE_OUTS * LANES) + o * LANES + u * W);
            UNROLL for (int r = 0; r < rows; r++)
            {
                vec a = load(x + r * row + s * step + u * W);
                UNROLL for (int o = 0; o < TILE_OUTS; o++) acc[r][o][u] += a * b[o];
            }
        }
    }
    float sums[SUMS] = {0};
    const int n = rows * TILE_OUTS; /* below 32 */
    const vec(*flat)[WIDE] = acc[0];
    if (n & 16) reduce(16, flat, SUM, sums);
    if (n & 8) reduce(8, flat + (n & 16), SUM, sums + (n & 16));
    if (n & 4) reduce(4, flat + (n & 24), SUM, sums + (n & 24));
    if (n & 2) reduce(2, flat + (n & 28), SUM, sums + (n & 28));
    if (n & 1) reduce(1, flat + (n & 30), SUM, sums + (n & 30));
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
typedef void rows_tile(const tiling *t, const float *x, const float *w, int outs, const float *bias, float *y);
#define ROWS_(count)                                                                                                   \
    NOINLINE void rows##count(const tiling *t, const float *x, const float *w, int outs, const float *bias, float *y)  \
    {                                                                                                                  \
        register_tile(count, t, x, w, outs, bias, y);                                                                  \
    }
ROWS_(1)
ROWS_(2)
#if TILE_ROWS_MAX > 2
ROWS_(3)
#endif
#if TILE_ROWS_MAX > 3
ROWS_(4)
ROWS_(5)
ROWS_(6)
#endif
#undef ROWS_

static rows_tile *const rows_of[] = {
    NULL,  rows1, rows2,
#if TILE_ROWS_MAX > 2
    rows3,
#endif
#if TILE_ROWS_MAX > 3
    rows4, rows5, rows6,
#endif
};

/* Side by side, span after span; each row is padded with zeros to whole steps. */
static void pack_rows(const float *x, int64_t rows, int64_t in, int64_t first, int64_t count, float *to)
{
    for (int64_t i = 0; i < in; i += SPAN) {
        int64_t n = in - i < SPAN ? in - i : SPAN, steps = (n + LANES - 1) / LANES;
        for (int64_t r = first; r < first + count; r++)
            widen_stepped(SF_F32, x + r * in + i, to + (r / TILE_ROWS * steps * TILE_ROWS + r % TILE_ROWS) * LANES, n,
                          TILE_ROWS * LANES, true);
        to += (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS * steps * LANES;
    }
}

static void linear_part(const sf_linear *l, int64_t first, int64_t rows, int64_t out, int outs, float *room)
{
    const float *packed = l->packed, *bias = l->bias ? l->bias + out : NULL;
    const char *w = l->w + out * l->row_bytes;
    tiling t = {
        .row = packed ? LANES : l->in, .step = packed ? TILE_ROWS * LANES : LANES, .ldy = l->ldy, .add = l->add};
    for (int64_t i = 0; i < l->in; i += SPAN) {
        int64_t n = l->in - i < SPAN ? l->in - i : SPAN, steps = (n + LANES - 1) / LANES, near = NEAR / steps / LANES;
        t.steps = steps;
        int64_t block = near < TILE_ROWS ? TILE_ROWS : near / TILE_ROWS * TILE_ROWS; /* rows of x that stay near */
        if (rows <= FEW_ROWS) block = FEW_ROWS;                        /* here it is the weights that stay near */
        int64_t group = rows <= block ? 0 : steps * TILE_OUTS * LANES; /* of widened weights, kept if they come again */
        for (int64_t r0 = 0; r0 < rows; r0 += block) {
            int64_t end = r0 + block < rows ? r0 + block : rows;
            const float *next = packed ? packed + (first + end) * steps * LANES : NULL;
            int64_t coming = packed && end < rows ? steps * LANES * block : 0; /* floats of the block after this one */
            for (int o = 0; o < outs; o += TILE_OUTS) {
                float *wide = room + o / TILE_OUTS * group;
                int there = outs - o < TILE_OUTS ? outs - o : TILE_OUTS;
                for (int64_t f = coming * o / outs / LANES * LANES; f < coming * (o + there) / outs; f += LANES)
                    __builtin_prefetch(next + f, 0, 2);
                for (int k = 0; r0 == 0 && k < TILE_OUTS; k++) /* the last group is filled up with its last row */
                    widen_stepped(l->dtype,
                                  w + (o + (k < there ? k : there - 1)) * l->row_bytes + sf_bytes(l->dtype, i),
                                  wide + k * LANES, n, TILE_OUTS * LANES, true);
                for (int64_t r = r0; r < end; r += TILE_ROWS)
                    rows_of[end - r < TILE_ROWS ? end - r : TILE_ROWS](
                        &t, packed ? packed + (first + r) * steps * LANES : l->x + (first + r) * l->in + i, wide, there,
                        bias ? bias + o : NULL, l->y + (first + r) * l->ldy + out + o);
            }
        }
        if (packed) packed += (l->rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS * steps * LANES;
        bias = NULL;
        t.add = true;
    }
}

static void linear(const sf_linear *l, int64_t first, int64_t rows, int64_t out, int outs, float *room)
{
    int at_once = rows > FEW_ROWS ? outs : TILE_OUTS; /* few rows: read each weight row from end to end */
    for (int o = 0; o < outs; o += at_once)
        linear_part(l, first, rows, out + o, outs - o < at_once ? outs - o : at_once, room);
}

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
