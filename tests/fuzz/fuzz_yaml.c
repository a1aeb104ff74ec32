/* Any bytes as a config, and as the value of --set. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], *text = malloc(size + 1);
    int fd = memfd_create("config", 0);
    if (!text || fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memcpy(text, data, size);
    text[size] = 0;
    sf_node *root;
    if (sf_yaml_read(path, &root) == SF_OK) {
        char *line = strchr(text, '\n'); /* what stands behind the first line is set in the tree of the whole */
        if (line) sf_yaml_set(root, line + 1);
        sf_yaml_free(root);
    }
    close(fd);
    free(text);
    return 0;
}
