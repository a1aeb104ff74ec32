/* SCBench's metrics that are no others' (microsoft/MInference, scbench/compute_scores.py at fb56c91): whether any gold text
 * occurs in the answer, letter case aside; the share of gold texts that do, rounded to two decimals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/unicode.h"

typedef void add_case(sf_text *out, sf_span text);

/* Number of the gold texts that occur, both in one letter case; −1: no memory. */
static int found_in(const sf_sample *sample, sf_span text, add_case *add)
{
    sf_text said = {0}, gold = {0};
    add(&said, text);
    int found = 0;
    for (int i = 0; i < sample->gold_count && !gold.failed && !said.failed; i++) {
        sf_text_clear(&gold);
        add(&gold, sf_span_of(sample->gold[i]));
        found += !gold.failed && strstr(said.data, gold.data) != NULL;
    }
    if (said.failed || gold.failed) found = -1;
    sf_text_free(&said);
    sf_text_free(&gold);
    return found;
}

static sf_status score(const char *text, int found, double value, sf_score *out)
{
    const bool parsed = sf_strip(sf_span_of(text)).bytes > 0;
    *out = (sf_score){parsed ? value : 0, parsed ? value : 0, parsed};
    return found < 0 ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}

sf_status sf_score_scbench_any(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    const int found = found_in(sample, sf_strip(sf_span_of(text)), sf_add_upper);
    return score(text, found, found > 0, out);
}

sf_status sf_score_scbench_all(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    const int found = found_in(sample, sf_span_of(text), sf_add_lower);
    char rounded[32];
    snprintf(rounded, sizeof rounded, "%.2f", (double)found / sample->gold_count);
    return score(text, found, strtod(rounded, NULL), out);
}
