#include "methods/side.h"

#include <stdio.h>
#include <string.h>

const sf_param *sf_side_param(const sf_method *m, const char *name)
{
    for (const sf_param *p = m->params; p && p->name; p++)
        if (p->type == SF_INT && strcmp(p->name, name) == 0) return p;
    return NULL;
}

int sf_side_shape(const sf_side_weight *w, const sf_side_sizes *sizes, const sf_method *m, const void *params, int64_t dim[4])
{
    int64_t size[SF_SIDE_SIZES] = {sizes->heads, sizes->kv_heads, sizes->head_dim, sizes->width, 1};
    int rank = 0;
    for (int i = 0; i < 2 && w->by[i]; i++) size[-SF_SIDE_PARAMS - 1] *= *(const int *)((const char *)params + sf_side_param(m, w->by[i])->offset);
    for (; rank < 4 && w->dim[rank]; rank++) {
        const int said = w->dim[rank], at = (-said - 1) % SF_SIDE_SIZES, times = (-said - 1) / SF_SIDE_SIZES + 1;
        dim[rank] = said > 0 ? said : times * size[at];
    }
    return rank;
}

sf_dtype sf_side_dtype(const sf_side_weight *w, sf_dtype activation)
{
    return w->dim[1] == SF_SIDE_WIDTH && !w->dim[2] ? activation : SF_F32;
}

const char *sf_side_name(const char *name, int layer, size_t room, char *out)
{
    const char *at = strstr(name, "%d");
    if (at) snprintf(out, room, "%.*s%d%s", (int)(at - name), name, layer, at + 2);
    else snprintf(out, room, "%s", name);
    return out;
}

const char *sf_side_path(const sf_method *m, const void *params)
{
    for (const sf_param *p = m->params; p && p->name; p++)
        if (strcmp(p->name, "weights") == 0) return *(const char *const *)((const char *)params + p->offset);
    return NULL;
}

const sf_side *sf_side_of(const sf_side *list, const sf_method *m, const void *params)
{
    const char *path = m->weights ? sf_side_path(m, params) : NULL;
    for (; path && list; list = list->next)
        if (list->method == m && strcmp(list->path, path) == 0) return list;
    return NULL;
}

sf_tensor sf_weight(sf_attention *a, const char *name)
{
    const sf_side *s = a->side;
    char told[256];
    if (a->status != SF_OK) return (sf_tensor){0};
    for (int i = 0; s && i < s->weights; i++)
        if (strcmp(s->method->weights[i].name, name) == 0) return s->tensor[(int64_t)a->layer * s->weights + i];
    sf_side_name(name, a->layer, sizeof told, told);
    a->status = s ? sf_fail(SF_BAD_INPUT, "sf_weight: '%s' is none of the method's weights", told)
                  : sf_fail(SF_UNSUPPORTED, "sf_weight: '%s': no weights are loaded here; they are in a run", told);
    return (sf_tensor){0};
}
