/* SentencePiece's BPE, as GGUF files hold it ("llama"): pieces with scores, without merges. Of two neighbours whose
 * text together is a piece, those merge first whose piece has the best score, the leftmost first among equals; so every
 * way to make a piece of two others is a merge, ranked by the piece's score. Spaces are written "▁", one is put in
 * front of a text, and a character without a piece becomes bytes. As llama.cpp has it (src/llama-vocab.cpp, read in
 * November 2026); where the two differ SentencePiece itself (Kudo and Richardson 2018) leaves merges out that lead to
 * pieces marked unused. Gemma 4's files ("gemma4") have the merges of tokenizer.json instead, and no space in front. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/gguf_tokens.h"
#include "harness/model/tokenizer_parts.h"

static const char SPACE[] = "\u2581";

/* A piece and its score, for sorting. */
struct scored {
    float score;
    int32_t id;
};

static int best_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : (x->id > y->id) - (x->id < y->id);
}

static bool merges(const sf_gguf_tokens *from, const sf_tokenizer *t, int32_t id)
{
    int type = from->type ? from->type[id] : SF_GGUF_NORMAL;
    return type != SF_GGUF_BYTE && type != SF_GGUF_UNKNOWN && t->vocab.token[id].own;
}

/* All ways to make one piece of two others. */
static sf_status add_ways(const sf_gguf_tokens *from, sf_tokenizer *t, int32_t id, int32_t rank)
{
    const char *text = from->token[id];
    size_t bytes = from->token_bytes[id], n;
    bool valid;
    for (size_t cut = sf_utf8_length(text, bytes, &valid); cut < bytes; cut += n) {
        int32_t left = sf_vocab_find(&t->vocab, text, cut), right = sf_vocab_find(&t->vocab, text + cut, bytes - cut);
        n = sf_utf8_length(text + cut, bytes - cut, &valid);
        if (left < 0 || right < 0 || !merges(from, t, left) || !merges(from, t, right)) continue;
        SF_TRY(sf_bpe_merge(&t->bpe, text, cut, text + cut, bytes - cut, rank));
    }
    return SF_OK;
}

static sf_status add_merges(const sf_gguf_tokens *from, sf_tokenizer *t)
{
    struct scored *piece = malloc((size_t)from->tokens * sizeof *piece + 1);
    if (!piece) return sf_fail(SF_NO_MEMORY, "no memory for %d pieces", from->tokens);
    int n = 0;
    for (int32_t id = 0; id < from->tokens; id++)
        if (merges(from, t, id)) piece[n++] = (struct scored){from->score[id], id};
    qsort(piece, (size_t)n, sizeof *piece, best_first);
    sf_status status = SF_OK;
    for (int i = 0, rank = 0; i < n && status == SF_OK; i++) {
        if (i && piece[i].score != piece[i - 1].score) rank = i;
        status = add_ways(from, t, piece[i].id, rank);
    }
    free(piece);
    return status;
}

static sf_status replacement(const char *from, const char *to, sf_regex **pattern, char **with)
{
    SF_TRY(sf_regex_compile(from, strlen(from), true, pattern));
    if ((*with = strdup(to))) return SF_OK;
    sf_regex_free(*pattern);
    return sf_fail(SF_NO_MEMORY, "no memory for a tokenizer");
}

/* The chains of the tokenizer.json that transformers makes of such a model. */
static sf_status add_steps(bool prefix, sf_tokenizer *t)
{
    if (prefix) {
        sf_normalizer front = {.kind = SF_PUT_IN_FRONT, .text = strdup(SPACE)};
        if (!front.text) return sf_fail(SF_NO_MEMORY, "no memory for a tokenizer");
        SF_TRY(sf_add_normalizer(t, front));
    }
    sf_normalizer spaces = {.kind = SF_REPLACE_ALL};
    SF_TRY(replacement(" ", SPACE, &spaces.pattern, &spaces.text));
    SF_TRY(sf_add_normalizer(t, spaces));

    sf_decoder back = {.kind = SF_DECODE_REPLACE};
    SF_TRY(replacement(SPACE, " ", &back.pattern, &back.with));
    SF_TRY(sf_add_decoder(t, back));
    SF_TRY(sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_BYTE_FALLBACK}));
    SF_TRY(sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_FUSE}));
    if (!prefix) return SF_OK;
    sf_decoder strip = {.kind = SF_DECODE_STRIP, .with = strdup(" "), .start = 1};
    return strip.with ? sf_add_decoder(t, strip) : sf_fail(SF_NO_MEMORY, "no memory for a tokenizer");
}

sf_status sf_build_pieces(const sf_gguf_tokens *from, bool merged, sf_tokenizer *t)
{
    if (!merged && !from->score)
        return sf_fail(SF_BAD_INPUT, "tokenizer.ggml.scores: expected, one a token, since tokenizer.ggml.model is "
                                     "\"llama\", not found");
    for (int i = 0; i < from->tokens; i++) {
        if (from->score && isnan(from->score[i])) return sf_fail(SF_BAD_INPUT, "tokenizer.ggml.scores[%d] is no number", i);
        if (from->type && from->type[i] == SF_GGUF_UNKNOWN) t->bpe.unk = i;
    }
    if (merged) t->bpe.unk = sf_vocab_find(&t->vocab, "<unk>", 5);
    t->bpe.byte_fallback = t->bpe.fuse_unk = true;
    SF_TRY(add_steps(!merged && !from->no_space_prefix, t));
    return merged ? sf_read_merges(from, t) : add_merges(from, t);
}
