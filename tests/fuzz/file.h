/* A file of any bytes, in memory, for readers that want a path. */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The path of a file with these bytes; a file of an earlier call is overwritten, *fd begins as -1. */
static inline const char *fuzz_file(int *fd, const void *data, size_t bytes, char path[32])
{
    if (*fd < 0) *fd = memfd_create("fuzz", 0);
    if (*fd < 0 || ftruncate(*fd, 0) != 0 || pwrite(*fd, data, bytes, 0) != (ssize_t)bytes) abort();
    snprintf(path, 32, "/proc/self/fd/%d", *fd);
    return path;
}

/* Where files go that need a name: into memory, if there is such a place. */
static inline const char *fuzz_folder(void) { return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; }

#endif
