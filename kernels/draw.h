/* Random numbers of a stream (base/splitmix.h) as floats, the same on every device. */
#ifndef SF_DRAW_H
#define SF_DRAW_H

#include "base/splitmix.h"

/* In (0, 1), a multiple of 2^-24 that is exact in fp32: odd ones, so that none is 0 or 1. */
SF_ON_DEVICES static inline float sf_draw_unit(uint64_t stream, uint64_t n)
{
    return ((float)(sf_splitmix(stream, n) >> 41) + 0.5f) * 0x1p-23f;
}

/* About normal, of mean 0 and variance 1: twelve numbers of 16 bits added up (Irwin–Hall), a multiple of 2^-16 and so exact. */
SF_ON_DEVICES static inline float sf_draw_normal(uint64_t stream, uint64_t n)
{
    int32_t sum = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t z = sf_splitmix(stream, 3 * n + (uint64_t)i);
        sum += (int32_t)(z & 0xffff) + (int32_t)(z >> 16 & 0xffff) + (int32_t)(z >> 32 & 0xffff) + (int32_t)(z >> 48);
    }
    return (float)(sum - 6 * 65535) * 0x1p-16f;
}

#endif
