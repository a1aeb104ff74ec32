#include "harness/model/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/bpe.h"

struct sf_regex {
    char *literal; /* NULL: `code` is the pattern */
    size_t bytes;
    pcre2_code *code;
};

/* PCRE2's own \s also takes U+180E, and its \w, on which \b rests, no marks; Oniguruma's \w has the Latin-1 numbers,
 * but not where it stands inside a set. Contents of a set: */
#define SPACE                                                                                                          \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE                                                                                                      \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD_IN_SET "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD        WORD_IN_SET "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX         "0-9a-fA-F"

static const struct {
    char letter;
    const char *inside, *outside; /* of a set; NULL: cannot be said there */
} ESCAPES[] = {
    {'s', SPACE, "[" SPACE "]"},
    {'S', NOT_SPACE, "[" NOT_SPACE "]"},
    {'w', WORD_IN_SET, "[" WORD "]"},
    {'W', NULL, "[^" WORD "]"},
    {'h', HEX, "[" HEX "]"},
    {'H', NULL, "[^" HEX "]"},
    {'b', "\\x{8}", "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"},
    {'B', NULL, "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"},
};
enum { LONGEST = 512 }; /* more than any of these */
_Static_assert(sizeof NOT_SPACE + 2 < LONGEST && 4 * sizeof WORD + 64 < LONGEST, "an escape outgrows its room");

static const char *rewritten(char letter, bool in_set, bool *unsayable)
{
    for (size_t i = 0; i < sizeof ESCAPES / sizeof *ESCAPES; i++) {
        if (ESCAPES[i].letter != letter) continue;
        *unsayable = in_set && !ESCAPES[i].inside;
        return in_set ? ESCAPES[i].inside : ESCAPES[i].outside;
    }
    return NULL;
}

/* The pattern in PCRE2's dialect; malloc'ed. */
static sf_status translate(const char *pattern, size_t bytes, char **out)
{
    char *to = malloc((bytes / 2 + 1) * LONGEST + 1);
    if (!to) return sf_fail(SF_NO_MEMORY, "no memory for a pattern of %zu bytes", bytes);
    size_t n = 0, set_at = 0;
    bool in_set = false;
    const char *why = NULL;
    size_t i = 0;
    for (; i < bytes && !why; i++) {
        char c = pattern[i];
        if (c == '\\' && i + 1 < bytes) {
            bool unsayable = false;
            const char *is = rewritten(pattern[++i], in_set, &unsayable);
            if (unsayable) why = "\\W, \\H or \\B inside a set";
            if (is) {
                memcpy(to + n, is, strlen(is));
                n += strlen(is);
            } else {
                to[n++] = '\\';
                to[n++] = pattern[i];
            }
            continue;
        }
        if (!in_set && c == '[') {
            in_set = true;
            set_at = i + (i + 1 < bytes && pattern[i + 1] == '^');
        } else if (in_set && c == ']' && i > set_at + 1) {
            in_set = false;
        } else if (in_set && c == '[') {
            why = "a set or [:class:] inside a set";
        } else if (in_set && c == '&' && i + 1 < bytes && pattern[i + 1] == '&') {
            why = "an intersection of sets";
        }
        to[n++] = c;
    }
    to[n] = 0;
    if (why) {
        free(to);
        return sf_fail(SF_UNSUPPORTED, "the pattern has %s at byte %zu, which is not supported", why, i - 1);
    }
    *out = to;
    return SF_OK;
}

sf_status sf_regex_compile(const char *pattern, size_t bytes, bool literal, sf_regex **out)
{
    *out = NULL;
    if (!bytes) return sf_fail(SF_BAD_INPUT, "the pattern is empty");
    sf_regex *r = calloc(1, sizeof *r);
    if (!r) return sf_fail(SF_NO_MEMORY, "no memory for a pattern");
    if (literal) {
        r->literal = malloc(bytes);
        r->bytes = bytes;
        if (!r->literal) {
            free(r);
            return sf_fail(SF_NO_MEMORY, "no memory for a pattern of %zu bytes", bytes);
        }
        memcpy(r->literal, pattern, bytes);
        *out = r;
        return SF_OK;
    }
    char *text = NULL;
    sf_status status = translate(pattern, bytes, &text);
    if (status != SF_OK) {
        free(r);
        return status;
    }
    int error;
    PCRE2_SIZE at;
    r->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error,
                            &at, NULL);
    if (!r->code) {
        char why[256];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        status = sf_fail(SF_BAD_INPUT, "the pattern does not compile: %s at byte %zu of %s", why, (size_t)at, text);
        free(text);
        free(r);
        return status;
    }
    free(text);
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* where there is no JIT, pcre2_match() interprets */
    *out = r;
    return SF_OK;
}

void sf_regex_free(sf_regex *r)
{
    if (!r) return;
    free(r->literal);
    pcre2_code_free(r->code);
    free(r);
}

static sf_status add(sf_match **matches, size_t *capacity, size_t *n, size_t start, size_t end)
{
    SF_TRY(sf_reserve(matches, capacity, *n + 1, sizeof **matches));
    (*matches)[(*n)++] = (sf_match){start, end};
    return SF_OK;
}

static sf_status find_literal(const sf_regex *r, const char *text, size_t bytes, sf_match **matches, size_t *capacity,
                              size_t *n)
{
    for (size_t from = 0; from < bytes;) {
        const char *found = memmem(text + from, bytes - from, r->literal, r->bytes);
        if (!found) break;
        size_t start = (size_t)(found - text);
        SF_TRY(add(matches, capacity, n, start, start + r->bytes));
        from = start + r->bytes;
    }
    return SF_OK;
}

sf_status sf_regex_find_all(const sf_regex *r, const char *text, size_t bytes, sf_match **matches, size_t *capacity,
                            size_t *n)
{
    *n = 0;
    if (r->literal) return find_literal(r, text, bytes, matches, capacity, n);

    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data) return sf_fail(SF_NO_MEMORY, "no memory to match a pattern");
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(data);
    sf_status status = SF_OK;
    size_t last_end = SIZE_MAX; /* of the match before */
    for (size_t from = 0; from <= bytes && status == SF_OK;) {
        int found = pcre2_match(r->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, data, NULL);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT)
            found = pcre2_match(r->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, NULL);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) {
            char why[256];
            pcre2_get_error_message(found, (PCRE2_UCHAR *)why, sizeof why);
            status = sf_fail(SF_UNSUPPORTED, "the split pattern fails on this text after byte %zu: %s", from, why);
        } else if (span[0] >= span[1] && span[1] == last_end) {
            bool valid;
            from = last_end + (last_end < bytes ? sf_utf8_length(text + last_end, bytes - last_end, &valid) : 1);
        } else {
            status = add(matches, capacity, n, span[0], span[1]);
            from = last_end = span[1];
        }
    }
    pcre2_match_data_free(data);
    return status;
}
