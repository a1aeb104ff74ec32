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
    const char *file, *prompts;
} sf_suite_params;

typedef struct sf_dataset sf_dataset;

/* A row of the user's file: a line, or an element of its array. */
typedef struct sf_suite_row {
    const sf_dataset *dataset;
    const char *file; /* and below, for messages */
    int line, number; /* from 1 */
    int turn; /* from 0, where a row holds several */
    const json_t *json;
} sf_suite_row;

struct sf_dataset {
    const char *task; /* the task's name */
    const char *name; /* what the suite calls it */
    bool whole;       /* no row is cut: one that is too long is an error */
    bool worded;      /* the rows hold their own words: `prompts` is not read */
    bool begun;       /* the prompt's last line is the beginning of the answer, and the sample's `aside` */
    const char *turns; /* a row's list of questions, each a sample of its own; NULL: a row is one */

    /* The prompt of all rows: a text with {field} where a row's field goes, {{ and }} where a brace does (as Python's
     * str.format has it), malloc'ed. */
    sf_status (*prompt)(const sf_dataset *dataset, const char *path, char **out);

    /* Appends the text that goes in place of {name}. NULL: the row's member of that name, a text. */
    sf_status (*field)(const sf_suite_row *row, const char *name, sf_text *out);

    /* Fills gold answers, and what else the scorer must know, of a zeroed sample. */
    sf_status (*answers)(const sf_suite_row *row, sf_sample *out);
};

/* Rows are drawn without replacement, all of them if there are samples enough; one that takes more tokens than the
 * request is cut in its middle: as many tokens of its beginning as of its end stay. */
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

/* A whole file as a text, malloc'ed; a member of a JSON object in a file. */
sf_status sf_suite_file(const char *path, char **out);
sf_status sf_suite_member(const char *path, const char *member, char **out);

#endif
