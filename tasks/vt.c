/* VT of the study (variable tracking): which variables hold a value, through chains of assignments.
 *
 * Each chain is one number and `hops` copies; the assignments of all chains stand in any order among blocks of
 * sentences that say nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/haystack.h"
#include "tasks/prompt.h"
#include "tasks/random.h"
#include "tasks/score.h"
#include "tasks/unique.h"

enum { MOST_CHAINS = 64, MOST_HOPS = 32, MOST_LENGTH = 12 };

struct params {
    int chains, hops, name_length, digits;
};

typedef struct vt {
    const struct params *p;
    sf_random base;
    int names;                                                 /* chains × (hops + 1), chain by chain */
    char name[MOST_CHAINS * (MOST_HOPS + 1)][MOST_LENGTH + 1]; /* [names] */
    int value[MOST_CHAINS];                                    /* [chains], all different; the first is asked about */
} vt;

static sf_status draw(vt *v)
{
    const struct params *p = v->p;
    sf_random r = sf_random_fork(&v->base, 1);
    v->names = p->chains * (p->hops + 1);
    int low = 1;
    for (int i = 1; i < p->digits; i++) low *= 10;
    int values = 9 * low - 1; /* 10000 … 99998 for five digits */
    if (v->names > pow(26, p->name_length) / 4 || p->chains > values)
        return sf_fail(SF_BAD_INPUT,
                       "vt: %d variables and %d values are too many for names of %d letters and %d digits; raise "
                       "name_length or digits",
                       v->names, p->chains, p->name_length, p->digits);
    sf_unique seen = {0};
    for (int i = 0; i < v->names; i++) {
        char *name = v->name[i];
        do
            for (int k = 0; k < p->name_length; k++) name[k] = (char)('A' + sf_random_below(&r, 26));
        while (strstr(name, "VAR") || !sf_unique_add(&seen, name, (size_t)p->name_length)); /* VAR marks a variable */
    }
    bool failed = seen.failed;
    sf_unique_free(&seen);
    sf_random_pick(&r, values, v->value, p->chains);
    for (int i = 0; i < p->chains; i++) v->value[i] += low;
    return failed ? sf_fail(SF_NO_MEMORY, "vt: no memory for %d names", v->names) : SF_OK;
}

static void add_assignment(const vt *v, int i, sf_text *out)
{
    int chain = i / (v->p->hops + 1), hop = i % (v->p->hops + 1);
    if (hop == 0)
        sf_text_format(out, "VAR %s = %d", v->name[i], v->value[chain]);
    else
        sf_text_format(out, "VAR %s = VAR %s", v->name[i], v->name[i - 1]);
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* `units` sentences in blocks of five, the last one of what is left, and the assignments between blocks. */
static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    const vt *v = self;
    sf_random r = sf_random_fork(&v->base, 2);
    int blocks = (units + SF_NOISE_PERIOD - 1) / SF_NOISE_PERIOD, rows = v->names + blocks;
    int slot[MOST_CHAINS * (MOST_HOPS + 1)], order[MOST_CHAINS * (MOST_HOPS + 1)];
    sf_random_pick(&r, rows, slot, v->names);
    qsort(slot, (size_t)v->names, sizeof *slot, by_value);
    for (int i = 0; i < v->names; i++) order[i] = i;
    sf_random_shuffle(&r, order, v->names);

    for (int row = 0, next = 0, sentence = 0; row < rows; row++) {
        if (row) sf_text_char(context, '\n');
        if (next < v->names && slot[next] == row)
            add_assignment(v, order[next++], context);
        else
            sentence = sf_noise_line(sentence, units, context);
    }
    sf_text_format(
        question,
        "Which variables have the value %d? A variable has that value if it is set to %d itself, or if it is set to "
        "another variable that has the value.",
        v->value[0], v->value[0]);
    return SF_OK;
}

static sf_status finish(const vt *v, const sf_request *request, sf_sample *out)
{
    sf_text answer = {0}, why = {0};
    sf_status status = SF_OK;
    for (int i = 0; i <= v->p->hops && status == SF_OK; i++) {
        sf_text_format(&answer, "%s%s", i ? " " : "", v->name[i]);
        if (i == 0)
            sf_text_format(&why, "%s is set to %d", v->name[i], v->value[0]);
        else
            sf_text_format(&why, ", %s is set to %s", v->name[i], v->name[i - 1]);
        status = sf_sample_gold(out, v->name[i]);
    }
    sf_text_char(&why, '.');
    if (status == SF_OK && (answer.failed || why.failed)) status = sf_fail(SF_NO_MEMORY, "vt: no memory for an answer");
    if (status == SF_OK) status = sf_sample_answer(out, request, why.data, answer.data);
    sf_text_free(&answer);
    sf_text_free(&why);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    static const sf_prompt prompt = {
        .task = "vt",
        .introduction = "The context below sets variables. Some assignments give a variable a number, as in \"VAR NAME "
                        "= 123\"; others "
                        "give it the value of another variable, as in \"VAR NAME = VAR OTHER\". Names are words of "
                        "capital letters. The "
                        "assignments stand in any order, so a variable may be used in a line above the one that sets "
                        "it, and all other "
                        "sentences mean nothing. Find every variable that has the value you are asked about.",
        .format = "NAME_ONE NAME_TWO and so on",
        .rules = "- List the names of all variables that have the value and no others, in any order.\n"
                 "- Separate the names by single spaces. Write neither VAR nor punctuation.\n",
    };
    vt *v = calloc(1, sizeof *v);
    if (!v) return sf_fail(SF_NO_MEMORY, "vt: no memory");
    v->p = params;
    v->base = sf_random_stream("vt", request->seed, request->index);
    const sf_content content = {.self = v, .unit = "neutral sentences", .most = 1 << 24, .write = write};
    sf_status status = draw(v);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    if (status == SF_OK) status = finish(v, request, out);
    if (status != SF_OK) sf_sample_free(out);
    free(v);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(chains), .type = SF_INT, .low = 1, .high = MOST_CHAINS, .initial = 8,
     .doc = "chains, each with its own value"},
    {FIELD(hops), .type = SF_INT, .low = 1, .high = MOST_HOPS, .initial = 4,
     .doc = "copies in a chain after its first variable"},
    {FIELD(name_length), .type = SF_INT, .low = 1, .high = MOST_LENGTH, .initial = 5,
     .doc = "capital letters in a name"},
    {FIELD(digits), .type = SF_INT, .low = 1, .high = 9, .initial = 5, .doc = "digits of a value"},
    {0},
};

const sf_task sf_vt = {
    .abi = SF_TASK_ABI,
    .name = "vt",
    .summary = "variables that hold a value, through chains of assignments",
    .source = "Nawrot et al. 2025, arXiv 2504.17768, after RULER, arXiv 2404.06654",
    .metric = "IoU",
    .version = 1,
    .output = 1024,
    .high_dispersion = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_names,
};
