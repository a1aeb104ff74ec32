/* HELMET (Yen et al. 2024, arXiv 2410.02694), its recall part: values of a JSON object, and needles as RULER has them; and its RAG part:
 * questions of KILT's data sets and of PopQA with the passages that a retriever found. Files of JSON lines of its data. Prompts, and which
 * examples stand in one: data.py of princeton-nlp/HELMET; limits of output, two examples and no chat template: its configs/recall.yaml and
 * configs/rag.yaml. The prompt's last line is the beginning of the answer, and is part of what is scored, as there. Answers go on behind a
 * new line, as there: rag.yaml's stop_new_line is not what eval.py calls it, and does nothing. */
#include "tasks/find.h"
#include "tasks/python_chance.h"
#include "tasks/python_text.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <math.h>
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
        sf_suite_put(&one, demo, "{key}", keys[i]);
        sf_suite_put(&demos, one.data ? one.data : "", "{value}", values[i]);
        sf_text_add(&demos, "\n\n");
        demos.failed |= one.failed;
        sf_text_free(&one);
    }
    if (status == SF_OK) sf_suite_put(&made, whole, "{demos}", demos.data ? demos.data : "");
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
    *out = NULL;
    return sf_fail(SF_BAD_INPUT, "%s: expected load_ruler's prompts of needles as in HELMET's data.py, found others", path);
}

static sf_status rag_prompt(const sf_dataset *dataset, const char *path, char **out)
{
    (void)dataset;
    SF_TRY(prompt_of(path, "load_qa.user_template#1", "load_qa.system_template", out));
    if (strstr(*out, "{demos}") && strstr(*out, "{context}") && strstr(*out, "{question}")) return SF_OK;
    free(*out);
    *out = NULL;
    return sf_fail(SF_BAD_INPUT, "%s: expected load_qa's prompts as in HELMET's data.py, found others", path);
}

static sf_status demo_prompt(const sf_dataset *dataset, const char *path, char **out)
{
    (void)dataset;
    return text_of(path, "load_qa.demo_template", out);
}

static sf_status passage(const sf_dataset *dataset, const char *path, char **out)
{
    (void)dataset;
    return text_of(path, "load_qa.passage_template", out);
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

/* PopQA's rows of things that few read about: fewer than 10 to the third times a month, which the data set's name says. */
static sf_status unpopular(const sf_suite_row *row, bool *out)
{
    const json_t *views = json_object_get(row->json, "s_pop");
    if (!json_is_number(views) || !(json_number_value(views) > 0)) return sf_suite_wrong(row, "expected \"s_pop\" to be a number above 0");
    return *out = log10(json_number_value(views)) < 3, SF_OK;
}

/* Examples are shuffled by a seed that is the row's key, and those that come first, each key once, stand in its prompt; PopQA has but one
 * set of rows, and its own is not among them (load_qa). */
static sf_status draw_demos(const sf_suite_row *row, const char *key, int which, int *order, sf_text *out)
{
    const int all = sf_suite_demos(row);
    int *candidate = order + all, count = 0, shots = 0;
    for (int i = 0; i < all; i++) {
        const char *other = sf_suite_demo_key(row, i, which);
        if (!other) return sf_suite_wrong(row, "expected examples with a text \"%s\", as this row has it; `demos` names others", row->dataset->demos->keys[which]);
        if (!row->dataset->takes || strcmp(other, key) != 0) candidate[count++] = i;
    }
    sf_numpy_permutation(sf_python_hash_seed(key, strlen(key)), count, order);
    for (int i = 0; i < count && shots < SHOTS; i++) {
        bool before = false;
        for (int k = 0; k < i && !before; k++)
            before = strcmp(sf_suite_demo_key(row, candidate[order[k]], which), sf_suite_demo_key(row, candidate[order[i]], which)) == 0;
        if (before) continue;
        SF_TRY(sf_suite_demo(row, candidate[order[i]], out));
        sf_text_add(out, "\n\n");
        shots++;
    }
    return shots == SHOTS ? SF_OK : sf_suite_wrong(row, "expected %d examples that differ in `demos`, found %d", SHOTS, shots);
}

static sf_status add_demos(const sf_suite_row *row, sf_text *out)
{
    const char *const *names = row->dataset->demos->keys;
    const int which = !json_object_get(row->json, names[0]);
    char *key = sf_suite_key(row->json, names[which]);
    int *order = malloc(2 * (size_t)sf_suite_demos(row) * sizeof *order); /* an order, and what is ordered */
    sf_status status = !order ? no_memory(row->file)
                       : !key ? sf_suite_wrong(row, "expected \"%s\" to be a text or a whole number", names[which])
                              : draw_demos(row, key, which, order, out);
    free(order);
    free(key);
    return status;
}

static sf_status rag_field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const char *text;
    if (strcmp(name, "demos") == 0 && row->dataset->demos) return add_demos(row, out); /* an example has none */
    if (strcmp(name, "context") == 0) return sf_suite_documents(row, "ctxs", out);
    SF_TRY(sf_suite_text(row, name, &text));
    sf_text_add(out, text);
    return SF_OK;
}

static sf_status demo_field(const sf_suite_row *row, const char *name, sf_text *out)
{
    if (strcmp(name, "documents") == 0) return sf_suite_documents(row, "ctxs", out);
    if (strcmp(name, "answer") != 0) return rag_field(row, name, out);
    const char *answer = json_string_value(json_array_get(json_object_get(row->json, "answers"), 0));
    sf_text_add(out, answer ? answer : ""); /* which rag_answers() refuses */
    return SF_OK;
}

/* A text or a list of texts. */
static sf_status gold_of(const sf_suite_row *row, const char *name, sf_sample *out)
{
    const char *text = json_string_value(json_object_get(row->json, name));
    return text && *text ? sf_sample_gold(out, text) : sf_suite_gold(row, name, out);
}

static sf_status kv_answers(const sf_suite_row *row, sf_sample *out) { return gold_of(row, "answer", out); }

static sf_status rag_answers(const sf_suite_row *row, sf_sample *out) { return sf_suite_gold(row, "answers", out); }

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
#define RECALL(_)                                                                                                       \
    _(json_kv, kv_prompt, kv_field, kv_answers, helmet_substring, 100, "the value of a key in a JSON object")            \
    _(ruler_niah_mk_2, niah_prompt, NULL, niah_answers, helmet_recall, 50, "one number among nothing but others")        \
    _(ruler_niah_mk_3, niah_prompt, NULL, niah_answers, helmet_recall, 100, "one UUID among nothing but others")         \
    _(ruler_niah_mv, niah_prompt, NULL, niah_answers, helmet_recall, 50, "the numbers of one key in prose")

#define DATASET(id, prompts, fields, reads, ...)                                                                        \
    static const sf_dataset set_##id = {                                                                                \
        .task = "helmet_" #id, .name = #id, .begun = true, .ends = true, .prompt = prompts, .field = fields, .answers = reads}; \
    SF_SUITE_HOOKS(id)
RECALL(DATASET)

/* id, which is the name there; which rows are asked; limit of output; what it asks for */
#define RAG(_)                                                                                                          \
    _(kilt_nq, NULL, 20, "a question that people asked a search engine, with retrieved passages")                        \
    _(kilt_triviaqa, NULL, 20, "a trivia question, with retrieved passages")                                             \
    _(kilt_hotpotqa, NULL, 20, "a question that takes two of the retrieved passages")                                    \
    _(kilt_popqa_3, unpopular, 20, "a question about what few read about, with retrieved passages")

#define RAG_DATASET(id, asked, ...)                                                                                     \
    static const sf_dataset demos_##id = {.task = "helmet_" #id, .name = "the examples of " #id, .prompt = demo_prompt, .document = passage, \
                                          .takes = asked, .field = demo_field, .answers = rag_answers, .keys = {"id", "question"}}; \
    static const sf_dataset set_##id = {.task = "helmet_" #id, .name = #id, .begun = true, .ends = true, .demos = &demos_##id, \
                                        .prompt = rag_prompt, .document = passage, .takes = asked, .field = rag_field, .answers = rag_answers}; \
    SF_SUITE_HOOKS(id)
RAG(RAG_DATASET)

#define PARAMS(rows) SF_SUITE_PARAMS("the data set's file of HELMET's data, such as " rows, "data.py of the repository princeton-nlp/HELMET")
static const sf_param params[] = {PARAMS("json_kv/test_k1800_dep6.jsonl"), {0}};
static const sf_param rag_params[] = {
    PARAMS("kilt/nq-dev-multikilt_1000_k1000_dep6.jsonl"),
    {.name = "demos", .type = SF_STRING, .offset = offsetof(sf_suite_params, demos), .file = true,
     .doc = "the file that its examples are drawn from, such as kilt/nq-train-multikilt_1000_k3_dep6.jsonl"},
    {0}};

#define COMMON(id, limit, asks)                                                                                         \
    SF_SUITE_TASK(id, limit), .name = "helmet_" #id, .summary = asks, .source = "Yen et al. 2024, HELMET, arXiv 2410.02694", \
    .metric = "string match", .raw = true
#define TASK(id, prompts, fields, reads, hook, limit, asks)                                                             \
    {COMMON(id, limit, asks), .version = 2, .params = params, .score = sf_score_##hook},
#define RAG_TASK(id, asked, limit, asks)                                                                                \
    {COMMON(id, limit, asks), .version = 1, .natural = true, .params = rag_params, .score = sf_score_helmet_substring},
static const sf_task tasks[] = {RECALL(TASK) RAG(RAG_TASK)};

const sf_suite sf_helmet = {.task = tasks, .tasks = sizeof tasks / sizeof *tasks};
