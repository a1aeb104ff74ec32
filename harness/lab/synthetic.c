#include "harness/lab/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"
#include "methods/side.h"

/* ---- values ---------------------------------------------------------------------------------------------------------
 */

enum { Q, K, V, SINK, NEEDLE, PLACE, BEGINS, INPUT, STREAMS }; /* streams of a seed */
enum { OTHER = 1 << 20 };                           /* seeds that far away are for altered rows … */
enum { WEIGHTS = 1 << 21 };                         /* … and for weights, a stream each */

/* Multiples of 1/64 in [-2, 2); coarse: of 1. */
static float uniform(uint64_t stream, uint64_t n, bool coarse)
{
    uint64_t z = sf_splitmix(stream, n);
    return coarse ? (float)(z >> 62) - 2 : ((float)(z >> 56) - 128) / 64;
}

static float sign(uint64_t stream, uint64_t n) { return sf_splitmix(stream, n) >> 63 ? -1 : 1; }

static void add_signs(float *x, int dim, uint64_t stream, int head, float size)
{
    for (int d = 0; d < dim; d++) x[d] += size * sign(stream, (uint64_t)(head * dim + d));
}

static void fill(const sf_synthetic *s, int which, size_t width, float *x)
{
    for (int row = 0; row < s->tokens + s->tail; row++) {
        bool other = (s->other_all && row >= s->other_all) || (which == V && s->other_values && row >= s->other_values);
        uint64_t stream = STREAMS * (s->seed + (other ? OTHER : 0)) + (uint64_t)which;
        for (size_t i = 0; i < width; i++)
            x[(size_t)row * width + i] = uniform(stream, (uint64_t)((size_t)row * width + i), s->ties && which < V);
    }
}

static void fill_all(const sf_synthetic *s, float *q, float *k, float *v)
{
    int rows = s->tokens + s->tail, dim = s->head_dim, heads = s->heads, kv = s->kv_heads, group = heads / kv;
    uint64_t stream = STREAMS * s->seed;
    const size_t row = (size_t)kv * (size_t)dim;
    fill(s, Q, row * (size_t)group, q), fill(s, K, row, k), fill(s, V, row, v);

    for (int j = 3; s->ties && j < rows; j += 7)
        memcpy(k + (size_t)j * row, k + (size_t)(j - 2) * row, row * sizeof *k);
    for (int i = 0; s->sinks && i < rows; i++) {
        for (int g = 0; g < kv && i < 4; g++) add_signs(k + ((size_t)i * kv + g) * dim, dim, stream + SINK, g, 1);
        for (int h = 0; h < heads; h++)
            add_signs(q + ((size_t)i * heads + h) * dim, dim, stream + SINK, h / group, 0.5f);
    }
    for (int i = 0; s->needles && i < 3; i++) {
        size_t j = sf_splitmix(stream + PLACE, (uint64_t)i) % (uint64_t)s->tokens;
        for (int g = 0; g < kv; g++) add_signs(k + (j * kv + g) * dim, dim, stream + NEEDLE, g, 1.5f);
    }
    for (int i = s->tokens > 32 ? s->tokens - 32 : 0; s->needles && i < rows; i++)
        for (int h = 0; h < heads; h++)
            add_signs(q + ((size_t)i * heads + h) * dim, dim, stream + NEEDLE, h / group, 1);
    for (size_t i = 0; s->own && i < (size_t)rows * (size_t)kv; i++) { /* the key 1.5 times the query */
        float *first = q + i * (size_t)(group * dim);
        for (int h = 1; h < group; h++) memcpy(first + h * dim, first, (size_t)dim * sizeof *q);
        for (int d = 0; d < dim; d++) k[i * (size_t)dim + (size_t)d] = 1.5f * first[d];
    }
}

/* fp32 to bf16 and back, to nearest even. */
static uint16_t to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static float from_bf16(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static sf_status put(sf_synthetic *s, void *to, float *x, size_t n)
{
    sf_backend *b = s->backend;
    if (b->activation == SF_F32) {
        for (size_t i = 0; s->bf16 && i < n; i++) x[i] = from_bf16(to_bf16(x[i]));
        return b->ops->upload(b, to, x, n * sizeof *x);
    }
    for (size_t i = 0; i < n; i++) { /* in place, from the front: narrower */
        uint16_t half = to_bf16(x[i]);
        memcpy((char *)x + i * sizeof half, &half, sizeof half);
    }
    return b->ops->upload(b, to, x, n * sizeof(uint16_t));
}

/* Rows [first, first + n) of x [rows, G, D] to a cache part [G, n, D]. */
static sf_status put_part(sf_synthetic *s, int first, int n, const float *x, void **out)
{
    size_t dim = (size_t)s->head_dim, kv = (size_t)s->kv_heads, elements = (size_t)n * kv * dim;
    float *y = malloc((elements + 1) * sizeof *y);
    if (!y) return sf_fail(SF_NO_MEMORY, "synthetic attention of %d tokens", s->tokens);
    for (size_t g = 0; g < kv; g++)
        for (size_t j = 0; j < (size_t)n; j++)
            memcpy(y + (g * (size_t)n + j) * dim, x + (((size_t)first + j) * kv + g) * dim, dim * sizeof *y);
    sf_status status = sf_arena_alloc(&s->arena, sf_bytes(s->backend->activation, (int64_t)elements), out);
    if (status == SF_OK) status = put(s, *out, y, elements);
    free(y);
    return status;
}

/* A line at every 16th token or so, a sentence at every fifth, a chapter at every 64th; the first begins all. */
static sf_status open_structure(sf_synthetic *s)
{
    if (!(s->begins = malloc((size_t)s->tokens + 1))) return sf_fail(SF_NO_MEMORY, "synthetic text of %d tokens", s->tokens);
    for (int i = 0; i < s->tokens; i++) {
        uint64_t draw = i ? sf_splitmix(STREAMS * s->seed + BEGINS, (uint64_t)i) >> 58 : 0;
        s->begins[i] = (uint8_t)((draw < 4 ? SF_BEGINS_LINE : 0) | (draw < 13 ? SF_BEGINS_SENTENCE : 0) | (draw < 1 ? SF_BEGINS_CHAPTER : 0));
    }
    return SF_OK;
}

static sf_status open_frequency(sf_synthetic *s)
{
    int pairs = s->head_dim / 2;
    float frequency[pairs + 1];
    for (int i = 0; i < pairs; i++) frequency[i] = (float)pow(10000, -2.0 * i / s->head_dim);
    SF_TRY(sf_arena_alloc(&s->arena, ((size_t)pairs + 1) * sizeof *frequency, (void **)&s->frequency));
    return s->backend->ops->upload(s->backend, s->frequency, frequency, (size_t)pairs * sizeof *frequency);
}

static sf_status open_hidden(sf_synthetic *s)
{
    const size_t width = (size_t)s->width, n = (size_t)(s->tokens + s->tail) * width;
    if (!n) return SF_OK;
    float *x = malloc(n * sizeof *x);
    if (!x) return sf_fail(SF_NO_MEMORY, "synthetic input of %d tokens", s->tokens);
    fill(s, INPUT, width, x);
    sf_status status = sf_arena_alloc(&s->arena, sf_bytes(s->backend->activation, (int64_t)n), &s->hidden);
    if (status == SF_OK) status = put(s, s->hidden, x, n);
    free(x);
    return status;
}

/* In x [rows, all * D], this rank's part of the heads: its columns, moved together. */
static void own_heads(const sf_synthetic *s, int all, float *x)
{
    const size_t dim = (size_t)s->head_dim, some = (size_t)all / (size_t)s->comm->size, rows = (size_t)(s->tokens + s->tail);
    for (size_t row = 0; row < rows; row++)
        memmove(x + row * some * dim, x + (row * (size_t)all + some * (size_t)s->comm->rank) * dim, some * dim * sizeof *x);
}

sf_status sf_synthetic_open(sf_synthetic *s, sf_backend *backend)
{
    size_t rows = (size_t)(s->tokens + s->tail), dim = (size_t)s->head_dim, heads = (size_t)s->heads,
           kv = (size_t)s->kv_heads;
    s->backend = s->arena.backend = backend;
    s->all_heads = s->heads, s->all_kv_heads = s->kv_heads;
    float *q = malloc(rows * heads * dim * sizeof *q), *k = malloc(rows * kv * dim * sizeof *k),
          *v = malloc(rows * kv * dim * sizeof *v);
    sf_status status = q && k && v ? SF_OK : sf_fail(SF_NO_MEMORY, "synthetic attention of %d tokens", s->tokens);
    if (status == SF_OK) {
        fill_all(s, q, k, v);
        if (s->comm) {
            own_heads(s, s->heads, q), own_heads(s, s->kv_heads, k), own_heads(s, s->kv_heads, v);
            s->heads /= s->comm->size, s->kv_heads /= s->comm->size;
            heads = (size_t)s->heads, kv = (size_t)s->kv_heads;
        }
        s->prompt.n = s->tokens, s->prompt.capacity = s->tokens;
        s->generated.n = s->tail, s->generated.capacity = s->tail;
        status = put_part(s, 0, s->tokens, k, &s->prompt.k);
    }
    if (status == SF_OK) status = put_part(s, 0, s->tokens, v, &s->prompt.v);
    if (status == SF_OK) status = put_part(s, s->tokens, s->tail, k, &s->generated.k);
    if (status == SF_OK) status = put_part(s, s->tokens, s->tail, v, &s->generated.v);
    if (status == SF_OK)
        status = sf_arena_alloc(&s->arena, sf_bytes(backend->activation, (int64_t)(rows * heads * dim)), &s->q);
    if (status == SF_OK) status = put(s, s->q, q, rows * heads * dim);
    if (status == SF_OK) status = open_hidden(s);
    if (status == SF_OK) status = open_frequency(s);
    if (status == SF_OK) status = open_structure(s);
    free(q), free(k), free(v);
    return status;
}

/* What a parameter `weights` says where there is no file. */
static const char made_up[] = "made up";

static sf_status put_weight(sf_synthetic *s, const sf_method *m, const void *params, int which, sf_tensor *out)
{
    const sf_side_sizes sizes = {s->all_heads, s->all_kv_heads, s->head_dim, s->width};
    *out = (sf_tensor){.dtype = sf_side_dtype(&m->weights[which], s->backend->activation)};
    out->rank = sf_side_shape(&m->weights[which], &sizes, m, params, out->dim);
    const size_t n = (size_t)sf_elements(out);
    float *x = malloc((n + 1) * sizeof *x);
    if (!x) return sf_fail(SF_NO_MEMORY, "%zu synthetic weights", n);
    for (size_t i = 0; i < n; i++) x[i] = uniform(STREAMS * (s->seed + WEIGHTS) + (uint64_t)which, i, false);
    sf_status status = sf_arena_alloc(&s->arena, sf_bytes(out->dtype, (int64_t)n), &out->data);
    if (status == SF_OK && out->dtype != SF_F32) status = put(s, out->data, x, n);
    else if (status == SF_OK) status = s->backend->ops->upload(s->backend, out->data, x, n * sizeof *x);
    free(x);
    return status;
}

sf_status sf_synthetic_weights(sf_synthetic *s, const sf_method *m, void *params)
{
    int n = 0, layers = s->layers ? s->layers : s->layer + 1;
    if (!m->weights) return SF_OK;
    for (const sf_param *p = m->params; p && p->name; p++)
        if (strcmp(p->name, "weights") == 0) *(const char **)((char *)params + p->offset) = made_up;
    if (sf_side_of(s->made, m, params)) return SF_OK;
    while (m->weights[n].name) n++;
    sf_side *side = calloc(1, sizeof *side);
    if (side) *side = (sf_side){s->made, m, strdup(made_up), n, calloc((size_t)layers * (size_t)n, sizeof *side->tensor)};
    if (side) s->made = side;
    if (!side || !side->path || !side->tensor) return sf_fail(SF_NO_MEMORY, "synthetic weights of '%s'", m->name);
    for (int i = 0; i < n; i++) SF_TRY(put_weight(s, m, params, i, &side->tensor[i]));
    for (int i = n; i < layers * n; i++) side->tensor[i] = side->tensor[i - n];
    return SF_OK;
}

void sf_synthetic_close(sf_synthetic *s)
{
    while (s->made) {
        sf_side *next = s->made->next;
        free(s->made->path), free(s->made->tensor), free(s->made);
        s->made = next;
    }
    sf_arena_close(&s->arena);
    free(s->begins);
    s->q = s->hidden = NULL, s->begins = NULL;
}

/* ---- attention ------------------------------------------------------------------------------------------------------
 */

static sf_attention attention(const sf_synthetic *s, int first, int queries, int generated)
{
    sf_attention a = {.backend = s->backend,
                      .layer = s->layer,
                      .layers = s->layers ? s->layers : s->layer + 1,
                      .heads = s->heads,
                      .kv_heads = s->kv_heads,
                      .head_dim = s->head_dim,
                      .queries = queries,
                      .keys = s->tokens + generated,
                      .begins = s->begins,
                      .sides = s->sides ? s->sides : s->made,
                      .frequency = s->frequency};
    if (s->comm) {
        a.comm = s->comm, a.repeat = 1;
        a.first_head = s->comm->rank * s->heads, a.first_kv_head = s->comm->rank * s->kv_heads;
        a.all_heads = s->all_heads, a.all_kv_heads = s->all_kv_heads;
    }
    a.scale = (float)(1 / sqrt(s->head_dim));
    a.q = (const char *)s->q + sf_bytes(s->backend->activation, (int64_t)first * s->heads * s->head_dim);
    if (s->hidden) a.hidden = (const char *)s->hidden + sf_bytes(s->backend->activation, (int64_t)first * s->width), a.width = s->width;
    a.kv = (sf_kv){.prompt = s->prompt, .tail = s->generated, .dtype = s->backend->activation};
    a.kv.tail.n = generated;
    return a;
}

sf_attention sf_synthetic_prompt(const sf_synthetic *s)
{
    sf_attention a = attention(s, 0, s->tokens, 0);
    a.kv.tail = (sf_kv_part){0};
    return a;
}

static const sf_kv_part *held(const sf_synthetic *s) { return s->packed.k ? &s->packed : &s->prompt; }

sf_attention sf_synthetic_step(const sf_synthetic *s, int n)
{
    sf_attention a = attention(s, s->tokens + n - 1, 1, n);
    a.kv.prompt = *held(s);
    return a;
}

/* Room for a prompt's keys and values, packed where a format is. */
static sf_status open_part(sf_synthetic *s, const sf_cache_format *format, int64_t capacity, sf_kv_part *out)
{
    const size_t bytes = format ? sf_cache_packed_bytes(format, s->kv_heads, capacity, s->head_dim)
                                : sf_bytes(s->backend->activation, s->kv_heads * capacity * s->head_dim);
    *out = (sf_kv_part){.capacity = capacity, .format = format, .packed = format != NULL};
    SF_TRY(sf_arena_alloc(&s->arena, bytes, &out->k));
    return sf_arena_alloc(&s->arena, bytes, &out->v);
}

sf_status sf_synthetic_pack(sf_synthetic *s, const sf_cache_format *format)
{
    sf_kv_part from = s->prompt;
    s->packed = (sf_kv_part){0};
    if (!format) return SF_OK;
    if (format->group && s->head_dim % format->group)
        return sf_fail(SF_UNSUPPORTED, "cache %s has a scale for each %d channels, which do not divide heads of %d", format->name, format->group, s->head_dim);
    SF_TRY(open_part(s, format, s->tokens, &s->packed));
    from.n = 0;
    s->packed.n = s->tokens;
    return s->backend->ops->pack_kv(s->backend, &from, &s->packed, s->tokens, s->kv_heads, s->head_dim);
}

sf_status sf_synthetic_observe(sf_synthetic *s, const sf_method *method, const void *params, sf_state *out)
{
    sf_attention a = sf_synthetic_prompt(s);
    a.kv.prompt = *held(s);
    SF_TRY(sf_hook_state(&a, method, params, s->tokens + s->tail, &s->arena, out));
    sf_mark mark = sf_scratch_mark(s->backend);
    SF_TRY(sf_hook_observe(&a, method, params, out, 0));
    for (int i = 1; i <= s->tail; i++) {
        sf_attention step = sf_synthetic_step(s, i);
        SF_TRY(sf_hook_observe(&step, method, params, out, step.keys - 1));
    }
    sf_scratch_release(s->backend, mark);
    return SF_OK;
}

sf_status sf_synthetic_evict(sf_synthetic *s, const sf_pattern *keep, sf_attention *out)
{
    sf_backend *b = s->backend;
    *out = sf_synthetic_step(s, s->tail);
    if (keep->kind == SF_DENSE) return SF_OK;
    sf_kv_part kept;
    int32_t *count;
    SF_TRY(open_part(s, held(s)->format, keep->first.stride, &kept));
    SF_TRY(sf_arena_alloc(&s->arena, (size_t)s->kv_heads * sizeof *count, (void **)&count));
    kept.count = count;
    SF_TRY(b->ops->gather_kv(b, held(s), &keep->first, s->head_dim, &kept));
    out->kv.prompt = kept;
    out->keys = kept.n + s->tail;
    return SF_OK;
}

static sf_status execute(int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, void *rows)
{
    sf_backend *b = a[0]->backend;
    sf_phase before = b->phase;
    b->phase = a[0]->kv.tail.n == 0 ? SF_PREFILL : SF_DECODE;
    sf_status status = b->phase == SF_PREFILL ? b->ops->prefill(b, a[0], pattern[0], rows)
                                              : b->ops->decode(b, lanes, a, pattern, rows);
    b->phase = before;
    return status;
}

sf_status sf_synthetic_attend(int lanes, const sf_attention *const *given, const sf_pattern *const *pattern, float *out,
                              uint64_t *pairs)
{
    enum { LANES = 8, HEADS = 256 };
    sf_backend *b = given[0]->backend;
    sf_attention counted = *given[0];
    const sf_attention *a[LANES];
    int heads = counted.heads;
    int64_t elements = (int64_t)counted.queries * heads * counted.head_dim;
    size_t bytes = sf_bytes(b->activation, elements);
    uint64_t tally[HEADS], sum = 0;
    if (lanes > LANES || heads > HEADS) return sf_fail(SF_INTERNAL, "%d lanes of %d heads", lanes, heads);
    for (int i = 0; i < lanes; i++) a[i] = i ? given[i] : &counted;

    sf_mark mark = sf_scratch_mark(b);
    void *rows;
    sf_status status = sf_scratch_alloc(b, bytes * (size_t)lanes, &rows);
    if (status == SF_OK) status = sf_scratch_alloc(b, (size_t)heads * sizeof *tally, (void **)&counted.pairs);
    if (status == SF_OK) status = b->ops->zero(b, counted.pairs, (size_t)heads * sizeof *tally);
    if (status == SF_OK) status = execute(lanes, a, pattern, rows);
    if (status == SF_OK) status = b->ops->count_pairs(b, &counted, pattern[0], pairs);
    if (status == SF_OK) status = b->ops->download(b, tally, counted.pairs, (size_t)heads * sizeof *tally);
    if (status == SF_OK) status = b->ops->download(b, out, rows, bytes);
    sf_scratch_release(b, mark);
    if (status != SF_OK) return status;

    for (int h = 0; h < heads; h++) sum += tally[h];
    if (sum != *pairs)
        return sf_fail(SF_INTERNAL, "%s computed %llu pairs of a pattern of %llu", b->ops->name,
                       (unsigned long long)sum, (unsigned long long)*pairs);
    for (int64_t i = elements - 1; i >= 0 && b->activation == SF_BF16; i--) { /* widen in place, from the back */
        uint16_t half;
        memcpy(&half, (char *)out + i * (int64_t)sizeof half, sizeof half);
        out[i] = from_bf16(half);
    }
    return SF_OK;
}
