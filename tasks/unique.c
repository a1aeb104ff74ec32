#include "tasks/unique.h"

#include <stdlib.h>

#include <xxhash.h>

static bool put(uint64_t *slot, int bits, uint64_t hash)
{
    uint64_t mask = (1ull << bits) - 1, i = hash & mask;
    for (; slot[i]; i = (i + 1) & mask)
        if (slot[i] == hash) return false;
    slot[i] = hash;
    return true;
}

bool sf_unique_add(sf_unique *u, const char *at, size_t bytes)
{
    if (u->failed) return true;
    if (!u->slot || 2 * u->count >= 1 << u->bits) {
        int bits = u->slot ? u->bits + 1 : 10;
        uint64_t *grown = calloc((size_t)1 << bits, sizeof *grown);
        if (!grown) return u->failed = true;
        for (uint64_t i = 0; u->slot && i < 1ull << u->bits; i++)
            if (u->slot[i]) put(grown, bits, u->slot[i]);
        free(u->slot);
        u->slot = grown;
        u->bits = bits;
    }
    uint64_t hash = XXH3_64bits(at, bytes);
    bool new = put(u->slot, u->bits, hash ? hash : 1);
    u->count += new;
    return new;
}

void sf_unique_free(sf_unique *u)
{
    free(u->slot);
    *u = (sf_unique){0};
}
