/* One status line on a terminal, redrawn in place, with an estimate of the time left; silent elsewhere. */
#ifndef SF_PROGRESS_H
#define SF_PROGRESS_H

#include <stdbool.h>

typedef struct sf_progress {
    bool terminal;
    double begun, shown;      /* seconds */
    double total, done;       /* work, in any unit that is roughly proportional to time */
    char place[160];          /* what is being worked on */
} sf_progress;

void sf_progress_begin(sf_progress *p, double total);
/* `part`: work done inside the current place beyond `done`; redraws at most a few times a second. */
void sf_progress_show(sf_progress *p, double part, const char *detail);
/* "ETA 3 min", by what is done. */
void sf_progress_left(const sf_progress *p, char out[48]);
void sf_progress_clear(sf_progress *p); /* before printing anything else */

#endif
