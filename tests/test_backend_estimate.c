/* Twin test of the cpu backend: what methods estimate and choose by. See tests/backend_world.h. */
#include "tests/backend_world.h"

static void probe(void **unused)
{
    (void)unused;
    CASES("probe", 40)
    {
        int queries = PICK(1, 5, 64, 100, 160), keys = queries + (below(2) ? 0 : PICK(3, 60)),
            window = PICK(1, 8, 13, 64, 100, 1000);
        world w = random_world(i_ % VALUES, queries, keys, 0, false, below(3) ? 0 : PICK(4, 50));
        sf_reduce reduce = (sf_reduce)below(3);
        bool columns = below(4), diagonals = below(4) || !columns;
        tell("; probe window %d, reduce %d, column %d, diagonal %d", window, reduce, columns, diagonals);
        int64_t n = (int64_t)w.a.heads * keys;
        float *column[BACKENDS], *diagonal[BACKENDS];
        EACH(v)
        {
            column[v] = floats(n), diagonal[v] = floats(n);
            OK(backend[v].ops->probe(&backend[v], &w.a, window, reduce, columns ? column[v] : NULL,
                                     diagonals ? diagonal[v] : NULL));
        }
        compare("column", column, n);
        compare("diagonal", diagonal, n);
        free_world(&w);
    }
}

static float *random_scores(int64_t n)
{
    float *x = random_floats(n, below(2) ? TIED : PLAIN);
    if (below(2))
        for (int64_t i = 0; i < n; i++) x[i] = fabsf(x[i]);
    for (int k = below(6) * (int)n / 20; k > 0; k--)
        x[below((int)n)] = below(3) == 0 ? NAN : below(2) ? INFINITY : -INFINITY;
    if (below(20) == 0)
        for (int64_t i = 0; i < n; i++) x[i] = below(2) ? -INFINITY : NAN;
    for (int64_t i = 0; i < n; i += 7)
        if (x[i] == 0) x[i] = -0.0f;
    return x;
}

static void rows_of_scores(void **unused)
{
    (void)unused;
    CASES("reduce, pool, fill", 80)
    {
        int64_t rows = PICK(1, 3, 9), n = PICK(1, 2, 16, 50, 333);
        int group = PICK(1, 2, 3, 8), kernel = PICK(1, 3, 7, 21);
        sf_reduce reduce = (sf_reduce)below(3);
        tell(": rows %d, n %d, group %d, kernel %d, reduce %d", (int)rows, (int)n, group, kernel, reduce);
        float *x = random_floats(rows * group * n, below(2) ? TIED : PLAIN), *reduced[BACKENDS], *pooled[BACKENDS],
              *filled[BACKENDS];
        sf_lists at = lists(rows, n);
        for (int64_t r = 0; r < rows; r++) fill_row(at, r, (int)n, 0.2, -1);
        int64_t begin = between(-3, (int)n), end = between(-3, (int)n + 3);
        EACH(v)
        {
            OK(backend[v].ops->reduce_rows(&backend[v], x, rows, group, n, reduce, reduced[v] = floats(rows * n)));
            OK(backend[v].ops->pool(&backend[v], x, rows, n, kernel, reduce, pooled[v] = floats(rows * n)));
            filled[v] = floats(rows * n);
            memcpy(filled[v], x, (size_t)(rows * n) * sizeof(float));
            OK(backend[v].ops->fill(&backend[v], filled[v], rows, n, begin, end, INFINITY));
            OK(backend[v].ops->fill_at(&backend[v], filled[v], rows, n, &at, -INFINITY));
        }
        compare("reduced", reduced, rows * n);
        compare("pooled", pooled, rows * n);
        compare("filled", filled, rows * n);
        free_lists(at);
        free(x);
    }
}

static void choices(void **unused)
{
    (void)unused;
    CASES("top", 150)
    {
        int64_t rows = PICK(1, 2, 5), n = PICK(1, 2, 20, 100, 700), k = PICK(0, 1, 2, 10, 64, 5000),
                total = PICK(0, 1, 30, 300, 9000);
        int64_t least = PICK(0, 1, 5, 40), most = least + PICK(0, 10, 100, 5000);
        float mass = (float)PICK(0, 1, 50, 90, 99, 100) / 100;
        tell(": rows %d, n %d, k %d, total %d, mass %g, least %d, most %d", (int)rows, (int)n, (int)k, (int)total,
             (double)mass, (int)least, (int)most);
        float *x = random_scores(rows * n);
        int32_t each[5];
        for (int r = 0; r < rows; r++) each[r] = (int32_t)(k ? below((int)k + 1) : 0);
        sf_lists by_row[BACKENDS], by_count[BACKENDS], together[BACKENDS], by_mass[BACKENDS];
        EACH(v)
        {
            by_row[v] = lists(rows, k < n ? k : n), by_count[v] = lists(rows, k < n ? k : n);
            together[v] = lists(rows, total < n ? total : n), by_mass[v] = lists(rows, most < n ? most : n);
            OK(backend[v].ops->top(&backend[v], x, rows, n, k, &by_row[v]));
            OK(backend[v].ops->top_counts(&backend[v], x, rows, n, each, k, &by_count[v]));
            OK(backend[v].ops->top_total(&backend[v], x, rows, n, total, &together[v]));
            OK(backend[v].ops->top_mass(&backend[v], x, rows, n, mass, least, most, &by_mass[v]));
        }
        compare_lists(by_row);
        compare_lists(by_count);
        compare_lists(together);
        compare_lists(by_mass);
        free(x);
    }
}

/* Values are small multiples of 1/2, so that scores are exact in any order and ties are ties everywhere. */
static void blocks(void **unused)
{
    (void)unused;
    CASES("blocks", 50)
    {
        int queries = PICK(1, 9, 64, 100, 200), keys = queries + (below(2) ? 0 : PICK(1, 70));
        world w = random_world(TIED, queries, keys, 0, false, 0);
        const sf_attention *a = &w.a;
        int block_q = PICK(1, 16, 24, 64), block_k = PICK(1, 16, 24, 64), heads = below(2) ? a->heads : a->kv_heads;
        int nq = (queries + block_q - 1) / block_q, nk = (keys + block_k - 1) / block_k, k = PICK(0, 1, 3, 8, 1000);
        int sinks = PICK(0, 1, 2), local = PICK(0, 1, 2), stride = k < nk ? k : nk;
        tell("; block %d x %d, selecting heads %d, k %d, sinks %d, local %d", block_q, block_k, heads, k, sinks, local);
        int64_t nqm = (int64_t)a->heads * nq * a->head_dim, nkm = (int64_t)a->kv_heads * nk * a->head_dim,
                np = (int64_t)a->heads * nq * nk;
        float *q_mean[BACKENDS], *k_mean[BACKENDS], *p[BACKENDS], *q = random_floats(nqm, TIED),
                                                                  *key = random_floats(nkm, TIED);
        sf_lists out[BACKENDS];
        EACH(v)
        {
            OK(backend[v].ops->block_means(&backend[v], a, false, block_q, q_mean[v] = floats(nqm)));
            OK(backend[v].ops->block_means(&backend[v], a, true, block_k, k_mean[v] = floats(nkm)));
            OK(backend[v].ops->block_probabilities(&backend[v], a, q, block_q, key, block_k, p[v] = floats(np)));
            out[v] = lists((int64_t)heads * nq, stride);
            OK(backend[v].ops->top_blocks(&backend[v], a, q, block_q, key, block_k, heads, k, sinks, local, &out[v]));
        }
        compare("q_mean", q_mean, nqm);
        compare("k_mean", k_mean, nkm);
        compare("p", p, np);
        compare_lists(out);
        free(q), free(key);
        free_world(&w);
    }
}

/* Scores are sums of softmax here, so near ties may fall either way: chosen sums must agree, to rounding. */
static void block_mass(void **unused)
{
    (void)unused;
    CASES("top_block_mass", 30)
    {
        int queries = PICK(1, 9, 64, 90), keys = queries + (below(2) ? 0 : PICK(1, 40));
        world w = random_world(PLAIN, queries, keys, 0, false, below(3) ? 0 : 20);
        const sf_attention *a = &w.a;
        int block_q = PICK(1, 16, 24), block_k = PICK(1, 16, 24), heads = below(2) ? a->heads : a->kv_heads,
            k = PICK(1, 3, 1000);
        int nq = (queries + block_q - 1) / block_q, nk = (keys + block_k - 1) / block_k;
        tell("; block %d x %d, selecting heads %d, k %d", block_q, block_k, heads, k);
        sf_lists out[BACKENDS];
        EACH(v)
        {
            out[v] = lists((int64_t)heads * nq, k < nk ? k : nk);
            OK(backend[v].ops->top_block_mass(&backend[v], a, block_q, block_k, heads, k, &out[v]));
        }
        compare_lists(out);
        free_world(&w);
    }
}

static void pages(void **unused)
{
    (void)unused;
    CASES("pages", 60)
    {
        int prompt = PICK(1, 40, 150), tail = PICK(0, 1, 30), page = PICK(1, 7, 16, 64);
        world w = random_world(PLAIN, 1, prompt, tail, below(3) == 0 && prompt > 1, 0);
        const sf_attention *a = &w.a;
        int there = (a->keys + page - 1) / page, stride = there + below(3), first = below(a->keys);
        tell("; page %d, first %d, stride %d", page, first, stride);
        int64_t n = (int64_t)a->kv_heads * stride * a->head_dim;
        float *low[BACKENDS], *high[BACKENDS], *score[BACKENDS], *seen = random_floats(2 * n, PLAIN);
        EACH(v)
        {
            low[v] = floats(n), high[v] = floats(n);
            memcpy(low[v], seen, (size_t)n * sizeof(float)), memcpy(high[v], seen + n, (size_t)n * sizeof(float));
            OK(backend[v].ops->page_bounds(&backend[v], a, page, first, stride, low[v], high[v]));
            same_bits("low", low[v], low[REFERENCE], (size_t)n * sizeof(float));
            same_bits("high", high[v], high[REFERENCE], (size_t)n * sizeof(float));
            score[v] = floats((int64_t)a->kv_heads * there);
            OK(backend[v].ops->page_scores(&backend[v], a, page, stride, low[v], high[v], score[v]));
        }
        float *terms = floats((int64_t)a->kv_heads * there);
        for (int64_t u = 0; u < a->kv_heads * there; u++) {
            double squares = 0;
            for (int i = 0; i < w.a.heads / w.a.kv_heads * a->head_dim; i++) {
                int64_t at = (u / there * stride + u % there) * a->head_dim + i % a->head_dim;
                double q = w.q[u / there * (a->heads / a->kv_heads) * a->head_dim + i];
                squares += pow(fmax(q * low[CPU][at], q * high[CPU][at]), 2);
            }
            terms[u] = (float)sqrt(squares);
        }
        compare_sums("score", score, terms, (int64_t)a->kv_heads * there);
        free(terms);
        compare("low", low, n);
        compare("high", high, n);
        free(seen);
        free_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probe),
        cmocka_unit_test(rows_of_scores),
        cmocka_unit_test(choices),
        cmocka_unit_test(blocks),
        cmocka_unit_test(block_mass),
        cmocka_unit_test(pages),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
