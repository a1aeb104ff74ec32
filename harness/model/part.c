#include "harness/model/part.h"

#include <stdlib.h>
#include <string.h>

#include "harness/model/mixer.h"
#include "harness/model/weights.h"

sf_status sf_stage_of(const sf_model_config *c, int stage, int stages, sf_stage *out)
{
    *out = (sf_stage){stage * c->layers / stages, (stage + 1) * c->layers / stages};
    if (stages > 1 && (c->shared_from || c->layer_dim))
        return sf_fail(SF_UNSUPPORTED, "model '%s' has %s, which is not handed from stage to stage: it is not split by layers; run it unsplit", c->name,
                       c->shared_from ? "layers that read other layers' keys" : "an embedding of each token for every layer");
    if (stages <= c->layers) return SF_OK;
    return sf_fail(SF_UNSUPPORTED, "model '%s': %d layers cannot be split over %d stages; choose fewer", c->name, c->layers, stages);
}

sf_status sf_config_part(const sf_model_config *c, int rank, int ranks, sf_model_config *out)
{
    (void)rank; /* all are alike */
    *out = *c;
    if (ranks == 1) return SF_OK;
    const char *name = c->name;
    if (c->latent)
        return sf_fail(SF_UNSUPPORTED, "model '%s' has latent attention, whose heads share one cache: it is not split over ranks by heads; run it "
                       "unsplit", name);
    if (sf_heads_differ(c) || c->shared_from || c->layer_dim || c->experts_beside)
        return sf_fail(SF_UNSUPPORTED, "model '%s' has heads of two sizes, layers that read other layers' keys or embeddings for every layer: it is not"
                       " split over ranks by heads; run it unsplit", name);
    if (c->kernel)
        return sf_fail(SF_UNSUPPORTED, "model '%s': %d of its layers are recurrent (%s), which are not split over ranks by heads; run it unsplit,"
                       " or split it by layers", name, sf_layers_recurring(c), sf_mixer_name(c));
    if (c->heads % ranks != 0)
        return sf_fail(SF_UNSUPPORTED, "model '%s': %d query heads cannot be split over %d ranks evenly; choose a divisor", name, c->heads,
                       ranks);
    if (c->kv_heads % ranks != 0 && ranks % c->kv_heads != 0)
        return sf_fail(SF_UNSUPPORTED, "model '%s': %d kv heads cannot be split over %d ranks, nor repeated on them evenly; choose a "
                       "divisor or a multiple", name, c->kv_heads, ranks);
    if (c->mlp % ranks != 0)
        return sf_fail(SF_UNSUPPORTED, "model '%s': an MLP of %d cannot be split over %d ranks evenly; choose a divisor", name, c->mlp,
                       ranks);
    if (c->expert_mlp % ranks != 0 || c->shared_mlp % ranks != 0)
        return sf_fail(SF_UNSUPPORTED, "model '%s': an MLP of %d of each expert%s cannot be split over %d ranks evenly; choose a divisor", name,
                       c->expert_mlp % ranks ? c->expert_mlp : c->shared_mlp, c->expert_mlp % ranks ? "" : " (of the shared one)", ranks);
    out->heads = c->heads / ranks;
    out->kv_heads = c->kv_heads / ranks > 1 ? c->kv_heads / ranks : 1;
    out->mlp = c->mlp / ranks;
    out->expert_mlp = c->expert_mlp / ranks;
    out->shared_mlp = c->shared_mlp / ranks;
    return SF_OK;
}

/* Elements [*first, *first + *n) of a dimension that is cut so. */
static void range_of(const sf_model_config *c, sf_cut cut, int rank, int ranks, int64_t whole, int64_t *first, int64_t *n)
{
    int repeat = sf_part_repeat(c, ranks);
    *n = cut == SF_UNCUT ? whole : cut == SF_BY_KV_HEADS ? whole * repeat / ranks : whole / ranks;
    *first = cut == SF_UNCUT ? 0 : cut == SF_BY_KV_HEADS ? rank / repeat * *n : rank * *n;
}

static void take_rows(sf_tensor *t, int64_t first, int64_t n)
{
    size_t row = sf_bytes(t->dtype, t->rank == 2 ? t->dim[1] : 1);
    t->data = (char *)t->data + (size_t)first * row;
    t->dim[0] = n;
}

/* A tensor of a layer of which the part has columns [first, first + at->dim[1]) of the whole's rows. */
struct sf_part_slot {
    sf_tensor *at;
    int layer;
    const char *from; /* the whole's first row */
    size_t row, skip; /* bytes of a whole one, and before the part's columns */
};

/* A tensor that is refused leaves no slot: sf_part_drop() goes through them all. */
static sf_status cut_columns(const sf_weight_slot *slot, const char *name, int64_t first, int64_t n, sf_part *part)
{
    sf_tensor *t = slot->at;
    int block = sf_dtypes[t->dtype].block;
    if (n % block != 0)
        return sf_fail(SF_UNSUPPORTED, "model '%s': tensor %s (%s): %lld columns a rank cut through its blocks of %d; split it over fewer "
                       "ranks, or by layers, or take a checkpoint of another type", name, slot->gguf, sf_dtypes[t->dtype].name, (long long)n, block);
    part->slot[part->slots++] = (struct sf_part_slot){.at = t, .layer = slot->layer, .from = t->data, .row = sf_bytes(t->dtype, t->dim[1]),
                                                      .skip = sf_bytes(t->dtype, first)};
    t->data = NULL;
    t->dim[1] = n;
    return SF_OK;
}

static sf_status take_slot(const sf_model *whole, const sf_weight_slot *slot, int rank, int ranks, sf_part *part)
{
    sf_tensor *t = slot->at;
    int64_t first, n;
    if (!t->data) return SF_OK;
    if (slot->rows_by == SF_CUT_UNKNOWN || slot->columns_by == SF_CUT_UNKNOWN)
        return sf_fail(SF_UNSUPPORTED, "model '%s': it is not known how tensor %s is split over ranks; run it unsplit", whole->config.name,
                       slot->gguf);
    if (slot->rows_by == SF_ONCE) return rank > 0 ? (void)(*t = (sf_tensor){0}) : (void)0, SF_OK;
    range_of(&whole->config, slot->rows_by, rank, ranks, t->dim[0], &first, &n);
    if (slot->rows_by != SF_UNCUT) take_rows(t, first, n);
    if (slot->columns_by == SF_UNCUT) return SF_OK;
    range_of(&whole->config, slot->columns_by, rank, ranks, t->dim[1], &first, &n);
    return cut_columns(slot, whole->config.name, first, n, part);
}

sf_status sf_part_open(const sf_model *whole, int rank, int ranks, sf_part *out)
{
    const size_t layers = (size_t)whole->config.layers, experts = layers * SF_EXPERT_PARTS * (size_t)whole->config.router.experts;
    *out = (sf_part){.model = {.weights = whole->weights, .stops = whole->stops, .bos = whole->bos}};
    memcpy(out->model.stop, whole->stop, sizeof whole->stop);
    out->model.weights.layer = NULL, out->model.weights.expert = out->model.weights.head_part = NULL;
    SF_TRY(sf_config_part(&whole->config, rank, ranks, &out->model.config));
    if (!whole->weights.layer) return SF_OK; /* a shape alone: whoever opens it says so */
    sf_weight_slot *slot = NULL;
    sf_status status = sf_weights_room(&whole->config, &out->model.weights, &slot, whole->config.name);
    out->slot = calloc((size_t)sf_weight_slots_most(&whole->config), sizeof *out->slot);
    if (status == SF_OK && !out->slot) status = sf_fail(SF_NO_MEMORY, "no memory for a part of the model");
    if (status == SF_OK) {
        memcpy(out->model.weights.layer, whole->weights.layer, layers * sizeof *out->model.weights.layer);
        if (whole->weights.head_part)
            memcpy(out->model.weights.head_part, whole->weights.head_part, layers * SF_HEAD_PARTS * (size_t)whole->config.heads * sizeof(sf_tensor));
        if (whole->weights.expert) memcpy(out->model.weights.expert, whole->weights.expert, experts * sizeof *out->model.weights.expert);
        int slots = sf_weight_slots(&whole->config, &out->model.weights, slot);
        for (int i = 0; status == SF_OK && i < slots; i++) status = take_slot(whole, &slot[i], rank, ranks, out);
    }
    free(slot);
    if (status != SF_OK) sf_part_close(out);
    return status;
}

sf_status sf_part_check(const sf_model *whole, int ranks)
{
    sf_part part = {0};
    if (ranks == 1) return SF_OK;
    SF_TRY(sf_part_open(whole, 0, ranks, &part)); /* all ranks' parts are alike */
    sf_part_close(&part);
    return SF_OK;
}

sf_status sf_part_columns(sf_part *part, int layer)
{
    for (struct sf_part_slot *s = part->slot; s && s < part->slot + part->slots; s++) {
        if (s->layer != layer || s->at->data) continue;
        const size_t some = sf_bytes(s->at->dtype, s->at->dim[1]);
        char *to = s->at->data = aligned_alloc(64, ((size_t)s->at->dim[0] * some + 63) / 64 * 64);
        if (!to) return sf_fail(SF_NO_MEMORY, "no memory for a part of the weights of layer %d", layer);
        for (int64_t r = 0; r < s->at->dim[0]; r++) memcpy(to + (size_t)r * some, s->from + (size_t)r * s->row + s->skip, some);
    }
    return SF_OK;
}

void sf_part_drop(sf_part *part, int layer)
{
    for (struct sf_part_slot *s = part->slot; s && s < part->slot + part->slots; s++)
        if (s->layer == layer) free(s->at->data), s->at->data = NULL;
}

void sf_part_close(sf_part *part)
{
    for (int layer = 0; layer < part->model.config.layers; layer++) sf_part_drop(part, layer);
    free(part->slot);
    sf_weights_free(&part->model.weights);
    *part = (sf_part){0};
}
