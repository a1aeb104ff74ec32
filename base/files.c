#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Adds what lies under `path`, which is a folder if `folder`. */
static sf_status add_files(const char *path, bool folder, int *n, char ***file)
{
    if (!folder) {
        char **grown = realloc(*file, ((size_t)*n + 1) * sizeof *grown), *copy = grown ? strdup(path) : NULL;
        if (grown) *file = grown;
        if (!copy) return sf_fail(SF_NO_MEMORY, "%s: no memory for a list of files", path);
        grown[(*n)++] = copy;
        return SF_OK;
    }
    DIR *d = opendir(path);
    if (!d) return sf_fail(SF_IO, "%s: cannot be read: %s", path, strerror(errno));
    sf_status status = SF_OK;
    for (struct dirent *e; status == SF_OK && (e = readdir(d));) {
        char inside[4096];
        struct stat st;
        if (e->d_name[0] == '.') continue;
        if (snprintf(inside, sizeof inside, "%s/%s", path, e->d_name) >= (int)sizeof inside)
            status = sf_fail(SF_BAD_INPUT, "%s/%s: expected a path of less than %zu bytes", path, e->d_name, sizeof inside);
        else if (stat(inside, &st) != 0)
            status = sf_fail(SF_IO, "%s: cannot be read: %s", inside, strerror(errno));
        else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
            status = add_files(inside, S_ISDIR(st.st_mode), n, file);
    }
    closedir(d);
    return status;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

sf_status sf_files_under(const char *path, int *n, char ***file)
{
    struct stat st;
    *n = 0;
    *file = NULL;
    if (stat(path, &st) != 0) return sf_fail(SF_IO, "%s: cannot be read: %s", path, strerror(errno));
    sf_status status = add_files(path, S_ISDIR(st.st_mode), n, file);
    if (status == SF_OK && !*n) status = sf_fail(SF_BAD_INPUT, "%s: expected files in this folder, found none", path);
    if (status != SF_OK) {
        sf_files_free(*n, *file);
        *n = 0, *file = NULL;
        return status;
    }
    qsort(*file, (size_t)*n, sizeof **file, by_bytes);
    return SF_OK;
}

void sf_files_free(int n, char **file)
{
    for (int i = 0; i < n; i++) free(file[i]);
    free(file);
}

static sf_status hash_bytes(const char *path, XXH3_state_t *state)
{
    struct stat st; /* of a pipe nothing is left for who reads the file, if it ever ends */
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return sf_fail(SF_IO, "%s: expected a file, found %s", path, S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot be read: %s", path, strerror(errno));
    char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) XXH3_64bits_update(state, buffer, n);
    bool whole = !ferror(f);
    fclose(f);
    return whole ? SF_OK : sf_fail(SF_IO, "%s: cannot be read", path);
}

static void hex_of(XXH3_state_t *state, char hash[17])
{
    snprintf(hash, 17, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
    XXH3_freeState(state);
}

sf_status sf_file_hash(const char *path, char hash[17])
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    sf_status status = hash_bytes(path, state);
    hex_of(state, hash);
    return status;
}

sf_status sf_files_hash(const char *path, char hash[17])
{
    int n;
    char **file;
    SF_TRY(sf_files_under(path, &n, &file));
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    sf_status status = SF_OK;
    for (int i = 0; i < n && status == SF_OK; i++) {
        const char *inside = file[i] + strlen(path); /* of a folder: a file that moves is another text */
        if (*inside) XXH3_64bits_update(state, inside, strlen(inside) + 1);
        status = hash_bytes(file[i], state);
    }
    hex_of(state, hash);
    sf_files_free(n, file);
    return status;
}
