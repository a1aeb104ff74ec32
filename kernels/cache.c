#include "kernels/cache.h"

#include <math.h>

/* Compiled without -ffp-contract=fast, unlike kernels/cpu: x · by + 8.5 in one rounding would be another number. */

const sf_cache_format sf_cache_formats[] = {
    {"simulated_fp8", "simulated fp8 cache", SF_CACHE_E4M3, 8, 0, 0, .packed = false},
    {"simulated_int8", "simulated int8 cache", SF_CACHE_INT8, 8, 0, 4, .packed = false},
    {"simulated_int4", "simulated int4 cache", SF_CACHE_Q4_0, 4, 32, 2, .packed = false},
    {"fp8", "fp8 cache", SF_CACHE_E4M3, 8, 0, 0, .packed = true},
    {"int8", "int8 cache", SF_CACHE_INT8, 8, 0, 4, .packed = true},
    {"int4", "int4 cache", SF_CACHE_Q4_0, 4, 32, 2, .packed = true},
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
    return (size_t)rows * (sf_cache_row_bytes(f, dim) + (size_t)sf_cache_groups(f, dim) * (size_t)f->scale_bytes);
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

static bool has_nan(const float *x, int n)
{
    bool nan = false;
    for (int i = 0; i < n; i++) nan |= isnan(x[i]);
    return nan;
}

static void pack_int8(const float *x, int dim, int8_t *to, float *scale)
{
    *scale = sf_cache_int8_scale(fabsf(largest(x, dim)));
    for (int i = 0; i < dim; i++) {
        const float q = sf_cache_int8_code(x[i], *scale);
        to[i] = (int8_t)(isnan(q) ? 0 : q); /* of NaN, or of an infinity by an infinite scale: their products are NaN anyhow */
    }
    if (has_nan(x, dim)) *scale = NAN;
}

static void pack_q4_0(const float *x, uint8_t *to, uint16_t *scale)
{
    enum { GROUP = 32 };
    const float own = sf_cache_q4_0_scale(largest(x, GROUP));
    *scale = sf_cache_half_code(has_nan(x, GROUP) ? NAN : sf_cache_half(own));
    for (int i = 0; i < GROUP / 2; i++) {
        const float low = sf_cache_q4_0_code(x[i], own), high = sf_cache_q4_0_code(x[i + GROUP / 2], own);
        to[i] = (uint8_t)((isnan(low) ? 8 : (unsigned)low) | (isnan(high) ? 8 : (unsigned)high) << 4);
    }
}

void sf_cache_pack(const sf_cache_format *f, const float *row, int dim, void *numbers, void *scales)
{
    switch (f->kind) {
    case SF_CACHE_E4M3:
        for (int i = 0; i < dim; i++) ((uint8_t *)numbers)[i] = sf_cache_e4m3_code(sf_cache_e4m3(row[i]));
        break;
    case SF_CACHE_INT8: pack_int8(row, dim, numbers, scales); break;
    case SF_CACHE_Q4_0:
        for (int g = 0; g < sf_cache_groups(f, dim); g++)
            pack_q4_0(row + g * f->group, (uint8_t *)numbers + g * f->group / 2, (uint16_t *)scales + g);
        break;
    }
}

void sf_cache_unpack(const sf_cache_format *f, const void *numbers, const void *scales, int dim, float *row)
{
    const uint8_t *from = numbers;
    for (int i = 0; i < dim; i++) {
        if (f->kind == SF_CACHE_E4M3) row[i] = sf_cache_e4m3_of(from[i]);
        if (f->kind == SF_CACHE_INT8) row[i] = SF_CACHE_TIMES((float)((const int8_t *)numbers)[i], *(const float *)scales);
        if (f->kind != SF_CACHE_Q4_0) continue;
        const int g = i / f->group, at = i % f->group, half = f->group / 2;
        const int q = from[g * half + at % half] >> (at < half ? 0 : 4) & 15;
        row[i] = SF_CACHE_TIMES(sf_cache_half_of(((const uint16_t *)scales)[g]), (float)(q - 8));
    }
}

void sf_cache_pack_row(const sf_kv_part *part, void *packed, int kv_heads, int64_t row, int dim, const float *from)
{
    sf_cache_pack(part->format, from, dim, sf_cache_numbers(part, packed, row, dim), sf_cache_scales(part, packed, kv_heads, row, dim));
}

void sf_cache_unpack_row(const sf_kv_part *part, const void *packed, int kv_heads, int64_t row, int dim, float *to)
{
    sf_cache_unpack(part->format, sf_cache_numbers(part, packed, row, dim), sf_cache_scales(part, packed, kv_heads, row, dim), dim, to);
}

sf_status sf_cache_refuse(const sf_kv_part *part, const char *op)
{
    if (!part->packed) return SF_OK;
    return sf_fail(SF_UNSUPPORTED, "%s reads keys of a packed cache, which is for attention and bounds of pages alone: use simulated_%s", op, part->format->name);
}
