/* A seal: the checksum of a results file, in 32 bytes behind its HDF5 content.
 *
 *   offset  0  "SFseal" 0 1
 *           8  u64 bytes     of the file before the seal
 *          16  u64 XXH3      of those bytes
 *          24  u64 0
 *
 * HDF5 does not look behind its content, and cuts the seal off when another program writes to the file; such a file is
 * read on trust. libhdf5 checks its metadata, but not where texts lie, and a flipped bit there can crash it: so a
 * broken seal is known before the library touches the file. */
#ifndef SF_STORE_SEAL_H
#define SF_STORE_SEAL_H

#include "base/status.h"

typedef enum sf_seal { SF_SEAL_WHOLE, SF_SEAL_ABSENT, SF_SEAL_BROKEN } sf_seal;

/* Appends the seal and syncs the file. */
sf_status sf_seal_put(const char *path);
sf_status sf_seal_check(const char *path, sf_seal *out);

#endif
