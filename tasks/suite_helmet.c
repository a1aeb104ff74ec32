/* HELMET (Yen et al. 2024, arXiv 2410.02694), its recall part: values of a JSON object, and needles as RULER has them. Files of JSON lines of
 * its data. Prompts: data.py of princeton-nlp/HELMET; limits of output, two examples and no chat template: its configs/recall.yaml. The
 * prompt's last line is the beginning of the answer, and is part of what is scored, as there. */
#include "tasks/find.h"
#include "tasks/python_text.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <stdlib.h>
#include <string.h>

enum { SHOTS = 2 };

static sf_status no_memory(const char *path) { return sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", path); }

/* ---- prompts --------------------------------------------------------------------------------------------------------- */

static sf_status text_of(const char *path, const char *key, char **out)
{
    return sf_python_file_text(path, (const char *const[]){key, NULL}, out);
}

/* The user's template, a new line, and what the answer begins with. */
static sf_status prompt_of(const char *path, const char *user, const char *system, char **out)
{
    char *first, *second;
    SF_TRY(text_of(path, user, &first));
    sf_status status = text_of(path, system, &second);
    if (status == SF_OK) {
        sf_text whole = {0};
        sf_text_format(&whole, "%s\n%s", first, second);
        *out = whole.data;
        if (whole.failed) status = no_memory(path);
        if (status != SF_OK) sf_text_free(&whole);
        free(second);
    }
    free(first);
    return status;
}

/* `text` with `placeholder` filled, in place of it. */
static void fill(sf_text *out, const char *text, const char *placeholder, const char *with)
{
    const char *at = strstr(text, placeholder);
    sf_text_bytes(out, text, at ? (size_t)(at - text) : strlen(text));
    if (!at) return;
    sf_text_add(out, with);
    sf_text_add(out, at + strlen(placeholder));
}

static sf_status kv_prompt(const sf_dataset *dataset, const char *path, char **out)
{
    (void)dataset;
    char *whole, *demo = NULL;
    SF_TRY(prompt_of(path, "load_json_kv.user_template", "load_json_kv.system_template", &whole));
    sf_status status = text_of(path, "load_json_kv.demo_template", &demo);
    sf_text demos = {0}, made = {0};
    for (int i = 0; status == SF_OK && i < SHOTS; i++) {
        static const char *const keys[] = {"{key0}", "{key1}"}, *const values[] = {" {value0}", " {value1}"};
        sf_text one = {0};
        fill(&one, demo, "{key}", keys[i]);
        fill(&demos, one.data ? one.data : "", "{value}", values[i]);
        sf_text_add(&demos, "\n\n");
        demos.failed |= one.failed;
        sf_text_free(&one);
    }
    if (status == SF_OK) fill(&made, whole, "{demos}", demos.data ? demos.data : "");
    if (status == SF_OK && (demos.failed || made.failed)) status = no_memory(path);
    free(demo);
    if (status != SF_OK) sf_text_free(&made);
    sf_text_free(&demos);
    free(whole);
    *out = made.data;
    return status;
}

static sf_status niah_prompt(const sf_dataset *dataset, const char *path, char **out)
{
    const bool several = strstr(dataset->name, "_mv") != NULL;
    SF_TRY(prompt_of(path, several ? "load_ruler.user_template#1" : "load_ruler.user_template#2",
                     several ? "load_ruler.system_template#1" : "load_ruler.system_template#2", out));
    if (strstr(*out, "{context}") && strstr(*out, "{query}") && strstr(*out, "{type_needle_v}")) return SF_OK;
    free(*out);
    return sf_fail(SF_BAD_INPUT, "%s: expected load_ruler's prompts of needles as in HELMET's data.py, found others", path);
}

/* ---- rows ------------------------------------------------------------------------------------------------------------- */

/* {key0} and {value0} … of the row's list of pairs. */
static sf_status kv_field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const bool key = strncmp(name, "key", 3) == 0, value = strncmp(name, "value", 5) == 0;
    const char *text;
    if (key || value) {
        const json_t *demos;
        SF_TRY(sf_suite_list(row, "demos", &demos));
        text = json_string_value(json_array_get(json_array_get(demos, (size_t)(name[strlen(name) - 1] - '0')), value));
        if (!text) return sf_suite_wrong(row, "expected \"demos\" to hold %d pairs of texts", SHOTS);
    } else {
        SF_TRY(sf_suite_text(row, name, &text));
    }
    sf_text_add(out, text);
    return SF_OK;
}

/* A text or a list of texts. */
static sf_status gold_of(const sf_suite_row *row, const char *name, sf_sample *out)
{
    const char *text = json_string_value(json_object_get(row->json, name));
    return text && *text ? sf_sample_gold(out, text) : sf_suite_gold(row, name, out);
}

static sf_status kv_answers(const sf_suite_row *row, sf_sample *out) { return gold_of(row, "answer", out); }

static sf_status niah_answers(const sf_suite_row *row, sf_sample *out)
{
    SF_TRY(gold_of(row, json_object_get(row->json, "answer") ? "answer" : "outputs", out));
    sf_text all = {0};
    for (int i = 0; i < out->gold_count; i++) sf_text_format(&all, " %s", out->gold[i]);
    out->answer = all.failed ? NULL : all.data;
    return out->answer ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for an answer");
}

/* ---- the data sets ------------------------------------------------------------------------------------------------------ */

/* id, which is the name there; how its prompt, fields and answers are made; its metric's hook; limit of output; what it asks for */
#define DATASETS(_)                                                                                                     \
    _(json_kv, kv_prompt, kv_field, kv_answers, helmet_substring, 100, "the value of a key in a JSON object")            \
    _(ruler_niah_mk_2, niah_prompt, NULL, niah_answers, helmet_recall, 50, "one number among nothing but others")        \
    _(ruler_niah_mk_3, niah_prompt, NULL, niah_answers, helmet_recall, 100, "one UUID among nothing but others")         \
    _(ruler_niah_mv, niah_prompt, NULL, niah_answers, helmet_recall, 50, "the numbers of one key in prose")

#define DATASET(id, prompts, fields, reads, ...)                                                                        \
    static const sf_dataset set_##id = {                                                                                \
        .task = "helmet_" #id, .name = #id, .begun = true, .prompt = prompts, .field = fields, .answers = reads};       \
    SF_SUITE_HOOKS(id)
DATASETS(DATASET)

static const sf_param params[] = {
    SF_SUITE_PARAMS("the data set's file of HELMET's data, such as json_kv/test_k1800_dep6.jsonl", "data.py of the repository princeton-nlp/HELMET"),
    {0}};

#define TASK(id, prompts, fields, reads, hook, limit, asks)                                                             \
    {.abi = SF_TASK_ABI,                                                                                                \
     .name = "helmet_" #id,                                                                                             \
     .summary = asks,                                                                                                   \
     .source = "Yen et al. 2024, HELMET, arXiv 2410.02694",                                                             \
     .metric = "string match",                                                                                          \
     .version = 1,                                                                                                      \
     .output = limit,                                                                                                   \
     .raw = true,                                                                                                       \
     .params = params,                                                                                                  \
     .params_size = sizeof(sf_suite_params),                                                                            \
     .generate = generate_##id,                                                                                         \
     .supply = supply_##id,                                                                                             \
     .score = sf_score_##hook},
static const sf_task tasks[] = {DATASETS(TASK)};

const sf_suite sf_helmet = {.task = tasks, .tasks = sizeof tasks / sizeof *tasks};
