/* Who runs which samples: a list of all that is left, and who asks gets the next of it. Nothing here knows devices, processes
 * or messages: forked workers take from a counter that they share, ranks of a cluster ask rank 0, which takes for them, and a
 * simulation takes for workers that are not there. */
#ifndef SF_DISPATCH_H
#define SF_DISPATCH_H

#include <stdbool.h>

#include "base/status.h"

/* A worker takes samples of a group until they have so many lanes: beyond that a decode step is no longer bound by reading
 * the weights, and what a kill would lose only grows. */
enum { SF_LANES_TOGETHER = 64 };

/* One sample of a group (the cells of one model, length and task): the least that is given out. */
typedef struct sf_unit {
    int model;
    int at;      /* the group's first cell in the plan */
    int sample;
    int lanes;   /* cells that lack it */
    double work; /* in any unit that is roughly proportional to time */
} sf_unit;

/* What a worker takes at a time: of one group, samples from … to - 1. */
typedef struct sf_take {
    int at, from, to;
    double work;
} sf_take;

typedef struct sf_dispatch {
    int units, workers;
    sf_unit *unit; /* [units] in the order in which they are given out */
    double *left;  /* [units + 1] work of the units from each on */
} sf_dispatch;

/* Takes over `unit`, malloc'ed, also on failure. For several workers they are put in order, longest first: the model of the
 * largest sample first, as changing it costs a worker more than waiting, and within it the groups by their largest sample;
 * so what is left for the end is small. For one worker they stay as they are. */
sf_status sf_dispatch_open(int units, sf_unit *unit, int workers, sf_dispatch *out);
void sf_dispatch_close(sf_dispatch *d);

/* What the next who asks gets: so many samples of a group as have SF_LANES_TOGETHER lanes, but never more than half of a
 * worker's share of all that is left, or the others would wait for it in the end. *next: units given out so far, counted on.
 * False: nothing is left. Any number of threads and processes may take at once. */
bool sf_dispatch_take(const sf_dispatch *d, _Atomic int *next, sf_take *out);

#endif
