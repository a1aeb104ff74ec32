#include "base/heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Blocks of at least 1 MB, so that a million short strings are a hundred allocations. */
struct sf_heap_block {
    struct sf_heap_block *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void *sf_heap_alloc(sf_heap *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct sf_heap_block *b = arena->block;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > ((size_t)1 << 20) ? bytes : (size_t)1 << 20;
        struct sf_heap_block *fresh = calloc(1, sizeof *fresh + size);
        if (!fresh) return NULL;
        fresh->size = size;
        if (b && size == bytes) { /* a big one of its own goes behind, the current block keeps its room */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            arena->block = fresh;
        }
        b = fresh;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return p;
}

const char *sf_heap_text(sf_heap *arena, const char *text, size_t length)
{
    char *copy = sf_heap_alloc(arena, length + 1);
    if (copy) memcpy(copy, text, length);
    return copy;
}

void sf_heap_free(sf_heap *arena)
{
    for (struct sf_heap_block *b = arena->block, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    arena->block = NULL;
}
