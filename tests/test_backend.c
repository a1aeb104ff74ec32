/* Twin test of the cpu backend: memory, and the layers around attention. See tests/backend_world.h. */
#include "tests/backend_world.h"

#include <sys/mman.h>

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void memory(void **unused)
{
    (void)unused;
    for (int v = 0; v < BACKENDS; v++) {
        sf_backend *b = &backend[v];
        char from[100] = "twin", to[100] = "";
        void *p, *q;
        size_t available, total;
        OK(b->ops->alloc(b, 100, &p));
        OK(b->ops->alloc(b, 100, &q));
        assert_int_equal((uintptr_t)p % 64, 0);
        OK(b->ops->upload(b, p, from, 100));
        OK(b->ops->zero(b, q, 100));
        OK(b->ops->copy(b, q, p, 3));
        OK(b->ops->download(b, to, q, 100));
        assert_string_equal(to, "twi");
        OK(b->ops->synchronize(b));
        OK(b->ops->memory(b, &available, &total));
        assert_true(available > 0 && available <= total);
        b->ops->free(b, p);
        b->ops->free(b, q);
        assert_int_equal(b->ops->alloc(b, SIZE_MAX - 5, &p), SF_NO_MEMORY);
        b->ops->free(b, NULL);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed */
        OK(b->ops->alloc(b, 20 << 20, &p)); /* large, and freed: the system's again, and so is a smaller one after it */
        b->ops->free(b, p);
        OK(b->ops->alloc(b, 10 << 20, &p));
        b->ops->free(b, p);
        unsigned char there;
        assert_int_equal(mincore(p, 1, &there), -1);
#endif
        sf_mark mark = sf_scratch_mark(b);
        void *small, *large, *again;
        OK(sf_scratch_alloc(b, 10, &small));
        OK(sf_scratch_alloc(b, 20 << 20, &large));
        sf_scratch_release(b, mark);
        OK(sf_scratch_alloc(b, 10, &again));
        assert_ptr_equal(small, again);
        sf_scratch_release(b, mark);
    }
    sf_backend none;
    assert_int_equal(sf_backend_open("tpu", 0, &none), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "cpu, reference"));
    assert_int_equal(sf_backend_open("cpu:1", 0, &none), SF_BAD_INPUT);
    sf_backend_close(&none);
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

/* Random bytes of a dtype whose scales are sane: small halves where the format has halves. */
static void *random_weights(sf_dtype t, int64_t n)
{
    size_t bytes = sf_bytes(t, n);
    uint8_t *raw = room(bytes);
    if (t == SF_F32) {
        for (int64_t i = 0; i < n; i++) ((float *)raw)[i] = normal();
    } else if (t == SF_F16 || t == SF_BF16) {
        for (int64_t i = 0; i < n; i++) /* magnitudes near one: exponents of the format's middle */
            ((uint16_t *)raw)[i] =
                (uint16_t)((bits() & 0x8000) | (t == SF_F16 ? 0x3400 + bits() % 0x0a00 : 0x3f00 + bits() % 0x100));
    } else {
        for (size_t i = 0; i < bytes; i++) raw[i] = (uint8_t)bits();
        int size = sf_dtypes[t].bytes;
        for (size_t i = 0; i < bytes; i += (size_t)size) {
            uint16_t half = (uint16_t)(0x2000 + bits() % 0x0800);
            memcpy(raw + i + (t == SF_Q6_K ? 208 : 0), &half, 2);
            if (t == SF_Q4_1 || t == SF_Q5_1 || t == SF_Q4_K) memcpy(raw + i + 2, &half, 2);
        }
    }
    return raw;
}

static const sf_dtype weight_types[] = {SF_F32,  SF_F16,  SF_BF16, SF_Q8_0, SF_Q4_0,
                                        SF_Q4_1, SF_Q5_0, SF_Q5_1, SF_Q4_K, SF_Q6_K};
enum { WEIGHT_TYPES = sizeof weight_types / sizeof *weight_types };

static void linear(void **unused)
{
    (void)unused;
    CASES("linear", 120)
    {
        sf_dtype t = weight_types[i_ % WEIGHT_TYPES];
        int block = sf_dtypes[t].block;
        int64_t in = block == 1 ? PICK(1, 7, 16, 33, 576, 1025, 1536) : (int64_t)block * PICK(1, 2, 3, 5);
        int64_t out = PICK(1, 2, 3, 5, 17, 64, 70, 130), rows = PICK(1, 2, 3, 4, 5, 6, 7, 13, 28, 65, 400);
        if (rows * out * in > 20000000) rows = 13;
        if (i_ == 0) in = 3000, out = 3, rows = 800; /* more rows than cpu lays side by side at once */
        bool add = below(2), biased = below(2);
        tell(": %s, rows %d, in %d, out %d, add %d, bias %d", sf_dtypes[t].name, (int)rows, (int)in, (int)out, add,
             biased);
        sf_tensor w = {random_weights(t, in * out), t, 2, {out, in}},
                  bias = {.dtype = SF_BF16, .rank = 1, .dim = {out}};
        if (biased) bias.data = random_weights(SF_BF16, out);
        float *x = random_floats(rows * in, PLAIN), *before = random_floats(rows * out, PLAIN), *y[BACKENDS];
        EACH(v)
        {
            y[v] = floats(rows * out);
            if (add) memcpy(y[v], before, (size_t)(rows * out) * sizeof(float));
            sf_tensor imported;
            OK(backend[v].ops->import_weight(&backend[v], &w, &imported));
            OK(backend[v].ops->linear(&backend[v], x, rows, &imported, &bias, add, y[v], SF_F32));
            backend[v].ops->release_weight(&backend[v], &imported);
        }
        /* a row alone gives the bits it gives in company */
        float *alone = floats(out);
        sf_meter counted = meter[CPU];
        for (int64_t r = 0; r < rows; r += 1 + rows / 8) {
            memcpy(alone, add ? before + r * out : alone, (size_t)out * sizeof(float));
            OK(backend[CPU].ops->linear(&backend[CPU], x + r * in, 1, &w, &bias, add, alone, SF_F32));
            same_bits("a row alone", alone, y[CPU] + r * out, (size_t)out * sizeof(float));
        }
        meter[CPU] = counted;
        float *row = floats(in), *terms = floats(rows * out);
        counted = meter[REFERENCE];
        for (int32_t o = 0; o < out; o++) {
            OK(backend[REFERENCE].ops->embed(&backend[REFERENCE], &w, &o, 1, 1, row));
            float offset = 0;
            if (biased) memcpy((char *)&offset + 2, (uint16_t *)bias.data + o, 2);
            for (int64_t r = 0; r < rows; r++) {
                double squares = (double)offset * offset + (add ? pow(before[r * out + o], 2) : 0);
                for (int64_t i = 0; i < in; i++) squares += pow((double)x[r * in + i] * row[i], 2);
                terms[r * out + o] = (float)sqrt(squares);
            }
        }
        meter[REFERENCE] = counted;
        compare_sums("y", y, terms, rows * out);
        free(row), free(terms), free(alone), free(x), free(before), free(w.data), free(bias.data);
    }
}

static void embed(void **unused)
{
    (void)unused;
    CASES("embed", 3 * WEIGHT_TYPES)
    {
        sf_dtype t = weight_types[i_ % WEIGHT_TYPES];
        int64_t vocab = 37, d = sf_dtypes[t].block * PICK(1, 2), rows = PICK(1, 5, 40);
        tell(": %s, rows %d, d %d", sf_dtypes[t].name, (int)rows, (int)d);
        sf_tensor table = {random_weights(t, vocab * d), t, 2, {vocab, d}};
        int32_t token[40];
        for (int i = 0; i < rows; i++) token[i] = below((int)vocab);
        float *out[BACKENDS];
        EACH(v) OK(backend[v].ops->embed(&backend[v], &table, token, rows, 1.5f, out[v] = floats(rows * d)));
        compare("out", out, rows * d);
        free(table.data);
    }
}

static void rms_norm(void **unused)
{
    (void)unused;
    CASES("rms_norm", 40)
    {
        sf_dtype from = (sf_dtype)PICK(SF_F32, SF_F32, SF_BF16, SF_F16), t = (sf_dtype)PICK(SF_F32, SF_BF16, SF_F16);
        int width = PICK(1, 16, 64, 80, 576, 1000);
        int64_t rows = PICK(1, 3, 70);
        bool in_place = from == SF_F32 && below(2);
        tell(": from %s, weight %s, rows %d, width %d, in place %d", sf_dtypes[from].name, sf_dtypes[t].name, (int)rows,
             width, in_place);
        sf_tensor w = {random_weights(t, width), t, 1, {width}};
        void *x = random_weights(from, rows * width);
        float *out[BACKENDS];
        float offset = (float)below(2);
        EACH(v)
        {
            out[v] = floats(rows * width);
            if (in_place) memcpy(out[v], x, (size_t)(rows * width) * sizeof(float));
            OK(backend[v].ops->rms_norm(&backend[v], in_place ? out[v] : x, from, rows, width, &w, offset, 1e-5f,
                                        out[v]));
        }
        compare("out", out, rows * width);
        free(x), free(w.data);
    }
}

static void rope(void **unused)
{
    (void)unused;
    CASES("rope", 40)
    {
        int heads = PICK(1, 3, 9), dim = PICK(16, 64, 80, 128), positions = 50;
        int64_t rows = PICK(1, 7, 60);
        bool interleaved = below(2);
        tell(": rows %d, heads %d, D %d, interleaved %d", (int)rows, heads, dim, interleaved);
        float *x = random_floats(rows * heads * dim, PLAIN), *out[BACKENDS];
        float *cosine = floats(positions * dim / 2), *sine = floats(positions * dim / 2);
        for (int i = 0; i < positions * dim / 2; i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
        int32_t position[60];
        for (int i = 0; i < rows; i++) position[i] = below(positions);
        EACH(v)
        {
            out[v] = floats(rows * heads * dim);
            memcpy(out[v], x, (size_t)(rows * heads * dim) * sizeof(float));
            OK(backend[v].ops->rope(&backend[v], out[v], rows, heads, dim, position, cosine, sine, interleaved));
        }
        compare("x", out, rows * heads * dim);
        free(x), free(cosine), free(sine);
    }
}

static void gated_and_add(void **unused)
{
    (void)unused;
    CASES("gated", 40)
    {
        int width = PICK(1, 15, 16, 100, 1536);
        int64_t rows = PICK(1, 3, 30), n = rows * width;
        sf_activation kind = below(2) ? SF_SILU : SF_GELU_TANH;
        float *gate = random_floats(n, PLAIN), *up = random_floats(n, PLAIN), *out[BACKENDS], *sum[BACKENDS];
        for (int64_t i = 0; i < n; i++) gate[i] *= (float)PICK(1, 1, 5, 50, 1000);
        tell(": rows %d, width %d, kind %d", (int)rows, width, kind);
        EACH(v)
        {
            out[v] = floats(n), sum[v] = floats(n);
            memcpy(out[v], gate, (size_t)n * sizeof(float));
            memcpy(sum[v], gate, (size_t)n * sizeof(float));
            OK(backend[v].ops->gated(&backend[v], out[v], up, rows, width, kind));
            OK(backend[v].ops->add(&backend[v], sum[v], up, n));
        }
        for (int64_t i = 0; i < n; i++) { /* small ones too: each to the precision of a float */
            double error = fabs((double)out[CPU][i] - out[REFERENCE][i]);
            if (error > 1e-6 * fmax(1, fabs((double)gate[i])) * fabs((double)out[REFERENCE][i]) + 1e-12)
                fail_msg("%s: of %g: %g, expected %g", about, (double)gate[i], (double)out[CPU][i],
                         (double)out[REFERENCE][i]);
        }
        compare("gate", out, n);
        compare("x", sum, n);
        free(gate), free(up);
    }
}

static void store_kv(void **unused)
{
    (void)unused;
    CASES("store_kv", 20)
    {
        int lanes = PICK(1, 1, 4), heads = PICK(1, 3), dim = PICK(16, 80), rows = PICK(1, 5, 90), held = below(4);
        int64_t capacity = held + rows + below(3), size = heads * capacity * dim, width = (int64_t)heads * dim;
        float *k = random_floats(lanes * rows * width, PLAIN), *v = random_floats(lanes * rows * width, PLAIN),
              *out[BACKENDS];
        tell(": lanes %d, rows %d, G %d, D %d, held %d", lanes, rows, heads, dim, held);
        float *pieces = floats(2 * size);
        EACH(b)
        {
            out[b] = floats(lanes * 2 * size);
            sf_kv_part part[4], *at[4];
            for (int l = 0; l < lanes; l++) {
                part[l] = (sf_kv_part){
                    .k = out[b] + l * 2 * size, .v = out[b] + (l * 2 + 1) * size, .capacity = capacity, .n = held};
                at[l] = &part[l];
            }
            OK(backend[b].ops->store_kv(&backend[b], lanes, at, rows, heads, dim, k, v));
            assert_int_equal(part[0].n, held);
            if (b != CPU) continue;
            sf_meter counted = meter[b]; /* piece by piece gives the same cache */
            sf_kv_part piece = {.k = pieces, .v = pieces + size, .capacity = capacity, .n = held}, *only = &piece;
            for (int r = 0; r < rows; r += 2) {
                int here = rows - r < 2 ? 1 : 2;
                OK(backend[b].ops->store_kv(&backend[b], 1, &only, here, heads, dim, k + r * width, v + r * width));
                piece.n += here;
            }
            same_bits("piece by piece", pieces, out[b], (size_t)(2 * size) * sizeof(float));
            meter[b] = counted;
        }
        EACH(b) same_bits("cache", out[b], out[REFERENCE], (size_t)(lanes * 2 * size) * sizeof(float));
        same_meters();
        EACH(b) free(out[b]);
        free(k), free(v), free(pieces);
    }
}

static void gather_kv(void **unused)
{
    (void)unused;
    CASES("gather_kv", 20)
    {
        world w = random_world(PLAIN, 1, PICK(1, 30, 100), 0, false, 0);
        const sf_attention *a = &w.a;
        sf_lists keep = lists(a->kv_heads, a->keys);
        for (int g = 0; g < a->kv_heads; g++) fill_row(keep, g, a->keys, uniform(), a->keys - 1);
        int64_t size = (int64_t)a->kv_heads * a->keys * a->head_dim;
        float *out[BACKENDS];
        sf_kv_part to[BACKENDS];
        EACH(v)
        {
            out[v] = floats(2 * size);
            to[v] = (sf_kv_part){.k = out[v], .v = out[v] + size, .capacity = a->keys, .n = -1};
            to[v].count = room((size_t)a->kv_heads * 4);
            OK(backend[v].ops->gather_kv(&backend[v], &a->kv.prompt, &keep, a->head_dim, &to[v]));
            assert_int_equal(to[v].n, to[REFERENCE].n);
            same_bits("count", to[v].count, keep.count, (size_t)a->kv_heads * 4);

            sf_meter counted = meter[v]; /* a view of them names the same keys and counts the same */
            sf_kv_part view = {.count = room((size_t)a->kv_heads * 4), .stride = a->keys + 1};
            view.index = room((size_t)(a->kv_heads * view.stride) * 4);
            memset(&meter[v], 0, sizeof meter[v]);
            OK(backend[v].ops->gather_kv(&backend[v], &a->kv.prompt, &keep, a->head_dim, &view));
            assert_int_equal(view.n, to[v].n);
            same_bits("count", view.count, keep.count, (size_t)a->kv_heads * 4);
            for (int64_t g = 0; g < a->kv_heads; g++)
                for (int i = 0; i < keep.count[g]; i++)
                    same_bits("viewed", (float *)view.k + sf_kv_row(&view, g, i) * a->head_dim,
                              out[v] + (g * a->keys + i) * a->head_dim, (size_t)a->head_dim * 4);
            free((void *)view.count), free((void *)view.index);
            meter[v] = counted;
            same_bits("cache", out[v], out[REFERENCE], (size_t)(2 * size) * sizeof(float));
        }
        same_meters();
        EACH(v) free(out[v]), free((void *)to[v].count);
        free_lists(keep);
        free_world(&w);
    }
}

static void argmax(void **unused)
{
    (void)unused;
    CASES("argmax", 60)
    {
        int64_t rows = PICK(1, 3, 20), vocab = PICK(1, 2, 17, 1000);
        float *x = random_floats(rows * vocab, below(2) ? TIED : PLAIN);
        for (int n = below(20); n > 0; n--)
            x[below((int)(rows * vocab))] = below(2) ? NAN : below(2) ? INFINITY : -INFINITY;
        if (below(8) == 0)
            for (int64_t i = 0; i < rows * vocab; i++) x[i] = NAN;
        int32_t token[BACKENDS][20];
        EACH(v) OK(backend[v].ops->argmax(&backend[v], x, rows, vocab, token[v]));
        EACH(v) for (int r = 0; r < rows; r++) assert_int_equal(token[v][r], token[REFERENCE][r]);
        same_meters();
        free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),
        cmocka_unit_test(linear),
        cmocka_unit_test(embed),
        cmocka_unit_test(rms_norm),
        cmocka_unit_test(rope),
        cmocka_unit_test(gated_and_add),
        cmocka_unit_test(store_kv),
        cmocka_unit_test(gather_kv),
        cmocka_unit_test(argmax),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
