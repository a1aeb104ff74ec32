/* Rows of a packed cache as floats, on their way to attention: kernels/cache.h says what the bytes are. To the bit what sf_cache_unpack() makes
 * of them. Each row is read once, its numbers 16 at a time. */
#ifndef SF_TILE_CACHE_H
#define SF_TILE_CACHE_H

typedef uint8_t code16 __attribute__((vector_size(LANES)));
typedef int8_t signed16 __attribute__((vector_size(LANES)));

/* to[i] = d · each of 16 whole numbers. */
INLINE void put_times(const int8_t *q, float d, float *to)
{
#if defined __AVX512F__
    store(to, (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)q))) * d);
#elif defined __AVX2__
    store(to, (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q))) * d);
    store(to + W, (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(q + W)))) * d);
#else
    for (int i = 0; i < LANES; i++) to[i] = (float)q[i] * d;
#endif
}

/* 16 numbers of e4m3. Moved to fp16's places they are 2^-8 of themselves, and what is NaN becomes NaN by its exponent. */
INLINE void put_e4m3(const uint8_t *from, float *to)
{
#if defined __AVX2__ && defined __F16C__
    const __m256i c = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from)), all_ones = _mm256_set1_epi16(0x7f);
    const __m256i magnitude = _mm256_and_si256(c, all_ones), sign = _mm256_slli_epi16(_mm256_andnot_si256(all_ones, c), 8);
    const __m256i nan = _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, all_ones), _mm256_set1_epi16(0x7c00));
    const __m256i half = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign), nan);
#if defined __AVX512F__
    store(to, (vec)_mm512_cvtph_ps(half) * 256.0f);
#else
    store(to, (vec)_mm256_cvtph_ps(_mm256_castsi256_si128(half)) * 256.0f);
    store(to + W, (vec)_mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)) * 256.0f);
#endif
#else
    for (int i = 0; i < LANES; i++) to[i] = sf_cache_e4m3_of(from[i]);
#endif
}

/* 32 numbers of int4. */
INLINE void put_q4_0(const uint8_t *from, const uint8_t *scale, float *to)
{
    code16 q;
    signed16 part[2];
    memcpy(&q, from, sizeof q);
    const float d = half_at(scale);
    part[0] = (signed16)(q & 15) - 8, part[1] = (signed16)(q >> 4) - 8;
    put_times((const int8_t *)&part[0], d, to);
    put_times((const int8_t *)&part[1], d, to + LANES);
}

static void unpack_row(sf_cache_kind kind, const void *numbers, const void *scales, int dim, float *to)
{
    const uint8_t *from = numbers;
    const int whole = dim / LANES * LANES;
    float scale;
    switch (kind) {
    case SF_CACHE_E4M3:
        for (int d = 0; d < whole; d += LANES) put_e4m3(from + d, to + d);
        for (int d = whole; d < dim; d++) to[d] = sf_cache_e4m3_of(from[d]);
        break;
    case SF_CACHE_INT8:
        memcpy(&scale, scales, sizeof scale);
        for (int d = 0; d < whole; d += LANES) put_times((const int8_t *)from + d, scale, to + d);
        for (int d = whole; d < dim; d++) to[d] = (float)(int8_t)from[d] * scale;
        break;
    case SF_CACHE_Q4_0:
        for (int d = 0; d < dim; d += 2 * LANES) put_q4_0(from + d / 2, (const uint8_t *)scales + d / LANES, to + d);
        break;
    }
}

/* Number `row` of keys or of values [dim], and 0 behind them up to a multiple of 16. */
INLINE void unpack_padded(const sf_packed_rows *p, const char *numbers, const char *scales, int64_t row, int dim, float *to)
{
    unpack_row(p->kind, numbers + (size_t)row * p->bytes, scales + (size_t)row * p->scale_bytes, dim, to);
    for (int d = dim; d % LANES; d++) to[d] = 0;
}

/* Asks for a row that is wanted next. */
INLINE void call_packed(const sf_packed_rows *p, const char *numbers, const char *scales, int64_t row)
{
    for (size_t at = 0; at < p->bytes; at += 64) __builtin_prefetch(numbers + (size_t)row * p->bytes + at, 0, 2);
    if (p->scale_bytes) __builtin_prefetch(scales + (size_t)row * p->scale_bytes, 0, 2);
}

#endif
