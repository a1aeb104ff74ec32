#include "harness/report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
    pid_t pid;
    const sf_drawing *of;
    char log[4400]; /* beside what it draws */
};

static pid_t start(const char *folder, const sf_drawing *d, const char *log)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    char set[64], script[160];
    snprintf(set, sizeof set, "format='%.8s'", d->format);
    snprintf(script, sizeof script, "%.128s.gp", d->name);
    int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_RDONLY);
    if (chdir(folder) != 0 || out < 0) _exit(126);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execlp("gnuplot", "gnuplot", "-e", set, script, (char *)NULL);
    _exit(errno == ENOENT ? 127 : 126);
}

static sf_status finish(struct job *job, const char *folder)
{
    int how = 0;
    char said[800] = "", line[2048];
    while (waitpid(job->pid, &how, 0) < 0 && errno == EINTR) continue;
    FILE *log = fopen(job->log, "r");
    while (log && fgets(line, sizeof line, log)) { /* its last words that are more than a warning or an echo */
        char *error = strstr(line, job->of->name);
        if (!error || strstr(line, "warning:")) continue;
        size_t used = strlen(said);
        snprintf(said + used, sizeof said - used, "%s", error);
    }
    if (log) fclose(log);
    said[strcspn(said, "\n")] = 0;
    unlink(job->log);
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return SF_OK;
    if (WIFEXITED(how) && WEXITSTATUS(how) == 127)
        return sf_fail(SF_UNSUPPORTED, "gnuplot is not installed: figures cannot be drawn. Install it (Debian, Ubuntu: "
                                       "gnuplot-nox) and ask for the report again; CSV files and tables are written");
    return sf_fail(SF_INTERNAL, "gnuplot failed on %s/%s.gp (%s): %s", folder, job->of->name, job->of->format,
                   *said ? said : "no message");
}

sf_status sf_gnuplot(const char *folder, int drawings, const sf_drawing *drawing)
{
    enum { AT_ONCE = 4 };
    struct job job[AT_ONCE];
    sf_status status = SF_OK;
    int running = 0, next = 0;
    while (next < drawings || running) {
        if (next < drawings && running < AT_ONCE && status == SF_OK) {
            struct job *j = &job[running];
            j->of = &drawing[next++];
            snprintf(j->log, sizeof j->log, "%.4200s/%.128s.%.8s.log", folder, j->of->name, j->of->format);
            fflush(NULL);
            j->pid = start(folder, j->of, j->log);
            if (j->pid > 0)
                running++;
            else
                status = sf_fail(SF_IO, "cannot start gnuplot: %s", strerror(errno));
            continue;
        }
        if (!running) break;
        sf_status one = finish(&job[0], folder);
        if (status == SF_OK) status = one;
        memmove(&job[0], &job[1], (size_t)--running * sizeof *job);
    }
    return status;
}
