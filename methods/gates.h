/* Gates that were trained: a number of each token for each kv head, that says what becomes of its key. */
#ifndef SF_GATES_H
#define SF_GATES_H

#include "methods/method.h"

/* query_gates() of kernels/backend.h: of each row <weight[g], q>, q being the query of the first head of kv head g's group as it was before
 * rotary embedding turned it, and slope[g] for each position. weight [G, D], slope [G] or NULL, as sf_weight() gives them; gate [G, T] backend
 * memory, rows of `stride`. What a model scales queries by when it turns them or by their position (YaRN; a->scaled) is taken
 * off again: gates were trained on queries without. Errors: latent attention, no rotary positions, queries that are scaled by what
 * the model learned. */
void sf_query_gates(sf_attention *a, sf_tensor weight, const sf_tensor *slope, float *gate, int64_t stride);

/* marks() and top_running() of kernels/backend.h. */
void sf_marks(sf_attention *a, const float *x, int64_t from, int64_t rows, int64_t n, sf_tensor most, float *y, int64_t to);
sf_lists sf_top_running(sf_attention *a, sf_tensor x, int64_t k, int64_t behind);

/* Of the keys from `first` on, the queries must be here too, which say what becomes of them: else an error by a->status, and false. */
bool sf_gates_are_here(sf_attention *a, int first);

/* What the meter counts of sf_query_gates(), for estimate(): FLOPs of a prompt, elements of a step. */
double sf_query_gates_cost(const sf_extent *extent, bool sloped);

/* The pattern of the `latest` keys of each row, its own included, and of columns, a list for each kv head or {0}. */
sf_status sf_latest_and(sf_attention *a, int latest, sf_lists columns, sf_pattern *out);

#endif
