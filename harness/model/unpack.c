#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tensor to be made, and what of. */
typedef struct item item;
struct item {
    char name[192];
    sf_tensor to;
    const sf_st_tensor *from[2]; /* of no use once tensors are added */
    const char *file;
    void (*fill)(const item *i);
    int which; /* of two that stand in turn: 0, 1 */
};

typedef struct plan {
    item *item;
    int items, room;
    size_t bytes;
} plan;

enum { ALIGN = 64 };

static sf_status add(plan *p, const item *i, const char *folder)
{
    if (p->items == p->room) {
        p->room = p->room ? 2 * p->room : 256;
        item *more = realloc(p->item, (size_t)p->room * sizeof *more);
        if (!more) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", folder);
        p->item = more;
    }
    p->item[p->items] = *i;
    p->item[p->items++].file = i->from[0]->file;
    p->bytes += (sf_bytes(i->to.dtype, sf_elements(&i->to)) + ALIGN - 1) / ALIGN * ALIGN;
    return SF_OK;
}

/* Makes what is planned, adds it to the tensors of `s`, and frees the plan. */
static sf_status carry_out(plan *p, sf_status status, sf_safetensors *s, const char *folder)
{
    if (status == SF_OK && p->items) status = sf_blame(sf_map_memory(p->bytes, &s->made), "%s: weights to be unpacked", folder);
    char *at = s->made.data;
    for (int i = 0; status == SF_OK && i < p->items; i++) {
        p->item[i].to.data = at;
        at += (sf_bytes(p->item[i].to.dtype, sf_elements(&p->item[i].to)) + ALIGN - 1) / ALIGN * ALIGN;
    }
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < (status == SF_OK ? p->items : 0); i++) p->item[i].fill(&p->item[i]);
    for (int i = 0; status == SF_OK && i < p->items; i++)
        status = sf_safetensors_add(s, p->item[i].name, &p->item[i].to, p->item[i].file);
    if (status == SF_OK) sf_safetensors_sort(s);
    free(p->item);
    return status;
}

/* The tensor, marked as used; error: another type or shape. dim [rank]. */
static sf_status take(sf_safetensors *s, const char *folder, const char *name, const char *type, int rank, const int64_t *dim,
                      const sf_st_tensor **out)
{
    sf_st_tensor *t = sf_safetensors_find(s, name);
    if (!t) return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected %s of shape %s, not found", folder, name, type, sf_shape_text(rank, dim));
    if (strcmp(t->type, type) != 0 || t->tensor.rank != rank || memcmp(t->tensor.dim, dim, (size_t)rank * sizeof *dim) != 0)
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected %s of shape %s, found %s of %s", t->file, name, type,
                       sf_shape_text(rank, dim), t->type, sf_shape_text(t->tensor.rank, t->tensor.dim));
    t->used = true;
    *out = t;
    return SF_OK;
}

/* ---- gpt-oss --------------------------------------------------------------------------------------------------------- */

/* to [E, m, d] = column 2i + which of from [E, d, 2m] */
static void half_of_columns(const item *i)
{
    const uint16_t *from = i->from[0]->tensor.data;
    uint16_t *to = i->to.data;
    int64_t experts = i->to.dim[0], m = i->to.dim[1], d = i->to.dim[2];
    for (int64_t e = 0; e < experts; e++)
        for (int64_t c = 0; c < d; c++)
            for (int64_t r = 0; r < m; r++) to[(e * m + r) * d + c] = from[(e * d + c) * 2 * m + 2 * r + i->which];
}

/* to [E, d, m] = from [E, m, d], transposed */
static void transposed(const item *i)
{
    const uint16_t *from = i->from[0]->tensor.data;
    uint16_t *to = i->to.data;
    int64_t experts = i->to.dim[0], d = i->to.dim[1], m = i->to.dim[2];
    for (int64_t e = 0; e < experts; e++)
        for (int64_t c = 0; c < m; c++)
            for (int64_t r = 0; r < d; r++) to[(e * d + r) * m + c] = from[(e * m + c) * d + r];
}

/* to [E, m] = from [E, 2m], every second */
static void half_of_biases(const item *i)
{
    const uint16_t *from = i->from[0]->tensor.data;
    int64_t n = sf_elements(&i->to);
    for (int64_t k = 0; k < n; k++) ((uint16_t *)i->to.data)[k] = from[2 * k + i->which];
}

/* Blocks of 32: from neighbours in a byte, with scales apart, to ggml's halves of a block behind their scale. Rows in turn
 * (`which` 0 or 1), or all of them (2). */
static void ggml_blocks(const item *i)
{
    const uint8_t *blocks = i->from[0]->tensor.data, *scales = i->from[1]->tensor.data;
    int64_t rows = i->to.dim[0] * i->to.dim[1], columns = i->to.dim[2] / 32;
    uint8_t *to = i->to.data;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t b = 0; b < columns; b++, to += 17) {
            int64_t at = (i->which < 2 ? 2 * r + i->which : r) * columns + b;
            const uint8_t *from = blocks + 16 * at;
            to[0] = scales[at];
            for (int k = 0; k < 16; k++) {
                int low = from[k / 2] >> k % 2 * 4 & 15, high = from[8 + k / 2] >> k % 2 * 4 & 15;
                to[1 + k] = (uint8_t)(low | high << 4);
            }
        }
    }
}

/* One of gate, up and down of a layer's experts. */
static sf_status plan_experts(plan *p, sf_safetensors *s, const char *folder, const char *above, int part, const sf_model_config *c)
{
    static const char *const TO[] = {"gate", "up", "down"}, *const FROM[] = {"gate_up_proj", "gate_up_proj", "down_proj"};
    int64_t experts = c->router.experts, m = c->expert_mlp, d = c->d;
    bool down = part == 2;
    int64_t rows = down ? d : m, columns = down ? m : d, wide = down ? d : 2 * m;
    char name[192];
    item i = {.to = {.dtype = SF_BF16, .rank = 3, .dim = {experts, rows, columns}}, .fill = down ? transposed : half_of_columns, .which = part};
    snprintf(i.name, sizeof i.name, "%s%s", above, TO[part]);
    snprintf(name, sizeof name, "%s%s_blocks", above, FROM[part]);
    if (sf_safetensors_find(s, name)) {
        if (columns % 32 != 0) return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected rows of a multiple of 32", folder, name);
        SF_TRY(take(s, folder, name, "U8", 4, (int64_t[]){experts, wide, columns / 32, 16}, &i.from[0]));
        snprintf(name, sizeof name, "%s%s_scales", above, FROM[part]);
        SF_TRY(take(s, folder, name, "U8", 3, (int64_t[]){experts, wide, columns / 32}, &i.from[1]));
        i.to.dtype = SF_MXFP4;
        i.fill = ggml_blocks;
    } else {
        snprintf(name, sizeof name, "%s%s", above, FROM[part]);
        SF_TRY(take(s, folder, name, "BF16", 3, (int64_t[]){experts, columns, wide}, &i.from[0]));
    }
    SF_TRY(add(p, &i, folder));
    if (down) return SF_OK; /* its biases stand as they are looked for */

    item bias = {.to = {.dtype = SF_BF16, .rank = 2, .dim = {experts, m}}, .fill = half_of_biases, .which = part};
    snprintf(bias.name, sizeof bias.name, "%s%s_bias", above, TO[part]);
    snprintf(name, sizeof name, "%s%s_bias", above, FROM[part]);
    SF_TRY(take(s, folder, name, "BF16", 2, (int64_t[]){experts, 2 * m}, &bias.from[0]));
    return add(p, &bias, folder);
}

sf_status sf_unpack_gpt_oss(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    plan p = {0};
    sf_status status = SF_OK;
    for (int l = 0; l < c->layers; l++) {
        char above[96];
        snprintf(above, sizeof above, "%slayers.%d.mlp.experts.", prefix, l);
        for (int part = 0; status == SF_OK && part < 3; part++) status = plan_experts(&p, s, folder, above, part, c);
    }
    return carry_out(&p, status, s, folder);
}
