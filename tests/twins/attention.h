/* Twin cases (tests/twins/twin.h). Attention: prefill and decode under every pattern, entmax, masses. */
#ifndef SF_TWINS_ATTENTION_H
#define SF_TWINS_ATTENTION_H

#include "kernels/reference/reference.h"
#include "tests/twins/scenes.h"

/* A prefill cut in two gives the same bits as the whole did. */
static void cut_agrees(twin *t, const scene *c, const sf_pattern p[2], const float *whole)
{
    const int64_t width = (int64_t)c->a[1].heads * c->a[1].head_dim, n = c->a[1].queries * width;
    int cut = in_range(t, 0, c->a[1].queries);
    sf_attention half = c->a[1];
    half.pairs = half.weighed = NULL, half.lse = NULL;
    void *cut_out = activation_room(t, 1, n);
    half.queries = cut, half.keys = c->a[1].keys - (c->a[1].queries - cut), half.kv.prompt.n = half.keys;
    if (cut) OK(t, 1, t->b[1].ops->prefill(&t->b[1], &half, &p[1], cut_out));
    size_t skip = sf_bytes(t->b[1].activation, cut * width);
    half.queries = c->a[1].queries - cut, half.keys = c->a[1].keys, half.kv.prompt.n = half.keys,
    half.q = (const char *)c->a[1].q + skip;
    if (half.queries) OK(t, 1, t->b[1].ops->prefill(&t->b[1], &half, &p[1], (char *)cut_out + skip));
    float *again = get_activations(t, 1, cut_out, n);
    for (int64_t i = 0; i < n; i++)
        if (again[i] != whole[i]) fail_msg("%s: cut after %d rows, row %lld differs", c->what, cut, (long long)(i / width));
    free(again);
}

static void prefill_rows(twin *t, uint64_t seed, int most_keys, bool rich)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, rich, false, most_keys);
    sf_pattern_kind kind = (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_BLOCKS, SF_BLOCKS, SF_COLUMNS_DIAGONALS, SF_WINDOW);
    if (!rich && t->b[1].activation != SF_F32 && (kind == SF_COLUMNS_DIAGONALS || kind == SF_BLOCKS)) c.a[0].window = c.a[1].window = 0;
    give_pairs(t, &c), give_lse(t, &c);
    sf_pattern p[2];
    if (rich)
        rich_pattern(t, &c, false, p);
    else
        random_pattern(t, &c.a[0], kind, p);
    tell(&c, " pattern %d heads %d block %dx%d", p[0].kind, p[0].heads, p[0].block_q, p[0].block_k);
    int64_t n = (int64_t)c.a[0].queries * c.a[0].heads * c.a[0].head_dim;
    float *out[2];
    void *to[2];
    for (int s = 0; s < 2; s++) to[s] = activation_room(t, s, n);
    BOTH(t, prefill(&t->b[s], &c.a[s], &p[s], to[s]));
    for (int s = 0; s < 2; s++) out[s] = get_activations(t, s, to[s], n);
    agree(t, out[0], out[1], n, c.tolerance, c.what);
    lse_agree(t, &c, p);
    pairs_agree(t, &c);
    observe_pattern(t, &c, p);
    if (cuts(&p[1]) && !p[1].sum.k.data) cut_agrees(t, &c, p, out[1]);
    free(out[0]), free(out[1]);
    end_case(t, c.what);
}

/* The list of query `position` under lists of single queries: blocks that are drawn, or (alike) such as stay from query to query with the first
 * one's, the one's before and its own; returns their number. kept: [blocks], of the query before. */
static int single_list(twin *t, bool alike, int density, int own, bool forced, uint8_t *kept, int32_t *to)
{
    int n = 0;
    for (int j = 0; j <= own; j++) {
        if (!alike || in_range(t, 0, 15) == 0) kept[j] = in_range(t, 0, 99) < density;
        if (kept[j] || ((alike || forced) && j == own) || (alike && (j == 0 || j == own - 1))) to[n++] = j;
    }
    return n;
}

/* Every query a list of its own; and what a row comes to follows from its own list, whatever the others beside it name: to the bit.
 * units: of heads and blocks for which a device may have kernels of their own, and of half of most_keys at least. */
static void lists_of_single_queries(twin *t, uint64_t seed, int most_keys, bool units)
{
    begin_case(t, seed);
    scene c;
    const bool host = t->b[1].activation == SF_F32;
    int kv_heads = ONE_OF(t, 1, 1, 2, 3), group = ONE_OF(t, 1, 4, 16, 16, 5, 32), dim = host ? ONE_OF(t, 16, 40) : units ? ONE_OF(t, 64, 128, 128, 256) : ONE_OF(t, 64, 128, 128, 128, 256, 80);
    int keys = in_range(t, units ? most_keys / 2 : 1, most_keys), queries = ONE_OF(t, 0, 1) ? keys : in_range(t, 1, keys);
    if (kv_heads * group > 64) kv_heads = 1;
    fill_scene(t, &c, seed, kv_heads, group, dim, queries, keys, 0, ONE_OF(t, 0, 0, 1) * in_range(t, 1, keys), false);
    if (units) c.a[0].softcap = c.a[1].softcap = 0;
    give_pairs(t, &c), give_lse(t, &c);
    const int heads = ONE_OF(t, 1, kv_heads, kv_heads, kv_heads * group), block = units ? ONE_OF(t, 64, 64, 64, 128) : ONE_OF(t, 1, 8, 16, 32, 64, 64, 64, 64, 128, 256),
              blocks = (keys + block - 1) / block, density = ONE_OF(t, 2, 20, 60, 100);
    const bool alike = ONE_OF(t, 0, 1), empty = ONE_OF(t, 0, 1);
    tell(&c, " heads %d block %d density %d alike %d empty %d", heads, block, density, alike, empty);
    const int64_t rows = (int64_t)heads * queries, stride = blocks + in_range(t, 0, 2), n = (int64_t)queries * c.a[0].heads * dim;
    int32_t *count[2], *index[2]; /* the lists; others for even queries */
    uint8_t *kept = calloc((size_t)blocks, 1);
    for (int i = 0; i < 2; i++) {
        count[i] = calloc((size_t)rows, sizeof **count), index[i] = calloc((size_t)(rows * stride), sizeof **index);
        for (int64_t r = 0; r < rows; r++) {
            const int own = (keys - queries + (int)(r % queries)) / block;
            if (i == 1 && r % queries % 2) {
                count[1][r] = count[0][r];
                memcpy(index[1] + r * stride, index[0] + r * stride, (size_t)stride * sizeof **index);
            } else {
                count[i][r] = single_list(t, i ? !alike : alike, density, own, !empty, kept, index[i] + r * stride);
            }
        }
    }
    sf_pattern p[2];
    void *to[2];
    float *out[3];
    for (int s = 0; s < 2; s++) {
        p[s] = (sf_pattern){.kind = SF_BLOCKS, .heads = heads, .block_q = 1, .block_k = block, .empty = empty};
        p[s].first = (sf_lists){rows, stride, put(t, s, count[0], (size_t)rows * sizeof **count),
                                put(t, s, index[0], (size_t)(rows * stride) * sizeof **index)};
        to[s] = activation_room(t, s, n);
    }
    BOTH(t, prefill(&t->b[s], &c.a[s], &p[s], to[s]));
    for (int s = 0; s < 2; s++) out[s] = get_activations(t, s, to[s], n);
    agree(t, out[0], out[1], n, c.tolerance, c.what);
    lse_agree(t, &c, &p[0]);
    pairs_agree(t, &c);
    observe_pattern(t, &c, p);
    sf_attention again = c.a[1];
    again.pairs = NULL, again.lse = NULL;
    p[1].first.count = put(t, 1, count[1], (size_t)rows * sizeof **count);
    p[1].first.index = put(t, 1, index[1], (size_t)(rows * stride) * sizeof **index);
    void *other = activation_room(t, 1, n);
    OK(t, 1, t->b[1].ops->prefill(&t->b[1], &again, &p[1], other));
    out[2] = get_activations(t, 1, other, n);
    const int64_t width = (int64_t)c.a[0].heads * dim;
    for (int64_t i = 0; i < n; i++)
        if (i / width % 2 && out[1][i] != out[2][i])
            fail_msg("%s: row %lld differs beside rows of other lists", c.what, (long long)(i / width));
    for (int i = 0; i < 3; i++) free(out[i]);
    for (int i = 0; i < 2; i++) free(count[i]), free(index[i]);
    free(kept);
    end_case(t, c.what);
}

static void single_case(twin *t, uint64_t seed, int most_keys) { lists_of_single_queries(t, seed, most_keys, false); }
static void long_single_case(twin *t, uint64_t seed, int most_keys) { lists_of_single_queries(t, seed, most_keys, true); }

/* Of how many keys α-entmax makes more than 0 in head h, surely and perhaps: where logits are sums of bf16's products in fp32, τ and they are
 * known to so much. Logits and τ in double, by the reference's mask and normaliser. */
static void weighing(const sf_attention *a, const sf_pattern *p, int h, uint64_t *least, uint64_t *most)
{
    const double alpha = (double)a->alpha;
    uint8_t *mask = malloc((size_t)a->keys);
    double *z = malloc((size_t)a->keys * 2 * sizeof *z), *weight = z + a->keys;
    *least = *most = 0;
    for (int i = 0; i < a->queries; i++) {
        const float *q = (const float *)a->q + ((int64_t)i * a->heads + h) * a->head_dim;
        int n = 0, top = 0;
        double terms = 0; /* the largest sum of magnitudes that a logit is made of */
        sf_reference_mask(a, p, h, i, mask);
        for (int j = 0; j < a->keys; j++) {
            if (!mask[j]) continue;
            const float *k = sf_reference_key(a, h / (a->heads / a->kv_heads), j);
            double dot = 0, size = 0;
            for (int d = 0; d < a->head_dim; d++) dot += (double)q[d] * k[d], size += fabs((double)q[d] * k[d]);
            terms = fmax(terms, size * fabs((double)a->scale));
            z[n] = weight[n] = sf_reference_capped(a, dot * (double)a->scale);
            if (z[n] > z[top]) top = n;
            n++;
        }
        if (n == 0) continue;
        sf_reference_entmax(weight, n, alpha);
        const double tau = (alpha - 1) * z[top] - pow(weight[top], alpha - 1), slack = 1e-5 + 1e-6 * terms * (alpha - 1);
        for (int j = 0; j < n; j++) *least += (alpha - 1) * z[j] - tau > slack, *most += (alpha - 1) * z[j] - tau > -slack;
    }
    free(mask), free(z);
}

/* Rows normalised by α-entmax, of many rows and of one; what weighs is counted alike. Where all logits are as many units apart as
 * float has digits there, ties are broken by rounding: such values are left out. */
static void entmax_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    if (!t->b[1].ops->entmax) return;
    const bool decode = in_range(t, 0, 1);
    t->b[0].phase = t->b[1].phase = decode ? SF_DECODE : SF_PREFILL;
    scene c;
    make_scene(t, &c, seed, decode, false, decode && in_range(t, 0, 1), most_keys);
    const float alpha = (float[]){1.5f, 1.5f, 2, 1.25f, 1.01f, 1.77f}[in_range(t, 0, 5)], times = (float[]){1, 1, .01f, 10}[in_range(t, 0, 3)];
    sf_pattern p[2];
    sf_pattern_kind kind = decode ? (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_PAGES, SF_WINDOW)
                                  : (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_BLOCKS, SF_COLUMNS_DIAGONALS, SF_WINDOW);
    if (decode && c.a[0].kv.prompt.count) kind = SF_DENSE;
    if (kind == SF_PAGES) c.a[0].window = c.a[1].window = 0; /* else it may name no key that the layer sees */
    random_pattern(t, &c.a[0], kind, p);
    give_pairs(t, &c);
    uint64_t zero[64] = {0}, weighed[2][64];
    const int64_t n = (int64_t)c.a[0].queries * c.a[0].heads * c.a[0].head_dim;
    void *to[2];
    float *out[2];
    for (int s = 0; s < 2; s++) {
        c.a[s].alpha = alpha;
        c.a[s].scale *= times;
        c.a[s].weighed = put(t, s, zero, (size_t)c.a[s].heads * sizeof *zero);
        to[s] = activation_room(t, s, n);
    }
    tell(&c, " alpha %g scale %g pattern %d", (double)alpha, (double)c.a[0].scale, kind);
    for (int s = 0; s < 2; s++) {
        const sf_attention *lane = &c.a[s];
        const sf_pattern *one = &p[s];
        if (decode) OK(t, s, t->b[s].ops->decode(&t->b[s], 1, &lane, &one, to[s]));
        else OK(t, s, t->b[s].ops->prefill(&t->b[s], lane, one, to[s]));
        out[s] = get_activations(t, s, to[s], n);
        fetch(t, s, weighed[s], c.a[s].weighed, (size_t)c.a[s].heads * sizeof **weighed);
    }
    agree(t, out[0], out[1], n, c.tolerance, c.what);
    pairs_agree(t, &c);
    for (int h = 0; h < c.a[0].heads; h++) { /* float and double may part where a weight is 1e-14 */
        uint64_t least = weighed[0][h] - weighed[0][h] / 1000 - 1, most = weighed[0][h] + weighed[0][h] / 1000 + 1;
        if (t->b[1].activation != SF_F32) weighing(&c.a[0], &p[0], h, &least, &most);
        if ((int64_t)weighed[1][h] < (int64_t)least || weighed[1][h] > most)
            fail_msg("%s: head %d: %llu keys weigh, expected %lld to %llu", c.what, h, (unsigned long long)weighed[1][h], (long long)least,
                     (unsigned long long)most);
    }
    if (!decode && cuts(&p[1])) cut_agrees(t, &c, p, out[1]);
    if (decode) { /* beside another lane: the same bits */
        sf_attention lane = c.a[1], other = c.a[1];
        lane.pairs = lane.weighed = other.pairs = other.weighed = NULL;
        other.keys = other.kv.prompt.n, other.kv.tail.n = 0, other.window = 0;
        const sf_pattern dense = {.kind = SF_DENSE};
        void *pair = activation_room(t, 1, 2 * n);
        OK(t, 1, t->b[1].ops->decode(&t->b[1], 2, (const sf_attention *[]){&lane, &other}, (const sf_pattern *[]){&p[1], &dense}, pair));
        float *together = get_activations(t, 1, pair, 2 * n);
        if (memcmp(together, out[1], (size_t)n * sizeof *together) != 0) fail_msg("%s: the lane in company differs from the lane alone", c.what);
        free(together);
    }
    observe_pattern(t, &c, p);
    free(out[0]), free(out[1]);
    t->b[0].phase = t->b[1].phase = SF_PREFILL;
    end_case(t, c.what);
}

static void prefill_case(twin *t, uint64_t seed, int most_keys) { prefill_rows(t, seed, most_keys, false); }
static void patterns_case(twin *t, uint64_t seed, int most_keys) { prefill_rows(t, seed, most_keys, true); }

/* Columns and diagonals within a density: by fit_slashes() or by the search that does without, the same. */
static void within_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    int rows = ONE_OF(t, 0, 1) ? c.a[0].heads : c.a[0].kv_heads, n = c.a[0].keys, kind = in_range(t, 0, 2);
    double density = in_range(t, 0, 1000) / 1000.;
    snprintf(c.what + strlen(c.what), 100, " rows %d density %g kind %d", rows, density, kind);
    float *x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = malloc((size_t)rows * n * sizeof **x);
        for (int j = 0; j < rows * n; j++) {
            x[i][j] = kind == 1 ? (float)in_range(t, 0, 5) : expf(3 * normal(t)); /* ties */
            if (j % n < 5) x[i][j] = INFINITY;
            else if (kind == 2 && in_range(t, 0, 4) == 0) x[i][j] = ONE_OF(t, 0, 1) ? -INFINITY : NAN;
        }
    }
    sf_pattern p[2];
    sf_mark mark[2];
    for (int s = 0; s < 2; s++) {
        c.a[s].window = 0;
        mark[s] = sf_scratch_mark(&t->b[s]);
        sf_tensor column = tensor(put(t, s, x[0], (size_t)rows * n * sizeof **x), SF_F32, rows, n),
                  diagonal = tensor(put(t, s, x[1], (size_t)rows * n * sizeof **x), SF_F32, rows, n);
        OK(t, s, sf_columns_and_diagonals_within(&c.a[s], &p[s], column, diagonal, density));
    }
    if (p[0].first.stride != p[1].first.stride || p[0].second.stride != p[1].second.stride)
        fail_msg("%s: %d columns and %d diagonals, expected %d and %d", c.what, (int)p[1].first.stride,
                 (int)p[1].second.stride, (int)p[0].first.stride, (int)p[0].second.stride);
    for (int i = 0; i < 2; i++)
        lists_agree(t, (sf_lists[]){i ? p[0].second : p[0].first, i ? p[1].second : p[1].first}, false, c.what);
    for (int s = 0; s < 2; s++) sf_scratch_release(&t->b[s], mark[s]), free(x[s]);
    end_case(t, c.what);
}

/* The same of long prompts, by fit_slashes() and by the search that does without on the same filling: as many of both. */
static void long_within_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    const int queries = in_range(t, most_keys / 4, most_keys), keys = queries + ONE_OF(t, 0, 0, 1) * in_range(t, 1, most_keys / 4),
              kv_heads = ONE_OF(t, 1, 2), rows = kv_heads * ONE_OF(t, 1, 2), kind = in_range(t, 0, 1);
    const double density = in_range(t, 1, 99) / (kind ? 100. : 400.);
    char what[160];
    snprintf(what, sizeof what, "seed %llu: within rows %d of %d heads, queries %d keys %d density %g", (unsigned long long)seed, rows, 2 * kv_heads, queries,
             keys, density);
    sf_backend *b = &t->b[1];
    sf_attention a = {.backend = b, .layers = 1, .heads = 2 * kv_heads, .kv_heads = kv_heads, .head_dim = 16, .queries = queries, .keys = keys};
    a.kv.prompt.n = a.kv.prompt.capacity = keys;
    const sf_mark mark = sf_scratch_mark(b);
    sf_tensor x[2];
    for (int i = 0; i < 2; i++) {
        float *score = malloc((size_t)rows * (size_t)keys * sizeof *score);
        for (int j = 0; j < rows * keys; j++) score[j] = expf(2 * normal(t)) / (float)(1 + j % keys / 64); /* as probes: the near ones are more */
        for (int j = 0; j < 5; j++) score[j] = INFINITY;
        x[i] = tensor(put(t, 1, score, (size_t)rows * (size_t)keys * sizeof *score), SF_F32, rows, keys);
        free(score);
    }
    sf_pattern p[2] = {0};
    const sf_backend_ops *real = b->ops;
    for (int s = 0; s < 2; s++) {
        sf_backend_ops ops = *real;
        if (s == 0) ops.fit_slashes = NULL;
        b->ops = &ops, b->meter = &t->meter[s];
        OK(t, 1, sf_columns_and_diagonals_within(&a, &p[s], x[0], x[1], density));
        b->ops = real;
    }
    if (p[0].first.stride != p[1].first.stride || p[0].second.stride != p[1].second.stride)
        fail_msg("%s: %d columns and %d diagonals, expected %d and %d", what, (int)p[1].first.stride, (int)p[1].second.stride,
                 (int)p[0].first.stride, (int)p[0].second.stride);
    sf_scratch_release(b, mark);
    end_case(t, what);
}

static const float *probed[2]; /* what a probe finds, where the filling's memory is */

static sf_status probe_given(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce, float *column, float *diagonal)
{
    (void)window, (void)step, (void)reduce;
    const size_t bytes = (size_t)a->heads * (size_t)a->keys * sizeof *column;
    SF_TRY(b->ops->copy(b, column, probed[0], bytes));
    return b->ops->copy(b, diagonal, probed[1], bytes);
}

/* Columns and diagonals by their mass within a density, as FlexPrefill asks for them: by fit_masses(), or by the search that does
 * without on the same filling, the same lists and counts. */
static void masses_case(twin *t, uint64_t seed, int most_keys)
{
    extern const sf_method sf_flex_prefill;
    begin_case(t, seed);
    scene c;
    make_scene(t, &c, seed, false, false, false, most_keys);
    sf_attention *a = &c.a[1];
    const int rows = a->heads, n = a->keys, kind = in_range(t, 0, 2), least = ONE_OF(t, 1, 2, 5, 512), sinks = ONE_OF(t, 0, 1, 4),
              local = ONE_OF(t, 1, 10, 64);
    const double density = in_range(t, 1, 1000) / 1000.;
    snprintf(c.what + strlen(c.what), 100, " density %g least %d forced %d %d kind %d", density, least, sinks, local, kind);
    double params[16];
    for (const sf_param *p = sf_flex_prefill.params; p->name; p++) {
        void *at = (char *)params + p->offset;
        if (p->type == SF_REAL) *(double *)at = strcmp(p->name, "density") ? p->initial : density;
        if (p->type == SF_INT) *(int *)at = !strcmp(p->name, "min_budget") ? least : !strcmp(p->name, "sinks") ? sinks : local;
    }
    a->window = 0;
    for (int i = 0; i < 2; i++) {
        float *x = malloc((size_t)rows * (size_t)n * sizeof *x);
        for (int j = 0; j < rows * n; j++) {
            x[j] = kind == 1 ? (float)ONE_OF(t, 0, 1, 1, 2, 5) * 0.1f : expf(3 * normal(t)); /* ties */
            if (kind == 2 && in_range(t, 0, 4) == 0) x[j] = ONE_OF(t, 0, 1) ? -INFINITY : NAN;
        }
        probed[i] = put(t, 1, x, (size_t)rows * (size_t)n * sizeof *x);
        free(x);
    }
    sf_pattern p[2] = {0};
    sf_meter counts[2] = {0};
    const sf_backend_ops *real = t->b[1].ops;
    const sf_mark mark = sf_scratch_mark(&t->b[1]);
    for (int s = 0; s < 2; s++) {
        sf_backend_ops ops = *real;
        ops.probe = probe_given;
        if (s == 0) ops.fit_masses = NULL;
        t->b[1].ops = &ops, t->b[1].meter = &counts[s];
        OK(t, 1, sf_flex_prefill.prefill(a, params, &p[s]));
        t->b[1].ops = real, t->b[1].meter = &t->meter[1];
    }
    if (p[0].kind != p[1].kind || memcmp(&counts[0], &counts[1], sizeof counts[0]) != 0)
        fail_msg("%s: pattern %d, expected %d, or other counts", c.what, (int)p[1].kind, (int)p[0].kind);
    for (int i = 0; i < 2 && p[0].kind == SF_COLUMNS_DIAGONALS; i++) {
        const sf_lists *of[2] = {i ? &p[0].second : &p[0].first, i ? &p[1].second : &p[1].first};
        int32_t *count[2], *index[2];
        for (int s = 0; s < 2; s++) {
            count[s] = malloc((size_t)of[s]->rows * sizeof **count), index[s] = malloc((size_t)(of[s]->rows * of[s]->stride + 1) * sizeof **index);
            fetch(t, 1, count[s], of[s]->count, (size_t)of[s]->rows * sizeof **count);
            for (int64_t r = 0; r < of[s]->rows; r++)
                fetch(t, 1, index[s] + r * of[s]->stride, of[s]->index + r * of[s]->stride, (size_t)count[s][r] * sizeof **index);
        }
        for (int64_t r = 0; r < of[0]->rows; r++)
            if (count[0][r] != count[1][r] || memcmp(index[0] + r * of[0]->stride, index[1] + r * of[1]->stride, (size_t)count[0][r] * sizeof **index))
                fail_msg("%s: list %d of row %d: %d entries, expected %d, or others", c.what, i, (int)r, count[1][r], count[0][r]);
        for (int s = 0; s < 2; s++) free(count[s]), free(index[s]);
    }
    sf_scratch_release(&t->b[1], mark);
    end_case(t, c.what);
}

static void decode_lanes(twin *t, uint64_t seed, int most_keys, bool rich)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    enum { LANES = 3 };
    scene c[LANES];
    sf_pattern p[LANES][2];
    const sf_attention *a[2][LANES];
    const sf_pattern *q[2][LANES];
    uint64_t shape = next_random(t);
    for (int l = 0; l < LANES; l++) {
        /* lanes of one model: the same heads, other lengths */
        bool ragged = l == 1;
        t->seed = shape;
        int kv_heads = ONE_OF(t, 1, 2, 8), group = ONE_OF(t, 1, 2, 3, 4, 7, 20),
            dim = ONE_OF(t, 16, 40, 64, 128, 128, 256);
        smaller_on_host(t, rich, &kv_heads, group, &dim);
        t->seed = shape + 77u * (uint64_t)(l + 1);
        int keys = in_range(t, 1, most_keys), tail = in_range(t, 0, keys - 1) / 3,
            window = ragged ? 0 : ONE_OF(t, 0, 0, 1) * in_range(t, 1, keys), values = (int)(seed % VALUES);
        sf_kv_part prompt[2], rest[2];
        make_part(t, kv_heads, dim, keys - tail, ragged, values, prompt);
        make_part(t, kv_heads, dim, tail, false, values, rest);
        keys = prompt[0].n + tail;
        float *x = make_queries(t, (int64_t)kv_heads * group * dim, values);
        c[l].tolerance = scene_tolerance(t, values);
        float cap = scene_cap(t, values);
        for (int s = 0; s < 2; s++)
            c[l].a[s] = (sf_attention){.backend = &t->b[s],
                                       .layer = 3,
                                       .layers = 9,
                                       .heads = kv_heads * group,
                                       .kv_heads = kv_heads,
                                       .head_dim = dim,
                                       .queries = 1,
                                       .keys = keys,
                                       .window = window,
                                       .scale = scene_scale(dim, values),
                                 .softcap = cap,
                                       .q = put_activations(t, s, x, (int64_t)kv_heads * group * dim),
                                       .kv = {prompt[s], rest[s], t->b[s].activation}};
        free(x);
        snprintf(c[l].what, sizeof c[l].what, "seed %llu: decode lane %d heads %d/%d dim %d keys %d tail %d window %d values %d%s",
                 (unsigned long long)seed, l, kv_heads * group, kv_heads, dim, keys, tail, window, values, ragged ? " ragged" : "");
        if (kv_heads * group <= 64) give_pairs(t, &c[l]);
        give_lse(t, &c[l]);
        if (rich && (ragged || in_range(t, 0, 3)))
            rich_pattern(t, &c[l], true, p[l]);
        else
            random_pattern(t, &c[l].a[0],
                           ragged ? SF_DENSE : (sf_pattern_kind)ONE_OF(t, SF_DENSE, SF_PAGES, SF_PAGES, SF_WINDOW), p[l]);
        if (p[l][0].kind == SF_PAGES && !p[l][0].empty) c[l].a[0].window = c[l].a[1].window = 0;
        tell(&c[l], " pattern %d page %d", p[l][0].kind, p[l][0].page);
        for (int s = 0; s < 2; s++) a[s][l] = &c[l].a[s], q[s][l] = &p[l][s];
    }
    int64_t n = (int64_t)c[0].a[0].heads * c[0].a[0].head_dim;
    float *out[2];
    void *to[2];
    for (int s = 0; s < 2; s++) to[s] = activation_room(t, s, LANES * n);
    BOTH(t, decode(&t->b[s], LANES, a[s], q[s], to[s]));
    for (int s = 0; s < 2; s++) out[s] = get_activations(t, s, to[s], LANES * n);
    for (int l = 0; l < LANES; l++) {
        agree(t, out[0] + l * n, out[1] + l * n, n, c[l].tolerance, c[l].what);
        lse_agree(t, &c[l], p[l]);
        if (c[l].a[0].pairs) pairs_agree(t, &c[l]);
        observe_pattern(t, &c[l], p[l]);
        c[l].a[1].pairs = NULL, c[l].a[1].lse = NULL; /* alone: the same bits */
        void *one = activation_room(t, 1, n);
        OK(t, 1, t->b[1].ops->decode(&t->b[1], 1, &a[1][l], &q[1][l], one));
        float *alone = get_activations(t, 1, one, n);
        if (memcmp(alone, out[1] + l * n, (size_t)n * sizeof(float)) != 0)
            fail_msg("%s: the lane alone differs from the lane in company", c[l].what);
        free(alone);
    }
    free(out[0]), free(out[1]);
    end_case(t, c[0].what);
}

static void decode_case(twin *t, uint64_t seed, int most_keys) { decode_lanes(t, seed, most_keys, false); }
static void decode_patterns_case(twin *t, uint64_t seed, int most_keys) { decode_lanes(t, seed, most_keys, true); }

#endif
