/* What was understood of a checkpoint, tried against its own texts, its weights and, where one is installed, Python's
 * transformers. */
#include <errno.h>
#include <jansson.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/data.h"
#include "harness/cli/cli.h"
#include "harness/model/describe.h"
#include "harness/model/tokenizer.h"
#include "harness/model/verify.h"
#include "harness/model/weights.h"

extern char **environ;

static const struct argp_option options[] = {
    {"python", 'p', "PROGRAM", 0, "Python with transformers to compare with (default: python3; none: do not)", 0},
    {0},
};

struct args {
    const char *model, *python;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'p':
        a->python = arg;
        return 0;
    case ARGP_KEY_ARG:
        a->model = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "name a model: a GGUF file or a Hugging Face folder");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char USER[] = "How many legs do 3 spiders have?\nAnswer with a number.";
static const char *const TEXTS[] = {"In 1998, 3.14159 was written 1,000,000 times.", "  two\n\nlines,\tdon't WE'LL",
                                    "na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x99\x82"};
enum { N_TEXTS = sizeof TEXTS / sizeof *TEXTS };

/* ---- Python's transformers -----------------------------------------------------------------------------------------
 */

/* Runs a command and takes what it prints. *out malloc'ed; *code: its exit status, -1: it could not be started. */
static sf_status take_output(const char *const *command, char **out, int *code)
{
    int end[2];
    size_t bytes = 0;
    pid_t pid;
    *out = NULL;
    *code = -1;
    if (pipe(end) != 0) return sf_fail(SF_IO, "no pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, end[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, end[0]);
    posix_spawn_file_actions_addclose(&actions, end[1]);
    int failed = posix_spawnp(&pid, command[0], &actions, NULL, (char *const *)command, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(end[1]);
    FILE *to = open_memstream(out, &bytes);
    char piece[4096];
    for (ssize_t n; to && !failed && (n = read(end[0], piece, sizeof piece)) > 0;) fwrite(piece, 1, (size_t)n, to);
    close(end[0]);
    int status = 0;
    if (!failed && waitpid(pid, &status, 0) == pid && WIFEXITED(status)) *code = WEXITSTATUS(status);
    return to && fclose(to) == 0 ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the output of %s", command[0]);
}

static bool same_ids(const json_t *list, const int32_t *ids, int n)
{
    bool same = json_array_size(list) == (size_t)n;
    for (int i = 0; same && i < n; i++) same = json_integer_value(json_array_get(list, (size_t)i)) == ids[i];
    return same;
}

/* Where two lists part, as texts: the ids there and the next few. */
static void doubt_ids(const sf_model *m, const char *what, const json_t *theirs, const int32_t *ids, int n,
                      sf_doubts *doubts)
{
    int at = 0, there = (int)json_array_size(theirs);
    while (at < n && at < there && json_integer_value(json_array_get(theirs, (size_t)at)) == ids[at]) at++;
    int32_t other = at < there ? (int32_t)json_integer_value(json_array_get(theirs, (size_t)at)) : -1;
    const char *ours = at < n ? sf_token_text(m->tokenizer, ids[at]) : NULL, *its = sf_token_text(m->tokenizer, other);
    sf_doubt(doubts, "transformers: other ids of %s: token %d is %s here, %s there (%d and %d tokens)", what, at,
             ours ? ours : "none", its ? its : "none", n, there);
}

static sf_status compare_texts(const sf_model *m, const json_t *theirs, sf_doubts *doubts)
{
    for (int i = 0; i < N_TEXTS; i++) {
        int32_t *ids;
        int n;
        const json_t *list = json_array_get(theirs, (size_t)i);
        SF_TRY(sf_encode(m->tokenizer, TEXTS[i], strlen(TEXTS[i]), true, &ids, &n));
        if (!same_ids(list, ids, n)) doubt_ids(m, "a plain text", list, ids, n, doubts);
        free(ids);
    }
    return SF_OK;
}

static sf_status compare(const sf_model *m, const struct args *a, const int32_t *prompt, int n, sf_doubts *doubts)
{
    char script[4096], *text;
    int code;
    if (strcmp(a->python, "none") == 0) return SF_OK;
    SF_TRY(sf_data_path("models/verify.py", script));
    const char *command[] = {a->python, script, a->model, USER, TEXTS[0], TEXTS[1], TEXTS[2], NULL};
    SF_TRY(take_output(command, &text, &code));
    json_t *root = code == 0 ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (code == 3 || code < 0 || code == 127) {
        printf("  %-13s not installed for %s: nothing compared\n", "transformers", a->python);
    } else if (!root) {
        sf_doubt(doubts, "transformers: cannot read this model's tokenizer (its message stands above)");
    } else {
        int before = doubts->n;
        const json_t *theirs = json_object_get(root, "prompt");
        if (prompt && json_is_array(theirs) && !same_ids(theirs, prompt, n))
            doubt_ids(m, "the prompt", theirs, prompt, n, doubts);
        SF_TRY(compare_texts(m, json_object_get(root, "texts"), doubts));
        const char *other = json_string_value(json_object_get(root, "auto"));
        printf("  %-13s %s: %s\n", "transformers", json_string_value(json_object_get(root, "version")),
               doubts->n == before ? "the same ids of prompt and texts" : "other ids, see below");
        if (other)
            printf("  %-13s its AutoTokenizer builds a %s instead of reading tokenizer.json, with other ids\n", "",
                   other);
    }
    json_decref(root);
    return SF_OK;
}

/* ---- the command ---------------------------------------------------------------------------------------------------
 */

static void print_prompt(const sf_model *m, const int32_t *ids, int n)
{
    enum { SHOWN = 6 };
    if (!ids) return;
    printf("  %-13s %d tokens:", "prompt", n);
    for (int i = 0; i < n; i++) {
        if (i == SHOWN && n > 2 * SHOWN) printf(" …"), i = n - SHOWN;
        char text[64] = "";
        const char *token = sf_token_text(m->tokenizer, ids[i]);
        for (size_t k = 0; token && token[k] && k < 60; k++) text[k] = token[k] < ' ' && token[k] >= 0 ? '?' : token[k];
        printf(" %s", text);
    }
    printf("\n");
}

static sf_status verify(const sf_model *m, const struct args *a, sf_doubts *doubts)
{
    sf_fact fact[SF_MAX_FACTS];
    sf_round_trips trips;
    int32_t *prompt = NULL;
    int n = 0, facts = sf_model_facts(m, fact);
    if (!m->tokenizer || !m->weights.layer)
        return sf_fail(SF_BAD_INPUT, "%s: a shape: there is nothing to verify but its numbers", a->model);
    printf("%s: %s, %d layers\n", a->model, m->config.architecture, m->config.layers);
    for (int i = 0; i < facts; i++) printf("  %-13s %s\n", fact[i].name, fact[i].text);
    *doubts = m->doubts;

    if (sf_weights_finite(m) == SF_OK)
        printf("  %-13s %.1f MB, all of them numbers\n", "weights", (double)m->weight_bytes / 1e6);
    else
        sf_doubt(doubts, "weights: %s", sf_error());
    SF_TRY(sf_verify_texts(m, &trips, doubts));
    printf("  %-13s %d of %d texts of its own vocabulary come back; %d of %d tokens are found again in their text\n",
           "round trips", trips.back, trips.texts, trips.whole, trips.tokens);
    sf_status status = sf_verify_prompt(m, USER, &prompt, &n, doubts);
    if (status == SF_OK) print_prompt(m, prompt, n);
    if (status == SF_OK) status = compare(m, a, prompt, n, doubts);
    free(prompt);
    return status;
}

int sf_cmd_verify(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "MODEL",
        "Prints what was understood of a model and tries it: round trips on texts of its own "
        "vocabulary, the prompt that its template makes, weights that are numbers; prompt and ids "
        "are compared with Python's transformers where that is installed. Ends in ok, or in a list "
        "of doubts and exit status 1.\v"
        "Example:\n  frontier verify models/smollm2-135m",
        NULL,
        NULL,
        NULL};
    struct args a = {.python = "python3"};
    sf_model *m;
    sf_doubts doubts = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_status status = sf_model_open(a.model, &m);
    if (status != SF_OK) return sf_cli_end(status);
    status = verify(m, &a, &doubts);
    sf_model_close(m);
    if (status != SF_OK) return sf_cli_end(status);
    for (int i = 0; i < doubts.n; i++) printf("doubt: %s\n", doubts.text[i]);
    if (!doubts.n) puts("ok");
    return doubts.n ? EXIT_FAILURE : EXIT_SUCCESS;
}
