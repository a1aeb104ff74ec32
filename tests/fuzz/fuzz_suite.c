/* Data sets of others with any bytes: their rows, the files that their prompts are read from (RULER's among them), and answers to
 * them: read or refused, never a crash or a hang; each sample is whole and within its length, each score within 0 … 1. The first
 * byte says which task, the second how long a prompt may be and how many turns; words, an answer and rows follow, a NUL between. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tasks/suite.c" /* so that what it keeps of files can be let go */
#include "tests/counters.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { TASKS = 256, PARAMS = 1024 };
static const sf_task *task[TASKS];
static int tasks;
static char folder[64], words[80], rows[80];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static const char *const ruler[] = {"ruler_niah_single_1", "ruler_niah_multikey_2", "ruler_niah_multiquery", "ruler_vt", "ruler_cwe", "ruler_fwe", "ruler_qa_2"};
    for (size_t i = 0; i < sizeof ruler / sizeof *ruler; i++) task[tasks++] = sf_task_find(ruler[i]);
    for (int s = 0; sf_suites[s]; s++)
        for (int i = 0; i < sf_suites[s]->tasks && tasks < TASKS; i++) task[tasks++] = &sf_suites[s]->task[i];
    /* One file under every name that a reader looks for. */
    static const char *const name[] = {"constants.py", "niah.py", "variable_tracking.py", "qa.py", "common_words_extraction.py",
                                       "freq_words_extraction.py", "prompt.py", "eval_utils.py", "needle_set.json", "run_tests.py"};
    snprintf(folder, sizeof folder, "%s/fuzz_suite.XXXXXX", fuzz_folder());
    if (!mkdtemp(folder)) abort();
    snprintf(words, sizeof words, "%s/words", folder);
    snprintf(rows, sizeof rows, "%s/rows.jsonl", folder);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        if (symlink("words", path) != 0) abort();
    }
    return 0;
}

static void put(const char *path, const uint8_t *data, size_t bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes) abort();
    close(fd);
}

/* The part that begins at *at, up to the next NUL; the last is all that is left. */
static size_t part(const uint8_t **at, size_t *left, bool last, const uint8_t **out)
{
    const uint8_t *end = last ? NULL : memchr(*at, 0, *left);
    const size_t n = end ? (size_t)(end - *at) : *left, used = end ? n + 1 : n;
    *out = *at;
    *at += used, *left -= used;
    return n;
}

/* The task's parameters at their defaults, and the files. */
static void set(const sf_task *t, char *params)
{
    memset(params, 0, PARAMS);
    if (t->params_size > PARAMS) abort();
    for (const sf_param *p = t->params; p && p->name; p++) {
        void *at = params + p->offset;
        const bool own = strcmp(p->name, "wording") == 0;
        switch (p->type) {
        case SF_INT: *(int *)at = (int)p->initial; break;
        case SF_REAL: *(double *)at = p->initial; break;
        case SF_BOOL: *(bool *)at = p->initial != 0; break;
        case SF_CHOICE: *(int *)at = own ? 1 : (int)p->initial; break;
        case SF_STRING: *(const char **)at = p->text; break;
        }
        if (strcmp(p->name, "file") == 0 && strncmp(t->name, "ruler", 5) != 0) *(const char **)at = rows;
        if (strcmp(p->name, "demos") == 0) *(const char **)at = rows;
        if (strcmp(p->name, "repository") == 0) *(const char **)at = folder;
        if (strcmp(p->name, "prompts") == 0)
            *(const char **)at = strncmp(t->name, "infinitebench", 13) == 0 || strncmp(t->name, "nolima", 6) == 0 ? folder : words;
    }
}

static void check(const sf_task *t, const void *params, const sf_request *request, const sf_sample *s, const char *answer)
{
    if (!s->prompt || s->gold_count < 1 || s->tokens < 0 || s->tokens > request->max_tokens || s->context_begin < 0 ||
        s->context_end < s->context_begin || (size_t)s->context_end > strlen(s->prompt))
        abort();
    sf_score score = {0};
    if (sf_task_score(t, params, s, answer, &score) == SF_OK && !(score.strict >= 0 && score.strict <= 1)) abort();
    for (int i = 0; i < s->laters; i++)
        if (sf_task_score(t, params, &s->later[i], answer, &score) == SF_OK && !(score.strict >= 0 && score.strict <= 1)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2) return 0;
    const sf_task *t = task[data[0] % tasks];
    const sf_request request = {.seed = 43, .max_tokens = data[1] & 1 ? 64 : 2000, .turns = t->turns ? data[1] >> 1 & 3 : 0, .tokens = counter_words};
    const uint8_t *at = data + 2, *text;
    size_t left = bytes - 2, n = part(&at, &left, false, &text);
    put(words, text, n);
    n = part(&at, &left, false, &text);
    char *answer = strndup((const char *)text, n);
    n = part(&at, &left, true, &text);
    put(rows, text, n);
    if (!answer) return 0;

    char params[PARAMS];
    sf_sample sample = {0};
    set(t, params);
    if (t->generate(params, &request, &sample) == SF_OK) {
        check(t, params, &request, &sample, answer);
        sf_sample_free(&sample);
    }
    free(answer);
    while (all) {
        kept *next = (kept *)all->next;
        discard(all);
        all = next;
    }
    return 0;
}
