/* A config from five questions. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli/cli.h"
#include "harness/config/sweep.h"
#include "methods/find.h"
#include "tasks/find.h"

static const struct argp_option options[] = {
    {"yes", 'y', NULL, 0, "take every default, ask nothing", 0},
    {0},
};

struct args {
    const char *file;
    bool yes;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'y': a->yes = true; return 0;
    case ARGP_KEY_ARG: a->file = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name the config to write, e.g. mine.yaml"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- The five questions ---- */

enum { ROOM = 1024 };

struct question {
    const char *asks, *hint, *initial;
    char answer[ROOM];
};

enum { MODEL, TASKS, LENGTHS, METHODS, SAMPLES, QUESTIONS };

static void names(char out[ROOM], const char *(*name)(int i))
{
    *out = 0;
    for (int i = 0; name(i); i++) snprintf(out + strlen(out), ROOM - strlen(out), "%s%s", i ? ", " : "", name(i));
}

static const char *task_name(int i) { return sf_tasks[i] ? sf_tasks[i]->name : NULL; }
static const char *method_name(int i) { return sf_methods[i] ? sf_methods[i]->name : NULL; }

/* Answers are flow lists of the config, "niah, vt: {chains: 2}"; an empty one is the default. False: there is no more input. */
static bool ask(struct question *q, bool quiet)
{
    snprintf(q->answer, ROOM, "%s", q->initial);
    if (quiet) return true;
    printf("%s\n%s%s[%s] ", q->asks, q->hint, *q->hint ? "\n" : "", q->initial);
    fflush(stdout);
    char line[ROOM];
    if (!fgets(line, sizeof line, stdin)) return false;
    line[strcspn(line, "\r\n")] = 0;
    char *text = line + strspn(line, " \t");
    if (*text) snprintf(q->answer, ROOM, "%s", text);
    return true;
}

/* ---- The config ---- */

/* Methods by the phases that they serve; a name that is none is left to the reader of configs, which says what is near. */
static void split_methods(const char *answer, char phase[2][ROOM])
{
    char text[ROOM], *rest = text;
    snprintf(text, sizeof text, "%s", answer);
    phase[0][0] = phase[1][0] = 0;
    for (char *word; (word = strsep(&rest, ","));) {
        word += strspn(word, " ");
        for (size_t n = strlen(word); n && word[n - 1] == ' ';) word[--n] = 0;
        if (!*word) continue;
        bool prefill = true, decode = false;
        for (int i = 0; sf_methods[i]; i++)
            if (strcmp(sf_methods[i]->name, word) == 0) {
                decode = sf_decodes(sf_methods[i]);
                prefill = sf_methods[i]->prefill != NULL;
            }
        for (int p = 0; p < 2; p++)
            if (p ? decode : prefill) snprintf(phase[p] + strlen(phase[p]), ROOM - strlen(phase[p]), "%s%s", *phase[p] ? ", " : "", word);
    }
}

/* What the embedded models were trained to be asked, in few words (models/frontier-mini/README.md): they know no other. */
static const struct {
    const char *task, *asked;
} embedded[] = {
    {"niah", "key_groups: 2, value_groups: 2, group_length: 4, introduction: \"Find the values of keys.\", instructions: \"Write one line for each key.\""},
    {"vt", "name_length: 4, introduction: \"Find the variables that have a value.\", instructions: \"Write their names.\""},
    {"cwe", "words: 1200, common_repeats: 12, rare_repeats: 2, introduction: \"Find the frequent words.\", instructions: \"Write one word a line.\""},
    {"story_retrieval", "queries: 4, talk: 1, introduction: \"Read the story.\", instructions: \"Write one line for each question.\""},
    {"story_multihop", "talk: 1, introduction: \"Read the story.\", instructions: \"Write the item.\""},
    {"story_filtering", "talk: 1, introduction: \"Read the story.\", instructions: \"Write the chapters.\""},
};
enum { EMBEDDED = sizeof embedded / sizeof *embedded };

static bool asks_embedded(const struct question *q) { return strstr(q[MODEL].answer, "frontier-mini/") != NULL; }

/* A task a line; one that is named alone is asked as the embedded models know it. */
static void write_tasks(FILE *out, const char *answer)
{
    fprintf(out, "tasks:                  # asked as the embedded models know it; `frontier list tasks` has all, with their parameters\n");
    for (const char *end; *answer; answer = end + (*end == ',')) {
        int depth = 0;
        answer += strspn(answer, " ");
        for (end = answer; *end && (*end != ',' || depth); end++) depth += (*end == '{' || *end == '[') - (*end == '}' || *end == ']');
        int n = (int)(end - answer);
        while (n && answer[n - 1] == ' ') n--;
        fprintf(out, "  - %.*s", n, answer);
        for (int i = 0; i < EMBEDDED; i++)
            if ((size_t)n == strlen(embedded[i].task) && memcmp(answer, embedded[i].task, (size_t)n) == 0) fprintf(out, ": {label: %s, %s}", embedded[i].task, embedded[i].asked);
        fprintf(out, "\n");
    }
}

static void write_config(FILE *out, const char *name, const struct question *q)
{
    char phase[2][ROOM];
    split_methods(q[METHODS].answer, phase);
    fprintf(out,
            "# Every key is explained in README.md. `frontier plan` of this file says what it takes, `frontier run` runs it.\n"
            "name: %s                # results/%s.h5\n\n"
            "models: [%s]            # GGUF files, Hugging Face folders; {path: …, label: …} names one\n",
            name, name, q[MODEL].answer);
    if (asks_embedded(q)) write_tasks(out, q[TASKS].answer);
    else fprintf(out, "tasks:  [%s]            # `frontier list tasks` has all, with their parameters\n", q[TASKS].answer);
    fprintf(out,
            "lengths: [%s]           # tokens of input, chat template included\n\n"
            "sparsity: [0.5, 0.7, 0.8, 0.9, 0.95] # share of query–key pairs left out; dense is always run as well\n"
            "methods:                # `frontier list methods` has all, with their parameters\n",
            q[LENGTHS].answer);
    if (*phase[0]) fprintf(out, "  prefill: [%s]\n", phase[0]);
    if (*phase[1]) fprintf(out, "  decode:  [%s]\n", phase[1]);
    fprintf(out,
            "\nsamples: %s             # a cell; 72 without a difference are the fewest that exclude a loss of 0.05\n"
            "seed: 43                # the same seed gives the same samples everywhere\n"
            "%s"
            "# device: cuda          # default: cpu\n",
            q[SAMPLES].answer,
            asks_embedded(q) ? "answer: direct          # the answer alone: the embedded models are too small to explain\n"
                               "output: 128             # tokens of an answer, at most\n"
                             : "# answer: direct        # the answer alone, for models that are too small to explain\n");
}

/* Written aside and read as `run` would read it, before it is put where it belongs. */
static sf_status put(const char *file, const struct question *q)
{
    char aside[4200], name[256];
    const char *slash = strrchr(file, '/');
    snprintf(name, sizeof name, "%.*s", (int)strcspn(slash ? slash + 1 : file, "."), slash ? slash + 1 : file);
    snprintf(aside, sizeof aside, "%.4100s.new", file);
    FILE *out = fopen(aside, "wx");
    if (!out) return sf_fail(SF_IO, "%s cannot be written: %s", aside, strerror(errno));
    write_config(out, name, q);
    sf_status status = ferror(out) | fclose(out) ? sf_fail(SF_IO, "%s cannot be written", aside) : SF_OK;
    sf_sweep *sweep = NULL;
    if (status == SF_OK) status = sf_sweep_read(aside, 0, NULL, &sweep);
    sf_sweep_free(sweep);
    if (status == SF_OK && link(aside, file) != 0) status = sf_fail(SF_IO, "%s cannot be written: %s", file, strerror(errno));
    unlink(aside);
    return status;
}

int sf_cmd_init(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "CONFIG.yaml",
                                     "Asks five questions and writes a config with comments.\v"
                                     "Example:\n  frontier init mine.yaml\n  frontier plan mine.yaml",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    static char tasks[ROOM], methods[ROOM];
    names(tasks, task_name);
    names(methods, method_name);
    struct question q[QUESTIONS] = {
        [MODEL] = {.asks = "Which model? A GGUF file or a Hugging Face folder; several with commas between.", .hint = "", .initial = "models/frontier-mini/m"},
        [TASKS] = {.asks = "Which tasks?", .hint = tasks, .initial = "niah, vt, cwe"},
        [LENGTHS] = {.asks = "How long, in tokens?", .hint = "", .initial = "4096"},
        [METHODS] = {.asks = "Which methods?", .hint = methods, .initial = "vertical_slash, block_sparse, quest, snapkv"},
        [SAMPLES] = {.asks = "How many samples a cell?", .hint = "", .initial = "20"}};
    sf_status status = access(a.file, F_OK) == 0 ? sf_fail(SF_BAD_INPUT, "%s is there already; choose another name", a.file) : SF_OK;
    for (int i = 0; i < QUESTIONS && status == SF_OK; i++)
        if (!ask(&q[i], a.yes)) status = sf_fail(SF_BAD_INPUT, "the answers ended before the questions did; nothing is written (--yes takes the defaults)");
    if (status == SF_OK) status = put(a.file, q);
    if (status == SF_OK) printf("%s is written. Next: frontier plan %s\n", a.file, a.file);
    return sf_cli_end(status);
}
