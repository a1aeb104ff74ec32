/* The special and added tokens of a Hugging Face folder that stand elsewhere than in tokenizer.json, resolved as
 * transformers 5 resolves them for a tokenizer that is read from tokenizer.json (TokenizersBackend):
 *
 *   tokenizer_config.json     bos_token, eos_token, …, any other key *_token; extra_special_tokens (or the older
 *                             additional_special_tokens), a list or an object; added_tokens_decoder
 *   special_tokens_map.json   the same keys, and the named ones win; only where there is no added_tokens_decoder
 *   added_tokens.json         text and id; likewise
 *
 * added_tokens_decoder decides on the flags of a token, also of one that tokenizer.json has; the other places only add
 * what is not there yet. */
#ifndef SF_HF_TOKENS_H
#define SF_HF_TOKENS_H

#include "harness/model/json.h"
#include "harness/model/tokenizer.h"

typedef struct sf_hf_tokens {
    json_t *config, *map, *added; /* the three files; NULL where absent; owned */
    sf_listed_token *listed;      /* [n] in the order in which they are added; texts point into the files */
    int n;
    size_t capacity;
} sf_hf_tokens;

/* Error: names file and key. `out` is zeroed, or freed with sf_hf_tokens_free() also after one. */
sf_status sf_hf_tokens_read(const char *folder, sf_hf_tokens *out);
void sf_hf_tokens_free(sf_hf_tokens *t);

/* The text of a named token, "bos_token" and the like, as a template sees it; NULL: none. */
const char *sf_hf_token(const sf_hf_tokens *t, const char *key);

#endif
