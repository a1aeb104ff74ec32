/* A prefill pattern as kernels walk it: tiles of query rows, and for each tile a list of key slots.
 *
 * Every pattern is one function: key number of slot i of a tile (-1: none). Executors and the pair counter share it, so
 * that they agree by construction. A key's slot depends on the row's position alone, never on where a chunk of the
 * prompt begins, so that a row's sums keep their order.
 *
 *   dense, window   sinks, filled up to a multiple of 128, then a stretch of keys that begins at a multiple of 128
 *   bands           stretches that begin at multiples of 128, then columns (bands.cuh). Also dense and window patterns of
 *                   which a pass computes a share, or every n-th row
 *   blocks          block i / block_k of the list, key i % block_k
 *   columns and     the tile of rows [s, s + 64) computes the keys s + u of a set of relative numbers u that is the
 * same diagonals       for all tiles of a head: the union of [-o, -o + 64) over its diagonals o. It is kept as PIECEs:
 * 16 neighbours, begun at a multiple of 16, with a bit for each: first the whole pieces, of which most tiles need no
 * mask, then those at the edges. Columns follow, 16 to a word of bits that leaves out those which the diagonals cover
 * already.
 *   summaries       one after the other */
#ifndef SF_CUDA_PATTERN_CUH
#define SF_CUDA_PATTERN_CUH

#include "kernels/cuda/bands.cuh"
#include "kernels/cuda/device.cuh"

enum { SF_PIECE = 16 };

struct sf_cuda_plan {
    sf_pattern_kind kind;
    int T, N, H, G, D, group, layer;
    int origin, every;        /* row r, one of T, is row r * every of q and stands at position origin + r * every */
    int window;               /* of the layer; 0: none */
    int sinks, local;         /* window pattern; elsewhere local is larger than any position */
    int dense_from;           /* window pattern: positions from here on see everything */
    int lists, packed;        /* rows of tiles; query heads that share one, packed into a tile */
    int selections;           /* rows of selection: one for each row of tiles, or 1 for all; bands: 1, G or H */
    int block_q, span, parts; /* a tile row's list serves block_q queries, cut into `parts` tiles of `span` */
    int tiles;                /* of one list row's head: ceil(T / block_q) * parts */
    int list_q, list_rows;    /* a list serves so many rows of q; so many lists a selection: blocks, column bits */
    int block_k;
    sf_lists first;
    sf_lists second;          /* bands: rows of q that see all; its rows 0: none */
    const sf_band *band;      /* bands: [selections, SF_BANDS_A_HEAD]; NULL: `own` */
    sf_band own[SF_BANDS_A_HEAD];
    sf_reach reach;
    sf_cuda_share share;
    bool summaries;           /* keys are summaries, N of them */
    const int32_t *from;      /* of summaries: [N] first positions that see them; NULL: all see all */
    const float *bias;        /* of summaries: [bias_rows, N]; NULL: none */
    int bias_rows;
    const int2 *piece;     /* [lists, 2 (whole, edge), piece_stride] x: relative key, y: bits */
    const int32_t *pieces; /* [lists, 2] */
    int piece_stride;
    const uint16_t *column_bits; /* [lists, tiles of 64 rows, column_words] */
    int column_words;
    const uint32_t *cover,
        *column_set; /* [lists, words] relative keys + base that diagonals cover; keys that are columns */
    int words, base;
};

static inline int sf_cuda_slash_base(int keys) { return ceil_div(keys, 64) * 64 + 64; }
static inline int sf_cuda_slash_words(int keys) { return sf_cuda_slash_base(keys) / 32 + 4; }

/* Fills the plan for tiles of at most `rows` query rows, of the pattern's keys (not its summaries) that belong to the share;
 * queues the kernels that prepare columns and diagonals, in workspace behind its first `reserve` bytes. rows 0: for counting
 * only. */
sf_status sf_cuda_plan_make(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, sf_cuda_share share, int rows,
                            size_t reserve, sf_cuda_plan *plan, void **reserved);

/* The same for the pattern's summaries. */
sf_cuda_plan sf_cuda_plan_summaries(const sf_attention *a, const sf_pattern *pattern, int rows);

/* Queues the counting of the pattern's pairs, those of all shares, into a->pairs, if anybody asks. */
sf_status sf_cuda_tally_pairs(sf_backend *b, const sf_attention *a, const sf_cuda_plan *plan);

/* Where the rows go that a pass computes. before: it joins, in one softmax, what earlier passes left in out. */
struct sf_cuda_finish {
    bf16 *out;           /* [rows, H, D] */
    const float *before; /* [rows, H] lse of earlier passes, or NULL: it is the first */
    float *lse;          /* [rows, H] of all so far, or NULL: nobody asks; not `before` */
    bool complains;      /* of rows without keys */
};

#ifdef __CUDACC__
/* One tile: queries [query, query + queries) of the heads [head, head + packed). */
struct sf_cuda_tile {
    int query, queries, head, list;
    int position;               /* of the first query */
    int anchor;                 /* position of the first query of its list's block, which diagonals are relative to */
    int split;                  /* slots before it are sinks or pieces, after it the stretch or the columns */
    int base;                   /* first key of the stretch */
    int from[2], whole, pieces; /* first whole and edge piece that reaches key 0; whole ones; both together */
    int slots;
    const sf_band *band; /* bands: of the tile's head; then also ... */
    sf_cuda_stretches stretch;
    int selection;
};

__device__ static inline int sf_round_up(int x, int to) { return (x + to - 1) / to * to; }

/* Entries of an ascending list that are below `limit`. */
__device__ static inline int sf_lower_bound(const int32_t *list, int n, int limit)
{
    int low = 0, high = n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (list[middle] < limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* How many of n ordered entries come before what is sought. The whole warp looks, at 32 places a trip to memory, where a
 * thread alone makes ten or more, one after the other, before its block's first key tile is asked for. */
template <typename Before> __device__ static inline int sf_warp_bound(int n, Before before)
{
    int low = 0, high = n, lane = threadIdx.x % 32;
    while (low < high) {
        int step = (high - low + 31) / 32, at = low + (lane + 1) * step - 1;
        int past = __popc(__ballot_sync(~0u, at < high && before(at)));
        high = min(high, low + (past + 1) * step - 1); /* that place is not before it */
        low = min(low + past * step, high);
    }
    return low;
}

/* The first of n pieces that reaches key 0 from `anchor`. */
__device__ static inline int sf_cuda_first_piece(const int2 *piece, int n, int anchor)
{
    return sf_warp_bound(n, [&](int i) { return anchor + piece[i].x + SF_PIECE <= 0; });
}

/* Piece i of the tile: relative key and bits, none past the last one. */
__device__ static inline int2 sf_cuda_piece(const sf_cuda_plan &p, const sf_cuda_tile &t, int i)
{
    if (i >= t.pieces) return make_int2(0, 0);
    const int2 *piece = p.piece + (int64_t)t.list * 2 * p.piece_stride;
    return i < t.whole ? piece[t.from[0] + i] : piece[p.piece_stride + t.from[1] + i - t.whole];
}

/* The selection of a row of tiles. */
__device__ static inline int sf_cuda_selection(const sf_cuda_plan &p, int list_head)
{
    return p.selections == 1 ? 0 : list_head / (p.lists / p.selections);
}

/* Whether row r of the plan sees all its keys, by a list of bands. */
__device__ static inline bool sf_cuda_full(const sf_cuda_plan &p, int selection, int r)
{
    if (p.origin + r * p.every >= p.dense_from) return true;
    if (!p.second.rows) return false;
    const int32_t *row = p.second.index + selection * p.second.stride;
    int n = p.second.count[selection], at = sf_lower_bound(row, n, r * p.every);
    return at < n && row[at] == r * p.every;
}

__device__ static inline sf_cuda_row sf_cuda_row_of(const sf_cuda_plan &p, int position, bool full)
{
    return sf_cuda_row_at(position, p.window, p.reach, p.share, full);
}

/* A tile's rows; no slots yet. */
__device__ static inline sf_cuda_tile sf_cuda_rows_of(const sf_cuda_plan &p, int tile, int list_head)
{
    sf_cuda_tile t;
    int block = tile / p.parts;
    t.query = block * p.block_q + tile % p.parts * p.span;
    int end = min(min(t.query + p.span, (block + 1) * p.block_q), p.T);
    t.queries = max(end - t.query, 0);
    t.head = list_head * p.packed;
    t.position = p.origin + t.query * p.every;
    t.anchor = p.origin + t.query * p.every / p.list_q * p.list_q;
    t.selection = sf_cuda_selection(p, list_head);
    t.band = p.own;
    t.split = t.base = t.slots = t.list = t.from[0] = t.from[1] = t.whole = t.pieces = 0;
    return t;
}

/* A tile under lists of blocks. */
__device__ static inline sf_cuda_tile sf_cuda_block_tile(const sf_cuda_plan &p, int tile, int list_head)
{
    sf_cuda_tile t = sf_cuda_rows_of(p, tile, list_head);
    if (t.queries == 0) return t;
    t.list = t.selection * p.list_rows + t.query * p.every / p.list_q;
    t.slots = p.first.count[t.list] * p.block_k;
    return t;
}

/* For whole warps. */
__device__ static inline sf_cuda_tile sf_cuda_tile_of(const sf_cuda_plan &p, int tile, int list_head)
{
    if (p.kind == SF_BLOCKS) return sf_cuda_block_tile(p, tile, list_head);
    sf_cuda_tile t = sf_cuda_rows_of(p, tile, list_head);
    if (t.queries == 0) return t;
    int last = t.position + (t.queries - 1) * p.every;
    if (p.summaries) {
        t.slots = t.split = p.N;
    } else if (p.kind == SF_BANDS) {
        bool full = false;
        for (int r = threadIdx.x % 32; r < t.queries; r += 32) full |= sf_cuda_full(p, t.selection, t.query + r);
        full = __any_sync(~0u, full);
        if (p.band) t.band = p.band + t.selection * SF_BANDS_A_HEAD;
        t.list = list_head;
        t.stretch = sf_cuda_stretches_of(t.band, sf_cuda_row_of(p, t.position, false), sf_cuda_row_of(p, last, false), full);
        t.slots = t.split = t.stretch.until[SF_STRETCHES - 1];
        if (p.first.rows) {
            const int32_t *column = p.first.index + t.selection * p.first.stride;
            t.slots += sf_warp_bound(p.first.count[t.selection], [&](int i) { return column[i] <= last; });
        }
    } else if (p.kind == SF_COLUMNS_DIAGONALS) {
        list_head = t.list = t.selection;
        const int2 *piece = p.piece + (int64_t)list_head * 2 * p.piece_stride;
        const int32_t *pieces = p.pieces + list_head * 2;
        t.from[0] = sf_cuda_first_piece(piece, pieces[0], t.anchor);
        t.from[1] = sf_cuda_first_piece(piece + p.piece_stride, pieces[1], t.anchor);
        t.whole = pieces[0] - t.from[0];
        t.pieces = t.whole + pieces[1] - t.from[1];
        t.split = sf_round_up(t.pieces * SF_PIECE, SF_ALIGN_KEYS);
        const int32_t *column = p.first.index + list_head * p.first.stride;
        t.slots = t.split + sf_warp_bound(p.first.count[list_head], [&](int i) { return column[i] <= last; });
    } else {
        int reach = last >= p.dense_from ? p.N : p.local;
        if (p.window) reach = min(reach, p.window);
        int from = max(0, t.position - reach + 1) / SF_ALIGN_KEYS * SF_ALIGN_KEYS;
        int sinks = min(p.sinks, from);
        t.split = sf_round_up(sinks, SF_ALIGN_KEYS);
        t.base = from;
        t.slots = t.split + last + 1 - from;
    }
    return t;
}

/* Key of slot i, or -1. Which of the tile's rows see it is sf_cuda_sees(). */
__device__ static inline int sf_cuda_key(const sf_cuda_plan &p, const sf_cuda_tile &t, int i)
{
    if (i >= t.slots) return -1;
    if (p.summaries) return i;
    if (p.kind == SF_BANDS) {
        int key = i < t.split ? sf_cuda_stretch_key(t.stretch, i) : p.first.index[t.selection * p.first.stride + i - t.split];
        return key < p.N ? key : -1;
    }
    if (p.kind == SF_BLOCKS) {
        int key = p.first.index[t.list * p.first.stride + i / p.block_k] * p.block_k + i % p.block_k;
        return key < p.N ? key : -1;
    }
    if (p.kind == SF_COLUMNS_DIAGONALS) {
        if (i < t.split) {
            int2 piece = sf_cuda_piece(p, t, i / SF_PIECE);
            int key = t.anchor + piece.x + i % SF_PIECE;
            return piece.y >> i % SF_PIECE & 1 && key >= 0 ? key : -1;
        }
        i -= t.split;
        const uint16_t *bits =
            p.column_bits + ((int64_t)t.list * p.list_rows + t.query * p.every / SF_DIAGONAL_TILE) * p.column_words;
        return bits[i / 16] >> i % 16 & 1 ? p.first.index[t.list * p.first.stride + i] : -1;
    }
    if (i >= t.split) return t.base + i - t.split;
    return i < min(p.sinks, t.base) ? i : -1;
}

/* Of dense, window, block, column and diagonal patterns, all of their keys. */
__device__ static inline bool sf_cuda_sees(const sf_cuda_plan &p, int position, int key)
{
    bool inside = key >= 0 && key <= position && (!p.window || key > position - p.window);
    return inside && (key < p.sinks || key > position - p.local || position >= p.dense_from);
}

/* Of any pattern. column: of a slot behind the tile's split. */
__device__ static inline bool sf_cuda_sees_any(const sf_cuda_plan &p, const sf_cuda_tile &t, const sf_cuda_row &r, int key, bool column)
{
    if (p.summaries) return key >= 0 && (!p.from || p.from[key] <= r.position);
    if (p.kind == SF_BANDS) return sf_cuda_row_sees(t.band, r, key, column);
    return key >= r.low && key < r.high && sf_cuda_sees(p, r.position, key);
}

/* The weights of what a pass finds for a row, whose lse is `mine`, and of what is there; writes: writes down what is known of
 * the row. */
struct sf_cuda_weights {
    float found, there; /* there 0: nothing is, not even numbers */
};

__device__ static inline sf_cuda_weights sf_cuda_weigh(const sf_cuda_finish &f, const sf_cuda_plan &p, int row, int head, float mine,
                                                       bool writes, sf_cuda_report *report)
{
    int64_t at = (int64_t)row * p.H + head;
    float all = mine;
    sf_cuda_weights w = {1, 0};
    if (f.before) {
        float before = f.before[at], most = fmaxf(mine, before);
        if (most != -INFINITY) {
            float x = expf(mine - most), y = expf(before - most);
            w = {x / (x + y), y / (x + y)};
            all = most + logf(x + y);
        }
    }
    if (writes && f.lse) f.lse[at] = all;
    if (writes && f.complains && all == -INFINITY) sf_raise(report, SF_FAULT_EMPTY_ROW, p.layer, head, row);
    return w;
}
#endif
#endif
