/* Made-up attention to time on a backend, and what timing it needs: for tests/bench_*.c, each of which is one source. */
#ifndef SF_BENCH_SCENE_H
#define SF_BENCH_SCENE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/backend.h"

static sf_backend b;
static sf_meter meter;
static int failures;

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != SF_OK) {                                                                                         \
            printf("%s: %s\n", #call, sf_error());                                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static clockid_t ticking = CLOCK_MONOTONIC;

static double now(void)
{
    struct timespec t;
    clock_gettime(ticking, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

static int ascending(const void *x, const void *y)
{
    return (*(const double *)x > *(const double *)y) - (*(const double *)x < *(const double *)y);
}

/* Median milliseconds of `call`, run `many` times between two waits. */
#define TIME(ms, many, call)                                                                                           \
    do {                                                                                                               \
        double took[5];                                                                                                \
        for (int run_ = -1; run_ < 5; run_++) {                                                                        \
            MUST(b.ops->synchronize(&b));                                                                              \
            double begun_ = now();                                                                                     \
            for (int many_ = 0; many_ < (many); many_++) MUST(call);                                                   \
            MUST(b.ops->synchronize(&b));                                                                              \
            if (run_ >= 0) took[run_] = (now() - begun_) / (many);                                                     \
        }                                                                                                              \
        qsort(took, 5, sizeof *took, ascending);                                                                       \
        ms = took[2];                                                                                                  \
    } while (0)

static uint64_t seed = 1;
static uint32_t random32(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

static void *room(size_t bytes)
{
    void *p;
    MUST(b.ops->alloc(&b, bytes, &p));
    return p;
}

/* n numbers of about unit variance, in the backend's activation type: a random block of 8M, repeated. */
static void *noise(int64_t n)
{
    enum { BLOCK = 8 << 20 };
    static float *block; /* bf16: their upper halves, packed */
    size_t width = sf_bytes(b.activation, 1);
    if (!block) {
        block = malloc(BLOCK * sizeof *block);
        for (int i = 0; i < BLOCK; i++) {
            float x = 0;
            for (int j = 0; j < 4; j++) x += (float)random32() / 4294967296.f - .5f;
            x *= 1.732f;
            uint32_t u;
            memcpy(&u, &x, sizeof u);
            if (b.activation == SF_F32)
                block[i] = x;
            else
                ((uint16_t *)block)[i] = (uint16_t)(u >> 16);
        }
    }
    char *p = room((size_t)n * width);
    for (int64_t at = 0; at < n; at += BLOCK)
        MUST(b.ops->upload(&b, p + (size_t)at * width, block, (size_t)(n - at < BLOCK ? n - at : BLOCK) * width));
    return p;
}

static inline void *uploaded(const void *host, size_t bytes)
{
    void *p = room(bytes);
    MUST(b.ops->upload(&b, p, host, bytes));
    return p;
}

static struct {
    int heads, kv_heads, dim, tokens;
    double ms;
} peer[64];
static int peers;

static inline void read_peers(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[256];
    while (f && fgets(line, sizeof line, f) && peers < 64)
        peers += sscanf(line, "cudnn %d %d %d %d %lf", &peer[peers].heads, &peer[peers].kv_heads, &peer[peers].dim,
                        &peer[peers].tokens, &peer[peers].ms) == 5;
    if (f) fclose(f);
}

static inline double cudnn(int heads, int kv_heads, int dim, int tokens)
{
    for (int i = 0; i < peers; i++)
        if (peer[i].heads == heads && peer[i].kv_heads == kv_heads && peer[i].dim == dim && peer[i].tokens == tokens)
            return peer[i].ms;
    return NAN;
}

static sf_attention scene(int heads, int kv_heads, int dim, int tokens)
{
    sf_attention a = {.backend = &b,
                      .layers = 1,
                      .heads = heads,
                      .kv_heads = kv_heads,
                      .head_dim = dim,
                      .queries = tokens,
                      .keys = tokens,
                      .scale = 1 / sqrtf((float)dim),
                      .q = noise((int64_t)tokens * heads * dim)};
    a.kv.dtype = b.activation;
    a.kv.prompt = (sf_kv_part){.k = noise((int64_t)tokens * kv_heads * dim),
                               .v = noise((int64_t)tokens * kv_heads * dim),
                               .capacity = tokens,
                               .n = tokens};
    return a;
}

static void free_scene(sf_attention *a)
{
    b.ops->free(&b, (void *)(uintptr_t)a->q);
    b.ops->free(&b, a->kv.prompt.k);
    b.ops->free(&b, a->kv.prompt.v);
}

/* Number i of an array in the backend's activation type. */
static double number(const void *x, int i)
{
    if (b.activation == SF_F32) return ((const float *)x)[i];
    uint32_t u = (uint32_t)((const uint16_t *)x)[i] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Error of row `row` of out against decode over `pattern` (NULL: dense). member >= 0: of one query head of each group.
 */
static inline double row_error(const sf_attention *a, int row, const sf_pattern *pattern, int member, const void *out)
{
    static const sf_pattern dense = {.kind = SF_DENSE};
    int width = a->heads * a->head_dim, group = a->heads / a->kv_heads;
    size_t bytes = sf_bytes(b.activation, width);
    sf_attention one = *a;
    one.queries = 1, one.keys = a->keys - a->queries + row + 1, one.kv.prompt.n = one.keys;
    one.q = (const char *)a->q + (size_t)row * bytes;
    void *to = room(bytes);
    const sf_attention *lane = &one;
    if (!pattern) pattern = &dense;
    MUST(b.ops->decode(&b, 1, &lane, &pattern, to));
    void *want = malloc(bytes), *got = malloc(bytes);
    MUST(b.ops->download(&b, want, to, bytes)); /* of all heads, also those that have other lists */
    MUST(b.ops->download(&b, got, (const char *)out + (size_t)row * bytes, bytes));
    double apart = 0, size = 0;
    for (int i = 0; i < width; i++) {
        if (member >= 0 && i / a->head_dim % group != member) continue;
        double x = number(want, i), y = number(got, i);
        apart += (x - y) * (x - y), size += x * x;
    }
    free(want), free(got);
    b.ops->free(&b, to);
    double error = sqrt(apart / size);
    if (!(error <= 1e-2)) failures++;
    return error;
}

#endif
