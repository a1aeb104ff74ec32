/* Ids back to text: a chain of steps over the list of tokens, as the `tokenizers` library's decoders do it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/tokenizer_parts.h"

/* The tokens' texts, one after the other; at most `most` bytes. */
struct list {
    char *text;
    size_t bytes, text_capacity;
    size_t *end; /* [n] where each token ends in text */
    size_t n, end_capacity, most;
};

static sf_status put(struct list *to, const char *text, size_t bytes)
{
    if (bytes > to->most - to->bytes)
        return sf_fail(SF_UNSUPPORTED, "the decoder makes more than %zu bytes of the tokens, the most that is allowed",
                       to->most);
    SF_TRY(sf_reserve(&to->text, &to->text_capacity, to->bytes + bytes + 1, 1));
    if (bytes) memcpy(to->text + to->bytes, text, bytes);
    to->bytes += bytes;
    return SF_OK;
}

static sf_status finish_token(struct list *to)
{
    SF_TRY(sf_reserve(&to->end, &to->end_capacity, to->n + 1, sizeof *to->end));
    to->end[to->n++] = to->bytes;
    return SF_OK;
}

/* Valid UTF-8 of any bytes, a U+FFFD for each longest part that begins like a character. */
static sf_status put_lossy(struct list *to, const char *text, size_t bytes)
{
    for (size_t i = 0, n; i < bytes; i += n) {
        bool valid;
        n = sf_utf8_length(text + i, bytes - i, &valid);
        SF_TRY(valid ? put(to, text + i, n) : put(to, "\xef\xbf\xbd", 3));
    }
    return SF_OK;
}

/* A token's bytes if all its letters are of the byte alphabet; otherwise (an added token's text) as it stands. */
static sf_status put_bytes(struct list *to, const char *token, size_t bytes)
{
    size_t begin = to->bytes;
    for (size_t i = 0, n; i < bytes; i += n) {
        bool valid;
        n = sf_utf8_length(token + i, bytes - i, &valid);
        int byte = sf_letter_byte(sf_utf8_letter(token + i, n));
        if (byte < 0) {
            to->bytes = begin;
            return put(to, token, bytes);
        }
        char c = (char)byte;
        SF_TRY(put(to, &c, 1));
    }
    return SF_OK;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static int fallback_byte(const char *token, size_t bytes) /* of "<0xNN>"; -1: another token */
{
    if (bytes != 6 || memcmp(token, "<0x", 3) || token[5] != '>' || hex(token[3]) < 0 || hex(token[4]) < 0) return -1;
    return hex(token[3]) * 16 + hex(token[4]);
}

/* A run of byte tokens: characters if the whole run is UTF-8, otherwise one U+FFFD for each byte. */
static sf_status put_run(struct list *to, const char *run, size_t bytes)
{
    bool valid = true;
    for (size_t i = 0; i < bytes && valid;) i += sf_utf8_length(run + i, bytes - i, &valid);
    if (valid) {
        SF_TRY(put(to, run, bytes));
        return finish_token(to);
    }
    for (size_t i = 0; i < bytes; i++) {
        SF_TRY(put(to, "\xef\xbf\xbd", 3));
        SF_TRY(finish_token(to));
    }
    return SF_OK;
}

static sf_status byte_fallback(const struct list *from, struct list *to, struct list *run)
{
    for (size_t i = 0, begin = 0; i <= from->n; i++) {
        int byte = -1;
        if (i < from->n) byte = fallback_byte(from->text + begin, from->end[i] - begin);
        if (byte >= 0) {
            char c = (char)byte;
            SF_TRY(put(run, &c, 1));
        } else {
            if (run->bytes) SF_TRY(put_run(to, run->text, run->bytes));
            run->bytes = 0;
            if (i == from->n) break;
            SF_TRY(put(to, from->text + begin, from->end[i] - begin));
            SF_TRY(finish_token(to));
        }
        begin = from->end[i];
    }
    return SF_OK;
}

static sf_status strip(const sf_decoder *step, const char *token, size_t bytes, struct list *to)
{
    size_t with = strlen(step->with);
    for (int i = 0; i < step->start && bytes >= with && !memcmp(token, step->with, with); i++) {
        token += with;
        bytes -= with;
    }
    for (int i = 0; i < step->stop && bytes >= with && !memcmp(token + bytes - with, step->with, with); i++)
        bytes -= with;
    return put(to, token, bytes);
}

/* Every `from` in the token becomes `with`. */
static sf_status replace(const sf_decoder *step, const char *token, size_t bytes, const char *with, struct list *to)
{
    sf_match *match = NULL;
    size_t capacity = 0, n = 0, at = 0;
    sf_status status = sf_regex_find_all(step->pattern, token, bytes, &match, &capacity, &n);
    for (size_t i = 0; status == SF_OK && i < n; i++) {
        status = put(to, token + at, match[i].start - at);
        if (status == SF_OK) status = put(to, with, strlen(with));
        at = match[i].end;
    }
    free(match);
    return status == SF_OK ? put(to, token + at, bytes - at) : status;
}

static sf_status apply(const sf_decoder *step, const struct list *from, struct list *to, struct list *run)
{
    if (step->kind == SF_DECODE_BYTE_FALLBACK) return byte_fallback(from, to, run);
    size_t begin = 0;
    for (size_t i = 0; i < from->n; i++) {
        const char *token = from->text ? from->text + begin : ""; /* all are empty */
        size_t bytes = from->end[i] - begin;
        begin = from->end[i];
        switch (step->kind) {
        case SF_DECODE_BYTE_LEVEL:
            SF_TRY(put_bytes(run, token, bytes));
            continue;
        case SF_DECODE_FUSE:
            SF_TRY(put(to, token, bytes));
            continue;
        case SF_DECODE_STRIP:
            SF_TRY(strip(step, token, bytes, to));
            break;
        case SF_DECODE_REPLACE:
            SF_TRY(replace(step, token, bytes, step->with, to));
            break;
        default:
            SF_TRY(replace(step, token, bytes, i == 0 && step->prepended ? "" : " ", to)); /* METASPACE */
        }
        SF_TRY(finish_token(to));
    }
    if (step->kind == SF_DECODE_BYTE_LEVEL) SF_TRY(put_lossy(to, run->text, run->bytes));
    return step->kind == SF_DECODE_BYTE_LEVEL || step->kind == SF_DECODE_FUSE ? finish_token(to) : SF_OK;
}

/* The texts of the ids that are tokens; without decoders, as the library does, a space between them. */
static sf_status texts_of(const sf_tokenizer *t, const int32_t *ids, int n, bool skip_special, struct list *to)
{
    for (int i = 0; i < n; i++) {
        size_t bytes;
        const char *text = sf_vocab_text(&t->vocab, ids[i], &bytes);
        if (!text) continue;
        if (skip_special && t->added_of[ids[i]] >= 0 && t->added[t->added_of[ids[i]]].special) continue;
        if (!t->decoders && to->n) SF_TRY(put(to, " ", 1));
        SF_TRY(put(to, text, bytes));
        SF_TRY(finish_token(to));
    }
    return SF_OK;
}

static void free_list(struct list *l)
{
    free(l->text);
    free(l->end);
}

sf_status sf_decode(const sf_tokenizer *t, const int32_t *ids, int n, bool skip_special, char **text)
{
    *text = NULL;
    struct list from = {.most = SIZE_MAX}, to = from, run = from;
    sf_status status = texts_of(t, ids, n, skip_special, &from);
    from.most = to.most = run.most = SF_NORMALIZED_TIMES * from.bytes + SF_NORMALIZED_MORE;
    for (int k = 0; k < t->decoders && status == SF_OK; k++) {
        to.bytes = to.n = run.bytes = 0;
        status = apply(&t->decoder[k], &from, &to, &run);
        struct list swap = from;
        from = to;
        to = swap;
    }
    to.bytes = 0;
    for (size_t i = 0; status == SF_OK && i < from.bytes; i++) /* a C string cannot hold U+0000 */
        status = from.text[i] ? put(&to, from.text + i, 1) : put(&to, "\xef\xbf\xbd", 3);
    if (status == SF_OK) status = put(&to, "", 0); /* an empty text has memory too */
    if (status == SF_OK) {
        to.text[to.bytes] = 0;
        *text = to.text;
        to.text = NULL;
    }
    free_list(&from);
    free_list(&to);
    free_list(&run);
    return status;
}
