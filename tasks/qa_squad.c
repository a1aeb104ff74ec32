/* QA of the study over SQuAD: an open question about one of many documents. */
#include "tasks/qa.h"
#include "tasks/score.h"

struct params {
    sf_qa_params qa;
};

static const sf_qa_style style = {
    .prompt =
        {
            .task = "qa_squad",
            .introduction = "The context below is a collection of numbered documents. You are asked a question about "
                            "one of them, which the question names by its number.",
            .format = "<your answer>",
            .rules = "- Answer in as few words as possible, preferably words of the document, not in a whole "
                     "sentence.\n"
                     "- Give a date or a place no more precisely than the question asks for.\n",
        },
    .format = SF_QA_SQUAD,
    .named = true,
    .ask = "",
};

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    sf_status status = sf_qa_fit(params, request, &style, out);
    if (status == SF_OK)
        status = sf_sample_answer(
            out, request, "I read the document that the question names and found the answer there.", out->gold[0]);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

static sf_status supply(const void *params, const sf_request *request, int most, int *samples)
{
    return sf_qa_supply(params, request, &style, most, samples);
}

static const sf_param params[] = {SF_QA_PARAMS(struct params, "SQuAD 1.1 or 2.0, JSON", 8172), {0}};

const sf_task sf_qa_squad = {
    .abi = SF_TASK_ABI,
    .name = "qa_squad",
    .summary = "an open question about one of many documents",
    .source = "Nawrot et al. 2025, arXiv 2504.17768; data: Rajpurkar et al. 2016, SQuAD, arXiv 1606.05250",
    .metric = "F1",
    .version = 3,
    .output = 1024,
    .natural = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .supply = supply,
    .score = sf_score_open,
};
