#include "harness/run/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double sf_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void sf_duration(double seconds, char out[32])
{
    long s = (long)(seconds + 0.5);
    if (!(seconds < 86400. * 365)) snprintf(out, 32, "unknown");
    else if (seconds < 60) snprintf(out, 32, "%.1fs", seconds);
    else if (s < 3600) snprintf(out, 32, "%ldm %02lds", s / 60, s % 60);
    else snprintf(out, 32, "%ldh %02ldm", s / 3600, s / 60 % 60);
}

void sf_progress_begin(sf_progress *p, double total)
{
    *p = (sf_progress){.terminal = isatty(STDERR_FILENO), .begun = sf_now(), .total = total};
}

void sf_progress_show(sf_progress *p, double part, const char *detail)
{
    double now = sf_now();
    if (!p->terminal || now - p->shown < 0.2) return;
    p->shown = now;
    double share = p->total > 0 ? (p->done + part) / p->total : 0;
    char left[32] = "…", line[512];
    if (share > 0.001) sf_duration((now - p->begun) * (1 - share) / share, left);
    struct winsize size = {.ws_col = 80};
    ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    int width = size.ws_col > 20 ? size.ws_col - 1 : 79;
    snprintf(line, sizeof line, "%3.0f%%  %s  %s  ETA %s", 100 * share, p->place, detail, left);
    fprintf(stderr, "\r\033[K%.*s", width, line);
    fflush(stderr);
}

void sf_progress_clear(sf_progress *p)
{
    if (p->terminal && p->shown > 0) fputs("\r\033[K", stderr);
    p->shown = 0;
}
