/* Twin test of the cpu backend: probabilities over listed keys, scores of keys by themselves, and the small algebra of
 * scores. See tests/backend_world.h. */
#include "tests/backend_world.h"

static float frequency[128];

/* Lists of 1, G or H heads, of keys that are there. */
static void listed(void **unused)
{
    (void)unused;
    CASES("listed probabilities", 60)
    {
        int prompt = PICK(1, 17, 300, 700), tail = PICK(0, 1, 20);
        world w = random_world(i_ % VALUES, 1, prompt, tail, false, 0);
        sf_lists at = lists(PICK(1, w.a.kv_heads, w.a.heads), w.a.keys);
        for (int r = 0; r < at.rows; r++) fill_row(at, r, w.a.keys, PICK(0, 5, 50, 100) / 100.0, below(4) ? w.a.keys - 1 : -1);
        tell("; %d lists", (int)at.rows);
        float *p[BACKENDS];
        int64_t n = (int64_t)w.a.heads * w.a.keys;
        EACH(v)
        {
            backend[v].phase = SF_DECODE;
            OK(backend[v].ops->listed_probabilities(&backend[v], &w.a, &at, p[v] = floats(n)));
        }
        for (int h = 0; h < w.a.heads; h++) {
            int64_t l = at.rows == w.a.heads ? h : at.rows == w.a.kv_heads ? h / (w.a.heads / w.a.kv_heads) : 0;
            double sum = 0;
            for (int j = 0; j < w.a.keys; j++) sum += p[CPU][(int64_t)h * w.a.keys + j];
            if (fabs(sum - (at.count[l] > 0)) > 1e-5) fail_msg("%s: head %d: probabilities add up to %g", about, h, sum);
        }
        compare("p", p, n);
        free_lists(at);
        free_world(&w);
    }
}

static void keys_alone(void **unused)
{
    (void)unused;
    CASES("keys by themselves", 40)
    {
        int queries = PICK(1, 5, 70, 200);
        bool compact = below(3) == 0;
        world w = random_world(i_ % 2 ? PLAIN : SINK, queries, queries, 0, compact, 0);
        w.a.frequency = frequency, w.a.interleaved = below(2), w.a.rotated = PICK(0, 0, 2, w.a.head_dim - 1);
        for (int d = 0; d < w.a.head_dim / 2; d++) frequency[d] = powf(10000, -2.f * (float)d / (float)w.a.head_dim);
        int64_t n = (int64_t)w.a.kv_heads * w.a.keys, all = (int64_t)w.a.heads * w.a.keys;
        float *norm[BACKENDS], *cosine[BACKENDS], *expected[BACKENDS];
        int skip = PICK(0, 4, 1000), ahead = PICK(1, 512);
        bool values = below(2);
        EACH(v)
        {
            OK(backend[v].ops->key_norms(&backend[v], &w.a, values, norm[v] = floats(n)));
            OK(backend[v].ops->key_cosines(&backend[v], &w.a, cosine[v] = floats(n)));
            OK(backend[v].ops->expected_attention(&backend[v], &w.a, skip, ahead, expected[v] = floats(all)));
        }
        compare("norms", norm, n);
        compare("cosines", cosine, n);
        compare("expected", expected, all);
        free_world(&w);
    }
}

/* Keys of 16 even steps lose nothing in 4 bits: what is estimated is what is, the cap on logits and all. */
static void packed_without_loss(void **unused)
{
    (void)unused;
    CASES("keys in 4 bits", 40)
    {
        world w = random_world(PLAIN, 1, PICK(1, 17, 300), PICK(0, 1, 20), false, 0);
        int64_t n = (int64_t)w.a.heads * w.a.keys, keys = (int64_t)w.a.kv_heads * w.a.keys, dim = w.a.head_dim;
        w.a.softcap = (float)PICK(0, 1, 3);
        tell("; cap %g", (double)w.a.softcap);
        for (int part = 0; part < 2; part++) {
            const sf_kv_part *of = part ? &w.a.kv.tail : &w.a.kv.prompt;
            for (int64_t g = 0; g < w.a.kv_heads; g++)
                for (int64_t i = 0; i < of->n * dim; i++)
                    (part ? w.tail_k : w.k)[g * of->capacity * dim + i] = (float)(i % dim < 2 ? 15 * (i % dim) : between(0, 15)) * .25f - 2;
        }
        float *packed[BACKENDS], *exact[BACKENDS];
        EACH(v)
        {
            int32_t *code = room((size_t)(keys * ((dim + 7) / 8)) * sizeof *code);
            float *range = floats(2 * keys);
            backend[v].phase = SF_DECODE;
            OK(backend[v].ops->pack_keys(&backend[v], &w.a, 0, w.a.keys, code, range));
            OK(backend[v].ops->packed_probabilities(&backend[v], &w.a, w.a.keys, code, range, NULL, packed[v] = floats(n)));
            OK(backend[v].ops->key_probabilities(&backend[v], &w.a, exact[v] = floats(n)));
            close_to("p by 4 bits", packed[v], exact[v], NULL, n);
            free(code), free(range);
        }
        compare("p by 4 bits", packed, n);
        compare("p", exact, n);
        free_world(&w);
    }
}

static void algebra(void **unused)
{
    (void)unused;
    CASES("algebra of scores", 60)
    {
        int rows = between(1, 9), n = PICK(1, 7, 300, 20000), stride = n + PICK(0, 5);
        float keep = (float[]){0, 1, -1, 0.5f}[below(4)], *x = random_floats((int64_t)rows * n, PLAIN), *y[BACKENDS],
              *first = random_floats((int64_t)rows * stride, PLAIN);
        sf_lists at = lists(rows, stride);
        for (int r = 0; r < rows; r++) fill_row(at, r, stride, PICK(0, 30, 100) / 100.0, -1);
        for (int64_t i = 0; i < (int64_t)rows * stride; i++)
            if (below(5) == 0) first[i] = -INFINITY;
        bool none = below(4) == 0;
        tell("; %d rows of %d in %d, keep %g", rows, n, stride, (double)keep);
        EACH(v)
        {
            y[v] = floats((int64_t)rows * stride);
            memcpy(y[v], first, (size_t)(rows * stride) * sizeof *first);
            OK(backend[v].ops->accumulate(&backend[v], y[v], stride, keep, none ? NULL : x, rows, n));
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < stride; i++) {
                    float was = first[r * stride + i], is = y[v][r * stride + i];
                    float want = was == -INFINITY || i >= n ? was : keep * was + (none ? 0 : x[r * n + i]);
                    if (is != want && fabsf(is - want) > 1e-6f)
                        fail_msg("%s: [%d, %d] is %g, expected %g", about, r, i, (double)is, (double)want);
                }
            if (stride == n) OK(backend[v].ops->multiply(&backend[v], y[v], x, rows, n));
            OK(backend[v].ops->fill_except(&backend[v], y[v], rows, stride, &at, 7));
            for (int r = 0; r < rows; r++)
                for (int i = 0, e = 0; i < stride; i++) {
                    bool there = e < at.count[r] && at.index[r * at.stride + e] == i;
                    if (!there && y[v][r * stride + i] != 7) fail_msg("%s: [%d, %d] is not listed, and not filled", about, r, i);
                    e += there;
                }
        }
        compare("y", y, (int64_t)rows * stride);
        free(x), free(first), free_lists(at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(listed), cmocka_unit_test(keys_alone), cmocka_unit_test(packed_without_loss),
                                       cmocka_unit_test(algebra)};
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
