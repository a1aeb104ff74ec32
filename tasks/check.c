#include "tasks/check.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utf8proc.h>
#include <xxhash.h>

#include "base/yaml.h"
#include "tasks/find.h"
#include "tasks/random.h"

enum { SEED = 43, TEMPLATE = 23 /* tokens */, LIMIT = 60 /* seconds a row */ };

static const int lengths[] = {1024, 4096, 16384};
enum { LENGTHS = 3 };

/* What a row tries, in a process of its own; it has this to say. */
typedef struct trial {
    const sf_task *task;
    void *params;
    char detail[512];
} trial;

static bool say(trial *t, bool holds, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool say(trial *t, bool holds, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->detail, sizeof t->detail, format, args);
    va_end(args);
    return holds;
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

/* A token for every four bytes. */
static int count_fours(void *self, const char *text, size_t bytes, const char *prefix)
{
    (void)self, (void)text;
    return TEMPLATE + (int)((bytes + (prefix ? strlen(prefix) : 0)) / 4);
}

/* A token for every word, digit and mark. */
static int count_words(void *self, const char *text, size_t bytes, const char *prefix)
{
    int n = prefix ? count_words(self, prefix, strlen(prefix), NULL) : TEMPLATE;
    bool inside = false;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        bool letter = isalpha(c) || c >= 0x80;
        n += letter ? !inside : !isspace(c);
        inside = letter;
    }
    return n;
}

static const sf_token_counter counters[] = {{NULL, count_fours}, {NULL, count_words}};

static sf_status make(const trial *t, uint64_t seed, int index, int length, int counter, sf_sample *out)
{
    const sf_request request = {.seed = seed, .index = index, .max_tokens = length, .tokens = counters[counter]};
    *out = (sf_sample){0};
    return t->task->generate(t->params, &request, out);
}

/* All that a sample holds, as one number: the same on every machine. */
static uint64_t digest(const sf_sample *s)
{
    uint64_t hash = XXH3_64bits(s->prompt, strlen(s->prompt));
    const char *texts[] = {s->answer, s->answer_prefix};
    for (int i = 0; i < 2; i++)
        if (texts[i]) hash = 31 * hash + XXH3_64bits(texts[i], strlen(texts[i]));
    for (int i = 0; i < s->gold_count; i++) hash = 31 * hash + XXH3_64bits(s->gold[i], strlen(s->gold[i]));
    return hash + (uint64_t)s->tokens;
}

/* The first length of the table that the task can fill, with a sample of it; its least one only where its data do not
 * fill more. 0: none, and sf_error() says why. */
static int usual_length(const trial *t, sf_sample *out)
{
    for (int l = 1; l <= LENGTHS; l++)
        if (make(t, SEED, 0, lengths[l % LENGTHS], 0, out) == SF_OK) return lengths[l % LENGTHS];
    return 0;
}

/* Whether it makes no sample for want of files, which only the user has. */
static bool lacks_files(trial *t)
{
    sf_sample s;
    bool asks = false;
    for (const sf_param *p = t->task->params; p && p->name; p++) asks |= (p->file || p->folder) && !p->text;
    if (!asks) return false;
    if (usual_length(t, &s)) return sf_sample_free(&s), false;
    return say(t, true, "%s", sf_error());
}

/* ---- properties -------------------------------------------------------------------------------------------------- */

/* Fills 95 to 100 % of a length, or says at which least length it would, and does so there. */
static bool fills_length(trial *t)
{
    double low = 1, high = 0;
    for (int l = 0; l < LENGTHS; l++)
        for (int c = 0; c < 2; c++)
            for (int index = 0; index < 3; index++) {
                sf_sample s;
                int length = lengths[l];
                if (make(t, SEED, index, length, c, &s) != SF_OK) {
                    const char *least = strstr(sf_error(), "at least ");
                    if (strstr(sf_error(), "too many")) continue; /* more than its data fill */
                    if (!least || (length = atoi(least + 9)) <= lengths[l] ||
                        make(t, SEED, index, length, c, &s) != SF_OK)
                        return say(t, false, "%d tokens: %s", length, sf_error());
                }
                double share = (double)s.tokens / length;
                int says = s.tokens, counted = counters[c].count(NULL, s.prompt, strlen(s.prompt), s.answer_prefix);
                sf_sample_free(&s);
                if (counted != says)
                    return say(t, false, "%d tokens, sample %d: says %d tokens, has %d", length, index, says, counted);
                if (share > 1 || share < 0.95)
                    return say(t, false, "%d tokens, sample %d: fills %.1f %%", length, index, 100 * share);
                low = fmin(low, share), high = fmax(high, share);
            }
    return say(t, true, "%.1f to %.1f %%", 100 * low, 100 * high);
}

/* What is wrong with a sample's own texts; NULL: nothing. */
static const char *flaw_of(const sf_sample *s)
{
    size_t bytes = s->prompt ? strlen(s->prompt) : 0;
    if (!bytes) return "no prompt";
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)s->prompt;
    utf8proc_int32_t c;
    for (utf8proc_ssize_t n; *at; at += n)
        if ((n = utf8proc_iterate(at, -1, &c)) <= 0) return "the prompt is not UTF-8";
    if (s->gold_count < 1 || !s->gold) return "no expected answer";
    if (!s->answer) return "no perfect answer";
    if (s->context_begin < 0 || s->context_begin > s->context_end || (size_t)s->context_end > bytes)
        return "context_begin and context_end lie outside the prompt";
    return NULL;
}

static bool samples_are_whole(trial *t)
{
    sf_sample s;
    int length = usual_length(t, &s);
    if (!length) return say(t, false, "%s", sf_error());
    const char *flaw = flaw_of(&s);
    sf_sample_free(&s);
    return say(t, !flaw, "%s", flaw ? flaw : "prompt, context, gold, perfect answer");
}

struct thread {
    trial *t;
    int length, from, to;
    uint64_t digest[12];
};

static void *make_some(void *argument)
{
    struct thread *w = argument;
    int step = w->from < w->to ? 1 : -1;
    for (int i = w->from; i != w->to; i += step) {
        sf_sample s;
        w->digest[i] = make(w->t, SEED, i, w->length, 1, &s) == SF_OK ? digest(&s) : 0;
        sf_sample_free(&s);
    }
    return NULL;
}

/* The same samples in another order, by another thread, after other seeds; what `rand` gives plays no part. */
static bool same_seed_same_sample(trial *t)
{
    sf_sample s;
    struct thread one = {.t = t, .length = usual_length(t, &s), .to = 12}, two = {.t = t, .from = 11, .to = -1};
    if (!one.length) return say(t, false, "%s", sf_error());
    uint64_t first = digest(&s), other;
    sf_sample_free(&s);
    two.length = one.length;
    srand(1);
    make_some(&one);
    srand(2);
    pthread_t thread;
    if (make(t, SEED + 1, 0, one.length, 0, &s) != SF_OK) return say(t, false, "seed %d: %s", SEED + 1, sf_error());
    other = digest(&s);
    sf_sample_free(&s);
    if (pthread_create(&thread, NULL, make_some, &two) != 0) return say(t, false, "no thread");
    pthread_join(thread, NULL);
    for (int i = 0; i < 12; i++)
        if (one.digest[i] != two.digest[i])
            return say(t, false, "sample %d was another one when made again, by another thread, in another order", i);
    if (other == first) return say(t, false, "seeds %d and %d give the same sample", SEED, SEED + 1);
    return say(t, true, "sample 0 of seed %d at %d tokens: %016llx", SEED, one.length, (unsigned long long)first);
}

/* The samples differ, and there are no more of them than `supply` says. */
static bool no_sample_repeats(trial *t)
{
    enum { SOME = 40 };
    sf_sample s;
    int length = usual_length(t, &s), n = SOME;
    if (!length) return say(t, false, "%s", sf_error());
    sf_sample_free(&s);
    const sf_request request = {.seed = SEED, .max_tokens = length, .tokens = counters[0]};
    if (t->task->supply && t->task->supply(t->params, &request, SOME, &n) != SF_OK)
        return say(t, false, "%s", sf_error());
    if (n < 1 || n > SOME) return say(t, false, "supply: %d of at most %d", n, SOME);
    uint64_t seen[SOME];
    for (int i = 0; i < n; i++) {
        if (make(t, SEED, i, length, 0, &s) != SF_OK) return say(t, false, "sample %d of %d: %s", i, n, sf_error());
        seen[i] = digest(&s);
        sf_sample_free(&s);
        for (int j = 0; j < i; j++)
            if (seen[j] == seen[i]) return say(t, false, "samples %d and %d are the same", j, i);
    }
    if (n < SOME && make(t, SEED, n, length, 0, &s) == SF_OK)
        return say(t, false, "supply says %d samples, generate makes one more", n);
    return say(t, true, "%d%s that differ at %d tokens", n, n == SOME ? " or more" : "", length);
}

static bool perfect_answer_scores_1(trial *t)
{
    for (int index = 0; index < 5; index++) {
        sf_sample s;
        sf_score score = {0};
        if (!usual_length(t, &s)) return say(t, false, "%s", sf_error());
        sf_sample_free(&s);
        if (make(t, SEED, index, usual_length(t, &s), 0, &s) != SF_OK) return say(t, true, "%d samples", index);
        sf_status status = s.answer ? t->task->score(t->params, &s, s.answer, &score) : SF_OK;
        sf_sample_free(&s);
        if (status != SF_OK) return say(t, false, "sample %d: %s", index, sf_error());
        if (score.strict != 1 || score.reference != 1 || !score.parsed)
            return say(t, false, "sample %d: its own answer scores strict %g, reference %g%s", index, score.strict,
                       score.reference, score.parsed ? "" : ", and is not parsed");
    }
    return say(t, true, "strict and reference");
}

static bool empty_answer_scores_0(trial *t)
{
    static const char *const empty[] = {"", " \n", "<answer></answer>"};
    sf_sample s;
    if (!usual_length(t, &s)) return say(t, false, "%s", sf_error());
    bool holds = true;
    for (int i = 0; holds && i < 3; i++) {
        sf_score score = {0};
        if (t->task->score(t->params, &s, empty[i], &score) != SF_OK) return say(t, false, "%s", sf_error());
        bool tags = i == 2; /* a task without tags may parse them as a text */
        if (score.strict != 0 || (score.parsed && !tags))
            holds = say(t, false, "\"%s\" scores strict %g%s", i == 1 ? " \\n" : empty[i], score.strict,
                        score.parsed ? ", and is parsed" : "");
    }
    sf_sample_free(&s);
    return holds ? say(t, true, "strict, and not parsed") : false;
}

/* Bytes of all kinds, and pieces of what would be right: every score is one, and none without a parsed answer. */
static bool any_bytes_are_an_answer(trial *t)
{
    enum { ANSWERS = 3000, MOST = 600 };
    sf_sample s;
    if (!usual_length(t, &s)) return say(t, false, "%s", sf_error());
    sf_random r = sf_random_stream("check", SEED, 0);
    size_t right = s.answer ? strlen(s.answer) : 0;
    for (int i = 0; i < ANSWERS; i++) {
        char text[MOST + 1];
        int n = sf_random_between(&r, 0, MOST);
        for (int k = 0; k < n; k++) {
            bool copies = right && i % 3 && sf_random_below(&r, 8);
            text[k] = copies ? s.answer[(size_t)k % right] : (char)sf_random_between(&r, 1, 255);
        }
        text[n] = 0;
        sf_score score = {.strict = NAN};
        if (t->task->score(t->params, &s, text, &score) != SF_OK) return say(t, false, "%s", sf_error());
        if (!(score.strict >= 0 && score.strict <= 1) || score.reference < 0 || score.reference > 1 ||
            (score.strict > 0 && !score.parsed))
            return say(t, false, "answer %d scores strict %g, reference %g%s", i, score.strict, score.reference,
                       score.parsed ? "" : ", not parsed");
    }
    sf_sample_free(&s);
    return say(t, true, "%d of them: no crash, all scores 0 to 1", ANSWERS);
}

static const struct {
    const char *name;
    bool (*holds)(trial *t);
} properties[] = {
    {"samples are whole", samples_are_whole},
    {"same seed, same sample", same_seed_same_sample},
    {"no sample repeats another", no_sample_repeats},
    {"fills 95 to 100 % of a length", fills_length},
    {"the perfect answer scores 1", perfect_answer_scores_1},
    {"an empty answer scores 0", empty_answer_scores_0},
    {"any bytes are an answer", any_bytes_are_an_answer},
};
enum { PROPERTIES = sizeof properties / sizeof *properties };

/* Tries a property in a process of its own, which writes its verdict and its words into a pipe. */
static sf_status try_apart(trial *t, bool (*holds)(trial *), bool *verdict)
{
    int ends[2], status;
    fflush(NULL);
    if (pipe(ends) != 0) return sf_fail(SF_IO, "no pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) return sf_fail(SF_IO, "no process: %s", strerror(errno));
    if (child == 0) {
        alarm(LIMIT);
        bool good = holds(t);
        ssize_t written = write(ends[1], t->detail, sizeof t->detail);
        _exit(written == sizeof t->detail ? !good : 2);
    }
    close(ends[1]);
    ssize_t got = 0, n;
    while (got < (ssize_t)sizeof t->detail && (n = read(ends[0], t->detail + got, sizeof t->detail - (size_t)got)) > 0)
        got += n;
    close(ends[0]);
    if (waitpid(child, &status, 0) < 0) return sf_fail(SF_IO, "the check's process is lost: %s", strerror(errno));
    *verdict = WIFEXITED(status) && WEXITSTATUS(status) == 0 && got == (ssize_t)sizeof t->detail;
    if (WIFSIGNALED(status))
        say(t, false, WTERMSIG(status) == SIGALRM ? "no end after %d seconds" : "crashed (signal %d)",
            WTERMSIG(status) == SIGALRM ? LIMIT : WTERMSIG(status));
    else if (got != (ssize_t)sizeof t->detail)
        say(t, false, "ended the program (status %d)", WEXITSTATUS(status));
    return SF_OK;
}

sf_status sf_check_task(const sf_task *task, FILE *out, int *failed)
{
    *failed = 0;
    SF_TRY(sf_task_validate(task, "check"));
    trial t = {.task = task, .params = calloc(1, task->params_size + 1)};
    sf_status status = t.params ? sf_yaml_params(NULL, task->params, NULL, t.params)
                                : sf_fail(SF_NO_MEMORY, "%s: no memory", task->name);
    bool lacks = false;
    if (status == SF_OK) status = try_apart(&t, lacks_files, &lacks);
    if (status == SF_OK && lacks)
        status = sf_fail(SF_UNSUPPORTED, "%s; `check` certifies tasks that make their own samples: name the files in a config, and `frontier plan` "
                                         "reads all their rows", t.detail);
    if (status == SF_OK) fprintf(out, "%s: %s\n", task->name, task->summary);
    for (int i = 0; i < PROPERTIES && status == SF_OK; i++) {
        bool holds = false;
        memset(t.detail, 0, sizeof t.detail);
        status = try_apart(&t, properties[i].holds, &holds);
        if (status != SF_OK) break;
        *failed += !holds;
        fprintf(out, "  %-36s %-5s %s\n", properties[i].name, holds ? "pass" : "FAIL", t.detail);
    }
    free(t.params);
    return status;
}
