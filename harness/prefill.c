/* One prefill for the lanes that share it. It goes layer by layer with the whole prompt, so that a method sees all
 * queries and keys of a layer at once; linear layers take the rows in chunks. Once a layer's attention is done, each
 * lane takes from it what its decode method needs: an evicting lane its copy, others their first observation. */
#include "harness/batch.h"
#include "harness/hooks.h"

#include <stdlib.h>

static void *head_rows(const sf_batch *batch, const void *array, int64_t row)
{
    return sf_activation_at(batch->backend, array, row * batch->config->heads * batch->config->head_dim);
}

/* Queries of the layer to batch->q, keys and values to `part`, in chunks of rows. */
static sf_status cache_keys(sf_batch *batch, int layer, sf_kv_part *part)
{
    const sf_model_config *c = batch->config;
    sf_backend *b = batch->backend;
    part->n = 0;
    for (int row = 0; row < batch->tokens; row += batch->chunk) {
        int rows = batch->tokens - row < batch->chunk ? batch->tokens - row : batch->chunk;
        SF_TRY(sf_transformer_qkv(batch->model, layer, batch->hidden + (int64_t)row * c->d, rows,
                                  batch->model->positions.position + row, head_rows(batch, batch->q, row),
                                  &batch->workspace));
        SF_TRY(b->ops->store_kv(b, 1, &part, rows, c->kv_heads, c->head_dim, batch->workspace.k, batch->workspace.v));
        part->n += rows;
    }
    return SF_OK;
}

static sf_status attend(sf_batch *batch, const sf_prompt *prompt, sf_attention *a)
{
    sf_backend *b = batch->backend;
    sf_pattern pattern = {0};
    sf_mark mark = sf_scratch_mark(b);
    bool chosen = prompt->method && !sf_layer_slides(batch->config, a->layer);
    if (chosen) SF_TRY(sf_hook_choose(SF_HOOK_PREFILL, a, prompt->method, prompt->params, NULL, &pattern));
    sf_status status = b->ops->prefill(b, a, &pattern, batch->attention);
    if (status != SF_OK) return chosen ? sf_hook_blame(status, SF_HOOK_PREFILL, prompt->method, a->layer) : status;
    if (prompt->recall)
        SF_TRY(sf_batch_look(batch, a, &pattern, batch->recall_rows, batch->recall_row, 1,
                             prompt->recall + (int64_t)a->layer * a->heads));
    sf_scratch_release(b, mark);
    return SF_OK;
}

static sf_status finish_layer(sf_batch *batch, int layer)
{
    for (int row = 0; row < batch->tokens; row += batch->chunk) {
        int rows = batch->tokens - row < batch->chunk ? batch->tokens - row : batch->chunk;
        SF_TRY(sf_transformer_finish(batch->model, layer, head_rows(batch, batch->attention, row), rows,
                                     batch->hidden + (int64_t)row * batch->config->d, &batch->workspace));
    }
    return SF_OK;
}

/* Copies keys [first, from->n) of every head. */
static sf_status copy_keys(const sf_batch *batch, const sf_kv_part *from, int first, sf_kv_part *to)
{
    sf_backend *b = batch->backend;
    int64_t d = batch->config->head_dim;
    size_t bytes = sf_bytes(b->activation, (from->n - first) * d);
    for (int64_t g = 0; g < batch->config->kv_heads; g++) {
        int64_t source = (g * from->capacity + first) * d, target = g * to->capacity * d;
        SF_TRY(b->ops->copy(b, sf_activation_at(b, to->k, target), sf_activation_at(b, from->k, source), bytes));
        SF_TRY(b->ops->copy(b, sf_activation_at(b, to->v, target), sf_activation_at(b, from->v, source), bytes));
    }
    to->n = from->n - first;
    return SF_OK;
}

/* ---- what a lane takes from a layer ------------------------------------------------------------------------------ */

/* The lists by which recall looks at an evicting lane in decode: the keys kept, then all that a tail can hold. */
static sf_status remember_kept(const sf_batch *batch, const sf_lists *chosen, sf_cache *cache)
{
    sf_backend *b = batch->backend;
    int tail = batch->how->max_output - 1;
    for (int64_t g = 0; g < cache->kept.rows; g++) {
        int32_t *index = cache->kept.index + g * cache->kept.stride;
        int32_t n = cache->kept_count[g];
        SF_TRY(b->ops->copy(b, index, chosen->index + g * chosen->stride, (size_t)n * sizeof *index));
        if (tail > 0)
            SF_TRY(b->ops->copy(b, index + n, batch->model->positions.position + batch->tokens,
                                (size_t)tail * sizeof *index));
    }
    return SF_OK;
}

/* The lane's own cache of the keys that its method keeps. */
static sf_status evict(sf_batch *batch, sf_sequence *s, sf_attention *a)
{
    sf_backend *b = batch->backend;
    sf_cache *cache = &s->at[a->layer];
    const sf_lane *lane = s->lane;
    sf_pattern pattern;
    SF_TRY(sf_hook_choose(SF_HOOK_COMPRESS, a, lane->decode, lane->decode_params, NULL, &pattern));
    if (pattern.kind == SF_DENSE) {
        if (s->prompt->kept) return SF_OK;
        SF_TRY(sf_batch_own_copy(batch, s, batch->tokens, cache));
        cache->prompt.count = NULL;
        return copy_keys(batch, &a->kv.prompt, 0, &cache->prompt);
    }

    int32_t count[a->kv_heads], longest = 0;
    SF_TRY(b->ops->download(b, count, pattern.first.count, sizeof count));
    for (int g = 0; g < a->kv_heads; g++) longest = count[g] > longest ? count[g] : longest;
    SF_TRY(sf_batch_own_copy(batch, s, longest, cache));
    SF_TRY(b->ops->gather_kv(b, &a->kv.prompt, &pattern.first, a->head_dim, &cache->prompt));
    if (!s->recall) return SF_OK;
    for (int g = 0; g < a->kv_heads; g++) cache->kept_count[g] = count[g];
    return remember_kept(batch, &pattern.first, cache);
}

static sf_status take_layer(sf_batch *batch, sf_sequence *s, sf_attention *a)
{
    const sf_lane *lane = s->lane;
    sf_cache *cache = &s->at[a->layer];
    sf_mark mark = sf_scratch_mark(batch->backend);
    cache->prompt = s->prompt->part[a->layer];
    if (s->evicts) SF_TRY(evict(batch, s, a));
    sf_scratch_release(batch->backend, mark);

    /* An evicted cache no longer lines up with the prompt's queries, so that observers then see keys alone. */
    bool whole = cache->prompt.n == batch->tokens;
    sf_attention own = sf_batch_attention(batch, a->layer, whole ? a->queries : 0, whole ? a->q : NULL, cache->prompt,
                                          (sf_kv_part){0});
    int most = own.keys + batch->how->max_output - 1;
    SF_TRY(sf_hook_state(&own, lane->decode, lane->decode_params, most, batch->store, &cache->state));
    return sf_hook_observe(&own, lane->decode, lane->decode_params, &cache->state, 0);
}

/* Serves the prompt's lanes one after the other; what a lane's hooks cost is its own, in counts and in time. */
static sf_status serve_lanes(sf_batch *batch, sf_prompt *prompt, sf_attention *a)
{
    sf_backend *b = batch->backend;
    for (int i = 0; i < batch->lanes; i++) {
        sf_sequence *s = &batch->sequence[i];
        if (s->prompt != prompt) continue;
        if (!s->lane->decode || sf_layer_slides(batch->config, a->layer)) {
            s->at[a->layer].prompt = prompt->part[a->layer];
            continue;
        }
        double began = sf_batch_clock(b);
        b->meter = &s->lane->meter;
        SF_TRY(take_layer(batch, s, a));
        b->meter = &prompt->meter;
        double own = sf_batch_clock(b) - began;
        s->lane->seconds[SF_PREFILL] += own;
        prompt->seconds -= own;
    }
    return SF_OK;
}

/* ---- the prefill ------------------------------------------------------------------------------------------------- */

static sf_status prefill_layer(sf_batch *batch, sf_prompt *prompt, int layer)
{
    sf_kv_part *part = &prompt->part[layer];
    bool staged = part->capacity < batch->tokens;
    sf_kv_part *all = staged ? &batch->staging : part;
    SF_TRY(cache_keys(batch, layer, all));

    sf_attention a = sf_batch_attention(batch, layer, batch->tokens, batch->q, *all, (sf_kv_part){0});
    a.pairs = prompt->pairs + (int64_t)layer * a.heads;
    SF_TRY(attend(batch, prompt, &a));
    if (staged && part->capacity) SF_TRY(copy_keys(batch, all, batch->tokens - (int)part->capacity, part));
    SF_TRY(serve_lanes(batch, prompt, &a));
    return finish_layer(batch, layer);
}

sf_status sf_batch_prefill(sf_batch *batch, sf_prompt *prompt, const int32_t *token)
{
    sf_backend *b = batch->backend;
    int layers = batch->config->layers, before = (int)(prompt - batch->prompt) * layers;
    double began = sf_batch_clock(b) - batch->looking;
    b->phase = SF_PREFILL;
    b->meter = &prompt->meter;
    SF_TRY(b->ops->zero(b, prompt->pairs, (size_t)sf_batch_heads(batch) * sizeof *prompt->pairs));
    SF_TRY(b->ops->upload(b, batch->token, token, (size_t)batch->tokens * sizeof *token));
    SF_TRY(sf_transformer_embed(batch->model, batch->token, batch->tokens, batch->hidden));
    for (int layer = 0; layer < layers; layer++) {
        SF_TRY(prefill_layer(batch, prompt, layer));
        if (batch->how->progress)
            batch->how->progress(batch->how->user, SF_PREFILL, before + layer + 1, batch->prompts * layers);
    }
    prompt->seconds += sf_batch_clock(b) - batch->looking - began;
    return SF_OK;
}

sf_status sf_batch_first_token(sf_batch *batch, sf_prompt *prompt)
{
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    double began = sf_batch_clock(b);
    const float *last = batch->hidden + (int64_t)(batch->tokens - 1) * c->d;
    SF_TRY(sf_transformer_logits(batch->model, last, 1, batch->logits, &batch->workspace));
    SF_TRY(b->ops->argmax(b, batch->logits, 1, c->vocab, batch->next));
    SF_TRY(b->ops->download(b, &prompt->token, batch->next, sizeof prompt->token));
    prompt->seconds += sf_batch_clock(b) - began;
    return SF_OK;
}
