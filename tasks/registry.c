/* Every built-in task: one line each. SF_TASK(x) names `const sf_task sf_x`, defined in a file here. */
#include "tasks/task.h"

#include <math.h>
#include <string.h>

#define TASKS                           \
    /* the study's */                   \
    SF_TASK(niah)                       \
    SF_TASK(vt)                         \
    SF_TASK(cwe)                        \
    SF_TASK(story_retrieval)            \
    SF_TASK(story_multihop)             \
    SF_TASK(story_filtering)            \
    SF_TASK(qa_squad)                   \
    SF_TASK(qa_quality)                 \
    SF_TASK(qa_toefl)                   \
    /* RULER's */                       \
    SF_TASK(ruler_niah_single_1)        \
    SF_TASK(ruler_niah_single_2)        \
    SF_TASK(ruler_niah_single_3)        \
    SF_TASK(ruler_niah_multikey_1)      \
    SF_TASK(ruler_niah_multikey_2)      \
    SF_TASK(ruler_niah_multikey_3)      \
    SF_TASK(ruler_niah_multivalue)      \
    SF_TASK(ruler_niah_multiquery)      \
    SF_TASK(ruler_vt)                   \
    SF_TASK(ruler_cwe)                  \
    SF_TASK(ruler_fwe)                  \
    SF_TASK(ruler_qa_1)                 \
    SF_TASK(ruler_qa_2)

#define SF_TASK(name) extern const sf_task sf_##name;
TASKS
#undef SF_TASK

#define SF_TASK(name) &sf_##name,
const sf_task *const sf_tasks[] = {TASKS NULL};

const sf_task *sf_task_find(const char *name)
{
    for (int i = 0; sf_tasks[i]; i++)
        if (strcmp(sf_tasks[i]->name, name) == 0) return sf_tasks[i];
    return NULL;
}

sf_status sf_task_score(const sf_task *task, const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    *out = (sf_score){.strict = NAN};
    SF_TRY(task->score(params, sample, text, out));
    if (!(out->strict >= 0 && out->strict <= 1))
        return sf_fail(SF_INTERNAL, "task '%s', score: strict is %g, expected 0 … 1", task->name, out->strict);
    if (!isnan(out->reference) && !(out->reference >= 0 && out->reference <= 1))
        return sf_fail(SF_INTERNAL, "task '%s', score: reference is %g, expected 0 … 1 or NaN", task->name, out->reference);
    if (out->strict > 0 && !out->parsed)
        return sf_fail(SF_INTERNAL, "task '%s', score: strict is %g of an answer that is not parsed, expected 0", task->name, out->strict);
    return SF_OK;
}
