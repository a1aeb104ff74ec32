#include "harness/model/verify.h"
#include "harness/model/chat.h"
#include "harness/model/tokenizer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS = 400, TOKENS = 400, LONGEST = 12 };
static const double FEW_WHOLE = 0.5; /* of a vocabulary that its own rules hardly reach: they are not its rules */

/* Numbers, spaces, code and scripts: where pre-tokenizers and normalisers differ. */
static const char *const HARD[] = {
    "In 1998, 3.14159 was written 1,000,000 times.",
    "two  spaces, three   spaces,\n\na blank line,\r\n\ttabs\t\tand a trailing space ",
    "don't we'll I'M they'RE x's",
    "for (int i = 0; i < n; i++) { a[i] += b[i] * 0x1F; } /* !== */",
    "na\xc3\xafve fa\xc3\xa7"
    "ade, \xc3\x9f, \xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82, "
    "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c, \xf0\x9f\x99\x82",
};
enum { N_HARD = sizeof HARD / sizeof *HARD };

static uint64_t next(uint64_t *state) /* xorshift64* */
{
    *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static sf_status there_and_back(const sf_tokenizer *t, const char *text, char **back)
{
    int32_t *ids;
    int n;
    *back = NULL;
    SF_TRY(sf_encode(t, text, strlen(text), false, &ids, &n));
    sf_status status = sf_decode(t, ids, n, true, back);
    free(ids);
    return status;
}

static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 128) text++;
    return !*text;
}

/* Bytes that form no character decode to this, and are not meant to come back. */
static bool has_replacement(const char *text) { return strstr(text, "\xef\xbf\xbd") != NULL; }

/* The same text, or one that a normaliser makes of it and then leaves alone. */
static sf_status comes_back(const sf_tokenizer *t, const char *text, bool *same)
{
    char *once, *twice = NULL;
    SF_TRY(there_and_back(t, text, &once));
    *same = strcmp(text, once) == 0;
    sf_status status = SF_OK;
    if (!*same && !is_ascii(text)) {
        status = there_and_back(t, once, &twice);
        *same = status == SF_OK && strcmp(once, twice) == 0;
    }
    free(once);
    free(twice);
    return status;
}

/* One line of visible characters, for a message. */
static const char *shown(const char *text, char out[64])
{
    size_t n = 0;
    for (; *text && n < 60; text++) {
        if (isprint((unsigned char)*text))
            out[n++] = *text;
        else
            n += (size_t)snprintf(out + n, 64 - n, "\\x%02x", (unsigned char)*text);
    }
    out[n < 63 ? n : 63] = '\0';
    return out;
}

static sf_status try_text(const sf_tokenizer *t, const char *text, sf_round_trips *out, char *lost, size_t bytes)
{
    bool same;
    SF_TRY(comes_back(t, text, &same));
    out->texts++;
    out->back += same;
    if (!same && !*lost) snprintf(lost, bytes, "%s", text);
    return SF_OK;
}

/* A text of tokens drawn from the vocabulary; NULL: they form none. */
static sf_status draw_text(const sf_tokenizer *t, uint64_t *state, char **text)
{
    int32_t ids[LONGEST];
    int n = 1 + (int)(next(state) % LONGEST), vocab = sf_vocab_size(t);
    for (int i = 0; i < n; i++) ids[i] = (int32_t)(next(state) % (uint64_t)vocab);
    return sf_decode(t, ids, n, true, text);
}

static sf_status try_token(const sf_tokenizer *t, int32_t id, sf_round_trips *out)
{
    char *text;
    int32_t *ids = NULL;
    int n = 0;
    SF_TRY(sf_decode(t, &id, 1, true, &text));
    sf_status status = SF_OK;
    if (*text && text[1] && !has_replacement(text)) {
        status = sf_encode(t, text, strlen(text), false, &ids, &n);
        out->tokens++;
        out->whole += status == SF_OK && n == 1;
    }
    free(ids);
    free(text);
    return status;
}

sf_status sf_verify_texts(const sf_model *m, sf_round_trips *out, sf_doubts *doubts)
{
    const sf_tokenizer *t = m->tokenizer;
    uint64_t state = 88172645463325252u;
    char lost[256] = "", text[64];
    *out = (sf_round_trips){0};
    for (int i = 0; i < N_HARD; i++) SF_TRY(try_text(t, HARD[i], out, lost, sizeof lost));
    for (int i = 0; i < TEXTS; i++) {
        char *drawn;
        SF_TRY(draw_text(t, &state, &drawn));
        sf_status status = *drawn && !has_replacement(drawn) ? try_text(t, drawn, out, lost, sizeof lost) : SF_OK;
        free(drawn);
        SF_TRY(status);
    }
    for (int i = 0; i < TOKENS; i++) SF_TRY(try_token(t, (int32_t)(next(&state) % (uint64_t)sf_vocab_size(t)), out));

    if (out->back < out->texts) {
        sf_doubt(doubts, "tokenizer: %d of %d texts do not come back from their ids, such as \"%s\"",
                 out->texts - out->back, out->texts, shown(lost, text));
    }
    if (out->whole < FEW_WHOLE * out->tokens) {
        sf_doubt(doubts,
                 "tokenizer: only %d of %d tokens are found again in their own text: its merges or its pattern are"
                 " not those that it was trained with",
                 out->whole, out->tokens);
    }
    if (sf_vocab_size(t) > m->config.vocab) {
        sf_doubt(doubts, "tokenizer: has %d tokens, the embedding table %d rows: ids beyond it are refused",
                 sf_vocab_size(t), m->config.vocab);
    }
    return SF_OK;
}

/* ---- the prompt -------------------------------------------------------------------------------------------------- */

/* "<|name|>" in the text of plain tokens is a special token that the vocabulary does not have. */
static sf_status look_for_names(const sf_model *m, const int32_t *ids, int n, sf_doubts *doubts)
{
    char *text;
    SF_TRY(sf_decode(m->tokenizer, ids, n, true, &text));
    const char *begin = strstr(text, "<|"), *end = begin ? strstr(begin, "|>") : NULL;
    if (end && end - begin < 48)
        sf_doubt(doubts, "template: writes %.*s, which is no special token of the vocabulary", (int)(end - begin) + 2,
                 begin);
    free(text);
    return SF_OK;
}

sf_status sf_verify_prompt(const sf_model *m, const char *user, int32_t **ids, int *n, sf_doubts *doubts)
{
    *ids = NULL;
    *n = 0;
    if (!m->chat) {
        sf_doubt(doubts, "template: %s", m->no_chat ? m->no_chat : "none");
        return SF_OK;
    }
    SF_TRY(sf_chat_encode(m->chat, m->tokenizer, user, strlen(user), ids, n));
    int bos = 0;
    for (int i = 0; i < *n; i++) bos += m->bos >= 0 && (*ids)[i] == m->bos;
    if (bos > 1)
        sf_doubt(doubts, "template: %d BOS tokens in a prompt; the template and the tokenizer both add one", bos);
    if (m->bos >= 0 && (*n == 0 || (*ids)[0] != m->bos))
        sf_doubt(doubts, "template: a prompt does not begin with the BOS token that the tokenizer adds");
    return look_for_names(m, *ids, *n, doubts);
}
