/* The only source of chance in tasks: xoshiro256** (Blackman and Vigna 2018), seeded through splitmix64.
 *
 * A stream is named by (task, seed, index), so that a sample does not depend on which others were made, in what order
 * or by which thread. Integer arithmetic only: the same on every machine. A stream is a plain value: copying it forks
 * it. */
#ifndef SF_RANDOM_H
#define SF_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct sf_random {
    uint64_t s[4];
} sf_random;

sf_random sf_random_stream(const char *task, uint64_t seed, int index);

/* A stream of its own for part `part` of the same sample: what is drawn from it does not move what others draw. */
sf_random sf_random_fork(const sf_random *r, uint64_t part);

uint64_t sf_random_next(sf_random *r);
uint32_t sf_random_below(sf_random *r, uint32_t n);      /* uniform in 0 … n−1, n ≥ 1 */
int sf_random_between(sf_random *r, int low, int high);  /* uniform, both ends included */
void sf_random_shuffle(sf_random *r, int *items, int n); /* Fisher–Yates */

/* k different numbers of 0 … n−1 in random order, k ≤ n. For a few of many: work is O(k²), whatever n. */
void sf_random_pick(sf_random *r, int n, int *out, int k);

#endif
