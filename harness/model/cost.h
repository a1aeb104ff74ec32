/* Cost models: what a model's prefill and decode cost by formula, without running anything.
 *
 * `paper` is the study's own (2504.17768, appendix on costs): full square L² in prefill, logits at every position.
 * `exact` is what is executed and what the meter counts under linear layers, attention and estimation: causal pairs,
 * logits at the last position only, projections of the checkpoint's own shapes. Prefill cost is in FLOPs, decode cost
 * in elements read (weights once a step, cache once a sequence) with L tokens in the cache.
 *
 * Of experts both count those that a row goes through: K of E in prefill's FLOPs, in decode min(B·K, E) once a step, as if B rows
 * spread over as many as they can. The study had no such model.
 *
 * Of latent attention both count what is executed, as the study had no such model: projections to the latent and from it, pairs in
 * the latent's space, 2 (R + r) + 2 r + 3 FLOPs, and R + r elements of the cache a token.
 *
 * Layers that recur cost both the same: their projections and recurrence in FLOPs, in decode their weights once a step and their state
 * twice a sequence, read and written, at every length. The study had no such model either.
 *
 * Rows that are normalised by α-entmax cost `paper` what softmax's do: how few keys weigh no formula tells. `exact` takes that share from whom
 * it is asked by, who has counted it: every logit is computed and every key read, values of what weighs alone.
 *
 * Of choosing, `exact` is what the meter counts under estimation: in prefill FLOPs, those of a decode method that watches the prompt too;
 * in decode what is read of weights, keys and what stands for keys, in elements of the cache's size.
 *
 * Methods apply to global layers only; sliding layers always cost their window, those that recur their state. */
#ifndef SF_COST_H
#define SF_COST_H

#include "harness/model/config.h"
#include "methods/method.h"

typedef struct sf_cost_query {
    sf_phase phase;
    int64_t tokens;          /* L */
    int64_t batch;           /* B */
    double density;          /* ρ = 1 - sparsity, on global layers */
    double weighing;         /* of the pairs that are read, the share that weighs; 0: all do */
    const sf_method *method; /* whose estimation is counted, on global layers; NULL: none */
    const void *params;      /* of the method, fitted */
    const sf_method *watches; /* prefill: the decode's, whose compress, settle and first observe are counted behind it; NULL: none */
    const void *watches_params;
    int output;              /* decode steps at most; 0: not known */
    sf_dtype element;        /* of the cache as the run has it: what estimation reads is in elements of this size */
} sf_cost_query;

typedef struct sf_cost_term { const char *name; double paper, exact; } sf_cost_term;

enum { SF_COST_TERMS = 11 };

typedef struct sf_cost {
    int terms;
    sf_cost_term term[SF_COST_TERMS]; /* embedding, projections, attention or cache, mlp, head, …, recurrence, state, estimation */
    double paper, exact;              /* totals */
    double weights;                   /* decode: elements of weights a step reads, in `paper`; 0 in prefill */
} sf_cost;

void sf_cost_of(const sf_model_config *model, const sf_cost_query *query, sf_cost *out);

#endif
