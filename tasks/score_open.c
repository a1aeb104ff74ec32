/* Open questions: the official SQuAD script's metrics, and the study's. */
#include "tasks/score.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/unicode.h"

static const char *const squad_articles[] = {"a", "an", "the", NULL};
static const char *const reference_articles[] = {"a", "an", "the", "and", "or", "about", "to", NULL};

static bool is_article(sf_span word, const char *const *articles)
{
    for (; *articles; articles++)
        if (strlen(*articles) == word.bytes && memcmp(*articles, word.at, word.bytes) == 0) return true;
    return false;
}

/* Appends a text in lower case without ASCII punctuation, then without articles (whole words of letters and digits),
 * with single spaces. */
static void normalise(sf_text *out, sf_span text, const char *const *articles)
{
    sf_text plain = {0}, words = {0};
    sf_add_lower(&plain, text);
    size_t kept = 0;
    for (size_t i = 0; i < plain.size; i++)
        if (!ispunct((unsigned char)plain.data[i]) || (plain.data[i] & 0x80)) plain.data[kept++] = plain.data[i];

    for (const char *at = plain.data, *end = sf_span_end((sf_span){plain.data, kept}); at < end;) {
        sf_span word = {at, 0};
        int n = 0;
        while (at < end && sf_is_alphanumeric(sf_code_point(at, end, &n))) at += n;
        word.bytes = (size_t)(at - word.at);
        if (is_article(word, articles))
            sf_text_char(&words, ' ');
        else
            sf_text_bytes(&words, word.at, word.bytes);
        if (at < end) { /* what ended the word */
            sf_text_bytes(&words, at, (size_t)n);
            at += n;
        }
    }
    sf_add_collapsed(out, (sf_span){words.data, words.size});
    out->failed |= plain.failed || words.failed;
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
    sf_list_sort(&list);
    list.failed |= normal.failed;
    sf_text_free(&normal);
    return list;
}

static double f1(int common, int predicted, int expected)
{
    if (common == 0) return 0;
    double precision = (double)common / predicted, recall = (double)common / expected;
    return 2 * precision * recall / (precision + recall);
}

/* −1: no memory. */
static double squad_f1(sf_span prediction, sf_span gold)
{
    sf_list a = tokens_of(prediction, squad_articles), b = tokens_of(gold, squad_articles);
    double score = a.count && b.count ? f1(sf_list_common(&a, &b), a.count, b.count) : a.count == b.count;
    if (a.failed || b.failed) score = -1;
    sf_list_free(&a);
    sf_list_free(&b);
    return score;
}

/* −1: no memory. */
static double reference_f1(sf_span prediction, sf_span gold)
{
    sf_list a = tokens_of(prediction, reference_articles), b = tokens_of(gold, reference_articles);
    sf_list_set(&a);
    sf_list_set(&b);
    char rounded[32];
    snprintf(rounded, sizeof rounded, "%.2f", f1(sf_list_common(&a, &b), a.count, b.count));
    bool failed = a.failed || b.failed;
    sf_list_free(&a);
    sf_list_free(&b);
    return failed ? -1 : strtod(rounded, NULL);
}

sf_status sf_score_open(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_span strict = {0}, reference = {0};
    *out = (sf_score){.parsed = sf_answer_last(text, &strict) && sf_strip(strict).bytes > 0};
    sf_answer_first(text, false, &reference);
    for (int i = 0; i < sample->gold_count; i++) {
        sf_span gold = sf_span_of(sample->gold[i]);
        double a = out->parsed ? squad_f1(strict, gold) : 0, b = reference_f1(reference, gold);
        if (a < 0 || b < 0) return sf_fail(SF_NO_MEMORY, "no memory to score an answer");
        out->strict = fmax(out->strict, a);
        out->reference = fmax(out->reference, b);
    }
    return SF_OK;
}

char *sf_squad_normalise(const char *text)
{
    sf_text out = {0};
    normalise(&out, sf_span_of(text), squad_articles);
    if (out.failed) sf_text_free(&out);
    return out.data;
}

double sf_squad_f1(const char *prediction, const char *gold)
{
    return squad_f1(sf_span_of(prediction), sf_span_of(gold));
}

double sf_squad_exact(const char *prediction, const char *gold)
{
    char *a = sf_squad_normalise(prediction), *b = sf_squad_normalise(gold);
    double same = a && b ? strcmp(a, b) == 0 : -1;
    free(a);
    free(b);
    return same;
}
