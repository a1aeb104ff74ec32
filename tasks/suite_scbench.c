/* SCBench (Li et al. 2024, arXiv 2412.10319), English: a context and several questions, each a sample of its own, as in its mode "same
 * context, different query"; or the first of them the turns of one, as in its mode "multi-turn" with --disable_golden_context, where the
 * model's own answers stay in the context. A file of JSON lines {context, multi_turns: [{input, answer, options}, …]} for each data set. Prompts: the context's of
 * multiturn_templates_scdq and the question's of multiturn_follow_up_templates_in_chat_tempate, one after the other, in scbench/eval_utils.py of
 * microsoft/MInference; of turns the first's of multiturn_templates; limits of output are there too. Not read: RepoQA, whose scorer parses code, what is mixed of two tasks, scbench_mf, and Chinese. */
#include "tasks/answer.h"
#include "tasks/find.h"
#include "tasks/python_text.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- prompts and fields ---------------------------------------------------------------------------------------------- */

static sf_status join(const char *first, const char *second, char **out)
{
    sf_text whole = {0};
    sf_text_add(&whole, first);
    sf_text_add(&whole, second);
    *out = whole.failed ? NULL : whole.data;
    return *out ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a prompt");
}

/* The context's template, or the first of the two that stand there, and the question's. */
static sf_status prompt_of(const sf_dataset *dataset, const char *path, char **out)
{
    char *context, *question;
    SF_TRY(sf_python_file_text(path, (const char *const[]){"multiturn_templates_scdq", dataset->name, NULL}, &context));
    sf_status status = sf_python_file_text(path, (const char *const[]){"multiturn_follow_up_templates_in_chat_tempate", dataset->name, NULL}, &question);
    if (status == SF_OK) {
        status = join(context, question, out);
        free(question);
    }
    free(context);
    return status;
}

static sf_status turn_prompts(const sf_dataset *dataset, const char *path, char **first, char **later)
{
    SF_TRY(sf_python_file_text(path, (const char *const[]){"multiturn_templates", dataset->name, NULL}, first));
    return sf_python_file_text(path, (const char *const[]){"multiturn_follow_up_templates_in_chat_tempate", dataset->name, NULL}, later);
}

static const json_t *turn_of(const sf_suite_row *row)
{
    return json_array_get(json_object_get(row->json, "multi_turns"), (size_t)row->turn);
}

static sf_status turn_text(const sf_suite_row *row, const char *name, const char **out)
{
    *out = json_string_value(json_object_get(turn_of(row), name));
    return *out ? SF_OK : sf_suite_wrong(row, "expected \"multi_turns\"[%d] with a text \"%s\"", row->turn, name);
}

static sf_status field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const char *text;
    if (strcmp(name, "context") == 0) {
        SF_TRY(sf_suite_text(row, json_object_get(row->json, "context") ? "context" : "input", &text));
    } else if (strcmp(name, "question") == 0 || strcmp(name, "input") == 0) {
        SF_TRY(turn_text(row, "input", &text));
    } else if (strncmp(name, "OPTION_", 7) == 0 && strlen(name) == 8) {
        text = json_string_value(json_array_get(json_object_get(turn_of(row), "options"), (size_t)(name[7] - 'A')));
        if (!text) return sf_suite_wrong(row, "expected \"options\" of \"multi_turns\"[%d] to be four texts", row->turn);
    } else {
        return sf_fail(SF_BAD_INPUT, "%s: its prompt has a field {%s} that this program does not know", row->dataset->task, name);
    }
    sf_text_add(out, text);
    return SF_OK;
}

/* ---- answers ----------------------------------------------------------------------------------------------------------- */

static sf_status text_answer(const sf_suite_row *row, sf_sample *out)
{
    const char *text;
    SF_TRY(turn_text(row, "answer", &text));
    return *text ? sf_sample_gold(out, text) : sf_suite_wrong(row, "expected \"answer\" of \"multi_turns\"[%d] to be a text, found an empty one", row->turn);
}

static sf_status letter_answer(const sf_suite_row *row, sf_sample *out)
{
    SF_TRY(text_answer(row, out));
    const char *letter = out->gold[0];
    if (strlen(letter) == 1 && strchr("ABCD", *letter)) return SF_OK;
    return sf_suite_wrong(row, "expected \"answer\" of \"multi_turns\"[%d] to be A, B, C or D, found \"%.60s\"", row->turn, letter);
}

/* A list of texts. */
static sf_status list_answer(const sf_suite_row *row, sf_sample *out)
{
    const json_t *list = json_object_get(turn_of(row), "answer");
    if (!json_array_size(list)) return sf_suite_wrong(row, "expected \"answer\" of \"multi_turns\"[%d] to be a list of texts", row->turn);
    sf_text all = {0};
    sf_status status = SF_OK;
    for (size_t i = 0; i < json_array_size(list) && status == SF_OK; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        status = text && *text ? sf_sample_gold(out, text) : sf_suite_wrong(row, "expected \"answer\"[%zu] of \"multi_turns\"[%d] to be a text", i, row->turn);
        if (text) sf_text_format(&all, "%s%s", i ? " " : "", text);
    }
    if (status == SF_OK && all.failed) status = sf_fail(SF_NO_MEMORY, "no memory for an answer");
    if (status != SF_OK) sf_text_free(&all);
    out->answer = all.data;
    return status;
}

/* A list, any of which will do; or a text, of which the official scorer takes any character. */
static sf_status any_answer(const sf_suite_row *row, sf_sample *out)
{
    const char *text = json_string_value(json_object_get(turn_of(row), "answer"));
    if (!text) return list_answer(row, out);
    if (!(out->answer = strdup(text))) return sf_fail(SF_NO_MEMORY, "no memory for an answer");
    if (!*text) return sf_suite_wrong(row, "expected \"answer\" of \"multi_turns\"[%d] to be a text, found an empty one", row->turn);
    for (const char *at = text; *at;) {
        char character[5] = "";
        int n = 1;
        while (((unsigned char)at[n] & 0xc0) == 0x80 && n < 4) n++;
        memcpy(character, at, (size_t)n);
        SF_TRY(sf_sample_gold(out, character));
        at += n;
    }
    return SF_OK;
}

/* ---- the data sets ------------------------------------------------------------------------------------------------------ */

/* id, what its answers are, its metric's hook and name, limit of output, what it asks for */
#define DATASETS(_)                                                                                                     \
    _(kv, text_answer, contains, "string match", 150, "the value of a key in a JSON object")                             \
    _(kv_hard, text_answer, contains, "string match", 150, "the value of a key among many like it")                      \
    _(kv_compressible, text_answer, contains, "string match", 150, "the value of a key in a passage")                    \
    _(prefix_suffix, text_answer, contains, "string match", 150, "the text that begins and ends in a given way")         \
    _(hashhop, text_answer, contains, "string match", 150, "where a chain of hashes leads")                              \
    _(choice_eng, letter_answer, infinitebench_longbook_choice_eng, "exact", 40, "a multiple-choice question about a novel") \
    _(qa_eng, any_answer, scbench_any, "string match", 40, "a question about a novel")                                   \
    _(many_shot, any_answer, scbench_any, "string match", 10, "a multiple-choice question after many examples")          \
    _(passkey, text_answer, infinitebench_passkey, "exact", 15, "a number in noise")                                     \
    _(summary, text_answer, infinitebench_longbook_sum_eng, "ROUGE-Lsum", 200, "a summary of one of several texts")      \
    _(vt, list_answer, scbench_all, "string match", 30, "the variables that hold a value")

#define DATASET(id, reads, ...)                                                                                         \
    static const sf_dataset set_##id = {                                                                                \
        .task = "scbench_" #id, .name = "scbench_" #id, .turns = "multi_turns", .prompt = prompt_of, .turn_prompts = turn_prompts, .field = field, .answers = reads}; \
    SF_SUITE_HOOKS(id)
DATASETS(DATASET)

static const sf_param params[] = {
    SF_SUITE_PARAMS("the data set's file, scbench_NAME.jsonl of microsoft/SCBench", "scbench/eval_utils.py of the repository microsoft/MInference"), {0}};

#define TASK(id, reads, hook, metric_name, limit, asks)                                                                 \
    {SF_SUITE_TASK(id, limit),                                                                                          \
     .name = "scbench_" #id,                                                                                            \
     .summary = asks,                                                                                                   \
     .source = "Li et al. 2024, SCBench, arXiv 2412.10319",                                                             \
     .metric = metric_name,                                                                                             \
     .version = 1,                                                                                                      \
     .natural = true,                                                                                                   \
     .turns = true,                                                                                                     \
     .params = params,                                                                                                  \
     .score = sf_score_##hook},
static const sf_task tasks[] = {DATASETS(TASK)};

const sf_suite sf_scbench = {.task = tasks, .tasks = sizeof tasks / sizeof *tasks};
