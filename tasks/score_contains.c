/* Whether an answer contains a gold text, letter case and all: NoLiMa's metric `contains` (adobe-research/NoLiMa,
 * evaluation/async_evaluate.py at 7532e4e), with which its results are published. */
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"

sf_status sf_score_contains(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    *out = (sf_score){.parsed = sf_strip(sf_span_of(text)).bytes > 0};
    for (int i = 0; i < sample->gold_count && out->parsed; i++)
        if (strstr(text, sample->gold[i])) out->strict = out->reference = 1;
    return SF_OK;
}
