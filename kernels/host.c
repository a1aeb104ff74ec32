/* Memory and weights for the backends that compute in host memory. */
#include "kernels/host.h"
#include "kernels/promise.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 2 << 20 };

/* What is large is a mapping of its own, which goes back to the system when freed: else the pieces that a first sample
 * grew by would stay in the heap. */
static void map_what_is_large(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, PAGE / 2);
#endif
}

void sf_host_open(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, map_what_is_large);
}

/* Caches and activations are read in strides that small pages make slow. */
sf_status sf_host_alloc(sf_backend *b, size_t bytes, void **out)
{
    (void)b;
    size_t align = bytes >= 2 * PAGE ? PAGE : 256, rounded = (bytes + align - 1) / align * align;
    *out = rounded < bytes ? NULL : aligned_alloc(align, rounded ? rounded : align);
#ifdef MADV_HUGEPAGE
    if (*out && align == PAGE) madvise(*out, rounded, MADV_HUGEPAGE);
#endif
    if (*out) return SF_OK;
    return sf_fail(SF_NO_MEMORY, "host memory: no room for %zu bytes; lower the length, the lanes or --memory", bytes);
}

void sf_host_free(sf_backend *b, void *p)
{
    (void)b;
    free(p);
}

sf_status sf_host_copy(sf_backend *b, void *to, const void *from, size_t bytes)
{
    (void)b;
    if (bytes) memmove(to, from, bytes);
    return SF_OK;
}

sf_status sf_host_upload(sf_backend *b, void *to, const void *host, size_t bytes)
{
    return sf_host_copy(b, to, host, bytes);
}

sf_status sf_host_download(sf_backend *b, void *host, const void *from, size_t bytes)
{
    return sf_host_copy(b, host, from, bytes);
}

sf_status sf_host_zero(sf_backend *b, void *p, size_t bytes)
{
    (void)b;
    if (bytes) memset(p, 0, bytes);
    return SF_OK;
}

sf_status sf_host_synchronize(sf_backend *b)
{
    (void)b;
    return SF_OK;
}

sf_status sf_host_watch(sf_backend *b, bool start)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double now = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    b->watched += start ? -now : now;
    return SF_OK;
}

sf_status sf_host_memory(sf_backend *b, size_t *available, size_t *total)
{
    (void)b;
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return sf_fail(SF_IO, "/proc/meminfo cannot be opened, so free memory is unknown; give --memory");
    char line[128];
    size_t kib;
    *available = *total = 0;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemTotal: %zu kB", &kib) == 1) *total = kib << 10;
        if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1) *available = kib << 10;
    }
    fclose(f);
    return *total ? SF_OK : sf_fail(SF_IO, "/proc/meminfo has no MemTotal line; give --memory");
}

sf_status sf_host_import_weight(sf_backend *b, const sf_tensor *host, sf_tensor *out)
{
    (void)b;
    *out = *host; /* an alias: the file stays mapped longer than the backend lives */
    return SF_OK;
}

void sf_host_release_weight(sf_backend *b, sf_tensor *weight)
{
    (void)b;
    memset(weight, 0, sizeof *weight);
}

sf_status sf_host_entmax(const sf_attention *a, const sf_pattern *p)
{
    if (a->alpha == 0 || (p->kind != SF_PARTS && !p->bias.data && !p->sum.k.data && !p->reach.chunk)) return SF_OK;
    return sf_fail(SF_UNSUPPORTED, "layer %d: parts, weights of keys, summaries and other distances, together with attention that is "
                   "normalised by %g-entmax: only softmax takes them in", a->layer, (double)a->alpha);
}

sf_status sf_host_no_key(const sf_attention *a, const char *op, int head, int row)
{
    return sf_fail(
        SF_BAD_INPUT,
        "%s: layer %d, head %d, query row %d of %d (position %d): the pattern names no key that it may see; a method "
        "must name, for every query, a key at or before it: add the query's own block",
        op, a->layer, head, row, a->queries, a->keys - a->queries + row);
}

sf_status sf_host_sample_sizes(sf_backend *b, const sf_moments *moment, int64_t rows, sf_promise promise, int64_t most, int32_t *count)
{
    (void)b;
    int64_t d = 0;
    for (int64_t half = most >= 0 ? SF_DIALS / 2 : 0; half; half /= 2) { /* halves what is in question, from 1 down */
        int64_t sum = 0;
        for (int64_t r = 0; r < rows; r++) sum += sf_sample_size(&moment[r], sf_promise_at(promise, sf_dial_at(d + half)));
        if (sum <= most) d += half;
    }
    if (most >= 0) promise = sf_promise_at(promise, sf_dial_at(d));
    for (int64_t r = 0; r < rows; r++) count[r] = sf_sample_size(&moment[r], promise);
    return SF_OK;
}
