/* From YAML to sf_sweep: every value checked where it stands, every error with its line. */
#include "harness/config/sweep.h"

#include "base/files.h"
#include "base/plugin.h"
#include "methods/delta.h"
#include "methods/find.h"
#include "tasks/find.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES = 256 };

/* "unknown method 'qest'; did you mean 'quest'? `frontier list methods` names them" */
static sf_status unknown(const sf_node *node, const char *kind, const char *name, const char *const *names, int n)
{
    const char *near = sf_nearest(name, names, n);
    return sf_yaml_fail(node, "unknown %s '%s'%s%s%s `frontier list %ss` names them all", kind, name,
                        near ? "; did you mean '" : ".", near ? near : "", near ? "'?" : "", kind);
}

/* A plug-in brings a method, a task or both. */
static sf_status load_plugin(const char *path)
{
    const sf_method *method;
    const sf_task *task;
    void *brings_method;
    SF_TRY(sf_plugin_symbol(path, "sf_plugin", &brings_method));
    SF_TRY(sf_task_load(path, &task));
    return task && !brings_method ? SF_OK : sf_method_load(path, &method);
}

static sf_status read_plugins(const sf_node *list)
{
    if (!list) return SF_OK;
    SF_TRY(sf_yaml_list(list));
    for (int i = 0; i < list->items; i++) {
        const char *path;
        SF_TRY(sf_yaml_text(list->item[i], &path));
        sf_status status = load_plugin(path);
        if (status != SF_OK) return sf_blame(status, "%s:%d: plugins", list->item[i]->file, list->item[i]->line);
    }
    return SF_OK;
}

/* ---- models, tasks, methods --------------------------------------------------------------------------------------- */

/* "models/smollm2-135m/" -> "smollm2-135m"; "x/model.gguf" -> "model" */
static char *default_label(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    char *label = strndup(path + begin, n - begin), *dot = label ? strrchr(label, '.') : NULL;
    if (dot && dot != label && (strcmp(dot, ".gguf") == 0 || strcmp(dot, ".yaml") == 0)) *dot = 0;
    return label;
}

static sf_status no_memory(const sf_node *node) { return sf_fail(SF_NO_MEMORY, "%s:%d: no memory to read it", node->file, node->line); }

/* "dca", or "dca: {chunk, cap}". */
static sf_status read_positions(const sf_node *node, sf_model_spec *out)
{
    static const char *const kinds[] = {"dca", NULL}, *const keys[] = {"chunk", "cap", NULL};
    const sf_node *dca = node;
    int choice;
    int64_t chunk, cap;
    out->dual_chunks = true;
    if (node->kind != SF_MAP) return sf_yaml_choice(node, "dca", &choice);
    SF_TRY(sf_yaml_known(node, kinds));
    if (!(dca = sf_yaml_get(node, "dca")) || dca->kind != SF_MAP) return sf_yaml_fail(node, "expected 'dca', or 'dca: {chunk: KEYS, cap: DISTANCE}'");
    SF_TRY(sf_yaml_known(dca, keys));
    const sf_node *in[] = {sf_yaml_get(dca, "chunk"), sf_yaml_get(dca, "cap")};
    if (!in[0] || !in[1]) return sf_yaml_fail(dca, "expected both a chunk, in keys, and a cap on distances");
    SF_TRY(sf_yaml_int(in[0], 1, 1 << 30, &chunk));
    SF_TRY(sf_yaml_int(in[1], 0, 1 << 30, &cap));
    out->reach = (sf_reach){(int)chunk, (int)cap};
    return SF_OK;
}

/* A plug-in entry of a list: "name" or "name: {parameters}". */
static sf_status read_entry(const sf_node *node, const char **name, const sf_node **params)
{
    *params = NULL;
    if (node->kind == SF_SCALAR) return sf_yaml_text(node, name);
    if (node->kind != SF_MAP || node->items != 1)
        return sf_yaml_fail(node, "expected a name, or 'name: {parameter: value}'");
    *name = node->key[0];
    *params = node->item[0];
    if ((*params)->null) *params = NULL; /* "name:" */
    return SF_OK;
}

/* turns: N, or {n: N, compress: once | each}; shared: N. */
static sf_status read_turns(const sf_node *node, bool shared, sf_task_spec *spec)
{
    static const char *const keys[] = {"n", "compress", NULL};
    const sf_node *n = node, *compress = NULL;
    int64_t turns;
    int choice = 0;
    if (node->kind == SF_MAP && !shared) {
        SF_TRY(sf_yaml_known(node, keys));
        n = sf_yaml_get(node, "n"), compress = sf_yaml_get(node, "compress");
        if (!n) return sf_yaml_fail(node, "expected {n: TURNS, compress: once} or {n: TURNS, compress: each}");
    }
    SF_TRY(sf_yaml_int(n, 1, 64, &turns));
    if (compress) SF_TRY(sf_yaml_choice(compress, "once|each", &choice));
    spec->turns = (int)turns;
    spec->asking = shared ? SF_ASK_SHARED : choice ? SF_ASK_ANEW : SF_ASK_ON;
    return SF_OK;
}

/* Fills what `map` says of output, late, turns and prompting. */
static sf_status read_asking(const sf_node *map, sf_task_spec *spec)
{
    sf_prompting *out = &spec->prompting;
    const sf_node *node;
    int choice;
    int64_t tokens;
    if ((node = sf_yaml_get(map, "answer"))) {
        SF_TRY(sf_yaml_choice(node, "explain|direct", &choice));
        out->direct = choice == 1;
    }
    if ((node = sf_yaml_get(map, "question"))) {
        SF_TRY(sf_yaml_choice(node, "own|both|after|before|late", &choice));
        spec->late = choice > SF_QUESTION_BEFORE;
        out->place = spec->late ? SF_QUESTION_AFTER : (sf_question_place)choice;
    }
    const sf_node *turns = sf_yaml_get(map, "turns"), *shared = sf_yaml_get(map, "shared");
    if (turns && shared) return sf_yaml_fail(shared, "`turns` asks one question after the other, `shared` each by itself: expected one of them");
    if (turns || shared) SF_TRY(read_turns(turns ? turns : shared, shared != NULL, spec));
    if ((node = sf_yaml_get(map, "introduction"))) SF_TRY(sf_yaml_text(node, &out->introduction));
    if ((node = sf_yaml_get(map, "instructions"))) SF_TRY(sf_yaml_text(node, &out->instructions));
    if ((node = sf_yaml_get(map, "output"))) {
        SF_TRY(sf_yaml_int(node, 1, 65536, &tokens));
        spec->output = (int)tokens;
    }
    return SF_OK;
}

/* The built-in tasks that take `turns`, or `shared`, for a message. */
static const char *ask_again(bool shared)
{
    static _Thread_local char names[256];
    size_t used = 0;
    for (int i = 0; sf_tasks[i]; i++)
        if ((shared ? sf_tasks[i]->shared : sf_tasks[i]->turns) && used < sizeof names) used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", sf_tasks[i]->name);
    if (used < sizeof names && !shared) snprintf(names + used, sizeof names - used, ", SCBench's");
    return names;
}

/* Adds the hash of each file that a parameter names, since results depend on what it holds. */
static sf_status add_hashes(const sf_node *node, const char *name, const sf_param *table, const void *params, json_t *object)
{
    for (const sf_param *p = table; p && p->name; p++) {
        const char *path = p->file ? *(char *const *)((const char *)params + p->offset) : NULL;
        char hash[17], key[80];
        if (!path) continue;
        SF_TRY(sf_blame(p->folder ? sf_files_hash(path, hash) : sf_file_hash(path, hash), "%s:%d: %s.%s", node->file, node->line, name, p->name));
        snprintf(key, sizeof key, "%s_hash", p->name);
        if (json_object_set_new(object, key, json_string(hash)) != 0) return no_memory(node);
    }
    return SF_OK;
}

/* All that a task's samples depend on: parameters, and the content of files they name, and the prompting. */
static sf_status task_json(const sf_node *node, sf_task_spec *spec)
{
    json_t *object = json_object();
    char *params = sf_params_json(spec->task->params, spec->params);
    json_t *given = params ? json_loads(params, 0, NULL) : NULL;
    free(params);
    if (!object || !given) {
        json_decref(object);
        json_decref(given);
        return no_memory(node);
    }
    bool whole = json_object_set_new(object, "params", given) == 0;
    sf_status status = add_hashes(node, spec->task->name, spec->task->params, spec->params, object);
    if (status != SF_OK) {
        json_decref(object);
        return status;
    }
    static const char *const places[] = {"own", "both", "after", "before"};
    whole &= json_object_set_new(object, "answer", json_string(spec->prompting.direct ? "direct" : "explain")) == 0;
    whole &= json_object_set_new(object, "question", json_string(spec->late ? "late" : places[spec->prompting.place])) == 0;
    if (spec->turns > 1) whole &= json_object_set_new(object, spec->asking == SF_ASK_SHARED ? "shared" : "turns", json_integer(spec->turns)) == 0;
    if (spec->turns > 1 && spec->asking == SF_ASK_ANEW) whole &= json_object_set_new(object, "compress", json_string("each")) == 0;
    if (spec->prompting.introduction)
        whole &= json_object_set_new(object, "introduction", json_string(spec->prompting.introduction)) == 0;
    if (spec->prompting.instructions)
        whole &= json_object_set_new(object, "instructions", json_string(spec->prompting.instructions)) == 0;
    spec->json = whole ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return spec->json ? SF_OK : sf_yaml_fail(node, "a text of this task is not valid UTF-8");
}

/* all: what the sweep says of every task. */
static sf_status read_task(const sf_node *node, const sf_sweep *sweep, const sf_task_spec *all, sf_task_spec *out)
{
    const char *name, *label = NULL;
    const sf_node *params, *given;
    SF_TRY(read_entry(node, &name, &params));
    out->task = sf_task_find(name);
    if (!out->task) {
        const char *names[NAMES];
        int n = 0;
        for (; sf_tasks[n] && n < NAMES; n++) names[n] = sf_tasks[n]->name;
        for (int i = 0; sf_suite_task(i) && n < NAMES; i++) names[n++] = sf_suite_task(i)->name;
        for (int i = 0; sf_task_plugin(i) && n < NAMES; i++) names[n++] = sf_task_plugin(i)->name;
        return unknown(node, "task", name, names, n);
    }
    out->code = sf_task_code(out->task);
    out->params = calloc(1, out->task->params_size + 1);
    if (!out->params) return sf_fail(SF_NO_MEMORY, "%s: no memory", name);
    SF_TRY(sf_yaml_params(params, out->task->params, sf_task_keys, out->params));
    out->prompting = all->prompting;
    out->output = all->output ? all->output : out->task->output;
    out->late = all->late;
    out->turns = all->turns;
    out->asking = all->asking;
    if (params) SF_TRY(read_asking(params, out));
    if (out->turns > 1) {
        const bool shared = out->asking == SF_ASK_SHARED;
        const char *key = shared ? "shared" : "turns";
        if (shared ? !out->task->shared : !out->task->turns)
            return sf_yaml_fail(node, "task '%s' asks once on a context; `%s` is for tasks that can ask again: %s", name, key, ask_again(shared));
        if (sweep->divergence_rows) return sf_yaml_fail(node, "divergence is not measured over several turns: leave out `%s` or it", key);
        if (shared && !out->late)
            return sf_yaml_fail(node, "`shared` prefills a context once, before any of its questions is known: add `question: late`");
    }
    if (out->late && out->task->raw) return sf_yaml_fail(node, "task '%s' asks nothing, so that nothing can be asked late", name);
    if (params && (given = sf_yaml_get(params, "label"))) SF_TRY(sf_yaml_text(given, &label));
    out->label = label ? strdup(label) : sf_params_label(name, out->task->params, out->params);
    if (!out->label) return no_memory(node);
    SF_TRY(task_json(node, out));
    for (const sf_task_spec *other = sweep->task; other < out; other++) {
        if (other->task == out->task && strcmp(other->json, out->json) == 0)
            return sf_yaml_fail(node, "task '%s' stands twice with the same parameters", out->label);
        if (strcmp(other->label, out->label) == 0)
            return sf_yaml_fail(node, "two tasks are called '%s'; give one of them a label of its own: {label: NAME}",
                                out->label);
    }
    return SF_OK;
}

/* Parameters, and the content of files they name. */
static sf_status arm_json(const sf_node *node, sf_arm *arm)
{
    char *params = sf_params_json(arm->method->params, arm->params);
    json_t *object = params ? json_loads(params, 0, NULL) : NULL;
    free(params);
    sf_status status = object ? add_hashes(node, arm->method->name, arm->method->params, arm->params, object) : no_memory(node);
    if (status == SF_OK && !(arm->json = json_dumps(object, JSON_COMPACT))) status = no_memory(node);
    json_decref(object);
    return status;
}

static sf_status read_arm(const sf_node *node, sf_phase phase, sf_arm *out)
{
    const char *name;
    const sf_node *params;
    SF_TRY(read_entry(node, &name, &params));
    const sf_method *method = sf_method_find(name);
    bool fits = method && (phase == SF_PREFILL ? method->prefill != NULL : sf_decodes(method));
    if (method && !fits && (method->prefill || sf_decodes(method)))
        return sf_yaml_fail(node, "method '%s' works in %s; list it under methods.%s", name,
                            phase == SF_PREFILL ? "decode" : "prefill", phase == SF_PREFILL ? "decode" : "prefill");
    if (!fits) {
        if (method || strcmp(name, "dense") == 0)
            return sf_yaml_fail(node, "'%s' is always run, as the cell to compare with; leave it out", name);
        const char *names[NAMES];
        int n = 0;
        for (int i = 0; sf_methods[i] && n < NAMES; i++) names[n++] = sf_methods[i]->name;
        for (int i = 0; sf_method_plugin(i) && n < NAMES; i++) names[n++] = sf_method_plugin(i)->name;
        return unknown(node, "method", name, names, n);
    }
    const sf_node *delta = params && phase == SF_PREFILL ? sf_yaml_get(params, "delta") : NULL;
    static const char *const reserved[] = {"delta", NULL};
    if (delta && !(method = sf_delta_over(method)))
        return sf_yaml_fail(delta, "delta corrects methods with a prefill, each once; '%s' is none", name);
    if (delta) name = method->name;
    out->method = method;
    out->code = sf_method_code(method);
    snprintf(out->version, sizeof out->version, *out->code ? "%d %.8s" : "%d", method->version, out->code);
    out->params = calloc(1, method->params_size + 1);
    if (!out->params) return sf_fail(SF_NO_MEMORY, "%s: no memory", name);
    SF_TRY(sf_yaml_params(params, method->params, delta ? reserved : NULL, out->params));
    if (delta) SF_TRY(sf_yaml_params(delta, sf_delta_params, NULL, out->params));
    bool budget = false;
    for (const sf_param *p = method->params; p && p->name; p++) {
        budget |= p->budget;
        if (p->budget && params && sf_yaml_get(params, p->name)) out->explicit_budget = true;
    }
    if (!method->fit && !budget) out->explicit_budget = true; /* it always computes as much: one cell */
    if (!out->explicit_budget && !method->fit)
        return sf_yaml_fail(node, "method '%s' does not map a target sparsity; give its parameters", name);
    out->label = sf_params_label(name, method->params, out->params);
    return out->label ? arm_json(node, out) : no_memory(node);
}

/* attention: `family`, or the method, with its numbers, that a model was trained under, in each phase that the method works in. */
static sf_status read_attention(const sf_node *node, sf_model_spec *out)
{
    const char *name;
    const sf_node *params;
    out->alone = true;
    SF_TRY(read_entry(node, &name, &params));
    if (strcmp(name, "family") == 0 && !params) return SF_OK;
    if (strcmp(name, "dense") == 0 || strcmp(name, "family") == 0)
        return sf_yaml_fail(node, "expected `family`, by which it attends as its config.json says, or a method with its numbers");
    const sf_method *method = sf_method_find(name);
    if (method && (method->oracle || method->random))
        return sf_yaml_fail(node, "'%s' is %s, for analysis: no model is trained under it", name, method->oracle ? "an oracle, whose choices cost nothing" : "a random choice");
    const bool decodes = method && sf_decodes(method);
    if (!decodes || method->prefill) SF_TRY(read_arm(node, SF_PREFILL, &out->own.prefill));
    if (decodes) SF_TRY(read_arm(node, SF_DECODE, &out->own.decode));
    if ((decodes && !out->own.decode.explicit_budget) || (method->prefill && !out->own.prefill.explicit_budget))
        return sf_yaml_fail(node, "a model was trained under '%s' with numbers of its own, and is not fitted to a target sparsity: give them", name);
    return SF_OK;
}

/* stored: of a config that came with results, whose methods are not read. */
static sf_status read_model(const sf_node *node, bool stored, sf_model_spec *out)
{
    static const char *const keys[] = {"path", "label", "chat", "weights", "positions", "attention", NULL};
    const sf_node *path = node, *chat = NULL, *label = NULL, *positions;
    if (node->kind == SF_MAP) {
        SF_TRY(sf_yaml_known(node, keys));
        path = sf_yaml_get(node, "path");
        chat = sf_yaml_get(node, "chat");
        label = sf_yaml_get(node, "label");
        if (!path) return sf_yaml_fail(node, "expected a path: the model's file or folder");
        if ((positions = sf_yaml_get(node, "positions"))) SF_TRY(read_positions(positions, out));
        const sf_node *attention = sf_yaml_get(node, "attention"), *weights = sf_yaml_get(node, "weights");
        if (attention && !stored) SF_TRY(read_attention(attention, out));
        int choice;
        if (weights) {
            SF_TRY(sf_yaml_choice(weights, "file|random", &choice));
            out->random = choice == 1;
        }
    }
    SF_TRY(sf_yaml_text(path, &out->path));
    if (label) {
        const char *text;
        SF_TRY(sf_yaml_text(label, &text));
        out->label = strdup(text);
    } else {
        out->label = default_label(out->path);
    }
    if (!out->label) return no_memory(node);
    return chat ? sf_chat_read(chat, out) : SF_OK;
}

static sf_status read_methods(const sf_node *map, sf_sweep *sweep)
{
    static const char *const keys[] = {"prefill", "decode", "joint", NULL};
    static const char *const pair_keys[] = {"prefill", "decode", NULL};
    if (!map) return SF_OK;
    SF_TRY(sf_yaml_known(map, keys));
    const sf_node *list[3];
    int n = 0;
    for (int k = 0; k < 3; k++) {
        list[k] = sf_yaml_get(map, keys[k]);
        if (list[k]) SF_TRY(sf_yaml_list(list[k]));
        n += list[k] ? list[k]->items : 0;
    }
    sweep->arm = calloc((size_t)n + 1, sizeof *sweep->arm);
    if (!sweep->arm) return sf_fail(SF_NO_MEMORY, "methods: no memory");
    for (int i = 0; list[0] && i < list[0]->items; i++)
        SF_TRY(read_arm(list[0]->item[i], SF_PREFILL, &sweep->arm[sweep->arms++].prefill));
    for (int i = 0; list[1] && i < list[1]->items; i++)
        SF_TRY(read_arm(list[1]->item[i], SF_DECODE, &sweep->arm[sweep->arms++].decode));
    for (int i = 0; list[2] && i < list[2]->items; i++) {
        const sf_node *pair = list[2]->item[i];
        SF_TRY(sf_yaml_known(pair, pair_keys));
        const sf_node *prefill = sf_yaml_get(pair, "prefill"), *decode = sf_yaml_get(pair, "decode");
        if (!prefill || !decode) return sf_yaml_fail(pair, "expected {prefill: METHOD, decode: METHOD}");
        sf_arm_pair *arm = &sweep->arm[sweep->arms++];
        SF_TRY(read_arm(prefill, SF_PREFILL, &arm->prefill));
        SF_TRY(read_arm(decode, SF_DECODE, &arm->decode));
    }
    return SF_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------- */

static int ascending_int(const void *a, const void *b) { return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b); }
static int ascending_real(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static sf_status read_lengths(const sf_node *list, sf_sweep *sweep)
{
    SF_TRY(sf_yaml_list(list));
    sweep->length = calloc((size_t)list->items, sizeof *sweep->length);
    if (!sweep->length) return no_memory(list);
    for (int i = 0; i < list->items; i++) {
        int64_t tokens;
        SF_TRY(sf_yaml_int(list->item[i], 64, 4194304, &tokens));
        for (int j = 0; j < i; j++)
            if (sweep->length[j] == tokens) return sf_yaml_fail(list->item[i], "length %d stands twice", (int)tokens);
        sweep->length[sweep->lengths++] = (int)tokens;
    }
    qsort(sweep->length, (size_t)sweep->lengths, sizeof *sweep->length, ascending_int);
    return SF_OK;
}

static sf_status read_sparsities(const sf_node *list, sf_sweep *sweep)
{
    if (!list || (list->kind == SF_LIST && !list->items)) return SF_OK;
    SF_TRY(sf_yaml_list(list));
    sweep->sparsity = calloc((size_t)list->items, sizeof *sweep->sparsity);
    if (!sweep->sparsity) return no_memory(list);
    for (int i = 0; i < list->items; i++) {
        double s;
        SF_TRY(sf_yaml_real(list->item[i], 0, 0.999, &s));
        bool twice = s == 0;
        for (int j = 0; j < sweep->sparsities; j++) twice |= sweep->sparsity[j] == s;
        if (!twice) sweep->sparsity[sweep->sparsities++] = s;
    }
    qsort(sweep->sparsity, (size_t)sweep->sparsities, sizeof *sweep->sparsity, ascending_real);
    return SF_OK;
}

static sf_status whole(const sf_node *root, const char *key, double low, double high, int64_t initial, int64_t *out)
{
    const sf_node *node = sf_yaml_get(root, key);
    *out = initial;
    return node ? sf_yaml_int(node, low, high, out) : SF_OK;
}

/* picture: [LAYER, HEAD], or none */
static sf_status read_picture(const sf_node *node, sf_sweep *s)
{
    int64_t n[2] = {-1, -1};
    bool none = node && node->kind == SF_SCALAR && strcmp(node->text, "none") == 0;
    if (node && !none && (node->kind != SF_LIST || node->items != 2))
        return sf_yaml_fail(node, "expected [LAYER, HEAD], counted from 0, or none");
    for (int i = 0; node && !none && i < 2; i++) SF_TRY(sf_yaml_int(node->item[i], 0, 4096, &n[i]));
    s->picture_layer = none ? -2 : (int)n[0];
    s->picture_head = (int)n[1];
    return SF_OK;
}

static sf_status read_parallel(const sf_node *node, sf_sweep *s)
{
    static const char *const keys[] = {"tensor", "pipeline", NULL};
    int64_t tensor = 1, pipeline = 1;
    s->tensor = s->pipeline = 1;
    if (!node) return SF_OK;
    SF_TRY(sf_yaml_known(node, keys));
    SF_TRY(whole(node, "tensor", 1, 1024, 1, &tensor));
    SF_TRY(whole(node, "pipeline", 1, 1024, 1, &pipeline));
    s->tensor = (int)tensor, s->pipeline = (int)pipeline;
    return SF_OK;
}

/* [score], [score, divergence] or [score, divergence: ROWS] */
static sf_status read_measures(const sf_node *node, sf_sweep *s)
{
    enum { ROWS = 32 };
    bool score = !node;
    if (node) SF_TRY(sf_yaml_list(node));
    for (int i = 0; node && i < node->items; i++) {
        const sf_node *item = node->item[i], *rows = sf_yaml_get(item, "divergence");
        static const char *const keys[] = {"divergence", NULL};
        int which = 1;
        int64_t n = ROWS;
        if (item->kind == SF_MAP) SF_TRY(sf_yaml_known(item, keys));
        else SF_TRY(sf_yaml_choice(item, "score|divergence", &which));
        if (rows) SF_TRY(sf_yaml_int(rows, 1, 4096, &n));
        if (which == 1) s->divergence_rows = (int)n;
        score |= which == 0;
    }
    return score ? SF_OK : sf_yaml_fail(node, "expected score among the measures: every cell has one");
}

/* cache: FORMAT, or a list of them; exact among them, or not. */
static sf_status read_caches(const sf_node *node, sf_sweep *s)
{
    char choices[256] = "exact";
    const int n = node && node->kind == SF_LIST ? node->items : 1;
    s->cache = calloc((size_t)(n ? n : 1), sizeof *s->cache);
    if (!s->cache) return sf_fail(SF_NO_MEMORY, "cache: no memory");
    for (const sf_cache_format *f = sf_cache_formats; f->name; f++)
        snprintf(choices + strlen(choices), sizeof choices - strlen(choices), "|%s", f->name);
    if (node && node->kind == SF_LIST) SF_TRY(sf_yaml_list(node));
    for (int i = 0; i < n; i++) {
        const sf_node *item = node && node->kind == SF_LIST ? node->item[i] : node;
        int which = 0;
        if (item) SF_TRY(sf_yaml_choice(item, choices, &which));
        const sf_cache_format *format = which ? &sf_cache_formats[which - 1] : NULL;
        for (int j = 0; j < s->caches; j++)
            if (s->cache[j] == format) return sf_yaml_fail(item, "cache %s stands twice", format ? format->name : "exact");
        s->cache[s->caches++] = format;
    }
    return SF_OK;
}

/* decide: [best, ranking, frontier], one or more of them */
static sf_status read_decisions(const sf_node *list, int *out)
{
    int which;
    *out = SF_DECIDE_BEST;
    if (!list) return SF_OK;
    SF_TRY(sf_yaml_list(list));
    *out = 0;
    for (int i = 0; i < list->items; i++) {
        SF_TRY(sf_yaml_choice(list->item[i], "best|ranking|frontier", &which));
        *out |= 1 << which;
    }
    return SF_OK;
}

/* samples: N, or {least, most, until, decide, error} */
static sf_status read_samples(const sf_node *node, sf_sweep *s)
{
    static const char *const keys[] = {"least", "most", "until", "decide", "error", NULL};
    enum { FEWEST = 2, MOST = 1000000 };
    int64_t n = 20;
    if (node && node->kind == SF_MAP) {
        SF_TRY(sf_yaml_known(node, keys));
        const sf_node *in[] = {sf_yaml_get(node, "least"), sf_yaml_get(node, "most"), sf_yaml_get(node, "until")};
        if (!in[0] || !in[1] || !in[2]) return sf_yaml_fail(node, "expected {least: SAMPLES, most: SAMPLES, until: SCORE}, all three");
        SF_TRY(sf_yaml_int(in[0], FEWEST, MOST, &n));
        s->least = (int)n;
        SF_TRY(sf_yaml_int(in[1], s->least, MOST, &n));
        SF_TRY(sf_yaml_real(in[2], 0.001, 1, &s->until));
        SF_TRY(read_decisions(sf_yaml_get(node, "decide"), &s->decide));
        const sf_node *error = sf_yaml_get(node, "error");
        int of = 0;
        if (error) SF_TRY(sf_yaml_choice(error, "study|decision", &of));
        s->error_of_study = of == 0;
    } else if (node) {
        SF_TRY(sf_yaml_int(node, 1, MOST, &n));
    }
    s->samples = (int)n;
    return SF_OK;
}

/* What products are of: each device has one, but for the cpu, which then has another name. */
static sf_status read_dtype(const sf_node *node, sf_sweep *s)
{
    int bf16, rounds = strncmp(s->device, "cuda", 4) == 0 || strcmp(s->device, "cpu-bf16") == 0;
    SF_TRY(sf_yaml_choice(node, "f32|bf16", &bf16));
    if (bf16 && strcmp(s->device, "cpu") == 0)
        s->device = "cpu-bf16";
    else if (bf16 != rounds)
        return sf_yaml_fail(node, "device '%s' computes in %s", s->device, rounds ? "bf16" : "f32");
    return SF_OK;
}

/* What linear layers of quantised weights multiply: numbers that are rounded to 8 bits, on a device of their own; or not. */
static sf_status read_arithmetic(const sf_node *node, sf_sweep *s)
{
    int int8;
    SF_TRY(sf_yaml_choice(node, "float|int8", &int8));
    if (int8 && strcmp(s->device, "cpu") == 0)
        s->device = "cpu-int8";
    else if (int8 != (strcmp(s->device, "cpu-int8") == 0))
        return sf_yaml_fail(node, int8 ? "device '%s' has no int8 arithmetic: it takes device cpu, with dtype f32" : "device '%s' computes in int8", s->device);
    return SF_OK;
}

static sf_status read_all(const sf_node *root, const char *path, bool stored, sf_sweep *s)
{
    static const char *const keys[] = {"name",   "models", "tasks",   "lengths", "sparsity", "methods",  "samples",
                                       "seed",   "output", "answer",  "question", "turns", "shared", "plugins", "device",   "threads",
                                       "batch",  "recall", "picture", "memory",  "on_error", "hook_limit",
                                       "parallel", "measures", "dtype", "arithmetic", "cache", NULL};
    SF_TRY(sf_yaml_known(root, keys));
    static const char *const needed[] = {"models", "tasks", "lengths", NULL};
    for (int i = 0; needed[i]; i++)
        if (!sf_yaml_get(root, needed[i]))
            return sf_fail(SF_BAD_INPUT, "%s: key '%s' is missing; a sweep needs models, tasks and lengths", path, needed[i]);
    const sf_node *node = sf_yaml_get(root, "name");
    s->name = NULL;
    if (node) SF_TRY(sf_yaml_text(node, &s->name));
    if (s->name && (strchr(s->name, '/') || s->name[0] == '.'))
        return sf_yaml_fail(node, "expected a plain name; it becomes results/NAME.h5");

    int64_t n;
    SF_TRY(read_samples(sf_yaml_get(root, "samples"), s));
    SF_TRY(whole(root, "seed", 0, 9e15, SF_DEFAULT_SEED, &n)); s->seed = (uint64_t)n;
    SF_TRY(whole(root, "threads", 0, 4096, 0, &n)); s->threads = (int)n;
    SF_TRY(whole(root, "batch", 1, 1e6, 64, &n)); s->batch = (int)n;
    SF_TRY(whole(root, "recall", 0, 4096, 16, &n)); s->recall_rows = (int)n;
    SF_TRY(read_measures(sf_yaml_get(root, "measures"), s));
    SF_TRY(read_picture(sf_yaml_get(root, "picture"), s));
    SF_TRY(read_parallel(sf_yaml_get(root, "parallel"), s));
    if ((node = sf_yaml_get(root, "memory"))) SF_TRY(sf_yaml_real(node, 0.001, 1e6, &s->memory_gib));
    s->hook_limit = 600;
    if ((node = sf_yaml_get(root, "hook_limit"))) SF_TRY(sf_yaml_real(node, 1, 1e6, &s->hook_limit));
    int choice = 0;
    if ((node = sf_yaml_get(root, "on_error"))) SF_TRY(sf_yaml_choice(node, "continue|stop", &choice));
    s->stop_on_error = choice == 1;
    s->device = "cpu";
    if ((node = sf_yaml_get(root, "device"))) SF_TRY(sf_yaml_text(node, &s->device));
    if ((node = sf_yaml_get(root, "dtype"))) SF_TRY(read_dtype(node, s));
    if ((node = sf_yaml_get(root, "arithmetic"))) SF_TRY(read_arithmetic(node, s));

    if (!stored) SF_TRY(read_plugins(sf_yaml_get(root, "plugins")));
    SF_TRY(read_lengths(sf_yaml_get(root, "lengths"), s));
    SF_TRY(read_sparsities(sf_yaml_get(root, "sparsity"), s));
    SF_TRY(read_caches(sf_yaml_get(root, "cache"), s));

    node = sf_yaml_get(root, "models");
    SF_TRY(sf_yaml_list(node));
    s->model = calloc((size_t)node->items, sizeof *s->model);
    if (!s->model) return no_memory(node);
    for (int i = 0; i < node->items; i++) {
        sf_model_spec *model = &s->model[s->models++];
        SF_TRY(read_model(node->item[i], stored, model));
        if (s->divergence_rows && (model->own.prefill.method || model->own.decode.method))
            return sf_yaml_fail(node->item[i], "divergence is measured from dense attention, which '%s' was not trained with: leave out its "
                                "`attention`, or the measure", model->label);
        for (int j = 0; j < i; j++)
            if (strcmp(s->model[j].label, s->model[i].label) == 0)
                return sf_yaml_fail(node->item[i], "two models are called '%s'; give one a label", s->model[i].label);
    }
    sf_task_spec all = {.turns = 1};
    SF_TRY(read_asking(root, &all));
    node = sf_yaml_get(root, "tasks");
    SF_TRY(sf_yaml_list(node));
    s->task = calloc((size_t)node->items, sizeof *s->task);
    if (!s->task) return no_memory(node);
    for (int i = 0; i < node->items; i++)
        SF_TRY(read_task(node->item[i], s, &all, &s->task[s->tasks++]));

    if (stored) return SF_OK;
    SF_TRY(read_methods(sf_yaml_get(root, "methods"), s));
    for (int i = 0; i < s->arms; i++) {
        const sf_arm_pair *pair = &s->arm[i];
        bool target = (pair->prefill.method && !pair->prefill.explicit_budget) ||
                      (pair->decode.method && !pair->decode.explicit_budget);
        if (target && !s->sparsities)
            return sf_yaml_fail(sf_yaml_get(root, "methods"), "method '%s' needs target sparsities: add sparsity: [0.5, …], "
                                "or give its budget parameter",
                                pair->prefill.method ? pair->prefill.label : pair->decode.label);
    }
    return SF_OK;
}

/* The file's text as it is, then the overrides as comments: what the results file keeps. */
static sf_status provenance(const char *path, int sets, const char *const *set, char **text)
{
    size_t size;
    char buffer[4096];
    *text = NULL;
    FILE *in = fopen(path, "rb"), *out = in ? open_memstream(text, &size) : NULL;
    if (!in) return sf_fail(SF_IO, "%s: cannot be read: %s", path, strerror(errno));
    for (size_t n; out && (n = fread(buffer, 1, sizeof buffer, in)) > 0;) fwrite(buffer, 1, n, out);
    for (int i = 0; out && i < sets; i++) fprintf(out, "# --set %s\n", set[i]);
    bool whole = !ferror(in) && out && !ferror(out);
    fclose(in);
    if (out && fclose(out) != 0) whole = false;
    return whole ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: cannot be kept in memory", path);
}

/* Results are named after the config's file where it does not name itself. */
static sf_status name_by_file(const char *path, sf_sweep *s)
{
    s->name = s->file_name = default_label(path);
    if (!s->name) return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    if (*s->name && *s->name != '.') return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: add 'name: NAME', since the file's own name gives none; results go to results/NAME.h5",
                   path);
}

static sf_status read_sweep(const char *path, int sets, const char *const *set, bool stored, sf_sweep **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    sf_sweep *s = *out;
    sf_status status = sf_yaml_read(path, &s->tree);
    for (int i = 0; status == SF_OK && i < sets; i++) status = sf_yaml_set(s->tree, set[i]);
    if (status == SF_OK) status = read_all(s->tree, path, stored, s);
    if (status == SF_OK) status = provenance(path, sets, set, &s->text);
    if (status == SF_OK && !s->name) status = name_by_file(path, s);
    if (status != SF_OK) sf_sweep_free(s), *out = NULL;
    return status;
}

sf_status sf_sweep_read(const char *path, int sets, const char *const *set, sf_sweep **out)
{
    return read_sweep(path, sets, set, false, out);
}

sf_status sf_sweep_read_stored(const char *path, int sets, const char *const *set, sf_sweep **out)
{
    return read_sweep(path, sets, set, true, out);
}

static void free_arm(sf_arm *arm)
{
    free(arm->label);
    free(arm->params);
    free(arm->json);
}

void sf_sweep_free(sf_sweep *s)
{
    if (!s) return;
    for (int i = 0; s->model && i < s->models; i++) {
        free((char *)s->model[i].label);
        free(s->model[i].chat);
        free_arm(&s->model[i].own.prefill);
        free_arm(&s->model[i].own.decode);
    }
    for (int i = 0; s->task && i < s->tasks; i++) {
        free(s->task[i].label);
        free(s->task[i].params);
        free(s->task[i].json);
    }
    for (int i = 0; s->arm && i < s->arms; i++) {
        free_arm(&s->arm[i].prefill);
        free_arm(&s->arm[i].decode);
    }
    free(s->model);
    free(s->task);
    free(s->arm);
    free(s->length);
    free(s->sparsity);
    free(s->cache);
    free(s->text);
    free(s->file_name);
    sf_yaml_free(s->tree);
    free(s);
}
