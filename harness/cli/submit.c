/* frontier submit: a Slurm batch script for a sweep, to be read, edited and sent. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "harness/cli/cli.h"
#include "harness/run/study.h"

enum { OUT = 'o', NODES = 'N', GPUS = 'g', TIME = 't', TASKS = 256, PARTITION, ACCOUNT, MPI, SCRIPT, LOG, AHEAD, GO, OVERWRITE };

static const struct argp_option options[] = {
    {"set", 's', "KEY=VALUE", 0, "override a key of the config (repeatable)", 0},
    {"out", OUT, "FILE", 0, "results file (default: results/NAME.h5)", 0},
    {"nodes", NODES, "N", 0, "nodes (default 1)", 0},
    {"gpus-per-node", GPUS, "N", 0, "GPUs of each node, and a process for each (default: none)", 0},
    {"tasks-per-node", TASKS, "N", 0, "processes on each node, where there are no GPUs (default 1)", 0},
    {"time", TIME, "TIME", 0, "limit as Slurm writes it, e.g. 12:00:00 (default: the partition's)", 0},
    {"partition", PARTITION, "NAME", 0, "partition", 0},
    {"account", ACCOUNT, "NAME", 0, "account", 0},
    {"mpi", MPI, "NAME", 0, "how srun starts MPI, one of `srun --mpi=list` (default pmix)", 0},
    {"ahead", AHEAD, "SECONDS", 0, "how long before the limit the samples at hand are to be finished (default 600, or a tenth of it)", 0},
    {"script", SCRIPT, "FILE", 0, "where the script goes (default: NAME.sbatch)", 0},
    {"log", LOG, "FILE", 0, "where the job's output goes; %j is its number (default: NAME-%j.log)", 0},
    {"overwrite", OVERWRITE, NULL, 0, "replace a script that is there, and may have been edited", 0},
    {"go", GO, NULL, 0, "send it, and a job after it that makes the report", 0},
    {0},
};

struct args {
    const char *config, *out, *time, *partition, *account, *mpi, *script, *log;
    int nodes, gpus, tasks, ahead;
    bool go, overwrite;
    sf_strings set;
};

static int whole(struct argp_state *state, const char *text, const char *what)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > 100000) argp_error(state, "%s takes a number from 1 on; '%s' is none", what, text);
    return (int)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 's': sf_strings_add(state, &a->set, arg); return 0;
    case OUT: a->out = arg; return 0;
    case NODES: a->nodes = whole(state, arg, "--nodes"); return 0;
    case GPUS: a->gpus = whole(state, arg, "--gpus-per-node"); return 0;
    case TASKS: a->tasks = whole(state, arg, "--tasks-per-node"); return 0;
    case AHEAD: a->ahead = whole(state, arg, "--ahead"); return 0;
    case TIME: a->time = arg; return 0;
    case PARTITION: a->partition = arg; return 0;
    case ACCOUNT: a->account = arg; return 0;
    case MPI: a->mpi = arg; return 0;
    case SCRIPT: a->script = arg; return 0;
    case LOG: a->log = arg; return 0;
    case GO: a->go = true; return 0;
    case OVERWRITE: a->overwrite = true; return 0;
    case ARGP_KEY_ARG:
        if (a->config) argp_error(state, "one config at a time");
        a->config = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a config, e.g. configs/demo.yaml"); return 0;
    case ARGP_KEY_END:
        if (a->gpus && a->tasks) argp_error(state, "--gpus-per-node starts a process for each; --tasks-per-node is for nodes without");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Seconds of a limit as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S. -1: it is none of these. */
static long seconds_of(const char *text)
{
    long days = 0, part[3] = {0};
    int n = 0, end = 0;
    const char *dash = strchr(text, '-'), *at = dash ? dash + 1 : text;
    if (dash && (sscanf(text, "%ld-%n", &days, &end) != 1 || text + end != at)) return -1;
    for (;;) {
        if (n == 3 || *at < '0' || *at > '9') return -1;
        char *next;
        part[n++] = strtol(at, &next, 10);
        if (!*next) break;
        if (*next != ':') return -1;
        at = next + 1;
    }
    if (dash) return ((days * 24 + part[0]) * 60 + part[1]) * 60 + part[2];
    return n == 1 ? part[0] * 60 : n == 2 ? part[0] * 60 + part[1] : (part[0] * 60 + part[1]) * 60 + part[2];
}

/* Told too early, a job would do nothing but begin again. Slurm tells it up to a minute before it should. */
static sf_status set_ahead(struct args *a)
{
    long limit = a->time ? seconds_of(a->time) : 0;
    if (limit < 0) return sf_fail(SF_BAD_INPUT, "--time %s: expected minutes, or [days-]hours:minutes:seconds, as Slurm writes it", a->time);
    if (!a->ahead) a->ahead = limit && limit < 6000 ? (int)(limit / 10) : 600;
    if (!a->time || a->ahead + 60 < limit) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "--time %s is over before %d seconds ahead of it, with the minute that Slurm may be early: nothing would run; "
                   "give more time, or less --ahead", a->time, a->ahead);
}

/* As one word of a shell. */
static void quote(FILE *f, const char *text)
{
    bool plain = *text != 0;
    for (const char *c = text; *c; c++) plain &= strchr("/._-+=:,@%", *c) != NULL || (*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z');
    if (plain) {
        fputs(text, f);
        return;
    }
    fputc('\'', f);
    for (const char *c = text; *c; c++) *c == '\'' ? fputs("'\\''", f) : fputc(*c, f);
    fputc('\'', f);
}

static void command(FILE *f, const struct args *a, const char *program, const char *out)
{
    quote(f, program);
    fputs(" run ", f);
    quote(f, a->config);
    fputs(" --out ", f);
    quote(f, out);
    for (int i = 0; i < a->set.n; i++) fputs(" --set ", f), quote(f, a->set.item[i]);
}

static void write_script(FILE *f, const struct args *a, const char *name, const char *program, const char *out)
{
    const int tasks = a->gpus ? a->gpus : a->tasks ? a->tasks : 1;
    fprintf(f, "#!/bin/bash\n"
               "#SBATCH --job-name=%s\n"
               "#SBATCH --nodes=%d\n"
               "#SBATCH --ntasks-per-node=%d          # a process for each GPU, or for each share of a node's cores\n", name, a->nodes, tasks);
    if (a->gpus) fprintf(f, "#SBATCH --gpus-per-node=%d\n", a->gpus);
    if (a->time) fprintf(f, "#SBATCH --time=%s\n", a->time);
    if (a->partition) fprintf(f, "#SBATCH --partition=%s\n", a->partition);
    if (a->account) fprintf(f, "#SBATCH --account=%s\n", a->account);
    fprintf(f, "#SBATCH --output=");
    if (a->log) fprintf(f, "%s\n", a->log);
    else fprintf(f, "%s-%%j.log\n", name);
    fprintf(f, "#SBATCH --open-mode=append\n"
               "#SBATCH --requeue\n"
               "#SBATCH --signal=TERM@%d            # so long before the limit the samples at hand are finished, and stored\n\n"
               "# What is stored is not run again: this may begin as often as it likes, and with other numbers of nodes.\n"
               "status=0\n"
               "srun --mpi=%s ", a->ahead, a->mpi);
    command(f, a, program, out);
    fputs(" || status=$?\n\n"
          "case $status in\n"
          "0) ;;\n"
          "3) status=0 ;; # all is stored but cells that failed, which the report names\n"
          "130) scontrol requeue \"$SLURM_JOB_ID\" ;; # stopped ahead of the limit: goes on in a turn of its own\n"
          "esac\n"
          "exit $status\n", f);
}

/* A file that was there may have been edited by hand. */
static sf_status open_script(const char *path, bool overwrite, FILE **out)
{
    int fd = open(path, O_WRONLY | O_CREAT | (overwrite ? O_TRUNC : O_EXCL), 0777);
    *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (*out) return SF_OK;
    if (errno == EEXIST) return sf_fail(SF_BAD_INPUT, "%s is there, and may have been edited: send it by `sbatch %s`, or replace it with --overwrite", path, path);
    return sf_fail(SF_IO, "%s cannot be written: %s", path, strerror(errno));
}

/* What sbatch says: the number of the job. The words are quoted. */
static sf_status sbatch(const char *words, char number[64])
{
    FILE *p = popen(words, "r");
    char *line = NULL;
    size_t room = 0;
    bool read = p && getline(&line, &room, p) > 0;
    int how = p ? pclose(p) : -1;
    sf_status status = SF_OK;
    if (how != 0 || !read) status = sf_fail(SF_IO, "sbatch did not take the job (its message stands above); the script is kept: %s", words);
    else snprintf(number, 64, "%.*s", (int)strspn(line, "0123456789"), line);
    free(line);
    return status;
}

static sf_status send(const char *script, const char *name, const char *program, const char *out, const char *log)
{
    char *words = NULL, *inner = NULL, job[64], report[64];
    size_t size;
    FILE *f = open_memstream(&words, &size);
    fputs("sbatch --parsable ", f);
    quote(f, script);
    fclose(f);
    sf_status status = sbatch(words, job);
    free(words);
    SF_TRY(status);

    const char *slash = strrchr(out, '/'), *dot = strrchr(slash ? slash : out, '.');
    const int stem = (int)(dot ? dot - out : (long)strlen(out));
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s-report", stem, out);
    f = open_memstream(&inner, &size);
    quote(f, program);
    fputs(" report ", f);
    quote(f, out);
    fputs(" --out ", f);
    quote(f, folder);
    fclose(f);
    f = open_memstream(&words, &size);
    fprintf(f, "sbatch --parsable --dependency=afterok:%s --job-name=%s-report --ntasks=1 --output=", job, name);
    if (log) quote(f, log);
    else fprintf(f, "%s-%%j.log", name);
    fputs(" --wrap ", f);
    quote(f, inner);
    fclose(f);
    status = sbatch(words, report);
    free(words);
    free(inner);
    SF_TRY(status);
    printf("Job %s, then %s for the report: %s/index.html. `squeue -j %s` says how it stands, `tail -f` its log how far it is.\n", job, report, folder,
           job);
    return SF_OK;
}

static sf_status submit(struct args *a)
{
    sf_sweep *sweep;
    char program[4096], out[4096], script[4096];
    SF_TRY(set_ahead(a));
    SF_TRY(sf_sweep_read(a->config, a->set.n, a->set.item, &sweep));
    snprintf(out, sizeof out, "%s", a->out ? a->out : "");
    if (!a->out) snprintf(out, sizeof out, "results/%s.h5", sweep->name);
    snprintf(script, sizeof script, "%s", a->script ? a->script : "");
    if (!a->script) snprintf(script, sizeof script, "%s.sbatch", sweep->name);
    const int processes = a->nodes * (a->gpus ? a->gpus : a->tasks ? a->tasks : 1);
    sf_status status = SF_OK;
    if (processes % sf_sweep_ranks(sweep) != 0)
        status = sf_fail(SF_BAD_INPUT, "%d processes, but parallel: {tensor: %d, pipeline: %d} takes a multiple of %d", processes, sweep->tensor,
                         sweep->pipeline, sf_sweep_ranks(sweep));
    else if (a->gpus && strncmp(sweep->device, "cuda", 4) != 0)
        status = sf_fail(SF_BAD_INPUT, "--gpus-per-node, but the config's device is %s: add --set device=cuda", sweep->device);
    else if (!a->gpus && strncmp(sweep->device, "cuda", 4) == 0)
        status = sf_fail(SF_BAD_INPUT, "the config's device is %s: add --gpus-per-node", sweep->device);
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (status == SF_OK && n < 0) status = sf_fail(SF_IO, "the program's own path cannot be read: %s", strerror(errno));
    program[n < 0 ? 0 : n] = 0;
    FILE *f = NULL;
    if (status == SF_OK) status = open_script(script, a->overwrite, &f);
    if (status == SF_OK) {
        write_script(f, a, sweep->name, program, out);
        if (fclose(f) != 0) status = sf_fail(SF_IO, "%s cannot be written: %s", script, strerror(errno));
    }
    if (status == SF_OK && a->go) status = send(script, sweep->name, program, out, a->log);
    else if (status == SF_OK) printf("%s is written. Read it, then: sbatch %s\n", script, script);
    sf_sweep_free(sweep);
    return status;
}

int sf_cmd_submit(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, "CONFIG.yaml",
        "Writes a Slurm batch script that runs a sweep on several nodes, into one results file.\v"
        "It is short, and meant to be read and edited. The job goes on by itself where it was when it is requeued, by its time limit, "
        "by preemption or by hand.\n"
        "Example:\n  frontier submit configs/mine.yaml --nodes 4 --gpus-per-node 8 --go",
        NULL, NULL, NULL};
    struct args a = {.nodes = 1, .mpi = "pmix"};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    return sf_cli_end(submit(&a));
}
