/* The tensors of a Hugging Face folder: model.safetensors, or shards named by model.safetensors.index.json
 * or by the standard pattern, model-00001-of-00005.safetensors. Format:
 * github.com/huggingface/safetensors. Everything a file can get wrong is checked here. */
#ifndef SF_SAFETENSORS_H
#define SF_SAFETENSORS_H

#include <stdbool.h>

#include "harness/model/mapping.h"
#include "kernels/tensor.h"

typedef struct sf_st_tensor {
    char *name;
    const char *file;    /* path of the file it stands in */
    char type[16];       /* as the file calls it: "BF16" */
    bool readable;       /* F32, F16 or BF16, at most 4 dimensions; else `tensor` has no dtype, and rank -1 beyond 4 dimensions */
    sf_tensor tensor;    /* into the mapped file */
    size_t begin, end;   /* bytes of the file's data */
    bool used;           /* for the reader's own book-keeping */
} sf_st_tensor;

enum { SF_UNPACKINGS = 2 }; /* of what is quantised, and of what the family lays out otherwise */

typedef struct sf_safetensors {
    int files, tensors;
    char **file;          /* [files] paths */
    sf_mapping *mapping;  /* [files] */
    sf_mapping made[SF_UNPACKINGS]; /* [makings] of tensors that were added (unpack.h) */
    int makings;
    sf_st_tensor *tensor; /* [tensors] sorted by name, no two alike */
} sf_safetensors;

/* Error: names file, tensor, expected and found. The caller may take the mappings out before freeing. */
sf_status sf_safetensors_open(const char *folder, sf_safetensors *out);
/* The same of one file alone. */
sf_status sf_safetensors_open_file(const char *path, sf_safetensors *out);
void sf_safetensors_free(sf_safetensors *s); /* accepts a zeroed one; unmaps */

/* Adds a tensor that is made of others, of the file named for messages; sorting makes those that were added findable. */
sf_status sf_safetensors_add(sf_safetensors *s, const char *name, const sf_tensor *tensor, const char *file);
void sf_safetensors_sort(sf_safetensors *s);

sf_st_tensor *sf_safetensors_find(const sf_safetensors *s, const char *name); /* NULL: none */

#endif
