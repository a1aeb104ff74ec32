/* ROUGE-L of the Python package `rouge` 1.0.1 (Rouge().get_scores(…)["rouge-l"]["f"]), which LongBench takes. It is not the
 * ROUGE-L of Lin 2004: sentences end at full stops only, and what counts are different words, each once.
 *
 * The package walks back through a table of two sentences by recursion, so that Python gives up on two that have about a
 * thousand words together, and LongBench's code then takes 0; here they are scored. */
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"

/* A text as numbered words. */
typedef struct sentences {
    int *word;  /* [words] */
    int *end;   /* [sentences] of each, in `word` */
    int words, count;
} sentences;

/* What stands between full stops, if anything does; blanks alone are a sentence of one empty word. */
static bool next_sentence(sf_span *rest, sf_span *out)
{
    while (rest->bytes && *rest->at == '.') rest->at++, rest->bytes--;
    if (!rest->bytes) return false;
    const char *stop = memchr(rest->at, '.', rest->bytes);
    *out = (sf_span){rest->at, stop ? (size_t)(stop - rest->at) : rest->bytes};
    rest->at += out->bytes;
    rest->bytes -= out->bytes;
    return true;
}

static int number_of(const sf_list *vocabulary, sf_span word)
{
    int low = 0, high = vocabulary->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const char *item = vocabulary->item[middle];
        int order = strncmp(item, word.at, word.bytes);
        if (order == 0 && item[word.bytes]) order = 1;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void add_words(sf_list *vocabulary, sf_span text)
{
    sf_span word;
    while (sf_next_token(&text, &word)) sf_list_add(vocabulary, word.at, word.bytes);
}

/* Words by their place in the sorted vocabulary, of which the empty word is one. False: no memory. */
static bool read(sf_span text, const sf_list *vocabulary, sentences *out)
{
    out->word = malloc((text.bytes + 1) * sizeof *out->word); /* each takes a byte, or the blank of its sentence */
    out->end = malloc((text.bytes + 1) * sizeof *out->end);
    if (!out->word || !out->end) return false;
    for (sf_span sentence, word; next_sentence(&text, &sentence); out->end[out->count++] = out->words) {
        const int before = out->words;
        while (sf_next_token(&sentence, &word)) out->word[out->words++] = number_of(vocabulary, word);
        if (out->words == before) out->word[out->words++] = number_of(vocabulary, sf_span_of(""));
    }
    return true;
}

/* Marks the words of a longest common subsequence, the one that the package finds. False: no memory. */
static bool mark_common(const int *x, int n, const int *y, int m, bool *common)
{
    const size_t width = (size_t)m + 1;
    int *table = calloc(((size_t)n + 1) * width, sizeof *table);
    if (!table) return false;
#define AT(i, j) table[(size_t)(i) * width + (size_t)(j)]
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++)
            AT(i, j) = x[i - 1] == y[j - 1] ? AT(i - 1, j - 1) + 1 : AT(i - 1, j) > AT(i, j - 1) ? AT(i - 1, j) : AT(i, j - 1);
    for (int i = n, j = m; i && j;) {
        if (x[i - 1] == y[j - 1]) common[x[i - 1]] = true, i--, j--;
        else if (AT(i - 1, j) > AT(i, j - 1)) i--;
        else j--;
    }
#undef AT
    free(table);
    return true;
}

static int different(const int *word, int n, bool *seen, int vocabulary)
{
    int count = 0;
    memset(seen, 0, (size_t)vocabulary);
    for (int i = 0; i < n; i++) count += !seen[word[i]], seen[word[i]] = true;
    return count;
}

double sf_rouge_l(sf_span prediction, sf_span gold)
{
    sf_list vocabulary = {0};
    sentences p = {0}, g = {0};
    bool *common = NULL;
    double score = -1;
    sf_list_add(&vocabulary, "", 0);
    for (sf_span rest = prediction, s; next_sentence(&rest, &s);) add_words(&vocabulary, s);
    for (sf_span rest = gold, s; next_sentence(&rest, &s);) add_words(&vocabulary, s);
    sf_list_set(&vocabulary);
    bool whole = !vocabulary.failed && read(prediction, &vocabulary, &p) && read(gold, &vocabulary, &g) &&
                 (common = calloc((size_t)vocabulary.count + 1, sizeof *common));
    if (whole && (!p.count || !g.count)) {
        score = 0;
    } else if (whole) {
        const int hypothesis = different(p.word, p.words, common, vocabulary.count),
                  reference = different(g.word, g.words, common, vocabulary.count);
        memset(common, 0, (size_t)vocabulary.count);
        for (int i = 0; i < g.count && whole; i++)
            for (int j = 0; j < p.count && whole; j++) {
                const int from = i ? g.end[i - 1] : 0, at = j ? p.end[j - 1] : 0;
                whole = mark_common(g.word + from, g.end[i] - from, p.word + at, p.end[j] - at, common);
            }
        int both = 0;
        for (int i = 0; i < vocabulary.count; i++) both += common[i];
        const double recall = (double)both / reference, precision = (double)both / hypothesis;
        if (whole) score = 2.0 * ((precision * recall) / (precision + recall + 1e-8));
    }
    sf_list_free(&vocabulary);
    free(p.word);
    free(p.end);
    free(g.word);
    free(g.end);
    free(common);
    return score;
}
