/* Twin cases: every op of a filling against the reference, on random shapes and data.
 *
 * Inputs are rounded to the filling's activation dtype first, so that both sides see the same numbers; outputs are
 * poisoned with NaN before; errors are ‖Δ‖ / ‖reference‖. What is counted on the meter must be the same. A failing case
 * prints its parameters. tests/test_backends.c opens the fillings and runs the cases on each; where a filling takes threads,
 * on two and on one, and whatever is read back of it must then be the same to the bit. */
#ifndef SF_TWINS_TWIN_H
#define SF_TWINS_TWIN_H

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

static sf_tensor tensor(void *data, sf_dtype dtype, int64_t rows, int64_t columns)
{
    return columns ? (sf_tensor){data, dtype, 2, {rows, columns}} : (sf_tensor){data, dtype, 1, {rows}};
}

#endif
