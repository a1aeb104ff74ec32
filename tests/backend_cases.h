/* Twin cases: every op of a filling against the reference, on random shapes and data.
 *
 * Inputs are rounded to the filling's activation dtype first, so that both sides see the same numbers; outputs are
 * poisoned with NaN before; errors are ‖Δ‖ / ‖reference‖. What is counted on the meter must be the same. A failing case
 * prints its parameters. tests/test_backends.c opens the fillings and runs the cases on each; where a filling takes threads,
 * on two and on one, and whatever is read back of it must then be the same to the bit. */
#ifndef SF_BACKEND_CASES_H
#define SF_BACKEND_CASES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <limits.h>

#include "base/splitmix.h"
#include "kernels/backend.h"
#include "kernels/promise.h"
#include "methods/method.h"

enum { HOLDS = 512 };

typedef struct twin {
    sf_backend b[2]; /* reference, filling */
    sf_meter meter[2];
    double tolerance; /* on outputs in the activation dtype and on scores */
    uint64_t seed;
    double worst;           /* error seen so far */
    long chosen, differing; /* selections whose scores differ by rounding */
    void *held[2][HOLDS];
    int holds;
    uint64_t read_back[512]; /* hashes of what was downloaded of the filling, one after the other */
    int reads;
} twin;

/* ---- random numbers and memory ---- */

static uint64_t next_random(twin *t) { return sf_splitmix_next(&t->seed); }

static int in_range(twin *t, int low, int high) { return low + (int)(next_random(t) % (uint64_t)(high - low + 1)); }
static int one_of(twin *t, int n, const int *choice) { return choice[next_random(t) % (uint64_t)n]; }
#define ONE_OF(t, ...) one_of(t, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (int[]){__VA_ARGS__})

static float normal(twin *t)
{
    double u = ((double)(next_random(t) >> 11) + 1) / 9007199254740993.0,
           v = (double)(next_random(t) >> 11) / 9007199254740992.0;
    return sqrtf(-2 * logf((float)u)) * cosf(6.2831853f * (float)v);
}

static uint16_t to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if (isnan(x)) return 0x7fff;
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static float rounded(const twin *t, float x)
{
    if (!sf_rounds(&t->b[1])) return x;
    uint32_t u = (uint32_t)to_bf16(x) << 16;
    memcpy(&x, &u, sizeof x);
    return x;
}

static float *randoms(twin *t, int64_t n, float scale)
{
    float *x = malloc((size_t)(n ? n : 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = rounded(t, scale * normal(t));
    return x;
}

#define OK(t, side, call)                                                                                              \
    do {                                                                                                               \
        if ((call) != SF_OK) fail_msg("%s: %s: %s", (t)->b[side].ops->name, #call, sf_error());                        \
    } while (0)

static void *hold(twin *t, int side, void *p)
{
    assert_true(t->holds < HOLDS);
    t->held[side][t->holds] = p;
    t->held[!side][t->holds++] = NULL;
    return p;
}

static void *room(twin *t, int side, size_t bytes)
{
    void *p;
    OK(t, side, t->b[side].ops->alloc(&t->b[side], bytes ? bytes : 1, &p));
    void *poison = malloc(bytes ? bytes : 1);
    memset(poison, 0xff, bytes);
    OK(t, side, t->b[side].ops->upload(&t->b[side], p, poison, bytes));
    OK(t, side, t->b[side].ops->synchronize(&t->b[side]));
    free(poison);
    return hold(t, side, p);
}

static void *put(twin *t, int side, const void *host, size_t bytes)
{
    void *p = room(t, side, bytes);
    OK(t, side, t->b[side].ops->upload(&t->b[side], p, host, bytes));
    OK(t, side, t->b[side].ops->synchronize(&t->b[side]));
    return p;
}

/* n floats as activations of that side. */
static void *put_activations(twin *t, int side, const float *x, int64_t n)
{
    if (t->b[side].activation == SF_F32) return put(t, side, x, (size_t)n * sizeof *x);
    uint16_t *narrow = malloc((size_t)(n ? n : 1) * sizeof *narrow);
    for (int64_t i = 0; i < n; i++) narrow[i] = to_bf16(x[i]);
    void *p = put(t, side, narrow, (size_t)n * sizeof *narrow);
    free(narrow);
    return p;
}

static void *activation_room(twin *t, int side, int64_t n) { return room(t, side, sf_bytes(t->b[side].activation, n)); }

static void fetch(twin *t, int side, void *host, const void *p, size_t bytes)
{
    OK(t, side, t->b[side].ops->download(&t->b[side], host, p, bytes));
    if (side == 0) return;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((unsigned char *)host)[i]) * 0x100000001b3u;
    assert_true(t->reads < 512);
    t->read_back[t->reads++] = hash;
}

static float *get(twin *t, int side, const void *p, sf_dtype dtype, int64_t n)
{
    void *raw = malloc(sf_bytes(dtype, n) + 1);
    fetch(t, side, raw, p, sf_bytes(dtype, n));
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    sf_to_f32(dtype, raw, x, n);
    free(raw);
    return x;
}

static float *get_activations(twin *t, int side, const void *p, int64_t n)
{
    return get(t, side, p, t->b[side].activation, n);
}

static void begin_case(twin *t, uint64_t seed)
{
    t->seed = seed;
    t->holds = t->reads = 0;
    for (int side = 0; side < 2; side++) {
        memset(&t->meter[side], 0, sizeof t->meter[side]);
        t->b[side].meter = &t->meter[side];
        t->b[side].phase = SF_PREFILL;
    }
}

static void end_case(twin *t, const char *what)
{
    for (int phase = 0; phase < SF_PHASES; phase++)
        for (int work = 0; work < SF_WORKS; work++)
            if (t->meter[0].at[phase][work].flops != t->meter[1].at[phase][work].flops)
                fail_msg("%s: counts %llu FLOPs, the reference %llu", what,
                         (unsigned long long)t->meter[1].at[phase][work].flops,
                         (unsigned long long)t->meter[0].at[phase][work].flops);
    if (t->b[1].activation == t->b[0].activation && memcmp(&t->meter[0], &t->meter[1], sizeof t->meter[0]) != 0)
        fail_msg("%s: counts other bytes or pairs than the reference", what);
    for (int i = 0; i < t->holds; i++)
        for (int side = 0; side < 2; side++)
            if (t->held[side][i]) t->b[side].ops->free(&t->b[side], t->held[side][i]);
    t->holds = 0;
}

static void agree(twin *t, const float *want, const float *got, int64_t n, double tolerance, const char *what)
{
    double apart = 0, size = 0;
    int64_t at = -1; /* where they are farthest apart */
    for (int64_t i = 0; i < n; i++) {
        if (isinf(want[i]) || isnan(want[i])) {
            if (!(isnan(want[i]) && isnan(got[i])) && want[i] != got[i])
                fail_msg("%s: element %lld of %lld is %g, expected %g", what, (long long)i, (long long)n, got[i],
                         want[i]);
            continue;
        }
        apart += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += (double)want[i] * want[i];
        if (at < 0 || fabs((double)got[i] - want[i]) > fabs((double)got[at] - want[at])) at = i;
        if (!isfinite(got[i]))
            fail_msg("%s: element %lld of %lld is %g, expected %g", what, (long long)i, (long long)n, got[i], want[i]);
    }
    double error = sqrt(apart) / (size > 0 ? sqrt(size) : 1);
    if (error > t->worst) t->worst = error;
    if (!(error <= tolerance))
        fail_msg("%s: error %.2e, at most %.0e is allowed; element %lld of %lld is %g, expected %g", what, error,
                 tolerance, (long long)at, (long long)n, got[at], want[at]);
}

/* Runs `call` for side 0 and 1, with `s` naming the side. */
#define BOTH(t, call)                                                                                                  \
    for (int s = 0; s < 2; s++) OK(t, s, (t)->b[s].ops->call)

/* ---- layers ---- */

static sf_tensor tensor(void *data, sf_dtype dtype, int64_t rows, int64_t columns)
{
    return columns ? (sf_tensor){data, dtype, 2, {rows, columns}} : (sf_tensor){data, dtype, 1, {rows}};
}

static void import(twin *t, const void *x, sf_dtype dtype, int64_t rows, int64_t columns, sf_tensor w[2])
{
    sf_tensor host = tensor((void *)(uintptr_t)x, dtype, rows, columns);
    BOTH(t, import_weight(&t->b[s], &host, &w[s]));
}

/* Random elements of a dtype: of f32 with that scale, of plain halves with magnitudes near one, of blocks any bytes but for
 * their scales, which are small. */
static void *random_weights(twin *t, sf_dtype dtype, int64_t n, float scale)
{
    size_t bytes = sf_bytes(dtype, n), size = (size_t)sf_dtypes[dtype].bytes;
    if (dtype == SF_F32) return randoms(t, n, scale);
    uint8_t *raw = malloc(bytes + 1);
    if (dtype == SF_F16 || dtype == SF_BF16)
        for (int64_t i = 0; i < n; i++) {
            uint64_t r = next_random(t);
            ((uint16_t *)raw)[i] = (uint16_t)((r & 0x8000) | (dtype == SF_F16 ? 0x3400 + (r >> 16) % 0x0a00 : 0x3f00 + (r >> 16) % 0x100));
        }
    else
        for (size_t i = 0; i < bytes; i++) raw[i] = (uint8_t)next_random(t);
    for (size_t i = 0; sf_dtypes[dtype].block > 1 && i < bytes; i += size) {
        uint16_t half = (uint16_t)(0x2000 + next_random(t) % 0x0800);
        if (dtype == SF_MXFP4) { /* a power of two, below one */
            raw[i] = (uint8_t)(118 + next_random(t) % 6);
            continue;
        }
        int at = dtype == SF_Q6_K ? 208 : dtype == SF_Q2_K ? 80 : dtype == SF_Q3_K ? 108 : 0;
        bool least = dtype == SF_Q4_1 || dtype == SF_Q5_1 || dtype == SF_Q4_K || dtype == SF_Q5_K || dtype == SF_Q2_K;
        memcpy(raw + i + at, &half, 2);
        if (least) memcpy(raw + i + at + 2, &half, 2);
    }
    return raw;
}

static sf_dtype any_weight_type(twin *t)
{
    return (sf_dtype)ONE_OF(t, SF_F32, SF_F32, SF_F16, SF_BF16, SF_Q8_0, SF_Q4_0, SF_Q4_1, SF_Q5_0, SF_Q5_1, SF_Q4_K, SF_Q6_K, SF_Q2_K,
                            SF_Q3_K, SF_Q5_K, SF_IQ4_NL, SF_IQ4_XS, SF_MXFP4);
}

static void layers_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    int width = ONE_OF(t, 8, 24, 64, 128, 200, 576, 1024, 1500, 8500), rows = in_range(t, 1, width > 1000 ? 30 : 150),
        vocab = in_range(t, 2, 300);
    bool wide = in_range(t, 0, 1);
    sf_dtype type = any_weight_type(t), plain = (sf_dtype)ONE_OF(t, SF_F32, SF_F16, SF_BF16);
    width = (width + sf_dtypes[type].block - 1) / sf_dtypes[type].block * sf_dtypes[type].block;
    snprintf(what, sizeof what, "seed %llu: rows %d width %d vocab %d of %s, norm of %s", (unsigned long long)seed, rows, width,
             vocab, sf_dtypes[type].name, sf_dtypes[plain].name);

    /* embed, then norm of its f32 or of activations */
    void *table = random_weights(t, type, (int64_t)vocab * width, 1), *scale = random_weights(t, plain, width, 1);
    float *x = randoms(t, (int64_t)rows * width, 2), *kept = NULL;
    int32_t *token = malloc((size_t)rows * sizeof *token);
    for (int i = 0; i < rows; i++) token[i] = in_range(t, 0, vocab - 1);
    sf_tensor w[2], norm[2];
    import(t, table, type, vocab, width, w);
    import(t, scale, plain, width, 0, norm);
    void *ids[2], *stream[2], *act[2], *out[2];
    for (int s = 0; s < 2; s++) {
        ids[s] = put(t, s, token, (size_t)rows * sizeof *token);
        stream[s] = room(t, s, (size_t)rows * width * sizeof(float));
        act[s] = put_activations(t, s, x, (int64_t)rows * width);
        out[s] = activation_room(t, s, (int64_t)rows * width);
    }
    BOTH(t, embed(&t->b[s], &w[s], ids[s], rows, 1.5f, stream[s]));
    float *a = get(t, 0, stream[0], SF_F32, (int64_t)rows * width),
          *b = get(t, 1, stream[1], SF_F32, (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, type == SF_F32 || type == SF_BF16 ? 1e-6 : t->tolerance, what);
    free(a), free(b);
    BOTH(t, add(&t->b[s], stream[s], act[s], (int64_t)rows * width, wide ? 1 : 0.22f));
    if (t->b[1].ops->scale) BOTH(t, scale(&t->b[s], stream[s], (int64_t)rows * width, 0.37f));
    a = get(t, 0, stream[0], SF_F32, (int64_t)rows * width), b = get(t, 1, stream[1], SF_F32, (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, type == SF_F32 || type == SF_BF16 ? 1e-6 : t->tolerance, what);
    free(a), free(b);
    for (int s = 0; s < 2; s++)
        OK(t, s,
           t->b[s].ops->rms_norm(&t->b[s], stream[s], SF_F32, rows, width, &norm[s], wide ? 1.f : 0.f, 1e-6f, out[s]));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);
    if (t->b[1].activation == SF_F32) { /* of halves as they lie in a file */
        sf_dtype half = wide ? SF_F16 : SF_BF16;
        void *from = random_weights(t, half, (int64_t)rows * width, 1);
        for (int s = 0; s < 2; s++) {
            void *there = put(t, s, from, sf_bytes(half, (int64_t)rows * width));
            OK(t, s, t->b[s].ops->rms_norm(&t->b[s], there, half, rows, width, &norm[s], 1, 1e-6f, out[s]));
        }
        free(from);
        a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
        agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
        free(a), free(b);
    }

    /* gates small and large: where outputs are f32, each is right to the precision of a float */
    kept = randoms(t, (int64_t)rows * width, 1);
    for (int64_t i = 0; i < (int64_t)rows * width; i++) kept[i] *= (float)ONE_OF(t, 1, 1, 5, 50, 1000);
    for (int64_t i = 0; i < (int64_t)rows * width; i++) kept[i] = rounded(t, kept[i]);
    for (int s = 0; s < 2; s++) out[s] = put_activations(t, s, kept, (int64_t)rows * width);
    sf_curve curve = {ONE_OF(t, SF_SILU, SF_SILU, SF_GELU_TANH, SF_GELU, SF_RELU2, SF_XIELU), {0.7f, 0.9f, 0.5f, -1e-6f}};
    bool alone = in_range(t, 0, 3) == 0;
    BOTH(t, gated(&t->b[s], out[s], alone ? NULL : act[s], rows, width, curve));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    for (int64_t i = 0; t->b[1].activation == SF_F32 && i < (int64_t)rows * width; i++)
        if (fabs((double)b[i] - a[i]) > 1e-6 * fmax(1, fabs((double)kept[i])) * fabs((double)a[i]) + 1e-12)
            fail_msg("%s, curve %d: gate %g: %g, expected %g", what, (int)curve.kind, (double)kept[i], (double)b[i], (double)a[i]);
    free(a), free(b), free(kept);
    /* the norm that takes the mean off, with a bias or without, and rows as they are */
    for (int s = 0; s < 2; s++)
        OK(t, s, t->b[s].ops->layer_norm(&t->b[s], stream[s], SF_F32, rows, width, &norm[s], wide ? &norm[s] : NULL, wide ? 1 : 0, 1e-5f, out[s]));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);
    BOTH(t, cast(&t->b[s], stream[s], (int64_t)rows * width, out[s]));
    if (t->b[1].ops->latent) { /* some columns to others' places, which keep the rest */
        int n = in_range(t, 0, width), from = in_range(t, 0, width - n), to = in_range(t, 0, width - n);
        BOTH(t, copy_columns(&t->b[s], (char *)act[s] + sf_bytes(t->b[s].activation, from), width, rows, n,
                             (char *)out[s] + sf_bytes(t->b[s].activation, to), width));
    }
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);
    /* norm of activations in place, as of heads */
    for (int s = 0; s < 2; s++)
        OK(t, s, t->b[s].ops->rms_norm(&t->b[s], act[s], t->b[s].activation, rows, width, &norm[s], 0, 1e-5f, act[s]));
    a = get_activations(t, 0, act[0], (int64_t)rows * width), b = get_activations(t, 1, act[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);

    /* rotation */
    int heads = in_range(t, 1, 5), dim = ONE_OF(t, 8, 16, 64, 80, 128), positions = rows + 7, rotary = in_range(t, 0, 2) ? dim : dim / 2;
    float *head = randoms(t, (int64_t)rows * heads * dim, 1), *cosine = malloc((size_t)positions * dim * sizeof(float)),
          *sine = malloc((size_t)positions * dim * sizeof(float));
    for (int i = 0; i < positions * dim / 2; i++) cosine[i] = (float)cos(i * .37), sine[i] = (float)sin(i * .37);
    for (int i = 0; i < rows; i++) token[i] = in_range(t, 0, positions - 1);
    void *v[2], *at[2], *co[2], *si[2];
    for (int s = 0; s < 2; s++) {
        v[s] = put_activations(t, s, head, (int64_t)rows * heads * dim);
        at[s] = put(t, s, token, (size_t)rows * sizeof *token);
        co[s] = put(t, s, cosine, (size_t)positions * dim / 2 * sizeof(float));
        si[s] = put(t, s, sine, (size_t)positions * dim / 2 * sizeof(float));
    }
    BOTH(t, rope(&t->b[s], v[s], rows, heads, dim, rotary, at[s], co[s], si[s], wide));
    a = get_activations(t, 0, v[0], (int64_t)rows * heads * dim),
    b = get_activations(t, 1, v[1], (int64_t)rows * heads * dim);
    agree(t, a, b, (int64_t)rows * heads * dim, t->tolerance, what);
    free(a), free(b);

    /* queries that grow with their position, as each row and head says */
    float *says[2] = {randoms(t, (int64_t)rows * heads, 3), randoms(t, (int64_t)rows * heads, 1)};
    says[0][0] = 40;
    void *beta[2], *gamma[2];
    for (int s = 0; s < 2; s++) {
        beta[s] = put(t, s, says[0], (size_t)(rows * heads) * sizeof(float));
        gamma[s] = put(t, s, says[1], (size_t)(rows * heads) * sizeof(float));
    }
    if (t->b[1].ops->entmax) BOTH(t, scale_queries(&t->b[s], v[s], rows, heads, dim, at[s], beta[s], gamma[s], .5f, 2));
    a = get_activations(t, 0, v[0], (int64_t)rows * heads * dim),
    b = get_activations(t, 1, v[1], (int64_t)rows * heads * dim);
    agree(t, a, b, (int64_t)rows * heads * dim, t->tolerance, what);
    free(a), free(b), free(says[0]), free(says[1]);

    /* sinks */
    float *sums = randoms(t, (int64_t)rows * heads, 3), *sunk = randoms(t, heads, 2);
    sf_tensor sink[2];
    void *lse[2];
    import(t, sunk, SF_F32, heads, 0, sink);
    for (int s = 0; s < 2; s++) lse[s] = put(t, s, sums, (size_t)(rows * heads) * sizeof *sums);
    BOTH(t, sink(&t->b[s], v[s], lse[s], &sink[s], rows, heads, dim));
    a = get_activations(t, 0, v[0], (int64_t)rows * heads * dim),
    b = get_activations(t, 1, v[1], (int64_t)rows * heads * dim);
    agree(t, a, b, (int64_t)rows * heads * dim, t->tolerance, what);
    for (int s = 0; s < 2; s++) t->b[s].ops->release_weight(&t->b[s], &sink[s]);
    free(a), free(b), free(sums), free(sunk);

    /* greedy choice, with ties */
    float *logits = randoms(t, (int64_t)rows * vocab, 1);
    for (int i = 0; i < rows; i++)
        logits[(int64_t)i * vocab + in_range(t, 0, vocab - 1)] =
            logits[(int64_t)i * vocab + in_range(t, 0, vocab - 1)] = 9;
    for (int i = in_range(t, 0, 20); i > 0; i--)
        logits[in_range(t, 0, rows * vocab - 1)] = (float[]){NAN, INFINITY, -INFINITY}[in_range(t, 0, 2)];
    int32_t *best[2];
    for (int s = 0; s < 2; s++) {
        void *l = put(t, s, logits, (size_t)rows * vocab * sizeof(float)),
             *to = room(t, s, (size_t)rows * sizeof(int32_t));
        OK(t, s, t->b[s].ops->argmax(&t->b[s], l, rows, vocab, to));
        best[s] = malloc((size_t)rows * sizeof(int32_t));
        fetch(t, s, best[s], to, (size_t)rows * sizeof(int32_t));
    }
    for (int i = 0; i < rows; i++)
        if (best[0][i] != best[1][i])
            fail_msg("%s: argmax of row %d is %d, expected %d", what, i, best[1][i], best[0][i]);
    for (int s = 0; s < 2; s++) {
        t->b[s].ops->release_weight(&t->b[s], &w[s]);
        t->b[s].ops->release_weight(&t->b[s], &norm[s]);
        free(best[s]);
    }
    free(table), free(scale), free(x), free(token), free(head), free(cosine), free(sine), free(logits);
    end_case(t, what);
}

/* Routing, the experts of each row and their sum. Experts far from ties, but for those that are equal. */
/* An op of layers that recur, over `rows` rows of each lane: x and more [lanes · rows, width], out [lanes · rows, given], state [held]. */
typedef struct recurrence {
    sf_tensor w[2], v[2]; /* weights of the one and the other filling */
    bool silu, delta, space; /* space: that of delta's shape, whose inputs stand in another order */
    sf_delta_shape shape;
    int lanes, rows, width, given, heads;
    int64_t held;
} recurrence;

static sf_status advance(twin *t, int s, const recurrence *c, int lanes, float *const *state, int rows, const void *x, const void *a,
                         const void *beta, void *out)
{
    sf_backend *b = &t->b[s];
    if (c->space) return b->ops->state_space(b, lanes, state, rows, c->shape, x, a, &c->w[s], &c->v[s], &c->v[s], out);
    if (c->delta) return b->ops->delta_rule(b, lanes, state, rows, c->shape, x, a, beta, &c->w[s], &c->v[s], out);
    return b->ops->convolve(b, lanes, state, rows, c->width, &c->w[s], c->heads ? &c->v[s] : NULL, c->silu, x, out);
}

/* Rows that come all at once, or in pieces, of which the last are single rows: the same to the bit. */
static void in_pieces(twin *t, const recurrence *c, const float *x, const float *a, const float *beta, const float *held, const float *whole,
                      const char *what)
{
    sf_meter *meter = t->b[1].meter;
    t->b[1].meter = &t->b[1].aside; /* counted by nobody */
    const sf_dtype type = t->b[1].activation;
    for (int l = 0; l < c->lanes; l++) {
        const int64_t first = (int64_t)l * c->rows;
        float *state = put(t, 1, held + l * c->held, (size_t)(c->held + 1) * sizeof *held);
        char *in = put_activations(t, 1, x + first * c->width, (int64_t)c->rows * c->width);
        char *more = put_activations(t, 1, a + first * c->heads, (int64_t)c->rows * c->heads + 1);
        char *most = put_activations(t, 1, beta + first * c->heads, (int64_t)c->rows * c->heads + 1);
        char *out = c->delta ? activation_room(t, 1, (int64_t)c->rows * c->given) : in; /* a convolution also in place */
        for (int r = 0; r < c->rows;) {
            const int some = r < c->rows / 3 ? c->rows / 3 : 1;
            const size_t gate = sf_bytes(type, (int64_t)r * c->heads);
            OK(t, 1, advance(t, 1, c, 1, &state, some, in + sf_bytes(type, (int64_t)r * c->width), more + gate, most + gate,
                             out + sf_bytes(type, (int64_t)r * c->given)));
            r += some;
        }
        float *b = get_activations(t, 1, out, (int64_t)c->rows * c->given);
        if (memcmp(b, whole + first * c->given, (size_t)c->rows * (size_t)c->given * sizeof *b) != 0) fail_msg("%s: lane %d in pieces differs", what, l);
        free(b);
    }
    t->b[1].meter = meter;
}

static void recurrent_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[240];
    recurrence c = {.lanes = in_range(t, 1, 4), .rows = in_range(t, 1, 70), .delta = in_range(t, 0, 1), .silu = in_range(t, 0, 1)};
    c.space = c.delta && in_range(t, 0, 1);
    const int kernel = in_range(t, 1, 5), group = in_range(t, 1, 3);
    c.shape = (sf_delta_shape){.key_heads = in_range(t, 1, 3), .key_dim = ONE_OF(t, 4, 9, 16, 40), .value_dim = ONE_OF(t, 4, 10, 32, 50),
                                .tiled = in_range(t, 0, 1)};
    if (c.space && in_range(t, 0, 1)) c.shape.least = 0.7f;
    c.shape.value_heads = group * c.shape.key_heads;
    c.width = c.delta ? 2 * c.shape.key_heads * c.shape.key_dim + c.shape.value_heads * c.shape.value_dim : ONE_OF(t, 8, 33, 64, 130);
    c.given = c.delta ? c.shape.value_heads * c.shape.value_dim : c.width;
    c.heads = c.delta ? c.shape.value_heads : in_range(t, 0, 1);
    c.held = c.delta ? (int64_t)c.shape.value_heads * c.shape.key_dim * c.shape.value_dim : (int64_t)(kernel - 1) * c.width;
    snprintf(what, sizeof what, "seed %llu: %s lanes %d rows %d width %d kernel %d silu %d heads %d%s of %d by %d", (unsigned long long)seed,
             c.space ? "space" : c.delta ? "delta" : "convolution", c.lanes, c.rows, c.width, kernel, c.silu, c.heads, c.shape.tiled ? " tiled" : "", c.shape.key_dim,
             c.shape.value_dim);
    const int64_t n = (int64_t)c.lanes * c.rows, gates = n * c.heads + 1;
    float *x = randoms(t, n * c.width, 1), *a = randoms(t, gates, (float)ONE_OF(t, 1, 1, 8, 40)), *beta = randoms(t, gates, 2), *got[2];
    float *held = randoms(t, c.lanes * c.held + 1, 1), *state[2][4];
    const int64_t first = c.delta ? c.shape.value_heads : c.width;
    void *w = random_weights(t, SF_BF16, c.delta ? first : first * kernel, 1), *v = random_weights(t, SF_F32, first, 1), *out[2];
    import(t, w, SF_BF16, first, c.delta ? 0 : kernel, c.w);
    import(t, v, SF_F32, first, 0, c.v);
    for (int s = 0; s < 2; s++) {
        void *in = put_activations(t, s, x, n * c.width), *more = put_activations(t, s, a, gates), *most = put_activations(t, s, beta, gates);
        for (int l = 0; l < c.lanes; l++) state[s][l] = put(t, s, held + l * c.held, (size_t)(c.held + 1) * sizeof *held);
        out[s] = activation_room(t, s, n * c.given);
        OK(t, s, advance(t, s, &c, c.lanes, state[s], c.rows, in, more, most, out[s]));
        got[s] = get_activations(t, s, out[s], n * c.given);
    }
    agree(t, got[0], got[1], n * c.given, t->tolerance, what);
    in_pieces(t, &c, x, a, beta, held, got[1], what);
    free(got[0]), free(got[1]);
    for (int l = 0; l < c.lanes; l++) {
        for (int s = 0; s < 2; s++) got[s] = get(t, s, state[s][l], SF_F32, c.held);
        agree(t, got[0], got[1], c.held, t->tolerance, what);
        free(got[0]), free(got[1]);
    }
    for (int s = 0; s < 2; s++) t->b[s].ops->release_weight(&t->b[s], &c.w[s]), t->b[s].ops->release_weight(&t->b[s], &c.v[s]);
    free(x), free(a), free(beta), free(held), free(w), free(v);
    end_case(t, what);
}

/* Many wide rows, as a prompt has them: right, and each to the bit what it is alone. */
static void norms_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    const int rows = ONE_OF(t, 1, 131, 600, 700), width = ONE_OF(t, 260, 1028, 1536, 3584, 5120, 8192), alone = in_range(t, 0, rows - 1);
    const bool narrow = in_range(t, 0, 1);
    char what[100];
    snprintf(what, sizeof what, "seed %llu: %d rows of %d, %s", (unsigned long long)seed, rows, width, narrow ? "activations" : "f32");
    float *x = randoms(t, (int64_t)rows * width, 1), *weight = randoms(t, width, 1), *a, *b;
    sf_tensor norm[2];
    import(t, weight, SF_F32, width, 0, norm);
    void *from[2], *out[2], *single = activation_room(t, 1, width);
    sf_dtype type[2];
    for (int s = 0; s < 2; s++) {
        type[s] = narrow ? t->b[s].activation : SF_F32;
        from[s] = narrow ? put_activations(t, s, x, (int64_t)rows * width) : put(t, s, x, (size_t)rows * (size_t)width * sizeof *x);
        out[s] = activation_room(t, s, (int64_t)rows * width);
    }
    BOTH(t, rms_norm(&t->b[s], from[s], type[s], rows, width, &norm[s], 1, 1e-6f, out[s]));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    sf_meter apart = {0}; /* of the row that is asked for again */
    t->b[1].meter = &apart;
    OK(t, 1, t->b[1].ops->rms_norm(&t->b[1], (char *)from[1] + sf_bytes(type[1], (int64_t)alone * width), type[1], 1, width, &norm[1], 1, 1e-6f, single));
    t->b[1].meter = &t->meter[1];
    float *again = get_activations(t, 1, single, width);
    if (memcmp(again, b + (int64_t)alone * width, (size_t)width * sizeof *again) != 0) fail_msg("%s: row %d differs from what it is alone", what, alone);
    for (int s = 0; s < 2; s++) t->b[s].ops->release_weight(&t->b[s], &norm[s]);
    free(a), free(b), free(again), free(x), free(weight);
    end_case(t, what);
}

static void experts_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    t->b[0].phase = t->b[1].phase = (sf_phase)in_range(t, 0, 1);
    int rows = ONE_OF(t, 0, 0, 1) ? 300 : in_range(t, 1, 60), experts = ONE_OF(t, 1, 2, 4, 7, 16, 64);
    int chosen = in_range(t, 1, experts < 8 ? experts : 8);
    int in = ONE_OF(t, 32, 64, 200, 256, 576), out = ONE_OF(t, 8, 24, 64, 100);
    if (experts < 7 && ONE_OF(t, 0, 1)) out = ONE_OF(t, 264, 520);
    sf_dtype type = any_weight_type(t);
    in = (in + sf_dtypes[type].block - 1) / sf_dtypes[type].block * sf_dtypes[type].block;
    sf_router r = {.kind = (sf_routing)in_range(t, 0, 2), .experts = experts, .chosen = chosen, .normalize = in_range(t, 0, 1),
                   .scale = ONE_OF(t, 0, 1) ? 1 : 2.5f};
    if (r.kind == SF_ROUTE_SIGMOID && experts == 64) r.groups = 8, r.best_groups = in_range(t, 1, 8), r.group_top = in_range(t, 1, 2);
    bool own = in_range(t, 0, 1), biased = in_range(t, 0, 1), corrected = in_range(t, 0, 1);
    snprintf(what, sizeof what, "seed %llu: %s, rows %d experts %d of %d kind %d groups %d/%d, %d to %d of %s", (unsigned long long)seed,
             t->b[0].phase == SF_DECODE ? "decode" : "prefill", rows, chosen, experts, (int)r.kind, r.best_groups, r.groups, in, out,
             sf_dtypes[type].name);

    float *logits = randoms(t, (int64_t)rows * experts, 3), *shift = randoms(t, experts, 0.2f), *a, *b;
    if (in_range(t, 0, 3) == 0)
        for (int i = 0; i < rows * experts; i++) logits[i] = 1; /* all equal: the first ones */
    if (logits[0] == 1) corrected = false;
    float *x = randoms(t, (int64_t)rows * chosen * in, 1), *stream = randoms(t, (int64_t)rows * out, 1);
    void *weights = random_weights(t, type, (int64_t)experts * out * in, 1), *biases = random_weights(t, SF_F32, (int64_t)experts * out, 1);
    sf_tensor w[2][64], bias[2][64], correction[2];
    for (int e = 0; e < experts; e++) {
        sf_tensor pair[2];
        import(t, (char *)weights + (size_t)e * sf_bytes(type, (int64_t)out * in), type, out, in, pair);
        w[0][e] = pair[0], w[1][e] = pair[1];
        import(t, (float *)biases + (size_t)e * (size_t)out, SF_F32, out, 0, pair);
        bias[0][e] = pair[0], bias[1][e] = pair[1];
    }
    import(t, shift, SF_F32, experts, 0, correction);
    int32_t *expert[2], *host[2];
    float *share[2];
    void *from[2], *y[2], *to[2];
    for (int s = 0; s < 2; s++) {
        void *l = put(t, s, logits, (size_t)(rows * experts) * sizeof *logits);
        expert[s] = room(t, s, (size_t)(rows * chosen) * sizeof **expert);
        share[s] = room(t, s, (size_t)(rows * chosen) * sizeof **share);
        from[s] = put_activations(t, s, x, (int64_t)rows * chosen * in);
        y[s] = activation_room(t, s, (int64_t)rows * chosen * out);
        to[s] = put(t, s, stream, (size_t)(rows * out) * sizeof *stream);
        OK(t, s, t->b[s].ops->route(&t->b[s], l, rows, &r, corrected ? &correction[s] : NULL, expert[s], share[s]));
        host[s] = malloc((size_t)(rows * chosen) * sizeof **host);
        fetch(t, s, host[s], expert[s], (size_t)(rows * chosen) * sizeof **host);
    }
    for (int i = 0; i < rows * chosen; i++)
        if (host[0][i] != host[1][i]) fail_msg("%s: choice %d is %d, expected %d", what, i, host[1][i], host[0][i]);
    a = get(t, 0, share[0], SF_F32, (int64_t)rows * chosen), b = get(t, 1, share[1], SF_F32, (int64_t)rows * chosen);
    agree(t, a, b, (int64_t)rows * chosen, 1e-5, what);
    free(a), free(b);
    BOTH(t, experts(&t->b[s], from[s], own, rows, experts, chosen, expert[s], w[s], biased ? bias[s] : NULL, y[s]));
    a = get_activations(t, 0, y[0], (int64_t)rows * chosen * out), b = get_activations(t, 1, y[1], (int64_t)rows * chosen * out);
    agree(t, a, b, (int64_t)rows * chosen * out, t->tolerance, what);
    const int alone = in_range(t, 0, rows - 1), each = own ? chosen : 1; /* a row without its company: the same numbers */
    void *single[2] = {activation_room(t, 0, (int64_t)chosen * out), activation_room(t, 1, (int64_t)chosen * out)};
    for (int s = 0; s < 2; s++) from[s] = (char *)from[s] + sf_bytes(t->b[s].activation, (int64_t)alone * each * in);
    BOTH(t, experts(&t->b[s], from[s], own, 1, experts, chosen, expert[s] + alone * chosen, w[s], biased ? bias[s] : NULL, single[s]));
    float *apart = get_activations(t, 1, single[1], (int64_t)chosen * out);
    if (memcmp(apart, b + (int64_t)alone * chosen * out, (size_t)chosen * (size_t)out * sizeof *apart) != 0)
        fail_msg("%s: row %d differs from what it is alone", what, alone);
    free(apart);
    free(a), free(b);
    if (t->b[1].ops->weigh_experts && !corrected) BOTH(t, weigh_experts(&t->b[s], share[s], expert[s], (int64_t)rows * chosen, &correction[s]));
    BOTH(t, combine(&t->b[s], to[s], y[s], rows, chosen, out, share[s]));
    a = get(t, 0, to[0], SF_F32, (int64_t)rows * out), b = get(t, 1, to[1], SF_F32, (int64_t)rows * out);
    agree(t, a, b, (int64_t)rows * out, t->tolerance, what);
    free(a), free(b);
    for (int s = 0; s < 2; s++) {
        for (int e = 0; e < experts; e++) t->b[s].ops->release_weight(&t->b[s], &w[s][e]), t->b[s].ops->release_weight(&t->b[s], &bias[s][e]);
        t->b[s].ops->release_weight(&t->b[s], &correction[s]);
        free(host[s]);
    }
    free(logits), free(shift), free(x), free(stream), free(weights), free(biases);
    end_case(t, what);
}

static void linear_case(twin *t, uint64_t seed, sf_phase phase)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = phase;
    char what[256];
    int rows = ONE_OF(t, 1, 2, 7, 8, 17, 33, 100, 129, 300), in = ONE_OF(t, 5, 32, 64, 136, 192, 384, 576, 1000),
        out = ONE_OF(t, 3, 16, 64, 192, 200, 520, 4096, 9009);
    if (out > 4096 && phase == SF_DECODE) rows = ONE_OF(t, 1, 17, 40), in = ONE_OF(t, 64, 136, 192);
    sf_dtype weight_type = any_weight_type(t);
    in = (in + sf_dtypes[weight_type].block - 1) / sf_dtypes[weight_type].block * sf_dtypes[weight_type].block;
    if (t->b[1].activation == SF_F32 && (int64_t)rows * in * out > 5000000) rows = 13, out = ONE_OF(t, 65, 130, 200);
    if (seed % 100 == 0) rows = 800, in = 3072, out = 3; /* more rows than a host lays side by side at once */
    if (seed % 100 == 1) rows = 61, in = 1280, out = 50; /* a strip and weights are more than the nearest cache holds */
    bool add = in_range(t, 0, 1), biased = in_range(t, 0, 1), f32 = in_range(t, 0, 1);
    snprintf(what, sizeof what, "seed %llu: linear of %s rows %d in %d out %d%s%s %s phase %d", (unsigned long long)seed,
             sf_dtypes[weight_type].name, rows, in, out, add ? " add" : "", biased ? " bias" : "", f32 ? "f32" : "activations",
             phase);
    void *w = random_weights(t, weight_type, (int64_t)out * in, .1f), *bias = random_weights(t, SF_BF16, out, 1);
    float *x = randoms(t, (int64_t)rows * in, 1), *y = randoms(t, (int64_t)rows * out, 1);
    sf_tensor weight[2], shift[2];
    import(t, w, weight_type, out, in, weight);
    import(t, bias, SF_BF16, out, 0, shift);
    float *result[2];
    for (int s = 0; s < 2; s++) {
        sf_dtype type = f32 ? SF_F32 : t->b[s].activation;
        void *from = put_activations(t, s, x, (int64_t)rows * in);
        void *to =
            f32 ? put(t, s, y, (size_t)rows * out * sizeof(float)) : put_activations(t, s, y, (int64_t)rows * out);
        if (!add) to = room(t, s, sf_bytes(type, (int64_t)rows * out));
        OK(t, s, t->b[s].ops->linear(&t->b[s], from, rows, &weight[s], biased ? &shift[s] : NULL, add, to, type));
        result[s] = get(t, s, to, type, (int64_t)rows * out);
        if (s == 0 || add) continue;
        /* each row alone gives the same bits */
        for (int r = 0; r < rows; r += 1 + rows / 5) {
            void *one = room(t, 1, sf_bytes(type, out));
            OK(t, 1,
               t->b[1].ops->linear(&t->b[1], (char *)from + sf_bytes(t->b[1].activation, (int64_t)r * in), 1,
                                   &weight[1], biased ? &shift[1] : NULL, false, one, type));
            OK(t, 0,
               t->b[0].ops->linear(&t->b[0], (char *)put_activations(t, 0, x + (int64_t)r * in, in), 1, &weight[0],
                                   biased ? &shift[0] : NULL, false, room(t, 0, (size_t)out * sizeof(float)), SF_F32));
            float *alone = get(t, 1, one, type, out);
            if (memcmp(alone, result[1] + (int64_t)r * out, (size_t)out * sizeof(float)) != 0)
                fail_msg("%s: row %d alone differs from row %d in company", what, r, r);
            free(alone);
        }
    }
    agree(t, result[0], result[1], (int64_t)rows * out, t->tolerance, what);
    for (int s = 0; s < 2; s++) {
        t->b[s].ops->release_weight(&t->b[s], &weight[s]);
        t->b[s].ops->release_weight(&t->b[s], &shift[s]);
        free(result[s]);
    }
    free(x), free(w), free(bias), free(y);
    end_case(t, what);
}

/* A weight in bf16 and in each format of blocks, as import_weight() takes it from a file. 512 elements of each type lie in
 * the golden file (tests/golden/dtypes.py), raw and then as floats; those of plain types are no weights (infinities). */
static void weight_types_case(twin *t, sf_phase phase)
{
    enum { OUT = 2, IN = 256, ROWS = 9 };
    FILE *f = fopen("tests/golden/dtypes.bin", "rb");
    assert_non_null(f);
    for (sf_dtype type = 0; type < SF_DTYPES; type++) {
        size_t bytes = sf_bytes(type, OUT * IN);
        unsigned char *raw = malloc(bytes);
        assert_int_equal(fread(raw, 1, bytes, f), bytes);
        assert_int_equal(fseek(f, OUT * IN * (long)sizeof(float), SEEK_CUR), 0);
        begin_case(t, 77);
        t->b[0].phase = t->b[1].phase = phase;
        float *x = randoms(t, ROWS * IN, 1), *w = randoms(t, OUT * IN, 1), *result[2];
        for (int i = 0; type == SF_BF16 && i < OUT * IN; i++) ((uint16_t *)raw)[i] = to_bf16(w[i]);
        sf_tensor host = tensor(raw, type, OUT, IN), weight[2];
        for (int s = 0; s < 2 && (type == SF_BF16 || (type >= SF_Q8_0 && type < SF_F64)); s++) {
            OK(t, s, t->b[s].ops->import_weight(&t->b[s], &host, &weight[s]));
            void *from = put_activations(t, s, x, ROWS * IN), *to = room(t, s, ROWS * OUT * sizeof(float));
            OK(t, s, t->b[s].ops->linear(&t->b[s], from, ROWS, &weight[s], NULL, false, to, SF_F32));
            result[s] = get(t, s, to, SF_F32, ROWS * OUT);
            if (s == 0) continue;
            agree(t, result[0], result[1], ROWS * OUT, t->tolerance, sf_dtypes[type].name);
            for (int i = 0; i < 2; i++) t->b[i].ops->release_weight(&t->b[i], &weight[i]), free(result[i]);
        }
        free(raw), free(x), free(w);
        end_case(t, sf_dtypes[type].name);
    }
    fclose(f);
}

/* ---- lists ---- */

/* Random ascending lists over [0, limit); each holds at least `least`. */
static void random_lists(twin *t, int64_t rows, int limit, int least, sf_lists out[2])
{
    int64_t stride = limit + in_range(t, 0, 3);
    int32_t *count = calloc((size_t)rows, sizeof *count), *index = calloc((size_t)(rows * stride) + 1, sizeof *index);
    for (int64_t r = 0; r < rows; r++) {
        int density = ONE_OF(t, 0, 5, 30, 100);
        for (int i = 0; i < limit; i++)
            if (in_range(t, 0, 99) < density || i < least) index[r * stride + count[r]++] = i;
    }
    for (int s = 0; s < 2; s++)
        out[s] = (sf_lists){rows, stride, put(t, s, count, (size_t)rows * sizeof *count),
                            put(t, s, index, (size_t)(rows * stride) * sizeof *index)};
    free(count), free(index);
}

static sf_lists empty_lists(twin *t, int side, int64_t rows, int64_t stride)
{
    return (sf_lists){0, stride, room(t, side, (size_t)rows * sizeof(int32_t)),
                      room(t, side, (size_t)(rows * stride) * sizeof(int32_t))};
}

/* Lists of both sides; `loose` entries may differ (scores that differ by rounding), counted. */
static void lists_agree(twin *t, const sf_lists l[2], bool loose, const char *what)
{
    assert_int_equal(l[0].rows, l[1].rows);
    int32_t *count[2], *index[2];
    for (int s = 0; s < 2; s++) {
        count[s] = malloc((size_t)l[s].rows * sizeof(int32_t) + 1),
        index[s] = malloc((size_t)(l[s].rows * l[s].stride) * sizeof(int32_t) + 1);
        fetch(t, s, count[s], l[s].count, (size_t)l[s].rows * sizeof(int32_t));
        fetch(t, s, index[s], l[s].index, (size_t)(l[s].rows * l[s].stride) * sizeof(int32_t));
    }
    long chosen = 0, differing = 0;
    for (int64_t r = 0; r < l[0].rows; r++) {
        if (count[0][r] != count[1][r])
            fail_msg("%s: row %lld holds %d entries, expected %d", what, (long long)r, count[1][r], count[0][r]);
        const int32_t *a = index[0] + r * l[0].stride, *b = index[1] + r * l[1].stride;
        for (int32_t i = 0, j = 0; i < count[0][r]; i++, chosen++) {
            while (j < count[1][r] && b[j] < a[i]) j++;
            if (j < count[1][r] && b[j] == a[i]) continue;
            differing++;
            if (!loose) fail_msg("%s: row %lld lacks entry %d", what, (long long)r, a[i]);
        }
        for (int32_t i = 1; i < count[1][r]; i++)
            if (b[i] <= b[i - 1]) fail_msg("%s: row %lld does not ascend at %d", what, (long long)r, i);
    }
    t->chosen += chosen, t->differing += differing;
    if (differing > 1 + chosen / 100) fail_msg("%s: %ld of %ld chosen entries differ", what, differing, chosen);
    for (int s = 0; s < 2; s++) free(count[s]), free(index[s]);
}

static void select_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    int rows = in_range(t, 1, 9), n = ONE_OF(t, 1, 7, 64, 513, 1000, 5000, 13000), k = in_range(t, 0, n + 3),
        kind = in_range(t, 0, 3);
    snprintf(what, sizeof what, "seed %llu: select rows %d n %d k %d kind %d", (unsigned long long)seed, rows, n, k,
             kind);
    float *x = malloc((size_t)rows * n * sizeof *x);
    for (int i = 0; i < rows * n; i++) {
        x[i] = kind == 0 ? normal(t) : kind == 1 ? (float)in_range(t, 0, 5) : expf(4 * normal(t));
        if (kind == 3 && in_range(t, 0, 9) == 0) x[i] = INFINITY;
        if (kind > 0 && in_range(t, 0, 9) == 0) x[i] = ONE_OF(t, 0, 1) ? -INFINITY : NAN;
        if (x[i] == 0 && i % 7 == 0) x[i] = -0.0f; /* which is no less than 0 */
    }
    if (kind > 1 && in_range(t, 0, 9) == 0) /* nothing to choose in a row */
        for (int i = 0; i < n; i++) x[i] = NAN;
    int32_t *wish = malloc((size_t)rows * sizeof *wish);
    for (int r = 0; r < rows; r++) wish[r] = in_range(t, 0, k);
    void *from[2];
    sf_lists out[2];
    for (int s = 0; s < 2; s++) from[s] = put(t, s, x, (size_t)rows * n * sizeof *x);
    for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
    BOTH(t, top(&t->b[s], from[s], rows, n, k, &out[s]));
    lists_agree(t, out, false, what);
    for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
    for (int s = 0; s < 2; s++) {
        void *w = put(t, s, wish, (size_t)rows * sizeof *wish);
        OK(t, s, t->b[s].ops->top_counts(&t->b[s], from[s], rows, n, w, k, &out[s]));
    }
    lists_agree(t, out, false, what);
    for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
    BOTH(t, top_total(&t->b[s], from[s], rows, n, (int64_t)k * rows / 2, &out[s]));
    lists_agree(t, out, false, what);
    if (kind >= 2) { /* what carries mass is not negative */
        float share = (float)in_range(t, 0, 100) / 100;
        int least = in_range(t, 0, n / 2), most = in_range(t, n / 2, n);
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
        BOTH(t, top_mass(&t->b[s], from[s], rows, n, share, least, most, &out[s]));
        lists_agree(t, out, false, what);
    }

    /* rows: reduced, pooled, marked */
    int group = in_range(t, 1, 4), kernel = ONE_OF(t, 1, 3, 7, 21);
    sf_reduce reduce = (sf_reduce)in_range(t, 0, 2);
    float *y = randoms(t, (int64_t)rows * group * n, 1), *a, *b;
    for (int64_t i = 0; kind == 1 && i < (int64_t)rows * group * n; i++) y[i] = (float)in_range(t, -2, 2) / 2; /* ties */
    void *many[2], *few[2], *pooled[2];
    sf_lists marks[2];
    random_lists(t, rows, n, 0, marks);
    for (int s = 0; s < 2; s++) {
        many[s] = put(t, s, y, (size_t)rows * group * n * sizeof *y);
        few[s] = room(t, s, (size_t)rows * n * sizeof *y);
        pooled[s] = room(t, s, (size_t)rows * n * sizeof *y);
    }
    BOTH(t, reduce_rows(&t->b[s], many[s], rows, group, n, reduce, few[s]));
    BOTH(t, pool(&t->b[s], few[s], rows, n, kernel, reduce, pooled[s]));
    int begin = in_range(t, -3, n), end = in_range(t, -3, n + 3);
    BOTH(t, fill(&t->b[s], pooled[s], rows, n, begin, end, INFINITY));
    BOTH(t, fill_at(&t->b[s], few[s], rows, n, &marks[s], -INFINITY));
    a = get(t, 0, few[0], SF_F32, (int64_t)rows * n), b = get(t, 1, few[1], SF_F32, (int64_t)rows * n);
    agree(t, a, b, (int64_t)rows * n, 1e-5, what);
    free(a), free(b);
    a = get(t, 0, pooled[0], SF_F32, (int64_t)rows * n), b = get(t, 1, pooled[1], SF_F32, (int64_t)rows * n);
    agree(t, a, b, (int64_t)rows * n, 1e-5, what);
    free(a), free(b), free(y), free(x), free(wish);
    end_case(t, what);
}

/* ---- attention ---- */

/* Values of keys and queries: scores as in a model; with ties; of some 1e4; the first key draws every query. */
enum { PLAIN, TIED, LARGE, SINK, VALUES };

typedef struct scene {
    sf_attention a[2];
    double tolerance; /* the twin's; of large scores, which fp32 rounds to 1e-3, and so their exponentials, relatively */
    char what[1200];
} scene;

/* A cache [G, capacity, D] of n keys, the rest NaN; `ragged`: heads hold fewer, at least 1, and where both sides read such,
 * it may be a view: keys scattered in a longer cache, with NaN between them, and listed. */
static void make_part(twin *t, int kv_heads, int dim, int n, bool ragged, int values, sf_kv_part part[2])
{
    bool view = ragged && t->b[0].ops->views && t->b[1].ops->views && in_range(t, 0, 1);
    int capacity = (view ? 2 * n : n) + in_range(t, 0, 9);
    int64_t size = (int64_t)kv_heads * capacity * dim;
    float *k = malloc((size_t)size * sizeof *k + 1), *v = malloc((size_t)size * sizeof *v + 1);
    int32_t *count = malloc((size_t)kv_heads * sizeof *count), *index = calloc((size_t)(kv_heads * n) + 1, sizeof *index);
    int fullest = 0;
    for (int64_t i = 0; i < size; i++) k[i] = v[i] = NAN;
    for (int g = 0; g < kv_heads; g++) {
        count[g] = ragged && n > 1 ? in_range(t, 1, n) : n;
        if (count[g] > fullest) fullest = count[g];
        for (int j = 0; j < count[g]; j++) {
            int at = index[g * n + j] = view ? 2 * j + in_range(t, 0, 1) : j;
            int64_t row = ((int64_t)g * capacity + at) * dim;
            for (int d = 0; d < dim; d++) {
                k[row + d] = values == TIED ? (float)in_range(t, -1, 1) : values == SINK && j == 0 ? 2 : rounded(t, 1.5f * normal(t));
                v[row + d] = rounded(t, normal(t));
            }
        }
    }
    for (int s = 0; s < 2; s++) {
        part[s] = (sf_kv_part){.k = put_activations(t, s, k, size),
                               .v = put_activations(t, s, v, size),
                               .capacity = capacity,
                               .n = ragged ? fullest : n};
        if (ragged) part[s].count = put(t, s, count, (size_t)kv_heads * sizeof *count);
        if (view) part[s].stride = n, part[s].index = put(t, s, index, (size_t)(kv_heads * n) * sizeof *index);
    }
    free(k), free(v), free(count), free(index);
}

/* [n] of queries. */
static float *make_queries(twin *t, int64_t n, int values)
{
    float *q = randoms(t, n, 1.5f);
    for (int64_t i = 0; values == SINK && i < n; i++) q[i] = rounded(t, q[i] + .5f);
    return q;
}

/* On a host the reference takes as long as everything else; where it turns queries for each key, longer. */
static void smaller_on_host(const twin *t, bool rich, int *kv_heads, int group, int *dim)
{
    if (t->b[1].activation != SF_F32 && !rich) return;
    if (*kv_heads * group * *dim > 600) *kv_heads = 1;
    if (group * *dim > 600) *dim = t->b[1].activation == SF_F32 ? 16 : 64;
}

static double scene_tolerance(const twin *t, int values) { return values == LARGE ? fmax(t->tolerance, 1e-3) : t->tolerance; }
static float scene_scale(int dim, int values) { return (values == LARGE ? 3000 : 1) / sqrtf((float)dim); }

/* A cap on logits, where both compute one; of large scores it would make ties. */
static float scene_cap(twin *t, int values)
{
    bool able = t->b[0].ops->caps && t->b[1].ops->caps && values != LARGE;
    return able && in_range(t, 0, 3) == 0 ? 1.5f : 0;
}

static void make_scene(twin *t, scene *c, uint64_t seed, bool decode, bool rich, bool ragged, int most_keys)
{
    int kv_heads = ONE_OF(t, 1, 2, 3), group = ONE_OF(t, 1, 2, 3, 4, 7),
        dim = ONE_OF(t, 16, 40, 64, 64, 80, 128, 128, 128, 256, 256);
    smaller_on_host(t, rich, &kv_heads, group, &dim);
    int keys = in_range(t, 1, most_keys), queries = decode ? 1 : ONE_OF(t, 0, 1) ? keys : in_range(t, 1, keys);
    int tail = decode ? in_range(t, 0, keys - 1) / 3 : 0;
    int window = ONE_OF(t, 0, 0, 1) * in_range(t, 1, keys), values = in_range(t, 0, VALUES - 1);
    sf_kv_part prompt[2], rest[2];
    make_part(t, kv_heads, dim, keys - tail, ragged, values, prompt);
    make_part(t, kv_heads, dim, tail, false, values, rest);
    if (ragged) keys = prompt[0].n + tail, window = 0;
    float *q = make_queries(t, (int64_t)queries * kv_heads * group * dim, values);
    c->tolerance = scene_tolerance(t, values);
    float cap = scene_cap(t, values);
    for (int s = 0; s < 2; s++)
        c->a[s] = (sf_attention){.backend = &t->b[s],
                                 .layer = 3,
                                 .layers = 9,
                                 .heads = kv_heads * group,
                                 .kv_heads = kv_heads,
                                 .head_dim = dim,
                                 .queries = queries,
                                 .keys = keys,
                                 .window = window,
                                 .scale = scene_scale(dim, values),
                                 .softcap = cap,
                                 .q = put_activations(t, s, q, (int64_t)queries * kv_heads * group * dim),
                                 .kv = {prompt[s], rest[s], t->b[s].activation}};
    free(q);
    snprintf(c->what, sizeof c->what, "seed %llu: heads %d/%d dim %d queries %d keys %d tail %d window %d values %d%s%s",
             (unsigned long long)seed, kv_heads * group, kv_heads, dim, queries, keys, tail, window, values,
             ragged ? " ragged" : "", prompt[0].index ? " view" : "");
}

static void give_pairs(twin *t, scene *c)
{
    uint64_t zero[64] = {0};
    for (int s = 0; s < 2; s++) c->a[s].pairs = put(t, s, zero, (size_t)c->a[s].heads * sizeof *zero);
}

static void pairs_agree(twin *t, const scene *c)
{
    uint64_t pairs[2][64];
    for (int s = 0; s < 2; s++)
        fetch(t, s, pairs[s], c->a[s].pairs, (size_t)c->a[s].heads * sizeof(uint64_t));
    for (int h = 0; h < c->a[0].heads; h++)
        if (pairs[0][h] != pairs[1][h])
            fail_msg("%s: head %d counts %llu pairs, expected %llu", c->what, h, (unsigned long long)pairs[1][h],
                     (unsigned long long)pairs[0][h]);
}

static void random_pattern(twin *t, const sf_attention *a, sf_pattern_kind kind, sf_pattern p[2])
{
    sf_lists first[2] = {{0}}, second[2] = {{0}};
    int heads = ONE_OF(t, 0, 1) ? a->heads : a->kv_heads, page = ONE_OF(t, 1, 4, 16, 16, 33);
    int block_q = ONE_OF(t, 1, 8, 16, 16, 32, 64, 64, 100, 128),
        block_k = ONE_OF(t, 1, 8, 16, 16, 32, 64, 64, 100, 128);
    int sinks = in_range(t, 0, 70), local = in_range(t, 1, 90), last = ONE_OF(t, 0, 1) * in_range(t, 0, 20);
    if (kind == SF_BLOCKS) {
        /* every row needs a key: the diagonal is always there */
        int queries = (a->queries + block_q - 1) / block_q, keys = (a->keys + block_k - 1) / block_k;
        int64_t rows = (int64_t)heads * queries;
        int32_t *count = calloc((size_t)rows, sizeof *count), *index = calloc((size_t)rows * keys + 1, sizeof *index);
        for (int64_t r = 0; r < rows; r++) {
            int from = a->keys - a->queries + (int)(r % queries) * block_q,
                to = from + block_q - 1 < a->keys ? from + block_q - 1 : a->keys - 1;
            int density = ONE_OF(t, 0, 10, 40, 100);
            for (int j = 0; j < keys; j++)
                if (in_range(t, 0, 99) < density || (j >= from / block_k && j <= to / block_k))
                    index[r * keys + count[r]++] = j;
        }
        for (int s = 0; s < 2; s++)
            first[s] = (sf_lists){rows, keys, put(t, s, count, (size_t)rows * sizeof *count),
                                  put(t, s, index, (size_t)rows * keys * sizeof *index)};
        free(count), free(index);
    }
    if (kind == SF_COLUMNS_DIAGONALS) {
        random_lists(t, heads, a->keys, 0, first);
        random_lists(t, heads, a->keys, 1, second); /* the main diagonal: no row is empty */
    }
    if (kind == SF_PAGES) {
        heads = a->kv_heads;
        random_lists(t, heads, (a->keys + page - 1) / page, 1, first);
    }
    if (kind == SF_TOKENS) {
        heads = a->kv_heads;
        random_lists(t, heads, a->keys, 1, first);
    }
    for (int s = 0; s < 2; s++)
        p[s] = (sf_pattern){.kind = kind,
                            .heads = heads,
                            .block_q = block_q,
                            .block_k = block_k,
                            .page = page,
                            .sinks = sinks,
                            .local = local,
                            .last = last,
                            .first = first[s],
                            .second = second[s]};
}

/* ---- patterns that are more than one set of pairs under one softmax ---- */

__attribute__((format(printf, 2, 3))) static void tell(scene *c, const char *format, ...)
{
    size_t used = strlen(c->what);
    va_list list;
    va_start(list, format);
    vsnprintf(c->what + used, sizeof c->what - used, format, list);
    va_end(list);
}

static void put_both(twin *t, const void *x, size_t bytes, void *out[2])
{
    for (int s = 0; s < 2; s++) out[s] = put(t, s, x, bytes);
}

/* Normal numbers [d0, d1] or [d0, d1, d2] for both sides, f32 or activations. */
static void both_tensors(twin *t, bool activations, int64_t d0, int64_t d1, int64_t d2, sf_tensor out[2])
{
    int64_t n = d0 * d1 * (d2 ? d2 : 1);
    float *x = randoms(t, n, 1);
    for (int s = 0; s < 2; s++) {
        void *data = activations ? put_activations(t, s, x, n) : put(t, s, x, (size_t)n * sizeof *x);
        out[s] = (sf_tensor){data, activations ? t->b[s].activation : SF_F32, d2 ? 3 : 2, {d0, d1, d2}};
    }
    free(x);
}

static void give_bands(twin *t, int heads, const sf_band *band, sf_pattern p[2])
{
    void *at[2];
    put_both(t, band, (size_t)heads * SF_BANDS_A_HEAD * sizeof *band, at);
    for (int s = 0; s < 2; s++) p[s] = (sf_pattern){.kind = SF_BANDS, .heads = heads, .band = at[s], .empty = true};
}

static void random_bands(twin *t, scene *c, bool rows, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int heads = ONE_OF(t, 1, a->heads, a->kv_heads);
    sf_band *band = calloc((size_t)heads * SF_BANDS_A_HEAD, sizeof *band);
    for (int h = 0; h < heads; h++) {
        int near = ONE_OF(t, 0, 0, 1, 17, 90, 300);
        band[2 * h] = (sf_band){.sinks = ONE_OF(t, 0, 2), .far = ONE_OF(t, 1, 8, 33, 200), .step = ONE_OF(t, 1, 1, 3)};
        if (in_range(t, 0, 2)) continue;
        band[2 * h + 1] = (sf_band){.sinks = ONE_OF(t, 0, 0, 4, 40, 150), .apart = ONE_OF(t, 0, 1, 30), .near = near,
                                    .far = near + ONE_OF(t, 0, 1, 16, 70, 500), .step = ONE_OF(t, 1, 1, 2, 5, 64)};
    }
    give_bands(t, heads, band, p);
    free(band);
    sf_lists columns[2] = {{0}}, full[2] = {{0}};
    if (in_range(t, 0, 1)) random_lists(t, heads, a->keys, 0, columns);
    if (rows && in_range(t, 0, 1)) random_lists(t, heads, a->queries, 0, full);
    for (int s = 0; s < 2; s++) p[s].first = columns[s], p[s].second = full[s];
    tell(c, "; bands of %d heads, columns %d, rows %d", heads, columns[0].rows != 0, full[0].rows != 0);
}

/* Pages of 1, G or H lists, with a bias. */
static void random_pages(twin *t, scene *c, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int heads = ONE_OF(t, 1, a->heads, a->kv_heads), page = ONE_OF(t, 1, 1, 5, 16);
    sf_lists first[2];
    sf_tensor bias[2] = {{0}};
    random_lists(t, heads, (a->keys + page - 1) / page, 1, first);
    if (in_range(t, 0, 2)) both_tensors(t, false, heads, first[0].stride, 0, bias);
    for (int s = 0; s < 2; s++)
        p[s] = (sf_pattern){.kind = SF_PAGES, .heads = heads, .page = page, .first = first[s], .bias = bias[s], .empty = true};
    tell(c, "; pages of %d, heads %d, bias %d", page, heads, bias[0].data != NULL);
}

static void summarise(twin *t, scene *c, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int m = in_range(t, 1, a->keys + 1);
    int32_t *from = malloc((size_t)m * sizeof *from);
    void *at[2] = {NULL, NULL};
    sf_tensor k[2], v[2], bias[2] = {{0}};
    for (int i = 0; i < m; i++) from[i] = in_range(t, 0, a->keys + 3);
    if (in_range(t, 0, 1)) put_both(t, from, (size_t)m * sizeof *from, at);
    both_tensors(t, true, a->kv_heads, m, a->head_dim, k), both_tensors(t, true, a->kv_heads, m, a->head_dim, v);
    if (in_range(t, 0, 2)) both_tensors(t, false, ONE_OF(t, a->heads, a->kv_heads), m, 0, bias);
    for (int s = 0; s < 2; s++) p[s].sum = (sf_summaries){k[s], v[s], bias[s], at[s]};
    free(from);
    tell(c, "; %d summaries, from %d, bias %d", m, at[0] != NULL, (int)bias[0].dim[0]);
}

/* Where queries and keys are turned in bf16, as a prefill on a device does, logits of 1e4 would be off by tens. */
static void set_reach(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    if (!decode && t->b[1].activation != SF_F32 && a->scale * sqrtf((float)a->head_dim) > 2) return;
    int chunk = ONE_OF(t, 1, 6, 16, 50, INT_MAX), cap = (chunk < a->keys ? chunk : a->keys) - 1 + ONE_OF(t, 0, 2, 30);
    for (int s = 0; s < 2; s++) p[s].reach = (sf_reach){chunk, cap};
    tell(c, "; reach %d, %d", chunk, cap);
}

static void random_part(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    if (in_range(t, 0, 1)) {
        random_bands(t, c, !decode, p);
    } else if (decode && in_range(t, 0, 1)) {
        random_pages(t, c, p);
    } else {
        sf_pattern_kind kind = (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_WINDOW, decode ? SF_DENSE : SF_BLOCKS,
                                                       decode ? SF_WINDOW : SF_COLUMNS_DIAGONALS);
        random_pattern(t, &c->a[0], kind, p);
        if (kind == SF_COLUMNS_DIAGONALS && in_range(t, 0, 1)) /* one selection for all */
            for (int s = 0; s < 2; s++) p[s].heads = 1, p[s].first.rows = p[s].second.rows = 1;
        if (kind == SF_BLOCKS && in_range(t, 0, 1))
            for (int s = 0; s < 2; s++) p[s].first.rows /= p[s].heads, p[s].heads = 1;
        for (int s = 0; s < 2; s++) p[s].empty = true;
        tell(c, "; pattern %d of %d heads, blocks %dx%d", kind, p[0].heads, p[0].block_q, p[0].block_k);
    }
    if (!in_range(t, 0, 2)) summarise(t, c, p);
    if (in_range(t, 0, 1)) set_reach(t, c, decode, p);
}

/* Near and far distances in one softmax; or these, whatever is at hand, and a constant, gated. */
static void random_parts(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int cut = ONE_OF(t, 1, 8, 40), sinks = ONE_OF(t, 0, 3, 30), gated = in_range(t, 0, 1), parts = gated ? 4 : 2;
    sf_band band[2][SF_BANDS_A_HEAD] = {{{.far = cut, .step = 1}},
                                        {{.sinks = sinks, .apart = cut, .near = cut, .far = cut + ONE_OF(t, 0, 9, 400), .step = ONE_OF(t, 1, 3)}}};
    for (int k = 0; k < parts; k++) {
        sf_pattern part[2] = {{.kind = SF_CONSTANT}, {.kind = SF_CONSTANT}};
        sf_tensor gate[2] = {{0}}, value[2] = {{0}};
        tell(c, "; part %d", k);
        if (k < 2) {
            give_bands(t, 1, band[k], part);
            if (in_range(t, 0, 1)) set_reach(t, c, decode, part);
            if (!in_range(t, 0, 3)) summarise(t, c, part);
        }
        if (k == 2) random_part(t, c, decode, part);
        if (k == 3) both_tensors(t, true, a->kv_heads, 1, a->head_dim, value);
        if (gated && in_range(t, 0, 2)) both_tensors(t, false, ONE_OF(t, 1, a->queries), a->heads, 0, gate);
        int repeat = gated && k < 3 && !decode ? ONE_OF(t, 0, 0, 1, 5, 64) : 0;
        for (int s = 0; s < 2; s++) {
            if (k == 3) part[s].sum.v = value[s];
            part[s].gate = gate[s], part[s].repeat = repeat;
            c->a[s].part[k] = part[s];
        }
        tell(c, ", repeated %d", repeat);
    }
    for (int s = 0; s < 2; s++)
        p[s] = (sf_pattern){.kind = SF_PARTS, .part = c->a[s].part, .parts = parts, .gated = gated, .empty = true};
    tell(c, gated ? "; gated" : "; joined");
}

/* The keys of both sides are taken for rotated ones. */
static void rich_pattern(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    int half = c->a[0].head_dim / 2;
    float *frequency = malloc((size_t)(half + 1) * sizeof *frequency);
    void *at[2];
    bool interleaved = in_range(t, 0, 1);
    for (int d = 0; d < half; d++) frequency[d] = powf(10000, -(float)d / (float)half);
    put_both(t, frequency, (size_t)half * sizeof *frequency, at);
    for (int s = 0; s < 2; s++) c->a[s].frequency = at[s], c->a[s].interleaved = interleaved;
    free(frequency);
    if (in_range(t, 0, 2))
        random_part(t, c, decode, p);
    else
        random_parts(t, c, decode, p);
}

/* Room for log-sum-exps, which gated parts do not write. */
static void give_lse(twin *t, scene *c)
{
    for (int s = 0; s < 2; s++) c->a[s].lse = room(t, s, (size_t)c->a[s].queries * c->a[s].heads * sizeof(float));
}

static void lse_agree(twin *t, const scene *c, const sf_pattern *p)
{
    if (p->kind == SF_PARTS && p->gated) return;
    int64_t n = (int64_t)c->a[0].queries * c->a[0].heads;
    float *lse[2];
    for (int s = 0; s < 2; s++) lse[s] = get(t, s, c->a[s].lse, SF_F32, n);
    agree(t, lse[0], lse[1], n, c->tolerance, c->what);
    free(lse[0]), free(lse[1]);
}

static void observe_pattern(twin *t, scene *c, const sf_pattern p[2])
{
    uint64_t total[2];
    BOTH(t, count_pairs(&t->b[s], &c->a[s], &p[s], &total[s]));
    if (total[0] != total[1])
        fail_msg("%s: pattern %d: %llu pairs, expected %llu", c->what, p[0].kind, (unsigned long long)total[1],
                 (unsigned long long)total[0]);
    BOTH(t, check_pattern(&t->b[s], &c->a[s], &p[s], "twin"));
    int32_t row[3];
    for (int i = 0; i < 3; i++) row[i] = in_range(t, 0, c->a[0].queries - 1);
    float *covered[2];
    for (int s = 0; s < 2; s++) {
        void *to = room(t, s, (size_t)c->a[s].heads * sizeof(float));
        OK(t, s, t->b[s].ops->mass(&t->b[s], &c->a[s], &p[s], 3, row, to));
        covered[s] = get(t, s, to, SF_F32, c->a[s].heads);
    }
    agree(t, covered[0], covered[1], c->a[0].heads, c->tolerance, c->what);
    free(covered[0]), free(covered[1]);
}

/* Whether a row's keys come in groups that do not depend on the rows beside it. */
static bool cuts(const sf_pattern *p)
{
    return p->kind == SF_DENSE || (p->kind == SF_WINDOW && p->last == 0) || (p->kind == SF_BANDS && !p->first.rows && !p->second.rows);
}

static void prefill_rows(twin *t, uint64_t seed, int most_keys, bool rich)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, rich, false, most_keys);
    sf_pattern_kind kind = (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_BLOCKS, SF_BLOCKS, SF_COLUMNS_DIAGONALS, SF_WINDOW);
    if (!rich && t->b[1].activation != SF_F32 && (kind == SF_COLUMNS_DIAGONALS || kind == SF_BLOCKS)) c.a[0].window = c.a[1].window = 0;
    give_pairs(t, &c), give_lse(t, &c);
    sf_pattern p[2];
    if (rich)
        rich_pattern(t, &c, false, p);
    else
        random_pattern(t, &c.a[0], kind, p);
    tell(&c, " pattern %d heads %d block %dx%d", p[0].kind, p[0].heads, p[0].block_q, p[0].block_k);
    int64_t n = (int64_t)c.a[0].queries * c.a[0].heads * c.a[0].head_dim;
    float *out[2];
    void *to[2];
    for (int s = 0; s < 2; s++) to[s] = activation_room(t, s, n);
    BOTH(t, prefill(&t->b[s], &c.a[s], &p[s], to[s]));
    for (int s = 0; s < 2; s++) out[s] = get_activations(t, s, to[s], n);
    agree(t, out[0], out[1], n, c.tolerance, c.what);
    lse_agree(t, &c, p);
    pairs_agree(t, &c);
    observe_pattern(t, &c, p);
    if (cuts(&p[1]) && !p[1].sum.k.data) { /* cut in two: the same bits */
        int cut = in_range(t, 0, c.a[1].queries);
        int64_t width = (int64_t)c.a[1].heads * c.a[1].head_dim;
        sf_attention half = c.a[1];
        half.pairs = NULL, half.lse = NULL;
        void *cut_out = activation_room(t, 1, n);
        half.queries = cut, half.keys = c.a[1].keys - (c.a[1].queries - cut), half.kv.prompt.n = half.keys;
        if (cut) OK(t, 1, t->b[1].ops->prefill(&t->b[1], &half, &p[1], cut_out));
        size_t skip = sf_bytes(t->b[1].activation, cut * width);
        half.queries = c.a[1].queries - cut, half.keys = c.a[1].keys, half.kv.prompt.n = half.keys,
        half.q = (const char *)c.a[1].q + skip;
        if (half.queries) OK(t, 1, t->b[1].ops->prefill(&t->b[1], &half, &p[1], (char *)cut_out + skip));
        float *again = get_activations(t, 1, cut_out, n);
        for (int64_t i = 0; i < n; i++)
            if (again[i] != out[1][i])
                fail_msg("%s: cut after %d rows, row %lld differs", c.what, cut, (long long)(i / width));
        free(again);
    }
    free(out[0]), free(out[1]);
    end_case(t, c.what);
}

/* Rows normalised by α-entmax, of many rows and of one; what weighs is counted alike. Where all logits are as many units apart as
 * float has digits there, ties are broken by rounding: such values are left out. */
static void entmax_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    if (!t->b[1].ops->entmax) return;
    const bool decode = in_range(t, 0, 1);
    t->b[0].phase = t->b[1].phase = decode ? SF_DECODE : SF_PREFILL;
    scene c;
    make_scene(t, &c, seed, decode, false, decode && in_range(t, 0, 1), most_keys);
    const float alpha = (float[]){1.5f, 1.5f, 2, 1.25f, 1.01f, 1.77f}[in_range(t, 0, 5)], times = (float[]){1, 1, .01f, 10}[in_range(t, 0, 3)];
    sf_pattern p[2];
    sf_pattern_kind kind = decode ? (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_PAGES, SF_WINDOW)
                                  : (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_BLOCKS, SF_COLUMNS_DIAGONALS, SF_WINDOW);
    if (decode && c.a[0].kv.prompt.count) kind = SF_DENSE;
    random_pattern(t, &c.a[0], kind, p);
    give_pairs(t, &c);
    uint64_t zero[64] = {0}, weighed[2][64];
    const int64_t n = (int64_t)c.a[0].queries * c.a[0].heads * c.a[0].head_dim;
    void *to[2];
    float *out[2];
    for (int s = 0; s < 2; s++) {
        c.a[s].alpha = alpha;
        c.a[s].scale *= times;
        c.a[s].weighed = put(t, s, zero, (size_t)c.a[s].heads * sizeof *zero);
        to[s] = activation_room(t, s, n);
    }
    tell(&c, " alpha %g scale %g pattern %d", (double)alpha, (double)c.a[0].scale, kind);
    for (int s = 0; s < 2; s++) {
        const sf_attention *lane = &c.a[s];
        const sf_pattern *one = &p[s];
        if (decode) OK(t, s, t->b[s].ops->decode(&t->b[s], 1, &lane, &one, to[s]));
        else OK(t, s, t->b[s].ops->prefill(&t->b[s], lane, one, to[s]));
        out[s] = get_activations(t, s, to[s], n);
        fetch(t, s, weighed[s], c.a[s].weighed, (size_t)c.a[s].heads * sizeof **weighed);
    }
    agree(t, out[0], out[1], n, c.tolerance, c.what);
    pairs_agree(t, &c);
    for (int h = 0; h < c.a[0].heads; h++) /* float and double may part where a weight is 1e-14 */
        if (llabs((long long)(weighed[0][h] - weighed[1][h])) > (long long)(weighed[0][h] / 1000 + 1))
            fail_msg("%s: head %d: %llu keys weigh, expected %llu", c.what, h, (unsigned long long)weighed[1][h], (unsigned long long)weighed[0][h]);
    observe_pattern(t, &c, p);
    free(out[0]), free(out[1]);
    t->b[0].phase = t->b[1].phase = SF_PREFILL;
    end_case(t, c.what);
}

static void prefill_case(twin *t, uint64_t seed, int most_keys) { prefill_rows(t, seed, most_keys, false); }
static void patterns_case(twin *t, uint64_t seed, int most_keys) { prefill_rows(t, seed, most_keys, true); }

/* Columns and diagonals within a density: by fit_slashes() or by the search that does without, the same. */
static void within_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    int rows = ONE_OF(t, 0, 1) ? c.a[0].heads : c.a[0].kv_heads, n = c.a[0].keys, kind = in_range(t, 0, 2);
    double density = in_range(t, 0, 1000) / 1000.;
    snprintf(c.what + strlen(c.what), 100, " rows %d density %g kind %d", rows, density, kind);
    float *x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = malloc((size_t)rows * n * sizeof **x);
        for (int j = 0; j < rows * n; j++) {
            x[i][j] = kind == 1 ? (float)in_range(t, 0, 5) : expf(3 * normal(t)); /* ties */
            if (j % n < 5) x[i][j] = INFINITY;
            else if (kind == 2 && in_range(t, 0, 4) == 0) x[i][j] = ONE_OF(t, 0, 1) ? -INFINITY : NAN;
        }
    }
    sf_pattern p[2];
    sf_mark mark[2];
    for (int s = 0; s < 2; s++) {
        c.a[s].window = 0;
        mark[s] = sf_scratch_mark(&t->b[s]);
        sf_tensor column = tensor(put(t, s, x[0], (size_t)rows * n * sizeof **x), SF_F32, rows, n),
                  diagonal = tensor(put(t, s, x[1], (size_t)rows * n * sizeof **x), SF_F32, rows, n);
        OK(t, s, sf_columns_and_diagonals_within(&c.a[s], &p[s], column, diagonal, density));
    }
    if (p[0].first.stride != p[1].first.stride || p[0].second.stride != p[1].second.stride)
        fail_msg("%s: %d columns and %d diagonals, expected %d and %d", c.what, (int)p[1].first.stride,
                 (int)p[1].second.stride, (int)p[0].first.stride, (int)p[0].second.stride);
    for (int i = 0; i < 2; i++)
        lists_agree(t, (sf_lists[]){i ? p[0].second : p[0].first, i ? p[1].second : p[1].first}, false, c.what);
    for (int s = 0; s < 2; s++) sf_scratch_release(&t->b[s], mark[s]), free(x[s]);
    end_case(t, c.what);
}

static const float *probed[2]; /* what a probe finds, where the filling's memory is */

static sf_status probe_given(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce, float *column, float *diagonal)
{
    (void)window, (void)step, (void)reduce;
    const size_t bytes = (size_t)a->heads * (size_t)a->keys * sizeof *column;
    SF_TRY(b->ops->copy(b, column, probed[0], bytes));
    return b->ops->copy(b, diagonal, probed[1], bytes);
}

/* Columns and diagonals by their mass within a density, as FlexPrefill asks for them: by fit_masses(), or by the search that does
 * without on the same filling, the same lists and counts. */
static void masses_case(twin *t, uint64_t seed, int most_keys)
{
    extern const sf_method sf_flex_prefill;
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    sf_attention *a = &c.a[1];
    const int rows = a->heads, n = a->keys, kind = in_range(t, 0, 2), least = ONE_OF(t, 1, 2, 5, 512), sinks = ONE_OF(t, 0, 1, 4),
              local = ONE_OF(t, 1, 10, 64);
    const double density = in_range(t, 1, 1000) / 1000.;
    snprintf(c.what + strlen(c.what), 100, " density %g least %d forced %d %d kind %d", density, least, sinks, local, kind);
    double params[16];
    for (const sf_param *p = sf_flex_prefill.params; p->name; p++) {
        void *at = (char *)params + p->offset;
        if (p->type == SF_REAL) *(double *)at = strcmp(p->name, "density") ? p->initial : density;
        if (p->type == SF_INT) *(int *)at = !strcmp(p->name, "min_budget") ? least : !strcmp(p->name, "sinks") ? sinks : local;
    }
    a->window = 0;
    for (int i = 0; i < 2; i++) {
        float *x = malloc((size_t)rows * (size_t)n * sizeof *x);
        for (int j = 0; j < rows * n; j++) {
            x[j] = kind == 1 ? (float)ONE_OF(t, 0, 1, 1, 2, 5) * 0.1f : expf(3 * normal(t)); /* ties */
            if (kind == 2 && in_range(t, 0, 4) == 0) x[j] = ONE_OF(t, 0, 1) ? -INFINITY : NAN;
        }
        probed[i] = put(t, 1, x, (size_t)rows * (size_t)n * sizeof *x);
        free(x);
    }
    sf_pattern p[2] = {0};
    sf_meter counts[2] = {0};
    const sf_backend_ops *real = t->b[1].ops;
    const sf_mark mark = sf_scratch_mark(&t->b[1]);
    for (int s = 0; s < 2; s++) {
        sf_backend_ops ops = *real;
        ops.probe = probe_given;
        if (s == 0) ops.fit_masses = NULL;
        t->b[1].ops = &ops, t->b[1].meter = &counts[s];
        OK(t, 1, sf_flex_prefill.prefill(a, params, &p[s]));
        t->b[1].ops = real, t->b[1].meter = &t->meter[1];
    }
    if (p[0].kind != p[1].kind || memcmp(&counts[0], &counts[1], sizeof counts[0]) != 0)
        fail_msg("%s: pattern %d, expected %d, or other counts", c.what, (int)p[1].kind, (int)p[0].kind);
    for (int i = 0; i < 2 && p[0].kind == SF_COLUMNS_DIAGONALS; i++) {
        const sf_lists *of[2] = {i ? &p[0].second : &p[0].first, i ? &p[1].second : &p[1].first};
        int32_t *count[2], *index[2];
        for (int s = 0; s < 2; s++) {
            count[s] = malloc((size_t)of[s]->rows * sizeof **count), index[s] = malloc((size_t)(of[s]->rows * of[s]->stride + 1) * sizeof **index);
            fetch(t, 1, count[s], of[s]->count, (size_t)of[s]->rows * sizeof **count);
            for (int64_t r = 0; r < of[s]->rows; r++)
                fetch(t, 1, index[s] + r * of[s]->stride, of[s]->index + r * of[s]->stride, (size_t)count[s][r] * sizeof **index);
        }
        for (int64_t r = 0; r < of[0]->rows; r++)
            if (count[0][r] != count[1][r] || memcmp(index[0] + r * of[0]->stride, index[1] + r * of[1]->stride, (size_t)count[0][r] * sizeof **index))
                fail_msg("%s: list %d of row %d: %d entries, expected %d, or others", c.what, i, (int)r, count[1][r], count[0][r]);
        for (int s = 0; s < 2; s++) free(count[s]), free(index[s]);
    }
    sf_scratch_release(&t->b[1], mark);
    end_case(t, c.what);
}

static void decode_lanes(twin *t, uint64_t seed, int most_keys, bool rich)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    enum { LANES = 3 };
    scene c[LANES];
    sf_pattern p[LANES][2];
    const sf_attention *a[2][LANES];
    const sf_pattern *q[2][LANES];
    uint64_t shape = next_random(t);
    for (int l = 0; l < LANES; l++) {
        /* lanes of one model: the same heads, other lengths */
        bool ragged = l == 1;
        t->seed = shape;
        int kv_heads = ONE_OF(t, 1, 2, 8), group = ONE_OF(t, 1, 2, 3, 4, 7, 20),
            dim = ONE_OF(t, 16, 40, 64, 128, 128, 256);
        smaller_on_host(t, rich, &kv_heads, group, &dim);
        t->seed = shape + 77u * (uint64_t)(l + 1);
        int keys = in_range(t, 1, most_keys), tail = in_range(t, 0, keys - 1) / 3,
            window = ragged ? 0 : ONE_OF(t, 0, 0, 1) * in_range(t, 1, keys), values = (int)(seed % VALUES);
        sf_kv_part prompt[2], rest[2];
        make_part(t, kv_heads, dim, keys - tail, ragged, values, prompt);
        make_part(t, kv_heads, dim, tail, false, values, rest);
        keys = prompt[0].n + tail;
        float *x = make_queries(t, (int64_t)kv_heads * group * dim, values);
        c[l].tolerance = scene_tolerance(t, values);
        float cap = scene_cap(t, values);
        for (int s = 0; s < 2; s++)
            c[l].a[s] = (sf_attention){.backend = &t->b[s],
                                       .layer = 3,
                                       .layers = 9,
                                       .heads = kv_heads * group,
                                       .kv_heads = kv_heads,
                                       .head_dim = dim,
                                       .queries = 1,
                                       .keys = keys,
                                       .window = window,
                                       .scale = scene_scale(dim, values),
                                 .softcap = cap,
                                       .q = put_activations(t, s, x, (int64_t)kv_heads * group * dim),
                                       .kv = {prompt[s], rest[s], t->b[s].activation}};
        free(x);
        snprintf(c[l].what, sizeof c[l].what, "seed %llu: decode lane %d heads %d/%d dim %d keys %d tail %d window %d values %d%s",
                 (unsigned long long)seed, l, kv_heads * group, kv_heads, dim, keys, tail, window, values, ragged ? " ragged" : "");
        if (kv_heads * group <= 64) give_pairs(t, &c[l]);
        give_lse(t, &c[l]);
        if (rich && (ragged || in_range(t, 0, 3)))
            rich_pattern(t, &c[l], true, p[l]);
        else
            random_pattern(t, &c[l].a[0],
                           ragged ? SF_DENSE : (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_PAGES, SF_PAGES, SF_WINDOW), p[l]);
        if (p[l][0].kind == SF_PAGES && !p[l][0].empty) c[l].a[0].window = c[l].a[1].window = 0;
        tell(&c[l], " pattern %d page %d", p[l][0].kind, p[l][0].page);
        for (int s = 0; s < 2; s++) a[s][l] = &c[l].a[s], q[s][l] = &p[l][s];
    }
    int64_t n = (int64_t)c[0].a[0].heads * c[0].a[0].head_dim;
    float *out[2];
    void *to[2];
    for (int s = 0; s < 2; s++) to[s] = activation_room(t, s, LANES * n);
    BOTH(t, decode(&t->b[s], LANES, a[s], q[s], to[s]));
    for (int s = 0; s < 2; s++) out[s] = get_activations(t, s, to[s], LANES * n);
    for (int l = 0; l < LANES; l++) {
        agree(t, out[0] + l * n, out[1] + l * n, n, c[l].tolerance, c[l].what);
        lse_agree(t, &c[l], p[l]);
        if (c[l].a[0].pairs) pairs_agree(t, &c[l]);
        observe_pattern(t, &c[l], p[l]);
        c[l].a[1].pairs = NULL, c[l].a[1].lse = NULL; /* alone: the same bits */
        void *one = activation_room(t, 1, n);
        OK(t, 1, t->b[1].ops->decode(&t->b[1], 1, &a[1][l], &q[1][l], one));
        float *alone = get_activations(t, 1, one, n);
        if (memcmp(alone, out[1] + l * n, (size_t)n * sizeof(float)) != 0)
            fail_msg("%s: the lane alone differs from the lane in company", c[l].what);
        free(alone);
    }
    free(out[0]), free(out[1]);
    end_case(t, c[0].what);
}

static void decode_case(twin *t, uint64_t seed, int most_keys) { decode_lanes(t, seed, most_keys, false); }
static void decode_patterns_case(twin *t, uint64_t seed, int most_keys) { decode_lanes(t, seed, most_keys, true); }

static void cache_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    enum { LANES = 3 };
    int kv_heads = in_range(t, 1, 4), dim = ONE_OF(t, 16, 40, 64, 128), rows = in_range(t, 1, 20);
    snprintf(what, sizeof what, "seed %llu: cache kv heads %d dim %d rows %d", (unsigned long long)seed, kv_heads, dim,
             rows);
    sf_kv_part lane[LANES][2], *part[2][LANES], to[2];
    void *stored[2];
    int64_t n = (int64_t)LANES * rows * kv_heads * dim;
    float *k = randoms(t, n, 1), *v = randoms(t, n, 1);
    for (int l = 0; l < LANES; l++) {
        int there = in_range(t, 0, 30);
        make_part(t, kv_heads, dim, there + rows, false, PLAIN, lane[l]);
        for (int s = 0; s < 2; s++) lane[l][s].n = there, part[s][l] = &lane[l][s];
    }
    for (int s = 0; s < 2; s++) {
        void *from_k = put_activations(t, s, k, n), *from_v = put_activations(t, s, v, n);
        OK(t, s, t->b[s].ops->store_kv(&t->b[s], LANES, part[s], rows, kv_heads, dim, from_k, from_v));
        stored[0] = from_k, stored[1] = from_v;
        for (int l = 0; l < LANES; l++) lane[l][s].n += rows;
    }
    if (t->b[1].activation == t->b[0].activation) { /* row by row gives the same cache */
        sf_kv_part piece = lane[0][1], *only = &piece;
        int64_t size = (int64_t)kv_heads * piece.capacity * dim;
        float *whole[] = {get_activations(t, 1, piece.k, size), get_activations(t, 1, piece.v, size)};
        sf_meter counted = t->meter[1];
        piece.k = activation_room(t, 1, size), piece.v = activation_room(t, 1, size);
        OK(t, 1, t->b[1].ops->copy(&t->b[1], (void *)piece.k, lane[0][1].k, sf_bytes(t->b[1].activation, size)));
        OK(t, 1, t->b[1].ops->copy(&t->b[1], (void *)piece.v, lane[0][1].v, sf_bytes(t->b[1].activation, size)));
        piece.n = lane[0][1].n - rows;
        for (int r = 0; r < rows; r++, piece.n++) {
            size_t at = sf_bytes(t->b[1].activation, (int64_t)r * kv_heads * dim);
            OK(t, 1, t->b[1].ops->store_kv(&t->b[1], 1, &only, 1, kv_heads, dim, (char *)stored[0] + at, (char *)stored[1] + at));
        }
        t->meter[1] = counted;
        for (int i = 0; i < 2; i++) {
            float *again = get_activations(t, 1, i ? piece.v : piece.k, size);
            assert_memory_equal(again, whole[i], (size_t)size * sizeof *again);
            free(again), free(whole[i]);
        }
    }
    sf_lists keep[2];
    random_lists(t, kv_heads, lane[0][0].n, 0, keep);
    for (int s = 0; s < 2; s++) {
        int64_t size = (int64_t)kv_heads * keep[s].stride * dim;
        to[s] = (sf_kv_part){.k = activation_room(t, s, size),
                             .v = activation_room(t, s, size),
                             .capacity = keep[s].stride,
                             .count = room(t, s, (size_t)kv_heads * 4)};
        OK(t, s, t->b[s].ops->gather_kv(&t->b[s], &lane[0][s], &keep[s], dim, &to[s]));
    }
    assert_int_equal(to[0].n, to[1].n);
    for (int l = 0; l < LANES; l++) {
        int64_t size = (int64_t)kv_heads * lane[l][0].capacity * dim;
        for (int i = 0; i < 2; i++) {
            float *a = get_activations(t, 0, i ? lane[l][0].v : lane[l][0].k, size),
                  *b = get_activations(t, 1, i ? lane[l][1].v : lane[l][1].k, size);
            agree(t, a, b, size, 0, what);
            free(a), free(b);
        }
    }
    int64_t size = (int64_t)kv_heads * to[0].capacity * dim;
    float *a = get_activations(t, 0, to[0].v, size), *b = get_activations(t, 1, to[1].v, size);
    agree(t, a, b, size, 0, what);
    if (t->b[1].ops->views) { /* a view of them names the same values, and counts the same */
        sf_meter counted = t->meter[1];
        sf_kv_part view = {.count = room(t, 1, (size_t)kv_heads * 4), .stride = keep[1].stride,
                           .index = room(t, 1, (size_t)(kv_heads * keep[1].stride) * 4)};
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        OK(t, 1, t->b[1].ops->gather_kv(&t->b[1], &lane[0][1], &keep[1], dim, &view));
        assert_int_equal(view.n, to[1].n);
        sf_meter viewed = t->meter[1];
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        OK(t, 1, t->b[1].ops->gather_kv(&t->b[1], &lane[0][1], &keep[1], dim, &to[1]));
        assert_memory_equal(&viewed, &t->meter[1], sizeof viewed);
        t->meter[1] = counted;
        for (int64_t g = 0; g < kv_heads; g++)
            for (int i = 0; i < keep[1].count[g]; i++)
                assert_memory_equal((float *)view.v + sf_kv_row(&view, (int)g, i) * dim, b + (g * to[1].capacity + i) * dim,
                                    (size_t)dim * sizeof *b);
    }
    free(a), free(b), free(k), free(v);
    end_case(t, what);
}

/* Rows of a cache in each format, more lanes than a launch takes, beside some that have none; to the bit, but for the rounding to
 * bf16. Rows before and behind those that were stored stay. */
static void round_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    enum { LANES = 35 };
    int lanes = ONE_OF(t, 1, 3, LANES), kv_heads = in_range(t, 1, 4), dim = ONE_OF(t, 32, 64, 96, 128), rows = ONE_OF(t, 1, 2, 7, 40);
    bool odd = ONE_OF(t, 0, 0, 1); /* dimensions that groups of 32 do not fit */
    if (odd) dim += 7;
    snprintf(what, sizeof what, "seed %llu: rounding %d lanes, kv heads %d dim %d rows %d", (unsigned long long)seed, lanes, kv_heads, dim, rows);
    sf_kv_part lane[LANES][2], *part[2][LANES];
    float *before[LANES][2];
    for (int l = 0; l < lanes; l++) {
        const int format = in_range(t, 0, odd ? 2 : 3), there = in_range(t, 0, 5), capacity = there + rows + in_range(t, 0, 3);
        const int64_t size = (int64_t)kv_heads * capacity * dim;
        for (int i = 0; i < 2; i++) {
            float *x = before[l][i] = randoms(t, size, ONE_OF(t, 1, 1, 30, 1000));
            for (int64_t r = 0; r < size / dim; r++) /* rows of nothing, tiny ones, whole steps and their halves, largest ones of both signs */
                for (int d = 0, kind = in_range(t, 0, 7); d < dim; d++) {
                    float *own = &x[r * dim + d];
                    if (kind == 0) *own = 0;
                    if (kind == 1) *own = rounded(t, *own * 1e-7f);
                    if (kind == 2) *own = (float)in_range(t, -254, 254) / 2;
                    if (kind == 3 && d % 3 == 0) *own = in_range(t, 0, 1) ? 4 : -4;
                    if (kind == 4 && d == 0) *own = NAN;
                }
            for (int s = 0; s < 2; s++) *(i ? &lane[l][s].v : &lane[l][s].k) = put_activations(t, s, x, size);
        }
        for (int s = 0; s < 2; s++) {
            void *k = lane[l][s].k, *v = lane[l][s].v;
            lane[l][s] = (sf_kv_part){.k = k, .v = v, .capacity = capacity, .n = there, .format = format < 3 ? &sf_cache_formats[format] : NULL};
            if (odd && format == 2) lane[l][s].format = NULL;
            part[s][l] = &lane[l][s];
        }
    }
    BOTH(t, round_kv(&t->b[s], lanes, part[s], rows, kv_heads, dim));
    for (int l = 0; l < lanes; l++) {
        const int64_t size = (int64_t)kv_heads * lane[l][0].capacity * dim;
        for (int i = 0; i < 2; i++) {
            float *a = get_activations(t, 0, i ? lane[l][0].v : lane[l][0].k, size), *b = get_activations(t, 1, i ? lane[l][1].v : lane[l][1].k, size);
            for (int64_t e = 0; e < size; e++) {
                const int row = (int)(e / dim % lane[l][0].capacity) - lane[l][0].n;
                const float want = t->b[1].activation == SF_F32 ? a[e] : rounded(t, a[e]);
                if (!(isnan(want) && isnan(b[e])) && memcmp(&want, &b[e], sizeof want) != 0)
                    fail_msg("%s: lane %d format %s element %lld is %.9g, expected %.9g of %.9g", what, l,
                             lane[l][0].format ? lane[l][0].format->name : "none", (long long)e, b[e], want, before[l][i][e]);
                if ((row < 0 || row >= rows || !lane[l][0].format) && !isnan(want) && want != before[l][i][e])
                    fail_msg("%s: lane %d element %lld was %.9g and became %.9g", what, l, (long long)e, before[l][i][e], want);
            }
            free(a), free(b), free(before[l][i]);
        }
    }
    end_case(t, what);
}

/* ---- estimation ---- */

static void probe_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    int w = ONE_OF(t, 0, 0, 0, 1) ? c.a[0].queries : in_range(t, 1, 150);
    sf_reduce reduce = (sf_reduce)in_range(t, 0, 2);
    int step = ONE_OF(t, 1, 1, 3, 20);
    bool columns = step > 1 || ONE_OF(t, 0, 1, 1), diagonals = step == 1 && (!columns || ONE_OF(t, 0, 1));
    snprintf(c.what + strlen(c.what), 60, " probe %d step %d reduce %d", w, step, reduce);
    int64_t n = (int64_t)c.a[0].heads * c.a[0].keys;
    void *column[2], *diagonal[2];
    for (int s = 0; s < 2; s++) {
        column[s] = columns ? room(t, s, (size_t)n * sizeof(float)) : NULL;
        diagonal[s] = diagonals ? room(t, s, (size_t)n * sizeof(float)) : NULL;
    }
    BOTH(t, probe(&t->b[s], &c.a[s], w, step, reduce, column[s], diagonal[s]));
    for (int i = 0; i < 2; i++) {
        if (!(i ? columns : diagonals)) continue;
        float *a = get(t, 0, i ? column[0] : diagonal[0], SF_F32, n),
              *b = get(t, 1, i ? column[1] : diagonal[1], SF_F32, n);
        agree(t, a, b, n, c.tolerance, c.what);
        free(a), free(b);
    }
    end_case(t, c.what);
}

static void blocks_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    c.a[0].window = c.a[1].window = 0;
    const sf_attention *a = &c.a[0];
    int block_q = ONE_OF(t, 1, 8, 16, 16, 64, 128), block_k = ONE_OF(t, 1, 8, 16, 16, 64, 128),
        heads = ONE_OF(t, 0, 1) ? a->heads : a->kv_heads;
    int queries = (a->queries + block_q - 1) / block_q, keys = (a->keys + block_k - 1) / block_k,
        k = in_range(t, 1, keys + 1);
    int sinks = in_range(t, 0, 2), local = in_range(t, 0, 2);
    snprintf(c.what + strlen(c.what), 90, " blocks %dx%d of %d heads, top %d, forced %d %d", block_q, block_k, heads, k,
             sinks, local);
    void *q[2], *m[2], *p[2];
    sf_lists out[2], mass[2];
    for (int s = 0; s < 2; s++) {
        q[s] = room(t, s, (size_t)a->heads * queries * a->head_dim * sizeof(float));
        m[s] = room(t, s, (size_t)a->kv_heads * keys * a->head_dim * sizeof(float));
        p[s] = room(t, s, (size_t)a->heads * queries * keys * sizeof(float));
    }
    BOTH(t, block_means(&t->b[s], &c.a[s], false, block_q, q[s]));
    BOTH(t, block_means(&t->b[s], &c.a[s], true, block_k, m[s]));
    for (int i = 0; i < 2; i++) {
        int64_t n = (int64_t)(i ? a->kv_heads * keys : a->heads * queries) * a->head_dim;
        float *x = get(t, 0, i ? m[0] : q[0], SF_F32, n), *y = get(t, 1, i ? m[1] : q[1], SF_F32, n);
        agree(t, x, y, n, 1e-5, c.what);
        free(x), free(y);
    }
    for (int s = 0; s < 2; s++)
        out[s] = empty_lists(t, s, (int64_t)heads * queries, keys + 2),
        mass[s] = empty_lists(t, s, (int64_t)heads * queries, keys + 2);
    BOTH(t, top_blocks(&t->b[s], &c.a[s], q[s], block_q, m[s], block_k, heads, k, sinks, local, &out[s]));
    lists_agree(t, out, true, c.what);
    if (t->b[1].activation == SF_F32) { /* means so few and so round that scores are exact in any order, and ties are ties */
        int64_t nq = (int64_t)a->heads * queries * a->head_dim, nk = (int64_t)a->kv_heads * keys * a->head_dim;
        float *round = malloc((size_t)(nq + nk) * sizeof *round);
        void *rq[2], *rk[2];
        for (int64_t i = 0; i < nq + nk; i++) round[i] = (float)in_range(t, -2, 2) / 2;
        for (int s = 0; s < 2; s++) {
            rq[s] = put(t, s, round, (size_t)nq * sizeof *round), rk[s] = put(t, s, round + nq, (size_t)nk * sizeof *round);
            out[s] = empty_lists(t, s, (int64_t)heads * queries, keys + 2);
        }
        BOTH(t, top_blocks(&t->b[s], &c.a[s], rq[s], block_q, rk[s], block_k, heads, k, sinks, local, &out[s]));
        lists_agree(t, out, false, c.what);
        free(round);
    }
    BOTH(t, block_probabilities(&t->b[s], &c.a[s], q[s], block_q, m[s], block_k, p[s]));
    int64_t n = (int64_t)a->heads * queries * keys;
    float *x = get(t, 0, p[0], SF_F32, n), *y = get(t, 1, p[1], SF_F32, n);
    agree(t, x, y, n, c.tolerance, c.what);
    free(x), free(y);
    BOTH(t, top_block_mass(&t->b[s], &c.a[s], block_q, block_k, heads, k, &mass[s]));
    lists_agree(t, mass, true, c.what);
    end_case(t, c.what);
}

static void pages_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, ONE_OF(t, 0, 0, 1), most_keys);
    const sf_attention *a = &c.a[0];
    int page = ONE_OF(t, 1, 4, 16, 16, 33), there = (a->keys + page - 1) / page, pages = there + in_range(t, 0, 5),
        first = in_range(t, 0, a->keys - 1);
    snprintf(c.what + strlen(c.what), 60, " page %d first %d", page, first);
    int64_t n = (int64_t)a->kv_heads * pages * a->head_dim;
    void *low[2], *high[2], *score[2], *p[2];
    for (int s = 0; s < 2; s++) {
        low[s] = room(t, s, (size_t)n * sizeof(float)), high[s] = room(t, s, (size_t)n * sizeof(float));
        score[s] = room(t, s, (size_t)a->kv_heads * there * sizeof(float)),
        p[s] = room(t, s, (size_t)a->heads * a->keys * sizeof(float));
    }
    BOTH(t, page_bounds(&t->b[s], &c.a[s], page, first, pages, low[s], high[s]));
    for (int i = 0; i < 2; i++) { /* pages before the first one stay poisoned on both sides */
        float *x = get(t, 0, i ? low[0] : high[0], SF_F32, n), *y = get(t, 1, i ? low[1] : high[1], SF_F32, n);
        agree(t, x, y, n, 0, c.what);
        free(x), free(y);
    }
    BOTH(t, page_bounds(&t->b[s], &c.a[s], page, 0, pages, low[s], high[s]));
    BOTH(t, page_scores(&t->b[s], &c.a[s], page, pages, low[s], high[s], score[s]));
    float *x = get(t, 0, score[0], SF_F32, (int64_t)a->kv_heads * there),
          *y = get(t, 1, score[1], SF_F32, (int64_t)a->kv_heads * there);
    agree(t, x, y, (int64_t)a->kv_heads * there, fmin(t->tolerance, 1e-4), c.what);
    free(x), free(y);
    BOTH(t, key_probabilities(&t->b[s], &c.a[s], p[s]));
    x = get(t, 0, p[0], SF_F32, (int64_t)a->heads * a->keys), y = get(t, 1, p[1], SF_F32, (int64_t)a->heads * a->keys);
    agree(t, x, y, (int64_t)a->heads * a->keys, c.tolerance, c.what);
    free(x), free(y);
    end_case(t, c.what);
}

static void scores_agree(twin *t, void *const at[2], int64_t n, double tolerance, const char *what)
{
    float *x = get(t, 0, at[0], SF_F32, n), *y = get(t, 1, at[1], SF_F32, n);
    agree(t, x, y, n, tolerance, what);
    free(x), free(y);
}

static void activations_agree(twin *t, void *const at[2], int64_t n, double tolerance, const char *what)
{
    float *x = get_activations(t, 0, at[0], n), *y = get_activations(t, 1, at[1], n);
    agree(t, x, y, n, tolerance, what);
    free(x), free(y);
}

static void antidiagonals_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    c.a[0].window = c.a[1].window = 0, c.a[0].softcap = c.a[1].softcap = 0;
    int stride = ONE_OF(t, 1, 3, 4, 8, 16), block = stride * ONE_OF(t, 1, 2, 4, 8);
    int64_t n = (int64_t)a->heads * ((a->queries + block - 1) / block) * ((a->keys + block - 1) / block);
    snprintf(c.what + strlen(c.what), 60, " antidiagonals block %d stride %d", block, stride);
    void *p[2];
    for (int s = 0; s < 2; s++) p[s] = room(t, s, (size_t)n * sizeof(float));
    BOTH(t, antidiagonals(&t->b[s], &c.a[s], block, stride, p[s]));
    scores_agree(t, p, n, c.tolerance, c.what);

    int segment = in_range(t, 1, a->queries);
    if (a->queries == a->keys) { /* and what stands for segments */
        int64_t m = a->keys / segment, size = a->kv_heads * m * a->head_dim;
        void *k[2], *v[2];
        for (int s = 0; s < 2; s++) k[s] = activation_room(t, s, size), v[s] = activation_room(t, s, size);
        BOTH(t, segment_summaries(&t->b[s], &c.a[s], segment, m, k[s], v[s]));
        activations_agree(t, k, size, c.tolerance, c.what);
        activations_agree(t, v, size, c.tolerance, c.what);
    }
    end_case(t, c.what);
}

/* Lists [G] of `r` of R components. */
static void component_lists(twin *t, int kv_heads, int R, int r, sf_lists at[2])
{
    int32_t *count = malloc((size_t)kv_heads * sizeof *count), *index = malloc((size_t)(kv_heads * r) * sizeof *index);
    for (int g = 0; g < kv_heads; g++) {
        count[g] = 0;
        for (int c = 0; c < R; c++)
            if (in_range(t, 0, R - c - 1) < r - count[g]) index[g * r + count[g]++] = c;
    }
    for (int s = 0; s < 2; s++)
        at[s] = (sf_lists){kv_heads, r, put(t, s, count, (size_t)kv_heads * sizeof *count),
                           put(t, s, index, (size_t)(kv_heads * r) * sizeof *index)};
    free(count), free(index);
}

static void components_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    c.a[0].window = c.a[1].window = 0, c.a[0].softcap = c.a[1].softcap = 0;
    int dim = a->head_dim, own = ONE_OF(t, 0, 1), R = own ? dim : in_range(t, 1, dim), r = in_range(t, 1, R), first = in_range(t, 0, a->keys);
    int64_t stride = a->keys + in_range(t, 0, 9), H = a->heads, G = a->kv_heads, N = a->keys;
    bool tempered = in_range(t, 0, 1), all = in_range(t, 0, 3) == 0;
    snprintf(c.what + strlen(c.what), 90, " components %d of %d%s%s first %d", r, R, own ? " own" : "", tempered ? " tempered" : "", first);
    void *basis[2] = {0}, *q[2], *k[2], *score[2], *sum[2];
    float *table = randoms(t, G * dim * R, .3f);
    sf_lists at[2], keys[2];
    component_lists(t, (int)G, R, r, at);
    component_lists(t, ONE_OF(t, 1, (int)G, (int)H), (int)N, in_range(t, 1, (int)N), keys);
    for (int s = 0; s < 2; s++) {
        if (!own) basis[s] = put(t, s, table, (size_t)(G * dim * R) * sizeof *table);
        q[s] = room(t, s, (size_t)(H * R) * sizeof(float)), k[s] = activation_room(t, s, G * R * stride);
        score[s] = room(t, s, (size_t)(H * N) * sizeof(float)), sum[s] = room(t, s, (size_t)(2 * H) * sizeof(float));
    }
    BOTH(t, components(&t->b[s], &c.a[s], false, basis[s], R, 0, 0, q[s]));
    BOTH(t, components(&t->b[s], &c.a[s], true, basis[s], R, first, stride, k[s]));
    activations_agree(t, k, G * R * stride, t->tolerance, c.what); /* columns before the first stay poisoned on both sides */
    BOTH(t, components(&t->b[s], &c.a[s], true, basis[s], R, 0, stride, k[s]));
    scores_agree(t, q, H * R, 1e-5, c.what);
    BOTH(t, component_scores(&t->b[s], &c.a[s], q[s], k[s], R, stride, all ? NULL : &at[s], tempered, score[s]));
    scores_agree(t, score, H * N, t->tolerance, c.what);
    float *same = randoms(t, H * N, 4);
    for (int64_t i = 0; i < H * N; i += in_range(t, 2, 9)) same[i] = -INFINITY;
    for (int s = 0; s < 2; s++) score[s] = put(t, s, same, (size_t)(H * N) * sizeof *same);
    BOTH(t, softmax_rows(&t->b[s], score[s], H, N));
    scores_agree(t, score, H * N, 1e-5, c.what);
    BOTH(t, sums_at(&t->b[s], score[s], H, N, &keys[s], sum[s]));
    scores_agree(t, sum, 2 * H, 1e-5, c.what);
    BOTH(t, magnitudes(&t->b[s], q[s], H, R));
    scores_agree(t, q, H * R, 1e-5, c.what);
    free(table), free(same);
    end_case(t, c.what);
}

static void pages_alone_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    c.a[0].window = c.a[1].window = 0;
    int page = ONE_OF(t, 1, 4, 16, 33), there = (a->keys + page - 1) / page, pages = there + in_range(t, 0, 3), whole = a->keys / page;
    int first = in_range(t, 0, whole), end = in_range(t, first, whole), most = in_range(t, 1, page + 1), from = in_range(t, 0, a->keys);
    int64_t n = (int64_t)a->kv_heads * pages * a->head_dim, width = (int64_t)a->kv_heads * a->head_dim, scores = (int64_t)a->kv_heads * a->keys;
    bool tempered = in_range(t, 0, 1);
    snprintf(c.what + strlen(c.what), 90, " page %d: %d best of %d to %d; values from %d", page, most, first, end, from);
    void *low[2], *high[2], *score[2], *mean[2], *sum[2], *of_values[2], *best[2];
    sf_lists at[2];
    component_lists(t, a->kv_heads, a->head_dim, in_range(t, 1, a->head_dim), at);
    float *by = malloc((size_t)scores * sizeof *by + 1);
    for (int64_t i = 0; i < scores; i++) by[i] = (float)in_range(t, -9, 9); /* with ties */
    for (int s = 0; s < 2; s++) {
        low[s] = room(t, s, (size_t)n * sizeof(float)), high[s] = room(t, s, (size_t)n * sizeof(float));
        mean[s] = room(t, s, (size_t)n * sizeof(float)), score[s] = room(t, s, (size_t)a->heads * there * sizeof(float));
        sum[s] = room(t, s, (size_t)width * sizeof(float)), of_values[s] = activation_room(t, s, width);
        best[s] = put(t, s, by, (size_t)scores * sizeof *by);
    }
    BOTH(t, page_bounds(&t->b[s], &c.a[s], page, 0, pages, low[s], high[s]));
    BOTH(t, page_component_scores(&t->b[s], &c.a[s], page, pages, low[s], high[s], &at[s], tempered, score[s]));
    scores_agree(t, score, (int64_t)a->heads * there, t->tolerance, c.what);
    BOTH(t, representatives(&t->b[s], &c.a[s], page, most, best[s], a->keys, first, end, pages, mean[s]));
    scores_agree(t, mean, n, 1e-5, c.what); /* other pages stay poisoned on both sides */
    BOTH(t, value_means(&t->b[s], &c.a[s], 0, sum[s], of_values[s]));
    BOTH(t, value_means(&t->b[s], &c.a[s], from, sum[s], of_values[s])); /* some twice */
    scores_agree(t, sum, width, 1e-4, c.what);
    activations_agree(t, of_values, width, t->tolerance, c.what);
    free(by);
    end_case(t, c.what);
}

static void same_floats(twin *t, float *const x[2], int64_t n, double tolerance, const char *what)
{
    float *want = get(t, 0, x[0], SF_F32, n), *got = get(t, 1, x[1], SF_F32, n);
    agree(t, want, got, n, tolerance, what);
    free(want), free(got);
}

static void float_rooms(twin *t, int64_t n, float *out[2])
{
    for (int s = 0; s < 2; s++) out[s] = room(t, s, (size_t)(n + 1) * sizeof(float));
}

/* Prefill over keys of ordinary values, each side's. */
static void plain_attention(twin *t, int kv_heads, int group, int dim, int keys, int window, sf_attention a[2])
{
    sf_kv_part prompt[2];
    make_part(t, kv_heads, dim, keys, false, PLAIN, prompt);
    int64_t n = (int64_t)keys * kv_heads * group * dim;
    float *q = make_queries(t, n, PLAIN);
    for (int s = 0; s < 2; s++)
        a[s] = (sf_attention){.backend = &t->b[s], .layers = 1, .heads = kv_heads * group, .kv_heads = kv_heads, .head_dim = dim, .queries = keys,
                              .keys = keys, .window = window, .scale = scene_scale(dim, PLAIN), .q = put_activations(t, s, q, n),
                              .kv = {.prompt = prompt[s], .dtype = t->b[s].activation}};
    free(q);
}

/* Probes of so many rows and heads that a device takes rows in strips; a segment that no shared memory holds. */
static void long_probe_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    sf_attention a[2];
    float *column[2];
    const int segment = 13000, dim = 16;
    void *k[2], *v[2];
    plain_attention(t, 8, 8, dim, 4096, ONE_OF(t, 100, 333), a);
    float_rooms(t, (int64_t)a[0].heads * a[0].keys, column);
    BOTH(t, probe(&t->b[s], &a[s], a[s].queries, 1, SF_SUM, column[s], NULL));
    same_floats(t, column, (int64_t)a[0].heads * a[0].keys, t->tolerance, "columns of every query");

    plain_attention(t, 1, 2, dim, segment + 7, 0, a);
    for (int s = 0; s < 2; s++) k[s] = activation_room(t, s, dim), v[s] = activation_room(t, s, dim);
    BOTH(t, segment_summaries(&t->b[s], &a[s], segment, 1, k[s], v[s]));
    activations_agree(t, k, dim, t->tolerance, "a long segment's key");
    activations_agree(t, v, dim, t->tolerance, "a long segment's value");
    end_case(t, "long probe");
}

static void list_rooms(twin *t, int64_t rows, int64_t stride, sf_lists out[2])
{
    for (int s = 0; s < 2; s++)
        out[s] = (sf_lists){rows, stride, room(t, s, (size_t)rows * sizeof(int32_t)), room(t, s, (size_t)(rows * stride + 1) * sizeof(int32_t))};
}

/* Samples of one query's keys, and keys in 4 bits. What was drawn and what is taken anyhow (forced) is the same on both sides. */
static void samples_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    int64_t heads = a->heads, n = a->keys, words = (a->head_dim + 7) / 8, most = n + in_range(t, 0, 9);
    int sure = in_range(t, 0, (int)n), listed = in_range(t, sure, (int)n), first = in_range(t, 0, 40);
    uint64_t stream = next_random(t);
    float *x[2], *weight[2], *priority[2], *bias[2], *p[2], *range[2], *wide[2];
    int32_t *code[2], *count[2], *member[2];
    sf_moments *moment[2];
    sf_lists at[2];
    float_rooms(t, heads * n, x), float_rooms(t, heads * n, weight), float_rooms(t, heads * n, priority), float_rooms(t, heads * n, p);
    float_rooms(t, heads * listed, bias), float_rooms(t, a->kv_heads * most * 2, range), float_rooms(t, heads * n, wide);
    list_rooms(t, heads, listed, at);
    for (int s = 0; s < 2; s++) {
        code[s] = room(t, s, (size_t)(a->kv_heads * most * words) * sizeof(int32_t));
        count[s] = room(t, s, (size_t)heads * sizeof(int32_t)), moment[s] = room(t, s, (size_t)heads * sizeof(sf_moments));
    }

    BOTH(t, draw(&t->b[s], stream, first, heads, n, NULL, weight[s]));
    BOTH(t, draw(&t->b[s], stream + 1, first, heads, n, weight[s], priority[s]));
    BOTH(t, draw(&t->b[s], stream + 2, first, heads, n, NULL, x[s]));
    same_floats(t, weight, heads * n, 0, c.what), same_floats(t, priority, heads * n, 0, c.what);
    BOTH(t, fill(&t->b[s], x[s], heads, n, n - sure, n, INFINITY));
    BOTH(t, top(&t->b[s], x[s], heads, n, listed, &at[s]));
    BOTH(t, sample_bias(&t->b[s], x[s], NULL, heads, n, &at[s], bias[s]));
    same_floats(t, bias, heads * listed, 1e-6, c.what);
    BOTH(t, top(&t->b[s], priority[s], heads, n, listed, &at[s]));
    BOTH(t, sample_bias(&t->b[s], priority[s], weight[s], heads, n, &at[s], bias[s]));
    same_floats(t, bias, heads * listed, 1e-6, c.what);

    BOTH(t, top(&t->b[s], x[s], heads, n, listed, &at[s]));
    for (int v = SF_DENOMINATOR; v <= SF_DENOMINATOR_AND_NUMERATOR; v++) {
        sf_promise promise = {.error = ONE_OF(t, 1, 5, 20) * 0.01, .z = 1.96, .verified = (sf_verified)v};
        int32_t sizes[2][64];
        bool values = v != SF_DENOMINATOR;
        int rotated = t->b[1].ops->latent ? ONE_OF(t, 0, 0, 2, a->head_dim - 1) : 0;
        for (int s = 0; s < 2; s++) c.a[s].rotated = rotated;
        BOTH(t, key_norms(&t->b[s], &c.a[s], true, wide[s]));
        same_floats(t, wide, a->kv_heads * n, t->tolerance, c.what);
        BOTH(t, sample_moments(&t->b[s], &c.a[s], x[s], &at[s], values, moment[s]));
        BOTH(t, sample_sizes(&t->b[s], moment[s], heads, promise, -1, count[s]));
        for (int s = 0; s < 2; s++) fetch(t, s, sizes[s], count[s], (size_t)heads * sizeof(int32_t));
        for (int h = 0; h < heads; h++) /* logits differ by rounding, the larger they are the more */
            if (abs(sizes[0][h] - sizes[1][h]) > 1 + 2e-2 * (t->b[1].activation == SF_F32 && a->scale < 1 ? 0.01 : 1) * (double)n)
                fail_msg("%s: head %d of %d sure, %d listed: a sample of %d, expected %d", c.what, h, sure, listed, sizes[1][h], sizes[0][h]);
    }
    for (int s = 0; s < 2; s++) c.a[s].rotated = 0;

    BOTH(t, pack_keys(&t->b[s], &c.a[s], 0, most, code[s], range[s]));
    same_floats(t, range, a->kv_heads * most * 2, 0, c.what);
    int32_t *packed[2];
    for (int s = 0; s < 2; s++) packed[s] = malloc((size_t)(a->kv_heads * most * words) * sizeof(int32_t)), fetch(t, s, packed[s], code[s], (size_t)(a->kv_heads * most * words) * sizeof(int32_t));
    assert_memory_equal(packed[0], packed[1], (size_t)(a->kv_heads * most * words) * sizeof(int32_t));
    free(packed[0]), free(packed[1]);
    BOTH(t, packed_probabilities(&t->b[s], &c.a[s], most, code[s], range[s], NULL, p[s]));
    same_floats(t, p, heads * n, c.tolerance, c.what);
    BOTH(t, packed_probabilities(&t->b[s], &c.a[s], most, code[s], range[s], &at[s], p[s]));
    same_floats(t, p, heads * n, c.tolerance, c.what);

    int page = ONE_OF(t, 1, 3, 16);
    int32_t of[64 * 3];
    BOTH(t, spread(&t->b[s], weight[s], heads, n, page, NULL, 1, 0, n, wide[s]));
    same_floats(t, wide, heads * n, 0, c.what);
    int64_t short_n = n < 64 ? n : 64;
    for (int64_t i = 0; i < a->kv_heads * short_n; i++) of[i] = in_range(t, -1, (int)n - 1);
    for (int s = 0; s < 2; s++) member[s] = put(t, s, of, (size_t)(a->kv_heads * short_n) * sizeof *of);
    BOTH(t, spread(&t->b[s], weight[s], heads, n, 1, member[s], a->kv_heads, short_n, short_n, wide[s]));
    same_floats(t, wide, heads * short_n, 0, c.what);
    end_case(t, c.what);
}

/* As much as a budget allows: of rows by mass, some of whose entries weigh more than one or lie outside; of samples by their error. */
static void budgets_case(twin *t, uint64_t seed, int most_wanted)
{
    begin_case(t, seed);
    char what[256];
    int rows = in_range(t, 1, most_wanted > 1000 ? 3 : 40), n = in_range(t, 1, most_wanted), kind = in_range(t, 0, 3);
    bool weighed = in_range(t, 0, 1), asked = in_range(t, 0, 1);
    double share = ONE_OF(t, 0, 5, 8, 10, 10) * 0.1;
    int64_t least = ONE_OF(t, 0, 1, 3), cells = (int64_t)rows * n, all = 0;
    float *x = malloc((size_t)cells * sizeof *x), *weight = malloc((size_t)cells * sizeof *weight);
    for (int64_t i = 0; i < cells; i++) {
        x[i] = kind == 1 ? (float)in_range(t, 0, 4) : expf(ONE_OF(t, 1, 4) * normal(t)); /* ties */
        if (kind == 2 && in_range(t, 0, 5) == 0) x[i] = ONE_OF(t, 0, 1) ? INFINITY : NAN;
        if (kind == 3 && in_range(t, 0, 5) == 0) x[i] = ONE_OF(t, 0, 1) ? -INFINITY : 0;
        weight[i] = in_range(t, 0, 9) ? (float)in_range(t, 0, 60) : 8.75651e-27f; /* as of a cluster without keys */
        all += weighed ? llrintf(weight[i]) : 1;
    }
    int64_t most = ONE_OF(t, -1, 0, 1, 2, 2, 2, 2, 2);
    if (most == 2) most = (int64_t)((double)all * in_range(t, 0, 1000) / 1000);
    snprintf(what, sizeof what, "seed %llu: budgets rows %d n %d kind %d, %s, share %g, least %d, most %lld of %lld", (unsigned long long)seed,
             rows, n, kind, weighed ? "weighed" : "counted", share, (int)least, (long long)most, (long long)all);
    float *from[2], *weighs[2];
    int32_t *count[2], *whole[2], *found[2][2];
    for (int s = 0; s < 2; s++) {
        from[s] = put(t, s, x, (size_t)cells * sizeof *x), weighs[s] = put(t, s, weight, (size_t)cells * sizeof *x);
        count[s] = room(t, s, (size_t)rows * sizeof(int32_t)), whole[s] = room(t, s, (size_t)rows * sizeof(int32_t));
    }
    BOTH(t, top_mass_within(&t->b[s], from[s], rows, n, weighed ? weighs[s] : NULL, share, least, most, count[s], asked ? whole[s] : NULL));
    for (int i = 0; i < 1 + asked; i++) {
        for (int s = 0; s < 2; s++) fetch(t, s, found[i][s] = malloc((size_t)rows * sizeof(int32_t)), i ? whole[s] : count[s], (size_t)rows * sizeof(int32_t));
        for (int r = 0; r < rows; r++)
            if (found[i][0][r] != found[i][1][r])
                fail_msg("%s: row %d takes %d%s, expected %d", what, r, found[i][1][r], i ? " in all" : "", found[i][0][r]);
        free(found[i][0]), free(found[i][1]);
    }
    free(x), free(weight);

    sf_moments *moment = calloc((size_t)rows, sizeof *moment), *of[2];
    sf_promise promise = {.error = ONE_OF(t, 1, 5, 20) * 0.01, .z = 1.96, .verified = (sf_verified)in_range(t, SF_DENOMINATOR, SF_DENOMINATOR_AND_NUMERATOR)};
    int64_t nothing = 0;
    all = 0;
    for (int r = 0; r < rows; r++) {
        sf_moments *m = &moment[r];
        m->others = in_range(t, 2, 5000), m->taken = in_range(t, 0, 400), m->drawn = in_range(t, 2, (int)m->others);
        m->total = expf(3 * normal(t)), m->variance = in_range(t, 0, 5) ? expf(4 * normal(t)) * 1e-6 : 0;
        m->length = expf(3 * normal(t)), m->trace = expf(4 * normal(t)) * 1e-5;
        all += (int64_t)(m->taken + m->others), nothing += sf_sample_size(m, sf_promise_at(promise, 0));
    }
    most = in_range(t, 0, 5) ? nothing + (int64_t)((double)(all - nothing) * in_range(t, 0, 1000) / 1000) : -1;
    for (int s = 0; s < 2; s++) of[s] = put(t, s, moment, (size_t)rows * sizeof *moment);
    BOTH(t, sample_sizes(&t->b[s], of[s], rows, promise, most, count[s]));
    int64_t read[2] = {0, 0};
    for (int s = 0; s < 2; s++) fetch(t, s, found[0][s] = malloc((size_t)rows * sizeof(int32_t)), count[s], (size_t)rows * sizeof(int32_t));
    for (int r = 0; r < rows; r++) { /* a device may fuse a product with a sum */
        for (int s = 0; s < 2; s++) read[s] += found[0][s][r];
        if (abs(found[0][0][r] - found[0][1][r]) > 1 + 1e-4 * moment[r].others)
            fail_msg("%s: row %d, at most %lld: a sample of %d, expected %d", what, r, (long long)most, found[0][1][r], found[0][0][r]);
    }
    if (most >= 0 && (read[0] > most || read[1] > most)) fail_msg("%s: %lld or %lld of at most %lld keys", what, (long long)read[0], (long long)read[1], (long long)most);
    free(found[0][0]), free(found[0][1]), free(moment);
    end_case(t, what);
}

/* Three steps of a walk over blocks, some of which have not set out; scores as inner products are. */
static void walks_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    int64_t n = in_range(t, 1, most), m = in_range(t, 1, 90), k = in_range(t, 1, 140);
    int power = ONE_OF(t, 1, 2, 3, 8, 11);
    char what[120];
    snprintf(what, sizeof what, "seed %llu: walks over %d blocks, power %d; %d x %d of %d", (unsigned long long)seed, (int)n, power, (int)m, (int)n, (int)k);
    float *x = randoms(t, m * k, 1), *w = randoms(t, n * k, 1), *walk = randoms(t, n * n, 1), *score[2], *walked[2], *y[2];
    for (int64_t i = 0; i < n; i++)
        if (in_range(t, 0, 2) == 0) memset(walk + i * n, 0, (size_t)n * sizeof *walk);
    float_rooms(t, m * n, y);
    for (int s = 0; s < 2; s++) {
        float *rows = put(t, s, x, (size_t)(m * k) * sizeof *x), *columns = put(t, s, w, (size_t)(n * k) * sizeof *w);
        OK(t, s, t->b[s].ops->inner_products(&t->b[s], rows, columns, m, n, k, y[s]));
        walked[s] = put(t, s, walk, (size_t)(n * n) * sizeof *walk);
    }
    scores_agree(t, (void *const *)y, m * n, 1e-5, what);
    for (int step = 0; step < 3; step++) {
        float *map = randoms(t, n * n, in_range(t, 0, 9) ? 1e3f : 0);
        for (int s = 0; s < 2; s++) score[s] = put(t, s, map, (size_t)(n * n) * sizeof *map);
        BOTH(t, walk(&t->b[s], n, score[s], power, walked[s]));
        scores_agree(t, (void *const *)walked, n * n, 1e-5, what);
        free(map);
    }
    free(x), free(w), free(walk);
    end_case(t, what);
}

/* Lists and counts made of others: budgets, rows alike, unions of blocks, melted tiles, draws. The host's fillings have their loops in
 * common; those are held to the golden values of the methods that take them, and here to another number of threads. */
static void lists_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    char what[160];
    int heads = in_range(t, 1, 9), n = in_range(t, 1, most), keys = in_range(t, 1, 8 * most), queries = ONE_OF(t, keys, keys, in_range(t, 1, keys));
    int rows = in_range(t, 1, 70), width = in_range(t, 1, 2 * most);
    bool marked = in_range(t, 0, 1), paired = in_range(t, 0, 1);
    snprintf(what, sizeof what, "seed %llu: lists of %d heads, %d blocks%s, %d queries of %d keys", (unsigned long long)seed, heads, n, paired ? " and pairs" : "", queries, keys);

    sf_budgets how = {.each = in_range(t, 1, 64), .more = in_range(t, 0, 1), .least = in_range(t, 0, 9), .marked = in_range(t, 0, 1), .fixed = in_range(t, 0, 9)};
    how.most = how.least + in_range(t, 0, 90);
    int32_t *count = malloc((size_t)rows * sizeof *count), *mark = malloc((size_t)rows * sizeof *mark), scalar[2][3] = {{0}}, longest[2];
    for (int r = 0; r < rows; r++) count[r] = in_range(t, 0, 3000), mark[r] = in_range(t, 0, 1);
    float *x = randoms(t, (int64_t)rows * width, 1), *y = malloc((size_t)rows * width * sizeof *y);
    for (int r = 0; r < rows; r++) { /* shares that are near to each other, far, or the same; some are 0 */
        float apart = (float)ONE_OF(t, 0, 1, 3) * 0.3f, sum = 0;
        for (int i = r * width; i < (r + 1) * width; i++) {
            float e = in_range(t, 0, 9) ? expf(x[i]) : 0;
            y[i] = in_range(t, 0, 9) || apart == 0 ? 7 * e * expf(apart * normal(t)) : 0;
            x[i] = e, sum += e;
        }
        if (sum == 0) sum = x[r * width] = y[r * width] = 1;
        for (int i = r * width; i < (r + 1) * width; i++) x[i] /= sum;
        if (!(y[r * width] > 0)) y[r * width] = 1e-3f;
    }
    sf_lists column[2], diagonal[2], pair[2], out[2], far[2], back[2];
    random_lists(t, heads, n, 0, column), random_lists(t, heads, n, 0, diagonal), random_lists(t, heads, n * n, 0, pair);
    random_lists(t, heads, keys, 0, far), random_lists(t, heads, keys, in_range(t, 0, 3), back);
    sf_drawn draws = {.stream = next_random(t), .salt = next_random(t), .each = ONE_OF(t, 1, n), .sinks = in_range(t, 0, 3), .local = in_range(t, 1, 4),
                      .drawn = in_range(t, 0, n), .until = ONE_OF(t, INT_MAX, in_range(t, 0, n)), .whole = ONE_OF(t, INT_MAX, in_range(t, 1, n))};
    draws.seen = draws.each == n ? 1 : n;
    int first = in_range(t, 0, 40), tiles = (queries + SF_DIAGONAL_TILE - 1) / SF_DIAGONAL_TILE;
    double below = ONE_OF(t, 0, 1, 2, 10) * 0.1;

    {
        int32_t *from[2], *marks[2], *to[2], *got[2];
        for (int s = 0; s < 2; s++) {
            from[s] = put(t, s, count, (size_t)rows * sizeof *count), marks[s] = put(t, s, mark, (size_t)rows * sizeof *mark);
            to[s] = room(t, s, (size_t)rows * sizeof *count);
        }
        BOTH(t, budgets(&t->b[s], from[s], rows, &how, marked ? marks[s] : NULL, to[s], &scalar[s][0]));
        for (int s = 0; s < 2; s++) fetch(t, s, got[s] = malloc((size_t)rows * sizeof *count), to[s], (size_t)rows * sizeof *count);
        for (int r = 0; r < rows; r++) {
            int32_t want = (int32_t)fmax(how.least, fmin(how.most, floor((double)count[r] / how.each) + how.more));
            if (marked && mark[r] == how.marked) want = how.fixed;
            for (int s = 0; s < 2; s++)
                if (got[s][r] != want) fail_msg("%s: row %d gets %d, expected %d", what, r, got[s][r], want);
        }
        free(got[0]), free(got[1]);
    }
    {
        float *p[2], *q[2];
        int32_t *to[2], *got[2];
        for (int s = 0; s < 2; s++) {
            p[s] = put(t, s, x, (size_t)rows * width * sizeof *x), q[s] = put(t, s, y, (size_t)rows * width * sizeof *y);
            to[s] = room(t, s, (size_t)rows * sizeof *count), got[s] = malloc((size_t)rows * sizeof *count);
        }
        BOTH(t, rows_alike(&t->b[s], p[s], q[s], rows, width, below, to[s], &scalar[s][1]));
        for (int s = 0; s < 2; s++) fetch(t, s, got[s], to[s], (size_t)rows * sizeof *count);
        if (memcmp(got[0], got[1], (size_t)rows * sizeof *count)) fail_msg("%s: rows alike below %g differ", what, below);
        free(got[0]), free(got[1]);
    }
    {
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, (int64_t)heads * n, n);
        BOTH(t, unite_blocks(&t->b[s], n, &column[s], &diagonal[s], paired ? &pair[s] : NULL, &out[s]));
        lists_agree(t, out, false, what);
    }
    {
        sf_attention a = {.queries = queries, .keys = keys};
        for (int s = 0; s < 2; s++) out[s] = (sf_lists){.count = room(t, s, (size_t)heads * tiles * sizeof(int32_t))};
        BOTH(t, merge_tiles(&t->b[s], &a, &far[s], &back[s], &out[s], &longest[s]));
        assert_int_equal(longest[1], longest[0]);
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, (int64_t)heads * tiles, longest[s] + 1);
        BOTH(t, merge_tiles(&t->b[s], &a, &far[s], &back[s], &out[s], &scalar[s][2]));
        assert_int_equal(scalar[0][2], longest[0]);
        lists_agree(t, out, false, what);
    }
    {
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, (int64_t)heads * draws.each, n);
        BOTH(t, draw_blocks(&t->b[s], &draws, first, heads, &out[s]));
        lists_agree(t, out, false, what);
    }
    assert_memory_equal(scalar[0], scalar[1], sizeof scalar[0]);
    free(count), free(mark), free(x), free(y);
    end_case(t, what);
}

/* Scores of an indexer, where a filling has them; the last row by itself is, to the bit, what it is among others. */
static void indexer_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    if (!t->b[1].ops->index_scores) return;
    const int64_t rows = in_range(t, 1, most), first = in_range(t, 0, 1) ? in_range(t, 0, most) : 0, n = first + rows;
    const int heads = ONE_OF(t, 1, 2, 4, 5, 64), dim = ONE_OF(t, 1, 8, 24, 64, 128);
    char what[120];
    snprintf(what, sizeof what, "seed %llu: an indexer, %d rows behind %d, %d heads of %d", (unsigned long long)seed, (int)rows, (int)first, heads, dim);
    float *x[] = {randoms(t, rows * heads * dim, 1), randoms(t, rows * heads, 1), randoms(t, n * dim, 1)}, *score[2], *alone;
    const int64_t of[] = {rows * heads * dim, rows * heads, n * dim};
    float *at[2][3];
    float_rooms(t, rows * n, score);
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < 3; i++) at[s][i] = put(t, s, x[i], (size_t)of[i] * sizeof(float));
    BOTH(t, index_scores(&t->b[s], rows, heads, dim, first, at[s][0], at[s][1], at[s][2], score[s]));
    scores_agree(t, (void *const *)score, rows * n, 1e-5, what);
    alone = room(t, 1, (size_t)n * sizeof *alone);
    for (int s = 0; s < 2; s++) /* both count it */
        OK(t, s, t->b[s].ops->index_scores(&t->b[s], 1, heads, dim, n - 1, at[s][0] + (rows - 1) * heads * dim, at[s][1] + (rows - 1) * heads, at[s][2],
                                           s ? alone : score[0]));
    float *one = get(t, 1, alone, SF_F32, n), *all = get(t, 1, score[1], SF_F32, rows * n);
    if (memcmp(one, all + (rows - 1) * n, (size_t)n * sizeof *one) != 0) fail_msg("%s: the last row alone is another", what);
    free(one), free(all);
    for (int i = 0; i < 3; i++) free(x[i]);
    end_case(t, what);
}

/* Keys hashed, and what a query meets. A bit hangs on the sign of a sum, so that few codes may differ by rounding. */
static void hashes_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    sf_hash hash = {.bits = in_range(t, 1, 16), .tables = in_range(t, 1, 9), .least = in_range(t, 1, 2), .begin = in_range(t, 0, a->keys - 1)};
    hash.end = in_range(t, hash.begin + 1, a->keys);
    int64_t planes = (int64_t)hash.bits * hash.tables * a->head_dim, most = a->keys + in_range(t, 0, 9), words = (hash.tables + 1) / 2,
            codes = a->kv_heads * most * words, n = (int64_t)a->heads * a->keys;
    uint64_t stream = next_random(t);
    float *plane[2], *centre[2], *x[2], *picked[2];
    int32_t *code[2], *host[2];
    sf_lists at[2];
    float_rooms(t, planes, plane), float_rooms(t, (int64_t)a->kv_heads * a->head_dim, centre), float_rooms(t, n, x), float_rooms(t, n, picked);
    list_rooms(t, a->heads, a->keys, at);
    for (int s = 0; s < 2; s++) code[s] = room(t, s, (size_t)codes * sizeof(int32_t));
    BOTH(t, normals(&t->b[s], stream, planes, plane[s]));
    same_floats(t, plane, planes, 0, c.what);
    BOTH(t, hash_keys(&t->b[s], &c.a[s], &hash, plane[s], most, centre[s], code[s]));
    same_floats(t, centre, (int64_t)a->kv_heads * a->head_dim, 1e-6, c.what);
    int64_t apart = 0, all = (int64_t)a->kv_heads * (hash.end - hash.begin) * hash.bits * hash.tables;
    for (int s = 0; s < 2; s++) host[s] = malloc((size_t)codes * sizeof(int32_t)), fetch(t, s, host[s], code[s], (size_t)codes * sizeof(int32_t));
    for (int64_t i = 0; i < codes; i++) apart += __builtin_popcount((unsigned)(host[0][i] ^ host[1][i]));
    if (apart > 1 + all / 10000 && hash.end - hash.begin > 1) /* a key alone is its own mean: all sums are 0 */
        fail_msg("%s: %lld of %lld bits of codes differ", c.what, (long long)apart, (long long)all);
    for (int s = 0; s < 2; s++) OK(t, s, t->b[s].ops->upload(&t->b[s], code[s], host[0], (size_t)codes * sizeof(int32_t)));
    free(host[0]), free(host[1]);
    BOTH(t, hash_matches(&t->b[s], &c.a[s], &hash, plane[s], most, centre[s], code[s], x[s]));
    float *want = get(t, 0, x[0], SF_F32, n), *got = get(t, 1, x[1], SF_F32, n);
    int64_t met = 0, other = 0;
    for (int64_t i = 0; i < n; i++) {
        met += want[i] != -INFINITY;
        other += (want[i] == -INFINITY) != (got[i] == -INFINITY) || (want[i] != -INFINITY && fabsf(want[i] - got[i]) > 2e-3f);
    }
    if (other > 1 + met / 200) fail_msg("%s: %lld of %lld keys are met or weigh otherwise", c.what, (long long)other, (long long)met);
    free(want), free(got);
    BOTH(t, top(&t->b[s], plane[s], 1, planes < a->keys ? planes : a->keys, 5, &at[s]));
    for (int s = 0; s < 2; s++) at[s].rows = 1;
    BOTH(t, pick_at(&t->b[s], plane[s], 1, planes, &at[s], picked[s]));
    same_floats(t, picked, at[0].stride < n ? at[0].stride : n, 0, c.what);
    end_case(t, c.what);
}

/* k-means: a key between two centroids may go to either by rounding, and then draws others after it; few may. */
static void clusters_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    sf_kmeans_how how = {.begin = in_range(t, 0, a->keys - 1), .segment = in_range(t, 1, a->keys), .each = in_range(t, 1, 40), .iterations = in_range(t, 0, 3)};
    how.end = in_range(t, how.begin + 1, a->keys);
    int64_t most = a->keys + in_range(t, 0, 9), members = a->kv_heads * most, all = sf_clusters(&how), n = a->kv_heads * all * a->head_dim;
    int32_t *member[2], *host[2];
    void *centroid[2], *value[2];
    float *size[2], *log_size[2];
    float_rooms(t, a->heads * all, size), float_rooms(t, a->heads * all, log_size);
    for (int s = 0; s < 2; s++) {
        member[s] = room(t, s, (size_t)members * sizeof(int32_t));
        centroid[s] = activation_room(t, s, n), value[s] = activation_room(t, s, n);
    }
    BOTH(t, kmeans(&t->b[s], &c.a[s], &how, most, member[s], centroid[s], value[s], size[s], log_size[s]));
    int64_t apart = 0;
    for (int s = 0; s < 2; s++) host[s] = malloc((size_t)members * sizeof(int32_t)), fetch(t, s, host[s], member[s], (size_t)members * sizeof(int32_t));
    for (int64_t i = 0; i < members; i++) apart += host[0][i] != host[1][i];
    free(host[0]), free(host[1]);
    if (apart > members / 100) fail_msg("%s: %lld of %lld keys are in other clusters", c.what, (long long)apart, (long long)members);
    if (apart == 0) {
        float *want = get_activations(t, 0, centroid[0], n), *got = get_activations(t, 1, centroid[1], n);
        agree(t, want, got, n, t->tolerance, c.what);
        free(want), free(got);
        want = get_activations(t, 0, value[0], n), got = get_activations(t, 1, value[1], n);
        agree(t, want, got, n, t->tolerance, c.what);
        free(want), free(got);
        same_floats(t, size, a->heads * all, 1e-6, c.what), same_floats(t, log_size, a->heads * all, 1e-5, c.what);
    }
    end_case(t, c.what);
}

/* What lanes choose side by side is what each chooses alone, bit for bit, also where one of them waits; more lanes than
 * queues. Of the filling alone: what it chooses is compared with the reference elsewhere. */
static void lanes_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    sf_backend *b = &t->b[1];
    b->phase = SF_DECODE;
    enum { LANES = 19, PAGE = 16 };
    static const int32_t first_row = 0;
    char what[256];
    int kv_heads = ONE_OF(t, 1, 2, 8), group = ONE_OF(t, 1, 4, 7), dim = ONE_OF(t, 64, 128, 128), asks = in_range(t, 0, LANES - 1);
    int heads = kv_heads * group, most_pages = (most_keys + PAGE - 1) / PAGE;
    snprintf(what, sizeof what, "seed %llu: lanes heads %d/%d dim %d, lane %d waits", (unsigned long long)seed, heads, kv_heads,
             dim, asks);
    sf_kv_part shared[2];
    make_part(t, kv_heads, dim, most_keys, false, PLAIN, shared);
    size_t bounds = (size_t)kv_heads * most_pages * dim * sizeof(float), scores = (size_t)kv_heads * most_pages * sizeof(float);
    float *q = randoms(t, (int64_t)heads * dim * LANES, 1.5f), *peek[2];
    size_t all_lists = (size_t)LANES * (size_t)kv_heads * (size_t)(most_pages + 1) * sizeof(int32_t);
    int32_t *lists[2], *home[2];
    sf_attention a[LANES];
    const sf_attention *lane[LANES];
    void *on_device = put_activations(t, 1, q, (int64_t)heads * dim * LANES), *out[2];
    sf_pattern p[2][LANES];
    const sf_pattern *chosen[LANES];
    float *covered[2];
    for (int i = 0; i < LANES; i++) {
        int keys = in_range(t, most_keys / 2, most_keys);
        a[i] = (sf_attention){.backend = b, .layers = 1, .heads = heads, .kv_heads = kv_heads, .head_dim = dim, .queries = 1,
                              .keys = keys, .scale = .09f, .kv = {.prompt = shared[1], .dtype = b->activation}};
        a[i].q = (char *)on_device + sf_bytes(b->activation, (int64_t)i * heads * dim);
        a[i].kv.prompt.n = keys;
        lane[i] = &a[i];
    }
    for (int apart = 0; apart < 2; apart++) {
        out[apart] = activation_room(t, 1, (int64_t)LANES * heads * dim);
        covered[apart] = room(t, 1, (size_t)LANES * (size_t)heads * sizeof(float));
        char *low = room(t, 1, bounds * LANES), *high = room(t, 1, bounds * LANES), *score = room(t, 1, scores * LANES);
        int32_t *list = lists[apart] = room(t, 1, all_lists);
        peek[apart] = NULL;
        for (int i = 0; i < LANES; i++) {
            int pages = (a[i].keys + PAGE - 1) / PAGE, k = pages / 8 + 1;
            float *l = (float *)(low + bounds * (size_t)i), *h = (float *)(high + bounds * (size_t)i),
                  *x = (float *)(score + scores * (size_t)i);
            p[apart][i] = (sf_pattern){.kind = SF_PAGES, .heads = kv_heads, .page = PAGE};
            p[apart][i].first = (sf_lists){kv_heads, k, list, list + kv_heads}; /* what it does not write stays poisoned */
            list += kv_heads * (most_pages + 1);
            if (apart && b->ops->lane) OK(t, 1, b->ops->lane(b, i));
            OK(t, 1, b->ops->page_bounds(b, &a[i], PAGE, 0, most_pages, l, h));
            OK(t, 1, b->ops->page_scores(b, &a[i], PAGE, most_pages, l, h, x));
            OK(t, 1, b->ops->fill(b, x, kv_heads, pages, pages - 1, pages, INFINITY));
            OK(t, 1, b->ops->top(b, x, kv_heads, pages, k, &p[apart][i].first));
            OK(t, 1, b->ops->check_pattern(b, &a[i], &p[apart][i], "lanes"));
            OK(t, 1, b->ops->mass(b, &a[i], &p[apart][i], 1, &first_row, covered[apart] + i * heads));
            if (i == asks) peek[apart] = get(t, 1, covered[apart] + i * heads, SF_F32, heads); /* waits for its own lane alone */
            chosen[i] = &p[apart][i];
        }
        if (b->ops->lane) OK(t, 1, b->ops->lane(b, -1));
        OK(t, 1, b->ops->decode(b, LANES, lane, chosen, out[apart]));
    }
    for (int i = 0; i < 2; i++) {
        home[i] = malloc(all_lists);
        OK(t, 1, b->ops->download(b, home[i], lists[i], all_lists));
    }
    if (memcmp(home[0], home[1], all_lists) != 0) fail_msg("%s: lists differ", what);
    free(home[0]), free(home[1]);
    void *pair[][2] = {{covered[0], covered[1]}, {out[0], out[1]}};
    for (int i = 0; i < 2; i++) {
        int64_t n = (int64_t)LANES * heads * (i ? dim : 1);
        float *x = get(t, 1, pair[i][0], i ? b->activation : SF_F32, n), *y = get(t, 1, pair[i][1], i ? b->activation : SF_F32, n);
        if (memcmp(x, y, (size_t)n * sizeof *x) != 0) fail_msg("%s: %s differ", what, i ? "outputs" : "masses");
        free(x), free(y);
    }
    if (memcmp(peek[0], peek[1], (size_t)heads * sizeof(float)) != 0) fail_msg("%s: what a lane reads of its own was not there yet", what);
    free(peek[0]), free(peek[1]), free(q);
    memset(&t->meter[1], 0, sizeof t->meter[1]);
    end_case(t, what);
}

/* Pages so long, and so many keys, that the last page's share past the end is many keys. */
static void long_pages_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    int page = ONE_OF(t, 4095, 4096, 1000), keys = ONE_OF(t, 36864, 36870, 33001), pages = (keys + page - 1) / page;
    int kv_heads = 2, group = 2, dim = 64;
    sf_kv_part prompt[2];
    make_part(t, kv_heads, dim, keys, false, PLAIN, prompt);
    float *x = randoms(t, (int64_t)kv_heads * group * dim, 1.5f);
    snprintf(c.what, sizeof c.what, "seed %llu: %d pages of %d, %d keys", (unsigned long long)seed, pages, page, keys);
    int32_t count[2] = {pages, pages - 1}, *index = calloc((size_t)(2 * pages), sizeof *index);
    for (int i = 0; i < pages; i++) index[i] = i, index[pages + i] = i + (i < pages - 1); /* the second head: not the first */
    float *out[2];
    for (int s = 0; s < 2; s++) {
        c.a[s] = (sf_attention){.backend = &t->b[s], .layers = 1, .heads = kv_heads * group, .kv_heads = kv_heads,
                                .head_dim = dim, .queries = 1, .keys = keys, .scale = .125f,
                                .q = put_activations(t, s, x, (int64_t)kv_heads * group * dim),
                                .kv = {.prompt = prompt[s], .dtype = t->b[s].activation}};
        sf_pattern p = {.kind = SF_PAGES, .heads = kv_heads, .page = page};
        p.first = (sf_lists){kv_heads, pages, put(t, s, count, sizeof count), put(t, s, index, (size_t)(2 * pages) * sizeof *index)};
        const sf_attention *lane = &c.a[s];
        const sf_pattern *pattern = &p;
        void *to = activation_room(t, s, (int64_t)kv_heads * group * dim);
        OK(t, s, t->b[s].ops->decode(&t->b[s], 1, &lane, &pattern, to));
        out[s] = get_activations(t, s, to, (int64_t)kv_heads * group * dim);
    }
    agree(t, out[0], out[1], (int64_t)kv_heads * group * dim, t->tolerance, c.what);
    free(out[0]), free(out[1]), free(x), free(index);
    end_case(t, c.what);
}

/* Layers of decode steps, queued at once, give what they give when each op is waited for, and when what lies between two
 * layers' attention is played again; and count the same. Of the filling alone. */
static void steps_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    sf_backend *b = &t->b[1];
    b->phase = SF_DECODE;
    enum { D = 768, HEADS = 6, KV_HEADS = 2, DIM = 128, MLP = 2048, LAYERS = 6, KEYS = 3000, MOST = 40 };
    char what[256];
    int rows = ONE_OF(t, 1, 3, 20, 40);
    snprintf(what, sizeof what, "seed %llu: steps of %d rows", (unsigned long long)seed, rows);
    const int shape[][2] = {{HEADS * DIM, D}, {KV_HEADS * DIM, D}, {D, HEADS * DIM}, {MLP, D}, {D, MLP}, {D, 0}};
    enum { Q, KV, O, UP, DOWN, NORM, WEIGHTS };
    sf_tensor w[WEIGHTS];
    float *host[WEIGHTS]; /* a filling may alias it */
    for (int i = 0; i < WEIGHTS; i++) {
        host[i] = randoms(t, (int64_t)shape[i][0] * (shape[i][1] ? shape[i][1] : 1), .04f);
        sf_tensor plain = tensor(host[i], SF_F32, shape[i][0], shape[i][1]);
        OK(t, 1, b->ops->import_weight(b, &plain, &w[i]));
    }
    sf_kv_part prompt[2], tail[MOST], *part[MOST];
    make_part(t, KV_HEADS, DIM, KEYS, false, PLAIN, prompt);
    float *begin = randoms(t, (int64_t)rows * D, 1), cosine[DIM / 2], sine[DIM / 2], *out[3];
    sf_meter counted[3];
    int32_t position[MOST] = {0};
    for (int i = 0; i < DIM / 2; i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
    float *co = put(t, 1, cosine, sizeof cosine), *si = put(t, 1, sine, sizeof sine);
    int32_t *at = put(t, 1, position, sizeof position);
    sf_attention a[MOST];
    const sf_attention *lane[MOST];
    sf_pattern dense = {.kind = SF_DENSE};
    const sf_pattern *pattern[MOST];
    enum { AT_ONCE, WAITING, REPLAYED, WAYS };
    int replayed = 0;
    for (int way = 0; way < WAYS; way++) {
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        float *hidden = put(t, 1, begin, (size_t)rows * D * sizeof *begin);
        void *normed = activation_room(t, 1, rows * D), *q = activation_room(t, 1, rows * HEADS * DIM);
        void *k = activation_room(t, 1, rows * KV_HEADS * DIM), *v = activation_room(t, 1, rows * KV_HEADS * DIM);
        void *to = activation_room(t, 1, rows * HEADS * DIM), *gate = activation_room(t, 1, rows * MLP), *up = activation_room(t, 1, rows * MLP);
        char *tails = activation_room(t, 1, (int64_t)2 * rows * KV_HEADS * DIM);
        uint64_t zero[MOST * HEADS] = {0}, *pairs = put(t, 1, zero, (size_t)rows * HEADS * sizeof *zero);
        for (int i = 0; i < rows; i++) {
            size_t bytes = sf_bytes(b->activation, KV_HEADS * DIM);
            tail[i] = (sf_kv_part){.k = tails + 2 * bytes * (size_t)i, .v = tails + (2 * (size_t)i + 1) * bytes, .capacity = 1};
            a[i] = (sf_attention){.backend = b, .layers = 1, .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = DIM, .queries = 1,
                                  .keys = KEYS + 1, .scale = .09f, .kv = {prompt[1], tail[i], b->activation}, .pairs = pairs + i * HEADS};
            a[i].kv.tail.n = 1;
            a[i].q = (char *)q + sf_bytes(b->activation, (int64_t)i * HEADS * DIM);
            part[i] = &tail[i], lane[i] = &a[i], pattern[i] = &dense;
        }
#define STEP(call)                                                                                                     \
    do {                                                                                                               \
        OK(t, 1, b->ops->call);                                                                                        \
        if (way == WAITING) OK(t, 1, b->ops->synchronize(b));                                                          \
    } while (0)
        for (int layer = 0; layer < LAYERS; layer++) {
            STEP(rms_norm(b, hidden, SF_F32, rows, D, &w[NORM], 1, 1e-6f, normed));
            STEP(linear(b, normed, rows, &w[Q], NULL, false, q, b->activation));
            STEP(linear(b, normed, rows, &w[KV], NULL, false, k, b->activation));
            STEP(linear(b, normed, rows, &w[KV], NULL, false, v, b->activation));
            STEP(rope(b, q, rows, HEADS, DIM, DIM, at, co, si, false));
            STEP(rope(b, k, rows, KV_HEADS, DIM, DIM, at, co, si, false));
            STEP(store_kv(b, rows, part, 1, KV_HEADS, DIM, k, v));
            STEP(decode(b, rows, lane, pattern, to));
            uint64_t key[SF_STRETCH_KEY] = {seed, (uint64_t)rows, (uint64_t)(uintptr_t)hidden}; /* the layers share weights */
            bool done = false, replays = way == REPLAYED && b->ops->replay;
            if (replays) OK(t, 1, b->ops->replay(b, key, &done));
            replayed += done;
            if (done) continue;
            STEP(linear(b, to, rows, &w[O], NULL, true, hidden, SF_F32));
            STEP(rms_norm(b, hidden, SF_F32, rows, D, &w[NORM], 1, 1e-6f, normed));
            STEP(linear(b, normed, rows, &w[UP], NULL, false, gate, b->activation));
            STEP(linear(b, normed, rows, &w[UP], NULL, false, up, b->activation));
            STEP(gated(b, gate, up, rows, MLP, (sf_curve){.kind = SF_SILU}));
            STEP(linear(b, gate, rows, &w[DOWN], NULL, true, hidden, SF_F32));
            if (replays) OK(t, 1, b->ops->recorded(b));
        }
#undef STEP
        counted[way] = t->meter[1];
        out[way] = get(t, 1, hidden, SF_F32, (int64_t)rows * D);
        for (int i = 0; i < rows * D; i++)
            if (!isfinite(out[way][i])) fail_msg("%s: element %d is %g", what, i, out[way][i]);
        OK(t, 1, b->ops->download(b, zero, pairs, (size_t)rows * HEADS * sizeof *zero));
        for (int i = 0; i < rows * HEADS; i++) assert_int_equal(zero[i], (uint64_t)LAYERS * (KEYS + 1));
    }
    assert_int_equal(replayed, b->ops->replay ? LAYERS - 3 : 0); /* the third time it is kept */
    for (int way = WAITING; way < WAYS; way++) {
        if (memcmp(out[AT_ONCE], out[way], (size_t)rows * D * sizeof(float)) != 0)
            fail_msg("%s: %s, they differ", what, way == WAITING ? "queued at once" : "played again");
        assert_memory_equal(&counted[AT_ONCE], &counted[way], sizeof counted[way]);
    }
    for (int i = 0; i < WEIGHTS; i++) b->ops->release_weight(b, &w[i]), free(host[i]);
    free(out[0]), free(out[1]), free(out[2]), free(begin);
    memset(&t->meter[1], 0, sizeof t->meter[1]);
    end_case(t, what);
}

#endif
