/* CWE of the study (common word extraction): the words of a long numbered list that occur more often than the rest. */
#include <stdlib.h>

#include "tasks/prompt.h"
#include "tasks/random.h"
#include "tasks/score.h"
#include "tasks/words.h"

enum { MOST_COMMON = 100 };

struct params {
    int common, common_repeats, rare_repeats, words;
};

typedef struct cwe {
    const struct params *p;
    sf_random base;
    int *word; /* [sf_word_count()] the list in the order it is drawn: common words first, then rare ones */
    int *row;  /* [rows of capacity] the numbered list */
    int rows, capacity;
} cwe;

/* Words come from the `words` most common ones; when a long context uses them up, from the rest. */
static void draw(cwe *c)
{
    sf_random r = sf_random_fork(&c->base, 1);
    int all = sf_word_count(), first = c->p->words < all ? c->p->words : all;
    for (int i = 0; i < all; i++) c->word[i] = i;
    sf_random_shuffle(&r, c->word, first);
    sf_random_shuffle(&r, c->word + first, all - first);
}

/* The common words and `units` rare ones, each as often as it must be, shuffled. */
static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    cwe *c = self;
    const struct params *p = c->p;
    int rows = p->common * p->common_repeats + units * p->rare_repeats;
    if (rows > c->capacity) {
        int *grown = realloc(c->row, (size_t)rows * sizeof *grown);
        if (!grown) return sf_fail(SF_NO_MEMORY, "cwe: no memory for %d words", rows);
        c->row = grown;
        c->capacity = rows;
    }
    int n = 0;
    for (int i = 0; i < p->common + units; i++)
        for (int k = 0; k < (i < p->common ? p->common_repeats : p->rare_repeats); k++) c->row[n++] = c->word[i];
    c->rows = rows;
    sf_random r = sf_random_fork(&c->base, 2);
    sf_random_shuffle(&r, c->row, rows);

    for (int i = 0; i < rows; i++) {
        if (i) sf_text_char(context, '\n');
        sf_text_int(context, i + 1);
        sf_text_add(context, ". ");
        sf_text_add(context, sf_word(c->row[i]));
    }
    if (p->common == 1)
        sf_text_format(question, "One of the words occurs %d times in the list. ", p->common_repeats);
    else
        sf_text_format(question, "%d of the words occur %d times each in the list. ", p->common, p->common_repeats);
    if (p->rare_repeats == 1)
        sf_text_add(question, "Every other word occurs only once. ");
    else
        sf_text_format(question, "Every other word occurs only %d times. ", p->rare_repeats);
    if (p->common == 1)
        sf_text_format(question, "Which is the word that occurs %d times?", p->common_repeats);
    else
        sf_text_format(question, "Which are the %d words that occur %d times?", p->common, p->common_repeats);
    return SF_OK;
}

static bool is_common(const cwe *c, int word)
{
    for (int i = 0; i < c->p->common; i++)
        if (c->word[i] == word) return true;
    return false;
}

/* The common words in the order in which the list completes them. Any order scores the same, but a model that reads from
 * left to right, and learns from these answers, knows a word to be common only when its last one has gone by. */
static sf_status finish(const cwe *c, const sf_request *request, sf_sample *out)
{
    sf_text answer = {0}, why = {0};
    sf_status status = SF_OK;
    for (int row = 0, found = 0; row < c->rows && status == SF_OK; row++) {
        if (!is_common(c, c->row[row])) continue;
        int later = row + 1;
        while (later < c->rows && c->row[later] != c->row[row]) later++;
        if (later < c->rows) continue;
        sf_text_format(&answer, "%s%d. %s", found ? "\n" : "", found + 1, sf_word(c->row[row]));
        status = sf_sample_gold(out, sf_word(c->row[row]));
        found++;
    }
    sf_text_add(&why, "I went through the list and kept the words that come up again and again.");
    if (status == SF_OK && (answer.failed || why.failed))
        status = sf_fail(SF_NO_MEMORY, "cwe: no memory for an answer");
    if (status == SF_OK) status = sf_sample_answer(out, request, why.data, answer.data);
    sf_text_free(&answer);
    sf_text_free(&why);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    if (p->common_repeats <= p->rare_repeats)
        return sf_fail(SF_BAD_INPUT, "cwe: expected common_repeats above rare_repeats, found %d and %d",
                       p->common_repeats, p->rare_repeats);
    cwe c = {
        .p = p,
        .base = sf_random_stream("cwe", request->seed, request->index),
        .word = malloc((size_t)sf_word_count() * sizeof *c.word),
    };
    if (!c.word) return sf_fail(SF_NO_MEMORY, "cwe: no memory for %d words", sf_word_count());
    draw(&c);
    sf_text format = {0};
    sf_text_format(&format, p->common == 1 ? "1. <word>" : "1. <word>\n2. <word>\nand so on up to %d", p->common);
    const sf_prompt prompt = {
        .task = "cwe",
        .introduction =
            "The context below is a numbered list of words in random order. Most words in it are rare, a few are "
            "frequent. Find the frequent ones by reading the list, not by writing a program.",
        .format = format.data,
        .rules = "- Write each of the frequent words once, in any order, one on a line with a number in front.\n",
    };
    const sf_content content = {
        .self = &c,
        .unit = "rare words",
        .least = 1,
        .most = sf_word_count() - p->common,
        .write = write,
    };
    sf_status status = format.failed ? sf_fail(SF_NO_MEMORY, "cwe: no memory") : SF_OK;
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    if (status == SF_OK) status = finish(&c, request, out);
    if (status != SF_OK) sf_sample_free(out);
    sf_text_free(&format);
    free(c.word);
    free(c.row);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(common), .type = SF_INT, .low = 1, .high = MOST_COMMON, .initial = 10, .doc = "words to find"},
    {FIELD(common_repeats), .type = SF_INT, .low = 2, .high = 1000, .initial = 30, .doc = "times each of them occurs"},
    {FIELD(rare_repeats), .type = SF_INT, .low = 1, .high = 100, .initial = 3, .doc = "times every other word occurs"},
    {FIELD(words), .type = SF_INT, .low = 200, .high = 30000, .initial = 9000,
     .doc =
         "words are drawn from this many of the most common English ones, and from rarer ones when these are used up"},
    {0},
};

const sf_task sf_cwe = {
    .abi = SF_TASK_ABI,
    .name = "cwe",
    .summary = "the words that occur most often in a long list",
    .source = "Nawrot et al. 2025, arXiv 2504.17768, after RULER, arXiv 2404.06654",
    .metric = "IoU",
    .version = 2,
    .output = 1024,
    .high_scope = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_words,
};
