#include "harness/run/apart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/running.h"

/* In memory that both processes share. */
struct board {
    sf_running running;
    bool returned; /* work() did */
    sf_status status;
    char error[4096];
};

static void be_child(struct board *board, pid_t parent, sf_status (*work)(void *user), void *user)
{
    static const int named[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) signal(named[i], SIG_DFL); /* the parent says it */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILURE);
    sf_running_note_in(&board->running);
    board->status = work(user);
    snprintf(board->error, sizeof board->error, "%s", sf_error());
    fflush(stderr);
    board->returned = true;
    _exit(EXIT_SUCCESS); /* what the parent had not yet printed is the parent's */
}

/* Until the child has ended. *hung: a hook ran for so long that the child was ended. */
static int await(pid_t pid, const volatile sf_running *running, double hook_seconds,
                 const volatile sig_atomic_t *interrupted, bool *hung)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    bool told = false;
    int how = 0;
    *hung = false;
    for (pid_t ended; (ended = waitpid(pid, &how, WNOHANG)) != pid;) {
        if (ended < 0 && errno != EINTR) return how;
        double since = running->since;
        if (!*hung && running->what[0] && since == running->since && sf_now() - since > hook_seconds) {
            *hung = true;
            kill(pid, SIGKILL);
        }
        if (*interrupted && !told) {
            told = true;
            kill(pid, SIGTERM);
        }
        nanosleep(&pause, NULL);
    }
    return how;
}

static sf_status say_death(const struct board *board, int how, bool hung, double hook_seconds)
{
    char where[128];
    sf_running_text(&board->running, where);
    bool named = *where != 0;
    if (!named) snprintf(where, sizeof where, "a plug-in's process, outside of its hooks,");
    if (hung) return sf_fail(SF_INTERNAL, "%s did not return within %g seconds (hook_limit)", where, hook_seconds);
    if (WIFSIGNALED(how))
        return sf_fail(SF_INTERNAL, "%s crashed by signal %d (%s)", where, WTERMSIG(how), strsignal(WTERMSIG(how)));
    return sf_fail(SF_INTERNAL, "%s ended its process with exit(%d); a hook that fails returns sf_fail(…) with the reason",
                   where, WEXITSTATUS(how));
}

sf_status sf_apart(sf_status (*work)(void *user), void *user, double hook_seconds, const volatile sig_atomic_t *interrupted,
                   bool *died)
{
    *died = false;
    struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) return sf_fail(SF_NO_MEMORY, "no memory that two processes share");
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) be_child(board, parent, work, user);
    sf_status status;
    bool hung = false;
    int how = 0;
    if (pid < 0) {
        status = sf_fail(SF_IO, "no process for a plug-in's cells: %s", strerror(errno));
    } else {
        how = await(pid, &board->running, hook_seconds, interrupted, &hung);
        if (board->returned) {
            status = board->status;
            if (status != SF_OK) sf_fail(status, "%s", board->error);
        } else if (!hung && WIFSIGNALED(how) && (WTERMSIG(how) == SIGKILL || WTERMSIG(how) == SIGTERM || WTERMSIG(how) == SIGINT)) {
            status = sf_fail(SF_INTERNAL, "the process of a plug-in's cells was ended by signal %d (%s); what it had finished "
                             "is kept", WTERMSIG(how), strsignal(WTERMSIG(how)));
        } else {
            *died = true;
            status = say_death(board, how, hung, hook_seconds);
        }
    }
    munmap(board, sizeof *board);
    return status;
}
