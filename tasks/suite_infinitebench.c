/* InfiniteBench (Zhang et al. 2024, arXiv 2402.13718), English, code and mathematics: 11 data sets, each a file of JSON lines {input,
 * context, answer, options}. Prompts: src/prompt.py of its repository, those of its open models (yarn_mistral_templates), which
 * are read without a chat template (src/eval_yarn_mistral.py); limits of output and how fields are made: src/eval_utils.py. The Chinese data
 * set is not read. */
#include "tasks/answer.h"
#include "tasks/find.h"
#include "tasks/python_text.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- prompts ------------------------------------------------------------------------------------------------------- */

/* The template that a data set has in prompt.py; {prefix} of math_find's is what eval_utils.py says. */
static sf_status prompt_of(const sf_dataset *dataset, const char *path, char **out)
{
    char file[4096], *prefix = NULL;
    snprintf(file, sizeof file, "%s/prompt.py", path);
    SF_TRY(sf_python_file_text(file, (const char *const[]){"yarn_mistral_templates", dataset->name, NULL}, out));
    char *at = strstr(*out, "{prefix}");
    if (!at) return SF_OK;
    snprintf(file, sizeof file, "%s/eval_utils.py", path);
    sf_status status = sf_python_file_text(file, (const char *const[]){"prefix", NULL}, &prefix);
    sf_text whole = {0};
    sf_text_bytes(&whole, *out, (size_t)(at - *out));
    if (prefix) sf_text_add(&whole, prefix);
    sf_text_add(&whole, at + strlen("{prefix}"));
    free(prefix);
    free(*out);
    if (status == SF_OK && whole.failed) status = sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", path);
    if (status != SF_OK) sf_text_free(&whole);
    *out = whole.data;
    return status;
}

/* ---- fields -------------------------------------------------------------------------------------------------------- */

/* The first func_N(M) of a text. */
static bool find_call(const char *text, sf_span *call, sf_span *name)
{
    for (const char *at = text; (at = strstr(at, "func_")); at++) {
        const char *end = at + 5;
        while (isdigit((unsigned char)*end)) end++;
        *name = (sf_span){at, (size_t)(end - at)};
        if (name->bytes == 5 || *end != '(') continue;
        end += 1 + (end[1] == '-');
        const char *number = end;
        while (isdigit((unsigned char)*end)) end++;
        if (end == number || *end != ')') continue;
        *call = (sf_span){at, (size_t)(end + 1 - at)};
        return true;
    }
    return false;
}

/* What math_find asks for, "the largest number" of "… The largest number of the list is": from the first "The " to the last " of" of
 * the line, in lower case. */
static bool find_target(const char *text, sf_span *target)
{
    for (const char *at = text; (at = strstr(at, "The ")); at++) {
        const char *line = at + strcspn(at, "\n"), *last = NULL;
        for (const char *of = at + 5; (of = strstr(of, " of")) && of < line; of++) last = of;
        if (!last) continue;
        *target = (sf_span){at, (size_t)(last - at)};
        return true;
    }
    return false;
}

static sf_status field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const char *text;
    sf_span call, function;
    if (strncmp(name, "OPTION_", 7) == 0 && strlen(name) == 8) {
        const json_t *options;
        SF_TRY(sf_suite_list(row, "options", &options));
        text = json_string_value(json_array_get(options, (size_t)(name[7] - 'A')));
        if (!text) return sf_suite_wrong(row, "expected \"options\" to be four texts");
        sf_text_add(out, text);
    } else if (strcmp(name, "context") == 0) {
        SF_TRY(sf_suite_text(row, json_object_get(row->json, "content") ? "content" : "context", &text));
        sf_text_add(out, text);
    } else if (strcmp(name, "question") == 0 || strcmp(name, "input") == 0) {
        SF_TRY(sf_suite_text(row, "input", &text));
        sf_text_add(out, text);
    } else if (strcmp(name, "func") == 0 || strcmp(name, "func_call") == 0) {
        SF_TRY(sf_suite_text(row, "input", &text));
        if (!find_call(text, &call, &function)) return sf_suite_wrong(row, "expected \"input\" to hold a call like func_7(-3), found none");
        if (!name[4]) call = function;
        sf_text_bytes(out, call.at, call.bytes);
    } else if (strcmp(name, "target_number") == 0) {
        SF_TRY(sf_suite_text(row, "input", &text));
        if (!find_target(text, &call)) return sf_suite_wrong(row, "expected \"input\" to ask for \"The … of\" a list");
        for (size_t i = 0; i < call.bytes; i++) sf_text_char(out, (char)tolower((unsigned char)call.at[i]));
    } else {
        return sf_fail(SF_BAD_INPUT, "%s: its prompt has a field {%s} that this program does not know", row->dataset->task, name);
    }
    return SF_OK;
}

/* ---- answers ------------------------------------------------------------------------------------------------------- */

/* The answer: a value, or a list of one. */
static const json_t *one_answer(const sf_suite_row *row)
{
    const json_t *value = json_object_get(row->json, "answer");
    return json_is_array(value) && json_array_size(value) == 1 ? json_array_get(value, 0) : value;
}

static sf_status text_answer(const sf_suite_row *row, sf_sample *out)
{
    const char *text = json_string_value(one_answer(row));
    return text && *text ? sf_sample_gold(out, text) : sf_suite_wrong(row, "expected \"answer\" to be a text");
}

/* One text, or several of which the best counts. */
static sf_status text_answers(const sf_suite_row *row, sf_sample *out)
{
    return json_is_array(json_object_get(row->json, "answer")) ? sf_suite_gold(row, "answer", out) : text_answer(row, out);
}

/* As JSON writes it: with a '.', or without one where it is a whole number. */
static sf_status number_answer(const sf_suite_row *row, sf_sample *out)
{
    const json_t *value = one_answer(row);
    if (!json_is_number(value)) return sf_suite_wrong(row, "expected \"answer\" to be a number");
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    sf_status status = text ? sf_sample_gold(out, text) : sf_fail(SF_NO_MEMORY, "no memory for an answer");
    free(text);
    return status;
}

static sf_status whole_number(const sf_suite_row *row, sf_sample *out)
{
    if (!json_is_integer(one_answer(row))) return sf_suite_wrong(row, "expected \"answer\" to be a whole number");
    return number_answer(row, out);
}

/* A list of whole numbers, as one text. */
static sf_status numbers_answer(const sf_suite_row *row, sf_sample *out)
{
    const json_t *list = json_object_get(row->json, "answer");
    if (json_is_array(json_array_get(list, 0))) list = json_array_get(list, 0);
    sf_text text = {0};
    sf_status status = json_array_size(list) ? SF_OK : sf_suite_wrong(row, "expected \"answer\" to be a list of whole numbers");
    for (size_t i = 0; i < json_array_size(list) && status == SF_OK; i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_integer(value)) status = sf_suite_wrong(row, "expected \"answer\"[%zu] to be a whole number", i);
        sf_text_format(&text, "%s%lld", i ? " " : "", (long long)json_integer_value(value));
    }
    if (status == SF_OK && text.failed) status = sf_fail(SF_NO_MEMORY, "no memory for an answer");
    if (status == SF_OK) status = sf_sample_gold(out, text.data);
    sf_text_free(&text);
    return status;
}

/* The option that is right, and its letter. */
static sf_status option_answer(const sf_suite_row *row, sf_sample *out)
{
    const json_t *options, *given = json_object_get(row->json, "answer");
    const char *text = json_string_value(one_answer(row));
    SF_TRY(sf_suite_list(row, "options", &options));
    if (json_is_array(given) && json_array_size(given) == 2) {
        const char *letter = json_string_value(json_array_get(given, 1));
        text = json_string_value(json_array_get(given, 0));
        if (!text || !letter || strlen(letter) != 1 || !strchr("ABCD", *letter))
            return sf_suite_wrong(row, "expected \"answer\" to be an option and its letter");
        SF_TRY(sf_sample_gold(out, text));
        SF_TRY(sf_sample_gold(out, letter));
    } else {
        size_t i = 0;
        while (text && i < json_array_size(options) && strcmp(json_string_value(json_array_get(options, i)) ?: "", text) != 0) i++;
        if (!text || i >= json_array_size(options) || i > 3) return sf_suite_wrong(row, "expected \"answer\" to be one of \"options\"");
        SF_TRY(sf_sample_gold(out, text));
        SF_TRY(sf_sample_gold(out, (const char[]){(char)('A' + i), 0}));
    }
    return (out->answer = strdup(out->gold[1])) ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for an answer");
}

/* As option_answer(), but scored by the words behind "answer is:" or the letter and a mark. */
static sf_status debug_answer(const sf_suite_row *row, sf_sample *out)
{
    SF_TRY(option_answer(row, out));
    char *answer = malloc(3);
    if (!answer) return sf_fail(SF_NO_MEMORY, "no memory for an answer");
    snprintf(answer, 3, "%c.", *out->gold[1]);
    free(out->answer);
    out->answer = answer;
    return SF_OK;
}

/* ---- the data sets ------------------------------------------------------------------------------------------------- */

/* id, which is the name; what its answers are; its metric; limit of output; what it asks for */
#define DATASETS(_)                                                                                                    \
    _(passkey, text_answer, "exact", 6, false, "a number of five digits in noise")                                      \
    _(number_string, text_answer, "exact", 12, false, "a number of ten digits, some of them repeated, in noise")        \
    _(kv_retrieval, text_answer, "exact", 50, false, "the value of a key in a JSON object")                             \
    _(longbook_sum_eng, text_answer, "ROUGE-Lsum", 1200, true, "a summary of a novel")                                  \
    _(longbook_choice_eng, option_answer, "exact", 40, false, "a multiple-choice question about a novel")               \
    _(longbook_qa_eng, text_answers, "F1", 40, false, "a question about a novel")                                       \
    _(longdialogue_qa_eng, text_answers, "exact", 40, false, "who it is whose name is left out of a script")            \
    _(math_find, number_answer, "exact", 3, true, "the largest, median, … number of a list")                            \
    _(math_calc, numbers_answer, "share of numbers", 30000, true, "every intermediate value of a long sum")             \
    _(code_run, whole_number, "exact", 5, false, "what a call of nested functions returns")                             \
    _(code_debug, debug_answer, "exact", 5, false, "which of four functions has a planted error")

#define DATASET(id, reads, ...)                                                                                        \
    static const sf_dataset set_##id = {                                                                               \
        .task = "infinitebench_" #id, .name = #id, .prompt = prompt_of, .field = field, .answers = reads};             \
    SF_SUITE_HOOKS(id)
DATASETS(DATASET)

static const sf_param params[] = {
    SF_SUITE_PARAMS("the data set's file, NAME.jsonl of InfiniteBench", "folder src of the repository OpenBMB/InfiniteBench"), {0}};

#define TASK(id, reads, metric_name, limit, wide, asks)                                                                \
    {SF_SUITE_TASK(id, limit),                                                                                         \
     .name = "infinitebench_" #id,                                                                                     \
     .summary = asks,                                                                                                  \
     .source = "Zhang et al. 2024, InfiniteBench, arXiv 2402.13718",                                                   \
     .metric = metric_name,                                                                                            \
     .version = 1,                                                                                                     \
     .high_scope = wide,                                                                                               \
     .natural = true,                                                                                                  \
     .raw = true,                                                                                                      \
     .params = params,                                                                                                 \
     .score = sf_score_infinitebench_##id},
static const sf_task tasks[] = {DATASETS(TASK)};

const sf_suite sf_infinitebench = {.task = tasks, .tasks = sizeof tasks / sizeof *tasks};
