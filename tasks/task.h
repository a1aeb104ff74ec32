/* The contract of a task: it makes sample i of a seed for a token budget, and scores an answer text.
 *
 * The same task, parameters, seed, index, budget and token counter give the same sample, byte for byte, on every
 * machine and at every sparsity, so that comparisons are paired. A task knows text and token counts, no model. To add
 * one: write tasks/NAME.c and add a line to tasks/registry.c; or build the same file as a shared object that also
 * exports `const sf_task *sf_plugin_task(void)`, and name it under `plugins:` in the config (examples/task). */
#ifndef SF_TASK_H
#define SF_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/param.h"
#include "base/status.h"

enum { SF_TASK_ABI = 6 };

/* Counts the tokens of the model's whole input for a user message: chat template, BOS and the generation prompt
 * included (of a `raw` task the text's own and BOS), and the words that its answer is begun with (NULL: none). Thread-safe.
 * Negative: failed, a status with its sign changed (−1: SF_BAD_INPUT); sf_error() says why. */
typedef struct sf_token_counter {
    void *self;
    int (*count)(void *self, const char *text, size_t bytes, const char *answer_prefix);
} sf_token_counter;

/* How the question stands to the context. OWN: as the source of the task has it (the study before and after, RULER
 * after). */
typedef enum sf_question_place {
    SF_QUESTION_OWN,
    SF_QUESTION_BOTH,
    SF_QUESTION_AFTER,
    SF_QUESTION_BEFORE
} sf_question_place;

/* What every task takes from the sweep, next to its own parameters. */
typedef struct sf_prompting {
    bool direct; /* ask for the answer alone, without an explanation first: for small models */
    sf_question_place place;
    const char *introduction; /* replaces the task's own; NULL: its own */
    const char *instructions; /* replaces the closing instructions; NULL: its own */
} sf_prompting;

typedef struct sf_request {
    uint64_t seed;
    int index;      /* of the sample */
    int max_tokens; /* input length wanted: the sample counts 95 … 100 % of it */
    sf_token_counter tokens;
    sf_prompting prompting;
    int output;     /* limit of generated tokens; 0: not known */
    int turns;      /* questions on the context, each asked once the one before is answered; 0 and 1: one. More for tasks that say
                       `turns`: the first is that of a sample of one, and so is the prompt; the others come behind its length */
    bool shared;    /* these know nothing of each other: each comes right behind the context, in the place of the first one */
} sf_request;

typedef struct sf_sample {
    char *prompt;        /* the user message */
    char *answer_prefix; /* the model's turn begins with it; NULL: with what the model writes */
    int tokens;   /* as counted, template included */
    int gold_count;
    char **gold;                    /* expected answers, in order where order matters */
    char *answer;                   /* a perfect answer, as a model would write it, after the prefix (training data) */
    int context_begin, context_end; /* bytes of the prompt that are context (evidence and filler), for analysis */
    char *continuation; /* what the source has after the prompt: divergence along a generation is then measured along this
                           instead of what the dense model writes, as far as the output limit; NULL: there is none */
    char *aside; /* what the task's scorer must know besides the gold answers, in a form of its own; NULL: nothing */
    int laters;
    struct sf_sample *later; /* [laters] the questions of later turns: prompt (what the user then says; of shared ones, what stands behind
                                the context instead), gold, answer and aside of each */
} sf_sample;

void sf_sample_free(sf_sample *sample); /* accepts zeroed ones */

typedef struct sf_score {
    double strict;    /* 0 … 1; an answer that cannot be parsed scores 0 */
    double reference; /* as the study's public code scores; NAN: that code leaves the sample out of the mean */
    bool parsed;      /* an answer in the asked format was found */
} sf_score;

typedef struct sf_task {
    unsigned abi;     /* SF_TASK_ABI */
    const char *name; /* [a-z0-9_]+ */
    const char *summary;
    const char *source;                        /* paper or data set */
    const char *metric;                        /* "exact", "IoU", "F1", … */
    int version;                               /* raise when samples or scores change: part of every cell's key */
    int output;                                /* default limit of generated tokens */
    bool high_dispersion, high_scope, natural; /* the study's axes of task difficulty */
    bool raw; /* the model reads the prompt as it is, after BOS where one is due: no chat template */
    bool turns; /* it can ask more than once on one context (sf_request) … */
    bool shared; /* … and so that each question may be the first */
    const sf_param *params;
    size_t params_size;

    /* Error: a budget too small for the question and the least context (says the least), a data file that cannot be
     * read. */
    sf_status (*generate)(const void *params, const sf_request *request, sf_sample *out);

    /* How many samples there are of which none repeats another, at most `most` (the request's index means nothing here).
     * A run takes no more of them. NULL: as many as one likes. Error: as generate. */
    sf_status (*supply)(const void *params, const sf_request *request, int most, int *samples);

    /* Error: no memory. Any bytes are an answer, however wrong. */
    sf_status (*score)(const void *params, const sf_sample *sample, const char *text, sf_score *out);
} sf_task;

#endif
