/* MRCR's metric (the data card of openai/mrcr): difflib's ratio to the answer, behind the letters that both must begin with. */
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/sequence.h"

sf_status sf_score_mrcr(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    const char *begin = sample->aside ? sample->aside : "";
    const size_t n = strlen(begin);
    *out = (sf_score){.parsed = strncmp(text, begin, n) == 0 && sf_strip(sf_span_of(text)).bytes > 0};
    if (!out->parsed) return SF_OK;
    const double ratio = sf_sequence_ratio(sf_span_of(text + n), sf_span_of(sample->gold[0] + n));
    out->strict = out->reference = ratio;
    return ratio < 0 ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}
