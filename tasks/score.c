#include "tasks/score.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include "tasks/answer.h"

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

/* Items that two sorted lists have in common, repeats counted. */
static int in_common(const sf_list *a, const sf_list *b)
{
    int common = 0;
    for (int i = 0, j = 0; i < a->count && j < b->count;) {
        int order = strcmp(a->item[i], b->item[j]);
        common += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return common;
}

/* |A ∩ B| / |A ∪ B| of two sets; 0 for two empty ones. */
static double iou(const sf_list *a, const sf_list *b)
{
    int common = in_common(a, b), all = a->count + b->count - common;
    return all ? (double)common / all : 0;
}

static void add_text(sf_list *list, sf_text *t)
{
    if (t->failed) abort();
    if (t->size) sf_list_add(list, t->data, t->size);
    sf_text_clear(t);
}

/* IoU of the gold answers, each read by `expect`, with the set that `read` finds in each part. */
static void score_set(const sf_sample *sample, parts p, void (*read)(sf_span, sf_list *),
                      void (*expect)(sf_span, sf_list *), sf_score *out)
{
    sf_list gold = {0}, strict = {0}, reference = {0};
    for (int i = 0; i < sample->gold_count; i++) expect(sf_span_of(sample->gold[i]), &gold);
    sf_list_set(&gold);
    if (p.strict.at) read(p.strict, &strict);
    if (p.reference.at) read(p.reference, &reference);
    sf_list_set(&strict);
    sf_list_set(&reference);
    *out = (sf_score){iou(&strict, &gold), iou(&reference, &gold), strict.count > 0};
    sf_list_free(&gold);
    sf_list_free(&strict);
    sf_list_free(&reference);
}

/* Answers to numbered questions: [i] to question i + 1, NULL if there is none, `torn` if there are two that differ. */
typedef struct numbered {
    int count, found;
    char **first;
    bool *torn;
} numbered;

static numbered numbered_of(int count)
{
    numbered n = {count, 0, calloc((size_t)count + 1, sizeof *n.first), calloc((size_t)count + 1, sizeof *n.torn)};
    if (!n.first || !n.torn) abort();
    return n;
}

static void numbered_free(numbered *n)
{
    for (int i = 0; i < n->count; i++) free(n->first[i]);
    free(n->first);
    free(n->torn);
}

static void numbered_add(numbered *n, sf_span number, const sf_text *answer)
{
    long i = 0;
    for (size_t k = 0; k < number.bytes && i <= n->count; k++) i = 10 * i + (number.at[k] - '0');
    if (answer->failed) abort();
    if (i < 1 || i > n->count) return;
    n->found++;
    char **slot = &n->first[i - 1];
    if (!*slot)
        *slot = strdup(answer->data ? answer->data : "");
    else if (strcmp(*slot, answer->data ? answer->data : "") != 0)
        n->torn[i - 1] = true;
}

/* Share of the questions whose answer is the expected one. */
static void score_numbered(const sf_sample *sample, parts p, void (*read)(sf_span, numbered *),
                           void (*expect)(const char *gold, sf_text *out), sf_score *out)
{
    numbered strict = numbered_of(sample->gold_count), reference = numbered_of(sample->gold_count);
    if (p.strict.at) read(p.strict, &strict);
    if (p.reference.at) read(p.reference, &reference);
    int right_strict = 0, right_reference = 0;
    sf_text gold = {0};
    for (int i = 0; i < sample->gold_count; i++) {
        sf_text_clear(&gold);
        expect(sample->gold[i], &gold);
        if (gold.failed) abort();
        right_strict += strict.first[i] && !strict.torn[i] && strcmp(strict.first[i], gold.data) == 0;
        right_reference += reference.first[i] && strcmp(reference.first[i], gold.data) == 0;
    }
    double n = sample->gold_count ? sample->gold_count : 1;
    *out = (sf_score){right_strict / n, right_reference / n, strict.found > 0};
    sf_text_free(&gold);
    numbered_free(&strict);
    numbered_free(&reference);
}

/* Lower case, single spaces, no article in front. */
static void add_item(sf_text *out, sf_span text)
{
    size_t from = out->size;
    sf_add_lower(out, text);
    static const char *const articles[] = {"the ", "a ", "an "};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(articles[i]);
        if (out->size - from > n && memcmp(out->data + from, articles[i], n) == 0) {
            memmove(out->data + from, out->data + from + n, out->size - from - n + 1);
            out->size -= n;
            return;
        }
    }
}

/* ---- the synthetic tasks ----------------------------------------------------------------------------------------- */

/* "1. The answer for KEY is VALUE" wherever it stands, up to a full stop or the end of the line; answers as "KEY
 * value". */
static void read_pairs(sf_span text, numbered *out)
{
    static const char pattern[] = "([0-9]+)[.]\\s*the answer for\\s+([-\\w]+)\\s+is:?\\s+([^\\n]+?)(?=[.\\n]|\\z)";
    int error;
    PCRE2_SIZE where;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_CASELESS | PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &where, NULL);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    if (!match) abort();
    sf_text pair = {0};
    for (PCRE2_SIZE from = 0; pcre2_match(code, (PCRE2_SPTR)text.at, text.bytes, from, 0, match, NULL) > 0;) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match);
        sf_text_clear(&pair);
        sf_text_bytes(&pair, text.at + at[4], at[5] - at[4]);
        sf_text_char(&pair, ' ');
        sf_add_lower(&pair, (sf_span){text.at + at[6], at[7] - at[6]});
        numbered_add(out, (sf_span){text.at + at[2], at[3] - at[2]}, &pair);
        from = at[1];
    }
    sf_text_free(&pair);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
}

/* "KEY: VALUE" as "KEY value". */
static void expect_pair(const char *gold, sf_text *out)
{
    const char *colon = strchr(gold, ':');
    sf_text_bytes(out, gold, (size_t)(colon - gold));
    sf_text_char(out, ' ');
    sf_add_lower(out, sf_span_of(colon + 1));
}

void sf_score_pairs(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    score_numbered(sample, parts_of(text, true), read_pairs, expect_pair, out);
}

/* Words in capitals; "VAR " is removed wherever it stands, even at the end of a longer word. */
static void read_names(sf_span text, sf_list *out)
{
    sf_text upper = {0}, kept = {0};
    sf_add_upper(&upper, text);
    if (upper.failed) abort();
    for (const char *at = upper.data; at && *at;) {
        const char *var = strstr(at, "VAR ");
        size_t n = var ? (size_t)(var - at) : strlen(at);
        sf_text_bytes(&kept, at, n);
        at += var ? n + 4 : n;
    }
    if (kept.failed) abort();
    sf_span rest = {kept.data, kept.size}, token;
    while (sf_next_token(&rest, &token)) sf_list_add(out, token.at, token.bytes);
    sf_text_free(&upper);
    sf_text_free(&kept);
}

void sf_score_names(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    score_set(sample, parts_of(text, true), read_names, read_names, out);
}

/* The lines "1. word", with any of . ) - or nothing after the number, and at least one character after that. */
static void read_words(sf_span text, sf_list *out)
{
    sf_text word = {0};
    for (sf_span line; sf_next_line(&text, &line);) {
        const char *end = line.at + line.bytes, *at = line.at;
        while (at < end && isdigit((unsigned char)*at)) at++;
        size_t digits = (size_t)(at - line.at);
        if (digits == 0) continue;
        bool mark = at < end && strchr(".)-", *at);
        sf_span rest = sf_strip((sf_span){at + mark, (size_t)(end - at - mark)});
        if (rest.bytes == 0) { /* a number alone gives up its mark, else its last digit, as in backtracking */
            if (!mark && digits < 2) continue;
            rest = (sf_span){end - 1, 1};
        }
        sf_add_lower(&word, rest);
        add_text(out, &word);
    }
    sf_text_free(&word);
}

static void read_word(sf_span text, sf_list *out)
{
    sf_text word = {0};
    sf_add_lower(&word, text);
    add_text(out, &word);
    sf_text_free(&word);
}

void sf_score_words(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    score_set(sample, parts_of(text, false), read_words, read_word, out);
}

/* ---- the stories ------------------------------------------------------------------------------------------------- */

/* The lines "1. answer", with any of . : ) after the number. */
static void read_numbered(sf_span text, numbered *out)
{
    sf_text answer = {0};
    for (sf_span line; sf_next_line(&text, &line);) {
        const char *end = line.at + line.bytes, *at = line.at;
        while (at < end && isdigit((unsigned char)*at)) at++;
        sf_span number = {line.at, (size_t)(at - line.at)};
        if (number.bytes == 0 || at == end || !strchr(".:)", *at) || at + 1 == end) continue;
        sf_text_clear(&answer);
        add_item(&answer, (sf_span){at + 1, (size_t)(end - at - 1)});
        numbered_add(out, number, &answer);
    }
    sf_text_free(&answer);
}

static void expect_item(const char *gold, sf_text *out) { add_item(out, sf_span_of(gold)); }

void sf_score_numbered(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    score_numbered(sample, parts_of(text, true), read_numbered, expect_item, out);
}

void sf_score_item(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    parts p = parts_of(text, false);
    sf_text gold = {0}, strict = {0}, reference = {0};
    expect_item(sample->gold[0], &gold);
    add_item(&strict, p.strict);
    add_item(&reference, p.reference);
    if (gold.failed || strict.failed || reference.failed) abort();
    *out = (sf_score){strict.size && strcmp(strict.data, gold.data) == 0,
                      reference.size ? strcmp(reference.data, gold.data) == 0 : NAN, strict.size > 0};
    sf_text_free(&gold);
    sf_text_free(&strict);
    sf_text_free(&reference);
}

static void add_number(sf_list *out, const char *at, size_t digits)
{
    while (digits > 1 && *at == '0') at++, digits--;
    sf_list_add(out, at, digits);
}

/* The numbers after the word "chapter" if there are any; else all digits between commas and white space, whatever else
 * stands among them: "1 and 2" are two numbers, "1.5" is 15. */
static void read_chapters(sf_span text, sf_list *out)
{
    const char *end = text.at + text.bytes;
    int before = out->count, n;
    for (const char *at = text.at; end - at > 7; at++) {
        if (strncasecmp(at, "chapter", 7) != 0) continue;
        const char *from = at + 7;
        while (from < end && sf_is_space(sf_code_point(from, end, &n))) from += n;
        const char *to = from;
        while (to < end && isdigit((unsigned char)*to)) to++;
        if (from > at + 7 && to > from) add_number(out, from, (size_t)(to - from));
    }
    if (out->count > before) return;
    sf_text digits = {0};
    for (const char *at = text.at; at <= end; at += n) {
        int c = at < end ? sf_code_point(at, end, &n) : (n = 1, ',');
        if (c >= '0' && c <= '9') {
            sf_text_char(&digits, (char)c);
        } else if ((c == ',' || sf_is_space(c)) && digits.size) {
            if (digits.failed) abort();
            add_number(out, digits.data, digits.size);
            sf_text_clear(&digits);
        }
    }
    sf_text_free(&digits);
}

void sf_score_chapters(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    score_set(sample, parts_of(text, false), read_chapters, read_chapters, out);
    if (sf_strip(sf_span_of(text)).bytes == 0) out->reference = NAN;
}

/* ---- questions and answers --------------------------------------------------------------------------------------- */

/* How often each of A to D occurs, in either case. */
static void read_letters(sf_span text, int count[4])
{
    memset(count, 0, 4 * sizeof *count);
    for (size_t i = 0; i < text.bytes; i++) {
        int letter = toupper((unsigned char)text.at[i]) - 'A';
        if (letter >= 0 && letter < 4) count[letter]++;
    }
}

void sf_score_letters(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_span strict = {0}, reference = {0};
    sf_answer_last(text, &strict);
    sf_answer_first(text, false, &reference);
    int gold[4], got_strict[4], got_reference[4], letters = 0;
    read_letters(sf_span_of(sample->gold[0]), gold);
    read_letters(strict, got_strict);
    read_letters(reference, got_reference);
    for (int i = 0; i < 4; i++) letters += got_strict[i];
    *out = (sf_score){memcmp(gold, got_strict, sizeof gold) == 0, memcmp(gold, got_reference, sizeof gold) == 0,
                      letters > 0};
}

static const char *const squad_articles[] = {"a", "an", "the", NULL};
static const char *const reference_articles[] = {"a", "an", "the", "and", "or", "about", "to", NULL};

/* Lower case without ASCII punctuation, then without articles (whole words of letters and digits), single spaces. */
static void normalise(sf_text *out, sf_span text, const char *const *articles)
{
    sf_text plain = {0}, words = {0};
    sf_add_lower(&plain, text);
    if (plain.failed) abort();
    size_t kept = 0;
    for (size_t i = 0; i < plain.size; i++)
        if (!ispunct((unsigned char)plain.data[i]) || (plain.data[i] & 0x80)) plain.data[kept++] = plain.data[i];

    for (const char *at = plain.data, *end = at + kept; at < end;) {
        const char *from = at;
        int n = 0, c;
        while (at < end && (c = sf_code_point(at, end, &n)) >= 0) {
            utf8proc_category_t category = utf8proc_category(c);
            bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
            bool digit = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
            if (!letter && !digit) break;
            at += n;
        }
        size_t bytes = (size_t)(at - from);
        bool article = false;
        for (int i = 0; articles[i]; i++)
            article |= strlen(articles[i]) == bytes && memcmp(articles[i], from, bytes) == 0;
        if (article)
            sf_text_char(&words, ' ');
        else
            sf_text_bytes(&words, from, bytes);
        if (at < end) { /* what ended the word */
            sf_text_bytes(&words, at, (size_t)n);
            at += n;
        }
    }
    if (words.failed) abort();
    sf_add_lower(out, (sf_span){words.data, words.size}); /* for its single spaces */
    if (out->failed) abort();
    sf_text_free(&plain);
    sf_text_free(&words);
}

/* The tokens of a normalised text, sorted. */
static sf_list tokens_of(sf_span text, const char *const *articles)
{
    sf_text normal = {0};
    sf_list list = {0};
    normalise(&normal, text, articles);
    sf_span rest = {normal.data, normal.size}, token;
    while (sf_next_token(&rest, &token)) sf_list_add(&list, token.at, token.bytes);
    if (list.count) qsort(list.item, (size_t)list.count, sizeof *list.item, sf_by_text);
    sf_text_free(&normal);
    return list;
}

static double f1(int common, int predicted, int expected)
{
    if (common == 0) return 0;
    double precision = (double)common / predicted, recall = (double)common / expected;
    return 2 * precision * recall / (precision + recall);
}

static double squad_f1(sf_span prediction, sf_span gold)
{
    sf_list a = tokens_of(prediction, squad_articles), b = tokens_of(gold, squad_articles);
    double score = a.count && b.count ? f1(in_common(&a, &b), a.count, b.count) : a.count == b.count;
    sf_list_free(&a);
    sf_list_free(&b);
    return score;
}

static double reference_f1(sf_span prediction, sf_span gold)
{
    sf_list a = tokens_of(prediction, reference_articles), b = tokens_of(gold, reference_articles);
    sf_list_set(&a);
    sf_list_set(&b);
    char rounded[32];
    snprintf(rounded, sizeof rounded, "%.2f", f1(in_common(&a, &b), a.count, b.count));
    sf_list_free(&a);
    sf_list_free(&b);
    return strtod(rounded, NULL);
}

void sf_score_open(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_span strict = {0}, reference = {0};
    *out = (sf_score){.parsed = sf_answer_last(text, &strict) && sf_strip(strict).bytes > 0};
    sf_answer_first(text, false, &reference);
    for (int i = 0; i < sample->gold_count; i++) {
        sf_span gold = sf_span_of(sample->gold[i]);
        if (out->parsed) out->strict = fmax(out->strict, squad_f1(strict, gold));
        out->reference = fmax(out->reference, reference_f1(reference, gold));
    }
}

char *sf_squad_normalise(const char *text)
{
    sf_text out = {0};
    normalise(&out, sf_span_of(text), squad_articles);
    return out.data;
}

double sf_squad_f1(const char *prediction, const char *gold)
{
    return squad_f1(sf_span_of(prediction), sf_span_of(gold));
}

double sf_squad_exact(const char *prediction, const char *gold)
{
    char *a = sf_squad_normalise(prediction), *b = sf_squad_normalise(gold);
    bool same = strcmp(a, b) == 0;
    free(a);
    free(b);
    return same;
}

/* ---- RULER ------------------------------------------------------------------------------------------------------- */

/* Number of the gold strings that occur in the text. */
static int matches(const sf_sample *sample, const char *text)
{
    sf_text lower = {0}, gold = {0};
    sf_add_lower_as_is(&lower, sf_span_of(text));
    int found = 0;
    for (int i = 0; i < sample->gold_count; i++) {
        sf_text_clear(&gold);
        sf_add_lower_as_is(&gold, sf_span_of(sample->gold[i]));
        if (lower.failed || gold.failed) abort();
        found += strstr(lower.data, gold.data) != NULL;
    }
    sf_text_free(&lower);
    sf_text_free(&gold);
    return found;
}

void sf_score_match_all(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    double share = sample->gold_count ? (double)matches(sample, text) / sample->gold_count : 0;
    *out = (sf_score){share, share, sf_strip(sf_span_of(text)).bytes > 0};
}

void sf_score_match_part(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    double any = matches(sample, text) > 0;
    *out = (sf_score){any, any, sf_strip(sf_span_of(text)).bytes > 0};
}
