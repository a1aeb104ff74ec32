/* Twin test of the cpu backend: searches within a density, against those that do without. See tests/backend_world.h. */
#include "tests/backend_world.h"

/* Columns and diagonals within a density: by fit_slashes(), and by the search that does without. */
static void fit_slashes(void **unused)
{
    (void)unused;
    CASES("fit_slashes", 60)
    {
        int queries = PICK(1, 3, 64, 90, 140), keys = queries + (below(2) ? 0 : PICK(1, 50)), kind = below(3);
        world w = random_world(PLAIN, queries, keys, 0, below(8) == 0, below(8) ? 0 : 30);
        int rows = below(2) ? w.a.heads : w.a.kv_heads;
        double density = below(1001) / 1000.;
        float *x[2];
        for (int i = 0; i < 2; i++) {
            x[i] = random_floats((int64_t)rows * keys, kind ? PLAIN : TIED);
            for (int j = 0; kind == 2 && j < rows * keys / 4; j++)
                x[i][below(rows * keys)] = below(3) ? INFINITY : below(2) ? -INFINITY : NAN;
        }
        sf_pattern got[BACKENDS];
        sf_mark mark[BACKENDS];
        tell("; rows %d, density %g, score kind %d", rows, density, kind);
        EACH(v)
        {
            sf_attention a = w.a;
            a.backend = &backend[v];
            mark[v] = sf_scratch_mark(&backend[v]);
            sf_tensor column = {.dtype = SF_F32, .rank = 2, .dim = {rows, keys}, .data = x[0]}, diagonal = column;
            diagonal.data = x[1];
            OK(sf_columns_and_diagonals_within(&a, &got[v], column, diagonal, density));
            if (got[v].first.stride != got[REFERENCE].first.stride ||
                got[v].second.stride != got[REFERENCE].second.stride)
                fail_msg("%s: %lld columns and %lld diagonals, expected %lld and %lld", about,
                         (long long)got[v].first.stride, (long long)got[v].second.stride,
                         (long long)got[REFERENCE].first.stride, (long long)got[REFERENCE].second.stride);
            same_bits("counts", got[v].first.count, got[REFERENCE].first.count, (size_t)rows * 4);
        }
        same_meters();
        EACH(v) sf_scratch_release(&backend[v], mark[v]);
        free(x[0]), free(x[1]);
        free_world(&w);
    }
}

static const float *given[2]; /* what a probe finds */

static sf_status probe_given(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce, float *column,
                             float *diagonal)
{
    (void)b, (void)window, (void)step, (void)reduce;
    memcpy(column, given[0], (size_t)a->heads * (size_t)a->keys * sizeof *column);
    memcpy(diagonal, given[1], (size_t)a->heads * (size_t)a->keys * sizeof *diagonal);
    return SF_OK;
}

/* Scores as probes give them, with ties, hardly any and all below 0, or anything. */
static float any_score(int kind)
{
    if (kind == 0) return expf(3 * normal());
    if (kind == 1) return (float)PICK(0, 1, 1, 2, 5) * 0.1f;
    if (kind == 2) return below(40) ? NAN : -expf(normal());
    return below(6) ? normal() : below(3) ? -0.0f : below(2) ? INFINITY : below(2) ? -INFINITY : NAN;
}

/* FlexPrefill within a density: by fit_masses(), and by the search that does without; the reference takes its time. */
static void fit_masses(void **unused)
{
    (void)unused;
    extern const sf_method sf_flex_prefill;
    CASES("fit_masses", 150)
    {
        int queries = PICK(1, 3, 64, 90, 333), keys = queries + (below(2) ? 0 : PICK(1, 50, 300)), kind = i_ % 4;
        world w = random_world(PLAIN, queries, keys, 0, below(8) == 0, below(8) ? 0 : 30);
        int64_t n = (int64_t)w.a.heads * keys;
        double causal = w.a.heads * sf_causal_pairs(queries, keys), density = uniform() * (below(2) ? 1 : uniform());
        if (below(2)) density = floor(density * causal) / causal; /* may be met exactly */
        if (density <= 0 || below(20) == 0) density = below(2) ? 1 : 1e-6;
        int least = PICK(1, 2, 5, 512), sinks = PICK(0, 1, 4), local = PICK(1, 10, 64);
        double params[16];
        for (const sf_param *p = sf_flex_prefill.params; p->name; p++) {
            void *at = (char *)params + p->offset;
            if (p->type == SF_REAL) *(double *)at = strcmp(p->name, "density") ? p->initial : density;
            if (p->type == SF_INT)
                *(int *)at = !strcmp(p->name, "min_budget") ? least : !strcmp(p->name, "sinks") ? sinks : local;
        }
        float *x[2] = {floats(n), floats(n)};
        for (int64_t i = 0; i < n; i++) x[0][i] = any_score(kind), x[1][i] = any_score(kind);
        given[0] = x[0], given[1] = x[1];
        tell("; density %g, least %d, forced %d %d, score kind %d", density, least, sinks, local, kind);
        const struct {
            int v;
            bool search;
        } way[] = {{CPU, true}, {CPU, false}, {CPU_ONE, false}, {REFERENCE, true}};
        sf_pattern want = {0};
        sf_mark mark[BACKENDS];
        EACH(v) mark[v] = sf_scratch_mark(&backend[v]);
        for (int i = 0; i < 4 - (keys > 100); i++) {
            sf_backend b = backend[way[i].v];
            sf_backend_ops ops = *b.ops;
            b.ops = &ops, b.meter = &meter[way[i].search ? 0 : 1];
            memset(b.meter, 0, sizeof *b.meter);
            ops.probe = probe_given;
            if (way[i].search) ops.fit_masses = NULL;
            sf_attention a = w.a;
            a.backend = &b;
            sf_pattern got = {0};
            OK(sf_flex_prefill.prefill(&a, params, &got));
            if (i == 0) want = got;
            assert_int_equal(got.kind, want.kind);
            if (got.kind == SF_COLUMNS_DIAGONALS)
                same_lists(got.first, want.first), same_lists(got.second, want.second);
            if (i > 0) same_bits("meter", &meter[1], &meter[0], sizeof *meter);
        }
        EACH(v) sf_scratch_release(&backend[v], mark[v]);
        free(x[0]), free(x[1]);
        free_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_slashes),
        cmocka_unit_test(fit_masses),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
