/* Twin cases (tests/twins/twin.h). A packed cache: bytes, and what decode, bounds of pages and gathering make of them, against the same rows
 * rounded and kept as floats: to the bit, on each side. */
#ifndef SF_TWINS_PACKED_H
#define SF_TWINS_PACKED_H

#include "tests/twins/attention.h"

/* A part's k or v, whole, as the host's library reads it: of floats, or packed. [G, capacity, D] floats, malloc'ed. */
static float *part_floats(twin *t, int s, const sf_kv_part *part, bool values, int kv_heads, int dim)
{
    const int64_t rows = kv_heads * part->capacity;
    const void *from = values ? part->v : part->k;
    if (!part->packed) return get_activations(t, s, from, rows * dim);
    const size_t bytes = sf_cache_packed_bytes(part->format, kv_heads, part->capacity, dim);
    char *packed = malloc(bytes + 1);
    float *out = malloc((size_t)(rows * dim) * sizeof *out + 1);
    fetch(t, s, packed, from, bytes);
    for (int64_t r = 0; r < rows; r++) {
        sf_cache_unpack_row(part, packed, kv_heads, r, dim, out + r * dim);
        for (int64_t i = r * dim; t->b[s].activation == SF_BF16 && i < (r + 1) * dim; i++) out[i] = rounded(t, out[i]);
    }
    free(packed);
    return out;
}

/* Numbers and scales of rows [first, end) of every head are the same bytes on both sides; others are as room() left them. */
static void bytes_agree(twin *t, const sf_kv_part part[2], int kv_heads, int dim, int first, int end, const char *what)
{
    const sf_cache_format *f = part[0].format;
    const size_t bytes = sf_cache_packed_bytes(f, kv_heads, part[0].capacity, dim), scales = (size_t)(sf_cache_groups(f, dim) * f->scale_bytes);
    unsigned char *x[2] = {malloc(bytes + 1), malloc(bytes + 1)};
    for (int values = 0; values < 2; values++) {
        for (int s = 0; s < 2; s++) fetch(t, s, x[s], values ? part[s].v : part[s].k, bytes);
        if (memcmp(x[0], x[1], bytes) != 0) fail_msg("%s: the packed bytes differ", what);
        for (int64_t r = 0; r < kv_heads * part[0].capacity; r++) {
            if (r % part[0].capacity >= first && r % part[0].capacity < end) continue;
            const char *own[] = {sf_cache_numbers(&part[0], x[0], r, dim), sf_cache_scales(&part[0], x[0], kv_heads, r, dim)};
            for (int i = 0; i < 2; i++)
                for (size_t at = 0; at < (i ? scales : sf_cache_row_bytes(f, dim)); at++)
                    if ((unsigned char)own[i][at] != 0xff) fail_msg("%s: row %lld was written, which is not to be packed", what, (long long)r);
        }
    }
    free(x[0]), free(x[1]);
}

static sf_kv_part packed_room(twin *t, int s, const sf_cache_format *f, int kv_heads, int64_t capacity, int dim)
{
    const size_t bytes = sf_cache_packed_bytes(f, kv_heads, capacity, dim);
    return (sf_kv_part){.k = room(t, s, bytes), .v = room(t, s, bytes), .capacity = capacity, .format = f, .packed = true};
}

/* Rows of all kinds, some of them not numbers, packed in two calls: the bytes, and that they say what round_kv() leaves. */
static void pack_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    char what[256];
    const sf_cache_format *f = &sf_cache_formats[3 + in_range(t, 0, 2)];
    int kv_heads = in_range(t, 1, 4), dim = f->group ? ONE_OF(t, 32, 64, 96, 128) : ONE_OF(t, 16, 40, 64, 71, 128), first = in_range(t, 0, 20),
        rows = in_range(t, 1, 90), cut = in_range(t, 0, rows), capacity = first + rows + in_range(t, 0, 5), wider = capacity + in_range(t, 0, 3);
    snprintf(what, sizeof what, "seed %llu: packing to %s, kv heads %d dim %d rows %d, %d", (unsigned long long)seed, f->name, kv_heads, dim, first, rows);
    const int64_t size = (int64_t)kv_heads * capacity * dim;
    sf_kv_part from[2], to[2];
    for (int values = 0; values < 2; values++) {
        float *x = randoms(t, size, ONE_OF(t, 1, 1, 30, 1000));
        for (int64_t r = 0; r < size / dim; r++)
            for (int d = 0, kind = in_range(t, 0, 9); d < dim; d++) {
                float *own = &x[r * dim + d];
                if (kind == 0) *own = 0;
                if (kind == 1) *own = rounded(t, *own * 1e-7f);
                if (kind == 2) *own = (float)in_range(t, -254, 254) / 2;
                if (kind == 3 && d % 3 == 0) *own = in_range(t, 0, 1) ? 4 : -4;
                if (kind == 4 && d == 5) *own = INFINITY;
                if (kind == 5) *own = rounded(t, *own * 0.003f); /* subnormal in e4m3, negative ones that round to 0 */
            }
        for (int s = 0; s < 2; s++) *(values ? &from[s].v : &from[s].k) = put_activations(t, s, x, size);
        free(x);
    }
    for (int s = 0; s < 2; s++) {
        from[s] = (sf_kv_part){.k = from[s].k, .v = from[s].v, .capacity = capacity, .n = first, .format = f};
        to[s] = packed_room(t, s, f, kv_heads, wider, dim);
    }
    BOTH(t, pack_kv(&t->b[s], &from[s], &to[s], cut, kv_heads, dim));
    for (int s = 0; s < 2; s++) from[s].n += cut;
    BOTH(t, pack_kv(&t->b[s], &from[s], &to[s], rows - cut, kv_heads, dim));
    bytes_agree(t, to, kv_heads, dim, first, first + rows, what);
    sf_kv_part *both_parts[2] = {&from[0], &from[1]};
    for (int s = 0; s < 2; s++) from[s].n = first;
    BOTH(t, round_kv(&t->b[s], 1, &both_parts[s], rows, kv_heads, dim));
    for (int s = 0; s < 2; s++)
        for (int values = 0; values < 2; values++) {
            float *want = part_floats(t, s, &from[s], values, kv_heads, dim), *got = part_floats(t, s, &to[s], values, kv_heads, dim);
            for (int g = 0; g < kv_heads; g++)
                for (int64_t i = 0; i < (int64_t)rows * dim; i++) {
                    const float x = want[((int64_t)g * capacity + first) * dim + i], y = got[((int64_t)g * wider + first) * dim + i];
                    if (!(isnan(x) && isnan(y)) && memcmp(&x, &y, sizeof x) != 0)
                        fail_msg("%s: %s, %s of head %d, row %lld, is %.9g, expected %.9g", what, t->b[s].ops->name, values ? "value" : "key", g,
                                 (long long)(first + i / dim), y, x);
                }
            free(want), free(got);
        }
    end_case(t, what);
}

/* The prompt of a scene, rounded to a format and, besides, packed; what it holds that no key is stays NaN. */
static void pack_prompt(twin *t, const scene *c, const sf_cache_format *f, sf_attention simulated[2], sf_attention packed[2])
{
    const int kv_heads = c->a[0].kv_heads, dim = c->a[0].head_dim;
    for (int s = 0; s < 2; s++) {
        sf_kv_part all = c->a[s].kv.prompt, to = packed_room(t, s, f, kv_heads, all.capacity, dim), *one = &all;
        const size_t bytes = sf_bytes(t->b[s].activation, kv_heads * all.capacity * dim);
        all.n = 0, all.format = f;
        OK(t, s, t->b[s].ops->pack_kv(&t->b[s], &all, &to, all.capacity, kv_heads, dim));
        const void *k = all.k, *v = all.v;
        all.k = room(t, s, bytes), all.v = room(t, s, bytes);
        OK(t, s, t->b[s].ops->copy(&t->b[s], all.k, k, bytes));
        OK(t, s, t->b[s].ops->copy(&t->b[s], all.v, v, bytes));
        OK(t, s, t->b[s].ops->round_kv(&t->b[s], 1, &one, all.capacity, kv_heads, dim));
        simulated[s] = packed[s] = c->a[s];
        simulated[s].kv.prompt.k = all.k, simulated[s].kv.prompt.v = all.v, simulated[s].kv.prompt.format = f;
        packed[s].kv.prompt.k = to.k, packed[s].kv.prompt.v = to.v, packed[s].kv.prompt.format = f, packed[s].kv.prompt.packed = true;
    }
}

/* Decode of an attention: [H, D] and lse, malloc'ed. */
static float *decoded(twin *t, int s, const sf_attention *a, const sf_pattern *p)
{
    const int64_t n = (int64_t)a->heads * a->head_dim;
    void *to = activation_room(t, s, n), *lse = room(t, s, (size_t)a->heads * sizeof(float));
    sf_attention own = *a;
    const sf_attention *one = &own;
    own.lse = t->b[s].ops->lse ? lse : NULL;
    OK(t, s, t->b[s].ops->decode(&t->b[s], 1, &one, &p, to));
    float *out = get_activations(t, s, to, n), *sums = get(t, s, lse, SF_F32, a->heads);
    out = realloc(out, (size_t)(n + a->heads) * sizeof *out);
    memcpy(out + n, sums, (size_t)a->heads * sizeof *out);
    free(sums);
    return out;
}

static void same_bits(const float *want, const float *got, int64_t n, const char *what, const char *of)
{
    if (memcmp(want, got, (size_t)n * sizeof *want) != 0) fail_msg("%s: %s of the packed cache is not that of the simulated one", what, of);
}

/* Steps over a packed prompt, alone and beside a lane that has none; bounds of its pages; what is gathered of it. */
static void packed_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    sf_pattern p[2];
    sf_attention simulated[2], packed[2];
    const bool rich = t->b[1].activation == SF_F32 && in_range(t, 0, 2) == 0, ragged = in_range(t, 0, 3) == 0;
    make_scene(t, &c, seed, true, true, ragged, most_keys);
    const int kv_heads = c.a[0].kv_heads, dim = c.a[0].head_dim;
    const sf_cache_format *f = &sf_cache_formats[3 + in_range(t, 0, dim % 32 ? 1 : 2)];
    const int64_t n = (int64_t)c.a[0].heads * dim;
    pack_prompt(t, &c, f, simulated, packed);
    if (rich) rich_pattern(t, &c, true, p);
    else random_pattern(t, &c.a[0], ragged ? SF_DENSE : (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_PAGES, SF_PAGES, SF_WINDOW), p);
    if (p[0].kind == SF_PAGES && !p[0].empty) simulated[0].window = simulated[1].window = packed[0].window = packed[1].window = 0;
    for (int s = 0; s < 2; s++) packed[s].frequency = simulated[s].frequency = c.a[s].frequency;
    tell(&c, " packed to %s, pattern %d page %d", f->name, p[0].kind, p[0].page);
    const int page = ONE_OF(t, 1, 5, 16, 33), first = in_range(t, 0, c.a[0].keys - 1), pages = (c.a[0].keys + page - 1) / page;
    for (int s = 0; s < 2; s++) {
        float *want = decoded(t, s, &simulated[s], &p[s]), *got = decoded(t, s, &packed[s], &p[s]);
        same_bits(want, got, n + c.a[s].heads, c.what, "attention");
        const sf_attention *lanes[] = {&simulated[s], &packed[s], &simulated[s]};
        const sf_pattern *patterns[] = {&p[s], &p[s], &p[s]};
        void *to = activation_room(t, s, 3 * n);
        OK(t, s, t->b[s].ops->decode(&t->b[s], 3, lanes, patterns, to));
        float *all = get_activations(t, s, to, 3 * n);
        for (int l = 0; l < 3; l++) same_bits(want, all + l * n, n, c.what, "attention in company");
        free(want), free(got), free(all);

        const size_t bounds = (size_t)(kv_heads * pages * dim);
        void *low[2], *high[2];
        float *bound[2][2];
        for (int i = 0; i < 2; i++) {
            low[i] = room(t, s, bounds * sizeof(float)), high[i] = room(t, s, bounds * sizeof(float));
            OK(t, s, t->b[s].ops->page_bounds(&t->b[s], i ? &packed[s] : &simulated[s], page, first, pages, low[i], high[i]));
            bound[i][0] = get(t, s, low[i], SF_F32, (int64_t)bounds), bound[i][1] = get(t, s, high[i], SF_F32, (int64_t)bounds);
        }
        for (int i = 0; i < 2; i++) same_bits(bound[0][i], bound[1][i], (int64_t)bounds, c.what, i ? "upper bounds" : "lower bounds");
        for (int i = 0; i < 4; i++) free(bound[i / 2][i % 2]);
    }
    if (!ragged) {
        sf_lists keep[2];
        random_lists(t, kv_heads, packed[0].kv.prompt.n, 1, keep);
        for (int s = 0; s < 2; s++)
            for (int view = 0; view <= t->b[s].ops->views; view++) {
                float *out[2];
                for (int i = 0; i < 2; i++) {
                    sf_attention own = i ? packed[s] : simulated[s];
                    const sf_kv_part *from = &own.kv.prompt;
                    sf_kv_part to = i && !view ? packed_room(t, s, f, kv_heads, keep[s].stride, dim)
                                               : (sf_kv_part){.capacity = keep[s].stride, .format = f, .packed = i};
                    to.count = room(t, s, (size_t)kv_heads * sizeof *to.count), to.stride = keep[s].stride;
                    if (view) to.index = room(t, s, (size_t)(kv_heads * keep[s].stride) * sizeof *to.index);
                    else if (!i) to.k = activation_room(t, s, kv_heads * keep[s].stride * dim), to.v = activation_room(t, s, kv_heads * keep[s].stride * dim);
                    OK(t, s, t->b[s].ops->gather_kv(&t->b[s], from, &keep[s], dim, &to));
                    own.kv.prompt = to, own.keys = to.n + own.kv.tail.n, own.window = 0;
                    const sf_pattern dense = {.kind = SF_DENSE};
                    out[i] = decoded(t, s, &own, &dense);
                }
                same_bits(out[0], out[1], n + c.a[s].heads, c.what, view ? "attention over a view" : "attention over what is kept");
                free(out[0]), free(out[1]);
            }
    }
    end_case(t, c.what);
}

/* What reads floats alone refuses, by its name. */
static void packed_refused(twin *t)
{
    begin_case(t, 1);
    scene c;
    sf_attention simulated[2], packed[2];
    make_scene(t, &c, 1, true, false, false, 60);
    pack_prompt(t, &c, sf_cache_format_of("int8"), simulated, packed);
    const sf_attention *a = &packed[1];
    sf_backend *b = &t->b[1];
    const sf_backend_ops *op = b->ops;
    const size_t plenty = (size_t)a->keys * (size_t)(a->heads * a->head_dim) * 8 + 4096;
    float *x = room(t, 1, plenty), *y = room(t, 1, plenty);
    const int32_t row = 0;
    const sf_pattern dense = {.kind = SF_DENSE};
#define REFUSED(name, call)                                                                                                         \
    do {                                                                                                                            \
        assert_int_equal(call, SF_UNSUPPORTED);                                                                                     \
        if (!strstr(sf_error(), name) || !strstr(sf_error(), "simulated_int8")) fail_msg("%s: refused with '%s'", name, sf_error()); \
    } while (0)
    REFUSED("prefill", op->prefill(b, a, &dense, x));
    REFUSED("mass", op->mass(b, a, &dense, 1, &row, x));
    REFUSED("probe", op->probe(b, a, 1, 1, SF_SUM, x, NULL));
    REFUSED("block_means", op->block_means(b, a, true, 16, x));
    REFUSED("components", op->components(b, a, true, NULL, a->head_dim, 0, a->keys, x));
    REFUSED("key_probabilities", op->key_probabilities(b, a, x));
    REFUSED("key_norms", op->key_norms(b, a, false, x));
    REFUSED("key_cosines", op->key_cosines(b, a, x));
    REFUSED("value_means", op->value_means(b, a, 0, x, y));
    REFUSED("pack_keys", op->pack_keys(b, a, 0, a->keys, (int32_t *)x, y));
#undef REFUSED
    end_case(t, "packed_refused");
}

#endif
