/* Twin cases (tests/twins/twin.h). Choosing by estimates: samples, budgets, walks, lists, indexers, hashes, clusters. */
#ifndef SF_TWINS_CHOOSING_H
#define SF_TWINS_CHOOSING_H

#include "tests/twins/estimation.h"

static void list_rooms(twin *t, int64_t rows, int64_t stride, sf_lists out[2])
{
    for (int s = 0; s < 2; s++)
        out[s] = (sf_lists){rows, stride, room(t, s, (size_t)rows * sizeof(int32_t)), room(t, s, (size_t)(rows * stride + 1) * sizeof(int32_t))};
}

/* Samples of one query's keys, and keys in 4 bits. What was drawn and what is taken anyhow (forced) is the same on both sides. */
static void samples_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    int64_t heads = a->heads, n = a->keys, words = (a->head_dim + 7) / 8, most = n + in_range(t, 0, 9);
    int sure = in_range(t, 0, (int)n), listed = in_range(t, sure, (int)n), first = in_range(t, 0, 40);
    uint64_t stream = next_random(t);
    float *x[2], *weight[2], *priority[2], *bias[2], *p[2], *range[2], *wide[2];
    int32_t *code[2], *count[2], *member[2];
    sf_moments *moment[2];
    sf_lists at[2];
    float_rooms(t, heads * n, x), float_rooms(t, heads * n, weight), float_rooms(t, heads * n, priority), float_rooms(t, heads * n, p);
    float_rooms(t, heads * listed, bias), float_rooms(t, a->kv_heads * most * 2, range), float_rooms(t, heads * n, wide);
    list_rooms(t, heads, listed, at);
    for (int s = 0; s < 2; s++) {
        code[s] = room(t, s, (size_t)(a->kv_heads * most * words) * sizeof(int32_t));
        count[s] = room(t, s, (size_t)heads * sizeof(int32_t)), moment[s] = room(t, s, (size_t)heads * sizeof(sf_moments));
    }

    BOTH(t, draw(&t->b[s], stream, first, heads, n, NULL, weight[s]));
    BOTH(t, draw(&t->b[s], stream + 1, first, heads, n, weight[s], priority[s]));
    BOTH(t, draw(&t->b[s], stream + 2, first, heads, n, NULL, x[s]));
    same_floats(t, weight, heads * n, 0, c.what), same_floats(t, priority, heads * n, 0, c.what);
    BOTH(t, fill(&t->b[s], x[s], heads, n, n - sure, n, INFINITY));
    BOTH(t, top(&t->b[s], x[s], heads, n, listed, &at[s]));
    BOTH(t, sample_bias(&t->b[s], x[s], NULL, heads, n, &at[s], bias[s]));
    same_floats(t, bias, heads * listed, 1e-6, c.what);
    BOTH(t, top(&t->b[s], priority[s], heads, n, listed, &at[s]));
    BOTH(t, sample_bias(&t->b[s], priority[s], weight[s], heads, n, &at[s], bias[s]));
    same_floats(t, bias, heads * listed, 1e-6, c.what);

    BOTH(t, top(&t->b[s], x[s], heads, n, listed, &at[s]));
    for (int v = SF_DENOMINATOR; v <= SF_DENOMINATOR_AND_NUMERATOR; v++) {
        sf_promise promise = {.error = ONE_OF(t, 1, 5, 20) * 0.01, .z = 1.96, .verified = (sf_verified)v};
        int32_t sizes[2][64];
        bool values = v != SF_DENOMINATOR;
        int rotated = t->b[1].ops->latent ? ONE_OF(t, 0, 0, 2, a->head_dim - 1) : 0;
        for (int s = 0; s < 2; s++) c.a[s].rotated = rotated;
        BOTH(t, key_norms(&t->b[s], &c.a[s], true, wide[s]));
        same_floats(t, wide, a->kv_heads * n, t->tolerance, c.what);
        BOTH(t, sample_moments(&t->b[s], &c.a[s], x[s], &at[s], values, moment[s]));
        BOTH(t, sample_sizes(&t->b[s], moment[s], heads, promise, -1, count[s]));
        for (int s = 0; s < 2; s++) fetch(t, s, sizes[s], count[s], (size_t)heads * sizeof(int32_t));
        for (int h = 0; h < heads; h++) /* logits differ by rounding, the larger they are the more */
            if (abs(sizes[0][h] - sizes[1][h]) > 1 + 2e-2 * (t->b[1].activation == SF_F32 && a->scale < 1 ? 0.01 : 1) * (double)n)
                fail_msg("%s: head %d of %d sure, %d listed: a sample of %d, expected %d", c.what, h, sure, listed, sizes[1][h], sizes[0][h]);
    }
    for (int s = 0; s < 2; s++) c.a[s].rotated = 0;

    BOTH(t, pack_keys(&t->b[s], &c.a[s], 0, most, code[s], range[s]));
    same_floats(t, range, a->kv_heads * most * 2, 0, c.what);
    int32_t *packed[2];
    for (int s = 0; s < 2; s++) packed[s] = malloc((size_t)(a->kv_heads * most * words) * sizeof(int32_t)), fetch(t, s, packed[s], code[s], (size_t)(a->kv_heads * most * words) * sizeof(int32_t));
    assert_memory_equal(packed[0], packed[1], (size_t)(a->kv_heads * most * words) * sizeof(int32_t));
    free(packed[0]), free(packed[1]);
    BOTH(t, packed_probabilities(&t->b[s], &c.a[s], most, code[s], range[s], NULL, p[s]));
    same_floats(t, p, heads * n, c.tolerance, c.what);
    BOTH(t, packed_probabilities(&t->b[s], &c.a[s], most, code[s], range[s], &at[s], p[s]));
    same_floats(t, p, heads * n, c.tolerance, c.what);

    int page = ONE_OF(t, 1, 3, 16);
    int32_t of[64 * 3];
    BOTH(t, spread(&t->b[s], weight[s], heads, n, page, NULL, 1, 0, n, wide[s]));
    same_floats(t, wide, heads * n, 0, c.what);
    int64_t short_n = n < 64 ? n : 64;
    for (int64_t i = 0; i < a->kv_heads * short_n; i++) of[i] = in_range(t, -1, (int)n - 1);
    for (int s = 0; s < 2; s++) member[s] = put(t, s, of, (size_t)(a->kv_heads * short_n) * sizeof *of);
    BOTH(t, spread(&t->b[s], weight[s], heads, n, 1, member[s], a->kv_heads, short_n, short_n, wide[s]));
    same_floats(t, wide, heads * short_n, 0, c.what);
    end_case(t, c.what);
}

/* As much as a budget allows: of rows by mass, some of whose entries weigh more than one or lie outside; of samples by their error. */
static void budgets_case(twin *t, uint64_t seed, int most_wanted)
{
    begin_case(t, seed);
    char what[256];
    int rows = in_range(t, 1, most_wanted > 1000 ? 3 : 40), n = in_range(t, 1, most_wanted), kind = in_range(t, 0, 3);
    bool weighed = in_range(t, 0, 1), asked = in_range(t, 0, 1);
    double share = ONE_OF(t, 0, 5, 8, 10, 10) * 0.1;
    int64_t least = ONE_OF(t, 0, 1, 3), cells = (int64_t)rows * n, all = 0;
    float *x = malloc((size_t)cells * sizeof *x), *weight = malloc((size_t)cells * sizeof *weight);
    for (int64_t i = 0; i < cells; i++) {
        x[i] = kind == 1 ? (float)in_range(t, 0, 4) : expf(ONE_OF(t, 1, 4) * normal(t)); /* ties */
        if (kind == 2 && in_range(t, 0, 5) == 0) x[i] = ONE_OF(t, 0, 1) ? INFINITY : NAN;
        if (kind == 3 && in_range(t, 0, 5) == 0) x[i] = ONE_OF(t, 0, 1) ? -INFINITY : 0;
        weight[i] = in_range(t, 0, 9) ? (float)in_range(t, 0, 60) : 8.75651e-27f; /* as of a cluster without keys */
        all += weighed ? llrintf(weight[i]) : 1;
    }
    int64_t most = ONE_OF(t, -1, 0, 1, 2, 2, 2, 2, 2);
    if (most == 2) most = (int64_t)((double)all * in_range(t, 0, 1000) / 1000);
    snprintf(what, sizeof what, "seed %llu: budgets rows %d n %d kind %d, %s, share %g, least %d, most %lld of %lld", (unsigned long long)seed,
             rows, n, kind, weighed ? "weighed" : "counted", share, (int)least, (long long)most, (long long)all);
    float *from[2], *weighs[2];
    int32_t *count[2], *whole[2], *found[2][2];
    for (int s = 0; s < 2; s++) {
        from[s] = put(t, s, x, (size_t)cells * sizeof *x), weighs[s] = put(t, s, weight, (size_t)cells * sizeof *x);
        count[s] = room(t, s, (size_t)rows * sizeof(int32_t)), whole[s] = room(t, s, (size_t)rows * sizeof(int32_t));
    }
    BOTH(t, top_mass_within(&t->b[s], from[s], rows, n, weighed ? weighs[s] : NULL, share, least, most, count[s], asked ? whole[s] : NULL));
    for (int i = 0; i < 1 + asked; i++) {
        for (int s = 0; s < 2; s++) fetch(t, s, found[i][s] = malloc((size_t)rows * sizeof(int32_t)), i ? whole[s] : count[s], (size_t)rows * sizeof(int32_t));
        for (int r = 0; r < rows; r++)
            if (found[i][0][r] != found[i][1][r])
                fail_msg("%s: row %d takes %d%s, expected %d", what, r, found[i][1][r], i ? " in all" : "", found[i][0][r]);
        free(found[i][0]), free(found[i][1]);
    }
    free(x), free(weight);

    sf_moments *moment = calloc((size_t)rows, sizeof *moment), *of[2];
    sf_promise promise = {.error = ONE_OF(t, 1, 5, 20) * 0.01, .z = 1.96, .verified = (sf_verified)in_range(t, SF_DENOMINATOR, SF_DENOMINATOR_AND_NUMERATOR)};
    int64_t nothing = 0;
    all = 0;
    for (int r = 0; r < rows; r++) {
        sf_moments *m = &moment[r];
        m->others = in_range(t, 2, 5000), m->taken = in_range(t, 0, 400), m->drawn = in_range(t, 2, (int)m->others);
        m->total = expf(3 * normal(t)), m->variance = in_range(t, 0, 5) ? expf(4 * normal(t)) * 1e-6 : 0;
        m->length = expf(3 * normal(t)), m->trace = expf(4 * normal(t)) * 1e-5;
        all += (int64_t)(m->taken + m->others), nothing += sf_sample_size(m, sf_promise_at(promise, 0));
    }
    most = in_range(t, 0, 5) ? nothing + (int64_t)((double)(all - nothing) * in_range(t, 0, 1000) / 1000) : -1;
    for (int s = 0; s < 2; s++) of[s] = put(t, s, moment, (size_t)rows * sizeof *moment);
    BOTH(t, sample_sizes(&t->b[s], of[s], rows, promise, most, count[s]));
    int64_t read[2] = {0, 0};
    for (int s = 0; s < 2; s++) fetch(t, s, found[0][s] = malloc((size_t)rows * sizeof(int32_t)), count[s], (size_t)rows * sizeof(int32_t));
    for (int r = 0; r < rows; r++) { /* a device may fuse a product with a sum */
        for (int s = 0; s < 2; s++) read[s] += found[0][s][r];
        if (abs(found[0][0][r] - found[0][1][r]) > 1 + 1e-4 * moment[r].others)
            fail_msg("%s: row %d, at most %lld: a sample of %d, expected %d", what, r, (long long)most, found[0][1][r], found[0][0][r]);
    }
    if (most >= 0 && (read[0] > most || read[1] > most)) fail_msg("%s: %lld or %lld of at most %lld keys", what, (long long)read[0], (long long)read[1], (long long)most);
    free(found[0][0]), free(found[0][1]), free(moment);
    end_case(t, what);
}

/* Three steps of a walk over blocks, some of which have not set out; scores as inner products are. */
static void walks_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    int64_t n = in_range(t, 1, most), m = in_range(t, 1, 90), k = in_range(t, 1, 140);
    int power = ONE_OF(t, 1, 2, 3, 8, 11);
    char what[120];
    snprintf(what, sizeof what, "seed %llu: walks over %d blocks, power %d; %d x %d of %d", (unsigned long long)seed, (int)n, power, (int)m, (int)n, (int)k);
    float *x = randoms(t, m * k, 1), *w = randoms(t, n * k, 1), *walk = randoms(t, n * n, 1), *score[2], *walked[2], *y[2];
    for (int64_t i = 0; i < n; i++)
        if (in_range(t, 0, 2) == 0) memset(walk + i * n, 0, (size_t)n * sizeof *walk);
    float_rooms(t, m * n, y);
    for (int s = 0; s < 2; s++) {
        float *rows = put(t, s, x, (size_t)(m * k) * sizeof *x), *columns = put(t, s, w, (size_t)(n * k) * sizeof *w);
        OK(t, s, t->b[s].ops->inner_products(&t->b[s], rows, columns, m, n, k, y[s]));
        walked[s] = put(t, s, walk, (size_t)(n * n) * sizeof *walk);
    }
    scores_agree(t, (void *const *)y, m * n, 1e-5, what);
    for (int step = 0; step < 3; step++) {
        float *map = randoms(t, n * n, in_range(t, 0, 9) ? 1e3f : 0);
        for (int s = 0; s < 2; s++) score[s] = put(t, s, map, (size_t)(n * n) * sizeof *map);
        BOTH(t, walk(&t->b[s], n, score[s], power, walked[s]));
        scores_agree(t, (void *const *)walked, n * n, 1e-5, what);
        free(map);
    }
    free(x), free(w), free(walk);
    end_case(t, what);
}

/* Lists and counts made of others: budgets, rows alike, unions of blocks, melted tiles, draws. The host's fillings have their loops in
 * common; those are held to the golden values of the methods that take them, and here to another number of threads. */
static void lists_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    char what[160];
    int heads = in_range(t, 1, 9), n = in_range(t, 1, most), keys = in_range(t, 1, 8 * most), queries = ONE_OF(t, keys, keys, in_range(t, 1, keys));
    int rows = in_range(t, 1, 70), width = in_range(t, 1, 2 * most);
    bool marked = in_range(t, 0, 1), paired = in_range(t, 0, 1);
    snprintf(what, sizeof what, "seed %llu: lists of %d heads, %d blocks%s, %d queries of %d keys", (unsigned long long)seed, heads, n, paired ? " and pairs" : "", queries, keys);

    sf_budgets how = {.each = in_range(t, 1, 64), .more = in_range(t, 0, 1), .least = in_range(t, 0, 9), .marked = in_range(t, 0, 1), .fixed = in_range(t, 0, 9)};
    how.most = how.least + in_range(t, 0, 90);
    int32_t *count = malloc((size_t)rows * sizeof *count), *mark = malloc((size_t)rows * sizeof *mark), scalar[2][3] = {{0}}, longest[2];
    for (int r = 0; r < rows; r++) count[r] = in_range(t, 0, 3000), mark[r] = in_range(t, 0, 1);
    float *x = randoms(t, (int64_t)rows * width, 1), *y = malloc((size_t)rows * width * sizeof *y);
    for (int r = 0; r < rows; r++) { /* shares that are near to each other, far, or the same; some are 0 */
        float apart = (float)ONE_OF(t, 0, 1, 3) * 0.3f, sum = 0;
        for (int i = r * width; i < (r + 1) * width; i++) {
            float e = in_range(t, 0, 9) ? expf(x[i]) : 0;
            y[i] = in_range(t, 0, 9) || apart == 0 ? 7 * e * expf(apart * normal(t)) : 0;
            x[i] = e, sum += e;
        }
        if (sum == 0) sum = x[r * width] = y[r * width] = 1;
        for (int i = r * width; i < (r + 1) * width; i++) x[i] /= sum;
        if (!(y[r * width] > 0)) y[r * width] = 1e-3f;
    }
    sf_lists column[2], diagonal[2], pair[2], out[2], far[2], back[2];
    random_lists(t, heads, n, 0, column), random_lists(t, heads, n, 0, diagonal), random_lists(t, heads, n * n, 0, pair);
    random_lists(t, heads, keys, 0, far), random_lists(t, heads, keys, in_range(t, 0, 3), back);
    sf_drawn draws = {.stream = next_random(t), .salt = next_random(t), .each = ONE_OF(t, 1, n), .sinks = in_range(t, 0, 3), .local = in_range(t, 1, 4),
                      .drawn = in_range(t, 0, n), .until = ONE_OF(t, INT_MAX, in_range(t, 0, n)), .whole = ONE_OF(t, INT_MAX, in_range(t, 1, n))};
    draws.seen = draws.each == n ? 1 : n;
    int first = in_range(t, 0, 40), tiles = (queries + SF_DIAGONAL_TILE - 1) / SF_DIAGONAL_TILE;
    double below = ONE_OF(t, 0, 1, 2, 10) * 0.1;

    {
        int32_t *from[2], *marks[2], *to[2], *got[2];
        for (int s = 0; s < 2; s++) {
            from[s] = put(t, s, count, (size_t)rows * sizeof *count), marks[s] = put(t, s, mark, (size_t)rows * sizeof *mark);
            to[s] = room(t, s, (size_t)rows * sizeof *count);
        }
        BOTH(t, budgets(&t->b[s], from[s], rows, &how, marked ? marks[s] : NULL, to[s], &scalar[s][0]));
        for (int s = 0; s < 2; s++) fetch(t, s, got[s] = malloc((size_t)rows * sizeof *count), to[s], (size_t)rows * sizeof *count);
        for (int r = 0; r < rows; r++) {
            int32_t want = (int32_t)fmax(how.least, fmin(how.most, floor((double)count[r] / how.each) + how.more));
            if (marked && mark[r] == how.marked) want = how.fixed;
            for (int s = 0; s < 2; s++)
                if (got[s][r] != want) fail_msg("%s: row %d gets %d, expected %d", what, r, got[s][r], want);
        }
        free(got[0]), free(got[1]);
    }
    {
        float *p[2], *q[2];
        int32_t *to[2], *got[2];
        for (int s = 0; s < 2; s++) {
            p[s] = put(t, s, x, (size_t)rows * width * sizeof *x), q[s] = put(t, s, y, (size_t)rows * width * sizeof *y);
            to[s] = room(t, s, (size_t)rows * sizeof *count), got[s] = malloc((size_t)rows * sizeof *count);
        }
        BOTH(t, rows_alike(&t->b[s], p[s], q[s], rows, width, below, to[s], &scalar[s][1]));
        for (int s = 0; s < 2; s++) fetch(t, s, got[s], to[s], (size_t)rows * sizeof *count);
        if (memcmp(got[0], got[1], (size_t)rows * sizeof *count)) fail_msg("%s: rows alike below %g differ", what, below);
        free(got[0]), free(got[1]);
    }
    {
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, (int64_t)heads * n, n);
        BOTH(t, unite_blocks(&t->b[s], n, &column[s], &diagonal[s], paired ? &pair[s] : NULL, &out[s]));
        lists_agree(t, out, false, what);
    }
    {
        sf_attention a = {.queries = queries, .keys = keys};
        for (int s = 0; s < 2; s++) out[s] = (sf_lists){.count = room(t, s, (size_t)heads * tiles * sizeof(int32_t))};
        BOTH(t, merge_tiles(&t->b[s], &a, &far[s], &back[s], &out[s], &longest[s]));
        assert_int_equal(longest[1], longest[0]);
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, (int64_t)heads * tiles, longest[s] + 1);
        BOTH(t, merge_tiles(&t->b[s], &a, &far[s], &back[s], &out[s], &scalar[s][2]));
        assert_int_equal(scalar[0][2], longest[0]);
        lists_agree(t, out, false, what);
    }
    {
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, (int64_t)heads * draws.each, n);
        BOTH(t, draw_blocks(&t->b[s], &draws, first, heads, &out[s]));
        lists_agree(t, out, false, what);
    }
    assert_memory_equal(scalar[0], scalar[1], sizeof scalar[0]);
    free(count), free(mark), free(x), free(y);
    end_case(t, what);
}

/* Scores of an indexer, where a filling has them; the last row by itself is, to the bit, what it is among others. Numbers that bf16 has are
 * exact in a filling that rounds, but for sums; others are rounded to 11 bits there: 0.14 to 1.1 thousandths of what these cases give. The 8 bits of
 * bf16 are 1 to 8. */
static void indexer_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    if (!t->b[1].ops->index_scores) return;
    const int64_t rows = in_range(t, 1, most), first = in_range(t, 0, 1) ? in_range(t, 0, most) : 0, n = first + rows;
    const int heads = ONE_OF(t, 1, 2, 4, 5, 8, 12, 32, 64, 130), dim = ONE_OF(t, 1, 8, 24, 64, 100, 128, 200);
    const bool fine = in_range(t, 0, 1);
    char what[120];
    snprintf(what, sizeof what, "seed %llu: an indexer, %d rows behind %d, %d heads of %d%s", (unsigned long long)seed, (int)rows, (int)first, heads, dim,
             fine ? ", fine" : "");
    float *x[] = {randoms(t, rows * heads * dim, 1), randoms(t, rows * heads, 1), randoms(t, n * dim, 1)}, *score[2], *alone;
    const int64_t of[] = {rows * heads * dim, rows * heads, n * dim};
    for (int i = 0; i < 3 && fine; i++) /* of any size, row by row */
        for (int64_t at = 0; at < of[i]; at++) x[i][at] = normal(t) * (i == 1 ? 1 : ldexpf(1, (int)(at / dim % 40) - 20));
    float *at[2][3];
    float_rooms(t, rows * n, score);
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < 3; i++) at[s][i] = put(t, s, x[i], (size_t)of[i] * sizeof(float));
    BOTH(t, index_scores(&t->b[s], rows, heads, dim, first, at[s][0], at[s][1], at[s][2], score[s]));
    scores_agree(t, (void *const *)score, rows * n, !sf_rounds(&t->b[1]) ? 1e-5 : fine ? 2e-3 : 3e-5, what);
    alone = room(t, 1, (size_t)n * sizeof *alone);
    for (int s = 0; s < 2; s++) /* both count it */
        OK(t, s, t->b[s].ops->index_scores(&t->b[s], 1, heads, dim, n - 1, at[s][0] + (rows - 1) * heads * dim, at[s][1] + (rows - 1) * heads, at[s][2],
                                           s ? alone : score[0]));
    float *one = get(t, 1, alone, SF_F32, n), *all = get(t, 1, score[1], SF_F32, rows * n);
    if (memcmp(one, all + (rows - 1) * n, (size_t)n * sizeof *one) != 0) fail_msg("%s: the last row alone is another", what);
    free(one), free(all);
    for (int i = 0; i < 3; i++) free(x[i]);
    end_case(t, what);
}

/* Keys hashed, and what a query meets. A bit hangs on the sign of a sum, so that few codes may differ by rounding. */
static void hashes_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    sf_hash hash = {.bits = in_range(t, 1, 16), .tables = in_range(t, 1, 9), .least = in_range(t, 1, 2), .begin = in_range(t, 0, a->keys - 1)};
    hash.end = in_range(t, hash.begin + 1, a->keys);
    int64_t planes = (int64_t)hash.bits * hash.tables * a->head_dim, most = a->keys + in_range(t, 0, 9), words = (hash.tables + 1) / 2,
            codes = a->kv_heads * most * words, n = (int64_t)a->heads * a->keys;
    uint64_t stream = next_random(t);
    float *plane[2], *centre[2], *x[2], *picked[2];
    int32_t *code[2], *host[2];
    sf_lists at[2];
    float_rooms(t, planes, plane), float_rooms(t, (int64_t)a->kv_heads * a->head_dim, centre), float_rooms(t, n, x), float_rooms(t, n, picked);
    list_rooms(t, a->heads, a->keys, at);
    for (int s = 0; s < 2; s++) code[s] = room(t, s, (size_t)codes * sizeof(int32_t));
    BOTH(t, normals(&t->b[s], stream, planes, plane[s]));
    same_floats(t, plane, planes, 0, c.what);
    BOTH(t, hash_keys(&t->b[s], &c.a[s], &hash, plane[s], most, centre[s], code[s]));
    same_floats(t, centre, (int64_t)a->kv_heads * a->head_dim, 1e-6, c.what);
    int64_t apart = 0, all = (int64_t)a->kv_heads * (hash.end - hash.begin) * hash.bits * hash.tables;
    for (int s = 0; s < 2; s++) host[s] = malloc((size_t)codes * sizeof(int32_t)), fetch(t, s, host[s], code[s], (size_t)codes * sizeof(int32_t));
    for (int64_t i = 0; i < codes; i++) apart += __builtin_popcount((unsigned)(host[0][i] ^ host[1][i]));
    if (apart > 1 + all / 10000 && hash.end - hash.begin > 1) /* a key alone is its own mean: all sums are 0 */
        fail_msg("%s: %lld of %lld bits of codes differ", c.what, (long long)apart, (long long)all);
    for (int s = 0; s < 2; s++) OK(t, s, t->b[s].ops->upload(&t->b[s], code[s], host[0], (size_t)codes * sizeof(int32_t)));
    free(host[0]), free(host[1]);
    BOTH(t, hash_matches(&t->b[s], &c.a[s], &hash, plane[s], most, centre[s], code[s], x[s]));
    float *want = get(t, 0, x[0], SF_F32, n), *got = get(t, 1, x[1], SF_F32, n);
    int64_t met = 0, other = 0;
    for (int64_t i = 0; i < n; i++) {
        met += want[i] != -INFINITY;
        other += (want[i] == -INFINITY) != (got[i] == -INFINITY) || (want[i] != -INFINITY && fabsf(want[i] - got[i]) > 2e-3f);
    }
    if (other > 1 + met / 200) fail_msg("%s: %lld of %lld keys are met or weigh otherwise", c.what, (long long)other, (long long)met);
    free(want), free(got);
    BOTH(t, top(&t->b[s], plane[s], 1, planes < a->keys ? planes : a->keys, 5, &at[s]));
    for (int s = 0; s < 2; s++) at[s].rows = 1;
    BOTH(t, pick_at(&t->b[s], plane[s], 1, planes, &at[s], picked[s]));
    same_floats(t, picked, at[0].stride < n ? at[0].stride : n, 0, c.what);
    end_case(t, c.what);
}

/* k-means: a key between two centroids may go to either by rounding, and then draws others after it; few may. */
static void clusters_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, true, false, false, most_keys);
    const sf_attention *a = &c.a[0];
    sf_kmeans_how how = {.begin = in_range(t, 0, a->keys - 1), .segment = in_range(t, 1, a->keys), .each = in_range(t, 1, 40), .iterations = in_range(t, 0, 3)};
    how.end = in_range(t, how.begin + 1, a->keys);
    int64_t most = a->keys + in_range(t, 0, 9), members = a->kv_heads * most, all = sf_clusters(&how), n = a->kv_heads * all * a->head_dim;
    int32_t *member[2], *host[2];
    void *centroid[2], *value[2];
    float *size[2], *log_size[2];
    float_rooms(t, a->heads * all, size), float_rooms(t, a->heads * all, log_size);
    for (int s = 0; s < 2; s++) {
        member[s] = room(t, s, (size_t)members * sizeof(int32_t));
        centroid[s] = activation_room(t, s, n), value[s] = activation_room(t, s, n);
    }
    BOTH(t, kmeans(&t->b[s], &c.a[s], &how, most, member[s], centroid[s], value[s], size[s], log_size[s]));
    int64_t apart = 0;
    for (int s = 0; s < 2; s++) host[s] = malloc((size_t)members * sizeof(int32_t)), fetch(t, s, host[s], member[s], (size_t)members * sizeof(int32_t));
    for (int64_t i = 0; i < members; i++) apart += host[0][i] != host[1][i];
    free(host[0]), free(host[1]);
    if (apart > members / 100) fail_msg("%s: %lld of %lld keys are in other clusters", c.what, (long long)apart, (long long)members);
    if (apart == 0) {
        float *want = get_activations(t, 0, centroid[0], n), *got = get_activations(t, 1, centroid[1], n);
        agree(t, want, got, n, t->tolerance, c.what);
        free(want), free(got);
        want = get_activations(t, 0, value[0], n), got = get_activations(t, 1, value[1], n);
        agree(t, want, got, n, t->tolerance, c.what);
        free(want), free(got);
        same_floats(t, size, a->heads * all, 1e-6, c.what), same_floats(t, log_size, a->heads * all, 1e-5, c.what);
    }
    end_case(t, c.what);
}

#endif
