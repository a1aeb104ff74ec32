/* A GGUF file (versions 2 and 3, little-endian) as a container: typed keys and tensors, no model. Specification:
 * github.com/ggml-org/ggml, docs/gguf.md. Reading it checks everything that a file can get wrong, so that what is found
 * afterwards can be used without care. */
#ifndef SF_GGUF_H
#define SF_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/tensor.h"
#include "harness/model/mapping.h"

typedef enum sf_gguf_type {
    SF_GGUF_U8, SF_GGUF_I8, SF_GGUF_U16, SF_GGUF_I16, SF_GGUF_U32, SF_GGUF_I32, SF_GGUF_F32, SF_GGUF_BOOL,
    SF_GGUF_STRING, SF_GGUF_ARRAY, SF_GGUF_U64, SF_GGUF_I64, SF_GGUF_F64, SF_GGUF_TYPES
} sf_gguf_type;

typedef struct sf_gguf_key {
    const char *name;           /* in the file, not terminated */
    uint64_t name_bytes;
    sf_gguf_type type, element; /* element: of an array */
    uint64_t count;             /* elements of an array, 1 else */
    const unsigned char *value; /* in the file, unaligned; strings: u64 length and bytes, each inside the file */
} sf_gguf_key;

typedef struct sf_gguf_tensor {
    char name[65];
    uint64_t offset;            /* from the start of the tensor data */
    sf_tensor tensor;           /* into the file; dimensions in our order, slowest first */
    bool used;                  /* for the reader's own book-keeping */
} sf_gguf_tensor;

typedef struct sf_gguf {
    const char *path;           /* for messages; as given */
    sf_mapping file;            /* as given, not owned */
    uint64_t keys, tensors;
    sf_gguf_key *key;
    sf_gguf_tensor *tensor;     /* in the file's order */
    size_t data_start;          /* bytes in front of the tensor data: everything but weights */
} sf_gguf;

/* Error: names file, key or tensor, expected and found. */
sf_status sf_gguf_read(const char *path, sf_mapping file, sf_gguf *out);
void sf_gguf_free(sf_gguf *g); /* accepts a zeroed one */

/* NULL: there is none of this name. */
const sf_gguf_key *sf_gguf_find(const sf_gguf *g, const char *name);
sf_gguf_tensor *sf_gguf_find_tensor(const sf_gguf *g, const char *name);

/* Values by name. An absent key leaves *out as it was if it is not `required`, else fails; so does one of another type
 * or outside [low, high]. Integer keys may have any integer type, real ones f32 or f64. */
sf_status sf_gguf_int(const sf_gguf *g, const char *name, bool required, int64_t low, int64_t high, int *out);
sf_status sf_gguf_real(const sf_gguf *g, const char *name, bool required, double low, double high, double *out);
sf_status sf_gguf_bool(const sf_gguf *g, const char *name, bool *out);
/* A number for each of `layers`: an array of them, or one for all. Out: [layers]. Error: not there, or one not within the limits. */
sf_status sf_gguf_ints(const sf_gguf *g, const char *name, int layers, int low, int high, int *out);
sf_status sf_gguf_bools(const sf_gguf *g, const char *name, int n, bool *out); /* an array of n of them */

/* Keys of an architecture stand under its name: "llama.block_count". The text lives until the thread's second next call. */
const char *sf_gguf_key_of(const char *architecture, const char *rest);

/* Terminated copy, malloc'ed; NULL where the key is absent. Error: not a string, or a NUL inside. */
sf_status sf_gguf_text(const sf_gguf *g, const char *name, bool required, char **out);

/* An array of strings as malloc'ed arrays of pointers into the file (not terminated) and lengths; at most INT_MAX. */
sf_status sf_gguf_texts(const sf_gguf *g, const char *name, int *n, const char ***text, size_t **bytes);

#endif
