/* The memory of a template or a rendering, and the limits that it runs into. */
#include "harness/model/jinja_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct sf_jblock {
    struct sf_jblock *before;
    size_t used, room;
    max_align_t at[];
} sf_jblock;

sf_status sf_jinja_fail(sf_jrun *r, sf_status code, const char *format, ...)
{
    if (r->status != SF_OK) return r->status;
    char what[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return r->status = sf_fail(code, "%s: chat template, line %d: %s%s", r->where, r->line,
                               code == SF_UNSUPPORTED ? "not supported: " : "", what);
}

void *sf_jinja_take(sf_jrun *r, size_t bytes)
{
    enum { SMALLEST = 16384 };
    if (r->status != SF_OK) return NULL;
    bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    sf_jblock *b = r->block;
    if (!b || b->room - b->used < bytes) {
        size_t room = bytes > SMALLEST ? bytes : SMALLEST;
        if (room > r->limits.bytes || r->bytes > r->limits.bytes - room) {
            sf_jinja_fail(r, SF_UNSUPPORTED, "a template that takes more than %zu MiB", r->limits.bytes >> 20);
            return NULL;
        }
        b = calloc(1, sizeof *b + room);
        if (!b) {
            sf_jinja_fail(r, SF_NO_MEMORY, "no memory for %zu bytes", room);
            return NULL;
        }
        b->room = room;
        r->bytes += room;
        if (bytes > SMALLEST && r->block) { /* on its own; the one begun goes on */
            b->before = r->block->before;
            r->block->before = b;
        } else {
            b->before = r->block;
            r->block = b;
        }
    }
    void *taken = (char *)b->at + b->used;
    b->used += bytes;
    return taken;
}

void sf_jinja_release(sf_jrun *r)
{
    for (sf_jblock *b = r->block, *before; b; b = before) {
        before = b->before;
        free(b);
    }
    r->block = NULL;
}

bool sf_jinja_step(sf_jrun *r, size_t steps)
{
    if (r->status != SF_OK) return false;
    r->steps += (int64_t)steps;
    if (r->steps <= r->limits.steps) return true;
    sf_jinja_fail(r, SF_UNSUPPORTED, "a template that takes more than %lld steps", (long long)r->limits.steps);
    return false;
}

bool sf_jinja_sink(sf_jrun *r)
{
    if (r->status != SF_OK) return false;
    if (r->depth >= r->limits.depth) {
        sf_jinja_fail(r, SF_UNSUPPORTED, "more than %d calls, expressions or values inside each other",
                      r->limits.depth);
        return false;
    }
    r->depth++;
    return true;
}
