#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli/cli.h"
#include "methods/find.h"
#include "harness/model/cost.h"
#include "base/data.h"
#include "harness/run/study.h"

static const struct argp_option options[] = {
    {"model", 'm', "NAME", 0, "a name under configs/models, or the path of a model", 0},
    {"length", 'l', "TOKENS", 0, "tokens in the context (default 131072)", 0},
    {"sparsity", 's', "S", 0, "share of query-key pairs left out, 0 to 0.999 (default 0)", 0},
    {"batch", 'b', "N", 0, "sequences decoded together (default 1)", 0},
    {"phase", 'p', "PHASE", 0, "prefill or decode (default: both)", 0},
    {"method", 'k', "NAME", 0, "count the estimation cost of this method at its own parameters for S, its defaults where none goes by S", 0},
    {"json", 'j', NULL, 0, "print JSON", 0},
    {0},
};

struct args { const char *model, *method; double length, sparsity, batch; int phase; bool json; };

static double number(struct argp_state *state, const char *name, const char *arg, double low, double high)
{
    char *end;
    double value = strtod(arg, &end);
    if (end == arg || *end || !(value >= low && value <= high))
        argp_error(state, "--%s: expected a number from %g to %g, found '%s'", name, low, high, arg);
    return value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'm': a->model = arg; return 0;
    case 'l': a->length = floor(number(state, "length", arg, 1, 1e9)); return 0;
    case 's': a->sparsity = number(state, "sparsity", arg, 0, 0.999); return 0;
    case 'b': a->batch = floor(number(state, "batch", arg, 1, 1e9)); return 0;
    case 'k': a->method = arg; return 0;
    case 'j': a->json = true; return 0;
    case 'p':
        if (strcmp(arg, "prefill") == 0) a->phase = SF_PREFILL;
        else if (strcmp(arg, "decode") == 0) a->phase = SF_DECODE;
        else argp_error(state, "--phase: expected prefill or decode, found '%s'", arg);
        return 0;
    case ARGP_KEY_END:
        if (!a->model) argp_error(state, "name a model with --model; `frontier list models` shows them");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* A bare name is a shape under configs/models. */
static sf_status open_config(const char *name, sf_model_config *out)
{
    char relative[512], path[4096];
    snprintf(relative, sizeof relative, "configs/models/%s.yaml", name);
    if (!strchr(name, '/') && access(name, F_OK) != 0) {
        if (sf_data_path(relative, path) != SF_OK)
            return sf_fail(SF_BAD_INPUT, "model '%s': neither a path nor a name under configs/models; `frontier list models` "
                                         "shows those there are", name);
        return sf_shape_open(path, out);
    }
    sf_model *model;
    SF_TRY(sf_model_open(name, &model));
    *out = model->config;
    sf_model_close(model);
    return SF_OK;
}

static void print_phase(const struct args *a, sf_phase phase, const sf_cost *cost)
{
    char x[32], y[32];
    printf("\n%s, %s\n%-22s %12s %7s %12s %7s\n", phase == SF_PREFILL ? "Prefill" : "Decode",
           phase == SF_PREFILL ? "FLOPs of the batch" : "elements read per step of the batch", "", "paper", "", "exact", "");
    for (int i = 0; i < cost->terms; i++) {
        const sf_cost_term *t = &cost->term[i];
        printf("  %-20s %12s %6.1f%% %12s %6.1f%%\n", t->name, sf_si(t->paper, x), cost->paper ? 100 * t->paper / cost->paper : 0,
               sf_si(t->exact, y), cost->exact ? 100 * t->exact / cost->exact : 0);
    }
    printf("  %-20s %12s %7s %12s\n", "total", sf_si(cost->paper, x), "", sf_si(cost->exact, y));
    if (phase == SF_DECODE)
        printf("  per sequence and token %10s %7s %12s\n", sf_si(cost->paper / a->batch, x), "", sf_si(cost->exact / a->batch, y));
}

static json_t *phase_json(const sf_cost *cost)
{
    json_t *terms = json_array();
    for (int i = 0; i < cost->terms; i++)
        json_array_append_new(terms, json_pack("{s:s, s:f, s:f}", "name", cost->term[i].name, "paper", cost->term[i].paper,
                                               "exact", cost->term[i].exact));
    return json_pack("{s:o, s:f, s:f, s:f}", "terms", terms, "paper", cost->paper, "exact", cost->exact, "weight_elements",
                     cost->weights);
}

int sf_cmd_cost(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, NULL,
        "What a model costs by formula, without its weights: `paper` is the study's formula (full square of queries and keys, "
        "logits everywhere), `exact` what is executed (causal pairs, last logits).\v"
        "Example:\n  frontier cost --model qwen2.5-7b --length 131072 --sparsity 0.9 --batch 64",
        NULL, NULL, NULL};
    struct args a = {.length = 131072, .batch = 1, .phase = -1};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_model_config config;
    sf_status status = open_config(a.model, &config);
    if (status != SF_OK) return sf_cli_end(status);
    sf_arm arm = {0};
    double fitted = a.sparsity;
    if (a.method) {
        arm.method = sf_method_find(a.method);
        if (!arm.method)
            return sf_cli_end(sf_fail(SF_BAD_INPUT, "unknown method '%s'; `frontier list methods` names them", a.method));
        arm.label = (char *)arm.method->name;
        if (!arm.method->fit) fitted = NAN; /* no parameter goes by a sparsity: its defaults */
        arm.params = calloc(1, arm.method->params_size + 1);
        status = sf_yaml_params(NULL, arm.method->params, NULL, arm.params);
    }
    json_t *json = json_pack("{s:s, s:f, s:f, s:f}", "model", config.name, "length", a.length, "sparsity", a.sparsity, "batch", a.batch);
    if (!a.json)
        printf("%s: %d layers, d %d, %d/%d heads of %d, mlp %d, vocabulary %d\n%.0f tokens, sparsity %g, batch %.0f\n", config.name,
               config.layers, config.d, config.heads, config.kv_heads, config.head_dim, config.mlp, config.vocab, a.length,
               a.sparsity, a.batch);
    for (int p = 0; status == SF_OK && p < SF_PHASES; p++) {
        if (a.phase >= 0 && a.phase != p) continue;
        bool applies = arm.method && (p == SF_PREFILL ? arm.method->prefill != NULL : sf_decodes(arm.method));
        bool watches = p == SF_PREFILL && arm.method && sf_decodes(arm.method);
        void *params = NULL, *kept = NULL;
        if (applies) status = sf_arm_fit(&arm, fitted, (sf_phase)p, &config, (int)a.length, 1, &params);
        if (status == SF_OK && watches) status = sf_arm_fit(&arm, fitted, SF_DECODE, &config, (int)a.length, 1, &kept);
        if (status != SF_OK) break;
        sf_cost cost;
        sf_cost_of(&config, &(sf_cost_query){.phase = (sf_phase)p, .tokens = (int64_t)a.length, .batch = (int64_t)a.batch,
                                             .density = 1 - a.sparsity, .method = applies ? arm.method : NULL, .params = params,
                                             .watches = watches ? arm.method : NULL, .watches_params = kept, .output = 1,
                                             .element = SF_BF16},
                   &cost);
        if (a.json) json_object_set_new(json, p == SF_PREFILL ? "prefill" : "decode", phase_json(&cost));
        else print_phase(&a, (sf_phase)p, &cost);
        free(params), free(kept);
    }
    if (status == SF_OK && a.json) {
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(json);
    free(arm.params);
    return sf_cli_end(status);
}
