/* What was executed, counted inside the ops, so that no method can forget it.
 *
 * FLOPs: a linear layer 2·rows·in·out; attention (4·D + 3) per query–key pair and query head (the study's formula, for
 * the pairs that were executed); estimation primitives as documented at each op; norms, rotations and activations under
 * SF_OTHER. Bytes are compulsory traffic: weights once per op, cache once per key read and kv head, activations once. */
#ifndef SF_METER_H
#define SF_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/tensor.h"

struct sf_backend;
struct sf_attention;

typedef enum sf_phase { SF_PREFILL, SF_DECODE, SF_PHASES } sf_phase;
typedef enum sf_work { SF_LINEAR, SF_ATTENTION, SF_ESTIMATION, SF_OTHER, SF_WORKS } sf_work;

typedef struct sf_count {
    uint64_t flops;
    uint64_t weight_bytes; /* read, in the dtype they are stored in */
    uint64_t cache_bytes;  /* keys and values read */
    uint64_t other_bytes;  /* activations and scores, read and written */
    uint64_t pairs;        /* query–key pairs, summed over query heads */
} sf_count;

typedef struct sf_meter {
    sf_count at[SF_PHASES][SF_WORKS];
} sf_meter;

/* What each op adds to backend->meter under backend->phase: one place, so that all fillings count alike. Every filling
 * calls them on the host. The attention executors are not here: they tally pairs (see backend.h). */
void sf_meter_embed(struct sf_backend *b, const sf_tensor *table, int64_t rows);
void sf_meter_norm(struct sf_backend *b, sf_dtype from, int64_t rows, int width, const sf_tensor *weight);
void sf_meter_linear(struct sf_backend *b, int64_t rows, const sf_tensor *w, const sf_tensor *bias, sf_dtype to);
void sf_meter_rope(struct sf_backend *b, int64_t rows, int heads, int head_dim);
void sf_meter_gated(struct sf_backend *b, int64_t rows, int width);
void sf_meter_residual(struct sf_backend *b, int64_t n);
void sf_meter_store(struct sf_backend *b, int64_t rows, int kv_heads, int head_dim);
void sf_meter_gather(struct sf_backend *b, int64_t keys, int head_dim); /* keys: kept, summed over kv heads */
void sf_meter_argmax(struct sf_backend *b, int64_t rows, int64_t vocab);

void sf_meter_probe(struct sf_backend *b, const struct sf_attention *a, int window, bool column, bool diagonal);

/* f32 scores in and out. reduce_rows: one FLOP per score read; pool: `kernel` per score; fill, fill_at: none. */
void sf_meter_scores(struct sf_backend *b, int64_t read, int64_t written, int64_t flops);
void sf_meter_select(struct sf_backend *b, int64_t scores); /* top…: one comparison per score, however it is done */

/* One FLOP per element averaged; 2·D per key whose page bounds are taken; the others as at the op in backend.h. */
void sf_meter_block_means(struct sf_backend *b, const struct sf_attention *a, bool of_keys, int block);
void sf_meter_top_blocks(struct sf_backend *b, const struct sf_attention *a, int block_q, int block_k);
void sf_meter_block_probabilities(struct sf_backend *b, const struct sf_attention *a, int block_q, int block_k);
void sf_meter_top_block_mass(struct sf_backend *b, const struct sf_attention *a);
void sf_meter_page_bounds(struct sf_backend *b, const struct sf_attention *a, int page, int first);
void sf_meter_page_scores(struct sf_backend *b, const struct sf_attention *a, int page);
void sf_meter_key_probabilities(struct sf_backend *b, const struct sf_attention *a);

#endif
