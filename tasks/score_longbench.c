/* LongBench's metrics (THUDM/LongBench, LongBench/metrics.py and eval.py at 2e00731), English and code. The best of the
 * gold answers counts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/sequence.h"
#include "tasks/unicode.h"

/* A metric of one answer against one gold answer; −1: no memory. */
typedef double metric(sf_span prediction, const char *gold, const sf_sample *sample);

static sf_span without_newlines(sf_span text)
{
    while (text.bytes && *text.at == '\n') text.at++, text.bytes--;
    return text;
}

static sf_span first_line(sf_span text)
{
    text = without_newlines(text);
    const char *end = memchr(text.at, '\n', text.bytes);
    if (end) text.bytes = (size_t)(end - text.at);
    return text;
}

static sf_status best(const sf_sample *sample, const char *text, bool line, metric *of, sf_score *out)
{
    const sf_span prediction = line ? first_line(sf_span_of(text)) : sf_span_of(text);
    *out = (sf_score){.parsed = sf_strip(sf_span_of(text)).bytes > 0};
    for (int i = 0; i < sample->gold_count && out->parsed; i++) {
        const double score = of(prediction, sample->gold[i], sample);
        if (score < 0) return sf_fail(SF_NO_MEMORY, "no memory to score an answer");
        out->strict = out->reference = fmax(out->strict, score);
    }
    return SF_OK;
}

/* ---- question answering, summaries ----------------------------------------------------------------------------------- */

/* SQuAD's F1, but two texts without a word have 0. */
static double f1(sf_span prediction, const char *gold, const sf_sample *sample)
{
    (void)sample;
    char *text = strndup(prediction.at ? prediction.at : "", prediction.bytes), *plain = text ? sf_squad_normalise(text) : NULL;
    double score = !plain ? -1 : *plain ? sf_squad_f1(text, gold) : 0;
    free(plain);
    free(text);
    return score;
}

static double rouge(sf_span prediction, const char *gold, const sf_sample *sample)
{
    (void)sample;
    return sf_rouge_l(prediction, sf_span_of(gold));
}

/* ---- numbers --------------------------------------------------------------------------------------------------------- */

/* The next run of digits, of whatever script. */
static bool next_number(sf_span *rest, sf_span *out)
{
    const char *at = rest->at, *end = sf_span_end(*rest);
    int n;
    while (at < end && sf_digit(sf_code_point(at, end, &n)) < 0) at += n;
    out->at = at;
    while (at < end && sf_digit(sf_code_point(at, end, &n)) >= 0) at += n;
    out->bytes = (size_t)(at - out->at);
    *rest = (sf_span){at, (size_t)(end - at)};
    return out->bytes > 0;
}

/* The share of the numbers written that are the right one. */
static double share_of_numbers(sf_span prediction, sf_span gold)
{
    int numbers = 0, right = 0;
    for (sf_span number; prediction.bytes && next_number(&prediction, &number); numbers++)
        right += number.bytes == gold.bytes && memcmp(number.at, gold.at, gold.bytes) == 0;
    return numbers ? (double)right / numbers : 0;
}

static double number(sf_span prediction, const char *gold, const sf_sample *sample)
{
    (void)sample;
    return share_of_numbers(prediction, sf_span_of(gold));
}

static double paragraph(sf_span prediction, const char *gold, const sf_sample *sample)
{
    (void)sample;
    sf_span number;
    if (!sf_longbench_paragraph(gold, &number)) return 0;
    return share_of_numbers(prediction, number);
}

bool sf_longbench_paragraph(const char *gold, sf_span *number)
{
    static const char word[] = "Paragraph ";
    for (const char *at = gold; (at = strstr(at, word)); at++) {
        sf_span rest = sf_span_of(at + strlen(word));
        int n;
        if (rest.bytes && sf_digit(sf_code_point(rest.at, sf_span_end(rest), &n)) >= 0) return next_number(&rest, number);
    }
    return false;
}

/* ---- code ------------------------------------------------------------------------------------------------------------ */

/* The likeness of the first line that holds no `, # or //, in per cent as fuzzywuzzy's ratio rounds it. */
static double code(sf_span prediction, const char *gold, const sf_sample *sample)
{
    (void)sample;
    sf_span rest = without_newlines(prediction), line = {"", 0};
    for (bool more = true; more;) {
        const char *end = memchr(rest.at, '\n', rest.bytes);
        sf_span now = {rest.at, end ? (size_t)(end - rest.at) : rest.bytes};
        if (!memchr(now.at, '`', now.bytes) && !memchr(now.at, '#', now.bytes) && !memmem(now.at, now.bytes, "//", 2)) {
            line = now;
            break;
        }
        more = end != NULL;
        if (more) rest = (sf_span){end + 1, rest.bytes - now.bytes - 1};
    }
    const sf_span right = sf_span_of(gold);
    if (line.bytes == right.bytes && memcmp(line.at, right.at, right.bytes) == 0) return 1;
    if (!line.bytes || !right.bytes) return 0;
    const double ratio = sf_sequence_ratio(line, right);
    return ratio < 0 ? -1 : rint(100 * ratio) / 100; /* halves to the even, as Python rounds */
}

/* ---- classes --------------------------------------------------------------------------------------------------------- */

/* One over the number of classes that the answer names, if the right one is among them. Of these, classes that are a part
 * of the right one's name are dropped; not one that stands right behind such a one in the list, since the official code
 * drops from the list that it walks through. `aside`: the classes, a line each. */
static double class_of(sf_span prediction, const char *gold, const sf_sample *sample)
{
    enum { MOST = 4096 };
    sf_span named[MOST];
    int n = 0;
    for (const char *at = sample->aside; at && *at && n < MOST;) {
        const sf_span name = {at, strcspn(at, "\n")};
        if (memmem(prediction.at, prediction.bytes, name.at, name.bytes)) named[n++] = name;
        at += name.bytes + (at[name.bytes] == '\n');
    }
    const sf_span right = sf_span_of(gold);
    for (int i = 0; i < n; i++) {
        const bool same = named[i].bytes == right.bytes && memcmp(named[i].at, right.at, right.bytes) == 0;
        if (same || !memmem(right.at, right.bytes, named[i].at, named[i].bytes)) continue;
        n--;
        memmove(&named[i], &named[i + 1], (size_t)(n - i) * sizeof *named);
    }
    for (int i = 0; i < n; i++)
        if (named[i].bytes == right.bytes && memcmp(named[i].at, right.at, right.bytes) == 0) return 1.0 / n;
    return 0;
}

/* ---- hooks of tasks ---------------------------------------------------------------------------------------------------- */

#define HOOK(name, line, of)                                                                                           \
    SF_SCORE_LONGBENCH(name)                                                                                           \
    {                                                                                                                  \
        (void)params;                                                                                                  \
        return best(sample, text, line, of, out);                                                                      \
    }
HOOK(f1, false, f1)
HOOK(f1_line, true, f1)
HOOK(rouge, false, rouge)
HOOK(rouge_line, true, rouge)
HOOK(class, true, class_of)
HOOK(count, false, number)
HOOK(retrieval, false, paragraph)
HOOK(code, false, code)
