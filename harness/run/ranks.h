/* Processes of a cluster as workers of one run: rank 0 has the list of what is left, gives out of it, and hears of what was
 * done, in a thread beside its own share of the work.
 *
 *     rank 0   opens the store, gives out, runs samples itself, hears all others end, folds
 *     others   ask for samples until none is left; what they finish they add to the store as parts of their own
 *
 * Messages are a few hundred bytes a take. No rank reads what another one writes while both run; that all parts of all ranks
 * are there is held against their number before they are folded. */
#ifndef SF_RANKS_H
#define SF_RANKS_H

#include <pthread.h>

#include "base/world.h"
#include "harness/run/dispatch.h"
#include "harness/run/spread.h"

typedef struct sf_ranks {
    const sf_world *world;
    const sf_dispatch *dispatch; /* rank 0's */
    sf_shared *shared;           /* likewise: how far all are */
    _Atomic bool stop;           /* one has failed or was asked to stop: nothing more is given out */
    _Atomic int ended;           /* ranks that have */
    struct sf_rank_end {
        sf_status status;
        int parts; /* in the store, of its own */
        char error[4096];
    } *end;                      /* [size] of rank 0 */
    double begun, told, when;    /* seconds; share of the work that was printed last, and when */
    bool prints;
    pthread_t thread;
} sf_ranks;

/* Collective. On rank 0 it begins to give out of `dispatch`. `prints`: a line on how far all are, now and then. */
sf_status sf_ranks_open(const sf_world *world, const sf_dispatch *dispatch, sf_shared *shared, bool prints, sf_ranks *out);

/* What this rank runs next; `done`: the work of what it took last, which it has finished. False: nothing is left, or
 * another one has failed. */
bool sf_ranks_take(sf_ranks *r, double done, sf_take *out);

/* Tells rank 0 that this one is at its end, and how; rank 0 waits for all. There, the first failure by rank, SF_INTERRUPTED
 * where nothing else went wrong; elsewhere `mine`. */
sf_status sf_ranks_end(sf_ranks *r, sf_status mine, int parts);

/* Accepts a zeroed one. */
void sf_ranks_close(sf_ranks *r);

#endif
