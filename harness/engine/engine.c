#include "harness/engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/batch.h"
#include "harness/engine/company.h"
#include "harness/engine/counts.h"
#include "harness/engine/decode.h"
#include "harness/engine/divergence.h"
#include "harness/engine/prefill.h"
#include "harness/engine/hooks.h"
#include "harness/engine/stages.h"
#include "harness/model/part.h"
#include "harness/model/side.h"
#include "harness/model/weights.h"

struct sf_engine {
    const sf_model *source; /* whole */
    sf_part part;           /* of it, where the backend is one of several ranks; else zero */
    sf_transformer model;
    sf_arena store, work;
    sf_side *sides; /* of the methods that have run */
    int chunk;
};

static sf_status check_length(const sf_model_config *c, int max_tokens)
{
    if (max_tokens < 1)
        return sf_fail(SF_BAD_INPUT, "expected at least 1 token of input and output; found %d", max_tokens);
    if (c->max_position > 0 && max_tokens > c->max_position)
        return sf_fail(SF_BAD_INPUT,
                       "model '%s' has %d positions; input and output together want %d: shorten them, or give "
                       "the model a rope scaling",
                       c->name, c->max_position, max_tokens);
    return SF_OK;
}

sf_status sf_engine_open(sf_backend *backend, const sf_model *model, int max_tokens, sf_engine **out)
{
    *out = NULL;
    SF_TRY(check_length(&model->config, max_tokens));
    sf_engine *engine = calloc(1, sizeof *engine);
    if (!engine) return sf_fail(SF_NO_MEMORY, "no memory for the engine");
    engine->source = model;
    engine->store.backend = engine->work.backend = backend;
    const sf_comm *comm = backend->comm, *stages = backend->stages;
    sf_stage stage;
    sf_status status = sf_stage_of(&model->config, stages ? stages->rank : 0, stages ? stages->size : 1, &stage);
    if (status == SF_OK && comm) status = sf_part_open(model, comm->rank, comm->size, &engine->part);
    status = sf_comm_agree_all(backend, status);
    if (status == SF_OK) status = sf_transformer_open(backend, model, stage, comm ? &engine->part : NULL, max_tokens, &engine->model);
    status = sf_comm_agree_all(backend, status);
    if (status != SF_OK) {
        sf_engine_close(engine);
        return status;
    }
    *out = engine;
    return SF_OK;
}

sf_status sf_engine_set_length(sf_engine *engine, int max_tokens)
{
    SF_TRY(check_length(&engine->source->config, max_tokens));
    return sf_transformer_set_length(&engine->model, max_tokens);
}

void sf_engine_close(sf_engine *engine)
{
    if (!engine) return;
    sf_arena_close(&engine->store);
    sf_arena_close(&engine->work);
    sf_side_close(engine->model.backend, &engine->source->config, engine->sides);
    sf_transformer_close(&engine->model);
    sf_part_close(&engine->part);
    free(engine);
}

void sf_engine_trim(sf_engine *engine)
{
    sf_arena_trim(&engine->store);
    sf_arena_trim(&engine->work);
}

void sf_engine_set_chunk(sf_engine *engine, int rows) { engine->chunk = rows; }

static sf_status check_tokens(const sf_engine *engine, const sf_job *job, int max_output)
{
    const sf_model_config *c = &engine->source->config;
    if (job->tokens < 1) return sf_fail(SF_BAD_INPUT, "expected at least one token of input; found %d", job->tokens);
    if (max_output < 1) return sf_fail(SF_BAD_INPUT, "expected an output limit of at least 1; found %d", max_output);
    if (job->questions < 0 || (job->questions && job->continuations))
        return sf_fail(SF_BAD_INPUT, "a question of %d tokens and a continuation of %d, expected one of them", job->questions, job->continuations);
    if (job->turns && job->continuations)
        return sf_fail(SF_BAD_INPUT, "%d later turns and a continuation of %d tokens, expected one of them", job->turns, job->continuations);
    if (job->shared && job->turns && !job->questions)
        return sf_fail(SF_BAD_INPUT, "%d later questions on shared tokens, expected the first one to come behind them, too", job->turns);
    for (int i = 0; i < job->turns; i++)
        if (job->later_tokens[i] < 1) return sf_fail(SF_BAD_INPUT, "turn %d asks %d tokens, expected at least one", i + 2, job->later_tokens[i]);
    const int steps = sf_job_steps(job, &(sf_generation){.max_output = max_output}), most = engine->model.positions.max_tokens;
    const int answers = job->shared ? 1 : 1 + job->turns; /* one behind the other */
    if (steps > most - job->tokens)
        return sf_fail(SF_BAD_INPUT, "%d tokens of input and %d of output: the engine was opened for %d",
                       job->tokens + steps + 1 - max_output * answers, max_output * answers, most);
    if (job->continuations > max_output)
        return sf_fail(SF_BAD_INPUT, "a continuation of %d tokens, expected at most the output limit, %d", job->continuations, max_output);
    const int behind = job->questions ? job->questions : job->continuations;
    const int32_t *after = job->questions ? job->question : job->continuation;
    for (int i = 0; i < job->tokens + behind; i++) {
        const int32_t token = i < job->tokens ? job->token[i] : after[i - job->tokens];
        if (token < 0 || token >= c->vocab)
            return sf_fail(SF_BAD_INPUT, "token %d of the input is %d; the vocabulary has ids 0 to %d", i, token, c->vocab - 1);
    }
    for (int i = 0, at = 0; i < job->turns; at += job->later_tokens[i++])
        for (int k = at; k < at + job->later_tokens[i]; k++)
            if (job->later[k] < 0 || job->later[k] >= c->vocab)
                return sf_fail(SF_BAD_INPUT, "token %d of turn %d is %d; the vocabulary has ids 0 to %d", k - at, i + 2, job->later[k], c->vocab - 1);
    return SF_OK;
}

static sf_status check_lanes(int lanes, const sf_lane *lane)
{
    if (lanes < 1) return sf_fail(SF_BAD_INPUT, "expected at least one lane; found %d", lanes);
    for (int i = 0; i < lanes; i++) {
        const sf_method *p = lane[i].prefill, *d = lane[i].decode;
        if (p && !p->prefill)
            return sf_fail(SF_BAD_INPUT, "method '%s' cannot be used in prefill: it has no such hook", p->name);
        if (d && !d->compress && !d->decode)
            return sf_fail(SF_BAD_INPUT, "method '%s' cannot be used in decode: it has no compress or decode hook",
                           d->name);
    }
    return SF_OK;
}

sf_status sf_cache_check(const sf_cache_format *f, const sf_model_config *c, int tensor)
{
    if (!f) return SF_OK;
    if (c->latent)
        return sf_fail(SF_UNSUPPORTED, "cache %s is not for latent attention, whose rows are not a head's: model '%s'", f->name, c->name);
    if (c->kernel)
        return sf_fail(SF_UNSUPPORTED, "cache %s is not for models with layers that recur, whose states it would leave: model '%s'", f->name, c->name);
    if (tensor > 1) return sf_fail(SF_UNSUPPORTED, "cache %s is not for models whose heads are split over ranks (parallel: tensor)", f->name);
    for (int layer = 0; layer < c->layers && f->packed; layer++)
        if (sf_layer_borrows(c, layer))
            return sf_fail(SF_UNSUPPORTED, "cache %s is not for models whose layers share keys, which it packs behind the first: model '%s'; use simulated_%s",
                           f->name, c->name, f->name);
    if (f->packed && c->entmax_alpha != 0)
        return sf_fail(SF_UNSUPPORTED, "cache %s is not for attention by α-entmax: model '%s'; use simulated_%s", f->name, c->name, f->name);
    for (int layer = 0; layer < c->layers; layer++)
        if (f->group && sf_head_dim_of(c, layer) % f->group)
            return sf_fail(SF_UNSUPPORTED, "cache %s has a scale for each %d channels, which do not divide the heads of model '%s', of %d", f->name,
                           f->group, c->name, sf_head_dim_of(c, layer));
    return SF_OK;
}

sf_status sf_cache_check_method(const sf_cache_format *f, const sf_method *decode, bool recall)
{
    if (!f || !f->packed || !decode) return SF_OK;
    if (!sf_method_packs(decode))
        return sf_fail(SF_UNSUPPORTED, "method '%s' reads keys while it decodes, which a packed cache keeps from it: use cache simulated_%s", decode->name, f->name);
    if (recall)
        return sf_fail(SF_UNSUPPORTED, "recall of method '%s' reads all keys while it decodes, which cache %s keeps packed: use simulated_%s, or recall 0",
                       decode->name, f->name, f->name);
    return SF_OK;
}

static sf_status open_sides(sf_engine *engine, const sf_generation *how, int lanes, const sf_lane *lane)
{
    sf_backend *b = engine->model.backend;
    const sf_model_config *c = &engine->source->config;
    for (int i = 0; i < lanes; i++) {
        SF_TRY(sf_cache_check(lane[i].cache, c, b->comm ? b->comm->size : 1));
        SF_TRY(sf_cache_check_method(lane[i].cache, lane[i].decode, how->recall_rows > 0 && lane[i].recall[SF_DECODE]));
        if (lane[i].cache && lane[i].cache->packed && lane[i].picture[SF_DECODE] && !lane[i].decode)
            return sf_fail(SF_UNSUPPORTED, "a picture of dense decode reads all keys, which cache %s keeps packed: use simulated_%s", lane[i].cache->name,
                           lane[i].cache->name);
        if (lane[i].prefill) SF_TRY(sf_side_open(b, c, lane[i].prefill, lane[i].prefill_params, &engine->sides));
        if (lane[i].decode) SF_TRY(sf_side_open(b, c, lane[i].decode, lane[i].decode_params, &engine->sides));
    }
    return SF_OK;
}

static void reset_lane(sf_lane *lane)
{
    lane->outputs = 0;
    lane->stopped = false;
    memset(&lane->meter, 0, sizeof lane->meter);
    memset(lane->seconds, 0, sizeof lane->seconds);
    memset(lane->divergences, 0, sizeof lane->divergences);
}

static sf_batch new_batch(sf_engine *engine, int jobs, const sf_job *job, const sf_generation *how)
{
    return (sf_batch){
        .model = &engine->model,
        .backend = engine->model.backend,
        .config = engine->model.config,
        .whole = &engine->source->config,
        .stage = engine->model.stage,
        .how = how,
        .sides = engine->sides,
        .tokenizer = engine->source->tokenizer,
        .stop = engine->source->stop,
        .stops = engine->source->stops,
        .store = &engine->store,
        .work = &engine->work,
        .jobs = jobs,
        .job = job,
        .chunk = engine->chunk,
    };
}

static sf_status prepare(sf_batch *batch)
{
    SF_TRY(sf_batch_open(batch));
    SF_TRY(sf_batch_prefill_buffers(batch));
    batch->backend->meter = &batch->backend->aside;
    return sf_stages_carry(batch);
}

static sf_status run_wave(sf_batch *batch, const sf_wave *wave)
{
    SF_TRY(sf_batch_prefill(batch, wave));
    if (!sf_batch_ends(batch) || batch->lanes == 0) return SF_OK;
    SF_TRY(sf_batch_first_tokens(batch, wave));
    return sf_batch_predict(batch, wave);
}

/* All waves, stage after stage. One that has failed hands on what it gets. */
static sf_status prefill(sf_batch *batch)
{
    sf_status status = SF_OK;
    SF_TRY(sf_stages_agree_all(batch, prepare(batch)));
    for (int i = 0; i < batch->prompts;) {
        const sf_wave wave = sf_batch_wave(batch, i);
        SF_TRY(sf_stages_receive_wave(batch, &wave));
        if (status == SF_OK) status = run_wave(batch, &wave);
        if (status != SF_OK && !batch->backend->stages) return status;
        SF_TRY(sf_stages_send_wave(batch, &wave));
        i += wave.prompts;
    }
    return sf_stages_agree(batch, status);
}

static sf_status generate(sf_batch *batch)
{
    SF_TRY(prefill(batch));
    SF_TRY(sf_stages_agree_all(batch, sf_batch_decode_buffers(batch)));
    SF_TRY(sf_batch_decode(batch));
    SF_TRY(sf_batch_tally(batch));
    return sf_stages_share(batch);
}

/* The backend is left as it was found, whatever happened. */
typedef struct guard {
    sf_meter *meter;
    sf_phase phase;
    sf_mark mark;
} guard;

static guard enter(sf_backend *b) { return (guard){b->meter, b->phase, sf_scratch_mark(b)}; }

static void leave(sf_backend *b, guard g)
{
    b->meter = g.meter;
    b->phase = g.phase;
    sf_scratch_release(b, g.mark);
}

/* A rank whose failure the others have not heard of cannot leave them waiting for it. */
static void end_together(const sf_batch *batch, sf_status status)
{
    sf_comm *comm = batch->backend->comm ? batch->backend->comm : batch->backend->stages;
    if (status != SF_OK && comm && !batch->agreed) comm->ops->abort(comm);
}

/* Weights that are no numbers make a method's choice and the logits none either: then those are to be named instead. */
static sf_status explain(sf_status status, const sf_model *model)
{
    char text[512];
    if (status != SF_BAD_INPUT) return status;
    snprintf(text, sizeof text, "%s", sf_error());
    return sf_weights_finite(model) == SF_OK ? sf_fail(status, "%s", text) : SF_BAD_INPUT;
}

/* Pictures are taken by the rank that has layer and head, which it knows by a number of its own: *how becomes what this rank takes. */
static void own_picture(const sf_engine *engine, sf_generation *how)
{
    const sf_comm *comm = engine->model.backend->comm;
    const int heads = engine->model.config->heads, layer = how->picture_layer;
    const bool mine = layer >= engine->model.stage.first && layer < engine->model.stage.end;
    if (!mine || (comm && how->picture_head / heads != comm->rank)) how->picture_layer = -1;
    if (comm) how->picture_head %= heads;
}

static int stage_with(const sf_engine *engine, int layer)
{
    int stage = 0;
    sf_stage s;
    while (sf_stage_of(&engine->source->config, stage, engine->model.backend->stages->size, &s) == SF_OK && layer >= s.end) stage++;
    return stage;
}

static sf_status tell_pictures(const sf_engine *engine, const sf_generation *how, int jobs, const sf_job *job)
{
    const sf_backend *b = engine->model.backend;
    for (int j = 0; (b->comm || b->stages) && j < jobs; j++)
        for (int i = 0; i < job[j].lanes; i++)
            for (int p = 0; p < SF_PHASES; p++) {
                sf_picture *picture = job[j].lane[i].picture[p];
                if (!picture || how->picture_layer < 0) continue;
                SF_TRY(sf_comm_tell(b->comm, how->picture_head / engine->model.config->heads, picture, sizeof *picture));
                if (b->stages) SF_TRY(sf_comm_tell(b->stages, stage_with(engine, how->picture_layer), picture, sizeof *picture));
                picture->head = how->picture_head;
            }
    return SF_OK;
}

sf_status sf_engine_run(sf_engine *engine, int jobs, const sf_job *job, const sf_generation *how)
{
    for (int j = 0; j < jobs; j++) {
        SF_TRY(check_tokens(engine, &job[j], how->max_output));
        SF_TRY(check_lanes(job[j].lanes, job[j].lane));
        for (int i = 0; job[j].turns && i < job[j].lanes; i++)
            if (job[j].lane[i].divergence[SF_PREFILL] || job[j].lane[i].divergence[SF_DECODE])
                return sf_fail(SF_UNSUPPORTED, "divergence of several turns, whose questions come at other places in each lane");
        SF_TRY(sf_comm_agree_all(engine->model.backend, open_sides(engine, how, job[j].lanes, job[j].lane)));
        for (int i = 0; i < job[j].lanes; i++) reset_lane(&job[j].lane[i]);
    }
    sf_company company;
    guard before = enter(engine->model.backend);
    sf_generation own = *how;
    own_picture(engine, &own);
    const sf_model_config *whole = &engine->source->config;
    sf_status status = sf_company_open((int64_t)whole->layers * whole->heads, jobs, job, &own, NULL, &company);
    if (status == SF_OK) {
        sf_batch batch = new_batch(engine, company.jobs, company.job, &own);
        status = generate(&batch);
        end_together(&batch, status);
        sf_batch_close(&batch);
        sf_company_settle(&company);
    }
    sf_company_close(&company);
    if (status == SF_OK) status = tell_pictures(engine, how, jobs, job);
    leave(engine->model.backend, before);
    return explain(status, engine->source);
}

sf_status sf_engine_generate(sf_engine *engine, const int32_t *token, int tokens, const sf_generation *how, int lanes,
                             sf_lane *lane)
{
    const sf_job job = {.token = token, .tokens = tokens, .lanes = lanes, .lane = lane};
    return sf_engine_run(engine, 1, &job, how);
}

/* Logits are wide: they leave the backend in small pieces, however the prefill was cut. */
enum { LOGIT_ROWS = 64 };

static sf_status logits(sf_batch *batch, float *out)
{
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    float *some;
    SF_TRY(prefill(batch));
    int64_t piece = batch->chunk < LOGIT_ROWS ? batch->chunk : LOGIT_ROWS;
    if (!sf_batch_ends(batch)) return SF_OK;
    SF_TRY(sf_arena_alloc(batch->work, sf_bytes(SF_F32, piece * c->vocab), (void **)&some));
    for (int64_t row = 0; row < batch->longest; row += piece) {
        int64_t rows = batch->longest - row < piece ? batch->longest - row : piece;
        SF_TRY(sf_transformer_logits(batch->model, batch->hidden + row * c->d, rows, some, &batch->workspace));
        SF_TRY(b->ops->download(b, out + row * c->vocab, some, sf_bytes(SF_F32, rows * c->vocab)));
        sf_transformer_finish_logits(c, out + row * c->vocab, rows);
    }
    return SF_OK;
}

sf_status sf_engine_logits(sf_engine *engine, const int32_t *token, int tokens, float *out)
{
    return sf_engine_logits_under(engine, token, tokens, NULL, out);
}

sf_status sf_engine_logits_under(sf_engine *engine, const int32_t *token, int tokens, sf_lane *lane, float *out)
{
    static const sf_generation plain = {.max_output = 1};
    const sf_job job = {.token = token, .tokens = tokens, .lanes = lane != NULL, .lane = lane};
    SF_TRY(check_tokens(engine, &job, 1));
    if (lane) SF_TRY(check_lanes(1, lane));
    SF_TRY(sf_comm_agree_all(engine->model.backend, open_sides(engine, &plain, job.lanes, lane)));
    guard before = enter(engine->model.backend);
    sf_batch batch = new_batch(engine, 1, &job, &plain);
    sf_status status = sf_stages_agree(&batch, logits(&batch, out));
    if (status == SF_OK) status = sf_stages_tell(&batch, out, sf_bytes(SF_F32, (int64_t)tokens * batch.config->vocab));
    end_together(&batch, status);
    sf_batch_close(&batch);
    leave(engine->model.backend, before);
    return explain(status, engine->source);
}

/* ---- memory: the same layout, measured --------------------------------------------------------------------------- */

static sf_status measure_sequence(sf_batch *batch, sf_sequence *s, double kept)
{
    const sf_lane *lane = s->lane;
    int tokens = s->job->tokens;
    for (int layer = batch->stage.first; layer < batch->stage.end; layer++) {
        if (!lane->decode || !sf_layer_full(batch->config, layer)) continue;
        sf_cache *cache = &s->at[layer];
        int most = tokens + sf_job_steps(s->job, batch->how);
        if (s->evicts) SF_TRY(sf_batch_own_copy(batch, s, (int)(kept * tokens + 0.5), cache));
        sf_attention a = sf_batch_attention(batch, layer, 0, NULL, (sf_kv_part){.n = tokens}, (sf_kv_part){0});
        SF_TRY(sf_hook_state(&a, lane->decode, lane->decode_params, most, batch->store, &cache->state));
    }
    return SF_OK;
}

static sf_status measure(sf_batch *batch, const double *kept)
{
    SF_TRY(sf_batch_open(batch));
    SF_TRY(sf_batch_prefill_buffers(batch));
    SF_TRY(sf_stages_carry(batch));
    for (int i = 0; i < batch->lanes; i++) SF_TRY(measure_sequence(batch, &batch->sequence[i], kept ? kept[i] : 1));
    return sf_batch_decode_buffers(batch);
}

/* What one of the stages holds. */
static sf_status stage_memory(const sf_model_config *config, const sf_model_config *part, sf_stage stage, const sf_backend *backend, int jobs,
                              const sf_job *job, const double *kept, const sf_generation *how, size_t *bytes)
{
    sf_arena store = {0}, work = {0};
    sf_backend shape = *backend; /* nothing is executed on it */
    sf_batch batch = {.backend = &shape, .config = part, .whole = config, .stage = stage, .how = how, .store = &store, .work = &work,
                      .jobs = jobs, .job = job};
    sf_status status = measure(&batch, kept);
    sf_batch_close(&batch);
    *bytes = store.peak + work.peak;
    return status;
}

sf_status sf_engine_memory(const sf_model_config *config, const sf_backend *backend, int jobs, const sf_job *job,
                           const sf_generation *how, const double *kept, size_t *bytes)
{
    for (int j = 0; j < jobs; j++) SF_TRY(check_lanes(job[j].lanes, job[j].lane));
    const sf_comm *comm = backend->comm;
    const int stages = backend->stages ? backend->stages->size : 1;
    sf_model_config part;
    sf_company company;
    *bytes = 0;
    SF_TRY(sf_config_part(config, comm ? comm->rank : 0, comm ? comm->size : 1, &part));
    sf_status status = sf_company_open((int64_t)config->layers * config->heads, jobs, job, how, kept, &company);
    for (int i = 0; i < stages && status == SF_OK; i++) {
        sf_stage stage;
        size_t held = 0;
        status = sf_stage_of(config, i, stages, &stage);
        if (status == SF_OK) status = stage_memory(config, &part, stage, backend, company.jobs, company.job, company.kept, how, &held);
        if (held > *bytes) *bytes = held;
    }
    sf_company_close(&company);
    return status;
}
