/* The inner kernels of the CPU backend, one table per instruction set: AVX-512 (x86-64-v4), AVX2 (x86-64-v3), generic
 * C.
 *
 * They are written once, over vectors of any width (simd.h), in the tile_*.h files, and compiled by each isa_*.c. The
 * order of every sum is the same in all of them; they differ by the contraction of multiply and add alone.
 * Everything here runs in one thread; the ops around them share the work out. */
#ifndef SF_CPU_TILES_H
#define SF_CPU_TILES_H

#include <stdbool.h>

#include "kernels/backend.h"

enum {
    SF_PANEL = 16,         /* keys side by side */
    SF_STRIP = 8,          /* query rows side by side */
    SF_BATCH = 9,          /* panels between two updates of the running maximum */
    SF_TILE_ROWS = 128,    /* the most query rows of a tile */
    SF_STEP = 32,          /* keys between two updates in decode */
    SF_LINEAR_OUTS = 128,  /* the most outputs that linear() is asked for at once */
    SF_LINEAR_ROOM = SF_LINEAR_OUTS * (1024 + 6 * 16), /* for it: widened weights, and 16 sums for each of 6 rows */
    SF_CHAIN_FLOATS = 192, /* products that a step of multiply_add() adds, each to a sum of its own */
};

/* What rows see of keys where one stretch of distances cannot tell. */
typedef struct sf_sight {
    const sf_band *band; /* [SF_BANDS_A_HEAD]; NULL: every distance */
    sf_band own[SF_BANDS_A_HEAD]; /* room for them */
    sf_reach reach;      /* chunk 0: all pairs, else … */
    bool turned;         /* … those that the reach moves, or those that it leaves alone */
    int32_t window;      /* of the layer */
} sf_sight;

/* always: a column, which no band holds back. */
static inline bool sf_sight_sees(const sf_sight *s, bool always, int64_t position, int64_t key)
{
    if (key > position || position - key >= s->window) return false;
    if (s->band && !always && !sf_band_sees(s->band, position, key) && !sf_band_sees(s->band + 1, position, key)) return false;
    return s->reach.chunk == 0 || sf_reach_turns(s->reach, position, key) == s->turned;
}

/* 16 keys as a query tile sees them. Keys are stored transposed, [D][16], so that a row of scores is a vector. */
typedef struct sf_panel {
    const float *k;     /* [D, 16] */
    const float *v;     /* values [16, padded], in blocks of columns as pack_values() lays them out */
    const int32_t *key; /* [16] key numbers (of a summary: the first position that sees it); NULL: first, first + 1, … */
    const float *bias;  /* [16] added to the logits, in powers of two; NULL: none */
    const sf_sight *sight; /* NULL: a row at position p sees keys in (p - reach, p - near] */
    int32_t first;      /* the lowest key number */
    int32_t near, reach;
    uint16_t lanes;     /* keys that count at all */
    uint16_t always;    /* with a sight: those of them that are columns */
    bool edge;          /* some row does not see some of them */
} sf_panel;

static inline int64_t sf_panel_key(const sf_panel *p, int lane) { return p->key ? p->key[lane] : p->first + lane; }

static inline bool sf_panel_sees(const sf_panel *p, int lane, int64_t position)
{
    int64_t j = sf_panel_key(p, lane);
    if (p->sight) return sf_sight_sees(p->sight, p->always >> lane & 1, position, j);
    return j > position - p->reach && j <= position - p->near;
}

/* Rows of one head at consecutive positions, on their way through online softmax. Rows are padded to strips of 8. */
typedef struct sf_query_tile {
    int rows, dim, padded;   /* padded: dim rounded up to 16 */
    int position;            /* of row 0 */
    float cap;               /* of scores, in powers of two; 0: none */
    float *q;                /* [strips, dim, 8], times scale · log2 e; of bf16 as they are, as tile_bf16.h lays them out … */
    float scale;             /* … and this is of their scores */
    float *most, *sum, *out; /* [rows], [rows, 16], [rows, padded]: running maximum, sum, weighted values */
} sf_query_tile;

/* Keys and values of a packed prompt (kernels/cache.h), which a tile turns to floats as it comes to them, a few in the nearest cache. */
typedef struct sf_packed_rows {
    sf_cache_kind kind;
    size_t bytes, scale_bytes; /* of a row's numbers; of its scales */
    const char *k, *v, *k_scales, *v_scales; /* row 0's */
    const int64_t *row;        /* of the keys at hand, and behind them of those that come next */
    float *room;               /* [SF_PACKED_ROOM(padded)], 64-byte aligned */
} sf_packed_rows;

#define SF_PACKED_ROOM(padded) ((8 + SF_STEP) * (padded))

/* The same for the query heads of one group at one position. */
typedef struct sf_decode_tile {
    int group, dim, padded;
    const float *q;          /* [group, padded], times scale · log2 e, zero-padded */
    const float *bias;       /* [group, …] of the keys at hand, in powers of two, heads bias_stride apart; NULL: none */
    int64_t bias_stride;
    float cap;               /* of scores, as above, before the bias */
    float *most, *sum, *out; /* [group], [group], [group, padded] */
    const sf_packed_rows *packed; /* that keys and values which are NULL are of; NULL: none is */
} sf_decode_tile;

/* y[r, o] (+)= <x[r], w[o]> (+ bias[o]); x [rows, in], rows of w row_bytes apart, rows of y ldy apart. */
typedef struct sf_linear {
    const float *x, *packed; /* packed: x as pack_rows() lays it out; NULL: x itself, if 16 divides `in` */
    const char *w;
    const float *bias; /* or NULL */
    float *y;
    int64_t rows, in, ldy;
    size_t row_bytes;
    sf_dtype dtype; /* of w */
    bool add;
} sf_linear;

/* Up to SF_STATE_COLUMNS columns of the state of a value head, over rows whose numbers lie `stride` apart. */
enum { SF_STATE_COLUMNS = 32 };
typedef struct sf_delta_rows {
    int64_t rows, stride, gate_stride, out_stride;
    int dim, columns;          /* Dk; of Dv */
    const float *q, *k, *v;    /* [rows, Dk] twice, as they are projected; [rows, columns] */
    const float *decay, *beta; /* [rows], gate_stride apart */
    float *state, *room;       /* [Dk, SF_STATE_COLUMNS], [2, Dk] */
    float *out;                /* [rows, columns], out_stride apart */
} sf_delta_rows;

/* The same of a state space's head. */
typedef struct sf_space_rows {
    int64_t rows, stride, gate_stride, out_stride;
    int dim, columns;          /* Dk; of Dv */
    const float *v, *B, *C;    /* [rows, columns]; [rows, Dk] twice */
    const float *decay, *step; /* [rows], gate_stride apart */
    float skip, *state;        /* state [Dk, SF_STATE_COLUMNS] */
    float *out;                /* [rows, columns], out_stride apart */
} sf_space_rows;

typedef struct sf_tiles sf_tiles;
struct sf_tiles {
    const char *name;
    const sf_tiles *exact; /* where linear() and attend() round: the tiles that do not; else NULL */

    /* n fp32 of any dtype. n a multiple of the block. */
    void (*widen)(sf_dtype dtype, const void *from, float *to, int64_t n);

    int strip_rows; /* rows of x that pack_rows() puts side by side; units of work begin at multiples of it */
    int unit_rows;  /* rows from which on weights are not the bottleneck */

    /* Rows [first, first + count) of x into `to`: [rows, in], both rounded up, to whole strips and to 16. */
    void (*pack_rows)(const float *x, int64_t rows, int64_t in, int64_t first, int64_t count, float *to);

    /* The part of `l` with rows [first, first + rows) and outputs [out, out + outs), at most SF_LINEAR_OUTS.
     * room: SF_LINEAR_ROOM floats. */
    void (*linear)(const sf_linear *l, int64_t first, int64_t rows, int64_t out, int outs, float *room);

    void (*rms_norm)(const float *x, const float *weight, float offset, float eps, int width, float *out);
    void (*gated)(float *gate, const float *up, int64_t n, sf_activation kind);

    /* The 16 keys and values of a panel as sf_panel wants them; a NULL row gives zeros. */
    void (*pack_keys)(const float *const *key, int dim, float *out);
    void (*pack_values)(const float *const *value, int dim, float *out);

    /* The same for attend(), whose panels may be of bf16 (tile_bf16.h), half as long: halves() tells by the head dim. NULL: never. */
    void (*panel_keys)(const float *const *key, int dim, float *out);
    void (*panel_values)(const float *const *value, int dim, float *out);
    int (*halves)(int dim);

    void (*attend_begin)(sf_query_tile *t, const float *q, int64_t stride, float scale); /* rows of q `stride` apart */
    void (*load_queries)(sf_query_tile *t, const float *q, int64_t stride, float scale); /* others, on the way */
    void (*attend)(sf_query_tile *t, const sf_panel *panel, int panels);
    /* The first row without keys, whose result is 0; -1: none. lse, one a row, rows lse_stride apart: or NULL. */
    int (*attend_end)(const sf_query_tile *t, float *out, int64_t stride, float *lse, int64_t lse_stride);

    /* x[i] = cap · tanh(x[i] / cap); cap 0: as they are */
    void (*cap)(float *x, int64_t n, float cap);

    /* s[r * ld + key] = <q[r], key> for a strip's 8 rows, q [D, 8], and all keys of `panels` panels [panels, D, 16].
     * soon: a panel that is wanted next, or NULL. most [8, 16]: the largest scores of each row so far, key by key modulo 16; or NULL. */
    void (*score)(const float *q, int dim, const float *keys, int panels, float *s, int64_t ld, const float *soon, float *most);

    /* In place, scores become powers of two below the largest that a row sees: row r of `rows` stands at position[r].
     * share[r] * p[r] is its softmax. Keys 0 to before `keys` are written, those that the row does not see as 0. */
    void (*softmax)(const int32_t *position, int rows, int window, int keys, float *p, int64_t ld, float *share);

    /* column[i] += share * p[i] (or the larger of both), diagonal[i] += share * p[i]. */
    void (*tally)(const float *p, float share, int64_t n, bool most, float *column, float *diagonal);

    /* The sums of tally() for a strip's 8 rows, ld apart, in their order: of n, n + step, n + 2 step … numbers. diagonal: as of the
     * last row; a row's own begin `step` later than those of the next. */
    void (*tally_strip)(const float *p, int64_t ld, const float *share, int64_t n, int64_t step, float *column, float *diagonal);

    /* x[h * ld + i] = <q[h], key[i]>. q [heads, padded] zero-padded; keys are rows of dim; ld >= n rounded up to 8. */
    void (*dots)(const float *q, int heads, int dim, const float *const *key, int n, float *x, int64_t ld);
    /* n <= SF_STEP keys; `ahead` keys that come next follow them in `key`. */
    void (*decode)(sf_decode_tile *t, const float *const *key, const float *const *value, int n, int ahead);

    /* A row of a packed cache, as sf_cache_unpack(): [dim] floats. */
    void (*unpack)(sf_cache_kind kind, const void *numbers, const void *scales, int dim, float *to);

    /* x[i] = 2^(x[i] - most); returns the sum, in 16 lanes. */
    float (*powers)(float *x, int64_t n, float most);
    float (*largest)(const float *x, int64_t n);
    /* Σ (x[i] - low)+ to *first; returns Σ (x[i] - low)+². Of 1024 numbers in 16 lanes, of all in double. */
    double (*excess)(const float *x, int64_t n, float low, double *first);

    /* The state's columns over all rows: delta_rule() in backend.h. */
    void (*delta_rows)(const sf_delta_rows *d);
    void (*space_rows)(const sf_space_rows *d); /* … state_space() */

    /* Sum over `group` queries [group, dim] and dimensions of the larger of q·low and q·high. */
    float (*bound)(const float *q, int group, int dim, const float *low, const float *high);

    /* The min(k, n) largest of x[0..n) as an ascending list (see top() in backend.h); returns their number. room: n. */
    int32_t (*best)(const float *x, int64_t n, int64_t k, uint32_t *room, int32_t *index);

    /* Bits that either map has. */
    int64_t (*count_bits)(const uint64_t *x, const uint64_t *y, int64_t words);

    /* `steps` times SF_CHAIN_FLOATS fused multiply-adds that never leave the registers: the machine's ceiling. */
    float (*multiply_add)(int64_t steps, float x);
};

/* The table over the functions of the tile_*.h files, for the isa_*.c files. */
#define SF_TILES(isa)                                                                                                  \
    {                                                                                                                  \
        .strip_rows = TILE_ROWS, .unit_rows = 384, .pack_rows = pack_rows, .linear = linear,                           \
        .panel_keys = pack_keys, .panel_values = pack_values, .attend_begin = attend_begin, .load_queries = load_queries, .attend = attend,     \
        SF_TILES_SHARED(isa)                                                                                           \
    }

/* The same where attention and linear layers multiply bf16 (tile_bf16.h). */
#define SF_TILES_BF16(isa, in_fp32)                                                                                             \
    {                                                                                                                  \
        .exact = &in_fp32, .strip_rows = TILE, .unit_rows = 1024, .pack_rows = pack_rows_bf16, .linear = linear_bf16, .panel_keys = panel_keys,              \
        .panel_values = panel_values, .halves = halves, .attend_begin = attend_begin_bf16,                             \
        .load_queries = load_queries_bf16, .attend = attend_bf16, SF_TILES_SHARED(isa)                                 \
    }

#define SF_TILES_SHARED(isa)                                                                                           \
        .name = isa, .widen = widen, .rms_norm = rms_norm, .gated = gated, .pack_keys = pack_keys, .pack_values = pack_values,                      \
        .attend_end = attend_end,         \
        .cap = cap_scores, .score = score, .softmax = softmax,                                                                            \
        .tally = tally, .tally_strip = tally_strip, .largest = largest, .excess = excess, .dots = dots, .decode = decode, .unpack = unpack_row, \
        .powers = powers, .bound = bound, .multiply_add = multiply_add, .count_bits = count_bits, .best = best,                             \
        .delta_rows = delta_rows, .space_rows = space_rows

extern const sf_tiles sf_tiles_avx512, sf_tiles_avx2, sf_tiles_generic, sf_tiles_amx, sf_tiles_bf16;

#endif
