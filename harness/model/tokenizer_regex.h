/* Patterns as tokenizer files write them, run by the engine that the `tokenizers` library runs them with: Oniguruma,
 * its own syntax, no options. So (?m) lets a dot match line ends, x{2}+ is x{2} repeated, [a&&b] is an intersection,
 * and so on; what a letter, digit or space is, is fixed by unicode.h, not by the machine's version of the library
 * (pairs of letters that (?i) takes as one, and the few that Unicode added since version 14 to them, are the
 * library's).
 *
 * Not supported, and an error that says so: \X, \y, \Y and \R, which differ between versions of Oniguruma, and names of
 * properties that unicode.h does not have. */
#ifndef SF_TOKENIZER_REGEX_H
#define SF_TOKENIZER_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct sf_regex sf_regex;

/* literal: the pattern is plain text. Errors say what Oniguruma says. */
sf_status sf_regex_compile(const char *pattern, size_t bytes, bool literal, sf_regex **out);
void sf_regex_free(sf_regex *r);

typedef struct sf_match {
    size_t start, end;
} sf_match;

/* All matches in `text` (valid UTF-8), left to right: each begins where the one before ends or later, and ends where it
 * begins or later (a pattern that breaks this, by \K or by looking behind, is an error); an empty one only where no
 * other has just ended. *matches is a growable array that the caller owns (see sf_reserve). */
sf_status sf_regex_find_all(const sf_regex *r, const char *text, size_t bytes, sf_match **matches, size_t *capacity,
                            size_t *n);

/* "Oniguruma 6.9.8": of the library that is loaded. */
const char *sf_regex_engine(void);

#endif
