/* What each op adds to backend->meter under backend->phase: one place, so that all fillings count alike. Every filling
 * calls them on the host. The attention executors are not here: they tally pairs (see backend.h). */
#ifndef SF_COUNT_H
#define SF_COUNT_H

#include "kernels/backend.h"

void sf_meter_embed(sf_backend *b, const sf_tensor *table, int64_t rows);
void sf_meter_norm(sf_backend *b, sf_dtype from, int64_t rows, int width, const sf_tensor *weight);
void sf_meter_layer_norm(sf_backend *b, sf_dtype from, int64_t rows, int width, const sf_tensor *weight, const sf_tensor *bias);
void sf_meter_cast(sf_backend *b, int64_t n);
void sf_meter_linear(sf_backend *b, int64_t rows, const sf_tensor *w, const sf_tensor *bias, sf_dtype to);
void sf_meter_rope(sf_backend *b, int64_t rows, int heads, int rotary);
void sf_meter_scale_queries(sf_backend *b, int64_t rows, int heads, int head_dim);
void sf_meter_gated(sf_backend *b, int64_t rows, int width, bool up);
void sf_meter_route(sf_backend *b, int64_t rows, const sf_router *router, const sf_tensor *correction);
void sf_meter_experts(sf_backend *b, int64_t rows, bool own, int chosen, const sf_tensor *w); /* no weight bytes */
void sf_meter_combine(sf_backend *b, int64_t rows, int chosen, int width);
void sf_meter_columns(sf_backend *b, int64_t rows, int64_t n);
void sf_meter_residual(sf_backend *b, int64_t n);
void sf_meter_scale(sf_backend *b, int64_t n);
void sf_meter_weigh_experts(sf_backend *b, int64_t n, const sf_tensor *of);
/* values: they are stored beside keys. */
void sf_meter_store(sf_backend *b, int64_t rows, int kv_heads, int head_dim, bool values);
void sf_meter_gather(sf_backend *b, const sf_kv_part *from, int64_t keys, int head_dim); /* keys: kept, summed over kv heads */
void sf_meter_sink(sf_backend *b, const sf_tensor *sink, int64_t rows, int heads, int head_dim);
/* As backend.h has them: states of `lanes`, rows of all of them together. */
void sf_meter_convolve(sf_backend *b, int lanes, int64_t rows, const sf_tensor *w, const sf_tensor *bias);
void sf_meter_delta_rule(sf_backend *b, int lanes, int64_t rows, sf_delta_shape shape, const sf_tensor *rate, const sf_tensor *shift);
void sf_meter_state_space(sf_backend *b, int lanes, int64_t rows, sf_delta_shape shape, const sf_tensor *rate, const sf_tensor *shift,
                          const sf_tensor *skip);
void sf_meter_argmax(sf_backend *b, int64_t rows, int64_t vocab);

void sf_meter_probe(sf_backend *b, const sf_attention *a, int window, int step, bool column, bool diagonal);

/* f32 scores in and out. reduce_rows: one FLOP per score read; pool: `kernel` per score; fill, fill_at: none. */
void sf_meter_scores(sf_backend *b, int64_t read, int64_t written, int64_t flops);
void sf_meter_select(sf_backend *b, int64_t scores); /* top…: one comparison per score, however it is done */

/* One FLOP per element averaged; 2·D per key whose page bounds are taken; the others as at the op in backend.h. */
void sf_meter_block_means(sf_backend *b, const sf_attention *a, bool of_keys, int block);
void sf_meter_top_blocks(sf_backend *b, const sf_attention *a, int block_q, int block_k);
void sf_meter_block_probabilities(sf_backend *b, const sf_attention *a, int block_q, int block_k);
void sf_meter_top_block_mass(sf_backend *b, const sf_attention *a);
void sf_meter_page_bounds(sf_backend *b, const sf_attention *a, int page, int first);
void sf_meter_page_scores(sf_backend *b, const sf_attention *a, int page);
void sf_meter_antidiagonals(sf_backend *b, const sf_attention *a, int block, int stride);
void sf_meter_components(sf_backend *b, const sf_attention *a, bool of_keys, bool basis, int R, int first);
void sf_meter_component_scores(sf_backend *b, const sf_attention *a, int R, const sf_lists *at);
void sf_meter_page_component_scores(sf_backend *b, const sf_attention *a, int page, const sf_lists *at);
void sf_meter_value_means(sf_backend *b, const sf_attention *a, int first);
void sf_meter_representatives(sf_backend *b, const sf_attention *a, int page, int most, int pages);
void sf_meter_walk(sf_backend *b, int64_t n, int power);
void sf_meter_index_scores(sf_backend *b, int64_t rows, int heads, int dim, int64_t first);
void sf_meter_hidden_products(sf_backend *b, int64_t rows, const sf_tensor *w);
void sf_meter_query_gates(sf_backend *b, const sf_attention *a, bool sloped);
void sf_meter_sigmoids(sf_backend *b, int64_t rows, int n);
void sf_meter_segment_summaries(sf_backend *b, const sf_attention *a, int segment, int64_t m);
void sf_meter_key_probabilities(sf_backend *b, const sf_attention *a);
void sf_meter_listed_probabilities(sf_backend *b, const sf_attention *a, int64_t pairs, int64_t keys);
void sf_meter_sample_moments(sf_backend *b, const sf_attention *a, int64_t listed, bool values); /* keys listed, of all lists */
void sf_meter_pack_keys(sf_backend *b, const sf_attention *a, int first);
void sf_meter_packed_probabilities(sf_backend *b, const sf_attention *a, int64_t pairs, int64_t keys);
/* The planes, which all heads share, are left out: they stay where they are read. */
void sf_meter_hash_keys(sf_backend *b, const sf_attention *a, const sf_hash *hash);
void sf_meter_hash_matches(sf_backend *b, const sf_attention *a, const sf_hash *hash);
void sf_meter_kmeans(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how);
void sf_meter_key_scores(sf_backend *b, const sf_attention *a, int64_t flops);

#endif
