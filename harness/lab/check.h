/* Certifying a sparse-attention method on synthetic queries and keys. */
#ifndef SF_CHECK_H
#define SF_CHECK_H

#include <stdio.h>

#include "methods/method.h"

enum { SF_CHECK_RANKS = 8 };

/* Prints one row a property; *failed counts those that do not hold. `device`: checked beside `reference`. tensor: ranks, at most
 * SF_CHECK_RANKS, that the heads are split over in the row of that; 1: none. SF_UNSUPPORTED, and nothing printed: the method does not
 * run on this device, by its nature, and the message says why. */
sf_status sf_check_method(const sf_method *method, const char *device, int tensor, FILE *out, int *failed);

#endif
