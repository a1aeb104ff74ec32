/* Text to token ids and back: byte-level BPE (GPT-2 family, with the file's own split pattern) and metaspace BPE with
 * byte fallback (Gemma). Thread-safe after opening. */
#ifndef SF_TOKENIZER_H
#define SF_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sf_tokenizer sf_tokenizer;

/* What a GGUF file holds about its tokenizer (arrays owned by the caller, copied). */
typedef struct sf_gguf_tokens {
    const char *model;           /* tokenizer.ggml.model: "gpt2" is byte-level BPE, "llama" SentencePiece's */
    const char *architecture;    /* general.architecture: has the pattern where `pre` is missing or "default"; NULL: none */
    const char *pre;             /* tokenizer.ggml.pre: names the split pattern ("smollm", "qwen2", "llama-bpe", …) */
    int tokens, merges;
    const char *const *token;    /* [tokens] in the byte-to-unicode alphabet */
    const size_t *token_bytes;   /* [tokens] */
    const int32_t *type;         /* [tokens] see gguf_tokens.h; NULL: all normal */
    const float *score;          /* [tokens] "llama" only */
    bool no_space_prefix;        /* "llama": tokenizer.ggml.add_space_prefix is false */
    const char *const *merge;    /* [merges] "left right" */
    const size_t *merge_bytes;   /* [merges] */
} sf_gguf_tokens;

sf_status sf_tokenizer_from_gguf(const sf_gguf_tokens *from, const char *where, sf_tokenizer **out);

/* A token that stands elsewhere than in tokenizer.json (hf_tokens.h finds them), as transformers adds it: an added token
 * of that text takes on its flags, one of the vocabulary's becomes an added token, a new one gets the next free id. */
typedef struct sf_listed_token {
    const char *text;
    int64_t id;        /* as listed; another one than the token has or gets is an error; -1: not said */
    bool special, normalized, single_word, lstrip, rstrip;
    bool only_new;     /* tokens of this text that were added before all that are only_new stay as they are */
    bool only_free_id; /* the same of those of this id, whatever their text */
    const char *where; /* "tokenizer_config.json: eos_token", for messages */
    bool changes;      /* out: tokenizer.json alone would not have it so */
} sf_listed_token;

/* A Hugging Face tokenizer.json, with tokens that are listed elsewhere, in their order. */
sf_status sf_tokenizer_from_json(const char *path, sf_listed_token *also, int n, sf_tokenizer **out);
void sf_tokenizer_free(sf_tokenizer *t);

/* Ids of `text` (no BOS or EOS is added). special: text that spells a special token becomes that token, as in Hugging
 * Face; false: it is ordinary text. Added tokens that are not special are part of the vocabulary and found either way.
 * What the vocabulary cannot spell and has no unknown token for is left out, as the `tokenizers` library does. *ids is
 * malloc'ed, caller frees. Invalid UTF-8 is an error that says where. */
sf_status sf_encode(const sf_tokenizer *t, const char *text, size_t bytes, bool special, int32_t **ids, int *n);

/* The same of a text of which some bytes are another's: mark [bytes] is 1 for those, NULL: none. Special tokens that they
 * spell, alone or with what stands beside them, stay ordinary text; all others become tokens. */
sf_status sf_encode_marked(const sf_tokenizer *t, const char *text, size_t bytes, const uint8_t *mark, int32_t **ids, int *n);

/* Text of ids, NUL-terminated, malloc'ed. skip_special leaves control tokens out; ids that are no token are left out too.
 * Always valid UTF-8: bytes that do not form a character become U+FFFD, and so does U+0000. */
sf_status sf_decode(const sf_tokenizer *t, const int32_t *ids, int n, bool skip_special, char **text);

int sf_vocab_size(const sf_tokenizer *t);
int32_t sf_token_id(const sf_tokenizer *t, const char *token); /* of a token's exact text; -1: none */
int32_t sf_token_in_front(const sf_tokenizer *t); /* that the file says to put in front of a text; -1: none, or not said */
const char *sf_token_text(const sf_tokenizer *t, int32_t id);  /* as stored; NULL: out of range */

#endif
