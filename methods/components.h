/* What methods share that score each key by a few numbers, its components in a basis that a table gives, and read the best keys
 * in full: parameters and hooks. */
#ifndef SF_COMPONENTS_H
#define SF_COMPONENTS_H

#include "methods/method.h"

typedef struct sf_components {
    int k, rank, selection;
    const char *table; /* NULL or "": none */
} sf_components;

/* Rows of such a method's parameters; that of the table is its own. */
#define SF_COMPONENTS_PARAMS(ranks, what)                                                                              \
    {.name = "k", .type = SF_INT, .offset = offsetof(sf_components, k), .budget = true, .low = 1, .high = 1 << 24,     \
     .initial = 1024, .doc = "keys to read, the query's own included"},                                                \
    {.name = "rank", .type = SF_INT, .offset = offsetof(sf_components, rank), .low = 1, .high = 1024,                  \
     .initial = ranks, .doc = what " that are looked at"},                                                             \
    {.name = "selection", .type = SF_CHOICE, .offset = offsetof(sf_components, selection),                             \
     .choices = "head|group", .initial = 0, .doc = "each query head its own, or one for the group (scores summed)"}

/* Makes basis [dim, rank], zeroed, of one kv head's numbers in the table; NULL: there is none. */
typedef void (*sf_basis_of)(int dim, int rank, const double *numbers, float *basis);

/* Hooks; fit is sf_keys_fit(). observe, of a table with so many numbers for each kv head, ends the method's own. */
sf_status sf_components_state(const sf_attention *a, const void *params, int max_keys, sf_state *out);
sf_status sf_components_observe(sf_attention *a, const void *params, sf_state *state, int first, int numbers, sf_basis_of basis_of);
sf_status sf_components_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out);
sf_estimate sf_components_estimate(const sf_extent *extent, const void *params);

#endif
