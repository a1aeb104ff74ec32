/* Qwen3-Next's and Qwen3.5's projections, whose rows stand head by head, each head's parts one below the other; and what GGUF holds
 * otherwise of all layers that decay. */
#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Some rows of each group of a tensor whose rows are `groups` equal groups. */
typedef struct piece { int64_t groups, first, rows; } piece;
enum { PIECES = 3 };

/* to = the pieces of `from`, one below the other, each from group to group. Returns the end. */
static char *gather(const sf_tensor *from, int64_t groups, int64_t first, int64_t rows, char *to)
{
    const size_t row = sf_bytes(from->dtype, from->rank == 2 ? from->dim[1] : 1), bytes = (size_t)rows * row;
    const int64_t group = from->dim[0] / groups;
    for (int64_t g = 0; g < groups; g++, to += bytes) memcpy(to, (const char *)from->data + (size_t)(g * group + first) * row, bytes);
    return to;
}

/* to = the item's pieces of from[0]. */
static void gather_rows(const sf_unpack_item *i)
{
    char *to = i->to.data;
    for (int p = 0; p < PIECES && i->piece[p].groups; p++)
        to = gather(&i->from[0]->tensor, i->piece[p].groups, i->piece[p].first, i->piece[p].rows, to);
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
    snprintf(full, sizeof full, "%s%s", above, name);
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

/* What holds gates above what they gate, and what holds the matrices back, in each layer. */
static sf_status unpack_experts(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c, const char *wide,
                                const char *narrow)
{
    static const char *const UP[] = {"gate_proj", "up_proj"}, *const DOWN[] = {"down_proj"};
    for (int l = 0; l < c->layers; l++) {
        char above[96];
        snprintf(above, sizeof above, "%slayers.%d.", prefix, l);
        SF_TRY(name_experts(s, folder, above, wide, 2, UP, c->router.experts, c->expert_mlp, c->d));
        sf_safetensors_sort(s); /* what was added stands at the end until then, where nothing is looked for */
        SF_TRY(name_experts(s, folder, above, narrow, 1, DOWN, c->router.experts, c->d, c->expert_mlp));
        sf_safetensors_sort(s);
    }
    return SF_OK;
}

sf_status sf_unpack_qwen3_5_moe(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    SF_TRY(unpack(s, folder, prefix, c, false));
    return unpack_experts(s, folder, prefix, c, "mlp.experts.gate_up_proj", "mlp.experts.down_proj");
}

sf_status sf_unpack_granite_experts(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    return unpack_experts(s, folder, prefix, c, "block_sparse_moe.input_linear.weight", "block_sparse_moe.output_linear.weight");
}

/* from[0], each piece times its own number: rows of taps in the order v, B, C. */
static void scale_rows(const sf_unpack_item *i)
{
    const sf_tensor *from = &i->from[0]->tensor;
    const int64_t width = i->to.dim[1];
    float *to = i->to.data;
    sf_to_f32(from->dtype, from->data, to, i->to.dim[0] * width);
    for (int p = 0; p < PIECES; p++)
        for (int64_t n = i->piece[p].rows * width; n > 0; n--) *to++ *= i->by[p];
}

sf_status sf_unpack_falcon_h1(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    sf_unpack u = {.folder = folder};
    sf_status status = SF_OK;
    const int64_t out = (int64_t)c->delta.value_heads * c->delta.value_dim, group = (int64_t)c->delta.key_heads * c->delta.key_dim;
    const int64_t rows[PIECES] = {out, group, group}, dim[3] = {out + 2 * group, 1, c->kernel};
    for (int l = 0; status == SF_OK && l < c->layers; l++) {
        sf_unpack_item i = {.to = {.dtype = SF_F32, .rank = 2, .dim = {dim[0], dim[2]}}, .at = -1, .fill = scale_rows};
        snprintf(i.name, sizeof i.name, "%slayers.%d.mamba.conv1d.weight", prefix, l);
        sf_st_tensor *t = sf_safetensors_find(s, i.name);
        if (!t || !t->readable || t->tensor.rank != 3 || memcmp(t->tensor.dim, dim, sizeof dim) != 0)
            status = sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected F32, F16 or BF16 of shape %s, found %s", folder, i.name, sf_shape_text(3, dim),
                             t ? sf_shape_text(t->tensor.rank, t->tensor.dim) : "none");
        if (status != SF_OK) break;
        i.from[0] = t;
        for (int p = 0; p < PIECES; p++) i.piece[p].rows = rows[p], i.by[p] = c->multipliers.convolution[p];
        snprintf(i.name, sizeof i.name, "%slayers.%d.mamba.conv1d.scaled", prefix, l);
        t->used = true;
        status = sf_unpack_add(&u, &i);
    }
    return sf_unpack_run(&u, status, s);
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

/* Room for what is made, in a mapping that is grown only once: `at` NULL counts. */
typedef struct making {
    sf_gguf *g;
    char *at;
    size_t bytes;
    uint64_t tensors; /* that are added */
} making;

/* blk.L.NAME, in the file's place where it has that name, or beside it; NULL: it is only counted. */
static sf_tensor *make(making *m, int layer, const char *name, const sf_tensor *shape)
{
    const size_t bytes = (sf_bytes(shape->dtype, sf_elements(shape)) + 63) / 64 * 64;
    char full[65];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    sf_gguf_tensor *there = sf_gguf_find_tensor(m->g, full);
    m->bytes += bytes;
    if (!m->at) {
        m->tensors += !there;
        return NULL;
    }
    if (!there) {
        there = &m->g->tensor[m->g->tensors++];
        *there = (sf_gguf_tensor){0};
        memcpy(there->name, full, sizeof full);
    }
    there->tensor = *shape;
    there->tensor.data = m->at;
    m->at += bytes;
    return &there->tensor;
}

/* The file's tensor, of these rows; a vector without columns. */
static sf_status source(const sf_gguf *g, int layer, const char *name, int64_t rows, int64_t columns, bool required, sf_tensor *out)
{
    char full[65];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    sf_gguf_tensor *t = sf_gguf_find_tensor(g, full);
    const int rank = columns ? 2 : 1;
    const int64_t dim[2] = {rows, columns};
    *out = (sf_tensor){0};
    if (!t && !required) return SF_OK;
    if (!t) return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, not found", g->path, full, sf_shape_text(rank, dim));
    if (t->tensor.rank != rank || memcmp(t->tensor.dim, dim, (size_t)rank * sizeof *dim) != 0)
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, found %s", g->path, full, sf_shape_text(rank, dim),
                       sf_shape_text(t->tensor.rank, t->tensor.dim));
    *out = t->tensor;
    return SF_OK;
}

/* Two parts of each group of rows of blk.L.FROM, which may bear the name of the first. */
static sf_status part(making *m, int layer, const char *from, const sf_tensor *t, int64_t groups, int64_t rows, const char *first, const char *second)
{
    sf_tensor half = *t;
    half.dim[0] = groups * rows;
    sf_tensor *a = make(m, layer, first, &half), *b = make(m, layer, second, &half);
    if (a) gather(t, groups, 0, rows, a->data), gather(t, groups, rows, rows, b->data);
    char full[65];
    snprintf(full, sizeof full, "blk.%d.%s", layer, from);
    if (a) sf_gguf_find_tensor(m->g, full)->used = true;
    return SF_OK;
}

static sf_status make_attending(making *m, int layer, const sf_model_config *c)
{
    sf_tensor q, bias;
    SF_TRY(source(m->g, layer, "attn_q.weight", 2 * c->heads * (int64_t)c->head_dim, c->d, true, &q));
    SF_TRY(part(m, layer, "attn_q.weight", &q, c->heads, c->head_dim, "attn_q.weight", "attn_gate.weight"));
    if (!c->qkv_bias) return SF_OK;
    SF_TRY(source(m->g, layer, "attn_q.bias", 2 * c->heads * (int64_t)c->head_dim, 0, true, &bias));
    return part(m, layer, "attn_q.bias", &bias, c->heads, c->head_dim, "attn_q.bias", "attn_gate.bias");
}

/* Of a state space the rates stand in rows of one number. */
static sf_status make_recurrent(making *m, int layer, const sf_model_config *c)
{
    const int64_t heads = c->delta.value_heads, groups = c->delta.key_heads;
    const bool delta = c->mixer == SF_GATED_DELTA;
    sf_tensor a, both = {0};
    if (delta) SF_TRY(source(m->g, layer, "ssm_ba.weight", 2 * heads, c->d, false, &both));
    if (both.rank) SF_TRY(part(m, layer, "ssm_ba.weight", &both, groups, heads / groups, "ssm_beta.weight", "ssm_alpha.weight"));
    SF_TRY(source(m->g, layer, "ssm_a", heads, delta ? 0 : 1, true, &a));
    const sf_tensor shape = {.dtype = SF_F32, .rank = 1, .dim = {heads}};
    sf_tensor *to = make(m, layer, "ssm_a", &shape);
    if (!to) return SF_OK;
    float *rate = to->data;
    sf_to_f32(a.dtype, a.data, rate, heads);
    for (int64_t h = 0; h < heads; h++) {
        if (!(rate[h] < 0)) return sf_fail(SF_BAD_INPUT, "%s: tensor blk.%d.ssm_a: expected numbers below 0, found %g", m->g->path, layer, (double)rate[h]);
        rate[h] = (float)log(-(double)rate[h]);
    }
    return SF_OK;
}

static sf_status make_layers(making *m, const sf_model_config *c)
{
    for (int l = 0; l < c->layers; l++) {
        if (sf_layer_recurs(c, l)) SF_TRY(make_recurrent(m, l, c));
        else if (c->attention_gate) SF_TRY(make_attending(m, l, c));
    }
    return SF_OK;
}

sf_status sf_unpack_delta_gguf(sf_gguf *g, const sf_model_config *c, sf_mapping *made)
{
    making m = {.g = g};
    SF_TRY(make_layers(&m, c));
    sf_gguf_tensor *all = realloc(g->tensor, (g->tensors + m.tensors + 1) * sizeof *all);
    if (!all) return sf_fail(SF_NO_MEMORY, "%s: no memory for its tensors", g->path);
    g->tensor = all;
    SF_TRY(sf_blame(sf_map_memory(m.bytes, made), "%s: weights to be unpacked", g->path));
    m.at = made->data;
    return make_layers(&m, c);
}
