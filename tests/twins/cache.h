/* Twin cases (tests/twins/twin.h). The cache: rows stored, gathered, dropped and rounded. */
#ifndef SF_TWINS_CACHE_H
#define SF_TWINS_CACHE_H

#include "tests/twins/scenes.h"

static void cache_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    enum { LANES = 3 };
    int kv_heads = in_range(t, 1, 4), dim = ONE_OF(t, 16, 40, 64, 128), rows = in_range(t, 1, 20);
    snprintf(what, sizeof what, "seed %llu: cache kv heads %d dim %d rows %d", (unsigned long long)seed, kv_heads, dim,
             rows);
    sf_kv_part lane[LANES][2], *part[2][LANES], to[2];
    void *stored[2];
    int64_t n = (int64_t)LANES * rows * kv_heads * dim;
    float *k = randoms(t, n, 1), *v = randoms(t, n, 1);
    for (int l = 0; l < LANES; l++) {
        int there = in_range(t, 0, 30);
        make_part(t, kv_heads, dim, there + rows, false, PLAIN, lane[l]);
        for (int s = 0; s < 2; s++) lane[l][s].n = there, part[s][l] = &lane[l][s];
    }
    for (int s = 0; s < 2; s++) {
        void *from_k = put_activations(t, s, k, n), *from_v = put_activations(t, s, v, n);
        OK(t, s, t->b[s].ops->store_kv(&t->b[s], LANES, part[s], rows, kv_heads, dim, from_k, from_v));
        stored[0] = from_k, stored[1] = from_v;
        for (int l = 0; l < LANES; l++) lane[l][s].n += rows;
    }
    if (t->b[1].activation == t->b[0].activation) { /* row by row gives the same cache */
        sf_kv_part piece = lane[0][1], *only = &piece;
        int64_t size = (int64_t)kv_heads * piece.capacity * dim;
        float *whole[] = {get_activations(t, 1, piece.k, size), get_activations(t, 1, piece.v, size)};
        sf_meter counted = t->meter[1];
        piece.k = activation_room(t, 1, size), piece.v = activation_room(t, 1, size);
        OK(t, 1, t->b[1].ops->copy(&t->b[1], (void *)piece.k, lane[0][1].k, sf_bytes(t->b[1].activation, size)));
        OK(t, 1, t->b[1].ops->copy(&t->b[1], (void *)piece.v, lane[0][1].v, sf_bytes(t->b[1].activation, size)));
        piece.n = lane[0][1].n - rows;
        for (int r = 0; r < rows; r++, piece.n++) {
            size_t at = sf_bytes(t->b[1].activation, (int64_t)r * kv_heads * dim);
            OK(t, 1, t->b[1].ops->store_kv(&t->b[1], 1, &only, 1, kv_heads, dim, (char *)stored[0] + at, (char *)stored[1] + at));
        }
        t->meter[1] = counted;
        for (int i = 0; i < 2; i++) {
            float *again = get_activations(t, 1, i ? piece.v : piece.k, size);
            assert_memory_equal(again, whole[i], (size_t)size * sizeof *again);
            free(again), free(whole[i]);
        }
    }
    sf_lists keep[2];
    random_lists(t, kv_heads, lane[0][0].n, 0, keep);
    for (int s = 0; s < 2; s++) {
        int64_t size = (int64_t)kv_heads * keep[s].stride * dim;
        to[s] = (sf_kv_part){.k = activation_room(t, s, size),
                             .v = activation_room(t, s, size),
                             .capacity = keep[s].stride,
                             .count = room(t, s, (size_t)kv_heads * 4)};
        OK(t, s, t->b[s].ops->gather_kv(&t->b[s], &lane[0][s], &keep[s], dim, &to[s]));
    }
    assert_int_equal(to[0].n, to[1].n);
    for (int l = 0; l < LANES; l++) {
        int64_t size = (int64_t)kv_heads * lane[l][0].capacity * dim;
        for (int i = 0; i < 2; i++) {
            float *a = get_activations(t, 0, i ? lane[l][0].v : lane[l][0].k, size),
                  *b = get_activations(t, 1, i ? lane[l][1].v : lane[l][1].k, size);
            agree(t, a, b, size, 0, what);
            free(a), free(b);
        }
    }
    int64_t size = (int64_t)kv_heads * to[0].capacity * dim;
    float *a = get_activations(t, 0, to[0].v, size), *b = get_activations(t, 1, to[1].v, size);
    agree(t, a, b, size, 0, what);
    if (t->b[1].ops->views) { /* a view of them names the same values, and counts the same */
        sf_meter counted = t->meter[1];
        sf_kv_part view = {.count = room(t, 1, (size_t)kv_heads * 4), .stride = keep[1].stride,
                           .index = room(t, 1, (size_t)(kv_heads * keep[1].stride) * 4)};
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        OK(t, 1, t->b[1].ops->gather_kv(&t->b[1], &lane[0][1], &keep[1], dim, &view));
        assert_int_equal(view.n, to[1].n);
        sf_meter viewed = t->meter[1];
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        OK(t, 1, t->b[1].ops->gather_kv(&t->b[1], &lane[0][1], &keep[1], dim, &to[1]));
        assert_memory_equal(&viewed, &t->meter[1], sizeof viewed);
        t->meter[1] = counted;
        for (int64_t g = 0; g < kv_heads; g++)
            for (int i = 0; i < keep[1].count[g]; i++)
                assert_memory_equal((float *)view.v + sf_kv_row(&view, (int)g, i) * dim, b + (g * to[1].capacity + i) * dim,
                                    (size_t)dim * sizeof *b);
    }
    free(a), free(b), free(k), free(v);
    end_case(t, what);
}

/* Rows of a cache in each format, more lanes than a launch takes, beside some that have none; to the bit, but for the rounding to
 * bf16. Rows before and behind those that were stored stay. */
static void round_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    enum { LANES = 35 };
    int lanes = ONE_OF(t, 1, 3, LANES), kv_heads = in_range(t, 1, 4), dim = ONE_OF(t, 32, 64, 96, 128), rows = ONE_OF(t, 1, 2, 7, 40);
    bool odd = ONE_OF(t, 0, 0, 1); /* dimensions that groups of 32 do not fit */
    if (odd) dim += 7;
    snprintf(what, sizeof what, "seed %llu: rounding %d lanes, kv heads %d dim %d rows %d", (unsigned long long)seed, lanes, kv_heads, dim, rows);
    sf_kv_part lane[LANES][2], *part[2][LANES];
    float *before[LANES][2];
    for (int l = 0; l < lanes; l++) {
        const int format = in_range(t, 0, odd ? 2 : 3), there = in_range(t, 0, 5), capacity = there + rows + in_range(t, 0, 3);
        const int64_t size = (int64_t)kv_heads * capacity * dim;
        for (int i = 0; i < 2; i++) {
            float *x = before[l][i] = randoms(t, size, ONE_OF(t, 1, 1, 30, 1000));
            for (int64_t r = 0; r < size / dim; r++) /* rows of nothing, tiny ones, whole steps and their halves, largest ones of both signs */
                for (int d = 0, kind = in_range(t, 0, 7); d < dim; d++) {
                    float *own = &x[r * dim + d];
                    if (kind == 0) *own = 0;
                    if (kind == 1) *own = rounded(t, *own * 1e-7f);
                    if (kind == 2) *own = (float)in_range(t, -254, 254) / 2;
                    if (kind == 3 && d % 3 == 0) *own = in_range(t, 0, 1) ? 4 : -4;
                    if (kind == 4 && d == 0) *own = NAN;
                }
            for (int s = 0; s < 2; s++) *(i ? &lane[l][s].v : &lane[l][s].k) = put_activations(t, s, x, size);
        }
        for (int s = 0; s < 2; s++) {
            void *k = lane[l][s].k, *v = lane[l][s].v;
            lane[l][s] = (sf_kv_part){.k = k, .v = v, .capacity = capacity, .n = there, .format = format < 3 ? &sf_cache_formats[format] : NULL};
            if (odd && format == 2) lane[l][s].format = NULL;
            part[s][l] = &lane[l][s];
        }
    }
    BOTH(t, round_kv(&t->b[s], lanes, part[s], rows, kv_heads, dim));
    for (int l = 0; l < lanes; l++) {
        const int64_t size = (int64_t)kv_heads * lane[l][0].capacity * dim;
        for (int i = 0; i < 2; i++) {
            float *a = get_activations(t, 0, i ? lane[l][0].v : lane[l][0].k, size), *b = get_activations(t, 1, i ? lane[l][1].v : lane[l][1].k, size);
            for (int64_t e = 0; e < size; e++) {
                const int row = (int)(e / dim % lane[l][0].capacity) - lane[l][0].n;
                const float want = t->b[1].activation == SF_F32 ? a[e] : rounded(t, a[e]);
                if (!(isnan(want) && isnan(b[e])) && memcmp(&want, &b[e], sizeof want) != 0)
                    fail_msg("%s: lane %d format %s element %lld is %.9g, expected %.9g of %.9g", what, l,
                             lane[l][0].format ? lane[l][0].format->name : "none", (long long)e, b[e], want, before[l][i][e]);
                if ((row < 0 || row >= rows || !lane[l][0].format) && !isnan(want) && want != before[l][i][e])
                    fail_msg("%s: lane %d element %lld was %.9g and became %.9g", what, l, (long long)e, before[l][i][e], want);
            }
            free(a), free(b), free(before[l][i]);
        }
    }
    end_case(t, what);
}

#endif
