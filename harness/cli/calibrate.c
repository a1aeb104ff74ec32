/* What a method finds out once for a model: its calibrate hook on stretches of a text, under dense attention, and the table that its
 * sums become. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/yaml.h"
#include "harness/cli/cli.h"
#include "harness/engine/engine.h"
#include "harness/model/tokenizer.h"
#include "methods/find.h"

static const struct argp_option options[] = {
    {"model", 'M', "PATH", 0, "the model (needed)", 0},
    {"text", 'x', "FILE", 0, "UTF-8 text to read, in stretches one after the other (needed)", 0},
    {"out", 'o', "FILE", 0, "the table to write (needed)", 0},
    {"tokens", 'n', "N", 0, "tokens of a stretch (default 2048)", 0},
    {"samples", 's', "N", 0, "stretches, at most (default 8)", 0},
    {"device", 'd', "NAME", 0, "backend (default: cpu)", 0},
    {0},
};

struct args {
    const char *method, *model, *text, *out, *device;
    int tokens, samples;
    sf_strings set;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'M': a->model = arg; return 0;
    case 'x': a->text = arg; return 0;
    case 'o': a->out = arg; return 0;
    case 'd': a->device = arg; return 0;
    case 'n':
    case 's': {
        int n = atoi(arg);
        if (n < 1 || n > 1 << 24) argp_error(state, "--%s: expected a number from 1 to %d, found '%s'", key == 'n' ? "tokens" : "samples", 1 << 24, arg);
        *(key == 'n' ? &a->tokens : &a->samples) = n;
        return 0;
    }
    case ARGP_KEY_ARG:
        if (!a->method) a->method = arg;
        else sf_strings_add(state, &a->set, arg);
        return 0;
    case ARGP_KEY_END:
        if (!a->method || !a->model || !a->text || !a->out) argp_error(state, "name a method, --model, --text and --out");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- collecting: a method of its own, whose prefill is dense, so that the engine brings every layer's queries and keys ----- */

struct collection {
    const sf_method *method;
    void *params;
    int layers;
    int64_t columns;
    double **sum;            /* [layers]: of layers with full attention; NULL: the layer has a window */
    sf_attention shape;
};

static sf_status collect(sf_attention *a, const void *params, sf_pattern *out)
{
    struct collection *c = *(struct collection *const *)params;
    c->columns = c->method->columns(a, c->params), c->shape = *a;
    double **sum = &c->sum[a->layer];
    if (!*sum && !(*sum = calloc((size_t)c->columns, sizeof **sum))) return sf_fail(SF_NO_MEMORY, "%s: sums of %lld numbers", c->method->name, (long long)c->columns);
    SF_TRY(c->method->calibrate(a, c->params, *sum));
    return sf_dense(a, out);
}

static sf_status read_stretches(struct collection *c, sf_backend *b, const sf_model *model, const struct args *a, const int32_t *token, int stretches)
{
    static const sf_method collector = {.abi = SF_METHOD_ABI, .name = "calibrate", .prefill = collect, .params_size = sizeof(struct collection *)};
    sf_engine *engine;
    int32_t output[1];
    sf_lane lane = {.prefill = &collector, .prefill_params = &c, .output = output};
    const sf_generation how = {.max_output = 1};
    SF_TRY(sf_engine_open(b, model, a->tokens + 1, &engine));
    sf_status status = SF_OK;
    for (int i = 0; i < stretches && status == SF_OK; i++) {
        status = sf_engine_generate(engine, token + (int64_t)i * a->tokens, a->tokens, &how, 1, &lane);
        fprintf(stderr, "%s: %d of %d stretches of %d tokens\n", c->method->name, i + (status == SF_OK), stretches, a->tokens);
    }
    sf_engine_close(engine);
    return status;
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static sf_status write_rows(struct collection *c, const struct args *a, int stretches, FILE *f)
{
    fprintf(f, "# frontier calibrate %s: %s, %d stretches of %d tokens of %s\n", c->method->name, a->model, stretches, a->tokens, a->text);
    for (int l = 0; l < c->layers; l++) {
        double none[1] = {0}, *row = c->sum[l] ? c->sum[l] : none;
        int64_t n = c->sum[l] ? c->columns : 1;
        c->shape.layer = l;
        if (c->sum[l] && c->method->conclude && (n = c->method->conclude(&c->shape, c->params, row)) < 0)
            return sf_blame(SF_INTERNAL, "%s: the row of layer %d", c->method->name, l);
        for (int64_t i = 0; i < n; i++) fprintf(f, i ? " %.9g" : "%.9g", row[i]);
        fputc('\n', f);
    }
    return SF_OK;
}

/* Whole or not at all. */
static sf_status write_table(struct collection *c, const struct args *a, int stretches)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s.part", a->out) >= (int)sizeof part) return sf_fail(SF_BAD_INPUT, "%s: the path is too long", a->out);
    FILE *f = fopen(part, "w");
    if (!f) return sf_fail(SF_IO, "%s: cannot be written: %s", part, strerror(errno));
    sf_status status = write_rows(c, a, stretches, f);
    bool written = !ferror(f);
    written = fclose(f) == 0 && written;
    if (status == SF_OK && !written) status = sf_fail(SF_IO, "%s: cannot be written: %s", part, strerror(errno));
    if (status == SF_OK && rename(part, a->out)) status = sf_fail(SF_IO, "%s: cannot be renamed: %s", part, strerror(errno));
    if (status != SF_OK) remove(part);
    return status;
}

/* ---- the command ---------------------------------------------------------------------------------------------------- */

static sf_status read_text(const char *path, char **text, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    *text = NULL, *bytes = 0;
    if (!f) return sf_fail(SF_IO, "%s: cannot be read: %s", path, strerror(errno));
    size_t room = 1 << 20;
    for (char *more; (more = realloc(*text, room)); room *= 2) {
        *text = more;
        *bytes += fread(more + *bytes, 1, room - *bytes, f);
        if (*bytes < room) break;
    }
    bool whole = *text && !ferror(f);
    fclose(f);
    return whole ? SF_OK : sf_fail(SF_IO, "%s: cannot be read", path);
}

static sf_status calibrate_on(struct collection *c, const struct args *a, const sf_model *model)
{
    char *text;
    size_t bytes;
    int32_t *token = NULL;
    int n = 0;
    sf_backend b;
    sf_status status = read_text(a->text, &text, &bytes);
    if (status == SF_OK) status = sf_encode(model->tokenizer, text, bytes, false, &token, &n);
    free(text);
    int stretches = n / a->tokens < a->samples ? n / a->tokens : a->samples;
    if (status == SF_OK && stretches == 0) status = sf_fail(SF_BAD_INPUT, "%s: has %d tokens; a stretch is %d (--tokens)", a->text, n, a->tokens);
    if (status == SF_OK) status = sf_backend_open(a->device, 0, &b);
    if (status == SF_OK) {
        status = read_stretches(c, &b, model, a, token, stretches);
        sf_backend_close(&b);
    }
    free(token);
    return status == SF_OK ? write_table(c, a, stretches) : status;
}

/* What to name: methods that have something to find out. */
static void calibrated(char names[400])
{
    names[0] = '\0';
    for (int i = 0; sf_methods[i]; i++) {
        const size_t used = strlen(names);
        if (sf_methods[i]->calibrate) snprintf(names + used, 400 - used, "%s%s", used ? ", " : "", sf_methods[i]->name);
    }
}

static sf_status not_calibrated(const char *name)
{
    char names[400];
    calibrated(names);
    return sf_fail(SF_BAD_INPUT, "'%s' is no method that is calibrated; these are: %s", name, names);
}

/* With the methods, which completion reads from there. */
static char *help(int key, const char *text, void *input)
{
    char names[400], *whole;
    (void)input;
    if (key != ARGP_KEY_HELP_PRE_DOC) return (char *)text;
    calibrated(names);
    return asprintf(&whole, "%s\n\nMETHOD: %s", text, names) < 0 ? (char *)text : whole;
}

static sf_status calibrate(const struct args *a)
{
    sf_model *model = NULL;
    sf_node root = {.kind = SF_MAP, .file = "calibrate", .path = ""};
    struct collection c = {.method = sf_method_find(a->method)};
    if (!c.method || !c.method->calibrate) return not_calibrated(a->method);
    sf_status status = sf_model_open(a->model, &model);
    if (status == SF_OK && !model->tokenizer) status = sf_fail(SF_BAD_INPUT, "%s: a shape alone cannot be calibrated", a->model);
    for (int i = 0; i < a->set.n && status == SF_OK; i++) status = sf_yaml_set(&root, a->set.item[i]);
    if (status == SF_OK && !(c.params = calloc(1, c.method->params_size + 1))) status = sf_fail(SF_NO_MEMORY, "%s: parameters", a->method);
    if (status == SF_OK) status = sf_yaml_params(&root, c.method->params, NULL, c.params);
    if (status == SF_OK) c.layers = model->config.layers;
    if (status == SF_OK && !(c.sum = calloc((size_t)c.layers, sizeof *c.sum))) status = sf_fail(SF_NO_MEMORY, "%s: sums", a->method);
    if (status == SF_OK) status = calibrate_on(&c, a, model);
    for (int l = 0; c.sum && l < c.layers; l++) free(c.sum[l]);
    for (int i = 0; i < root.items; i++) sf_yaml_free(root.item[i]), free(root.key[i]);
    free(root.item), free(root.key), free(c.sum), free(c.params);
    if (model) sf_model_close(model);
    return status;
}

int sf_cmd_calibrate(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "METHOD [KEY=VALUE ...]",
                                     "Finds out what a method wants to know of a model, once: principal axes of its keys (loki), its "
                                     "heaviest channels (double_sparsity), the kind of pattern that suits each head (minference). The "
                                     "table has a row for each layer; name it in the method's parameter (basis, channels, kinds).\v"
                                     "Example:\n  frontier calibrate loki -M models/frontier-mini/s -x README.md -o loki.table",
                                     NULL, help, NULL};
    struct args a = {.device = "cpu", .tokens = 2048, .samples = 8};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    return sf_cli_end(calibrate(&a));
}
