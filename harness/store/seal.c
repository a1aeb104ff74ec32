#include "harness/store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { SEAL = 32, BLOCK = 1 << 20 };
static const char magic[8] = "SFseal\0\1";

/* Hash of the first `bytes` bytes. */
static int hash_file(int fd, uint64_t bytes, uint64_t *hash)
{
    XXH3_state_t *state = XXH3_createState();
    char *block = malloc(BLOCK);
    int failure = state && block && XXH3_64bits_reset(state) == XXH_OK ? 0 : ENOMEM;
    for (uint64_t at = 0; at < bytes && !failure;) {
        ssize_t n = pread(fd, block, bytes - at < BLOCK ? bytes - at : BLOCK, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            failure = n < 0 ? errno : EIO;
        else if (XXH3_64bits_update(state, block, (size_t)n) != XXH_OK)
            failure = EIO;
        else
            at += (uint64_t)n;
    }
    if (!failure) *hash = XXH3_64bits_digest(state);
    free(block);
    XXH3_freeState(state);
    return failure;
}

sf_status sf_seal_put(const char *path)
{
    struct stat st;
    char seal[SEAL] = {0};
    int fd = open(path, O_RDWR | O_CLOEXEC), failure = 0;
    uint64_t bytes, hash = 0;
    if (fd < 0 || fstat(fd, &st) != 0) failure = errno;
    if (!failure) failure = hash_file(fd, bytes = (uint64_t)st.st_size, &hash);
    if (!failure) {
        memcpy(seal, magic, 8);
        memcpy(seal + 8, &bytes, 8);
        memcpy(seal + 16, &hash, 8);
        ssize_t n = pwrite(fd, seal, SEAL, st.st_size);
        if (n != SEAL) failure = n < 0 ? errno : ENOSPC;
    }
    if (!failure && fsync(fd) != 0) failure = errno;
    if (fd >= 0) close(fd);
    return failure ? sf_fail(SF_IO, "cannot finish writing %s: %s", path, strerror(failure)) : SF_OK;
}

sf_status sf_seal_check(const char *path, sf_seal *out)
{
    struct stat st;
    char seal[SEAL] = {0};
    uint64_t bytes, hash;
    int fd = open(path, O_RDONLY | O_CLOEXEC), failure = 0;
    *out = SF_SEAL_ABSENT;
    if (fd < 0 || fstat(fd, &st) != 0) failure = errno;
    if (!failure && st.st_size > SEAL && pread(fd, seal, SEAL, st.st_size - SEAL) == SEAL && !memcmp(seal, magic, 8)) {
        memcpy(&bytes, seal + 8, 8);
        *out = SF_SEAL_BROKEN;
        if (bytes == (uint64_t)st.st_size - SEAL) {
            failure = hash_file(fd, bytes, &hash);
            if (!failure && memcmp(seal + 16, &hash, 8) == 0) *out = SF_SEAL_WHOLE;
        }
    }
    if (fd >= 0) close(fd);
    return failure ? sf_fail(SF_IO, "cannot read %s: %s", path, strerror(failure)) : SF_OK;
}
