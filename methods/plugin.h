/* What makes a struct a method, and methods from shared objects. */
#ifndef SF_METHOD_PLUGIN_H
#define SF_METHOD_PLUGIN_H

#include "methods/method.h"

/* Fails with what is wrong unless the struct keeps the contract: ABI, name, a hook for some phase, parameters whose
 * ranges hold their defaults and whose fields lie inside params_size, aligned and apart. `where` names the file in the
 * message. */
sf_status sf_method_validate(const sf_method *method, const char *where);

/* Fails where fit() left a parameter outside its range, or changed one from `before` that is no budget. */
sf_status sf_method_check_fit(const sf_method *method, const void *before, const void *params);

/* Loads PATH, checks and returns its method. The object stays loaded until the process ends. */
sf_status sf_plugin_load(const char *path, const sf_method **out);

#endif
