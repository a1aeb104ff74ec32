/* Roles of heads, found on a sweep's samples: a table of gates for the method head_roles. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/lab/roles.h"
#include "harness/run/study.h"

static const struct argp_option options[] = {
    {"out", 'o', "FILE", 0, "the table: a row for each layer, a column for each kv head", 0},
    {"sinks", 'S', "N", 0, "first keys that streaming heads read (default 128)", 0},
    {"recent", 'R', "N", 0, "latest keys that they read (default 256)", 0},
    {"window", 'w', "N", 0, "latest queries of a prompt that are looked at (default 32)", 0},
    {"set", 's', "KEY=VALUE", 0, "override one value of the config (repeatable)", 1},
    {0},
};

struct args {
    const char *config, *out;
    sf_roles roles;
    sf_strings sets;
};

static int whole(struct argp_state *state, const char *name, const char *arg, int low)
{
    char *end;
    long value = strtol(arg, &end, 10);
    if (end == arg || *end || value < low || value > 1 << 24)
        argp_error(state, "--%s: expected a whole number from %d to %d, found '%s'", name, low, 1 << 24, arg);
    return (int)value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'o': a->out = arg; return 0;
    case 'S': a->roles.sinks = whole(state, "sinks", arg, 0); return 0;
    case 'R': a->roles.recent = whole(state, "recent", arg, 1); return 0;
    case 'w': a->roles.window = whole(state, "window", arg, 1); return 0;
    case 's': sf_strings_add(state, &a->sets, arg); return 0;
    case ARGP_KEY_ARG:
        if (a->config) argp_error(state, "one config, not '%s' too", arg);
        a->config = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->config) argp_error(state, "name a config, whose model and samples are looked at");
        if (!a->out) argp_error(state, "name the table to write with --out");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* All samples of all tasks and lengths. */
static sf_status look(const sf_study *study, sf_engine *engine, sf_roles *roles)
{
    const sf_sweep *s = study->sweep;
    for (int l = 0; l < s->lengths; l++)
        for (int t = 0; t < s->tasks; t++)
            for (int i = 0; i < s->samples; i++) {
                sf_sample sample = {0};
                sf_input input = {0};
                sf_status status = sf_study_sample(study, 0, t, l, i, &sample, &input);
                if (status == SF_OK) status = sf_roles_look(engine, input.id, input.tokens, roles);
                sf_input_free(&input);
                sf_sample_free(&sample);
                SF_TRY(status);
            }
    return SF_OK;
}

static sf_status write_table(const sf_roles *r, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) return sf_fail(SF_IO, "%s: cannot be written: %s", path, strerror(errno));
    for (int i = 0; i < r->layers * r->kv_heads; i++)
        fprintf(f, "%.6f%c", r->gate[i] / r->prompts, (i + 1) % r->kv_heads ? '\t' : '\n');
    bool written = !ferror(f);
    if (fclose(f) == 0 && written) return SF_OK;
    remove(path);
    return sf_fail(SF_IO, "%s: cannot be written: %s", path, strerror(errno));
}

static sf_status find_roles(struct args *a)
{
    sf_study study;
    SF_TRY(sf_study_open(a->config, a->sets.n, a->sets.item, &study));
    const sf_sweep *s = study.sweep;
    const sf_model_config *c = &study.model[0]->config;
    sf_roles *r = &a->roles;
    sf_backend b = {0};
    sf_engine *engine = NULL;
    sf_meter meter = {0};
    int most = 0;
    for (int l = 0; l < s->lengths; l++) most = s->length[l] > most ? s->length[l] : most;
    r->layers = c->layers, r->kv_heads = c->kv_heads;
    r->gate = calloc((size_t)c->layers * (size_t)c->kv_heads, sizeof *r->gate);
    sf_status status = s->models == 1 ? r->gate ? SF_OK : sf_fail(SF_NO_MEMORY, "roles: %d layers", c->layers)
                                      : sf_fail(SF_BAD_INPUT, "%s: %d models; choose one with --set 'models=[PATH]'", a->config, s->models);
    bool opened = status == SF_OK && (status = sf_backend_open(s->device, s->threads, &b)) == SF_OK;
    if (opened) b.meter = &meter, status = sf_engine_open(&b, study.model[0], most + 1, &engine);
    if (status == SF_OK) status = look(&study, engine, r);
    if (status == SF_OK) status = write_table(r, a->out);
    if (status == SF_OK)
        printf("%s: %d layers of %d kv heads over %d prompts; methods: {decode: [head_roles: {roles: %s, sinks: %d, recent: %d}]}\n", a->out,
               r->layers, r->kv_heads, r->prompts, a->out, r->sinks, r->recent);
    sf_engine_close(engine);
    if (opened) sf_backend_close(&b);
    free(r->gate);
    sf_study_close(&study);
    return status;
}

int sf_cmd_roles(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, "CONFIG",
        "Finds which heads look far back: a gate for each kv head, the share of attention that the last queries of a prompt give, on "
        "average over the group, to keys beyond the first and the latest ones. The prompts are the config's samples, whose seed "
        "should not be an evaluation's. DuoAttention trains its gates; these are measured.\v"
        "Example:\n  frontier roles examples/divergence.yaml --set seed=7 --out roles.tsv",
        NULL, NULL, NULL};
    struct args a = {.roles = {.sinks = 128, .recent = 256, .window = 32}};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    return sf_cli_end(find_roles(&a));
}
