/* QA of the study over SQuAD: an open question about one of many documents. */
#include "tasks/qa.h"
#include "tasks/score.h"

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    static const sf_qa_style style = {.task = "qa_squad", .format = SF_QA_SQUAD, .named = true, .ask = ""};
    static const sf_prompt prompt = {
        .task = "qa_squad",
        .introduction = "The context below is a collection of numbered documents. You are asked a question about one "
                        "of them, which the question names by its number.",
        .format = "<your answer>",
        .rules = "- Answer in as few words as possible, preferably words of the document, not in a whole sentence.\n"
                 "- Give a date or a place no more precisely than the question asks for.\n",
    };
    sf_status status = sf_qa_fit(params, request, &style, &prompt, out);
    if (status == SF_OK)
        status = sf_sample_answer(
            out, request, "I read the document that the question names and found the answer there.", out->gold[0]);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

const sf_task sf_qa_squad = {
    .abi = SF_TASK_ABI,
    .name = "qa_squad",
    .summary = "an open question about one of many documents",
    .source = "Nawrot et al. 2025, arXiv 2504.17768; data: Rajpurkar et al. 2016, SQuAD, arXiv 1606.05250",
    .metric = "F1",
    .version = 2,
    .output = 1024,
    .natural = true,
    .params = SF_QA_PARAMS("SQuAD 1.1 or 2.0, JSON", 8172),
    .params_size = sizeof(sf_qa_params),
    .generate = generate,
    .score = sf_score_open,
};
