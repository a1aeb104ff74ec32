/* InfiniteBench's metrics (OpenBMB/InfiniteBench, src/compute_scores.py at 88b3daa), but for the Chinese one. Where that code
 * ends with an exception (a decimal number where a whole one is asked for) the answer is wrong here. */
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/unicode.h"

/* A text with each of some bytes made a blank. */
static sf_text blanked(const char *text, const char *bytes)
{
    sf_text out = {0};
    const sf_span plain = sf_strip(sf_span_of(text));
    sf_text_bytes(&out, plain.at, plain.bytes);
    for (size_t i = 0; i < out.size; i++)
        if (strchr(bytes, out.data[i])) out.data[i] = ' ';
    return out;
}

/* Runs of blanks become one; other white space stays. */
static void single_blanks(sf_text *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->size; i++)
        if (t->data[i] != ' ' || !kept || t->data[kept - 1] != ' ') t->data[kept++] = t->data[i];
    t->size = kept;
    if (t->data) t->data[kept] = 0;
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }
static bool same(sf_span a, const char *b) { return a.bytes == strlen(b) && memcmp(a.at, b, a.bytes) == 0; }

/* What stands one character behind the first of these phrases that occurs, in their order; NULL: none does. *over: one does,
 * and nothing stands behind it. */
static const char *behind(const char *text, const char *const *phrase, bool *over)
{
    *over = false;
    for (; *phrase; phrase++) {
        const char *at = strstr(text, *phrase);
        if (!at) continue;
        at += strlen(*phrase);
        int n = 0;
        if ((*over = !*at)) return NULL;
        sf_code_point(at, at + strnlen(at, 4), &n);
        return at + n;
    }
    return NULL;
}

/* ---- numbers --------------------------------------------------------------------------------------------------------- */

/* The next run of ASCII digits without the zeros it begins with (one of zeros: empty); false: there is none. */
static bool next_digits(const char **at, sf_span *out, bool zeros)
{
    *at += strcspn(*at, "0123456789");
    *out = (sf_span){*at, strspn(*at, "0123456789")};
    *at += out->bytes;
    if (!out->bytes) return false;
    while (!zeros && out->bytes && *out->at == '0') out->at++, out->bytes--;
    return true;
}

static double first_number(const char *text, const sf_sample *sample)
{
    sf_span number;
    return next_digits(&text, &number, true) && same(number, sample->gold[0]);
}

/* A whole number as Python's int() reads it, in digits of any script, as ASCII without leading zeros. False: it is none. */
static bool whole_number(sf_span word, sf_text *out)
{
    const char *at = word.at, *end = sf_span_end(word);
    const bool minus = word.bytes && *at == '-';
    if (word.bytes && (*at == '-' || *at == '+')) at++;
    bool digit = false, zero = true;
    while (at < end) {
        int n;
        const int d = sf_digit(sf_code_point(at, end, &n));
        if (d < 0 && !(*at == '_' && digit && at + 1 < end)) return false;
        digit = d >= 0;
        if (digit && (d || !zero)) {
            if (zero && minus) sf_text_char(out, '-');
            sf_text_char(out, (char)('0' + d));
            zero = false;
        }
        at += n;
    }
    if (digit && zero) sf_text_char(out, '0');
    return digit;
}

static double last_number(const char *text, const sf_sample *sample)
{
    sf_text plain = blanked(text, "\n.`'\":"), number = {0};
    sf_span rest = {plain.data, plain.size}, word, last = {0};
    while (sf_next_token(&rest, &word)) last = word;
    double score = last.bytes && whole_number(last, &number) && strcmp(number.data, sample->gold[0]) == 0;
    if (plain.failed || number.failed) score = -1;
    sf_text_free(&plain);
    sf_text_free(&number);
    return score;
}

/* The first number, a decimal one too, in digits of any script. */
static double number_found(const char *text, const sf_sample *sample)
{
    const char *at = text, *end = text + strlen(text), *gold = sample->gold[0];
    const bool decimal = strpbrk(gold, ".eE") != NULL;
    sf_text number = {0};
    int n, point = 0;
    while (at < end && sf_digit(sf_code_point(at, end, &n)) < 0) at += n;
    for (int d; at < end; at += n) {
        d = sf_digit(sf_code_point(at, end, &n));
        if (d < 0 && !(*at == '.' && !point++ && at + 1 < end)) break;
        if (d < 0) {
            int m;
            if (sf_digit(sf_code_point(at + 1, end, &m)) < 0) { /* a full stop */
                point = 0;
                break;
            }
        }
        sf_text_char(&number, d < 0 ? '.' : (char)('0' + d));
    }
    double score = 0;
    sf_text whole = {0};
    const bool fraction = number.data && strchr(number.data, '.');
    if (number.data && decimal) score = strtod(number.data, NULL) == strtod(gold, NULL);
    else if (number.data && !fraction) score = whole_number((sf_span){number.data, number.size}, &whole) && strcmp(whole.data, gold) == 0;
    if (number.failed || whole.failed) score = -1;
    sf_text_free(&number);
    sf_text_free(&whole);
    return score;
}

/* The share of the values that are right, up to the first that is not. */
static double values(const char *text, const sf_sample *sample)
{
    sf_span rest = sf_span_of(sample->gold[0]), value, found;
    int right = 0, all = 0;
    for (bool good = true; sf_next_token(&rest, &value); all++) {
        if (value.bytes == 1 && *value.at == '0') value.bytes = 0;
        good = good && next_digits(&text, &found, false) && found.bytes == value.bytes && memcmp(found.at, value.at, value.bytes) == 0;
        right += good;
    }
    return (double)right / all;
}

/* ---- words ----------------------------------------------------------------------------------------------------------- */

static double among_words(const char *text, const sf_sample *sample, bool capitals)
{
    sf_text plain = blanked(text, "\n:\"'.,?!{}"), upper = {0};
    sf_span rest = {plain.data, plain.size}, word;
    double score = 0;
    while (score == 0 && sf_next_token(&rest, &word)) {
        sf_text_clear(&upper);
        if (capitals) sf_add_upper(&upper, word);
        score = same(capitals ? (sf_span){upper.data, upper.size} : word, sample->gold[0]);
    }
    if (plain.failed || upper.failed) score = -1;
    sf_text_free(&plain);
    sf_text_free(&upper);
    return score;
}

static double value_of_key(const char *text, const sf_sample *sample) { return among_words(text, sample, false); }
static double character(const char *text, const sf_sample *sample) { return among_words(text, sample, true); }

static bool is_gold(sf_span text, const sf_sample *sample)
{
    for (int i = 0; i < sample->gold_count; i++)
        if (same(text, sample->gold[i])) return true;
    return false;
}

static double option(const char *text, const sf_sample *sample)
{
    static const char *const phrases[] = {"answer is:", "answer:", "answer is", "option is", NULL};
    const sf_span answer = sf_strip(sf_span_of(text));
    if (!answer.bytes) return 0;
    if (strchr("ABCD", *answer.at)) return is_gold((sf_span){answer.at, 1}, sample);
    if (is_gold(answer, sample)) return 1;
    sf_text plain = blanked(text, "\n\"'.,?!{}");
    if (plain.failed) return -1;
    single_blanks(&plain);
    bool over;
    double score = 0;
    const char *rest = behind(plain.data, phrases, &over);
    for (int i = 0; rest && i < sample->gold_count; i++)
        if (begins(rest, sample->gold[i])) score = 1;
    sf_span words = {plain.data, plain.size}, word;
    while (!rest && !over && sf_next_token(&words, &word))
        if (memmem("ABCD", 4, word.at, word.bytes)) { /* AB and BCD are taken for letters, too */
            score = is_gold(word, sample);
            break;
        }
    sf_text_free(&plain);
    return score;
}

static void blank_word(sf_text *t, const char *word)
{
    const size_t n = strlen(word);
    for (char *at = t->data; at && (at = strstr(at, word));) {
        *at = ' ';
        memmove(at + 1, at + n, strlen(at + n) + 1);
        t->size -= n - 1;
    }
}

/* gold: the function's name, the letter. */
static double function(const char *text, const sf_sample *sample)
{
    static const char *const phrases[] = {"answer is:", "is:", "answer:", "correct option is:", NULL};
    const char *letter = sample->gold[1];
    const sf_span answer = sf_strip(sf_span_of(text));
    if (answer.bytes > 1 && *answer.at == *letter && (answer.at[1] == '.' || answer.at[1] == ':')) return 1;
    sf_text plain = blanked(text, "\n`'\"-*");
    if (plain.failed || !plain.data) return plain.failed ? -1 : 0;
    blank_word(&plain, "Option");
    blank_word(&plain, "option");
    single_blanks(&plain);
    bool over;
    const char *rest = behind(plain.data, phrases, &over);
    const double score = rest && (begins(rest, letter) || begins(rest, sample->gold[0]));
    sf_text_free(&plain);
    return score;
}

static double summary(const char *text, const sf_sample *sample)
{
    return sf_rouge_lsum(sf_span_of(text), sf_span_of(sample->gold[0]));
}

/* ---- hooks of tasks -------------------------------------------------------------------------------------------------- */

static sf_status score(double of, const char *text, sf_score *out)
{
    const bool parsed = sf_strip(sf_span_of(text)).bytes > 0;
    *out = (sf_score){parsed ? of : 0, parsed ? of : 0, parsed};
    return of < 0 ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}

#define HOOK(name, of)                                                                                                 \
    SF_SCORE_INFINITEBENCH(name)                                                                                       \
    {                                                                                                                  \
        (void)params;                                                                                                  \
        return score(of(text, sample), text, out);                                                                     \
    }
HOOK(passkey, first_number)
HOOK(number_string, first_number)
HOOK(kv_retrieval, value_of_key)
HOOK(longbook_sum_eng, summary)
HOOK(longbook_choice_eng, option)
HOOK(longdialogue_qa_eng, character)
HOOK(math_find, number_found)
HOOK(math_calc, values)
HOOK(code_run, last_number)
HOOK(code_debug, function)

SF_SCORE_INFINITEBENCH(longbook_qa_eng) { return sf_score_longbench_f1(params, sample, text, out); }
