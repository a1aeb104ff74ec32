/* Small things one does with files and folders. */
#ifndef SF_FILES_H
#define SF_FILES_H

#include "base/status.h"

/* Makes the folder if it is missing, not those above it. `what` it is for: "results". */
sf_status sf_make_folder(const char *path, const char *what);
/* The folder that `path` lies in. */
sf_status sf_make_folder_of(const char *path, const char *what);

/* The regular files under a folder, by path, in the order of their bytes; names that begin with a dot are left out. Of a
 * file: itself. malloc'ed, sf_files_free() them. Error: not readable, none. */
sf_status sf_files_under(const char *path, int *n, char ***file);
void sf_files_free(int n, char **file);

/* XXH3-64 of a file's bytes, in hex. */
sf_status sf_file_hash(const char *path, char hash[17]);
/* The same of a file, and of all files under a folder, with their names. */
sf_status sf_files_hash(const char *path, char hash[17]);

#endif
