#include <stdlib.h>
#include <string.h>

#include "base/plugin.h"
#include "harness/cli/cli.h"
#include "harness/lab/check.h"
#include "methods/find.h"
#include "methods/plugin.h"
#include "tasks/check.h"
#include "tasks/find.h"

static const struct argp_option options[] = {
    {"device", 'd', "NAME", 0, "backend to check methods on, beside the reference (default: cpu)", 0},
    {"tensor", 't', "RANKS", 0, "split heads over so many ranks, in the row of that (default: 2; 1: not)", 0},
    {0},
};

struct args {
    const char *what, *device;
    int tensor;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    char *end;
    switch (key) {
    case 'd': a->device = arg; return 0;
    case 't':
        a->tensor = (int)strtol(arg, &end, 10);
        if (*end || end == arg) argp_error(state, "--tensor takes a number of ranks; found '%s'", arg);
        return 0;
    case ARGP_KEY_ARG: a->what = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a method, a task, a plug-in (.so), all, or tasks"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static sf_status check_method(const sf_method *method, const struct args *a, int *failed)
{
    int here = 0;
    SF_TRY(sf_check_method(method, a->device, a->tensor, stdout, &here));
    *failed += here;
    return SF_OK;
}

static sf_status check_task(const sf_task *task, int *failed)
{
    int here = 0;
    SF_TRY(sf_check_task(task, stdout, &here));
    *failed += here;
    return SF_OK;
}

/* What a shared object brings: a method, a task, or both. */
static sf_status check_plugin(const struct args *a, int *failed)
{
    void *brings_method;
    const sf_method *method;
    const sf_task *task;
    SF_TRY(sf_plugin_symbol(a->what, "sf_plugin", &brings_method));
    SF_TRY(sf_task_load(a->what, &task));
    if (task) SF_TRY(check_task(task, failed));
    if (task && !brings_method) return SF_OK;
    SF_TRY(sf_plugin_load(a->what, &method));
    return check_method(method, a, failed);
}

static sf_status check_methods(const struct args *a, int *failed)
{
    for (int i = 0; sf_methods[i]; i++) SF_TRY(check_method(sf_methods[i], a, failed));
    return SF_OK;
}

static sf_status check(const struct args *a, int *failed)
{
    const sf_method *method = sf_method_find(a->what);
    const sf_task *task = sf_task_find(a->what);
    bool methods = strcmp(a->what, "all") == 0, tasks = strcmp(a->what, "tasks") == 0;
    if (methods) return check_methods(a, failed);
    for (int i = 0; tasks && sf_tasks[i]; i++) SF_TRY(check_task(sf_tasks[i], failed));
    if (tasks) return SF_OK;
    if (method) return check_method(method, a, failed);
    if (task) return check_task(task, failed);
    if (strstr(a->what, ".so")) return check_plugin(a, failed);
    return sf_fail(SF_BAD_INPUT, "unknown method or task '%s'; `frontier list methods` and `frontier list tasks` name them",
                   a->what);
}

int sf_cmd_check(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "METHOD|TASK|PLUGIN.so|all|tasks",
                                     "Certifies a sparse-attention method: full budget equals dense, causality, density as "
                                     "counted, choosing at the cost that the method says, the same result on every backend and thread count, with heads split over ranks, "
                                     "and more. Certifies a "
                                     "task: same seed, same sample, lengths met, its own answer scores 1, an empty one 0, "
                                     "any bytes are an answer. `all`: every method; `tasks`: every task.\v"
                                     "Example:\n  frontier check quest\n  frontier check ./sink_window.so\n"
                                     "  frontier check niah",
                                     NULL, NULL, NULL};
    struct args a = {.device = "cpu", .tensor = 2};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    int failed = 0;
    sf_status status = check(&a, &failed);
    if (status != SF_OK) return sf_cli_end(status);
    fflush(stdout);
    if (failed) fprintf(stderr, "frontier: %d check%s failed\n", failed, failed > 1 ? "s" : "");
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
