#include "harness/model/tokenizer_regex.h"

#include <oniguruma.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/bpe.h"
#include "harness/model/unicode.h"

struct sf_regex {
    char *literal; /* NULL: `code` is the pattern */
    size_t bytes;
    regex_t *code;
};

/* Hostile patterns end in an error: after so many steps back from one place of the text (what the `tokenizers` library
 * allows too) and in one text, so many places to step back to (some 50 bytes each), so many groups inside groups. Oniguruma
 * does not say how many steps a match took: each is first tried with FREE_RETRIES, which are not counted and enough for the
 * patterns of real tokenizers, then with ten times as many, and so on, which are. */
enum { MOST_RETRIES = 10000000, MOST_RETRIES_IN_TEXT = 10 * MOST_RETRIES, FREE_RETRIES = 1000, MOST_PLACES = 8000000,
       MOST_DEPTH = 256 };

/* ---- what characters are: UTF-8 as Oniguruma has it, but for the properties, which are unicode.h's -----------------
 */

static OnigEncodingType encoding;

static int find_property(OnigEncodingType *e, OnigUChar *name, OnigUChar *end)
{
    (void)e;
    int property = sf_property_find((const char *)name, (size_t)(end - name));
    if (property < 0) return ONIGERR_INVALID_CHAR_PROPERTY_NAME;
    return sf_property_ranges(property) ? property : ONIGERR_MEMORY;
}

static int ranges_of(OnigCtype property, OnigCodePoint *single_bytes, const OnigCodePoint *ranges[])
{
    *single_bytes = 0x80;
    *ranges = sf_property_ranges((int)property);
    return *ranges ? 0 : ONIGERR_MEMORY;
}

/* Of Latin-1 and the POSIX classes Oniguruma has a table of its own, which knows ² and ½ as \w; sets do not go by it.
 */
static int is_of(OnigCodePoint c, OnigCtype property)
{
    if (property < SF_CLASSES && c < 256) return OnigEncodingUTF8.is_code_ctype(c, property);
    const uint32_t *range = sf_property_ranges((int)property);
    uint32_t low = 0, high = range ? range[0] : 0;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (range[2 * middle + 2] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return range && low < range[0] && range[2 * low + 1] <= c;
}

static void start_engine(void)
{
    encoding = OnigEncodingUTF8;
    encoding.property_name_to_ctype = find_property;
    encoding.get_ctype_code_range = ranges_of;
    encoding.is_code_ctype = is_of;
    OnigEncoding used = &encoding;
    onig_initialize(&used, 1);
    onig_set_retry_limit_in_match(MOST_RETRIES);
    onig_set_match_stack_limit_size(MOST_PLACES);
    onig_set_parse_depth_limit(MOST_DEPTH);
}

const char *sf_regex_engine(void)
{
    static char name[32];
    snprintf(name, sizeof name, "Oniguruma %s", onig_version());
    return name;
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

/* Escapes that go by the library version's own tables (\X, \y, \Y), or match otherwise before version 6.9.10 (\R+). */
static char unsupported(const char *pattern, size_t bytes)
{
    for (size_t i = 0; i + 1 < bytes; i++) {
        if (pattern[i] != '\\') continue;
        i++;
        if (strchr("XRyY", pattern[i])) return pattern[i];
    }
    return 0;
}

static sf_status compile(const char *pattern, size_t bytes, regex_t **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_engine);
    char beyond = unsupported(pattern, bytes);
    if (beyond) return sf_fail(SF_UNSUPPORTED, "the pattern has \\%c, which is not supported: %.200s", beyond, pattern);
    OnigErrorInfo where;
    const OnigUChar *text = (const OnigUChar *)pattern;
    int error = onig_new(out, text, text + bytes, ONIG_OPTION_NONE, &encoding, ONIG_SYNTAX_DEFAULT, &where);
    if (error == ONIG_NORMAL) return SF_OK;
    OnigUChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
    onig_error_code_to_str(why, error, &where);
    *out = NULL;
    return sf_fail(error == ONIGERR_MEMORY ? SF_NO_MEMORY : SF_BAD_INPUT, "the pattern does not compile: %s: %.200s",
                   (const char *)why, pattern);
}

sf_status sf_regex_compile(const char *pattern, size_t bytes, bool literal, sf_regex **out)
{
    *out = NULL;
    if (!bytes) return sf_fail(SF_BAD_INPUT, "the pattern is empty");
    sf_regex *r = calloc(1, sizeof *r);
    if (!r) return sf_fail(SF_NO_MEMORY, "no memory for a pattern");
    sf_status status = SF_OK;
    if (!literal) {
        status = compile(pattern, bytes, &r->code);
    } else if ((r->literal = malloc(bytes))) {
        memcpy(r->literal, pattern, bytes);
        r->bytes = bytes;
    } else {
        status = sf_fail(SF_NO_MEMORY, "no memory for a pattern of %zu bytes", bytes);
    }
    if (status == SF_OK)
        *out = r;
    else
        sf_regex_free(r);
    return status;
}

void sf_regex_free(sf_regex *r)
{
    if (!r) return;
    free(r->literal);
    onig_free(r->code);
    free(r);
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

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

static sf_status fails(int error, size_t from)
{
    OnigUChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
    onig_error_code_to_str(why, error);
    return sf_fail(error == ONIGERR_MEMORY ? SF_NO_MEMORY : SF_UNSUPPORTED,
                   "the split pattern fails on this text after byte %zu: %s", from, (const char *)why);
}

/* The next match at or behind `from`, as onig_search(); *left: steps back that the rest of the text may take. */
static int search(const sf_regex *r, OnigMatchParam *param, const OnigUChar *begin, const OnigUChar *end, size_t from,
                  OnigRegion *region, long *left)
{
    long retries = FREE_RETRIES;
    for (;;) {
        onig_set_retry_limit_in_search_of_match_param(param, (unsigned long)retries);
        int found = onig_search_with_param(r->code, begin, end, begin + from, end, region, ONIG_OPTION_NONE, param);
        if (found != ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER || *left <= 0) return found;
        retries = 10 * retries < *left ? 10 * retries : *left;
        *left -= retries;
    }
}

sf_status sf_regex_find_all(const sf_regex *r, const char *text, size_t bytes, sf_match **matches, size_t *capacity,
                            size_t *n)
{
    *n = 0;
    if (r->literal) return find_literal(r, text, bytes, matches, capacity, n);
    OnigRegion *region = onig_region_new();
    OnigMatchParam *param = onig_new_match_param();
    if (!region || !param) {
        if (region) onig_region_free(region, 1);
        if (param) onig_free_match_param(param);
        return sf_fail(SF_NO_MEMORY, "no memory to match a pattern");
    }
    onig_initialize_match_param(param);
    long left = MOST_RETRIES_IN_TEXT;
    if (bytes == 0) text = ""; /* a place to point at */
    const OnigUChar *begin = (const OnigUChar *)text, *end = begin + bytes;
    sf_status status = SF_OK;
    size_t last_end = SIZE_MAX; /* of the match before */
    for (size_t from = 0; from <= bytes && status == SF_OK;) {
        int found = search(r, param, begin, end, from, region, &left);
        if (found == ONIG_MISMATCH) break;
        if (found < 0) {
            status = fails(found, from);
            break;
        }
        size_t start = (size_t)region->beg[0], stop = (size_t)region->end[0];
        if (start == stop && stop == last_end) {
            bool valid;
            from = last_end + (last_end < bytes ? sf_utf8_length(text + last_end, bytes - last_end, &valid) : 1);
        } else if (start > stop || (last_end != SIZE_MAX && start < last_end)) {
            status = sf_fail(SF_UNSUPPORTED,
                             "the split pattern matches from byte %zu to %zu of a text, where the match before ends at "
                             "%zu: by \\K or by looking behind it reaches beyond its own match, which cannot be cut",
                             start, stop, last_end == SIZE_MAX ? 0 : last_end);
        } else {
            status = add(matches, capacity, n, start, stop);
            from = last_end = stop;
        }
    }
    onig_region_free(region, 1);
    onig_free_match_param(param);
    return status;
}
