/* Methods by name: the built-ins, and the plug-ins loaded so far. */
#ifndef SF_METHOD_FIND_H
#define SF_METHOD_FIND_H

#include "methods/method.h"

/* Built-in methods, NULL-terminated (methods/registry.c). */
extern const sf_method *const sf_methods[];

/* NULL: none has this name. */
const sf_method *sf_method_find(const char *name);
/* The n-th plug-in, in the order in which they were loaded; NULL: there are not so many. */
const sf_method *sf_method_plugin(int n);
/* Loads a shared object and keeps its method, which can then be found; a second time changes nothing. Error: as
 * sf_plugin_load(), a name that is taken, too many. */
sf_status sf_method_load(const char *path, const sf_method **out);
/* Hash of the file that a plug-in came from, in hex; "" of a built-in. */
const char *sf_method_code(const sf_method *method);

#endif
