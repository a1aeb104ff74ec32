/* Every built-in task: one line each. */
#include "tasks/task.h"

extern const sf_task sf_niah, sf_vt, sf_cwe;
extern const sf_task sf_story_retrieval, sf_story_multihop, sf_story_filtering;
extern const sf_task sf_ruler_niah_single_1, sf_ruler_niah_single_2, sf_ruler_niah_single_3, sf_ruler_niah_multikey_1,
    sf_ruler_niah_multikey_2, sf_ruler_niah_multikey_3, sf_ruler_niah_multivalue, sf_ruler_niah_multiquery;
extern const sf_task sf_qa_squad, sf_qa_quality, sf_qa_toefl;
extern const sf_task sf_ruler_vt, sf_ruler_cwe, sf_ruler_fwe, sf_ruler_qa_1, sf_ruler_qa_2;

const sf_task *const sf_tasks[] = {
    /* the study's */
    &sf_niah,
    &sf_vt,
    &sf_cwe,
    &sf_story_retrieval,
    &sf_story_multihop,
    &sf_story_filtering,
    &sf_qa_squad,
    &sf_qa_quality,
    &sf_qa_toefl,

    /* RULER's */
    &sf_ruler_niah_single_1,
    &sf_ruler_niah_single_2,
    &sf_ruler_niah_single_3,
    &sf_ruler_niah_multikey_1,
    &sf_ruler_niah_multikey_2,
    &sf_ruler_niah_multikey_3,
    &sf_ruler_niah_multivalue,
    &sf_ruler_niah_multiquery,
    &sf_ruler_vt,
    &sf_ruler_cwe,
    &sf_ruler_fwe,
    &sf_ruler_qa_1,
    &sf_ruler_qa_2,
    NULL,
};
