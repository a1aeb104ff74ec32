/* Shared objects that bring methods and tasks. */
#ifndef SF_PLUGIN_H
#define SF_PLUGIN_H

#include "base/status.h"

/* What a shared object exports under a name, NULL if it does not; the object stays loaded for the life of the program.
 * A path without a slash is one in the working folder. Error: no file, no object that this program can load. */
sf_status sf_plugin_symbol(const char *path, const char *name, void **out);

#endif
