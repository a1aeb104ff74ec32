/* Any bytes as the files of a folder of safetensors. The first byte says as which: 0 a file, 1 a header, before which its
 * length is put and behind which some data, 2 the index of two files that are there. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "harness/model/safetensors.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { DATA = 256 }; /* bytes behind a header */
static char folder[64];

static void write_file(const char *name, size_t parts, const void *const *part, const size_t *bytes)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t i = 0; i < parts; i++)
        if (fd < 0 || write(fd, part[i], bytes[i]) != (ssize_t)bytes[i]) abort();
    close(fd);
}

static void write_with_header(const char *name, const void *header, size_t bytes)
{
    static const char zeros[DATA];
    const uint64_t length = bytes;
    write_file(name, 3, (const void *[]){&length, header, zeros}, (size_t[]){8, bytes, DATA});
}

static void remove_file(const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void clean(void)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "a.safetensors", "b.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) remove_file(names[i]);
    rmdir(folder);
}

static void begin(void)
{
    static const char a[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[64],\"data_offsets\":[0,256]}}";
    static const char b[] = "{\"y\":{\"dtype\":\"BF16\",\"shape\":[2,64],\"data_offsets\":[0,256]}}";
    snprintf(folder, sizeof folder, "%s/frontier-fuzz-XXXXXX", fuzz_folder());
    if (!mkdtemp(folder)) abort();
    atexit(clean);
    write_with_header("a.safetensors", a, sizeof a - 1);
    write_with_header("b.safetensors", b, sizeof b - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static bool begun;
    if (!begun) begin();
    begun = true;
    if (!bytes) return 0;
    const uint8_t *rest = data + 1;
    remove_file(data[0] % 3 == 2 ? "model.safetensors" : "model.safetensors.index.json");
    switch (data[0] % 3) {
    case 0: write_file("model.safetensors", 1, (const void *[]){rest}, (size_t[]){bytes - 1}); break;
    case 1: write_with_header("model.safetensors", rest, bytes - 1); break;
    default: write_file("model.safetensors.index.json", 1, (const void *[]){rest}, (size_t[]){bytes - 1});
    }
    sf_safetensors s = {0};
    if (sf_safetensors_open(folder, &s) == SF_OK) {
        unsigned sum = 0; /* every byte of what can be read is there */
        for (int i = 0; i < s.tensors; i++) {
            const sf_st_tensor *t = &s.tensor[i];
            if (i && strcmp(t[-1].name, t->name) >= 0) abort();
            size_t n = t->readable ? sf_bytes(t->tensor.dtype, sf_elements(&t->tensor)) : 0;
            if (t->readable && n != t->end - t->begin) abort();
            for (size_t k = 0; k < n; k++) sum += ((const unsigned char *)t->tensor.data)[k];
        }
        if (sum == 1u << 31) abort(); /* not reached: they are few */
    }
    sf_safetensors_free(&s);
    return 0;
}
