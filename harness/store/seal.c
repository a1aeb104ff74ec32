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

static int find_superblock(int fd, sf_superblock *out)
{
    enum { VERSION = 8, FLAGS = 11, BYTES = 12 };
    const unsigned char signature[8] = "\211HDF\r\n\032\n";
    unsigned char begin[BYTES];
    struct stat st;
    *out = (sf_superblock){.at = -1};
    if (fstat(fd, &st) != 0) return errno;
    for (int64_t at = 0; at + BYTES <= st.st_size; at = at ? 2 * at : 512) {
        ssize_t n;
        do n = pread(fd, begin, BYTES, at);
        while (n < 0 && errno == EINTR);
        if (n != BYTES) return n < 0 ? errno : EIO;
        if (memcmp(begin, signature, sizeof signature) != 0) continue;
        *out = (sf_superblock){at, begin[VERSION] >= 3 && begin[FLAGS] != 0}; /* older versions keep no such mark */
        return 0;
    }
    return 0;
}

sf_status sf_superblock_read(const char *path, sf_superblock *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), failure = fd < 0 ? errno : find_superblock(fd, out);
    if (fd >= 0) close(fd);
    if (failure) return sf_fail(SF_IO, "cannot read %s: %s", path, strerror(failure));
    if (!out->in_use) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "%s is open for writing in another program (h5py in mode \"r+\", say): close it there. If none has it "
                   "open, one died over it: `h5clear -s` takes the mark off",
                   path);
}

/* Hash of `bytes` bytes from `first` on. */
static int hash_file(int fd, uint64_t first, uint64_t bytes, uint64_t *hash)
{
    XXH3_state_t *state = XXH3_createState();
    char *block = malloc(BLOCK);
    int failure = state && block && XXH3_64bits_reset(state) == XXH_OK ? 0 : ENOMEM;
    for (uint64_t at = 0; at < bytes && !failure;) {
        ssize_t n = pread(fd, block, bytes - at < BLOCK ? bytes - at : BLOCK, (off_t)(first + at));
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
    sf_superblock begin;
    if (fd < 0 || fstat(fd, &st) != 0) failure = errno;
    if (!failure) failure = find_superblock(fd, &begin);
    if (!failure && begin.at < 0) failure = EIO;
    if (!failure) failure = hash_file(fd, (uint64_t)begin.at, bytes = (uint64_t)(st.st_size - begin.at), &hash);
    if (!failure) {
        memcpy(seal, magic, 8);
        memcpy(seal + 8, &bytes, 8);
        memcpy(seal + 16, &hash, 8);
        for (size_t at = 0; at < SEAL && !failure;) {
            ssize_t n = pwrite(fd, seal + at, SEAL - at, st.st_size + (off_t)at);
            if (n > 0)
                at += (size_t)n;
            else if (n == 0 || errno != EINTR)
                failure = n < 0 ? errno : ENOSPC;
        }
    }
    if (!failure && fsync(fd) != 0) failure = errno;
    if (fd >= 0 && close(fd) != 0 && !failure) failure = errno;
    return failure ? sf_fail(SF_IO, "cannot finish writing %s: %s", path, strerror(failure)) : SF_OK;
}

sf_status sf_seal_check(const char *path, sf_seal *out)
{
    struct stat st;
    char seal[SEAL] = {0};
    uint64_t bytes, hash;
    sf_superblock begin;
    *out = SF_SEAL_ABSENT;
    SF_TRY(sf_superblock_read(path, &begin));
    int fd = open(path, O_RDONLY | O_CLOEXEC), failure = 0;
    if (fd < 0 || fstat(fd, &st) != 0) failure = errno;
    if (!failure && st.st_size > SEAL && pread(fd, seal, SEAL, st.st_size - SEAL) == SEAL && !memcmp(seal, magic, 8)) {
        uint64_t first = begin.at > 0 ? (uint64_t)begin.at : 0;
        memcpy(&bytes, seal + 8, 8);
        *out = SF_SEAL_BROKEN;
        if (bytes == (uint64_t)st.st_size - SEAL - first) {
            failure = hash_file(fd, first, bytes, &hash);
            if (!failure && memcmp(seal + 16, &hash, 8) == 0) *out = SF_SEAL_WHOLE;
        }
    }
    if (fd >= 0) close(fd);
    return failure ? sf_fail(SF_IO, "cannot read %s: %s", path, strerror(failure)) : SF_OK;
}
