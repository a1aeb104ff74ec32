/* Data sets of questions about documents, as their authors distribute them. */
#ifndef SF_QA_DATA_H
#define SF_QA_DATA_H

#include <stddef.h>

#include "base/status.h"

typedef enum sf_qa_format {
    SF_QA_SQUAD,  /* {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers": [{"text"}],
                     "is_impossible"}]}]}]}; the impossible are left out */
    SF_QA_CHOICE, /* lines {"context", "questions": [text with options], "answer": ["B", "AC", …]}, or QuALITY's own:
                     {"article", "questions": [{"question", "options": [text, …], "gold_label": 2}]} */
    SF_QA_HOTPOT, /* [{"question", "answer", "context": [[title, [sentence, …]], …]}] */
    SF_QA_FORMATS
} sf_qa_format;

typedef struct sf_qa_document {
    char *text;
    int pieces; /* it can be cut into */
} sf_qa_document;

typedef struct sf_qa_item {
    char *question;
    char **gold; /* [golds] accepted answers, without repeats */
    int golds;
    int *document; /* [documents] what the question is about */
    int documents;
    int near_begin, near_end; /* documents of the same article (SQuAD) */
} sf_qa_item;

/* No two documents are the same, and no two items that ask the same of the same document. */
typedef struct sf_qa_set {
    sf_qa_document *document; /* [documents] */
    int documents;
    sf_qa_item *item; /* [items], at least one */
    int items;
    int shortest; /* the item with the least text */
} sf_qa_set;

/* Reads a file of the user's, or, path NULL, the data that come with Frontier. What was read is kept for the life of
 * the program and read anew only if the file changes. Thread-safe. Error: names file and line. */
sf_status sf_qa_open(const char *path, sf_qa_format format, const sf_qa_set **out);

/* Reads a set that lies in memory; `name` is for messages. The caller frees it. */
sf_status sf_qa_parse(const char *text, size_t bytes, const char *name, sf_qa_format format, sf_qa_set **out);
void sf_qa_free(sf_qa_set *set);

/* Bytes of the first `pieces` pieces of a text: whole words, or 16 characters of a longer one. */
int sf_qa_cut(const char *text, int pieces);

#endif
