/* Small things one does with files and folders. */
#ifndef SF_FILES_H
#define SF_FILES_H

#include "base/status.h"

/* Makes the folder if it is missing, not those above it. `what` it is for: "results". */
sf_status sf_make_folder(const char *path, const char *what);
/* The folder that `path` lies in. */
sf_status sf_make_folder_of(const char *path, const char *what);

/* XXH3-64 of a file's bytes, in hex. */
sf_status sf_file_hash(const char *path, char hash[17]);

#endif
