/* Every built-in task: lengths, determinism, prompts, perfect answers, errors. What the prompts hold is checked from
 * outside by tests/oracle.py. */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "tasks/haystack.h"
#include "tasks/random.h"
#include "tasks/words.h"
#include "tests/counters.h"
#include "tests/testing.h"

/* ---- samples ----------------------------------------------------------------------------------------------------- */

static const sf_task *task_named(const char *name)
{
    for (int i = 0; sf_tasks[i]; i++)
        if (strcmp(sf_tasks[i]->name, name) == 0) return sf_tasks[i];
    fail_msg("no task %s", name);
    return NULL;
}

static void *default_params(const sf_task *task)
{
    char *params = calloc(1, task->params_size + 1);
    for (const sf_param *row = task->params; row && row->name; row++) {
        void *at = params + row->offset;
        if (row->type == SF_INT || row->type == SF_CHOICE)
            *(int *)at = (int)row->initial;
        else if (row->type == SF_REAL)
            *(double *)at = row->initial;
        else if (row->type == SF_BOOL)
            *(bool *)at = row->initial != 0;
        else
            *(const char **)at = row->text;
    }
    return params;
}

static void *param(const sf_task *task, void *params, const char *name)
{
    for (const sf_param *row = task->params; row->name; row++)
        if (strcmp(row->name, name) == 0) return (char *)params + row->offset;
    fail_msg("%s has no parameter %s", task->name, name);
    return NULL;
}

static void set_param(const sf_task *task, void *params, const char *name, double value)
{
    const sf_param *p = task->params;
    while (strcmp(p->name, name) != 0) p++;
    void *at = param(task, params, name);
    switch (p->type) {
    case SF_REAL: *(double *)at = value; break;
    case SF_BOOL: *(bool *)at = value != 0; break;
    case SF_INT:
    case SF_CHOICE: *(int *)at = (int)value; break;
    case SF_STRING: fail_msg("%s is a text", name);
    }
}

static sf_status generate(const sf_task *task, const void *params, int length, int index, sf_token_counter counter,
                          const sf_prompting *prompting, sf_sample *out)
{
    sf_request request = {.seed = 43, .index = index, .max_tokens = length, .tokens = counter};
    if (prompting) request.prompting = *prompting;
    *out = (sf_sample){0};
    return task->generate(params, &request, out);
}

/* All that a sample holds, as one number. */
static uint64_t digest(const sf_sample *s)
{
    uint64_t hash = XXH3_64bits(s->prompt, strlen(s->prompt)) ^ XXH3_64bits(s->answer, strlen(s->answer));
    if (s->answer_prefix) hash ^= 31 * XXH3_64bits(s->answer_prefix, strlen(s->answer_prefix));
    for (int i = 0; i < s->gold_count; i++) hash = 31 * hash + XXH3_64bits(s->gold[i], strlen(s->gold[i]));
    return hash + (uint64_t)s->tokens + ((uint64_t)s->context_begin << 20) + ((uint64_t)s->context_end << 40);
}

static void check_sample(const sf_task *task, const void *params, int length, const sf_sample *s)
{
    if (s->tokens > length || s->tokens < 0.95 * length)
        fail_msg("%s: %d tokens of %d (%.1f %%)", task->name, s->tokens, length, 100.0 * s->tokens / length);
    assert_true(s->gold_count > 0);
    assert_true((task->raw || 0 < s->context_begin) && s->context_begin <= s->context_end && s->context_end <= (int)strlen(s->prompt));
    assert_false(isspace((unsigned char)s->prompt[strlen(s->prompt) - 1]));
    sf_score score;
    assert_int_equal(task->score(params, s, s->answer, &score), SF_OK);
    if (score.strict != 1 || score.reference != 1 || !score.parsed)
        fail_msg("%s: its own answer scores %g %g %d:\n%s", task->name, score.strict, score.reference, score.parsed,
                 s->answer);
    assert_int_equal(task->score(params, s, "", &score), SF_OK);
    assert_true(score.strict == 0 && !score.parsed);
}

/* ---- lengths ----------------------------------------------------------------------------------------------------- */

static void lengths(void **state)
{
    (void)state;
    static const int wanted[] = {512, 1024, 2000, 4096, 16384, 65536, 131072};
    const struct {
        const char *name;
        sf_token_counter counter;
    } counters[] = {{"fours", counter_fours}, {"words", counter_words}};
    for (int t = 0; sf_tasks[t]; t++)
        for (int c = 0; c < 2; c++)
            for (int l = 0; l < 7; l++)
                for (int index = 0; index < 3; index++) {
                    const sf_task *task = sf_tasks[t];
                    void *params = default_params(task);
                    sf_sample s;
                    sf_prompting direct = {.direct = index == 1};
                    sf_status status = generate(task, params, wanted[l], index, counters[c].counter, &direct, &s);
                    int length = wanted[l];
                    if (status != SF_OK && task->natural && strstr(sf_error(), "too many")) { /* of the shipped data */
                        free(params);
                        continue;
                    }
                    if (status != SF_OK) { /* too short a length: the message names one that will do */
                        const char *least = strstr(sf_error(), "at least ");
                        if (!least || wanted[l] > 4096)
                            fail_msg("%s, %d tokens, %s: %s", task->name, wanted[l], counters[c].name, sf_error());
                        assert_true(s.prompt == NULL && s.gold == NULL && s.answer == NULL && s.tokens == 0);
                        length = atoi(least + 9);
                        assert_true(length > wanted[l]);
                        if (generate(task, params, length, index, counters[c].counter, &direct, &s) != SF_OK)
                            fail_msg("%s, at least %d tokens, %s: %s", task->name, length, counters[c].name,
                                     sf_error());
                    }
                    check_sample(task, params, length, &s);
                    sf_sample_free(&s);
                    free(params);
                }
}

static int count_and_tally(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    *(size_t *)self += bytes;
    return count_words(NULL, text, bytes, answer_prefix);
}

/* Counting is what generation costs: the fitting may ask for little more than two whole counts of a sample. */
static void counts_are_few(void **state)
{
    (void)state;
    for (int t = 0; sf_tasks[t]; t++) {
        void *params = default_params(sf_tasks[t]);
        size_t counted = 0, bytes = 0;
        for (int index = 0; index < 5; index++) {
            sf_sample s;
            sf_token_counter counter = {&counted, count_and_tally};
            assert_int_equal(generate(sf_tasks[t], params, 8192, index, counter, NULL, &s), SF_OK);
            bytes += strlen(s.prompt);
            sf_sample_free(&s);
        }
        free(params);
        if (counted > 4 * bytes)
            fail_msg("%s: counts %.1f times its length", sf_tasks[t]->name, (double)counted / bytes);
    }
}

static int count_fails(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    (void)text, (void)bytes, (void)answer_prefix;
    return -(int)sf_fail(*(const sf_status *)self, "no such token");
}

/* Nothing lies between 100 and 200, 200 and 300, … */
static int count_steps(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    (void)self, (void)text, (void)answer_prefix;
    return 100 * (1 + (int)bytes / 5000);
}

static void failures(void **state)
{
    (void)state;
    sf_sample s;
    const sf_task *niah = task_named("niah"), *cwe = task_named("cwe"), *vt = task_named("vt");
    void *p = default_params(niah);
    const sf_status failed[] = {SF_BAD_INPUT, SF_NO_MEMORY}; /* as the counter says */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(generate(niah, p, 4096, 0, (sf_token_counter){(void *)&failed[i], count_fails}, NULL, &s), failed[i]);
        assert_non_null(strstr(sf_error(), "no such token"));
        assert_null(s.prompt);
    }
    assert_int_equal(generate(niah, p, 160, 0, (sf_token_counter){NULL, count_steps}, NULL, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "no number of other sentences fills"));
    *(int *)param(niah, p, "key_groups") = *(int *)param(niah, p, "group_length") = 1;
    assert_int_equal(generate(niah, p, 16384, 0, counter_fours, NULL, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "raise group_length"));
    free(p);

    p = default_params(vt);
    *(int *)param(vt, p, "name_length") = 1;
    assert_int_equal(generate(vt, p, 4096, 0, counter_fours, NULL, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "raise name_length"));
    free(p);

    p = default_params(cwe);
    *(int *)param(cwe, p, "rare_repeats") = 30;
    assert_int_equal(generate(cwe, p, 4096, 0, counter_fours, NULL, &s), SF_BAD_INPUT);
    *(int *)param(cwe, p, "rare_repeats") = 1;
    assert_int_equal(generate(cwe, p, 1 << 20, 0, counter_fours, NULL, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "too many: all of its content"));
    free(p);
}

/* ---- the same everywhere ----------------------------------------------------------------------------------------- */

enum { SAMPLES = 6, MOST_TASKS = 64 };
static uint64_t alone[MOST_TASKS][SAMPLES], together[2][MOST_TASKS][SAMPLES];

static void *all_samples(void *argument)
{
    uint64_t(*out)[SAMPLES] = argument;
    bool backwards = out == together[1];
    for (int k = 0; k < SAMPLES; k++)
        for (int t = 0; sf_tasks[t]; t++) {
            int index = backwards ? SAMPLES - 1 - k : k;
            void *params = default_params(sf_tasks[t]);
            sf_sample s;
            if (generate(sf_tasks[t], params, 8192, index, counter_words, NULL, &s) == SF_OK)
                out[t][index] = digest(&s);
            sf_sample_free(&s);
            free(params);
        }
    return NULL;
}

static void two_runs_and_two_threads(void **state)
{
    (void)state;
    all_samples(alone);
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, all_samples, together[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    for (int t = 0; sf_tasks[t]; t++)
        for (int k = 0; k < SAMPLES; k++) {
            assert_true(alone[t][k] != 0);
            assert_true(alone[t][k] == together[0][t][k] && alone[t][k] == together[1][t][k]);
            for (int j = 0; j < k; j++) assert_true(alone[t][j] != alone[t][k]);
        }
}

/* Samples of released versions: who changes them raises the task's version and this table. */
static void samples_stay(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int version;
        uint64_t digest;
    } golden[] = {
        {"niah", 1, 0x52e4110af424fb2b},
        {"vt", 1, 0xae4df40c9db8d048},
        {"cwe", 2, 0x023236d860c57787},
        {"story_retrieval", 4, 0xdfa7b7013364df95},
        {"story_multihop", 3, 0xaa6945850ad40ef9},
        {"story_filtering", 3, 0x8ad2995972f020c1},
        {"qa_squad", 3, 0xebb496384316d4f5},
        {"qa_quality", 2, 0x11a36e706cbc2d56},
        {"qa_toefl", 2, 0x1a3a54ac4e9727b2},
        {"ruler_niah_single_1", 2, 0xad34eb2d301b1c88},
        {"ruler_niah_single_2", 2, 0xbaacfd8b8d45a0e3},
        {"ruler_niah_single_3", 2, 0xc7ac23785ae8e3ed},
        {"ruler_niah_multikey_1", 2, 0x6369dc064f4668e5},
        {"ruler_niah_multikey_2", 2, 0x519f44b8bfca86cd},
        {"ruler_niah_multikey_3", 2, 0x055f1f2eca106f6b},
        {"ruler_niah_multivalue", 2, 0x1ed59a5b909db888},
        {"ruler_niah_multiquery", 2, 0x36b83e219385a20d},
        {"ruler_vt", 2, 0x75cde5926bda3557},
        {"ruler_cwe", 2, 0xbb3cc90a81a83bc7},
        {"ruler_fwe", 2, 0x15add931ba2467ef},
        {"ruler_qa_1", 3, 0x9b32328b6cef632f},
        {"ruler_qa_2", 3, 0x51e9a67d82ef92d2},
        {"text", 1, 0x82c8a1f1cf6d9745},
    };
    int changed = 0;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const sf_task *task = task_named(golden[i].name);
        void *params = default_params(task);
        sf_sample s;
        assert_int_equal(generate(task, params, 4096, 7, counter_fours, NULL, &s), SF_OK);
        if (digest(&s) != golden[i].digest || task->version != golden[i].version) {
            print_error("samples or version of %s are others: if that is meant, raise its version and put into samples_stay()\n"
                        "        {\"%s\", %d, 0x%016llx},\n", task->name, task->name, task->version, (unsigned long long)digest(&s));
            changed++;
        }
        sf_sample_free(&s);
        free(params);
    }
    assert_int_equal(changed, 0);
}

/* The same of other parameters, lengths and ways to ask: what the study's values do not reach. */
static void other_samples_stay(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int length;
        struct { const char *param; double value; } set[5];
        sf_prompting how;
        uint64_t digest;
    } golden[] = {
        {"niah", 1000, {{"queries", 1}, {"key_groups", 1}, {"value_groups", 1}, {"group_length", 4}, {"density", 0}}, .digest = 0x12e0c41248d55e3a},
        {"niah", 2000, {{"queries", 3}, {"depth", 0.25}, {"density", 0.5}}, .how = {.direct = true}, .digest = 0x44aaf159660aae60},
        {"niah", 3000, {{"group_length", 3}, {"density", 0.07}}, .how = {.place = SF_QUESTION_BOTH}, .digest = 0x264f29b42e958144},
        {"vt", 1000, {{"chains", 1}, {"hops", 1}}, .how = {.direct = true}, .digest = 0x0065bd71c7cfa353},
        {"vt", 3000, {{"chains", 3}, {"hops", 2}, {"name_length", 3}, {"digits", 2}}, .how = {.place = SF_QUESTION_BEFORE}, .digest = 0xd7094b075bd3c39d},
        {"cwe", 2000, {{"common", 3}, {"common_repeats", 6}, {"rare_repeats", 2}}, .how = {.direct = true}, .digest = 0xa4ba2d1878fbbc88},
        {"cwe", 5000, {{"words", 500}}, .how = {.place = SF_QUESTION_BOTH}, .digest = 0xb9bf13457af0f2ef},
        {"story_retrieval", 2500, {{"queries", 1}, {"depth", 0.5}, {"talk", 1}}, .how = {.direct = true}, .digest = 0xecd23669c429748c},
        {"story_retrieval", 6000, {{"queries", 2}, {"sales", 0}, {"pools", 1}}, .how = {.place = SF_QUESTION_BEFORE}, .digest = 0x3fc64fedb8e57eec},
        {"story_multihop", 3000, {{"depth", 0}, {"talk", 0}}, .digest = 0x116f3c1ae22aa757},
        {"story_multihop", 3000, {{"depth", 1}, {"sales", 1}}, .how = {.direct = true}, .digest = 0xe6c065995f677571},
        {"story_filtering", 2000, {{"empty", 1}}, .how = {.direct = true}, .digest = 0x6a650b2affddddf4},
        {"story_filtering", 4000, {{"empty", 2}, {"pools", 1}, {"talk", 5}}, .how = {.place = SF_QUESTION_BOTH}, .digest = 0xb0bb97483969fa4c},
        {"qa_squad", 1500, {{"longest", 1000}}, .how = {.direct = true}, .digest = 0x90243ef311627ae8},
        {"qa_quality", 2500, .how = {.place = SF_QUESTION_BEFORE}, .digest = 0xb52468d6e034914e},
        {"qa_toefl", 1000, .how = {.direct = true}, .digest = 0xaed40c65c4b82baf},
        {"ruler_niah_single_2", 3000, {{"depth", 0.5}, {"answer_prefix", 0}}, .digest = 0x46e0206cb6a07c33},
        {"ruler_niah_multikey_3", 2500, {{"keys", 2}, {"queries", 2}}, .digest = 0xa58cdd89ab507470},
        {"ruler_niah_multiquery", 2500, {{"queries", 2}, {"values", 2}}, .digest = 0x9df2a97cbe014bf3},
        {"ruler_vt", 1500, {{"chains", 2}, {"hops", 1}}, .digest = 0xde38f0b141c449b7},
        {"ruler_cwe", 2000, {{"common", 4}, {"answer_prefix", 0}}, .digest = 0x545de72b5a4a1afc},
        {"ruler_fwe", 1500, {{"alpha", 3.5}, {"letters", 4}}, .digest = 0x85ccd7ed9643d892},
        {"ruler_qa_2", 3000, {{"answer_prefix", 0}}, .digest = 0x66538cc88f843a16},
    };
    int changed = 0;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const sf_task *task = task_named(golden[i].name);
        void *params = default_params(task);
        for (int k = 0; k < 5 && golden[i].set[k].param; k++) set_param(task, params, golden[i].set[k].param, golden[i].set[k].value);
        sf_sample s;
        if (generate(task, params, golden[i].length, 3, counter_fours, &golden[i].how, &s) != SF_OK)
            fail_msg("row %zu, %s: %s", i, golden[i].name, sf_error());
        check_sample(task, params, golden[i].length, &s);
        if (digest(&s) != golden[i].digest) {
            print_error("row %zu, %s at %d: 0x%016llx\n", i, task->name, golden[i].length, (unsigned long long)digest(&s));
            changed++;
        }
        sf_sample_free(&s);
        free(params);
    }
    assert_int_equal(changed, 0);
}

/* ---- RULER's words ----------------------------------------------------------------------------------------------- */

static void *worded(const sf_task *task, const char *repository)
{
    void *params = default_params(task);
    set_param(task, params, "wording", 1);
    for (const sf_param *row = task->params; row->name; row++)
        if (strcmp(row->name, "repository") == 0) *(const char **)((char *)params + row->offset) = repository;
    return params;
}

/* Prompts in words that are laid out as RULER's: those for which tests/peers/ruler.py found that RULER's own code writes the same. */
static void rulers_words(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t digest;
    } golden[] = {
        {"ruler_niah_single_1", 0x1592ff5aa3e8b547},
        {"ruler_niah_single_2", 0xbcdc145a190b8fe5},
        {"ruler_niah_single_3", 0x280e18b6ddff9347},
        {"ruler_niah_multikey_1", 0xcb8e6624566af0db},
        {"ruler_niah_multikey_2", 0x957602cad00f9527},
        {"ruler_niah_multikey_3", 0xc40a2bdd2f0887a9},
        {"ruler_niah_multivalue", 0xc2ff02ab31a2beee},
        {"ruler_niah_multiquery", 0xb29dcd662d55ce02},
        {"ruler_vt", 0xf61063715a0a48e2},
        {"ruler_cwe", 0x747b46460b12e1b4},
        {"ruler_fwe", 0x79e233165669ec82},
        {"ruler_qa_1", 0x12b72a7c9c38f26c},
        {"ruler_qa_2", 0x5d8724d187306f6c},
    };
    int changed = 0;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const sf_task *task = task_named(golden[i].name);
        void *params = worded(task, "tests/suites/ruler");
        uint64_t all = 0;
        for (int index = 0; index < 12; index++) {
            sf_sample s;
            if (generate(task, params, 3000, index, counter_fours, NULL, &s) != SF_OK) fail_msg("%s: %s", task->name, sf_error());
            check_sample(task, params, 3000, &s);
            assert_true(s.answer_prefix[0] == ' ' && !strchr(s.prompt, '{') && !strchr(s.answer_prefix, '{'));
            all = all * 31 + digest(&s);
            sf_sample_free(&s);
        }
        if (all != golden[i].digest) print_error("        {\"%s\", 0x%016llx},\n", task->name, (unsigned long long)all), changed++;
        free(params);
    }
    assert_int_equal(changed, 0);
}

static void refused(const char *name, void *params, const sf_prompting *how, const char *message)
{
    sf_sample s;
    if (generate(task_named(name), params, 3000, 0, counter_fours, how, &s) == SF_OK) fail_msg("%s is not refused: %s", name, message);
    if (!strstr(sf_error(), message)) fail_msg("\"%s\" does not mention \"%s\"", sf_error(), message);
    assert_true(!s.prompt && !s.gold && !s.answer_prefix);
    free(params);
}

static void write_words(const char *folder, const char *name, const char *source)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.py", folder, name);
    file_write(path, source, strlen(source));
}

static void other_words(void **state)
{
    (void)state;
    char folder[64];
    assert_int_equal(folder_make(folder), 0);
    write_words(folder, "constants", "TASKS = {'qa': {'template': '{context} {query} {what}', 'answer_prefix': ' A:'}, 'freq_words_extraction': {'template': 'none'},\n"
                                "'common_words_extraction': {'template': '{context} The 20?', 'answer_prefix': '{context}'}}\n");
    const sf_prompting how = {.introduction = "Read."};
    const char *ours = "tests/suites/ruler";
    refused("ruler_vt", worded(task_named("ruler_vt"), NULL), NULL, "`wording: ruler` takes `repository`");
    void *unsaid = worded(task_named("ruler_vt"), ours);
    set_param(task_named("ruler_vt"), unsaid, "wording", 0);
    refused("ruler_vt", unsaid, NULL, "`repository` is read with `wording: ruler` alone");
    refused("ruler_vt", worded(task_named("ruler_vt"), "/nowhere"), NULL, "/nowhere/constants.py: cannot open");
    refused("ruler_fwe", worded(task_named("ruler_fwe"), ours), &how, "leave out introduction");
    refused("ruler_niah_single_1", worded(task_named("ruler_niah_single_1"), folder), NULL, "expected a key \"niah\"");
    refused("ruler_fwe", worded(task_named("ruler_fwe"), folder), NULL, "expected a key \"answer_prefix\"");
    refused("ruler_cwe", worded(task_named("ruler_cwe"), folder), NULL, "do not ask for 10 words");
    write_words(folder, "qa", "DOCUMENT_PROMPT = '{document}'\n");
    refused("ruler_qa_1", worded(task_named("ruler_qa_1"), folder), NULL, "a field that this program does not know: \"{what}\"");
    write_words(folder, "constants", "TASKS = {'qa': {'template': '{context}', 'answer_prefix': ' A:'},\n'niah': {'template': '{context}', 'answer_prefix': ''}}");
    refused("ruler_qa_1", worded(task_named("ruler_qa_1"), folder), NULL, "expected DOCUMENT_PROMPT to be");
    write_words(folder, "niah", "needle = '{key} {value}'\n");
    refused("ruler_niah_single_2", worded(task_named("ruler_niah_single_2"), folder), NULL, "RULER's essays, which its json/download_paulgraham_essay.py fetches");
    folder_remove(folder);
}

/* ---- the prompt -------------------------------------------------------------------------------------------------- */

static int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

static void question_places(void **state)
{
    (void)state;
    static const struct {
        sf_question_place place;
        bool before, after;
    } rows[] = {{SF_QUESTION_OWN, true, true},
                {SF_QUESTION_BOTH, true, true},
                {SF_QUESTION_AFTER, false, true},
                {SF_QUESTION_BEFORE, true, false}};
    const sf_task *vt = task_named("vt"), *ruler = task_named("ruler_vt");
    for (int i = 0; i < 4; i++) {
        void *params = default_params(vt);
        sf_sample s;
        sf_prompting how = {.place = rows[i].place};
        assert_int_equal(generate(vt, params, 2048, 0, counter_fours, &how, &s), SF_OK);
        check_sample(vt, params, 2048, &s);
        assert_int_equal(occurrences(s.prompt, "<question>\nWhich"), rows[i].before + rows[i].after);
        assert_int_equal(strstr(s.prompt, "<question>") < s.prompt + s.context_begin, rows[i].before);
        assert_int_equal(strstr(s.prompt + s.context_end, "<question>") != NULL, rows[i].after);
        assert_memory_equal(s.prompt + s.context_begin - 10, "<context>\n", 10);
        assert_memory_equal(s.prompt + s.context_end, "\n</context>", 11);
        sf_sample_free(&s);
        free(params);

        params = default_params(ruler); /* asks after the context by itself */
        assert_int_equal(generate(ruler, params, 2048, 0, counter_fours, &how, &s), SF_OK);
        bool own = rows[i].place == SF_QUESTION_OWN;
        assert_int_equal(strstr(s.prompt + s.context_end, "\nQuestion: ") != NULL, own || rows[i].after);
        assert_int_equal(occurrences(s.prompt, "\nQuestion: "),
                         1 + (own ? 1 : rows[i].before + rows[i].after)); /* the example's */
        sf_sample_free(&s);
        free(params);
    }
}

/* Later turns ask other things of the same context, and leave the sample as it is without them. */
static void several_turns(void **state)
{
    (void)state;
    static const char *const names[] = {"niah", "story_retrieval"};
    enum { TURNS = 3, LENGTH = 4096 };
    for (int n = 0; n < 2; n++)
        for (int index = 0; index < 3; index++) {
            const sf_task *task = task_named(names[n]);
            void *params = default_params(task);
            set_param(task, params, "queries", 4);
            assert_true(task->turns);
            sf_sample one, s = {0};
            assert_int_equal(generate(task, params, LENGTH, index, counter_fours, NULL, &one), SF_OK);
            const sf_request request = {.seed = 43, .index = index, .max_tokens = LENGTH, .tokens = counter_fours, .turns = TURNS};
            assert_int_equal(task->generate(params, &request, &s), SF_OK);
            assert_string_equal(s.prompt, one.prompt);
            assert_int_equal(s.gold_count, one.gold_count);
            assert_int_equal(s.laters, TURNS - 1);
            const char *asked[TURNS * 4];
            for (int t = 0; t < TURNS; t++) {
                const sf_sample *turn = t ? &s.later[t - 1] : &s;
                sf_score score;
                assert_int_equal(turn->gold_count, 4);
                assert_int_equal(task->score(params, turn, turn->answer, &score), SF_OK);
                assert_true(score.strict == 1);
                for (int g = 0; g < 4; g++) {
                    asked[4 * t + g] = turn->gold[g];
                    if (n == 0) /* of a story other chapters may have the same answer */
                        for (int other = 0; other < 4 * t + g; other++) assert_string_not_equal(asked[other], turn->gold[g]);
                    const char *value = n == 0 ? strchr(turn->gold[g], ' ') + 1 : turn->gold[g];
                    const char *at = strstr(s.prompt + s.context_begin, value);
                    assert_true(at && at < s.prompt + s.context_end);
                }
                if (!t) continue;
                assert_memory_equal(turn->prompt, "<questions>\n", 12);
                assert_null(strstr(turn->prompt, "<context>"));
                const char *closing = strstr(s.prompt + s.context_end, "</questions>"); /* answered as the first is */
                assert_string_equal(strstr(turn->prompt, "</questions>"), closing);
                assert_string_not_equal(turn->prompt, t > 1 ? s.later[0].prompt : "");
            }
            sf_sample_free(&one);
            sf_sample_free(&s);
            free(params);
        }
    /* of a story no turn asks what an earlier one has asked, also where each asks about every chapter */
    const sf_task *story = task_named("story_retrieval");
    void *params = default_params(story);
    set_param(story, params, "queries", 4);
    sf_request request = {.seed = 43, .max_tokens = LENGTH, .tokens = counter_fours, .turns = 4};
    sf_sample s = {0};
    assert_int_equal(story->generate(params, &request, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "4 turns are too many"));
    for (request.index = 0; request.index < 20; request.index++) {
        request.turns = 3, request.max_tokens = 1200;
        assert_int_equal(story->generate(params, &request, &s), SF_OK);
        char *line[12];
        int lines = 0;
        for (int t = 0; t < 3; t++) {
            char *rest = t ? s.later[t - 1].prompt : strstr(s.prompt + s.context_end, "<questions>");
            const char *end = strstr(rest, "</questions>");
            for (char *at; lines < 12 && (at = strstr(rest, "chapter ")) && at < end; rest = at + 8) {
                char *from = at;
                while (from[-1] != '.') from--;
                line[lines++] = strndup(from, (size_t)(strchr(at, '?') - from));
            }
        }
        assert_int_equal(lines, 12);
        for (int i = 0; i < 12; i++)
            for (int j = 0; j < i; j++) assert_string_not_equal(line[i], line[j]);
        for (int i = 0; i < 12; i++) free(line[i]);
        sf_sample_free(&s);
    }
    free(params);
    const sf_task *niah = task_named("niah");
    params = default_params(niah);
    request = (sf_request){.seed = 43, .max_tokens = 1024, .tokens = counter_fours, .turns = 64};
    assert_int_equal(niah->generate(params, &request, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "63 later turns ask for 252 more pairs"));
    free(params);
}

static void own_words(void **state)
{
    (void)state;
    const sf_task *task = task_named("cwe");
    void *params = default_params(task);
    sf_sample s;
    sf_prompting how = {.introduction = "Count.", .instructions = "Say which."};
    assert_int_equal(generate(task, params, 4096, 0, counter_fours, &how, &s), SF_OK);
    check_sample(task, params, 4096, &s);
    assert_memory_equal(s.prompt, "Count.\n\n", 8);
    assert_string_equal(s.prompt + strlen(s.prompt) - strlen("</question>\n\nSay which."), "</question>\n\nSay which.");
    sf_sample_free(&s);

    how = (sf_prompting){.direct = true};
    assert_int_equal(generate(task, params, 4096, 0, counter_fours, &how, &s), SF_OK);
    assert_memory_equal(s.answer, "<answer>\n1. ", 12);
    assert_null(strstr(s.prompt, "explain in"));
    sf_sample_free(&s);
    free(params);
}

/* A needle at depth d stands d of the way through the context. */
static void depth(void **state)
{
    (void)state;
    static const char *const names[] = {"niah", "ruler_niah_single_1", "ruler_niah_single_2", "ruler_niah_multikey_2"};
    for (int t = 0; t < 4; t++)
        for (int d = 0; d <= 4; d++) {
            const sf_task *task = task_named(names[t]);
            void *params = default_params(task);
            *(int *)param(task, params, "queries") = 1;
            *(double *)param(task, params, "depth") = d / 4.0;
            sf_sample s;
            assert_int_equal(generate(task, params, 16384, 0, counter_fours, NULL, &s), SF_OK);
            const char *value = strrchr(s.gold[0], ' ') ? strrchr(s.gold[0], ' ') + 1 : s.gold[0];
            double at =
                (double)(strstr(s.prompt, value) - s.prompt - s.context_begin) / (s.context_end - s.context_begin);
            if (fabs(at - d / 4.0) > 0.02) fail_msg("%s: wanted depth %g, found %g", names[t], d / 4.0, at);
            assert_int_equal(occurrences(s.prompt, value), 1);
            sf_sample_free(&s);
            free(params);
        }
}

/* Several needles at one depth are neighbours, the first of them there. */
static void depth_of_several(void **state)
{
    (void)state;
    const sf_task *task = task_named("niah");
    for (int d = 0; d <= 2; d++) {
        void *params = default_params(task);
        *(int *)param(task, params, "queries") = 3;
        *(double *)param(task, params, "depth") = d / 2.0;
        sf_sample s;
        assert_int_equal(generate(task, params, 4096, 0, counter_fours, NULL, &s), SF_OK);
        assert_int_equal(s.gold_count, 3);
        int lines = 1, place[3], first = INT_MAX, last = 0;
        for (int i = s.context_begin; i < s.context_end; i++) lines += s.prompt[i] == '\n';
        for (int i = 0; i < 3; i++) {
            const char *at = strstr(s.prompt, strrchr(s.gold[i], ' ') + 1);
            assert_non_null(at);
            place[i] = 0;
            for (const char *c = s.prompt + s.context_begin; c < at; c++) place[i] += *c == '\n';
            if (place[i] < first) first = place[i];
            if (place[i] > last) last = place[i];
        }
        assert_int_equal(last - first, 2);
        assert_true(place[0] != place[1] && place[1] != place[2] && place[2] != place[0]);
        if (abs(first - (int)(d / 2.0 * (lines - 3))) > 1) fail_msg("depth %g: line %d of %d", d / 2.0, first, lines);
        sf_sample_free(&s);
        free(params);
    }
}

/* The least length that a refusal names is enough, and one less is not. */
static void least_length(void **state)
{
    (void)state;
    static const char *const names[] = {"niah", "vt", "cwe", "story_filtering", "ruler_niah_single_1", "ruler_fwe"};
    for (int t = 0; t < 6; t++) {
        const sf_task *task = task_named(names[t]);
        void *params = default_params(task);
        sf_sample s;
        assert_int_equal(generate(task, params, 60, 0, counter_fours, NULL, &s), SF_BAD_INPUT);
        const char *least = strstr(sf_error(), "at least ");
        if (!least) fail_msg("%s: %s", names[t], sf_error());
        int n = atoi(least + 9);
        if (generate(task, params, n, 0, counter_fours, NULL, &s) != SF_OK) fail_msg("%s at %d: %s", names[t], n, sf_error());
        assert_true(s.tokens <= n);
        sf_sample_free(&s);
        if (generate(task, params, s.tokens - 1, 0, counter_fours, NULL, &s) == SF_OK) fail_msg("%s: fits less than %d", names[t], n);
        free(params);
    }
}

/* ---- what tasks are made of -------------------------------------------------------------------------------------- */

static void chance(void **state)
{
    (void)state;
    /* tests/golden/tasks/random.py */
    static const uint64_t golden[] = {0x8872a09d66abf2a7, 0xc8e003e0fa084d80, 0xf7ac14d7498c6545, 0x09ab87580e14e2e2};
    sf_random r = sf_random_stream("niah", 43, 7);
    for (int i = 0; i < 4; i++) assert_int_equal(sf_random_next(&r), golden[i]);

    int seen[1000] = {0}, picked[40], items[1000];
    for (int i = 0; i < 100000; i++) seen[sf_random_below(&r, 1000)]++;
    double chi = 0;
    for (int i = 0; i < 1000; i++) chi += (seen[i] - 100.0) * (seen[i] - 100.0) / 100;
    assert_true(chi > 830 && chi < 1190); /* 999 degrees of freedom, six standard deviations at the most */

    for (int n = 40; n <= 45; n++) { /* all different, in range */
        bool taken[45] = {false};
        sf_random_pick(&r, n, picked, 40);
        for (int i = 0; i < 40; i++) {
            assert_true(picked[i] >= 0 && picked[i] < n && !taken[picked[i]]);
            taken[picked[i]] = true;
        }
    }
    for (int i = 0; i < 1000; i++) items[i] = i;
    sf_random_shuffle(&r, items, 1000);
    int sum = 0, fixed = 0;
    for (int i = 0; i < 1000; i++) sum += items[i], fixed += items[i] == i;
    assert_true(sum == 999 * 500 && fixed < 10);

    sf_random fork = sf_random_fork(&r, 1), again = sf_random_fork(&r, 1), other = sf_random_fork(&r, 2);
    uint64_t first = sf_random_next(&fork);
    assert_true(first == sf_random_next(&again) && first != sf_random_next(&other));
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void words(void **state)
{
    (void)state;
    int n = sf_word_count();
    assert_true(n >= 20000);
    const char **sorted = malloc((size_t)n * sizeof *sorted);
    for (int i = 0; i < n; i++) {
        sorted[i] = sf_word(i);
        assert_in_range(strlen(sorted[i]), 3, 10);
        for (const char *c = sorted[i]; *c; c++) assert_in_range(*c, 'a', 'z');
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    for (int i = 1; i < n; i++) assert_string_not_equal(sorted[i - 1], sorted[i]);
    free(sorted);
}

static void haystack_files(void **state)
{
    (void)state;
    char path[] = "/tmp/sf_haystack_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    for (int i = 0; i < 60; i++) fprintf(f, "Zebra\tnumber %d\n runs. \"Mr. Fox\nfollows?\" ", i);
    fclose(f);
    sf_prose prose;
    assert_int_equal(sf_prose_open(path, &prose), SF_OK);
    assert_int_equal(prose.words, 60 * 7);
    assert_int_equal(sf_prose_boundary(&prose, 1, 1000), 4);
    assert_int_equal(sf_prose_boundary(&prose, 5, 1000), 7);
    sf_text t = {0};
    sf_prose_add(&prose, 60 * 7 - 1, 60 * 7 + 2, &t); /* round the end */
    assert_string_equal(t.data, "follows?\" Zebra number");
    sf_text_free(&t);
    sf_prose_close(&prose);

    const sf_task *task = task_named("ruler_niah_single_2");
    void *params = default_params(task);
    *(const char **)param(task, params, "text") = path;
    sf_sample s;
    assert_int_equal(generate(task, params, 4096, 0, counter_fours, NULL, &s), SF_OK);
    check_sample(task, params, 4096, &s);
    assert_non_null(strstr(s.prompt, "Zebra number 17 runs."));
    sf_sample_free(&s);

    static const struct {
        const char *content, *message;
    } bad[] = {{"", "at least 100 words, found 0"},
               {"only four words here", "found 4"},
               {"one line\nof text \xe9 in Latin-1", ":2: expected UTF-8 text, found byte 0xe9 at offset 17"}};
    for (int i = 0; i < 3; i++) {
        f = fopen(path, "w");
        fputs(bad[i].content, f);
        fclose(f);
        assert_int_equal(generate(task, params, 4096, 0, counter_fours, NULL, &s), SF_BAD_INPUT);
        if (!strstr(sf_error(), bad[i].message) || !strstr(sf_error(), path)) fail_msg("%s", sf_error());
        assert_null(s.prompt);
    }
    *(const char **)param(task, params, "text") = "/tmp"; /* not a file */
    assert_int_equal(generate(task, params, 4096, 0, counter_fours, NULL, &s), SF_IO);
    *(const char **)param(task, params, "text") = path;
    unlink(path);
    assert_int_equal(generate(task, params, 4096, 0, counter_fours, NULL, &s), SF_IO);
    assert_non_null(strstr(sf_error(), path));
    free(params);
}

static void write_file(const char *folder, const char *name, const char *content, size_t bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, bytes, f), bytes);
    fclose(f);
}

/* Stretches of a folder's files as they are, one after the other: what follows a prompt there is its continuation, and no two
 * samples share a word. Each word of the files is a number of its own. */
static void natural_texts(void **state)
{
    (void)state;
    enum { WORDS = 9000, LENGTH = 400, OUTPUT = 40 };
    const sf_task *task = task_named("text");
    void *params = default_params(task);
    char folder[] = "/tmp/sf_text_XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    sf_text all = {0}, part = {0};
    for (int i = 0; i < WORDS; i++) {
        sf_text_format(&part, "w%05d%s", i, i % 97 == 96 ? "\n\n" : i % 3 ? "  " : "\n");
        if (i % 3000 != 2999) continue;
        snprintf(file, sizeof file, "%c.txt", 'a' + i / 3000);
        write_file(folder, file, part.data, part.size);
        if (all.size) sf_text_add(&all, "\n\n");
        sf_text_bytes(&all, part.data, part.size);
        sf_text_clear(&part);
    }
    write_file(folder, ".hidden", "\xff", 1); /* not looked at */
    *(const char **)param(task, params, "file") = folder;

    sf_request request = {.seed = 43, .max_tokens = LENGTH, .output = OUTPUT, .tokens = counter_fours};
    int samples, seen[WORDS] = {0};
    assert_int_equal(task->supply(params, &request, 1000, &samples), SF_OK);
    assert_true(samples > 25 && samples < (int)all.size / 4 / LENGTH);
    for (request.index = 0; request.index < samples; request.index++) {
        sf_sample s = {0};
        if (task->generate(params, &request, &s) != SF_OK) fail_msg("%s", sf_error());
        check_sample(task, params, LENGTH, &s);
        sf_text whole = {0};
        sf_text_add(&whole, s.prompt);
        sf_text_add(&whole, s.continuation);
        assert_non_null(strstr(all.data, whole.data));
        assert_true(isspace((unsigned char)s.continuation[0]));
        assert_true(strlen(s.continuation) >= 4 * OUTPUT);
        assert_memory_equal(s.continuation + strspn(s.continuation, " \n"), s.gold[0], strlen(s.gold[0]));
        for (const char *at = whole.data; (at = strchr(at, 'w')); at++) assert_int_equal(seen[atoi(at + 1)]++, 0);
        sf_text_free(&whole);
        sf_sample_free(&s);
    }
    sf_sample s = {0};
    assert_int_equal(task->generate(params, &request, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "stretches of 400 tokens"));
    request.index = 0, request.max_tokens = 40000;
    assert_int_equal(task->generate(params, &request, &s), SF_BAD_INPUT);
    if (!strstr(sf_error(), "are too many: all of")) fail_msg("%s", sf_error());
    request.max_tokens = LENGTH;
    snprintf(file, sizeof file, "%s/a.txt", folder); /* one file alone, to its very end */
    *(const char **)param(task, params, "file") = file;
    request.max_tokens = 5700;
    if (task->generate(params, &request, &s) != SF_OK) fail_msg("%s", sf_error());
    check_sample(task, params, 5700, &s);
    sf_sample_free(&s);

    sf_text_clear(&part); /* five words are 95 tokens; four are far from 94 */
    for (int i = 0; i < 400; i++) sf_text_format(&part, "%072d ", i);
    write_file(folder, "long.txt", part.data, part.size);
    snprintf(file, sizeof file, "%s/long.txt", folder);
    request.tokens = counter_fours, request.max_tokens = 100;
    if (task->generate(params, &request, &s) != SF_OK) fail_msg("%s", sf_error());
    assert_int_equal(s.tokens, 95);
    sf_sample_free(&s);
    request.max_tokens = 94;
    assert_int_equal(task->generate(params, &request, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "fill 95 to 100 % of 94 tokens"));
    unlink(file);
    snprintf(file, sizeof file, "%s/a.txt", folder);
    request.max_tokens = LENGTH;

    static const struct {
        const char *content;
        size_t bytes;
        const char *message;
    } bad[] = {{"", 0, "found an empty file"}, {" \n ", 3, "found blanks"}, {"x\ny\xe9z", 5, ":2: expected UTF-8 text, found byte 0xe9 at offset 3"},
               {"a\0b", 3, "found byte 0x00"}};
    for (int i = 0; i < 4; i++) {
        write_file(folder, "a.txt", bad[i].content, bad[i].bytes);
        assert_int_equal(task->generate(params, &request, &s), SF_BAD_INPUT);
        if (!strstr(sf_error(), bad[i].message) || !strstr(sf_error(), "a.txt")) fail_msg("%s", sf_error());
        assert_null(s.prompt);
    }
    for (const char *name = "abc"; *name; name++) {
        snprintf(file, sizeof file, "%s/%c.txt", folder, *name);
        unlink(file);
    }
    *(const char **)param(task, params, "file") = folder;
    assert_int_equal(task->generate(params, &request, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "expected files in this folder, found none"));
    snprintf(file, sizeof file, "%s/.hidden", folder);
    unlink(file);
    rmdir(folder);
    assert_int_equal(task->generate(params, &request, &s), SF_IO);
    sf_text_free(&all);
    sf_text_free(&part);
    free(params);
}

static void registry(void **state)
{
    (void)state;
    for (int i = 0; sf_tasks[i]; i++) {
        const sf_task *t = sf_tasks[i];
        assert_int_equal(t->abi, SF_TASK_ABI);
        assert_true(t->version >= 1 && t->output >= 1 && t->generate && t->score && t->summary && t->source &&
                    t->metric);
        for (const char *c = t->name; *c; c++)
            assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
        for (int j = 0; j < i; j++) assert_string_not_equal(t->name, sf_tasks[j]->name);
        for (const sf_param *row = t->params; row && row->name; row++) {
            assert_true(row->doc && row->offset < t->params_size);
            if (row->type == SF_INT || row->type == SF_REAL)
                assert_true(row->low <= row->initial && row->initial <= row->high);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry),
        cmocka_unit_test(rulers_words),
        cmocka_unit_test(other_words),
        cmocka_unit_test(chance),
        cmocka_unit_test(words),
        cmocka_unit_test(lengths),
        cmocka_unit_test(counts_are_few),
        cmocka_unit_test(failures),
        cmocka_unit_test(two_runs_and_two_threads),
        cmocka_unit_test(samples_stay),
        cmocka_unit_test(other_samples_stay),
        cmocka_unit_test(question_places),
        cmocka_unit_test(several_turns),
        cmocka_unit_test(own_words),
        cmocka_unit_test(depth),
        cmocka_unit_test(depth_of_several),
        cmocka_unit_test(least_length),
        cmocka_unit_test(haystack_files),
        cmocka_unit_test(natural_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
