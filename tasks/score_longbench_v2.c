/* LongBench v2's metric (THUDM/LongBench, pred.py at 2e00731): the letter behind "The correct answer is", asterisks aside. */
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"

static char letter_behind(const char *text, const char *phrase, const char *end)
{
    const size_t n = strlen(phrase);
    for (const char *at = text; (at = strstr(at, phrase)); at++)
        if (at[n] >= 'A' && at[n] <= 'D' && strncmp(at + n + 1, end, strlen(end)) == 0) return at[n];
    return 0;
}

sf_status sf_score_longbench_v2(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_text plain = {0};
    for (const char *at = text; *at; at++)
        if (*at != '*') sf_text_char(&plain, *at);
    const char *said = plain.data ? plain.data : "";
    char letter = letter_behind(said, "The correct answer is (", ")");
    if (!letter) letter = letter_behind(said, "The correct answer is ", "");
    const bool failed = plain.failed, right = letter == *sample->gold[0];
    sf_text_free(&plain);
    *out = (sf_score){right, right, letter != 0};
    return failed ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}
