/* CPU: attention whose rows are normalised by α-entmax (Peters et al. 2019, arXiv 1905.05702).
 *
 *     p_j = (z_j - τ)+^q, z = (α - 1) logits, q = 1 / (α - 1) >= 1, with the one τ for which they sum to 1
 *
 * τ lies between max z - 1 and max z, so that keys at max z - 1 and below weigh nothing: one pass leaves the few that may. Of them
 * Newton's method finds τ as the root of |(z - τ)+|_q - 1, which is convex in τ (a norm), so that it rises from max z - 1 without
 * passing the root; for α = 1.5 it takes some five steps, since the norm is straight where the keys that count are alike. In double,
 * and to the end: the reference sorts or bisects instead. For α = 1.5 a step takes floats by the vector and sums them in double by the
 * thousand: where many keys weigh, the search costs more than their values.
 *
 * A row needs all of its logits before it can weigh any key, so they are kept: [8, keys] of a strip of rows in prefill, computed as
 * softmax's are (tile_attention.h), a row for each head in decode. Then only values of keys that weigh are read: what a softmax pays
 * for products with values is saved.
 *
 * Test: build/tests/test_backends cpu 300 entmax. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* α = 1.5: τ in float, then what it lacks, of numbers that are small beside it, so that even the least weights have all their digits. */
static int64_t weigh_squares(sf_backend *b, const float *x, int64_t some, double most, int32_t *at, float *weight)
{
    double tau = -1, total = 1;
    for (int part = 0; part < 2; part++) {
        const double base = part ? tau : 0;
        double low = part ? 0 : tau, slope;
        for (int64_t i = 0; i < some; i++) weight[i] = (float)(0.5 * ((double)x[at[i]] - most) - base);
        for (int step = 0; step < 30; step++) {
            total = sf_cpu_tiles(b)->excess(weight, some, (float)low, &slope);
            double by = (sqrt(total) - 1) * sqrt(total) / slope;
            if (!(fabs(by) > (part ? 1e-10 : 1e-6))) break;
            low = (double)(float)(low + by);
        }
        tau = base + low;
        if (!part) continue;
        int64_t kept = 0;
        const float share = (float)(1 / total), least = (float)low;
        for (int64_t i = 0; i < some; i++) {
            float y = weight[i] - least;
            weight[kept] = y * y * share, at[kept] = at[i];
            kept += y > 0;
        }
        some = kept;
    }
    return some;
}

int64_t sf_cpu_entmax(sf_backend *b, const float *x, int64_t n, double alpha, int32_t *at, float *weight)
{
    const double q = 1 / (alpha - 1), most = n ? (double)sf_cpu_tiles(b)->largest(x, n) : 0;
    const float least = (float)(most - q) - 1e-6f * fabsf((float)most); /* rounded: down */
    int64_t kept = 0, some = 0;
    for (int64_t j = 0; j < n; j++) {
        at[some] = (int32_t)j;
        some += !(x[j] < least) && x[j] > -INFINITY;
        if (isnan(x[j])) at[0] = (int32_t)j, weight[0] = NAN, kept = 1;
    }
    if (kept) return kept;
    if (q == 2 && isfinite(most)) return weigh_squares(b, x, some, most, at, weight);

    double tau = -1, total = 0;
    for (int step = 0; step < 200; step++) {
        double slope = 0;
        total = 0;
        for (int64_t i = 0; i < some; i++) {
            double y = (alpha - 1) * ((double)x[at[i]] - most) - tau;
            if (y <= 0) continue;
            double lower = q == 2 ? y : q == 1 ? 1 : pow(y, q - 1);
            slope += lower, total += lower * y;
        }
        double norm = q == 2 ? sqrt(total) : q == 1 ? total : pow(total, 1 / q), next = tau + (norm - 1) * total / (norm * slope);
        if (!(next > tau)) break;
        tau = next;
    }
    for (int64_t i = 0; i < some; i++) {
        double y = (alpha - 1) * ((double)x[at[i]] - most) - tau;
        if (y <= 0) continue;
        weight[kept] = (float)((q == 2 ? y * y : q == 1 ? y : pow(y, q)) / total);
        at[kept++] = at[i];
    }
    return kept;
}

static void weigh(const sf_attention *a, const float *const *value, const float *weight, int64_t n, float *out)
{
    memset(out, 0, (size_t)a->head_dim * sizeof *out);
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) { /* four at once: sums are loaded and stored that much less */
        const float *const *v = value + i, *w = weight + i;
        for (int d = 0; d < a->head_dim; d++) out[d] = out[d] + w[0] * v[0][d] + w[1] * v[1][d] + w[2] * v[2][d] + w[3] * v[3][d];
    }
    for (; i < n; i++)
        for (int d = 0; d < a->head_dim; d++) out[d] += weight[i] * value[i][d];
}

/* Scratch of a thread; `wide`: lanes of all panels that rows can have. */
typedef struct room {
    sf_panel *panels;
    float *q;            /* [D, 8] in prefill, [group, padded] in decode */
    float *packed;       /* [D, 16] */
    float *logit;        /* [8 or group, wide + 8] */
    int32_t *at;         /* [wide] */
    float *weight;       /* [wide] */
    const float **k, **v; /* [wide] */
    int64_t *key;        /* [wide] */
    int64_t wide;
} room;

static sf_status open_rooms(sf_backend *b, const sf_attention *a, int64_t rows, room *base)
{
    const int64_t panels = sf_cpu_most_panels(a), padded = sf_cpu_padded(a->head_dim);
    base->wide = panels * SF_PANEL;
    SF_TRY(sf_cpu_room(b, panels, sizeof *base->panels, (void **)&base->panels));
    SF_TRY(sf_cpu_room(b, rows * padded, sizeof *base->q, (void **)&base->q));
    SF_TRY(sf_cpu_room(b, padded * SF_PANEL, sizeof *base->packed, (void **)&base->packed));
    SF_TRY(sf_cpu_room(b, rows * (base->wide + 8), sizeof *base->logit, (void **)&base->logit));
    SF_TRY(sf_cpu_room(b, base->wide, sizeof *base->at, (void **)&base->at));
    SF_TRY(sf_cpu_room(b, base->wide, sizeof *base->weight, (void **)&base->weight));
    SF_TRY(sf_cpu_room(b, base->wide, sizeof *base->k, (void **)&base->k));
    SF_TRY(sf_cpu_room(b, base->wide, sizeof *base->v, (void **)&base->v));
    return sf_cpu_room(b, base->wide, sizeof *base->key, (void **)&base->key);
}

static room room_of_thread(const sf_attention *a, int64_t rows, const room *base)
{
    const int64_t t = omp_get_thread_num(), padded = sf_cpu_padded(a->head_dim), wide = base->wide;
    return (room){base->panels + t * (wide / SF_PANEL), base->q + t * rows * padded, base->packed + t * padded * SF_PANEL,
                  base->logit + t * rows * (wide + 8), base->at + t * wide, base->weight + t * wide, base->k + t * wide,
                  base->v + t * wide, base->key + t * wide, wide};
}

/* ---- prefill ------------------------------------------------------------------------------------------------------ */

/* [panels, D, 16] of all keys of a kv head. */
static void pack(sf_backend *b, const sf_attention *a, int g, float *to)
{
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t first = 0; first < a->keys; first += SF_PANEL) {
        const float *key[SF_PANEL];
        for (int i = 0; i < SF_PANEL; i++) key[i] = first + i < a->keys ? sf_cpu_row(a, g, first + i, false) : NULL;
        sf_cpu_tiles(b)->pack_keys(key, a->head_dim, to + first * a->head_dim);
    }
}

/* logit [8, wide + 8] of the strip's rows and the panels' keys; -INFINITY where a row does not see one. */
static void strip_logits(sf_backend *b, const sf_attention *a, sf_rows rows, const float *packed, room r, int panels)
{
    const int64_t dim = a->head_dim, ld = r.wide + 8;
    const int position = a->keys - a->queries + rows.row, g = rows.head / (a->heads / a->kv_heads);
    const sf_tiles *tiles = sf_cpu_tiles(b);
    for (int c = 0, n; c < panels; c += n) {
        const sf_panel *p = r.panels + c;
        const float *keys = packed + (p->lanes ? (int64_t)p->first * dim : 0); /* an empty panel is of no keys */
        for (n = 1; !p->key && p->lanes && c + n < panels && !p[n].key && p[n].lanes && p[n].first == p->first + n * SF_PANEL;) n++;
        if (p->key) { /* of a list */
            const float *key[SF_PANEL];
            for (int i = 0; i < SF_PANEL; i++) key[i] = p->lanes >> i & 1 ? sf_cpu_row(a, g, p->key[i], false) : NULL;
            tiles->pack_keys(key, a->head_dim, r.packed);
            keys = r.packed;
        }
        tiles->score(r.q, a->head_dim, keys, n, r.logit + c * SF_PANEL, ld, NULL, NULL);
    }
    for (int i = 0; i < rows.rows; i++) {
        float *x = r.logit + i * ld;
        tiles->cap(x, (int64_t)panels * SF_PANEL, a->softcap);
        for (int c = 0; c < panels; c++) {
            const sf_panel *p = r.panels + c;
            if (!p->edge && p->lanes == UINT16_MAX) continue;
            for (int l = 0; l < SF_PANEL; l++)
                if (!(p->lanes >> l & 1) || !sf_panel_sees(p, l, position + i)) x[c * SF_PANEL + l] = -INFINITY;
        }
    }
}

/* Up to 8 rows of a head. Returns the first without keys, or -1. */
static int run_strip(sf_backend *b, const sf_attention *a, const sf_pattern *p, sf_rows rows, const float *packed, room r, uint64_t *pairs,
                     uint64_t *weighed, float *out)
{
    const int64_t stride = (int64_t)a->heads * a->head_dim, from = rows.row * stride + (int64_t)rows.head * a->head_dim;
    const int g = rows.head / (a->heads / a->kv_heads);
    int empty = -1;
    sf_sight sight;
    for (int i = 0; i < SF_STRIP; i++) {
        const float *q = (const float *)a->q + from + (i < rows.rows ? i : 0) * stride;
        for (int d = 0; d < a->head_dim; d++) r.q[d * SF_STRIP + i] = q[d] * a->scale;
    }
    int panels = sf_cpu_panels(a, p, rows, false, &sight, r.panels, pairs);
    strip_logits(b, a, rows, packed, r, panels);
    for (int i = rows.rows - 1; i >= 0; i--) {
        int64_t n = sf_cpu_entmax(b, r.logit + i * (r.wide + 8), (int64_t)panels * SF_PANEL, (double)a->alpha, r.at, r.weight);
        for (int64_t k = 0; k < n; k++)
            r.v[k] = sf_cpu_row(a, g, sf_panel_key(&r.panels[r.at[k] / SF_PANEL], r.at[k] % SF_PANEL), true);
        weigh(a, r.v, r.weight, n, out + from + i * stride);
        *weighed += (uint64_t)n;
        if (n == 0) empty = rows.row + i;
    }
    return empty;
}

sf_status sf_cpu_entmax_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, void *out)
{
    const int64_t keys = sf_cpu_parts(a->keys, SF_PANEL) * SF_PANEL, strips = a->queries + 1;
    const int group = a->heads / a->kv_heads;
    int64_t empty = INT64_MAX;
    sf_mark mark = sf_scratch_mark(b);
    float *packed;
    int32_t *start; /* [strips] first rows of a head's strips */
    room base;
    SF_TRY(sf_host_entmax(a, p));
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * a->head_dim) * sizeof *packed, (void **)&packed));
    SF_TRY(sf_scratch_alloc(b, (size_t)strips * sizeof *start, (void **)&start));
    SF_TRY(open_rooms(b, a, SF_STRIP, &base));
    for (int h = 0; h < a->heads; h++) {
        int n = 0;
        if (h % group == 0) pack(b, a, h / group, packed);
        for (int i = 0; i < a->queries; i += sf_cpu_rows_together(a, p, h, i, SF_STRIP)) start[n++] = i;
        start[n] = a->queries;
        uint64_t pairs = 0, weighed = 0;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(min : empty) reduction(+ : pairs, weighed)
        for (int i = n - 1; i >= 0; i--) {
            sf_rows rows = {h, start[i], start[i + 1] - start[i], false};
            int without = run_strip(b, a, p, rows, packed, room_of_thread(a, SF_STRIP, &base), &pairs, &weighed, out);
            if (without >= 0 && (int64_t)h * a->queries + without < empty) empty = (int64_t)h * a->queries + without;
        }
        if (a->pairs) a->pairs[h] += pairs;
        if (a->weighed) a->weighed[h] += weighed;
    }
    sf_scratch_release(b, mark);
    if (empty == INT64_MAX || p->empty) return SF_OK;
    return sf_host_no_key(a, "prefill", (int)(empty / a->queries), (int)(empty % a->queries));
}

/* ---- decode ------------------------------------------------------------------------------------------------------- */

/* `heads` query heads from `head` on, which read the same keys. False: none. */
static bool run_row(sf_backend *b, const sf_attention *a, const sf_pattern *p, int head, int heads, room r, float *out)
{
    const int64_t dim = a->head_dim, padded = sf_cpu_padded(a->head_dim), ld = r.wide + 8;
    const int g = head / (a->heads / a->kv_heads);
    uint64_t pairs = 0;
    int64_t n = 0;
    sf_sight sight;
    int panels = sf_cpu_panels(a, p, (sf_rows){head, 0, 1, true}, false, &sight, r.panels, &pairs);
    for (int c = 0; c < panels; c++)
        for (int i = 0; i < SF_PANEL; i++) {
            if (!(r.panels[c].lanes >> i & 1) || !sf_panel_sees(r.panels + c, i, a->keys - 1)) continue;
            r.key[n] = sf_panel_key(r.panels + c, i);
            r.k[n] = sf_cpu_row(a, g, r.key[n], false);
            n++;
        }
    memset(r.q, 0, (size_t)(heads * padded) * sizeof *r.q);
    for (int h = 0; h < heads; h++)
        for (int d = 0; d < dim; d++) r.q[h * padded + d] = ((const float *)a->q)[(head + h) * dim + d] * a->scale;
    if (n) sf_cpu_tiles(b)->dots(r.q, heads, a->head_dim, r.k, (int)n, r.logit, ld);
    for (int h = 0; h < heads; h++) {
        sf_cpu_tiles(b)->cap(r.logit + h * ld, n, a->softcap);
        int64_t some = sf_cpu_entmax(b, r.logit + h * ld, n, (double)a->alpha, r.at, r.weight);
        for (int64_t i = 0; i < some; i++) r.v[i] = sf_cpu_row(a, g, r.key[r.at[i]], true);
        weigh(a, r.v, r.weight, some, out + (head + h) * dim);
        if (a->pairs) a->pairs[head + h] += (uint64_t)n;
        if (a->weighed) a->weighed[head + h] += (uint64_t)some;
    }
    return n > 0;
}

sf_status sf_cpu_entmax_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, void *out)
{
    const int heads = a[0]->heads, group = heads / a[0]->kv_heads;
    int64_t empty = (int64_t)lanes * heads;
    sf_mark mark = sf_scratch_mark(b);
    room base;
    int longest = 0;
    for (int l = 0; l < lanes; l++) {
        SF_TRY(sf_cache_refuse(&a[l]->kv.prompt, "attention by entmax"));
        SF_TRY(sf_host_entmax(a[l], pattern[l]));
        if (sf_cpu_most_panels(a[l]) > sf_cpu_most_panels(a[longest])) longest = l;
    }
    SF_TRY(open_rooms(b, a[longest], group, &base));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(min : empty)
    for (int i = 0; i < lanes * heads; i++) {
        const int l = i / heads, h = i % heads, each = pattern[l]->heads == heads && group > 1 ? 1 : group;
        if (h % each) continue;
        if (!run_row(b, a[l], pattern[l], h, each, room_of_thread(a[l], group, &base), (float *)out + (int64_t)l * heads * a[l]->head_dim) &&
            !pattern[l]->empty && i < empty)
            empty = i;
    }
    sf_scratch_release(b, mark);
    if (empty == (int64_t)lanes * heads) return SF_OK;
    return sf_host_no_key(a[empty / heads], "decode", (int)(empty % heads), 0);
}
