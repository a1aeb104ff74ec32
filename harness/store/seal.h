/* A seal: the checksum of a results file, in 32 bytes behind its HDF5 content.
 *
 *   offset  0  "SFseal" 0 1
 *           8  u64 bytes     of the content: from HDF5's signature, which a user block may precede, to the seal
 *          16  u64 XXH3      of those bytes
 *          24  u64 0
 *
 * HDF5 does not look behind its content, and cuts the seal off when another program writes to the file; such a file is
 * read on trust. libhdf5 checks its metadata, but not where texts lie, and a flipped bit there can crash it: so a
 * broken seal is known before the library touches the file. */
#ifndef SF_STORE_SEAL_H
#define SF_STORE_SEAL_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* Where HDF5 begins. Another program's own bytes may stand before it (a user block of 512 bytes or twice that, …). */
typedef struct sf_superblock {
    int64_t at;  /* bytes; -1: nowhere, it is no HDF5 file */
    bool in_use; /* marked as open for writing: another program has it open, or died over it */
} sf_superblock;

sf_status sf_superblock_read(const char *path, sf_superblock *out);

typedef enum sf_seal { SF_SEAL_WHOLE, SF_SEAL_ABSENT, SF_SEAL_BROKEN } sf_seal;

/* Appends the seal and syncs the file. */
sf_status sf_seal_put(const char *path);
/* Error: cannot be read; or open for writing elsewhere, which changes its first bytes: that is no damage. */
sf_status sf_seal_check(const char *path, sf_seal *out);

#endif
