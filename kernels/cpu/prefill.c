/* CPU: attention of many query rows, dense or sparse.
 *
 * For one kv head at a time, all its keys and values are packed once into panels of 16 (an extra copy of one head);
 * then tiles of up to 64 query rows of the group's heads are shared out, the longest first. A tile asks panels.c which
 * keys its rows compute and runs them through online softmax (tile_attention.h): nothing of size rows × keys exists. A
 * small block costs what its pairs cost, because a panel is 16 keys and a strip 8 rows whatever the pattern.
 *
 * Parts of one softmax follow each other through the same tile, so that joining them costs nothing. A reach divides a
 * part's pairs in those at true distances and the others, which follow with the query turned to position `cap` and keys
 * turned to their places in their chunks. Gated parts are prefills of their own, added up. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* What tiles of one kv head read of one part. */
typedef struct packed {
    const sf_pattern *pattern;
    float *k, *v;              /* [panels, D, 16], [panels, 16, padded] in column blocks; one for all parts */
    float *columns_k, *columns_v; /* columns: the same of them, a list for each query head or for all */
    int64_t column_panels;     /* room of a list, in panels */
    float *turned_k, *turned_columns_k; /* with a reach: keys at their places in their chunks */
    float *summaries_k, *summaries_v, *summaries_bias; /* the same of summaries; bias [group, summaries] */
    int32_t *summaries_from;
    int64_t summaries;         /* rounded up to panels */
} packed;

/* Scratch of one thread. */
typedef struct room {
    sf_panel *panels;
    float *floats, *turned; /* of a tile; SF_PANEL turned keys or SF_TILE_ROWS queries, and angles */
} room;

/* Where the panel that begins at key `at`, a multiple of 16, lies behind the first, in floats. */
static int64_t keys_before(const sf_backend *b, const sf_attention *a, int64_t at)
{
    const sf_tiles *tiles = sf_cpu_tiles(b);
    return at * a->head_dim >> (tiles->halves ? tiles->halves(a->head_dim) : 0);
}

static int64_t values_before(const sf_backend *b, const sf_attention *a, int64_t at)
{
    const sf_tiles *tiles = sf_cpu_tiles(b);
    return at * sf_cpu_padded(a->head_dim) >> (tiles->halves ? tiles->halves(a->head_dim) : 0);
}

static bool has_columns(const sf_pattern *p) { return (p->kind == SF_COLUMNS_DIAGONALS || p->kind == SF_BANDS) && p->first.rows; }

/* Packs n keys, `from` where they lie, into a panel; turned: to their places in their chunks. */
static void pack_turned(sf_backend *b, const sf_attention *a, sf_reach reach, const float *const *from, const int64_t *key, int n,
                        float *to, float *k)
{
    float *cosine = to + SF_PANEL * a->head_dim, *sine = cosine + a->head_dim / 2;
    const float *rows[SF_PANEL];
    int64_t chunk = -1;
    for (int i = 0; i < SF_PANEL; i++) {
        rows[i] = NULL;
        if (i >= n || !from[i]) continue;
        if (key[i] / reach.chunk != chunk) sf_cpu_angles(a, -(chunk = key[i] / reach.chunk) * reach.chunk, cosine, sine);
        sf_cpu_turn(a, cosine, sine, from[i], to + i * a->head_dim);
        rows[i] = to + i * a->head_dim;
    }
    sf_cpu_tiles(b)->panel_keys(rows, a->head_dim, k);
}

static void pack_panel(sf_backend *b, const sf_attention *a, int g, const int64_t *key, int n, sf_reach reach, float *turned, float *k,
                       float *v, float *turned_k)
{
    const float *keys[SF_PANEL], *values[SF_PANEL];
    for (int i = 0; i < SF_PANEL; i++) {
        keys[i] = i < n ? sf_cpu_row(a, g, key[i], false) : NULL;
        values[i] = i < n ? sf_cpu_row(a, g, key[i], true) : NULL;
    }
    if (k) sf_cpu_tiles(b)->panel_keys(keys, a->head_dim, k);
    if (v) sf_cpu_tiles(b)->panel_values(values, a->head_dim, v);
    if (turned_k) pack_turned(b, a, reach, keys, key, n, turned, turned_k);
}

/* The first key that a pattern with a reach cannot name. */
static int64_t keys_named(const sf_attention *a, const sf_pattern *p)
{
    int64_t sinks = 0;
    if (p->kind != SF_BANDS || p->first.rows || p->second.rows) return a->keys;
    for (int i = 0; i < p->heads * SF_BANDS_A_HEAD; i++) {
        if (p->band[i].far > p->band[i].near) return a->keys;
        if (p->band[i].sinks > sinks) sinks = p->band[i].sinks;
    }
    return sinks < a->keys ? sinks : a->keys;
}

static void pack_columns(sf_backend *b, const sf_attention *a, int g, const packed *to, room r)
{
    const sf_pattern *p = to->pattern;
    int group = a->heads / a->kv_heads;
    int lists = to->column_panels == 0 ? 0 : p->heads == a->heads ? group : 1;
    for (int l = 0; l < lists; l++) {
        int64_t row = sf_selection_of(p, a->heads, a->kv_heads, g * group + l);
        const int32_t *index = p->first.index + row * p->first.stride;
#pragma omp for schedule(static) nowait
        for (int64_t c = 0; c < p->first.count[row]; c += SF_PANEL) {
            int64_t key[SF_PANEL], at = l * to->column_panels * SF_PANEL + c;
            int n = p->first.count[row] - c < SF_PANEL ? (int)(p->first.count[row] - c) : SF_PANEL;
            for (int i = 0; i < n; i++) key[i] = index[c + i];
            pack_panel(b, a, g, key, n, p->reach, r.turned, to->columns_k + keys_before(b, a, at), to->columns_v + values_before(b, a, at),
                       to->turned_columns_k ? to->turned_columns_k + keys_before(b, a, at) : NULL);
        }
    }
}

static void pack_summaries(sf_backend *b, const sf_attention *a, int g, const packed *to)
{
    const sf_summaries *s = &to->pattern->sum;
    int64_t m = to->summaries ? s->k.dim[1] : 0, d = a->head_dim, group = a->heads / a->kv_heads;
#pragma omp for schedule(static) nowait
    for (int64_t c = 0; c < to->summaries; c += SF_PANEL) {
        const float *keys[SF_PANEL], *values[SF_PANEL];
        for (int64_t i = 0; i < SF_PANEL; i++) {
            bool there = c + i < m;
            keys[i] = there ? (const float *)s->k.data + (g * m + c + i) * d : NULL;
            values[i] = there ? (const float *)s->v.data + (g * m + c + i) * d : NULL;
            to->summaries_from[c + i] = there && s->from ? s->from[c + i] : 0;
            for (int64_t h = 0; h < group; h++) {
                int64_t row = s->bias.dim[0] == a->heads ? g * group + h : g;
                to->summaries_bias[h * to->summaries + c + i] =
                    there && s->bias.data ? ((const float *)s->bias.data)[row * m + c + i] * (float)M_LOG2E : 0;
            }
        }
        sf_cpu_tiles(b)->panel_keys(keys, a->head_dim, to->summaries_k + keys_before(b, a, c));
        sf_cpu_tiles(b)->panel_values(values, a->head_dim, to->summaries_v + values_before(b, a, c));
    }
}

static room room_of_thread(const sf_attention *a, const room *base)
{
    int64_t thread = omp_get_thread_num(), padded = sf_cpu_padded(a->head_dim);
    return (room){base->panels + thread * sf_cpu_most_panels(a),
                  base->floats + thread * SF_TILE_ROWS * (2 * padded + SF_PANEL + 1),
                  base->turned + thread * (SF_TILE_ROWS + 1) * a->head_dim};
}

static void pack_head(sf_backend *b, const sf_attention *a, int g, const packed *to, int parts, const room *base)
{
#pragma omp parallel num_threads(b->threads)
    {
        room r = room_of_thread(a, base);
        for (int k = 0; k < parts; k++) {
            bool all = k == 0;
            int64_t turned = to[k].turned_k != to[k].k ? keys_named(a, to[k].pattern) : 0, end = all ? a->keys : turned;
#pragma omp for schedule(static) nowait
            for (int64_t first = 0; first < end; first += SF_PANEL) {
                int64_t key[SF_PANEL];
                int n = a->keys - first < SF_PANEL ? (int)(a->keys - first) : SF_PANEL;
                for (int i = 0; i < n; i++) key[i] = first + i;
                pack_panel(b, a, g, key, n, to[k].pattern->reach, r.turned, all ? to[k].k + keys_before(b, a, first) : NULL,
                           all ? to[k].v + values_before(b, a, first) : NULL,
                           first < turned ? to[k].turned_k + keys_before(b, a, first) : NULL);
            }
            pack_columns(b, a, g, &to[k], r);
            pack_summaries(b, a, g, &to[k]);
        }
    }
}

static void locate(const sf_backend *b, const sf_attention *a, const packed *from, int head, bool turned, sf_panel *panel, int n)
{
    const sf_pattern *p = from->pattern;
    int group = a->heads / a->kv_heads;
    int64_t list = p->heads == a->heads ? head % group : 0;
    int64_t row = sf_selection_of(p, a->heads, a->kv_heads, head);
    const float *k = turned ? from->turned_k : from->k, *columns_k = turned ? from->turned_columns_k : from->columns_k;
    for (int c = 0; c < n; c++) {
        if (panel[c].key) {
            int64_t at =
                list * from->column_panels * SF_PANEL + (panel[c].key - (p->first.index + row * p->first.stride));
            panel[c].k = columns_k + keys_before(b, a, at);
            panel[c].v = from->columns_v + values_before(b, a, at);
        } else { /* an empty panel points anywhere */
            int64_t at = panel[c].lanes ? panel[c].first : 0;
            panel[c].k = k + keys_before(b, a, at);
            panel[c].v = from->v + values_before(b, a, at);
        }
    }
}

/* The panels of a part's summaries, which list the first positions that see them. */
static int summaries(const sf_backend *b, const sf_attention *a, const packed *from, sf_rows rows, sf_panel *out, uint64_t *pairs)
{
    int64_t last = a->keys - a->queries + rows.row + rows.rows - 1, m = from->summaries ? from->pattern->sum.k.dim[1] : 0;
    int n = 0;
    for (int64_t c = 0; c < m; c += SF_PANEL) {
        sf_panel p = {.k = from->summaries_k + keys_before(b, a, c),
                      .v = from->summaries_v + values_before(b, a, c),
                      .bias = from->summaries_bias + rows.head % (a->heads / a->kv_heads) * from->summaries + c,
                      .key = from->summaries_from + c,
                      .reach = INT32_MAX,
                      .first = INT32_MAX,
                      .edge = true};
        for (int i = 0; i < SF_PANEL && c + i < m; i++) {
            int64_t seen = last - (p.key[i] > last - rows.rows + 1 ? p.key[i] : last - rows.rows + 1) + 1;
            p.lanes |= (uint16_t)(1 << i);
            if (p.key[i] < p.first) p.first = p.key[i];
            if (seen > 0) *pairs += (uint64_t)seen;
        }
        out[n++] = p;
    }
    return n;
}

/* The tile's queries turned to position `cap` instead of their own. */
static void turn_queries(const sf_attention *a, sf_reach reach, const sf_query_tile *t, const float *q, int64_t stride, float *to)
{
    float *cosine = to + SF_TILE_ROWS * a->head_dim, *sine = cosine + a->head_dim / 2;
    for (int r = 0; r < t->rows; r++) {
        sf_cpu_angles(a, reach.cap - t->position - r, cosine, sine);
        sf_cpu_turn(a, cosine, sine, q + r * stride, to + r * a->head_dim);
    }
}

/* One tile; returns the first row without keys, or -1. */
static int run_tile(sf_backend *b, const sf_attention *a, const packed *from, int parts, sf_rows rows, room r, uint64_t *pairs,
                    float *out)
{
    const sf_tiles *tiles = sf_cpu_tiles(b);
    int64_t stride = (int64_t)a->heads * a->head_dim, at = rows.row * stride + (int64_t)rows.head * a->head_dim;
    const float *q = (const float *)a->q + at;
    sf_sight sight;
    sf_query_tile t = {.rows = rows.rows,
                       .dim = a->head_dim,
                       .padded = sf_cpu_padded(a->head_dim),
                       .position = a->keys - a->queries + rows.row,
                       .cap = a->softcap * LOG2E};
    t.q = r.floats;
    t.out = t.q + SF_TILE_ROWS * t.padded;
    t.sum = t.out + SF_TILE_ROWS * t.padded;
    t.most = t.sum + SF_TILE_ROWS * SF_PANEL;
    tiles->attend_begin(&t, q, stride, a->scale);
    for (int k = 0; k < parts; k++) { /* at true distances; a row's parts come in order */
        int n = sf_cpu_panels(a, from[k].pattern, rows, false, &sight, r.panels, pairs);
        locate(b, a, &from[k], rows.head, false, r.panels, n);
        tiles->attend(&t, r.panels, n);
        if (from[k].summaries) tiles->attend(&t, r.panels, summaries(b, a, &from[k], rows, r.panels, pairs));
    }
    for (int k = 0; k < parts; k++) {
        sf_reach reach = from[k].pattern->reach;
        int n = reach.chunk ? sf_cpu_panels(a, from[k].pattern, rows, true, &sight, r.panels, pairs) : 0;
        if (n == 0) continue;
        locate(b, a, &from[k], rows.head, true, r.panels, n);
        turn_queries(a, reach, &t, q, stride, r.turned);
        tiles->load_queries(&t, r.turned, a->head_dim, a->scale);
        tiles->attend(&t, r.panels, n);
    }
    float *lse = a->lse ? a->lse + (int64_t)rows.row * a->heads + rows.head : NULL;
    int empty = tiles->attend_end(&t, out + at, stride, lse, a->heads);
    return empty < 0 ? -1 : rows.row + empty;
}

/* Room for what a part packs. */
static sf_status open_part(sf_backend *b, const sf_attention *a, const sf_pattern *p, const packed *all, packed *out)
{
    int64_t dim = a->head_dim, padded = sf_cpu_padded(a->head_dim), group = a->heads / a->kv_heads,
            keys = sf_cpu_parts(a->keys, SF_PANEL) * SF_PANEL;
    *out = (packed){.pattern = p, .k = all->k, .v = all->v, .turned_k = all->k};
    bool turns = p->reach.chunk > 0 && p->reach.chunk < a->keys; /* one chunk: keys are in their places */
    if (turns) SF_TRY(sf_scratch_alloc(b, (size_t)(keys * dim) * sizeof(float), (void **)&out->turned_k));
    if (has_columns(p)) {
        out->column_panels = sf_cpu_parts(p->first.stride, SF_PANEL);
        int64_t lists = p->heads == a->heads ? group : 1, wide = lists * out->column_panels * SF_PANEL;
        SF_TRY(sf_scratch_alloc(b, (size_t)(wide * dim) * sizeof(float), (void **)&out->columns_k));
        SF_TRY(sf_scratch_alloc(b, (size_t)(wide * padded) * sizeof(float), (void **)&out->columns_v));
        if (p->reach.chunk) SF_TRY(sf_scratch_alloc(b, (size_t)(wide * dim) * sizeof(float), (void **)&out->turned_columns_k));
    }
    if (!p->sum.k.data) return SF_OK;
    int64_t m = out->summaries = sf_cpu_parts(p->sum.k.dim[1], SF_PANEL) * SF_PANEL;
    SF_TRY(sf_scratch_alloc(b, (size_t)(m * dim) * sizeof(float), (void **)&out->summaries_k));
    SF_TRY(sf_scratch_alloc(b, (size_t)(m * padded) * sizeof(float), (void **)&out->summaries_v));
    SF_TRY(sf_scratch_alloc(b, (size_t)(m * group) * sizeof(float), (void **)&out->summaries_bias));
    return sf_scratch_alloc(b, (size_t)m * sizeof(int32_t), (void **)&out->summaries_from);
}

/* Tiles of one query head. */
static int cut(const sf_attention *a, const sf_pattern *whole, int head, int32_t *start)
{
    int tiles = 0;
    for (int i = 0; i < a->queries; i += whole->repeat ? whole->repeat : sf_cpu_rows_together(a, whole, head, i, SF_TILE_ROWS))
        start[tiles++] = i;
    return tiles;
}

/* Parts of one softmax. */
static sf_status joined(sf_backend *b, const sf_attention *a, const sf_pattern *whole, bool empty_allowed, float *out)
{
    int dim = a->head_dim, padded = sf_cpu_padded(dim), group = a->heads / a->kv_heads;
    int parts = whole->kind == SF_PARTS ? whole->parts : 1;
    int64_t keys = sf_cpu_parts(a->keys, SF_PANEL) * SF_PANEL, floats = SF_TILE_ROWS * (2 * padded + SF_PANEL + 1), most = 0;
    packed from[SF_MOST_PARTS], all = {0};
    room base;
    int32_t *start; /* [group, T + 1] of each tile of a head: first row */
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * dim) * sizeof(float), (void **)&all.k));
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * padded) * sizeof(float), (void **)&all.v));
    for (int k = 0; k < parts; k++) {
        SF_TRY(open_part(b, a, whole->kind == SF_PARTS ? &whole->part[k] : whole, &all, &from[k]));
        if (from[k].summaries / SF_PANEL > most) most = from[k].summaries / SF_PANEL;
    }
    if (most > sf_cpu_most_panels(a))
        return sf_fail(SF_UNSUPPORTED, "prefill: %lld summaries of %d keys", (long long)most * SF_PANEL, a->keys);
    SF_TRY(sf_cpu_room(b, sf_cpu_most_panels(a), sizeof *base.panels, (void **)&base.panels));
    SF_TRY(sf_cpu_room(b, floats, sizeof *base.floats, (void **)&base.floats));
    SF_TRY(sf_cpu_room(b, (SF_TILE_ROWS + 1) * dim, sizeof *base.turned, (void **)&base.turned));
    int64_t room_of_starts = a->queries + 1;
    SF_TRY(sf_scratch_alloc(b, (size_t)(group * room_of_starts) * sizeof *start, (void **)&start));

    int64_t empty = INT64_MAX; /* head * T + row of the first query row without keys */
    for (int g = 0; g < a->kv_heads; g++) {
        int tiles[group], longest = 0;
        for (int h = 0; h < group; h++) {
            tiles[h] = cut(a, whole, g * group + h, start + h * room_of_starts);
            if (tiles[h] > longest) longest = tiles[h];
        }
        pack_head(b, a, g, from, parts, &base);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(min : empty)
        for (int unit = 0; unit < longest * group; unit++) {
            int h = unit % group, tile = longest - 1 - unit / group, head = g * group + h;
            if (tile >= tiles[h]) continue;
            int row = start[h * room_of_starts + tile];
            sf_rows rows = {head, row, whole->repeat ? 1 : sf_cpu_rows_together(a, whole, head, row, SF_TILE_ROWS), false};
            uint64_t pairs = 0;
            int without = run_tile(b, a, from, parts, rows, room_of_thread(a, &base), &pairs, out);
            if (without >= 0 && (int64_t)head * a->queries + without < empty)
                empty = (int64_t)head * a->queries + without;
            if (a->pairs) {
#pragma omp atomic
                a->pairs[head] += pairs;
            }
        }
    }
    if (empty == INT64_MAX || empty_allowed) return SF_OK;
    return sf_host_no_key(a, "prefill", (int)(empty / a->queries), (int)(empty % a->queries));
}

/* ---- gated parts -------------------------------------------------------------------------------------------------- */

static sf_status gated(sf_backend *b, const sf_attention *a, const sf_pattern *p, float *out)
{
    int64_t d = a->head_dim, width = (int64_t)a->heads * d, rows = (int64_t)a->queries * a->heads;
    float *one;
    sf_attention quiet = *a;
    quiet.lse = NULL;
    SF_TRY(sf_scratch_alloc(b, (size_t)(a->queries * width) * sizeof *one, (void **)&one));
    memset(out, 0, (size_t)(a->queries * width) * sizeof *out);
    for (int k = 0; k < p->parts; k++) {
        const sf_pattern *part = p->part + k;
        const float *gate = part->gate.data, *constant = part->kind == SF_CONSTANT ? part->sum.v.data : NULL;
        sf_mark mark = sf_scratch_mark(b);
        if (!constant) SF_TRY(joined(b, &quiet, part, true, one));
        sf_scratch_release(b, mark);
        for (int64_t i = 0; part->repeat && i < a->queries; i++)
            if (i % part->repeat) memcpy(one + i * width, one + (i - i % part->repeat) * width, (size_t)width * sizeof *one);
#pragma omp parallel for num_threads(b->threads) schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            int64_t h = r % a->heads;
            float g = gate ? gate[part->gate.dim[0] > 1 ? r : h] : 1;
            const float *from = constant ? constant + h / (a->heads / a->kv_heads) * d : one + r * d;
            for (int64_t x = 0; x < d; x++) out[r * d + x] += g * from[x];
        }
    }
    return SF_OK;
}

sf_status sf_cpu_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, void *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "prefill"));
    if (a->alpha != 0) return sf_cpu_entmax_prefill(b, a, p, out);
    sf_mark mark = sf_scratch_mark(b);
    sf_status status = p->kind == SF_PARTS && p->gated ? gated(b, a, p, out) : joined(b, a, p, p->empty, out);
    sf_scratch_release(b, mark);
    return status;
}
