/* Prefills, each for the lanes that share it. They go layer by layer with whole prompts, so that a method sees all
 * queries and keys of a layer at once; linear layers take the rows of a wave of prompts together, in chunks. Once a
 * prompt's attention at a layer is done, each of its lanes takes from it what its decode method needs: an evicting lane
 * its copy, others their first observation. */
#include "harness/engine/prefill.h"
#include "harness/engine/counts.h"
#include "harness/engine/divergence.h"
#include "harness/engine/picture.h"
#include "harness/engine/hooks.h"

#include <stdlib.h>
#include <string.h>

/* Rows from `row` on of a layer's arrays [rows, H, D] and [rows, G, D]; of the latter NULL, if the array is. */
static void *head_rows(const sf_batch *batch, int layer, const void *array, int64_t row)
{
    return sf_activation_at(batch->backend, array, row * batch->config->heads * sf_head_dim_of(batch->config, layer));
}

static void *kv_rows(const sf_batch *batch, int layer, const void *array, int64_t row)
{
    const sf_model_config *c = batch->config;
    return array ? sf_activation_at(batch->backend, array, row * sf_kv_heads_of(c, layer) * sf_head_dim_of(c, layer)) : NULL;
}

/* Tokens' embeddings for each layer from a row on. */
static void *layered_rows(const sf_batch *batch, int64_t row)
{
    return batch->layered ? sf_activation_at(batch->backend, batch->layered, row * batch->config->layers * batch->config->layer_dim) : NULL;
}

/* ---- linear layers, for all rows of a wave ----------------------------------------------------------------------- */

/* Queries, keys and values of `rows` rows of hidden state; and what they are made of, where `normed` is wanted. */
static sf_status project(sf_batch *batch, int layer, const float *hidden, const int32_t *position, int rows, void *normed, void *q,
                         void *k, void *v)
{
    sf_backend *b = batch->backend;
    const int64_t d = batch->config->d;
    for (int row = 0; row < rows; row += batch->chunk) {
        int some = rows - row < batch->chunk ? rows - row : batch->chunk;
        SF_TRY(sf_transformer_qkv(batch->model, layer, hidden + row * d, some, position + row,
                                  head_rows(batch, layer, q, row), kv_rows(batch, layer, k, row), kv_rows(batch, layer, v, row),
                                  &batch->workspace));
        if (normed) SF_TRY(b->ops->copy(b, sf_activation_at(b, normed, row * d), batch->workspace.normed, sf_bytes(b->activation, some * d)));
    }
    return SF_OK;
}

/* Rows from `row` on of what the mixer of a layer that recurs reads. */
static void mixer_rows(const sf_batch *batch, int64_t row, void *in[SF_MIXER_INPUTS])
{
    const struct sf_mixer_sizes sizes = sf_mixer_sizes(batch->config);
    for (int i = 0; i < SF_MIXER_INPUTS; i++)
        in[i] = batch->mixer_in[i] ? sf_activation_at(batch->backend, batch->mixer_in[i], row * sizes.in[i]) : NULL;
}

static sf_status project_mixer(sf_batch *batch, int layer, int rows)
{
    for (int row = 0; row < rows; row += batch->chunk) {
        int some = rows - row < batch->chunk ? rows - row : batch->chunk;
        void *in[SF_MIXER_INPUTS];
        mixer_rows(batch, row, in);
        SF_TRY(sf_transformer_project(batch->model, layer, batch->hidden + (int64_t)row * batch->config->d, some, in, &batch->workspace));
    }
    return SF_OK;
}

static sf_status finish(sf_batch *batch, int layer, int rows)
{
    const bool attends = sf_layer_attends(batch->config, layer), recurs = sf_layer_recurs(batch->config, layer);
    for (int row = 0; row < rows; row += batch->chunk) {
        int some = rows - row < batch->chunk ? rows - row : batch->chunk;
        void *in[SF_MIXER_INPUTS];
        mixer_rows(batch, row, in);
        SF_TRY(sf_transformer_finish(batch->model, layer, attends ? head_rows(batch, layer, batch->attention, row) : NULL, recurs ? in[0] : NULL,
                                     layered_rows(batch, row), some, batch->hidden + (int64_t)row * batch->config->d, &batch->workspace));
    }
    return SF_OK;
}

/* Counts and times what a wave's prompts do together: from begin_shared() to end_shared(). */
typedef struct shared {
    sf_meter meter, *before; /* the backend's own one comes back: this one goes with the caller's frame */
    double began;
} shared;

static void begin_shared(sf_batch *batch, shared *s)
{
    memset(&s->meter, 0, sizeof s->meter);
    s->before = batch->backend->meter;
    batch->backend->meter = &s->meter;
    s->began = sf_batch_time(batch);
}

static void end_shared(sf_batch *batch, const sf_wave *wave, const shared *s)
{
    batch->backend->meter = s->before;
    double seconds = sf_batch_time(batch) - s->began;
    for (int i = 0; i < wave->prompts; i++) {
        sf_prompt *prompt = &wave->prompt[i];
        sf_batch_share(&s->meter, prompt->job->tokens, wave->rows, false, &prompt->meter);
        prompt->seconds += seconds * prompt->job->tokens / wave->rows;
    }
}

/* The first layer's queries, keys and values of the prompt's sample, if they are not those at hand: the prompt's rows
 * of hidden state are embeddings still. Each prefill counts them as its own. */
static sf_status project_first(sf_batch *batch, sf_prompt *prompt)
{
    sf_first *first = &batch->first;
    if (first->job != prompt->job) {
        shared s;
        begin_shared(batch, &s);
        SF_TRY(project(batch, 0, batch->hidden + (int64_t)prompt->row * batch->config->d,
                       batch->model->positions.position, prompt->job->tokens, first->normed, first->q, first->k, first->v));
        first->seconds = sf_batch_time(batch) - s.began;
        first->meter = s.meter;
        batch->backend->meter = s.before;
        first->job = prompt->job;
    }
    sf_batch_share(&first->meter, 1, 1, false, &prompt->meter);
    prompt->seconds += first->seconds;
    return SF_OK;
}

/* At the rows that recall is sampled at, each a query over the keys up to its own. */
static sf_status prompt_error(sf_batch *batch, sf_prompt *prompt, const sf_attention *a, const void *out)
{
    const int n = prompt->recall_rows;
    const int64_t width = (int64_t)a->heads * a->head_dim;
    sf_attention all[n];
    const void *given[n];
    double *sum[n];
    for (int i = 0; i < n; i++) {
        const int32_t row = prompt->recall_row[i];
        sf_kv_part part = a->kv.prompt;
        part.n = row + 1;
        all[i] = sf_batch_attention(batch, a->layer, 1, sf_activation_at(batch->backend, a->q, row * width), part, (sf_kv_part){0});
        given[i] = sf_activation_at(batch->backend, out, row * width);
        sum[i] = prompt->error + (int64_t)a->layer * a->heads;
    }
    return sf_batch_output_error(batch, a->layer, n, all, given, 1.0 / n, sum);
}

/* The layer's attention. Where it goes in chunks, each is a sequence of its own. */
static sf_status execute(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    sf_backend *b = batch->backend;
    const int chunk = batch->config->window;
    const int64_t width = (int64_t)a->heads * a->head_dim;
    if (!batch->config->chunked || !sf_layer_slides(batch->config, a->layer)) return b->ops->prefill(b, a, pattern, out);
    for (int first = 0; first < a->queries; first += chunk) {
        sf_attention own = *a;
        own.queries = own.keys = own.kv.prompt.n = a->queries - first < chunk ? a->queries - first : chunk;
        own.window = 0;
        own.q = sf_activation_at(b, a->q, first * width);
        own.kv.prompt.k = sf_activation_at(b, a->kv.prompt.k, (int64_t)first * a->head_dim);
        own.kv.prompt.v = sf_activation_at(b, a->kv.prompt.v, (int64_t)first * a->head_dim);
        if (a->lse) own.lse = a->lse + (int64_t)first * a->heads;
        SF_TRY(b->ops->prefill(b, &own, pattern, sf_activation_at(b, out, first * width)));
    }
    return SF_OK;
}

/* view: of `a`, as the method sees it. */
static sf_status attend(sf_batch *batch, sf_prompt *prompt, sf_attention *a, sf_attention *view, void *out)
{
    sf_backend *b = batch->backend;
    sf_pattern pattern = {0};
    view->carry = prompt->method && prompt->method->carry ? &prompt->carry : NULL;
    sf_mark mark = sf_scratch_mark(b);
    bool chosen = prompt->method && sf_layer_full(batch->config, a->layer);
    sf_status status = SF_OK;
    if (chosen) status = sf_hook_choose(SF_HOOK_PREFILL, view, prompt->method, prompt->params, NULL, &pattern);
    if (status == SF_OK) status = sf_batch_reach(batch, view, &pattern, chosen ? prompt->method->name : NULL);
    SF_TRY(sf_batch_agree(batch, status));
    status = sf_batch_agree(batch, execute(batch, a, &pattern, out));
    if (status == SF_OK) status = sf_batch_sink(batch, &prompt->meter, a->layer, a->queries, 1, (const sf_pattern *[]){&pattern}, a->lse, out);
    if (status != SF_OK) return chosen ? sf_hook_blame(status, SF_HOOK_PREFILL, prompt->method, a->layer) : status;
    if (prompt->recall) {
        SF_TRY(b->ops->watch(b, true));
        SF_TRY(sf_batch_look(batch, a, &pattern, prompt->recall_rows, prompt->recall_row, 1,
                             prompt->recall + (int64_t)a->layer * a->heads));
        SF_TRY(b->ops->watch(b, false));
    }
    if (prompt->error && chosen) SF_TRY(prompt_error(batch, prompt, a, out));
    if (prompt->picture && a->layer == batch->how->picture_layer)
        SF_TRY(sf_batch_picture_prefill(batch, a, prompt->method ? &pattern : NULL, prompt->picture));
    sf_scratch_release(b, mark);
    return SF_OK;
}

/* Copies of k, or of v, from rows `first` on: so many bytes of each head, its rows being `row` bytes. */
static sf_status copy_heads(const sf_batch *batch, int64_t kv_heads, size_t row, const char *from, int64_t from_capacity, int first, int64_t rows,
                            char *to, int64_t to_capacity)
{
    sf_backend *b = batch->backend;
    for (int64_t g = 0; row && g < kv_heads; g++)
        SF_TRY(b->ops->copy(b, to + (size_t)(g * to_capacity) * row, from + (size_t)(g * from_capacity + first) * row, (size_t)rows * row));
    return SF_OK;
}

/* Copies keys [first, from->n) of every head, packed ones as they are. */
static sf_status copy_keys(const sf_batch *batch, int layer, const sf_kv_part *from, int first, sf_kv_part *to)
{
    const int dim = sf_head_dim_of(batch->config, layer), kv_heads = sf_kv_heads_of(batch->config, layer);
    const sf_cache_format *f = from->format;
    const size_t row = from->packed ? sf_cache_row_bytes(f, dim) : sf_bytes(batch->backend->activation, dim);
    for (int values = 0; values <= (to->v != to->k); values++) {
        const char *source = values ? from->v : from->k;
        char *target = values ? to->v : to->k;
        SF_TRY(copy_heads(batch, kv_heads, row, source, from->capacity, first, from->n - first, target, to->capacity));
        if (from->packed)
            SF_TRY(copy_heads(batch, kv_heads, (size_t)(sf_cache_groups(f, dim) * f->scale_bytes), source + sf_cache_scales_at(f, kv_heads, from->capacity, dim),
                              from->capacity, first, from->n - first, target + sf_cache_scales_at(f, kv_heads, to->capacity, dim), to->capacity));
    }
    to->n = from->n - first;
    return SF_OK;
}

/* Packs the rows that the prompt keeps at a layer, or that its evicting lanes take theirs from, as store_kv() has left them in `all`. */
static sf_status pack_keys(sf_batch *batch, sf_prompt *prompt, int layer, const sf_kv_part *all)
{
    sf_backend *b = batch->backend;
    const int dim = sf_head_dim_of(batch->config, layer), tokens = prompt->job->tokens;
    sf_kv_part *to = &prompt->part[layer];
    if (!to->capacity) {
        to = &batch->packing;
        if (!to->k || !sf_layer_full(batch->config, layer)) return SF_OK;
        to->format = prompt->cache;
    }
    const int rows = tokens < to->capacity ? tokens : (int)to->capacity;
    sf_kv_part last = *all;
    last.k = sf_activation_at(b, all->k, (int64_t)(tokens - rows) * dim);
    last.v = sf_activation_at(b, all->v, (int64_t)(tokens - rows) * dim);
    to->n = rows;
    return b->ops->pack_kv(b, &last, to, rows, sf_kv_heads_of(batch->config, layer), dim);
}

/* ---- what a lane takes from a layer ------------------------------------------------------------------------------ */

/* The lists by which recall looks at an evicting lane in decode: the keys kept, then all that a tail can hold. */
static sf_status remember_kept(const sf_batch *batch, const sf_job *job, const sf_lists *chosen, sf_cache *cache)
{
    sf_backend *b = batch->backend;
    int tail = sf_job_steps(job, batch->how);
    for (int64_t g = 0; g < cache->kept.rows; g++) {
        int32_t *index = cache->kept.index + g * cache->kept.stride;
        int32_t n = cache->kept_count[g];
        SF_TRY(b->ops->copy(b, index, chosen->index + g * chosen->stride, (size_t)n * sizeof *index));
        if (tail > 0)
            SF_TRY(b->ops->copy(b, index + n, batch->model->positions.position + job->tokens, (size_t)tail * sizeof *index));
    }
    return SF_OK;
}

/* The lane's own cache of the keys that its method keeps. */
static sf_status keep(sf_batch *batch, sf_sequence *s, const sf_attention *a, const sf_pattern *pattern)
{
    sf_backend *b = batch->backend;
    sf_cache *cache = &s->at[a->layer];
    const sf_kv_part *from = &a->kv.prompt;
    if (sf_packs(s->lane->cache)) from = s->prompt->part[a->layer].k ? &s->prompt->part[a->layer] : &batch->packing;
    if (s->lane->picture[SF_DECODE] && a->layer == batch->how->picture_layer)
        SF_TRY(sf_batch_picture_kept(batch, a, pattern, s));
    if (pattern->kind == SF_DENSE) {
        if (s->prompt->kept) return SF_OK;
        SF_TRY(sf_batch_own_copy(batch, s, a->keys, cache));
        cache->prompt.count = NULL;
        return copy_keys(batch, a->layer, from, 0, &cache->prompt);
    }

    int32_t count[a->kv_heads], longest = 0;
    SF_TRY(b->ops->download(b, count, pattern->first.count, sizeof count));
    for (int g = 0; g < a->kv_heads; g++) longest = count[g] > longest ? count[g] : longest;
    SF_TRY(sf_batch_own_copy(batch, s, longest, cache));
    SF_TRY(b->ops->gather_kv(b, from, &pattern->first, a->head_dim, &cache->prompt));
    if (!s->recall) return SF_OK;
    for (int g = 0; g < a->kv_heads; g++) cache->kept_count[g] = count[g];
    return remember_kept(batch, s->job, &pattern->first, cache);
}

/* An evicted cache no longer lines up with the prompt's queries, so that observers then see keys alone. */
static sf_status observe(sf_batch *batch, sf_sequence *s, const sf_attention *a)
{
    sf_cache *cache = &s->at[a->layer];
    bool whole = cache->prompt.n == a->keys;
    sf_attention own = sf_batch_attention(batch, a->layer, whole ? a->queries : 0, whole ? a->q : NULL, cache->prompt,
                                          (sf_kv_part){0});
    own = sf_batch_view(batch, &own, 0);
    own.carry = a->carry;
    if (whole) own.hidden = a->hidden, own.width = a->width;
    return sf_hook_observe(&own, s->lane->decode, s->lane->decode_params, &cache->state, 0);
}

static sf_status take_layer(sf_batch *batch, sf_sequence *s, sf_attention *a)
{
    const sf_method *m = s->lane->decode;
    const void *params = s->lane->decode_params;
    sf_backend *b = batch->backend;
    sf_cache *cache = &s->at[a->layer];
    sf_mark mark = sf_scratch_mark(b);
    sf_attention all = *a; /* what was the prefill's is not the lane's */
    all.pairs = all.weighed = NULL, all.carry = m->carry ? &s->carry : NULL;
    const int source = sf_layer_source(batch->config, a->layer);
    const bool own = source == a->layer;
    cache->prompt = own ? s->prompt->part[a->layer] : s->at[source].prompt;
    SF_TRY(sf_hook_state(&all, m, params, a->keys + sf_job_steps(s->job, batch->how), batch->store, &cache->state));
    if (s->evicts && own) {
        sf_pattern pattern;
        SF_TRY(sf_hook_choose(SF_HOOK_COMPRESS, &all, m, params, &cache->state, &pattern));
        if (!m->settle) SF_TRY(keep(batch, s, &all, &pattern));
    }
    sf_scratch_release(b, mark);
    if (!m->settle || !own) SF_TRY(observe(batch, s, &all));
    sf_scratch_release(b, mark);
    return SF_OK;
}

/* What a lane's method settles once it has seen all layers, and its first observation of what it keeps. */
static sf_status settle(sf_batch *batch, sf_sequence *s)
{
    const sf_method *m = s->lane->decode;
    sf_backend *b = batch->backend;
    int layers = batch->config->layers, n = 0;
    sf_mark mark = sf_scratch_mark(b);
    sf_attention *a = calloc((size_t)layers, sizeof *a);
    sf_state *state = calloc((size_t)layers, sizeof *state);
    sf_pattern *out = calloc((size_t)layers, sizeof *out);
    sf_status status = a && state && out ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the choices of %d layers", layers);
    for (int layer = 0; layer < layers && status == SF_OK; layer++) {
        if (!sf_layer_full(batch->config, layer) || sf_layer_borrows(batch->config, layer)) continue;
        a[n] = sf_batch_attention(batch, layer, 0, NULL, s->prompt->part[layer], (sf_kv_part){0});
        a[n].carry = m->carry ? &s->carry : NULL;
        state[n++] = s->at[layer].state;
    }
    if (status == SF_OK) status = sf_hook_settle(n, a, m, s->lane->decode_params, state, out);
    for (int i = 0; i < n && status == SF_OK; i++) status = keep(batch, s, &a[i], &out[i]);
    for (int i = 0; i < n && status == SF_OK; i++) status = observe(batch, s, &a[i]);
    sf_scratch_release(b, mark);
    free(a), free(state), free(out);
    return status;
}

/* With keys of its own. */
static int last_full_layer(const sf_model_config *c)
{
    int last = c->layers - 1;
    while (last > 0 && (!sf_layer_full(c, last) || sf_layer_borrows(c, last))) last--;
    return last;
}

/* Serves the prompt's lanes one after the other; what a lane's hooks cost is its own, in counts and in time. */
static sf_status serve_lanes(sf_batch *batch, sf_prompt *prompt, sf_attention *a)
{
    sf_backend *b = batch->backend;
    batch->probes.n = 0;
    if (batch->probes.probe[0].column) a->probes = &batch->probes;
    for (int i = 0; i < batch->lanes; i++) {
        sf_sequence *s = &batch->sequence[i];
        if (s->prompt != prompt) continue;
        if (!s->lane->decode || !sf_layer_full(batch->config, a->layer)) {
            s->at[a->layer].prompt = prompt->part[a->layer];
            continue;
        }
        double began = sf_batch_time(batch);
        bool last = a->layer == last_full_layer(batch->config);
        b->meter = sf_batch_meter_heads(batch, &s->lane->meter);
        SF_TRY(sf_batch_agree(batch, take_layer(batch, s, a)));
        if (last && s->lane->decode->settle) SF_TRY(sf_batch_agree(batch, settle(batch, s)));
        double own = sf_batch_time(batch) - began;
        s->lane->seconds[SF_PREFILL] += own + batch->probes.saved; /* as if it had been alone */
        batch->probes.saved = 0;
        prompt->seconds -= own;
    }
    b->meter = &prompt->meter;
    return SF_OK;
}

/* ---- the prefill ------------------------------------------------------------------------------------------------- */

/* Attention of one prompt at a layer, over its own keys, and what its lanes take. */
static sf_status attend_layer(sf_batch *batch, sf_prompt *prompt, int layer)
{
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    const bool first = layer == 0 && batch->first.q;
    int tokens = prompt->job->tokens;
    if (first) SF_TRY(project_first(batch, prompt));
    const void *q = first ? batch->first.q : head_rows(batch, layer, batch->q, prompt->row);
    const void *k = first ? batch->first.k : kv_rows(batch, layer, batch->k, prompt->row);
    const void *v = first ? batch->first.v : kv_rows(batch, layer, batch->v, prompt->row);
    const bool own = !sf_layer_borrows(c, layer);

    double began = sf_batch_time(batch);
    b->meter = sf_batch_meter_heads(batch, &prompt->meter);
    sf_kv_part *part = &prompt->part[layer];
    if (!own) *part = prompt->part[sf_layer_source(c, layer)];
    const bool packs = sf_packs(prompt->cache), staged = packs || part->capacity < tokens;
    sf_kv_part *all = staged ? &batch->staging : part;
    all->n = 0;
    all->format = prompt->cache; /* the room where keys are staged is every prompt's */
    if (own) SF_TRY(b->ops->store_kv(b, 1, &all, tokens, sf_kv_heads_of(c, layer), sf_head_dim_of(c, layer), k, v));
    if (packs) SF_TRY(pack_keys(batch, prompt, layer, all)); /* of what round_kv() starts from: of bf16, rounding twice is another number */
    if (own && prompt->cache) SF_TRY(b->ops->round_kv(b, 1, &all, tokens, sf_kv_heads_of(c, layer), sf_head_dim_of(c, layer)));
    all->n = tokens;

    sf_attention a = sf_batch_attention(batch, layer, tokens, q, *all, (sf_kv_part){0});
    a.begins = prompt->begins;
    if (batch->normed) {
        a.hidden = first ? batch->first.normed : sf_activation_at(b, batch->normed, (int64_t)prompt->row * c->d);
        a.width = c->d;
    }
    a.pairs = prompt->pairs + (int64_t)layer * a.heads;
    if (prompt->weighed) a.weighed = prompt->weighed + (int64_t)layer * a.heads;
    a.lse = batch->lse ? batch->lse + (int64_t)prompt->row * a.heads : NULL;
    if (batch->lanes) SF_TRY(sf_batch_share_queries(batch, q, tokens));
    sf_attention view = sf_batch_view(batch, &a, 0);
    SF_TRY(attend(batch, prompt, &a, &view, head_rows(batch, layer, batch->attention, prompt->row)));
    if (staged && !packs && part->capacity) SF_TRY(copy_keys(batch, layer, all, tokens - (int)part->capacity, part));
    SF_TRY(serve_lanes(batch, prompt, &view));
    prompt->seconds += sf_batch_time(batch) - began;
    return SF_OK;
}

/* All rows of one prompt through the mixer of a layer that recurs; the state that they leave is the prompt's. */
static sf_status mix_layer(sf_batch *batch, sf_prompt *prompt, int layer)
{
    sf_backend *b = batch->backend;
    void *in[SF_MIXER_INPUTS];
    float *state = prompt->recurrent[layer];
    const double began = sf_batch_time(batch);
    b->meter = &prompt->meter;
    mixer_rows(batch, prompt->row, in);
    SF_TRY(b->ops->zero(b, state, sf_bytes(SF_F32, sf_mixer_sizes(batch->config).state)));
    SF_TRY(sf_transformer_advance(batch->model, layer, 1, &state, prompt->job->tokens, in, batch->attention));
    prompt->seconds += sf_batch_time(batch) - began;
    return SF_OK;
}

static sf_status prefill_layer(sf_batch *batch, const sf_wave *wave, int layer)
{
    const sf_generation *how = batch->how;
    const int first = batch->stage.first, layers = batch->stage.end - first, before = (int)(wave->prompt - batch->prompt) * layers;
    const bool recurs = sf_layer_recurs(batch->config, layer), attends = sf_layer_attends(batch->config, layer),
               own = !sf_layer_borrows(batch->config, layer);
    shared s;
    if (layer > 0 || !batch->first.q) {
        begin_shared(batch, &s);
        if (recurs) SF_TRY(project_mixer(batch, layer, wave->rows));
        if (attends) SF_TRY(project(batch, layer, batch->hidden, batch->token + wave->rows, wave->rows, batch->normed, batch->q,
                                    own ? batch->k : NULL, own ? batch->v : NULL));
        end_shared(batch, wave, &s);
    }
    for (int i = 0; recurs && i < wave->prompts; i++) SF_TRY(mix_layer(batch, &wave->prompt[i], layer)); /* whose room is attention's output */
    for (int i = 0; i < wave->prompts; i++) {
        if (attends) SF_TRY(attend_layer(batch, &wave->prompt[i], layer));
        if (how->progress)
            how->progress(how->user, SF_PREFILL, before + (layer - first) * wave->prompts + i + 1, batch->prompts * layers);
    }
    begin_shared(batch, &s);
    SF_TRY(finish(batch, layer, wave->rows));
    end_shared(batch, wave, &s);
    return SF_OK;
}

/* Tokens and positions to the buffers, embeddings to the hidden state, where no stage before has made more of them. */
static sf_status embed(sf_batch *batch, const sf_wave *wave, sf_prompt *prompt)
{
    sf_backend *b = batch->backend;
    int tokens = prompt->job->tokens;
    size_t bytes = (size_t)tokens * sizeof *batch->token;
    int32_t *token = batch->token + prompt->row;
    double began = sf_batch_time(batch);
    b->meter = &prompt->meter;
    SF_TRY(b->ops->zero(b, prompt->pairs, (size_t)sf_batch_heads(batch) * sizeof *prompt->pairs));
    if (prompt->weighed) SF_TRY(b->ops->zero(b, prompt->weighed, (size_t)sf_batch_heads(batch) * sizeof *prompt->weighed));
    SF_TRY(b->ops->upload(b, token, prompt->job->token, bytes));
    SF_TRY(b->ops->copy(b, token + wave->rows, batch->model->positions.position, bytes));
    float *hidden = batch->hidden + (int64_t)prompt->row * batch->config->d;
    for (int row = 0; sf_batch_leads(batch) && row < tokens; row += batch->chunk) {
        const int some = tokens - row < batch->chunk ? tokens - row : batch->chunk;
        float *there = hidden + (int64_t)row * batch->config->d;
        SF_TRY(sf_transformer_embed(batch->model, token + row, some, there, &batch->workspace));
        SF_TRY(sf_transformer_embed_layers(batch->model, there, some, layered_rows(batch, prompt->row + row), &batch->workspace));
    }
    prompt->seconds += sf_batch_time(batch) - began;
    return SF_OK;
}

sf_status sf_batch_prefill(sf_batch *batch, const sf_wave *wave)
{
    batch->backend->phase = SF_PREFILL;
    for (int i = 0; i < wave->prompts; i++) SF_TRY(embed(batch, wave, &wave->prompt[i]));
    for (int layer = batch->stage.first; layer < batch->stage.end; layer++) SF_TRY(prefill_layer(batch, wave, layer));
    return sf_batch_looked(batch);
}

sf_status sf_batch_first_tokens(sf_batch *batch, const sf_wave *wave)
{
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    size_t bytes = sf_bytes(SF_F32, c->d);
    shared s;
    int32_t token[wave->prompts];
    begin_shared(batch, &s);
    for (int i = 0; i < wave->prompts; i++) {
        int64_t last = wave->prompt[i].row + wave->prompt[i].job->tokens - 1;
        SF_TRY(b->ops->copy(b, batch->last + i * c->d, batch->hidden + last * c->d, bytes));
    }
    SF_TRY(sf_transformer_logits(batch->model, batch->last, wave->prompts, batch->logits, &batch->workspace));
    b->meter = sf_batch_meter_once(batch, &s.meter);
    SF_TRY(b->ops->argmax(b, batch->logits, wave->prompts, c->vocab, batch->next));
    SF_TRY(b->ops->download(b, token, batch->next, sizeof token));
    b->meter = s.before;
    double seconds = (sf_batch_time(batch) - s.began) / wave->prompts;
    for (int i = 0; i < wave->prompts; i++) {
        sf_batch_share(&s.meter, 1, wave->prompts, false, &wave->prompt[i].meter);
        wave->prompt[i].seconds += seconds;
        wave->prompt[i].token = token[i];
    }
    return SF_OK;
}
