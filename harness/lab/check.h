/* Certifying a sparse-attention method on synthetic queries and keys. */
#ifndef SF_CHECK_H
#define SF_CHECK_H

#include <stdio.h>

#include "methods/method.h"

/* Prints one row a property; *failed counts those that do not hold. `device`: checked beside `reference`. */
sf_status sf_check_method(const sf_method *method, const char *device, FILE *out, int *failed);

#endif
