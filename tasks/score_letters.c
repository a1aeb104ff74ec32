/* Multiple choice. */
#include "tasks/score.h"

#include <ctype.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/unicode.h"

enum { OPTIONS = 4 };

/* How often each of A to D occurs, in either case. */
static void count_letters(sf_span text, int count[OPTIONS])
{
    memset(count, 0, OPTIONS * sizeof *count);
    for (size_t i = 0; i < text.bytes; i++) {
        int letter = toupper((unsigned char)text.at[i]) - 'A';
        if (letter >= 0 && letter < OPTIONS) count[letter]++;
    }
}

/* Letters of options, and nothing else but white space and ASCII marks between them. Of a sentence, the letters that it
 * is written with would be counted. */
static bool is_a_choice(sf_span text)
{
    bool letters = false;
    int n;
    for (const char *at = text.at, *end = sf_span_end(text); at < end; at += n) {
        int c = sf_code_point(at, end, &n);
        bool letter = c > 0 && c < 0x80 && strchr("ABCDabcd", c);
        letters |= letter;
        if (!letter && !sf_is_space(c) && !(c > 0 && c < 0x80 && ispunct(c))) return false;
    }
    return letters;
}

sf_status sf_score_letters(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_span strict = {0}, reference = {0};
    int gold[OPTIONS], got[OPTIONS];
    count_letters(sf_span_of(sample->gold[0]), gold);
    *out = (sf_score){.parsed = sf_answer_last(text, &strict) && is_a_choice(strict)};
    count_letters(strict, got);
    out->strict = out->parsed && memcmp(gold, got, sizeof gold) == 0;

    sf_text upper = {0}; /* capitals by Unicode: one letter with a ring becomes an A and the ring */
    sf_answer_first(text, false, &reference);
    sf_add_upper(&upper, reference);
    if (upper.failed) {
        sf_text_free(&upper);
        return sf_fail(SF_NO_MEMORY, "no memory to score an answer");
    }
    memset(got, 0, sizeof got);
    for (const char *c = upper.data; *c; c++)
        if (*c >= 'A' && *c < 'A' + OPTIONS) got[*c - 'A']++;
    out->reference = memcmp(gold, got, sizeof gold) == 0;
    sf_text_free(&upper);
    return SF_OK;
}
