/* Opening a backend by name, and the scratch arena that its callers share. */
#include "kernels/backend.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

extern const sf_backend_ops sf_reference_ops, sf_cpu_ops, sf_cpu_bf16_ops, sf_cpu_int8_ops;
#ifdef SF_HAVE_CUDA
extern const sf_backend_ops sf_cuda_ops;
#endif

const sf_backend_ops *const sf_backends[] = {
    &sf_cpu_ops,
    &sf_cpu_bf16_ops,
    &sf_cpu_int8_ops,
    &sf_reference_ops,
#ifdef SF_HAVE_CUDA
    &sf_cuda_ops,
#endif
    NULL,
};

/* Scratch is a list of chunks used front to back. A mark is (chunk, used); releasing rewinds, and keeps the chunks for
 * the next layer, so that a steady state allocates nothing. */
enum { SCRATCH_ALIGN = 256, SCRATCH_CHUNKS = 64 };
static const size_t SCRATCH_LEAST = (size_t)4 << 20;

typedef struct sf_scratch {
    struct { void *base; size_t size; } chunk[SCRATCH_CHUNKS];
    size_t chunks, at, used; /* at: the chunk being filled */
} sf_scratch;

sf_status sf_backend_open(const char *name, int threads, sf_backend *out)
{
    memset(out, 0, sizeof *out);
    size_t length = strcspn(name, ":");
    char *end = "";
    long device = name[length] ? strtol(name + length + 1, &end, 10) : 0;
    for (int i = 0; sf_backends[i]; i++) {
        if (strlen(sf_backends[i]->name) != length || strncmp(sf_backends[i]->name, name, length) != 0) continue;
        if (*end || device < 0 || device > INT_MAX || (name[length] && end == name + length + 1))
            return sf_fail(SF_BAD_INPUT, "device '%s': expected one device, its number after the colon", name);
        out->ops = sf_backends[i];
        out->device = (int)device;
        out->meter = &out->aside;
        out->scratch = calloc(1, sizeof *out->scratch);
        sf_status status = out->scratch ? out->ops->open(out, out->device, threads)
                                        : sf_fail(SF_NO_MEMORY, "device '%s': no memory for its scratch table", name);
        if (status != SF_OK) {
            free(out->scratch);
            memset(out, 0, sizeof *out);
        }
        return status;
    }
    char known[128] = "";
    for (int i = 0; sf_backends[i]; i++) {
        strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, sf_backends[i]->name, sizeof known - strlen(known) - 1);
    }
    return sf_fail(SF_BAD_INPUT, "device '%s' is unknown; this build has: %s%s", name, known,
                   strncmp(name, "cuda", 4) == 0 ? " (it was built without CUDA)" : "");
}

void sf_backend_close(sf_backend *b)
{
    if (!b->ops) return;
    for (size_t i = 0; i < b->scratch->chunks; i++) b->ops->free(b, b->scratch->chunk[i].base);
    free(b->scratch);
    b->ops->close(b);
    memset(b, 0, sizeof *b);
}

sf_status sf_scratch_alloc(sf_backend *b, size_t bytes, void **out)
{
    sf_scratch *s = b->scratch;
    bytes = (bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
    while (s->at < s->chunks && s->chunk[s->at].size - s->used < bytes) s->at++, s->used = 0;
    if (s->at == s->chunks) {
        if (s->chunks == SCRATCH_CHUNKS) return sf_fail(SF_INTERNAL, "scratch: more than %d chunks", SCRATCH_CHUNKS);
        size_t last = s->chunks ? s->chunk[s->chunks - 1].size : SCRATCH_LEAST / 2;
        size_t size = bytes > 2 * last ? bytes : 2 * last;
        SF_TRY(sf_blame(b->ops->alloc(b, size, &s->chunk[s->chunks].base), "scratch of %zu bytes", size));
        s->chunk[s->chunks++].size = size;
        s->used = 0;
    }
    *out = (char *)s->chunk[s->at].base + s->used;
    s->used += bytes;
    return SF_OK;
}

sf_mark sf_scratch_mark(sf_backend *b) { return (sf_mark){b->scratch->at, b->scratch->used}; }

void sf_scratch_release(sf_backend *b, sf_mark mark)
{
    b->scratch->at = mark.chunk;
    b->scratch->used = mark.used;
}
