/* What the tests of host backends share that are not of the one suite for every filling (tests/test_backends.c): patterns
 * against a predicate, searches against those that do without; on random shapes and values.
 *
 * Each case has a seed, printed with its parameters when it fails; TEST_BACKEND_SEED=n adds n to all of them, and
 * TEST_BACKEND_CASES=n multiplies their number. Three backends run each op: the reference, cpu with two threads, cpu
 * with one. Outputs start as NaN. cpu must come within 1e-5 of the reference (norm of the difference over norm; 1e-3
 * where scores are of the order 1e4), choose the same indices and count the same on the meter; two threads and one must
 * agree bit for bit. */
#ifndef SF_TESTS_BACKEND_WORLD_H
#define SF_TESTS_BACKEND_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "methods/method.h"
#include "kernels/backend.h"

enum { REFERENCE, CPU, CPU_ONE, BACKENDS };
static sf_backend backend[BACKENDS];
static sf_meter meter[BACKENDS];
static char about[2048]; /* the case that runs, for messages */
static unsigned seed_offset, cases_factor = 1;

#define EACH(v) for (int v = 0; v < BACKENDS; v++)
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != SF_OK) fail_msg("%s: %s: %s", about, #call, sf_error());                                         \
    } while (0)

__attribute__((format(printf, 1, 2))) static inline void tell(const char *format, ...) /* adds to `about` */
{
    size_t used = strlen(about);
    va_list args;
    va_start(args, format);
    vsnprintf(about + used, sizeof about - used, format, args);
    va_end(args);
}

/* ---- random things ----------------------------------------------------------------------------------------------- */

static uint64_t state64;

static inline void seed(unsigned s) { state64 = (s + seed_offset + 1) * UINT64_C(0x9e3779b97f4a7c15); }

static inline uint32_t bits(void)
{
    state64 ^= state64 << 13;
    state64 ^= state64 >> 7;
    state64 ^= state64 << 17;
    return (uint32_t)(state64 * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

static inline int below(int n) { return (int)(bits() % (uint32_t)n); }
static inline int between(int low, int high) { return low + below(high - low + 1); }
static inline float uniform(void) { return (float)(bits() >> 8) * 0x1p-24f; }
static inline float normal(void) /* sum of uniforms: near enough */
{
    float s = -6;
    for (int i = 0; i < 12; i++) s += uniform();
    return s;
}
#define PICK(...) ((const int[]){__VA_ARGS__})[below((int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))]

static inline void *room(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    memset(p, 0xff, bytes); /* NaN as floats */
    return p;
}
static inline float *floats(int64_t n) { return room((size_t)n * sizeof(float)); }

enum { PLAIN, TIED, LARGE, SINK, VALUES }; /* kinds of values */

static inline float *random_floats(int64_t n, int kind)
{
    float *x = floats(n);
    for (int64_t i = 0; i < n; i++) x[i] = kind == TIED ? (float)between(-2, 2) * 0.5f : normal();
    return x;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

/* Scores of 1e4 are rounded to 1e-3 in fp32, and so are their exponentials, relatively. */
static double tolerance;

static inline void start(void)
{
    memset(meter, 0, sizeof meter);
    EACH(v) backend[v].phase = SF_PREFILL;
    tolerance = 1e-5;
}

static inline void same_meters(void)
{
    EACH(v)
    for (int w = 0; w < SF_WORKS; w++)
        for (int p = 0; p < SF_PHASES; p++) {
            const sf_count *a = &meter[v].at[p][w], *b = &meter[REFERENCE].at[p][w];
            if (memcmp(a, b, sizeof *a) != 0)
                fail_msg("%s: meters differ at phase %d, work %d: flops %llu against %llu", about, p, w,
                         (unsigned long long)a->flops, (unsigned long long)b->flops);
        }
}

/* Within the tolerance of the norm of `want`. Sums may cancel: `terms` then has the norm of each one's terms, which is
 * as large as a sum of random signs mostly is, and stands for an element that is smaller. */
static inline void close_to(const char *what, const float *got, const float *want, const float *terms, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(got[i]) != isnan(want[i]) || isinf(got[i]) != isinf(want[i]) || (isinf(got[i]) && got[i] != want[i]))
            fail_msg("%s: %s[%lld] is %g, expected %g", about, what, (long long)i, (double)got[i], (double)want[i]);
        if (!isfinite(want[i])) continue;
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        double size = terms ? fmax(fabs((double)want[i]), terms[i]) : want[i];
        norm += size * size;
    }
    if (sqrt(difference) > tolerance * sqrt(norm) + 1e-30)
        fail_msg("%s: %s is off by %.3g of its norm", about, what, sqrt(difference / norm));
}

static inline void same_bits(const char *what, const void *got, const void *want, size_t bytes)
{
    const unsigned char *a = got, *b = want;
    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i]) fail_msg("%s: %s: byte %zu of %zu differs", about, what, i, bytes);
}

static inline void compare_sums(const char *what, float *out[BACKENDS], const float *terms, int64_t n)
{
    close_to(what, out[CPU], out[REFERENCE], terms, n);
    same_bits(what, out[CPU_ONE], out[CPU], (size_t)n * sizeof(float));
    same_meters();
    EACH(v) free(out[v]);
}

static inline void compare(const char *what, float *out[BACKENDS], int64_t n) { compare_sums(what, out, NULL, n); }

static inline sf_lists lists(int64_t rows, int64_t stride)
{
    return (sf_lists){
        .rows = rows, .stride = stride, .count = room((size_t)rows * 4), .index = room((size_t)(rows * stride) * 4)};
}

static inline void free_lists(sf_lists l)
{
    free(l.count);
    free(l.index);
}

static inline void same_lists(sf_lists got, sf_lists want)
{
    for (int64_t r = 0; r < want.rows; r++) {
        if (got.count[r] != want.count[r])
            fail_msg("%s: row %lld has %d entries, expected %d", about, (long long)r, got.count[r], want.count[r]);
        for (int i = 0; i < want.count[r]; i++)
            if (got.index[r * got.stride + i] != want.index[r * want.stride + i])
                fail_msg("%s: row %lld entry %d is %d, expected %d", about, (long long)r, i,
                         got.index[r * got.stride + i], want.index[r * want.stride + i]);
    }
}

static inline void compare_lists(sf_lists out[BACKENDS])
{
    EACH(v) same_lists(out[v], out[REFERENCE]);
    same_meters();
    EACH(v) free_lists(out[v]);
}

/* ---- an attention to work on ------------------------------------------------------------------------------------- */

typedef struct world {
    sf_attention a;
    float *q, *k, *v, *tail_k, *tail_v;
    int32_t *count, *index;
} world;

static inline void free_world(world *w)
{
    free(w->q), free(w->k), free(w->v), free(w->tail_k), free(w->tail_v), free(w->count), free(w->index);
}

/* The prompt's keys lie scattered in a longer part, with NaN between them, and are listed. */
static inline void make_view(world *w)
{
    sf_kv_part *part = &w->a.kv.prompt;
    int64_t d = w->a.head_dim, capacity = 2 * part->n + 1;
    float *k = floats(w->a.kv_heads * capacity * d), *v = floats(w->a.kv_heads * capacity * d);
    w->index = room((size_t)(w->a.kv_heads * part->n + 1) * sizeof *w->index);
    for (int64_t g = 0; g < w->a.kv_heads; g++) {
        for (int i = 0; i < part->count[g]; i++) {
            int64_t from = (g * part->capacity + i) * d, at = 2 * i + below(2), to = (g * capacity + at) * d;
            w->index[g * part->n + i] = (int32_t)at;
            memcpy(k + to, w->k + from, (size_t)d * sizeof *k);
            memcpy(v + to, w->v + from, (size_t)d * sizeof *v);
        }
    }
    free(w->k), free(w->v);
    w->k = k, w->v = v;
    part->k = k, part->v = v, part->capacity = capacity, part->index = w->index, part->stride = part->n;
}

/* prompt keys held per head in a compacted cache: compact; tail keys of a decode. Beyond what is held lies NaN. */
static inline world random_world(int kind, int queries, int prompt, int tail, bool compact, int window)
{
    world w = {0};
    int g = PICK(1, 1, 2, 3), group = PICK(1, 2, 3, 4, 8), d = PICK(16, 64, 80, 128, 256, 16, 64, 24);
    if (g * group * d > 600) g = 1; /* the reference takes its time */
    if (group * d > 600) d = 16;
    int capacity = prompt + below(5), tail_capacity = tail + below(5);
    w.a = (sf_attention){.layer = 0,
                         .layers = 1,
                         .heads = g * group,
                         .kv_heads = g,
                         .head_dim = d,
                         .queries = queries,
                         .keys = prompt + tail,
                         .window = window,
                         .scale = 1 / sqrtf((float)d)};
    w.q = random_floats((int64_t)queries * g * group * d, kind);
    w.k = floats((int64_t)g * capacity * d), w.v = floats((int64_t)g * capacity * d);
    w.tail_k = floats((int64_t)g * tail_capacity * d), w.tail_v = floats((int64_t)g * tail_capacity * d);
    if (kind == LARGE) w.a.scale *= 3000, tolerance = 1e-3; /* scores of some 1e4 */
    if (compact) w.count = room((size_t)g * sizeof *w.count);
    for (int h = 0; h < g; h++) {
        int held = compact ? between(prompt / 2, prompt) : prompt;
        if (compact && h == 0) held = prompt; /* n is the fullest head's */
        if (compact) w.count[h] = held;
        for (int part = 0; part < 2; part++) {
            float *k = part ? w.tail_k + (int64_t)h * tail_capacity * d : w.k + (int64_t)h * capacity * d;
            float *v = part ? w.tail_v + (int64_t)h * tail_capacity * d : w.v + (int64_t)h * capacity * d;
            for (int64_t i = 0; i < (int64_t)(part ? tail : held) * d; i++) {
                k[i] = kind == TIED ? (float)between(-1, 1) : normal();
                v[i] = normal();
            }
        }
        if (kind == SINK && prompt) /* the first key draws every query of this group */
            for (int i = 0; i < d; i++) w.k[(int64_t)h * capacity * d + i] = 2;
    }
    if (kind == SINK)
        for (int64_t i = 0; i < (int64_t)queries * g * group * d; i++) w.q[i] += 0.5f;
    w.a.q = w.q;
    w.a.kv.dtype = SF_F32;
    w.a.kv.prompt = (sf_kv_part){.k = w.k, .v = w.v, .capacity = capacity, .n = prompt, .count = w.count};
    w.a.kv.tail = (sf_kv_part){.k = w.tail_k, .v = w.tail_v, .capacity = tail_capacity, .n = tail};
    if (compact && below(2)) make_view(&w);
    tell("; value kind %d, T %d, prompt %d, tail %d, compact %d, view %d, window %d, H %d, G %d, D %d", kind, queries,
         prompt, tail, compact, w.index != NULL, window, g * group, g, d);
    return w;
}

static inline void fill_row(sf_lists l, int64_t row, int limit, double share, int must)
{
    int n = 0;
    for (int i = 0; i < limit && n < l.stride; i++)
        if (i == must || uniform() < share) l.index[row * l.stride + n++] = i;
    l.count[row] = n;
}

/* A random pattern that gives every row a key. Its lists are freed by free_pattern(). */
static inline sf_pattern random_pattern(const sf_attention *a, sf_pattern_kind kind)
{
    sf_pattern p = {.kind = kind, .heads = below(2) ? a->heads : a->kv_heads};
    double share = PICK(0, 5, 30, 100) / 100.0;
    switch (kind) {
    case SF_BLOCKS: {
        p.block_q = PICK(1, 16, 16, 64, 33, 128), p.block_k = PICK(1, 16, 16, 64, 24, 128);
        int queries = (a->queries + p.block_q - 1) / p.block_q, keys = (a->keys + p.block_k - 1) / p.block_k;
        p.first = lists((int64_t)p.heads * queries, keys);
        for (int h = 0; h < p.heads; h++)
            for (int i = 0; i < queries; i++) {
                fill_row(p.first, (int64_t)h * queries + i, keys, share, 0); /* block 0: seen by every row */
                if (a->window == 0) continue;
                int64_t r = (int64_t)h * queries + i; /* with a window no block is: take all */
                for (int j = 0; j < keys; j++) p.first.index[r * keys + j] = j;
                p.first.count[r] = keys;
            }
        break;
    }
    case SF_COLUMNS_DIAGONALS:
        p.first = lists(p.heads, a->keys), p.second = lists(p.heads, a->keys);
        for (int h = 0; h < p.heads; h++) {
            fill_row(p.first, h, a->keys, share, -1);
            fill_row(p.second, h, a->keys, share / 4, 0);
        }
        break;
    case SF_WINDOW:
        p.sinks = PICK(0, 1, 4, 20, 100), p.local = PICK(1, 5, 16, 64, 1000), p.last = PICK(0, 0, 1, 17);
        break;
    case SF_PAGES:
        p.page = PICK(1, 7, 16, 64), p.heads = a->kv_heads;
        p.first = lists(p.heads, (a->keys + p.page - 1) / p.page);
        for (int h = 0; h < p.heads; h++)
            fill_row(p.first, h, (int)p.first.stride, share, a->kv.tail.n ? (int)p.first.stride - 1 : 0);
        break;
    case SF_TOKENS:
        p.heads = a->kv_heads, p.first = lists(p.heads, a->keys);
        for (int h = 0; h < p.heads; h++) fill_row(p.first, h, a->keys, share, 0);
        break;
    default: break;
    }
    tell("; pattern %d, heads %d, blocks %d x %d, page %d, sinks %d, local %d, last %d, share %g", kind, p.heads,
         p.block_q, p.block_k, p.page, p.sinks, p.local, p.last, share);
    return p;
}

static inline void free_pattern(sf_pattern p)
{
    free_lists(p.first);
    free_lists(p.second);
}

static inline void begin_case(const char *op, int i)
{
    seed((unsigned)i);
    start();
    about[0] = 0;
    tell("%s case %d (TEST_BACKEND_SEED=%u)", op, i, seed_offset);
}

#define CASES(op, count) for (int i_ = 0; i_ < (count) * (int)cases_factor && (begin_case(op, i_), 1); i_++)

static inline int open_backends(void **unused)
{
    (void)unused;
    if (getenv("TEST_BACKEND_SEED")) seed_offset = (unsigned)atoi(getenv("TEST_BACKEND_SEED"));
    if (getenv("TEST_BACKEND_CASES")) cases_factor = (unsigned)atoi(getenv("TEST_BACKEND_CASES"));
    if (sf_backend_open("reference", 0, &backend[REFERENCE]) || sf_backend_open("cpu", 2, &backend[CPU]) ||
        sf_backend_open("cpu", 1, &backend[CPU_ONE]))
        return -1;
    EACH(v) backend[v].meter = &meter[v];
    return 0;
}

static inline int close_backends(void **unused)
{
    (void)unused;
    EACH(v) sf_backend_close(&backend[v]);
    return 0;
}

#endif
