/* Linear layers: rows of activations by weights of every dtype, beside the BLAS on fp32 weights. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/lab/bench.h"

struct layer {
    sf_backend backend;
    sf_tensor weight; /* [out, in] */
    int64_t rows;
    void *x, *y; /* backend memory */
    float *wide; /* the weights in fp32, for the BLAS; host */
};

static sf_status apply(void *what)
{
    struct layer *l = what;
    const sf_tensor no_bias = {0};
    return l->backend.ops->linear(&l->backend, l->x, l->rows, &l->weight, &no_bias, false, l->y, SF_F32);
}

static sf_status by_blas(void *what)
{
    struct layer *l = what;
    int out = (int)l->weight.dim[0], in = (int)l->weight.dim[1];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)l->rows, out, in, 1, l->x, in, l->wide, in, 0, l->y, out);
    return SF_OK;
}

/* Random bits, but none that make a scale or a plain number large, nor subnormal: processors that take a hundred cycles for a product of one
 * would be timed at those. */
static void fill(size_t bytes, uint8_t *to)
{
    uint64_t state = 1;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        to[i] = ((uint8_t)(state >> 56) & 0x3b) | 0x20;
    }
}

/* So many activations. */
static sf_status draw(struct layer *l, int64_t n)
{
    size_t bytes = sf_bytes(l->backend.activation, n);
    uint8_t *host = malloc(bytes);
    if (!host) return sf_fail(SF_NO_MEMORY, "no memory for %lld activations", (long long)n);
    fill(bytes, host);
    sf_status status = l->backend.ops->upload(&l->backend, l->x, host, bytes);
    free(host);
    return status;
}

static sf_status measure(struct layer *l, const sf_bench_args *a, const sf_ceilings *c)
{
    sf_timing ours, blas = {NAN, NAN, NAN};
    SF_TRY(sf_bench_time(&l->backend, a->repeat, apply, l, &ours));
    bool host = !isnan(c->flops);
    if (host) SF_TRY(sf_bench_time(NULL, a->repeat, by_blas, l, &blas));
    int64_t out = l->weight.dim[0], in = l->weight.dim[1];
    /* What multiplies this weight's type here; the BLAS beside it stays in fp32. */
    double peak = l->backend.products == SF_Q8_0 && sf_integer_type(l->weight.dtype) ? c->integers : c->flops;
    double flops = 2.0 * (double)(l->rows * out * in) / ours.median;
    double weights = (double)(out * in) / ours.median,
           bytes = (double)sf_bytes(l->weight.dtype, out * in) / ours.median;
    printf(a->csv ? "%s,%d,%d,%d,%d,%.6g,%.6g,%.6g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g\n"
                  : "%-8s%8d%8d%8d%8d%11.4f%11.4f..%-9.4f%9.1f%8.1f%9.2f%9.2f%8.1f%9.2f\n",
           sf_dtypes[l->weight.dtype].name, l->backend.threads, (int)l->rows, (int)in, (int)out, 1e3 * ours.median,
           1e3 * ours.least, 1e3 * ours.most, flops / 1e9, 100 * flops / peak, weights / 1e9, bytes / 1e9,
           100 * bytes / c->bytes, blas.median / ours.median);
    fflush(stdout);
    return SF_OK;
}

static sf_status bench_layer(struct layer *l, const sf_bench_args *a, const sf_ceilings *c, sf_dtype dtype, int64_t in,
                             int64_t out)
{
    if (in % sf_dtypes[dtype].block) return SF_OK; /* no such weights */
    size_t bytes = sf_bytes(dtype, in * out);
    sf_tensor host = {.data = malloc(bytes), .dtype = dtype, .rank = 2, .dim = {out, in}};
    l->wide = malloc((size_t)(in * out) * sizeof *l->wide);
    sf_status status =
        host.data && l->wide ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for %lld weights", (long long)(in * out));
    if (status == SF_OK) {
        fill(bytes, host.data);
        sf_to_f32(dtype, host.data, l->wide, in * out);
        status = l->backend.ops->import_weight(&l->backend, &host, &l->weight);
    }
    for (int r = 0; status == SF_OK && r < a->rows.n; r++) {
        l->rows = (int64_t)a->rows.at[r];
        status = l->backend.ops->alloc(&l->backend, sf_bytes(l->backend.activation, l->rows * in), &l->x);
        if (status == SF_OK) status = l->backend.ops->alloc(&l->backend, sf_bytes(SF_F32, l->rows * out), &l->y);
        if (status == SF_OK) status = draw(l, l->rows * in);
        if (status == SF_OK) status = measure(l, a, c);
        if (l->x) l->backend.ops->free(&l->backend, l->x);
        if (l->y) l->backend.ops->free(&l->backend, l->y);
        l->x = l->y = NULL;
    }
    if (l->weight.data) l->backend.ops->release_weight(&l->backend, &l->weight);
    l->weight = (sf_tensor){0};
    free(host.data);
    free(l->wide);
    return status;
}

static sf_status bench_layers(struct layer *l, const sf_bench_args *a, const sf_ceilings *c)
{
    for (int s = 0; s < a->shapes.n; s++) {
        int in, out;
        if (sscanf(a->shapes.item[s], "%dx%d", &in, &out) != 2 || in < 1 || out < 1 || in > 1 << 20 || out > 1 << 20)
            return sf_fail(SF_BAD_INPUT, "--shape: expected INxOUT, e.g. 576x1536, found '%s'", a->shapes.item[s]);
        for (int t = 0; t < SF_DTYPES; t++)
            if (t != SF_I32 && t < SF_F64 && sf_bench_wants(&a->dtypes, sf_dtypes[t].name))
                SF_TRY(bench_layer(l, a, c, (sf_dtype)t, in, out));
    }
    return SF_OK;
}

sf_status sf_bench_linear(const sf_bench_args *a)
{
    if (a->csv)
        puts("dtype,threads,rows,in,out,ms,least_ms,most_ms,gflops,peak_percent,weights_g,weight_gb,bandwidth_percent,"
             "over_blas");
    for (int t = 0; t < a->threads.n; t++) {
        struct layer l = {0};
        sf_meter meter = {0};
        sf_ceilings c;
        SF_TRY(sf_backend_open(a->device, (int)a->threads.at[t], &l.backend));
        l.backend.meter = &meter;
        sf_status status = sf_bench_ceilings(&l.backend, a->repeat, &c);
        if (status == SF_OK && !a->csv) {
            printf("\n%d thread%s", l.backend.threads, l.backend.threads == 1 ? "" : "s");
            sf_bench_print_ceilings(&c);
            if (l.backend.products == SF_Q8_0) {
                printf("\nactivations are rounded to 8 bits for weights of");
                for (sf_dtype d = 0; d < SF_DTYPES; d++)
                    if (sf_integer_type(d)) printf(" %s", sf_dtypes[d].name);
                printf(", whose %% peak is of bytes multiplied and added; other rows are in fp32");
            }
            printf("\n%-8s%8s%8s%8s%8s%11s%22s%9s%8s%9s%9s%8s%9s\n", "dtype", "threads", "rows", "in", "out", "ms",
                   "spread ms   ", "GFLOP/s", "% peak", "Gweights", "GB/s", "% read", "x BLAS");
        }
        if (status == SF_OK) status = bench_layers(&l, a, &c);
        sf_backend_close(&l.backend);
        SF_TRY(status);
    }
    return SF_OK;
}
