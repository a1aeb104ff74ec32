/* question: late: what of a sample the prefill sees, with the embedded family's tokenizer and template. */
#include <string.h>

#include "harness/model/tokenizer.h"
#include "harness/run/study.h"
#include "tests/testing.h"

static const char *const SETS[] = {
    "models=[models/frontier-mini/s]",
    "lengths=[1024]",
    "tasks=[niah: {label: late, question: late, key_groups: 2, value_groups: 2, group_length: 4}, "
    "niah: {label: after, question: after, key_groups: 2, value_groups: 2, group_length: 4}, "
    "story_retrieval: {question: late, queries: 4}, ruler_vt: {question: late}]",
};

static void text_of(const sf_study *study, const int32_t *ids, int n, char **out)
{
    if (sf_decode(study->model[0]->tokenizer, ids, n, false, out) != SF_OK) fail_msg("%s", sf_error());
}

/* The prefill ends with the context, but for a token that its last letters share with what follows; the rest has all the rest. */
static void ends_with_the_context(void **state)
{
    (void)state;
    enum { TASKS = 4, SAMPLES = 5, SHARED = 8 };
    sf_study study;
    if (sf_study_open_text("configs/demo.yaml", 3, SETS, &study) != SF_OK) fail_msg("%s", sf_error());
    assert_int_equal(study.sweep->tasks, TASKS);
    for (int task = 0; task < TASKS; task++)
        for (int i = 0; i < SAMPLES; i++) {
            sf_sample sample;
            sf_input in;
            if (sf_study_sample(&study, 0, task, 0, i, &sample, &in) != SF_OK) fail_msg("%s", sf_error());
            const int head = in.tokens - in.late;
            char *seen, *rest;
            text_of(&study, in.id, head, &seen);
            text_of(&study, in.id + head, in.late, &rest);
            assert_int_equal(in.tokens, sample.tokens);
            if (task == 1) {
                assert_int_equal(in.late, 0);
            } else {
                const char *tail = sample.prompt + sample.context_end, *end = strstr(rest, tail);
                assert_non_null(end);
                assert_true(end - rest <= SHARED);
                char *ends = strndup(sample.prompt + sample.context_begin, (size_t)(sample.context_end - sample.context_begin - SHARED));
                assert_non_null(strstr(seen, ends));
                assert_null(strstr(seen, tail));
                assert_true(strlen(seen) <= (size_t)(strstr(seen, ends) - seen) + strlen(ends) + SHARED);
                free(ends);
            }
            free(seen), free(rest), free(in.id);
            sf_sample_free(&sample);
        }
    sf_study_close(&study);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ends_with_the_context)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
