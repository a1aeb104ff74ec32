#include "kernels/cache.h"

#include <math.h>

/* Compiled without -ffp-contract=fast, unlike kernels/cpu: x · by + 8.5 in one rounding would be another number. */

const sf_cache_format sf_cache_formats[] = {
    {"simulated_fp8", "fp8 cache", SF_CACHE_E4M3, 8, 0, 0},
    {"simulated_int8", "int8 cache", SF_CACHE_INT8, 8, 0, 4},
    {"simulated_int4", "int4 cache", SF_CACHE_Q4_0, 4, 32, 2},
    {0},
};

const sf_cache_format *sf_cache_format_of(const char *name)
{
    for (const sf_cache_format *f = sf_cache_formats; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

size_t sf_cache_bytes(const sf_cache_format *f, sf_dtype dtype, int64_t rows, int dim)
{
    if (!f) return sf_bytes(dtype, rows * dim);
    const int groups = f->group ? dim / f->group : 1;
    return (size_t)rows * ((size_t)dim * (size_t)f->bits / 8 + (size_t)groups * (size_t)f->scale_bytes);
}

/* The first number of the largest magnitude; NaN is none. */
static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    return most;
}

void sf_cache_round(const sf_cache_format *f, float *row, int dim)
{
    const int group = f->group ? f->group : dim;
    for (int first = 0; first < dim; first += group) {
        float *x = row + first;
        const float most = largest(x, group);
        for (int i = 0; i < group; i++)
            x[i] = f->kind == SF_CACHE_E4M3   ? sf_cache_e4m3(x[i])
                   : f->kind == SF_CACHE_INT8 ? sf_cache_int8(x[i], fabsf(most))
                                              : sf_cache_q4_0(x[i], most);
    }
}
