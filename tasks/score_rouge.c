/* ROUGE-Lsum of rouge_score, and ROUGE-L of the Python package `rouge` 1.0.1 (Rouge().get_scores(…)["rouge-l"]["f"]), which LongBench takes. It is not the
 * ROUGE-L of Lin 2004: sentences end at full stops only, and what counts are different words, each once.
 *
 * The package walks back through a table of two sentences by recursion, so that Python gives up on two that have about a
 * thousand words together, and LongBench's code then takes 0; here they are scored. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/unicode.h"

/* A text as numbered words. */
typedef struct sentences {
    int *word;  /* [words] */
    int *end;   /* [sentences] of each, in `word` */
    int words, count;
} sentences;

static void free_sentences(sentences *s)
{
    free(s->word);
    free(s->end);
}

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

/* Marks where in x a longest common subsequence with y stands: the one that is found from the end backwards, along x first where both
 * ways are as good if `x_first`, else along y. False: no memory. */
static bool mark_common(const int *x, int n, const int *y, int m, bool x_first, bool *common)
{
    const size_t width = (size_t)m + 1;
    int *table = calloc(((size_t)n + 1) * width, sizeof *table);
    if (!table) return false;
#define AT(i, j) table[(size_t)(i) * width + (size_t)(j)]
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++)
            AT(i, j) = x[i - 1] == y[j - 1] ? AT(i - 1, j - 1) + 1 : AT(i - 1, j) > AT(i, j - 1) ? AT(i - 1, j) : AT(i, j - 1);
    for (int i = n, j = m; i && j;) {
        if (x[i - 1] == y[j - 1]) common[i - 1] = true, i--, j--;
        else if (x_first ? AT(i - 1, j) >= AT(i, j - 1) : AT(i - 1, j) > AT(i, j - 1)) i--;
        else j--;
    }
#undef AT
    free(table);
    return true;
}

/* Marks what any sentence of p has in common with sentence i of g. */
static bool mark_sentence(const sentences *g, int i, const sentences *p, bool x_first, bool *common)
{
    const int from = i ? g->end[i - 1] : 0;
    memset(common, 0, (size_t)g->words);
    for (int j = 0; j < p->count; j++) {
        const int at = j ? p->end[j - 1] : 0;
        if (!mark_common(g->word + from, g->end[i] - from, p->word + at, p->end[j] - at, x_first, common + from)) return false;
    }
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
    bool *common = NULL, *seen = NULL;
    double score = -1;
    sf_list_add(&vocabulary, "", 0);
    for (sf_span rest = prediction, s; next_sentence(&rest, &s);) add_words(&vocabulary, s);
    for (sf_span rest = gold, s; next_sentence(&rest, &s);) add_words(&vocabulary, s);
    sf_list_set(&vocabulary);
    bool whole = !vocabulary.failed && read(prediction, &vocabulary, &p) && read(gold, &vocabulary, &g) &&
                 (common = calloc((size_t)g.words + 1, sizeof *common)) && (seen = calloc((size_t)vocabulary.count + 1, sizeof *seen));
    if (whole && (!p.count || !g.count)) {
        score = 0;
    } else if (whole) {
        const int hypothesis = different(p.word, p.words, seen, vocabulary.count),
                  reference = different(g.word, g.words, seen, vocabulary.count);
        memset(seen, 0, (size_t)vocabulary.count);
        int both = 0;
        for (int i = 0; i < g.count && whole; i++) {
            whole = mark_sentence(&g, i, &p, false, common);
            for (int k = 0; k < g.words; k++)
                if (common[k]) both += !seen[g.word[k]], seen[g.word[k]] = true;
        }
        const double recall = (double)both / reference, precision = (double)both / hypothesis;
        if (whole) score = 2.0 * ((precision * recall) / (precision + recall + 1e-8));
    }
    sf_list_free(&vocabulary);
    free_sentences(&p);
    free_sentences(&g);
    free(common);
    free(seen);
    return score;
}

/* ---- rouge_score ------------------------------------------------------------------------------------------------------- */

/* The next run of ASCII letters and digits of a line in lower case. */
static bool next_letters(sf_span *rest, sf_span *out)
{
    const char *at = rest->at, *end = sf_span_end(*rest);
    while (at < end && !isalnum((unsigned char)*at)) at++;
    out->at = at;
    while (at < end && isalnum((unsigned char)*at)) at++;
    out->bytes = (size_t)(at - out->at);
    *rest = (sf_span){at, (size_t)(end - at)};
    return out->bytes > 0;
}

/* A text in lower case, its lines as sentences, those without a word among them. False: no memory. */
static bool read_lines(const sf_text *text, const sf_list *vocabulary, sentences *out)
{
    out->word = malloc((text->size + 1) * sizeof *out->word);
    out->end = malloc((text->size + 1) * sizeof *out->end);
    if (!out->word || !out->end) return false;
    for (sf_span rest = {text->data, text->size}, line, word; rest.bytes; out->end[out->count++] = out->words) {
        const char *end = memchr(rest.at, '\n', rest.bytes);
        line = (sf_span){rest.at, end ? (size_t)(end - rest.at) : rest.bytes};
        rest.at += line.bytes + (end != NULL), rest.bytes -= line.bytes + (end != NULL);
        while (next_letters(&line, &word)) out->word[out->words++] = number_of(vocabulary, word);
    }
    return true;
}

double sf_rouge_lsum(sf_span prediction, sf_span gold)
{
    sf_text text[2] = {0};
    sf_list vocabulary = {0};
    sentences p = {0}, g = {0};
    bool *common = NULL;
    int *left[2] = {NULL, NULL}; /* of each word, in prediction and gold, not counted yet */
    double score = -1;
    sf_add_lower(&text[0], prediction);
    sf_add_lower(&text[1], gold);
    for (int i = 0; i < 2; i++)
        for (sf_span rest = {text[i].data, text[i].size}, word; next_letters(&rest, &word);) sf_list_add(&vocabulary, word.at, word.bytes);
    sf_list_set(&vocabulary);
    for (int i = 0; i < 2; i++) left[i] = calloc((size_t)vocabulary.count + 1, sizeof *left[i]);
    bool whole = !text[0].failed && !text[1].failed && !vocabulary.failed && left[0] && left[1] && read_lines(&text[0], &vocabulary, &p) &&
                 read_lines(&text[1], &vocabulary, &g) && (common = calloc((size_t)g.words + 1, sizeof *common));
    int both = 0;
    for (int k = 0; whole && k < p.words; k++) left[0][p.word[k]]++;
    for (int k = 0; whole && k < g.words; k++) left[1][g.word[k]]++;
    for (int i = 0; i < g.count && whole; i++) {
        whole = mark_sentence(&g, i, &p, true, common);
        for (int k = 0; k < g.words; k++)
            if (common[k] && left[0][g.word[k]] > 0 && left[1][g.word[k]] > 0) both++, left[0][g.word[k]]--, left[1][g.word[k]]--;
    }
    if (whole) {
        const double recall = g.words ? (double)both / g.words : 0, precision = p.words ? (double)both / p.words : 0;
        score = precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
    }
    for (int i = 0; i < 2; i++) sf_text_free(&text[i]), free(left[i]);
    sf_list_free(&vocabulary);
    free_sentences(&p);
    free_sentences(&g);
    free(common);
    return score;
}
