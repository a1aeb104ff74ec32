/* What each kind of source brings. */
#ifndef SF_MODEL_SOURCE_H
#define SF_MODEL_SOURCE_H

#include "harness/model/model.h"

/* Called by sf_model_open(), which validates, hashes config and weights, and closes what a failure leaves half-opened.
 * `out` is zeroed; a source folds its texts (tokenizer, template) into out->hash. */
sf_status sf_gguf_open(const char *path, sf_model *out);
sf_status sf_hf_open(const char *folder, bool weights, sf_model *out);

/* For the sources, once chat_files are filled: prompts as the files say. */
sf_status sf_model_own_chat(sf_model *out);

#endif
