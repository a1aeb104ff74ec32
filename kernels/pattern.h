/* A pattern says which query–key pairs a kernel computes. It is the only thing that a sparse-attention method hands to
 * the executors, which know no methods. Causality (key <= query position) is implied and enforced by the executor, and
 * so is the sliding window of a layer that has one.
 *
 *   prefill   DENSE, BLOCKS, COLUMNS_DIAGONALS, WINDOW
 *   decode    DENSE, PAGES, WINDOW
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
 */
#ifndef SF_PATTERN_H
#define SF_PATTERN_H

#include "kernels/tensor.h"

enum { SF_DIAGONAL_TILE = 64 };

typedef enum sf_pattern_kind {
    SF_DENSE = 0,         /* every causal pair (inside the layer's own sliding window, if it has one) */
    SF_BLOCKS,            /* first: [heads * query_blocks] rows of key-block numbers; row = head * query_blocks + block */
    SF_COLUMNS_DIAGONALS, /* first: [heads] column lists (key numbers); second: [heads] diagonal lists (offsets >= 0) */
    SF_WINDOW,            /* the first `sinks` keys and the `local` latest (the query's own included); the last `last` query
                           * rows of a prefill see every key */
    SF_PAGES,             /* first: [G] rows of page numbers; page p = logical keys [p*page, (p+1)*page) */
    SF_TOKENS,            /* first: [G] rows of key numbers to keep */
    SF_PATTERN_KINDS
} sf_pattern_kind;

typedef struct sf_pattern {
    sf_pattern_kind kind;
    int heads;            /* rows of selection: H (each query head its own) or G (shared in the group) */
    int block_q, block_k; /* BLOCKS: queries and keys per block; query block b = rows [b*block_q, ...) */
    int page;             /* PAGES: keys per page */
    int sinks, local;     /* WINDOW, in keys */
    int last;             /* WINDOW: query rows at the end of a prefill that stay dense; 0: none */
    sf_lists first, second;
} sf_pattern;

#endif
