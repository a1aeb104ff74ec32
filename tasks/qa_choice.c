/* QA of the study over QuALITY and TOEFL: a multiple-choice question about one of many documents. The two differ in
 * their data alone. */
#include "tasks/qa.h"
#include "tasks/score.h"

struct params {
    sf_qa_params qa;
};

#define STYLE(name)                                                                                                    \
    {                                                                                                                  \
        .prompt = {.task = name,                                                                                       \
                   .introduction =                                                                                     \
                       "The context below is a collection of numbered documents. You are asked a multiple-choice "     \
                       "question about one of them, which the question names by its number.",                          \
                   .format = "<letter or letters of the right options>",                                               \
                   .rules = "- Write nothing but letters. If several options are right, write the letters of all, as " \
                            "in AC.\n"},                                                                               \
        .format = SF_QA_CHOICE, .named = true, .ask = ""                                                               \
    }
static const sf_qa_style quality = STYLE("qa_quality"), toefl = STYLE("qa_toefl");

static sf_status fit(const sf_qa_style *style, const void *params, const sf_request *request, sf_sample *out)
{
    sf_status status = sf_qa_fit(params, request, style, out);
    if (status == SF_OK)
        status = sf_sample_answer(out, request,
                                  "I read the document that the question names and compared the options with it.",
                                  out->gold[0]);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

static sf_status generate_quality(const void *params, const sf_request *request, sf_sample *out)
{
    return fit(&quality, params, request, out);
}

static sf_status generate_toefl(const void *params, const sf_request *request, sf_sample *out)
{
    return fit(&toefl, params, request, out);
}

static sf_status supply_quality(const void *params, const sf_request *request, int most, int *samples)
{
    return sf_qa_supply(params, request, &quality, most, samples);
}

static sf_status supply_toefl(const void *params, const sf_request *request, int most, int *samples)
{
    return sf_qa_supply(params, request, &toefl, most, samples);
}

static const sf_param quality_params[] = {
    SF_QA_PARAMS(struct params, "QuALITY, the official JSON lines or lines with context, questions and answer", 8172),
    {0}};

const sf_task sf_qa_quality = {
    .abi = SF_TASK_ABI,
    .name = "qa_quality",
    .summary = "a multiple-choice question about one of many long articles",
    .source = "Nawrot et al. 2025, arXiv 2504.17768; data: Pang et al. 2022, QuALITY, arXiv 2112.08608",
    .metric = "exact",
    .version = 2,
    .output = 1024,
    .natural = true,
    .params = quality_params,
    .params_size = sizeof(struct params),
    .generate = generate_quality,
    .supply = supply_quality,
    .score = sf_score_letters,
};

static const sf_param toefl_params[] = {
    SF_QA_PARAMS(struct params, "TOEFL-QA, JSON lines with context, questions and answer", 8172), {0}};

const sf_task sf_qa_toefl = {
    .abi = SF_TASK_ABI,
    .name = "qa_toefl",
    .summary = "a multiple-choice question about one of many transcripts",
    .source = "Nawrot et al. 2025, arXiv 2504.17768; data: Tseng et al. 2016, TOEFL-QA, arXiv 1608.06378",
    .metric = "exact",
    .version = 2,
    .output = 1024,
    .natural = true,
    .params = toefl_params,
    .params_size = sizeof(struct params),
    .generate = generate_toefl,
    .supply = supply_toefl,
    .score = sf_score_letters,
};
