/* What a Hugging Face folder's config.json says, apart from its weights. */
#ifndef SF_HF_H
#define SF_HF_H

#include <jansson.h>

#include "harness/model/doubts.h"
#include "harness/model/model.h"

/* Fills `out` from the parsed config.json of a decoder, or of a multimodal model's text tower. *multimodal: the folder
 * holds weights of other towers. `path` is for messages. */
sf_status sf_hf_config(const json_t *config, const char *path, sf_model_config *out, bool *multimodal,
                       sf_doubts *doubts);

#endif
