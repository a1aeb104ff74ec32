/* The CPU backend from inside: its ops, and what they share.
 *
 *   cpu.c         the table, opening: which instruction set
 *   tiles.h       inner kernels, once per instruction set (tile_*.h, isa_*.c)
 *   layers.c      linear layers, norms, rotations, moves
 *   panels.c      from a pattern to the keys that some query rows compute
 *   prefill.c     attention of many rows          decode.c     attention of one row of each of several sequences
 *   estimate.c    probes, blocks, pages           select.c     rows of scores: reduce, pool, choose
 *
 * Work is shared out over OpenMP threads in units whose results do not depend on who computes them. */
#ifndef SF_CPU_H
#define SF_CPU_H

#include <omp.h>

#include "kernels/cpu/tiles.h"
#include "kernels/host.h"

static inline const sf_tiles *sf_cpu_tiles(const sf_backend *b) { return b->self; }
static inline int64_t sf_cpu_parts(int64_t n, int64_t size) { return (n + size - 1) / size; }
static inline int sf_cpu_padded(int dim) { return (dim + 15) / 16 * 16; }

/* Scratch of `count` things for each thread: thread t's are at base + t * count. */
sf_status sf_cpu_room(sf_backend *b, int64_t count, size_t size, void **base);

/* Logical key j of kv head g, and its value; NULL where a compacted cache does not hold it. */
static inline const float *sf_cpu_row(const sf_attention *a, int g, int64_t j, bool value)
{
    const sf_kv_part *part = j < a->kv.prompt.n ? &a->kv.prompt : &a->kv.tail;
    if (part == &a->kv.tail) j -= a->kv.prompt.n;
    if (j >= (part->count ? part->count[g] : part->n)) return NULL;
    return (const float *)(value ? part->v : part->k) + sf_kv_row(part, g, j) * a->head_dim;
}

/* ---- panels.c ---------------------------------------------------------------------------------------------------- */

/* Rows [row, row + rows) of query head `head`, inside one query block, diagonal tile or stretch of dense rows. */
typedef struct sf_rows {
    int head, row, rows;
} sf_rows;

/* The most rows from `row` on that share a selection, at most `most`. */
int sf_cpu_rows_together(const sf_attention *a, const sf_pattern *pattern, int row, int most);

/* The keys that these rows compute, each exactly once, as panels without addresses: ranges of keys first, in ascending
 * order of 16-key panels, then the columns of a COLUMNS_DIAGONALS pattern that no diagonal covers, 16 list entries to a
 * panel, with `key` pointing into the list. Returns their number, at most sf_cpu_most_panels(); *pairs is added to. */
int sf_cpu_panels(const sf_attention *a, const sf_pattern *pattern, sf_rows rows, sf_panel *out, uint64_t *pairs);
int sf_cpu_most_panels(const sf_attention *a);

/* ---- select.c ---------------------------------------------------------------------------------------------------- */

/* index[r, 0 .. count[r]): what top() could choose of row r, the best first. x, index [rows, n]. And what top_mass()
 * adds up: covered[r, i], the most that the best 0 … i come to, and total[r], which mass is a share of. covered [rows,
 * n + 1], of which 0 … count[r] are written. Either may be NULL. Not metered. */
sf_status sf_cpu_order(sf_backend *b, const float *x, int64_t rows, int64_t n, int32_t *count, int32_t *index,
                       double *covered, double *total);

/* ---- the ops ----------------------------------------------------------------------------------------------------- */

sf_status sf_cpu_embed(sf_backend *, const sf_tensor *, const int32_t *, int64_t, float, float *);
sf_status sf_cpu_rms_norm(sf_backend *, const void *, sf_dtype, int64_t, int, const sf_tensor *, float, float, void *);
sf_status sf_cpu_linear(sf_backend *, const void *, int64_t, const sf_tensor *, const sf_tensor *, bool, void *,
                        sf_dtype);
sf_status sf_cpu_rope(sf_backend *, void *, int64_t, int, int, const int32_t *, const float *, const float *, bool);
sf_status sf_cpu_gated(sf_backend *, void *, const void *, int64_t, int, sf_activation);
sf_status sf_cpu_add(sf_backend *, float *, const void *, int64_t);
sf_status sf_cpu_store_kv(sf_backend *, int, sf_kv_part *const *, int64_t, int, int, const void *, const void *);
sf_status sf_cpu_gather_kv(sf_backend *, const sf_kv_part *, const sf_lists *, int, sf_kv_part *);
sf_status sf_cpu_argmax(sf_backend *, const float *, int64_t, int64_t, int32_t *);

sf_status sf_cpu_prefill(sf_backend *, const sf_attention *, const sf_pattern *, void *);
sf_status sf_cpu_decode(sf_backend *, int, const sf_attention *const *, const sf_pattern *const *, void *);
sf_status sf_cpu_count_pairs(sf_backend *, const sf_attention *, const sf_pattern *, uint64_t *);
sf_status sf_cpu_mass(sf_backend *, const sf_attention *, const sf_pattern *, int, const int32_t *, float *);

sf_status sf_cpu_probe(sf_backend *, const sf_attention *, int, sf_reduce, float *, float *);
sf_status sf_cpu_fit_slashes(sf_backend *, const sf_attention *, int, const float *, const float *, uint64_t, int64_t *,
                             int64_t *);
sf_status sf_cpu_fit_masses(sf_backend *, const sf_attention *, int, const float *, const float *, const float *,
                            const float *, uint64_t, double *, int64_t *);
sf_status sf_cpu_block_means(sf_backend *, const sf_attention *, bool, int, float *);
sf_status sf_cpu_top_blocks(sf_backend *, const sf_attention *, const float *, int, const float *, int, int, int, int,
                            int, sf_lists *);
sf_status sf_cpu_block_probabilities(sf_backend *, const sf_attention *, const float *, int, const float *, int,
                                     float *);
sf_status sf_cpu_top_block_mass(sf_backend *, const sf_attention *, int, int, int, int, sf_lists *);
sf_status sf_cpu_page_bounds(sf_backend *, const sf_attention *, int, int, int64_t, float *, float *);
sf_status sf_cpu_page_scores(sf_backend *, const sf_attention *, int, int64_t, const float *, const float *, float *);
sf_status sf_cpu_key_probabilities(sf_backend *, const sf_attention *, float *);

sf_status sf_cpu_reduce_rows(sf_backend *, const float *, int64_t, int, int64_t, sf_reduce, float *);
sf_status sf_cpu_pool(sf_backend *, const float *, int64_t, int64_t, int, sf_reduce, float *);
sf_status sf_cpu_fill(sf_backend *, float *, int64_t, int64_t, int64_t, int64_t, float);
sf_status sf_cpu_fill_at(sf_backend *, float *, int64_t, int64_t, const sf_lists *, float);
sf_status sf_cpu_top(sf_backend *, const float *, int64_t, int64_t, int64_t, sf_lists *);
sf_status sf_cpu_top_counts(sf_backend *, const float *, int64_t, int64_t, const int32_t *, int64_t, sf_lists *);
sf_status sf_cpu_top_total(sf_backend *, const float *, int64_t, int64_t, int64_t, sf_lists *);
sf_status sf_cpu_top_mass(sf_backend *, const float *, int64_t, int64_t, float, int64_t, int64_t, sf_lists *);

#endif
