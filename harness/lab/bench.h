/* frontier bench: what its parts share. Medians of repeated calls after a warm-up, beside what the machine gives at
 * best in the same run. */
#ifndef SF_BENCH_H
#define SF_BENCH_H

#include "base/strings.h"
#include "kernels/backend.h"
#include "methods/find.h"

enum { SF_BENCH_MOST = 16, SF_BENCH_REPEATS = 101 };

typedef struct sf_numbers {
    int n;
    double at[SF_BENCH_MOST];
} sf_numbers;

typedef struct sf_bench_args {
    const char *part; /* "attention", …; NULL: attention and decode */
    const char *device, *model;
    sf_numbers tokens, threads, heads, kv_heads, head_dim, sparsity, block, rows, entmax;
    sf_strings methods, dtypes, shapes, caches; /* caches: packed formats, of decode */
    int output, repeat;
    bool csv;
} sf_bench_args;

typedef struct sf_timing {
    double median, least, most;
} sf_timing; /* seconds */

/* Sorts x [n]. */
double sf_bench_median(double *x, int n);

/* Calls once to warm up, then `repeat` times. `b`: whose work is waited for; NULL: none. */
sf_status sf_bench_time(sf_backend *b, int repeat, sf_status (*call)(void *what), void *what, sf_timing *out);

typedef struct sf_ceilings {
    double flops; /* fused multiply-adds in registers, two FLOPs each, a second */
    double gemm;  /* the BLAS's fp32 product of square matrices */
    double integers; /* products of bytes and their sums in registers, two operations each, a second; NAN where nothing is in whole numbers */
    double bytes; /* read from memory, a second */
} sf_ceilings;

/* Of this host with the backend's threads; all NAN where the backend is not the host. */
sf_status sf_bench_ceilings(const sf_backend *b, int repeat, sf_ceilings *out);

/* "; ceilings here: …" */
void sf_bench_print_ceilings(const sf_ceilings *c);

/* Whether a list of names asks for this one: an empty list asks for all. */
bool sf_bench_wants(const sf_strings *list, const char *name);

/* Exponent of growth: the slope of log y over log x by least squares. NAN before there are three points. */
typedef struct sf_growth {
    double n, x, y, xx, xy;
} sf_growth;
void sf_growth_add(sf_growth *g, double x, double y);
double sf_growth_exponent(const sf_growth *g);

/* The parts. */
sf_status sf_bench_attention(const sf_bench_args *a, bool prefill, bool decode, bool choose_only);
sf_status sf_bench_linear(const sf_bench_args *a);
sf_status sf_bench_sweep(const sf_bench_args *a);
sf_status sf_bench_memory(const sf_bench_args *a);

/* Keys that live in a kv head at a decode step (from 0) that reads so many, after a prompt of `tokens`. */
double sf_bench_living(const sf_method *method, double read, int tokens, int step);

#endif
