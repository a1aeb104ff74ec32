/* `show --chat`: what a model reads, token by token. */
#ifndef SF_CONVERSATION_H
#define SF_CONVERSATION_H

#include <jansson.h>

#include "base/strings.h"
#include "harness/config/sweep.h"
#include "harness/model/model.h"

/* Every token of an input, [[id, "text"], …]: joined, the texts are the rendered conversation. */
json_t *sf_conversation(const sf_model *m, const int32_t *ids, int n);
void sf_conversation_print(const json_t *tokens);

/* An example for the model at `path`, whose prompts are made as `set` says ("enable_thinking=false": keys of the config's
 * `chat`): adds to `o` what was used, the text and the tokens. */
sf_status sf_conversation_of(const char *path, const sf_strings *set, json_t *o);

#endif
