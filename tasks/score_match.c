/* RULER's metric: whether strings occur in a text. */
#include "tasks/score.h"

#include <string.h>

#include "tasks/answer.h"
#include "tasks/unicode.h"

/* Number of the gold strings that occur in the text. */
static sf_status count_matches(const sf_sample *sample, const char *text, int *found)
{
    sf_text lower = {0}, gold = {0};
    sf_add_lower(&lower, sf_span_of(text));
    bool failed = lower.failed;
    *found = 0;
    for (int i = 0; i < sample->gold_count && !failed; i++) {
        sf_text_clear(&gold);
        sf_add_lower(&gold, sf_span_of(sample->gold[i]));
        failed = gold.failed;
        *found += !failed && strstr(lower.data, gold.data) != NULL;
    }
    sf_text_free(&lower);
    sf_text_free(&gold);
    return failed ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}

sf_status sf_score_match_all(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    int found;
    SF_TRY(count_matches(sample, text, &found));
    bool parsed = sf_strip(sf_span_of(text)).bytes > 0; /* blanks alone hold nothing, not even a gold text of blanks */
    double share = sample->gold_count && parsed ? (double)found / sample->gold_count : 0;
    *out = (sf_score){share, share, parsed};
    return SF_OK;
}

sf_status sf_score_match_part(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    int found;
    SF_TRY(count_matches(sample, text, &found));
    bool parsed = sf_strip(sf_span_of(text)).bytes > 0;
    *out = (sf_score){parsed && found > 0, parsed && found > 0, parsed};
    return SF_OK;
}
