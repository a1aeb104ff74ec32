/* The file of training samples.
 *
 *   tokens         uint16 [all]    sample after sample: the model's input, the answer, the stop token; uint32 where a
 *                                  vocabulary is larger than 65536
 *   offset         int64 [n + 1]   where each sample begins in `tokens`
 *   prompt_tokens  int32 [n]       tokens of its input: the answer begins at offset + prompt_tokens
 *   task           uint8 [n]       index into the attribute `tasks`
 *   length         int32 [n]       input length asked for; samples of one length stand together, tasks mixed
 *   sample         int64 [n]       its number: `frontier show CONFIG --set seed=SEED --sample N` prints it
 *
 * Attributes: those of sf_training_info, `tasks` (names) and `task_params` (JSON), each [tasks]. */
#ifndef SF_TRAINING_HDF5_H
#define SF_TRAINING_HDF5_H

#include "harness/store/hdf5.h"

enum { SF_TRAINING_SCHEMA = 1 };

typedef struct sf_training_info {
    uint64_t seed, evaluation_seed;   /* they differ */
    const char *config, *revision;    /* text of the config with overrides; of this program */
    const char *model, *tokenizer;    /* path of the model; hash of its tokenizer and template */
    const char *chat;                 /* its chat template's name */
    int vocab, stop;                  /* the token that ends every answer */
} sf_training_info;

enum {
    SF_TRAINING_TOKENS,
    SF_TRAINING_OFFSET,
    SF_TRAINING_PROMPT,
    SF_TRAINING_TASK,
    SF_TRAINING_LENGTH,
    SF_TRAINING_SAMPLE,
    SF_TRAINING_COLUMNS
};

typedef struct sf_training_file {
    sf_hdf5 f;
    char *path, *aside; /* where it will be; where it is written */
    hid_t column[SF_TRAINING_COLUMNS];
    hsize_t rows[SF_TRAINING_COLUMNS];
} sf_training_file;

/* Bytes of a token in the file and in what sf_training_append() takes: 2 or 4. */
static inline int sf_training_token_bytes(int vocab) { return vocab <= 65536 ? 2 : 4; }

sf_status sf_training_create(const char *path, const sf_training_info *info, int tasks, const char *const *task,
                             const char *const *params, sf_training_file *out);
/* Appends n rows to a column, in its type. */
sf_status sf_training_append(sf_training_file *file, int column, const void *rows, size_t n);
/* Closes the file; status OK: gives it its name, else removes it. Returns the first failure. Accepts a half-made or a
 * zeroed one. */
sf_status sf_training_close(sf_training_file *file, sf_status status);

#endif
