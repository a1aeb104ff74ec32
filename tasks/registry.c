/* Every built-in task and every suite of others': one line each. SF_TASK(x) names `const sf_task sf_x`, defined in a file here. */
#include "tasks/find.h"

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
    SF_TASK(ruler_qa_2)                 \
    /* others */                        \
    SF_TASK(natural_text)

#define SF_TASK(name) extern const sf_task sf_##name;
TASKS
#undef SF_TASK

#define SF_TASK(name) &sf_##name,
const sf_task *const sf_tasks[] = {TASKS NULL};

/* SF_SUITE(x) names `const sf_suite sf_x`, defined in tasks/suite_x.c. */
#define SUITES                          \
    SF_SUITE(longbench)                 \
    SF_SUITE(longbench_v2)              \
    SF_SUITE(infinitebench)             \
    SF_SUITE(babilong)                  \
    SF_SUITE(nolima)                    \
    SF_SUITE(mrcr)                      \
    SF_SUITE(helmet)                    \
    SF_SUITE(scbench)

#define SF_SUITE(name) extern const sf_suite sf_##name;
SUITES
#undef SF_SUITE

#define SF_SUITE(name) &sf_##name,
const sf_suite *const sf_suites[] = {SUITES NULL};
