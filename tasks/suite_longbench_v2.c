/* LongBench v2 (Bai et al. 2024, arXiv 2412.15204): data.json, an array of {context, question, choice_A … choice_D, answer, …}.
 * Prompt: prompts/0shot.txt of its repository, with $DOC$, $Q$ and $C_A$ … $C_D$. Limit of output: pred.py there, without chain of
 * thought. */
#include "tasks/answer.h"
#include "tasks/find.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *mark, *field;
} marks[] = {{"$DOC$", "{context}"}, {"$Q$", "{question}"}, {"$C_A$", "{choice_A}"}, {"$C_B$", "{choice_B}"}, {"$C_C$", "{choice_C}"},
             {"$C_D$", "{choice_D}"}};
enum { MARKS = sizeof marks / sizeof *marks };

static sf_status prompt_of(const sf_dataset *dataset, const char *path, char **out)
{
    (void)dataset;
    char *text;
    SF_TRY(sf_suite_file(path, &text));
    sf_text prompt = {0};
    bool seen[MARKS] = {false};
    for (const char *at = text; *at;) {
        int m = 0;
        while (m < MARKS && strncmp(at, marks[m].mark, strlen(marks[m].mark)) != 0) m++;
        if (m < MARKS) {
            sf_text_add(&prompt, marks[m].field);
            at += strlen(marks[m].mark);
            seen[m] = true;
        } else {
            if (*at == '{' || *at == '}') sf_text_char(&prompt, *at);
            sf_text_char(&prompt, *at++);
        }
    }
    free(text);
    int m = 0;
    while (m < MARKS && seen[m]) m++;
    sf_status status = prompt.failed ? sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", path)
                       : m < MARKS   ? sf_fail(SF_BAD_INPUT, "%s: expected a prompt with %s, found none; is it prompts/0shot.txt?", path, marks[m].mark)
                                     : SF_OK;
    if (status != SF_OK) sf_text_free(&prompt);
    *out = prompt.data;
    return status;
}

static sf_status field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const char *text;
    SF_TRY(sf_suite_text(row, name, &text));
    const sf_span plain = sf_strip(sf_span_of(text));
    sf_text_bytes(out, plain.at, plain.bytes);
    return SF_OK;
}

static sf_status answers(const sf_suite_row *row, sf_sample *out)
{
    const char *letter;
    SF_TRY(sf_suite_text(row, "answer", &letter));
    if (strlen(letter) != 1 || !strchr("ABCD", *letter)) return sf_suite_wrong(row, "expected \"answer\" to be A, B, C or D, found \"%.60s\"", letter);
    sf_text answer = {0};
    sf_text_format(&answer, "The correct answer is (%s)", letter); /* what the scorer looks for */
    if (answer.failed) return sf_fail(SF_NO_MEMORY, "no memory for an answer");
    out->answer = answer.data;
    return sf_sample_gold(out, letter);
}

static const sf_dataset set_all = {.task = "longbench_v2", .name = "LongBench v2", .prompt = prompt_of, .field = field, .answers = answers};
SF_SUITE_HOOKS(all)

static const sf_param params[] = {
    SF_SUITE_PARAMS("data.json of THUDM/LongBench-v2", "prompts/0shot.txt of the repository THUDM/LongBench"), {0}};

static const sf_task tasks[] = {{
    .abi = SF_TASK_ABI,
    .name = "longbench_v2",
    .summary = "a multiple-choice question about a very long text",
    .source = "Bai et al. 2024, LongBench v2, arXiv 2412.15204",
    .metric = "exact",
    .version = 1,
    .output = 128,
    .natural = true,
    .params = params,
    .params_size = sizeof(sf_suite_params),
    .generate = generate_all,
    .supply = supply_all,
    .score = sf_score_longbench_v2,
}};

const sf_suite sf_longbench_v2 = {.task = tasks, .tasks = 1};
