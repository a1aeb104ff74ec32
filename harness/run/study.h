/* What a run stands on: a sweep, its models, its plan, and any one of its samples. */
#ifndef SF_STUDY_H
#define SF_STUDY_H

#include <stdio.h>

#include "harness/config/sweep.h"
#include "harness/model/model.h"
#include "harness/store/store.h"

/* A sweep with its models opened and its plan made: what `run`, `plan` and `show` start from. */
typedef struct sf_study {
    sf_sweep *sweep;
    sf_model **model;   /* [models] */
    struct sf_understood {
        char positions[256], doubts[1024];
    } *understood;      /* [models] kept with results; NULL: texts alone */
    struct sf_chat **plain; /* [models] of tasks that are read without a template; NULL: there are none */
    sf_plan plan;
} sf_study;

/* A sample as its model reads it. */
typedef struct sf_input {
    int32_t *id; /* [tokens + behind] malloc'ed */
    int tokens;  /* of the prompt */
    int late;    /* of them, the last ones: what is asked after the prefill (question: late); else 0 */
    int behind;  /* that follow in the sample's source, at most the output limit */
    int32_t *later; /* what is asked in later turns, with what closes the answer before: one after the other … */
    int *later_tokens; /* [turns] … and how many tokens each has */
    int turns;   /* later ones */
} sf_input;

void sf_input_free(sf_input *input); /* accepts zeroed ones */
/* Tokens of all later turns' questions. */
int sf_input_later(const sf_input *input);
/* Tokens that may come behind what is prefilled first, one after the other, with answers of at most `output` tokens. */
int sf_input_behind(const sf_input *input, enum sf_asking asking, int output);

/* Opens models (mapped, not read), checks that every length fits them, and unrolls the plan. */
sf_status sf_study_open(const char *config, int sets, const char *const *set, sf_study *out);
/* The same for texts alone: models need no weights (sf_model_open_text()), and there is no plan. */
sf_status sf_study_open_text(const char *config, int sets, const char *const *set, sf_study *out);
/* That of a config from a results file (sf_sweep_read_stored()): texts alone, and dense. */
sf_status sf_study_open_stored(const char *config, int sets, const char *const *set, sf_study *out);
void sf_study_close(sf_study *study);

/* Leaves of the plan the cells that are chosen (harness/store/where.h) alone. Error: none is, or the choice is none. */
sf_status sf_study_only(sf_study *study, const char *where);

/* Sample `index` of a task for a model at a length, and what the model reads. input may be NULL. */
sf_status sf_study_sample(const sf_study *study, int model, int task, int length, int index, sf_sample *out, sf_input *input);

/* How many samples of a task for a model at a length there are of which none repeats another, at most `most`. */
sf_status sf_study_supply(const sf_study *study, int model, int task, int length, int most, int *samples);

/* Makes the first sample of every model, length and task, so that a length too short for a task, or a broken data file,
 * is told before anything runs; and lowers the samples of cells whose task has not as many that differ, as no question
 * may count twice. */
sf_status sf_study_try_samples(sf_study *study);
/* That every model can be split as the sweep's `parallel` says. Error: which cannot, and why. */
sf_status sf_study_check_split(const sf_study *study);

/* Prints a line for every model of which linear layers are in 8 bits, where that was asked for: how much of it is; and one for every format that
 * caches are rounded to. */
void sf_study_print_arithmetic(const sf_study *study, FILE *out);
/* Prints a line for every model, length and task whose samples were lowered. */
void sf_study_print_cuts(const sf_study *study, FILE *out);

/* Parameters of an arm for one sample: its own, fitted to the target sparsity where one is asked. malloc'ed, *out NULL
 * for a dense arm. */
sf_status sf_arm_fit(const sf_arm *arm, double sparsity, sf_phase phase, const sf_model_config *model, int tokens,
                     int output, void **out);

/* What a cell is, for the store. Strings point into the study. */
sf_cell_info sf_study_cell_info(const sf_study *study, const sf_cell *cell);
/* The first and last tokens of each model's first prompt (first task, shortest length, sample 0), as JSON by the model's label.
 * malloc'ed. */
sf_status sf_study_first_prompts(const sf_study *study, char **out);
/* Keys of the dense cells of the shortest length, with blanks between: of the settings that this run has. malloc'ed. */
char *sf_study_cells(const sf_study *study);

/* Prefills of a sample of the cell; shared: but for the first prompt's, which another cell has asked for. Where a conversation is
 * compressed anew with each question, those of later turns are the cell's own. */
int sf_study_prefills(const sf_study *study, const sf_cell *cell, bool shared);
/* Work of one sample of a cell by formula: FLOPs of its prefill (0 when `shared`, as another lane has done it) and of
 * its decode steps. For estimates of time. */
double sf_study_work(const sf_study *study, const sf_cell *cell, bool shared);

#endif
