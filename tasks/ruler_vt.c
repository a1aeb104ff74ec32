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

enum { MOST_CHAINS = 16, MOST_HOPS = 16, MOST_NAME = 5 };

struct params {
    int chains, hops;
    bool answer_prefix;
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
    if (p->answer_prefix) sf_text_format(out, " The %d variables with the value %d are:", k->hops + 1, k->value[0]);
}

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    const ruler_vt *v = self;
    add_text(&v->asked, sf_random_fork(&v->base, 2), units, context);
    add_question(&v->asked, question);
    return SF_OK;
}

/* A short text with shorter names and one chain, its question and answer; then the line that opens the task. */
static void add_introduction(const ruler_vt *v, const struct params *p, sf_text *out)
{
    chains example = {0};
    sf_random r = sf_random_fork(&v->base, 3);
    draw(&r, 1, p->hops < 10 ? p->hops : 10, 3, &example);
    while (example.value[0] == v->asked.value[0]) example.value[0] = sf_random_between(&r, 10000, 99998);
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
    add_introduction(v, p, &introduction);
    if (p->answer_prefix) add_prefix(&v->asked, p, &prefix);
    const sf_prompt prompt = {
        .task = "ruler_vt",
        .introduction = introduction.data,
        .closing = "Answer with the names of the variables alone, separated by spaces.",
        .plain = true,
        .answer_prefix = prefix.data,
        .place = SF_QUESTION_AFTER,
    };
    const sf_content content = {.self = v, .unit = "neutral sentences", .most = 1 << 24, .write = write};
    sf_status status = introduction.failed || prefix.failed ? sf_fail(SF_NO_MEMORY, "ruler_vt: no memory") : SF_OK;
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    for (int h = 0; h <= p->hops && status == SF_OK; h++) status = sf_sample_gold(out, v->asked.variable[0][h]);
    if (status == SF_OK) status = sf_ruler_answer(out, " ");
    if (status != SF_OK) sf_sample_free(out);
    sf_text_free(&introduction);
    sf_text_free(&prefix);
    free(v);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(chains), .type = SF_INT, .low = 1, .high = MOST_CHAINS, .initial = 1,
     .doc = "chains, each with its own value"},
    {FIELD(hops), .type = SF_INT, .low = 1, .high = MOST_HOPS, .initial = 4,
     .doc = "copies in a chain after its first variable"},
    SF_RULER_PARAM(struct params),
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
