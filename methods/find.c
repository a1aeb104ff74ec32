#include "methods/find.h"

#include "methods/delta.h"

#include <string.h>

#include "base/files.h"
#include "methods/plugin.h"

enum { PLUGINS = 64 };

static struct {
    const sf_method *method;
    char hash[17];
} plugin[PLUGINS];
static int plugins;

/* NAME_delta */
static const sf_method *corrected(const char *name)
{
    char base[64];
    size_t n = strlen(name), end = strlen("_delta");
    if (n <= end || n - end >= sizeof base || strcmp(name + n - end, "_delta") != 0) return NULL;
    memcpy(base, name, n - end);
    base[n - end] = '\0';
    return sf_delta_over(sf_method_find(base));
}

const sf_method *sf_method_find(const char *name)
{
    for (int i = 0; sf_methods[i]; i++)
        if (strcmp(sf_methods[i]->name, name) == 0) return sf_methods[i];
    for (int i = 0; i < plugins; i++)
        if (strcmp(plugin[i].method->name, name) == 0) return plugin[i].method;
    return corrected(name);
}

const sf_method *sf_method_plugin(int n) { return n < plugins ? plugin[n].method : NULL; }

sf_status sf_method_load(const char *path, const sf_method **out)
{
    SF_TRY(sf_plugin_load(path, out));
    const sf_method *other = sf_method_find((*out)->name);
    if (other == *out) return SF_OK;
    if (other) return sf_fail(SF_BAD_INPUT, "method '%s' of %s: another one has that name", (*out)->name, path);
    if (plugins == PLUGINS) return sf_fail(SF_BAD_INPUT, "%s: more than %d plug-ins", path, PLUGINS);
    SF_TRY(sf_file_hash(path, plugin[plugins].hash));
    plugin[plugins++].method = *out;
    return SF_OK;
}

const char *sf_method_code(const sf_method *method)
{
    if (sf_delta_base(method)) method = sf_delta_base(method);
    for (int i = 0; i < plugins; i++)
        if (plugin[i].method == method) return plugin[i].hash;
    return "";
}
