/* Cheap token counters for tests of tasks, in place of a model's tokenizer and chat template. */
#ifndef SF_TEST_COUNTERS_H
#define SF_TEST_COUNTERS_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "tasks/find.h"

enum { CHAT_TEMPLATE = 23 }; /* tokens that the template around the message would take */

/* One token for every four bytes. */
static inline int count_fours(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    (void)self;
    (void)text;
    return (int)((bytes + (answer_prefix ? strlen(answer_prefix) : 0)) / 4) + CHAT_TEMPLATE;
}

/* One token for every word of letters, for every digit and for every mark, as word-level vocabularies have it. */
static inline int count_words(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    int n = answer_prefix ? count_words(self, answer_prefix, strlen(answer_prefix), NULL) : CHAT_TEMPLATE;
    bool inside = false;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        bool letter = isalpha(c) || c >= 0x80;
        n += letter ? !inside : !isspace(c);
        inside = letter;
    }
    return n;
}

static const sf_token_counter counter_fours = {NULL, count_fours};
static const sf_token_counter counter_words = {NULL, count_words};

#endif
