#include <stdlib.h>
#include <string.h>

#include "harness/lab/check.h"
#include "harness/cli/cli.h"
#include "harness/config/sweep.h"
#include "methods/find.h"

static const struct argp_option options[] = {
    {"device", 'd', "NAME", 0, "backend to check beside the reference (default: cpu)", 0},
    {0},
};

struct args { const char *method, *device; };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'd': a->device = arg; return 0;
    case ARGP_KEY_ARG: a->method = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a method, a plug-in (.so), or all"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int sf_cmd_check(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "METHOD|PLUGIN.so|all",
                                     "Certifies a sparse-attention method: full budget equals dense, causality, density as "
                                     "counted, the same result on every backend and thread count, and more.\v"
                                     "Example:\n  frontier check quest\n  frontier check ./sink_window.so",
                                     NULL, NULL, NULL};
    struct args a = {.device = "cpu"};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    bool all = strcmp(a.method, "all") == 0;
    int failed = 0;
    if (!all) {
        const sf_method *method = sf_method_find(a.method);
        sf_status status = SF_OK;
        if (!method && strstr(a.method, ".so")) status = sf_plugin_load(a.method, &method);
        else if (!method) status = sf_fail(SF_BAD_INPUT, "unknown method '%s'; `frontier list methods` names them", a.method);
        if (status == SF_OK) status = sf_check_method(method, a.device, stdout, &failed);
        if (status != SF_OK) return sf_cli_end(status);
    }
    for (int i = 0; all && sf_methods[i]; i++) {
        int here = 0;
        sf_status status = sf_check_method(sf_methods[i], a.device, stdout, &here);
        if (status != SF_OK) return sf_cli_end(status);
        failed += here;
    }
    fflush(stdout);
    if (failed) fprintf(stderr, "frontier: %d check%s failed\n", failed, failed > 1 ? "s" : "");
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
