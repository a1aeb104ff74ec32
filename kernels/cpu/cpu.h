/* The CPU backend from inside: its ops, and what they share.
 *
 *   cpu.c         the table, opening: which instruction set
 *   tiles.h       inner kernels, once per instruction set (tile_*.h, isa_*.c)
 *   layers.c      linear layers, norms, rotations, moves     experts.c   mixtures of experts
 *   integers.c    linear layers of activations in 8 bits (cpu-int8; tile_integers.h)
 *   panels.c      from a pattern to the keys that some query rows compute          turn.c  rotations by other distances
 *   prefill.c     attention of many rows          decode.c     attention of one row of each of several sequences
 *   entmax.c      both, where rows are normalised by α-entmax
 *   estimate.c    probes, blocks, pages           select.c     rows of scores: reduce, pool, choose
 *   components.c  antidiagonals, components, what stands for many keys
 *   keys.c        keys by themselves, or listed   sample.c     samples of keys; keys in 4 bits
 *   walk.c        inner products of rows; a walk over blocks          recurrent.c   states that rows carry on
 *
 * Work is shared out over OpenMP threads in units whose results do not depend on who computes them. */
#ifndef SF_CPU_H
#define SF_CPU_H

#include <omp.h>

#include "kernels/cpu/tiles.h"
#include "kernels/cache.h"
#include "kernels/host.h"

static const float LOG2E = 1.4426950408889634f; /* probabilities are powers of 2 here */

static inline const sf_tiles *sf_cpu_tiles(const sf_backend *b) { return b->self; }
static inline int64_t sf_cpu_parts(int64_t n, int64_t size) { return (n + size - 1) / size; }
static inline int sf_cpu_padded(int dim) { return (dim + 15) / 16 * 16; }

/* layers.c: a vector of weights as fp32: itself, or widened into scratch. */
sf_status sf_cpu_as_f32(sf_backend *b, const sf_tensor *w, const float **out);

/* layers.c: y (+)= x · Wᵀ + bias, uncounted. */
sf_status sf_cpu_product(sf_backend *b, const float *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add,
                         float *y);

/* integers.c: the same in whole numbers, of weights whose type is an sf_integer_type(). */
sf_status sf_cpu_integer_product(sf_backend *b, const float *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add,
                                 float *y);

/* Scratch of `count` things for each thread: thread t's are at base + t * count. */
sf_status sf_cpu_room(sf_backend *b, int64_t count, size_t size, void **base);

/* Logical key j of kv head g, and its value; NULL where a compacted cache does not hold it. Not of a packed prompt. */
static inline const float *sf_cpu_row(const sf_attention *a, int g, int64_t j, bool value)
{
    const sf_kv_part *part = j < a->kv.prompt.n ? &a->kv.prompt : &a->kv.tail;
    if (part == &a->kv.tail) j -= a->kv.prompt.n;
    if (j >= (part->count ? part->count[g] : part->n)) return NULL;
    return (const float *)(value ? part->v : part->k) + sf_kv_row(part, g, j) * a->head_dim;
}

/* Row `row` (sf_kv_row()) of the prompt's packed k or v, as floats. */
static inline void sf_cpu_unpack(const sf_attention *a, const void *packed, int64_t row, float *to)
{
    const sf_kv_part *part = &a->kv.prompt;
    sf_cpu_tiles(a->backend)->unpack(part->format->kind, sf_cache_numbers(part, packed, row, a->head_dim),
                                     sf_cache_scales(part, packed, a->kv_heads, row, a->head_dim), a->head_dim, to);
}

/* ---- panels.c ---------------------------------------------------------------------------------------------------- */

/* Rows [row, row + rows) of query head `head`, inside one query block, diagonal tile or stretch of dense rows. */
typedef struct sf_rows {
    int head, row, rows;
    bool step; /* a decode step, which shares a tile with nobody */
} sf_rows;

/* The most rows of `head` from `row` on that share a selection, at most `most`. */
int sf_cpu_rows_together(const sf_attention *a, const sf_pattern *pattern, int head, int row, int most);

/* The keys that these rows compute in a pattern that has no parts, each exactly once, as panels without addresses: ranges
 * of keys first, in ascending order of 16-key panels, then the columns that no range covers, 16 list entries to a panel,
 * with `key` pointing into the list. Of a pattern with a reach, only the pairs that it moves (turned) or does not. Returns
 * their number, at most sf_cpu_most_panels(); *pairs is added to; *sight is what panels point to. Summaries are left out. */
int sf_cpu_panels(const sf_attention *a, const sf_pattern *pattern, sf_rows rows, bool turned, sf_sight *sight,
                  sf_panel *out, uint64_t *pairs);
int sf_cpu_most_panels(const sf_attention *a);

/* ---- turn.c ------------------------------------------------------------------------------------------------------- */

/* cosine, sine [D/2] of what rotary embedding turns pairs by over so many positions; and a row turned by them. */
void sf_cpu_angles(const sf_attention *a, int64_t positions, float *cosine, float *sine);
void sf_cpu_turn(const sf_attention *a, const float *cosine, const float *sine, const float *from, float *to);

/* ---- entmax.c ------------------------------------------------------------------------------------------------------ */

/* The executors of attention whose rows are normalised by α-entmax (a->alpha). */
sf_status sf_cpu_entmax_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out);
sf_status sf_cpu_entmax_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, void *out);

/* weight[i] of entry at[i], ascending, of x [n]: those that α-entmax gives more than nothing, whose number is returned. Entries of
 * -INFINITY are not there. at, weight: room for n. */
int64_t sf_cpu_entmax(sf_backend *b, const float *x, int64_t n, double alpha, int32_t *at, float *weight);

/* ---- select.c ---------------------------------------------------------------------------------------------------- */

/* index[r, 0 .. count[r]): what top() could choose of row r, the best first. x, index [rows, n]. And what top_mass()
 * adds up: covered[r, i], the most that the best 0 … i come to, and total[r], which mass is a share of. covered [rows,
 * n + 1], of which 0 … count[r] are written. Either may be NULL. Not metered. */
sf_status sf_cpu_order(sf_backend *b, const float *x, int64_t rows, int64_t n, int32_t *count, int32_t *index,
                       double *covered, double *total);

/* What the best of each row cover, from scratch: count [rows], covered [rows, n + 1] and total [rows] as sf_cpu_order() tells them
 * (index may be NULL); and how many of row r top_mass() takes of it. */
typedef struct sf_cpu_covering {
    int32_t *count;
    double *covered, *total;
} sf_cpu_covering;
sf_status sf_cpu_cover(sf_backend *b, int64_t rows, int64_t n, const float *x, int32_t *index, sf_cpu_covering *c);
int64_t sf_cpu_amount(const sf_cpu_covering *c, int64_t r, int64_t n, double mass, int64_t least);

/* ---- the ops ----------------------------------------------------------------------------------------------------- */

SF_EACH_OP(SF_OP_PROTOTYPE, sf_cpu_)
SF_OP_PROTOTYPE(sf_cpu_, fit_slashes)
SF_OP_PROTOTYPE(sf_cpu_, fit_masses)
SF_OP_PROTOTYPE(sf_cpu_, convolve)
SF_OP_PROTOTYPE(sf_cpu_, delta_rule)
SF_OP_PROTOTYPE(sf_cpu_, state_space)
SF_OP_PROTOTYPE(sf_cpu_, scale)
SF_OP_PROTOTYPE(sf_cpu_, weigh_experts)
SF_OP_PROTOTYPE(sf_cpu_, index_scores)

#endif
