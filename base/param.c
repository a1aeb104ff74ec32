/* Parameters as text. */
#include "base/param.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *param_json(const sf_param *p, const void *params)
{
    const void *at = (const char *)params + p->offset;
    switch (p->type) {
    case SF_INT: return json_integer(*(const int *)at);
    case SF_REAL: return json_real(*(const double *)at);
    case SF_BOOL: return json_boolean(*(const bool *)at);
    case SF_STRING: return *(char *const *)at ? json_string(*(char *const *)at) : json_null();
    case SF_CHOICE: {
        const char *c = p->choices;
        for (int i = *(const int *)at; i > 0; i--) c += strcspn(c, "|") + 1;
        return json_stringn(c, strcspn(c, "|"));
    }
    }
    return json_null();
}

static bool is_default(const sf_param *p, const void *params)
{
    const void *at = (const char *)params + p->offset;
    switch (p->type) {
    case SF_INT: case SF_CHOICE: return *(const int *)at == (int)p->initial;
    case SF_REAL: return *(const double *)at == p->initial;
    case SF_BOOL: return *(const bool *)at == (p->initial != 0);
    case SF_STRING: {
        const char *text = *(char *const *)at;
        return text == p->text || (text && p->text && strcmp(text, p->text) == 0);
    }
    }
    return true;
}

char *sf_params_json(const sf_param *table, const void *params)
{
    json_t *object = json_object();
    bool whole = object != NULL;
    for (const sf_param *p = table; p && p->name; p++)
        if (!p->late || !is_default(p, params)) whole &= json_object_set_new(object, p->name, param_json(p, params)) == 0;
    char *text = whole ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

char *sf_params_label(const char *name, const sf_param *table, const void *params)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    if (!f) return NULL;
    fputs(name, f);
    int changed = 0;
    bool whole = true;
    for (const sf_param *p = table; p && p->name; p++) {
        if (is_default(p, params)) continue;
        json_t *value = param_json(p, params);
        char *text = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
        if (text) fprintf(f, "%s%s=%s", changed++ ? ", " : "(", p->name, text);
        whole &= text != NULL;
        free(text);
        json_decref(value);
    }
    if (changed) fputc(')', f);
    if ((fclose(f) != 0) | !whole) free(out), out = NULL;
    return out;
}
