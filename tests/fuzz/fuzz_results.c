/* Any bytes as a results file: read as a report reads it. libhdf5 itself is not instrumented. What it crashes on alone is no
 * finding here; a results file of Frontier's own carries a checksum that keeps damage from it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("results", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const char *list[] = {path};
    sf_results r;
    if (sf_results_read(1, list, SF_READ_TEXTS | SF_READ_MAPS | SF_READ_MEANS | SF_READ_PICTURES, &r) == SF_OK) {
        for (int c = 0; c < r.cells; c++)
            for (int i = 0; i < r.records[c]; i++)
                if (r.record[c][i].sample < 0 || r.record[c][i].sample >= SF_STORE_SAMPLES) abort();
        sf_results_free(&r);
    }
    close(fd);
    return 0;
}
