/* SplitMix64 (Steele, Lea and Flood 2014): a counter, and a finaliser that makes a random number of each of its values.
 * Integer arithmetic only: the same on every machine. */
#ifndef SF_SPLITMIX_H
#define SF_SPLITMIX_H

#include <stdint.h>

#ifdef __CUDACC__
#define SF_ON_DEVICES __host__ __device__
#else
#define SF_ON_DEVICES
#endif

#define SF_SPLITMIX_STEP 0x9e3779b97f4a7c15u

/* The finaliser: a permutation of 64-bit numbers that leaves no pattern of its input. */
SF_ON_DEVICES static inline uint64_t sf_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The n-th number, from 0, of a stream, without state. */
SF_ON_DEVICES static inline uint64_t sf_splitmix(uint64_t stream, uint64_t n) { return sf_mix(stream + (n + 1) * SF_SPLITMIX_STEP); }

/* The next number of the stream whose counter is at *state. */
static inline uint64_t sf_splitmix_next(uint64_t *state) { return sf_mix(*state += SF_SPLITMIX_STEP); }

#endif
