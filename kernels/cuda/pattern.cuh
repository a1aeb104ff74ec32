/* A prefill pattern as kernels walk it: tiles of query rows, and for each tile a list of key slots.
 *
 * Every pattern is one function: key number of slot i of a tile (-1: none). Executors and the pair counter share it, so
 * that they agree by construction. A key's slot depends on the row's position alone, never on where a chunk of the
 * prompt begins, so that a row's sums keep their order.
 *
 *   dense, window   sinks, filled up to a multiple of 128, then a stretch of keys that begins at a multiple of 128
 *   blocks          block i / block_k of the list, key i % block_k
 *   columns and     the tile of rows [s, s + 64) computes the keys s + u of a set of relative numbers u that is the
 * same diagonals       for all tiles of a head: the union of [-o, -o + 64) over its diagonals o. It is kept as PIECEs:
 * 16 neighbours, begun at a multiple of 16, with a bit for each: first the whole pieces, of which most tiles need no
 * mask, then those at the edges. Columns follow, 16 to a word of bits that leaves out those which the diagonals cover
 * already. */
#ifndef SF_CUDA_PATTERN_CUH
#define SF_CUDA_PATTERN_CUH

#include "kernels/cuda/device.cuh"

enum { SF_PIECE = 16, SF_ALIGN_KEYS = 128 };

struct sf_cuda_plan {
    sf_pattern_kind kind;
    int T, N, H, G, D, group, layer;
    int window;               /* of the layer; 0: none */
    int sinks, local;         /* window pattern; elsewhere local is larger than any position */
    int dense_from;           /* window pattern: positions from here on see everything */
    int lists, packed;        /* rows of selection; query heads that share one, packed into a tile */
    int block_q, span, parts; /* a list row serves block_q queries, cut into `parts` tiles of `span` */
    int tiles;                /* of one list row's head: ceil(T / block_q) * parts */
    int block_k;
    sf_lists first;
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

/* Fills the plan for tiles of at most `rows` query rows; queues the kernels that prepare columns and diagonals, in
 * workspace behind its first `reserve` bytes. rows 0: for counting only. */
sf_status sf_cuda_plan_make(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows, size_t reserve,
                            sf_cuda_plan *plan, void **reserved);

/* Queues the counting of the pattern's pairs into a->pairs, if anybody asks. */
sf_status sf_cuda_tally_pairs(sf_backend *b, const sf_attention *a, const sf_cuda_plan *plan);

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

/* For whole warps. */
__device__ static inline sf_cuda_tile sf_cuda_tile_of(const sf_cuda_plan &p, int tile, int list_head)
{
    sf_cuda_tile t;
    int block = tile / p.parts;
    t.query = block * p.block_q + tile % p.parts * p.span;
    int end = min(min(t.query + p.span, (block + 1) * p.block_q), p.T);
    t.queries = max(end - t.query, 0);
    t.head = list_head * p.packed;
    t.position = p.N - p.T + t.query;
    t.anchor = p.N - p.T + block * p.block_q;
    t.split = t.base = t.slots = t.list = t.from[0] = t.from[1] = t.whole = t.pieces = 0;
    if (t.queries == 0) return t;
    int last = t.position + t.queries - 1;
    if (p.kind == SF_BLOCKS) {
        t.list = list_head * (p.tiles / p.parts) + block;
        t.slots = p.first.count[t.list] * p.block_k;
    } else if (p.kind == SF_COLUMNS_DIAGONALS) {
        t.list = list_head;
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
            p.column_bits + ((int64_t)t.list * (p.tiles / p.parts) + t.query / SF_DIAGONAL_TILE) * p.column_words;
        return bits[i / 16] >> i % 16 & 1 ? p.first.index[t.list * p.first.stride + i] : -1;
    }
    if (i >= t.split) return t.base + i - t.split;
    return i < min(p.sinks, t.base) ? i : -1;
}

__device__ static inline bool sf_cuda_sees(const sf_cuda_plan &p, int position, int key)
{
    bool inside = key >= 0 && key <= position && (!p.window || key > position - p.window);
    return inside && (key < p.sinks || key > position - p.local || position >= p.dense_from);
}
#endif
#endif
