/* frontier: how much sparse attention can you afford? */
#include <errno.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli/cli.h"
#include "base/running.h"
#include "harness/run/version.h"
#include "base/yaml.h"

const sf_command sf_commands[] = {
    {"init", "write a config, from five questions", sf_cmd_init},
    {"run", "run a sweep: every method, length and sparsity of a config", sf_cmd_run},
    {"plan", "what a sweep would run, without running it", sf_cmd_plan},
    {"status", "what results hold, and what lacks", sf_cmd_status},
    {"submit", "a Slurm batch script for a sweep on several nodes", sf_cmd_submit},
    {"report", "figures and tables of results", sf_cmd_report},
    {"show", "one sample: prompt, gold answer, prediction, scores", sf_cmd_show},
    {"export", "results as CSV or JSON lines", sf_cmd_export},
    {"compare", "two results files, sample by sample", sf_cmd_compare},
    {"rm", "take cells out of results", sf_cmd_rm},
    {"list", "the models, families, methods and tasks there are", sf_cmd_list},
    {"tasks", "training samples of the tasks, tokenised", sf_cmd_tasks},
    {"cost", "FLOPs and memory traffic of a model by formula", sf_cmd_cost},
    {"fetch", "get a model from Hugging Face by its id", sf_cmd_fetch},
    {"verify", "what was understood of a model, and whether that holds", sf_cmd_verify},
    {"roles", "which heads look far back: a table for head_roles", sf_cmd_roles},
    {"check", "certify a sparse-attention method or a task", sf_cmd_check},
    {"calibrate", "what a method finds out once for a model", sf_cmd_calibrate},
    {"bench", "speed of attention under every method on this machine", sf_cmd_bench},
    {"version", "version, revision and libraries", sf_cmd_version},
    {0},
};

static void usage(FILE *out)
{
    fprintf(out, "frontier %s: benchmarks sparse attention in language models\n\n"
                 "Usage: frontier COMMAND [OPTIONS]\n\nCommands:\n", sf_version());
    for (const sf_command *c = sf_commands; c->name; c++) fprintf(out, "  %-10s %s\n", c->name, c->summary);
    fputs("\n`frontier COMMAND --help` explains a command. A first run: frontier run configs/demo.yaml\n", out);
}

int sf_cli_end(sf_status status)
{
    if (status == SF_OK) return EXIT_SUCCESS;
    fflush(stdout);
    fprintf(stderr, "frontier: %s%s\n", status == SF_INTERRUPTED ? "" : "error: ", sf_error());
    return status == SF_INTERRUPTED ? 130 : EXIT_FAILURE;
}

const char *sf_si(double value, char out[32])
{
    static const char prefix[] = " kMGTPEZ";
    int i = 0;
    while (value >= 999.5 && prefix[i + 1]) value /= 1000, i++;
    snprintf(out, 32, "%.3g%s%.1s", value, i ? " " : "", i ? &prefix[i] : "");
    return out;
}

void sf_strings_add(struct argp_state *state, sf_strings *list, const char *item)
{
    if (list->n == SF_STRINGS_MOST) argp_error(state, "more than %d of one option", SF_STRINGS_MOST);
    else list->item[list->n++] = item;
}

/* OMP_PROC_BIND, as clusters set it, binds the first thread to one place before main(); a program that is started anew from
 * there would take that place for all there is. Back to all places. */
static void leave_place(void)
{
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int p = 0; p < omp_get_num_places(); p++) {
        int n = omp_get_place_num_procs(p), id[n + 1];
        omp_get_place_proc_ids(p, id);
        for (int i = 0; i < n; i++) CPU_SET((size_t)id[i], &all);
    }
    if (CPU_COUNT(&all)) sched_setaffinity(0, sizeof all, &all); /* where that fails, it runs where it may */
}

/* Between parallel regions OpenMP's threads spin, by default for milliseconds: on a machine that does anything else, each
 * waits for one that is not running, and a token takes ten times as long. libgomp reads its spin count when it is loaded,
 * so a program that wants another one has to start itself once more. */
static void spin_briefly(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "2000", 1); /* some microseconds */
    leave_place();
    execv("/proc/self/exe", argv);        /* where that fails, the program runs as it is */
}

/* What was printed may not have arrived: on a full disk a table would end in the middle, with status 0. */
static int end(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "frontier: error: standard output cannot be written: %s\n", strerror(errno));
    return status == EXIT_SUCCESS ? EXIT_FAILURE : status;
}

int main(int argc, char **argv)
{
    spin_briefly(argv);
    sf_name_crashes();
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) return usage(stdout), end(EXIT_SUCCESS);
    if (strcmp(name, "--version") == 0) name = "version";
    for (const sf_command *c = sf_commands; c->name; c++) {
        if (strcmp(c->name, name) != 0) continue;
        char program[64];
        snprintf(program, sizeof program, "frontier %s", c->name);
        argv[1] = program;
        return end(c->run(argc - 1, argv + 1));
    }
    if (!*name) return usage(stderr), EXIT_FAILURE;
    const char *names[64];
    int n = 0;
    for (; sf_commands[n].name && n < 64; n++) names[n] = sf_commands[n].name;
    const char *near = sf_nearest(name, names, n);
    fprintf(stderr, "frontier: error: unknown command '%s'%s%s%s `frontier --help` lists them\n", name,
            near ? "; did you mean '" : ".", near ? near : "", near ? "'?" : "");
    return EXIT_FAILURE;
}
