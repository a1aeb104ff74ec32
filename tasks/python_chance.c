#include "tasks/python_chance.h"

#include <stdbool.h>
#include <string.h>

/* ---- SHA-256 ------------------------------------------------------------------------------------------------------- */

static uint32_t right(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void mix(uint32_t state[8], const unsigned char block[64])
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
        0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
        0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
        0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
        0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
        0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], s[8];
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (right(w[i - 15], 7) ^ right(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (right(w[i - 2], 17) ^ right(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 64; i++) {
        const uint32_t one = s[7] + (right(s[4], 6) ^ right(s[4], 11) ^ right(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i],
                       two = (right(s[0], 2) ^ right(s[0], 13) ^ right(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

uint32_t sf_python_hash_seed(const char *text, size_t bytes)
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char last[128] = {0};
    const size_t rest = bytes % 64, end = rest < 56 ? 64 : 128;
    for (size_t i = 0; i + 64 <= bytes; i += 64) mix(state, (const unsigned char *)text + i);
    memcpy(last, text + bytes - rest, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++) last[end - 1 - (size_t)i] = (unsigned char)((uint64_t)bytes * 8 >> 8 * i);
    for (size_t i = 0; i < end; i += 64) mix(state, last + i);
    return state[7] & 0x7fffffff;
}

/* ---- NumPy's default_rng ------------------------------------------------------------------------------------------- */

typedef unsigned __int128 u128;

typedef struct generator {
    u128 state, increment;
    uint32_t half; /* of the last number, not yet given out */
    bool has_half;
} generator;

static void step(generator *g)
{
    const u128 multiplier = (u128)0x2360ed051fc65da4 << 64 | 0x4385df649fccf645;
    g->state = g->state * multiplier + g->increment;
}

/* XSL-RR; the lower half of each 64 bits first. */
static uint32_t next(generator *g)
{
    if (g->has_half) return g->has_half = false, g->half;
    step(g);
    const uint64_t folded = (uint64_t)(g->state >> 64) ^ (uint64_t)g->state;
    const int turn = (int)(g->state >> 122);
    const uint64_t number = folded >> turn | folded << (-turn & 63);
    g->half = (uint32_t)(number >> 32);
    g->has_half = true;
    return (uint32_t)number;
}

static uint32_t hashed(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ value >> 16;
}

/* SeedSequence(seed).generate_state(4, uint64), and the generator that PCG64 makes of it. */
static generator seeded(uint32_t seed)
{
    uint32_t pool[4], word[8], constant = 0x43b0d7e5;
    for (int i = 0; i < 4; i++) pool[i] = hashed(i ? 0 : seed, &constant, 0x931e8875);
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++) {
            if (from == to) continue;
            const uint32_t mixed = 0xca01f9dd * pool[to] - 0x4973f715 * hashed(pool[from], &constant, 0x931e8875);
            pool[to] = mixed ^ mixed >> 16;
        }
    constant = 0x8b51f9dd;
    for (int i = 0; i < 8; i++) word[i] = hashed(pool[i % 4], &constant, 0x58f38ded);
    uint64_t long_word[4];
    for (int i = 0; i < 4; i++) long_word[i] = (uint64_t)word[2 * i + 1] << 32 | word[2 * i];
    generator g = {.increment = ((u128)long_word[2] << 64 | long_word[3]) << 1 | 1};
    step(&g);
    g.state += (u128)long_word[0] << 64 | long_word[1];
    step(&g);
    return g;
}

void sf_numpy_permutation(uint32_t seed, int n, int *out)
{
    generator g = seeded(seed);
    for (int i = 0; i < n; i++) out[i] = i;
    for (uint32_t i = (uint32_t)n; i-- > 1;) { /* Fisher–Yates; as many bits as i has, until they are no more than it */
        uint32_t mask = i, j;
        for (int k = 1; k < 32; k *= 2) mask |= mask >> k;
        do j = next(&g) & mask;
        while (j > i);
        const int keep = out[i];
        out[i] = out[j];
        out[j] = keep;
    }
}
