/* Folding: a results file and parts become a new file beside it, read back before anyone relies on it. */
#ifndef SF_STORE_FOLD_H
#define SF_STORE_FOLD_H

#include "base/status.h"

#include <stdbool.h>

/* Makes `aside` from `path`, if there is one, and the parts `name` [count] of the folder: whole, sealed and synced, to be
 * renamed. Error: anything that could not be written, or reads back as something else. */
sf_status sf_fold_aside(const char *path, const char *aside, int folder, const char *folder_path, int count,
                        char (*name)[32]);

/* The results file as it is, copied to where a new one grows. */
sf_status sf_fold_copy(const char *path, const char *aside, bool *existed);

#endif
