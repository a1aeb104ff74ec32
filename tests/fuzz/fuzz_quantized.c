/* Any bytes as a quantised checkpoint: what config.json says, a NUL, a safetensors header, a NUL, the data, which repeats as far as
 * the header asks for it. Read, and made floats as opening a model makes them. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "harness/model/unpack.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { MOST = 1 << 16 };
static char folder[64], path[96];

static void clean(void) { unlink(path), rmdir(folder); }

static void begin(void)
{
    snprintf(folder, sizeof folder, "%s/frontier-fuzz-XXXXXX", fuzz_folder());
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    atexit(clean);
}

/* How far a header's tensors reach. */
static size_t reach(const char *header, size_t bytes)
{
    size_t most = 0;
    const char *name;
    json_t *tensor, *root = json_loadb(header, bytes, 0, NULL);
    json_object_foreach(root, name, tensor)
    {
        json_int_t end = json_integer_value(json_array_get(json_object_get(tensor, "data_offsets"), 1));
        if (end > (json_int_t)most && end <= MOST) most = (size_t)end;
    }
    json_decref(root);
    return most;
}

static void write_checkpoint(const uint8_t *header, size_t header_bytes, const uint8_t *data, size_t bytes)
{
    static uint8_t all[MOST];
    const uint64_t length = header_bytes;
    const size_t n = reach((const char *)header, header_bytes);
    for (size_t i = 0; i < n; i++) all[i] = bytes ? data[i % bytes] : 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, &length, 8) != 8 || write(fd, header, header_bytes) != (ssize_t)header_bytes ||
        write(fd, all, n) != (ssize_t)n)
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!*folder) begin();
    const uint8_t *header = bytes ? memchr(data, 0, bytes) : NULL;
    const uint8_t *body = header ? memchr(header + 1, 0, (size_t)(data + bytes - header - 1)) : NULL;
    json_t *root;
    if (!body || sf_json_parse((const char *)data, (size_t)(header - data), "config.json", &root) != SF_OK) return 0;
    sf_quantization q;
    sf_doubts doubts = {0};
    sf_safetensors s = {0};
    if (sf_quantization_read((sf_json_at){root, "config.json", ""}, NULL, &q, &doubts) == SF_OK && q.kind) {
        write_checkpoint(header + 1, (size_t)(body - header - 1), body + 1, (size_t)(data + bytes - body - 1));
        if (sf_safetensors_open(folder, &s) == SF_OK && sf_unpack_quantized(&q, &s, folder) == SF_OK) {
            unsigned sum = 0; /* every byte of what was made is there */
            for (int i = 0; i < s.tensors; i++) {
                const sf_st_tensor *t = &s.tensor[i];
                size_t n = t->readable ? sf_bytes(t->tensor.dtype, sf_elements(&t->tensor)) : 0;
                for (size_t k = 0; k < n; k++) sum += ((const unsigned char *)t->tensor.data)[k];
            }
            if (sum == 1u << 31) abort(); /* not reached: they are few */
        }
        sf_safetensors_free(&s);
    }
    json_decref(root);
    return 0;
}
