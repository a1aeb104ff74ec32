/* Patterns as tokenizer files write them: Oniguruma's dialect (Ruby syntax, Unicode classes), run by PCRE2. Where both
 * spell a thing alike and mean another, the pattern is rewritten: \s and \S are Unicode's White_Space, \w, \W, \b and \B
 * go by its word letters, \h and \H are hexadecimal digits; ^ and $ match at every line. Sets inside sets are an error.
 * What is a letter or a number is PCRE2's Unicode version's word (14 in 10.42): text in newer scripts may be cut otherwise
 * than by a library with newer tables. */
#ifndef SF_TOKENIZER_REGEX_H
#define SF_TOKENIZER_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct sf_regex sf_regex;

/* literal: the pattern is plain text. Errors say what PCRE2 says and where in the pattern. */
sf_status sf_regex_compile(const char *pattern, size_t bytes, bool literal, sf_regex **out);
void sf_regex_free(sf_regex *r);

typedef struct sf_match {
    size_t start, end;
} sf_match;

/* All matches in `text` (valid UTF-8), left to right, not overlapping; an empty one only where no other has just ended.
 * *matches is a growable array that the caller owns (see sf_reserve). */
sf_status sf_regex_find_all(const sf_regex *r, const char *text, size_t bytes, sf_match **matches, size_t *capacity,
                            size_t *n);

#endif
