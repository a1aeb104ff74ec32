/* RULER's two QA tasks: SQuAD, distractors of the same article first, and HotpotQA, whose questions come with several
 * documents. Unlike in the study's, the question does not name its document. */
#include "tasks/qa.h"
#include "tasks/ruler.h"
#include "tasks/score.h"

#include <string.h>

struct params {
    sf_qa_params qa;
    sf_ruler_params ruler;
};

static sf_qa_style style_of(const char *task, sf_qa_format format, const void *params, const sf_ruler_words *words)
{
    bool begun = ((const struct params *)params)->ruler.answer_prefix;
    return (sf_qa_style){
        .prompt = {.task = task,
                   .whole = words->prompt,
                   .introduction =
                       "Below are a number of documents. Use them to answer the question that is asked with them.",
                   .closing = begun ? "Reply with the answer and no other words."
                                    : "Reply with the answer and no other words.\nAnswer:",
                   .plain = true,
                   .answer_prefix = !begun ? NULL : words->answer ? words->answer : "Answer:",
                   .place = SF_QUESTION_AFTER},
        .format = format,
        .ask = words->prompt ? "" : "Question: ",
    };
}

static sf_status read_words(const char *task, const void *params, const sf_request *request, sf_ruler_words *out)
{
    const sf_ruler_params *p = &((const struct params *)params)->ruler;
    SF_TRY(sf_ruler_read(task, p, &request->prompting, "qa", "DOCUMENT_PROMPT", NULL, out));
    sf_status status = out->prompt ? sf_ruler_filled(task, out) : SF_OK;
    if (status == SF_OK && out->code && strcmp(out->code, "Document {i}:\n{document}") != 0)
        status = sf_fail(SF_BAD_INPUT, "%s: %s/qa.py: expected DOCUMENT_PROMPT to be a line with the document's number, and the document, found \"%.60s\"", task,
                         p->repository, out->code);
    if (status != SF_OK) sf_ruler_free(out);
    return status;
}

static sf_status fit(const char *task, sf_qa_format format, const void *params, const sf_request *request,
                     sf_sample *out)
{
    sf_ruler_words words;
    SF_TRY(read_words(task, params, request, &words));
    const sf_qa_style style = style_of(task, format, params, &words);
    sf_status status = sf_qa_fit(params, request, &style, out);
    if (status == SF_OK) status = sf_ruler_answer(out, ", ");
    if (status != SF_OK) sf_sample_free(out);
    sf_ruler_free(&words);
    return status;
}

static sf_status supply(const char *task, sf_qa_format format, const void *params, const sf_request *request, int most, int *samples)
{
    sf_ruler_words words;
    SF_TRY(read_words(task, params, request, &words));
    const sf_qa_style style = style_of(task, format, params, &words);
    sf_status status = sf_qa_supply(params, request, &style, most, samples);
    sf_ruler_free(&words);
    return status;
}

static sf_status generate_squad(const void *params, const sf_request *request, sf_sample *out)
{
    return fit("ruler_qa_1", SF_QA_SQUAD, params, request, out);
}

static sf_status generate_hotpot(const void *params, const sf_request *request, sf_sample *out)
{
    return fit("ruler_qa_2", SF_QA_HOTPOT, params, request, out);
}

static sf_status supply_squad(const void *params, const sf_request *request, int most, int *samples)
{
    return supply("ruler_qa_1", SF_QA_SQUAD, params, request, most, samples);
}

static sf_status supply_hotpot(const void *params, const sf_request *request, int most, int *samples)
{
    return supply("ruler_qa_2", SF_QA_HOTPOT, params, request, most, samples);
}

static const sf_param squad_params[] = {
    SF_QA_PARAMS(struct params, "SQuAD 1.1 or 2.0, JSON", 1 << 24), SF_RULER_PARAMS(struct params), {0}};

const sf_task sf_ruler_qa_1 = {
    .abi = SF_TASK_ABI,
    .name = "ruler_qa_1",
    .summary = "an open question to one of many documents (SQuAD)",
    .source = SF_RULER_SOURCE,
    .metric = "string match, part",
    .version = 3,
    .output = 32,
    .natural = true,
    .params = squad_params,
    .params_size = sizeof(struct params),
    .generate = generate_squad,
    .supply = supply_squad,
    .score = sf_score_match_part,
};

static const sf_param hotpot_params[] = {
    SF_QA_PARAMS(struct params, "HotpotQA, distractor setting, JSON", 1 << 24), SF_RULER_PARAMS(struct params), {0}};

const sf_task sf_ruler_qa_2 = {
    .abi = SF_TASK_ABI,
    .name = "ruler_qa_2",
    .summary = "an open question that takes two of many documents (HotpotQA)",
    .source = SF_RULER_SOURCE,
    .metric = "string match, part",
    .version = 3,
    .output = 32,
    .high_dispersion = true,
    .natural = true,
    .params = hotpot_params,
    .params_size = sizeof(struct params),
    .generate = generate_hotpot,
    .supply = supply_hotpot,
    .score = sf_score_match_part,
};
