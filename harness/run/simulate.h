/* A run on a cluster that is not there: the run's own list of samples (dispatch.h), given out as ranks would take them, in time
 * that is only counted. For `frontier plan --cluster`, and for what the giving out is worth. */
#ifndef SF_SIMULATE_H
#define SF_SIMULATE_H

#include "harness/run/dispatch.h"

typedef struct sf_simulated {
    double seconds;    /* until the last worker is done */
    double busy;       /* of all workers together: samples alone */
    double opening;    /* and opening models */
    int takes;
} sf_simulated;

/* seconds_of(user, unit): what a sample takes a worker, opening_of(user, model): what it takes it to open a model, asking: what
 * each take costs beside it. d->workers take. Error: no memory. */
sf_status sf_simulate(const sf_dispatch *d, double (*seconds_of)(void *user, const sf_unit *unit),
                      double (*opening_of)(void *user, int model), void *user, double asking, sf_simulated *out);

#endif
