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
