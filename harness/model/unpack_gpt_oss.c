/* gpt-oss's experts. */
#include "harness/model/unpack.h"

#include <stdio.h>

/* to [E, m, d] = column 2i + which of from [E, d, 2m] */
static void half_of_columns(const sf_unpack_item *i)
{
    const uint16_t *from = i->from[0]->tensor.data;
    uint16_t *to = i->to.data;
    int64_t experts = i->to.dim[0], m = i->to.dim[1], d = i->to.dim[2];
    for (int64_t e = 0; e < experts; e++)
        for (int64_t c = 0; c < d; c++)
            for (int64_t r = 0; r < m; r++) to[(e * m + r) * d + c] = from[(e * d + c) * 2 * m + 2 * r + i->which];
}

/* to [E, m] = from [E, 2m], every second */
static void half_of_biases(const sf_unpack_item *i)
{
    const uint16_t *from = i->from[0]->tensor.data;
    int64_t n = sf_elements(&i->to);
    for (int64_t k = 0; k < n; k++) ((uint16_t *)i->to.data)[k] = from[2 * k + i->which];
}

/* Blocks of 32: from neighbours in a byte, with scales apart, to ggml's halves of a block behind their scale. Rows in turn
 * (`which` 0 or 1), or all of them (2). */
static void ggml_blocks(const sf_unpack_item *i)
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
static sf_status plan_experts(sf_unpack *u, sf_safetensors *s, const char *folder, const char *above, int part, const sf_model_config *c)
{
    static const char *const TO[] = {"gate", "up", "down"}, *const FROM[] = {"gate_up_proj", "gate_up_proj", "down_proj"};
    int64_t experts = c->router.experts, m = c->expert_mlp, d = c->d;
    bool down = part == 2;
    int64_t rows = down ? d : m, columns = down ? m : d, wide = down ? d : 2 * m;
    char name[192];
    sf_unpack_item i = {.to = {.dtype = SF_BF16, .rank = 3, .dim = {experts, rows, columns}}, .fill = down ? sf_unpack_transposed : half_of_columns, .which = part};
    snprintf(i.name, sizeof i.name, "%s%s", above, TO[part]);
    snprintf(name, sizeof name, "%s%s_blocks", above, FROM[part]);
    if (sf_safetensors_find(s, name)) {
        if (columns % 32 != 0) return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected rows of a multiple of 32", folder, name);
        SF_TRY(sf_unpack_take(s, folder, name, "U8", 4, (int64_t[]){experts, wide, columns / 32, 16}, &i.from[0]));
        snprintf(name, sizeof name, "%s%s_scales", above, FROM[part]);
        SF_TRY(sf_unpack_take(s, folder, name, "U8", 3, (int64_t[]){experts, wide, columns / 32}, &i.from[1]));
        i.to.dtype = SF_MXFP4;
        i.fill = ggml_blocks;
    } else {
        snprintf(name, sizeof name, "%s%s", above, FROM[part]);
        SF_TRY(sf_unpack_take(s, folder, name, "BF16", 3, (int64_t[]){experts, columns, wide}, &i.from[0]));
        if (down) i.which = 0;
    }
    SF_TRY(sf_unpack_add(u, &i));
    if (down) return SF_OK; /* its biases stand as they are looked for */

    sf_unpack_item bias = {.to = {.dtype = SF_BF16, .rank = 2, .dim = {experts, m}}, .fill = half_of_biases, .which = part};
    snprintf(bias.name, sizeof bias.name, "%s%s_bias", above, TO[part]);
    snprintf(name, sizeof name, "%s%s_bias", above, FROM[part]);
    SF_TRY(sf_unpack_take(s, folder, name, "BF16", 2, (int64_t[]){experts, 2 * m}, &bias.from[0]));
    return sf_unpack_add(u, &bias);
}

sf_status sf_unpack_gpt_oss(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    sf_unpack u = {.folder = folder};
    sf_status status = SF_OK;
    for (int l = 0; l < c->layers; l++) {
        char above[96];
        snprintf(above, sizeof above, "%slayers.%d.mlp.experts.", prefix, l);
        for (int part = 0; status == SF_OK && part < 3; part++) status = plan_experts(&u, s, folder, above, part, c);
    }
    return sf_unpack_run(&u, status, s);
}
