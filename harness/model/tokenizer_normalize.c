#include "harness/model/tokenizer_normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "harness/model/bpe.h"

/* Text below U+0300 (below U+00A0 for the K forms, ASCII for the decomposed ones) is in the form already. */
static bool is_plain(const char *text, size_t bytes, int kind)
{
    unsigned char low = kind == SF_NFC ? 0xcc : kind == SF_NFKC ? 0xc2 : 0x80; /* U+0300 is CC 80, U+0080 is C2 80 */
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] >= low) return false;
    return true;
}

static sf_status unicode_form(int kind, const char *text, size_t bytes, char **out, size_t *out_bytes)
{
    int options = UTF8PROC_STABLE | (kind == SF_NFC || kind == SF_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                  (kind == SF_NFKC || kind == SF_NFKD ? UTF8PROC_COMPAT : 0);
    utf8proc_uint8_t *to = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, &to, (utf8proc_option_t)options);
    if (n < 0) return sf_fail(SF_NO_MEMORY, "cannot normalise %zu bytes of text: %s", bytes, utf8proc_errmsg(n));
    *out = (char *)to;
    *out_bytes = (size_t)n;
    return SF_OK;
}

static sf_status copy(const char *text, size_t bytes, const char *front, char **out, size_t *out_bytes)
{
    size_t n = bytes ? strlen(front) : 0; /* nothing is put in front of nothing */
    char *to = malloc(n + bytes + 1);
    if (!to) return sf_fail(SF_NO_MEMORY, "no memory for %zu bytes of text", bytes);
    memcpy(to, front, n);
    if (bytes) memcpy(to + n, text, bytes);
    *out = to;
    *out_bytes = n + bytes;
    return SF_OK;
}

static sf_status replace_all(const sf_normalizer *step, const char *text, size_t bytes, char **out, size_t *out_bytes)
{
    sf_match *match = NULL;
    size_t capacity = 0, n = 0, with = strlen(step->text), at = 0, to = 0;
    sf_status status = sf_regex_find_all(step->pattern, text, bytes, &match, &capacity, &n);
    char *result = NULL;
    if (status == SF_OK && !(result = malloc(bytes + n * with + 1)))
        status = sf_fail(SF_NO_MEMORY, "no memory for %zu bytes of text", bytes + n * with);
    for (size_t i = 0; status == SF_OK && i <= n; i++) {
        size_t end = i < n ? match[i].start : bytes;
        memcpy(result + to, text + at, end - at);
        to += end - at;
        if (i == n) break;
        memcpy(result + to, step->text, with);
        to += with;
        at = match[i].end;
    }
    free(match);
    *out = result;
    *out_bytes = to;
    return status;
}

sf_status sf_normalize(const sf_normalizer *step, int steps, const char *text, size_t bytes, char **out,
                       size_t *out_bytes)
{
    SF_TRY(copy(text, bytes, "", out, out_bytes));
    for (int k = 0; k < steps; k++) {
        char *next = NULL;
        size_t n = 0;
        sf_status status;
        switch (step[k].kind) {
        case SF_REPLACE_ALL:
            status = replace_all(&step[k], *out, *out_bytes, &next, &n);
            break;
        case SF_PUT_IN_FRONT:
            status = copy(*out, *out_bytes, step[k].text, &next, &n);
            break;
        default:
            if (is_plain(*out, *out_bytes, step[k].kind)) continue;
            status = unicode_form(step[k].kind, *out, *out_bytes, &next, &n);
        }
        free(*out);
        *out = next;
        *out_bytes = n;
        if (status != SF_OK) return status;
    }
    return SF_OK;
}
