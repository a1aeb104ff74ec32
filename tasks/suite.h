/* Data sets that others publish on, read from the user's own files in the layouts in which their authors give them out.
 *
 * A suite is a file, tasks/suite_NAME.c: a table of its data sets (what they are called, what their rows hold, which
 * metric scores them) and what is said below of each; and a line in tasks/registry.c. Reading, drawing, filling of the
 * suite's own prompts, and cutting to a length are shared. Prompts are read from the user's copy of the suite's
 * repository: none of their words is in this program. */
#ifndef SF_SUITE_H
#define SF_SUITE_H

#include <jansson.h>

#include "tasks/prompt.h"

typedef struct sf_suite_params {
    const char *file, *prompts, *demos;
} sf_suite_params;

typedef struct sf_dataset sf_dataset;
typedef struct sf_suite_set sf_suite_set; /* a data set's rows and words, as opened */

/* A row of the user's file: a line, or an element of its array. */
typedef struct sf_suite_row {
    const sf_dataset *dataset;
    const char *file; /* and below, for messages */
    int line, number; /* from 1 */
    int turn; /* from 0, where a row holds several */
    const json_t *json;
    const sf_suite_set *set;
} sf_suite_row;

struct sf_dataset {
    const char *task; /* the task's name */
    const char *name; /* what the suite calls it */
    bool whole;       /* no row is cut: one that is too long is an error */
    bool worded;      /* the rows hold their own words: `prompts` is not read */
    bool begun;       /* the prompt's last line is the beginning of the answer, and the sample's `aside` */
    bool ends;        /* a row that is too long loses the end of its context, not the middle of the prompt */
    const char *turns; /* a row's list of questions, each a sample of its own, or its first ones the turns of one; NULL: a row is one */

    /* The rows of a second file, which `demos` names, of which some stand in each prompt as examples. NULL: there are none. */
    const sf_dataset *demos;
    const char *keys[2]; /* of such rows: the members, texts or whole numbers, that tell them apart */

    /* The prompt of all rows: a text with {field} where a row's field goes, {{ and }} where a brace does (as Python's
     * str.format has it), malloc'ed. */
    sf_status (*prompt)(const sf_dataset *dataset, const char *path, char **out);

    /* Where a row has turns: the prompts when they are asked one after the other, of the first and of a later one. */
    sf_status (*turn_prompts)(const sf_dataset *dataset, const char *path, char **first, char **later);

    /* In the same way, what each document of a row is written as. NULL: rows hold none. */
    sf_status (*document)(const sf_dataset *dataset, const char *path, char **out);

    /* Whether a row is asked at all. NULL: every one is. */
    sf_status (*takes)(const sf_suite_row *row, bool *out);

    /* Appends the text that goes in place of {name}. NULL: the row's member of that name, a text. */
    sf_status (*field)(const sf_suite_row *row, const char *name, sf_text *out);

    /* Fills gold answers, and what else the scorer must know, of a zeroed sample. */
    sf_status (*answers)(const sf_suite_row *row, sf_sample *out);
};

/* Rows are drawn without replacement, all of them if there are samples enough; one that takes more tokens than the
 * request is cut in its middle: as many tokens of its beginning as of its end stay (or `ends`). */
sf_status sf_suite_generate(const sf_dataset *dataset, const void *params, const sf_request *request, sf_sample *out);
sf_status sf_suite_supply(const sf_dataset *dataset, const void *params, const sf_request *request, int most, int *samples);

/* generate_ID and supply_ID of data set ID, for `static const sf_dataset set_ID`. */
#define SF_SUITE_HOOKS(id)                                                                                             \
    static sf_status generate_##id(const void *p, const sf_request *r, sf_sample *out)                                 \
    {                                                                                                                  \
        return sf_suite_generate(&set_##id, p, r, out);                                                                \
    }                                                                                                                  \
    static sf_status supply_##id(const void *p, const sf_request *r, int most, int *n)                                 \
    {                                                                                                                  \
        return sf_suite_supply(&set_##id, p, r, most, n);                                                              \
    }

/* Parameters of every suite's tasks: where its rows are, and where its prompts. */
#define SF_SUITE_PARAMS(rows, words)                                                                                   \
    {.name = "file", .type = SF_STRING, .offset = offsetof(sf_suite_params, file), .file = true, .doc = rows},          \
    {.name = "prompts", .type = SF_STRING, .offset = offsetof(sf_suite_params, prompts), .file = true, .folder = true, .doc = words}

/* What the tasks of a suite's data sets have in common. */
#define SF_SUITE_TASK(id, tokens)                                                                                      \
    .abi = SF_TASK_ABI, .output = tokens, .params_size = sizeof(sf_suite_params), .generate = generate_##id, .supply = supply_##id

/* Refuses what a sweep may say of Frontier's own prompts (question, introduction, instructions). */
sf_status sf_suite_own_words(const char *task, const sf_prompting *how);

/* ---- for the suites' files ------------------------------------------------------------------------------------------ */

/* "FILE:LINE: row N: " and what is wrong. */
sf_status sf_suite_wrong(const sf_suite_row *row, const char *what, ...) __attribute__((format(printf, 2, 3)));

/* A member of the row, of a type. The text may be empty. */
sf_status sf_suite_text(const sf_suite_row *row, const char *name, const char **out);
sf_status sf_suite_list(const sf_suite_row *row, const char *name, const json_t **out);

/* Appends every text of the list `name`, at least one, to the gold answers. */
sf_status sf_suite_gold(const sf_suite_row *row, const char *name, sf_sample *out);

/* The member `name` as a text, of a text or a whole number, malloc'ed; NULL: there is none, or no memory. */
char *sf_suite_key(const json_t *row, const char *name);

/* Appends the row's documents, the objects of its list `name`, an empty line between them. */
sf_status sf_suite_documents(const sf_suite_row *row, const char *name, sf_text *out);

/* The rows that examples are drawn from: how many, the key [which] of one (NULL: it has none), one filled in and appended. */
int sf_suite_demos(const sf_suite_row *row);
const char *sf_suite_demo_key(const sf_suite_row *row, int demo, int which);
sf_status sf_suite_demo(const sf_suite_row *row, int demo, sf_text *out);

/* Appends a text with a placeholder filled wherever it stands. */
void sf_suite_put(sf_text *out, const char *text, const char *placeholder, const char *with);

/* A whole file as a text, malloc'ed; a member of a JSON object in a file. */
sf_status sf_suite_file(const char *path, char **out);
sf_status sf_suite_member(const char *path, const char *member, char **out);

#endif
