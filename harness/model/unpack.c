#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

static size_t room_of(const sf_tensor *t) { return (sf_bytes(t->dtype, sf_elements(t)) + ALIGN - 1) / ALIGN * ALIGN; }

sf_status sf_unpack_add(sf_unpack *u, const sf_unpack_item *i)
{
    if (u->items == u->room) {
        int room = u->room ? 2 * u->room : 256;
        sf_unpack_item *more = realloc(u->item, (size_t)room * sizeof *more);
        if (!more) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", u->folder);
        u->item = more;
        u->room = room;
    }
    u->item[u->items++] = *i;
    u->bytes += room_of(&i->to);
    return SF_OK;
}

void sf_unpack_transposed(const sf_unpack_item *i)
{
    const uint16_t *from = i->from[0]->tensor.data;
    uint16_t *to = i->to.data;
    int64_t experts = i->to.dim[0], m = i->to.dim[1], d = i->to.dim[2], w = i->from[0]->tensor.dim[2];
    for (int64_t e = 0; e < experts; e++)
        for (int64_t c = 0; c < d; c++)
            for (int64_t r = 0; r < m; r++) to[(e * m + r) * d + c] = from[(e * d + c) * w + i->which * m + r];
}

sf_status sf_unpack_run(sf_unpack *u, sf_status status, sf_safetensors *s)
{
    sf_mapping *made = status == SF_OK && u->items ? &s->made[s->makings] : NULL;
    if (made) status = sf_blame(sf_map_memory(u->bytes, made), "%s: weights to be unpacked", u->folder);
    if (made && status == SF_OK) s->makings++;
    char *at = made ? made->data : NULL;
    for (int i = 0; status == SF_OK && i < u->items; i++) {
        const sf_st_tensor *there = sf_safetensors_find(s, u->item[i].name);
        u->item[i].to.data = at;
        u->item[i].file = u->item[i].from[0]->file;
        u->item[i].at = there ? (int)(there - s->tensor) : -1;
        at += room_of(&u->item[i].to);
    }
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < (status == SF_OK ? u->items : 0); i++) u->item[i].fill(&u->item[i]);

    for (int i = 0; status == SF_OK && i < u->items; i++) {
        const sf_unpack_item *item = &u->item[i];
        if (item->at < 0) {
            status = sf_safetensors_add(s, item->name, &item->to, item->file);
        } else {
            s->tensor[item->at].tensor = item->to;
            s->tensor[item->at].readable = true;
            s->tensor[item->at].used = false;
        }
    }
    if (status == SF_OK) sf_safetensors_sort(s);
    free(u->item);
    return status;
}

sf_status sf_unpack_take(sf_safetensors *s, const char *folder, const char *name, const char *type, int rank, const int64_t *dim,
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
