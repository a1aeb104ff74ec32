/* Twin test: every op of the cpu backend against the reference, on random shapes and values.
 *
 * Each case has a seed, printed with its parameters when it fails; TEST_BACKEND_SEED=n adds n to all of them, and
 * TEST_BACKEND_CASES=n multiplies their number. Three backends run each op: the reference, cpu with two threads, cpu
 * with one. Outputs start as NaN. cpu must come within 1e-5 of the reference (norm of the difference over norm; 1e-3
 * where scores are of the order 1e4), choose the same indices and count the same on the meter; two threads and one must
 * agree bit for bit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) /* adds to `about` */
{
    size_t used = strlen(about);
    va_list args;
    va_start(args, format);
    vsnprintf(about + used, sizeof about - used, format, args);
    va_end(args);
}

/* ---- random things ----------------------------------------------------------------------------------------------- */

static uint64_t state64;

static void seed(unsigned s) { state64 = (s + seed_offset + 1) * UINT64_C(0x9e3779b97f4a7c15); }

static uint32_t bits(void)
{
    state64 ^= state64 << 13;
    state64 ^= state64 >> 7;
    state64 ^= state64 << 17;
    return (uint32_t)(state64 * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

static int below(int n) { return (int)(bits() % (uint32_t)n); }
static int between(int low, int high) { return low + below(high - low + 1); }
static float uniform(void) { return (float)(bits() >> 8) * 0x1p-24f; }
static float normal(void) /* sum of uniforms: near enough */
{
    float s = -6;
    for (int i = 0; i < 12; i++) s += uniform();
    return s;
}
#define PICK(...) ((const int[]){__VA_ARGS__})[below((int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))]

static void *room(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    memset(p, 0xff, bytes); /* NaN as floats */
    return p;
}
static float *floats(int64_t n) { return room((size_t)n * sizeof(float)); }

enum { PLAIN, TIED, LARGE, SINK, VALUES }; /* kinds of values */

static float *random_floats(int64_t n, int kind)
{
    float *x = floats(n);
    for (int64_t i = 0; i < n; i++) x[i] = kind == TIED ? (float)between(-2, 2) * 0.5f : normal();
    return x;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

/* Scores of 1e4 are rounded to 1e-3 in fp32, and so are their exponentials, relatively. */
static double tolerance;

static void start(void)
{
    memset(meter, 0, sizeof meter);
    EACH(v) backend[v].phase = SF_PREFILL;
    tolerance = 1e-5;
}

static void same_meters(void)
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

/* Within the tolerance of the norm of `want`, or of `terms` where its elements are sums that may cancel: the sums of
 * their terms' magnitudes. */
static void close_to(const char *what, const float *got, const float *want, const float *terms, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(got[i]) != isnan(want[i]) || isinf(got[i]) != isinf(want[i]) || (isinf(got[i]) && got[i] != want[i]))
            fail_msg("%s: %s[%lld] is %g, expected %g", about, what, (long long)i, (double)got[i], (double)want[i]);
        if (!isfinite(want[i])) continue;
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        double size = terms ? terms[i] : want[i];
        norm += size * size;
    }
    if (sqrt(difference) > tolerance * sqrt(norm) + 1e-30)
        fail_msg("%s: %s is off by %.3g of its norm", about, what, sqrt(difference / norm));
}

static void same_bits(const char *what, const void *got, const void *want, size_t bytes)
{
    const unsigned char *a = got, *b = want;
    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i]) fail_msg("%s: %s: byte %zu of %zu differs", about, what, i, bytes);
}

static void compare_sums(const char *what, float *out[BACKENDS], const float *terms, int64_t n)
{
    close_to(what, out[CPU], out[REFERENCE], terms, n);
    same_bits(what, out[CPU_ONE], out[CPU], (size_t)n * sizeof(float));
    same_meters();
    EACH(v) free(out[v]);
}

static void compare(const char *what, float *out[BACKENDS], int64_t n) { compare_sums(what, out, NULL, n); }

static sf_lists lists(int64_t rows, int64_t stride)
{
    return (sf_lists){
        .rows = rows, .stride = stride, .count = room((size_t)rows * 4), .index = room((size_t)(rows * stride) * 4)};
}

static void free_lists(sf_lists l)
{
    free(l.count);
    free(l.index);
}

static void same_lists(sf_lists got, sf_lists want)
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

static void compare_lists(sf_lists out[BACKENDS])
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

static void free_world(world *w)
{
    free(w->q), free(w->k), free(w->v), free(w->tail_k), free(w->tail_v), free(w->count),
        free(w->index);
}

/* The prompt's keys lie scattered in a longer part, with NaN between them, and are listed. */
static void make_view(world *w)
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
static world random_world(int kind, int queries, int prompt, int tail, bool compact, int window)
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

static void fill_row(sf_lists l, int64_t row, int limit, double share, int must)
{
    int n = 0;
    for (int i = 0; i < limit && n < l.stride; i++)
        if (i == must || uniform() < share) l.index[row * l.stride + n++] = i;
    l.count[row] = n;
}

/* A random pattern that gives every row a key. Its lists are freed by free_pattern(). */
static sf_pattern random_pattern(const sf_attention *a, sf_pattern_kind kind)
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

static void free_pattern(sf_pattern p)
{
    free_lists(p.first);
    free_lists(p.second);
}

static const sf_pattern_kind prefill_kinds[] = {SF_DENSE, SF_BLOCKS, SF_COLUMNS_DIAGONALS, SF_WINDOW};
static const sf_pattern_kind decode_kinds[] = {SF_DENSE, SF_PAGES, SF_WINDOW};

static void begin_case(const char *op, int i)
{
    seed((unsigned)i);
    start();
    about[0] = 0;
    tell("%s case %d (TEST_BACKEND_SEED=%u)", op, i, seed_offset);
}

#define CASES(op, count) for (int i_ = 0; i_ < (count) * (int)cases_factor && (begin_case(op, i_), 1); i_++)

/* ---- layers ------------------------------------------------------------------------------------------------------ */

/* Random bytes of a dtype whose scales are sane: small halves where the format has halves. */
static void *random_weights(sf_dtype t, int64_t n)
{
    size_t bytes = sf_bytes(t, n);
    uint8_t *raw = room(bytes);
    if (t == SF_F32) {
        for (int64_t i = 0; i < n; i++) ((float *)raw)[i] = normal();
    } else if (t == SF_F16 || t == SF_BF16) {
        for (int64_t i = 0; i < n; i++) /* magnitudes near one: exponents of the format's middle */
            ((uint16_t *)raw)[i] =
                (uint16_t)((bits() & 0x8000) | (t == SF_F16 ? 0x3400 + bits() % 0x0a00 : 0x3f00 + bits() % 0x100));
    } else {
        for (size_t i = 0; i < bytes; i++) raw[i] = (uint8_t)bits();
        int size = sf_dtypes[t].bytes;
        for (size_t i = 0; i < bytes; i += (size_t)size) {
            uint16_t half = (uint16_t)(0x2000 + bits() % 0x0800);
            memcpy(raw + i + (t == SF_Q6_K ? 208 : 0), &half, 2);
            if (t == SF_Q4_1 || t == SF_Q5_1 || t == SF_Q4_K) memcpy(raw + i + 2, &half, 2);
        }
    }
    return raw;
}

static const sf_dtype weight_types[] = {SF_F32,  SF_F16,  SF_BF16, SF_Q8_0, SF_Q4_0,
                                        SF_Q4_1, SF_Q5_0, SF_Q5_1, SF_Q4_K, SF_Q6_K};
enum { WEIGHT_TYPES = sizeof weight_types / sizeof *weight_types };

static void linear(void **unused)
{
    (void)unused;
    CASES("linear", 120)
    {
        sf_dtype t = weight_types[i_ % WEIGHT_TYPES];
        int block = sf_dtypes[t].block;
        int64_t in = block == 1 ? PICK(1, 7, 16, 33, 576, 1025, 1536) : (int64_t)block * PICK(1, 2, 3, 5);
        int64_t out = PICK(1, 2, 3, 5, 17, 64, 70, 130), rows = PICK(1, 2, 3, 4, 5, 6, 7, 13, 28, 65, 400);
        if (rows * out * in > 20000000) rows = 13;
        if (i_ == 0) in = 3000, out = 3, rows = 800; /* more rows than cpu lays side by side at once */
        bool add = below(2), biased = below(2);
        tell(": %s, rows %d, in %d, out %d, add %d, bias %d", sf_dtypes[t].name, (int)rows, (int)in, (int)out, add,
             biased);
        sf_tensor w = {random_weights(t, in * out), t, 2, {out, in}},
                  bias = {.dtype = SF_BF16, .rank = 1, .dim = {out}};
        if (biased) bias.data = random_weights(SF_BF16, out);
        float *x = random_floats(rows * in, PLAIN), *before = random_floats(rows * out, PLAIN), *y[BACKENDS];
        EACH(v)
        {
            y[v] = floats(rows * out);
            if (add) memcpy(y[v], before, (size_t)(rows * out) * sizeof(float));
            sf_tensor imported;
            OK(backend[v].ops->import_weight(&backend[v], &w, &imported));
            OK(backend[v].ops->linear(&backend[v], x, rows, &imported, &bias, add, y[v], SF_F32));
            backend[v].ops->release_weight(&backend[v], &imported);
        }
        /* a row alone gives the bits it gives in company */
        float *alone = floats(out);
        sf_meter counted = meter[CPU];
        for (int64_t r = 0; r < rows; r += 1 + rows / 8) {
            memcpy(alone, add ? before + r * out : alone, (size_t)out * sizeof(float));
            OK(backend[CPU].ops->linear(&backend[CPU], x + r * in, 1, &w, &bias, add, alone, SF_F32));
            same_bits("a row alone", alone, y[CPU] + r * out, (size_t)out * sizeof(float));
        }
        meter[CPU] = counted;
        compare("y", y, rows * out);
        free(alone), free(x), free(before), free(w.data), free(bias.data);
    }
}

static void embed(void **unused)
{
    (void)unused;
    CASES("embed", 3 * WEIGHT_TYPES)
    {
        sf_dtype t = weight_types[i_ % WEIGHT_TYPES];
        int64_t vocab = 37, d = sf_dtypes[t].block * PICK(1, 2), rows = PICK(1, 5, 40);
        tell(": %s, rows %d, d %d", sf_dtypes[t].name, (int)rows, (int)d);
        sf_tensor table = {random_weights(t, vocab * d), t, 2, {vocab, d}};
        int32_t token[40];
        for (int i = 0; i < rows; i++) token[i] = below((int)vocab);
        float *out[BACKENDS];
        EACH(v) OK(backend[v].ops->embed(&backend[v], &table, token, rows, 1.5f, out[v] = floats(rows * d)));
        compare("out", out, rows * d);
        free(table.data);
    }
}

static void rms_norm(void **unused)
{
    (void)unused;
    CASES("rms_norm", 40)
    {
        sf_dtype from = (sf_dtype)PICK(SF_F32, SF_F32, SF_BF16, SF_F16), t = (sf_dtype)PICK(SF_F32, SF_BF16, SF_F16);
        int width = PICK(1, 16, 64, 80, 576, 1000);
        int64_t rows = PICK(1, 3, 70);
        bool in_place = from == SF_F32 && below(2);
        tell(": from %s, weight %s, rows %d, width %d, in place %d", sf_dtypes[from].name, sf_dtypes[t].name, (int)rows,
             width, in_place);
        sf_tensor w = {random_weights(t, width), t, 1, {width}};
        void *x = random_weights(from, rows * width);
        float *out[BACKENDS];
        float offset = (float)below(2);
        EACH(v)
        {
            out[v] = floats(rows * width);
            if (in_place) memcpy(out[v], x, (size_t)(rows * width) * sizeof(float));
            OK(backend[v].ops->rms_norm(&backend[v], in_place ? out[v] : x, from, rows, width, &w, offset, 1e-5f,
                                        out[v]));
        }
        compare("out", out, rows * width);
        free(x), free(w.data);
    }
}

static void rope(void **unused)
{
    (void)unused;
    CASES("rope", 40)
    {
        int heads = PICK(1, 3, 9), dim = PICK(16, 64, 80, 128), positions = 50;
        int64_t rows = PICK(1, 7, 60);
        bool interleaved = below(2);
        tell(": rows %d, heads %d, D %d, interleaved %d", (int)rows, heads, dim, interleaved);
        float *x = random_floats(rows * heads * dim, PLAIN), *out[BACKENDS];
        float *cosine = floats(positions * dim / 2), *sine = floats(positions * dim / 2);
        for (int i = 0; i < positions * dim / 2; i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
        int32_t position[60];
        for (int i = 0; i < rows; i++) position[i] = below(positions);
        EACH(v)
        {
            out[v] = floats(rows * heads * dim);
            memcpy(out[v], x, (size_t)(rows * heads * dim) * sizeof(float));
            OK(backend[v].ops->rope(&backend[v], out[v], rows, heads, dim, position, cosine, sine, interleaved));
        }
        compare("x", out, rows * heads * dim);
        free(x), free(cosine), free(sine);
    }
}

static void gated_and_add(void **unused)
{
    (void)unused;
    CASES("gated", 40)
    {
        int width = PICK(1, 15, 16, 100, 1536);
        int64_t rows = PICK(1, 3, 30), n = rows * width;
        sf_activation kind = below(2) ? SF_SILU : SF_GELU_TANH;
        float *gate = random_floats(n, PLAIN), *up = random_floats(n, PLAIN), *out[BACKENDS], *sum[BACKENDS];
        for (int64_t i = 0; i < n; i++) gate[i] *= (float)PICK(1, 1, 5, 50, 1000);
        tell(": rows %d, width %d, kind %d", (int)rows, width, kind);
        EACH(v)
        {
            out[v] = floats(n), sum[v] = floats(n);
            memcpy(out[v], gate, (size_t)n * sizeof(float));
            memcpy(sum[v], gate, (size_t)n * sizeof(float));
            OK(backend[v].ops->gated(&backend[v], out[v], up, rows, width, kind));
            OK(backend[v].ops->add(&backend[v], sum[v], up, n));
        }
        for (int64_t i = 0; i < n; i++) { /* small ones too: each to the precision of a float */
            double error = fabs((double)out[CPU][i] - out[REFERENCE][i]);
            if (error > 1e-6 * fmax(1, fabs((double)gate[i])) * fabs((double)out[REFERENCE][i]) + 1e-12)
                fail_msg("%s: of %g: %g, expected %g", about, (double)gate[i], (double)out[CPU][i],
                         (double)out[REFERENCE][i]);
        }
        compare("gate", out, n);
        compare("x", sum, n);
        free(gate), free(up);
    }
}

static void store_kv(void **unused)
{
    (void)unused;
    CASES("store_kv", 20)
    {
        int lanes = PICK(1, 1, 4), heads = PICK(1, 3), dim = PICK(16, 80), rows = PICK(1, 5, 90), held = below(4);
        int64_t capacity = held + rows + below(3), size = heads * capacity * dim, width = (int64_t)heads * dim;
        float *k = random_floats(lanes * rows * width, PLAIN), *v = random_floats(lanes * rows * width, PLAIN),
              *out[BACKENDS];
        tell(": lanes %d, rows %d, G %d, D %d, held %d", lanes, rows, heads, dim, held);
        float *pieces = floats(2 * size);
        EACH(b)
        {
            out[b] = floats(lanes * 2 * size);
            sf_kv_part part[4], *at[4];
            for (int l = 0; l < lanes; l++) {
                part[l] = (sf_kv_part){
                    .k = out[b] + l * 2 * size, .v = out[b] + (l * 2 + 1) * size, .capacity = capacity, .n = held};
                at[l] = &part[l];
            }
            OK(backend[b].ops->store_kv(&backend[b], lanes, at, rows, heads, dim, k, v));
            assert_int_equal(part[0].n, held);
            if (b != CPU) continue;
            sf_meter counted = meter[b]; /* piece by piece gives the same cache */
            sf_kv_part piece = {.k = pieces, .v = pieces + size, .capacity = capacity, .n = held}, *only = &piece;
            for (int r = 0; r < rows; r += 2) {
                int here = rows - r < 2 ? 1 : 2;
                OK(backend[b].ops->store_kv(&backend[b], 1, &only, here, heads, dim, k + r * width, v + r * width));
                piece.n += here;
            }
            same_bits("piece by piece", pieces, out[b], (size_t)(2 * size) * sizeof(float));
            meter[b] = counted;
        }
        EACH(b) same_bits("cache", out[b], out[REFERENCE], (size_t)(lanes * 2 * size) * sizeof(float));
        same_meters();
        EACH(b) free(out[b]);
        free(k), free(v), free(pieces);
    }
}

static void gather_kv(void **unused)
{
    (void)unused;
    CASES("gather_kv", 20)
    {
        world w = random_world(PLAIN, 1, PICK(1, 30, 100), 0, false, 0);
        const sf_attention *a = &w.a;
        sf_lists keep = lists(a->kv_heads, a->keys);
        for (int g = 0; g < a->kv_heads; g++) fill_row(keep, g, a->keys, uniform(), a->keys - 1);
        int64_t size = (int64_t)a->kv_heads * a->keys * a->head_dim;
        float *out[BACKENDS];
        sf_kv_part to[BACKENDS];
        EACH(v)
        {
            out[v] = floats(2 * size);
            to[v] = (sf_kv_part){.k = out[v], .v = out[v] + size, .capacity = a->keys, .n = -1};
            to[v].count = room((size_t)a->kv_heads * 4);
            OK(backend[v].ops->gather_kv(&backend[v], &a->kv.prompt, &keep, a->head_dim, &to[v]));
            assert_int_equal(to[v].n, to[REFERENCE].n);
            same_bits("count", to[v].count, keep.count, (size_t)a->kv_heads * 4);

            sf_meter counted = meter[v]; /* a view of them names the same keys and counts the same */
            sf_kv_part view = {.count = room((size_t)a->kv_heads * 4), .stride = a->keys + 1};
            view.index = room((size_t)(a->kv_heads * view.stride) * 4);
            memset(&meter[v], 0, sizeof meter[v]);
            OK(backend[v].ops->gather_kv(&backend[v], &a->kv.prompt, &keep, a->head_dim, &view));
            assert_int_equal(view.n, to[v].n);
            same_bits("count", view.count, keep.count, (size_t)a->kv_heads * 4);
            for (int64_t g = 0; g < a->kv_heads; g++)
                for (int i = 0; i < keep.count[g]; i++)
                    same_bits("viewed", (float *)view.k + sf_kv_row(&view, g, i) * a->head_dim,
                              out[v] + (g * a->keys + i) * a->head_dim, (size_t)a->head_dim * 4);
            free((void *)view.count), free((void *)view.index);
            meter[v] = counted;
            same_bits("cache", out[v], out[REFERENCE], (size_t)(2 * size) * sizeof(float));
        }
        same_meters();
        EACH(v) free(out[v]), free((void *)to[v].count);
        free_lists(keep);
        free_world(&w);
    }
}

static void argmax(void **unused)
{
    (void)unused;
    CASES("argmax", 60)
    {
        int64_t rows = PICK(1, 3, 20), vocab = PICK(1, 2, 17, 1000);
        float *x = random_floats(rows * vocab, below(2) ? TIED : PLAIN);
        for (int n = below(20); n > 0; n--)
            x[below((int)(rows * vocab))] = below(2) ? NAN : below(2) ? INFINITY : -INFINITY;
        if (below(8) == 0)
            for (int64_t i = 0; i < rows * vocab; i++) x[i] = NAN;
        int32_t token[BACKENDS][20];
        EACH(v) OK(backend[v].ops->argmax(&backend[v], x, rows, vocab, token[v]));
        EACH(v) for (int r = 0; r < rows; r++) assert_int_equal(token[v][r], token[REFERENCE][r]);
        same_meters();
        free(x);
    }
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static void run_prefill(const sf_attention *a, const sf_pattern *p)
{
    int64_t n = (int64_t)a->queries * a->heads * a->head_dim;
    float *out[BACKENDS];
    uint64_t pairs[BACKENDS][64], total[BACKENDS];
    EACH(v)
    {
        memset(pairs[v], 0, sizeof pairs[v]);
        sf_attention mine = *a;
        mine.backend = &backend[v], mine.pairs = pairs[v];
        OK(backend[v].ops->check_pattern(&backend[v], &mine, p, "the test"));
        OK(backend[v].ops->prefill(&backend[v], &mine, p, out[v] = floats(n)));
        OK(backend[v].ops->count_pairs(&backend[v], &mine, p, &total[v]));
        for (int h = 0; h < a->heads; h++) total[v] -= pairs[v][h];
        assert_int_equal(total[v], 0);
        same_bits("pairs", pairs[v], pairs[REFERENCE], sizeof pairs[v]);
    }
    compare("out", out, n);
}

static void prefill(void **unused)
{
    (void)unused;
    CASES("prefill", 128)
    {
        int queries = PICK(1, 2, 7, 8, 30, 64, 65, 100, 140), keys = queries + (below(3) ? 0 : PICK(1, 20, 100));
        world w = random_world(i_ % VALUES, queries, keys, 0, false, below(4) ? 0 : PICK(1, 5, 40, 1000));
        sf_pattern p = random_pattern(&w.a, prefill_kinds[i_ / VALUES % 4]);
        if (p.kind == SF_WINDOW && w.a.window && w.a.window < p.local) p.local = w.a.window;
        run_prefill(&w.a, &p);
        free_pattern(p);
        free_world(&w);
    }
}

/* A prompt in two pieces gives the bits it gives in one, for the patterns that a cut does not change. */
static void prefill_cut(void **unused)
{
    (void)unused;
    CASES("prefill cut", 60)
    {
        int queries = between(2, 300), cut = between(1, queries - 1);
        world w = random_world(i_ % VALUES, queries, queries, 0, false, below(2) ? 0 : PICK(1, 20, 130));
        sf_pattern p = random_pattern(&w.a, below(2) ? SF_DENSE : SF_WINDOW);
        p.last = 0;
        tell("; cut at %d", cut);
        int64_t width = (int64_t)w.a.heads * w.a.head_dim;
        float *whole = floats(queries * width), *pieces = floats(queries * width);
        OK(backend[CPU].ops->prefill(&backend[CPU], &w.a, &p, whole));
        sf_attention first = w.a, second = w.a;
        first.queries = first.keys = first.kv.prompt.n = cut;
        second.queries = queries - cut;
        second.q = w.q + cut * width;
        OK(backend[CPU].ops->prefill(&backend[CPU], &first, &p, pieces));
        OK(backend[CPU_ONE].ops->prefill(&backend[CPU_ONE], &second, &p, pieces + cut * width));
        same_bits("out", pieces, whole, (size_t)(queries * width) * sizeof(float));
        free(whole), free(pieces);
        free_pattern(p);
        free_world(&w);
    }
}

static void decode(void **unused)
{
    (void)unused;
    CASES("decode", 90)
    {
        enum { LANES = 5 };
        int lanes = PICK(1, 2, LANES);
        world w[LANES];
        sf_pattern p[LANES];
        const sf_pattern *patterns[LANES];
        sf_attention mine[BACKENDS][LANES];
        uint64_t pairs[BACKENDS][LANES][64] = {0};
        unsigned shape = bits();
        for (int l = 0; l < lanes; l++) {
            int prompt = PICK(0, 1, 17, 60, 300, 700), tail = PICK(0, 1, 20);
            bool compact = below(3) == 0 && prompt > 1;
            if (prompt + tail == 0) tail = 1;
            uint64_t here = state64;
            state64 = shape * UINT64_C(0x9e3779b97f4a7c15) + 1; /* heads and dims alike in all lanes */
            tell("; lane %d", l);
            w[l] = random_world(i_ % VALUES, 1, prompt, tail, compact, 0);
            state64 = here + 1;
            for (int64_t i = 0; i < (int64_t)w[l].a.heads * w[l].a.head_dim; i++) w[l].q[i] += 0.1f * normal();
            p[l] = random_pattern(&w[l].a, compact ? SF_DENSE : decode_kinds[below(3)]);
            patterns[l] = &p[l];
        }
        int64_t width = (int64_t)w[0].a.heads * w[0].a.head_dim;
        float *out[BACKENDS], *alone = floats(width);
        EACH(v)
        {
            backend[v].phase = SF_DECODE;
            const sf_attention *at[LANES];
            for (int l = 0; l < lanes; l++) {
                mine[v][l] = w[l].a;
                mine[v][l].backend = &backend[v], mine[v][l].pairs = pairs[v][l];
                at[l] = &mine[v][l];
                OK(backend[v].ops->check_pattern(&backend[v], at[l], patterns[l], "the test"));
            }
            OK(backend[v].ops->decode(&backend[v], lanes, at, patterns, out[v] = floats(lanes * width)));
        }
        same_bits("pairs", pairs[CPU], pairs[REFERENCE], sizeof pairs[CPU]);
        same_bits("pairs", pairs[CPU_ONE], pairs[REFERENCE], sizeof pairs[CPU]);
        for (int l = 0; l < lanes; l++) {
            const sf_attention *at = &mine[CPU_ONE][l];
            OK(backend[CPU_ONE].ops->decode(&backend[CPU_ONE], 1, &at, &patterns[l], alone));
            same_bits("a lane alone", alone, out[CPU] + l * width, (size_t)width * sizeof(float));
        }
        compare("out", out, lanes * width);
        for (int l = 0; l < lanes; l++) free_pattern(p[l]), free_world(&w[l]);
        free(alone);
    }
}

static void mass_and_probabilities(void **unused)
{
    (void)unused;
    CASES("mass", 80)
    {
        bool one = below(2);
        int queries = one ? 1 : PICK(2, 9, 70, 130), tail = one ? PICK(0, 3) : 0, prompt = queries + PICK(0, 1, 40);
        world w =
            random_world(i_ % VALUES, queries, prompt, tail, one && below(3) == 0, one || below(3) ? 0 : PICK(3, 50));
        sf_pattern p = random_pattern(&w.a, (sf_pattern_kind)below(SF_PATTERN_KINDS));
        int32_t row[5];
        for (int r = 0; r < 5; r++) row[r] = below(queries);
        float *covered[BACKENDS], *probability[BACKENDS];
        EACH(v)
        {
            OK(backend[v].ops->mass(&backend[v], &w.a, &p, 5, row, covered[v] = floats(w.a.heads)));
            probability[v] = floats((int64_t)w.a.heads * w.a.keys);
            if (one) OK(backend[v].ops->key_probabilities(&backend[v], &w.a, probability[v]));
        }
        compare("covered", covered, w.a.heads);
        compare("p", probability, (int64_t)w.a.heads * w.a.keys);
        free_pattern(p);
        free_world(&w);
    }
}

/* Whether head h at row i computes key j, as pattern.h says it, without looking at how anybody executes it. */
static bool computes(const sf_attention *a, const sf_pattern *p, int h, int i, int j)
{
    int g = h * a->kv_heads / a->heads, position = a->keys - a->queries + i, row = p->heads == a->heads ? h : g;
    if (j > position || (a->window && position - j >= a->window)) return false;
    if (p->kind == SF_DENSE) return true;
    if (p->kind == SF_WINDOW) return i >= a->queries - p->last || j < p->sinks || position - j < p->local;
    if (p->kind == SF_BLOCKS) row = row * ((a->queries + p->block_q - 1) / p->block_q) + i / p->block_q;
    const int32_t *e = p->first.index + row * p->first.stride;
    for (int n = 0; n < p->first.count[row]; n++) {
        if (p->kind == SF_BLOCKS && j / p->block_k == e[n]) return true;
        if (p->kind == SF_PAGES && j / p->page == e[n]) return true;
        if ((p->kind == SF_TOKENS || p->kind == SF_COLUMNS_DIAGONALS) && j == e[n]) return true;
    }
    if (p->kind != SF_COLUMNS_DIAGONALS) return false;
    int tile = position - i % SF_DIAGONAL_TILE;
    e = p->second.index + row * p->second.stride;
    for (int n = 0; n < p->second.count[row]; n++)
        if (j >= tile - e[n] && j < tile - e[n] + SF_DIAGONAL_TILE) return true;
    return false;
}

static void count_pairs(void **unused)
{
    (void)unused;
    CASES("count_pairs", 90)
    {
        int queries = PICK(1, 3, 64, 90, 140), keys = queries + (below(2) ? 0 : PICK(1, 50));
        world w = random_world(PLAIN, queries, keys, 0, false, below(3) ? 0 : PICK(2, 40));
        sf_pattern p = random_pattern(&w.a, (sf_pattern_kind)(i_ % SF_PATTERN_KINDS));
        uint64_t want = 0, got;
        for (int h = 0; h < w.a.heads; h++)
            for (int i = 0; i < queries; i++)
                for (int j = 0; j < keys; j++) want += computes(&w.a, &p, h, i, j);
        EACH(v)
        {
            OK(backend[v].ops->count_pairs(&backend[v], &w.a, &p, &got));
            if (got != want)
                fail_msg("%s: %s counts %llu pairs, the predicate %llu", about, backend[v].ops->name,
                         (unsigned long long)got, (unsigned long long)want);
            if (p.kind == SF_DENSE && w.a.window == 0 && queries == keys)
                assert_int_equal(got, (uint64_t)w.a.heads * (uint64_t)queries * (uint64_t)(queries + 1) / 2);
        }
        same_meters();
        free_pattern(p);
        free_world(&w);
    }
}

/* Columns and diagonals within a density: by fit_slashes(), and by the search that does without. */
static void fit_slashes(void **unused)
{
    (void)unused;
    CASES("fit_slashes", 60)
    {
        int queries = PICK(1, 3, 64, 90, 140), keys = queries + (below(2) ? 0 : PICK(1, 50)), kind = below(3);
        world w = random_world(PLAIN, queries, keys, 0, below(8) == 0, below(8) ? 0 : 30);
        int rows = below(2) ? w.a.heads : w.a.kv_heads;
        double density = below(1001) / 1000.;
        float *x[2];
        for (int i = 0; i < 2; i++) {
            x[i] = random_floats((int64_t)rows * keys, kind ? PLAIN : TIED);
            for (int j = 0; kind == 2 && j < rows * keys / 4; j++)
                x[i][below(rows * keys)] = below(3) ? INFINITY : below(2) ? -INFINITY : NAN;
        }
        sf_pattern got[BACKENDS];
        sf_mark mark[BACKENDS];
        tell("; rows %d, density %g, score kind %d", rows, density, kind);
        EACH(v)
        {
            sf_attention a = w.a;
            a.backend = &backend[v];
            mark[v] = sf_scratch_mark(&backend[v]);
            sf_tensor column = {.dtype = SF_F32, .rank = 2, .dim = {rows, keys}, .data = x[0]}, diagonal = column;
            diagonal.data = x[1];
            OK(sf_columns_and_diagonals_within(&a, &got[v], column, diagonal, density));
            if (got[v].first.stride != got[REFERENCE].first.stride || got[v].second.stride != got[REFERENCE].second.stride)
                fail_msg("%s: %lld columns and %lld diagonals, expected %lld and %lld", about,
                         (long long)got[v].first.stride, (long long)got[v].second.stride,
                         (long long)got[REFERENCE].first.stride, (long long)got[REFERENCE].second.stride);
            same_bits("counts", got[v].first.count, got[REFERENCE].first.count, (size_t)rows * 4);
        }
        same_meters();
        EACH(v) sf_scratch_release(&backend[v], mark[v]);
        free(x[0]), free(x[1]);
        free_world(&w);
    }
}

static const float *given[2]; /* what a probe finds */

static sf_status probe_given(sf_backend *b, const sf_attention *a, int window, sf_reduce reduce, float *column,
                             float *diagonal)
{
    (void)b, (void)window, (void)reduce;
    memcpy(column, given[0], (size_t)a->heads * (size_t)a->keys * sizeof *column);
    memcpy(diagonal, given[1], (size_t)a->heads * (size_t)a->keys * sizeof *diagonal);
    return SF_OK;
}

/* Scores as probes give them, with ties, hardly any and all below 0, or anything. */
static float any_score(int kind)
{
    if (kind == 0) return expf(3 * normal());
    if (kind == 1) return (float)PICK(0, 1, 1, 2, 5) * 0.1f;
    if (kind == 2) return below(40) ? NAN : -expf(normal());
    return below(6) ? normal() : below(3) ? -0.0f : below(2) ? INFINITY : below(2) ? -INFINITY : NAN;
}

/* FlexPrefill within a density: by fit_masses(), and by the search that does without; the reference takes its time. */
static void fit_masses(void **unused)
{
    (void)unused;
    extern const sf_method sf_flex_prefill;
    CASES("fit_masses", 150)
    {
        int queries = PICK(1, 3, 64, 90, 333), keys = queries + (below(2) ? 0 : PICK(1, 50, 300)), kind = i_ % 4;
        world w = random_world(PLAIN, queries, keys, 0, below(8) == 0, below(8) ? 0 : 30);
        int64_t n = (int64_t)w.a.heads * keys;
        double causal = w.a.heads * sf_causal_pairs(queries, keys), density = uniform() * (below(2) ? 1 : uniform());
        if (below(2)) density = floor(density * causal) / causal; /* may be met exactly */
        if (density <= 0 || below(20) == 0) density = below(2) ? 1 : 1e-6;
        int least = PICK(1, 2, 5, 512), sinks = PICK(0, 1, 4), local = PICK(1, 10, 64);
        double params[16];
        for (const sf_param *p = sf_flex_prefill.params; p->name; p++) {
            void *at = (char *)params + p->offset;
            if (p->type == SF_REAL) *(double *)at = strcmp(p->name, "density") ? p->initial : density;
            if (p->type == SF_INT)
                *(int *)at = !strcmp(p->name, "min_budget") ? least : !strcmp(p->name, "sinks") ? sinks : local;
        }
        float *x[2] = {floats(n), floats(n)};
        for (int64_t i = 0; i < n; i++) x[0][i] = any_score(kind), x[1][i] = any_score(kind);
        given[0] = x[0], given[1] = x[1];
        tell("; density %g, least %d, forced %d %d, score kind %d", density, least, sinks, local, kind);
        const struct {
            int v;
            bool search;
        } way[] = {{CPU, true}, {CPU, false}, {CPU_ONE, false}, {REFERENCE, true}};
        sf_pattern want = {0};
        sf_mark mark[BACKENDS];
        EACH(v) mark[v] = sf_scratch_mark(&backend[v]);
        for (int i = 0; i < 4 - (keys > 100); i++) {
            sf_backend b = backend[way[i].v];
            sf_backend_ops ops = *b.ops;
            b.ops = &ops, b.meter = &meter[way[i].search ? 0 : 1];
            memset(b.meter, 0, sizeof *b.meter);
            ops.probe = probe_given;
            if (way[i].search) ops.fit_masses = NULL;
            sf_attention a = w.a;
            a.backend = &b;
            sf_pattern got = {0};
            OK(sf_flex_prefill.prefill(&a, params, &got));
            if (i == 0) want = got;
            assert_int_equal(got.kind, want.kind);
            if (got.kind == SF_COLUMNS_DIAGONALS)
                same_lists(got.first, want.first), same_lists(got.second, want.second);
            if (i > 0) same_bits("meter", &meter[1], &meter[0], sizeof *meter);
        }
        EACH(v) sf_scratch_release(&backend[v], mark[v]);
        free(x[0]), free(x[1]);
        free_world(&w);
    }
}

/* Rows without keys are refused, and the message says which. */
static void refuses_rows_without_keys(void **unused)
{
    (void)unused;
    begin_case("rows without keys", 1);
    world w = random_world(PLAIN, 100, 100, 0, false, 0);
    sf_pattern p = {
        .kind = SF_BLOCKS, .heads = w.a.kv_heads, .block_q = 16, .block_k = 16, .first = lists(w.a.kv_heads * 7, 7)};
    for (int r = 0; r < w.a.kv_heads * 7; r++) fill_row(p.first, r, 7, 0, r % 7);
    p.first.index[4 * 7] = 5; /* the blocks of rows 64 … 79 lie in their future */
    float *out = floats(100LL * w.a.heads * w.a.head_dim);
    EACH(v)
    {
        assert_int_equal(backend[v].ops->prefill(&backend[v], &w.a, &p, out), SF_BAD_INPUT);
        assert_non_null(strstr(sf_error(), "head 0, query row 64 "));
    }
    free_pattern(p);
    p = (sf_pattern){.kind = SF_PAGES, .heads = w.a.kv_heads, .page = 16, .first = lists(w.a.kv_heads, 7)};
    for (int g = 0; g < w.a.kv_heads; g++) p.first.count[g] = 0;
    w.a.queries = 1;
    const sf_attention *a = &w.a;
    const sf_pattern *pattern = &p;
    EACH(v) assert_int_equal(backend[v].ops->decode(&backend[v], 1, &a, &pattern, out), SF_BAD_INPUT);
    free(out);
    free_pattern(p);
    free_world(&w);
}

static void check_pattern(void **unused)
{
    (void)unused;
    begin_case("check_pattern", 0);
    world w = random_world(PLAIN, 40, 40, 0, false, 0);
    sf_attention *a = &w.a;
    int32_t fine[] = {0, 2}, far[] = {0, 40}, negative[] = {-1, 2}, down[] = {2, 0}, twice[] = {2, 2};
    const struct {
        sf_pattern_kind kind;
        sf_phase phase;
        int32_t *index;
        int count, heads, page;
        const char *says;
    } fault[] = {
        {SF_TOKENS, SF_PREFILL, fine, 2, 0, 0, NULL},
        {SF_TOKENS, SF_PREFILL, far, 2, 0, 0, "is 40, expected 0 to 39"},
        {SF_TOKENS, SF_PREFILL, negative, 2, 0, 0, "is -1"},
        {SF_TOKENS, SF_PREFILL, down, 2, 0, 0, "is 0 after 2"},
        {SF_TOKENS, SF_PREFILL, twice, 2, 0, 0, "is 2 after 2"},
        {SF_TOKENS, SF_PREFILL, fine, 0, 0, 0, "is empty"},
        {SF_TOKENS, SF_PREFILL, fine, 3, 0, 0, "counts 3 entries"},
        {SF_TOKENS, SF_PREFILL, fine, -1, 0, 0, "counts -1 entries"},
        {SF_TOKENS, SF_PREFILL, fine, 2, 99, 0, "selects for 99 heads"},
        {SF_PAGES, SF_DECODE, fine, 2, 0, 16, NULL},
        {SF_PAGES, SF_DECODE, far, 2, 0, 16, "is 40, expected 0 to 2"},
        {SF_PAGES, SF_DECODE, fine, 0, 0, 16, "is empty"},
        {SF_PAGES, SF_DECODE, fine, 2, 0, 0, "at least 1"},
        {SF_PAGES, SF_PREFILL, fine, 2, 0, 16, "PAGES pattern does not serve in prefill"},
        {SF_BLOCKS, SF_DECODE, fine, 2, 0, 16, "BLOCKS pattern does not serve in decode"},
        {SF_COLUMNS_DIAGONALS, SF_DECODE, fine, 2, 0, 16, "does not serve in decode"},
        {SF_COLUMNS_DIAGONALS, SF_PREFILL, fine, 2, 0, 16, NULL},
        {SF_COLUMNS_DIAGONALS, SF_PREFILL, far, 2, 0, 16, "of columns"},
        {SF_BLOCKS, SF_PREFILL, fine, 2, 0, 16, "rows of key blocks"},
        {SF_BLOCKS, SF_PREFILL, fine, 2, 0, 40, NULL},
        {SF_BLOCKS, SF_PREFILL, fine, 2, 0, -1, "at least 1"},
        {SF_PATTERN_KINDS, SF_PREFILL, fine, 2, 0, 16, "nameless"},
        {SF_WINDOW, SF_DECODE, fine, 2, 0, 0, "not both 0"},
        {SF_DENSE, SF_DECODE, fine, 2, 0, 0, NULL},
    };
    EACH(v)
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        int heads = fault[i].heads ? fault[i].heads : a->kv_heads;
        sf_lists l = {.rows = heads, .stride = 2, .count = room((size_t)heads * 4), .index = room((size_t)heads * 8)};
        for (int r = 0; r < heads; r++) {
            l.count[r] = r == heads - 1 ? fault[i].count : 1;
            memcpy(l.index + 2 * r, r == heads - 1 ? fault[i].index : fine, 8);
        }
        sf_pattern p = {.kind = fault[i].kind,
                        .heads = heads,
                        .block_q = fault[i].page,
                        .block_k = fault[i].kind == SF_BLOCKS ? 1 : 0,
                        .page = fault[i].page,
                        .first = l,
                        .second = l};
        backend[v].phase = fault[i].phase;
        sf_status status = backend[v].ops->check_pattern(&backend[v], a, &p, "probe_method");
        if (fault[i].says) {
            if (status != SF_BAD_INPUT || !strstr(sf_error(), fault[i].says) || !strstr(sf_error(), "probe_method"))
                fail_msg("fault %zu: status %d, message '%s', expected '%s'", i, status, sf_error(), fault[i].says);
        } else if (status != SF_OK) {
            fail_msg("fault %zu: refused: %s", i, sf_error());
        }
        free_lists(l);
    }
    free_world(&w);
}

/* ---- estimation -------------------------------------------------------------------------------------------------- */

static void probe(void **unused)
{
    (void)unused;
    CASES("probe", 40)
    {
        int queries = PICK(1, 5, 64, 100, 160), keys = queries + (below(2) ? 0 : PICK(3, 60)),
            window = PICK(1, 8, 13, 64, 100, 1000);
        world w = random_world(i_ % VALUES, queries, keys, 0, false, below(3) ? 0 : PICK(4, 50));
        sf_reduce reduce = (sf_reduce)below(3);
        bool columns = below(4), diagonals = below(4) || !columns;
        tell("; probe window %d, reduce %d, column %d, diagonal %d", window, reduce, columns, diagonals);
        int64_t n = (int64_t)w.a.heads * keys;
        float *column[BACKENDS], *diagonal[BACKENDS];
        EACH(v)
        {
            column[v] = floats(n), diagonal[v] = floats(n);
            OK(backend[v].ops->probe(&backend[v], &w.a, window, reduce, columns ? column[v] : NULL,
                                     diagonals ? diagonal[v] : NULL));
        }
        compare("column", column, n);
        compare("diagonal", diagonal, n);
        free_world(&w);
    }
}

static float *random_scores(int64_t n)
{
    float *x = random_floats(n, below(2) ? TIED : PLAIN);
    if (below(2))
        for (int64_t i = 0; i < n; i++) x[i] = fabsf(x[i]);
    for (int k = below(6) * (int)n / 20; k > 0; k--)
        x[below((int)n)] = below(3) == 0 ? NAN : below(2) ? INFINITY : -INFINITY;
    if (below(20) == 0)
        for (int64_t i = 0; i < n; i++) x[i] = below(2) ? -INFINITY : NAN;
    for (int64_t i = 0; i < n; i += 7)
        if (x[i] == 0) x[i] = -0.0f;
    return x;
}

static void rows_of_scores(void **unused)
{
    (void)unused;
    CASES("reduce, pool, fill", 80)
    {
        int64_t rows = PICK(1, 3, 9), n = PICK(1, 2, 16, 50, 333);
        int group = PICK(1, 2, 3, 8), kernel = PICK(1, 3, 7, 21);
        sf_reduce reduce = (sf_reduce)below(3);
        tell(": rows %d, n %d, group %d, kernel %d, reduce %d", (int)rows, (int)n, group, kernel, reduce);
        float *x = random_floats(rows * group * n, below(2) ? TIED : PLAIN), *reduced[BACKENDS], *pooled[BACKENDS],
              *filled[BACKENDS];
        sf_lists at = lists(rows, n);
        for (int64_t r = 0; r < rows; r++) fill_row(at, r, (int)n, 0.2, -1);
        int64_t begin = between(-3, (int)n), end = between(-3, (int)n + 3);
        EACH(v)
        {
            OK(backend[v].ops->reduce_rows(&backend[v], x, rows, group, n, reduce, reduced[v] = floats(rows * n)));
            OK(backend[v].ops->pool(&backend[v], x, rows, n, kernel, reduce, pooled[v] = floats(rows * n)));
            filled[v] = floats(rows * n);
            memcpy(filled[v], x, (size_t)(rows * n) * sizeof(float));
            OK(backend[v].ops->fill(&backend[v], filled[v], rows, n, begin, end, INFINITY));
            OK(backend[v].ops->fill_at(&backend[v], filled[v], rows, n, &at, -INFINITY));
        }
        compare("reduced", reduced, rows * n);
        compare("pooled", pooled, rows * n);
        compare("filled", filled, rows * n);
        free_lists(at);
        free(x);
    }
}

static void choices(void **unused)
{
    (void)unused;
    CASES("top", 150)
    {
        int64_t rows = PICK(1, 2, 5), n = PICK(1, 2, 20, 100, 700), k = PICK(0, 1, 2, 10, 64, 5000),
                total = PICK(0, 1, 30, 300, 9000);
        int64_t least = PICK(0, 1, 5, 40), most = least + PICK(0, 10, 100, 5000);
        float mass = (float)PICK(0, 1, 50, 90, 99, 100) / 100;
        tell(": rows %d, n %d, k %d, total %d, mass %g, least %d, most %d", (int)rows, (int)n, (int)k, (int)total,
             (double)mass, (int)least, (int)most);
        float *x = random_scores(rows * n);
        int32_t each[5];
        for (int r = 0; r < rows; r++) each[r] = (int32_t)(k ? below((int)k + 1) : 0);
        sf_lists by_row[BACKENDS], by_count[BACKENDS], together[BACKENDS], by_mass[BACKENDS];
        EACH(v)
        {
            by_row[v] = lists(rows, k < n ? k : n), by_count[v] = lists(rows, k < n ? k : n);
            together[v] = lists(rows, total < n ? total : n), by_mass[v] = lists(rows, most < n ? most : n);
            OK(backend[v].ops->top(&backend[v], x, rows, n, k, &by_row[v]));
            OK(backend[v].ops->top_counts(&backend[v], x, rows, n, each, k, &by_count[v]));
            OK(backend[v].ops->top_total(&backend[v], x, rows, n, total, &together[v]));
            OK(backend[v].ops->top_mass(&backend[v], x, rows, n, mass, least, most, &by_mass[v]));
        }
        compare_lists(by_row);
        compare_lists(by_count);
        compare_lists(together);
        compare_lists(by_mass);
        free(x);
    }
}

/* Values are small multiples of 1/2, so that scores are exact in any order and ties are ties everywhere. */
static void blocks(void **unused)
{
    (void)unused;
    CASES("blocks", 50)
    {
        int queries = PICK(1, 9, 64, 100, 200), keys = queries + (below(2) ? 0 : PICK(1, 70));
        world w = random_world(TIED, queries, keys, 0, false, 0);
        const sf_attention *a = &w.a;
        int block_q = PICK(1, 16, 24, 64), block_k = PICK(1, 16, 24, 64), heads = below(2) ? a->heads : a->kv_heads;
        int nq = (queries + block_q - 1) / block_q, nk = (keys + block_k - 1) / block_k, k = PICK(0, 1, 3, 8, 1000);
        int sinks = PICK(0, 1, 2), local = PICK(0, 1, 2), stride = k < nk ? k : nk;
        tell("; block %d x %d, selecting heads %d, k %d, sinks %d, local %d", block_q, block_k, heads, k, sinks, local);
        int64_t nqm = (int64_t)a->heads * nq * a->head_dim, nkm = (int64_t)a->kv_heads * nk * a->head_dim,
                np = (int64_t)a->heads * nq * nk;
        float *q_mean[BACKENDS], *k_mean[BACKENDS], *p[BACKENDS], *q = random_floats(nqm, TIED),
                                                                  *key = random_floats(nkm, TIED);
        sf_lists out[BACKENDS];
        EACH(v)
        {
            OK(backend[v].ops->block_means(&backend[v], a, false, block_q, q_mean[v] = floats(nqm)));
            OK(backend[v].ops->block_means(&backend[v], a, true, block_k, k_mean[v] = floats(nkm)));
            OK(backend[v].ops->block_probabilities(&backend[v], a, q, block_q, key, block_k, p[v] = floats(np)));
            out[v] = lists((int64_t)heads * nq, stride);
            OK(backend[v].ops->top_blocks(&backend[v], a, q, block_q, key, block_k, heads, k, sinks, local, &out[v]));
        }
        compare("q_mean", q_mean, nqm);
        compare("k_mean", k_mean, nkm);
        compare("p", p, np);
        compare_lists(out);
        free(q), free(key);
        free_world(&w);
    }
}

/* Scores are sums of softmax here, so near ties may fall either way: chosen sums must agree, to rounding. */
static void block_mass(void **unused)
{
    (void)unused;
    CASES("top_block_mass", 30)
    {
        int queries = PICK(1, 9, 64, 90), keys = queries + (below(2) ? 0 : PICK(1, 40));
        world w = random_world(PLAIN, queries, keys, 0, false, below(3) ? 0 : 20);
        const sf_attention *a = &w.a;
        int block_q = PICK(1, 16, 24), block_k = PICK(1, 16, 24), heads = below(2) ? a->heads : a->kv_heads,
            k = PICK(1, 3, 1000);
        int nq = (queries + block_q - 1) / block_q, nk = (keys + block_k - 1) / block_k;
        tell("; block %d x %d, selecting heads %d, k %d", block_q, block_k, heads, k);
        sf_lists out[BACKENDS];
        EACH(v)
        {
            out[v] = lists((int64_t)heads * nq, k < nk ? k : nk);
            OK(backend[v].ops->top_block_mass(&backend[v], a, block_q, block_k, heads, k, &out[v]));
        }
        compare_lists(out);
        free_world(&w);
    }
}

static void pages(void **unused)
{
    (void)unused;
    CASES("pages", 60)
    {
        int prompt = PICK(1, 40, 150), tail = PICK(0, 1, 30), page = PICK(1, 7, 16, 64);
        world w = random_world(PLAIN, 1, prompt, tail, below(3) == 0 && prompt > 1, 0);
        const sf_attention *a = &w.a;
        int there = (a->keys + page - 1) / page, stride = there + below(3), first = below(a->keys);
        tell("; page %d, first %d, stride %d", page, first, stride);
        int64_t n = (int64_t)a->kv_heads * stride * a->head_dim;
        float *low[BACKENDS], *high[BACKENDS], *score[BACKENDS], *seen = random_floats(2 * n, PLAIN);
        EACH(v)
        {
            low[v] = floats(n), high[v] = floats(n);
            memcpy(low[v], seen, (size_t)n * sizeof(float)), memcpy(high[v], seen + n, (size_t)n * sizeof(float));
            OK(backend[v].ops->page_bounds(&backend[v], a, page, first, stride, low[v], high[v]));
            same_bits("low", low[v], low[REFERENCE], (size_t)n * sizeof(float));
            same_bits("high", high[v], high[REFERENCE], (size_t)n * sizeof(float));
            score[v] = floats((int64_t)a->kv_heads * there);
            OK(backend[v].ops->page_scores(&backend[v], a, page, stride, low[v], high[v], score[v]));
        }
        float *terms = floats((int64_t)a->kv_heads * there);
        for (int64_t u = 0; u < a->kv_heads * there; u++) {
            terms[u] = 0;
            for (int i = 0; i < w.a.heads / w.a.kv_heads * a->head_dim; i++) {
                int64_t at = (u / there * stride + u % there) * a->head_dim + i % a->head_dim;
                float q = w.q[u / there * (a->heads / a->kv_heads) * a->head_dim + i];
                terms[u] += fabsf(fmaxf(q * low[CPU][at], q * high[CPU][at]));
            }
        }
        compare_sums("score", score, terms, (int64_t)a->kv_heads * there);
        free(terms);
        compare("low", low, n);
        compare("high", high, n);
        free(seen);
        free_world(&w);
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void memory(void **unused)
{
    (void)unused;
    for (int v = 0; v < BACKENDS; v++) {
        sf_backend *b = &backend[v];
        char from[100] = "twin", to[100] = "";
        void *p, *q;
        size_t available, total;
        OK(b->ops->alloc(b, 100, &p));
        OK(b->ops->alloc(b, 100, &q));
        assert_int_equal((uintptr_t)p % 64, 0);
        OK(b->ops->upload(b, p, from, 100));
        OK(b->ops->zero(b, q, 100));
        OK(b->ops->copy(b, q, p, 3));
        OK(b->ops->download(b, to, q, 100));
        assert_string_equal(to, "twi");
        OK(b->ops->synchronize(b));
        OK(b->ops->memory(b, &available, &total));
        assert_true(available > 0 && available <= total);
        b->ops->free(b, p);
        b->ops->free(b, q);
        assert_int_equal(b->ops->alloc(b, SIZE_MAX - 5, &p), SF_NO_MEMORY);
        b->ops->free(b, NULL);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed */
        OK(b->ops->alloc(b, 20 << 20, &p)); /* large, and freed: the system's again, and so is a smaller one after it */
        b->ops->free(b, p);
        OK(b->ops->alloc(b, 10 << 20, &p));
        b->ops->free(b, p);
        unsigned char there;
        assert_int_equal(mincore(p, 1, &there), -1);
#endif
        sf_mark mark = sf_scratch_mark(b);
        void *small, *large, *again;
        OK(sf_scratch_alloc(b, 10, &small));
        OK(sf_scratch_alloc(b, 20 << 20, &large));
        sf_scratch_release(b, mark);
        OK(sf_scratch_alloc(b, 10, &again));
        assert_ptr_equal(small, again);
        sf_scratch_release(b, mark);
    }
    sf_backend none;
    assert_int_equal(sf_backend_open("tpu", 0, &none), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "cpu, reference"));
    assert_int_equal(sf_backend_open("cpu:1", 0, &none), SF_BAD_INPUT);
    sf_backend_close(&none);
}

static int open_backends(void **unused)
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

static int close_backends(void **unused)
{
    (void)unused;
    EACH(v) sf_backend_close(&backend[v]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),
        cmocka_unit_test(linear),
        cmocka_unit_test(embed),
        cmocka_unit_test(rms_norm),
        cmocka_unit_test(rope),
        cmocka_unit_test(gated_and_add),
        cmocka_unit_test(store_kv),
        cmocka_unit_test(gather_kv),
        cmocka_unit_test(argmax),
        cmocka_unit_test(prefill),
        cmocka_unit_test(prefill_cut),
        cmocka_unit_test(decode),
        cmocka_unit_test(mass_and_probabilities),
        cmocka_unit_test(count_pairs),
        cmocka_unit_test(fit_slashes),
        cmocka_unit_test(fit_masses),
        cmocka_unit_test(refuses_rows_without_keys),
        cmocka_unit_test(check_pattern),
        cmocka_unit_test(probe),
        cmocka_unit_test(rows_of_scores),
        cmocka_unit_test(choices),
        cmocka_unit_test(blocks),
        cmocka_unit_test(block_mass),
        cmocka_unit_test(pages),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
