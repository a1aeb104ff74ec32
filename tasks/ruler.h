/* What the tasks of RULER (Hsieh et al. 2024, arXiv 2404.06654) share. They are built as RULER defines them: kinds of
 * needles and haystacks, repeats, chains, hops, example, metric, output limit. The sentences are our own, so that
 * scores can be compared with published tables in kind, not to the digit (tasks/README.md lists every difference); or, with
 * `wording: ruler`, those of the user's copy of its repository, which are read as data: nothing of it is in this program, and none
 * of its code is run.
 *
 * RULER asks for the answer alone, without tags, and puts the question after the context. */
#ifndef SF_RULER_H
#define SF_RULER_H

#include "tasks/prompt.h"

#define SF_RULER_SOURCE "Hsieh et al. 2024, RULER, arXiv 2404.06654"

typedef struct sf_ruler_params {
    bool answer_prefix;
    int wording; /* 1: RULER's */
    const char *repository;
} sf_ruler_params;

/* Rows of a parameter table, for a struct with a member `ruler`. */
#define SF_RULER_PARAMS(params)                                                                                        \
    {.name = "answer_prefix", .type = SF_BOOL, .offset = offsetof(params, ruler.answer_prefix), .initial = 1,           \
     .doc = "the model's turn is begun with the first words of the answer, as RULER does; false: it is not"},           \
    {.name = "wording", .type = SF_CHOICE, .choices = "own|ruler", .offset = offsetof(params, ruler.wording), .late = true, \
     .doc = "ruler: prompts are written in RULER's words, read from `repository`"},                                     \
    {.name = "repository", .type = SF_STRING, .offset = offsetof(params, ruler.repository), .file = true, .folder = true, .late = true, \
     .doc = "the folder scripts/data/synthetic of your copy of the repository NVIDIA/RULER"}

/* RULER's words for a task; all NULL: ours. */
typedef struct sf_ruler_words {
    char *prompt; /* with {context}, {query}, and other fields until sf_ruler_fill() */
    char *answer; /* what the answer begins with; fields too */
    char *code;   /* a text of the task's own code: the form of a needle, or of a document; or NULL */
    char *noise;  /* a line of noise; or NULL */
} sf_ruler_words;

/* Reads them: of TASKS[name] in constants.py, and of name.py the strings assigned to `code` and `noise` (NULL: none). Error: a word that
 * is missing, `repository` or `wording` without the other, what a sweep says of Frontier's own prompts. */
sf_status sf_ruler_read(const char *task, const sf_ruler_params *p, const sf_prompting *how, const char *name, const char *code, const char *noise,
                        sf_ruler_words *out);
void sf_ruler_free(sf_ruler_words *words);

/* Replaces text wherever it stands in prompt and answer, as Python's str.replace. Error: no memory. */
sf_status sf_ruler_replace(sf_ruler_words *words, const char *text, const char *with);

/* That no field is left but {context} and {query}, in the prompt, and {query} in the answer. */
sf_status sf_ruler_filled(const char *task, const sf_ruler_words *words);

/* Appends a text with {context} and {query} filled. */
void sf_ruler_format(sf_text *out, const char *text, const char *context, const char *query);

/* Sets the perfect answer: the gold strings, `separator` between them; NULL: a numbered list, "1. one 2. two". A space
 * in front where the sample has a prefix that does not end in one. */
sf_status sf_ruler_answer(sf_sample *sample, const char *separator);

#endif
