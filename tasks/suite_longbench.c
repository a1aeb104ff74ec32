/* LongBench (Bai et al. 2023, arXiv 2308.14508), English and code: 16 data sets, each a file of JSON lines {input, context,
 * answers, all_classes, …}, of LongBench or of LongBench-E (NAME_e.jsonl). Prompts: config/dataset2prompt.json of its
 * repository. Limits of output, and which data sets go without a chat template, are those of config/dataset2maxlen.json and
 * pred.py there. The Chinese data sets are not read: their scores take a segmentation of Chinese into words (jieba). */
#include "tasks/find.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include <stdlib.h>
#include <string.h>

static sf_status prompt_of(const sf_dataset *dataset, const char *path, char **out)
{
    return sf_suite_member(path, dataset->name, out);
}

/* A row says which data set it is of; that another metric is taken for it would be noticed by nobody. */
static sf_status check_dataset(const sf_suite_row *row)
{
    const char *given = json_string_value(json_object_get(row->json, "dataset")), *name = row->dataset->name;
    const size_t n = strlen(name);
    if (!given || (strncmp(given, name, n) == 0 && (!given[n] || strcmp(given + n, "_e") == 0))) return SF_OK;
    return sf_suite_wrong(row, "expected \"dataset\" to be %s, found %.60s; that is another task", name, given);
}

static sf_status answers(const sf_suite_row *row, sf_sample *out)
{
    SF_TRY(check_dataset(row));
    return sf_suite_gold(row, "answers", out);
}

static sf_status classes(const sf_suite_row *row, sf_sample *out)
{
    const json_t *list;
    sf_text all = {0};
    SF_TRY(answers(row, out));
    SF_TRY(sf_suite_list(row, "all_classes", &list));
    sf_status status = json_array_size(list) ? SF_OK : sf_suite_wrong(row, "expected \"all_classes\" to hold a class, found none");
    for (size_t i = 0; i < json_array_size(list) && status == SF_OK; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name || !*name || strchr(name, '\n')) status = sf_suite_wrong(row, "expected \"all_classes\"[%zu] to be a line of text", i);
        else sf_text_format(&all, "%s%s", i ? "\n" : "", name);
    }
    if (status == SF_OK && all.failed) status = sf_fail(SF_NO_MEMORY, "no memory for the classes of a data set");
    if (status != SF_OK) sf_text_free(&all);
    out->aside = all.data;
    return status;
}

static sf_status paragraphs(const sf_suite_row *row, sf_sample *out)
{
    sf_span number;
    SF_TRY(answers(row, out));
    for (int i = 0; i < out->gold_count; i++)
        if (!sf_longbench_paragraph(out->gold[i], &number))
            return sf_suite_wrong(row, "expected \"answers\"[%d] to be like \"Paragraph 7\", found \"%.60s\"", i, out->gold[i]);
    return SF_OK;
}

/* id, name, what answers it reads, its metric's hook and name, limit of output, no chat template, what it asks for */
#define DATASETS(_)                                                                                                    \
    _(narrativeqa, "narrativeqa", answers, f1, "F1", 128, false, "a question about a novel or a script")                \
    _(qasper, "qasper", answers, f1, "F1", 128, false, "a question about a paper")                                      \
    _(multifieldqa_en, "multifieldqa_en", answers, f1, "F1", 64, false, "a question about a long text of some field")   \
    _(hotpotqa, "hotpotqa", answers, f1, "F1", 32, false, "a question that takes two of many passages")                 \
    _(2wikimqa, "2wikimqa", answers, f1, "F1", 32, false, "a question that takes up to five of many passages")          \
    _(musique, "musique", answers, f1, "F1", 32, false, "a question that takes up to four of many passages")            \
    _(gov_report, "gov_report", answers, rouge, "ROUGE-L", 512, false, "a summary of a report")                         \
    _(qmsum, "qmsum", answers, rouge, "ROUGE-L", 512, false, "a summary of what a meeting said of something")           \
    _(multi_news, "multi_news", answers, rouge, "ROUGE-L", 512, false, "a summary of several news")                     \
    _(trec, "trec", classes, class, "class", 64, true, "the class of a question, after examples")                       \
    _(triviaqa, "triviaqa", answers, f1_line, "F1", 32, true, "a question about a passage, after examples")             \
    _(samsum, "samsum", answers, rouge_line, "ROUGE-L", 128, true, "a summary of a dialogue, after examples")           \
    _(passage_count, "passage_count", answers, count, "share of numbers", 32, false, "how many of the passages differ") \
    _(passage_retrieval_en, "passage_retrieval_en", paragraphs, retrieval, "share of numbers", 32, false,               \
      "the passage that a summary is of")                                                                              \
    _(lcc, "lcc", answers, code, "similarity", 64, true, "the next line of a file of code")                             \
    _(repobench_p, "repobench-p", answers, code, "similarity", 64, true, "the next line of code, with other files")

#define DATASET(id, title, reads, ...)                                                                                 \
    static const sf_dataset set_##id = {                                                                               \
        .task = "longbench_" #id, .name = title, .prompt = prompt_of, .answers = reads};      \
    SF_SUITE_HOOKS(id)
DATASETS(DATASET)

static const sf_param params[] = {
    SF_SUITE_PARAMS("the data set's file, NAME.jsonl of LongBench or NAME_e.jsonl of LongBench-E",
                    "LongBench/config/dataset2prompt.json of the repository THUDM/LongBench"),
    {0}};

#define TASK(id, title, reads, hook, metric_name, limit, plain, asks)                                                  \
    {SF_SUITE_TASK(id, limit),                                                                                         \
     .name = "longbench_" #id,                                                                                         \
     .summary = asks,                                                                                                  \
     .source = "Bai et al. 2023, LongBench, arXiv 2308.14508",                                                         \
     .metric = metric_name,                                                                                            \
     .version = 1,                                                                                                     \
     .natural = true,                                                                                                  \
     .raw = plain,                                                                                                     \
     .params = params,                                                                                                 \
     .score = sf_score_longbench_##hook},
static const sf_task tasks[] = {DATASETS(TASK)};

const sf_suite sf_longbench = {.task = tasks, .tasks = sizeof tasks / sizeof *tasks};
