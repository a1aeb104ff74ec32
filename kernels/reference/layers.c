/* Reference: the layers around attention, and the moves of keys and values. */
#include "kernels/count.h"
#include "kernels/reference/reference.h"

#include <math.h>
#include <string.h>

#include "kernels/host.h"

sf_status sf_reference_embed(sf_backend *b, const sf_tensor *table, const int32_t *token, int64_t rows, float scale,
                             float *out)
{
    int64_t d = table->dim[1];
    size_t row_bytes = sf_bytes(table->dtype, d);
    for (int64_t t = 0; t < rows; t++) {
        sf_to_f32(table->dtype, (const char *)table->data + (size_t)token[t] * row_bytes, out + t * d, d);
        for (int64_t i = 0; i < d; i++) out[t * d + i] *= scale;
    }
    sf_meter_embed(b, table, rows);
    return SF_OK;
}

sf_status sf_reference_rms_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width,
                                const sf_tensor *weight, float offset, float eps, void *out)
{
    float *in, *w;
    SF_TRY(sf_host_alloc(b, (size_t)width * 2 * sizeof *in, (void **)&in));
    w = in + width;
    sf_to_f32(weight->dtype, weight->data, w, width);
    for (int64_t t = 0; t < rows; t++) {
        sf_to_f32(from, (const char *)x + sf_bytes(from, t * width), in, width);
        double squares = 0;
        for (int i = 0; i < width; i++) squares += (double)in[i] * in[i];
        double root = 1 / sqrt(squares / width + eps);
        for (int i = 0; i < width; i++) ((float *)out)[t * width + i] = (float)(in[i] * root * (w[i] + (double)offset));
    }
    sf_host_free(b, in);
    sf_meter_norm(b, from, rows, width, weight);
    return SF_OK;
}

sf_status sf_reference_layer_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width,
                                  const sf_tensor *weight, const sf_tensor *bias, float offset, float eps, void *out)
{
    float *in, *w, *shift;
    SF_TRY(sf_host_alloc(b, (size_t)width * 3 * sizeof *in, (void **)&in));
    w = in + width, shift = w + width;
    sf_to_f32(weight->dtype, weight->data, w, width);
    for (int i = 0; i < width; i++) shift[i] = 0;
    if (bias && bias->data) sf_to_f32(bias->dtype, bias->data, shift, width);
    for (int64_t t = 0; t < rows; t++) {
        sf_to_f32(from, (const char *)x + sf_bytes(from, t * width), in, width);
        double mean = 0, squares = 0;
        for (int i = 0; i < width; i++) mean += (double)in[i] / width;
        for (int i = 0; i < width; i++) squares += (in[i] - mean) * (in[i] - mean);
        double root = 1 / sqrt(squares / width + eps);
        for (int i = 0; i < width; i++)
            ((float *)out)[t * width + i] = (float)((in[i] - mean) * root * (w[i] + (double)offset) + shift[i]);
    }
    sf_host_free(b, in);
    sf_meter_layer_norm(b, from, rows, width, weight, bias);
    return SF_OK;
}

sf_status sf_reference_cast(sf_backend *b, const float *x, int64_t n, void *out)
{
    for (int64_t i = 0; i < n; i++) ((float *)out)[i] = x[i];
    sf_meter_cast(b, n);
    return SF_OK;
}

sf_status sf_reference_linear(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias,
                              bool add, void *y, sf_dtype dtype)
{
    int64_t out = w->dim[0], in = w->dim[1];
    size_t row_bytes = sf_bytes(w->dtype, in);
    float *row;
    SF_TRY(sf_host_alloc(b, (size_t)in * sizeof *row, (void **)&row));
    for (int64_t o = 0; o < out; o++) {
        sf_to_f32(w->dtype, (const char *)w->data + (size_t)o * row_bytes, row, in);
        float shift = 0;
        if (bias && bias->data) sf_to_f32(bias->dtype, (const char *)bias->data + sf_bytes(bias->dtype, o), &shift, 1);
        for (int64_t t = 0; t < rows; t++) {
            float *to = (float *)y + t * out + o;
            double sum = add ? (double)*to + shift : shift;
            for (int64_t i = 0; i < in; i++) sum += (double)row[i] * ((const float *)x)[t * in + i];
            *to = (float)sum;
        }
    }
    sf_host_free(b, row);
    sf_meter_linear(b, rows, w, bias, dtype);
    return SF_OK;
}

sf_status sf_reference_rope(sf_backend *b, void *x, int64_t rows, int heads, int head_dim, int rotary,
                            const int32_t *position, const float *cosine, const float *sine, bool interleaved)
{
    int half = rotary / 2;
    for (int64_t t = 0; t < rows; t++) {
        for (int h = 0; h < heads; h++) {
            float *v = (float *)x + (t * heads + h) * head_dim;
            for (int i = 0; i < half; i++) {
                float *first = interleaved ? v + 2 * i : v + i, *second = interleaved ? first + 1 : first + half;
                double c = cosine[(int64_t)position[t] * half + i], s = sine[(int64_t)position[t] * half + i];
                double u = *first, w = *second;
                *first = (float)(u * c - w * s);
                *second = (float)(u * s + w * c);
            }
        }
    }
    sf_meter_rope(b, rows, heads, rotary);
    return SF_OK;
}

/* GELU: (1 + tanh z) / 2 = 1 / (1 + exp(-2z)) and 1 + erf z = erfc(-z) keep their digits where tanh z or erf z is nearly -1. */
static double bend(sf_curve c, double x)
{
    switch (c.kind) {
    case SF_SILU: return x / (1 + exp(-x));
    case SF_GELU_TANH: return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x))); /* √(2/π) */
    case SF_GELU: return x / 2 * erfc(-x * M_SQRT1_2);
    case SF_RELU2: return x > 0 ? x * x : 0;
    case SF_SIGMOID: return 1 / (1 + exp(-x));
    case SF_IDENTITY: return x;
    case SF_CLAMPED: return fmin(x, (double)c.p[1]) / (1 + exp(-c.p[0] * fmin(x, (double)c.p[1])));
    case SF_XIELU:
        if (x > 0) return c.p[0] * x * x + c.p[2] * x;
        return (expm1(fmin(x, (double)c.p[3])) - x) * c.p[1] + c.p[2] * x;
    }
    return NAN;
}

sf_status sf_reference_gated(sf_backend *b, void *gate, const void *up, int64_t rows, int width, sf_curve curve)
{
    float *g = gate;
    const float *u = up;
    for (int64_t i = 0; i < rows * width; i++) {
        double by = u ? (double)u[i] : 1;
        if (curve.kind == SF_CLAMPED && u) by = fmin(fmax(by, (double)-curve.p[1]), (double)curve.p[1]) + 1;
        g[i] = (float)(bend(curve, g[i]) * by);
    }
    sf_meter_gated(b, rows, width, up != NULL);
    return SF_OK;
}

sf_status sf_reference_copy_columns(sf_backend *b, const void *x, int64_t from, int64_t rows, int64_t n, void *y, int64_t to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) ((float *)y)[r * to + i] = ((const float *)x)[r * from + i];
    sf_meter_columns(b, rows, n);
    return SF_OK;
}

sf_status sf_reference_add(sf_backend *b, float *x, const void *y, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++) x[i] += scale * ((const float *)y)[i];
    sf_meter_residual(b, n);
    return SF_OK;
}

sf_status sf_reference_scale(sf_backend *b, float *x, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++) x[i] *= scale;
    sf_meter_scale(b, n);
    return SF_OK;
}

sf_status sf_reference_weigh_experts(sf_backend *b, float *share, const int32_t *expert, int64_t n, const sf_tensor *of)
{
    for (int64_t i = 0; i < n; i++) {
        float own;
        sf_to_f32(of->dtype, (const char *)of->data + sf_bytes(of->dtype, expert[i]), &own, 1);
        share[i] *= own;
    }
    sf_meter_weigh_experts(b, n, of);
    return SF_OK;
}

sf_status sf_reference_store_kv(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads,
                                int head_dim, const void *k, const void *v)
{
    for (int l = 0; l < lanes; l++) {
        for (int64_t r = 0; r < rows; r++) {
            for (int g = 0; g < kv_heads; g++) {
                int64_t from = ((l * rows + r) * kv_heads + g) * head_dim;
                int64_t to = (g * part[l]->capacity + part[l]->n + r) * head_dim;
                for (int d = 0; d < head_dim; d++) {
                    ((float *)part[l]->k)[to + d] = ((const float *)k)[from + d];
                    if (v) ((float *)part[l]->v)[to + d] = ((const float *)v)[from + d];
                }
            }
        }
    }
    sf_meter_store(b, lanes * rows, kv_heads, head_dim, v != NULL);
    return SF_OK;
}

sf_status sf_reference_round_kv(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim)
{
    (void)b;
    for (int l = 0; l < lanes; l++) {
        for (int64_t r = 0; part[l]->format && r < rows; r++) {
            for (int g = 0; g < kv_heads; g++) {
                int64_t at = (g * part[l]->capacity + part[l]->n + r) * head_dim;
                sf_cache_round(part[l]->format, (float *)part[l]->k + at, head_dim);
                if (part[l]->v != part[l]->k) sf_cache_round(part[l]->format, (float *)part[l]->v + at, head_dim);
            }
        }
    }
    return SF_OK;
}

sf_status sf_reference_pack_kv(sf_backend *b, const sf_kv_part *from, const sf_kv_part *to, int64_t rows, int kv_heads, int head_dim)
{
    (void)b;
    for (int g = 0; g < kv_heads; g++) {
        for (int64_t r = from->n; r < from->n + rows; r++) {
            const int64_t source = (g * from->capacity + r) * head_dim, target = g * to->capacity + r;
            sf_cache_pack_row(to, to->k, kv_heads, target, head_dim, (const float *)from->k + source);
            sf_cache_pack_row(to, to->v, kv_heads, target, head_dim, (const float *)from->v + source);
        }
    }
    return SF_OK;
}

/* A row's bytes and its scales, as they are. */
static void copy_packed(const sf_kv_part *from, const void *x, int64_t source, int kv_heads, int dim, const sf_kv_part *to, void *y, int64_t target)
{
    const sf_cache_format *f = from->format;
    memcpy(sf_cache_numbers(to, y, target, dim), sf_cache_numbers(from, x, source, dim), sf_cache_row_bytes(f, dim));
    memcpy(sf_cache_scales(to, y, kv_heads, target, dim), sf_cache_scales(from, x, kv_heads, source, dim),
           (size_t)(sf_cache_groups(f, dim) * f->scale_bytes));
}

sf_status sf_reference_gather_kv(sf_backend *b, const sf_kv_part *from, const sf_lists *keep, int head_dim,
                                 sf_kv_part *to)
{
    int64_t total = 0;
    to->n = 0;
    if (to->index) to->k = from->k, to->v = from->v, to->capacity = from->capacity;
    for (int64_t g = 0; g < keep->rows; g++) {
        int32_t n = keep->count[g];
        for (int32_t i = 0; i < n; i++) {
            if (to->index) {
                ((int32_t *)to->index)[g * to->stride + i] = keep->index[g * keep->stride + i];
                continue;
            }
            int64_t source = g * from->capacity + keep->index[g * keep->stride + i];
            int64_t target = g * to->capacity + i;
            if (from->packed) {
                copy_packed(from, from->k, source, (int)keep->rows, head_dim, to, to->k, target);
                copy_packed(from, from->v, source, (int)keep->rows, head_dim, to, to->v, target);
                continue;
            }
            source *= head_dim, target *= head_dim;
            for (int d = 0; d < head_dim; d++) {
                ((float *)to->k)[target + d] = ((const float *)from->k)[source + d];
                ((float *)to->v)[target + d] = ((const float *)from->v)[source + d];
            }
        }
        ((int32_t *)to->count)[g] = n;
        if (n > to->n) to->n = n;
        total += n;
    }
    sf_meter_gather(b, from, total, head_dim);
    return SF_OK;
}

sf_status sf_reference_scale_queries(sf_backend *b, void *q, int64_t rows, int heads, int head_dim, const int32_t *position,
                                     const float *beta, const float *gamma, float delta, float range)
{
    for (int64_t i = 0; i < rows * heads; i++) {
        double soft = beta[i] > 30 ? (double)beta[i] : log1p(exp((double)beta[i]));
        double by = delta + soft * pow(log(position[i / heads] + 2.0), range * tanh((double)gamma[i]));
        for (int d = 0; d < head_dim; d++) ((float *)q)[i * head_dim + d] *= (float)by;
    }
    sf_meter_scale_queries(b, rows, heads, head_dim);
    return SF_OK;
}

sf_status sf_reference_sink(sf_backend *b, void *out, const float *lse, const sf_tensor *sink, int64_t rows, int heads, int head_dim)
{
    for (int64_t i = 0; i < rows * heads; i++) {
        float logit;
        sf_to_f32(sink->dtype, (const char *)sink->data + sf_bytes(sink->dtype, i % heads), &logit, 1);
        double kept = 1 / (1 + exp((double)logit - lse[i]));
        for (int d = 0; d < head_dim; d++) ((float *)out)[i * head_dim + d] *= (float)kept;
    }
    sf_meter_sink(b, sink, rows, heads, head_dim);
    return SF_OK;
}

sf_status sf_reference_argmax(sf_backend *b, const float *logits, int64_t rows, int64_t vocab, int32_t *token)
{
    for (int64_t r = 0; r < rows; r++) {
        int32_t best = -1;
        for (int64_t i = 0; i < vocab; i++) {
            float x = logits[r * vocab + i];
            if (!isnan(x) && (best < 0 || x > logits[r * vocab + best])) best = (int32_t)i;
        }
        token[r] = best;
    }
    sf_meter_argmax(b, rows, vocab);
    return SF_OK;
}
