#include "harness/model/side.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/safetensors.h"
#include "harness/model/weights.h"

static int rows_of(const sf_side_weight *w)
{
    int n = 0;
    while (w[n].name) n++;
    return n;
}

static int shape_of(const sf_model_config *c, const sf_method *m, const void *params, const sf_side_weight *w, int64_t dim[4])
{
    return sf_side_shape(w, &(sf_side_sizes){c->heads, c->kv_heads, c->head_dim, c->d}, m, params, dim);
}

/* "[32, 256]", and by which parameters it is that, where it is by any */
static const char *shape_text(int rank, const int64_t dim[4], const char *const by[2], char out[256])
{
    int used = snprintf(out, 256, "%s", sf_shape_text(rank, dim));
    if (by[0]) snprintf(out + used, 256 - (size_t)used, " by %s%s", by[0], by[1] ? " * " : "");
    if (by[0] && by[1]) snprintf(out + strlen(out), 256 - strlen(out), "%s", by[1]);
    return out;
}

static sf_status find(const sf_model_config *c, const sf_safetensors *file, const char *path, const sf_method *m, const void *params,
                      const sf_side_weight *w, int layer, const sf_tensor **out)
{
    char name[256], wanted[256];
    int64_t dim[4];
    const int rank = shape_of(c, m, params, w, dim);
    sf_side_name(w->name, layer, sizeof name, name);
    shape_text(rank, dim, w->by, wanted);
    const sf_st_tensor *t = sf_safetensors_find(file, name);
    if (!t) return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, not found", path, name, wanted);
    if (!t->readable)
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected F32, F16 or BF16 of shape %s, found %s%s", path, name, wanted, t->type,
                       t->tensor.rank < 0 ? " of more than 4 dimensions" : "");
    if (t->tensor.rank != rank || memcmp(t->tensor.dim, dim, (size_t)rank * sizeof *dim) != 0)
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, found %s", path, name, wanted,
                       sf_shape_text(t->tensor.rank, t->tensor.dim));
    *out = &t->tensor;
    return SF_OK;
}

/* Whether weights that were read have the sizes that these parameters ask for. */
static bool fits(const sf_model_config *c, const sf_side *s, const void *params)
{
    for (int64_t i = 0; i < (int64_t)c->layers * s->weights; i++) {
        int64_t dim[4];
        if (!s->tensor[i].data) continue;
        const int rank = shape_of(c, s->method, params, &s->method->weights[i % s->weights], dim);
        if (s->tensor[i].rank != rank || memcmp(s->tensor[i].dim, dim, (size_t)rank * sizeof *dim) != 0) return false;
    }
    return true;
}

static sf_status put(sf_backend *b, const sf_tensor *from, const char *path, const sf_side_weight *w, int layer, sf_tensor *to)
{
    char name[256];
    sf_side_name(w->name, layer, sizeof name, name);
    const int64_t n = sf_elements(from);
    float *host = malloc((size_t)n * sizeof *host + 1);
    if (!host) return sf_fail(SF_NO_MEMORY, "%s: no memory for tensor %s", path, name);
    sf_to_f32(from->dtype, from->data, host, n);
    sf_status status = SF_OK;
    for (int64_t i = 0; i < n && status == SF_OK; i++)
        if (!isfinite(host[i])) status = sf_fail(SF_BAD_INPUT, "%s: tensor %s: element %lld is no finite number", path, name, (long long)i);
    *to = *from;
    to->dtype = sf_side_dtype(w, b->activation);
    to->data = NULL;
    if (status == SF_OK && to->dtype != SF_F32) { /* as linear() has it, in memory of its own where activations are not f32 */
        sf_tensor read = *from;
        read.dtype = SF_F32, read.data = host;
        status = b->ops->import_weight(b, &read, to);
    } else {
        if (status == SF_OK) status = b->ops->alloc(b, sf_bytes(SF_F32, n), &to->data);
        if (status == SF_OK) status = b->ops->upload(b, to->data, host, sf_bytes(SF_F32, n));
    }
    free(host);
    return status;
}

/* All of them, of the layers that methods are called on; b NULL: looked at only. */
static sf_status read_all(sf_backend *b, const sf_model_config *c, const sf_safetensors *file, const sf_method *m, const void *params,
                          const char *path, sf_side *to)
{
    const int n = rows_of(m->weights);
    for (int layer = 0; layer < c->layers; layer++) {
        for (int i = 0; i < n && sf_layer_full(c, layer); i++) {
            const sf_tensor *found = NULL;
            SF_TRY(find(c, file, path, m, params, &m->weights[i], layer, &found));
            if (b) SF_TRY(put(b, found, path, &m->weights[i], layer, &to->tensor[(int64_t)layer * n + i]));
        }
    }
    return SF_OK;
}

static sf_status read_file(sf_backend *b, const sf_model_config *c, const sf_method *m, const void *params, sf_side *to)
{
    const char *path = sf_side_path(m, params);
    sf_safetensors file;
    if (!path)
        return sf_fail(SF_BAD_INPUT, "method '%s': weights: expected a safetensors file with what was trained for the model, found none: "
                       "`%s: {weights: FILE}`", m->name, m->name);
    SF_TRY(sf_blame(sf_safetensors_open_file(path, &file), "method '%s': weights", m->name));
    sf_status status = read_all(b, c, &file, m, params, path, to);
    sf_safetensors_free(&file);
    return sf_blame(status, "method '%s': weights", m->name);
}

sf_status sf_side_check(const sf_model_config *c, const sf_method *m, const void *params)
{
    return m->weights ? read_file(NULL, c, m, params, NULL) : SF_OK;
}

sf_status sf_side_open(sf_backend *b, const sf_model_config *c, const sf_method *m, const void *params, sf_side **list)
{
    if (!m->weights) return SF_OK;
    const sf_side *there = sf_side_of(*list, m, params);
    if (there) return fits(c, there, params) ? SF_OK : sf_side_check(c, m, params); /* which says what does not */
    if (b->comm) return sf_fail(SF_UNSUPPORTED, "method '%s' has trained weights, which are not split over ranks: run it unsplit", m->name);
    sf_side *s = calloc(1, sizeof *s);
    const int n = rows_of(m->weights);
    const char *path = sf_side_path(m, params);
    if (s) *s = (sf_side){*list, m, strdup(path ? path : ""), n, calloc((size_t)c->layers * (size_t)n, sizeof *s->tensor)};
    if (!s || !s->path || !s->tensor) {
        if (s) s->next = NULL;
        sf_side_close(b, c, s);
        return sf_fail(SF_NO_MEMORY, "method '%s': no memory for its weights", m->name);
    }
    sf_status status = read_file(b, c, m, params, s);
    if (status == SF_OK) {
        *list = s;
        return SF_OK;
    }
    s->next = NULL;
    sf_side_close(b, c, s);
    return status;
}

void sf_side_close(sf_backend *b, const sf_model_config *c, sf_side *list)
{
    while (list) {
        sf_side *next = list->next;
        for (int64_t i = 0; list->tensor && i < (int64_t)c->layers * list->weights; i++)
            if (list->tensor[i].data) b->ops->free(b, list->tensor[i].data);
        free(list->tensor);
        free(list->path);
        free(list);
        list = next;
    }
}
