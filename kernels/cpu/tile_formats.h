/* What stands in a block of quantised weights, for linear layers in fp32 (tile_linear.h) and in whole numbers (tile_integers.h). */
#ifndef SF_TILE_FORMATS_H
#define SF_TILE_FORMATS_H

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

/* to[i] = d * each of eight bytes, all of them at once: one by one, they would cost as much as their weights. */
INLINE void times_bytes(const void *bytes, bool with_sign, float d, float *to)
{
#if defined __AVX2__
    __m128i b = _mm_loadl_epi64(bytes);
    _mm256_storeu_ps(to, _mm256_cvtepi32_ps(with_sign ? _mm256_cvtepi8_epi32(b) : _mm256_cvtepu8_epi32(b)) * _mm256_set1_ps(d));
#else
    uint8_t b[8];
    memcpy(b, bytes, sizeof b);
    for (int i = 0; i < 8; i++) to[i] = d * (float)(with_sign ? (int8_t)b[i] : b[i]);
#endif
}

/* The eight scales and minima of Q4_K and Q5_K, 6 bits each in 12 bytes, times d and -dmin. */
INLINE void scales_k(const uint8_t *s, float d, float dmin, float *a, float *m)
{
    uint32_t part[3];
    memcpy(part, s, sizeof part);
    const uint32_t low6 = 0x3f3f3f3f, low4 = 0x0f0f0f0f, low2 = 0x03030303;
    uint32_t scale[2] = {part[0] & low6, (part[2] & low4) | (part[0] >> 6 & low2) << 4};
    uint32_t min[2] = {part[1] & low6, (part[2] >> 4 & low4) | (part[1] >> 6 & low2) << 4};
    times_bytes(scale, false, d, a);
    times_bytes(min, false, -dmin, m);
}

#endif
