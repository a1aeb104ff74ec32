/* The formats of the synthetic tasks and of the stories. score_open.c, score_letters.c and score_match.c have the rest.
 */
#include "tasks/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tasks/answer.h"
#include "tasks/unicode.h"

/* ---- what the formats share -------------------------------------------------------------------------------------- */

/* The two parts of a text that the two scores read: `strict` the last tagged answer, `reference` the first, with what
 * the reference makes of a text without tags. A part that is absent is NULL. */
typedef struct parts {
    sf_span strict, reference;
} parts;

static parts parts_of(const char *text, bool whole_if_untagged)
{
    parts p = {0};
    sf_answer_last(text, &p.strict);
    if (!sf_answer_first(text, true, &p.reference) && whole_if_untagged) p.reference = sf_span_of(text);
    return p;
}

static sf_status end(bool failed) { return failed ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK; }

static const char *characters(const sf_text *t) { return t->data ? t->data : ""; }

/* The decimal digits, of any script, that a text begins with. */
static sf_span digits_of(sf_span text)
{
    const char *at = text.at, *last = sf_span_end(text);
    for (int n; at < last && sf_digit(sf_code_point(at, last, &n)) >= 0;) at += n;
    return (sf_span){text.at, (size_t)(at - text.at)};
}

static sf_span after(sf_span text, size_t bytes) { return (sf_span){text.at + bytes, text.bytes - bytes}; }

/* |A ∩ B| / |A ∪ B| of two sets; 0 for two empty ones. */
static double iou(const sf_list *a, const sf_list *b)
{
    int common = sf_list_common(a, b), all = a->count + b->count - common;
    return all ? (double)common / all : 0;
}

/* Moves a text into a list, unless it is empty. */
static void add_text(sf_list *list, sf_text *t)
{
    list->failed |= t->failed;
    if (t->size) sf_list_add(list, t->data, t->size);
    sf_text_clear(t);
}

/* IoU of the gold answers, each read by `expect`, with the set that `read` finds in each part. */
static sf_status score_set(const sf_sample *sample, parts p, void (*read)(sf_span, sf_list *),
                           void (*expect)(sf_span, sf_list *), sf_score *out)
{
    sf_list gold = {0}, strict = {0}, reference = {0};
    for (int i = 0; i < sample->gold_count; i++) expect(sf_span_of(sample->gold[i]), &gold);
    if (p.strict.at) read(p.strict, &strict);
    if (p.reference.at) read(p.reference, &reference);
    sf_list_set(&gold);
    sf_list_set(&strict);
    sf_list_set(&reference);
    *out = (sf_score){iou(&strict, &gold), iou(&reference, &gold), strict.count > 0};
    bool failed = gold.failed || strict.failed || reference.failed;
    sf_list_free(&gold);
    sf_list_free(&strict);
    sf_list_free(&reference);
    return end(failed);
}

/* Answers to numbered questions: [i] to question i + 1, NULL if there is none, `torn` if there are two that differ. */
typedef struct numbered {
    int count, found;
    char **first;
    bool *torn, failed;
} numbered;

static numbered numbered_of(int count)
{
    numbered n = {count, 0, calloc((size_t)count + 1, sizeof *n.first), calloc((size_t)count + 1, sizeof *n.torn), 0};
    n.failed = !n.first || !n.torn;
    return n;
}

static void numbered_free(numbered *n)
{
    for (int i = 0; n->first && i < n->count; i++) free(n->first[i]);
    free(n->first);
    free(n->torn);
}

static void numbered_add(numbered *n, sf_span number, const sf_text *answer)
{
    long i = 0;
    int bytes;
    for (const char *at = number.at, *last = at + number.bytes; at < last && i <= n->count; at += bytes)
        i = 10 * i + sf_digit(sf_code_point(at, last, &bytes));
    n->failed |= answer->failed;
    if (n->failed || i < 1 || i > n->count) return;
    n->found++;
    char **slot = &n->first[i - 1];
    if (*slot)
        n->torn[i - 1] |= strcmp(*slot, characters(answer)) != 0;
    else
        n->failed |= !(*slot = strdup(characters(answer)));
}

/* Share of the questions whose answer is the expected one. */
static sf_status score_numbered(const sf_sample *sample, parts p, void (*read)(sf_span, numbered *),
                                void (*expect)(const char *gold, sf_text *out), sf_score *out)
{
    numbered strict = numbered_of(sample->gold_count), reference = numbered_of(sample->gold_count);
    if (p.strict.at) read(p.strict, &strict);
    if (p.reference.at) read(p.reference, &reference);
    int right_strict = 0, right_reference = 0;
    bool failed = strict.failed || reference.failed;
    sf_text gold = {0};
    for (int i = 0; i < sample->gold_count && !failed; i++) {
        sf_text_clear(&gold);
        expect(sample->gold[i], &gold);
        right_strict += strict.first[i] && !strict.torn[i] && strcmp(strict.first[i], characters(&gold)) == 0;
        right_reference += reference.first[i] && strcmp(reference.first[i], characters(&gold)) == 0;
        failed = gold.failed;
    }
    double n = sample->gold_count ? sample->gold_count : 1;
    *out = (sf_score){right_strict / n, right_reference / n, strict.found > 0};
    sf_text_free(&gold);
    numbered_free(&strict);
    numbered_free(&reference);
    return end(failed);
}

/* Appends a name in lower case, with single spaces, without an article in front. */
static void add_item(sf_text *out, sf_span text)
{
    static const char *const articles[] = {"the ", "a ", "an "};
    sf_text lower = {0}, single = {0};
    sf_add_lower(&lower, text);
    sf_add_collapsed(&single, (sf_span){lower.data, lower.size});
    sf_span rest = {characters(&single), single.size};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(articles[i]);
        if (rest.bytes <= n || memcmp(rest.at, articles[i], n) != 0) continue;
        rest = after(rest, n);
        break;
    }
    sf_text_bytes(out, rest.at, rest.bytes);
    out->failed |= lower.failed || single.failed;
    sf_text_free(&lower);
    sf_text_free(&single);
}

/* ---- the synthetic tasks ----------------------------------------------------------------------------------------- */

/* re's white space, and its i in any letter case, which takes the two of Turkish for one. */
#define SPACE "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}]"
#define I     "[i\\x{130}\\x{131}]"

/* "1. The answer for KEY is VALUE" wherever it stands, up to a full stop or the end of the line; answers as "KEY
 * value". */
static void read_pairs(sf_span text, numbered *out)
{
    static const char pattern[] = "(\\p{Nd}+)[.]" SPACE "*the answer for" SPACE "+([-_\\p{L}\\p{N}]+)" SPACE "+" I
                                  "s:?" SPACE "+([^\\n]+?)(?=[.\\n]|\\z)";
    int error;
    PCRE2_SIZE where;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_CASELESS | PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &where, NULL);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    out->failed |= !match;
    sf_text pair = {0}, lower = {0};
    for (PCRE2_SIZE from = 0; match && pcre2_match(code, (PCRE2_SPTR)text.at, text.bytes, from, 0, match, NULL) > 0;) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match);
        sf_text_clear(&pair);
        sf_text_clear(&lower);
        sf_text_bytes(&pair, text.at + at[4], at[5] - at[4]);
        sf_text_char(&pair, ' ');
        sf_add_lower(&lower, (sf_span){text.at + at[6], at[7] - at[6]});
        sf_add_collapsed(&pair, (sf_span){lower.data, lower.size});
        numbered_add(out, (sf_span){text.at + at[2], at[3] - at[2]}, &pair);
        from = at[1];
    }
    out->failed |= lower.failed;
    sf_text_free(&pair);
    sf_text_free(&lower);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
}

/* "KEY: VALUE" as "KEY value". */
static void expect_pair(const char *gold, sf_text *out)
{
    sf_text lower = {0};
    size_t key = strcspn(gold, ":");
    sf_text_bytes(out, gold, key);
    sf_text_char(out, ' ');
    sf_add_lower(&lower, sf_span_of(gold + key + (gold[key] == ':')));
    sf_add_collapsed(out, (sf_span){lower.data, lower.size});
    out->failed |= lower.failed;
    sf_text_free(&lower);
}

sf_status sf_score_pairs(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    return score_numbered(sample, parts_of(text, true), read_pairs, expect_pair, out);
}

/* Words in capitals; "VAR " is removed wherever it stands, even at the end of a longer word. */
static void read_names(sf_span text, sf_list *out)
{
    sf_text upper = {0}, single = {0}, kept = {0};
    sf_add_upper(&upper, text);
    sf_add_collapsed(&single, (sf_span){upper.data, upper.size});
    for (const char *at = characters(&single); *at;) {
        const char *var = strstr(at, "VAR ");
        size_t n = var ? (size_t)(var - at) : strlen(at);
        sf_text_bytes(&kept, at, n);
        at += var ? n + 4 : n;
    }
    sf_span rest = {kept.data, kept.size}, token;
    while (sf_next_token(&rest, &token)) sf_list_add(out, token.at, token.bytes);
    out->failed |= upper.failed || single.failed || kept.failed;
    sf_text_free(&upper);
    sf_text_free(&single);
    sf_text_free(&kept);
}

sf_status sf_score_names(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    return score_set(sample, parts_of(text, true), read_names, read_names, out);
}

/* The last code point of a text that is not empty. */
static sf_span last_character(sf_span text)
{
    size_t n = 1;
    while (n < 4 && n < text.bytes && (text.at[text.bytes - n] & 0xc0) == 0x80) n++;
    return after(text, text.bytes - n);
}

/* The lines "1. word", with any of . ) - or nothing after the number, and at least one character after that. */
static void read_words(sf_span text, sf_list *out)
{
    sf_text word = {0};
    for (sf_span line; sf_next_line(&text, &line);) {
        sf_span number = digits_of(line), rest = after(line, number.bytes);
        if (number.bytes == 0) continue;
        bool mark = rest.bytes && memchr(".)-", *rest.at, 3);
        rest = sf_strip(after(rest, mark));
        if (rest.bytes == 0) { /* a number alone gives up its mark, else its last digit, as in backtracking */
            rest = last_character(line);
            if (rest.at == line.at) continue;
        }
        sf_add_lower(&word, rest);
        add_text(out, &word);
    }
    sf_text_free(&word);
}

static void read_word(sf_span text, sf_list *out)
{
    sf_text word = {0};
    sf_add_lower(&word, sf_strip(text));
    add_text(out, &word);
    sf_text_free(&word);
}

sf_status sf_score_words(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    return score_set(sample, parts_of(text, false), read_words, read_word, out);
}

/* ---- the stories ------------------------------------------------------------------------------------------------- */

/* The lines "1. answer", with any of . : ) after the number. */
static void read_numbered(sf_span text, numbered *out)
{
    sf_text answer = {0};
    for (sf_span line; sf_next_line(&text, &line);) {
        sf_span number = digits_of(line), rest = after(line, number.bytes);
        if (number.bytes == 0 || rest.bytes < 2 || !memchr(".:)", *rest.at, 3)) continue;
        sf_text_clear(&answer);
        add_item(&answer, after(rest, 1));
        numbered_add(out, number, &answer);
    }
    sf_text_free(&answer);
}

static void expect_item(const char *gold, sf_text *out) { add_item(out, sf_span_of(gold)); }

sf_status sf_score_numbered(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    return score_numbered(sample, parts_of(text, true), read_numbered, expect_item, out);
}

sf_status sf_score_item(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    parts p = parts_of(text, false);
    sf_text gold = {0}, strict = {0}, reference = {0};
    expect_item(sample->gold[0], &gold);
    add_item(&strict, p.strict);
    add_item(&reference, p.reference);
    *out = (sf_score){strict.size && strcmp(characters(&strict), characters(&gold)) == 0,
                      reference.size ? strcmp(characters(&reference), characters(&gold)) == 0 : NAN, strict.size > 0};
    bool failed = gold.failed || strict.failed || reference.failed;
    sf_text_free(&gold);
    sf_text_free(&strict);
    sf_text_free(&reference);
    return end(failed);
}

/* Adds a number in ASCII digits, without zeros in front. */
static void add_number(sf_list *out, sf_span digits)
{
    sf_text number = {0};
    int n;
    for (const char *at = digits.at, *last = at + digits.bytes; at < last; at += n) {
        int digit = sf_digit(sf_code_point(at, last, &n));
        if (digit || number.size) sf_text_char(&number, (char)('0' + digit));
    }
    if (!number.size) sf_text_char(&number, '0');
    add_text(out, &number);
    sf_text_free(&number);
}

/* The numbers after the word "chapter" if there are any; else all ASCII digits between commas and white space, whatever
 * else stands among them: "1 and 2" are two numbers, "1.5" is 15. */
static void read_chapters(sf_span text, sf_list *out)
{
    const char *last = sf_span_end(text);
    int before = out->count, n;
    for (sf_span at = text; at.bytes; at = after(at, 1)) {
        size_t word = sf_match_word(at, "chapter");
        if (!word) continue;
        const char *from = at.at + word;
        while (from < last && sf_is_space(sf_code_point(from, last, &n))) from += n;
        sf_span number = digits_of((sf_span){from, (size_t)(last - from)});
        if (from > at.at + word && number.bytes) add_number(out, number);
    }
    if (out->count > before) return;
    sf_text digits = {0};
    for (const char *at = text.at; at <= last; at += n) {
        int c = at < last ? sf_code_point(at, last, &n) : (n = 1, ',');
        if (c >= '0' && c <= '9') {
            sf_text_char(&digits, (char)c);
        } else if ((c == ',' || sf_is_space(c)) && digits.size) {
            add_number(out, (sf_span){digits.data, digits.size});
            sf_text_clear(&digits);
        }
    }
    out->failed |= digits.failed;
    sf_text_free(&digits);
}

sf_status sf_score_chapters(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_status status = score_set(sample, parts_of(text, false), read_chapters, read_chapters, out);
    if (sf_strip(sf_span_of(text)).bytes == 0) out->reference = NAN;
    return status;
}
