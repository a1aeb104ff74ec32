#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/cli/cli.h"
#include "base/data.h"
#include "base/plugin.h"
#include "harness/model/describe.h"
#include "harness/model/family.h"
#include "harness/model/model.h"
#include "harness/config/sweep.h"
#include "methods/find.h"
#include "methods/plugin.h"
#include "tasks/find.h"

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "print JSON", 0},
    {"plugin", 'p', "FILE.so", 0, "load a plug-in first (repeatable)", 0},
    {0},
};

struct args {
    const char *what;
    bool json;
    sf_strings plugin, path;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'j': a->json = true; return 0;
    case 'p': sf_strings_add(state, &a->plugin, arg); return 0;
    case ARGP_KEY_ARG:
        if (a->what)
            sf_strings_add(state, &a->path, arg);
        else
            a->what = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "name what to list: models, families, methods or tasks");
        return 0;
    case ARGP_KEY_SUCCESS:
        if (a->path.n && strcmp(a->what, "models") != 0) argp_error(state, "paths go with models alone");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- everything is made as JSON first; the text is a view of it ------------------------------------------------------ */

static json_t *params_json(const sf_param *table)
{
    static const char *const types[] = {"int", "real", "bool", "choice", "string"};
    json_t *list = json_array();
    for (const sf_param *p = table; p && p->name; p++) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:b}", "name", p->name, "type", types[p->type], "doc", p->doc, "budget", p->budget);
        if (p->type == SF_STRING) json_object_set_new(o, "default", p->text ? json_string(p->text) : json_null());
        else if (p->type == SF_BOOL) json_object_set_new(o, "default", json_boolean(p->initial != 0));
        else if (p->type == SF_CHOICE) {
            const char *c = p->choices;
            for (int i = (int)p->initial; i > 0; i--) c += strcspn(c, "|") + 1;
            json_object_set_new(o, "default", json_stringn(c, strcspn(c, "|")));
            json_object_set_new(o, "choices", json_string(p->choices));
        } else {
            bool whole = p->type == SF_INT;
            json_object_set_new(o, "default", whole ? json_integer((json_int_t)p->initial) : json_real(p->initial));
            json_object_set_new(o, "low", whole ? json_integer((json_int_t)p->low) : json_real(p->low));
            json_object_set_new(o, "high", whole ? json_integer((json_int_t)p->high) : json_real(p->high));
        }
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *method_json(const sf_method *m)
{
    const char *phase = m->prefill && sf_decodes(m) ? "prefill, decode" : m->prefill ? "prefill" : m->compress ? "eviction"
                        : m->decode ? "decode" : "always";
    json_t *o = json_pack("{s:s, s:s, s:s, s:s?, s:b}", "name", m->name, "phase", phase, "summary", m->summary, "paper",
                          m->paper, "target_sparsity", m->fit != NULL);
    json_object_set_new(o, "params", params_json(m->params));
    return o;
}

static json_t *methods(const sf_strings *plugin, sf_status *status)
{
    json_t *list = json_array();
    for (int i = 0; sf_methods[i]; i++) json_array_append_new(list, method_json(sf_methods[i]));
    for (int i = 0; i < plugin->n && *status == SF_OK; i++) {
        const sf_method *m;
        void *brings_one;
        *status = sf_plugin_symbol(plugin->item[i], "sf_plugin", &brings_one);
        if (*status != SF_OK || !brings_one) continue;
        *status = sf_plugin_load(plugin->item[i], &m);
        if (*status == SF_OK) json_array_append_new(list, method_json(m));
    }
    return list;
}

static json_t *task_json(const sf_task *t)
{
    json_t *o = json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s, s:b, s:i}", "name", t->name, "summary", t->summary, "source",
                          t->source, "metric", t->metric, "dispersion", t->high_dispersion ? "high" : "low", "scope",
                          t->high_scope ? "high" : "low", "natural", t->natural, "output", t->output);
    json_object_set_new(o, "params", params_json(t->params));
    return o;
}

static json_t *tasks(const sf_strings *plugin, sf_status *status)
{
    json_t *list = json_array();
    for (int i = 0; sf_tasks[i]; i++) json_array_append_new(list, task_json(sf_tasks[i]));
    for (int i = 0; sf_suite_task(i); i++) json_array_append_new(list, task_json(sf_suite_task(i)));
    for (int i = 0; i < plugin->n && *status == SF_OK; i++) {
        const sf_task *t;
        *status = sf_task_load(plugin->item[i], &t);
        if (t) json_array_append_new(list, task_json(t));
    }
    return list;
}

static json_t *families(void)
{
    json_t *list = json_array();
    for (int i = 0; sf_families[i]; i++) {
        const sf_family *f = sf_families[i];
        json_t *types = json_array(), *o = json_pack("{s:s, s:s?}", "name", f->name, "gguf", f->gguf);
        for (size_t k = 0; k < sizeof f->model_type / sizeof *f->model_type; k++) {
            if (f->model_type[k]) json_array_append_new(types, json_string(f->model_type[k]));
        }
        if (f->wrapper) json_array_append_new(types, json_string(f->wrapper));
        json_object_set_new(o, "model_type", types);
        json_array_append_new(list, o);
    }
    return list;
}

/* What was understood, by name, and what is doubted. */
static void add_facts(json_t *o, const sf_model *m)
{
    sf_fact fact[SF_MAX_FACTS];
    int facts = sf_model_facts(m, fact);
    json_t *understood = json_object(), *doubts = json_array();
    for (int i = 0; i < facts; i++) json_object_set_new(understood, fact[i].name, json_string(fact[i].text));
    for (int i = 0; i < m->doubts.n; i++) json_array_append_new(doubts, json_string(m->doubts.text[i]));
    json_object_set_new(o, "understood", understood);
    json_object_set_new(o, "doubts", doubts);
}

static void add_model(json_t *list, const char *path)
{
    sf_model *m;
    json_t *o;
    if (sf_model_open(path, &m) != SF_OK) {
        o = json_pack("{s:s, s:s}", "path", path, "error", sf_error());
    } else {
        const sf_model_config *c = &m->config;
        o = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f}", "path", path, "name", c->name, "architecture",
                      c->architecture, "layers", c->layers, "d", c->d, "heads", c->heads, "kv_heads", c->kv_heads, "head_dim",
                      c->head_dim, "max_position", c->max_position, "weights", m->weights.embedding.data != NULL, "bytes",
                      (double)m->weight_bytes);
        add_facts(o, m);
        sf_model_close(m);
    }
    json_array_append_new(list, o);
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* What lies in a folder: subfolders that hold a checkpoint, shapes, GGUF files. */
static void scan(json_t *list, const char *folder)
{
    struct dirent **entry;
    int n = scandir(folder, &entry, visible, alphasort);
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat s;
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        const char *dot = strrchr(entry[i]->d_name, '.');
        if (stat(path, &s) == 0) {
            char config[4200];
            snprintf(config, sizeof config, "%s/config.json", path);
            struct dirent **inside;
            if (S_ISDIR(s.st_mode)) {
                int files = scandir(path, &inside, visible, alphasort);
                bool gguf = false;
                for (int k = 0; k < files; k++) {
                    const char *end = strrchr(inside[k]->d_name, '.');
                    gguf |= end && strcmp(end, ".gguf") == 0;
                    free(inside[k]);
                }
                if (files >= 0) free(inside);
                struct stat file;
                if (gguf || stat(config, &file) == 0) add_model(list, path);
            } else if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".gguf") == 0)) {
                add_model(list, path);
            }
        }
        free(entry[i]);
    }
    if (n >= 0) free(entry);
}

static json_t *models(const sf_strings *path)
{
    json_t *list = json_array();
    for (int i = 0; i < path->n; i++) add_model(list, path->item[i]);
    if (path->n) return list;
    scan(list, "models");
    scan(list, "models/frontier-mini");
    char shapes[4096];
    if (sf_data_path("configs/models", shapes) == SF_OK) scan(list, shapes);
    return list;
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static void print_params(const json_t *item)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(item, "params"), i, p) {
        char *initial = json_dumps(json_object_get(p, "default"), JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)), range[64];
        const json_t *low = json_object_get(p, "low"), *high = json_object_get(p, "high");
        if (low) snprintf(range, sizeof range, "%.10g..%.10g", json_number_value(low), json_number_value(high));
        else snprintf(range, sizeof range, "%s", *text_of(p, "choices") ? text_of(p, "choices") : text_of(p, "type"));
        printf("      %-16s %-18s default %-8s %s%s\n", text_of(p, "name"), range, initial, text_of(p, "doc"),
               json_is_true(json_object_get(p, "budget")) ? " (budget)" : "");
        free(initial);
    }
}

static void print_family(const json_t *o)
{
    size_t i;
    json_t *type;
    char types[128] = "";
    json_array_foreach(json_object_get(o, "model_type"), i, type)
        snprintf(types + strlen(types), sizeof types - strlen(types), "%s%s", i ? ", " : "", json_string_value(type));
    printf("%-12s config.json: %-28s GGUF: %s\n", text_of(o, "name"), *types ? types : "-",
           *text_of(o, "gguf") ? text_of(o, "gguf") : "-");
}

static void print_facts(const json_t *o)
{
    size_t i;
    const char *name;
    json_t *text;
    json_object_foreach(json_object_get(o, "understood"), name, text)
        printf("      %-11s %s\n", name, json_string_value(text));
    json_array_foreach(json_object_get(o, "doubts"), i, text) printf("      doubt       %s\n", json_string_value(text));
}

static void print_text(const char *what, const json_t *list, bool whole)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) {
        if (strcmp(what, "methods") == 0) {
            printf("%-18s %-16s %s\n", text_of(o, "name"), text_of(o, "phase"), text_of(o, "summary"));
            if (*text_of(o, "paper")) printf("      %s\n", text_of(o, "paper"));
            print_params(o);
        } else if (strcmp(what, "tasks") == 0) {
            const char *source = text_of(o, "source");
            printf("%-22s %s\n      %s%smetric %s; dispersion %s, scope %s%s\n", text_of(o, "name"), text_of(o, "summary"),
                   source, *source ? "; " : "", text_of(o, "metric"), text_of(o, "dispersion"), text_of(o, "scope"),
                   json_is_true(json_object_get(o, "natural")) ? ", natural text" : "");
            print_params(o);
        } else if (strcmp(what, "families") == 0) {
            print_family(o);
        } else if (*text_of(o, "error")) {
            printf("%-40s cannot be used: %s\n", text_of(o, "path"), text_of(o, "error"));
        } else {
            printf("%-40s %-8s %3d layers, d %5d, %2d/%d heads of %3d, %s\n", text_of(o, "path"), text_of(o, "architecture"),
                   (int)json_integer_value(json_object_get(o, "layers")), (int)json_integer_value(json_object_get(o, "d")),
                   (int)json_integer_value(json_object_get(o, "heads")), (int)json_integer_value(json_object_get(o, "kv_heads")),
                   (int)json_integer_value(json_object_get(o, "head_dim")),
                   json_is_true(json_object_get(o, "weights")) ? "weights" : "shape only (for `frontier cost`)");
            if (whole) print_facts(o);
        }
    }
}

int sf_cmd_list(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "methods|tasks|families|models [PATH...]",
        "Lists what this build and this folder have, with every parameter and its default; of models named by"
        " path, what was understood of them.\v"
        "Examples:\n  frontier list methods\n  frontier list tasks --json\n"
        "  frontier list models models/smollm2-135m",
        NULL,
        NULL,
        NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_status status = SF_OK;
    json_t *list = strcmp(a.what, "methods") == 0    ? methods(&a.plugin, &status)
                   : strcmp(a.what, "tasks") == 0    ? tasks(&a.plugin, &status)
                   : strcmp(a.what, "families") == 0 ? families()
                   : strcmp(a.what, "models") == 0   ? models(&a.path)
                                                     : NULL;
    if (!list)
        return sf_cli_end(sf_fail(SF_BAD_INPUT, "cannot list '%s'; name models, families, methods or tasks", a.what));
    if (status == SF_OK && a.json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (status == SF_OK) {
        print_text(a.what, list, a.path.n > 0);
    }
    /* A model that was named and cannot be used is an error; one that merely lies there is not. */
    for (size_t i = 0; status == SF_OK && i < (size_t)a.path.n; i++) {
        if (*text_of(json_array_get(list, i), "error"))
            status = sf_fail(SF_BAD_INPUT, "%s", text_of(json_array_get(list, i), "error"));
    }
    json_decref(list);
    return sf_cli_end(status);
}
