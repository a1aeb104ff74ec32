/* Latent attention's up-projection [H · (own + value), r]: checkpoints store, head by head, the rows of its key and of its value below
 * each other, as the latent gives them. Here the key's matrix goes the other way, from a query to the latent's side: transposed. */
#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <stdio.h>
#include <string.h>

/* Transposed in the dtype that they have, or in F32 where that has blocks. */
static sf_dtype dtype_of_keys(sf_dtype from) { return sf_dtypes[from].block == 1 ? from : SF_F32; }

/* to [H · r, own], of the first `own` rows of each head. */
static void transpose_keys(const sf_tensor *both, int64_t heads, const sf_tensor *to)
{
    enum { SOME = 256 }; /* numbers at a time: a multiple of every block */
    const int64_t r = both->dim[1], own = to->dim[1], rows = both->dim[0] / heads;
    const size_t size = sf_bytes(to->dtype, 1);
    float some[SOME];
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < own; i++)
            for (int64_t j = 0; j < r; j += SOME) {
                const int64_t n = r - j < SOME ? r - j : SOME;
                const char *from = (const char *)both->data + sf_bytes(both->dtype, (h * rows + i) * r + j);
                if (to->dtype != both->dtype) sf_to_f32(both->dtype, from, some, n), from = (const char *)some;
                for (int64_t k = 0; k < n; k++)
                    memcpy((char *)to->data + (size_t)((h * r + j + k) * own + i) * size, from + (size_t)k * size, size);
            }
}

/* which: the number of heads. */
static void fill_keys(const sf_unpack_item *i) { transpose_keys(&i->from[0]->tensor, i->which, &i->to); }

sf_status sf_unpack_latent(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    sf_unpack u = {.folder = folder};
    sf_status status = SF_OK;
    const int64_t dim[2] = {(int64_t)c->heads * (c->own_dim + c->value_dim), c->latent};
    for (int l = 0; status == SF_OK && l < c->layers; l++) {
        char name[192];
        snprintf(name, sizeof name, "%slayers.%d.self_attn.kv_b_proj.weight", prefix, l);
        const sf_st_tensor *from = sf_safetensors_find(s, name);
        if (!from || !from->readable) continue; /* whoever looks for its values says so */
        if (from->tensor.rank != 2 || memcmp(from->tensor.dim, dim, sizeof dim) != 0)
            return sf_unpack_run(&u, sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, found %s", from->file, name, sf_shape_text(2, dim),
                                             sf_shape_text(from->tensor.rank, from->tensor.dim)), s);
        sf_unpack_item i = {.from = {from}, .fill = fill_keys, .which = c->heads,
                            .to = {.dtype = dtype_of_keys(from->tensor.dtype), .rank = 2, .dim = {(int64_t)c->heads * c->latent, c->own_dim}}};
        snprintf(i.name, sizeof i.name, "%slayers.%d.self_attn.k_b_proj.weight", prefix, l);
        status = sf_unpack_add(&u, &i);
    }
    return sf_unpack_run(&u, status, s);
}

/* to [H · value, r], of the last rows of each head. */
static void gather_values(const sf_tensor *both, int64_t heads, const sf_tensor *to)
{
    const size_t row = sf_bytes(both->dtype, both->dim[1]);
    const int64_t rows = both->dim[0] / heads, value = to->dim[0] / heads;
    for (int64_t h = 0; h < heads; h++)
        memcpy((char *)to->data + (size_t)(h * value) * row, (const char *)both->data + (size_t)((h + 1) * rows - value) * row, (size_t)value * row);
}

static size_t room_of(const sf_tensor *t) { return (sf_bytes(t->dtype, sf_elements(t)) + 63) / 64 * 64; }

static sf_gguf_tensor *both_of(const sf_gguf *g, int layer)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.attn_kv_b.weight", layer);
    return sf_gguf_find_tensor(g, name);
}

sf_status sf_unpack_latent_gguf(sf_gguf *g, const sf_model_config *c, sf_mapping *made)
{
    const int64_t heads = c->heads, dim[2] = {heads * (c->own_dim + c->value_dim), c->latent};
    size_t bytes = 0;
    for (int l = 0; l < c->layers; l++) { /* keys take eight bytes a number at most */
        const sf_gguf_tensor *both = both_of(g, l);
        if (!both) return sf_fail(SF_BAD_INPUT, "%s: tensor blk.%d.attn_kv_b.weight: expected shape %s, not found", g->path, l, sf_shape_text(2, dim));
        if (both->tensor.rank != 2 || memcmp(both->tensor.dim, dim, sizeof dim) != 0)
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, found %s", g->path, both->name, sf_shape_text(2, dim),
                           sf_shape_text(both->tensor.rank, both->tensor.dim));
        bytes += 2 * 64 + (size_t)(heads * c->latent * c->own_dim) * sizeof(double) + room_of(&both->tensor);
    }
    sf_gguf_tensor *all = realloc(g->tensor, (g->tensors + 2 * (size_t)c->layers) * sizeof *all);
    if (!all) return sf_fail(SF_NO_MEMORY, "%s: no memory for its tensors", g->path);
    g->tensor = all;
    SF_TRY(sf_blame(sf_map_memory(bytes, made), "%s: weights to be unpacked", g->path));
    char *at = made->data;
    for (int l = 0; l < c->layers; l++) {
        sf_gguf_tensor *both = both_of(g, l), *key = &g->tensor[g->tensors++], *value = &g->tensor[g->tensors++];
        both->used = true;
        *key = *value = (sf_gguf_tensor){0};
        snprintf(key->name, sizeof key->name, "blk.%d.attn_k_b.weight", l);
        snprintf(value->name, sizeof value->name, "blk.%d.attn_v_b.weight", l);
        key->tensor = (sf_tensor){at, dtype_of_keys(both->tensor.dtype), 2, {heads * c->latent, c->own_dim}};
        at += room_of(&key->tensor);
        value->tensor = (sf_tensor){at, both->tensor.dtype, 2, {heads * c->value_dim, c->latent}};
        at += room_of(&value->tensor);
        transpose_keys(&both->tensor, heads, &key->tensor);
        gather_values(&both->tensor, heads, &value->tensor);
    }
    return SF_OK;
}
