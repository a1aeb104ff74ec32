#include "harness/engine/transformer.h"

#include <stdlib.h>
#include <string.h>

#include "harness/engine/rope.h"

/* A layer's weights are nothing but tensors, so they can be walked as an array. */
enum { LAYER_TENSORS = sizeof(sf_layer_weights) / sizeof(sf_tensor) };
_Static_assert(sizeof(sf_layer_weights) == LAYER_TENSORS * sizeof(sf_tensor), "sf_layer_weights holds tensors only");

/* ---- opening: weights and rotation tables into the backend ------------------------------------------------------- */

static sf_status import(sf_backend *b, const sf_tensor *host, sf_tensor *out)
{
    return host->data ? b->ops->import_weight(b, host, out) : SF_OK;
}

static sf_status import_weights(sf_transformer *t, const sf_model *model)
{
    const sf_weights *host = &model->weights;
    int layers = model->config.layers;
    if (!host->embedding.data || !host->layer)
        return sf_fail(SF_BAD_INPUT, "model '%s' is a shape without weights: give a checkpoint, or `weights: random`",
                       model->config.name);
    t->weights.layer = calloc((size_t)layers, sizeof *t->weights.layer);
    if (!t->weights.layer) return sf_fail(SF_NO_MEMORY, "no memory for the table of %d layers", layers);

    SF_TRY(sf_blame(import(t->backend, &host->embedding, &t->weights.embedding), "embedding"));
    SF_TRY(sf_blame(import(t->backend, &host->final_norm, &t->weights.final_norm), "final norm"));
    if (model->config.tied || host->head.data == host->embedding.data)
        t->weights.head = t->weights.embedding;
    else
        SF_TRY(sf_blame(import(t->backend, &host->head, &t->weights.head), "head"));
    for (int layer = 0; layer < layers; layer++) {
        const sf_tensor *from = (const sf_tensor *)&host->layer[layer];
        sf_tensor *to = (sf_tensor *)&t->weights.layer[layer];
        for (int i = 0; i < LAYER_TENSORS; i++)
            SF_TRY(sf_blame(import(t->backend, &from[i], &to[i]), "layer %d", layer));
    }
    return SF_OK;
}

static sf_status upload_new(sf_backend *b, const void *host, size_t bytes, void *out)
{
    void **to = out;
    SF_TRY(b->ops->alloc(b, bytes, to));
    return b->ops->upload(b, *to, host, bytes);
}

static sf_status open_rotation(sf_backend *b, const sf_model_config *c, const sf_rope_config *rope, int max_tokens,
                               sf_rotation *out)
{
    int pairs = c->head_dim / 2;
    size_t bytes = (size_t)max_tokens * (size_t)pairs * sizeof(float);
    float *host = malloc(2 * bytes + (size_t)pairs * sizeof(float)), scale;
    if (!host) return sf_fail(SF_NO_MEMORY, "no memory for rotation tables of %d positions", max_tokens);
    float *cosine = host, *sine = host + bytes / sizeof(float), *frequency = sine + bytes / sizeof(float);
    sf_rope_frequencies(rope, c->head_dim, max_tokens, frequency, &scale);
    sf_rope_table(frequency, scale, c->head_dim, max_tokens, cosine, sine);
    sf_status status = upload_new(b, cosine, bytes, &out->cosine);
    if (status == SF_OK) status = upload_new(b, sine, bytes, &out->sine);
    if (status == SF_OK) status = upload_new(b, frequency, (size_t)pairs * sizeof(float), &out->frequency);
    free(host);
    return status;
}

static sf_status open_position(sf_backend *b, int max_tokens, int32_t **out)
{
    size_t bytes = (size_t)max_tokens * sizeof **out;
    int32_t *host = malloc(bytes);
    if (!host) return sf_fail(SF_NO_MEMORY, "no memory for %d positions", max_tokens);
    for (int32_t i = 0; i < max_tokens; i++) host[i] = i;
    sf_status status = upload_new(b, host, bytes, out);
    free(host);
    return status;
}

static bool has_sliding_layers(const sf_model_config *c)
{
    for (int layer = 0; layer < c->layers; layer++)
        if (sf_layer_slides(c, layer)) return true;
    return false;
}

static sf_status open_positions(sf_backend *b, const sf_model_config *c, sf_positions *p)
{
    SF_TRY(open_position(b, p->max_tokens, &p->position));
    SF_TRY(open_rotation(b, c, &c->rope, p->max_tokens, &p->global));
    if (has_sliding_layers(c)) return open_rotation(b, c, &c->rope_local, p->max_tokens, &p->local);
    p->local = p->global;
    return SF_OK;
}

static void close_positions(sf_backend *b, sf_positions *p)
{
    void *tables[] = {p->position,     p->global.cosine, p->global.sine,    p->global.frequency,
                      p->local.cosine, p->local.sine,    p->local.frequency};
    int n = p->local.cosine == p->global.cosine ? 4 : 7;
    for (int i = 0; i < n; i++)
        if (tables[i]) b->ops->free(b, tables[i]);
}

sf_status sf_transformer_set_length(sf_transformer *t, int max_tokens)
{
    if (max_tokens == t->positions.max_tokens) return SF_OK;
    sf_positions fresh = {.max_tokens = max_tokens};
    sf_status status = open_positions(t->backend, t->config, &fresh);
    close_positions(t->backend, status == SF_OK ? &t->positions : &fresh);
    if (status == SF_OK) t->positions = fresh;
    return status;
}

sf_status sf_transformer_open(sf_backend *backend, const sf_model *model, int max_tokens, sf_transformer *out)
{
    *out = (sf_transformer){.backend = backend, .config = &model->config};
    sf_status status = import_weights(out, model);
    if (status == SF_OK) status = sf_transformer_set_length(out, max_tokens);
    if (status != SF_OK) sf_transformer_close(out);
    return sf_blame(status, "model '%s' on %s", model->config.name, backend->ops->name);
}

static void release(sf_backend *b, sf_tensor *weight)
{
    if (weight->data) b->ops->release_weight(b, weight);
}

void sf_transformer_close(sf_transformer *t)
{
    sf_backend *b = t->backend;
    if (!b) return;
    if (t->weights.head.data != t->weights.embedding.data) release(b, &t->weights.head);
    release(b, &t->weights.embedding);
    release(b, &t->weights.final_norm);
    for (int layer = 0; t->weights.layer && layer < t->config->layers; layer++)
        for (int i = 0; i < LAYER_TENSORS; i++) release(b, (sf_tensor *)&t->weights.layer[layer] + i);
    free(t->weights.layer);
    close_positions(b, &t->positions);
    memset(t, 0, sizeof *t);
}

sf_status sf_workspace_open(const sf_model_config *c, sf_dtype activation, int64_t rows, sf_arena *arena,
                            sf_workspace *out)
{
    *out = (sf_workspace){0};
    size_t mlp = sf_bytes(activation, rows * c->mlp);
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->d), &out->normed));
    SF_TRY(sf_arena_alloc(arena, mlp, &out->gate));
    SF_TRY(sf_arena_alloc(arena, mlp, &out->up));
    if (!c->post_norms) return SF_OK;
    return sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->d), (void **)&out->branch);
}

/* ---- one block --------------------------------------------------------------------------------------------------- */

static sf_status norm(const sf_transformer *t, const void *x, sf_dtype from, int64_t rows, const sf_tensor *weight,
                      void *out)
{
    const sf_model_config *c = t->config;
    return t->backend->ops->rms_norm(t->backend, x, from, rows, (int)weight->dim[0], weight, c->norm_offset,
                                     (float)c->norm_eps, out);
}

static sf_status linear(const sf_transformer *t, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias,
                        void *y)
{
    return t->backend->ops->linear(t->backend, x, rows, w, bias, false, y, t->backend->activation);
}

/* hidden += scale · (x · Wᵀ + bias), through the post norm where the family has one. */
static sf_status add_branch(const sf_transformer *t, const void *x, int64_t rows, const sf_tensor *w,
                            const sf_tensor *bias, const sf_tensor *post_norm, float *hidden, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    float scale = c->residual_scale != 0 ? c->residual_scale : 1;
    if (!c->post_norms && scale == 1) return b->ops->linear(b, x, rows, w, bias, true, hidden, SF_F32);
    if (c->post_norms) {
        SF_TRY(b->ops->linear(b, x, rows, w, bias, false, work->branch, SF_F32));
        SF_TRY(norm(t, work->branch, SF_F32, rows, post_norm, work->normed));
    } else {
        SF_TRY(linear(t, x, rows, w, bias, work->normed));
    }
    return b->ops->add(b, hidden, work->normed, rows * c->d, scale);
}

sf_status sf_transformer_embed(const sf_transformer *t, const int32_t *token, int64_t rows, float *hidden)
{
    return t->backend->ops->embed(t->backend, &t->weights.embedding, token, rows, t->config->embed_scale, hidden);
}

/* The norms over each head of q and k, where the family has them. */
static sf_status norm_heads(const sf_transformer *t, const sf_layer_weights *w, int64_t rows, void *q, void *k)
{
    const sf_model_config *c = t->config;
    if (!c->qk_norm) return SF_OK;
    SF_TRY(norm(t, q, t->backend->activation, rows * c->heads, &w->q_norm, q));
    return norm(t, k, t->backend->activation, rows * c->kv_heads, &w->k_norm, k);
}

sf_status sf_transformer_qkv(const sf_transformer *t, int layer, const float *hidden, int64_t rows,
                             const int32_t *position, void *q, void *k, void *v, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    const sf_rotation *r = sf_layer_slides(c, layer) ? &t->positions.local : &t->positions.global;

    SF_TRY(norm(t, hidden, SF_F32, rows, &w->attention_norm, work->normed));
    SF_TRY(linear(t, work->normed, rows, &w->q, &w->q_bias, q));
    SF_TRY(linear(t, work->normed, rows, &w->k, &w->k_bias, k));
    SF_TRY(linear(t, work->normed, rows, &w->v, &w->v_bias, v));
    if (!c->norm_after_rope) SF_TRY(norm_heads(t, w, rows, q, k));
    if (!c->unrotated[layer]) {
        SF_TRY(b->ops->rope(b, q, rows, c->heads, c->head_dim, position, r->cosine, r->sine, c->rope_interleaved));
        SF_TRY(b->ops->rope(b, k, rows, c->kv_heads, c->head_dim, position, r->cosine, r->sine, c->rope_interleaved));
    }
    return c->norm_after_rope ? norm_heads(t, w, rows, q, k) : SF_OK;
}

sf_status sf_transformer_finish(const sf_transformer *t, int layer, const void *attention, int64_t rows, float *hidden,
                                sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];

    SF_TRY(add_branch(t, attention, rows, &w->o, &w->o_bias, &w->post_attention_norm, hidden, work));
    SF_TRY(norm(t, hidden, SF_F32, rows, &w->mlp_norm, work->normed));
    SF_TRY(linear(t, work->normed, rows, &w->gate, &w->gate_bias, work->gate));
    SF_TRY(linear(t, work->normed, rows, &w->up, &w->up_bias, work->up));
    SF_TRY(b->ops->gated(b, work->gate, work->up, rows, c->mlp, c->activation));
    return add_branch(t, work->gate, rows, &w->down, &w->down_bias, &w->post_mlp_norm, hidden, work);
}

sf_status sf_transformer_logits(const sf_transformer *t, const float *hidden, int64_t rows, float *logits,
                                sf_workspace *work)
{
    const sf_tensor no_bias = {0};
    SF_TRY(norm(t, hidden, SF_F32, rows, &t->weights.final_norm, work->normed));
    return t->backend->ops->linear(t->backend, work->normed, rows, &t->weights.head, &no_bias, false, logits, SF_F32);
}
