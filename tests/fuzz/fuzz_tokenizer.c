/* Any bytes as a tokenizer.json; what stands behind a first NUL is a text for it. */
#include <stdint.h>
#include <string.h>

#include "tests/fuzz/file.h"
#include "tests/fuzz/use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static int fd = -1;
    char path[32];
    sf_tokenizer *t;
    const uint8_t *end = bytes ? memchr(data, 0, bytes) : NULL, *text = end ? end + 1 : data + bytes;
    if (sf_tokenizer_from_json(fuzz_file(&fd, data, end ? (size_t)(end - data) : bytes, path), NULL, 0, &t) != SF_OK) return 0;
    use_tokenizer(t, text, (size_t)(data + bytes - text));
    sf_tokenizer_free(t);
    return 0;
}
