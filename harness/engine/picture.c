/* Pictures are observations, as recall is: taken beside the run, metered to nobody, timed to nobody. */
#include "base/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/picture.h"

enum { SIDE = SF_PICTURE_SIDE };

static int edge(int64_t keys, int stretch) { return (int)(keys * stretch / SIDE); }

void sf_picture_clear(sf_picture *p, int layer, int head, int queries, int keys)
{
    *p = (sf_picture){.layer = layer, .head = head, .queries = queries, .keys = keys};
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) p->at[y][x] = NAN;
}

/* ---- one line ---------------------------------------------------------------------------------------------------- */

/* Shares of the keys [0, keys) of each stretch that the mask names. */
static void draw_mask(sf_picture *p, int y, int keys, const uint8_t *mask)
{
    for (int x = 0; x < SIDE; x++) {
        int begin = edge(p->keys, x), end = edge(p->keys, x + 1), read = 0;
        if (end > keys) end = keys;
        for (int j = begin; j < end; j++) read += mask[j];
        if (end > begin) p->at[y][x] = (float)read / (float)(end - begin);
    }
}

/* Dense attention of the single query of `a` over all its keys. */
static sf_status draw_mass(sf_batch *batch, const sf_attention *a, sf_picture *p, int y)
{
    sf_backend *b = batch->backend;
    sf_mark mark = sf_scratch_mark(b);
    sf_meter *metered = b->meter, nobody = {0};
    void *device;
    float *row = malloc((size_t)a->keys * sizeof *row);
    sf_status status = row ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a picture's line");
    b->meter = &nobody;
    if (status == SF_OK) status = sf_scratch_alloc(b, (size_t)a->heads * (size_t)a->keys * sizeof *row, &device);
    if (status == SF_OK) status = b->ops->key_probabilities(b, a, device);
    if (status == SF_OK)
        status = b->ops->download(b, row, (float *)device + (int64_t)p->head * a->keys, (size_t)a->keys * sizeof *row);
    b->meter = metered;
    for (int x = 0; x < SIDE && status == SF_OK; x++) {
        int begin = edge(p->keys, x), end = edge(p->keys, x + 1);
        double mass = 0;
        for (int j = begin; j < end && j < a->keys; j++) mass += (double)row[j];
        if (begin < end && begin < a->keys) p->at[y][x] = (float)mass;
    }
    free(row);
    sf_scratch_release(b, mark);
    return status;
}

/* ---- a head's pattern, on the host ------------------------------------------------------------------------------- */

static sf_status download_rows(sf_backend *b, const sf_lists *from, int64_t row, int64_t rows, sf_lists *to)
{
    *to = (sf_lists){.rows = rows, .stride = from->stride};
    size_t counts = (size_t)rows * sizeof *to->count, indices = (size_t)(rows * from->stride) * sizeof *to->index;
    to->count = malloc(counts + 1);
    to->index = malloc(indices + 1);
    if (!to->count || !to->index) return sf_fail(SF_NO_MEMORY, "no memory for a picture's pattern");
    SF_TRY(b->ops->download(b, to->count, from->count + row, counts));
    return b->ops->download(b, to->index, from->index + row * from->stride, indices);
}

static void free_pattern(sf_pattern *p)
{
    free(p->first.count), free(p->first.index);
    free(p->second.count), free(p->second.index);
    free((void *)(uintptr_t)p->band);
    for (int k = 0; p->part && k < p->parts; k++) free_pattern((sf_pattern *)(uintptr_t)&p->part[k]);
    free((void *)(uintptr_t)p->part);
}

/* What the pattern says of one query head, as the pattern of a model with that head alone. */
static sf_status pattern_of_head(const sf_attention *a, const sf_pattern *pattern, int head, sf_pattern *out)
{
    *out = *pattern;
    out->first = out->second = (sf_lists){0};
    out->heads = 1;
    out->band = NULL, out->part = NULL;
    int64_t rows = pattern->kind == SF_BLOCKS ? (a->queries + pattern->block_q - 1) / pattern->block_q : 1;
    int64_t row = sf_selection_of(pattern, a->heads, a->kv_heads, head) * rows;
    if (pattern->kind == SF_PARTS) {
        sf_pattern *part = calloc((size_t)pattern->parts, sizeof *part);
        if (!part) return sf_fail(SF_NO_MEMORY, "no memory for a picture's pattern");
        out->part = part;
        for (int k = 0; k < pattern->parts; k++) SF_TRY(pattern_of_head(a, &pattern->part[k], head, &part[k]));
        return SF_OK;
    }
    if (pattern->kind == SF_BANDS) {
        sf_band *band = malloc(SF_BANDS_A_HEAD * sizeof *band);
        if (!band) return sf_fail(SF_NO_MEMORY, "no memory for a picture's pattern");
        out->band = band;
        SF_TRY(a->backend->ops->download(a->backend, band, pattern->band + row * SF_BANDS_A_HEAD,
                                         SF_BANDS_A_HEAD * sizeof *band));
    }
    if (pattern->first.rows) SF_TRY(download_rows(a->backend, &pattern->first, row, rows, &out->first));
    return pattern->second.rows ? download_rows(a->backend, &pattern->second, row, rows, &out->second) : SF_OK;
}

static sf_status draw_pattern(const sf_attention *a, const sf_pattern *pattern, sf_picture *p, int lines,
                              const int *line, const int *query)
{
    sf_pattern own;
    sf_attention alone = {.heads = 1, .kv_heads = 1, .queries = a->queries, .keys = a->keys, .window = a->window};
    uint8_t *mask = malloc((size_t)a->keys + 1);
    sf_status status = pattern_of_head(a, pattern, p->head, &own);
    if (status == SF_OK && !mask) status = sf_fail(SF_NO_MEMORY, "no memory for a picture's line");
    for (int i = 0; i < lines && status == SF_OK; i++) {
        sf_pattern_named(&alone, &own, 0, query[i], mask);
        draw_mask(p, line[i], a->keys - a->queries + query[i] + 1, mask);
    }
    free(mask);
    free_pattern(&own);
    return status;
}

/* ---- prefill ----------------------------------------------------------------------------------------------------- */

sf_status sf_batch_picture_prefill(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, sf_picture *p)
{
    double began = sf_batch_clock(batch->backend);
    int lines = 0, line[SIDE], query[SIDE];
    sf_status status = SF_OK;
    sf_picture_clear(p, a->layer, batch->how->picture_head, a->queries, a->keys);
    for (int y = 0; y < SIDE; y++) {
        int last = edge(a->queries, y + 1) - 1;
        if (last >= edge(a->queries, y)) line[lines] = y, query[lines++] = last;
    }
    const bool slides = sf_layer_slides(batch->config, a->layer);
    if (pattern && !slides) status = draw_pattern(a, pattern, p, lines, line, query);
    for (int i = 0; (!pattern || slides) && i < lines && status == SF_OK; i++) {
        sf_attention one = *a;
        one.window = sf_layer_window(batch->config, a->layer, query[i]);
        if (pattern) {
            status = draw_pattern(&one, pattern, p, 1, &line[i], &query[i]);
            continue;
        }
        one.queries = 1;
        one.q = sf_activation_at(batch->backend, a->q, (int64_t)query[i] * a->heads * a->head_dim);
        one.keys = one.kv.prompt.n = query[i] + 1;
        status = draw_mass(batch, &one, p, line[i]);
    }
    batch->looking += sf_batch_clock(batch->backend) - began;
    return status;
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

sf_status sf_batch_picture_kept(sf_batch *batch, const sf_attention *a, const sf_pattern *pattern, sf_sequence *s)
{
    sf_pattern own;
    double began = sf_batch_clock(batch->backend);
    free(s->pictured);
    s->pictured = calloc((size_t)a->keys + 1, 1);
    sf_status status = pattern_of_head(a, pattern, batch->how->picture_head, &own);
    if (status == SF_OK && !s->pictured) status = sf_fail(SF_NO_MEMORY, "no memory for a picture");
    if (status == SF_OK && own.kind == SF_DENSE) memset(s->pictured, 1, (size_t)a->keys);
    for (int32_t i = 0; status == SF_OK && own.kind == SF_TOKENS && i < own.first.count[0]; i++)
        s->pictured[own.first.index[i]] = 1;
    free_pattern(&own);
    batch->looking += sf_batch_clock(batch->backend) - began;
    return status;
}

/* What was kept of the prompt, and the whole tail. */
static sf_status draw_kept(const sf_sequence *s, int keys, sf_picture *p, int y)
{
    int tokens = s->job->tokens;
    uint8_t *mask = malloc((size_t)keys + 1);
    if (!mask) return sf_fail(SF_NO_MEMORY, "no memory for a picture's line");
    memcpy(mask, s->pictured, (size_t)tokens);
    memset(mask + tokens, 1, (size_t)(keys - tokens));
    draw_mask(p, y, keys, mask);
    free(mask);
    return SF_OK;
}

sf_status sf_batch_picture_step(sf_batch *batch, sf_sequence *s, const sf_attention *a, const sf_pattern *pattern,
                                int step)
{
    sf_picture *p = s->lane->picture[SF_DECODE];
    int steps = sf_job_steps(s->job, batch->how), stride = (steps + SIDE - 1) / SIDE, first = 0;
    if (step == 0) sf_picture_clear(p, a->layer, batch->how->picture_head, steps, s->job->tokens + steps);
    if (step % stride) return SF_OK;
    double began = sf_batch_clock(batch->backend);
    int y = step / stride;
    sf_status status = s->pictured     ? draw_kept(s, s->job->tokens + step + 1, p, y)
                       : s->lane->decode ? draw_pattern(a, pattern, p, 1, &y, &first)
                                         : draw_mass(batch, a, p, y);
    batch->looking += sf_batch_clock(batch->backend) - began;
    return status;
}
