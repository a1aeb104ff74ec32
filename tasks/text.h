/* Pieces of text, and text that grows at its end: what tasks write contexts, questions and answers with.
 *
 * Running out of memory is remembered, and later writes do nothing: check `failed` once, at the end. */
#ifndef SF_TEXT_H
#define SF_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A piece of text that lies elsewhere. */
typedef struct sf_span {
    const char *at;
    size_t bytes;
} sf_span;

sf_span sf_span_of(const char *string);
const char *sf_span_end(sf_span span); /* NULL of an absent one */

typedef struct sf_text {
    char *data;  /* NUL-terminated; NULL before the first write */
    size_t size; /* bytes, without the NUL */
    size_t capacity;
    bool failed; /* out of memory */
} sf_text;

void sf_text_bytes(sf_text *t, const char *bytes, size_t n);
void sf_text_add(sf_text *t, const char *string);
void sf_text_char(sf_text *t, char c);
void sf_text_int(sf_text *t, long number); /* decimal: numbered lists are the bulk of some contexts */
void sf_text_format(sf_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sf_text_clear(sf_text *t); /* empties it, keeps the memory */
void sf_text_free(sf_text *t);

#endif
