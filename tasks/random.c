#include "tasks/random.h"

#include <assert.h>

#include "base/splitmix.h"

static sf_random from(uint64_t state)
{
    sf_random r;
    for (int i = 0; i < 4; i++) r.s[i] = sf_splitmix_next(&state);
    return r;
}

sf_random sf_random_stream(const char *task, uint64_t seed, int index)
{
    uint64_t name = 0xcbf29ce484222325; /* FNV-1a of the name, then each word is mixed in on its own */
    for (; *task; task++) name = (name ^ (unsigned char)*task) * 0x100000001b3;
    uint64_t state = name;
    state = sf_splitmix_next(&state) ^ seed;
    state = sf_splitmix_next(&state) ^ (uint64_t)(int64_t)index;
    return from(state);
}

sf_random sf_random_fork(const sf_random *r, uint64_t part)
{
    uint64_t state = r->s[0] ^ part;
    state = sf_splitmix_next(&state) ^ r->s[1];
    return from(state);
}

static uint64_t rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t sf_random_next(sf_random *r)
{
    uint64_t *s = r->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint32_t sf_random_below(sf_random *r, uint32_t n)
{
    assert(n > 0);
    /* Lemire 2019: the high half of a product, rejecting the few low halves that would make it uneven. */
    uint64_t m = (sf_random_next(r) >> 32) * n;
    if ((uint32_t)m < n)
        for (uint32_t uneven = -n % n; (uint32_t)m < uneven;) m = (sf_random_next(r) >> 32) * n;
    return (uint32_t)(m >> 32);
}

int sf_random_between(sf_random *r, int low, int high)
{
    assert(low <= high);
    return low + (int)sf_random_below(r, (uint32_t)(high - low) + 1);
}

void sf_random_shuffle(sf_random *r, int *items, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)sf_random_below(r, (uint32_t)i + 1), keep = items[i];
        items[i] = items[j];
        items[j] = keep;
    }
}

void sf_random_pick(sf_random *r, int n, int *out, int k)
{
    assert(k <= n);
    for (int i = 0; i < k; i++) { /* Floyd: each subset equally likely; then an order */
        int candidate = (int)sf_random_below(r, (uint32_t)(n - k + i) + 1);
        for (int j = 0; j < i; j++)
            if (out[j] == candidate) {
                candidate = n - k + i;
                break;
            }
        out[i] = candidate;
    }
    sf_random_shuffle(r, out, k);
}
