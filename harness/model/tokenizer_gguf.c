/* The tokenizer of a GGUF file: vocabulary and merges are in it, how text is split is only named ("pre"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/tokenizer_parts.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define PUNCTUATION  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3       CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" PUNCTUATION

/* What each name stands for: the pre-tokenizer, normalizer and flags of the tokenizer.json it was converted from. */
static const struct pre {
    const char *name;
    const char *pattern;
    bool digits; /* first cuts every digit off */
    bool nfc;
    bool ignore_merges;
} PRE[] = {
    {.name = "default", .pattern = SF_GPT2_PATTERN},
    {.name = "gpt-2", .pattern = SF_GPT2_PATTERN},
    {.name = "smollm", .pattern = SF_GPT2_PATTERN, .digits = true},
    {.name = "qwen2", .pattern = CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" PUNCTUATION, .nfc = true},
    {.name = "llama-bpe", .pattern = LLAMA3, .ignore_merges = true},
    {.name = "llama3", .pattern = LLAMA3, .ignore_merges = true}, /* older names of the same */
    {.name = "llama-v3", .pattern = LLAMA3, .ignore_merges = true},
};
enum { PRES = sizeof PRE / sizeof *PRE };

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 }; /* token types of the format */

static sf_status find_pre(const char *name, const struct pre **out)
{
    for (int i = 0; i < PRES; i++) {
        *out = &PRE[i];
        if (!strcmp(PRE[i].name, name)) return SF_OK;
    }
    char known[256] = "";
    for (int i = 0; i < PRES; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", PRE[i].name);
    }
    return sf_fail(SF_UNSUPPORTED,
                   "tokenizer.ggml.pre is \"%.64s\"; known are %s (the Hugging Face folder of the model, with its "
                   "tokenizer.json, says itself how text is split)",
                   name, known);
}

static bool is_utf8(const char *text, size_t bytes)
{
    bool valid = true;
    for (size_t i = 0; i < bytes && valid;) i += sf_utf8_length(text + i, bytes - i, &valid);
    return valid;
}

static sf_status read_vocabulary(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    for (int i = 0; i < from->tokens; i++) {
        if (!is_utf8(from->token[i], from->token_bytes[i]))
            return sf_fail(SF_BAD_INPUT, "tokenizer.ggml.tokens[%d] is not UTF-8", i);
        int type = from->type ? from->type[i] : NORMAL;
        if (type < NORMAL || type > BYTE)
            return sf_fail(SF_BAD_INPUT, "tokenizer.ggml.token_type[%d] is %d, expected %d to %d", i, type, NORMAL,
                           BYTE);
        SF_TRY(sf_blame(sf_vocab_add(&t->vocab, from->token[i], from->token_bytes[i], i, type != CONTROL),
                        "tokenizer.ggml.tokens"));
        if (type == CONTROL || type == USER_DEFINED)
            SF_TRY(sf_add_token(t, (sf_added_token){.id = i, .special = type == CONTROL}));
    }
    return SF_OK;
}

static sf_status read_merges(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    for (int i = 0; i < from->merges; i++) {
        const char *merge = from->merge[i];
        size_t bytes = from->merge_bytes[i];
        const char *space = memchr(merge, ' ', bytes);
        size_t left = space ? (size_t)(space - merge) : 0, right = space ? bytes - left - 1 : 0;
        if (!left || !right || memchr(space + 1, ' ', right))
            return sf_fail(SF_BAD_INPUT,
                           "tokenizer.ggml.merges[%d] is \"%.*s\", expected two tokens and a space between", i,
                           bytes < 64 ? (int)bytes : 64, merge);
        SF_TRY(sf_blame(sf_bpe_merge(&t->bpe, merge, left, space + 1, right, i), "tokenizer.ggml.merges"));
    }
    return SF_OK;
}

static sf_status build(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    if (!from->model || strcmp(from->model, "gpt2"))
        return sf_fail(
            SF_UNSUPPORTED,
            "tokenizer.ggml.model is \"%.64s\"; only \"gpt2\" (byte-level BPE) can be read from GGUF. Use the "
            "model's Hugging Face folder, with its tokenizer.json",
            from->model ? from->model : "");
    const struct pre *pre = NULL;
    SF_TRY(find_pre(from->pre ? from->pre : "default", &pre));
    if (pre->nfc) SF_TRY(sf_add_normalizer(t, (sf_normalizer){.kind = SF_NFC}));
    if (pre->digits)
        SF_TRY(sf_add_pattern(t, SF_DIGITS_PATTERN, strlen(SF_DIGITS_PATTERN), false, SF_SPLIT_ISOLATED, false));
    SF_TRY(sf_add_pattern(t, pre->pattern, strlen(pre->pattern), false, SF_SPLIT_ISOLATED, false));
    SF_TRY(sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_BYTE_LEVEL}));
    t->bpe.ignore_merges = pre->ignore_merges;
    t->bpe.byte_level = true;

    SF_TRY(read_vocabulary(from, t));
    SF_TRY(read_merges(from, t));
    return sf_finish_tokenizer(t);
}

sf_status sf_tokenizer_from_gguf(const sf_gguf_tokens *from, const char *where, sf_tokenizer **out)
{
    *out = NULL;
    sf_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return sf_fail(SF_NO_MEMORY, "%s: no memory for a tokenizer", where);
    t->bpe.vocab = &t->vocab;
    t->bpe.unk = -1;
    sf_status status = build(from, t);
    if (status != SF_OK) {
        sf_tokenizer_free(t);
        return sf_blame(status, "%s", where);
    }
    *out = t;
    return SF_OK;
}
