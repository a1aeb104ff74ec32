#include "harness/run/schedule.h"

#include <stdlib.h>

size_t sf_memory_limit(const sf_sweep *s, sf_backend *b)
{
    if (s->memory_gib > 0) return (size_t)(s->memory_gib * (1 << 30));
    size_t available = 0, total = 0;
    if (b->ops->memory(b, &available, &total) != SF_OK) return SIZE_MAX;
    return available / 10 * 8;
}

static sf_status bytes_of(const sf_model_config *config, const sf_backend *backend, int jobs, const sf_job *job,
                          const sf_generation *how, const double *kept, sf_fit *out)
{
    out->jobs = jobs;
    out->lanes = job[jobs - 1].lanes;
    return sf_engine_memory(config, backend, jobs, job, how, kept, &out->bytes);
}

sf_status sf_fit_memory(const sf_model_config *config, const sf_backend *backend, int jobs, const sf_job *job,
                        const sf_generation *how, const double *kept, size_t limit, sf_fit *out)
{
    for (int n = jobs; n > 0; n--) {
        SF_TRY(bytes_of(config, backend, n, job, how, kept, out));
        if (out->bytes <= limit) return SF_OK;
    }
    sf_job part = *job;
    while (--part.lanes > 0) {
        SF_TRY(bytes_of(config, backend, 1, &part, how, kept, out));
        if (out->bytes <= limit) return SF_OK;
    }
    return SF_OK;
}

sf_job sf_measured_job(const sf_task_spec *task, int tokens, int lanes, sf_lane *lane)
{
    const bool anew = task->asking == SF_ASK_ANEW;
    return (sf_job){.tokens = anew ? tokens + sf_task_behind(task) - task->output : tokens, .lanes = lanes, .lane = lane,
                    .turns = anew ? 0 : task->turns - 1, .shared = task->asking == SF_ASK_SHARED};
}

sf_status sf_cell_memory(const sf_study *study, const sf_backend *backend, const sf_cell *cell, size_t *bytes)
{
    const sf_sweep *s = study->sweep;
    const sf_model_config *c = &study->model[cell->model]->config;
    const sf_task_spec *task = &s->task[cell->task];
    const int tokens = s->length[cell->length], output = task->output;
    const sf_generation how = {.max_output = output, .recall_rows = s->recall_rows};
    void *params[SF_PHASES] = {0};
    sf_status status =
        sf_arm_fit(cell->prefill, cell->sparsity[SF_PREFILL], SF_PREFILL, c, tokens, output, &params[SF_PREFILL]);
    if (status == SF_OK)
        status = sf_arm_fit(cell->decode, cell->sparsity[SF_DECODE], SF_DECODE, c, tokens, output, &params[SF_DECODE]);
    sf_lane lane = {.prefill = cell->prefill ? cell->prefill->method : NULL,
                    .decode = cell->decode ? cell->decode->method : NULL,
                    .prefill_params = params[SF_PREFILL],
                    .decode_params = params[SF_DECODE],
                    .cache = cell->cache};
    const sf_job job = sf_measured_job(task, tokens, 1, &lane);
    const double kept = sf_cell_kept(cell);
    if (status == SF_OK) status = sf_engine_memory(c, backend, 1, &job, &how, &kept, bytes);
    for (int p = 0; p < SF_PHASES; p++) free(params[p]);
    return status;
}
