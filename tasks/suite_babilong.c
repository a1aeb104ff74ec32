/* BABILong (Kuratov et al. 2024, arXiv 2406.10149): tasks qa1 to qa20 of bAbI, their facts scattered over a novel; a file of rows {input,
 * question, target} for each task and length. Prompts with instruction, examples and form of the answer: babilong/prompts.py of
 * its repository; limit of output: scripts/run_model_on_babilong.py there. A row that is longer than the length is refused: cut, it might
 * have lost its facts. */
#include "tasks/answer.h"
#include "tasks/find.h"
#include "tasks/python_text.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The text of a field of the template: one of the file's own, or of the task's. */
static sf_status part_of(const sf_dataset *dataset, const char *path, const char *name, char **out)
{
    if (isupper((unsigned char)*name)) return sf_python_file_text(path, (const char *const[]){name, NULL}, out);
    return sf_python_file_text(path, (const char *const[]){"DEFAULT_PROMPTS", dataset->name, name, NULL}, out);
}

/* Appends a template with the file's texts in it, and the row's fields as they are. */
static sf_status expand(const sf_dataset *dataset, const char *path, const char *template, int depth, sf_text *out)
{
    for (const char *at = template; *at;) {
        const size_t n = strcspn(at, "{");
        char name[32], *part;
        sf_text_bytes(out, at, n);
        at += n;
        if (!*at) break;
        const size_t length = strcspn(++at, "}");
        if (!at[length] || length >= sizeof name || depth > 3)
            return sf_fail(SF_BAD_INPUT, "%s: expected the name of a field between braces of DEFAULT_TEMPLATE", path);
        memcpy(name, at, length);
        name[length] = 0;
        at += length + 1;
        if (strcmp(name, "context") == 0 || strcmp(name, "question") == 0) {
            sf_text_format(out, "{%s}", name);
            continue;
        }
        SF_TRY(part_of(dataset, path, name, &part));
        sf_status status = SF_OK;
        if (isupper((unsigned char)*name)) status = expand(dataset, path, part, depth + 1, out);
        else
            for (const char *c = part; *c; c++) {
                if (*c == '{' || *c == '}') sf_text_char(out, *c);
                sf_text_char(out, *c);
            }
        free(part);
        SF_TRY(status);
    }
    return SF_OK;
}

static sf_status prompt_of(const sf_dataset *dataset, const char *path, char **out)
{
    sf_text prompt = {0};
    sf_status status = expand(dataset, path, "{DEFAULT_TEMPLATE}", 0, &prompt);
    if (status == SF_OK && prompt.failed) status = sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", path);
    if (status != SF_OK) sf_text_free(&prompt);
    *out = prompt.data;
    return status;
}

static sf_status field(const sf_suite_row *row, const char *name, sf_text *out)
{
    const char *text;
    SF_TRY(sf_suite_text(row, strcmp(name, "context") == 0 ? "input" : "question", &text));
    const sf_span plain = sf_strip(sf_span_of(text));
    sf_text_bytes(out, plain.at, plain.bytes);
    return SF_OK;
}

static sf_status answers(const sf_suite_row *row, sf_sample *out)
{
    const char *target, *question;
    SF_TRY(sf_suite_text(row, "target", &target));
    SF_TRY(sf_suite_text(row, "question", &question));
    if (!*target) return sf_suite_wrong(row, "expected \"target\" to be an answer, found none");
    if (!(out->aside = strdup(question))) return sf_fail(SF_NO_MEMORY, "no memory for a question");
    return sf_sample_gold(out, target);
}

#define PLACES "bathroom|bedroom|garden|hallway|kitchen|office"

/* id, all answers that there are (TASK_LABELS of babilong/metrics.py), what it asks for */
#define DATASETS(_)                                                                                                    \
    _(qa1, PLACES, "where a person is")                                                                                \
    _(qa2, PLACES, "where a thing is: two facts")                                                                      \
    _(qa3, PLACES, "where a thing was before: three facts")                                                            \
    _(qa4, PLACES, "what lies beside what")                                                                            \
    _(qa5, "Bill|Fred|Jeff|Mary|apple|football|milk", "who gave what to whom")                                         \
    _(qa6, "no|yes", "whether a person is somewhere")                                                                  \
    _(qa7, "none|one|three|two", "how many things a person carries")                                                   \
    _(qa8, "apple|football|milk|nothing", "what a person carries")                                                     \
    _(qa9, "no|yes", "whether a person is somewhere, with negations")                                                  \
    _(qa10, "maybe|no|yes", "whether a person is somewhere, if it is known")                                           \
    _(qa11, PLACES, "where a person is, through pronouns")                                                             \
    _(qa12, PLACES, "where one of several persons is")                                                                 \
    _(qa13, PLACES, "where one of several persons is, through pronouns")                                               \
    _(qa14, "bedroom|cinema|kitchen|office|park|school", "where a person was before, by times of day")                 \
    _(qa15, "cat|mouse|sheep|wolf", "what an animal is afraid of: deduction")                                          \
    _(qa16, "gray|green|white|yellow", "an animal's colour: induction")                                                \
    _(qa17, "no|yes", "whether a shape is beside another")                                                             \
    _(qa18, "no|yes", "whether a thing fits into another")                                                             \
    _(qa19, "e,e|e,n|e,s|n,e|n,n|n,w|s,e|s,s|s,w|w,n|w,s|w,w", "the way from a room to another")                       \
    _(qa20, "bedroom|bored|garden|hungry|kitchen|thirsty|tired", "why a person goes somewhere")

#define DATASET(id, labels, asks)                                                                                      \
    static const sf_dataset set_##id = {.task = "babilong_" #id, .name = #id, .whole = true, .prompt = prompt_of, .field = field, .answers = answers}; \
    SF_SUITE_HOOKS(id)                                                                                                 \
    static sf_status score_##id(const void *params, const sf_sample *sample, const char *text, sf_score *out)          \
    {                                                                                                                  \
        (void)params;                                                                                                  \
        return sf_score_babilong(labels, sample, text, out);                                                           \
    }
DATASETS(DATASET)

static const sf_param params[] = {
    SF_SUITE_PARAMS("the rows of the task at a length, of RMT-team/babilong or its larger sets, as JSON or JSON lines",
                    "babilong/prompts.py of the repository booydar/babilong"),
    {0}};

#define TASK(id, labels, asks)                                                                                         \
    {SF_SUITE_TASK(id, 20),                                                                                            \
     .name = "babilong_" #id,                                                                                          \
     .summary = asks,                                                                                                  \
     .source = "Kuratov et al. 2024, BABILong, arXiv 2406.10149",                                                      \
     .metric = "exact",                                                                                                \
     .version = 1,                                                                                                     \
     .high_dispersion = true,                                                                                          \
     .natural = true,                                                                                                  \
     .params = params,                                                                                                 \
     .score = score_##id},
static const sf_task tasks[] = {DATASETS(TASK)};

const sf_suite sf_babilong = {.task = tasks, .tasks = sizeof tasks / sizeof *tasks};
