/* What a Hugging Face folder's config.json says, apart from its weights. */
#ifndef SF_HF_H
#define SF_HF_H

#include <jansson.h>

#include "harness/model/doubts.h"
#include "harness/model/hf_tokens.h"
#include "harness/model/model.h"
#include "harness/model/unpack.h"

/* Fills `out` from the parsed config.json of a decoder, or of a multimodal model's text tower. *multimodal: the folder
 * holds weights of other towers. `path` is for messages. */
sf_status sf_hf_config(const json_t *config, const char *path, sf_model_config *out, bool *multimodal,
                       sf_doubts *doubts);

/* How its weights are quantised, in the decoder's config or in the one around it. sf_hf_config() has asked it already. */
sf_status sf_hf_quantization(const json_t *config, const char *path, sf_quantization *out, sf_doubts *doubts);

struct sf_chat_files;

/* What the small files say about conversations: templates (chat_template.jinja, additional_chat_templates/, or those of
 * tokenizer_config.json), the special tokens that they may name, BOS. *out is the caller's, on failure too. */
sf_status sf_hf_chat_files(const char *folder, const sf_hf_tokens *tokens, const sf_tokenizer *t, struct sf_chat_files **out);

#endif
