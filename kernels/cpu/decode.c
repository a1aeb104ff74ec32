/* CPU: attention of one query row for each of several sequences, and exact probabilities of single rows.
 *
 * A decode is limited by reading the cache, so keys are used as they lie, row by row, each once for the whole group of
 * query heads. A sequence's keys are cut every SPLIT keys of those that its pattern names; the parts are shared out
 * over threads, all lanes' parts of the same stretch one after the other, so that lanes which share a prompt find its
 * keys in cache; then the parts of a row are merged in order. The cut depends on the row alone.
 *
 * Test: build/tests/test_backends. Measured as in tile_attention.h: 32k keys, 32 query and 8 kv heads of 128,
 * one thread: 10 to 11 GB/s where plain reading had 13 to 14; 2k keys out of cache 17 to 22 GB/s. A packed prompt is bound by
 * arithmetic: on a Zen 2 (AVX2), where fp32 takes 37.6 ms of 32k keys (7.1 GB/s), int8 takes 22.2. */
#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { SPLIT = 512 };

/* The keys and values that one reader of a lane reads, in order: a kv head for the group of its query heads, or one query
 * head where each has lists of its own. Those of a packed prompt are NULL and known by their row, until a tile turns them to floats. */
typedef struct reads {
    const float **k, **v;
    int64_t *row; /* sf_kv_row() of what is packed; NULL: nothing is */
    float *bias; /* [biases, most]; NULL: none */
    int biases;  /* 1 for all of the reader's heads, or one for each: where summaries have biases of their own */
    int64_t n, most;
    int head, heads; /* the first query head, and their number */
    float *turned, *angles; /* where the next key that a reach turns is put; [D] */
} reads;

static const sf_pattern *part_of(const sf_pattern *p, int k) { return p->kind == SF_PARTS ? p->part + k : p; }
static int parts_of(const sf_pattern *p) { return p->kind == SF_PARTS ? p->parts : 1; }

static bool lists_of_heads(const sf_attention *a, const sf_pattern *p)
{
    for (int k = 0; k < parts_of(p); k++)
        if (part_of(p, k)->heads == a->heads && a->heads > a->kv_heads) return true;
    return false;
}

static int readers_of(const sf_attention *a, const sf_pattern *p) { return lists_of_heads(a, p) ? a->heads : a->kv_heads; }

static bool has_bias(const sf_pattern *p)
{
    for (int k = 0; k < parts_of(p); k++)
        if (part_of(p, k)->bias.data || part_of(p, k)->sum.bias.data) return true;
    return false;
}

static bool has_bias_of_summaries(const sf_pattern *p)
{
    for (int k = 0; k < parts_of(p); k++)
        if (part_of(p, k)->sum.bias.data) return true;
    return false;
}

static int64_t turned_keys(const sf_attention *a, const sf_pattern *p)
{
    int64_t n = 0;
    for (int k = 0; k < parts_of(p); k++) n += part_of(p, k)->reach.chunk ? a->keys : 0;
    return n;
}

static int64_t most_reads(const sf_attention *a, const sf_pattern *p)
{
    int64_t n = a->keys;
    for (int k = 0; k < parts_of(p); k++) n += part_of(p, k)->sum.k.data ? part_of(p, k)->sum.k.dim[1] : 0;
    return n;
}

static void add_read(reads *to, const float *k, const float *v, int64_t row)
{
    to->k[to->n] = k, to->v[to->n] = v;
    if (to->row) to->row[to->n] = row;
    for (int h = 0; to->bias && h < to->biases; h++) to->bias[h * to->most + to->n] = 0;
    to->n++;
}

/* A panel whose 16 keys the row sees all and that lie one after the other, by one look at them. Whether it is one. */
static bool list_whole(const sf_attention *a, int g, const sf_panel *x, reads *to)
{
    const int64_t before = a->kv.prompt.n, dim = a->head_dim;
    const bool old = x->first + SF_PANEL <= before;
    const sf_kv_part *part = old ? &a->kv.prompt : &a->kv.tail;
    if (x->edge || x->lanes != UINT16_MAX || x->key || part->index || (!old && x->first < before)) return false;
    const int64_t row = sf_kv_row(part, g, old ? x->first : x->first - before), n = to->n;
    for (int i = 0; i < SF_PANEL; i++) {
        to->k[n + i] = part->packed ? NULL : (const float *)part->k + (row + i) * dim;
        to->v[n + i] = part->packed ? NULL : (const float *)part->v + (row + i) * dim;
    }
    for (int i = 0; to->row && i < SF_PANEL; i++) to->row[n + i] = row + i;
    to->n += SF_PANEL;
    return true;
}

/* Adds the panels' keys, those that a reach moves as copies turned so far ahead that the query meets them at its distance.
 */
static void list_reads(const sf_attention *a, const sf_pattern *p, bool turned, const sf_panel *panel, int panels, reads *to)
{
    const sf_kv_part *prompt = &a->kv.prompt, *tail = &a->kv.tail;
    int64_t dim = a->head_dim, before = prompt->n, position = a->keys - 1, angles = -1;
    int g = to->head / (a->heads / a->kv_heads), page = 0;
    int64_t list = p->first.rows ? sf_selection_of(p, a->heads, a->kv_heads, to->head) : 0;
    const int32_t *index = p->bias.data ? p->first.index + list * p->first.stride : NULL;
    const float *bias = index ? (const float *)p->bias.data + list * p->first.stride : NULL;
    for (int c = 0; c < panels; c++) {
        const sf_panel *x = panel + c;
        if (!turned && !to->bias && list_whole(a, g, x, to)) continue;
        for (unsigned lanes = x->lanes; lanes; lanes &= lanes - 1) {
            int i = __builtin_ctz(lanes);
            int64_t j = sf_panel_key(x, i);
            if (!sf_panel_sees(x, i, position)) continue;
            const sf_kv_part *part = j < before ? prompt : tail;
            const int64_t row = sf_kv_row(part, g, j < before ? j : j - before), at = row * dim;
            const float *k = part->packed ? NULL : (const float *)part->k + at, *v = part->packed ? NULL : (const float *)part->v + at;
            if (turned) {
                float own[dim];
                if (!k) sf_cpu_unpack(a, part->k, row, own), k = own;
                int64_t ahead = position - sf_reach_position(p->reach, position, j);
                if (ahead != angles) sf_cpu_angles(a, angles = ahead, to->angles, to->angles + dim / 2);
                sf_cpu_turn(a, to->angles, to->angles + dim / 2, k, to->turned);
                k = to->turned;
                to->turned += dim;
            }
            add_read(to, k, v, row);
            if (!index) continue;
            while (j >= ((int64_t)index[page] + 1) * p->page) page++;
            for (int h = 0; h < to->biases; h++) to->bias[h * to->most + to->n - 1] = bias[page] * LOG2E;
        }
    }
}

static void list_summaries(const sf_attention *a, const sf_summaries *s, reads *to)
{
    int64_t m = s->k.data ? s->k.dim[1] : 0, g = to->head / (a->heads / a->kv_heads);
    for (int64_t i = 0; i < m; i++) {
        if (s->from && s->from[i] > a->keys - 1) continue;
        add_read(to, (const float *)s->k.data + (g * m + i) * a->head_dim,
                 (const float *)s->v.data + (g * m + i) * a->head_dim, 0);
        for (int h = 0; s->bias.data && h < to->heads; h++) {
            int64_t row = s->bias.dim[0] == a->heads ? to->head + h : g;
            to->bias[h * to->most + to->n - 1] = ((const float *)s->bias.data)[row * m + i] * LOG2E;
        }
    }
}

static void list_all(const sf_attention *a, const sf_pattern *p, sf_panel *room, reads *to)
{
    uint64_t pairs = 0;
    sf_sight sight;
    for (int k = 0; k < parts_of(p); k++) {
        const sf_pattern *part = part_of(p, k);
        for (int turned = 0; turned <= (part->reach.chunk > 0); turned++) {
            int n = sf_cpu_panels(a, part, (sf_rows){to->head, 0, 1, true}, turned, &sight, room, &pairs);
            list_reads(a, part, turned, room, n, to);
        }
        list_summaries(a, &part->sum, to);
    }
}

typedef struct part {
    float *most, *sum, *out;
} part; /* [group], [group], [group, padded] */

static part part_at(float *base, int64_t index, int group, int padded)
{
    float *p = base + index * group * (padded + 2);
    return (part){p, p + group, p + 2 * group};
}

/* The prompt's rows as a tile turns them to floats. */
static sf_packed_rows packed_rows(const sf_attention *a, float *room)
{
    const sf_kv_part *prompt = &a->kv.prompt;
    const sf_cache_format *f = prompt->format;
    const int dim = a->head_dim;
    return (sf_packed_rows){.kind = f->kind, .bytes = sf_cache_row_bytes(f, dim), .scale_bytes = (size_t)(sf_cache_groups(f, dim) * f->scale_bytes),
                            .k = prompt->k, .v = prompt->v, .k_scales = sf_cache_scales(prompt, prompt->k, a->kv_heads, 0, dim),
                            .v_scales = sf_cache_scales(prompt, prompt->v, a->kv_heads, 0, dim), .room = room};
}

/* q: room for the queries, [heads, padded], and behind it for a tile's floats where something is packed. */
static void run_part(sf_backend *b, const sf_attention *a, const reads *r, int64_t begin, float *q, part to)
{
    int group = r->heads, padded = sf_cpu_padded(a->head_dim);
    sf_decode_tile t = {
        .group = group, .dim = a->head_dim, .padded = padded, .q = q, .cap = a->softcap * LOG2E,
        .most = to.most, .sum = to.sum, .out = to.out};
    sf_packed_rows packed = {0};
    if (r->row) packed = packed_rows(a, q + group * padded), t.packed = &packed;
    memset(q, 0, (size_t)(group * padded) * sizeof *q);
    memset(to.out, 0, (size_t)(group * padded) * sizeof *q);
    for (int h = 0; h < group; h++) {
        const float *from = (const float *)a->q + ((int64_t)r->head + h) * a->head_dim;
        for (int d = 0; d < a->head_dim; d++) q[h * padded + d] = from[d] * (a->scale * LOG2E);
        t.most[h] = -INFINITY;
        t.sum[h] = 0;
    }
    int64_t end = begin + SPLIT < r->n ? begin + SPLIT : r->n;
    for (int64_t j = begin; j < end; j += SF_STEP) {
        int n = (int)(end - j < SF_STEP ? end - j : SF_STEP), left = (int)(end - j - n);
        if (r->bias) t.bias = r->bias + j, t.bias_stride = r->biases > 1 ? r->most : 0;
        if (r->row) packed.row = r->row + j;
        sf_cpu_tiles(b)->decode(&t, r->k + j, r->v + j, n, left < SF_STEP ? left : SF_STEP);
    }
}

static void merge(const sf_attention *a, const reads *r, const float *parts, int64_t first, int64_t n, int room, float *out)
{
    int padded = sf_cpu_padded(a->head_dim);
    for (int h = 0; h < r->heads; h++) {
        float *to = out + ((int64_t)r->head + h) * a->head_dim, most = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++) {
            part p = part_at((float *)parts, first + i, room, padded);
            most = p.most[h] > most ? p.most[h] : most;
        }
        memset(to, 0, (size_t)a->head_dim * sizeof *to);
        for (int64_t i = 0; i < n; i++) {
            part p = part_at((float *)parts, first + i, room, padded);
            float factor = exp2f(p.most[h] - most);
            sum += p.sum[h] * factor;
            for (int d = 0; d < a->head_dim; d++) to[d] += p.out[h * padded + d] * factor;
        }
        for (int d = 0; n && d < a->head_dim; d++) to[d] /= sum;
        if (a->lse) a->lse[r->head + h] = n ? (most + log2f(sum)) * (float)M_LN2 : -INFINITY;
    }
}

/* What all lanes of a call need, at most. */
typedef struct extent {
    int64_t panels, reads, parts, turned;
    int readers;
    bool bias, packed;
} extent;

static extent extent_of(int lanes, const sf_attention *const *a, const sf_pattern *const *p)
{
    extent e = {0};
    for (int l = 0; l < lanes; l++) {
        int64_t panels = sf_cpu_most_panels(a[l]), most = most_reads(a[l], p[l]), turned = turned_keys(a[l], p[l]);
        int readers = readers_of(a[l], p[l]);
        e.panels = panels > e.panels ? panels : e.panels;
        e.reads = most > e.reads ? most : e.reads;
        e.turned = turned > e.turned ? turned : e.turned;
        e.readers = readers > e.readers ? readers : e.readers;
        e.bias |= has_bias(p[l]);
        e.packed |= a[l]->kv.prompt.packed;
    }
    e.parts = sf_cpu_parts(e.reads, SPLIT);
    return e;
}

/* Patterns of one softmax. The lanes of one call have the same heads; each its own cache, keys and pattern. */
static sf_status joined(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bool empty_allowed,
                        float *out)
{
    const extent e = extent_of(lanes, a, pattern);
    int heads = a[0]->heads, group = heads / a[0]->kv_heads, dim = a[0]->head_dim, padded = sf_cpu_padded(dim);
    int64_t rows = (int64_t)lanes * e.readers, turned = e.turned ? (e.reads + 1) * dim : 0;
    sf_panel *panels;
    const float **address;
    reads *list; /* [lanes, readers] */
    float *parts, *q, *bias, *room;
    int64_t *packed; /* [lanes, readers, reads] */
    const int64_t own = group * padded + (e.packed ? SF_PACKED_ROOM(padded) : 0); /* floats of a thread's q */
    SF_TRY(sf_cpu_room(b, e.panels, sizeof *panels, (void **)&panels));
    SF_TRY(sf_cpu_room(b, own, sizeof *q, (void **)&q));
    SF_TRY(sf_scratch_alloc(b, (size_t)(e.packed * rows * e.reads) * sizeof *packed, (void **)&packed));
    SF_TRY(sf_scratch_alloc(b, (size_t)rows * sizeof *list, (void **)&list));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * 2 * e.reads) * sizeof *address, (void **)&address));
    SF_TRY(sf_scratch_alloc(b, (size_t)(e.bias * lanes * heads * e.reads) * sizeof *bias, (void **)&bias));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * turned) * sizeof *room, (void **)&room));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * e.parts * group * (padded + 2)) * sizeof *parts, (void **)&parts));

    int64_t empty = (int64_t)lanes * heads;
#pragma omp parallel num_threads(b->threads)
    {
        int64_t thread = omp_get_thread_num();
#pragma omp for schedule(dynamic) reduction(min : empty)
        for (int64_t r = 0; r < rows; r++) {
            int l = (int)(r / e.readers), reader = (int)(r % e.readers), readers = readers_of(a[l], pattern[l]),
                each = heads / readers;
            list[r] = (reads){.k = address + r * 2 * e.reads,
                              .v = address + (r * 2 + 1) * e.reads,
                              .row = a[l]->kv.prompt.packed ? packed + r * e.reads : NULL,
                              .bias = has_bias(pattern[l]) ? bias + ((int64_t)l * heads + reader * each) * e.reads : NULL,
                              .biases = has_bias_of_summaries(pattern[l]) ? each : 1,
                              .most = e.reads,
                              .head = reader * each,
                              .heads = each,
                              .turned = room + r * turned + dim,
                              .angles = room + r * turned};
            if (reader >= readers) continue;
            list_all(a[l], pattern[l], panels + thread * e.panels, &list[r]);
            if (list[r].n == 0 && !pattern[l]->empty && l * heads + list[r].head < empty) empty = l * heads + list[r].head;
            for (int h = 0; a[l]->pairs && h < each; h++) a[l]->pairs[list[r].head + h] += (uint64_t)list[r].n;
        }
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < e.readers * e.parts * lanes; unit++) {
            int l = (int)(unit % lanes);
            int64_t r = (int64_t)l * e.readers + unit / lanes / e.parts, i = unit / lanes % e.parts;
            if (i * SPLIT >= list[r].n) continue;
            run_part(b, a[l], &list[r], i * SPLIT, q + thread * own,
                     part_at(parts, r * e.parts + i, group, padded));
        }
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            int64_t l = r / e.readers;
            if (r % e.readers < readers_of(a[l], pattern[l]))
                merge(a[l], &list[r], parts, r * e.parts, sf_cpu_parts(list[r].n, SPLIT), group, out + l * heads * dim);
        }
    }
    if (empty == (int64_t)lanes * heads || empty_allowed) return SF_OK;
    return sf_host_no_key(a[empty / heads], "decode", (int)(empty % heads), 0);
}

static sf_status gated(sf_backend *b, const sf_attention *a, const sf_pattern *p, float *out)
{
    int64_t d = a->head_dim, width = a->heads * d;
    float *one;
    sf_attention quiet = *a;
    quiet.lse = NULL;
    const sf_attention *lane = &quiet;
    SF_TRY(sf_scratch_alloc(b, (size_t)width * sizeof *one, (void **)&one));
    memset(out, 0, (size_t)width * sizeof *out);
    for (int k = 0; k < p->parts; k++) {
        const sf_pattern *term = p->part + k;
        const float *gate = term->gate.data, *constant = term->kind == SF_CONSTANT ? term->sum.v.data : NULL;
        if (!constant) SF_TRY(joined(b, 1, &lane, &term, true, one));
        for (int64_t x = 0; x < width; x++)
            out[x] += (gate ? gate[x / d] : 1) * (constant ? constant[x / d / (a->heads / a->kv_heads) * d + x % d] : one[x]);
    }
    return SF_OK;
}

static bool is_gated(const sf_pattern *p) { return p->kind == SF_PARTS && p->gated; }

sf_status sf_cpu_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern,
                        void *out)
{
    if (lanes && a[0]->alpha != 0) return sf_cpu_entmax_decode(b, lanes, a, pattern, out);
    sf_mark mark = sf_scratch_mark(b);
    sf_status status = SF_OK;
    for (int l = 0, n; l < lanes && status == SF_OK; l += n) {
        float *to = (float *)out + (int64_t)l * a[l]->heads * a[l]->head_dim;
        for (n = 1; !is_gated(pattern[l]) && l + n < lanes && !is_gated(pattern[l + n]);) n++;
        status = is_gated(pattern[l]) ? gated(b, a[l], pattern[l], to) : joined(b, n, a + l, pattern + l, false, to);
    }
    sf_scratch_release(b, mark);
    return status;
}

/* ---- exact probabilities of single rows -------------------------------------------------------------------------- */

typedef struct row_room {
    const float **key;
    float *x, *q;
} row_room; /* [N], [N + 8], [padded] */

static sf_status row_rooms(sf_backend *b, const sf_attention *a, row_room *base)
{
    SF_TRY(sf_cpu_room(b, a->keys, sizeof *base->key, (void **)&base->key));
    SF_TRY(sf_cpu_room(b, a->keys + 8, sizeof *base->x, (void **)&base->x));
    return sf_cpu_room(b, sf_cpu_padded(a->head_dim), sizeof *base->q, (void **)&base->q);
}

static row_room row_room_of_thread(const sf_attention *a, const row_room *base)
{
    int64_t t = omp_get_thread_num();
    return (row_room){base->key + t * a->keys, base->x + t * (a->keys + 8), base->q + t * sf_cpu_padded(a->head_dim)};
}

/* x [n] of logits; returns the sum. */
static double entmax_in_place(sf_backend *b, const sf_attention *a, row_room r, int64_t n)
{
    int32_t *at = (int32_t *)r.key; /* whose keys have been read */
    float *weight = (float *)(at + n);
    double sum = 0;
    int64_t kept = sf_cpu_entmax(b, r.x, n, (double)a->alpha, at, weight);
    memset(r.x, 0, (size_t)n * sizeof *r.x);
    for (int64_t i = 0; i < kept; i++) sum += (double)(r.x[at[i]] = weight[i]);
    return sum;
}

/* x[j] = 2^(score - largest) for the keys that a row sees, or what α-entmax gives them; 0 for the others; returns their sum. */
static double row_powers(sf_backend *b, const sf_attention *a, int h, int i, row_room r)
{
    int g = h / (a->heads / a->kv_heads), position = a->keys - a->queries + i, n = 0;
    int first = a->window > 0 && position - a->window + 1 > 0 ? position - a->window + 1 : 0;
    const float *q = (const float *)a->q + ((int64_t)i * a->heads + h) * a->head_dim;
    memset(r.q, 0, (size_t)sf_cpu_padded(a->head_dim) * sizeof *r.q);
    const float unit = a->alpha != 0 ? 1 : LOG2E;
    for (int d = 0; d < a->head_dim; d++) r.q[d] = q[d] * (a->scale * unit);
    for (int j = first; j <= position; j++) {
        const float *k = sf_cpu_row(a, g, j, false);
        if (k) r.key[n++] = k;
    }
    if (n > 0) sf_cpu_tiles(b)->dots(r.q, 1, a->head_dim, r.key, n, r.x, 0);
    sf_cpu_tiles(b)->cap(r.x, n, a->softcap * unit);
    memset(r.x + n, 0, (size_t)(a->keys - n) * sizeof *r.x);
    if (n == 0) return 0;
    double sum = a->alpha != 0 ? entmax_in_place(b, a, r, n) : sf_cpu_tiles(b)->powers(r.x, n, sf_cpu_tiles(b)->largest(r.x, n));
    if (n == a->keys) return sum;
    for (int j = position; j >= 0 && n > 0; j--) { /* back to where the keys are, from the end */
        bool seen = j >= first && sf_cpu_row(a, g, j, false);
        float x = seen ? r.x[--n] : 0;
        if (seen) r.x[n] = 0;
        r.x[j] = x;
    }
    return sum;
}

/* Sum of x over the keys that a pattern without parts names for row i. */
static double mass_of(const sf_attention *a, const sf_pattern *p, int h, int i, const float *x, sf_panel *panel)
{
    double inside = 0;
    uint64_t pairs = 0;
    sf_sight sight;
    sf_pattern plain = *p;
    plain.reach = (sf_reach){0}; /* which keys, not where */
    int n = sf_cpu_panels(a, &plain, (sf_rows){h, i, 1, false}, false, &sight, panel, &pairs);
    for (int c = 0; c < n; c++)
        for (int l = 0; l < SF_PANEL; l++)
            if (panel[c].lanes >> l & 1 && sf_panel_sees(&panel[c], l, a->keys - a->queries + i)) inside += x[sf_panel_key(&panel[c], l)];
    return inside;
}

/* Parts that are added up may name a key several times. */
static double mass_of_gated(const sf_attention *a, const sf_pattern *p, int h, int i, const float *x, uint8_t *mask)
{
    double inside = 0;
    sf_pattern_named(a, p, h, i, mask);
    for (int j = 0; j < a->keys; j++)
        if (mask[j]) inside += x[j];
    return inside;
}

sf_status sf_cpu_mass(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows, const int32_t *row,
                      float *covered)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "mass"));
    sf_mark mark = sf_scratch_mark(b);
    row_room base;
    sf_panel *panels;
    uint8_t *masks;
    SF_TRY(row_rooms(b, a, &base));
    SF_TRY(sf_cpu_room(b, sf_cpu_most_panels(a), sizeof *panels, (void **)&panels));
    SF_TRY(sf_cpu_room(b, a->keys, sizeof *masks, (void **)&masks));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int h = 0; h < a->heads; h++) {
        row_room room = row_room_of_thread(a, &base);
        uint8_t *mask = masks + (int64_t)omp_get_thread_num() * a->keys;
        sf_panel *mine = panels + (int64_t)omp_get_thread_num() * sf_cpu_most_panels(a);
        double mass = 0;
        for (int r = 0; r < rows; r++) {
            double sum = row_powers(b, a, h, row[r], room), inside = 0;
            for (int k = 0; !is_gated(pattern) && k < parts_of(pattern); k++)
                inside += mass_of(a, part_of(pattern, k), h, row[r], room.x, mine);
            if (is_gated(pattern)) inside = mass_of_gated(a, pattern, h, row[r], room.x, mask);
            mass += sum > 0 ? inside / sum : 0;
        }
        covered[h] = (float)(mass / rows);
    }
    sf_scratch_release(b, mark);
    return SF_OK;
}

sf_status sf_cpu_key_probabilities(sf_backend *b, const sf_attention *a, float *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_probabilities"));
    sf_mark mark = sf_scratch_mark(b);
    row_room base;
    SF_TRY(row_rooms(b, a, &base));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int h = 0; h < a->heads; h++) {
        row_room room = row_room_of_thread(a, &base);
        double sum = row_powers(b, a, h, 0, room);
        for (int j = 0; j < a->keys; j++) out[(int64_t)h * a->keys + j] = (float)(sum > 0 ? room.x[j] / sum : 0);
    }
    sf_scratch_release(b, mark);
    sf_meter_key_probabilities(b, a);
    return SF_OK;
}
