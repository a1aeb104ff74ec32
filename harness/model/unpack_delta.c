/* Qwen3-Next's and Qwen3.5's projections, whose rows stand head by head, each head's parts one below the other. */
#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <stdio.h>
#include <string.h>

/* Some rows of each group of a tensor whose rows are `groups` equal groups. */
typedef struct piece { int64_t groups, first, rows; } piece;
enum { PIECES = 3 };

/* to = the pieces of from[0], one below the other, each from group to group; how many, and of what, stands in the item. */
static void gather_rows(const sf_unpack_item *i)
{
    const sf_tensor *from = &i->from[0]->tensor;
    const int64_t width = from->rank == 2 ? from->dim[1] : 1;
    const size_t row = sf_bytes(from->dtype, width);
    char *to = i->to.data;
    for (int p = 0; p < PIECES && i->piece[p].groups; p++) {
        const int64_t group = from->dim[0] / i->piece[p].groups;
        for (int64_t g = 0; g < i->piece[p].groups; g++) {
            const size_t bytes = (size_t)i->piece[p].rows * row;
            memcpy(to, (const char *)from->data + (size_t)(g * group + i->piece[p].first) * row, bytes);
            to += bytes;
        }
    }
}

/* Plans above + `to`, of these pieces of above + `name`, which has `rows` rows. */
static sf_status plan(sf_unpack *u, sf_safetensors *s, const char *above, const char *name, int64_t rows, int64_t columns, const char *to,
                      const piece *pieces)
{
    char full[192];
    snprintf(full, sizeof full, "%s%s", above, name);
    sf_st_tensor *t = sf_safetensors_find(s, full);
    const int64_t dim[2] = {rows, columns};
    const int rank = columns ? 2 : 1;
    if (!t) return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, not found", u->folder, full, sf_shape_text(rank, dim));
    if (!t->readable || t->tensor.rank != rank || memcmp(t->tensor.dim, dim, (size_t)rank * sizeof *dim) != 0)
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected F32, F16 or BF16 of shape %s, found %s of %s", t->file, full,
                       sf_shape_text(rank, dim), t->type, sf_shape_text(t->tensor.rank, t->tensor.dim));
    t->used = true;
    sf_unpack_item i = {.to = {.dtype = t->tensor.dtype, .rank = rank, .dim = {0, columns}}, .from = {t}, .fill = gather_rows};
    snprintf(i.name, sizeof i.name, "%s%s", above, to);
    for (int p = 0; p < PIECES; p++) {
        i.piece[p].groups = pieces[p].groups, i.piece[p].first = pieces[p].first, i.piece[p].rows = pieces[p].rows;
        i.to.dim[0] += pieces[p].groups * pieces[p].rows;
    }
    return sf_unpack_add(u, &i);
}

static sf_status plan_attention(sf_unpack *u, sf_safetensors *s, const char *above, const sf_model_config *c)
{
    const int64_t D = c->head_dim, rows = 2 * c->heads * D;
    const piece q[PIECES] = {{c->heads, 0, D}}, gate[PIECES] = {{c->heads, D, D}};
    SF_TRY(plan(u, s, above, "self_attn.q_proj.weight", rows, c->d, "self_attn.gate_proj.weight", gate));
    SF_TRY(plan(u, s, above, "self_attn.q_proj.weight", rows, c->d, "self_attn.q_proj.weight", q));
    if (!c->qkv_bias) return SF_OK;
    SF_TRY(plan(u, s, above, "self_attn.q_proj.bias", rows, 0, "self_attn.gate_proj.bias", gate));
    return plan(u, s, above, "self_attn.q_proj.bias", rows, 0, "self_attn.q_proj.bias", q);
}

/* Qwen3-Next stores a key head's q, k, values and gates together; Qwen3.5 does not. */
static sf_status plan_mixer(sf_unpack *u, sf_safetensors *s, const char *above, const sf_model_config *c)
{
    const int64_t groups = c->delta.key_heads, key = c->delta.key_dim, each = c->delta.value_heads / groups, value = each * c->delta.value_dim;
    const int64_t rows = groups * 2 * (key + value);
    const piece qkv[PIECES] = {{groups, 0, key}, {groups, key, key}, {groups, 2 * key, value}}, z[PIECES] = {{groups, 2 * key + value, value}};
    const piece b[PIECES] = {{groups, 0, each}}, a[PIECES] = {{groups, each, each}};
    SF_TRY(plan(u, s, above, "linear_attn.in_proj_qkvz.weight", rows, c->d, "linear_attn.in_proj_qkv.weight", qkv));
    SF_TRY(plan(u, s, above, "linear_attn.in_proj_qkvz.weight", rows, c->d, "linear_attn.in_proj_z.weight", z));
    SF_TRY(plan(u, s, above, "linear_attn.in_proj_ba.weight", 2 * groups * each, c->d, "linear_attn.in_proj_b.weight", b));
    return plan(u, s, above, "linear_attn.in_proj_ba.weight", 2 * groups * each, c->d, "linear_attn.in_proj_a.weight", a);
}

static sf_status unpack(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c, bool together)
{
    sf_unpack u = {.folder = folder};
    sf_status status = SF_OK;
    for (int l = 0; status == SF_OK && l < c->layers; l++) {
        char above[96];
        snprintf(above, sizeof above, "%slayers.%d.", prefix, l);
        if (!sf_layer_recurs(c, l)) status = plan_attention(&u, s, above, c);
        else if (together) status = plan_mixer(&u, s, above, c);
    }
    return sf_unpack_run(&u, status, s);
}

sf_status sf_unpack_qwen3_next(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    return unpack(s, folder, prefix, c, true);
}

sf_status sf_unpack_qwen3_5(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    return unpack(s, folder, prefix, c, false);
}

/* The parts of a layer's experts that follow each other, `rows` rows of `columns` each, in above + `name`, where there is such. */
static sf_status name_experts(sf_safetensors *s, const char *folder, const char *above, const char *name, int parts, const char *const *part,
                              int experts, int64_t rows, int64_t columns)
{
    char full[192];
    snprintf(full, sizeof full, "%smlp.experts.%s", above, name);
    sf_st_tensor *t = sf_safetensors_find(s, full);
    const int64_t dim[3] = {experts, parts * rows, columns};
    if (!t) return SF_OK;
    if (!t->readable || t->tensor.rank != 3 || memcmp(t->tensor.dim, dim, sizeof dim) != 0)
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected F32, F16 or BF16 of shape %s, found %s of %s", folder, full,
                       sf_shape_text(3, dim), t->type, sf_shape_text(t->tensor.rank, t->tensor.dim));
    t->used = true;
    const sf_tensor from = t->tensor;
    const char *file = t->file;
    for (int i = 0; i < experts * parts; i++) {
        const sf_tensor one = {(char *)from.data + sf_bytes(from.dtype, i * rows * columns), from.dtype, 2, {rows, columns}};
        snprintf(full, sizeof full, "%smlp.experts.%d.%s.weight", above, i / parts, part[i % parts]);
        SF_TRY(sf_safetensors_add(s, full, &one, file));
    }
    return SF_OK;
}

sf_status sf_unpack_qwen3_5_moe(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    static const char *const UP[] = {"gate_proj", "up_proj"}, *const DOWN[] = {"down_proj"};
    SF_TRY(unpack(s, folder, prefix, c, false));
    for (int l = 0; l < c->layers; l++) {
        char above[96];
        snprintf(above, sizeof above, "%slayers.%d.", prefix, l);
        SF_TRY(name_experts(s, folder, above, "gate_up_proj", 2, UP, c->router.experts, c->expert_mlp, c->d));
        sf_safetensors_sort(s); /* what was added stands at the end until then, where nothing is looked for */
        SF_TRY(name_experts(s, folder, above, "down_proj", 1, DOWN, c->router.experts, c->d, c->expert_mlp));
        sf_safetensors_sort(s);
    }
    return SF_OK;
}
