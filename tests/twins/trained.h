/* Twin cases (tests/twins/twin.h). What trained methods make of queries and of the layer's input: gates, marks, the best of a row as it grows,
 * rotation, norms and sigmoids of floats. An op that is NULL is what host.h or the ops of activations do, as methods have it. */
#ifndef SF_TWINS_TRAINED_H
#define SF_TWINS_TRAINED_H

#include "kernels/host.h"
#include "tests/twins/estimation.h"

#define OR_HOST(s, op) (t->b[s].ops->op ? t->b[s].ops->op : sf_host_##op)

/* Gates of queries as they were before rotation: against the same sum over queries turned back, in double. */
static void gates_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    const int groups = ONE_OF(t, 1, 2, 3), heads = groups * ONE_OF(t, 1, 2, 5), dim = ONE_OF(t, 8, 30, 64, 128), half = dim / 2,
              rows = in_range(t, 1, most), first = ONE_OF(t, 0, 0, 7, 4000), room_of_each = rows + in_range(t, 0, 5);
    const bool sloped = in_range(t, 0, 1), interleaved = in_range(t, 0, 1);
    const int64_t queries = (int64_t)rows * heads * dim;
    float *q = randoms(t, queries, 1), *w = randoms(t, groups * dim, 1), *slope = randoms(t, groups, 0.01f), frequency[64], most_of[3];
    for (int d = 0; d < half; d++) frequency[d] = d == half - 1 ? 0 : powf(10000, -(float)d / (float)half);
    sf_query_scale scaled = {0};
    if (in_range(t, 0, 1)) scaled = (sf_query_scale){.by = 1.25f, .growth = in_range(t, 0, 1) ? 0.3f : 0, .from = 3, .every = 50};
    char what[160];
    snprintf(what, sizeof what, "seed %llu: gates, %d rows behind %d, %d/%d heads of %d", (unsigned long long)seed, rows, first, heads, groups, dim);
    float *gate[2], *mark[2];
    float_rooms(t, (int64_t)groups * room_of_each, gate), float_rooms(t, (int64_t)groups * room_of_each, mark);
    for (int s = 0; s < 2; s++) {
        sf_attention a = {.backend = &t->b[s], .layers = 1, .heads = heads, .kv_heads = groups, .head_dim = dim, .queries = rows, .keys = first + rows,
                          .scale = 1, .q = put_activations(t, s, q, queries), .kv = {.dtype = t->b[s].activation}, .interleaved = interleaved, .scaled = scaled};
        a.frequency = put(t, s, frequency, (size_t)half * sizeof *frequency);
        float *weight = put(t, s, w, (size_t)(groups * dim) * sizeof *w), *rise = put(t, s, slope, (size_t)groups * sizeof *slope);
        OK(t, s, OR_HOST(s, query_gates)(&t->b[s], &a, weight, sloped ? rise : NULL, gate[s], room_of_each));
    }
    double apart = 0, size = 0;
    float *found = get(t, 1, gate[1], SF_F32, (int64_t)groups * room_of_each), *there = get(t, 0, gate[0], SF_F32, (int64_t)groups * room_of_each);
    for (int g = 0; g < groups; g++)
        for (int r = 0; r < room_of_each; r++) {
            if (r >= rows) { /* poison, as it was */
                assert_true(isnan(found[g * room_of_each + r]));
                continue;
            }
            const float *x = q + ((int64_t)r * heads + g * (heads / groups)) * dim;
            double sum = 0, position = first + r;
            for (int d = 0; d < half; d++) {
                const int low = interleaved ? 2 * d : d, high = interleaved ? 2 * d + 1 : d + half;
                const double angle = (double)((float)position * frequency[d]), c = cos(angle), s = sin(angle);
                sum += w[g * dim + low] * (x[low] * c + x[high] * s) + w[g * dim + high] * (x[high] * c - x[low] * s);
            }
            double by = scaled.by != 0 ? (double)scaled.by : 1;
            if (scaled.growth != 0) by *= 1 + (double)scaled.growth * log(1 + floor((position + scaled.from) / scaled.every));
            sum = sum / by + (sloped ? slope[g] * position : 0);
            apart += pow(sum - (double)found[g * room_of_each + r], 2), size += sum * sum;
        }
    if (!(sqrt(apart) <= 1e-5 * sqrt(size))) fail_msg("%s: gates are %g of their size apart", what, sqrt(apart / size));

    /* Marks by each group's first gate, which is then marked itself; the same gates on both sides, one number in. */
    for (int g = 0; g < groups; g++) most_of[g] = there[g * room_of_each];
    for (int s = 0; s < 2; s++) {
        float *same = put(t, s, there, (size_t)(groups * room_of_each) * sizeof *there), *limit = put(t, s, most_of, (size_t)groups * sizeof *most_of);
        OK(t, s, OR_HOST(s, marks)(&t->b[s], same, room_of_each, groups, rows, limit, mark[s], room_of_each));
    }
    float *marked = get(t, 1, mark[1], SF_F32, (int64_t)groups * room_of_each);
    for (int g = 0; g < groups; g++)
        for (int r = 0; r < room_of_each; r++) {
            const float is = marked[g * room_of_each + r];
            if (r >= rows ? !isnan(is) : is != (there[g * room_of_each + r] <= most_of[g] ? 0 : -INFINITY)) fail_msg("%s: mark %d of %d is %g", what, r, g, is);
        }
    free(found), free(there), free(marked), free(q), free(w), free(slope);
    end_case(t, what);
}

/* The best of a row as it grows: each list is top()'s of what is there, scores that are equal, infinite or no numbers among them. */
static void running_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    const int64_t n = in_range(t, 1, most), rows = in_range(t, 1, 3), k = in_range(t, 0, (int)(n < 40 ? n : 40)), behind = in_range(t, 0, (int)n);
    const bool coarse = in_range(t, 0, 1);
    char what[120];
    snprintf(what, sizeof what, "seed %llu: the %d best of %d rows of %d, %d behind", (unsigned long long)seed, (int)k, (int)rows, (int)n, (int)behind);
    float *x = randoms(t, rows * n, 1), *at[2];
    for (int64_t i = 0; i < rows * n; i++) {
        if (coarse) x[i] = roundf(x[i]);
        if (next_random(t) % 50 == 0) x[i] = (float[]){NAN, -INFINITY, INFINITY}[next_random(t) % 3];
    }
    sf_lists out[2], one = empty_lists(t, 0, 1, k + 1);
    for (int s = 0; s < 2; s++) {
        at[s] = put(t, s, x, (size_t)(rows * n) * sizeof *x);
        out[s] = empty_lists(t, s, rows * n, k + 2);
        OK(t, s, OR_HOST(s, top_running)(&t->b[s], at[s], rows, n, k, behind, &out[s]));
        assert_int_equal(out[s].rows, rows * n);
    }
    lists_agree(t, out, false, what);
    sf_meter aside, *own = t->b[0].meter;
    int32_t *count = malloc((size_t)(rows * n) * sizeof *count), *index = malloc((size_t)(rows * n * (k + 2)) * sizeof *index), found, list[42];
    fetch(t, 0, count, out[0].count, (size_t)(rows * n) * sizeof *count), fetch(t, 0, index, out[0].index, (size_t)(rows * n * (k + 2)) * sizeof *index);
    t->b[0].meter = &aside;
    for (int64_t i = 0; i < rows * n; i += 1 + (int64_t)(next_random(t) % (uint64_t)(n > 1000 ? n / 20 : 7))) {
        const int64_t r = i / n, seen = i % n - behind + 1;
        if (seen <= 0) {
            assert_int_equal(count[i], 0);
            continue;
        }
        OK(t, 0, t->b[0].ops->top(&t->b[0], at[0] + r * n, 1, seen, k, &one));
        fetch(t, 0, &found, one.count, sizeof found), fetch(t, 0, list, one.index, (size_t)(k + 1) * sizeof *list);
        if (found != count[i] || memcmp(list, index + i * (k + 2), (size_t)found * sizeof *list) != 0) fail_msg("%s: list %d is not the best of %d", what, (int)i, (int)seen);
    }
    t->b[0].meter = own;
    free(x), free(count), free(index);
    end_case(t, what);
}

/* Rows of floats turned, normed and bent, on a filling that has them; else there is nothing to hold. */
static void floats_case(twin *t, uint64_t seed, int most)
{
    begin_case(t, seed);
    if (!t->b[1].ops->turn_rows) return;
    sf_backend *b = &t->b[1];
    const int rows = in_range(t, 1, most), heads = ONE_OF(t, 1, 2, 3, 64), dim = ONE_OF(t, 2, 8, 24, 64, 128), known = ONE_OF(t, 1, 4, 32, 64, 100),
              zeros = in_range(t, 0, known), first = ONE_OF(t, 0, 5, 60000);
    const int64_t n = (int64_t)rows * heads * dim;
    int half = known - zeros < dim / 2 ? known - zeros : dim / 2;
    char what[160];
    snprintf(what, sizeof what, "seed %llu: %d rows behind %d of %d heads of %d, %d pairs of %d turn", (unsigned long long)seed, rows, first, heads, dim, half, known);
    float *x = randoms(t, n, 1), *want = malloc((size_t)n * sizeof *want), frequency[100];
    for (int i = 0; i < known; i++) frequency[i] = i < known - zeros ? powf(10000, -(float)i / (float)known) : 0;
    memcpy(want, x, (size_t)n * sizeof *want);
    for (int64_t i = 0; i < (int64_t)rows * heads; i++)
        for (int p = 0; p < half; p++) {
            const double angle = (double)((float)(first + i / heads) * frequency[p]), c = cos(angle), s = sin(angle);
            float *to = want + i * dim + p;
            const double low = to[0], high = to[half];
            to[0] = (float)(low * c - high * s), to[half] = (float)(high * c + low * s);
        }
    float *at = put(t, 1, x, (size_t)n * sizeof *x), *of = put(t, 1, frequency, (size_t)known * sizeof *frequency);
    OK(t, 1, b->ops->turn_rows(b, at, rows, heads, dim, first, of, known));
    float *got = get(t, 1, at, SF_F32, n);
    agree(t, want, got, n, 1e-6, what);
    free(got);

    const int width = heads * dim;
    float *weight = randoms(t, width, 1), *bias = randoms(t, width, 1);
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, squares = 0;
        for (int i = 0; i < width; i++) mean += (double)x[r * width + i] / width;
        for (int i = 0; i < width; i++) squares += (x[r * width + i] - mean) * (x[r * width + i] - mean) / width;
        for (int i = 0; i < width; i++) want[r * width + i] = (float)((x[r * width + i] - mean) / sqrt(squares + 1e-6) * weight[i] + bias[i]);
    }
    sf_tensor w = tensor(put(t, 1, weight, (size_t)width * sizeof *weight), SF_F32, width, 0), shift = tensor(put(t, 1, bias, (size_t)width * sizeof *bias), SF_F32, width, 0);
    float *from = put(t, 1, x, (size_t)n * sizeof *x), *to = room(t, 1, (size_t)n * sizeof *to);
    OK(t, 1, b->ops->norm_rows(b, from, rows, width, &w, &shift, 1e-6f, to));
    got = get(t, 1, to, SF_F32, n);
    agree(t, want, got, n, 1e-5, what);
    free(got);

    for (int64_t i = 0; i < n; i++) want[i % dim * (n / dim) + i / dim] = (float)(1 / (1 + exp(-(double)x[i])));
    OK(t, 1, b->ops->sigmoids(b, from, n / dim, dim, to));
    got = get(t, 1, to, SF_F32, n);
    agree(t, want, got, n, 1e-6, what);
    free(got), free(x), free(want), free(weight), free(bias);
    memset(&t->meter[1], 0, sizeof t->meter[1]); /* the reference did not do it */
    end_case(t, what);
}

#endif
