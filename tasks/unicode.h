/* Letter case, digits and white space as Python's str and re have them, in which the study's scorer, RULER's and the
 * SQuAD script are written. Bytes that are not UTF-8 pass through unchanged.
 *
 * str.lower() and str.upper() are Unicode's full mappings without a language: a dotted capital I becomes i and a dot
 * above, a capital sigma at the end of a word its final form, a sharp s two letters. Which letters there are is a
 * matter of the Unicode version: utf8proc's here (2.8: Unicode 15), unicodedata's there (3.11: 14, 3.12: 15). */
#ifndef SF_UNICODE_H
#define SF_UNICODE_H

#include <stdbool.h>

#include "tasks/text.h"

/* The next code point at `at` and its length in bytes (≥ 1 before the end); a byte that is not UTF-8 gives −1. */
int sf_code_point(const char *at, const char *end, int *length);

bool sf_is_space(int code_point);        /* str.isspace(), and \s of re */
bool sf_is_alphanumeric(int code_point); /* str.isalnum(), and \w of re without the underscore */
int sf_digit(int code_point);            /* \d of re: 0 … 9, in whatever script; −1: none */

/* Append text.lower() and text.upper(). `out` is never NULL afterwards. */
void sf_add_lower(sf_text *out, sf_span text);
void sf_add_upper(sf_text *out, sf_span text);

#endif
