/* Which samples and lanes run together: as many as fit the memory, by the engine's own account of what it will hold. */
#ifndef SF_SCHEDULE_H
#define SF_SCHEDULE_H

#include "harness/engine/engine.h"
#include "harness/run/study.h"

/* Bytes for caches and activations: as the sweep says, else 80 % of what is free; the rest is for weights' pages,
 * scratch and the neighbours. */
size_t sf_memory_limit(const sf_sweep *sweep, sf_backend *backend);

typedef struct sf_fit {
    int jobs;     /* that fit whole; at least 1 */
    int lanes;    /* of the last of them: fewer than it has only where it is the first */
    size_t bytes; /* that these hold */
} sf_fit;

/* The most of `jobs`, from the first on, that fit `limit` bytes; else the most lanes of the first, at least one
 * whatever the limit. kept: [lanes of all jobs] as for sf_engine_memory(). */
sf_status sf_fit_memory(const sf_model_config *config, const sf_backend *backend, int jobs, const sf_job *job,
                        const sf_generation *how, const double *kept, size_t limit, sf_fit *out);

/* Share of the prompt's keys that a cell keeps through decode, by its target sparsity. */
static inline double sf_cell_kept(const sf_cell *cell)
{
    double sparsity = cell->sparsity[SF_DECODE];
    return sparsity == sparsity ? 1 - sparsity : 1; /* NAN: explicit parameters */
}

/* A sample's job where memory is measured: of a conversation that is prefilled anew, its longest. */
sf_job sf_measured_job(const sf_task_spec *task, int tokens, int lanes, sf_lane *lane);

/* Bytes that one sample of a cell holds, all alone, at the full length. */
sf_status sf_cell_memory(const sf_study *study, const sf_backend *backend, const sf_cell *cell, size_t *bytes);

#endif
