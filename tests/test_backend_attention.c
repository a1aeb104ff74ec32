/* What patterns are: counted by a predicate that knows pattern.h alone, observed, checked and refused. See
 * tests/backend_world.h; the executors: tests/test_backends.c. */
#include "tests/backend_world.h"

static void mass_and_probabilities(void **unused)
{
    (void)unused;
    CASES("mass", 80)
    {
        bool one = below(2);
        int queries = one ? 1 : PICK(2, 9, 70, 130), tail = one ? PICK(0, 3) : 0, prompt = queries + PICK(0, 1, 40);
        world w =
            random_world(i_ % VALUES, queries, prompt, tail, one && below(3) == 0, one || below(3) ? 0 : PICK(3, 50));
        sf_pattern p = random_pattern(&w.a, (sf_pattern_kind)below(SF_TOKENS + 1));
        int32_t row[5];
        for (int r = 0; r < 5; r++) row[r] = below(queries);
        float *covered[BACKENDS], *probability[BACKENDS];
        EACH(v)
        {
            OK(backend[v].ops->mass(&backend[v], &w.a, &p, 5, row, covered[v] = floats(w.a.heads)));
            probability[v] = floats((int64_t)w.a.heads * w.a.keys);
            if (one) OK(backend[v].ops->key_probabilities(&backend[v], &w.a, probability[v]));
        }
        compare("covered", covered, w.a.heads);
        compare("p", probability, (int64_t)w.a.heads * w.a.keys);
        free_pattern(p);
        free_world(&w);
    }
}

/* Whether head h at row i computes key j, as pattern.h says it, without looking at how anybody executes it. */
static bool computes(const sf_attention *a, const sf_pattern *p, int h, int i, int j)
{
    int g = h * a->kv_heads / a->heads, position = a->keys - a->queries + i, row = p->heads == a->heads ? h : g;
    if (j > position || (a->window && position - j >= a->window)) return false;
    if (p->kind == SF_DENSE) return true;
    if (p->kind == SF_WINDOW) return i >= a->queries - p->last || j < p->sinks || position - j < p->local;
    if (p->kind == SF_BLOCKS) row = row * ((a->queries + p->block_q - 1) / p->block_q) + i / p->block_q;
    const int32_t *e = p->first.index + row * p->first.stride;
    for (int n = 0; n < p->first.count[row]; n++) {
        if (p->kind == SF_BLOCKS && j / p->block_k == e[n]) return true;
        if (p->kind == SF_PAGES && j / p->page == e[n]) return true;
        if ((p->kind == SF_TOKENS || p->kind == SF_COLUMNS_DIAGONALS) && j == e[n]) return true;
    }
    if (p->kind != SF_COLUMNS_DIAGONALS) return false;
    int tile = position - i % SF_DIAGONAL_TILE;
    e = p->second.index + row * p->second.stride;
    for (int n = 0; n < p->second.count[row]; n++)
        if (j >= tile - e[n] && j < tile - e[n] + SF_DIAGONAL_TILE) return true;
    return false;
}

static void count_pairs(void **unused)
{
    (void)unused;
    CASES("count_pairs", 90)
    {
        int queries = PICK(1, 3, 64, 90, 140), keys = queries + (below(2) ? 0 : PICK(1, 50));
        world w = random_world(PLAIN, queries, keys, 0, false, below(3) ? 0 : PICK(2, 40));
        sf_pattern p = random_pattern(&w.a, (sf_pattern_kind)(i_ % (SF_TOKENS + 1)));
        uint64_t want = 0, got;
        for (int h = 0; h < w.a.heads; h++)
            for (int i = 0; i < queries; i++)
                for (int j = 0; j < keys; j++) want += computes(&w.a, &p, h, i, j);
        EACH(v)
        {
            OK(backend[v].ops->count_pairs(&backend[v], &w.a, &p, &got));
            if (got != want)
                fail_msg("%s: %s counts %llu pairs, the predicate %llu", about, backend[v].ops->name,
                         (unsigned long long)got, (unsigned long long)want);
            if (p.kind == SF_DENSE && w.a.window == 0 && queries == keys)
                assert_int_equal(got, (uint64_t)w.a.heads * (uint64_t)queries * (uint64_t)(queries + 1) / 2);
        }
        same_meters();
        free_pattern(p);
        free_world(&w);
    }
}

/* Rows without keys are refused, and the message says which. */
static void refuses_rows_without_keys(void **unused)
{
    (void)unused;
    begin_case("rows without keys", 1);
    world w = random_world(PLAIN, 100, 100, 0, false, 0);
    sf_pattern p = {
        .kind = SF_BLOCKS, .heads = w.a.kv_heads, .block_q = 16, .block_k = 16, .first = lists(w.a.kv_heads * 7, 7)};
    for (int r = 0; r < w.a.kv_heads * 7; r++) fill_row(p.first, r, 7, 0, r % 7);
    p.first.index[4 * 7] = 5; /* the blocks of rows 64 … 79 lie in their future */
    float *out = floats(100LL * w.a.heads * w.a.head_dim);
    EACH(v)
    {
        assert_int_equal(backend[v].ops->prefill(&backend[v], &w.a, &p, out), SF_BAD_INPUT);
        assert_non_null(strstr(sf_error(), "head 0, query row 64 "));
    }
    free_pattern(p);
    p = (sf_pattern){.kind = SF_PAGES, .heads = w.a.kv_heads, .page = 16, .first = lists(w.a.kv_heads, 7)};
    for (int g = 0; g < w.a.kv_heads; g++) p.first.count[g] = 0;
    w.a.queries = 1;
    const sf_attention *a = &w.a;
    const sf_pattern *pattern = &p;
    EACH(v) assert_int_equal(backend[v].ops->decode(&backend[v], 1, &a, &pattern, out), SF_BAD_INPUT);
    free(out);
    free_pattern(p);
    free_world(&w);
}

static void check_pattern(void **unused)
{
    (void)unused;
    begin_case("check_pattern", 0);
    world w = random_world(PLAIN, 40, 40, 0, false, 0);
    sf_attention *a = &w.a;
    int32_t fine[] = {0, 2}, far[] = {0, 40}, negative[] = {-1, 2}, down[] = {2, 0}, twice[] = {2, 2};
    const struct {
        sf_pattern_kind kind;
        sf_phase phase;
        int32_t *index;
        int count, heads, page;
        const char *says;
    } fault[] = {
        {SF_TOKENS, SF_PREFILL, fine, 2, 0, 0, NULL},
        {SF_TOKENS, SF_PREFILL, far, 2, 0, 0, "is 40, expected 0 to 39"},
        {SF_TOKENS, SF_PREFILL, negative, 2, 0, 0, "is -1"},
        {SF_TOKENS, SF_PREFILL, down, 2, 0, 0, "is 0 after 2"},
        {SF_TOKENS, SF_PREFILL, twice, 2, 0, 0, "is 2 after 2"},
        {SF_TOKENS, SF_PREFILL, fine, 0, 0, 0, "is empty"},
        {SF_TOKENS, SF_PREFILL, fine, 3, 0, 0, "counts 3 entries"},
        {SF_TOKENS, SF_PREFILL, fine, -1, 0, 0, "counts -1 entries"},
        {SF_TOKENS, SF_PREFILL, fine, 2, 99, 0, "selects for 99 heads"},
        {SF_PAGES, SF_DECODE, fine, 2, 0, 16, NULL},
        {SF_PAGES, SF_DECODE, far, 2, 0, 16, "is 40, expected 0 to 2"},
        {SF_PAGES, SF_DECODE, fine, 0, 0, 16, "is empty"},
        {SF_PAGES, SF_DECODE, fine, 2, 0, 0, "at least 1"},
        {SF_PAGES, SF_PREFILL, fine, 2, 0, 16, "PAGES pattern does not serve in prefill"},
        {SF_BLOCKS, SF_DECODE, fine, 2, 0, 16, "BLOCKS pattern does not serve in decode"},
        {SF_COLUMNS_DIAGONALS, SF_DECODE, fine, 2, 0, 16, "does not serve in decode"},
        {SF_COLUMNS_DIAGONALS, SF_PREFILL, fine, 2, 0, 16, NULL},
        {SF_COLUMNS_DIAGONALS, SF_PREFILL, far, 2, 0, 16, "of columns"},
        {SF_BLOCKS, SF_PREFILL, fine, 2, 0, 16, "rows of key blocks"},
        {SF_BLOCKS, SF_PREFILL, fine, 2, 0, 40, NULL},
        {SF_BLOCKS, SF_PREFILL, fine, 2, 0, -1, "at least 1"},
        {SF_PATTERN_KINDS, SF_PREFILL, fine, 2, 0, 16, "nameless"},
        {SF_WINDOW, SF_DECODE, fine, 2, 0, 0, "not both 0"},
        {SF_DENSE, SF_DECODE, fine, 2, 0, 0, NULL},
    };
    EACH(v)
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        int heads = fault[i].heads ? fault[i].heads : a->kv_heads;
        sf_lists l = {.rows = heads, .stride = 2, .count = room((size_t)heads * 4), .index = room((size_t)heads * 8)};
        for (int r = 0; r < heads; r++) {
            l.count[r] = r == heads - 1 ? fault[i].count : 1;
            memcpy(l.index + 2 * r, r == heads - 1 ? fault[i].index : fine, 8);
        }
        sf_pattern p = {.kind = fault[i].kind,
                        .heads = heads,
                        .block_q = fault[i].page,
                        .block_k = fault[i].kind == SF_BLOCKS ? 1 : 0,
                        .page = fault[i].page,
                        .first = l,
                        .second = l};
        backend[v].phase = fault[i].phase;
        sf_status status = backend[v].ops->check_pattern(&backend[v], a, &p, "probe_method");
        if (fault[i].says) {
            if (status != SF_BAD_INPUT || !strstr(sf_error(), fault[i].says) || !strstr(sf_error(), "probe_method"))
                fail_msg("fault %zu: status %d, message '%s', expected '%s'", i, status, sf_error(), fault[i].says);
        } else if (status != SF_OK) {
            fail_msg("fault %zu: refused: %s", i, sf_error());
        }
        free_lists(l);
    }
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mass_and_probabilities),
        cmocka_unit_test(count_pairs),
        cmocka_unit_test(refuses_rows_without_keys),
        cmocka_unit_test(check_pattern),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
