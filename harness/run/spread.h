/* Several devices of one machine: a process for each, forked from the one that holds the plan and the store.
 *
 *     parent   opens road and store, forks, waits, folds
 *     worker   opens its device, walks the plan as a single process would, and runs the units that it claims: samples.
 *              What it finishes it adds to the store as parts of its own (sf_store_share()).
 *
 * No device is touched before the fork, since a CUDA context does not survive it. Which worker ran a sample changes
 * nothing in its results. "cpu:0,1" is two workers of one thread each: for tests. */
#ifndef SF_SPREAD_H
#define SF_SPREAD_H

#include <signal.h>
#include <stdbool.h>

#include "base/status.h"

enum { SF_WORKERS = 16, SF_DEVICE_NAME = 32 };

typedef struct sf_devices {
    int n;
    bool host;                             /* workers share the one device that there is */
    char name[SF_WORKERS][SF_DEVICE_NAME]; /* "cuda:1" */
} sf_devices;

/* "cuda:0,2": these. "cuda:all": every one of this machine. Anything else is one device, as sf_backend_open() takes it.
 * Error: a list that is none, a device twice or not there, more than SF_WORKERS. */
sf_status sf_devices_of(const char *device, sf_devices *out);

/* Whether it is this machine's processors, which need nothing that a fork would not survive. */
bool sf_device_is_host(const char *device);

/* Units of work, in an order that all workers walk alike; each is claimed by one of them. */
typedef struct sf_claims {
    _Atomic int *next; /* shared: the first unit that nobody has claimed */
    int at, mine;      /* the unit this worker has come to; the one it has claimed last */
} sf_claims;

/* Whether the next unit is this worker's. NULL: there is but one, and all are. */
bool sf_claim(sf_claims *claims);

/* Calls share() for each device, `device` being what to open, in a process of its own, and waits for all. One that fails, or *interrupted, sends the
 * others SIGTERM. Returns the first failure, by device; SF_INTERRUPTED where nothing else went wrong. */
typedef sf_status (*sf_share)(void *user, int worker, const char *device, sf_claims *claims);
sf_status sf_spread(const sf_devices *devices, sf_share share, void *user, const volatile sig_atomic_t *interrupted);

#endif
