/* Reading an answer text: tags, tokens, lists. */
#ifndef SF_ANSWER_H
#define SF_ANSWER_H

#include <stdbool.h>

#include "tasks/text.h"

/* What stands between the first opening tag and the first closing tag after it. any_case: <Answer> is a tag too, and
 * <anſwer> (re.IGNORECASE takes the long s for an s). */
bool sf_answer_first(const char *text, bool any_case, sf_span *out);

/* What stands between the last opening tag that is closed and its closing tag, in any letter case. */
bool sf_answer_last(const char *text, sf_span *out);

/* Bytes of `word`, lower-case ASCII, at the beginning of `text` in any letter case; 0: something else stands there. */
size_t sf_match_word(sf_span text, const char *word);

sf_span sf_strip(sf_span text);
bool sf_next_line(sf_span *rest, sf_span *line);   /* splits at '\n', stripped; false at the end */
bool sf_next_token(sf_span *rest, sf_span *token); /* splits at white space */

/* Appends `text` without white space at its ends, and that inside made one space. `out` is never NULL afterwards. */
void sf_add_collapsed(sf_text *out, sf_span text);

/* Strings in order of arrival. Running out of memory is remembered, as in sf_text: check `failed` once, at the end. */
typedef struct sf_list {
    char **item;
    int count, capacity;
    bool failed;
} sf_list;

void sf_list_add(sf_list *list, const char *at, size_t bytes);
void sf_list_sort(sf_list *list);
void sf_list_set(sf_list *list);                        /* sorts and drops repeats */
int sf_list_common(const sf_list *a, const sf_list *b); /* items of two sorted lists, repeats counted */
void sf_list_free(sf_list *list);

#endif
