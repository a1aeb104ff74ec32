#include "harness/run/progress.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

void sf_progress_begin(sf_progress *p, double total)
{
    *p = (sf_progress){.terminal = isatty(STDERR_FILENO), .begun = sf_now(), .total = total};
}

/* "ETA 3 min" of what is left after a share of the work; "…" while that is too little to tell. */
static void time_left(const sf_progress *p, double share, char out[48])
{
    char left[32] = "…";
    if (share > 0.001) sf_duration((sf_now() - p->begun) * (1 - share) / share, left);
    snprintf(out, 48, "ETA %s", left);
}

void sf_progress_left(const sf_progress *p, char out[48]) { time_left(p, p->total > 0 ? fmin(1, p->done / p->total) : 0, out); }

void sf_progress_show(sf_progress *p, double part, const char *detail)
{
    double now = sf_now();
    if (!p->terminal || now - p->shown < 0.2) return;
    p->shown = now;
    double share = p->total > 0 ? (p->done + part) / p->total : 0;
    char left[48], line[512];
    time_left(p, share, left);
    struct winsize size = {.ws_col = 80};
    ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    int width = size.ws_col > 20 ? size.ws_col - 1 : 79;
    snprintf(line, sizeof line, "%3.0f%%  %s  %s  %s", 100 * share, p->place, detail, left);
    fprintf(stderr, "\r\033[K%.*s", width, line);
    fflush(stderr);
}

void sf_progress_clear(sf_progress *p)
{
    if (p->terminal && p->shown > 0) fputs("\r\033[K", stderr);
    p->shown = 0;
}
