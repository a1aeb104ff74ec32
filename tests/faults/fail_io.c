/* Preloaded: lets one call of the C library fail as a disk would. It wraps what a results file is written with.
 *
 *   FAULT_CALL    write, pwrite, fsync, rename, ftruncate, copy (copy_file_range), open, close, mkdir, unlink
 *   FAULT_AT      the how manieth fails, from 1 on; "5+": that and all that follow
 *   FAULT_HOW     EIO, ENOSPC, EINTR; short: half of it is done, which is no error; kill: the program is killed before it
 *   FAULT_FOLDER  only on files whose path holds this text
 *   FAULT_COUNTS  a file that receives "CALL COUNT" lines when the program ends
 *
 * Calls are counted whether or not one fails, so that a run without FAULT_CALL says how many places there are. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum call { WRITE, PWRITE, FSYNC, RENAME, FTRUNCATE, COPY, OPEN, CLOSE, MKDIR, UNLINK, CALLS };
static const char *const names[CALLS] = {"write", "pwrite", "fsync", "rename", "ftruncate",
                                         "copy",  "open",   "close", "mkdir",  "unlink"};
enum { SHORT = 0, KILL = -1 };
static const struct {
    const char *name;
    int code; /* an errno, or one of these */
} hows[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"short", 0}, {"kill", KILL}};

static atomic_long count[CALLS];
static long at;
static int call = -1, code = EIO;
static bool onwards, ready;
static const char *folder;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAULT_CALL"), *place = getenv("FAULT_AT"), *how = getenv("FAULT_HOW");
    char *rest = NULL;
    for (int i = 0; name && i < CALLS; i++)
        if (strcmp(name, names[i]) == 0) call = i;
    at = place ? strtol(place, &rest, 10) : 0;
    onwards = rest && *rest == '+';
    for (size_t i = 0; how && i < sizeof hows / sizeof *hows; i++)
        if (strcmp(how, hows[i].name) == 0) code = hows[i].code;
    folder = getenv("FAULT_FOLDER");
    ready = strcmp(program_invocation_short_name, "frontier") == 0; /* not what it starts */
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAULT_COUNTS");
    bool counted = ready;
    ready = false;
    FILE *f = path && counted ? fopen(path, "w") : NULL;
    for (int i = 0; f && i < CALLS; i++) fprintf(f, "%s %ld\n", names[i], (long)count[i]);
    if (f) fclose(f);
}

static bool concerns(const char *path) { return ready && (!folder || strstr(path, folder)); }

static bool concerns_file(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = ready ? readlink(link, path, sizeof path - 1) : -1;
    if (n < 0) return false;
    path[n] = 0;
    return concerns(path);
}

/* Counts a call that concerns us, and says whether it is the one. */
static bool fails(enum call which)
{
    long n = ++count[which];
    bool now = (int)which == call && (n == at || (onwards && n > at));
    if (now && code == KILL) kill(getpid(), SIGKILL);
    return now;
}

/* The next definition of a function: the C library's own. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int refuse(void)
{
    errno = code;
    return -1;
}

ssize_t write(int fd, const void *data, size_t n)
{
    if (!concerns_file(fd) || !fails(WRITE)) return REAL(write)(fd, data, n);
    return code ? refuse() : REAL(write)(fd, data, (n + 1) / 2);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t to)
{
    if (!concerns_file(fd) || !fails(PWRITE)) return REAL(pwrite)(fd, data, n, to);
    return code ? refuse() : REAL(pwrite)(fd, data, (n + 1) / 2, to);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t to)
{
    if (!concerns_file(fd) || !fails(PWRITE)) return REAL(pwrite64)(fd, data, n, to);
    return code ? refuse() : REAL(pwrite64)(fd, data, (n + 1) / 2, to);
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t n, unsigned flags)
{
    if (!concerns_file(to) || !fails(COPY)) return REAL(copy_file_range)(from, from_at, to, to_at, n, flags);
    return code ? refuse() : REAL(copy_file_range)(from, from_at, to, to_at, 4097, flags);
}

/* What has no half is left alone by "short". */
#define WRAP(which, name, declared, passed, concerned)                                                                 \
    int name declared { return concerned && fails(which) && code ? refuse() : REAL(name) passed; }

WRAP(FSYNC, fsync, (int fd), (fd), concerns_file(fd))
WRAP(FTRUNCATE, ftruncate, (int fd, off_t n), (fd, n), concerns_file(fd))
WRAP(FTRUNCATE, ftruncate64, (int fd, off_t n), (fd, n), concerns_file(fd))
WRAP(RENAME, rename, (const char *from, const char *to), (from, to), concerns(to))
WRAP(RENAME, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), concerns_file(b))
WRAP(MKDIR, mkdir, (const char *path, mode_t mode), (path, mode), concerns(path))
WRAP(UNLINK, unlink, (const char *path), (path), concerns(path))
WRAP(UNLINK, unlinkat, (int at_folder, const char *path, int flags), (at_folder, path, flags),
     (concerns(path) || concerns_file(at_folder)))

int close(int fd) /* also where it fails the descriptor is gone */
{
    bool failed = concerns_file(fd) && fails(CLOSE) && code;
    int closed = REAL(close)(fd);
    return failed ? refuse() : closed;
}

/* With the mode that O_CREAT takes. */
#define WRAP_OPEN(name, declared, passed, concerned)                                                                   \
    int name declared                                                                                                  \
    {                                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        return concerned && fails(OPEN) && code ? refuse() : REAL(name) passed;                                        \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), concerns(path))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), concerns(path))
WRAP_OPEN(openat, (int at_folder, const char *path, int flags, ...), (at_folder, path, flags, mode),
          (concerns(path) || concerns_file(at_folder)))
WRAP_OPEN(openat64, (int at_folder, const char *path, int flags, ...), (at_folder, path, flags, mode),
          (concerns(path) || concerns_file(at_folder)))
