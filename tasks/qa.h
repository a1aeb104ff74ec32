/* What all tasks of questions and answers share: a question, its documents, and other documents of the data set as
 * distractors until the length is met. The last distractor is cut to fit; the order is that of chance. */
#ifndef SF_QA_H
#define SF_QA_H

#include "tasks/prompt.h"
#include "tasks/qa_data.h"

typedef struct sf_qa_params {
    const char *file;
    int longest;
} sf_qa_params;

/* Rows of a parameter table, for a struct with a member `qa`. */
#define SF_QA_PARAMS(params, what, tokens)                                                                             \
    {.name = "file",                                                                                                   \
     .type = SF_STRING,                                                                                                \
     .offset = offsetof(params, qa.file),                                                                              \
     .file = true,                                                                                                     \
     .doc = what "; none: a small set that comes with Frontier"},                                                      \
    {                                                                                                                  \
        .name = "longest", .type = SF_INT, .offset = offsetof(params, qa.longest), .low = 1, .high = 1 << 24,          \
        .initial = tokens,                                                                                             \
        .doc = "tokens of prompt, question and its documents alone; a question that takes more is left out"            \
    }

typedef struct sf_qa_style {
    sf_prompt prompt;
    sf_qa_format format;
    bool named;      /* the question names its document by number; else documents of the same article come first */
    const char *ask; /* stands in front of the question */
} sf_qa_style;

/* Fills prompt and gold answers of a zeroed sample. Questions are drawn without replacement: sample i of a seed asks
 * the i-th of a shuffled data set among those that take at most `longest` tokens and the request's. Error: so many
 * there are not. */
sf_status sf_qa_fit(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style, sf_sample *out);

/* How many of these there are, at most `most` (sf_task.supply). */
sf_status sf_qa_supply(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style, int most,
                       int *samples);

#endif
