/* The tokenizer of a GGUF file: vocabulary and merges are in it, how text is split is only named ("pre"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/gguf_tokens.h"
#include "harness/model/tokenizer_parts.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define PUNCTUATION  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3       CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" PUNCTUATION

#define CASED                                                                                                          \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"                        \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"

/* What each name stands for: the pre-tokenizer, normalizer and flags of the tokenizer.json it was converted from. */
static const struct pre {
    const char *name;
    const char *pattern;
    bool digits; /* first cuts every digit off */
    bool nfc;
    bool ignore_merges;
} PRE[] = {
    {.name = "gpt-2", .pattern = SF_GPT2_PATTERN},
    {.name = "smollm", .pattern = SF_GPT2_PATTERN, .digits = true},
    {.name = "qwen2", .pattern = CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" PUNCTUATION, .nfc = true},
    {.name = "llama-bpe", .pattern = LLAMA3, .ignore_merges = true},
    {.name = "llama3", .pattern = LLAMA3, .ignore_merges = true}, /* older names of the same */
    {.name = "llama-v3", .pattern = LLAMA3, .ignore_merges = true},
    {.name = "tekken",
     .pattern = CASED "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     .ignore_merges = true},
};
enum { PRES = sizeof PRE / sizeof *PRE };

/* Files that do not name their pattern, or call it "default", were converted before there were names, or by a converter
 * that did not know the model; llama.cpp then splits by a pattern that is no model's. All models of these have one. */
static const struct {
    const char *architecture, *pre;
} OWN[] = {{"qwen2", "qwen2"}, {"qwen3", "qwen2"}};

static sf_status find_pre(const sf_gguf_tokens *from, const struct pre **out)
{
    const char *name = from->pre && strcmp(from->pre, "default") ? from->pre : NULL;
    for (size_t i = 0; !name && from->architecture && i < sizeof OWN / sizeof *OWN; i++)
        if (!strcmp(OWN[i].architecture, from->architecture)) name = OWN[i].pre;
    for (int i = 0; name && i < PRES; i++) {
        *out = &PRE[i];
        if (!strcmp(PRE[i].name, name)) return SF_OK;
    }
    char known[256] = "";
    for (int i = 0; i < PRES; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", PRE[i].name);
    }
    if (!name)
        return sf_fail(SF_UNSUPPORTED,
                       "tokenizer.ggml.pre is %s, so the file does not say how text is split, which models of "
                       "architecture \"%.64s\" do in several ways; known are %s. Set it with `gguf-new-metadata "
                       "--pre-tokenizer NAME OLD.gguf NEW.gguf` (Python package gguf), or use the model's Hugging Face "
                       "folder",
                       from->pre ? "\"default\"" : "missing", from->architecture ? from->architecture : "", known);
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

static bool has_token(const sf_gguf_tokens *from, const char *text)
{
    size_t bytes = strlen(text);
    for (int i = 0; i < from->tokens; i++)
        if (from->token_bytes[i] == bytes && !memcmp(from->token[i], text, bytes)) return true;
    return false;
}

/* As the file has it, but for tokens that are known by their text. */
static int type_of(const sf_gguf_tokens *from, int i)
{
    const sf_gguf_known *known = sf_gguf_find_known(from->token[i], from->token_bytes[i]);
    if (!known) return from->type ? from->type[i] : SF_GGUF_NORMAL;
    return known->unless && has_token(from, known->unless) ? SF_GGUF_USER_DEFINED : known->type;
}

static sf_status read_vocabulary(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    for (int i = 0; i < from->tokens; i++) {
        if (!is_utf8(from->token[i], from->token_bytes[i]))
            return sf_fail(SF_BAD_INPUT, "tokenizer.ggml.tokens[%d] is not UTF-8", i);
        int stored = from->type ? from->type[i] : SF_GGUF_NORMAL, type = type_of(from, i);
        if (stored < SF_GGUF_NORMAL || stored > SF_GGUF_BYTE)
            return sf_fail(SF_BAD_INPUT, "tokenizer.ggml.token_type[%d] is %d, expected %d to %d", i, stored,
                           SF_GGUF_NORMAL, SF_GGUF_BYTE);
        bool special = type == SF_GGUF_CONTROL || type == SF_GGUF_UNKNOWN;
        SF_TRY(sf_blame(sf_vocab_add(&t->vocab, from->token[i], from->token_bytes[i], i, stored != SF_GGUF_CONTROL),
                        "tokenizer.ggml.tokens"));
        if (special || type == SF_GGUF_USER_DEFINED)
            SF_TRY(sf_add_token(t, (sf_added_token){.id = i, .special = special}));
    }
    return SF_OK;
}

sf_status sf_read_merges(const sf_gguf_tokens *from, sf_tokenizer *t)
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

static sf_status build_bytes(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    const struct pre *pre = NULL;
    SF_TRY(find_pre(from, &pre));
    if (pre->nfc) SF_TRY(sf_add_normalizer(t, (sf_normalizer){.kind = SF_NFC}));
    if (pre->digits)
        SF_TRY(sf_add_pattern(t, SF_DIGITS_PATTERN, strlen(SF_DIGITS_PATTERN), false, SF_SPLIT_ISOLATED, false));
    SF_TRY(sf_add_pattern(t, pre->pattern, strlen(pre->pattern), false, SF_SPLIT_ISOLATED, false));
    SF_TRY(sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_BYTE_LEVEL}));
    t->bpe.ignore_merges = pre->ignore_merges;
    t->bpe.byte_level = true;
    return sf_read_merges(from, t);
}

static sf_status build(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    bool bytes = from->model && !strcmp(from->model, "gpt2"), pieces = from->model && !strcmp(from->model, "llama");
    bool merged = from->model && !strcmp(from->model, "gemma4");
    if (!bytes && !pieces && !merged)
        return sf_fail(
            SF_UNSUPPORTED,
            "tokenizer.ggml.model is \"%.64s\"; only \"gpt2\" (byte-level BPE), \"llama\" (SentencePiece's BPE) and "
            "\"gemma4\" can be read from GGUF. Use the model's Hugging Face folder, with its tokenizer.json",
            from->model ? from->model : "");
    SF_TRY(read_vocabulary(from, t));
    SF_TRY(bytes ? build_bytes(from, t) : sf_build_pieces(from, merged, t));
    return sf_finish_tokenizer(t);
}

sf_status sf_tokenizer_from_gguf(const sf_gguf_tokens *from, const char *where, sf_tokenizer **out)
{
    *out = NULL;
    sf_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return sf_fail(SF_NO_MEMORY, "%s: no memory for a tokenizer", where);
    t->bpe.vocab = &t->vocab;
    t->bpe.unk = -1;
    t->front = -1;
    sf_status status = build(from, t);
    if (status != SF_OK) {
        sf_tokenizer_free(t);
        return sf_blame(status, "%s", where);
    }
    *out = t;
    return SF_OK;
}
