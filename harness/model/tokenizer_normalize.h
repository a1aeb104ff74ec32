/* Rewriting text before it is split: a chain of steps ("normalizers" of the `tokenizers` library). */
#ifndef SF_TOKENIZER_NORMALIZE_H
#define SF_TOKENIZER_NORMALIZE_H

#include "harness/model/tokenizer_regex.h"

typedef struct sf_normalizer {
    enum { SF_NFC, SF_NFD, SF_NFKC, SF_NFKD, SF_REPLACE_ALL, SF_PUT_IN_FRONT } kind;
    sf_regex *pattern; /* REPLACE_ALL; owned */
    char *text;        /* REPLACE_ALL: instead of every match; PUT_IN_FRONT; owned, NUL-terminated */
} sf_normalizer;

/* The Unicode forms are by utf8proc's tables, which are newer than those of the `tokenizers` library: characters that
 * Unicode 14 brought (U+1DFA, U+A7F2, …) may come out otherwise there. *out is malloc'ed (never NULL on success) and valid UTF-8, as `text` must be. */
sf_status sf_normalize(const sf_normalizer *step, int steps, const char *text, size_t bytes, char **out,
                       size_t *out_bytes);

#endif
