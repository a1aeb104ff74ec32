#include "base/clock.h"

#include <stdio.h>
#include <time.h>

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
