/* Twin cases (tests/twins/twin.h). Queries, keys and values that cases attend over, and random patterns of every kind. */
#ifndef SF_TWINS_SCENES_H
#define SF_TWINS_SCENES_H

#include "tests/twins/lists.h"

/* Values of keys and queries: scores as in a model; with ties; of some 1e4; the first key draws every query. */
enum { PLAIN, TIED, LARGE, SINK, VALUES };

typedef struct scene {
    sf_attention a[2];
    double tolerance; /* the twin's; of large scores, which fp32 rounds to 1e-3, and so their exponentials, relatively */
    char what[1200];
} scene;

/* A cache [G, capacity, D] of n keys, the rest NaN; `ragged`: heads hold fewer, at least 1, and where both sides read such,
 * it may be a view: keys scattered in a longer cache, with NaN between them, and listed. */
static void make_part(twin *t, int kv_heads, int dim, int n, bool ragged, int values, sf_kv_part part[2])
{
    bool view = ragged && t->b[0].ops->views && t->b[1].ops->views && in_range(t, 0, 1);
    int capacity = (view ? 2 * n : n) + in_range(t, 0, 9);
    int64_t size = (int64_t)kv_heads * capacity * dim;
    float *k = malloc((size_t)size * sizeof *k + 1), *v = malloc((size_t)size * sizeof *v + 1);
    int32_t *count = malloc((size_t)kv_heads * sizeof *count), *index = calloc((size_t)(kv_heads * n) + 1, sizeof *index);
    int fullest = 0;
    for (int64_t i = 0; i < size; i++) k[i] = v[i] = NAN;
    for (int g = 0; g < kv_heads; g++) {
        count[g] = ragged && n > 1 ? in_range(t, 1, n) : n;
        if (count[g] > fullest) fullest = count[g];
        for (int j = 0; j < count[g]; j++) {
            int at = index[g * n + j] = view ? 2 * j + in_range(t, 0, 1) : j;
            int64_t row = ((int64_t)g * capacity + at) * dim;
            for (int d = 0; d < dim; d++) {
                k[row + d] = values == TIED ? (float)in_range(t, -1, 1) : values == SINK && j == 0 ? 2 : rounded(t, 1.5f * normal(t));
                v[row + d] = rounded(t, normal(t));
            }
        }
    }
    for (int s = 0; s < 2; s++) {
        part[s] = (sf_kv_part){.k = put_activations(t, s, k, size),
                               .v = put_activations(t, s, v, size),
                               .capacity = capacity,
                               .n = ragged ? fullest : n};
        if (ragged) part[s].count = put(t, s, count, (size_t)kv_heads * sizeof *count);
        if (view) part[s].stride = n, part[s].index = put(t, s, index, (size_t)(kv_heads * n) * sizeof *index);
    }
    free(k), free(v), free(count), free(index);
}

/* [n] of queries. */
static float *make_queries(twin *t, int64_t n, int values)
{
    float *q = randoms(t, n, 1.5f);
    for (int64_t i = 0; values == SINK && i < n; i++) q[i] = rounded(t, q[i] + .5f);
    return q;
}

/* On a host the reference takes as long as everything else; where it turns queries for each key, longer. */
static void smaller_on_host(const twin *t, bool rich, int *kv_heads, int group, int *dim)
{
    if (t->b[1].activation != SF_F32 && !rich) return;
    if (*kv_heads * group * *dim > 600) *kv_heads = 1;
    if (group * *dim > 600) *dim = t->b[1].activation == SF_F32 ? 16 : 64;
}

static double scene_tolerance(const twin *t, int values) { return values == LARGE ? fmax(t->tolerance, 1e-3) : t->tolerance; }
static float scene_scale(int dim, int values) { return (values == LARGE ? 3000 : 1) / sqrtf((float)dim); }

/* A cap on logits, where both compute one; of large scores it would make ties. */
static float scene_cap(twin *t, int values)
{
    bool able = t->b[0].ops->caps && t->b[1].ops->caps && values != LARGE;
    return able && in_range(t, 0, 3) == 0 ? 1.5f : 0;
}

/* A scene of this shape; cache, queries and scores of their kinds at random. */
static void fill_scene(twin *t, scene *c, uint64_t seed, int kv_heads, int group, int dim, int queries, int keys, int tail, int window, bool ragged)
{
    int values = in_range(t, 0, VALUES - 1);
    sf_kv_part prompt[2], rest[2];
    make_part(t, kv_heads, dim, keys - tail, ragged, values, prompt);
    make_part(t, kv_heads, dim, tail, false, values, rest);
    if (ragged) keys = prompt[0].n + tail, window = 0;
    float *q = make_queries(t, (int64_t)queries * kv_heads * group * dim, values);
    c->tolerance = scene_tolerance(t, values);
    float cap = scene_cap(t, values);
    for (int s = 0; s < 2; s++)
        c->a[s] = (sf_attention){.backend = &t->b[s],
                                 .layer = 3,
                                 .layers = 9,
                                 .heads = kv_heads * group,
                                 .kv_heads = kv_heads,
                                 .head_dim = dim,
                                 .queries = queries,
                                 .keys = keys,
                                 .window = window,
                                 .scale = scene_scale(dim, values),
                                 .softcap = cap,
                                 .q = put_activations(t, s, q, (int64_t)queries * kv_heads * group * dim),
                                 .kv = {prompt[s], rest[s], t->b[s].activation}};
    free(q);
    snprintf(c->what, sizeof c->what, "seed %llu: heads %d/%d dim %d queries %d keys %d tail %d window %d values %d%s%s",
             (unsigned long long)seed, kv_heads * group, kv_heads, dim, queries, keys, tail, window, values,
             ragged ? " ragged" : "", prompt[0].index ? " view" : "");
}

static void make_scene(twin *t, scene *c, uint64_t seed, bool decode, bool rich, bool ragged, int most_keys)
{
    int kv_heads = ONE_OF(t, 1, 2, 3), group = ONE_OF(t, 1, 2, 3, 4, 7),
        dim = ONE_OF(t, 16, 40, 64, 64, 80, 128, 128, 128, 256, 256);
    smaller_on_host(t, rich, &kv_heads, group, &dim);
    int keys = in_range(t, 1, most_keys), queries = decode ? 1 : ONE_OF(t, 0, 1) ? keys : in_range(t, 1, keys);
    int tail = decode ? in_range(t, 0, keys - 1) / 3 : 0;
    int window = ONE_OF(t, 0, 0, 1) * in_range(t, 1, keys);
    fill_scene(t, c, seed, kv_heads, group, dim, queries, keys, tail, window, ragged);
}

static void give_pairs(twin *t, scene *c)
{
    uint64_t zero[64] = {0};
    for (int s = 0; s < 2; s++) c->a[s].pairs = put(t, s, zero, (size_t)c->a[s].heads * sizeof *zero);
}

static void pairs_agree(twin *t, const scene *c)
{
    uint64_t pairs[2][64];
    for (int s = 0; s < 2; s++)
        fetch(t, s, pairs[s], c->a[s].pairs, (size_t)c->a[s].heads * sizeof(uint64_t));
    for (int h = 0; h < c->a[0].heads; h++)
        if (pairs[0][h] != pairs[1][h])
            fail_msg("%s: head %d counts %llu pairs, expected %llu", c->what, h, (unsigned long long)pairs[1][h],
                     (unsigned long long)pairs[0][h]);
}

static void random_pattern(twin *t, const sf_attention *a, sf_pattern_kind kind, sf_pattern p[2])
{
    sf_lists first[2] = {{0}}, second[2] = {{0}};
    int heads = ONE_OF(t, 0, 1) ? a->heads : a->kv_heads, page = ONE_OF(t, 1, 4, 16, 16, 33);
    int block_q = ONE_OF(t, 1, 8, 16, 16, 32, 64, 64, 100, 128),
        block_k = ONE_OF(t, 1, 8, 16, 16, 32, 64, 64, 100, 128);
    int sinks = in_range(t, 0, 70), local = in_range(t, 1, 90), last = ONE_OF(t, 0, 1) * in_range(t, 0, 20);
    if (kind == SF_BLOCKS) {
        /* every row needs a key: the diagonal is always there */
        int queries = (a->queries + block_q - 1) / block_q, keys = (a->keys + block_k - 1) / block_k;
        int64_t rows = (int64_t)heads * queries;
        int32_t *count = calloc((size_t)rows, sizeof *count), *index = calloc((size_t)rows * keys + 1, sizeof *index);
        for (int64_t r = 0; r < rows; r++) {
            int from = a->keys - a->queries + (int)(r % queries) * block_q,
                to = from + block_q - 1 < a->keys ? from + block_q - 1 : a->keys - 1;
            int density = ONE_OF(t, 0, 10, 40, 100);
            for (int j = 0; j < keys; j++)
                if (in_range(t, 0, 99) < density || (j >= from / block_k && j <= to / block_k))
                    index[r * keys + count[r]++] = j;
        }
        for (int s = 0; s < 2; s++)
            first[s] = (sf_lists){rows, keys, put(t, s, count, (size_t)rows * sizeof *count),
                                  put(t, s, index, (size_t)rows * keys * sizeof *index)};
        free(count), free(index);
    }
    if (kind == SF_COLUMNS_DIAGONALS) {
        random_lists(t, heads, a->keys, 0, first);
        random_lists(t, heads, a->keys, 1, second); /* the main diagonal: no row is empty */
    }
    if (kind == SF_PAGES) {
        heads = a->kv_heads;
        random_lists(t, heads, (a->keys + page - 1) / page, 1, first);
    }
    if (kind == SF_TOKENS) {
        heads = a->kv_heads;
        random_lists(t, heads, a->keys, 1, first);
    }
    for (int s = 0; s < 2; s++)
        p[s] = (sf_pattern){.kind = kind,
                            .heads = heads,
                            .block_q = block_q,
                            .block_k = block_k,
                            .page = page,
                            .sinks = sinks,
                            .local = local,
                            .last = last,
                            .first = first[s],
                            .second = second[s]};
}

/* ---- patterns that are more than one set of pairs under one softmax ---- */

__attribute__((format(printf, 2, 3))) static void tell(scene *c, const char *format, ...)
{
    size_t used = strlen(c->what);
    va_list list;
    va_start(list, format);
    vsnprintf(c->what + used, sizeof c->what - used, format, list);
    va_end(list);
}

static void put_both(twin *t, const void *x, size_t bytes, void *out[2])
{
    for (int s = 0; s < 2; s++) out[s] = put(t, s, x, bytes);
}

/* Normal numbers [d0, d1] or [d0, d1, d2] for both sides, f32 or activations. */
static void both_tensors(twin *t, bool activations, int64_t d0, int64_t d1, int64_t d2, sf_tensor out[2])
{
    int64_t n = d0 * d1 * (d2 ? d2 : 1);
    float *x = randoms(t, n, 1);
    for (int s = 0; s < 2; s++) {
        void *data = activations ? put_activations(t, s, x, n) : put(t, s, x, (size_t)n * sizeof *x);
        out[s] = (sf_tensor){data, activations ? t->b[s].activation : SF_F32, d2 ? 3 : 2, {d0, d1, d2}};
    }
    free(x);
}

static void give_bands(twin *t, int heads, const sf_band *band, sf_pattern p[2])
{
    void *at[2];
    put_both(t, band, (size_t)heads * SF_BANDS_A_HEAD * sizeof *band, at);
    for (int s = 0; s < 2; s++) p[s] = (sf_pattern){.kind = SF_BANDS, .heads = heads, .band = at[s], .empty = true};
}

static void random_bands(twin *t, scene *c, bool rows, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int heads = ONE_OF(t, 1, a->heads, a->kv_heads);
    sf_band *band = calloc((size_t)heads * SF_BANDS_A_HEAD, sizeof *band);
    for (int h = 0; h < heads; h++) {
        int near = ONE_OF(t, 0, 0, 1, 17, 90, 300);
        band[2 * h] = (sf_band){.sinks = ONE_OF(t, 0, 2), .far = ONE_OF(t, 1, 8, 33, 200), .step = ONE_OF(t, 1, 1, 3)};
        if (in_range(t, 0, 2)) continue;
        band[2 * h + 1] = (sf_band){.sinks = ONE_OF(t, 0, 0, 4, 40, 150), .apart = ONE_OF(t, 0, 1, 30), .near = near,
                                    .far = near + ONE_OF(t, 0, 1, 16, 70, 500), .step = ONE_OF(t, 1, 1, 2, 5, 64)};
    }
    give_bands(t, heads, band, p);
    free(band);
    sf_lists columns[2] = {{0}}, full[2] = {{0}};
    if (in_range(t, 0, 1)) random_lists(t, heads, a->keys, 0, columns);
    if (rows && in_range(t, 0, 1)) random_lists(t, heads, a->queries, 0, full);
    for (int s = 0; s < 2; s++) p[s].first = columns[s], p[s].second = full[s];
    tell(c, "; bands of %d heads, columns %d, rows %d", heads, columns[0].rows != 0, full[0].rows != 0);
}

/* Pages of 1, G or H lists, with a bias. */
static void random_pages(twin *t, scene *c, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int heads = ONE_OF(t, 1, a->heads, a->kv_heads), page = ONE_OF(t, 1, 1, 5, 16);
    sf_lists first[2];
    sf_tensor bias[2] = {{0}};
    random_lists(t, heads, (a->keys + page - 1) / page, 1, first);
    if (in_range(t, 0, 2)) both_tensors(t, false, heads, first[0].stride, 0, bias);
    for (int s = 0; s < 2; s++)
        p[s] = (sf_pattern){.kind = SF_PAGES, .heads = heads, .page = page, .first = first[s], .bias = bias[s], .empty = true};
    tell(c, "; pages of %d, heads %d, bias %d", page, heads, bias[0].data != NULL);
}

static void summarise(twin *t, scene *c, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int m = in_range(t, 1, a->keys + 1);
    int32_t *from = malloc((size_t)m * sizeof *from);
    void *at[2] = {NULL, NULL};
    sf_tensor k[2], v[2], bias[2] = {{0}};
    for (int i = 0; i < m; i++) from[i] = in_range(t, 0, a->keys + 3);
    if (in_range(t, 0, 1)) put_both(t, from, (size_t)m * sizeof *from, at);
    both_tensors(t, true, a->kv_heads, m, a->head_dim, k), both_tensors(t, true, a->kv_heads, m, a->head_dim, v);
    if (in_range(t, 0, 2)) both_tensors(t, false, ONE_OF(t, a->heads, a->kv_heads), m, 0, bias);
    for (int s = 0; s < 2; s++) p[s].sum = (sf_summaries){k[s], v[s], bias[s], at[s]};
    free(from);
    tell(c, "; %d summaries, from %d, bias %d", m, at[0] != NULL, (int)bias[0].dim[0]);
}

/* Where queries and keys are turned in bf16, as a prefill on a device does, logits of 1e4 would be off by tens. */
static void set_reach(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    if (!decode && t->b[1].activation != SF_F32 && a->scale * sqrtf((float)a->head_dim) > 2) return;
    int chunk = ONE_OF(t, 1, 6, 16, 50, INT_MAX), cap = (chunk < a->keys ? chunk : a->keys) - 1 + ONE_OF(t, 0, 2, 30);
    for (int s = 0; s < 2; s++) p[s].reach = (sf_reach){chunk, cap};
    tell(c, "; reach %d, %d", chunk, cap);
}

static void random_part(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    if (in_range(t, 0, 1)) {
        random_bands(t, c, !decode, p);
    } else if (decode && in_range(t, 0, 1)) {
        random_pages(t, c, p);
    } else {
        sf_pattern_kind kind = (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_WINDOW, decode ? SF_DENSE : SF_BLOCKS,
                                                       decode ? SF_WINDOW : SF_COLUMNS_DIAGONALS);
        random_pattern(t, &c->a[0], kind, p);
        if (kind == SF_COLUMNS_DIAGONALS && in_range(t, 0, 1)) /* one selection for all */
            for (int s = 0; s < 2; s++) p[s].heads = 1, p[s].first.rows = p[s].second.rows = 1;
        if (kind == SF_BLOCKS && in_range(t, 0, 1))
            for (int s = 0; s < 2; s++) p[s].first.rows /= p[s].heads, p[s].heads = 1;
        for (int s = 0; s < 2; s++) p[s].empty = true;
        tell(c, "; pattern %d of %d heads, blocks %dx%d", kind, p[0].heads, p[0].block_q, p[0].block_k);
    }
    if (!in_range(t, 0, 2)) summarise(t, c, p);
    if (in_range(t, 0, 1)) set_reach(t, c, decode, p);
}

/* Near and far distances in one softmax; or these, whatever is at hand, and a constant, gated. */
static void random_parts(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    const sf_attention *a = &c->a[0];
    int cut = ONE_OF(t, 1, 8, 40), sinks = ONE_OF(t, 0, 3, 30), gated = in_range(t, 0, 1), parts = gated ? 4 : 2;
    sf_band band[2][SF_BANDS_A_HEAD] = {{{.far = cut, .step = 1}},
                                        {{.sinks = sinks, .apart = cut, .near = cut, .far = cut + ONE_OF(t, 0, 9, 400), .step = ONE_OF(t, 1, 3)}}};
    for (int k = 0; k < parts; k++) {
        sf_pattern part[2] = {{.kind = SF_CONSTANT}, {.kind = SF_CONSTANT}};
        sf_tensor gate[2] = {{0}}, value[2] = {{0}};
        tell(c, "; part %d", k);
        if (k < 2) {
            give_bands(t, 1, band[k], part);
            if (in_range(t, 0, 1)) set_reach(t, c, decode, part);
            if (!in_range(t, 0, 3)) summarise(t, c, part);
        }
        if (k == 2) random_part(t, c, decode, part);
        if (k == 3) both_tensors(t, true, a->kv_heads, 1, a->head_dim, value);
        if (gated && in_range(t, 0, 2)) both_tensors(t, false, ONE_OF(t, 1, a->queries), a->heads, 0, gate);
        int repeat = gated && k < 3 && !decode ? ONE_OF(t, 0, 0, 1, 5, 64) : 0;
        for (int s = 0; s < 2; s++) {
            if (k == 3) part[s].sum.v = value[s];
            part[s].gate = gate[s], part[s].repeat = repeat;
            c->a[s].part[k] = part[s];
        }
        tell(c, ", repeated %d", repeat);
    }
    for (int s = 0; s < 2; s++)
        p[s] = (sf_pattern){.kind = SF_PARTS, .part = c->a[s].part, .parts = parts, .gated = gated, .empty = true};
    tell(c, gated ? "; gated" : "; joined");
}

/* The keys of both sides are taken for rotated ones. */
static void rich_pattern(twin *t, scene *c, bool decode, sf_pattern p[2])
{
    int half = c->a[0].head_dim / 2;
    float *frequency = malloc((size_t)(half + 1) * sizeof *frequency);
    void *at[2];
    bool interleaved = in_range(t, 0, 1);
    for (int d = 0; d < half; d++) frequency[d] = powf(10000, -(float)d / (float)half);
    put_both(t, frequency, (size_t)half * sizeof *frequency, at);
    for (int s = 0; s < 2; s++) c->a[s].frequency = at[s], c->a[s].interleaved = interleaved;
    free(frequency);
    if (in_range(t, 0, 2))
        random_part(t, c, decode, p);
    else
        random_parts(t, c, decode, p);
}

/* Room for log-sum-exps, which gated parts do not write. */
static void give_lse(twin *t, scene *c)
{
    for (int s = 0; s < 2; s++) c->a[s].lse = room(t, s, (size_t)c->a[s].queries * c->a[s].heads * sizeof(float));
}

static void lse_agree(twin *t, const scene *c, const sf_pattern *p)
{
    if (p->kind == SF_PARTS && p->gated) return;
    int64_t n = (int64_t)c->a[0].queries * c->a[0].heads;
    float *lse[2];
    for (int s = 0; s < 2; s++) lse[s] = get(t, s, c->a[s].lse, SF_F32, n);
    agree(t, lse[0], lse[1], n, c->tolerance, c->what);
    free(lse[0]), free(lse[1]);
}

static void observe_pattern(twin *t, scene *c, const sf_pattern p[2])
{
    uint64_t total[2];
    BOTH(t, count_pairs(&t->b[s], &c->a[s], &p[s], &total[s]));
    if (total[0] != total[1])
        fail_msg("%s: pattern %d: %llu pairs, expected %llu", c->what, p[0].kind, (unsigned long long)total[1],
                 (unsigned long long)total[0]);
    BOTH(t, check_pattern(&t->b[s], &c->a[s], &p[s], "twin"));
    int32_t row[3];
    for (int i = 0; i < 3; i++) row[i] = in_range(t, 0, c->a[0].queries - 1);
    float *covered[2];
    for (int s = 0; s < 2; s++) {
        void *to = room(t, s, (size_t)c->a[s].heads * sizeof(float));
        OK(t, s, t->b[s].ops->mass(&t->b[s], &c->a[s], &p[s], 3, row, to));
        covered[s] = get(t, s, to, SF_F32, c->a[s].heads);
    }
    agree(t, covered[0], covered[1], c->a[0].heads, c->tolerance, c->what);
    free(covered[0]), free(covered[1]);
}

/* Whether a row's keys come in groups that do not depend on the rows beside it. */
static bool cuts(const sf_pattern *p)
{
    return p->kind == SF_DENSE || (p->kind == SF_WINDOW && p->last == 0) || (p->kind == SF_BANDS && !p->first.rows && !p->second.rows);
}

#endif
