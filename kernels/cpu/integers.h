/* Linear layers in whole numbers (the device cpu-int8): y = x · Wᵀ of rows that are rounded to 8 bits and of weights that are stored in few.
 *
 * x is rounded as llama.cpp rounds it for weights of its block formats (ggml's Q8_0): 32 inputs share a scale, their largest magnitude
 * over 127, and each is the nearest of -127 … 127 times it, of two the even one. The scale stays fp32 here. A weight is a level of its
 * block's, less a constant, times a scale, plus a minimum, so that an output is
 *
 *     y[o] = Σ over blocks b of 32 inputs:  s[b] · a[o, b] · Σ_i level[o, i] · q[i]  +  m[o, b] · s[b] · Σ_i q[i]
 *
 * whose inner sums are whole numbers below 2^24, exact in any order. (Q6_K has two scales a block: two terms.) What is rounded is the
 * outer sum, one fused multiply-add a term, blocks ascending: whichever instructions run, however many rows or threads, the bits are
 * the same. Formats, and levels: tile_integers.h.
 *
 * Test: build/tests/test_int8, test_backends cpu-int8. */
#ifndef SF_CPU_INTEGERS_H
#define SF_CPU_INTEGERS_H

#include <stdbool.h>

#include "kernels/tensor.h"

enum {
    SF_INTEGER_BLOCK = 32,       /* inputs of x that share a scale */
    SF_INTEGER_OUTS = 32,        /* outputs that share a panel of weights */
    SF_INTEGER_ROOM = 36 * 1024, /* bytes for it */
    SF_INTEGER_CHAIN = 768,      /* products of bytes that a step of multiply_add() takes */
};

typedef struct sf_integers {
    int8_t *q;      /* [rows, in] */
    float *scale;   /* [rows, in / 32] s; NaN where an input is not finite, 0 where all are nothing */
    float *sum;     /* [rows, in / 32] s · Σ q */
    int32_t *begin; /* [rows, in / 32, parts] -constant · Σ q, of so many parts of a block */
    const char *w;
    const float *bias; /* [out] or NULL */
    float *y;
    int64_t rows, in, ldy;
    size_t row_bytes;
    sf_dtype dtype; /* of w */
    bool add;
} sf_integers;

typedef struct sf_integer_tiles {
    const char *name;

    /* Rows [first, first + count) of x [rows, in] into l's q, scale, sum and begin. */
    void (*round)(const sf_integers *l, const float *x, int64_t first, int64_t count);

    /* y[r, o] (+)= … (+ bias[o]) of rows [first, first + rows) and outputs [out, out + outs). room: SF_INTEGER_ROOM bytes, 64-byte aligned. */
    void (*product)(const sf_integers *l, int64_t first, int64_t rows, int64_t out, int64_t outs, void *room);

    /* `steps` times SF_INTEGER_CHAIN products of bytes, added up by whichever instruction multiplies them, that never leave the registers:
     * the machine's ceiling, before a level is unpacked or a sum becomes fp32. */
    int32_t (*multiply_add)(int64_t steps, int32_t x);
} sf_integer_tiles;

static inline int sf_integer_parts(sf_dtype t) { return t == SF_Q6_K ? 2 : 1; }

/* Those of the instruction set that the backend's tiles are for. */
struct sf_backend;
const sf_integer_tiles *sf_cpu_integer_tiles(const struct sf_backend *b);

extern const sf_integer_tiles sf_integers_vnni, sf_integers_avx2, sf_integers_generic;

#endif
