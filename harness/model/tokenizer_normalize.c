#include "harness/model/tokenizer_normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "harness/model/bpe.h"
#include "harness/model/unicode.h"

/* A text that grows, up to a limit. */
struct text {
    char *at;
    size_t bytes, capacity, most;
};

static sf_status put(struct text *to, const char *text, size_t bytes)
{
    if (bytes > to->most - to->bytes)
        return sf_fail(SF_UNSUPPORTED, "it makes more than %zu bytes of a text, the most that is allowed", to->most);
    SF_TRY(sf_reserve(&to->at, &to->capacity, to->bytes + bytes + 1, 1));
    if (bytes) memcpy(to->at + to->bytes, text, bytes);
    to->bytes += bytes;
    return SF_OK;
}

/* Text below U+0300 (below U+00A0 for the K forms, ASCII for the decomposed ones) is in the form already. */
static bool is_plain(const char *text, size_t bytes, int kind)
{
    unsigned char low = kind == SF_NFC ? 0xcc : kind == SF_NFKC ? 0xc2 : 0x80; /* U+0300 is CC 80, U+0080 is C2 80 */
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] >= low) return false;
    return true;
}

/* Appends the form of one stretch of text. */
static sf_status put_form(int options, const char *text, size_t bytes, struct text *to)
{
    if (!bytes) return SF_OK;
    utf8proc_uint8_t *form = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, &form, (utf8proc_option_t)options);
    if (n < 0) return sf_fail(SF_NO_MEMORY, "cannot normalise %zu bytes of text: %s", bytes, utf8proc_errmsg(n));
    sf_status status = put(to, (const char *)form, (size_t)n);
    free(form);
    return status;
}

/* A character that no form touches parts what stands before it from what stands after, as any starter that composes
 * with nothing: utf8proc never sees one, so that its newer tables do not matter. */
static sf_status unicode_form(int kind, const char *text, size_t bytes, struct text *to)
{
    int options = UTF8PROC_STABLE | (kind == SF_NFC || kind == SF_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                  (kind == SF_NFKC || kind == SF_NFKD ? UTF8PROC_COMPAT : 0);
    size_t done = 0;
    for (size_t i = 0, n; i < bytes; i += n) {
        bool valid;
        n = sf_utf8_length(text + i, bytes - i, &valid);
        if (n == 1 || !sf_is_never_normalised(sf_utf8_letter(text + i, n))) continue;
        SF_TRY(put_form(options, text + done, i - done, to));
        SF_TRY(put(to, text + i, n));
        done = i + n;
    }
    return put_form(options, text + done, bytes - done, to);
}

static sf_status replace_all(const sf_normalizer *step, const char *text, size_t bytes, struct text *to)
{
    sf_match *match = NULL;
    size_t capacity = 0, n = 0, with = strlen(step->text), at = 0;
    sf_status status = sf_regex_find_all(step->pattern, text, bytes, &match, &capacity, &n);
    for (size_t i = 0; status == SF_OK && i < n; i++) {
        status = put(to, text + at, match[i].start - at);
        if (status == SF_OK) status = put(to, step->text, with);
        at = match[i].end;
    }
    free(match);
    return status == SF_OK ? put(to, text + at, bytes - at) : status;
}

static sf_status apply(const sf_normalizer *step, const char *text, size_t bytes, struct text *to)
{
    switch (step->kind) {
    case SF_REPLACE_ALL:
        return replace_all(step, text, bytes, to);
    case SF_PUT_IN_FRONT:
        if (bytes) SF_TRY(put(to, step->text, strlen(step->text))); /* nothing is put in front of nothing */
        return put(to, text, bytes);
    default:
        return is_plain(text, bytes, step->kind) ? put(to, text, bytes) : unicode_form(step->kind, text, bytes, to);
    }
}

sf_status sf_normalize(const sf_normalizer *step, int steps, const char *text, size_t bytes, char **out,
                       size_t *out_bytes)
{
    struct text now = {.most = SF_NORMALIZED_TIMES * bytes + SF_NORMALIZED_MORE}, next = {.most = now.most};
    sf_status status = put(&now, text, bytes);
    for (int k = 0; k < steps && status == SF_OK; k++) {
        next.bytes = 0;
        status = sf_blame(apply(&step[k], now.at, now.bytes, &next), "step %d of the normalizer", k + 1);
        struct text swap = now;
        now = next;
        next = swap;
    }
    free(next.at);
    if (status != SF_OK) {
        free(now.at);
        now = (struct text){0};
    }
    *out = now.at;
    *out_bytes = now.bytes;
    return status;
}
