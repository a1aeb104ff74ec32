/* RULER's two QA tasks: SQuAD, distractors of the same article first, and HotpotQA, whose questions come with several
 * documents. Unlike in the study's, the question does not name its document. */
#include "tasks/qa.h"
#include "tasks/ruler.h"
#include "tasks/score.h"

static sf_status fit(const char *task, sf_qa_format format, const void *params, const sf_request *request,
                     sf_sample *out)
{
    const sf_qa_style style = {.task = task, .format = format, .ask = "Question: "};
    const sf_prompt prompt = {
        .task = task,
        .introduction = "Below are a number of documents. Use them to answer the question that is asked with them.",
        .closing = "Reply with the answer and no other words.\nAnswer:",
        .plain = true,
        .place = SF_QUESTION_AFTER,
    };
    sf_status status = sf_qa_fit(params, request, &style, &prompt, out);
    if (status == SF_OK) status = sf_ruler_answer(out, ", ");
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

static sf_status squad(const void *params, const sf_request *request, sf_sample *out)
{
    return fit("ruler_qa_1", SF_QA_SQUAD, params, request, out);
}

static sf_status hotpot(const void *params, const sf_request *request, sf_sample *out)
{
    return fit("ruler_qa_2", SF_QA_HOTPOT, params, request, out);
}

const sf_task sf_ruler_qa_1 = {
    .abi = SF_TASK_ABI,
    .name = "ruler_qa_1",
    .summary = "an open question to one of many documents (SQuAD)",
    .source = SF_RULER_SOURCE,
    .metric = "string match, part",
    .version = 2,
    .output = 32,
    .natural = true,
    .params = SF_QA_PARAMS("SQuAD 1.1 or 2.0, JSON", 1 << 24),
    .params_size = sizeof(sf_qa_params),
    .generate = squad,
    .score = sf_score_match_part,
};

const sf_task sf_ruler_qa_2 = {
    .abi = SF_TASK_ABI,
    .name = "ruler_qa_2",
    .summary = "an open question that takes two of many documents (HotpotQA)",
    .source = SF_RULER_SOURCE,
    .metric = "string match, part",
    .version = 2,
    .output = 32,
    .high_dispersion = true,
    .natural = true,
    .params = SF_QA_PARAMS("HotpotQA, distractor setting, JSON", 1 << 24),
    .params_size = sizeof(sf_qa_params),
    .generate = hotpot,
    .score = sf_score_match_part,
};
