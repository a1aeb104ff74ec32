/* Twin cases (tests/twins/twin.h). Lists, and what is chosen of scores. */
#ifndef SF_TWINS_LISTS_H
#define SF_TWINS_LISTS_H

#include "tests/twins/twin.h"

/* Random ascending lists over [0, limit); each holds at least `least`. */
static void random_lists(twin *t, int64_t rows, int limit, int least, sf_lists out[2])
{
    int64_t stride = limit + in_range(t, 0, 3);
    int32_t *count = calloc((size_t)rows, sizeof *count), *index = calloc((size_t)(rows * stride) + 1, sizeof *index);
    for (int64_t r = 0; r < rows; r++) {
        int density = ONE_OF(t, 0, 5, 30, 100);
        for (int i = 0; i < limit; i++)
            if (in_range(t, 0, 99) < density || i < least) index[r * stride + count[r]++] = i;
    }
    for (int s = 0; s < 2; s++)
        out[s] = (sf_lists){rows, stride, put(t, s, count, (size_t)rows * sizeof *count),
                            put(t, s, index, (size_t)(rows * stride) * sizeof *index)};
    free(count), free(index);
}

static sf_lists empty_lists(twin *t, int side, int64_t rows, int64_t stride)
{
    return (sf_lists){0, stride, room(t, side, (size_t)rows * sizeof(int32_t)),
                      room(t, side, (size_t)(rows * stride) * sizeof(int32_t))};
}

/* Lists of both sides; `loose` entries may differ (scores that differ by rounding), counted. */
static void lists_agree(twin *t, const sf_lists l[2], bool loose, const char *what)
{
    assert_int_equal(l[0].rows, l[1].rows);
    int32_t *count[2], *index[2];
    for (int s = 0; s < 2; s++) {
        count[s] = malloc((size_t)l[s].rows * sizeof(int32_t) + 1),
        index[s] = malloc((size_t)(l[s].rows * l[s].stride) * sizeof(int32_t) + 1);
        fetch(t, s, count[s], l[s].count, (size_t)l[s].rows * sizeof(int32_t));
        fetch(t, s, index[s], l[s].index, (size_t)(l[s].rows * l[s].stride) * sizeof(int32_t));
    }
    long chosen = 0, differing = 0;
    for (int64_t r = 0; r < l[0].rows; r++) {
        if (count[0][r] != count[1][r])
            fail_msg("%s: row %lld holds %d entries, expected %d", what, (long long)r, count[1][r], count[0][r]);
        const int32_t *a = index[0] + r * l[0].stride, *b = index[1] + r * l[1].stride;
        for (int32_t i = 0, j = 0; i < count[0][r]; i++, chosen++) {
            while (j < count[1][r] && b[j] < a[i]) j++;
            if (j < count[1][r] && b[j] == a[i]) continue;
            differing++;
            if (!loose) fail_msg("%s: row %lld lacks entry %d", what, (long long)r, a[i]);
        }
        for (int32_t i = 1; i < count[1][r]; i++)
            if (b[i] <= b[i - 1]) fail_msg("%s: row %lld does not ascend at %d", what, (long long)r, i);
    }
    t->chosen += chosen, t->differing += differing;
    if (differing > 1 + chosen / 100) fail_msg("%s: %ld of %ld chosen entries differ", what, differing, chosen);
    for (int s = 0; s < 2; s++) free(count[s]), free(index[s]);
}

/* Many rows of more scores than a device keeps at hand: drawn, of few values, rising, falling, with the best where no even sample looks,
 * seen up to somewhere in the row, and of next to nothing. */
static void long_rows_case(twin *t, uint64_t seed, int most)
{
    enum { PLAIN, COARSE, RISING, FALLING, HIDDEN, SEEN, RARE, KINDS };
    begin_case(t, seed);
    const int rows = in_range(t, 133, 160), n = in_range(t, 12289, most), k = in_range(t, 0, ONE_OF(t, 3, 300, 4096)), every = n / 2048;
    char what[160];
    snprintf(what, sizeof what, "seed %llu: the %d best of %d rows of %d", (unsigned long long)seed, k, rows, n);
    float *x = malloc((size_t)rows * (size_t)n * sizeof *x);
    int32_t *wish = malloc((size_t)rows * sizeof *wish);
    for (int r = 0; r < rows; r++) {
        const int seen = in_range(t, 0, n);
        wish[r] = in_range(t, 0, k);
        for (int i = 0; i < n; i++) {
            float *to = x + (int64_t)r * n + i;
            *to = normal(t);
            if (r % KINDS == COARSE) *to = roundf(*to);
            if (r % KINDS == RISING) *to = (float)i - *to;
            if (r % KINDS == FALLING) *to = *to - (float)i;
            if (r % KINDS == HIDDEN && i % every == 1) *to += 100;
            if (r % KINDS == SEEN && i > seen) *to = -INFINITY;
            if (r % KINDS == RARE && next_random(t) % 100) *to = next_random(t) % 2 ? NAN : -INFINITY;
            if (next_random(t) % 3000 == 0) *to = INFINITY;
        }
    }
    void *from[2];
    sf_lists out[2];
    for (int s = 0; s < 2; s++) from[s] = put(t, s, x, (size_t)rows * (size_t)n * sizeof *x), out[s] = empty_lists(t, s, rows, k + 1);
    BOTH(t, top(&t->b[s], from[s], rows, n, k, &out[s]));
    lists_agree(t, out, false, what);
    for (int s = 0; s < 2; s++) {
        out[s] = empty_lists(t, s, rows, k + 1);
        OK(t, s, t->b[s].ops->top_counts(&t->b[s], from[s], rows, n, put(t, s, wish, (size_t)rows * sizeof *wish), k, &out[s]));
    }
    lists_agree(t, out, false, what);
    free(x), free(wish);
    end_case(t, what);
}

static void select_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    int rows = in_range(t, 1, 9), n = ONE_OF(t, 1, 7, 64, 513, 1000, 5000, 13000, 70000), k = in_range(t, 0, n + 3),
        kind = in_range(t, 0, 4); /* 4: flat, whose sum is as many times the largest */
    snprintf(what, sizeof what, "seed %llu: select rows %d n %d k %d kind %d", (unsigned long long)seed, rows, n, k,
             kind);
    float *x = malloc((size_t)rows * n * sizeof *x);
    for (int i = 0; i < rows * n; i++) {
        x[i] = kind == 0 ? normal(t) : kind == 1 ? (float)in_range(t, 0, 5) : kind == 4 ? 0.25f : expf(4 * normal(t));
        if (kind == 3 && in_range(t, 0, 9) == 0) x[i] = INFINITY;
        if (kind > 0 && kind < 4 && in_range(t, 0, 9) == 0) x[i] = ONE_OF(t, 0, 1) ? -INFINITY : NAN;
        if (x[i] == 0 && i % 7 == 0) x[i] = -0.0f; /* which is no less than 0 */
    }
    if (kind > 1 && in_range(t, 0, 9) == 0) /* nothing to choose in a row */
        for (int i = 0; i < n; i++) x[i] = NAN;
    int32_t *wish = malloc((size_t)rows * sizeof *wish);
    for (int r = 0; r < rows; r++) wish[r] = in_range(t, 0, k);
    void *from[2];
    sf_lists out[2];
    for (int s = 0; s < 2; s++) from[s] = put(t, s, x, (size_t)rows * n * sizeof *x);
    for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
    BOTH(t, top(&t->b[s], from[s], rows, n, k, &out[s]));
    lists_agree(t, out, false, what);
    for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
    for (int s = 0; s < 2; s++) {
        void *w = put(t, s, wish, (size_t)rows * sizeof *wish);
        OK(t, s, t->b[s].ops->top_counts(&t->b[s], from[s], rows, n, w, k, &out[s]));
    }
    lists_agree(t, out, false, what);
    for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
    BOTH(t, top_total(&t->b[s], from[s], rows, n, (int64_t)k * rows / 2, &out[s]));
    lists_agree(t, out, false, what);
    if (kind >= 2) { /* what carries mass is not negative */
        float share = (float)in_range(t, 0, 100) / 100;
        int least = in_range(t, 0, n / 2), most = in_range(t, n / 2, n);
        for (int s = 0; s < 2; s++) out[s] = empty_lists(t, s, rows, n);
        BOTH(t, top_mass(&t->b[s], from[s], rows, n, share, least, most, &out[s]));
        lists_agree(t, out, false, what);
    }

    /* rows: reduced, pooled, marked */
    int group = in_range(t, 1, 4), kernel = ONE_OF(t, 1, 3, 7, 21);
    sf_reduce reduce = (sf_reduce)in_range(t, 0, 2);
    float *y = randoms(t, (int64_t)rows * group * n, 1), *a, *b;
    for (int64_t i = 0; kind == 1 && i < (int64_t)rows * group * n; i++) y[i] = (float)in_range(t, -2, 2) / 2; /* ties */
    void *many[2], *few[2], *pooled[2];
    sf_lists marks[2];
    random_lists(t, rows, n, 0, marks);
    for (int s = 0; s < 2; s++) {
        many[s] = put(t, s, y, (size_t)rows * group * n * sizeof *y);
        few[s] = room(t, s, (size_t)rows * n * sizeof *y);
        pooled[s] = room(t, s, (size_t)rows * n * sizeof *y);
    }
    BOTH(t, reduce_rows(&t->b[s], many[s], rows, group, n, reduce, few[s]));
    BOTH(t, pool(&t->b[s], few[s], rows, n, kernel, reduce, pooled[s]));
    int begin = in_range(t, -3, n), end = in_range(t, -3, n + 3);
    BOTH(t, fill(&t->b[s], pooled[s], rows, n, begin, end, INFINITY));
    BOTH(t, fill_at(&t->b[s], few[s], rows, n, &marks[s], -INFINITY));
    a = get(t, 0, few[0], SF_F32, (int64_t)rows * n), b = get(t, 1, few[1], SF_F32, (int64_t)rows * n);
    agree(t, a, b, (int64_t)rows * n, 1e-5, what);
    free(a), free(b);
    a = get(t, 0, pooled[0], SF_F32, (int64_t)rows * n), b = get(t, 1, pooled[1], SF_F32, (int64_t)rows * n);
    agree(t, a, b, (int64_t)rows * n, 1e-5, what);
    free(a), free(b), free(y), free(x), free(wish);
    end_case(t, what);
}

#endif
