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

/* How check_pattern() looks at what a pattern names in backend memory. A device queues these looks, and says what it has found when it
 * is waited for; `who` is the method, and last as long as the caller says. p: whose lists they are. */
typedef struct sf_pattern_looks {
    sf_status (*lists)(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_lists *lists, int64_t limit, bool empty_allowed,
                       const char *who, const char *what);
    sf_status (*bands)(sf_backend *b, const sf_attention *a, const sf_band *band, int heads, const char *who);
    sf_status (*bias)(sf_backend *b, const sf_attention *a, const sf_lists *at, const float *bias, const char *who);
    sf_status (*numbers)(sf_backend *b, const sf_attention *a, const sf_tensor *t, const char *who, const char *what); /* that are finite */
    sf_status (*pairs)(sf_backend *b, const sf_attention *a, const sf_pattern *parts, const char *who); /* in one part each */
} sf_pattern_looks;

sf_status sf_check_pattern_by(const sf_pattern_looks *look, sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const char *who);

/* The same in host memory, at once. */
sf_status sf_host_check_pattern(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const char *who);

/* Of which rows `pairs` looks, and of how many heads: those that select alike are looked at once. */
static inline int sf_rows_looked_at(const sf_attention *a) { return a->queries < 5 ? a->queries : 5; }

static inline int sf_row_looked_at(const sf_attention *a, int n)
{
    int rows = sf_rows_looked_at(a);
    return rows > 1 ? (int)((int64_t)n * (a->queries - 1) / (rows - 1)) : 0;
}

static inline int sf_selections(const sf_pattern *parts)
{
    int most = 1;
    for (int k = 0; k < parts->parts; k++) most = parts->part[k].heads > most ? parts->part[k].heads : most;
    return most;
}

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

/* Of what trained methods make of queries (trained.c), the ops of these names; the same for each number of threads. */
sf_status sf_host_query_gates(sf_backend *b, const sf_attention *a, const float *weight, const float *slope, float *gate, int64_t stride);
sf_status sf_host_marks(sf_backend *b, const float *x, int64_t from, int64_t rows, int64_t n, const float *most, float *y, int64_t to);
sf_status sf_host_top_running(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, int64_t behind, sf_lists *out);

/* Fails where the attention's rows are normalised by α-entmax and the pattern has what only a softmax can take in: parts, weights of
 * keys, summaries, other distances. */
sf_status sf_host_entmax(const sf_attention *a, const sf_pattern *pattern);

/* The executors' refusal of a query row without keys. */
sf_status sf_host_no_key(const sf_attention *a, const char *op, int head, int row);

#endif
