/* Reading an answer text: tags, white space, letter case, lists.
 *
 * Everything here follows Python's str and re, in which the study's scorer and the SQuAD script are written: white
 * space and letters are Unicode's, lower case is Unicode's simple mapping. Bytes that are not UTF-8 pass through
 * unchanged. */
#ifndef SF_ANSWER_H
#define SF_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "tasks/text.h"

typedef struct sf_span {
    const char *at;
    size_t bytes;
} sf_span;

sf_span sf_span_of(const char *string);

/* What stands between the first opening tag and the first closing tag after it. any_case: <Answer> is a tag too. */
bool sf_answer_first(const char *text, bool any_case, sf_span *out);

/* What stands between the last opening tag that is closed and its closing tag, in any letter case. */
bool sf_answer_last(const char *text, sf_span *out);

/* The next code point at `at` and its length in bytes (≥ 1 before the end); a byte that is not UTF-8 gives −1. */
int sf_code_point(const char *at, const char *end, int *length);
bool sf_is_space(int code_point);

sf_span sf_strip(sf_span text);
bool sf_next_line(sf_span *rest, sf_span *line);   /* splits at '\n', stripped; false at the end */
bool sf_next_token(sf_span *rest, sf_span *token); /* splits at white space */

/* Appends `text` in lower or upper case, white space at its ends removed and inside it made one space; as_is: kept.
 * `out` is never NULL afterwards. */
void sf_add_lower(sf_text *out, sf_span text);
void sf_add_upper(sf_text *out, sf_span text);
void sf_add_lower_as_is(sf_text *out, sf_span text);

/* Strings in order of arrival. */
typedef struct sf_list {
    char **item;
    int count, capacity;
} sf_list;

void sf_list_add(sf_list *list, const char *at, size_t bytes);
void sf_list_set(sf_list *list);              /* sorts and drops repeats */
int sf_by_text(const void *a, const void *b); /* for qsort() of items */
void sf_list_free(sf_list *list);

#endif
