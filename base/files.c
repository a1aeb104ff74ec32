#include "base/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

sf_status sf_make_folder(const char *path, const char *what)
{
    struct stat st;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))) return SF_OK;
    return sf_fail(SF_IO, "%s: the folder for %s cannot be made: %s", path, what, strerror(errno == EEXIST ? ENOTDIR : errno));
}

sf_status sf_make_folder_of(const char *path, const char *what)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder) return SF_OK;
    *slash = 0;
    return sf_make_folder(folder, what);
}

sf_status sf_file_hash(const char *path, char hash[17])
{
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot be read", path);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) XXH3_64bits_update(state, buffer, n);
    fclose(f);
    snprintf(hash, 17, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
    XXH3_freeState(state);
    return SF_OK;
}
