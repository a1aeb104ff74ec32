/* Memory behind weights: files mapped read-only, read from disk when touched; or plain memory for random weights. */
#ifndef SF_MAPPING_H
#define SF_MAPPING_H

#include <stddef.h>

#include "base/status.h"

typedef struct sf_mapping {
    void *data;   /* page-aligned; NULL: nothing is mapped */
    size_t bytes;
} sf_mapping;

/* Maps the whole file read-only. Error: it is missing, a directory, not a regular file, empty or unreadable. Where
 * the file is cut short while it is mapped, the program ends and names it (sf_name_crashes()). */
sf_status sf_map_file(const char *path, sf_mapping *out);

/* Zeroed memory that can be written. */
sf_status sf_map_memory(size_t bytes, sf_mapping *out);

void sf_unmap(sf_mapping *mapping); /* accepts a zeroed one */

/* A small text file, whole and NUL-terminated, malloc'ed. Error: as sf_map_file(), or larger than `limit` bytes. */
sf_status sf_read_text(const char *path, size_t limit, char **text, size_t *bytes);

#endif
