/* Rewriting text before it is split: a chain of steps ("normalizers" of the `tokenizers` library). */
#ifndef SF_TOKENIZER_NORMALIZE_H
#define SF_TOKENIZER_NORMALIZE_H

#include "harness/model/tokenizer_regex.h"

typedef struct sf_normalizer {
    enum { SF_NFC, SF_NFD, SF_NFKC, SF_NFKD, SF_REPLACE_ALL, SF_PUT_IN_FRONT } kind;
    sf_regex *pattern; /* REPLACE_ALL; owned */
    char *text;        /* REPLACE_ALL: instead of every match; PUT_IN_FRONT; owned, NUL-terminated */
} sf_normalizer;

/* What the steps may make of a text: so many times its bytes and some more, beyond which it is an error. The longest
 * that Unicode itself makes is 33 bytes of 3 (NFKC of U+FDFA). */
enum { SF_NORMALIZED_TIMES = 64, SF_NORMALIZED_MORE = 1 << 16 };

/* The Unicode forms are those of the `tokenizers` library, whose tables are Unicode 9's: what came later stays as it is
 * (see unicode.h), whatever the version of utf8proc, which does the rest. *out is malloc'ed (never NULL on success) and
 * valid UTF-8, as `text` must be. */
sf_status sf_normalize(const sf_normalizer *step, int steps, const char *text, size_t bytes, char **out,
                       size_t *out_bytes);

#endif
