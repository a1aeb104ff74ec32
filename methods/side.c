#include "methods/side.h"

#include <string.h>

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
    if (a->status != SF_OK) return (sf_tensor){0};
    for (int i = 0; s && i < s->weights; i++)
        if (strcmp(s->method->weights[i].name, name) == 0) return s->tensor[(int64_t)a->layer * s->weights + i];
    a->status = s ? sf_fail(SF_BAD_INPUT, "sf_weight: '%s' is none of the method's weights", name)
                  : sf_fail(SF_UNSUPPORTED, "sf_weight: '%s': no weights are loaded here; they are in a run", name);
    return (sf_tensor){0};
}
