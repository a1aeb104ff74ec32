/* OpenAI's MRCR (2025, the data card of openai/mrcr, after Vodrahalli et al. 2024, arXiv 2409.12640): a conversation in which the same
 * thing is asked for 2, 4 or 8 times, and which of the answers is to be written again. Rows {prompt, answer, random_string_to_prepend, …} as
 * JSON lines of its Parquet files; `prompt` is JSON itself, a list of {role, content}.
 *
 * A sample of Frontier is one message: the conversation stands in it, each turn behind its role, as the card prints it. A row that is longer
 * than the length is refused: cut, it might have lost what is asked for. */
#include "tasks/find.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static sf_status prompt_of(const sf_dataset *dataset, const char *path, char **out)
{
    (void)dataset, (void)path;
    *out = strdup("{context}{question}");
    return *out ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a prompt");
}

/* The conversation but for its last turn, or that one. */
static sf_status field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const char *text;
    SF_TRY(sf_suite_text(row, "prompt", &text));
    json_t *turns = json_loads(text, 0, NULL);
    const size_t n = json_array_size(turns);
    const bool context = strcmp(name, "context") == 0;
    sf_status status = n ? SF_OK : sf_suite_wrong(row, "expected \"prompt\" to be a list of turns, written as JSON");
    for (size_t i = context ? 0 : n - 1; status == SF_OK && i < (context ? n - 1 : n); i++) {
        const json_t *turn = json_array_get(turns, i);
        const char *role = json_string_value(json_object_get(turn, "role")), *content = json_string_value(json_object_get(turn, "content"));
        if (!role || !*role || !content) status = sf_suite_wrong(row, "expected turn %zu of \"prompt\" to have a role and a content", i);
        else sf_text_format(out, "%c%s: %s%s", toupper((unsigned char)*role), role + 1, content, i + 1 < n ? "\n\n" : "");
    }
    json_decref(turns);
    return status;
}

static sf_status answers(const sf_suite_row *row, sf_sample *out)
{
    const char *answer, *begin;
    SF_TRY(sf_suite_text(row, "answer", &answer));
    SF_TRY(sf_suite_text(row, "random_string_to_prepend", &begin));
    if (strncmp(answer, begin, strlen(begin)) != 0) return sf_suite_wrong(row, "expected \"answer\" to begin with \"%.60s\"", begin);
    if (!(out->aside = strdup(begin))) return sf_fail(SF_NO_MEMORY, "no memory for an answer");
    return sf_sample_gold(out, answer);
}

static const sf_dataset set_all = {.task = "mrcr", .name = "MRCR", .whole = true, .worded = true, .prompt = prompt_of, .field = field, .answers = answers};
SF_SUITE_HOOKS(all)

static const sf_param params[] = {
    {.name = "file", .type = SF_STRING, .offset = offsetof(sf_suite_params, file), .file = true,
     .doc = "rows of openai/mrcr, its Parquet files made JSON lines"},
    {0}};

static const sf_task tasks[] = {{
    .abi = SF_TASK_ABI,
    .name = "mrcr",
    .summary = "one of several answers of a long conversation, again",
    .source = "OpenAI 2025, MRCR, after arXiv 2409.12640",
    .metric = "similarity",
    .version = 1,
    .output = 2048,
    .high_dispersion = true,
    .natural = true,
    .params = params,
    .params_size = sizeof(sf_suite_params),
    .generate = generate_all,
    .supply = supply_all,
    .score = sf_score_mrcr,
}};

const sf_suite sf_mrcr = {.task = tasks, .tasks = 1};
