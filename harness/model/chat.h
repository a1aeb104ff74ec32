/* Chat templates: the tokens that a model's own template puts around a user message, and exactly one BOS. */
#ifndef SF_CHAT_H
#define SF_CHAT_H

#include "harness/model/tokenizer.h"

typedef struct sf_chat sf_chat;

/* Recognises the family of a template text (Jinja, as in tokenizer_config.json or tokenizer.chat_template) by what it
 * writes: ChatML (Qwen, SmolLM2, with their default system message), Llama 3, Gemma, Mistral. `bos`: text of the BOS
 * token, if the template writes it (bos_token) or the model adds one; NULL: neither. It is put in front once. Unknown: an
 * error that says how to give prefix and suffix in YAML. */
sf_status sf_chat_from_template(const char *template, const char *bos, const char *where, sf_chat **out);

/* Own prefix and suffix, as in YAML `chat: {prefix: "…", suffix: "…"}`; both may spell special tokens. */
sf_status sf_chat_custom(const char *prefix, const char *suffix, sf_chat **out);
void sf_chat_free(sf_chat *c);
const char *sf_chat_name(const sf_chat *c); /* for `show` and provenance */

/* The model's whole input for one user message, ending with the generation prompt. *ids malloc'ed. Text of the message
 * that spells a special token stays ordinary text, so that a context cannot end the user's turn. */
sf_status sf_chat_encode(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, int32_t **ids, int *n);

/* An answer's ids as a model would generate them after the generation prompt, without a stop token. *ids malloc'ed. */
sf_status sf_chat_encode_answer(const sf_chat *c, const sf_tokenizer *t, const char *answer, size_t bytes, int32_t **ids,
                                int *n);

/* Which of the stop tokens ends an answer: the one that ends the user's turn in this template, or else the first. */
int32_t sf_chat_stop(const sf_chat *c, const sf_tokenizer *t, const int32_t *stop, int stops);

#endif
