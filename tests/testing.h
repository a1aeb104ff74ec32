/* What test programs share: calls that must succeed, or fail with words; a folder for each test; whole files. */
#ifndef SF_TESTING_H
#define SF_TESTING_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/status.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != SF_OK) fail_msg("%s: %s", #call, sf_error());                                                    \
    } while (0)
#define assert_error(call, part)                                                                                       \
    do {                                                                                                               \
        if ((call) == SF_OK) fail_msg("%s succeeded", #call);                                                          \
        if (!strstr(sf_error(), part)) fail_msg("%s: \"%s\" does not mention \"%s\"", #call, sf_error(), part);        \
    } while (0)

/* cmocka 1.1's takes NaN for equal to every number (findings/cmocka_nan.sh). */
#undef assert_float_equal
#define assert_float_equal(found, expected, tolerance)                                                                 \
    do {                                                                                                               \
        const double found_ = (double)(found), expected_ = (double)(expected);                                         \
        if (!(fabs(found_ - expected_) <= (tolerance))) fail_msg("%s is %.9g, expected %.9g", #found, found_, expected_); \
    } while (0)

/* A new folder, under $TMPDIR, or in memory where there is such a file system: records are synced, and disks are slow. 0, as
 * cmocka's setup functions return it. */
static inline int folder_make(char path[64])
{
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, 64, "%.40s/frontier-test-XXXXXX", base);
    return mkdtemp(path) ? 0 : -1;
}

/* With all that is in it or mounted on it. */
static inline int folder_remove(const char *path)
{
    char command[128];
    umount2(path, MNT_DETACH);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command);
}

/* A whole file, ended by a zero byte that is not counted; bytes may be NULL. Caller frees. */
static inline char *file_read(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(1, n + 1);
    assert_int_equal(fread(data, 1, n, f), n);
    fclose(f);
    if (bytes) *bytes = n;
    return data;
}

static inline void file_write(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (!f) fail_msg("%s cannot be written", path);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

#endif
