/* Twin cases (tests/twins/twin.h). Estimation: probes, blocks, pages, components and what else scores keys. */
#ifndef SF_TWINS_ESTIMATION_H
#define SF_TWINS_ESTIMATION_H

#include "tests/twins/scenes.h"

static void probe_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    int w = ONE_OF(t, 0, 0, 0, 1) ? c.a[0].queries : in_range(t, 1, 150);
    sf_reduce reduce = (sf_reduce)in_range(t, 0, 2);
    int step = ONE_OF(t, 1, 1, 3, 20);
    bool columns = step > 1 || ONE_OF(t, 0, 1, 1), diagonals = step == 1 && (!columns || ONE_OF(t, 0, 1));
    snprintf(c.what + strlen(c.what), 60, " probe %d step %d reduce %d", w, step, reduce);
    int64_t n = (int64_t)c.a[0].heads * c.a[0].keys;
    void *column[2], *diagonal[2];
    for (int s = 0; s < 2; s++) {
        column[s] = columns ? room(t, s, (size_t)n * sizeof(float)) : NULL;
        diagonal[s] = diagonals ? room(t, s, (size_t)n * sizeof(float)) : NULL;
    }
    BOTH(t, probe(&t->b[s], &c.a[s], w, step, reduce, column[s], diagonal[s]));
    for (int i = 0; i < 2; i++) {
        if (!(i ? columns : diagonals)) continue;
        float *a = get(t, 0, i ? column[0] : diagonal[0], SF_F32, n),
              *b = get(t, 1, i ? column[1] : diagonal[1], SF_F32, n);
        agree(t, a, b, n, c.tolerance, c.what);
        free(a), free(b);
    }
    end_case(t, c.what);
}

static void blocks_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    c.a[0].window = c.a[1].window = 0;
    const sf_attention *a = &c.a[0];
    int block_q = ONE_OF(t, 1, 8, 16, 16, 64, 128), block_k = ONE_OF(t, 1, 8, 16, 16, 64, 128),
        heads = ONE_OF(t, 0, 1) ? a->heads : a->kv_heads;
    int queries = (a->queries + block_q - 1) / block_q, keys = (a->keys + block_k - 1) / block_k,
        k = in_range(t, 1, keys + 1);
    int sinks = in_range(t, 0, 2), local = in_range(t, 0, 2);
    snprintf(c.what + strlen(c.what), 90, " blocks %dx%d of %d heads, top %d, forced %d %d", block_q, block_k, heads, k,
             sinks, local);
    void *q[2], *m[2], *p[2];
    sf_lists out[2], mass[2];
    for (int s = 0; s < 2; s++) {
        q[s] = room(t, s, (size_t)a->heads * queries * a->head_dim * sizeof(float));
        m[s] = room(t, s, (size_t)a->kv_heads * keys * a->head_dim * sizeof(float));
        p[s] = room(t, s, (size_t)a->heads * queries * keys * sizeof(float));
    }
    BOTH(t, block_means(&t->b[s], &c.a[s], false, block_q, q[s]));
    BOTH(t, block_means(&t->b[s], &c.a[s], true, block_k, m[s]));
    for (int i = 0; i < 2; i++) {
        int64_t n = (int64_t)(i ? a->kv_heads * keys : a->heads * queries) * a->head_dim;
        float *x = get(t, 0, i ? m[0] : q[0], SF_F32, n), *y = get(t, 1, i ? m[1] : q[1], SF_F32, n);
        agree(t, x, y, n, 1e-5, c.what);
        free(x), free(y);
    }
    for (int s = 0; s < 2; s++)
        out[s] = empty_lists(t, s, (int64_t)heads * queries, keys + 2),
        mass[s] = empty_lists(t, s, (int64_t)heads * queries, keys + 2);
    BOTH(t, top_blocks(&t->b[s], &c.a[s], q[s], block_q, m[s], block_k, heads, k, sinks, local, &out[s]));
    lists_agree(t, out, true, c.what);
    if (t->b[1].activation == SF_F32) { /* means so few and so round that scores are exact in any order, and ties are ties */
        int64_t nq = (int64_t)a->heads * queries * a->head_dim, nk = (int64_t)a->kv_heads * keys * a->head_dim;
        float *round = malloc((size_t)(nq + nk) * sizeof *round);
        void *rq[2], *rk[2];
        for (int64_t i = 0; i < nq + nk; i++) round[i] = (float)in_range(t, -2, 2) / 2;
        for (int s = 0; s < 2; s++) {
            rq[s] = put(t, s, round, (size_t)nq * sizeof *round), rk[s] = put(t, s, round + nq, (size_t)nk * sizeof *round);
            out[s] = empty_lists(t, s, (int64_t)heads * queries, keys + 2);
        }
        BOTH(t, top_blocks(&t->b[s], &c.a[s], rq[s], block_q, rk[s], block_k, heads, k, sinks, local, &out[s]));
        lists_agree(t, out, false, c.what);
        free(round);
    }
    BOTH(t, block_probabilities(&t->b[s], &c.a[s], q[s], block_q, m[s], block_k, p[s]));
    int64_t n = (int64_t)a->heads * queries * keys;
    float *x = get(t, 0, p[0], SF_F32, n), *y = get(t, 1, p[1], SF_F32, n);
    agree(t, x, y, n, c.tolerance, c.what);
    free(x), free(y);
    BOTH(t, top_block_mass(&t->b[s], &c.a[s], block_q, block_k, heads, k, &mass[s]));
    lists_agree(t, mass, true, c.what);
    end_case(t, c.what);
}

static void pages_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, ONE_OF(t, 0, 0, 1), most_keys);
    const sf_attention *a = &c.a[0];
    int page = ONE_OF(t, 1, 4, 16, 16, 33), there = (a->keys + page - 1) / page, pages = there + in_range(t, 0, 5),
        first = in_range(t, 0, a->keys - 1);
    snprintf(c.what + strlen(c.what), 60, " page %d first %d", page, first);
    int64_t n = (int64_t)a->kv_heads * pages * a->head_dim;
    void *low[2], *high[2], *score[2], *p[2];
    for (int s = 0; s < 2; s++) {
        low[s] = room(t, s, (size_t)n * sizeof(float)), high[s] = room(t, s, (size_t)n * sizeof(float));
        score[s] = room(t, s, (size_t)a->kv_heads * there * sizeof(float)),
        p[s] = room(t, s, (size_t)a->heads * a->keys * sizeof(float));
    }
    BOTH(t, page_bounds(&t->b[s], &c.a[s], page, first, pages, low[s], high[s]));
    for (int i = 0; i < 2; i++) { /* pages before the first one stay poisoned on both sides */
        float *x = get(t, 0, i ? low[0] : high[0], SF_F32, n), *y = get(t, 1, i ? low[1] : high[1], SF_F32, n);
        agree(t, x, y, n, 0, c.what);
        free(x), free(y);
    }
    BOTH(t, page_bounds(&t->b[s], &c.a[s], page, 0, pages, low[s], high[s]));
    BOTH(t, page_scores(&t->b[s], &c.a[s], page, pages, low[s], high[s], score[s]));
    float *x = get(t, 0, score[0], SF_F32, (int64_t)a->kv_heads * there),
          *y = get(t, 1, score[1], SF_F32, (int64_t)a->kv_heads * there);
    agree(t, x, y, (int64_t)a->kv_heads * there, fmin(t->tolerance, 1e-4), c.what);
    free(x), free(y);
    BOTH(t, key_probabilities(&t->b[s], &c.a[s], p[s]));
    x = get(t, 0, p[0], SF_F32, (int64_t)a->heads * a->keys), y = get(t, 1, p[1], SF_F32, (int64_t)a->heads * a->keys);
    agree(t, x, y, (int64_t)a->heads * a->keys, c.tolerance, c.what);
    free(x), free(y);
    end_case(t, c.what);
}

static void scores_agree(twin *t, void *const at[2], int64_t n, double tolerance, const char *what)
{
    float *x = get(t, 0, at[0], SF_F32, n), *y = get(t, 1, at[1], SF_F32, n);
    agree(t, x, y, n, tolerance, what);
    free(x), free(y);
}

static void activations_agree(twin *t, void *const at[2], int64_t n, double tolerance, const char *what)
{
    float *x = get_activations(t, 0, at[0], n), *y = get_activations(t, 1, at[1], n);
    agree(t, x, y, n, tolerance, what);
    free(x), free(y);
}

static void antidiagonals_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    c.a[0].window = c.a[1].window = 0, c.a[0].softcap = c.a[1].softcap = 0;
    int stride = ONE_OF(t, 1, 3, 4, 8, 16), block = stride * ONE_OF(t, 1, 2, 4, 8);
    int64_t n = (int64_t)a->heads * ((a->queries + block - 1) / block) * ((a->keys + block - 1) / block);
    snprintf(c.what + strlen(c.what), 60, " antidiagonals block %d stride %d", block, stride);
    void *p[2];
    for (int s = 0; s < 2; s++) p[s] = room(t, s, (size_t)n * sizeof(float));
    BOTH(t, antidiagonals(&t->b[s], &c.a[s], block, stride, p[s]));
    scores_agree(t, p, n, c.tolerance, c.what);

    int segment = in_range(t, 1, a->queries);
    if (a->queries == a->keys) { /* and what stands for segments */
        int64_t m = a->keys / segment, size = a->kv_heads * m * a->head_dim;
        void *k[2], *v[2];
        for (int s = 0; s < 2; s++) k[s] = activation_room(t, s, size), v[s] = activation_room(t, s, size);
        BOTH(t, segment_summaries(&t->b[s], &c.a[s], segment, m, k[s], v[s]));
        activations_agree(t, k, size, c.tolerance, c.what);
        activations_agree(t, v, size, c.tolerance, c.what);
    }
    end_case(t, c.what);
}

/* Lists [G] of `r` of R components. */
static void component_lists(twin *t, int kv_heads, int R, int r, sf_lists at[2])
{
    int32_t *count = malloc((size_t)kv_heads * sizeof *count), *index = malloc((size_t)(kv_heads * r) * sizeof *index);
    for (int g = 0; g < kv_heads; g++) {
        count[g] = 0;
        for (int c = 0; c < R; c++)
            if (in_range(t, 0, R - c - 1) < r - count[g]) index[g * r + count[g]++] = c;
    }
    for (int s = 0; s < 2; s++)
        at[s] = (sf_lists){kv_heads, r, put(t, s, count, (size_t)kv_heads * sizeof *count),
                           put(t, s, index, (size_t)(kv_heads * r) * sizeof *index)};
    free(count), free(index);
}

static void components_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    c.a[0].window = c.a[1].window = 0, c.a[0].softcap = c.a[1].softcap = 0;
    int dim = a->head_dim, own = ONE_OF(t, 0, 1), R = own ? dim : in_range(t, 1, dim), r = in_range(t, 1, R), first = in_range(t, 0, a->keys);
    int64_t stride = a->keys + in_range(t, 0, 9), H = a->heads, G = a->kv_heads, N = a->keys;
    bool tempered = in_range(t, 0, 1), all = in_range(t, 0, 3) == 0;
    snprintf(c.what + strlen(c.what), 90, " components %d of %d%s%s first %d", r, R, own ? " own" : "", tempered ? " tempered" : "", first);
    void *basis[2] = {0}, *q[2], *k[2], *score[2], *sum[2];
    float *table = randoms(t, G * dim * R, .3f);
    sf_lists at[2], keys[2];
    component_lists(t, (int)G, R, r, at);
    component_lists(t, ONE_OF(t, 1, (int)G, (int)H), (int)N, in_range(t, 1, (int)N), keys);
    for (int s = 0; s < 2; s++) {
        if (!own) basis[s] = put(t, s, table, (size_t)(G * dim * R) * sizeof *table);
        q[s] = room(t, s, (size_t)(H * R) * sizeof(float)), k[s] = activation_room(t, s, G * R * stride);
        score[s] = room(t, s, (size_t)(H * N) * sizeof(float)), sum[s] = room(t, s, (size_t)(2 * H) * sizeof(float));
    }
    BOTH(t, components(&t->b[s], &c.a[s], false, basis[s], R, 0, 0, q[s]));
    BOTH(t, components(&t->b[s], &c.a[s], true, basis[s], R, first, stride, k[s]));
    activations_agree(t, k, G * R * stride, t->tolerance, c.what); /* columns before the first stay poisoned on both sides */
    BOTH(t, components(&t->b[s], &c.a[s], true, basis[s], R, 0, stride, k[s]));
    scores_agree(t, q, H * R, 1e-5, c.what);
    BOTH(t, component_scores(&t->b[s], &c.a[s], q[s], k[s], R, stride, all ? NULL : &at[s], tempered, score[s]));
    scores_agree(t, score, H * N, t->tolerance, c.what);
    float *same = randoms(t, H * N, 4);
    for (int64_t i = 0; i < H * N; i += in_range(t, 2, 9)) same[i] = -INFINITY;
    for (int s = 0; s < 2; s++) score[s] = put(t, s, same, (size_t)(H * N) * sizeof *same);
    BOTH(t, softmax_rows(&t->b[s], score[s], H, N));
    scores_agree(t, score, H * N, 1e-5, c.what);
    BOTH(t, sums_at(&t->b[s], score[s], H, N, &keys[s], sum[s]));
    scores_agree(t, sum, 2 * H, 1e-5, c.what);
    BOTH(t, magnitudes(&t->b[s], q[s], H, R));
    scores_agree(t, q, H * R, 1e-5, c.what);
    free(table), free(same);
    end_case(t, c.what);
}

static void pages_alone_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    c.a[0].window = c.a[1].window = 0;
    int page = ONE_OF(t, 1, 4, 16, 33), there = (a->keys + page - 1) / page, pages = there + in_range(t, 0, 3), whole = a->keys / page;
    int first = in_range(t, 0, whole), end = in_range(t, first, whole), most = in_range(t, 1, page + 1), from = in_range(t, 0, a->keys);
    int64_t n = (int64_t)a->kv_heads * pages * a->head_dim, width = (int64_t)a->kv_heads * a->head_dim, scores = (int64_t)a->kv_heads * a->keys;
    bool tempered = in_range(t, 0, 1);
    snprintf(c.what + strlen(c.what), 90, " page %d: %d best of %d to %d; values from %d", page, most, first, end, from);
    void *low[2], *high[2], *score[2], *mean[2], *sum[2], *of_values[2], *best[2];
    sf_lists at[2];
    component_lists(t, a->kv_heads, a->head_dim, in_range(t, 1, a->head_dim), at);
    float *by = malloc((size_t)scores * sizeof *by + 1);
    for (int64_t i = 0; i < scores; i++) by[i] = (float)in_range(t, -9, 9); /* with ties */
    for (int s = 0; s < 2; s++) {
        low[s] = room(t, s, (size_t)n * sizeof(float)), high[s] = room(t, s, (size_t)n * sizeof(float));
        mean[s] = room(t, s, (size_t)n * sizeof(float)), score[s] = room(t, s, (size_t)a->heads * there * sizeof(float));
        sum[s] = room(t, s, (size_t)width * sizeof(float)), of_values[s] = activation_room(t, s, width);
        best[s] = put(t, s, by, (size_t)scores * sizeof *by);
    }
    BOTH(t, page_bounds(&t->b[s], &c.a[s], page, 0, pages, low[s], high[s]));
    BOTH(t, page_component_scores(&t->b[s], &c.a[s], page, pages, low[s], high[s], &at[s], tempered, score[s]));
    scores_agree(t, score, (int64_t)a->heads * there, t->tolerance, c.what);
    BOTH(t, representatives(&t->b[s], &c.a[s], page, most, best[s], a->keys, first, end, pages, mean[s]));
    scores_agree(t, mean, n, 1e-5, c.what); /* other pages stay poisoned on both sides */
    BOTH(t, value_means(&t->b[s], &c.a[s], 0, sum[s], of_values[s]));
    BOTH(t, value_means(&t->b[s], &c.a[s], from, sum[s], of_values[s])); /* some twice */
    scores_agree(t, sum, width, 1e-4, c.what);
    activations_agree(t, of_values, width, t->tolerance, c.what);
    free(by);
    end_case(t, c.what);
}

static void same_floats(twin *t, float *const x[2], int64_t n, double tolerance, const char *what)
{
    float *want = get(t, 0, x[0], SF_F32, n), *got = get(t, 1, x[1], SF_F32, n);
    agree(t, want, got, n, tolerance, what);
    free(want), free(got);
}

static void float_rooms(twin *t, int64_t n, float *out[2])
{
    for (int s = 0; s < 2; s++) out[s] = room(t, s, (size_t)(n + 1) * sizeof(float));
}

/* Prefill over keys of ordinary values, each side's. */
static void plain_attention(twin *t, int kv_heads, int group, int dim, int keys, int window, sf_attention a[2])
{
    sf_kv_part prompt[2];
    make_part(t, kv_heads, dim, keys, false, PLAIN, prompt);
    int64_t n = (int64_t)keys * kv_heads * group * dim;
    float *q = make_queries(t, n, PLAIN);
    for (int s = 0; s < 2; s++)
        a[s] = (sf_attention){.backend = &t->b[s], .layers = 1, .heads = kv_heads * group, .kv_heads = kv_heads, .head_dim = dim, .queries = keys,
                              .keys = keys, .window = window, .scale = scene_scale(dim, PLAIN), .q = put_activations(t, s, q, n),
                              .kv = {.prompt = prompt[s], .dtype = t->b[s].activation}};
    free(q);
}

/* Probes of so many rows and heads that a device takes rows in strips; a segment that no shared memory holds. */
static void long_probe_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    sf_attention a[2];
    float *column[2];
    const int segment = 13000, dim = 16;
    void *k[2], *v[2];
    plain_attention(t, 8, 8, dim, 4096, ONE_OF(t, 100, 333), a);
    float_rooms(t, (int64_t)a[0].heads * a[0].keys, column);
    BOTH(t, probe(&t->b[s], &a[s], a[s].queries, 1, SF_SUM, column[s], NULL));
    same_floats(t, column, (int64_t)a[0].heads * a[0].keys, t->tolerance, "columns of every query");

    plain_attention(t, 1, 2, dim, segment + 7, 0, a);
    for (int s = 0; s < 2; s++) k[s] = activation_room(t, s, dim), v[s] = activation_room(t, s, dim);
    BOTH(t, segment_summaries(&t->b[s], &a[s], segment, 1, k[s], v[s]));
    activations_agree(t, k, dim, t->tolerance, "a long segment's key");
    activations_agree(t, v, dim, t->tolerance, "a long segment's value");
    end_case(t, "long probe");
}

#endif
