/* Memory of some samples: handed out front to back, given back all at once.
 *
 * The first ones allocate as they go; a reset then joins what was used into one block, so that those after them
 * allocate nothing. Without a backend an arena hands out NULL and only adds up: the same code that lays out a sample
 * measures it. */
#ifndef SF_ARENA_H
#define SF_ARENA_H

#include "kernels/backend.h"

struct sf_chunk {
    void *base;
    size_t size;
};

typedef struct sf_arena {
    sf_backend *backend; /* NULL: measures only */
    struct sf_chunk *chunk;
    int chunks;
    size_t used;        /* of the last chunk, bytes */
    size_t total, peak; /* bytes handed out since the reset, and the most ever */
} sf_arena;

sf_status sf_arena_alloc(sf_arena *arena, size_t bytes, void **out); /* 256-byte aligned in size; contents undefined */
void sf_arena_reset(sf_arena *arena);
void sf_arena_trim(sf_arena *arena);  /* gives all memory back, and forgets how much it was */
void sf_arena_close(sf_arena *arena); /* accepts a zeroed one */

#endif
