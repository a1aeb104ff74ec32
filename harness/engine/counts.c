/* From tallies to meters, densities and recall.
 *
 * Attention is counted here and nowhere else, from the pairs that the executors tallied per query head:
 *   FLOPs        4·D + 3 a pair; of latent attention 2·(R + r) + 2·r + 3, since a row's rotated numbers are no value; where rows are
 *                normalised by α-entmax 2·D + 3, and 2·D one that weighs
 *   cache bytes  keys and values once per kv head: in prefill every key of the prompt (each is read, by its own query at
 *                least); in decode the keys that a step reads, which are the same for the query heads of a group
 *                of latent attention the cache holds one row of R + r numbers for both; of a cache with a format as it packs them; with α-entmax, of the values those that
 *                weigh, for each query head by itself, but no more than there are keys
 *   other bytes  queries read and outputs written
 *
 * So are the weights of experts, which rows choose: K of E for a row of decode; for a prompt of T rows min(T·K, E), each once, as
 * if its rows spread over as many as they can. Neither depends on who else is in the batch. */
#include "harness/engine/counts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

sf_status sf_batch_look(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, int rows, const int32_t *row,
                        double weight, double *sum)
{
    sf_backend *b = batch->backend;
    if (pattern->kind == SF_DENSE) {
        for (int h = 0; h < a->heads; h++) sum[h] += weight;
        return SF_OK;
    }
    if (batch->looks == SF_LOOKS) SF_TRY(sf_batch_looked(batch));
    batch->look[batch->looks].weight = weight;
    batch->look[batch->looks].sum = sum;
    SF_TRY(b->ops->mass(b, a, pattern, rows, row, batch->covered + (int64_t)batch->looks * a->heads));
    batch->looks++;
    return SF_OK;
}

sf_status sf_batch_looked(sf_batch *batch)
{
    sf_backend *b = batch->backend;
    const int heads = batch->config->heads;
    if (batch->looks == 0) return SF_OK;
    if (b->ops->lane) SF_TRY(b->ops->lane(b, -1));
    SF_TRY(
        b->ops->download(b, batch->covered_host, batch->covered, (size_t)batch->looks * (size_t)heads * sizeof(float)));
    for (int i = 0; i < batch->looks; i++)
        for (int h = 0; h < heads; h++)
            batch->look[i].sum[h] += batch->look[i].weight * (double)batch->covered_host[i * heads + h];
    batch->looks = 0;
    return SF_OK;
}

static int64_t whole_heads(const sf_batch *batch) { return (int64_t)batch->whole->layers * batch->whole->heads; }

/* Each layer's from the stage that has it: all [layers, width bytes], of which the others' are replaced. */
static sf_status gather_layers(const sf_batch *batch, char *all, size_t width)
{
    sf_comm *stages = batch->backend->stages;
    const int layers = batch->config->layers;
    const size_t bytes = (size_t)layers * width;
    if (!stages) return SF_OK;
    char *each = malloc((size_t)stages->size * bytes);
    if (!each) return sf_fail(SF_NO_MEMORY, "no memory for the tally of %d layers", layers);
    stages->ops->gather_host(stages, all, bytes, each);
    for (int s = 0; s < stages->size; s++) {
        sf_stage stage;
        if (sf_stage_of(batch->whole, s, stages->size, &stage) != SF_OK) continue;
        const size_t first = (size_t)stage.first * width, end = (size_t)stage.end * width;
        memcpy(all + first, each + (size_t)s * bytes + first, end - first);
    }
    free(each);
    return SF_OK;
}

/* of [layers, H] 8-byte numbers of this rank's heads: *out [layers, H] those of all heads and layers, malloc'ed. */
static sf_status gather_heads(const sf_batch *batch, const void *own, void *out)
{
    sf_comm *comm = batch->backend->comm;
    const int ranks = sf_batch_ranks(batch), layers = batch->config->layers;
    const size_t width = (size_t)batch->config->heads * sizeof(uint64_t), bytes = width * (size_t)layers;
    char *all = malloc((size_t)ranks * bytes), *whole = *(void **)out = malloc((size_t)ranks * bytes);
    if (!all || !whole) {
        free(all);
        return sf_fail(SF_NO_MEMORY, "no memory for the tally of %d layers", layers);
    }
    if (comm) comm->ops->gather_host(comm, own, bytes, all);
    else memcpy(all, own, bytes);
    for (int layer = 0; layer < layers; layer++)
        for (int r = 0; r < ranks; r++)
            memcpy(whole + (size_t)(layer * ranks + r) * width, all + (size_t)r * bytes + (size_t)layer * width, width);
    free(all);
    return gather_layers(batch, whole, (size_t)ranks * width);
}

/* Over all ranks. */
static void sum(const sf_batch *batch, uint64_t *x, int n)
{
    sf_comm_sum(batch->backend->comm, x, n);
    sf_comm_sum(batch->backend->stages, x, n);
}

static void sum_meter(const sf_batch *batch, sf_meter *meter) { sum(batch, (uint64_t *)meter, sizeof *meter / sizeof(uint64_t)); }

static void add_part(sf_count *to, const sf_count *from, uint64_t part, uint64_t whole, bool weights_whole)
{
    to->flops += from->flops / whole * part; /* whole rows each, so nothing is lost; a product first might overflow */
    to->weight_bytes += weights_whole ? from->weight_bytes : from->weight_bytes / whole * part;
    to->cache_bytes += from->cache_bytes / whole * part;
    to->other_bytes += from->other_bytes / whole * part;
    to->pairs += from->pairs / whole * part;
}

void sf_batch_share(const sf_meter *together, int64_t part, int64_t whole, bool gathered, sf_meter *to)
{
    for (int phase = 0; phase < SF_PHASES; phase++)
        for (int work = 0; work < SF_WORKS; work++)
            add_part(&to->at[phase][work], &together->at[phase][work], (uint64_t)part, (uint64_t)whole, !gathered);
}

/* FLOPs of a pair whose key weighs, of a layer whose heads have this size. */
static uint64_t pair_flops(const sf_model_config *c, int head_dim) { return 2 * (uint64_t)(2 * head_dim - sf_latent_rotary(c)) + 3; }

double sf_lane_weighing(const sf_lane *lane, const sf_model_config *c, sf_phase phase)
{
    const sf_count *n = &lane->meter.at[phase][SF_ATTENTION];
    if (c->entmax_alpha == 0 || !n->pairs) return 1;
    return 1 - (double)(n->pairs * pair_flops(c, c->head_dim) - n->flops) / (2.0 * c->head_dim * (double)n->pairs);
}

/* Of the layers whose heads have one size: all, or, where the kinds differ, those of one. */
static void count_layers(const sf_batch *batch, const uint64_t *pairs, const uint64_t *weighed, sf_phase phase, uint64_t queries,
                         const sf_cache_format *format, const uint8_t *slides, sf_meter *meter)
{
    const sf_model_config *c = batch->whole;
    sf_count *to = &meter->at[phase][SF_ATTENTION];
    uint64_t attending = 0, total = 0, weighs = 0;
    int layer = 0; /* one of them */
    for (int l = 0; l < c->layers; l++) {
        if (!sf_layer_attends(c, l) || (slides && c->sliding[l] != *slides)) continue;
        attending++, layer = l;
        for (int64_t i = (int64_t)l * c->heads; i < (int64_t)(l + 1) * c->heads; i++) total += pairs[i], weighs += weighed ? weighed[i] : pairs[i];
    }
    const int head_dim = sf_head_dim_of(c, layer), kv_heads = sf_kv_heads_of(c, layer);
    uint64_t keys = phase == SF_PREFILL ? attending * (uint64_t)kv_heads * queries : total / (uint64_t)(c->heads / kv_heads);
    const int numbers = 2 * head_dim - sf_latent_rotary(c); /* of a query and its output */
    const sf_dtype activation = batch->backend->activation;
    const uint64_t row = c->latent ? sf_bytes(activation, sf_cached_numbers(c)) : 2 * sf_cache_bytes(format, activation, 1, head_dim);
    const uint64_t unread = weighed && weighs < keys ? keys - weighs : 0; /* values of keys that do not weigh */
    to->pairs += total;
    to->flops += total * pair_flops(c, head_dim) - (total - weighs) * 2 * (uint64_t)head_dim;
    to->cache_bytes += keys * row - unread * sf_cache_bytes(format, activation, 1, head_dim);
    to->other_bytes += queries * attending * (uint64_t)c->heads * sf_bytes(activation, numbers);
}

/* Adds the attention of a phase to a meter: pairs and weighed [layers, H] host, of the whole model, `queries` rows each layer. */
static void count_attention(const sf_batch *batch, const uint64_t *pairs, const uint64_t *weighed, sf_phase phase, uint64_t queries,
                            const sf_cache_format *format, sf_meter *meter)
{
    if (!sf_heads_differ(batch->whole)) return count_layers(batch, pairs, weighed, phase, queries, format, NULL, meter);
    for (uint8_t slides = 0; slides < 2; slides++) count_layers(batch, pairs, weighed, phase, queries, format, &slides, meter);
}

/* `times` that a layer's experts are read for `rows` rows; by one rank of a stage for all. */
static void count_experts(const sf_batch *batch, sf_phase phase, uint64_t times, int64_t rows, sf_meter *lane)
{
    const sf_model_config *c = batch->whole;
    sf_meter *meter = sf_batch_meter_once(batch, lane);
    int64_t read = rows * c->router.chosen < c->router.experts ? rows * c->router.chosen : c->router.experts;
    for (int layer = batch->stage.first; batch->model && layer < batch->stage.end; layer++)
        for (int p = 0; sf_layer_mixes(c, layer) && p < SF_EXPERT_PARTS; p++) {
            const sf_tensor *first = sf_expert_tensors(c, sf_transformer_shapes(batch->model), layer, (sf_expert_part)p);
            if (first->data) meter->at[phase][SF_LINEAR].weight_bytes += times * (uint64_t)read * sf_bytes(first->dtype, sf_elements(first));
        }
}

/* out [layers, H] = value / whole; NAN on layers that are not the method's and where there was nothing. */
static void ratio(const sf_batch *batch, const uint64_t *count, const double *sum, double whole, float *out)
{
    const sf_model_config *c = batch->whole;
    for (int64_t i = 0; i < whole_heads(batch); i++) {
        bool absent = whole <= 0 || !sf_layer_full(c, (int)(i / c->heads));
        out[i] = absent ? NAN : (float)((count ? (double)count[i] : sum[i]) / whole);
    }
}

static void report_phase(const sf_batch *batch, sf_lane *lane, sf_phase phase, const uint64_t *pairs, double causal,
                         const double *recall, const double *error, double weight)
{
    if (lane->density[phase]) ratio(batch, pairs, NULL, causal, lane->density[phase]);
    if (lane->recall[phase]) ratio(batch, NULL, recall, recall ? weight : 0, lane->recall[phase]);
    if (lane->error[phase]) ratio(batch, NULL, error, error ? weight : 0, lane->error[phase]);
}

static void give_prompt(sf_batch *batch, sf_prompt *prompt, const uint64_t *pairs, const uint64_t *weighed, const double *recall,
                        const double *error)
{
    double n = prompt->job->tokens;
    count_attention(batch, pairs, weighed, SF_PREFILL, (uint64_t)prompt->job->tokens, prompt->cache, &prompt->meter);
    for (int i = 0; i < batch->lanes; i++) {
        sf_sequence *s = &batch->sequence[i];
        if (s->prompt != prompt) continue;
        sf_batch_share(&prompt->meter, 1, 1, false, &s->lane->meter);
        s->lane->seconds[SF_PREFILL] += prompt->seconds;
        if (s->lane->picture[SF_PREFILL]) *s->lane->picture[SF_PREFILL] = *prompt->picture;
        report_phase(batch, s->lane, SF_PREFILL, pairs, n * (n + 1) / 2, recall, error, 1);
    }
}

/* What was tallied of one prompt or sequence, of all ranks' heads: [layers, H], malloc'ed; NULL: not wanted. */
typedef struct tally {
    uint64_t *pairs, *weighed;
    double *recall, *error;
} tally;

static void free_tally(tally *t)
{
    free(t->pairs);
    free(t->weighed);
    free(t->recall);
    free(t->error);
}

/* From this rank's heads, pairs and weighed [layers, H] backend memory and host arrays. own: room for them. */
static sf_status gather_tally(sf_batch *batch, const uint64_t *pairs, const uint64_t *weighed, const double *recall, const double *error, uint64_t *own, tally *out)
{
    sf_backend *b = batch->backend;
    *out = (tally){0};
    SF_TRY(b->ops->download(b, own, pairs, (size_t)sf_batch_heads(batch) * sizeof *own));
    SF_TRY(gather_heads(batch, own, &out->pairs));
    if (weighed) SF_TRY(b->ops->download(b, own, weighed, (size_t)sf_batch_heads(batch) * sizeof *own));
    if (weighed) SF_TRY(gather_heads(batch, own, &out->weighed));
    if (recall) SF_TRY(gather_heads(batch, recall, &out->recall));
    return error ? gather_heads(batch, error, &out->error) : SF_OK;
}

static sf_status count_prompt(sf_batch *batch, sf_prompt *prompt, uint64_t *own)
{
    tally t;
    count_experts(batch, SF_PREFILL, 1, prompt->job->tokens, &prompt->meter);
    sum_meter(batch, &prompt->meter);
    sf_status status = gather_tally(batch, prompt->pairs, prompt->weighed, prompt->recall, prompt->error, own, &t);
    if (status == SF_OK) give_prompt(batch, prompt, t.pairs, t.weighed, t.recall, t.error);
    free_tally(&t);
    return status;
}

static sf_status count_sequence(sf_batch *batch, sf_sequence *s, uint64_t *own)
{
    tally t;
    double n = s->steps;
    sf_status status = gather_tally(batch, s->pairs, s->weighed, s->recall, s->error, own, &t);
    if (status == SF_OK) {
        count_attention(batch, t.pairs, t.weighed, SF_DECODE, (uint64_t)s->steps, s->lane->cache, &s->lane->meter);
        report_phase(batch, s->lane, SF_DECODE, t.pairs, n * s->job->tokens + n * (n + 1) / 2, t.recall, t.error, s->recall_weight);
    }
    free_tally(&t);
    return status;
}

sf_status sf_batch_tally(sf_batch *batch)
{
    uint64_t *own = malloc((size_t)sf_batch_heads(batch) * sizeof *own);
    if (!own) return sf_fail(SF_NO_MEMORY, "no memory for the tally of %d layers", batch->config->layers);
    sf_status status = SF_OK;
    for (int i = 0; i < batch->lanes; i++) { /* what prompts add is summed apart */
        sf_sequence *s = &batch->sequence[i];
        count_experts(batch, SF_DECODE, (uint64_t)s->steps, 1, &s->lane->meter);
        sum_meter(batch, &s->lane->meter);
        if (s->lane->read && s->steps) sum(batch, s->lane->read, s->steps);
    }
    for (int i = 0; status == SF_OK && i < batch->prompts; i++) status = count_prompt(batch, &batch->prompt[i], own);
    for (int i = 0; status == SF_OK && i < batch->lanes; i++) status = count_sequence(batch, &batch->sequence[i], own);
    free(own);
    return status;
}
