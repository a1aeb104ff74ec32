#include "harness/run/spread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/backend.h"

/* ---- devices ------------------------------------------------------------------------------------------------------ */

static const sf_backend_ops *kind_of(const char *device, size_t length)
{
    for (int i = 0; sf_backends[i]; i++)
        if (strlen(sf_backends[i]->name) == length && strncmp(sf_backends[i]->name, device, length) == 0)
            return sf_backends[i];
    return NULL;
}

bool sf_device_is_host(const char *device)
{
    const sf_backend_ops *kind = kind_of(device, strcspn(device, ":"));
    return kind && !kind->devices;
}

/* Counted in a process of its own: asking a driver would keep this one from forking workers. */
static int count_devices(const sf_backend_ops *kind)
{
    int how = 0;
    if (!kind->devices) return SF_WORKERS; /* a host's are as many as one likes */
    pid_t pid = fork();
    if (pid == 0) _exit(kind->devices());
    return pid > 0 && waitpid(pid, &how, 0) == pid && WIFEXITED(how) ? WEXITSTATUS(how) : 0;
}

static sf_status add_device(const char *device, const char *kind, long number, sf_devices *out)
{
    if (out->n == SF_WORKERS) return sf_fail(SF_BAD_INPUT, "device '%s': more than %d at once", device, SF_WORKERS);
    char *name = out->name[out->n];
    snprintf(name, SF_DEVICE_NAME, "%s:%ld", kind, number);
    for (int i = 0; i < out->n && out->host; i++)
        if (strcmp(out->name[i], name) == 0) return sf_fail(SF_BAD_INPUT, "device '%s' names %ld twice", device, number);
    out->n++;
    return SF_OK;
}

sf_status sf_devices_of(const char *device, sf_devices *out)
{
    size_t length = strcspn(device, ":");
    const sf_backend_ops *kind = kind_of(device, length);
    const char *list = device + length;
    *out = (sf_devices){.n = 1};
    snprintf(out->name[0], SF_DEVICE_NAME, "%s", device);
    if (!kind || (!strchr(list, ',') && strcmp(list, ":all") != 0)) return SF_OK; /* one, or opening it says what is wrong */

    out->n = 0;
    out->host = !kind->devices;
    int there = count_devices(kind);
    if (there == 0) return sf_fail(SF_UNSUPPORTED, "device '%s': there is none on this machine", device);
    if (strcmp(list, ":all") == 0) {
        for (int i = 0; i < there; i++) SF_TRY(add_device(device, kind->name, i, out));
        return SF_OK;
    }
    char *end = (char *)list;
    do {
        const char *at = end + 1;
        long number = strtol(at, &end, 10);
        if (end == at || (*end && *end != ','))
            return sf_fail(SF_BAD_INPUT, "device '%s': expected numbers after the colon, as in '%s:0,1', or '%s:all'", device,
                           kind->name, kind->name);
        if (number < 0 || number >= there)
            return sf_fail(SF_BAD_INPUT, "device '%s': there are %d, numbered from 0", device, there);
        SF_TRY(add_device(device, kind->name, number, out));
    } while (*end);
    return SF_OK;
}

int sf_devices_sharing(const sf_devices *devices, int worker, int workers)
{
    if (sf_device_is_host(devices->name[0])) return workers;
    int n = 0;
    for (int i = 0; i < workers && i < devices->n && worker < devices->n; i++) n += strcmp(devices->name[i], devices->name[worker]) == 0;
    return n > 0 ? n : 1;
}

sf_status sf_device_of_rank(const char *device, int local, int locals, char out[SF_DEVICE_NAME])
{
    sf_devices list;
    SF_TRY(sf_devices_of(device, &list));
    snprintf(out, SF_DEVICE_NAME, "%s", list.n > 1 && !list.host && local < list.n ? list.name[local] : list.name[0]);
    const sf_backend_ops *kind = kind_of(device, strcspn(device, ":"));
    if (!kind || !kind->devices || locals == 1) {
        if (list.host) out[strcspn(out, ":")] = 0;
        return SF_OK;
    }
    bool all = !strchr(device, ':');
    int there = all ? count_devices(kind) : list.n;
    if (all && there == 1 && getenv("SLURM_STEP_NUM_TASKS")) return SF_OK;
    if (locals > there)
        return sf_fail(SF_BAD_INPUT, "%d processes on this node, but device '%s' is %d there: start one for each", locals, device, there);
    if (all) snprintf(out, SF_DEVICE_NAME, "%s:%d", kind->name, local);
    return SF_OK;
}

/* ---- workers ------------------------------------------------------------------------------------------------------ */

/* `+=` on it would need a library of its own, for its floating-point exceptions. */
void sf_shared_add(sf_shared *shared, double work)
{
    double done = atomic_load(&shared->done);
    while (!atomic_compare_exchange_weak(&shared->done, &done, done + work)) continue;
}

/* In memory that all processes share. */
struct board {
    sf_shared shared;
    struct {
        sf_status status;
        char error[4096];
    } worker[SF_WORKERS];
};

static void be_worker(struct board *board, int i, const sf_devices *devices, pid_t parent, sf_share share, void *user)
{
    char name[SF_DEVICE_NAME];
    snprintf(name, sizeof name, "%s", devices->name[i]);
    if (devices->host) name[strcspn(name, ":")] = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the store survives it, and is free for the next run */
    if (getppid() != parent) _exit(EXIT_FAILURE);
    static char line[BUFSIZ]; /* else glibc keeps its room for one byte (findings/line_buffered_stderr.sh) */
    setvbuf(stderr, line, _IOLBF, sizeof line); /* lines of several workers stay whole */
    sf_status status = share(user, i, name, &board->shared);
    board->worker[i].status = status;
    if (status != SF_OK) snprintf(board->worker[i].error, sizeof board->worker[i].error, "%s", sf_error());
    _exit(status == SF_OK ? EXIT_SUCCESS : EXIT_FAILURE); /* what the parent had not yet printed is the parent's */
}

static void stop(const pid_t *pid, int n, bool *stopped)
{
    for (int i = 0; i < n && !*stopped; i++)
        if (pid[i] > 0) kill(pid[i], SIGTERM);
    *stopped = true;
}

/* Waits for worker after worker, whichever ends. */
static void await(const pid_t *pid, int n, struct board *board, const volatile sig_atomic_t *interrupted, bool stopped)
{
    pid_t running[SF_WORKERS];
    int left = 0;
    for (int i = 0; i < n; i++) left += (running[i] = pid[i]) > 0;
    while (left) {
        int how, i = 0;
        pid_t ended = waitpid(-1, &how, 0);
        if (ended < 0 && errno == EINTR) {
            if (*interrupted) stop(running, n, &stopped);
            continue;
        }
        if (ended < 0) return;
        while (i < n && running[i] != ended) i++;
        if (i == n) continue;
        running[i] = 0;
        left--;
        if (WIFSIGNALED(how)) {
            board->worker[i].status = SF_INTERNAL;
            snprintf(board->worker[i].error, sizeof board->worker[i].error,
                     "its process was ended by signal %d (%s); what it had finished is kept", WTERMSIG(how),
                     strsignal(WTERMSIG(how)));
        }
        if (!WIFEXITED(how) || WEXITSTATUS(how) != EXIT_SUCCESS) stop(running, n, &stopped);
    }
}

static sf_status verdict(const struct board *board, const sf_devices *devices)
{
    bool interrupted = false;
    for (int i = 0; i < devices->n; i++) {
        sf_status status = board->worker[i].status;
        if (status != SF_OK && status != SF_INTERRUPTED)
            return sf_fail(status, "%s: %s", devices->name[i], board->worker[i].error);
        interrupted |= status == SF_INTERRUPTED;
    }
    for (int i = 0; i < devices->n && interrupted; i++)
        if (board->worker[i].status == SF_INTERRUPTED) return sf_fail(SF_INTERRUPTED, "%s", board->worker[i].error);
    return SF_OK;
}

sf_status sf_spread(const sf_devices *devices, sf_share share, void *user, const volatile sig_atomic_t *interrupted)
{
    struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) return sf_fail(SF_NO_MEMORY, "no memory that %d processes share", devices->n);
    pid_t pid[SF_WORKERS] = {0}, parent = getpid();
    bool failed = false, stopped = false;
    fflush(NULL);
    for (int i = 0; i < devices->n && !failed; i++) {
        pid[i] = fork();
        if (pid[i] == 0) be_worker(board, i, devices, parent, share, user);
        if (pid[i] < 0) {
            failed = true;
            board->worker[i].status = SF_INTERNAL;
            snprintf(board->worker[i].error, sizeof board->worker[i].error, "no process for it: %s", strerror(errno));
        }
    }
    if (failed) stop(pid, devices->n, &stopped);
    await(pid, devices->n, board, interrupted, stopped);
    sf_status status = verdict(board, devices);
    munmap(board, sizeof *board);
    return status;
}
