/* HELMET's metrics (princeton-nlp/HELMET, utils.py and data.py at 4526dfb), of the answer behind its beginning, which is `aside`: the
 * share of gold texts that occur, letter case aside; whether one occurs after SQuAD's normalisation of both. */
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/unicode.h"

static sf_text begun(const sf_sample *sample, const char *text)
{
    sf_text whole = {0};
    sf_text_add(&whole, sample->aside ? sample->aside : "");
    sf_text_add(&whole, text);
    return whole;
}

static sf_status score(bool failed, double value, const char *text, sf_score *out)
{
    const bool parsed = sf_strip(sf_span_of(text)).bytes > 0;
    *out = (sf_score){parsed ? value : 0, parsed ? value : 0, parsed};
    return failed ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}

sf_status sf_score_helmet_recall(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    sf_text whole = begun(sample, text);
    sf_status status = whole.failed ? SF_NO_MEMORY : sf_score_match_all(params, sample, whole.data, out);
    const double share = status == SF_OK ? out->strict : 0;
    sf_text_free(&whole);
    return score(status != SF_OK, share, text, out);
}

sf_status sf_score_helmet_substring(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_text whole = begun(sample, text);
    char *said = whole.failed ? NULL : sf_squad_normalise(whole.data);
    bool failed = !said, found = false;
    for (int i = 0; i < sample->gold_count && !failed && !found; i++) {
        char *gold = sf_squad_normalise(sample->gold[i]);
        failed = !gold;
        found = gold && strstr(said, gold) != NULL;
        free(gold);
    }
    free(said);
    sf_text_free(&whole);
    return score(failed, found, text, out);
}
