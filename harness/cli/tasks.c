/* What tasks are for besides evaluation: tokenised samples to train on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/train/training.h"

static const struct argp_option options[] = {
    {"out", 'o', "FILE.h5", 0, "where to (needed)", 0},
    {"samples", 'n', "N", 0, "samples of every task and length (needed)", 0},
    {"seed", 'e', "S", 0, "seed of the samples; not that of the evaluation (default 1)", 0},
    {"first", 'i', "I", 0, "number of the first sample (default 0)", 0},
    {"mix", 'm', "TASK=WEIGHT,...", 0, "multiply the samples of a task; 0 leaves it out", 0},
    {"set", 's', "KEY=VALUE", 0, "override a key of the config (repeatable)", 0},
    {"threads", 't', "N", 0, "threads (default: the config's, or all cores)", 0},
    {"force", 'f', NULL, 0, "replace FILE.h5 if it is there", 0},
    {0},
};

struct args { sf_training_options o; sf_strings set; int words; };

static long whole(struct argp_state *state, const char *option, const char *text, long low, long high)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < low || n > high)
        argp_error(state, "--%s: expected a number from %ld to %ld, found '%s'", option, low, high, text);
    return n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    enum { MOST = 1000000000 };
    switch (key) {
    case 'o': a->o.out = arg; return 0;
    case 'n': a->o.samples = (int)whole(state, "samples", arg, 1, MOST); return 0;
    case 'e': a->o.seed = (uint64_t)whole(state, "seed", arg, 0, 9000000000000000); return 0;
    case 'i': a->o.first = (int)whole(state, "first", arg, 0, MOST); return 0;
    case 'm': a->o.mix = arg; return 0;
    case 's': sf_strings_add(state, &a->set, arg); return 0;
    case 't': a->o.threads = (int)whole(state, "threads", arg, 1, 4096); return 0;
    case 'f': a->o.overwrite = true; return 0;
    case ARGP_KEY_ARG:
        if (a->words++ == 0 && strcmp(arg, "export") != 0)
            argp_error(state, "expected 'export', found '%s'; `frontier list tasks` shows the tasks", arg);
        if (a->words == 2) a->o.config = arg;
        return a->words > 2 ? ARGP_ERR_UNKNOWN : 0;
    case ARGP_KEY_END:
        if (!a->o.config) argp_error(state, "say what to do: export CONFIG.yaml");
        if (!a->o.out) argp_error(state, "--out is missing: the file to write");
        if (!a->o.samples) argp_error(state, "--samples is missing: how many of every task and length");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int sf_cmd_tasks(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, "export CONFIG.yaml",
        "Writes samples of a config's tasks and lengths as tokens to HDF5, to train models on: the model's whole input, "
        "the perfect answer, the stop token. Of the model only tokenizer and chat template are read. Samples 0, 1, … of "
        "a seed are always the same ones; the config's own seed is kept for evaluation and refused. Tasks that read "
        "questions from a file (qa_*, ruler_qa_*) have the same questions for every seed: do not train on what you "
        "evaluate. harness/train/hdf5.h explains the file.\v"
        "Example:\n  frontier tasks export configs/demo.yaml --out train.h5 --seed 7 --mix niah=2",
        NULL, NULL, NULL};
    struct args a = {.o = {.seed = 1}};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    a.o.sets = a.set.n;
    a.o.set = a.set.item;
    return sf_cli_end(sf_training_export(&a.o));
}
