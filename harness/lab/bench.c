#include "harness/lab/bench.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/integers.h"

/* ---- timing ------------------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double sf_bench_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

sf_status sf_bench_time(sf_backend *b, int repeat, sf_status (*call)(void *what), void *what, sf_timing *out)
{
    double seconds[SF_BENCH_REPEATS];
    for (int i = -1; i < repeat; i++) {
        double began = sf_now();
        SF_TRY(call(what));
        if (b) SF_TRY(b->ops->synchronize(b));
        if (i >= 0) seconds[i] = sf_now() - began;
    }
    double median = sf_bench_median(seconds, repeat);
    *out = (sf_timing){median, seconds[0], seconds[repeat - 1]};
    return SF_OK;
}

/* ---- ceilings of the host ---------------------------------------------------------------------------------------- */

enum { SIDE = 1536, READ_BYTES = 1 << 28, CHAINS = 1 << 21 };

struct host {
    const sf_backend *backend;
    float *memory;
};

static volatile float sink; /* what keeps loops from being left out */

static sf_status multiply_add(void *what)
{
    const struct host *h = what;
    float sum = 0;
#pragma omp parallel num_threads(h->backend->threads) reduction(+ : sum)
    sum += sf_cpu_tiles(h->backend)->multiply_add(CHAINS, 1e-9f);
    sink = sum;
    return SF_OK;
}

static sf_status multiply_add_integers(void *what)
{
    const struct host *h = what;
    int32_t sum = 0;
#pragma omp parallel num_threads(h->backend->threads) reduction(^ : sum)
    sum ^= sf_cpu_integer_tiles(h->backend)->multiply_add(CHAINS, 3);
    sink = (float)sum;
    return SF_OK;
}

static sf_status multiply(void *what)
{
    float *a = ((const struct host *)what)->memory;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1, a, SIDE, a + SIDE * SIDE, SIDE, 0,
                a + 2 * SIDE * SIDE, SIDE);
    return SF_OK;
}

static sf_status read_all(void *what)
{
    const struct host *h = what;
    float sum = 0;
#pragma omp parallel for num_threads(h->backend->threads) reduction(+ : sum) schedule(static)
    for (long i = 0; i < READ_BYTES / 64; i++) sum += h->memory[16 * i]; /* the rest of a cache line comes with it */
    sink = sum;
    return SF_OK;
}

sf_status sf_bench_ceilings(const sf_backend *b, int repeat, sf_ceilings *out)
{
    *out = (sf_ceilings){NAN, NAN, NAN, NAN};
    if (strncmp(b->ops->name, "cpu", 3) != 0) return SF_OK;
    struct host h = {b, malloc(READ_BYTES)};
    if (!h.memory) return sf_fail(SF_NO_MEMORY, "no memory to measure the machine with");
    for (long i = 0; i < READ_BYTES / 4; i++) h.memory[i] = 1.0f / (float)(i % 97 + 1);
    openblas_set_num_threads(b->threads);
    sf_timing t;
    sf_status status = sf_bench_time(NULL, repeat, multiply_add, &h, &t);
    out->flops = 2.0 * CHAINS * SF_CHAIN_FLOATS * b->threads / t.median;
    if (status == SF_OK && b->products == SF_Q8_0) {
        status = sf_bench_time(NULL, repeat, multiply_add_integers, &h, &t);
        out->integers = 2.0 * CHAINS * SF_INTEGER_CHAIN * b->threads / t.median;
    }
    if (status == SF_OK) status = sf_bench_time(NULL, repeat, multiply, &h, &t);
    out->gemm = 2.0 * SIDE * SIDE * SIDE / t.median;
    if (status == SF_OK) status = sf_bench_time(NULL, repeat, read_all, &h, &t);
    out->bytes = READ_BYTES / t.median;
    free(h.memory);
    return status;
}

void sf_bench_print_ceilings(const sf_ceilings *c)
{
    if (isnan(c->flops)) return;
    printf("; ceilings here: fp32 FMA %.0f GFLOP/s (matrix product %.0f), memory read %.1f GB/s", c->flops / 1e9,
           c->gemm / 1e9, c->bytes / 1e9);
    if (!isnan(c->integers)) printf(", bytes multiplied and added %.0f GOP/s", c->integers / 1e9);
}

/* ---- lists and growth -------------------------------------------------------------------------------------------- */

bool sf_bench_wants(const sf_strings *list, const char *name)
{
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->item[i], name) == 0) return true;
    return list->n == 0;
}

void sf_growth_add(sf_growth *g, double x, double y)
{
    if (!(x > 0 && y > 0)) return;
    double a = log(x), b = log(y);
    g->n++, g->x += a, g->y += b, g->xx += a * a, g->xy += a * b;
}

double sf_growth_exponent(const sf_growth *g)
{
    double spread = g->n * g->xx - g->x * g->x;
    return g->n >= 3 && spread > 0 ? (g->n * g->xy - g->x * g->y) / spread : NAN;
}
