/* Gets a model by its Hugging Face id through the ecosystem's own client, which resumes and knows the user's login. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/cli/cli.h"
#include "harness/model/model.h"

extern char **environ;

static const struct argp_option options[] = {
    {"file", 'f', "PATTERN", 0, "this file alone, or those that match, of a repository of GGUF files: '*Q4_K_M*.gguf'", 0},
    {"out", 'o', "DIR", 0, "where to (default: models/NAME)", 0},
    {"revision", 'r', "REV", 0, "branch, tag or commit (default: main)", 0},
    {0},
};

struct args { const char *id, *out, *revision, *file; };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'f': a->file = arg; return 0;
    case 'o': a->out = arg; return 0;
    case 'r': a->revision = arg; return 0;
    case ARGP_KEY_ARG: a->id = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a model, e.g. Qwen/Qwen2.5-7B-Instruct"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Runs `client download ID --local-dir OUT …`: what a model needs here, and no copies in other formats. *found: the client
 * is there. Returns its exit status. */
static int download(const char *client, const struct args *a, const char *out, bool *found)
{
    const char *command[] = {client, "download", a->id, "--local-dir", out, "--revision", a->revision ? a->revision : "main",
                             "--include", a->file ? a->file : "*.safetensors", a->file ? NULL : "--include", "*.json",
                             "--include", "*.jinja", NULL};
    pid_t pid;
    int status = posix_spawnp(&pid, client, NULL, NULL, (char *const *)command, environ);
    *found = status == 0;
    if (status != 0 || waitpid(pid, &status, 0) < 0) return 127;
    *found = !(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static sf_status fetch(const struct args *a, const char *out)
{
    static const char *const clients[] = {"hf", "huggingface-cli"};
    bool found = false;
    int status = 127;
    for (int i = 0; i < 2 && !found; i++) status = download(clients[i], a, out, &found);
    if (!found)
        return sf_fail(SF_IO, "neither `hf` nor `huggingface-cli` is installed; `pip install huggingface_hub` brings them");
    if (status != 0)
        return sf_fail(SF_IO, "%s: the download ended with status %d; what has come stays in %s, the same command goes on. Is "
                              "the model gated? Accept its licence on its page, then `hf auth login`", a->id, status, out);
    sf_model *model;
    SF_TRY(sf_blame(sf_model_open(out, &model), "downloaded, but it cannot be used"));
    printf("%s: %s, %d layers, %.2f GB of weights. Name it under `models:`.\n", out, model->config.architecture,
           model->config.layers, (double)model->weight_bytes / 1e9);
    sf_model_close(model);
    return SF_OK;
}

/* As owners and models are named; so that models/NAME is a folder in models/, and nothing is an option. */
static bool is_name(const char *begin, const char *end)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", more[] = "-_.";
    if (begin == end || !strchr(word, *begin)) return false;
    for (const char *c = begin; c < end; c++)
        if (!strchr(word, *c) && !strchr(more, *c)) return false;
    return true;
}

int sf_cmd_fetch(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "OWNER/NAME",
                                     "Gets a model from Hugging Face with its own client (`hf`), which resumes where it was "
                                     "stopped, and checks that it can be used.\v"
                                     "Examples:\n  frontier fetch Qwen/Qwen2.5-0.5B-Instruct\n"
                                     "  frontier fetch Qwen/Qwen3-0.6B-GGUF --file '*Q8_0.gguf'",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    const char *slash = strchr(a.id, '/');
    if (!slash || !is_name(a.id, slash) || !is_name(slash + 1, slash + 1 + strlen(slash + 1)))
        return sf_cli_end(sf_fail(SF_BAD_INPUT, "'%s': expected OWNER/NAME, as on the model's page", a.id));
    char out[4096];
    snprintf(out, sizeof out, "models/%s", slash + 1);
    return sf_cli_end(fetch(&a, a.out ? a.out : out));
}
