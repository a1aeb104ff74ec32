/* One sample, for eyes: from a config (prompt, gold, tokens) or from results (prediction, scores, densities as well). */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/cli/conversation.h"
#include "harness/cli/stored.h"
#include "harness/model/chat.h"
#include "harness/model/tokenizer.h"
#include "harness/run/study.h"

static const struct argp_option options[] = {
    {"model", 'm', "LABEL", 0, "model (default: the first)", 0},
    {"task", 't', "NAME", 0, "task, by name or label (default: the first)", 0},
    {"length", 'l', "TOKENS", 0, "length (default: the first)", 0},
    {"method", 'k', "NAME", 0, "results: method (default: the first cell)", 0},
    {"sparsity", 'p', "S", 0, "results: requested sparsity", 0},
    {"cache", 'f', "FORMAT", 0, "results: cache: exact, or a format", 0},
    {"sample", 'i', "N", 0, "sample number, from 0 (default 0)", 0},
    {"set", 's', "KEY=VALUE", 0, "config: override a key (repeatable)", 0},
    {"chat", 'c', NULL, 0, "the whole conversation as the model reads it, token by token with ids; of a model's path: an example, "
                           "--set overrides keys of its `chat`", 0},
    {"json", 'j', NULL, 0, "print JSON", 0},
    {0},
};

struct args {
    const char *file, *model, *task, *method, *cache;
    int length, sample;
    double sparsity;
    sf_strings set;
    bool json, chat;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    char *end = NULL;
    switch (key) {
    case 'm': a->model = arg; return 0;
    case 't': a->task = arg; return 0;
    case 'k': a->method = arg; return 0;
    case 'f': a->cache = arg; return 0;
    case 'l':
        a->length = (int)strtol(arg, &end, 10);
        if (*end || a->length <= 0) argp_error(state, "--length: expected a number of tokens, found '%s'", arg);
        return 0;
    case 'i':
        a->sample = (int)strtol(arg, &end, 10);
        if (*end || a->sample < 0) argp_error(state, "--sample: expected a number from 0, found '%s'", arg);
        return 0;
    case 'p':
        a->sparsity = strtod(arg, &end);
        if (*end || a->sparsity < 0) argp_error(state, "--sparsity: expected a number, found '%s'", arg);
        return 0;
    case 's': sf_strings_add(state, &a->set, arg); return 0;
    case 'c': a->chat = true; return 0;
    case 'j': a->json = true; return 0;
    case ARGP_KEY_ARG: a->file = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a config (.yaml) or a results file (.h5)"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the sample as the model reads it ---------------------------------------------------------------------------------- */

static json_t *gold_of(const sf_sample *sample)
{
    json_t *gold = json_array();
    for (int g = 0; g < sample->gold_count; g++) json_array_append_new(gold, json_string(sample->gold[g]));
    return gold;
}

/* Adds prompt, gold, tokens and the template's own text of one sample to `o`. */
static sf_status add_prompt(const struct args *a, const sf_study *study, int model, int task, int length, json_t *o)
{
    const sf_sweep *s = study->sweep;
    const sf_model *m = study->model[model];
    sf_sample sample;
    sf_input input;
    SF_TRY(sf_study_sample(study, model, task, length, a->sample, &sample, &input));
    int32_t *ids = input.id;
    const int n = input.tokens;
    json_object_set_new(o, "model", json_string(s->model[model].label));
    json_object_set_new(o, "task", json_string(s->task[task].label));
    json_object_set_new(o, "length", json_integer(s->length[length]));
    json_object_set_new(o, "sample", json_integer(a->sample));
    json_object_set_new(o, "tokens", json_integer(n));
    json_object_set_new(o, "chat", json_string(sf_chat_name(s->task[task].task->raw ? study->plain[model] : m->chat)));
    json_object_set_new(o, "prompt", json_string(sample.prompt));
    if (sample.answer_prefix) json_object_set_new(o, "answer_prefix", json_string(sample.answer_prefix));
    json_object_set_new(o, "gold", gold_of(&sample));
    if (sample.laters) json_object_set_new(o, "later", json_array());
    for (int i = 0; i < sample.laters; i++) {
        json_t *turn = json_pack("{s:s, s:i, s:o}", "prompt", sample.later[i].prompt, "tokens", input.later_tokens[i], "gold",
                                 gold_of(&sample.later[i]));
        json_array_append_new(json_object_get(o, "later"), turn);
    }
    if (sample.continuation) json_object_set_new(o, "continuation", json_string(sample.continuation));
    json_object_set_new(o, "answer", sample.answer ? json_string(sample.answer) : json_null());
    char *head = NULL, *tail = NULL;
    int ends = n < 24 ? n : 24;
    sf_status status = sf_decode(m->tokenizer, ids, ends, false, &head);
    if (status == SF_OK) status = sf_decode(m->tokenizer, ids + n - ends, ends, false, &tail);
    if (status == SF_OK) {
        json_object_set_new(o, "input_begins", json_string(head));
        json_object_set_new(o, "input_ends", json_string(tail));
    }
    free(head);
    free(tail);
    if (a->chat) json_object_set_new(o, "conversation", sf_conversation(m, ids, n));
    sf_input_free(&input);
    sf_sample_free(&sample);
    return status;
}

/* Of the first model, length and task that fit; NULL and 0: any. */
static sf_status add_sample(const struct args *a, const sf_study *study, const char *model, const char *task, int length, json_t *o)
{
    const sf_sweep *s = study->sweep;
    for (int m = 0; m < s->models; m++)
        for (int l = 0; l < s->lengths; l++)
            for (int t = 0; t < s->tasks; t++)
                if ((!model || strcmp(model, s->model[m].label) == 0) && (!length || length == s->length[l]) &&
                    (!task || strcmp(task, s->task[t].label) == 0 || strcmp(task, s->task[t].task->name) == 0))
                    return add_prompt(a, study, m, t, l, o);
    return sf_fail(SF_BAD_INPUT, "%s: no such model, task or length in it", a->file);
}

static sf_status show_config(const struct args *a, json_t *o)
{
    sf_study study;
    sf_status status = sf_study_open(a->file, a->set.n, a->set.item, &study);
    if (status == SF_OK) status = add_sample(a, &study, a->model, a->task, a->length, o);
    if (status == SF_OK) json_object_set_new(o, "device", json_string(study.sweep->device));
    sf_study_close(&study);
    return status;
}

static void add_map(json_t *o, const char *name, const float *map, int layers, int heads)
{
    json_t *rows = json_array();
    for (int l = 0; map && l < layers; l++) {
        json_t *row = json_array();
        for (int h = 0; h < heads; h++) {
            float v = map[l * heads + h];
            json_array_append_new(row, isnan(v) ? json_null() : json_real(v));
        }
        json_array_append_new(rows, row);
    }
    if (map) json_object_set_new(o, name, rows);
    else json_decref(rows);
}

static void set_real(json_t *o, const char *key, double value) { json_object_set_new(o, key, isnan(value) ? json_null() : json_real(value)); }

/* Whether an arm's label, "quest(page=32)", is what was asked for by label or by name. */
static bool is_called(const char *label, const char *asked)
{
    size_t n = strlen(asked);
    return strncmp(label, asked, n) == 0 && (!label[n] || label[n] == '(');
}

/* A cell that failed, and why. */
static bool add_failure(const struct args *a, const sf_results *r, json_t *o)
{
    for (int i = 0; i < r->failures; i++) {
        const sf_failure *f = &r->failure[i];
        const sf_phase phase = strcmp(f->label[SF_DECODE], "dense") != 0 ? SF_DECODE : SF_PREFILL;
        if ((a->model && strcmp(a->model, f->model) != 0) || (a->length && a->length != f->length) ||
            (a->task && !is_called(f->task, a->task)) || (a->method && !is_called(f->label[phase], a->method)) ||
            (a->sparsity >= 0 && !(fabs(a->sparsity - f->sparsity[phase]) < 1e-9)))
            continue;
        json_object_set_new(o, "cell", json_string(f->key));
        json_object_set_new(o, "model", json_string(f->model));
        json_object_set_new(o, "task", json_string(f->task));
        json_object_set_new(o, "length", json_integer(f->length));
        json_object_set_new(o, "prefill", json_string(f->label[SF_PREFILL]));
        json_object_set_new(o, "decode", json_string(f->label[SF_DECODE]));
        set_real(o, "prefill_sparsity", f->sparsity[SF_PREFILL]);
        set_real(o, "decode_sparsity", f->sparsity[SF_DECODE]);
        json_object_set_new(o, "sample", json_integer(f->sample));
        json_object_set_new(o, "failed", json_string(f->message));
        return true;
    }
    return false;
}

/* Beside whatever is shown: what else the file says could not be run. */
static void list_failures(const sf_results *r, json_t *o)
{
    json_t *list = r->failures ? json_array() : NULL;
    for (int i = 0; i < r->failures; i++) {
        const sf_failure *f = &r->failure[i];
        json_array_append_new(list, json_sprintf("%s, %s, %d tokens, %s in prefill, %s in decode, sample %d: %s", f->model,
                                                 f->task, f->length, f->label[SF_PREFILL], f->label[SF_DECODE], f->sample,
                                                 f->message));
    }
    if (list) json_object_set_new(o, "failed_cells", list);
}

static sf_status show_results(const struct args *a, json_t *o)
{
    sf_results r;
    SF_TRY(sf_results_read(1, &a->file, SF_READ_TEXTS | SF_READ_MAPS, &r));
    for (int i = 0; i < r.cells; i++) {
        const sf_cell_info *c = &r.cell[i];
        const sf_phase phase = strcmp(c->method[SF_DECODE], "dense") != 0 ? SF_DECODE : SF_PREFILL;
        if ((a->model && strcmp(a->model, c->model) != 0) || (a->length && a->length != c->length) ||
            (a->task && strcmp(a->task, c->task) != 0 && strcmp(a->task, c->task_label) != 0) ||
            (a->method && strcmp(a->method, c->method[phase]) != 0 && strcmp(a->method, c->label[phase]) != 0) ||
            (a->sparsity >= 0 && !(fabs(a->sparsity - c->sparsity[phase]) < 1e-9)) ||
            (a->cache && strcmp(a->cache, sf_cell_cache(c)) != 0))
            continue;
        for (int k = 0; k < r.records[i]; k++) {
            const sf_record *s = &r.record[i][k];
            if (s->sample != a->sample) continue;
            sf_study study = {0};
            const char *config = r.runs ? r.run[r.runs - 1].config : NULL;
            sf_status status = config ? sf_stored_open(config, &study) : sf_fail(SF_BAD_INPUT, "no config is stored");
            if (status == SF_OK) status = add_sample(a, &study, c->model, c->task_label, c->length, o);
            if (study.sweep) sf_study_close(&study);
            if (status == SF_NO_MEMORY) return sf_results_free(&r), status; /* nothing that the file lacks */
            if (status != SF_OK) json_object_set_new(o, "prompt_missing", json_string(sf_error()));
            json_object_set_new(o, "cell", json_string(c->key));
            json_object_set_new(o, "device", json_string(c->device));
            json_object_set_new(o, "dtype", json_string(c->dtype));
            json_object_set_new(o, "prefill", json_string(c->label[SF_PREFILL]));
            json_object_set_new(o, "decode", json_string(c->label[SF_DECODE]));
            json_object_set_new(o, "cache", json_string(sf_cell_cache(c)));
            set_real(o, "prefill_sparsity", c->sparsity[SF_PREFILL]);
            set_real(o, "decode_sparsity", c->sparsity[SF_DECODE]);
            set_real(o, "prefill_sparsity_achieved", s->achieved[SF_PREFILL]);
            set_real(o, "decode_sparsity_achieved", s->achieved[SF_DECODE]);
            json_object_set_new(o, "gold", json_loads(s->gold, JSON_DECODE_ANY, NULL));
            json_object_set_new(o, "prediction", json_string(s->prediction));
            json_object_set_new(o, "parsed", json_boolean(s->parsed));
            json_object_set_new(o, "truncated", json_boolean(s->truncated));
            set_real(o, "strict", s->strict);
            set_real(o, "reference", s->reference);
            json_object_set_new(o, "input_tokens", json_integer(s->input_tokens));
            json_object_set_new(o, "output_tokens", json_integer(s->output_tokens));
            set_real(o, "prefill_seconds", s->seconds[SF_PREFILL]);
            set_real(o, "decode_seconds", s->seconds[SF_DECODE]);
            add_map(o, "prefill_density", s->density[SF_PREFILL], c->layers, c->heads);
            add_map(o, "decode_density", s->density[SF_DECODE], c->layers, c->heads);
            add_map(o, "prefill_recall", s->recall[SF_PREFILL], c->layers, c->heads);
            add_map(o, "decode_recall", s->recall[SF_DECODE], c->layers, c->heads);
            add_map(o, "prefill_error", s->error[SF_PREFILL], c->layers, c->heads);
            add_map(o, "decode_error", s->error[SF_DECODE], c->layers, c->heads);
            list_failures(&r, o);
            sf_results_free(&r);
            return SF_OK;
        }
    }
    if (add_failure(a, &r, o)) {
        sf_results_free(&r);
        return SF_OK;
    }
    char there[1024] = "";
    for (int i = 0; i < r.cells; i++) {
        const sf_cell_info *c = &r.cell[i];
        const sf_phase phase = strcmp(c->method[SF_DECODE], "dense") != 0 ? SF_DECODE : SF_PREFILL;
        char one[256];
        snprintf(one, sizeof one, "\n  --model %.40s --task %.30s --length %d --method %.30s --sparsity %.4g%s%s", c->model, c->task, c->length,
                 c->method[phase], c->sparsity[phase], sf_cell_exact(c) ? "" : " --cache ", sf_cell_exact(c) ? "" : c->cache);
        if (strlen(there) + strlen(one) + 8 < sizeof there) strcat(there, one);
        else if (there[strlen(there) - 1] != '.') strcat(there, "\n  ...");
    }
    for (int i = 0; i < r.failures; i++) {
        const sf_failure *f = &r.failure[i];
        char one[256];
        snprintf(one, sizeof one, "\n  failed: %.40s, %.30s, %d tokens, %.30s, %.30s", f->model, f->task, f->length,
                 f->label[SF_PREFILL], f->label[SF_DECODE]);
        if (strlen(there) + strlen(one) + 8 < sizeof there) strcat(there, one);
    }
    sf_results_free(&r);
    return sf_fail(SF_BAD_INPUT, "%s: no such cell or sample in it. It holds:%s", a->file, there);
}

static void print_text(const json_t *o)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o, key, value) {
        if (strcmp(key, "conversation") == 0) {
            sf_conversation_print(value);
        } else if (json_is_array(value) && json_is_array(json_array_get(value, 0))) { /* a map: its mean per layer */
            printf("%s, mean of each layer:", key);
            size_t l, h;
            json_t *row, *cell;
            json_array_foreach(value, l, row) {
                double sum = 0;
                json_array_foreach(row, h, cell) sum += json_number_value(cell);
                printf(" %.3f", sum / (double)json_array_size(row));
            }
            printf("\n");
        } else if (strcmp(key, "prompt") == 0 || strcmp(key, "prediction") == 0 || strcmp(key, "rendered") == 0) {
            printf("---- %s ----\n%s\n----\n", key, json_string_value(value));
        } else if (json_is_string(value)) {
            printf("%s: %s\n", key, json_string_value(value));
        } else {
            printf("%s: ", key);
            json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
            printf("\n");
        }
    }
}

int sf_cmd_show(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "CONFIG.yaml|RESULTS.h5|MODEL --chat",
                                     "Shows one sample: from a config the prompt, gold answer and tokens; from results the "
                                     "prediction, scores and densities too.\v"
                                     "Examples:\n  frontier show configs/demo.yaml --task vt --sample 3\n"
                                     "  frontier show results/demo.h5 --method quest --sparsity 0.9\n"
                                     "  frontier show models/frontier-mini/s --chat --set system='Be brief.'",
                                     NULL, NULL, NULL};
    struct args a = {.sparsity = -1};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    json_t *o = json_object();
    const char *dot = strrchr(a.file, '.');
    bool results = dot && strcmp(dot, ".h5") == 0, config = dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
    sf_status status = results              ? show_results(&a, o)
                       : config || !a.chat ? show_config(&a, o)
                                           : sf_conversation_of(a.file, &a.set, o);
    if (status == SF_OK && a.json) {
        json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    } else if (status == SF_OK) {
        print_text(o);
    }
    json_decref(o);
    return sf_cli_end(status);
}
