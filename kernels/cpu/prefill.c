/* CPU: attention of many query rows, dense or sparse.
 *
 * For one kv head at a time, all its keys and values are packed once into panels of 16 (an extra copy of one head);
 * then tiles of up to 64 query rows of the group's heads are shared out, the longest first. A tile asks panels.c which
 * keys its rows compute and runs them through online softmax (tile_attention.h): nothing of size rows × keys exists. A
 * small block costs what its pairs cost, because a panel is 16 keys and a strip 8 rows whatever the pattern. */
#include "kernels/cpu/cpu.h"

#include <limits.h>

/* What tiles of one kv head read. */
typedef struct packed {
    float *k, *v; /* [panels, D, 16], [panels, 16, padded] in column blocks */
    float *columns_k,
        *columns_v;        /* COLUMNS_DIAGONALS: the same of its columns, a list for each query head or for all */
    int64_t column_panels; /* room of a list, in panels */
} packed;

static void pack_panel(sf_backend *b, const sf_attention *a, int g, const int64_t *key, int n, float *k, float *v)
{
    const float *keys[SF_PANEL], *values[SF_PANEL];
    for (int i = 0; i < SF_PANEL; i++) {
        keys[i] = i < n ? sf_cpu_row(a, g, key[i], false) : NULL;
        values[i] = i < n ? sf_cpu_row(a, g, key[i], true) : NULL;
    }
    sf_cpu_tiles(b)->pack_keys(keys, a->head_dim, k);
    sf_cpu_tiles(b)->pack_values(values, a->head_dim, v);
}

static void pack_head(sf_backend *b, const sf_attention *a, const sf_pattern *p, int g, const packed *to)
{
    int padded = sf_cpu_padded(a->head_dim), group = a->heads / a->kv_heads;
#pragma omp parallel num_threads(b->threads)
    {
#pragma omp for schedule(static) nowait
        for (int64_t first = 0; first < a->keys; first += SF_PANEL) {
            int64_t key[SF_PANEL];
            int n = a->keys - first < SF_PANEL ? (int)(a->keys - first) : SF_PANEL;
            for (int i = 0; i < n; i++) key[i] = first + i;
            pack_panel(b, a, g, key, n, to->k + first * a->head_dim, to->v + first * padded);
        }
        int lists = to->column_panels == 0 ? 0 : p->heads == a->heads ? group : 1;
        for (int l = 0; l < lists; l++) {
            int64_t row = p->heads == a->heads ? (int64_t)g * group + l : g;
            const int32_t *index = p->first.index + row * p->first.stride;
#pragma omp for schedule(static) nowait
            for (int64_t c = 0; c < p->first.count[row]; c += SF_PANEL) {
                int64_t key[SF_PANEL], at = l * to->column_panels * SF_PANEL + c;
                int n = p->first.count[row] - c < SF_PANEL ? (int)(p->first.count[row] - c) : SF_PANEL;
                for (int i = 0; i < n; i++) key[i] = index[c + i];
                pack_panel(b, a, g, key, n, to->columns_k + at * a->head_dim, to->columns_v + at * padded);
            }
        }
    }
}

/* Scratch of one thread. */
typedef struct room {
    sf_panel *panels;
    float *floats;
} room;

static void locate(const sf_attention *a, const sf_pattern *p, const packed *from, int head, sf_panel *panel, int n)
{
    int padded = sf_cpu_padded(a->head_dim), group = a->heads / a->kv_heads;
    int64_t list = p->heads == a->heads ? head % group : 0;
    int64_t row = p->heads == a->heads ? head : head / group;
    for (int c = 0; c < n; c++) {
        if (panel[c].key) {
            int64_t at =
                list * from->column_panels * SF_PANEL + (panel[c].key - (p->first.index + row * p->first.stride));
            panel[c].k = from->columns_k + at * a->head_dim;
            panel[c].v = from->columns_v + at * padded;
        } else { /* an empty panel points anywhere */
            int64_t at = panel[c].lanes ? panel[c].first : 0;
            panel[c].k = from->k + at * a->head_dim;
            panel[c].v = from->v + at * padded;
        }
    }
}

/* One tile; returns the first row without keys, or -1. */
static int run_tile(sf_backend *b, const sf_attention *a, const sf_pattern *p, const packed *from, sf_rows rows, room r,
                    uint64_t *pairs, float *out)
{
    const sf_tiles *tiles = sf_cpu_tiles(b);
    int64_t stride = (int64_t)a->heads * a->head_dim, at = rows.row * stride + (int64_t)rows.head * a->head_dim;
    int n = sf_cpu_panels(a, p, rows, r.panels, pairs);
    locate(a, p, from, rows.head, r.panels, n);

    sf_query_tile t = {.rows = rows.rows,
                       .dim = a->head_dim,
                       .padded = sf_cpu_padded(a->head_dim),
                       .position = a->keys - a->queries + rows.row};
    t.q = r.floats;
    t.out = t.q + SF_TILE_ROWS * t.padded;
    t.sum = t.out + SF_TILE_ROWS * t.padded;
    t.most = t.sum + SF_TILE_ROWS * SF_PANEL;
    tiles->attend_begin(&t, (const float *)a->q + at, stride, a->scale);
    tiles->attend(&t, r.panels, n);
    int empty = tiles->attend_end(&t, out + at, stride);
    return empty < 0 ? -1 : rows.row + empty;
}

sf_status sf_cpu_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, void *out)
{
    int dim = a->head_dim, padded = sf_cpu_padded(dim), group = a->heads / a->kv_heads;
    int64_t keys = sf_cpu_parts(a->keys, SF_PANEL) * SF_PANEL, floats = SF_TILE_ROWS * (2 * padded + SF_PANEL + 1);
    sf_mark mark = sf_scratch_mark(b);
    packed from = {0};
    room base;
    int32_t *start; /* of each tile of a head: first row */
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * dim) * sizeof(float), (void **)&from.k));
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * padded) * sizeof(float), (void **)&from.v));
    if (p->kind == SF_COLUMNS_DIAGONALS) {
        from.column_panels = sf_cpu_parts(p->first.stride, SF_PANEL);
        int64_t lists = p->heads == a->heads ? group : 1, wide = lists * from.column_panels * SF_PANEL;
        SF_TRY(sf_scratch_alloc(b, (size_t)(wide * dim) * sizeof(float), (void **)&from.columns_k));
        SF_TRY(sf_scratch_alloc(b, (size_t)(wide * padded) * sizeof(float), (void **)&from.columns_v));
    }
    SF_TRY(sf_cpu_room(b, sf_cpu_most_panels(a), sizeof *base.panels, (void **)&base.panels));
    SF_TRY(sf_cpu_room(b, floats, sizeof *base.floats, (void **)&base.floats));
    SF_TRY(sf_scratch_alloc(b, (size_t)(a->queries + 1) * sizeof *start, (void **)&start));
    int tiles = 0;
    for (int i = 0; i < a->queries; i += sf_cpu_rows_together(a, p, i, SF_TILE_ROWS)) start[tiles++] = i;

    int64_t empty = INT64_MAX; /* head * T + row of the first query row without keys */
    for (int g = 0; g < a->kv_heads; g++) {
        pack_head(b, a, p, g, &from);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(min : empty)
        for (int unit = 0; unit < tiles * group; unit++) {
            int tile = tiles - 1 - unit / group, head = g * group + unit % group, row = start[tile];
            sf_rows rows = {head, row, sf_cpu_rows_together(a, p, row, SF_TILE_ROWS)};
            int64_t thread = omp_get_thread_num();
            room mine = {base.panels + thread * sf_cpu_most_panels(a), base.floats + thread * floats};
            uint64_t pairs = 0;
            int without = run_tile(b, a, p, &from, rows, mine, &pairs, out);
            if (without >= 0 && (int64_t)head * a->queries + without < empty)
                empty = (int64_t)head * a->queries + without;
            if (a->pairs) {
#pragma omp atomic
                a->pairs[head] += pairs;
            }
        }
    }
    sf_scratch_release(b, mark);
    if (empty == INT64_MAX) return SF_OK;
    return sf_host_no_key(a, "prefill", (int)(empty / a->queries), (int)(empty % a->queries));
}
