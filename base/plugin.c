#include "base/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

sf_status sf_plugin_symbol(const char *path, const char *name, void **out)
{
    char local[4096];
    if (access(path, R_OK) != 0) return sf_fail(SF_IO, "plug-in %s: cannot open: %s", path, strerror(errno));
    if (!strchr(path, '/')) { /* dlopen would search the system's folders for it */
        snprintf(local, sizeof local, "./%s", path);
        path = local;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return sf_fail(SF_BAD_INPUT, "plug-in %s: not a shared object this program can load: %s", path, dlerror());
    *out = dlsym(object, name);
    return SF_OK;
}
