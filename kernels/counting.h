/* See counting.c. */
#ifndef SF_COUNTING_H
#define SF_COUNTING_H

#include "kernels/backend.h"

extern const sf_backend_ops sf_counting_ops;

#endif
