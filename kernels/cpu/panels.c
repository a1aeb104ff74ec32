/* CPU: from a pattern to panels of 16 keys.
 *
 * Every kind of pattern becomes ranges of keys, and ranges become (panel number, lanes) pairs; COLUMNS_DIAGONALS also
 * has columns, whose keys lie scattered: those beside keys of a tile's diagonals join their panels, the others are
 * packed once a head, 16 list entries side by side. Executors, count_pairs and mass all read these lists, so that what
 * is counted is what is computed.
 *
 * Executors update a row's running maximum once per SF_BATCH panels. Where a list begins depends on its rows (DENSE
 * with a window, WINDOW), empty panels in front align the batches to key numbers, so that a row's sums do not depend on
 * the rows it shares a tile with. */
#include "kernels/cpu/cpu.h"

#include <string.h>

enum { FAR = 1 << 30 };

typedef struct builder {
    const sf_attention *a;
    sf_panel *out;
    sf_sight *sight;
    int panels, aligned;     /* aligned: the list's batches begin at this entry */
    int64_t first, last;     /* positions of the rows */
    int64_t absent, present; /* keys [absent, present) are not in this head's compacted cache */
} builder;

int sf_cpu_most_panels(const sf_attention *a) { return 3 * (a->keys / SF_PANEL + 2) + 2 * SF_BATCH; }

/* Entries of an ascending list that are below `limit`. */
static int32_t below(const int32_t *list, int32_t n, int32_t limit)
{
    int32_t low = 0, high = n;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (list[middle] < limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* How many rows from `row` on are all of those that see every key (BANDS); negative: how many are not. */
static int rows_alike(const sf_attention *a, const sf_pattern *p, int head, int row)
{
    if (!p->second.rows) return row - a->queries;
    int64_t list = sf_selection_of(p, a->heads, a->kv_heads, head);
    const int32_t *full = p->second.index + list * p->second.stride;
    int32_t n = p->second.count[list], at = below(full, n, row), alike = 0;
    if (at == n) return row - a->queries;
    if (full[at] > row) return row - full[at];
    while (at + alike < n && full[at + alike] == row + alike) alike++;
    return alike;
}

static int64_t tile_of(const sf_attention *a, int row) { return (a->keys - a->queries + row) / SF_TILE_ROWS * SF_TILE_ROWS; }

int sf_cpu_rows_together(const sf_attention *a, const sf_pattern *p, int head, int row, int most)
{
    int end = a->queries;
    if (p->kind == SF_BLOCKS) end = (row / p->block_q + 1) * p->block_q;
    if (p->kind == SF_COLUMNS_DIAGONALS) end = (row / SF_DIAGONAL_TILE + 1) * SF_DIAGONAL_TILE;
    if (p->kind == SF_WINDOW && row < a->queries - p->last) end = a->queries - p->last;
    if (p->kind == SF_BANDS) {
        int alike = rows_alike(a, p, head, row), whole = (int)(tile_of(a, row) + SF_TILE_ROWS - (a->keys - a->queries));
        end = row + (alike > 0 ? alike : -alike);
        if (alike < 0 && whole < end) end = whole;
    }
    for (int k = 0; p->kind == SF_PARTS && k < p->parts; k++) {
        int part = row + sf_cpu_rows_together(a, &p->part[k], head, row, most);
        if (part < end) end = part;
    }
    if (end > a->queries) end = a->queries;
    return end - row < most ? end - row : most;
}

/* Keys [begin, end), as far as they exist and are not in the future of every row. Ranges of one list ascend. */
static void range(builder *b, int64_t begin, int64_t end, int reach)
{
    if (begin < 0) begin = 0;
    if (end > b->last + 1) end = b->last + 1;
    if (end > b->a->keys) end = b->a->keys; /* a tile of bands may end behind them, where nothing is packed */
    if (begin < b->present && end > b->absent && b->absent < b->present) { /* leave out what is not there */
        if (begin < b->absent) range(b, begin, b->absent, reach);
        if (end > b->present) range(b, b->present, end, reach);
        return;
    }
    for (int64_t j = begin; j < end;) {
        int64_t first = j / SF_PANEL * SF_PANEL, stop = first + SF_PANEL < end ? first + SF_PANEL : end;
        uint16_t lanes = (uint16_t)((UINT32_C(0xffff) >> (SF_PANEL - (stop - j))) << (j - first));
        sf_panel *last = b->panels > b->aligned ? b->out + b->panels - 1 : NULL;
        if (last && last->first == first)
            last->lanes |= lanes;
        else
            b->out[b->panels++] = (sf_panel){.first = (int32_t)first, .reach = reach, .lanes = lanes};
        j = stop;
    }
}

/* A range of its own, whose batches begin at multiples of SF_BATCH panels. */
static void aligned_range(builder *b, int64_t begin, int64_t end, int reach)
{
    if (begin < 0) begin = 0;
    while (b->panels % SF_BATCH != begin / SF_PANEL % SF_BATCH) b->out[b->panels++] = (sf_panel){.first = INT32_MAX};
    b->aligned = b->panels;
    range(b, begin, end, reach);
}

/* Columns, in the panels of the diagonals where these have one that they lie in, else in those of the list. */
static void columns(builder *b, const sf_pattern *p, int64_t row, int reach)
{
    const int32_t *key = p->first.index + row * p->first.stride;
    int count = p->first.count[row], at = 0, ranges = b->panels;
    for (int c = 0; c < count; c += SF_PANEL) {
        sf_panel panel = {.key = key + c, .reach = reach, .first = INT32_MAX};
        for (int i = 0; i < SF_PANEL && c + i < count; i++) {
            int64_t j = key[c + i];
            if (j > b->last || j <= b->first - reach || (j >= b->absent && j < b->present)) continue;
            while (at < ranges && b->out[at].first + SF_PANEL <= j) at++;
            if (at < ranges && b->out[at].first <= j) {
                b->out[at].lanes |= (uint16_t)(1 << (j - b->out[at].first));
                b->out[at].always |= (uint16_t)(1 << (j - b->out[at].first));
                continue;
            }
            panel.lanes |= (uint16_t)(1 << i);
            if (j < panel.first) panel.first = (int32_t)j;
        }
        panel.always = panel.lanes;
        if (panel.lanes) b->out[b->panels++] = panel;
    }
}

/* ---- bands -------------------------------------------------------------------------------------------------------- */

static int64_t larger(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t smaller(int64_t x, int64_t y) { return x < y ? x : y; }

/* Multiples of `step` in [low, high], low >= 0. */
static int64_t multiples(int64_t low, int64_t high, int64_t step)
{
    int64_t n = high / step - (low + step - 1) / step + 1;
    return low <= high && n > 0 ? n : 0;
}

static int64_t common_multiple(int64_t x, int64_t y)
{
    int64_t a = x, b = y;
    while (b) {
        int64_t rest = a % b;
        a = b, b = rest;
    }
    return x / a * y;
}

/* Rows of [first, last] that see key j. In distances: sinks see from some distance on; below it, the bands' multiples. */
static int64_t rows_seen(const sf_sight *s, bool always, int64_t j, int64_t first, int64_t last)
{
    int64_t low = larger(first - j, 0), high = smaller(last - j, s->window - 1), from = high + 1;
    if (s->reach.chunk) {
        int64_t stays = s->reach.cap + j / s->reach.chunk * s->reach.chunk - j; /* the farthest */
        if (s->turned)
            low = larger(low, stays + 1);
        else
            high = smaller(high, stays);
        from = high + 1;
    }
    if (low > high) return 0;
    if (!s->band || always) return high - low + 1;
    const sf_band *x = s->band, *y = s->band + 1;
    if (j < x->sinks) from = smaller(from, x->apart);
    if (j < y->sinks) from = smaller(from, y->apart);
    from = larger(from, low);
    int64_t n = high - from + 1, x0 = larger(low, x->near), x1 = smaller(from, x->far) - 1, y0 = larger(low, y->near),
            y1 = smaller(from, y->far) - 1;
    if (x->far > x->near) n += multiples(x0, x1, x->step);
    if (y->far > y->near) n += multiples(y0, y1, y->step);
    if (x->far > x->near && y->far > y->near)
        n -= multiples(larger(x0, y0), smaller(x1, y1), common_multiple(x->step, y->step));
    return n;
}

/* The keys of both bands, in ascending ranges; keys that no row of these sees for its step are left out. */
static void both_bands(builder *b)
{
    int64_t range_of[2 * SF_BANDS_A_HEAD][2], begin = 0, end = 0;
    int n = 0;
    bool steps = false;
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        const sf_band *x = b->sight->band + i;
        range_of[n][0] = 0, range_of[n++][1] = smaller(x->sinks, b->last - x->apart + 1);
        range_of[n][0] = larger(b->first - x->far + 1, 0), range_of[n++][1] = x->far > x->near ? b->last - x->near + 1 : 0;
        steps |= x->far > x->near && x->step > 1;
    }
    for (int i = 1; i < n; i++) /* by where they begin */
        for (int k = i; k > 0 && range_of[k][0] < range_of[k - 1][0]; k--)
            for (int e = 0; e < 2; e++) {
                int64_t x = range_of[k][e];
                range_of[k][e] = range_of[k - 1][e], range_of[k - 1][e] = x;
            }
    for (int i = 0; i < n; i++) {
        if (range_of[i][1] <= range_of[i][0]) continue;
        if (range_of[i][0] > end) {
            if (end > begin) range(b, begin, end, (int)b->sight->window);
            begin = range_of[i][0];
        }
        end = larger(end, range_of[i][1]);
    }
    if (end > begin) range(b, begin, end, (int)b->sight->window);
    int kept = 0;
    for (int c = 0; c < b->panels && steps; c++) {
        sf_panel *p = b->out + c;
        for (int i = 0; i < SF_PANEL; i++)
            if (p->lanes >> i & 1 && !rows_seen(b->sight, false, p->first + i, b->first, b->last)) p->lanes ^= (uint16_t)(1 << i);
        if (p->lanes) b->out[kept++] = *p;
    }
    if (steps) b->panels = kept;
}

/* Whether one band's keys at one side, sinks or distances, are all that a panel holds; then a stretch of distances tells
 * what its rows see. */
static bool one_stretch(const builder *b, sf_panel *p)
{
    int64_t low = sf_panel_key(p, __builtin_ctz(p->lanes)), high = sf_panel_key(p, 31 - __builtin_clz(p->lanes));
    int sources = 0;
    bool plain = p->always == 0;
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        const sf_band *x = b->sight->band + i;
        if (low < x->sinks && b->last - low >= x->apart) {
            p->near = x->apart, p->reach = (int32_t)b->sight->window;
            plain &= high < x->sinks;
            sources++;
        }
        if (x->far > x->near && high > b->first - x->far && low <= b->last - x->near) {
            p->near = x->near, p->reach = (int32_t)smaller(x->far, b->sight->window);
            plain &= x->step == 1;
            sources++;
        }
    }
    return plain && sources == 1;
}

/* The rows' list is that of their whole tile, whichever of its rows they are. */
static void bands(builder *b, const sf_pattern *p, sf_rows rows, int64_t list)
{
    int64_t first = b->first, last = b->last;
    b->first = tile_of(b->a, rows.row);
    b->last = b->first + SF_TILE_ROWS - 1;
    if (rows.step) b->first = b->last = first;
    both_bands(b);
    if (p->first.rows) columns(b, p, list, (int)b->sight->window);
    for (int c = 0; c < b->panels; c++) {
        sf_panel *panel = b->out + c;
        if (panel->lanes && !panel->key && !one_stretch(b, panel)) panel->sight = b->sight;
    }
    b->first = first, b->last = last;
}

/* ---- what is seen ------------------------------------------------------------------------------------------------- */

/* Whether all rows see all of the panel's keys, which lie from `low` to `high`. */
static bool seen_whole(const builder *b, const sf_panel *p, int64_t low, int64_t high)
{
    const sf_sight *s = p->sight;
    if (!s) return high + p->near <= b->first && low + p->reach > b->last;
    bool whole = !s->band || (p->lanes & ~p->always) == 0;
    for (int i = 0; s->band && i < SF_BANDS_A_HEAD; i++) {
        const sf_band *x = s->band + i;
        whole |= high < x->sinks && b->first - high >= x->apart;
        whole |= x->far > x->near && x->step == 1 && b->first - high >= x->near && b->last - low < x->far;
    }
    if (s->reach.chunk)
        whole &= s->turned ? sf_reach_turns(s->reach, b->first, high) : !sf_reach_turns(s->reach, b->last, low);
    return whole && high <= b->first && b->last - low < s->window;
}

/* Marks the panels that some row does not see whole, and drops the unseen where a reach divides what is seen; returns the
 * pairs that are seen. */
static uint64_t count(builder *b)
{
    uint64_t pairs = 0;
    int kept = 0;
    bool divided = b->sight->reach.chunk > 0;
    for (int c = 0; c < b->panels; c++) {
        sf_panel *p = b->out + c;
        uint64_t seen = 0, every = (uint64_t)__builtin_popcount(p->lanes) * (uint64_t)(b->last - b->first + 1);
        if (every && seen_whole(b, p, sf_panel_key(p, __builtin_ctz(p->lanes)), sf_panel_key(p, 31 - __builtin_clz(p->lanes))))
            seen = every;
        for (int i = 0; seen < every && i < SF_PANEL; i++) {
            if (!(p->lanes >> i & 1)) continue;
            int64_t key = sf_panel_key(p, i);
            if (p->sight) {
                seen += (uint64_t)rows_seen(p->sight, p->always >> i & 1, key, b->first, b->last);
                continue;
            }
            int64_t from = larger(key + p->near, b->first), to = smaller(key + p->reach - 1, b->last);
            if (to >= from) seen += (uint64_t)(to - from + 1);
        }
        p->edge = seen < every;
        pairs += seen;
        if (!divided || seen || !p->lanes) b->out[kept++] = *p;
    }
    b->panels = kept;
    return pairs;
}

/* Where a reach divides dense pairs, most keys are wholly on one side. */
static void divided_range(builder *b, sf_reach r, bool turned, int window)
{
    int64_t moved = b->last > r.cap ? ((b->last - r.cap - 1) / r.chunk + 1) * r.chunk : 0;
    int64_t stays = b->first > r.cap ? (b->first - r.cap + r.chunk - 1) / r.chunk * r.chunk : 0;
    int64_t begin = larger(turned ? 0 : stays, b->first - window + 1), end = turned ? smaller(moved, b->a->keys) : b->a->keys;
    if (begin < end) aligned_range(b, begin, end, window);
}

int sf_cpu_panels(const sf_attention *a, const sf_pattern *p, sf_rows rows, bool turned, sf_sight *sight, sf_panel *out,
                  uint64_t *pairs)
{
    int g = rows.head / (a->heads / a->kv_heads), window = a->window > 0 ? a->window : FAR;
    int64_t row = sf_selection_of(p, a->heads, a->kv_heads, rows.head);
    const int32_t *held = a->kv.prompt.count;
    *sight = (sf_sight){.band = p->kind == SF_BANDS ? p->band + row * SF_BANDS_A_HEAD : NULL,
                        .reach = p->reach,
                        .turned = turned,
                        .window = window};
    builder b = {.a = a,
                 .out = out,
                 .sight = sight,
                 .first = a->keys - a->queries + rows.row,
                 .absent = held ? held[g] : a->kv.prompt.n,
                 .present = a->kv.prompt.n};
    b.last = b.first + rows.rows - 1;

    if (p->kind == SF_BLOCKS) row = row * sf_cpu_parts(a->queries, p->block_q) + rows.row / p->block_q;
    bool whole = p->kind == SF_DENSE || (p->kind == SF_WINDOW && rows.row >= a->queries - p->last) ||
                 (p->kind == SF_BANDS && rows_alike(a, p, rows.head, rows.row) > 0);
    const int32_t *index = NULL;
    int32_t n = 0;
    if (p->kind != SF_DENSE && p->kind != SF_WINDOW && p->kind != SF_BANDS) {
        index = p->first.index + row * p->first.stride;
        n = p->first.count[row];
    }

    if (whole && p->reach.chunk) {
        sight->band = NULL;
        divided_range(&b, p->reach, turned, window);
    } else if (whole) {
        sight->band = NULL;
        aligned_range(&b, b.first - window + 1, a->keys, window);
    } else {
        switch (p->kind) {
        case SF_WINDOW: {
            int local = p->local < window ? p->local : window;
            int64_t begin = b.first - local + 1;
            aligned_range(&b, begin > p->sinks ? begin : p->sinks, a->keys, local);
            if (p->sinks > 0) aligned_range(&b, 0, p->sinks, window);
            sight->own[0] = (sf_band){.sinks = p->sinks, .far = p->local, .step = 1};
            sight->band = sight->own;
            break;
        }
        case SF_BLOCKS:
            for (int32_t i = 0; i < n; i++)
                range(&b, (int64_t)index[i] * p->block_k, ((int64_t)index[i] + 1) * p->block_k, window);
            break;
        case SF_PAGES:
            for (int32_t i = 0; i < n; i++)
                range(&b, (int64_t)index[i] * p->page, ((int64_t)index[i] + 1) * p->page, window);
            break;
        case SF_TOKENS:
            for (int32_t i = 0; i < n; i++) range(&b, index[i], (int64_t)index[i] + 1, window);
            break;
        case SF_COLUMNS_DIAGONALS: {
            int64_t tile = b.first - rows.row % SF_DIAGONAL_TILE;
            const int32_t *offset = p->second.index + row * p->second.stride;
            for (int32_t i = p->second.count[row] - 1; i >= 0;) { /* the farthest first: ascending keys */
                int64_t begin = tile - offset[i], end = begin + SF_DIAGONAL_TILE;
                while (--i >= 0 && tile - offset[i] <= end) end = tile - offset[i] + SF_DIAGONAL_TILE;
                range(&b, begin, end, window);
            }
            columns(&b, p, row, window);
            break;
        }
        case SF_BANDS: bands(&b, p, rows, row); break;
        default: break;
        }
    }
    for (int c = 0; c < b.panels && p->reach.chunk; c++)
        if (b.out[c].lanes) b.out[c].sight = sight;
    *pairs += count(&b);
    return b.panels;
}

/* Pairs of one head of a COLUMNS_DIAGONALS pattern on a layer without a window. What the diagonals cover depends on key
 * minus tile position alone, so one map serves all tiles; a method searches for its budget by counting many times.
 * Tiles are 64 rows and words 64 bits, so that with the map laid out from the first tile's position, every tile reads
 * whole words of it: bit i of word w says of key 64·w + i … of the columns, and of the map relative to a tile.
 *
 *     seen by tile t   keys 0 … tile - 1 by all its rows; keys tile + u by its rows from u on
 *
 * room: words for two maps of N + 2 · SF_DIAGONAL_TILE bits. */
_Static_assert(SF_DIAGONAL_TILE == 64, "a tile's shift is whole words");

static int64_t slash_words(const sf_attention *a) { return a->keys / 64 + 4; }

/* 64 bits from bit `begin` on, which may lie before the map. */
static void set_tile(uint64_t *map, int64_t begin)
{
    if (begin <= -64) return;
    int64_t word = begin >= 0 ? begin / 64 : -1, shift = begin - word * 64;
    if (word >= 0) map[word] |= UINT64_MAX << shift;
    if (shift) map[word + 1] |= UINT64_MAX >> (64 - shift);
}

/* Sum of (rows - u) over the set bits u < rows: the rows of a tile that see its own key u. */
static int64_t triangle(uint64_t bits, int64_t rows)
{
    static const uint64_t digit[] = {0xaaaaaaaaaaaaaaaa, 0xcccccccccccccccc, 0xf0f0f0f0f0f0f0f0,
                                     0xff00ff00ff00ff00, 0xffff0000ffff0000, 0xffffffff00000000}; /* of u */
    if (rows < 64) bits &= (UINT64_C(1) << rows) - 1;
    int64_t sum = rows * __builtin_popcountll(bits);
    for (int j = 0; j < 6; j++) sum -= (int64_t)__builtin_popcountll(bits & digit[j]) << j;
    return sum;
}

static uint64_t count_slashes(sf_backend *b, const sf_attention *a, const int32_t *column, int64_t n_columns,
                              const int32_t *offset, int64_t n_diagonals, uint64_t *room)
{
    int64_t (*count_bits)(const uint64_t *, const uint64_t *, int64_t) = sf_cpu_tiles(b)->count_bits;
    int64_t words = slash_words(a), before = a->keys - a->queries;     /* position of the first tile */
    int64_t last = (a->queries - 1) / 64, origin = before + last * 64; /* of the last tile: bit `key - tile + origin` */
    uint64_t *columns = room, *covered = room + words;
    memset(room, 0, (size_t)(2 * words) * sizeof *room);
    for (int64_t c = 0; c < n_columns; c++) columns[column[c] / 64] |= UINT64_C(1) << column[c] % 64;
    for (int64_t i = 0; i < n_diagonals; i++) set_tile(covered, origin - offset[i]);

    uint64_t pairs = 0;
    for (int64_t t = 0; t <= last; t++) {
        int64_t tile = before + t * 64, rows = a->queries - t * 64 < 64 ? a->queries - t * 64 : 64;
        const uint64_t *at = covered + (last - t); /* word 0: keys 0 to 63 */
        int64_t word = tile / 64, left = tile % 64, whole = count_bits(columns, at, word);
        uint64_t rest = columns[word] | at[word], own = rest >> left;
        if (left) {
            own |= (columns[word + 1] | at[word + 1]) << (64 - left);
            whole += __builtin_popcountll(rest << (64 - left));
        }
        pairs += (uint64_t)(whole * rows + triangle(own, rows));
    }
    return pairs;
}

/* Summaries that the rows see. */
static uint64_t summaries_seen(const sf_attention *a, const sf_summaries *s, sf_rows rows)
{
    int64_t m = s->k.data ? s->k.dim[1] : 0, first = a->keys - a->queries + rows.row, last = first + rows.rows - 1;
    uint64_t seen = s->from ? 0 : (uint64_t)(m * rows.rows);
    for (int64_t i = 0; s->from && i < m; i++)
        if (s->from[i] <= last) seen += (uint64_t)(last - larger(s->from[i], first) + 1);
    return seen;
}

/* Pairs of head h in a pattern that has no parts. */
static uint64_t count_head(const sf_attention *a, const sf_pattern *p, int h, sf_panel *room)
{
    uint64_t pairs = 0;
    sf_sight sight;
    for (int i = 0, n; i < a->queries; i += n) {
        n = p->repeat ? 1 : sf_cpu_rows_together(a, p, h, i, a->queries);
        for (int turned = 0; turned <= (p->reach.chunk > 0); turned++)
            sf_cpu_panels(a, p, (sf_rows){h, i, n, false}, turned, &sight, room, &pairs);
        pairs += summaries_seen(a, &p->sum, (sf_rows){h, i, n, false});
        if (p->repeat) n = p->repeat;
    }
    return pairs;
}

sf_status sf_cpu_count_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, uint64_t *total)
{
    sf_mark mark = sf_scratch_mark(b);
    sf_panel *room;
    uint64_t *words;
    bool slashes = pattern->kind == SF_COLUMNS_DIAGONALS && sf_sees_all(a) && !pattern->sum.k.data;
    int64_t size = slashes ? 2 * slash_words(a) : 1, lists = slashes ? pattern->heads : a->heads;
    SF_TRY(sf_cpu_room(b, sf_cpu_most_panels(a), sizeof *room, (void **)&room));
    SF_TRY(sf_cpu_room(b, size, sizeof *words, (void **)&words));
    uint64_t pairs = 0;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(+ : pairs)
    for (int64_t h = 0; h < lists; h++) {
        int64_t thread = omp_get_thread_num();
        if (slashes) {
            const sf_lists *first = &pattern->first, *second = &pattern->second;
            pairs += count_slashes(b, a, first->index + h * first->stride, first->count[h],
                                   second->index + h * second->stride, second->count[h], words + thread * size) *
                     (uint64_t)(a->heads / lists);
            continue;
        }
        sf_panel *mine = room + thread * sf_cpu_most_panels(a);
        for (int k = 0; pattern->kind == SF_PARTS && k < pattern->parts; k++)
            if (pattern->part[k].kind != SF_CONSTANT) pairs += count_head(a, &pattern->part[k], (int)h, mine);
        if (pattern->kind != SF_PARTS) pairs += count_head(a, pattern, (int)h, mine);
    }
    *total = pairs;
    sf_scratch_release(b, mark);
    return SF_OK;
}

/* All rows' scores in their order: sorted once, every trial of a search is a prefix. */
typedef struct ordered {
    int32_t *column, *diagonal;   /* [rows, N] */
    int32_t *columns, *diagonals; /* [rows] that can be chosen at all */
    uint64_t *room;               /* [threads, 2 · words] */
} ordered;

static sf_status order(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                       ordered *o)
{
    size_t bytes = (size_t)rows * sizeof(int32_t);
    SF_TRY(sf_scratch_alloc(b, bytes * (size_t)a->keys, (void **)&o->column));
    SF_TRY(sf_scratch_alloc(b, bytes * (size_t)a->keys, (void **)&o->diagonal));
    SF_TRY(sf_scratch_alloc(b, bytes, (void **)&o->columns));
    SF_TRY(sf_scratch_alloc(b, bytes, (void **)&o->diagonals));
    SF_TRY(sf_cpu_room(b, 2 * slash_words(a), sizeof *o->room, (void **)&o->room));
    SF_TRY(sf_cpu_order(b, column, rows, a->keys, o->columns, o->column, NULL, NULL));
    return sf_cpu_order(b, diagonal, rows, a->keys, o->diagonals, o->diagonal, NULL, NULL);
}

/* Pairs of row r's best. */
static uint64_t count_row(sf_backend *b, const sf_attention *a, const ordered *o, int64_t r, int64_t columns,
                          int64_t diagonals)
{
    return count_slashes(b, a, o->column + r * a->keys, columns < o->columns[r] ? columns : o->columns[r],
                         o->diagonal + r * a->keys, diagonals < o->diagonals[r] ? diagonals : o->diagonals[r],
                         o->room + omp_get_thread_num() * 2 * slash_words(a));
}

static uint64_t count_best(sf_backend *b, const sf_attention *a, int rows, const ordered *o, int64_t columns,
                           int64_t diagonals)
{
    uint64_t pairs = 0;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(+ : pairs)
    for (int64_t r = 0; r < rows; r++) pairs += count_row(b, a, o, r, columns, diagonals);
    return pairs * (uint64_t)(a->heads / rows);
}

sf_status sf_cpu_fit_slashes(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                             uint64_t most, int64_t *columns, int64_t *diagonals)
{
    sf_mark mark = sf_scratch_mark(b);
    ordered o;
    SF_TRY(order(b, a, rows, column, diagonal, &o));

    int64_t k = 1, above = a->keys + 1, n, middle; /* k is kept, above is too much */
    while (above - k > 1) {
        middle = k + (above - k) / 2;
        if (count_best(b, a, rows, &o, middle, middle) <= most)
            k = middle;
        else
            above = middle;
    }
    for (n = k, above = a->keys + 1; above - n > 1;) {
        middle = n + (above - n) / 2;
        if (count_best(b, a, rows, &o, middle, k) <= most)
            n = middle;
        else
            above = middle;
    }
    *columns = n;
    *diagonals = k;
    sf_scratch_release(b, mark);
    return SF_OK;
}

sf_status sf_cpu_fit_masses(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                            const float *column_forced, const float *diagonal_forced, uint64_t most, double *mass,
                            int64_t *least)
{
    enum { STEPS = 1 << 19 };
    sf_mark mark = sf_scratch_mark(b);
    sf_cpu_covering columns, diagonals;
    ordered o;
    SF_TRY(sf_cpu_cover(b, rows, a->keys, column, NULL, &columns));
    SF_TRY(sf_cpu_cover(b, rows, a->keys, diagonal, NULL, &diagonals));
    SF_TRY(order(b, a, rows, column_forced, diagonal_forced, &o));

    /* One scale: 1 to `given` at mass 0, then the masses above it. `at` is kept, `above` is too much. */
    int64_t given = *least, at = 1, above = given + STEPS;
    while (above - at > 1) {
        int64_t middle = at + (above - at) / 2, fewest = middle < given ? middle : given;
        double share = (double)(middle - fewest) / STEPS;
        uint64_t pairs = 0;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) reduction(+ : pairs)
        for (int64_t r = 0; r < rows; r++)
            pairs += count_row(b, a, &o, r, sf_cpu_amount(&columns, r, a->keys, share, fewest),
                               sf_cpu_amount(&diagonals, r, a->keys, share, fewest));
        if (pairs * (uint64_t)(a->heads / rows) <= most)
            at = middle;
        else
            above = middle;
    }
    *least = at < given ? at : given;
    *mass = (double)(at - *least) / STEPS;
    sf_scratch_release(b, mark);
    return SF_OK;
}
