/* QA of the study over QuALITY and TOEFL: a multiple-choice question about one of many documents. The two differ in
 * their data alone. */
#include "tasks/qa.h"
#include "tasks/score.h"

static sf_status fit(const char *task, const void *params, const sf_request *request, sf_sample *out)
{
    const sf_qa_style style = {.task = task, .format = SF_QA_CHOICE, .named = true, .ask = ""};
    const sf_prompt prompt = {
        .task = task,
        .introduction = "The context below is a collection of numbered documents. You are asked a multiple-choice "
                        "question about one of them, which the question names by its number.",
        .format = "<letter or letters of the right options>",
        .rules = "- Write nothing but letters. If several options are right, write the letters of all, as in AC.\n",
    };
    sf_status status = sf_qa_fit(params, request, &style, &prompt, out);
    if (status == SF_OK)
        status = sf_sample_answer(out, request,
                                  "I read the document that the question names and compared the options with it.",
                                  out->gold[0]);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

static sf_status quality(const void *params, const sf_request *request, sf_sample *out)
{
    return fit("qa_quality", params, request, out);
}

static sf_status toefl(const void *params, const sf_request *request, sf_sample *out)
{
    return fit("qa_toefl", params, request, out);
}

const sf_task sf_qa_quality = {
    .abi = SF_TASK_ABI,
    .name = "qa_quality",
    .summary = "a multiple-choice question about one of many long articles",
    .source = "Nawrot et al. 2025, arXiv 2504.17768; data: Pang et al. 2022, QuALITY, arXiv 2112.08608",
    .metric = "exact",
    .version = 1,
    .output = 1024,
    .natural = true,
    .params = SF_QA_PARAMS("QuALITY, the official JSON lines or lines with context, questions and answer", 8172),
    .params_size = sizeof(sf_qa_params),
    .generate = quality,
    .score = sf_score_letters,
};

const sf_task sf_qa_toefl = {
    .abi = SF_TASK_ABI,
    .name = "qa_toefl",
    .summary = "a multiple-choice question about one of many transcripts",
    .source = "Nawrot et al. 2025, arXiv 2504.17768; data: Tseng et al. 2016, TOEFL-QA, arXiv 1608.06378",
    .metric = "exact",
    .version = 1,
    .output = 1024,
    .natural = true,
    .params = SF_QA_PARAMS("TOEFL-QA, JSON lines with context, questions and answer", 8172),
    .params_size = sizeof(sf_qa_params),
    .generate = toefl,
    .score = sf_score_letters,
};
