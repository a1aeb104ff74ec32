/* CPU: linear layers, norms, rotations, activations, and the moves of keys and values.
 *
 * Linear layers share out tiles of output rows and, when there are many rows of x, stretches of those: a unit widens
 * its weight rows once and applies them to all its rows, which are laid side by side before (tile_linear.h). One kernel
 * serves prefill and decode, because a row must not notice how many travel with it. */
#include "kernels/count.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/integers.h"

#include <math.h>
#include <string.h>

/* Outputs and rows of a unit; rows from which on weights are not the bottleneck. */
enum { OUTS = SF_LINEAR_OUTS, NARROW = 16, FEW = 64, PACKED = 2 << 20 /* floats */, UNITS = 5 /* of rows */ };

sf_status sf_cpu_embed(sf_backend *b, const sf_tensor *table, const int32_t *token, int64_t rows, float scale,
                       float *out)
{
    int64_t d = table->dim[1];
    size_t row_bytes = sf_bytes(table->dtype, d);
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows > 16)
    for (int64_t t = 0; t < rows; t++) {
        sf_cpu_tiles(b)->widen(table->dtype, (const char *)table->data + (size_t)token[t] * row_bytes, out + t * d, d);
        for (int64_t i = 0; i < d; i++) out[t * d + i] *= scale;
    }
    sf_meter_embed(b, table, rows);
    return SF_OK;
}

sf_status sf_cpu_as_f32(sf_backend *b, const sf_tensor *w, const float **out)
{
    *out = w->data;
    if (w->dtype == SF_F32) return SF_OK;
    float *wide;
    int64_t n = sf_elements(w);
    SF_TRY(sf_scratch_alloc(b, (size_t)n * sizeof *wide, (void **)&wide));
    sf_cpu_tiles(b)->widen(w->dtype, w->data, wide, n);
    *out = wide;
    return SF_OK;
}

sf_status sf_cpu_rms_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight,
                          float offset, float eps, void *out)
{
    sf_mark mark = sf_scratch_mark(b);
    const float *w;
    float *room = NULL; /* a widened row for each thread */
    SF_TRY(sf_cpu_as_f32(b, weight, &w));
    if (from != SF_F32) SF_TRY(sf_cpu_room(b, width, sizeof *room, (void **)&room));
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * width > 1 << 15)
    for (int64_t t = 0; t < rows; t++) {
        const float *row = (const float *)x + t * width;
        if (room) {
            float *wide = room + (int64_t)omp_get_thread_num() * width;
            sf_cpu_tiles(b)->widen(from, (const char *)x + sf_bytes(from, t * width), wide, width);
            row = wide;
        }
        sf_cpu_tiles(b)->rms_norm(row, w, offset, eps, width, (float *)out + t * width);
    }
    sf_scratch_release(b, mark);
    sf_meter_norm(b, from, rows, width, weight);
    return SF_OK;
}

sf_status sf_cpu_layer_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight,
                            const sf_tensor *bias, float offset, float eps, void *out)
{
    sf_mark mark = sf_scratch_mark(b);
    const float *w, *shift = NULL;
    float *room; /* a widened row for each thread */
    SF_TRY(sf_cpu_as_f32(b, weight, &w));
    if (bias && bias->data) SF_TRY(sf_cpu_as_f32(b, bias, &shift));
    SF_TRY(sf_cpu_room(b, width, sizeof *room, (void **)&room));
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * width > 1 << 15)
    for (int64_t t = 0; t < rows; t++) {
        float *row = room + (int64_t)omp_get_thread_num() * width, *to = (float *)out + t * width;
        sf_cpu_tiles(b)->widen(from, (const char *)x + sf_bytes(from, t * width), row, width);
        double mean = 0, squares = 0;
        for (int i = 0; i < width; i++) mean += (double)row[i];
        mean /= width;
        for (int i = 0; i < width; i++) squares += ((double)row[i] - mean) * ((double)row[i] - mean);
        float root = (float)(1 / sqrt(squares / width + (double)eps)), centre = (float)mean;
        for (int i = 0; i < width; i++) to[i] = (row[i] - centre) * root * (w[i] + offset) + (shift ? shift[i] : 0);
    }
    sf_scratch_release(b, mark);
    sf_meter_layer_norm(b, from, rows, width, weight, bias);
    return SF_OK;
}

sf_status sf_cpu_cast(sf_backend *b, const float *x, int64_t n, void *out)
{
    memcpy(out, x, (size_t)n * sizeof *x);
    sf_meter_cast(b, n);
    return SF_OK;
}

/* All of `l`, in units of some outputs by up to unit_rows rows. packed: room to lay the rows of x side by side first. */
static void share_out(const sf_backend *b, const sf_linear *l, int64_t out, float *packed, float *room)
{
    const sf_tiles *tiles = sf_cpu_tiles(b);
    int64_t strip = tiles->strip_rows, strips = sf_cpu_parts(l->rows, strip), tall = tiles->unit_rows / strip * strip;
    int64_t parts = sf_cpu_parts(l->rows, tall), wide = l->rows < FEW ? NARROW : OUTS;
    /* Six units a thread leave little to wait for at the end; narrower ones read the rows more often. */
    while (wide > 2 * NARROW && sf_cpu_parts(out, wide) * parts < 6 * b->threads) wide /= 2;
#pragma omp parallel num_threads(b->threads) if (l->rows * out * l->in > 1 << 16)
    {
        float *mine = room + (int64_t)omp_get_thread_num() * SF_LINEAR_ROOM;
        if (packed) {
#pragma omp for schedule(static)
            for (int64_t s = 0; s < strips; s++) {
                int64_t left = l->rows - s * strip;
                tiles->pack_rows(l->x, l->rows, l->in, s * strip, left < strip ? left : strip, packed);
            }
        }
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < sf_cpu_parts(out, wide) * parts; unit++) {
            int64_t o = unit / parts * wide, r = unit % parts * tall;
            tiles->linear(l, r, l->rows - r < tall ? l->rows - r : tall, o, (int)(out - o < wide ? out - o : wide),
                          mine);
        }
    }
}

/* linear() of backend.h, uncounted. */
sf_status sf_cpu_product(sf_backend *b, const float *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add,
                         float *y)
{
    if (b->products == SF_Q8_0 && sf_integer_type(w->dtype)) return sf_cpu_integer_product(b, x, rows, w, bias, add, y);
    int64_t out = w->dim[0], in = w->dim[1], padded = sf_cpu_parts(in, 16) * 16;
    int64_t unit = sf_cpu_tiles(b)->unit_rows, slab = PACKED / padded / unit * unit; /* rows packed at a time, to bound the copy */
    if (slab < unit) slab = unit;
    if (slab > UNITS * unit) slab = UNITS * unit; /* more leave threads no less to wait for */
    sf_linear l = {
        .w = w->data, .in = in, .ldy = out, .row_bytes = sf_bytes(w->dtype, in), .dtype = w->dtype, .add = add};
    sf_mark mark = sf_scratch_mark(b);
    float *room, *packed = NULL;
    if (bias && bias->data) SF_TRY(sf_cpu_as_f32(b, bias, &l.bias));
    if (rows > 1 || in % 16 || sf_cpu_tiles(b)->halves) {
        int64_t most = (rows < slab ? rows : slab) + sf_cpu_tiles(b)->strip_rows;
        SF_TRY(sf_scratch_alloc(b, (size_t)(most * padded) * sizeof *packed, (void **)&packed));
    }
    l.packed = packed;
    SF_TRY(sf_cpu_room(b, SF_LINEAR_ROOM, sizeof *room, (void **)&room));
    for (int64_t r = 0; r < rows; r += slab) {
        l.x = x + r * in;
        l.y = y + r * out;
        l.rows = rows - r < slab ? rows - r : slab;
        share_out(b, &l, out, packed, room);
    }
    sf_scratch_release(b, mark);
    return SF_OK;
}

sf_status sf_cpu_linear(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add,
                        void *y, sf_dtype dtype)
{
    SF_TRY(sf_cpu_product(b, x, rows, w, bias, add, y));
    sf_meter_linear(b, rows, w, bias, dtype);
    return SF_OK;
}

sf_status sf_cpu_rope(sf_backend *b, void *x, int64_t rows, int heads, int head_dim, int rotary,
                      const int32_t *position, const float *cosine, const float *sine, bool interleaved)
{
    int half = rotary / 2;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * heads * head_dim > 1 << 15)
    for (int64_t t = 0; t < rows; t++) {
        const float *c = cosine + (int64_t)position[t] * half, *s = sine + (int64_t)position[t] * half;
        for (int h = 0; h < heads; h++) {
            float *v = (float *)x + (t * heads + h) * head_dim;
            if (interleaved) {
                for (int i = 0; i < half; i++) {
                    float u = v[2 * i], w = v[2 * i + 1];
                    v[2 * i] = u * c[i] - w * s[i];
                    v[2 * i + 1] = u * s[i] + w * c[i];
                }
            } else {
                float *restrict low = v, *restrict high = v + half;
                for (int i = 0; i < half; i++) {
                    float u = low[i], w = high[i];
                    low[i] = u * c[i] - w * s[i];
                    high[i] = u * s[i] + w * c[i];
                }
            }
        }
    }
    sf_meter_rope(b, rows, heads, rotary);
    return SF_OK;
}

/* Curves that few models have: plain loops. */
static float bend(sf_curve c, float x)
{
    if (c.kind == SF_GELU) return (float)(x * 0.5 * erfc(-(double)x * M_SQRT1_2));
    if (c.kind == SF_RELU2) return x > 0 ? x * x : x == x ? 0 : x;
    if (c.kind == SF_SIGMOID) return 1 / (1 + expf(-x));
    if (c.kind == SF_IDENTITY) return x;
    if (c.kind == SF_CLAMPED) {
        float g = x < c.p[1] ? x : x == x ? c.p[1] : x;
        return g / (1 + expf(-c.p[0] * g));
    }
    if (x > 0) return (c.p[0] * x + c.p[2]) * x;
    double low = (double)x; /* near 0 what is left of exp(x) - 1 - x is x² / 2 */
    return (float)((expm1(fmin(low, (double)c.p[3])) - low) * (double)c.p[1] + (double)c.p[2] * low);
}

static void bend_row(const sf_tiles *tiles, sf_curve c, float *gate, const float *up, int width)
{
    if (up && (c.kind == SF_SILU || c.kind == SF_GELU_TANH)) {
        tiles->gated(gate, up, width, c.kind);
        return;
    }
    float ones[64];
    for (int i = 0; i < 64; i++) ones[i] = 1;
    if (c.kind == SF_SILU || c.kind == SF_GELU_TANH) {
        for (int i = 0; i < width; i += 64) tiles->gated(gate + i, ones, width - i < 64 ? width - i : 64, c.kind);
        return;
    }
    for (int i = 0; i < width; i++) {
        float by = up ? up[i] : 1;
        if (c.kind == SF_CLAMPED && up) by = fminf(fmaxf(by, -c.p[1]), c.p[1]) + 1;
        gate[i] = bend(c, gate[i]) * by;
    }
}

sf_status sf_cpu_gated(sf_backend *b, void *gate, const void *up, int64_t rows, int width, sf_curve curve)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * width > 1 << 14)
    for (int64_t t = 0; t < rows; t++)
        bend_row(sf_cpu_tiles(b), curve, (float *)gate + t * width, up ? (const float *)up + t * width : NULL, width);
    sf_meter_gated(b, rows, width, up != NULL);
    return SF_OK;
}

sf_status sf_cpu_copy_columns(sf_backend *b, const void *x, int64_t from, int64_t rows, int64_t n, void *y, int64_t to)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 15)
    for (int64_t r = 0; r < rows; r++) memcpy((float *)y + r * to, (const float *)x + r * from, (size_t)n * sizeof(float));
    sf_meter_columns(b, rows, n);
    return SF_OK;
}

sf_status sf_cpu_scale(sf_backend *b, float *x, int64_t n, float scale)
{
#pragma omp parallel for simd num_threads(b->threads) schedule(static) if (n > 1 << 16)
    for (int64_t i = 0; i < n; i++) x[i] *= scale;
    sf_meter_scale(b, n);
    return SF_OK;
}

sf_status sf_cpu_weigh_experts(sf_backend *b, float *share, const int32_t *expert, int64_t n, const sf_tensor *of)
{
    const float *own;
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_cpu_as_f32(b, of, &own));
    for (int64_t i = 0; i < n; i++) share[i] *= own[expert[i]];
    sf_scratch_release(b, mark);
    sf_meter_weigh_experts(b, n, of);
    return SF_OK;
}

sf_status sf_cpu_add(sf_backend *b, float *x, const void *y, int64_t n, float scale)
{
    const float *from = y;
#pragma omp parallel for simd num_threads(b->threads) schedule(static) if (n > 1 << 16)
    for (int64_t i = 0; i < n; i++) x[i] += scale * from[i];
    sf_meter_residual(b, n);
    return SF_OK;
}

sf_status sf_cpu_store_kv(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim,
                          const void *k, const void *v)
{
    size_t bytes = (size_t)head_dim * sizeof(float);
#pragma omp parallel for num_threads(b->threads) schedule(static) collapse(2) if (lanes * rows > 64)
    for (int l = 0; l < lanes; l++) {
        for (int g = 0; g < kv_heads; g++) {
            for (int64_t r = 0; r < rows; r++) {
                int64_t from = ((l * rows + r) * kv_heads + g) * head_dim;
                int64_t to = (g * part[l]->capacity + part[l]->n + r) * head_dim;
                memcpy((float *)part[l]->k + to, (const float *)k + from, bytes);
                if (v) memcpy((float *)part[l]->v + to, (const float *)v + from, bytes);
            }
        }
    }
    sf_meter_store(b, lanes * rows, kv_heads, head_dim, v != NULL);
    return SF_OK;
}

sf_status sf_cpu_round_kv(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) collapse(2) if (lanes * rows > 64)
    for (int l = 0; l < lanes; l++) {
        for (int64_t i = 0; i < rows * kv_heads; i++) {
            const sf_kv_part *p = part[l];
            const int64_t at = (i % kv_heads * p->capacity + p->n + i / kv_heads) * head_dim;
            if (!p->format) continue;
            sf_cache_round(p->format, (float *)p->k + at, head_dim);
            if (p->v != p->k) sf_cache_round(p->format, (float *)p->v + at, head_dim);
        }
    }
    return SF_OK;
}

sf_status sf_cpu_pack_kv(sf_backend *b, const sf_kv_part *from, const sf_kv_part *to, int64_t rows, int kv_heads, int head_dim)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) collapse(2) if (rows > 64)
    for (int g = 0; g < kv_heads; g++) {
        for (int64_t r = 0; r < rows; r++) {
            const int64_t source = (g * from->capacity + from->n + r) * head_dim, target = g * to->capacity + from->n + r;
            sf_cache_pack_row(to, to->k, kv_heads, target, head_dim, (const float *)from->k + source);
            sf_cache_pack_row(to, to->v, kv_heads, target, head_dim, (const float *)from->v + source);
        }
    }
    return SF_OK;
}

sf_status sf_cpu_gather_kv(sf_backend *b, const sf_kv_part *from, const sf_lists *keep, int head_dim, sf_kv_part *to)
{
    const int kv_heads = (int)keep->rows;
    const size_t bytes = from->packed ? sf_cache_row_bytes(from->format, head_dim) : (size_t)head_dim * sizeof(float),
                 scales = from->packed ? (size_t)(sf_cache_groups(from->format, head_dim) * from->format->scale_bytes) : 0;
    int64_t total = 0;
    to->n = 0;
    if (to->index) to->k = from->k, to->v = from->v, to->capacity = from->capacity;
    for (int64_t g = 0; g < keep->rows; g++) {
        ((int32_t *)to->count)[g] = keep->count[g];
        if (keep->count[g] > to->n) to->n = keep->count[g];
        total += keep->count[g];
        if (to->index)
            memcpy((int32_t *)to->index + g * to->stride, keep->index + g * keep->stride,
                   (size_t)keep->count[g] * sizeof *to->index);
    }
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) if (!to->index)
    for (int64_t g = 0; g < keep->rows; g++) {
        for (int32_t i = 0; !to->index && i < keep->count[g]; i++) {
            const int64_t source = g * from->capacity + keep->index[g * keep->stride + i], target = g * to->capacity + i;
            for (int values = 0; values <= (from->v != from->k); values++) {
                char *x = values ? to->v : to->k;
                const char *y = values ? from->v : from->k;
                memcpy(x + (size_t)target * bytes, y + (size_t)source * bytes, bytes);
                if (scales)
                    memcpy(sf_cache_scales(to, x, kv_heads, target, head_dim), sf_cache_scales(from, y, kv_heads, source, head_dim), scales);
            }
        }
    }
    sf_meter_gather(b, from, total, head_dim);
    return SF_OK;
}

sf_status sf_cpu_scale_queries(sf_backend *b, void *q, int64_t rows, int heads, int head_dim, const int32_t *position, const float *beta,
                               const float *gamma, float delta, float range)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * heads * head_dim > 1 << 15)
    for (int64_t i = 0; i < rows * heads; i++) {
        float soft = beta[i] > 15 ? beta[i] : log1pf(expf(beta[i]));
        float by = delta + soft * powf(logf((float)position[i / heads] + 2), range * tanhf(gamma[i]));
        for (int d = 0; d < head_dim; d++) ((float *)q)[i * head_dim + d] *= by;
    }
    sf_meter_scale_queries(b, rows, heads, head_dim);
    return SF_OK;
}

sf_status sf_cpu_sink(sf_backend *b, void *out, const float *lse, const sf_tensor *sink, int64_t rows, int heads, int head_dim)
{
    sf_mark mark = sf_scratch_mark(b);
    const float *logit;
    SF_TRY(sf_cpu_as_f32(b, sink, &logit));
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * heads * head_dim > 1 << 15)
    for (int64_t i = 0; i < rows * heads; i++) {
        float kept = 1 / (1 + expf(logit[i % heads] - lse[i]));
        for (int d = 0; d < head_dim; d++) ((float *)out)[i * head_dim + d] *= kept;
    }
    sf_scratch_release(b, mark);
    sf_meter_sink(b, sink, rows, heads, head_dim);
    return SF_OK;
}

sf_status sf_cpu_argmax(sf_backend *b, const float *logits, int64_t rows, int64_t vocab, int32_t *token)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows > 1)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = logits + r * vocab;
        float most = sf_cpu_tiles(b)->largest(x, vocab);
        int64_t at = 0;
        while (at < vocab && x[at] != most) at++;
        token[r] = at < vocab ? (int32_t)at : -1;
    }
    sf_meter_argmax(b, rows, vocab);
    return SF_OK;
}
