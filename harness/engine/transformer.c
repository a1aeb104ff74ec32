#include "harness/engine/transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/mixer.h"
#include "harness/engine/rope.h"
#include "harness/model/weights.h"
#include "kernels/comm.h"
#include "kernels/counting.h"

/* A layer's weights are nothing but tensors, so they can be walked as an array. */
enum { LAYER_TENSORS = sizeof(sf_layer_weights) / sizeof(sf_tensor) };
_Static_assert(sizeof(sf_layer_weights) == LAYER_TENSORS * sizeof(sf_tensor), "sf_layer_weights holds tensors only");

/* ---- opening: weights and rotation tables into the backend ------------------------------------------------------- */

static sf_status import(sf_backend *b, const sf_tensor *host, sf_tensor *out)
{
    return host->data ? b->ops->import_weight(b, host, out) : SF_OK;
}

static size_t expert_tensors(const sf_model_config *c, const sf_weights *w)
{
    return w->expert ? (size_t)c->layers * SF_EXPERT_PARTS * (size_t)c->router.experts : 0;
}

/* What the heads of latent attention have. */
static size_t head_tensors(const sf_model_config *c, const sf_weights *w)
{
    return w->head_part ? (size_t)c->layers * SF_HEAD_PARTS * (size_t)c->heads : 0;
}

static sf_status import_layer(sf_transformer *t, const sf_model *model, int layer)
{
    const sf_router *r = &model->config.router;
    const sf_weights *host = &model->weights;
    const sf_tensor *from = (const sf_tensor *)&host->layer[layer];
    sf_tensor *to = (sf_tensor *)&t->weights.layer[layer];
    for (int i = 0; i < LAYER_TENSORS; i++) SF_TRY(import(t->backend, &from[i], &to[i]));
    const int64_t experts = host->expert ? (int64_t)SF_EXPERT_PARTS * r->experts : 0, first = layer * experts;
    for (int64_t i = first; i < first + experts; i++) SF_TRY(sf_blame(import(t->backend, &host->expert[i], &t->weights.expert[i]), "expert"));
    const int64_t heads = host->head_part ? (int64_t)SF_HEAD_PARTS * model->config.heads : 0, head = layer * heads;
    for (int64_t i = head; i < head + heads; i++) SF_TRY(sf_blame(import(t->backend, &host->head_part[i], &t->weights.head_part[i]), "head"));
    return SF_OK;
}

static bool leads(const sf_transformer *t) { return t->stage.first == 0; }
static bool ends(const sf_transformer *t) { return t->stage.end == t->config->layers; }

/* What comes after the layers. Where head and embedding are one, so they are on a stage that has both. */
static sf_status import_end(sf_transformer *t, const sf_model *model)
{
    const sf_weights *host = &model->weights;
    const bool tied = model->config.tied || host->head.data == host->embedding.data;
    SF_TRY(sf_blame(import(t->backend, &host->final_norm, &t->weights.final_norm), "final norm"));
    SF_TRY(sf_blame(import(t->backend, &host->final_norm_bias, &t->weights.final_norm_bias), "final norm"));
    if (!tied) return sf_blame(import(t->backend, &host->head, &t->weights.head), "head");
    if (!leads(t)) SF_TRY(sf_blame(import(t->backend, &host->embedding, &t->weights.embedding), "embedding"));
    t->weights.head = t->weights.embedding;
    return SF_OK;
}

static sf_status import_layer_inputs(sf_transformer *t, const sf_weights *host)
{
    SF_TRY(import(t->backend, &host->layer_table, &t->weights.layer_table));
    SF_TRY(import(t->backend, &host->layer_in, &t->weights.layer_in));
    return import(t->backend, &host->layer_in_norm, &t->weights.layer_in_norm);
}

/* part: what `model` is of, NULL: it is whole. */
static sf_status import_weights(sf_transformer *t, const sf_model *model, sf_part *part)
{
    const sf_weights *host = &model->weights;
    int layers = model->config.layers;
    if (!host->embedding.data || !host->layer)
        return sf_fail(SF_BAD_INPUT, "model '%s' is a shape without weights: give a checkpoint, or `weights: random`",
                       model->config.name);
    t->weights.layer = calloc((size_t)layers, sizeof *t->weights.layer);
    if (!t->weights.layer) return sf_fail(SF_NO_MEMORY, "no memory for the table of %d layers", layers);

    if (leads(t)) SF_TRY(sf_blame(import(t->backend, &host->embedding, &t->weights.embedding), "embedding"));
    if (leads(t)) SF_TRY(sf_blame(import_layer_inputs(t, host), "embeddings for each layer"));
    if (ends(t)) SF_TRY(import_end(t, model));
    const size_t experts = expert_tensors(&model->config, host);
    t->weights.expert = experts ? calloc(experts, sizeof *t->weights.expert) : NULL;
    if (experts && !t->weights.expert) return sf_fail(SF_NO_MEMORY, "no memory for the table of %zu experts", experts);
    const size_t heads = head_tensors(&model->config, host);
    t->weights.head_part = heads ? calloc(heads, sizeof *t->weights.head_part) : NULL;
    if (heads && !t->weights.head_part) return sf_fail(SF_NO_MEMORY, "no memory for the table of %zu parts of heads", heads);
    for (int layer = t->stage.first; layer < t->stage.end; layer++) {
        if (part) SF_TRY(sf_part_columns(part, layer));
        SF_TRY(sf_blame(import_layer(t, model, layer), "layer %d", layer));
        if (part && t->backend->ops->devices) sf_part_drop(part, layer); /* the device has its own copies */
    }
    return SF_OK;
}

/* The whole model of which a rank has a part, seen by its shapes alone. */
struct sf_whole {
    sf_backend counts;
    sf_transformer model;
};

/* `n` tensors of the whole model: weights count in the dtype that the backend has them in. */
static sf_tensor *shapes_of(const void *whole, const void *own, size_t n)
{
    sf_tensor *t = malloc(n * sizeof *t);
    if (!t) return NULL;
    memcpy(t, whole, n * sizeof *t);
    for (size_t i = 0; i < n; i++)
        if (((const sf_tensor *)own)[i].data) t[i].dtype = ((const sf_tensor *)own)[i].dtype;
    return t;
}

static sf_status open_whole(sf_transformer *t, const sf_model *whole)
{
    const size_t layers = (size_t)whole->config.layers, experts = expert_tensors(&whole->config, &whole->weights),
                 heads = head_tensors(&whole->config, &whole->weights);
    struct sf_whole *w = t->whole = calloc(1, sizeof *w);
    if (!w) return sf_fail(SF_NO_MEMORY, "no memory for the shape of the whole model");
    w->counts = (sf_backend){.ops = &sf_counting_ops, .activation = t->backend->activation};
    w->model = (sf_transformer){.backend = &w->counts, .config = &whole->config, .weights = t->weights, .curve = t->curve, .unit = t->unit};
    w->model.weights.layer = (sf_layer_weights *)shapes_of(whole->weights.layer, t->weights.layer, layers * LAYER_TENSORS);
    w->model.weights.expert = experts ? shapes_of(whole->weights.expert, t->weights.expert, experts) : NULL;
    w->model.weights.head_part = heads ? shapes_of(whole->weights.head_part, t->weights.head_part, heads) : NULL;
    const bool made = w->model.weights.layer && (!experts || w->model.weights.expert) && (!heads || w->model.weights.head_part);
    return made ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the table of %zu layers", layers);
}

const sf_weights *sf_transformer_shapes(const sf_transformer *t) { return t->whole ? &t->whole->model.weights : &t->weights; }

/* Walks the part, whose ops then count for nobody, and once more the whole, which counts on one rank. */
#define IN_PARTS(t, walk, ...)                                                                                         \
    do {                                                                                                               \
        sf_backend *b_ = (t)->backend;                                                                                 \
        if (!(t)->whole) return walk(t, __VA_ARGS__);                                                                  \
        sf_meter *meter_ = b_->meter;                                                                                  \
        b_->meter = &b_->aside;                                                                                        \
        sf_status status_ = walk(t, __VA_ARGS__);                                                                      \
        b_->meter = meter_;                                                                                            \
        if (status_ != SF_OK || b_->comm->rank > 0) return status_;                                                    \
        (t)->whole->counts.meter = meter_;                                                                             \
        (t)->whole->counts.phase = b_->phase;                                                                          \
        return walk(&(t)->whole->model, __VA_ARGS__);                                                                  \
    } while (0)

/* What each layer's output is multiplied by. */
static sf_status read_scales(sf_transformer *t, const sf_model *model)
{
    const sf_model_config *c = &model->config;
    if (!c->layer_scale) return SF_OK;
    t->scale = malloc((size_t)c->layers * sizeof *t->scale);
    if (!t->scale) return sf_fail(SF_NO_MEMORY, "no memory for the scales of %d layers", c->layers);
    for (int l = 0; l < c->layers; l++) sf_to_f32(model->weights.layer[l].layer_scale.dtype, model->weights.layer[l].layer_scale.data, &t->scale[l], 1);
    return SF_OK;
}

/* The numbers of each layer's activation, as the host has them. xIELU's slopes are stored as what softplus makes them of. */
static sf_status read_curves(sf_transformer *t, const sf_model *model)
{
    const sf_model_config *c = &model->config;
    t->curve = calloc((size_t)c->layers, sizeof *t->curve);
    if (!t->curve) return sf_fail(SF_NO_MEMORY, "no memory for the activations of %d layers", c->layers);
    for (int layer = 0; layer < c->layers; layer++) {
        sf_curve *curve = &t->curve[layer];
        const sf_tensor *from = model->weights.layer[layer].curve;
        curve->kind = c->activation;
        if (curve->kind == SF_CLAMPED) curve->p[0] = c->swiglu[0], curve->p[1] = c->swiglu[1];
        if (curve->kind != SF_XIELU) continue;
        for (int i = 0; i < 4; i++) sf_to_f32(from[i].dtype, from[i].data, &curve->p[i], 1);
        curve->p[0] = log1pf(expf(curve->p[0]));
        curve->p[1] = curve->p[2] + log1pf(expf(curve->p[1]));
    }
    return SF_OK;
}

static sf_status upload_new(sf_backend *b, const void *host, size_t bytes, void *out)
{
    void **to = out;
    SF_TRY(b->ops->alloc(b, bytes, to));
    return b->ops->upload(b, *to, host, bytes);
}

static sf_status open_rotation(sf_backend *b, const sf_model_config *c, const sf_rope_config *rope, int head_dim, int max_tokens,
                               sf_rotation *out)
{
    int rotary = c->rotary_dim ? c->rotary_dim : head_dim, pairs = rotary / 2;
    size_t bytes = (size_t)max_tokens * (size_t)pairs * sizeof(float), width = (size_t)head_dim / 2 * sizeof(float);
    float *host = calloc(2 * bytes + width, 1), scale;
    if (!host) return sf_fail(SF_NO_MEMORY, "no memory for rotation tables of %d positions", max_tokens);
    float *cosine = host, *sine = host + bytes / sizeof(float), *frequency = sine + bytes / sizeof(float);
    sf_rope_frequencies(rope, rotary, max_tokens, frequency, &scale); /* pairs that are not rotated: frequency 0 */
    sf_rope_table(frequency, scale, rotary, max_tokens, cosine, sine);
    out->scale = scale;
    sf_status status = upload_new(b, cosine, bytes, &out->cosine);
    if (status == SF_OK) status = upload_new(b, sine, bytes, &out->sine);
    /* Halves of a part of the head are no pairs of the whole one. */
    if (status == SF_OK && (rotary == head_dim || c->rope_interleaved)) status = upload_new(b, frequency, width, &out->frequency);
    out->query_cosine = out->cosine;
    out->query_sine = out->sine;
    if (status == SF_OK && c->query_growth != 0) {
        for (int p = 0; p < max_tokens; p++) {
            float grown = 1 + c->query_growth * logf(1 + floorf((float)p / (float)c->rope.original_positions));
            for (int i = 0; i < pairs; i++) cosine[(int64_t)p * pairs + i] *= grown, sine[(int64_t)p * pairs + i] *= grown;
        }
        out->query_cosine = out->query_sine = NULL;
        status = upload_new(b, cosine, bytes, &out->query_cosine);
        if (status == SF_OK) status = upload_new(b, sine, bytes, &out->query_sine);
    }
    free(host);
    return status;
}

/* A rotation by nothing, which scales: of queries in layers without positions. */
static sf_status open_growth(sf_backend *b, const sf_model_config *c, int max_tokens, sf_rotation *out)
{
    const int pairs = sf_rotary_dim(c) / 2;
    const size_t n = (size_t)max_tokens * (size_t)pairs, bytes = n * sizeof(float);
    if (c->still_growth == 0) return SF_OK;
    float *host = calloc(2 * n, sizeof *host);
    if (!host) return sf_fail(SF_NO_MEMORY, "no memory for queries' growth over %d positions", max_tokens);
    for (int p = 0; p < max_tokens; p++) {
        const float grown = 1 + c->still_growth * logf(1 + floorf(((float)p + 1) / (float)c->still_positions));
        for (int i = 0; i < pairs; i++) host[(int64_t)p * pairs + i] = grown;
    }
    sf_status status = upload_new(b, host, bytes, &out->query_cosine);
    if (status == SF_OK) status = upload_new(b, host + n, bytes, &out->query_sine);
    free(host);
    return status;
}

static sf_status open_still(sf_backend *b, const sf_model_config *c, float **out)
{
    size_t width = (size_t)c->head_dim / 2 * sizeof(float);
    if (!memchr(c->unrotated, 1, (size_t)c->layers)) return SF_OK;
    SF_TRY(b->ops->alloc(b, width, (void **)out));
    return b->ops->zero(b, *out, width);
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
    SF_TRY(open_still(b, c, &p->still));
    SF_TRY(open_growth(b, c, p->max_tokens, &p->grown));
    SF_TRY(open_rotation(b, c, &c->rope, c->head_dim, p->max_tokens, &p->global));
    if (has_sliding_layers(c)) return open_rotation(b, c, &c->rope_local, c->sliding_head_dim ? c->sliding_head_dim : c->head_dim, p->max_tokens, &p->local);
    p->local = p->global;
    return SF_OK;
}

static void close_rotation(sf_backend *b, sf_rotation *r)
{
    bool grown = r->query_cosine != r->cosine;
    float *tables[] = {r->cosine, r->sine, r->frequency, grown ? r->query_cosine : NULL, grown ? r->query_sine : NULL};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tables[i]) b->ops->free(b, tables[i]);
}

static void close_positions(sf_backend *b, sf_positions *p)
{
    if (p->local.cosine != p->global.cosine) close_rotation(b, &p->local);
    close_rotation(b, &p->global);
    close_rotation(b, &p->grown);
    if (p->position) b->ops->free(b, p->position);
    if (p->still) b->ops->free(b, p->still);
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

static sf_status open_unit(sf_transformer *t)
{
    const int64_t width = sf_widest_head(t->config);
    if (!t->config->qk_unit && !t->config->value_norm) return SF_OK;
    t->one = malloc((size_t)width * sizeof *t->one);
    if (!t->one) return sf_fail(SF_NO_MEMORY, "no memory for a norm of %lld numbers", (long long)width);
    for (int64_t i = 0; i < width; i++) t->one[i] = 1;
    const sf_tensor host = {.dtype = SF_F32, .rank = 1, .dim = {width}, .data = t->one};
    return import(t->backend, &host, &t->unit);
}

sf_status sf_transformer_open(sf_backend *backend, const sf_model *whole, sf_stage stage, sf_part *part, int max_tokens, sf_transformer *out)
{
    const sf_model *model = part ? &part->model : whole;
    *out = (sf_transformer){.backend = backend, .config = &model->config, .stage = stage};
    if (model->config.sinks && !backend->ops->lse)
        return sf_fail(SF_UNSUPPORTED, "model '%s' has learned attention sinks, which %s does not compute; run it on cpu", model->config.name,
                       backend->ops->name);
    if (model->config.attention_softcap != 0 && !backend->ops->caps)
        return sf_fail(SF_UNSUPPORTED, "model '%s' has a cap on its attention scores (%g), which %s does not compute; run it on cpu",
                       model->config.name, (double)model->config.attention_softcap, backend->ops->name);
    if (model->config.latent && !backend->ops->latent)
        return sf_fail(SF_UNSUPPORTED, "model '%s' has latent attention (MLA), which %s does not compute; run it on cpu", model->config.name,
                       backend->ops->name);
    if (model->config.entmax_alpha != 0 && !backend->ops->entmax)
        return sf_fail(SF_UNSUPPORTED, "model '%s' normalises its attention by %g-entmax, which %s does not compute; run it on cpu",
                       model->config.name, (double)model->config.entmax_alpha, backend->ops->name);
    if (model->config.kernel && !sf_mixer_of(&model->config)->computed(backend->ops))
        return sf_fail(SF_UNSUPPORTED, "model '%s' has recurrent layers (%s), which %s does not compute; run it on cpu", model->config.name,
                       sf_mixer_name(&model->config), backend->ops->name);
    if (model->config.chunked && backend->ops->devices)
        return sf_fail(SF_UNSUPPORTED, "model '%s' attends in chunks of %d tokens, which %s does not compute; run it on cpu", model->config.name,
                       model->config.window, backend->ops->name);
    if ((sf_heads_differ(&model->config) || model->config.shared_from || model->config.value_norm || model->config.layer_dim || model->config.layer_scale ||
         model->config.experts_beside) &&
        (backend->ops->devices || !backend->ops->scale))
        return sf_fail(SF_UNSUPPORTED, "model '%s' has heads of two sizes, layers that read other layers' keys, norms on values or embeddings for each"
                       " layer, which %s does not compute; run it on cpu", model->config.name, backend->ops->name);
    sf_status status = import_weights(out, model, part);
    if (status == SF_OK) status = open_unit(out);
    if (status == SF_OK) status = read_curves(out, model);
    if (status == SF_OK) status = read_scales(out, model);
    if (status == SF_OK && part) status = open_whole(out, whole);
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
    release(b, &t->weights.layer_table);
    release(b, &t->weights.layer_in);
    release(b, &t->weights.layer_in_norm);
    release(b, &t->weights.final_norm_bias);
    for (int layer = 0; t->weights.layer && layer < t->config->layers; layer++)
        for (int i = 0; i < LAYER_TENSORS; i++) release(b, (sf_tensor *)&t->weights.layer[layer] + i);
    for (size_t i = 0; i < expert_tensors(t->config, &t->weights); i++) release(b, &t->weights.expert[i]);
    for (size_t i = 0; i < head_tensors(t->config, &t->weights); i++) release(b, &t->weights.head_part[i]);
    sf_weights_free(&t->weights);
    if (t->whole) sf_weights_free(&t->whole->model.weights);
    free(t->whole);
    free(t->curve);
    free(t->scale);
    release(b, &t->unit);
    free(t->one);
    close_positions(b, &t->positions);
    memset(t, 0, sizeof *t);
}

static sf_status open_mixture(const sf_model_config *c, sf_dtype activation, int64_t rows, sf_arena *arena, struct sf_mixture *out)
{
    int64_t slots = rows * c->router.chosen;
    SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->router.experts), (void **)&out->logits));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, slots), (void **)&out->share));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_I32, slots), (void **)&out->expert));
    if (c->scaled_input || c->experts_beside) SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->d), (void **)&out->sum));
    if (c->scaled_input) {
        SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->d), &out->in));
    }
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, slots * c->expert_mlp), &out->gate));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, slots * c->expert_mlp), &out->up));
    return sf_arena_alloc(arena, sf_bytes(activation, slots * c->d), &out->out);
}

static sf_status open_latent(const sf_model_config *c, sf_dtype activation, int64_t rows, sf_arena *arena, struct sf_latent_work *out)
{
    const int64_t latent = c->latent > c->rotary_dim ? c->latent : c->rotary_dim, own = c->own_dim > c->value_dim ? c->own_dim : c->value_dim;
    if (c->query_latent) SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->query_latent), &out->down));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->heads * sf_query_numbers(c)), &out->q));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * latent), &out->latent));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * own), &out->own));
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->latent), &out->wide));
    return sf_arena_alloc(arena, sf_bytes(activation, rows * c->heads * c->value_dim), &out->out);
}

sf_status sf_workspace_open(const sf_model_config *c, sf_dtype activation, int64_t rows, int ranks, sf_arena *arena,
                            sf_workspace *out)
{
    *out = (sf_workspace){0};
    int widest = sf_widest_mlp(c);
    if (widest < c->shared_mlp) widest = c->shared_mlp;
    if (widest < c->layer_dim) widest = c->layer_dim;
    size_t mlp = sf_bytes(activation, rows * widest);
    SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->d), &out->normed));
    SF_TRY(sf_arena_alloc(arena, mlp, &out->gate));
    SF_TRY(sf_arena_alloc(arena, mlp, &out->up));
    if (c->attention_gate) SF_TRY(sf_arena_alloc(arena, sf_bytes(activation, rows * c->heads * c->head_dim), &out->gated));
    const bool scales = c->router.experts && c->residual_scale != 0;
    if (c->post_norms || ranks || scales) SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->d), (void **)&out->branch));
    if (ranks) SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, ranks * rows * c->d), (void **)&out->parts));
    if (c->latent) SF_TRY(open_latent(c, activation, rows, arena, &out->latent));
    if (c->layer_dim) SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->layers * c->layer_dim), (void **)&out->layered));
    if (c->query_scales) SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->heads), (void **)&out->beta));
    if (c->query_scales) SF_TRY(sf_arena_alloc(arena, sf_bytes(SF_F32, rows * c->heads), (void **)&out->gamma));
    return c->router.experts ? open_mixture(c, activation, rows, arena, &out->mixture) : SF_OK;
}

/* ---- one block --------------------------------------------------------------------------------------------------- */

static sf_status norm(const sf_transformer *t, const void *x, sf_dtype from, int64_t rows, const sf_tensor *weight,
                      const sf_tensor *bias, void *out)
{
    const sf_model_config *c = t->config;
    if (c->layer_norm)
        return t->backend->ops->layer_norm(t->backend, x, from, rows, (int)weight->dim[0], weight, bias, c->norm_offset,
                                           (float)c->norm_eps, out);
    return t->backend->ops->rms_norm(t->backend, x, from, rows, (int)weight->dim[0], weight, c->norm_offset,
                                     (float)c->norm_eps, out);
}

/* What attention or MLP read: the normed rows, or the rows as they are. */
static sf_status read_hidden(const sf_transformer *t, const float *hidden, int64_t rows, const sf_tensor *weight,
                             const sf_tensor *bias, void *out)
{
    if (t->config->no_pre_norms) return t->backend->ops->cast(t->backend, hidden, rows * t->config->d, out);
    return norm(t, hidden, SF_F32, rows, weight, bias, out);
}

static sf_status linear(const sf_transformer *t, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias,
                        void *y)
{
    return t->backend->ops->linear(t->backend, x, rows, w, bias, false, y, t->backend->activation);
}

/* The sum over ranks of work->branch [rows, d], in their order: at *sum, in the workspace. */
static sf_status sum_branches(const sf_transformer *t, int64_t rows, sf_workspace *work, float **sum)
{
    sf_backend *b = t->backend;
    const int64_t n = rows * t->config->d;
    *sum = work->parts;
    SF_TRY(b->comm->ops->gather(b->comm, b, work->branch, sf_bytes(SF_F32, n), work->parts));
    for (int r = 1; r < b->comm->size; r++) SF_TRY(b->ops->accumulate(b, *sum, n, 1, work->parts + r * n, 1, n));
    return SF_OK;
}

static float or_one(float scale) { return scale != 0 ? scale : 1; }

/* hidden += scale · (x · Wᵀ + bias), through the post norm where the family has one; `own` is the branch's part of the scale. */
static sf_status add_branch(const sf_transformer *t, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias,
                            const sf_tensor *post_norm, float own, float *hidden, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const float scale = or_one(c->residual_scale) * or_one(own);
    if (!c->post_norms && scale == 1 && !t->whole) return b->ops->linear(b, x, rows, w, bias, true, hidden, SF_F32);
    if (t->whole) {
        SF_TRY(b->ops->linear(b, x, rows, w, bias, false, work->branch, SF_F32));
        float *sum;
        SF_TRY(sum_branches(t, rows, work, &sum));
        if (!c->post_norms && scale == 1) return b->ops->accumulate(b, hidden, rows * c->d, 1, sum, 1, rows * c->d);
        if (!c->post_norms) SF_TRY(b->ops->cast(b, sum, rows * c->d, work->normed));
        else SF_TRY(norm(t, sum, SF_F32, rows, post_norm, NULL, work->normed));
    } else if (c->post_norms) {
        SF_TRY(b->ops->linear(b, x, rows, w, bias, false, work->branch, SF_F32));
        SF_TRY(norm(t, work->branch, SF_F32, rows, post_norm, NULL, work->normed));
    } else {
        SF_TRY(linear(t, x, rows, w, bias, work->normed));
    }
    return b->ops->add(b, hidden, work->normed, rows * c->d, scale);
}

const float *sf_transformer_frequency(const sf_transformer *t, int layer)
{
    const sf_positions *p = &t->positions;
    if (t->config->unrotated[layer]) return p->still;
    return sf_layer_slides(t->config, layer) ? p->local.frequency : p->global.frequency;
}

sf_query_scale sf_transformer_query_scale(const sf_transformer *t, int layer)
{
    const sf_model_config *c = t->config;
    const sf_positions *p = &t->positions;
    if (c->unrotated[layer]) return (sf_query_scale){.growth = c->still_growth, .from = 1, .every = c->still_positions, .learned = c->query_scales};
    return (sf_query_scale){.by = sf_layer_slides(c, layer) ? p->local.scale : p->global.scale,
                            .growth = c->query_growth,
                            .every = c->rope.original_positions,
                            .learned = c->query_scales};
}

static sf_status embed(const sf_transformer *t, const int32_t *token, int64_t rows, float *hidden, sf_workspace *work)
{
    const sf_backend_ops *ops = t->backend->ops;
    const sf_model_config *c = t->config;
    SF_TRY(ops->embed(t->backend, &t->weights.embedding, token, rows, c->embed_scale, hidden));
    return c->layer_dim ? ops->embed(t->backend, &t->weights.layer_table, token, rows, (float)sqrt(0.5 * c->layer_dim), work->layered) : SF_OK;
}

sf_status sf_transformer_embed(const sf_transformer *t, const int32_t *token, int64_t rows, float *hidden, sf_workspace *work)
{
    IN_PARTS(t, embed, token, rows, hidden, work);
}

/* layered [rows, layers, P] = (norm(W h / sqrt(d)) + sqrt(P) · the token's row of the table) / sqrt(2). A norm forgives what divides its row,
 * if its epsilon is multiplied by the square. */
sf_status sf_transformer_embed_layers(const sf_transformer *t, const float *hidden, int64_t rows, void *layered, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_tensor none = {0};
    const int64_t all = rows * c->layers;
    if (!c->layer_dim) return SF_OK;
    SF_TRY(b->ops->cast(b, hidden, rows * c->d, work->normed));
    SF_TRY(linear(t, work->normed, rows, &t->weights.layer_in, &none, layered));
    SF_TRY(b->ops->rms_norm(b, layered, b->activation, all, c->layer_dim, &t->weights.layer_in_norm, c->norm_offset, (float)(c->norm_eps * c->d),
                            layered));
    SF_TRY(b->ops->add(b, work->layered, layered, all * c->layer_dim, (float)sqrt(0.5)));
    return b->ops->cast(b, work->layered, all * c->layer_dim, layered);
}

/* A norm over all heads of the model, of which a rank has some: ranks that hold the same ones, `repeat`, stand together. */
static sf_status norm_split(const sf_transformer *t, const sf_tensor *weight, int64_t rows, int heads, int repeat, void *x)
{
    sf_backend *b = t->backend;
    sf_mark mark = sf_scratch_mark(b);
    const int64_t width = (int64_t)heads * t->config->head_dim, n = b->comm->size / repeat;
    const size_t bytes = sf_bytes(b->activation, width);
    char *all;
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * n) * bytes, (void **)&all));
    SF_TRY(sf_comm_rows(b->comm, b, x, 0, repeat, (int)n, rows, width, all));
    SF_TRY(norm(t, all, b->activation, rows, weight, NULL, all));
    for (int64_t r = 0; r < rows; r++)
        SF_TRY(b->ops->copy(b, (char *)x + (size_t)r * bytes, all + (size_t)(r * n + b->comm->rank / repeat) * bytes, bytes));
    sf_scratch_release(b, mark);
    return SF_OK;
}

/* The norms over each head of q and k, where the family has them. */
static sf_status norm_heads(const sf_transformer *t, int layer, int64_t rows, void *q, void *k)
{
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    if (!c->qk_norm) return SF_OK;
    if (c->qk_norm_whole && t->whole) {
        SF_TRY(norm_split(t, &w->q_norm, rows, c->heads, 1, q));
        return norm_split(t, &w->k_norm, rows, c->kv_heads, sf_part_repeat(t->whole->model.config, t->backend->comm->size), k);
    }
    SF_TRY(norm(t, q, t->backend->activation, rows * (c->qk_norm_whole ? 1 : c->heads), &w->q_norm, NULL, q));
    return k ? norm(t, k, t->backend->activation, rows * (c->qk_norm_whole ? 1 : sf_kv_heads_of(c, layer)), &w->k_norm, NULL, k) : SF_OK;
}

/* What scales q and k to a root mean square of 1, where the family does that. */
static sf_status unit_heads(const sf_transformer *t, int layer, int64_t rows, void *q, void *k)
{
    const sf_model_config *c = t->config;
    if (!c->qk_unit || c->unrotated[layer]) return SF_OK;
    SF_TRY(norm(t, q, t->backend->activation, rows * c->heads, &t->unit, NULL, q));
    return norm(t, k, t->backend->activation, rows * c->kv_heads, &t->unit, NULL, k);
}

/* Of the normed rows, which q is made of too. */
static sf_status scale_queries(const sf_transformer *t, const sf_layer_weights *w, int64_t rows, const int32_t *position, void *q,
                               sf_workspace *work)
{
    const sf_model_config *c = t->config;
    const sf_tensor none = {0};
    if (!c->query_scales) return SF_OK;
    SF_TRY(t->backend->ops->linear(t->backend, work->normed, rows, &w->scale_beta, &none, false, work->beta, SF_F32));
    SF_TRY(t->backend->ops->linear(t->backend, work->normed, rows, &w->scale_gamma, &none, false, work->gamma, SF_F32));
    return t->backend->ops->scale_queries(t->backend, q, rows, c->heads, c->head_dim, position, work->beta, work->gamma, c->scale_delta,
                                          c->scale_range);
}

/* Norms of latents, in place. */
static sf_status norm_latent(const sf_transformer *t, void *x, int64_t rows, const sf_tensor *weight)
{
    return t->backend->ops->rms_norm(t->backend, x, t->backend->activation, rows, (int)weight->dim[0], weight, t->config->norm_offset,
                                     (float)t->config->latent_eps, x);
}

/* What a head's part does: rows of `in` numbers at x, `from` apart, to rows of `out` numbers at y, `to` apart. */
static sf_status through_head(const sf_transformer *t, const sf_tensor *w, const void *x, int64_t from, int64_t rows, void *in, void *out,
                              void *y, int64_t to)
{
    sf_backend *b = t->backend;
    const sf_tensor none = {0};
    SF_TRY(b->ops->copy_columns(b, x, from, rows, w->dim[1], in, w->dim[1]));
    SF_TRY(linear(t, in, rows, w, &none, out));
    return b->ops->copy_columns(b, out, w->dim[0], rows, w->dim[0], y, to);
}

/* q [rows, H, R + r] and k [rows, R + r], not rotated yet, of the normed rows. */
static sf_status to_latent(const sf_transformer *t, int layer, int64_t rows, void *q, void *k, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    const sf_tensor none = {0}, *key = sf_head_tensors(c, &t->weights, layer, SF_HEAD_KEY);
    const int64_t heads = c->heads, own = c->own_dim, R = c->rotary_dim, r = c->latent, D = c->head_dim;
    struct sf_latent_work *l = &work->latent;
    const void *from = work->normed;
    if (c->query_latent) {
        SF_TRY(linear(t, from, rows, &w->q_down, &w->q_down_bias, l->down));
        SF_TRY(norm_latent(t, l->down, rows, &w->q_down_norm));
        from = l->down;
    }
    SF_TRY(linear(t, from, rows, &w->q, &none, l->q));
    SF_TRY(b->ops->copy_columns(b, sf_activation_at(b, l->q, own), own + R, rows * heads, R, q, D));
    for (int h = 0; h < heads; h++)
        SF_TRY(through_head(t, &key[h], sf_activation_at(b, l->q, h * (own + R)), heads * (own + R), rows, l->own, l->wide,
                            sf_activation_at(b, q, h * D + R), heads * D));

    SF_TRY(linear(t, work->normed, rows, &w->rotated, &w->rotated_bias, l->latent));
    SF_TRY(b->ops->copy_columns(b, l->latent, R, rows, R, k, D));
    SF_TRY(linear(t, work->normed, rows, &w->latent, &w->latent_bias, l->latent));
    SF_TRY(norm_latent(t, l->latent, rows, &w->latent_norm));
    return b->ops->copy_columns(b, l->latent, r, rows, r, sf_activation_at(b, k, R), D);
}

/* work->latent.out [rows, H, value] of attention [rows, H, R + r] */
static sf_status from_latent(const sf_transformer *t, int layer, const void *attention, int64_t rows, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_tensor *value = sf_head_tensors(c, &t->weights, layer, SF_HEAD_VALUE);
    const int64_t heads = c->heads, D = c->head_dim, V = c->value_dim;
    struct sf_latent_work *l = &work->latent;
    for (int h = 0; h < heads; h++)
        SF_TRY(through_head(t, &value[h], sf_activation_at(b, attention, h * D + c->rotary_dim), heads * D, rows, l->wide, l->own,
                            sf_activation_at(b, l->out, h * V), heads * V));
    return SF_OK;
}

static sf_status rotate(const sf_transformer *t, int layer, int64_t rows, const int32_t *position, void *q, void *k)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_rotation *r = sf_layer_slides(c, layer) ? &t->positions.local : &t->positions.global;
    const int D = sf_head_dim_of(c, layer), rotary = c->rotary_dim ? c->rotary_dim : D;
    if (c->unrotated[layer] && c->still_growth == 0) return SF_OK;
    if (c->unrotated[layer]) {
        r = &t->positions.grown;
        return b->ops->rope(b, q, rows, c->heads, D, rotary, position, r->query_cosine, r->query_sine, c->rope_interleaved);
    }
    SF_TRY(b->ops->rope(b, q, rows, c->heads, D, rotary, position, r->query_cosine, r->query_sine, c->rope_interleaved));
    return k ? b->ops->rope(b, k, rows, sf_kv_heads_of(c, layer), D, rotary, position, r->cosine, r->sine, c->rope_interleaved) : SF_OK;
}

/* Of the normed rows, before norms and rotation of keys. */
static sf_status keys_and_values(const sf_transformer *t, int layer, int64_t rows, void *k, void *v, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    const int64_t heads = rows * sf_kv_heads_of(c, layer), n = heads * sf_head_dim_of(c, layer);
    SF_TRY(linear(t, work->normed, rows, &w->k, &w->k_bias, k));
    if (c->keys_are_values && !c->sliding[layer]) SF_TRY(b->ops->copy(b, v, k, sf_bytes(b->activation, n)));
    else SF_TRY(linear(t, work->normed, rows, &w->v, &w->v_bias, v));
    if (!c->value_norm) return SF_OK;
    sf_tensor unit = t->unit;
    unit.dim[0] = sf_head_dim_of(c, layer);
    return norm(t, v, b->activation, heads, &unit, NULL, v);
}

static sf_status qkv(const sf_transformer *t, int layer, const float *hidden, int64_t rows, const int32_t *position, void *q, void *k,
                     void *v, sf_workspace *work)
{
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];

    SF_TRY(read_hidden(t, hidden, rows, &w->attention_norm, &w->attention_norm_bias, work->normed));
    if (c->latent) {
        SF_TRY(to_latent(t, layer, rows, q, k, work));
        return rotate(t, layer, rows, position, q, k);
    }
    SF_TRY(linear(t, work->normed, rows, &w->q, &w->q_bias, q));
    if (k) SF_TRY(keys_and_values(t, layer, rows, k, v, work));
    SF_TRY(scale_queries(t, w, rows, position, q, work));
    if (!c->norm_after_rope) SF_TRY(norm_heads(t, layer, rows, q, k));
    SF_TRY(rotate(t, layer, rows, position, q, k));
    SF_TRY(unit_heads(t, layer, rows, q, k));
    return c->norm_after_rope ? norm_heads(t, layer, rows, q, k) : SF_OK;
}

sf_status sf_transformer_qkv(const sf_transformer *t, int layer, const float *hidden, int64_t rows,
                             const int32_t *position, void *q, void *k, void *v, sf_workspace *work)
{
    IN_PARTS(t, qkv, layer, hidden, rows, position, q, k, v, work);
}

sf_status sf_transformer_project(const sf_transformer *t, int layer, const float *hidden, int64_t rows, void *const *in, sf_workspace *work)
{
    const sf_layer_weights *w = &t->weights.layer[layer];
    SF_TRY(read_hidden(t, hidden, rows, &w->attention_norm, &w->attention_norm_bias, work->normed));
    return sf_mixer_of(t->config)->project(t->backend, t->config, w, rows, work->normed, in);
}

sf_status sf_transformer_advance(const sf_transformer *t, int layer, int lanes, float *const *state, int64_t rows, void *const *in, void *room)
{
    return sf_mixer_of(t->config)->advance(t->backend, t->config, &t->weights.layer[layer], lanes, state, rows, in, room);
}

/* work->gate = what `down` reads of the normed rows */
static sf_status widen(const sf_transformer *t, int layer, int64_t rows, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    SF_TRY(linear(t, work->normed, rows, &w->up, &w->up_bias, c->gateless ? work->gate : work->up));
    if (!c->gateless) SF_TRY(linear(t, work->normed, rows, &w->gate, &w->gate_bias, work->gate));
    if (c->multipliers.mlp_gate != 0) {
        SF_TRY(b->ops->gated(b, work->gate, NULL, rows, c->mlp, sf_silu_of(c->multipliers.mlp_gate)));
        return b->ops->gated(b, work->gate, work->up, rows, c->mlp, (sf_curve){.kind = SF_IDENTITY});
    }
    return b->ops->gated(b, work->gate, c->gateless ? NULL : work->up, rows, sf_layer_mlp(c, layer), t->curve[layer]);
}

/* *in: what experts read of the normed rows. */
static sf_status expert_input(const sf_transformer *t, int64_t rows, sf_workspace *work, const void **in)
{
    sf_backend *b = t->backend;
    const int64_t d = t->config->d;
    *in = work->normed;
    if (!t->config->scaled_input) return SF_OK;
    *in = work->mixture.in;
    if (b->ops->zero) SF_TRY(b->ops->zero(b, work->mixture.sum, sf_bytes(SF_F32, rows * d))); /* what only counts has no memory */
    SF_TRY(b->ops->combine(b, work->mixture.sum, work->normed, rows, 1, (int)d, work->mixture.share));
    return b->ops->cast(b, work->mixture.sum, rows * d, work->mixture.in);
}

/* to += what the experts of each row give, and the MLP that all rows share, of the normed rows. */
static sf_status mix(const sf_transformer *t, int layer, int64_t rows, float *to, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    const sf_router *r = &c->router;
    struct sf_mixture *m = &work->mixture;
    const sf_tensor *part[SF_EXPERT_PARTS], none = {0};
    for (int p = 0; p < SF_EXPERT_PARTS; p++) {
        const sf_tensor *first = sf_expert_tensors(c, &t->weights, layer, (sf_expert_part)p);
        part[p] = first->data ? first : NULL; /* biases, where there are some; of what ranks sum, one has it */
    }

    if (!c->experts_beside) {
        SF_TRY(b->ops->linear(b, work->normed, rows, &w->router, &w->router_bias, false, m->logits, SF_F32));
        SF_TRY(b->ops->route(b, m->logits, rows, r, &w->router_correction, m->expert, m->share));
    }
    const void *in;
    SF_TRY(expert_input(t, rows, work, &in));
    if (!c->gateless)
        SF_TRY(b->ops->experts(b, in, false, rows, r->experts, r->chosen, m->expert, part[SF_EXPERT_GATE],
                               part[SF_EXPERT_GATE_BIAS], m->gate));
    SF_TRY(b->ops->experts(b, in, false, rows, r->experts, r->chosen, m->expert, part[SF_EXPERT_UP],
                           part[SF_EXPERT_UP_BIAS], c->gateless ? m->gate : m->up));
    SF_TRY(b->ops->gated(b, m->gate, c->gateless ? NULL : m->up, rows * r->chosen, c->expert_mlp, t->curve[layer]));
    SF_TRY(b->ops->experts(b, m->gate, true, rows, r->experts, r->chosen, m->expert, part[SF_EXPERT_DOWN],
                           part[SF_EXPERT_DOWN_BIAS], m->out));
    if (c->scaled_input) SF_TRY(b->ops->add(b, to, m->out, rows * c->d, 1));
    else SF_TRY(b->ops->combine(b, to, m->out, rows, r->chosen, c->d, m->share));
    if (!c->shared_mlp) return SF_OK;

    if (!c->gateless) SF_TRY(linear(t, work->normed, rows, &w->shared_gate, &none, work->gate));
    SF_TRY(linear(t, work->normed, rows, &w->shared_up, &none, c->gateless ? work->gate : work->up));
    SF_TRY(b->ops->gated(b, work->gate, c->gateless ? NULL : work->up, rows, c->shared_mlp, t->curve[layer]));
    if (!c->shared_switch) return b->ops->linear(b, work->gate, rows, &w->shared_down, &none, true, to, SF_F32);
    /* A router of one expert, which counts by the sigmoid of its logit. */
    static const sf_router one = {.kind = SF_ROUTE_SIGMOID, .experts = 1, .chosen = 1, .scale = 1};
    SF_TRY(linear(t, work->gate, rows, &w->shared_down, &none, m->out));
    SF_TRY(b->ops->linear(b, work->normed, rows, &w->shared_switch, &none, false, m->logits, SF_F32));
    SF_TRY(b->ops->route(b, m->logits, rows, &one, &none, m->expert, m->share));
    return b->ops->combine(b, to, m->out, rows, 1, c->d, m->share);
}

/* *to [rows, d] += what stands in work->branch, normed. */
static sf_status add_normed(const sf_transformer *t, const sf_tensor *weight, int64_t rows, float *to, sf_workspace *work)
{
    SF_TRY(norm(t, work->branch, SF_F32, rows, weight, NULL, work->normed));
    return t->backend->ops->add(t->backend, to, work->normed, rows * t->config->d, 1);
}

/* hidden += norm(norm(MLP of the normed rows) + norm(experts of rows that another norm leaves)); the router reads the rows by a third one,
 * and its logits are divided by sqrt(d). */
static sf_status add_beside(const sf_transformer *t, int layer, int64_t rows, float *hidden, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    struct sf_mixture *m = &work->mixture;
    const size_t bytes = sf_bytes(SF_F32, rows * c->d);
    const sf_tensor none = {0};
    SF_TRY(b->ops->zero(b, m->sum, bytes));
    SF_TRY(widen(t, layer, rows, work));
    SF_TRY(b->ops->linear(b, work->gate, rows, &w->down, &w->down_bias, false, work->branch, SF_F32));
    SF_TRY(add_normed(t, &w->post_whole_norm, rows, m->sum, work));

    SF_TRY(norm(t, hidden, SF_F32, rows, &w->router_norm, NULL, work->normed));
    SF_TRY(b->ops->linear(b, work->normed, rows, &w->router, &none, false, m->logits, SF_F32));
    SF_TRY(b->ops->scale(b, m->logits, rows * c->router.experts, (float)(1 / sqrt(c->d))));
    SF_TRY(b->ops->route(b, m->logits, rows, &c->router, &none, m->expert, m->share));
    SF_TRY(b->ops->weigh_experts(b, m->share, m->expert, rows * c->router.chosen, &w->expert_scale));
    SF_TRY(norm(t, hidden, SF_F32, rows, &w->experts_norm, NULL, work->normed));
    SF_TRY(b->ops->zero(b, work->branch, bytes));
    SF_TRY(mix(t, layer, rows, work->branch, work));
    SF_TRY(add_normed(t, &w->post_experts_norm, rows, m->sum, work));

    SF_TRY(norm(t, m->sum, SF_F32, rows, &w->post_mlp_norm, NULL, work->normed));
    return b->ops->add(b, hidden, work->normed, rows * c->d, 1);
}

/* Each rank has its part of every expert's MLP: all of them compute for all rows, and share the router. */
static sf_status add_mixture(const sf_transformer *t, int layer, int64_t rows, float *hidden, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const int64_t n = rows * t->config->d;
    const float scale = t->config->residual_scale;
    if (!t->whole && scale == 0) return mix(t, layer, rows, hidden, work);
    SF_TRY(b->ops->zero(b, work->branch, sf_bytes(SF_F32, n)));
    SF_TRY(mix(t, layer, rows, work->branch, work));
    float *sum = work->branch;
    if (t->whole) SF_TRY(sum_branches(t, rows, work, &sum));
    if (scale == 0) return b->ops->accumulate(b, hidden, n, 1, sum, 1, n);
    SF_TRY(b->ops->cast(b, sum, n, work->normed));
    return b->ops->add(b, hidden, work->normed, n, scale);
}

/* *attention = itself, times a sigmoid of the normed rows that it was computed from. */
static sf_status gate_attention(const sf_transformer *t, int layer, const void **attention, int64_t rows, const float *hidden,
                                sf_workspace *work)
{
    const sf_layer_weights *w = &t->weights.layer[layer];
    SF_TRY(read_hidden(t, hidden, rows, &w->attention_norm, &w->attention_norm_bias, work->normed));
    SF_TRY(linear(t, work->normed, rows, &w->attention_gate, &w->attention_gate_bias, work->gated));
    SF_TRY(t->backend->ops->gated(t->backend, work->gated, *attention, rows, t->config->heads * t->config->head_dim,
                                  (sf_curve){.kind = SF_SIGMOID}));
    *attention = work->gated;
    return SF_OK;
}

/* What the layer does with the rows' embeddings for it, behind its MLP. */
static sf_status add_layer_inputs(const sf_transformer *t, int layer, const void *layered, int64_t rows, float *hidden, sf_workspace *work)
{
    sf_backend *b = t->backend;
    const sf_model_config *c = t->config;
    const sf_layer_weights *w = &t->weights.layer[layer];
    const int64_t P = c->layer_dim, all = c->layers * P;
    static const sf_tensor none;
    SF_TRY(b->ops->cast(b, hidden, rows * c->d, work->normed));
    SF_TRY(linear(t, work->normed, rows, &w->layer_gate, &none, work->gate));
    SF_TRY(b->ops->copy_columns(b, sf_activation_at(b, layered, layer * P), all, rows, P, work->up, P));
    SF_TRY(b->ops->gated(b, work->gate, work->up, rows, (int)P, t->curve[layer]));
    return add_branch(t, work->gate, rows, &w->layer_out, &none, &w->layer_norm, 1, hidden, work);
}

static sf_status finish(const sf_transformer *t, int layer, const void *attention, const void *mixed, const void *layered, int64_t rows,
                        float *hidden, sf_workspace *work)
{
    const sf_model_config *c = t->config;
    const sf_multipliers *m = &c->multipliers;
    const sf_layer_weights *w = &t->weights.layer[layer];
    static const sf_tensor none;

    if (c->latent) {
        SF_TRY(from_latent(t, layer, attention, rows, work));
        attention = work->latent.out;
    }
    if (c->parallel) {
        SF_TRY(read_hidden(t, hidden, rows, &w->attention_norm, &w->attention_norm_bias, work->normed));
        SF_TRY(widen(t, layer, rows, work));
        SF_TRY(add_branch(t, attention, rows, &w->o, &w->o_bias, &w->post_attention_norm, 1, hidden, work));
    } else {
        if (c->attention_gate && attention) SF_TRY(gate_attention(t, layer, &attention, rows, hidden, work));
        if (mixed) SF_TRY(add_branch(t, mixed, rows, &w->mixer_out, &none, &w->post_attention_norm, m->mixer, hidden, work));
        if (attention) SF_TRY(add_branch(t, attention, rows, &w->o, &w->o_bias, &w->post_attention_norm, m->attention, hidden, work));
        if (c->bare[layer]) return SF_OK;
        SF_TRY(read_hidden(t, hidden, rows, &w->mlp_norm, &w->mlp_norm_bias, work->normed));
        if (sf_layer_mixes(c, layer) && !c->experts_beside) return add_mixture(t, layer, rows, hidden, work);
        if (!c->experts_beside) SF_TRY(widen(t, layer, rows, work));
    }
    if (c->experts_beside) SF_TRY(add_beside(t, layer, rows, hidden, work));
    else SF_TRY(add_branch(t, work->gate, rows, &w->down, &w->down_bias, &w->post_mlp_norm, m->mlp, hidden, work));
    if (c->layer_dim) SF_TRY(add_layer_inputs(t, layer, layered, rows, hidden, work));
    return c->layer_scale ? t->backend->ops->scale(t->backend, hidden, rows * c->d, t->scale[layer]) : SF_OK;
}

sf_status sf_transformer_finish(const sf_transformer *t, int layer, const void *attention, const void *mixed, const void *layered, int64_t rows,
                                float *hidden, sf_workspace *work)
{
    IN_PARTS(t, finish, layer, attention, mixed, layered, rows, hidden, work);
}

static sf_status logits_of(const sf_transformer *t, const float *hidden, int64_t rows, float *logits, sf_workspace *work)
{
    const sf_tensor no_bias = {0};
    SF_TRY(norm(t, hidden, SF_F32, rows, &t->weights.final_norm, &t->weights.final_norm_bias, work->normed));
    return t->backend->ops->linear(t->backend, work->normed, rows, &t->weights.head, &no_bias, false, logits, SF_F32);
}

sf_status sf_transformer_logits(const sf_transformer *t, const float *hidden, int64_t rows, float *logits,
                                sf_workspace *work)
{
    IN_PARTS(t, logits_of, hidden, rows, logits, work);
}

void sf_transformer_finish_logits(const sf_model_config *c, float *logits, int64_t rows)
{
    for (int64_t i = 0; c->logit_scale != 0 && i < rows * c->vocab; i++) logits[i] *= c->logit_scale;
    for (int64_t i = 0; c->logit_softcap != 0 && i < rows * c->vocab; i++)
        logits[i] = c->logit_softcap * tanhf(logits[i] / c->logit_softcap);
}
