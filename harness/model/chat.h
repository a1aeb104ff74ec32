/* Chat templates: the tokens of a model's whole input for a user message. The model's own template is rendered (jinja.h), as
 * transformers' apply_chat_template renders it; a config may give another frame, or none for a base model. */
#ifndef SF_CHAT_H
#define SF_CHAT_H

#include <jansson.h>

#include "harness/model/jinja.h"
#include "harness/model/tokenizer.h"

/* What a model's files say about conversations (hf_chat.c and gguf_model.c fill it). */
typedef struct sf_chat_files {
    char *where;          /* file or folder, for messages */
    int templates;
    struct sf_chat_template {
        char *name, *text; /* the one that is meant where none is named: "default" */
    } *template;
    json_t *tokens;       /* "bos_token": "<s>", …: what templates may name; absent ones are undefined */
    int32_t bos;          /* -1: there is none */
    bool adds_bos;        /* the tokenizer puts it in front of plain text */
    bool adds_to_template; /* … and in front of a rendered conversation that does not begin with it, as llama.cpp does;
                              transformers leaves that to the template */
} sf_chat_files;

/* Zeroed but for `where` and the BOS; NULL: no memory. */
sf_chat_files *sf_chat_files_new(const char *where);
void sf_chat_files_free(sf_chat_files *f); /* accepts NULL */
sf_status sf_chat_files_add(sf_chat_files *f, const char *name, const char *text); /* copies both */

const char *sf_chat_files_default(const sf_chat_files *f); /* text of the template that is meant where none is named; NULL */

typedef struct sf_chat sf_chat;

/* How a model's prompts are made. `options`: JSON, NULL: as the files say. "none": the text as it is. An object:
 *
 *   prefix, suffix   what stands around the message instead of a template; both may spell special tokens
 *   template         which of the named templates (default: "default")
 *   system           a system message; it may spell special tokens
 *   date             "YYYY-MM-DD" that strftime_now() gives (default: SF_CHAT_DATE)
 *   bos              whether BOS is put in front (default: as `files` says)
 *   any other key    a variable of the template, as transformers' keyword arguments are
 *
 * Without a template, BOS stands in front of the text if the tokenizer puts it there. A message is rendered for trial: a
 * template that cannot do that is an error here. Errors name the ways out, SF_UNSUPPORTED: no template, or what it says is
 * not supported. */
sf_status sf_chat_open(const sf_chat_files *files, const char *options, sf_chat **out);
#define SF_CHAT_DATE "2024-07-26"

/* Own prefix and suffix, no BOS put in front. */
sf_status sf_chat_custom(const char *prefix, const char *suffix, sf_chat **out);
void sf_chat_free(sf_chat *c); /* accepts NULL */

const char *sf_chat_name(const sf_chat *c); /* "default template", "custom", "none": for `show` and provenance */
/* The options, and the date if the template asks for it, as JSON; "": neither. */
const char *sf_chat_used(const sf_chat *c);
/* What is to be hashed beside a model's files because it changes its prompts; "": nothing. It is "" too for what earlier
 * versions wrote the same, so that their results still count: plain ChatML, prefix and suffix without BOS. */
const char *sf_chat_key(const sf_chat *c);
/* The BOS that an input should begin with: the tokenizer's, or that of the template. -1: none. */
int32_t sf_chat_bos(const sf_chat *c);

/* The whole input for one user message as text, ending with the generation prompt, without a BOS put in front. `mark` is of
 * the user's bytes. */
sf_status sf_chat_render(const sf_chat *c, const char *user, size_t bytes, sf_jinja_output *out);

/* The same as tokens. *ids malloc'ed. Text of the message that spells a special token stays ordinary text, so that a context
 * cannot end the user's turn. */
sf_status sf_chat_encode(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, int32_t **ids, int *n);

/* How many of the ids of sf_chat_encode(), from the first on, are of what stands before byte `end` of the message alone: they are the
 * same whatever comes from there on. Error: the template writes another message than it is given, up to there. */
sf_status sf_chat_head(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, size_t end, int *n);

/* The ids that stand between an answer and the next, where `user` is said after it: what closes the answer (its stop token is among
 * that), the message, the generation prompt. SF_UNSUPPORTED: no template, or one that writes an answer that is followed otherwise than
 * it was generated. */
sf_status sf_chat_encode_later(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, int32_t **ids, int *n);

/* An answer's ids as a model would generate them after the generation prompt, without a stop token. *ids malloc'ed. */
sf_status sf_chat_encode_answer(const sf_chat *c, const sf_tokenizer *t, const char *answer, size_t bytes, int32_t **ids,
                                int *n);

/* Which of the stop tokens ends an answer: the one that ends the user's turn in this template, or else the first. */
int32_t sf_chat_stop(const sf_chat *c, const sf_tokenizer *t, const int32_t *stop, int stops);

#endif
