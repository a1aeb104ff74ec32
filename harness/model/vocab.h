/* A vocabulary: token texts and ids, both ways. Built once, then read by any number of threads. */
#ifndef SF_VOCAB_H
#define SF_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sf_vocab_token {
    size_t offset; /* into text */
    uint32_t bytes;
    bool present; /* ids may have holes */
    bool own;     /* BPE's own; false: only an added token */
} sf_vocab_token;

typedef struct sf_vocab {
    sf_vocab_token *token; /* [size] */
    int32_t size;          /* highest id + 1 */
    size_t token_capacity;
    char *text; /* all tokens, each NUL-terminated */
    size_t text_bytes, text_capacity;
    uint32_t *slot; /* [slots] open addressing: id + 1, 0 is free */
    size_t slots, used;
} sf_vocab;

/* Adds a token. A text or an id that is there already, an id out of range and an empty text are errors. */
sf_status sf_vocab_add(sf_vocab *v, const char *text, size_t bytes, int64_t id, bool own);
void sf_vocab_free(sf_vocab *v); /* what it holds, not `v` itself */

int32_t sf_vocab_find(const sf_vocab *v, const char *text, size_t bytes); /* -1: none */
const char *sf_vocab_text(const sf_vocab *v, int32_t id, size_t *bytes);  /* NULL: no such token */

/* Growable array: room for `need` items of `size` bytes at *items. */
sf_status sf_reserve(void *items, size_t *capacity, size_t need, size_t size);

#endif
