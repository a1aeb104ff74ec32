#include "base/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

sf_status sf_data_path(const char *relative, char out[4096])
{
    const char *given = getenv("FRONTIER_DATA");
    if (given) {
        snprintf(out, 4096, "%s/%s", given, relative);
        if (access(out, R_OK) == 0) return SF_OK;
        return sf_fail(SF_IO, "%s: not found; FRONTIER_DATA=%s must name the folder that holds '%s'", out, given, relative);
    }
    static const char *const above[] = {"..", "../..", "../share/frontier"};
    char program[2048];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = 0;
        *strrchr(program, '/') = 0;
        for (int i = 0; i < 3; i++) {
            snprintf(out, 4096, "%s/%s/%s", program, above[i], relative);
            if (access(out, R_OK) == 0) return SF_OK;
        }
    }
    return sf_fail(SF_IO, "%s: not found beside the program; set FRONTIER_DATA to the folder that holds it", relative);
}

const char *sf_data_found(const char *path, char room[4096])
{
    if (*path == '/' || access(path, F_OK) == 0) return path;
    return sf_data_path(path, room) == SF_OK ? room : path;
}
