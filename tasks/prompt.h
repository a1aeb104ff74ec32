/* One prompt shape for every task, and the fitting of its length.
 *
 *     introduction · question · <context> … </context> · question again · how to answer
 *
 * A task gives the parts and a writer of its content for any number of units (sentences, words, chapters); the fitting
 * finds the number of units with which the model's whole input counts 95 … 100 % of the request. Content grows, the
 * question stays. */
#ifndef SF_PROMPT_H
#define SF_PROMPT_H

#include "tasks/task.h"
#include "tasks/text.h"

typedef struct sf_prompt {
    const char *task;         /* name, for messages */
    const char *introduction; /* what the context is and what is asked of the reader; no newline at the end */
    bool plural;              /* several questions */
    const char *format;       /* what stands between the answer tags, as a form to fill in */
    const char *rules;        /* more about the answer, lines that begin with "- " and end with a newline; or NULL */
    const char *closing;      /* replaces the instructions about explanation and tags altogether; NULL: those */
    bool plain;               /* no tags around question and context */
    const char *whole; /* stands instead of all of this: a text with {context} and {query}, where the question goes; NULL: this */
    const char *answer_prefix; /* the model's turn begins with it; NULL: with what the model writes */
    sf_question_place place;  /* what OWN means here; OWN itself: both */
} sf_prompt;

typedef struct sf_content {
    void *self;
    const char *unit; /* what it grows by, in the plural, for messages: "chapters" */
    int least, most;  /* units it can be written with */

    /* Appends sentence i, from 0, of neutral ones that fill the end of the context where the next unit is too much.
     * NULL: none may. */
    void (*pad)(void *self, int i, sf_text *out);

    /* Writes context and question (both empty at entry, no newline at their ends) for `units` units, and leaves in self
     * what the gold answer needs. Called a few times with different numbers; the last call is the sample's. The same
     * units must give the same text, more units a longer one, and about evenly so. Without `pad`, a unit should be
     * small against 5 % of the shortest request. */
    sf_status (*write)(void *self, int units, sf_text *context, sf_text *question);
} sf_content;

/* Fills prompt, tokens and context bytes of a zeroed sample. Writes and counts a few times, mostly one or two of them
 * whole. Errors: the least content is over the request (names the least length), the most is under 95 % of it, or what
 * the writer and the counter report. The sample then stays zeroed. */
sf_status sf_prompt_fit(const sf_request *request, const sf_prompt *prompt, const sf_content *content, sf_sample *out);

/* Counts the model's whole input for the least content. */
sf_status sf_prompt_least(const sf_request *request, const sf_prompt *prompt, const sf_content *content, int *tokens);

/* Whether that is at most `most`. A token takes at least a byte, so that nothing is counted where the bytes, and 512
 * tokens for a chat template, are few enough. */
sf_status sf_prompt_is_within(const sf_request *request, const sf_prompt *prompt, const sf_content *content, int most,
                              bool *within);

/* What the user says to ask `question` (no newline at its end) in a later turn: the question and how to answer it. Of a shared context
 * what stands behind it. */
sf_status sf_prompt_later(const sf_request *request, const sf_prompt *prompt, const sf_text *question, char **out);

/* Appends a later turn to the sample: *later is zeroed, and stands until the next is added. */
sf_status sf_sample_later(sf_sample *sample, sf_sample **later);

/* Appends an expected answer to the sample. */
sf_status sf_sample_gold(sf_sample *sample, const char *gold);

/* Sets the perfect answer: `explanation` (left out if the request wants the answer alone), then `body` in tags. */
sf_status sf_sample_answer(sf_sample *sample, const sf_request *request, const char *explanation, const char *body);

#endif
