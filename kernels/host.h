/* What the backends that compute in host memory share: memory, weights, and pattern checking. */
#ifndef SF_HOST_H
#define SF_HOST_H

#include "kernels/backend.h"

/* Sets the process's heap up for what sf_host_alloc() takes from it; once, from any thread, at a filling's open(). */
void sf_host_open(void);

sf_status sf_host_alloc(sf_backend *b, size_t bytes, void **out);
void sf_host_free(sf_backend *b, void *p);
sf_status sf_host_upload(sf_backend *b, void *to, const void *host, size_t bytes);
sf_status sf_host_download(sf_backend *b, void *host, const void *from, size_t bytes);
sf_status sf_host_copy(sf_backend *b, void *to, const void *from, size_t bytes);
sf_status sf_host_zero(sf_backend *b, void *p, size_t bytes);
sf_status sf_host_synchronize(sf_backend *b);
sf_status sf_host_watch(sf_backend *b, bool start);
sf_status sf_host_memory(sf_backend *b, size_t *available, size_t *total);
sf_status sf_host_import_weight(sf_backend *b, const sf_tensor *host, sf_tensor *out);
void sf_host_release_weight(sf_backend *b, sf_tensor *weight);

/* check_pattern for lists in host memory. A filling whose memory is elsewhere downloads the lists and calls it. */
sf_status sf_host_check_pattern(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const char *who);

/* sample_sizes(): a few rows, each a formula. */
sf_status sf_host_sample_sizes(sf_backend *b, const sf_moments *moment, int64_t rows, sf_promise promise, int64_t most, int32_t *count);

/* What is made of lists and counts (lists.c): the ops of these names, in host memory; the same for each number of threads. */
sf_status sf_host_budgets(sf_backend *b, const int32_t *count, int64_t rows, const sf_budgets *how, const int32_t *mark, int32_t *budget,
                          int32_t *largest);
sf_status sf_host_rows_alike(sf_backend *b, const float *x, const float *y, int64_t rows, int64_t n, double below, int32_t *alike,
                             int32_t *many);
sf_status sf_host_unite_blocks(sf_backend *b, int64_t n, const sf_lists *column, const sf_lists *diagonal, const sf_lists *pair,
                               sf_lists *out);
sf_status sf_host_merge_tiles(sf_backend *b, const sf_attention *a, const sf_lists *column, const sf_lists *diagonal, sf_lists *out,
                              int32_t *longest);
sf_status sf_host_draw_blocks(sf_backend *b, const sf_drawn *how, int first, int64_t heads, sf_lists *out);

/* Fails where the attention's rows are normalised by α-entmax and the pattern has what only a softmax can take in: parts, weights of
 * keys, summaries, other distances. */
sf_status sf_host_entmax(const sf_attention *a, const sf_pattern *pattern);

/* The executors' refusal of a query row without keys. */
sf_status sf_host_no_key(const sf_attention *a, const char *op, int head, int row);

#endif
