/* Any bytes as a config, and as the value of --set. */
#include <stdint.h>
#include <string.h>

#include "base/yaml.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[32], *text = malloc(size + 1);
    if (!text) abort();
    memcpy(text, data, size);
    text[size] = 0;
    sf_node *root;
    if (sf_yaml_read(fuzz_file(&fd, data, size, path), &root) == SF_OK) {
        char *line = strchr(text, '\n'); /* what stands behind the first line is set in the tree of the whole */
        if (line) sf_yaml_set(root, line + 1);
        sf_yaml_free(root);
    }
    free(text);
    return 0;
}
