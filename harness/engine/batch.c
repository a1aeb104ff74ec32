#include "harness/engine/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/splitmix.h"
#include "harness/engine/hooks.h"
#include "harness/model/part.h"
#include "harness/model/structure.h"

static const size_t CHUNK_BYTES = (size_t)256 << 20; /* of gate and up together, of what experts give, and of latents' heads */

/* Ranks that hold the same kv heads as this one. */
static int repeat_of(const sf_batch *batch) { return sf_part_repeat(batch->whole, sf_batch_ranks(batch)); }

/* ---- lanes to prompts -------------------------------------------------------------------------------------------- */

static bool same_prefill(const sf_prompt *prompt, const sf_lane *lane)
{
    const sf_method *m = lane->prefill;
    if (prompt->method != m || prompt->cache != lane->cache) return false;
    return !m || !m->params_size || memcmp(prompt->params, lane->prefill_params, m->params_size) == 0;
}

static sf_prompt *prompt_of(sf_batch *batch, const sf_job *job, const sf_lane *lane)
{
    if (job->leads) job = job->leads;
    for (int i = 0; i < batch->prompts; i++)
        if (batch->prompt[i].job == job && same_prefill(&batch->prompt[i], lane)) return &batch->prompt[i];
    sf_prompt *added = &batch->prompt[batch->prompts++];
    *added = (sf_prompt){.job = job, .method = lane->prefill, .params = lane->prefill_params, .cache = lane->cache};
    return added;
}

const sf_prompt *sf_batch_dense(const sf_batch *batch, const sf_prompt *prompt)
{
    const sf_prompt *first = batch->prompt;
    while (first->job != prompt->job) first++;
    return first;
}

static bool wants(const sf_batch *batch, const sf_lane *lane, sf_phase phase)
{
    return batch->how->recall_rows > 0 && lane->recall[phase] && !batch->config->reach.chunk; /* mass is looked at true distances */
}

static bool wants_error(const sf_batch *batch, const sf_lane *lane, sf_phase phase)
{
    return batch->how->recall_rows > 0 && lane->error[phase] && !batch->config->reach.chunk;
}

static sf_status host_array(int64_t n, size_t size, void *out)
{
    void **to = out;
    *to = calloc((size_t)(n > 0 ? n : 1), size);
    return *to ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the samples' tables");
}

/* ---- what stays to the end --------------------------------------------------------------------------------------- */

/* keys: numbers of all keys of a row. Floats, whatever they are rounded to. */
static sf_status open_part(const sf_batch *batch, sf_arena *arena, int64_t keys, int64_t capacity, const sf_cache_format *format, sf_kv_part *out)
{
    const sf_model_config *c = batch->config;
    size_t bytes = sf_bytes(batch->backend->activation, keys * capacity);
    *out = (sf_kv_part){.capacity = capacity, .format = format};
    SF_TRY(sf_arena_alloc(arena, bytes, &out->k));
    out->v = out->k;
    return c->latent ? SF_OK : sf_arena_alloc(arena, bytes, &out->v);
}

/* What stays of a prompt: packed, where the format is. */
static sf_status open_kept(const sf_batch *batch, sf_arena *arena, int kv_heads, int dim, int64_t capacity, const sf_cache_format *format,
                           sf_kv_part *out)
{
    if (!sf_packs(format)) return open_part(batch, arena, (int64_t)kv_heads * dim, capacity, format, out);
    const size_t bytes = sf_cache_packed_bytes(format, kv_heads, capacity, dim);
    *out = (sf_kv_part){.capacity = capacity, .format = format, .packed = true};
    SF_TRY(sf_arena_alloc(arena, bytes, &out->k));
    return sf_arena_alloc(arena, bytes, &out->v);
}

static int64_t layer_keys(const sf_batch *batch, int layer)
{
    return (int64_t)sf_kv_heads_of(batch->config, layer) * sf_head_dim_of(batch->config, layer);
}

/* Keys of the prompt that stay at this layer: all of them, where another layer's prefill reads them too. */
static int64_t kept_keys(const sf_batch *batch, const sf_prompt *prompt, int layer)
{
    int tokens = prompt->job->tokens;
    if (sf_layer_borrows(batch->config, layer)) return 0;
    if (sf_layer_lends(batch->config, layer)) return tokens;
    if (batch->lanes == 0 || !sf_layer_attends(batch->config, layer)) return 0;
    if (!sf_layer_slides(batch->config, layer)) return prompt->kept ? tokens : 0;
    return tokens < batch->config->window ? tokens : batch->config->window;
}

/* One row drawn from each of `wanted` equal stretches of a prompt, with room for one more. */
static sf_status sample_rows(uint64_t seed, int64_t tokens, int64_t wanted, int *rows, int32_t **row)
{
    int64_t n = wanted < tokens ? wanted : tokens;
    *rows = n > 0 ? (int)n : 0;
    SF_TRY(host_array(*rows + 1, sizeof **row, row));
    for (int64_t i = 0; i < n; i++) {
        int64_t begin = i * tokens / n, end = (i + 1) * tokens / n;
        (*row)[i] = (int32_t)(begin + (int64_t)(sf_splitmix(seed + (uint64_t)i, 0) % (uint64_t)(end - begin)));
    }
    return SF_OK;
}

/* Rows whose next token is in the prompt, and then the last row, which predicts the first token generated. */
static sf_status sample_predictions(const sf_generation *how, sf_prompt *prompt)
{
    int64_t tokens = prompt->job->tokens;
    SF_TRY(sample_rows(how->seed, tokens - 1, how->divergence_rows, &prompt->predictions, &prompt->predict_row));
    prompt->predict_row[prompt->predictions++] = (int32_t)tokens - 1;
    return SF_OK;
}

/* Whether the prompt's predictions are wanted by a lane of its own, or to hold those of the sample's lanes against. */
static bool is_predicted(const sf_batch *batch, const sf_prompt *prompt)
{
    for (int i = 0; i < batch->lanes; i++) {
        const sf_sequence *s = &batch->sequence[i];
        if (!s->lane->divergence[SF_PREFILL] && !s->lane->divergence[SF_DECODE]) continue;
        if (s->prompt == prompt || sf_batch_dense(batch, s->prompt) == prompt) return true;
    }
    return false;
}

static bool wants_structure(const sf_job *job)
{
    for (int i = 0; i < job->lanes; i++) {
        const sf_lane *lane = &job->lane[i];
        if ((lane->prefill && lane->prefill->structure) || (lane->decode && lane->decode->structure)) return true;
    }
    return false;
}

static bool looks_at_hidden(const sf_batch *batch)
{
    for (int i = 0; i < batch->lanes; i++) {
        const sf_lane *lane = batch->sequence[i].lane;
        if ((lane->prefill && lane->prefill->hidden) || (lane->decode && lane->decode->hidden)) return true;
    }
    return false;
}

/* Room for a lane's state at a layer, if it has any. */
static sf_status open_recurrent(const sf_batch *batch, sf_arena *arena, int layer, float **out)
{
    if (!sf_layer_recurs(batch->config, layer)) return SF_OK;
    return sf_arena_alloc(arena, sf_bytes(SF_F32, sf_mixer_sizes(batch->config).state), (void **)out);
}

static sf_status open_prompt(sf_batch *batch, sf_prompt *prompt)
{
    const sf_job *job = prompt->job;
    if (batch->tokenizer && job->token && wants_structure(job)) {
        SF_TRY(host_array(job->tokens, 1, &prompt->begins));
        SF_TRY(sf_structure(batch->tokenizer, job->token, job->tokens, prompt->begins));
    }
    SF_TRY(host_array(batch->config->layers, sizeof *prompt->part, &prompt->part));
    SF_TRY(host_array(batch->config->layers, sizeof *prompt->recurrent, &prompt->recurrent));
    SF_TRY(sample_rows(batch->how->seed, prompt->job->tokens, batch->how->recall_rows, &prompt->recall_rows,
                       &prompt->recall_row));
    if (is_predicted(batch, prompt)) SF_TRY(sample_predictions(batch->how, prompt));
    size_t tally = (size_t)sf_batch_heads(batch) * sizeof *prompt->pairs;
    SF_TRY(sf_arena_alloc(batch->store, tally, (void **)&prompt->pairs));
    if (batch->config->entmax_alpha != 0) SF_TRY(sf_arena_alloc(batch->store, tally, (void **)&prompt->weighed));
    for (int layer = batch->stage.first; layer < batch->stage.end; layer++) {
        int64_t capacity = kept_keys(batch, prompt, layer);
        if (capacity) SF_TRY(open_kept(batch, batch->store, sf_kv_heads_of(batch->config, layer), sf_head_dim_of(batch->config, layer), capacity, prompt->cache,
                                       &prompt->part[layer]));
        SF_TRY(open_recurrent(batch, batch->store, layer, &prompt->recurrent[layer]));
    }
    return SF_OK;
}

static sf_status open_sequence(sf_batch *batch, sf_sequence *s, const sf_job *job, sf_lane *lane)
{
    s->lane = lane;
    s->job = job;
    s->prompt = prompt_of(batch, job, lane);
    s->evicts = lane->decode && lane->decode->compress;
    bool reads = lane->decode ? !s->evicts || lane->decode->settle : sf_job_steps(job, batch->how) > 0; /* the first token needs no cache */
    if (reads || wants(batch, lane, SF_DECODE) || wants_error(batch, lane, SF_DECODE)) s->prompt->kept = true;
    if (wants(batch, lane, SF_PREFILL) && !s->prompt->recall)
        SF_TRY(host_array(sf_batch_heads(batch), sizeof *s->prompt->recall, &s->prompt->recall));
    if (wants(batch, lane, SF_DECODE)) SF_TRY(host_array(sf_batch_heads(batch), sizeof *s->recall, &s->recall));
    if (wants_error(batch, lane, SF_PREFILL) && !s->prompt->error)
        SF_TRY(host_array(sf_batch_heads(batch), sizeof *s->prompt->error, &s->prompt->error));
    if (wants_error(batch, lane, SF_DECODE)) SF_TRY(host_array(sf_batch_heads(batch), sizeof *s->error, &s->error));
    if (lane->picture[SF_PREFILL] && !s->prompt->picture)
        SF_TRY(host_array(1, sizeof *s->prompt->picture, &s->prompt->picture));
    SF_TRY(host_array(batch->config->layers, sizeof *s->at, &s->at));
    size_t tally = (size_t)sf_batch_heads(batch) * sizeof *s->pairs;
    if (batch->config->entmax_alpha != 0) SF_TRY(sf_arena_alloc(batch->store, tally, (void **)&s->weighed));
    return sf_arena_alloc(batch->store, tally, (void **)&s->pairs);
}

/* Of a device with memory of its own more, a 224th of it: 8192 rows of a 7B model at 141 GB, whose tiles come in even waves. Pieces of
 * the longest prompt are of one size, since the largest is what there has to be room for. Ranks, whose devices may differ, take the same
 * everywhere. */
static int default_chunk(const sf_model_config *c, sf_backend *b, int longest)
{
    int64_t width = 2 * (int64_t)sf_widest_mlp(c) + 2 * (int64_t)c->layers * c->layer_dim, chosen = c->router.experts ? c->router.chosen : 0;
    if (width < 2 * (int64_t)c->shared_mlp) width = 2 * (int64_t)c->shared_mlp;
    if (c->latent) width += (int64_t)c->heads * (sf_query_numbers(c) + c->value_dim);
    size_t available = 0, total = 0, bytes = CHUNK_BYTES;
    const bool apart = b->ops->apart && !b->comm && !b->stages && b->ops->memory(b, &available, &total) == SF_OK;
    if (apart && total / 224 > bytes) bytes = total / 224 < 4 * CHUNK_BYTES ? total / 224 : 4 * CHUNK_BYTES;
    const size_t rows = bytes / sf_bytes(b->activation, width + chosen * (2 * c->expert_mlp + c->d));
    const int chunk = rows > 256 ? (int)(rows / 256 * 256) : 256;
    if (longest <= chunk) return chunk;
    const int pieces = (longest + chunk - 1) / chunk;
    return ((longest + pieces - 1) / pieces + 255) / 256 * 256;
}

static sf_status open_job(sf_batch *batch, const sf_job *job)
{
    for (int i = 0; i < job->lanes; i++)
        SF_TRY(open_sequence(batch, &batch->sequence[batch->lanes++], job, &job->lane[i]));
    if (job->lanes == 0) batch->prompt[batch->prompts++] = (sf_prompt){.job = job};
    return SF_OK;
}

sf_status sf_batch_open(sf_batch *batch)
{
    const sf_model_config *c = batch->config;
    int64_t lanes = 0, most = 0; /* prompts */
    for (int i = 0; i < batch->jobs; i++) {
        const sf_job *job = &batch->job[i];
        lanes += job->lanes;
        most += job->lanes ? job->lanes : 1;
        if (job->tokens > batch->longest) batch->longest = job->tokens;
    }
    if (batch->chunk <= 0) batch->chunk = default_chunk(batch->whole, batch->backend, batch->longest);
    sf_arena_reset(batch->store);
    sf_arena_reset(batch->work);

    SF_TRY(host_array(most, sizeof *batch->prompt, &batch->prompt));
    SF_TRY(host_array(lanes, sizeof *batch->sequence, &batch->sequence));
    size_t looks = batch->how->recall_rows > 0 ? SF_LOOKS * (size_t)c->heads : 0;
    SF_TRY(host_array((int64_t)looks, sizeof *batch->covered_host, &batch->covered_host));
    SF_TRY(sf_arena_alloc(batch->store, looks * sizeof *batch->covered, (void **)&batch->covered));
    for (int i = 0; i < batch->jobs; i++) SF_TRY(open_job(batch, &batch->job[i]));
    for (int i = 0; i < batch->prompts; i++) SF_TRY(open_prompt(batch, &batch->prompt[i]));
    return SF_OK;
}

void sf_batch_close(sf_batch *batch)
{
    for (int i = 0; i < batch->prompts; i++) {
        free(batch->prompt[i].part);
        free(batch->prompt[i].recurrent);
        free(batch->prompt[i].recall);
        free(batch->prompt[i].error);
        free(batch->prompt[i].recall_row);
        free(batch->prompt[i].picture);
        free(batch->prompt[i].predict_row);
        free(batch->prompt[i].begins);
        free(batch->prompt[i].predicted);
    }
    for (int i = 0; batch->sequence && i < batch->lanes; i++) {
        sf_sequence *s = &batch->sequence[i];
        for (int layer = 0; s->at && layer < batch->config->layers; layer++) free(s->at[layer].kept_count);
        free(s->at);
        free(s->recall);
        free(s->error);
        free(s->pictured);
    }
    free(batch->prompt);
    free(batch->sequence);
    free(batch->covered_host);
}

/* ---- what a phase works in --------------------------------------------------------------------------------------- */

sf_wave sf_batch_wave(const sf_batch *batch, int first)
{
    sf_wave w = {.prompt = &batch->prompt[first]};
    while (first + w.prompts < batch->prompts) {
        int64_t rows = (int64_t)w.rows + w.prompt[w.prompts].job->tokens;
        if (w.prompts && rows > batch->chunk) break;
        w.prompt[w.prompts++].row = w.rows;
        w.rows = (int)rows;
    }
    return w;
}

/* `logits`: rows whose next token is sought at a time. */
static sf_status row_buffers(sf_batch *batch, int64_t rows, int64_t chunk, int64_t logits)
{
    const sf_model_config *c = batch->config;
    sf_dtype activation = batch->backend->activation;
    size_t heads = sf_bytes(activation, rows * c->heads * sf_widest_head(c));
    size_t kv_heads = sf_bytes(activation, rows * sf_widest_keys(c));
    SF_TRY(sf_arena_alloc(batch->work, 2 * (size_t)rows * sizeof *batch->token, (void **)&batch->token));
    SF_TRY(sf_arena_alloc(batch->work, sf_bytes(SF_F32, rows * c->d), (void **)&batch->hidden));
    const struct sf_mixer_sizes mixer = sf_mixer_sizes(c);
    const size_t mixed = sf_bytes(activation, rows * mixer.in[0]);
    SF_TRY(sf_arena_alloc(batch->work, heads, &batch->q));
    SF_TRY(sf_arena_alloc(batch->work, mixed > heads ? mixed : heads, &batch->attention));
    for (int i = 0; i < SF_MIXER_INPUTS; i++) {
        batch->mixer_in[i] = NULL;
        if (mixer.in[i]) SF_TRY(sf_arena_alloc(batch->work, sf_bytes(activation, rows * mixer.in[i]), &batch->mixer_in[i]));
    }
    batch->layered = NULL;
    if (c->layer_dim) SF_TRY(sf_arena_alloc(batch->work, sf_bytes(activation, rows * c->layers * c->layer_dim), &batch->layered));
    SF_TRY(sf_arena_alloc(batch->work, kv_heads, &batch->k));
    batch->v = NULL;
    if (!c->latent) SF_TRY(sf_arena_alloc(batch->work, kv_heads, &batch->v));
    batch->normed = NULL;
    batch->lse = NULL;
    if (c->sinks) SF_TRY(sf_arena_alloc(batch->work, (size_t)(rows * c->heads) * sizeof *batch->lse, (void **)&batch->lse));
    batch->shared_q = NULL;
    if (repeat_of(batch) > 1) SF_TRY(sf_arena_alloc(batch->work, heads * (size_t)repeat_of(batch), &batch->shared_q));
    SF_TRY(sf_workspace_open(c, activation, chunk, batch->backend->comm ? sf_batch_ranks(batch) : 0, batch->work, &batch->workspace));
    if (sf_batch_ends(batch)) SF_TRY(sf_arena_alloc(batch->work, sf_bytes(SF_F32, logits * c->vocab), (void **)&batch->logits));
    return sf_arena_alloc(batch->work, (size_t)logits * sizeof *batch->next, (void **)&batch->next);
}

static sf_status first_buffers(sf_batch *batch)
{
    const sf_model_config *c = batch->config;
    sf_dtype activation = batch->backend->activation;
    bool several = false;
    for (int i = 1; i < batch->prompts; i++) several |= batch->prompt[i].job == batch->prompt[i - 1].job;
    batch->first = (sf_first){0};
    if (!several || !sf_batch_leads(batch) || sf_layer_recurs(c, 0) || !sf_layer_attends(c, 0)) return SF_OK;
    int64_t rows = batch->longest;
    if (batch->normed) SF_TRY(sf_arena_alloc(batch->work, sf_bytes(activation, rows * c->d), &batch->first.normed));
    SF_TRY(sf_arena_alloc(batch->work, sf_bytes(activation, rows * c->heads * sf_head_dim_of(c, 0)), &batch->first.q));
    SF_TRY(sf_arena_alloc(batch->work, sf_bytes(activation, rows * layer_keys(batch, 0)), &batch->first.k));
    return c->latent ? SF_OK : sf_arena_alloc(batch->work, sf_bytes(activation, rows * layer_keys(batch, 0)), &batch->first.v);
}

/* Worth its room from the third lane of a prompt on, since two methods may ask two things. */
static sf_status probe_buffers(sf_batch *batch)
{
    int most = 0;
    for (int i = 0; i < batch->prompts; i++) {
        int evicting = 0;
        for (int l = 0; l < batch->lanes; l++)
            evicting += batch->sequence[l].prompt == &batch->prompt[i] && batch->sequence[l].evicts;
        if (evicting > most) most = evicting;
    }
    size_t bytes = (size_t)(batch->config->heads * repeat_of(batch)) * (size_t)batch->longest * sizeof(float);
    for (int i = 0; i < SF_PROBES; i++) {
        batch->probes.probe[i].column = NULL;
        if (most > SF_PROBES) SF_TRY(sf_arena_alloc(batch->work, bytes, (void **)&batch->probes.probe[i].column));
    }
    batch->probes.clock = sf_batch_clock;
    return SF_OK;
}

static sf_status prediction_buffers(sf_batch *batch)
{
    const sf_model_config *c = batch->config;
    bool some = false;
    for (int i = 0; i < batch->prompts; i++) some |= batch->prompt[i].predictions > 0;
    batch->some = batch->predicted = NULL;
    if (!some || !sf_batch_ends(batch)) return SF_OK;
    SF_TRY(sf_arena_alloc(batch->work, sf_bytes(SF_F32, (int64_t)SF_PREDICTIONS * c->d), (void **)&batch->some));
    return sf_arena_alloc(batch->work, sf_bytes(SF_F32, (int64_t)SF_PREDICTIONS * c->vocab), (void **)&batch->predicted);
}

/* Of the format that takes most, for the longest prompt that keeps no keys for lanes that take theirs. */
static sf_status packing_buffer(sf_batch *batch)
{
    const sf_model_config *c = batch->config;
    const sf_cache_format *most = NULL;
    batch->packing = (sf_kv_part){0};
    for (int i = 0; i < batch->lanes; i++) {
        const sf_cache_format *own = batch->sequence[i].lane->cache;
        if (!batch->sequence[i].evicts || batch->sequence[i].prompt->kept || !sf_packs(own)) continue;
        if (!most || sf_cache_bytes(own, SF_F32, 1, c->head_dim) > sf_cache_bytes(most, SF_F32, 1, c->head_dim)) most = own;
    }
    return most ? open_kept(batch, batch->work, c->kv_heads, c->head_dim, batch->longest, most, &batch->packing) : SF_OK;
}

sf_status sf_batch_prefill_buffers(sf_batch *batch)
{
    sf_wave widest = {0};
    int most = 0;
    for (int i = 0; i < batch->prompts;) {
        sf_wave w = sf_batch_wave(batch, i);
        if (w.rows > widest.rows) widest = w;
        if (w.prompts > most) most = w.prompts;
        i += w.prompts;
    }
    if (batch->chunk > widest.rows) batch->chunk = widest.rows;
    SF_TRY(row_buffers(batch, widest.rows, batch->chunk, most));
    if (looks_at_hidden(batch))
        SF_TRY(sf_arena_alloc(batch->work, sf_bytes(batch->backend->activation, (int64_t)widest.rows * batch->config->d), &batch->normed));
    SF_TRY(sf_arena_alloc(batch->work, sf_bytes(SF_F32, (int64_t)most * batch->config->d), (void **)&batch->last));
    SF_TRY(first_buffers(batch));
    SF_TRY(probe_buffers(batch));
    SF_TRY(prediction_buffers(batch));
    bool staged = false;
    for (int i = 0; i < batch->prompts; i++)
        for (int layer = batch->stage.first; layer < batch->stage.end; layer++)
            staged |= sf_layer_attends(batch->config, layer) && !sf_layer_borrows(batch->config, layer) &&
                      (batch->prompt[i].part[layer].capacity < batch->prompt[i].job->tokens || sf_packs(batch->prompt[i].cache));
    SF_TRY(packing_buffer(batch));
    if (!staged) return SF_OK;
    return open_part(batch, batch->work, sf_widest_keys(batch->config), batch->longest, NULL, &batch->staging);
}

sf_status sf_batch_decode_buffers(sf_batch *batch)
{
    sf_arena_reset(batch->work);
    SF_TRY(row_buffers(batch, batch->lanes, batch->lanes, batch->lanes));
    for (int i = 0; i < batch->lanes; i++) {
        const int64_t capacity = sf_job_steps(batch->sequence[i].job, batch->how);
        for (int layer = batch->stage.first; layer < batch->stage.end; layer++) {
            sf_cache *cache = &batch->sequence[i].at[layer];
            SF_TRY(open_recurrent(batch, batch->work, layer, &cache->recurrent));
            if (sf_layer_attends(batch->config, layer) && !sf_layer_borrows(batch->config, layer))
                SF_TRY(open_part(batch, batch->work, layer_keys(batch, layer), capacity, batch->sequence[i].lane->cache, &cache->tail));
        }
    }
    return SF_OK;
}

sf_status sf_batch_own_copy(sf_batch *batch, const sf_sequence *sequence, int64_t capacity, sf_cache *cache)
{
    int kv_heads = batch->config->kv_heads; /* of layers that see everything, which methods evict from */
    int32_t *count, *index;
    if (batch->backend->ops->views && sequence->prompt->kept) {
        cache->prompt = (sf_kv_part){.stride = capacity, .format = sequence->lane->cache, .packed = sf_packs(sequence->lane->cache)};
        SF_TRY(sf_arena_alloc(batch->store, (size_t)(kv_heads * capacity) * sizeof *index, (void **)&index));
        cache->prompt.index = index;
    } else {
        SF_TRY(open_kept(batch, batch->store, kv_heads, batch->config->head_dim, capacity, sequence->lane->cache, &cache->prompt));
    }
    SF_TRY(sf_arena_alloc(batch->store, (size_t)kv_heads * sizeof *count, (void **)&count));
    cache->prompt.count = count;
    if (!sequence->recall) return SF_OK;

    cache->kept = (sf_lists){.rows = kv_heads, .stride = capacity + sf_job_steps(sequence->job, batch->how) + 1};
    SF_TRY(host_array(kv_heads, sizeof *cache->kept_count, &cache->kept_count));
    SF_TRY(sf_arena_alloc(batch->store, (size_t)kv_heads * sizeof(int32_t), (void **)&cache->kept.count));
    return sf_arena_alloc(batch->store, (size_t)(kv_heads * cache->kept.stride) * sizeof(int32_t),
                          (void **)&cache->kept.index);
}

sf_status sf_batch_share_queries(sf_batch *batch, const void *q, int64_t rows)
{
    const int repeat = repeat_of(batch);
    if (repeat == 1) return SF_OK;
    sf_comm *comm = batch->backend->comm;
    return sf_comm_rows(comm, batch->backend, q, comm->rank / repeat * repeat, 1, repeat, rows,
                        (int64_t)batch->config->heads * batch->config->head_dim, batch->shared_q);
}

sf_attention sf_batch_view(const sf_batch *batch, const sf_attention *a, int64_t row)
{
    sf_attention view = *a;
    if (a->repeat <= 1) return view;
    view.heads *= a->repeat;
    view.first_head = a->first_head / view.heads * view.heads;
    if (a->q) view.q = sf_activation_at(batch->backend, batch->shared_q, row * view.heads * view.head_dim);
    return view;
}

sf_meter *sf_batch_meter_heads(const sf_batch *batch, sf_meter *meter)
{
    const sf_comm *comm = batch->backend->comm;
    return comm && comm->rank % repeat_of(batch) ? &batch->backend->aside : meter;
}

sf_meter *sf_batch_meter_once(const sf_batch *batch, sf_meter *meter)
{
    const sf_comm *comm = batch->backend->comm;
    return comm && comm->rank ? &batch->backend->aside : meter;
}

sf_status sf_batch_agree(sf_batch *batch, sf_status status)
{
    if (!batch->backend->comm) return status;
    status = sf_comm_agree(batch->backend->comm, status);
    batch->agreed |= status != SF_OK;
    return status;
}

sf_attention sf_batch_attention(const sf_batch *batch, int layer, int queries, const void *q, sf_kv_part prompt,
                                sf_kv_part tail)
{
    const sf_model_config *c = batch->config;
    const sf_comm *comm = batch->backend->comm;
    const int rank = comm ? comm->rank : 0, repeat = repeat_of(batch);
    return (sf_attention){.backend = batch->backend,
                          .comm = batch->backend->comm,
                          .first_head = rank * c->heads,
                          .first_kv_head = rank / repeat * sf_kv_heads_of(c, layer),
                          .all_heads = batch->whole->heads,
                          .all_kv_heads = sf_kv_heads_of(batch->whole, layer),
                          .repeat = repeat,
                          .sides = batch->sides,
                          .layer = layer,
                          .layers = c->layers,
                          .heads = c->heads,
                          .kv_heads = sf_kv_heads_of(c, layer),
                          .head_dim = sf_head_dim_of(c, layer),
                          .rotated = sf_latent_rotary(c),
                          .queries = queries,
                          .keys = prompt.n + tail.n,
                          .window = sf_layer_slides(c, layer) ? c->window : 0,
                          .scale = c->attention_scale,
                          .softcap = c->attention_softcap,
                          .alpha = c->entmax_alpha,
                          .q = q,
                          .frequency = batch->model ? sf_transformer_frequency(batch->model, layer) : NULL,
                          .scaled = batch->model ? sf_transformer_query_scale(batch->model, layer) : (sf_query_scale){0},
                          .interleaved = c->rope_interleaved,
                          .kv = {.prompt = prompt, .tail = tail, .dtype = batch->backend->activation}};
}

/* A cache that was cut has lost its keys' places. */
sf_status sf_batch_reach(const sf_batch *batch, sf_attention *a, sf_pattern *pattern, const char *who)
{
    if (!sf_layer_reaches(batch->config, a->layer)) return SF_OK;
    if (a->kv.prompt.count)
        return sf_fail(SF_UNSUPPORTED, "method '%s' cuts the cache, whose keys then have no places to see them at: it does not go "
                                       "with `positions: dca`", who ? who : "dense");
    int parts = pattern->kind == SF_PARTS ? pattern->parts : 1;
    for (int k = 0; k < parts; k++) {
        sf_pattern *part = pattern->kind == SF_PARTS ? &a->part[k] : pattern;
        if (part->reach.chunk)
            return sf_fail(SF_UNSUPPORTED, "method '%s' has distances of its own, and does not go with `positions: dca`", who);
        part->reach = batch->config->reach;
    }
    return SF_OK;
}

sf_status sf_batch_sink(const sf_batch *batch, sf_meter *meter, int layer, int rows, int patterns, const sf_pattern *const *pattern,
                        const float *lse, void *out)
{
    const sf_model_config *c = batch->config;
    if (!c->sinks) return SF_OK;
    for (int i = 0; i < patterns; i++)
        if (pattern[i]->kind == SF_PARTS && pattern[i]->gated)
            return sf_fail(SF_UNSUPPORTED, "parts with gates, which have no softmax of their own for model '%s' to add its sinks to", c->name);
    sf_backend *b = batch->backend;
    sf_meter *before = b->meter;
    b->meter = meter;
    sf_status status = b->ops->sink(b, out, lse, &batch->model->weights.layer[layer].sinks, rows, c->heads, c->head_dim);
    b->meter = before;
    return status;
}

double sf_batch_clock(sf_backend *b)
{
    b->ops->synchronize(b);
    return sf_now();
}

double sf_batch_time(const sf_batch *batch)
{
    double now = sf_batch_clock(batch->backend); /* first: waiting brings `watched` up to date */
    return now - batch->looking - batch->backend->watched;
}
