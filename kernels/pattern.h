/* A pattern says which query–key pairs a kernel computes, and what else enters the softmax. It is the only thing that a
 * sparse-attention method hands to the executors, which know no methods. Causality (key <= query position) is implied and
 * enforced by the executor, and so is the sliding window of a layer that has one.
 *
 *   prefill   DENSE, BLOCKS, COLUMNS_DIAGONALS, WINDOW, BANDS, PARTS
 *   decode    DENSE, PAGES, WINDOW, BANDS, PARTS
 *   compress  TOKENS (which keys of the prompt to keep)
 *
 * COLUMNS_DIAGONALS, drawn for one head, tile = 64 query rows (SF_DIAGONAL_TILE). A diagonal o (offset = query - key)
 * computes, for the query tile of rows [s, s+64), the keys [s-o, s-o+64) that exist; a column computes its one key for
 * every row. Keys that several of them name are computed once. (Rows count from the first of the pass; where keys
 * precede it, read s as the position of row s.)
 *
 *     . . c . . . . .        c  column 2
 *     . . c d d . . .        d  the tiles along one diagonal
 *     d . c . d d . .
 *     d d c . . d d .
 *
 * BANDS, drawn for one head: {.near = 0, .far = 2, .step = 1} and {.near = 3, .far = 7, .step = 3}, column 0, row 5.
 *
 *     b                      b  distances 0 and 1        s  distances 3 and 6
 *     b b                    c  the column               r  the row that sees all
 *     c b b
 *     c . b b
 *     c s . b b
 *     r r r r r r
 *     c . . s . b b
 *
 * PARTS. Several patterns, each computed by itself, and joined: in one softmax (by their log-sum-exps; then no pair may be
 * in two of them), or, `gated`, as a sum of results, each with a softmax of its own and times its gate.
 *
 * Reach. Rotary embeddings make a logit depend on the distance i - j of query and key. A pattern (or part) with a reach
 * computes its logits at other distances, which the executor brings about by turning queries and keys:
 *
 *     distance = min(i - chunk * (j / chunk), cap) - j % chunk        (integer division)
 *
 * For example chunk 6, cap 8: (i, j) = (14, 6) stays 8; (14, 5), truly 9, becomes 3; (17, 6), truly 11, becomes 8. One
 * formula holds the positions of a compacted cache {INT_MAX, keys kept - 1}, of LM-Infinite {1, limit}, of InfLLM's memory
 * {1, n_local} and of Dual Chunk Attention {chunk, cap}. */
#ifndef SF_PATTERN_H
#define SF_PATTERN_H

#include <stdbool.h>

#include "kernels/tensor.h"

enum { SF_DIAGONAL_TILE = 64, SF_BANDS_A_HEAD = 2, SF_MOST_PARTS = 4 };

typedef enum sf_phase { SF_PREFILL, SF_DECODE, SF_PHASES } sf_phase;

typedef enum sf_pattern_kind {
    SF_DENSE = 0,         /* every causal pair (inside the layer's own sliding window, if it has one) */
    SF_BLOCKS,            /* first: [heads * query_blocks] rows of key-block numbers; row = head * query_blocks + block */
    SF_COLUMNS_DIAGONALS, /* first: [heads] column lists (key numbers); second: [heads] diagonal lists (offsets >= 0) */
    SF_WINDOW,            /* the first `sinks` keys and the `local` latest (the query's own included); the last `last` query
                           * rows of a prefill see every key */
    SF_PAGES,             /* first: [heads] rows of page numbers; page p = logical keys [p*page, (p+1)*page) */
    SF_TOKENS,            /* first: [G] rows of key numbers to keep */
    SF_BANDS,             /* band: [heads] pairs of bands, united; first: [heads] columns, keys that every row sees; second:
                           * [heads] rows (of a prefill) that see every key. Either list may be absent (rows 0) */
    SF_PARTS,             /* part: [parts] patterns of the other kinds, joined */
    SF_CONSTANT,          /* as a gated part only: its result is sum.v [G, 1, D] for every row, no key is read */
    SF_PATTERN_KINDS
} sf_pattern_kind;

/* Key j is in the band of query position i if j < sinks and i - j >= apart, or near <= i - j < far and (i - j) % step == 0.
 * All zero: nothing is. */
typedef struct sf_band {
    int32_t sinks, apart, near, far, step; /* step >= 1 where far > near */
} sf_band;

typedef struct sf_reach {
    int32_t chunk, cap; /* chunk 0: true distances */
} sf_reach;

/* Keys that stand for others, in the same softmax as the pattern's own: centroids, pooled keys. Each counts as a pair. */
typedef struct sf_summaries {
    sf_tensor k, v;      /* [G, m, D], activation dtype */
    sf_tensor bias;      /* [G, m] or [H, m] f32, added to the scaled logit; absent: none */
    const int32_t *from; /* [m] backend memory: the first position that sees summary s; NULL: all see all */
} sf_summaries;

typedef struct sf_pattern {
    sf_pattern_kind kind;
    int heads;            /* rows of selection: H (each query head its own), G (shared in the group), or 1 (shared by all; not TOKENS) */
    int block_q, block_k; /* BLOCKS: queries and keys per block; query block b = rows [b*block_q, ...) */
    int page;             /* PAGES: keys per page */
    int sinks, local;     /* WINDOW, in keys */
    int last;             /* WINDOW: query rows at the end of a prefill that stay dense; 0: none */
    sf_lists first, second;

    const sf_band *band;  /* BANDS: [heads, SF_BANDS_A_HEAD] backend memory */
    sf_tensor bias;       /* PAGES: f32 [first.rows, first.stride], added to the scaled logits of the page's keys */
    sf_summaries sum;     /* k.data NULL: none */
    sf_reach reach;
    bool empty;           /* a row without keys gives 0 instead of an error */

    const struct sf_pattern *part; /* PARTS: [parts]; sf_parts() in methods/method.h says where they live */
    int parts;
    bool gated;     /* PARTS: out = sum of gate * result, instead of one softmax */
    sf_tensor gate; /* of a gated part: f32 [1 or T, H]; absent: 1 */
    int repeat;     /* of a gated part of a prefill: rows r - r % repeat are computed, and used for row r; 0: every row */
} sf_pattern;

/* The row of selection that query head h goes by. */
static inline int64_t sf_selection_of(const sf_pattern *p, int heads, int kv_heads, int h)
{
    return p->heads == heads ? h : p->heads == kv_heads ? h / (heads / kv_heads) : 0;
}

static inline bool sf_band_is_fine(const sf_band *b)
{
    return b->sinks >= 0 && b->apart >= 0 && b->near >= 0 && (b->far <= b->near || b->step >= 1);
}

static inline bool sf_band_sees(const sf_band *b, int64_t position, int64_t key)
{
    int64_t distance = position - key;
    if (key < b->sinks && distance >= b->apart) return true;
    return distance >= b->near && distance < b->far && distance % b->step == 0;
}

/* Whether the reach moves query position i for keys of j's chunk: then it stands at sf_reach_position(), not at i. */
static inline bool sf_reach_turns(sf_reach r, int64_t position, int64_t key)
{
    return r.chunk > 0 && position - key / r.chunk * r.chunk > r.cap;
}

static inline int64_t sf_reach_position(sf_reach r, int64_t position, int64_t key)
{
    return sf_reach_turns(r, position, key) ? r.cap + key / r.chunk * r.chunk : position;
}

struct sf_attention;

/* The list among a pattern's `first` lists that row i of query head h goes by. Lists in host memory, here and below. */
int64_t sf_pattern_list(const struct sf_attention *a, const sf_pattern *p, int h, int i);

/* mask[j] = 1 where query head h at row i reads key j by the pattern, of a cache that holds every key; else 0. mask [N].
 * Keys are not looked at. p NULL: every key that the row may see. */
void sf_pattern_named(const struct sf_attention *a, const sf_pattern *p, int h, int i, uint8_t *mask);

#endif
