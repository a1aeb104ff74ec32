#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/report/report.h"
#include "harness/run/run.h"

static const struct argp_option options[] = {
    {"set", 's', "KEY=VALUE", 0, "override a key of the config, e.g. --set samples=5 (repeatable)", 0},
    {"out", 'o', "FILE", 0, "results file (default: results/NAME.h5)", 0},
    {"device", 'd', "NAME", 0, "cpu, cuda, cuda:1, cuda:0,1, cuda:all, or reference; overrides the config", 0},
    {"threads", 't', "N", 0, "threads; overrides the config", 0},
    {"memory", 'm', "GIB", 0, "limit for caches and activations; overrides the config", 0},
    {"shard", 'S', "I/N", 0, "run part I of N alone, into results/NAME-IofN.h5; report reads all parts as one", 0},
    {"only", 'O', "CELLS", 0, "these cells alone: method=quest,sparsity=0.9, or the beginning of a cell's key (model, task, method, phase, "
                              "length, sparsity, seed, device, cache, key)", 0},
    {"verbose", 'v', NULL, 0, "a line a cell, as it is done", 0},
    {"retry", 'r', NULL, 0, "try cells again that failed in an earlier run", 0},
    {"overwrite", 'w', NULL, 0, "drop the results that are there and run everything again", 0},
    {0},
};

struct args { sf_run_options run; sf_strings set; char device[256], threads[256], memory[256]; };

static void override(struct argp_state *state, const char *key, const char *value, char out[256])
{
    struct args *a = state->input;
    snprintf(out, 256, "%s=%s", key, value);
    sf_strings_add(state, &a->set, out);
}

static void parse_shard(struct argp_state *state, const char *text)
{
    struct args *a = state->input;
    int end = 0;
    bool read = sscanf(text, "%d/%d%n", &a->run.shard, &a->run.shards, &end) == 2 && !text[end];
    if (!read || a->run.shards < 1 || a->run.shard < 1 || a->run.shard > a->run.shards)
        argp_error(state, "--shard takes I/N with 1 <= I <= N, e.g. 3/12; '%s' is not that", text);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 's': sf_strings_add(state, &a->set, arg); return 0;
    case 'o': a->run.out = arg; return 0;
    case 'd': override(state, "device", arg, a->device); return 0;
    case 't': override(state, "threads", arg, a->threads); return 0;
    case 'm': override(state, "memory", arg, a->memory); return 0;
    case 'O': a->run.only = arg; return 0;
    case 'v': a->run.verbose = true; return 0;
    case 'r': a->run.retry = true; return 0;
    case 'w': a->run.overwrite = true; return 0;
    case 'S': parse_shard(state, arg); return 0;
    case ARGP_KEY_ARG:
        if (a->run.config) argp_error(state, "one config at a time");
        a->run.config = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a config, e.g. configs/demo.yaml"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The closing words: a table, one sentence, the gates' warnings. */
static sf_status summarise(const char *path)
{
    sf_results results;
    SF_TRY(sf_results_read(1, &path, SF_READ_MEANS | SF_READ_TEXTS, &results));
    sf_report_table(&results, stdout);
    sf_report_gates(&results, stdout);
    sf_results_free(&results);
    return SF_OK;
}

/* Says how it went, where this process is the one that does, and gives the exit status. */
static int tell(sf_status status, const sf_run_end *end, bool shard)
{
    if (!end->speaks) return status == SF_INTERRUPTED ? 130 : status != SF_OK ? EXIT_FAILURE : end->failed ? SF_CLI_CELLS_FAILED : EXIT_SUCCESS;
    if (status == SF_OK && !shard) status = summarise(end->path); /* a part alone lacks its dense cells */
    if (status == SF_OK) printf("\nResults: %s\n", end->path);
    if (status != SF_OK || !end->failed) return sf_cli_end(status);
    fflush(stdout);
    fprintf(stderr, "frontier: %d cell%s failed and %s left out; `frontier show %s` says which and why, run --retry tries again\n",
            end->failed, end->failed == 1 ? "" : "s", end->failed == 1 ? "is" : "are", end->path);
    return SF_CLI_CELLS_FAILED;
}

int sf_cmd_run(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, "CONFIG.yaml",
        "Runs every cell of a sweep that is not stored yet: after a stop or a crash, the same command goes on.\v"
        "Exit status: 0 all cells are stored; 3 all but those that failed, which it names; 130 stopped; 1 anything else.\n"
        "Example:\n  frontier run configs/demo.yaml --set 'lengths=[1024]' --out quick.h5\n"
        "Eight processes of a cluster, one for each GPU, into one file:\n"
        "  mpirun -n 8 frontier run configs/demo.yaml --device cuda\n"
        "Twelve processes without MPI, then one report:\n"
        "  for i in $(seq 12); do frontier run my.yaml --shard $i/12 & done; wait\n"
        "  frontier report results/my-*of12.h5 --out results/my-report",
        NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    a.run.sets = a.set.n;
    a.run.set = a.set.item;
    sf_run_end end;
    sf_status status = sf_run(&a.run, &end);
    int code = tell(status, &end, a.run.shards > 0);
    fflush(stdout);
    sf_world_close(&end.world); /* last: as soon as one process leaves with a failure, mpirun ends the others */
    return code;
}
