/* BABILong's metric (booydar/babilong, babilong/metrics.py at 7a6efee): of all answers that there are to a task, the first sentence
 * names the right ones and, but for those that the question names, no other. */
#include <string.h>

#include "tasks/answer.h"
#include "tasks/score.h"
#include "tasks/unicode.h"

enum { LABELS = 16 };

static bool is_label(const char *const *named, int n, const char *at, size_t bytes)
{
    for (int i = 0; i < n; i++)
        if (strlen(named[i]) == bytes && memcmp(named[i], at, bytes) == 0) return true;
    return false;
}

/* What stands before a text, where it occurs. */
static void cut_before(char *text, const char *what)
{
    char *at = strstr(text, what);
    if (at) *at = 0;
}

static bool right(char *labels, char *said, const char *question, const char *target)
{
    const char *named[LABELS];
    int n = 0, asked = 1;
    cut_before(said, ".");
    cut_before(said, "<context>");
    cut_before(said, "<example>");
    for (char *label; (label = strsep(&labels, "|"));)
        if (n < LABELS && strstr(said, label) && !strstr(question, label)) named[n++] = label;
    if (!strchr(target, ',') || strlen(target) <= 3) return n == 1 && is_label(named, n, target, strlen(target));
    for (const char *at = target; ; asked++) {
        const size_t bytes = strcspn(at, ",");
        if (!is_label(named, n, at, bytes)) return false;
        if (!at[bytes]) break;
        at += bytes + 1;
    }
    return n == asked;
}

sf_status sf_score_babilong(const char *labels, const sf_sample *sample, const char *text, sf_score *out)
{
    sf_text lower[4] = {0};
    const char *const texts[] = {labels, text, sample->aside ? sample->aside : "", sample->gold[0]};
    bool failed = false;
    for (int i = 0; i < 4; i++) {
        sf_add_lower(&lower[i], sf_span_of(texts[i]));
        failed |= lower[i].failed;
    }
    const bool parsed = sf_strip(sf_span_of(text)).bytes > 0;
    const double score = !failed && parsed && right(lower[0].data, lower[1].data, lower[2].data, lower[3].data);
    for (int i = 0; i < 4; i++) sf_text_free(&lower[i]);
    *out = (sf_score){score, score, parsed};
    return failed ? sf_fail(SF_NO_MEMORY, "no memory to score an answer") : SF_OK;
}
