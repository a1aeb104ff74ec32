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

#define SF_QA_PARAMS(what, tokens)                                                                                     \
    (const sf_param[])                                                                                                 \
    {                                                                                                                  \
        {.name = "file",                                                                                               \
         .type = SF_STRING,                                                                                            \
         .offset = offsetof(sf_qa_params, file),                                                                       \
         .doc = what "; none: a small set that comes with Frontier"},                                                  \
            {.name = "longest",                                                                                        \
             .type = SF_INT,                                                                                           \
             .offset = offsetof(sf_qa_params, longest),                                                                \
             .low = 1,                                                                                                 \
             .high = 1 << 24,                                                                                          \
             .initial = tokens,                                                                                        \
             .doc = "tokens of prompt, question and its documents alone; a question that takes more is left out"},     \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }

typedef struct sf_qa_style {
    const char *task;
    sf_qa_format format;
    bool named;      /* the question names its document by number; else documents of the same article come first */
    const char *ask; /* stands in front of the question */
} sf_qa_style;

/* Fills prompt and gold answers of a zeroed sample; `prompt->task` and the style's are the same. Sample i of a seed
 * asks the i-th question of a shuffled data set, or another one, where that is longer than `longest` or the request. */
sf_status sf_qa_fit(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style,
                    const sf_prompt *prompt, sf_sample *out);

#endif
