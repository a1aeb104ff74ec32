/* Twin cases (tests/twins/twin.h). Layers: linear ones of every weight type, norms, rotation, experts, recurrences. */
#ifndef SF_TWINS_LAYERS_H
#define SF_TWINS_LAYERS_H

#include "tests/twins/twin.h"

static void import(twin *t, const void *x, sf_dtype dtype, int64_t rows, int64_t columns, sf_tensor w[2])
{
    sf_tensor host = tensor((void *)(uintptr_t)x, dtype, rows, columns);
    BOTH(t, import_weight(&t->b[s], &host, &w[s]));
}

/* Random elements of a dtype: of f32 with that scale, of plain halves with magnitudes near one, of blocks any bytes but for
 * their scales, which are small. */
static void *random_weights(twin *t, sf_dtype dtype, int64_t n, float scale)
{
    size_t bytes = sf_bytes(dtype, n), size = (size_t)sf_dtypes[dtype].bytes;
    if (dtype == SF_F32) return randoms(t, n, scale);
    uint8_t *raw = malloc(bytes + 1);
    if (dtype == SF_F16 || dtype == SF_BF16)
        for (int64_t i = 0; i < n; i++) {
            uint64_t r = next_random(t);
            ((uint16_t *)raw)[i] = (uint16_t)((r & 0x8000) | (dtype == SF_F16 ? 0x3400 + (r >> 16) % 0x0a00 : 0x3f00 + (r >> 16) % 0x100));
        }
    else
        for (size_t i = 0; i < bytes; i++) raw[i] = (uint8_t)next_random(t);
    for (size_t i = 0; sf_dtypes[dtype].block > 1 && i < bytes; i += size) {
        uint16_t half = (uint16_t)(0x2000 + next_random(t) % 0x0800);
        if (dtype == SF_MXFP4) { /* a power of two, below one */
            raw[i] = (uint8_t)(118 + next_random(t) % 6);
            continue;
        }
        int at = dtype == SF_Q6_K ? 208 : dtype == SF_Q2_K ? 80 : dtype == SF_Q3_K ? 108 : 0;
        bool least = dtype == SF_Q4_1 || dtype == SF_Q5_1 || dtype == SF_Q4_K || dtype == SF_Q5_K || dtype == SF_Q2_K;
        memcpy(raw + i + at, &half, 2);
        if (least) memcpy(raw + i + at + 2, &half, 2);
    }
    return raw;
}

static sf_dtype any_weight_type(twin *t)
{
    return (sf_dtype)ONE_OF(t, SF_F32, SF_F32, SF_F16, SF_BF16, SF_Q8_0, SF_Q4_0, SF_Q4_1, SF_Q5_0, SF_Q5_1, SF_Q4_K, SF_Q6_K, SF_Q2_K,
                            SF_Q3_K, SF_Q5_K, SF_IQ4_NL, SF_IQ4_XS, SF_MXFP4);
}

static void layers_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    int width = ONE_OF(t, 8, 24, 64, 128, 200, 576, 1024, 1500, 8500), rows = in_range(t, 1, width > 1000 ? 30 : 150),
        vocab = in_range(t, 2, 300);
    bool wide = in_range(t, 0, 1);
    sf_dtype type = any_weight_type(t), plain = (sf_dtype)ONE_OF(t, SF_F32, SF_F16, SF_BF16);
    width = (width + sf_dtypes[type].block - 1) / sf_dtypes[type].block * sf_dtypes[type].block;
    snprintf(what, sizeof what, "seed %llu: rows %d width %d vocab %d of %s, norm of %s", (unsigned long long)seed, rows, width,
             vocab, sf_dtypes[type].name, sf_dtypes[plain].name);

    /* embed, then norm of its f32 or of activations */
    void *table = random_weights(t, type, (int64_t)vocab * width, 1), *scale = random_weights(t, plain, width, 1);
    float *x = randoms(t, (int64_t)rows * width, 2), *kept = NULL;
    int32_t *token = malloc((size_t)rows * sizeof *token);
    for (int i = 0; i < rows; i++) token[i] = in_range(t, 0, vocab - 1);
    sf_tensor w[2], norm[2];
    import(t, table, type, vocab, width, w);
    import(t, scale, plain, width, 0, norm);
    void *ids[2], *stream[2], *act[2], *out[2];
    for (int s = 0; s < 2; s++) {
        ids[s] = put(t, s, token, (size_t)rows * sizeof *token);
        stream[s] = room(t, s, (size_t)rows * width * sizeof(float));
        act[s] = put_activations(t, s, x, (int64_t)rows * width);
        out[s] = activation_room(t, s, (int64_t)rows * width);
    }
    BOTH(t, embed(&t->b[s], &w[s], ids[s], rows, 1.5f, stream[s]));
    float *a = get(t, 0, stream[0], SF_F32, (int64_t)rows * width),
          *b = get(t, 1, stream[1], SF_F32, (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, type == SF_F32 || type == SF_BF16 ? 1e-6 : t->tolerance, what);
    free(a), free(b);
    BOTH(t, add(&t->b[s], stream[s], act[s], (int64_t)rows * width, wide ? 1 : 0.22f));
    if (t->b[1].ops->scale) BOTH(t, scale(&t->b[s], stream[s], (int64_t)rows * width, 0.37f));
    a = get(t, 0, stream[0], SF_F32, (int64_t)rows * width), b = get(t, 1, stream[1], SF_F32, (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, type == SF_F32 || type == SF_BF16 ? 1e-6 : t->tolerance, what);
    free(a), free(b);
    for (int s = 0; s < 2; s++)
        OK(t, s,
           t->b[s].ops->rms_norm(&t->b[s], stream[s], SF_F32, rows, width, &norm[s], wide ? 1.f : 0.f, 1e-6f, out[s]));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);
    if (t->b[1].activation == SF_F32) { /* of halves as they lie in a file */
        sf_dtype half = wide ? SF_F16 : SF_BF16;
        void *from = random_weights(t, half, (int64_t)rows * width, 1);
        for (int s = 0; s < 2; s++) {
            void *there = put(t, s, from, sf_bytes(half, (int64_t)rows * width));
            OK(t, s, t->b[s].ops->rms_norm(&t->b[s], there, half, rows, width, &norm[s], 1, 1e-6f, out[s]));
        }
        free(from);
        a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
        agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
        free(a), free(b);
    }

    /* gates small and large: where outputs are f32, each is right to the precision of a float */
    kept = randoms(t, (int64_t)rows * width, 1);
    for (int64_t i = 0; i < (int64_t)rows * width; i++) kept[i] *= (float)ONE_OF(t, 1, 1, 5, 50, 1000);
    for (int64_t i = 0; i < (int64_t)rows * width; i++) kept[i] = rounded(t, kept[i]);
    for (int s = 0; s < 2; s++) out[s] = put_activations(t, s, kept, (int64_t)rows * width);
    sf_curve curve = {ONE_OF(t, SF_SILU, SF_SILU, SF_GELU_TANH, SF_GELU, SF_RELU2, SF_XIELU), {0.7f, 0.9f, 0.5f, -1e-6f}};
    bool alone = in_range(t, 0, 3) == 0;
    BOTH(t, gated(&t->b[s], out[s], alone ? NULL : act[s], rows, width, curve));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    for (int64_t i = 0; t->b[1].activation == SF_F32 && i < (int64_t)rows * width; i++)
        if (fabs((double)b[i] - a[i]) > 1e-6 * fmax(1, fabs((double)kept[i])) * fabs((double)a[i]) + 1e-12)
            fail_msg("%s, curve %d: gate %g: %g, expected %g", what, (int)curve.kind, (double)kept[i], (double)b[i], (double)a[i]);
    free(a), free(b), free(kept);
    /* the norm that takes the mean off, with a bias or without, and rows as they are */
    for (int s = 0; s < 2; s++)
        OK(t, s, t->b[s].ops->layer_norm(&t->b[s], stream[s], SF_F32, rows, width, &norm[s], wide ? &norm[s] : NULL, wide ? 1 : 0, 1e-5f, out[s]));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);
    BOTH(t, cast(&t->b[s], stream[s], (int64_t)rows * width, out[s]));
    if (t->b[1].ops->latent) { /* some columns to others' places, which keep the rest */
        int n = in_range(t, 0, width), from = in_range(t, 0, width - n), to = in_range(t, 0, width - n);
        BOTH(t, copy_columns(&t->b[s], (char *)act[s] + sf_bytes(t->b[s].activation, from), width, rows, n,
                             (char *)out[s] + sf_bytes(t->b[s].activation, to), width));
    }
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);
    /* norm of activations in place, as of heads */
    for (int s = 0; s < 2; s++)
        OK(t, s, t->b[s].ops->rms_norm(&t->b[s], act[s], t->b[s].activation, rows, width, &norm[s], 0, 1e-5f, act[s]));
    a = get_activations(t, 0, act[0], (int64_t)rows * width), b = get_activations(t, 1, act[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    free(a), free(b);

    /* rotation */
    int heads = in_range(t, 1, 5), dim = ONE_OF(t, 8, 16, 64, 80, 128), positions = rows + 7, rotary = in_range(t, 0, 2) ? dim : dim / 2;
    float *head = randoms(t, (int64_t)rows * heads * dim, 1), *cosine = malloc((size_t)positions * dim * sizeof(float)),
          *sine = malloc((size_t)positions * dim * sizeof(float));
    for (int i = 0; i < positions * dim / 2; i++) cosine[i] = (float)cos(i * .37), sine[i] = (float)sin(i * .37);
    for (int i = 0; i < rows; i++) token[i] = in_range(t, 0, positions - 1);
    void *v[2], *at[2], *co[2], *si[2];
    for (int s = 0; s < 2; s++) {
        v[s] = put_activations(t, s, head, (int64_t)rows * heads * dim);
        at[s] = put(t, s, token, (size_t)rows * sizeof *token);
        co[s] = put(t, s, cosine, (size_t)positions * dim / 2 * sizeof(float));
        si[s] = put(t, s, sine, (size_t)positions * dim / 2 * sizeof(float));
    }
    BOTH(t, rope(&t->b[s], v[s], rows, heads, dim, rotary, at[s], co[s], si[s], wide));
    a = get_activations(t, 0, v[0], (int64_t)rows * heads * dim),
    b = get_activations(t, 1, v[1], (int64_t)rows * heads * dim);
    agree(t, a, b, (int64_t)rows * heads * dim, t->tolerance, what);
    free(a), free(b);

    /* queries that grow with their position, as each row and head says */
    float *says[2] = {randoms(t, (int64_t)rows * heads, 3), randoms(t, (int64_t)rows * heads, 1)};
    says[0][0] = 40;
    void *beta[2], *gamma[2];
    for (int s = 0; s < 2; s++) {
        beta[s] = put(t, s, says[0], (size_t)(rows * heads) * sizeof(float));
        gamma[s] = put(t, s, says[1], (size_t)(rows * heads) * sizeof(float));
    }
    if (t->b[1].ops->entmax) BOTH(t, scale_queries(&t->b[s], v[s], rows, heads, dim, at[s], beta[s], gamma[s], .5f, 2));
    a = get_activations(t, 0, v[0], (int64_t)rows * heads * dim),
    b = get_activations(t, 1, v[1], (int64_t)rows * heads * dim);
    agree(t, a, b, (int64_t)rows * heads * dim, t->tolerance, what);
    free(a), free(b), free(says[0]), free(says[1]);

    /* sinks */
    float *sums = randoms(t, (int64_t)rows * heads, 3), *sunk = randoms(t, heads, 2);
    sf_tensor sink[2];
    void *lse[2];
    import(t, sunk, SF_F32, heads, 0, sink);
    for (int s = 0; s < 2; s++) lse[s] = put(t, s, sums, (size_t)(rows * heads) * sizeof *sums);
    BOTH(t, sink(&t->b[s], v[s], lse[s], &sink[s], rows, heads, dim));
    a = get_activations(t, 0, v[0], (int64_t)rows * heads * dim),
    b = get_activations(t, 1, v[1], (int64_t)rows * heads * dim);
    agree(t, a, b, (int64_t)rows * heads * dim, t->tolerance, what);
    for (int s = 0; s < 2; s++) t->b[s].ops->release_weight(&t->b[s], &sink[s]);
    free(a), free(b), free(sums), free(sunk);

    /* greedy choice, with ties */
    float *logits = randoms(t, (int64_t)rows * vocab, 1);
    for (int i = 0; i < rows; i++)
        logits[(int64_t)i * vocab + in_range(t, 0, vocab - 1)] =
            logits[(int64_t)i * vocab + in_range(t, 0, vocab - 1)] = 9;
    for (int i = in_range(t, 0, 20); i > 0; i--)
        logits[in_range(t, 0, rows * vocab - 1)] = (float[]){NAN, INFINITY, -INFINITY}[in_range(t, 0, 2)];
    int32_t *best[2];
    for (int s = 0; s < 2; s++) {
        void *l = put(t, s, logits, (size_t)rows * vocab * sizeof(float)),
             *to = room(t, s, (size_t)rows * sizeof(int32_t));
        OK(t, s, t->b[s].ops->argmax(&t->b[s], l, rows, vocab, to));
        best[s] = malloc((size_t)rows * sizeof(int32_t));
        fetch(t, s, best[s], to, (size_t)rows * sizeof(int32_t));
    }
    for (int i = 0; i < rows; i++)
        if (best[0][i] != best[1][i])
            fail_msg("%s: argmax of row %d is %d, expected %d", what, i, best[1][i], best[0][i]);
    for (int s = 0; s < 2; s++) {
        t->b[s].ops->release_weight(&t->b[s], &w[s]);
        t->b[s].ops->release_weight(&t->b[s], &norm[s]);
        free(best[s]);
    }
    free(table), free(scale), free(x), free(token), free(head), free(cosine), free(sine), free(logits);
    end_case(t, what);
}

/* Routing, the experts of each row and their sum. Experts far from ties, but for those that are equal. */
/* An op of layers that recur, over `rows` rows of each lane: x and more [lanes · rows, width], out [lanes · rows, given], state [held]. */
typedef struct recurrence {
    sf_tensor w[2], v[2]; /* weights of the one and the other filling */
    bool silu, delta, space; /* space: that of delta's shape, whose inputs stand in another order */
    sf_delta_shape shape;
    int lanes, rows, width, given, heads;
    int64_t held;
} recurrence;

static sf_status advance(twin *t, int s, const recurrence *c, int lanes, float *const *state, int rows, const void *x, const void *a,
                         const void *beta, void *out)
{
    sf_backend *b = &t->b[s];
    if (c->space) return b->ops->state_space(b, lanes, state, rows, c->shape, x, a, &c->w[s], &c->v[s], &c->v[s], out);
    if (c->delta) return b->ops->delta_rule(b, lanes, state, rows, c->shape, x, a, beta, &c->w[s], &c->v[s], out);
    return b->ops->convolve(b, lanes, state, rows, c->width, &c->w[s], c->heads ? &c->v[s] : NULL, c->silu, x, out);
}

/* Rows that come all at once, or in pieces, of which the last are single rows: the same to the bit. */
static void in_pieces(twin *t, const recurrence *c, const float *x, const float *a, const float *beta, const float *held, const float *whole,
                      const char *what)
{
    sf_meter *meter = t->b[1].meter;
    t->b[1].meter = &t->b[1].aside; /* counted by nobody */
    const sf_dtype type = t->b[1].activation;
    for (int l = 0; l < c->lanes; l++) {
        const int64_t first = (int64_t)l * c->rows;
        float *state = put(t, 1, held + l * c->held, (size_t)(c->held + 1) * sizeof *held);
        char *in = put_activations(t, 1, x + first * c->width, (int64_t)c->rows * c->width);
        char *more = put_activations(t, 1, a + first * c->heads, (int64_t)c->rows * c->heads + 1);
        char *most = put_activations(t, 1, beta + first * c->heads, (int64_t)c->rows * c->heads + 1);
        char *out = c->delta ? activation_room(t, 1, (int64_t)c->rows * c->given) : in; /* a convolution also in place */
        for (int r = 0; r < c->rows;) {
            const int some = r < c->rows / 3 ? c->rows / 3 : 1;
            const size_t gate = sf_bytes(type, (int64_t)r * c->heads);
            OK(t, 1, advance(t, 1, c, 1, &state, some, in + sf_bytes(type, (int64_t)r * c->width), more + gate, most + gate,
                             out + sf_bytes(type, (int64_t)r * c->given)));
            r += some;
        }
        float *b = get_activations(t, 1, out, (int64_t)c->rows * c->given);
        if (memcmp(b, whole + first * c->given, (size_t)c->rows * (size_t)c->given * sizeof *b) != 0) fail_msg("%s: lane %d in pieces differs", what, l);
        free(b);
    }
    t->b[1].meter = meter;
}

static void recurrent_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[240];
    recurrence c = {.lanes = in_range(t, 1, 4), .rows = in_range(t, 1, 70), .delta = in_range(t, 0, 1), .silu = in_range(t, 0, 1)};
    c.space = c.delta && in_range(t, 0, 1);
    const int kernel = in_range(t, 1, 5), group = in_range(t, 1, 3);
    c.shape = (sf_delta_shape){.key_heads = in_range(t, 1, 3), .key_dim = ONE_OF(t, 4, 9, 16, 40), .value_dim = ONE_OF(t, 4, 10, 32, 50),
                                .tiled = in_range(t, 0, 1)};
    if (c.space && in_range(t, 0, 1)) c.shape.least = 0.7f;
    c.shape.value_heads = group * c.shape.key_heads;
    c.width = c.delta ? 2 * c.shape.key_heads * c.shape.key_dim + c.shape.value_heads * c.shape.value_dim : ONE_OF(t, 8, 33, 64, 130);
    c.given = c.delta ? c.shape.value_heads * c.shape.value_dim : c.width;
    c.heads = c.delta ? c.shape.value_heads : in_range(t, 0, 1);
    c.held = c.delta ? (int64_t)c.shape.value_heads * c.shape.key_dim * c.shape.value_dim : (int64_t)(kernel - 1) * c.width;
    snprintf(what, sizeof what, "seed %llu: %s lanes %d rows %d width %d kernel %d silu %d heads %d%s of %d by %d", (unsigned long long)seed,
             c.space ? "space" : c.delta ? "delta" : "convolution", c.lanes, c.rows, c.width, kernel, c.silu, c.heads, c.shape.tiled ? " tiled" : "", c.shape.key_dim,
             c.shape.value_dim);
    const int64_t n = (int64_t)c.lanes * c.rows, gates = n * c.heads + 1;
    float *x = randoms(t, n * c.width, 1), *a = randoms(t, gates, (float)ONE_OF(t, 1, 1, 8, 40)), *beta = randoms(t, gates, 2), *got[2];
    float *held = randoms(t, c.lanes * c.held + 1, 1), *state[2][4];
    const int64_t first = c.delta ? c.shape.value_heads : c.width;
    void *w = random_weights(t, SF_BF16, c.delta ? first : first * kernel, 1), *v = random_weights(t, SF_F32, first, 1), *out[2];
    import(t, w, SF_BF16, first, c.delta ? 0 : kernel, c.w);
    import(t, v, SF_F32, first, 0, c.v);
    for (int s = 0; s < 2; s++) {
        void *in = put_activations(t, s, x, n * c.width), *more = put_activations(t, s, a, gates), *most = put_activations(t, s, beta, gates);
        for (int l = 0; l < c.lanes; l++) state[s][l] = put(t, s, held + l * c.held, (size_t)(c.held + 1) * sizeof *held);
        out[s] = activation_room(t, s, n * c.given);
        OK(t, s, advance(t, s, &c, c.lanes, state[s], c.rows, in, more, most, out[s]));
        got[s] = get_activations(t, s, out[s], n * c.given);
    }
    agree(t, got[0], got[1], n * c.given, t->tolerance, what);
    in_pieces(t, &c, x, a, beta, held, got[1], what);
    free(got[0]), free(got[1]);
    for (int l = 0; l < c.lanes; l++) {
        for (int s = 0; s < 2; s++) got[s] = get(t, s, state[s][l], SF_F32, c.held);
        agree(t, got[0], got[1], c.held, t->tolerance, what);
        free(got[0]), free(got[1]);
    }
    for (int s = 0; s < 2; s++) t->b[s].ops->release_weight(&t->b[s], &c.w[s]), t->b[s].ops->release_weight(&t->b[s], &c.v[s]);
    free(x), free(a), free(beta), free(held), free(w), free(v);
    end_case(t, what);
}

/* Many wide rows, as a prompt has them: right, and each to the bit what it is alone. */
static void norms_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    const int rows = ONE_OF(t, 1, 131, 600, 700), width = ONE_OF(t, 260, 1028, 1536, 3584, 5120, 8192), alone = in_range(t, 0, rows - 1);
    const bool narrow = in_range(t, 0, 1);
    char what[100];
    snprintf(what, sizeof what, "seed %llu: %d rows of %d, %s", (unsigned long long)seed, rows, width, narrow ? "activations" : "f32");
    float *x = randoms(t, (int64_t)rows * width, 1), *weight = randoms(t, width, 1), *a, *b;
    sf_tensor norm[2];
    import(t, weight, SF_F32, width, 0, norm);
    void *from[2], *out[2], *single = activation_room(t, 1, width);
    sf_dtype type[2];
    for (int s = 0; s < 2; s++) {
        type[s] = narrow ? t->b[s].activation : SF_F32;
        from[s] = narrow ? put_activations(t, s, x, (int64_t)rows * width) : put(t, s, x, (size_t)rows * (size_t)width * sizeof *x);
        out[s] = activation_room(t, s, (int64_t)rows * width);
    }
    BOTH(t, rms_norm(&t->b[s], from[s], type[s], rows, width, &norm[s], 1, 1e-6f, out[s]));
    a = get_activations(t, 0, out[0], (int64_t)rows * width), b = get_activations(t, 1, out[1], (int64_t)rows * width);
    agree(t, a, b, (int64_t)rows * width, t->tolerance, what);
    sf_meter apart = {0}; /* of the row that is asked for again */
    t->b[1].meter = &apart;
    OK(t, 1, t->b[1].ops->rms_norm(&t->b[1], (char *)from[1] + sf_bytes(type[1], (int64_t)alone * width), type[1], 1, width, &norm[1], 1, 1e-6f, single));
    t->b[1].meter = &t->meter[1];
    float *again = get_activations(t, 1, single, width);
    if (memcmp(again, b + (int64_t)alone * width, (size_t)width * sizeof *again) != 0) fail_msg("%s: row %d differs from what it is alone", what, alone);
    for (int s = 0; s < 2; s++) t->b[s].ops->release_weight(&t->b[s], &norm[s]);
    free(a), free(b), free(again), free(x), free(weight);
    end_case(t, what);
}

static void experts_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    t->b[0].phase = t->b[1].phase = (sf_phase)in_range(t, 0, 1);
    int rows = ONE_OF(t, 0, 0, 1) ? 300 : in_range(t, 1, 60), experts = ONE_OF(t, 1, 2, 4, 7, 16, 64);
    int chosen = in_range(t, 1, experts < 8 ? experts : 8);
    int in = ONE_OF(t, 32, 64, 200, 256, 576), out = ONE_OF(t, 8, 24, 64, 100);
    if (experts < 7 && ONE_OF(t, 0, 1)) out = ONE_OF(t, 264, 520);
    sf_dtype type = any_weight_type(t);
    in = (in + sf_dtypes[type].block - 1) / sf_dtypes[type].block * sf_dtypes[type].block;
    sf_router r = {.kind = (sf_routing)in_range(t, 0, 2), .experts = experts, .chosen = chosen, .normalize = in_range(t, 0, 1),
                   .scale = ONE_OF(t, 0, 1) ? 1 : 2.5f};
    if (r.kind == SF_ROUTE_SIGMOID && experts == 64) r.groups = 8, r.best_groups = in_range(t, 1, 8), r.group_top = in_range(t, 1, 2);
    bool own = in_range(t, 0, 1), biased = in_range(t, 0, 1), corrected = in_range(t, 0, 1);
    snprintf(what, sizeof what, "seed %llu: %s, rows %d experts %d of %d kind %d groups %d/%d, %d to %d of %s", (unsigned long long)seed,
             t->b[0].phase == SF_DECODE ? "decode" : "prefill", rows, chosen, experts, (int)r.kind, r.best_groups, r.groups, in, out,
             sf_dtypes[type].name);

    float *logits = randoms(t, (int64_t)rows * experts, 3), *shift = randoms(t, experts, 0.2f), *a, *b;
    if (in_range(t, 0, 3) == 0)
        for (int i = 0; i < rows * experts; i++) logits[i] = 1; /* all equal: the first ones */
    if (logits[0] == 1) corrected = false;
    float *x = randoms(t, (int64_t)rows * chosen * in, 1), *stream = randoms(t, (int64_t)rows * out, 1);
    void *weights = random_weights(t, type, (int64_t)experts * out * in, 1), *biases = random_weights(t, SF_F32, (int64_t)experts * out, 1);
    sf_tensor w[2][64], bias[2][64], correction[2];
    for (int e = 0; e < experts; e++) {
        sf_tensor pair[2];
        import(t, (char *)weights + (size_t)e * sf_bytes(type, (int64_t)out * in), type, out, in, pair);
        w[0][e] = pair[0], w[1][e] = pair[1];
        import(t, (float *)biases + (size_t)e * (size_t)out, SF_F32, out, 0, pair);
        bias[0][e] = pair[0], bias[1][e] = pair[1];
    }
    import(t, shift, SF_F32, experts, 0, correction);
    int32_t *expert[2], *host[2];
    float *share[2];
    void *from[2], *y[2], *to[2];
    for (int s = 0; s < 2; s++) {
        void *l = put(t, s, logits, (size_t)(rows * experts) * sizeof *logits);
        expert[s] = room(t, s, (size_t)(rows * chosen) * sizeof **expert);
        share[s] = room(t, s, (size_t)(rows * chosen) * sizeof **share);
        from[s] = put_activations(t, s, x, (int64_t)rows * chosen * in);
        y[s] = activation_room(t, s, (int64_t)rows * chosen * out);
        to[s] = put(t, s, stream, (size_t)(rows * out) * sizeof *stream);
        OK(t, s, t->b[s].ops->route(&t->b[s], l, rows, &r, corrected ? &correction[s] : NULL, expert[s], share[s]));
        host[s] = malloc((size_t)(rows * chosen) * sizeof **host);
        fetch(t, s, host[s], expert[s], (size_t)(rows * chosen) * sizeof **host);
    }
    for (int i = 0; i < rows * chosen; i++)
        if (host[0][i] != host[1][i]) fail_msg("%s: choice %d is %d, expected %d", what, i, host[1][i], host[0][i]);
    a = get(t, 0, share[0], SF_F32, (int64_t)rows * chosen), b = get(t, 1, share[1], SF_F32, (int64_t)rows * chosen);
    agree(t, a, b, (int64_t)rows * chosen, 1e-5, what);
    free(a), free(b);
    BOTH(t, experts(&t->b[s], from[s], own, rows, experts, chosen, expert[s], w[s], biased ? bias[s] : NULL, y[s]));
    a = get_activations(t, 0, y[0], (int64_t)rows * chosen * out), b = get_activations(t, 1, y[1], (int64_t)rows * chosen * out);
    agree(t, a, b, (int64_t)rows * chosen * out, t->tolerance, what);
    const int alone = in_range(t, 0, rows - 1), each = own ? chosen : 1; /* a row without its company: the same numbers */
    void *single[2] = {activation_room(t, 0, (int64_t)chosen * out), activation_room(t, 1, (int64_t)chosen * out)};
    for (int s = 0; s < 2; s++) from[s] = (char *)from[s] + sf_bytes(t->b[s].activation, (int64_t)alone * each * in);
    BOTH(t, experts(&t->b[s], from[s], own, 1, experts, chosen, expert[s] + alone * chosen, w[s], biased ? bias[s] : NULL, single[s]));
    float *apart = get_activations(t, 1, single[1], (int64_t)chosen * out);
    if (memcmp(apart, b + (int64_t)alone * chosen * out, (size_t)chosen * (size_t)out * sizeof *apart) != 0)
        fail_msg("%s: row %d differs from what it is alone", what, alone);
    free(apart);
    free(a), free(b);
    if (t->b[1].ops->weigh_experts && !corrected) BOTH(t, weigh_experts(&t->b[s], share[s], expert[s], (int64_t)rows * chosen, &correction[s]));
    BOTH(t, combine(&t->b[s], to[s], y[s], rows, chosen, out, share[s]));
    a = get(t, 0, to[0], SF_F32, (int64_t)rows * out), b = get(t, 1, to[1], SF_F32, (int64_t)rows * out);
    agree(t, a, b, (int64_t)rows * out, t->tolerance, what);
    free(a), free(b);
    for (int s = 0; s < 2; s++) {
        for (int e = 0; e < experts; e++) t->b[s].ops->release_weight(&t->b[s], &w[s][e]), t->b[s].ops->release_weight(&t->b[s], &bias[s][e]);
        t->b[s].ops->release_weight(&t->b[s], &correction[s]);
        free(host[s]);
    }
    free(logits), free(shift), free(x), free(stream), free(weights), free(biases);
    end_case(t, what);
}

static void linear_case(twin *t, uint64_t seed, sf_phase phase)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = phase;
    char what[256];
    int rows = ONE_OF(t, 1, 2, 7, 8, 17, 33, 100, 129, 300), in = ONE_OF(t, 5, 32, 64, 136, 192, 384, 576, 1000),
        out = ONE_OF(t, 3, 16, 64, 192, 200, 520, 4096, 9009);
    if (out > 4096 && phase == SF_DECODE) rows = ONE_OF(t, 1, 17, 40), in = ONE_OF(t, 64, 136, 192);
    sf_dtype weight_type = any_weight_type(t);
    in = (in + sf_dtypes[weight_type].block - 1) / sf_dtypes[weight_type].block * sf_dtypes[weight_type].block;
    if (t->b[1].activation == SF_F32 && (int64_t)rows * in * out > 5000000) rows = 13, out = ONE_OF(t, 65, 130, 200);
    if (seed % 100 == 0) rows = 800, in = 3072, out = 3; /* more rows than a host lays side by side at once */
    if (seed % 100 == 1) rows = 61, in = 1280, out = 50; /* a strip and weights are more than the nearest cache holds */
    bool add = in_range(t, 0, 1), biased = in_range(t, 0, 1), f32 = in_range(t, 0, 1);
    snprintf(what, sizeof what, "seed %llu: linear of %s rows %d in %d out %d%s%s %s phase %d", (unsigned long long)seed,
             sf_dtypes[weight_type].name, rows, in, out, add ? " add" : "", biased ? " bias" : "", f32 ? "f32" : "activations",
             phase);
    void *w = random_weights(t, weight_type, (int64_t)out * in, .1f), *bias = random_weights(t, SF_BF16, out, 1);
    float *x = randoms(t, (int64_t)rows * in, 1), *y = randoms(t, (int64_t)rows * out, 1);
    sf_tensor weight[2], shift[2];
    import(t, w, weight_type, out, in, weight);
    import(t, bias, SF_BF16, out, 0, shift);
    float *result[2];
    for (int s = 0; s < 2; s++) {
        sf_dtype type = f32 ? SF_F32 : t->b[s].activation;
        void *from = put_activations(t, s, x, (int64_t)rows * in);
        void *to =
            f32 ? put(t, s, y, (size_t)rows * out * sizeof(float)) : put_activations(t, s, y, (int64_t)rows * out);
        if (!add) to = room(t, s, sf_bytes(type, (int64_t)rows * out));
        OK(t, s, t->b[s].ops->linear(&t->b[s], from, rows, &weight[s], biased ? &shift[s] : NULL, add, to, type));
        result[s] = get(t, s, to, type, (int64_t)rows * out);
        if (s == 0 || add) continue;
        /* each row alone gives the same bits */
        for (int r = 0; r < rows; r += 1 + rows / 5) {
            void *one = room(t, 1, sf_bytes(type, out));
            OK(t, 1,
               t->b[1].ops->linear(&t->b[1], (char *)from + sf_bytes(t->b[1].activation, (int64_t)r * in), 1,
                                   &weight[1], biased ? &shift[1] : NULL, false, one, type));
            OK(t, 0,
               t->b[0].ops->linear(&t->b[0], (char *)put_activations(t, 0, x + (int64_t)r * in, in), 1, &weight[0],
                                   biased ? &shift[0] : NULL, false, room(t, 0, (size_t)out * sizeof(float)), SF_F32));
            float *alone = get(t, 1, one, type, out);
            if (memcmp(alone, result[1] + (int64_t)r * out, (size_t)out * sizeof(float)) != 0)
                fail_msg("%s: row %d alone differs from row %d in company", what, r, r);
            free(alone);
        }
    }
    agree(t, result[0], result[1], (int64_t)rows * out, t->tolerance, what);
    for (int s = 0; s < 2; s++) {
        t->b[s].ops->release_weight(&t->b[s], &weight[s]);
        t->b[s].ops->release_weight(&t->b[s], &shift[s]);
        free(result[s]);
    }
    free(x), free(w), free(bias), free(y);
    end_case(t, what);
}

/* A weight in bf16 and in each format of blocks, as import_weight() takes it from a file. 512 elements of each type lie in
 * the golden file (tests/golden/dtypes.py), raw and then as floats; those of plain types are no weights (infinities). */
static void weight_types_case(twin *t, sf_phase phase)
{
    enum { OUT = 2, IN = 256, ROWS = 9 };
    FILE *f = fopen("tests/golden/dtypes.bin", "rb");
    assert_non_null(f);
    for (sf_dtype type = 0; type < SF_DTYPES; type++) {
        size_t bytes = sf_bytes(type, OUT * IN);
        unsigned char *raw = malloc(bytes);
        assert_int_equal(fread(raw, 1, bytes, f), bytes);
        assert_int_equal(fseek(f, OUT * IN * (long)sizeof(float), SEEK_CUR), 0);
        begin_case(t, 77);
        t->b[0].phase = t->b[1].phase = phase;
        float *x = randoms(t, ROWS * IN, 1), *w = randoms(t, OUT * IN, 1), *result[2];
        for (int i = 0; type == SF_BF16 && i < OUT * IN; i++) ((uint16_t *)raw)[i] = to_bf16(w[i]);
        sf_tensor host = tensor(raw, type, OUT, IN), weight[2];
        for (int s = 0; s < 2 && (type == SF_BF16 || (type >= SF_Q8_0 && type < SF_F64)); s++) {
            OK(t, s, t->b[s].ops->import_weight(&t->b[s], &host, &weight[s]));
            void *from = put_activations(t, s, x, ROWS * IN), *to = room(t, s, ROWS * OUT * sizeof(float));
            OK(t, s, t->b[s].ops->linear(&t->b[s], from, ROWS, &weight[s], NULL, false, to, SF_F32));
            result[s] = get(t, s, to, SF_F32, ROWS * OUT);
            if (s == 0) continue;
            agree(t, result[0], result[1], ROWS * OUT, t->tolerance, sf_dtypes[type].name);
            for (int i = 0; i < 2; i++) t->b[i].ops->release_weight(&t->b[i], &weight[i]), free(result[i]);
        }
        free(raw), free(x), free(w);
        end_case(t, sf_dtypes[type].name);
    }
    fclose(f);
}

#endif
