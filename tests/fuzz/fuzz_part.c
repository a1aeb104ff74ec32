/* Any bytes as a part of results: refused, or read without touching what is not there. Half of the inputs get a header that
 * fits, or none would come past the checksum. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "harness/store/part.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEADER = 32 };
    static char path[64];
    static int folder = -1;
    if (folder < 0) {
        snprintf(path, sizeof path, "%s/frontier-fuzz-XXXXXX", fuzz_folder());
        if (!mkdtemp(path) || (folder = open(path, O_RDONLY | O_DIRECTORY)) < 0) abort();
    }
    uint8_t *part = malloc(size + HEADER);
    size_t bytes = size;
    if (size && data[0] & 1) {
        const uint32_t schema = SF_STORE_SCHEMA, order = 0x01020304;
        const uint64_t payload = size - 1, hash = XXH3_64bits(data + 1, size - 1);
        memcpy(part, "SFpart\0\1", 8);
        memcpy(part + 8, &schema, 4);
        memcpy(part + 12, &order, 4);
        memcpy(part + 16, &payload, 8);
        memcpy(part + 24, &hash, 8);
        memcpy(part + HEADER, data + 1, size - 1);
        bytes = HEADER + size - 1;
    } else if (size) {
        memcpy(part, data, size);
    }
    int fd = openat(folder, "x.part", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, part, bytes) != (ssize_t)bytes) abort();
    close(fd);
    free(part);
    sf_heap heap = {0};
    sf_part read;
    bool gone;
    if (sf_part_read(folder, path, "x.part", &heap, &read, &gone) == SF_OK)
        for (int i = 0; i < read.records; i++)
            if (!sf_sample_valid(read.record[i].sample) || !sf_key_valid(read.cell[i].key)) abort();
    sf_heap_free(&heap);
    return 0;
}
