#include "methods/components.h"
#include "methods/toll.h"

#include <stdlib.h>

enum { COMPONENTS, BASIS }; /* [G, rank, max_keys], [G, D, rank] */

static int rank_of(const sf_components *p, int head_dim) { return p->rank < head_dim ? p->rank : head_dim; }

sf_status sf_components_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    int rank = rank_of(params, a->head_dim);
    out->tensor[COMPONENTS] = (sf_tensor){.dtype = a->kv.dtype, .rank = 3, .dim = {a->kv_heads, rank, max_keys}};
    out->tensor[BASIS] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, a->head_dim, rank}};
    return SF_OK;
}

static sf_status load(sf_attention *a, const sf_components *p, int numbers, sf_basis_of basis_of, sf_tensor to)
{
    int dim = a->head_dim, rank = rank_of(p, dim), all = sf_layer_kv_heads(a) * numbers;
    bool given = p->table && *p->table;
    double *row = calloc((size_t)all, sizeof *row);
    float *basis = calloc((size_t)(a->kv_heads * dim * rank), sizeof *basis);
    sf_status status = row && basis ? SF_OK : sf_fail(SF_NO_MEMORY, "a table's row of %d numbers", all);
    if (!status && given) status = sf_table_row(p->table, a->layer, all, row);
    for (int g = 0; g < a->kv_heads && !status; g++)
        basis_of(dim, rank, given ? row + (a->first_kv_head + g) * numbers : NULL, basis + g * dim * rank);
    if (!status) sf_write(a, to, basis);
    free(row), free(basis);
    return status ? status : a->status;
}

sf_status sf_components_observe(sf_attention *a, const void *params, sf_state *s, int first, int numbers, sf_basis_of basis_of)
{
    if (first == 0) SF_TRY(load(a, params, numbers, basis_of, s->tensor[BASIS]));
    sf_key_components(a, s->tensor[BASIS], first, s->tensor[COMPONENTS]);
    return a->status;
}

sf_status sf_components_decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const sf_components *p = params;
    sf_tensor q = sf_query_components(a, s->tensor[BASIS]), score = sf_component_scores(a, q, s->tensor[COMPONENTS], NULL, false);
    if (p->selection == 1) score = sf_group(a, score, SF_SUM);
    sf_force(a, score, a->keys - 1, a->keys);
    return sf_pages(a, out, 1, sf_top(a, score, p->k));
}

/* Components of the keys; of a step, the basis twice, its key, and the components of each key. */
sf_estimate sf_components_estimate(const sf_extent *e, const void *params)
{
    const sf_components *p = params;
    const int keys = e->tokens, rank = rank_of(p, e->head_dim);
    sf_toll t;
    sf_toll_open(&t, e);
    sf_meter_components(&t.backend, &t.a, true, true, rank, e->phase == SF_PREFILL ? 0 : keys - 1);
    if (e->phase == SF_PREFILL) return sf_toll_paid(&t, 1);
    sf_meter_components(&t.backend, &t.a, false, true, rank, 0);
    sf_meter_component_scores(&t.backend, &t.a, rank, NULL);
    return sf_toll_paid(&t, 1);
}
