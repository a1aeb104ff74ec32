/* Remembers strings by their 64-bit hash, to draw different ones. A collision only costs another draw. */
#ifndef SF_UNIQUE_H
#define SF_UNIQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sf_unique {
    uint64_t *slot; /* [1 << bits] open addressing, 0: free */
    int bits, count;
    bool failed; /* out of memory: everything is new from then on; check once, at the end */
} sf_unique;

/* True if the string is new. */
bool sf_unique_add(sf_unique *u, const char *at, size_t bytes);
void sf_unique_free(sf_unique *u);

#endif
