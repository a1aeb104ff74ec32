#include "harness/report/stage.h"

#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void remove_all(const char *folder) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

sf_status sf_stage_open(const char *folder, sf_stage *out)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    if (n == 0 || n > 4096) return sf_fail(SF_BAD_INPUT, "\"%.64s\": expected the name of a folder for the report", folder);
    char path[4200];
    snprintf(out->folder, sizeof out->folder, "%.*s", (int)n, folder);
    snprintf(out->aside, sizeof out->aside, "%.4096s/.tmp", out->folder);
    remove_all(out->aside);
    snprintf(path, sizeof path, "%.4096s.tmp", out->folder);
    if (!is_there(out->folder)) {
        remove_all(path);
        snprintf(out->aside, sizeof out->aside, "%s", path);
    }
    return sf_make_folder(out->aside, "the report");
}

void sf_stage_drop(const sf_stage *stage) { remove_all(stage->aside); }

/* Moves what is in `from` into `to`, which is there; `last` as the last. */
static sf_status merge(const char *from, const char *to, const char *last)
{
    DIR *d = opendir(from);
    if (!d) return sf_fail(SF_IO, "%s: cannot be opened: %s", from, strerror(errno));
    sf_status status = SF_OK;
    char a[4700], b[4700];
    for (struct dirent *e; status == SF_OK && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (last && !strcmp(e->d_name, last))) continue;
        snprintf(a, sizeof a, "%.4400s/%s", from, e->d_name), snprintf(b, sizeof b, "%.4400s/%s", to, e->d_name);
        struct stat st;
        if (stat(a, &st) == 0 && S_ISDIR(st.st_mode) && is_there(b))
            status = merge(a, b, last);
        else if (rename(a, b) != 0)
            status = sf_fail(SF_IO, "%s: cannot be written: %s", b, strerror(errno));
    }
    closedir(d);
    if (status != SF_OK || !last) return status;
    snprintf(a, sizeof a, "%.4400s/%s", from, last), snprintf(b, sizeof b, "%.4400s/%s", to, last);
    if (is_there(a) && rename(a, b) != 0) status = sf_fail(SF_IO, "%s: cannot be written: %s", b, strerror(errno));
    return status;
}

sf_status sf_stage_show(const sf_stage *stage)
{
    if (!is_there(stage->folder)) {
        if (rename(stage->aside, stage->folder) == 0) return SF_OK;
        return sf_fail(SF_IO, "%s: cannot be written: %s", stage->folder, strerror(errno));
    }
    sf_status status = merge(stage->aside, stage->folder, "index.html");
    sf_stage_drop(stage);
    return status;
}
