/* Cost models: what a model's prefill and decode cost by formula, without running anything.
 *
 * `paper` is the study's own (2504.17768, appendix on costs; it counts the full square L² in prefill), `exact` counts the
 * causal pairs that are executed. Decode cost is elements read per token. Methods apply to global layers only; sliding
 * layers always cost their window. */
#ifndef SF_COST_H
#define SF_COST_H

#include "harness/model/model.h"

typedef struct sf_cost_query {
    sf_phase phase;
    int64_t tokens;          /* L */
    int64_t batch;           /* B */
    double density;          /* ρ = 1 - sparsity, on global layers */
    const char *method;      /* estimation term of this method; NULL: none */
} sf_cost_query;

typedef struct sf_cost_term { const char *name; double paper, exact; } sf_cost_term;

enum { SF_COST_TERMS = 8 };

/* Prefill: FLOPs. Decode: elements read per generated token. */
typedef struct sf_cost {
    int terms;
    sf_cost_term term[SF_COST_TERMS]; /* embedding, projections, attention, mlp, head, estimation, … */
    double paper, exact;              /* totals */
    double weights;                   /* elements of weights a step reads */
} sf_cost;

void sf_cost_of(const sf_model_config *model, const sf_cost_query *query, sf_cost *out);

#endif
