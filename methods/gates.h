/* Gates that were trained: a number of each token for each kv head, that says what becomes of its key. */
#ifndef SF_GATES_H
#define SF_GATES_H

#include "methods/method.h"

/* Of each row: <weight[g], q>, q being the query of the first head of kv head g's group as it was before rotary embedding turned it.
 * weight [G, D] f32, as sf_weight() gives it; out [G, T] host memory, not filled after a failure. Multiplied and added up in fp32 in an
 * order that hangs on the row alone. What a model scales queries by when it turns them or by their position (YaRN; a->scaled) is taken
 * off again: gates were trained on queries without. Errors: latent attention, no rotary positions, queries that are scaled by what
 * the model learned. */
void sf_query_gates(sf_attention *a, sf_tensor weight, float *out);

/* Of the keys from `first` on, the queries must be here too, which say what becomes of them: else an error by a->status, and false. */
bool sf_gates_are_here(sf_attention *a, int first);

/* The hook of methods that choose by these gates and no other work that is metered. */
sf_estimate sf_query_gates_estimate(const sf_extent *extent, const void *params);

/* The pattern of the `latest` keys of each row, its own included, and of columns, a list for each kv head or {0}. */
sf_status sf_latest_and(sf_attention *a, int latest, sf_lists columns, sf_pattern *out);

#endif
