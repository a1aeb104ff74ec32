/* An example of a task outside of Frontier: one debt in a long ledger.
 *
 *     make PREFIX=/usr/local          against the headers that `make install` put there
 *     frontier check ./ledger.so
 *
 * and in a sweep:
 *
 *     plugins: [./ledger.so]
 *     tasks:   [ledger, ledger: {digits: 6, label: dear}] */
#include "tasks/prompt.h"
#include "tasks/random.h"
#include "tasks/score.h"
#include "tasks/task.h"
#include "tasks/words.h"

struct params {
    int digits;
};

/* One row a parameter: the config is checked against it, `frontier list tasks --plugin ./ledger.so` prints it. */
static const sf_param PARAMS[] = {
    {.name = "digits",
     .type = SF_INT,
     .offset = offsetof(struct params, digits),
     .low = 1,
     .high = 9,
     .initial = 4,
     .doc = "digits of a debt"},
    {0},
};

/* A sample in the making. */
struct ledger {
    int digits, debtor, debt; /* the entry that is asked for: a word, and what its house owes */
    sf_random base;           /* of this sample; each part of it draws from a fork of its own */
};

static int draw_debt(sf_random *r, int digits)
{
    int low = 1;
    for (int i = 1; i < digits; i++) low *= 10;
    return sf_random_between(r, low, 10 * low - 1);
}

/* `units` entries. Their debtors differ: 7919 is a prime that does not divide the number of words. A longer ledger
 * begins like a shorter one. */
static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    struct ledger *l = self;
    sf_random debtors = sf_random_fork(&l->base, 1), debts = sf_random_fork(&l->base, 2),
              choice = sf_random_fork(&l->base, 3);
    long first = sf_random_between(&debtors, 0, sf_word_count() - 1);
    int asked = sf_random_between(&choice, 0, units - 1);
    for (int i = 0; i < units; i++) {
        int debtor = (int)((first + 7919L * i) % sf_word_count()), debt = draw_debt(&debts, l->digits);
        sf_text_format(context, "%sThe house of %s owes %d.", i ? "\n" : "", sf_word(debtor), debt);
        if (i == asked) l->debtor = debtor, l->debt = debt;
    }
    sf_text_format(question, "How much does the house of %s owe?", sf_word(l->debtor));
    return SF_OK;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    static const sf_prompt prompt = {
        .task = "ledger",
        .introduction = "The context below is a ledger of debts, one a line. You are asked about one of them.",
        .format = "<the sum>",
        .rules = "- Write the number alone.\n",
    };
    const struct params *p = params;
    struct ledger l = {.digits = p->digits, .base = sf_random_stream("ledger", request->seed, request->index)};
    const sf_content content = {.self = &l, .unit = "entries", .least = 1, .most = sf_word_count(), .write = write};

    sf_status status = sf_prompt_fit(request, &prompt, &content, out); /* calls write() until the length is met */
    sf_text sum = {0};
    sf_text_format(&sum, "%d", l.debt);
    if (status == SF_OK && sum.failed) status = sf_fail(SF_NO_MEMORY, "ledger: no memory for an answer");
    if (status == SF_OK) status = sf_sample_gold(out, sum.data);
    if (status == SF_OK) status = sf_sample_answer(out, request, "I looked for the line about that house.", sum.data);
    if (status != SF_OK) sf_sample_free(out);
    sf_text_free(&sum);
    return status;
}

static const sf_task ledger = {
    .abi = SF_TASK_ABI,
    .name = "ledger",
    .summary = "one debt in a long ledger",
    .source = "an example",
    .metric = "exact",
    .version = 1,  /* raise it when samples or scores change: old results are then not taken for new ones */
    .output = 512, /* tokens */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_item,
};

const sf_task *sf_plugin_task(void);
const sf_task *sf_plugin_task(void) { return &ledger; }
