/* RULER's common word extraction: the ten words that occur most often in a numbered list, after a solved example. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/random.h"
#include "tasks/ruler.h"
#include "tasks/score.h"
#include "tasks/words.h"

enum { MOST_COMMON = 50, SHORT = 4096 /* tokens: below, words are repeated less */ };

struct params {
    int common, common_repeats, rare_repeats, words;
    sf_ruler_params ruler;
};

/* A list to be counted: words in the order they are drawn, the common ones first. */
typedef struct list {
    int common, common_repeats, rare_repeats;
    const int *word;
} list;

typedef struct ruler_cwe {
    const struct params *p;
    sf_random base;
    list asked;
    int *word; /* [sf_word_count()] a permutation */
    sf_ruler_words words;
} ruler_cwe;

static const char task_line[] =
    "The following is a numbered list of words. Some of the words occur more often than the others; remember those.";

static sf_status add_list(const list *l, int rare, sf_random r, sf_text *out)
{
    int rows = l->common * l->common_repeats + rare * l->rare_repeats, n = 0;
    int *row = malloc((size_t)rows * sizeof *row);
    if (!row) return sf_fail(SF_NO_MEMORY, "ruler_cwe: no memory for %d words", rows);
    for (int i = 0; i < l->common + rare; i++)
        for (int k = 0; k < (i < l->common ? l->common_repeats : l->rare_repeats); k++) row[n++] = l->word[i];
    sf_random_shuffle(&r, row, rows);
    for (int i = 0; i < rows; i++) {
        if (i) sf_text_char(out, ' ');
        sf_text_int(out, i + 1);
        sf_text_add(out, ". ");
        sf_text_add(out, sf_word(row[i]));
    }
    free(row);
    return SF_OK;
}

static void add_question(const list *l, sf_text *out)
{
    sf_text_format(out, "Question: Which %d words occur most often in the list above?", l->common);
}

/* What stands before the words of an answer. */
static void add_prefix(const ruler_cwe *c, sf_text *out)
{
    if (c->words.answer) {
        sf_text_add(out, c->words.answer);
        return;
    }
    sf_text_add(out, "Answer:");
    if (c->p->ruler.answer_prefix) sf_text_format(out, " The %d words that occur most often are:", c->asked.common);
}

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    const ruler_cwe *c = self;
    if (!c->words.prompt) add_question(&c->asked, question);
    return add_list(&c->asked, units, sf_random_fork(&c->base, 2), context);
}

static void add_answer(const list *l, sf_text *out)
{
    for (int i = 0; i < l->common; i++) sf_text_format(out, " %d. %s", i + 1, sf_word(l->word[i]));
}

/* RULER's: the template around the example's list, its answer, and the template once more. */
static sf_status add_example(const ruler_cwe *c, const list *l, int rare, sf_text *out)
{
    sf_text words = {0};
    sf_status status = add_list(l, rare, sf_random_fork(&c->base, 3), &words);
    if (status == SF_OK) sf_ruler_format(out, c->words.prompt, words.data ? words.data : "", "");
    out->failed |= words.failed;
    sf_text_free(&words);
    SF_TRY(status);
    add_prefix(c, out);
    add_answer(l, out);
    sf_text_format(out, "\n%s", c->words.prompt);
    return SF_OK;
}

/* A list of its own with the answer to it; then the line that opens the task, or RULER's template. */
static sf_status add_introduction(const ruler_cwe *c, bool is_short, sf_text *out)
{
    /* Its words are the last of the permutation: none of them is asked for afterwards. */
    int rare = is_short ? 10 : 30;
    list l = {c->asked.common, is_short ? 3 : 10, is_short ? 1 : 3, c->word + sf_word_count() - c->asked.common - rare};
    if (c->words.prompt) return add_example(c, &l, rare, out);
    sf_text_format(out, "%s\n\n", task_line);
    SF_TRY(add_list(&l, rare, sf_random_fork(&c->base, 3), out));
    sf_text_add(out, "\n\n");
    add_question(&l, out);
    sf_text_char(out, '\n');
    add_prefix(c, out);
    add_answer(&l, out);
    sf_text_format(out, "\n\n%s", task_line);
    return SF_OK;
}

static sf_status read_words(ruler_cwe *c, const sf_request *request)
{
    char common[12];
    SF_TRY(sf_ruler_read("ruler_cwe", &c->p->ruler, &request->prompting, "common_words_extraction", NULL, NULL, &c->words));
    if (!c->words.prompt) return SF_OK;
    snprintf(common, sizeof common, "%d", c->p->common);
    if (!strstr(c->words.prompt, "{num_cw}") && !strstr(c->words.prompt, common))
        return sf_fail(SF_BAD_INPUT, "ruler_cwe: RULER's words do not ask for %s words; leave out common", common);
    SF_TRY(sf_ruler_replace(&c->words, "{num_cw}", common));
    SF_TRY(sf_ruler_replace(&c->words, "{query}", ""));
    return sf_ruler_filled("ruler_cwe", &c->words);
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    bool is_short = request->max_tokens < SHORT;
    int common_repeats = p->common_repeats ? p->common_repeats : is_short ? 6 : 30;
    int rare_repeats = p->rare_repeats ? p->rare_repeats : is_short ? 1 : 3;
    if (common_repeats <= rare_repeats)
        return sf_fail(SF_BAD_INPUT, "ruler_cwe: expected common_repeats above rare_repeats, found %d and %d",
                       common_repeats, rare_repeats);
    int all = sf_word_count(), first = p->words < all ? p->words : all;
    ruler_cwe c = {
        .p = p,
        .base = sf_random_stream("ruler_cwe", request->seed, request->index),
        .word = malloc((size_t)all * sizeof *c.word),
    };
    if (!c.word) return sf_fail(SF_NO_MEMORY, "ruler_cwe: no memory for %d words", all);
    c.asked = (list){p->common, common_repeats, rare_repeats, c.word};
    sf_random r = sf_random_fork(&c.base, 1);
    for (int i = 0; i < all; i++) c.word[i] = i;
    sf_random_shuffle(&r, c.word, first);
    sf_random_shuffle(&r, c.word + first, all - first);

    sf_text introduction = {0}, closing = {0}, prefix = {0};
    sf_status status = read_words(&c, request);
    if (status == SF_OK) status = add_introduction(&c, is_short, &introduction);
    sf_text_format(&closing, "Answer with the %d words alone, as a numbered list.", p->common);
    if (p->ruler.answer_prefix) add_prefix(&c, &prefix);
    if (status == SF_OK && (introduction.failed || closing.failed || prefix.failed))
        status = sf_fail(SF_NO_MEMORY, "ruler_cwe: no memory");
    const sf_prompt prompt = {
        .task = "ruler_cwe",
        .introduction = introduction.data,
        .whole = c.words.prompt ? introduction.data : NULL,
        .closing = closing.data,
        .plain = true,
        .answer_prefix = prefix.data,
        .place = SF_QUESTION_AFTER,
    };
    const sf_content content = {
        .self = &c, .unit = "rare words", .least = 1, .most = all - 2 * p->common - 30, .write = write};
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    for (int i = 0; i < p->common && status == SF_OK; i++) status = sf_sample_gold(out, sf_word(c.word[i]));
    if (status == SF_OK) status = sf_ruler_answer(out, NULL);
    if (status != SF_OK) sf_sample_free(out);
    sf_text_free(&introduction);
    sf_text_free(&closing);
    sf_text_free(&prefix);
    sf_ruler_free(&c.words);
    free(c.word);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(common), .type = SF_INT, .low = 1, .high = MOST_COMMON, .initial = 10, .doc = "words to find"},
    {FIELD(common_repeats), .type = SF_INT, .low = 0, .high = 1000, .initial = 0,
     .doc = "times each of them occurs; 0: 30, below 4096 tokens 6"},
    {FIELD(rare_repeats), .type = SF_INT, .low = 0, .high = 100, .initial = 0,
     .doc = "times every other word occurs; 0: 3, below 4096 tokens 1"},
    {FIELD(words), .type = SF_INT, .low = 200, .high = 30000, .initial = 9000,
     .doc =
         "words are drawn from this many of the most common English ones, and from rarer ones when these are used up"},
    SF_RULER_PARAMS(struct params),
    {0},
};

const sf_task sf_ruler_cwe = {
    .abi = SF_TASK_ABI,
    .name = "ruler_cwe",
    .summary = "the words that occur most often in a long list",
    .source = SF_RULER_SOURCE,
    .metric = "string match, all",
    .version = 2,
    .output = 120,
    .high_scope = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_match_all,
};
