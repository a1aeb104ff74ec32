#include "harness/store/salvage.h"
#include "harness/store/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child tells, in memory that outlives it. */
struct shared {
    int cells;   /* -1: the file could not be opened */
    int at;      /* the cell being read */
    int next;    /* cells below are settled: in a part, or named in `message` */
    bool failed; /* the cell `at` cannot be read, see `message` */
    char key[SF_KEY_DIGITS + 1];
    char message[2048];
};

/* Damage can also make the library turn in circles: what all children of a file may take of processors, far more than it needs, and one
 * second for each that begins after that. */
static double seconds_for(const char *path)
{
    struct stat st;
    return 2 + (stat(path, &st) == 0 ? (double)st.st_size / (1 << 20) : 0);
}

static double seconds_of(const struct rusage *used)
{
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) + (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) * 1e-6;
}

static void part_name(int cell, char name[32]) { snprintf(name, 32, "%016x.part", (unsigned)cell); }

/* Leaves cell after cell as a part until one cannot be read. */
static void child(const char *path, unsigned what, int folder, const char *folder_path, double seconds, struct shared *shared)
{
    const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) signal(caught[i], SIG_DFL);
    const rlim_t most = seconds > 1 ? (rlim_t)ceil(seconds) : 1;
    setrlimit(RLIMIT_CPU, &(struct rlimit){most, most + 1});
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, STDERR_FILENO); /* the C library's last words about a broken heap */
    sf_hdf5 file;
    sf_heap names = {0};
    const char **key;
    int cells;
    if (sf_hdf5_open(path, false, &file) != SF_OK || sf_hdf5_keys(&file, &names, &cells, &key) != SF_OK) {
        snprintf(shared->message, sizeof shared->message, "%s", sf_error());
        _exit(0);
    }
    shared->cells = cells;
    for (int at = shared->next; at < cells; at++) {
        sf_heap arena = {0};
        sf_cell_info info;
        sf_record *record;
        sf_maps mean;
        int n;
        char name[32];
        shared->at = at;
        snprintf(shared->key, sizeof shared->key, "%s", key[at]);
        sf_status status = sf_hdf5_read_cell(&file, key[at], what, &arena, &info, &n, &record, &mean);
        sf_cell_info *cell = status == SF_OK ? sf_heap_alloc(&arena, (size_t)n * sizeof *cell) : NULL;
        for (int i = 0; i < n && cell; i++) cell[i] = info;
        part_name(at, name);
        if (cell) status = sf_part_write(folder, folder_path, name, n, cell, record, NULL, NULL);
        if (status != SF_OK) {
            snprintf(shared->message, sizeof shared->message, "%s", sf_error());
            shared->failed = true;
            _exit(0);
        }
        shared->next = at + 1;
        sf_heap_free(&arena);
    }
    _exit(0);
}

sf_status sf_salvage(const char *path, unsigned what, sf_heap *arena, void *user,
                     sf_status (*took)(void *user, const sf_part *part), sf_status (*lost)(void *user))
{
    const char *temporary = getenv("TMPDIR");
    char folder_path[256];
    snprintf(folder_path, sizeof folder_path, "%s/frontier-salvage-XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder_path))
        return sf_fail(SF_IO, "cannot make a scratch folder %s: %s", folder_path, strerror(errno));
    int folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sf_status status = SF_OK;
    if (folder < 0 || shared == MAP_FAILED) {
        status = sf_fail(SF_IO, "cannot salvage %s: %s", path, strerror(errno));
        goto done;
    }
    *shared = (struct shared){.cells = -1, .at = -1};
    double left = seconds_for(path);
    while (status == SF_OK && shared->next != shared->cells) {
        int how = 0;
        shared->failed = false;
        shared->at = -1;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) child(path, what, folder, folder_path, left, shared);
        struct rusage used;
        if (pid < 0 || wait4(pid, &how, 0, &used) != pid) {
            status = sf_fail(SF_IO, "cannot salvage %s: %s", path, strerror(errno));
            break;
        }
        left -= seconds_of(&used);
        const char *ends = WIFSIGNALED(how) && WTERMSIG(how) == SIGXCPU ? "comes to no end" : "crashes";
        if (shared->at < 0) {
            status = *shared->message ? sf_fail(SF_BAD_INPUT, "%s", shared->message)
                                      : sf_fail(SF_BAD_INPUT,
                                                "%s is damaged so that the HDF5 library %s on it: take a "
                                                "copy that is whole",
                                                path, ends);
        } else if (shared->next != shared->cells) {
            if (shared->failed)
                sf_fail(SF_BAD_INPUT, "%s", shared->message);
            else
                sf_fail(SF_BAD_INPUT, "%s: the HDF5 library %s on cell %s", path, ends, shared->key);
            status = lost(user);
            shared->next = shared->at + 1;
        }
    }
    for (int i = 0; i < shared->cells && status == SF_OK; i++) {
        char name[32];
        sf_part part;
        bool gone;
        part_name(i, name);
        status = sf_part_read(folder, folder_path, name, arena, &part, &gone);
        if (status == SF_OK && !gone) status = took(user, &part);
    }
done:
    if (folder >= 0) {
        int count = 0;
        char(*name)[32] = NULL;
        if (sf_part_list(folder, folder_path, &count, &name) == SF_OK)
            for (int i = 0; i < count; i++) unlinkat(folder, name[i], 0);
        free(name);
        close(folder);
    }
    if (shared != MAP_FAILED) munmap(shared, sizeof *shared);
    if (rmdir(folder_path) != 0 && status == SF_OK)
        status = sf_fail(SF_IO, "cannot remove the scratch folder %s: %s", folder_path, strerror(errno));
    return status;
}
