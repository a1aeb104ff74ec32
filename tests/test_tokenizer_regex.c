/* Patterns, character classes and normal forms against the `tokenizers` library (tests/golden/tokenizer/patterns.py).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/bpe.h"
#include "harness/model/tokenizer_normalize.h"
#include "harness/model/tokenizer_split.h"

static json_t *golden;

static int read_golden(void **state)
{
    (void)state;
    json_error_t error;
    golden = json_load_file("tests/golden/tokenizer/patterns.json", 0, &error);
    if (!golden) fprintf(stderr, "%s\n", error.text);
    return golden ? 0 : -1;
}

static int free_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

/* What is cut by the pattern, as "[0,3][3,4]"; false: refused. */
static bool cut(const char *pattern, const char *text, sf_split_behavior behavior, char *out, size_t size)
{
    sf_splitter step = {.kind = SF_CUT, .behavior = behavior};
    if (sf_regex_compile(pattern, strlen(pattern), false, &step.pattern) != SF_OK) return false;
    sf_split_scratch scratch = {0};
    sf_status status = sf_split(&step, 1, (sf_piece){text, strlen(text), true}, &scratch);
    size_t at = 0;
    *out = 0;
    for (size_t i = 0; status == SF_OK && i < scratch.pieces.n; i++) {
        const sf_piece *p = &scratch.pieces.piece[i];
        at += (size_t)snprintf(out + at, size - at, "[%td,%td]", p->text - text, p->text - text + (ptrdiff_t)p->bytes);
        assert_true(at < size);
    }
    sf_split_scratch_free(&scratch);
    sf_regex_free(step.pattern);
    return status == SF_OK;
}

static void text_of(const json_t *pieces, char *out, size_t size)
{
    size_t at = 0, i;
    const json_t *piece;
    *out = 0;
    json_array_foreach((json_t *)pieces, i, piece)
    {
        at += (size_t)snprintf(out + at, size - at, "[%lld,%lld]", json_integer_value(json_array_get(piece, 0)),
                               json_integer_value(json_array_get(piece, 1)));
        assert_true(at < size);
    }
}

static void patterns_match_what_the_library_matches(void **state)
{
    (void)state;
    static const sf_split_behavior BEHAVIORS[] = {SF_SPLIT_ISOLATED, SF_SPLIT_REMOVED};
    const json_t *rows = json_object_get(golden, "patterns");
    int refused = 0, differ = 0;
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r), *want = json_array_get(row, 2);
        const char *pattern = json_string_value(json_array_get(row, 0)),
                   *text = json_string_value(json_array_get(row, 1));
        for (size_t b = 0; b < 2; b++) {
            char found[4096], right[4096] = "refused";
            if (!json_is_null(want)) text_of(json_array_get(want, b), right, sizeof right);
            if (!cut(pattern, text, BEHAVIORS[b], found, sizeof found)) strcpy(found, "refused");
            if (!strcmp(found, right)) continue;
            print_message("%s in \"%s\"\n  cuts %s\n  want %s\n", pattern, text, found, right);
            differ++;
        }
        refused += json_is_null(want);
    }
    print_message("             %zu patterns, of which %d are refused\n", json_array_size(rows), refused);
    assert_true(json_array_size(rows) > 300);
    assert_int_equal(differ, 0);
}

/* The script's CHARACTERS: all but the large blocks of one kind, of which every 97th stands for the rest. */
static bool is_asked(uint32_t c)
{
    static const uint32_t DULL[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xac00, 0xd7a3},   {0xe000, 0xf8ff},
                                       {0x12500, 0x16000}, {0x17000, 0x18cff}, {0x20000, 0x10ffff}};
    bool dull = c >= 0xd800 && c < 0xe000;
    if (dull) return false;
    for (size_t i = 0; i < sizeof DULL / sizeof *DULL; i++) dull = dull || (c >= DULL[i][0] && c <= DULL[i][1]);
    return !dull || c % 97 == 0;
}

static size_t all_characters(char **text)
{
    *text = malloc(4 * 0x110000);
    size_t bytes = 0;
    for (uint32_t c = 0; c < 0x110000; c++)
        if (is_asked(c)) bytes += sf_utf8_put(c, *text + bytes);
    return bytes;
}

static void count_members(const char *pattern, const char *text, size_t bytes, int *members, uint32_t *hash)
{
    sf_regex *regex;
    if (sf_regex_compile(pattern, strlen(pattern), false, &regex) != SF_OK) fail_msg("%s", sf_error());
    sf_match *match = NULL;
    size_t capacity = 0, n;
    assert_int_equal(sf_regex_find_all(regex, text, bytes, &match, &capacity, &n), SF_OK);
    *hash = 0x811c9dc5;
    *members = (int)n;
    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ sf_utf8_letter(text + match[i].start, match[i].end - match[i].start)) * 0x01000193;
    free(match);
    sf_regex_free(regex);
}

static void classes_hold_what_they_hold_in_the_library(void **state)
{
    (void)state;
    const json_t *rows = json_object_get(golden, "classes");
    assert_true(json_array_size(rows) > 80);
    char *text;
    size_t bytes = all_characters(&text);
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r);
        const char *pattern = json_string_value(json_array_get(row, 0));
        int members;
        uint32_t hash;
        count_members(strcmp(pattern, "Digits") ? pattern : SF_DIGITS_PATTERN, text, bytes, &members, &hash);
        if (members != json_integer_value(json_array_get(row, 1)) || hash != json_integer_value(json_array_get(row, 2)))
            fail_msg("%s holds %d characters (%u), want %lld (%lld)", pattern, members, hash,
                     json_integer_value(json_array_get(row, 1)), json_integer_value(json_array_get(row, 2)));
    }
    free(text);
}

/* Every character alone, before and after a mark: as the `tokenizers` library normalises it, by Unicode 9. */
static void forms_are_those_of_the_library(void **state)
{
    (void)state;
    static const char *const NAMES[] = {[SF_NFC] = "NFC", [SF_NFD] = "NFD", [SF_NFKC] = "NFKC", [SF_NFKD] = "NFKD"};
    char *text = malloc(20 * 0x110000), *form;
    size_t bytes = 0, n;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (!is_asked(c)) continue;
        static const char *const beside[] = {"", " ", "\u0334 \u0345", " "}; /* text[0] c text[1] c text[2] c text[3] */
        for (int i = 0; i < 4; i++) {
            bytes += strlen(strcpy(text + bytes, beside[i]));
            if (i < 3) bytes += sf_utf8_put(c, text + bytes);
        }
    }
    for (int kind = SF_NFC; kind <= SF_NFKD; kind++) {
        assert_int_equal(sf_normalize(&(sf_normalizer){.kind = kind}, 1, text, bytes, &form, &n), SF_OK);
        uint32_t hash = 0x811c9dc5;
        for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)form[i]) * 0x01000193;
        const json_t *want = json_object_get(json_object_get(golden, "forms"), NAMES[kind]);
        if ((json_int_t)n != json_integer_value(json_array_get(want, 0)) ||
            hash != json_integer_value(json_array_get(want, 1)))
            fail_msg("%s has %zu bytes (%u), want %lld (%lld)", NAMES[kind], n, hash,
                     json_integer_value(json_array_get(want, 0)), json_integer_value(json_array_get(want, 1)));
        free(form);
    }
    free(text);
}

/* Eight steps of which each makes ten letters of one: an error, not a hundred million. */
static void text_is_not_multiplied_without_end(void **state)
{
    (void)state;
    sf_normalizer step[8];
    for (int i = 0; i < 8; i++) {
        step[i] = (sf_normalizer){.kind = SF_REPLACE_ALL, .text = "aaaaaaaaaa"};
        assert_int_equal(sf_regex_compile("a", 1, i % 2 == 0, &step[i].pattern), SF_OK);
    }
    char *out;
    size_t n;
    assert_int_equal(sf_normalize(step, 4, "a", 1, &out, &n), SF_OK);
    assert_int_equal(n, 10000);
    free(out);
    assert_int_equal(sf_normalize(step, 8, "a", 1, &out, &n), SF_UNSUPPORTED);
    assert_null(out);
    assert_non_null(strstr(sf_error(), "step 5 of the normalizer: it makes more than 65600 bytes"));
    for (int i = 0; i < 8; i++) sf_regex_free(step[i].pattern);
}

/* What hangs on tables of the library's version, and what would need more memory or time than a text is worth. */
static void refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *says;
    } rows[] = {
        {"", "empty"},
        {"a\\X", "\\X, which is not supported"},
        {"\\R", "\\R"},
        {"\\y", "\\y"},
        {"\\p{Word}", "invalid character property name {Word}"},
        {"\\p{Egyptian_Hieroglyphs}", "invalid character property name {Egyptian_Hieroglyphs}"},
        {"(a", "end pattern with unmatched parenthesis"},
        {"a{1,100001}", "too big number"},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        sf_regex *regex;
        assert_int_not_equal(sf_regex_compile(rows[r].pattern, strlen(rows[r].pattern), false, &regex), SF_OK);
        assert_null(regex);
        if (!strstr(sf_error(), rows[r].says))
            fail_msg("%s: \"%s\", want \"%s\"", rows[r].pattern, sf_error(), rows[r].says);
    }
    char deep[2001];
    memset(deep, '(', 1000);
    memset(deep + 1000, ')', 1000);
    deep[2000] = 0;
    sf_regex *regex;
    assert_int_not_equal(sf_regex_compile(deep, 2000, false, &regex), SF_OK);
}

/* A match that reaches out of itself would be cut at places that are no part of the text. */
static void matches_that_cannot_be_cut(void **state)
{
    (void)state;
    static const char *const patterns[] = {"a|(?<=\\Ka)b", "\\w+|(?<=\\Kb)\\s"};
    for (size_t r = 0; r < sizeof patterns / sizeof *patterns; r++) {
        char out[4096];
        if (cut(patterns[r], "aab aab", SF_SPLIT_ISOLATED, out, sizeof out)) fail_msg("%s cuts %s", patterns[r], out);
        if (!strstr(sf_error(), "reaches beyond its own match")) fail_msg("%s: %s", patterns[r], sf_error());
    }
}

/* Patterns that step back again and again end in an error within a second or so, however long the text is. */
static void patterns_that_never_end(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(?:a|aa)*(?=b|c)", "(?:a|aa)*(?!a)c?b", "(?:a|aa)+$"};
    enum { N = 1 << 16 };
    char *text = malloc(N);
    memset(text, 'a', N);
    memcpy(text + N - 2, "xb", 2);
    for (size_t r = 0; r < sizeof patterns / sizeof *patterns; r++) {
        sf_regex *regex;
        sf_match *match = NULL;
        size_t capacity = 0, n;
        assert_int_equal(sf_regex_compile(patterns[r], strlen(patterns[r]), false, &regex), SF_OK);
        sf_status status = sf_regex_find_all(regex, text, N, &match, &capacity, &n);
        if (status != SF_UNSUPPORTED || !strstr(sf_error(), "limit-in-match over"))
            fail_msg("%s: %s", patterns[r], sf_error());
        free(match);
        sf_regex_free(regex);
    }
    free(text);
}

/* No match takes too long, but there are thousands of them. */
static void patterns_that_end_often(void **state)
{
    (void)state;
    static const char pattern[] = "(?:a|aa)+b|[a-z]+| ", word[] = "aaaaaaaaaaaaaaaaaaaaaaaaaac ";
    enum { WORDS = 2000, N = WORDS * (sizeof word - 1) };
    char *text = malloc(N);
    for (int i = 0; i < WORDS; i++) memcpy(text + i * (sizeof word - 1), word, sizeof word - 1);
    sf_regex *regex;
    sf_match *match = NULL;
    size_t capacity = 0, n;
    assert_int_equal(sf_regex_compile(pattern, sizeof pattern - 1, false, &regex), SF_OK);
    assert_int_equal(sf_regex_find_all(regex, text, 4 * (sizeof word - 1), &match, &capacity, &n), SF_OK);
    assert_int_equal(n, 8);
    assert_int_equal(sf_regex_find_all(regex, text, N, &match, &capacity, &n), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "limit-in-search over"));
    free(match);
    sf_regex_free(regex);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_what_the_library_matches),
        cmocka_unit_test(classes_hold_what_they_hold_in_the_library),
        cmocka_unit_test(forms_are_those_of_the_library),
        cmocka_unit_test(text_is_not_multiplied_without_end),
        cmocka_unit_test(refused_by_name),
        cmocka_unit_test(matches_that_cannot_be_cut),
        cmocka_unit_test(patterns_that_never_end),
        cmocka_unit_test(patterns_that_end_often),
    };
    return cmocka_run_group_tests(tests, read_golden, free_golden);
}
