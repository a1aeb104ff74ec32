#include "harness/engine/arena.h"

#include <stdlib.h>
#include <string.h>

static const size_t ALIGN = 256, LEAST = (size_t)1 << 20;

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static sf_status add_chunk(sf_arena *arena, size_t bytes)
{
    struct sf_chunk *grown = realloc(arena->chunk, (size_t)(arena->chunks + 1) * sizeof *grown);
    if (!grown) return sf_fail(SF_NO_MEMORY, "no memory for the table of a sample's buffers");
    arena->chunk = grown;
    struct sf_chunk *chunk = &grown[arena->chunks];
    chunk->size = max_size(max_size(bytes, LEAST), arena->chunks ? 0 : arena->peak);
    SF_TRY(sf_blame(arena->backend->ops->alloc(arena->backend, chunk->size, &chunk->base),
                    "a sample's buffer of %.1f MiB (%.1f MiB are held already)", (double)chunk->size / (1 << 20),
                    (double)arena->total / (1 << 20)));
    arena->chunks++;
    arena->used = 0;
    return SF_OK;
}

sf_status sf_arena_alloc(sf_arena *arena, size_t bytes, void **out)
{
    bytes = max_size((bytes + ALIGN - 1) / ALIGN * ALIGN, ALIGN);
    *out = NULL;
    if (arena->backend) {
        if (!arena->chunks || arena->chunk[arena->chunks - 1].size - arena->used < bytes)
            SF_TRY(add_chunk(arena, bytes));
        *out = (char *)arena->chunk[arena->chunks - 1].base + arena->used;
        arena->used += bytes;
    }
    arena->total += bytes;
    arena->peak = max_size(arena->peak, arena->total);
    return SF_OK;
}

void sf_arena_reset(sf_arena *arena)
{
    if (arena->chunks > 1) {
        for (int i = 0; i < arena->chunks; i++) arena->backend->ops->free(arena->backend, arena->chunk[i].base);
        arena->chunks = 0;
    }
    arena->used = arena->total = 0;
}

void sf_arena_trim(sf_arena *arena)
{
    for (int i = 0; i < arena->chunks; i++) arena->backend->ops->free(arena->backend, arena->chunk[i].base);
    arena->chunks = 0;
    arena->used = arena->total = arena->peak = 0;
}

void sf_arena_close(sf_arena *arena)
{
    sf_arena_trim(arena);
    free(arena->chunk);
    memset(arena, 0, sizeof *arena);
}
