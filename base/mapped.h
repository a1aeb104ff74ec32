/* Which files are mapped, and where: for a signal handler that must say what happened at an address. */
#ifndef SF_MAPPED_H
#define SF_MAPPED_H

#include <stddef.h>

/* A file that is mapped read-only; those beyond a hundred or so are not kept. */
void sf_mapped_add(const void *data, size_t bytes, const char *path);
void sf_mapped_drop(const void *data);
/* The file at an address, or NULL. May be called from a signal handler. */
const char *sf_mapped_at(const void *address);

#endif
