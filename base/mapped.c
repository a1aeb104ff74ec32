#include "base/mapped.h"

#include <stdint.h>
#include <stdio.h>

enum { FILES = 128 };

/* Static, since a handler may read it at any instant: `data` is set last and cleared first. */
static volatile struct {
    const char *volatile data; /* NULL: free */
    size_t bytes;
    char path[256];
} mapped[FILES];

void sf_mapped_add(const void *data, size_t bytes, const char *path)
{
    for (int i = 0; i < FILES; i++) {
        if (mapped[i].data) continue;
        mapped[i].bytes = bytes;
        snprintf((char *)mapped[i].path, sizeof mapped[i].path, "%s", path);
        mapped[i].data = data;
        return;
    }
}

void sf_mapped_drop(const void *data)
{
    for (int i = 0; i < FILES; i++)
        if (mapped[i].data == data) mapped[i].data = NULL;
}

const char *sf_mapped_at(const void *address)
{
    for (int i = 0; i < FILES; i++)
        if (mapped[i].data && (uintptr_t)address - (uintptr_t)mapped[i].data < mapped[i].bytes)
            return (const char *)mapped[i].path;
    return NULL;
}
