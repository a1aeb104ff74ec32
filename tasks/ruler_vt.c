/* RULER's variable tracking: one chain of assignments in repeated noise, after a solved example. Within a chain every
 * variable is set before it is used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/haystack.h"
#include "tasks/random.h"
#include "tasks/ruler.h"
#include "tasks/score.h"
#include "tasks/unique.h"

enum { MOST_CHAINS = 16, MOST_HOPS = 16, MOST_NAME = 5, EXAMPLE_TOKENS = 500 /* of RULER's, at most */ };

struct params {
    int chains, hops;
    sf_ruler_params ruler;
};

typedef char name[MOST_NAME + 1];

/* A text to track variables in: the first chain holds the value that is asked for. */
typedef struct chains {
    int chains, hops;
    name variable[MOST_CHAINS][MOST_HOPS + 1]; /* [chains][hops + 1] */
    int value[MOST_CHAINS];                    /* [chains] all different */
} chains;

typedef struct ruler_vt {
    sf_random base;
    chains asked;
    sf_ruler_words words;
} ruler_vt;

static void draw(sf_random *r, int count, int hops, int letters, chains *out)
{
    sf_unique seen = {0};
    out->chains = count;
    out->hops = hops;
    for (int c = 0; c < count; c++)
        for (int h = 0; h <= hops; h++) {
            char *v = out->variable[c][h];
            do
                for (int i = 0; i < letters; i++) v[i] = (char)('A' + sf_random_below(r, 26));
            while (strstr(v, "VAR") || !sf_unique_add(&seen, v, (size_t)letters));
        }
    sf_random_pick(r, 89999, out->value, count);
    for (int c = 0; c < count; c++) out->value[c] += 10000;
    sf_unique_free(&seen);
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* The chains in `units` sentences of noise. */
static void add_text(const chains *k, sf_random r, int units, sf_text *out)
{
    int rows = (units + SF_NOISE_PERIOD - 1) / SF_NOISE_PERIOD, place[MOST_CHAINS][MOST_HOPS + 1],
        next[MOST_CHAINS] = {0};
    for (int c = 0; c < k->chains; c++) {
        for (int h = 0; h <= k->hops; h++) place[c][h] = (int)sf_random_below(&r, (uint32_t)rows + 1);
        qsort(place[c], (size_t)k->hops + 1, sizeof *place[c], by_value);
    }
    size_t begin = out->size;
    for (int row = 0, sentence = 0; row <= rows; row++) {
        for (int c = 0; c < k->chains; c++)
            for (int h = next[c]; h <= k->hops && place[c][h] == row; h = ++next[c]) {
                if (out->size > begin) sf_text_char(out, '\n');
                if (h == 0)
                    sf_text_format(out, "VAR %s = %d", k->variable[c][0], k->value[c]);
                else
                    sf_text_format(out, "VAR %s = VAR %s", k->variable[c][h], k->variable[c][h - 1]);
            }
        if (row == rows) break;
        if (out->size > begin) sf_text_char(out, '\n');
        sentence = sf_noise_line(sentence, units, out);
    }
}

/* RULER's: each chain goes into lines of its own among those that are there, none of them last; a copy's line ends with a space. */
static sf_status add_lines(const chains *k, sf_random r, int rows, const char *noise, sf_text *out)
{
    enum { NOISE = -1 };
    const int all = rows + k->chains * (k->hops + 1);
    int *line = malloc((size_t)all * sizeof *line), place[MOST_HOPS + 1], lines = rows; /* [all] chain × 100 + hop */
    if (!line) return sf_fail(SF_NO_MEMORY, "ruler_vt: no memory for %d lines", all);
    for (int i = 0; i < rows; i++) line[i] = NOISE;
    for (int c = 0; c < k->chains; c++) {
        sf_random_pick(&r, lines, place, k->hops + 1);
        qsort(place, (size_t)k->hops + 1, sizeof *place, by_value);
        for (int h = 0; h <= k->hops; h++) {
            memmove(line + place[h] + h + 1, line + place[h] + h, (size_t)(lines - place[h] - h) * sizeof *line);
            line[place[h] + h] = 100 * c + h;
            lines++;
        }
    }
    for (int i = 0; i < lines; i++) {
        const int c = line[i] / 100, h = line[i] % 100;
        if (i) sf_text_char(out, '\n');
        if (line[i] == NOISE) sf_text_add(out, noise);
        else if (h == 0) sf_text_format(out, "VAR %s = %d", k->variable[c][0], k->value[c]);
        else sf_text_format(out, "VAR %s = VAR %s ", k->variable[c][h], k->variable[c][h - 1]);
    }
    free(line);
    return SF_OK;
}

static const char task_line[] =
    "Keep track of the variables that are set in the following text, from one assignment to the next.";

static void add_question(const chains *k, sf_text *out)
{
    sf_text_format(
        out, "Question: Which variables have the value %d, directly or through other variables? There are %d of them.",
        k->value[0], k->hops + 1);
}

/* What stands before the names of an answer. */
static void add_prefix(const chains *k, const struct params *p, sf_text *out)
{
    sf_text_add(out, "Answer:");
    if (p->ruler.answer_prefix) sf_text_format(out, " The %d variables with the value %d are:", k->hops + 1, k->value[0]);
}

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    const ruler_vt *v = self;
    if (v->words.prompt) {
        sf_text_format(question, "%d", v->asked.value[0]);
        return add_lines(&v->asked, sf_random_fork(&v->base, 2), units, v->words.noise, context);
    }
    add_text(&v->asked, sf_random_fork(&v->base, 2), units, context);
    add_question(&v->asked, question);
    return SF_OK;
}

static void draw_example(const ruler_vt *v, const struct params *p, sf_random *r, chains *out)
{
    draw(r, 1, p->hops < 10 ? p->hops : 10, 3, out);
    while (out->value[0] == v->asked.value[0]) out->value[0] = sf_random_between(r, 10000, 99998);
}

/* RULER's example, with so many lines of noise. */
static sf_status add_example(const ruler_vt *v, const chains *example, sf_random r, int rows, sf_text *out)
{
    sf_text lines = {0};
    char value[12];
    snprintf(value, sizeof value, "%d", example->value[0]);
    sf_status status = add_lines(example, r, rows, v->words.noise, &lines);
    if (status == SF_OK) {
        sf_ruler_format(out, v->words.prompt, lines.data ? lines.data : "", value);
        sf_ruler_format(out, v->words.answer, "", value);
        for (int h = 0; h <= example->hops; h++) sf_text_format(out, " %s", example->variable[0][h]);
        out->failed |= lines.failed;
    }
    sf_text_free(&lines);
    return status;
}

/* RULER's example, as long as EXAMPLE_TOKENS hold, and its template behind it. */
static sf_status add_whole(const ruler_vt *v, const struct params *p, const sf_request *request, sf_text *out)
{
    chains example = {0};
    sf_random r = sf_random_fork(&v->base, 3);
    draw_example(v, p, &r, &example);
    const int around = request->tokens.count(request->tokens.self, "", 0, NULL);
    for (int rows = 5 > example.hops ? 5 : example.hops + 1, tokens = 0;; rows++) {
        sf_text longer = {0};
        sf_status status = add_example(v, &example, r, rows, &longer);
        if (status == SF_OK && longer.failed) status = sf_fail(SF_NO_MEMORY, "ruler_vt: no memory for an example");
        if (status == SF_OK) tokens = request->tokens.count(request->tokens.self, longer.data, longer.size, NULL);
        if (status == SF_OK && (around < 0 || tokens < 0)) status = sf_blame((sf_status)-(tokens < 0 ? tokens : around), "ruler_vt: counting the tokens of an example");
        if (status == SF_OK && (tokens - around <= EXAMPLE_TOKENS || !out->data)) {
            sf_text_free(out);
            *out = longer;
            continue;
        }
        sf_text_free(&longer);
        SF_TRY(status);
        break;
    }
    sf_text_format(out, "\n\n%s", v->words.prompt);
    return SF_OK;
}

static sf_status read_words(ruler_vt *v, const struct params *p, const sf_request *request)
{
    char number[12];
    SF_TRY(sf_ruler_read("ruler_vt", &p->ruler, &request->prompting, "variable_tracking", NULL, "haystack#1", &v->words));
    if (!v->words.prompt) return SF_OK;
    snprintf(number, sizeof number, "%d", p->hops + 1);
    SF_TRY(sf_ruler_replace(&v->words, "{num_v}", number));
    return sf_ruler_filled("ruler_vt", &v->words);
}

/* A short text with shorter names and one chain, its question and answer; then the line that opens the task. */
static void add_introduction(const ruler_vt *v, const struct params *p, sf_text *out)
{
    chains example = {0};
    sf_random r = sf_random_fork(&v->base, 3);
    draw_example(v, p, &r, &example);
    sf_text_format(out, "%s\n\n", task_line);
    add_text(&example, r, 5 * SF_NOISE_PERIOD, out);
    sf_text_add(out, "\n\n");
    add_question(&example, out);
    sf_text_char(out, '\n');
    add_prefix(&example, p, out);
    for (int h = 0; h <= example.hops; h++) sf_text_format(out, " %s", example.variable[0][h]);
    sf_text_format(out, "\n\n%s", task_line);
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    ruler_vt *v = calloc(1, sizeof *v);
    if (!v) return sf_fail(SF_NO_MEMORY, "ruler_vt: no memory");
    v->base = sf_random_stream("ruler_vt", request->seed, request->index);
    sf_random r = sf_random_fork(&v->base, 1);
    draw(&r, p->chains, p->hops, MOST_NAME, &v->asked);
    sf_text introduction = {0}, prefix = {0};
    sf_status status = read_words(v, p, request);
    if (status == SF_OK && v->words.prompt) {
        char value[12];
        snprintf(value, sizeof value, "%d", v->asked.value[0]);
        status = add_whole(v, p, request, &introduction);
        if (p->ruler.answer_prefix) sf_ruler_format(&prefix, v->words.answer, "", value);
    } else if (status == SF_OK) {
        add_introduction(v, p, &introduction);
        if (p->ruler.answer_prefix) add_prefix(&v->asked, p, &prefix);
    }
    const sf_prompt prompt = {
        .task = "ruler_vt",
        .introduction = introduction.data,
        .whole = v->words.prompt ? introduction.data : NULL,
        .closing = "Answer with the names of the variables alone, separated by spaces.",
        .plain = true,
        .answer_prefix = prefix.data,
        .place = SF_QUESTION_AFTER,
    };
    const sf_content content = {.self = v, .unit = v->words.prompt ? "lines of noise" : "neutral sentences",
                                .least = v->words.prompt ? p->hops + 1 : 0, .most = 1 << 24, .write = write};
    if (status == SF_OK && (introduction.failed || prefix.failed)) status = sf_fail(SF_NO_MEMORY, "ruler_vt: no memory");
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    for (int h = 0; h <= p->hops && status == SF_OK; h++) status = sf_sample_gold(out, v->asked.variable[0][h]);
    if (status == SF_OK) status = sf_ruler_answer(out, " ");
    if (status != SF_OK) sf_sample_free(out);
    sf_text_free(&introduction);
    sf_text_free(&prefix);
    sf_ruler_free(&v->words);
    free(v);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(chains), .type = SF_INT, .low = 1, .high = MOST_CHAINS, .initial = 1,
     .doc = "chains, each with its own value"},
    {FIELD(hops), .type = SF_INT, .low = 1, .high = MOST_HOPS, .initial = 4,
     .doc = "copies in a chain after its first variable"},
    SF_RULER_PARAMS(struct params),
    {0},
};

const sf_task sf_ruler_vt = {
    .abi = SF_TASK_ABI,
    .name = "ruler_vt",
    .summary = "variables that hold a value, through a chain of assignments in noise",
    .source = SF_RULER_SOURCE,
    .metric = "string match, all",
    .version = 2,
    .output = 30,
    .high_dispersion = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_match_all,
};
