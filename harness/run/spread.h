/* Several devices of one machine: a process for each, forked from the one that holds the plan and the store.
 *
 *     parent   opens study and store, forks, waits, folds
 *     worker   opens its device, and takes samples of the list that all share (dispatch.h) until none is left. What it
 *              finishes it adds to the store as parts of its own (sf_store_share()).
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

/* "cuda:0,2": these. "cuda:0,0": two workers of one card. "cuda:all": every one of this machine. Anything else is one device,
 * as sf_backend_open() takes it. Error: a list that is none, a device that is not there, a processor twice, more than SF_WORKERS. */
sf_status sf_devices_of(const char *device, sf_devices *out);

/* How many of `workers`, that of number `worker` among them, take their memory from where it does. */
int sf_devices_sharing(const sf_devices *devices, int worker, int workers);

/* Whether it is this machine's processors, which need nothing that a fork would not survive. */
bool sf_device_is_host(const char *device);

/* The device of one of `locals` processes on a node, of number `local`: the card of its number; the only one that it sees,
 * where srun has bound one to each; for processors, all. Error: more processes than cards. */
sf_status sf_device_of_rank(const char *device, int local, int locals, char out[SF_DEVICE_NAME]);

/* In memory that all workers share. */
typedef struct sf_shared {
    _Atomic int next;    /* units given out so far: sf_dispatch_take() */
    _Atomic double done; /* work finished by all */
} sf_shared;

void sf_shared_add(sf_shared *shared, double work);

/* Calls share() for each device, `device` being what to open, in a process of its own, and waits for all. One that fails,
 * or *interrupted, sends the others SIGTERM. Returns the first failure, by device; SF_INTERRUPTED where nothing else went wrong. */
typedef sf_status (*sf_share)(void *user, int worker, const char *device, sf_shared *shared);
sf_status sf_spread(const sf_devices *devices, sf_share share, void *user, const volatile sig_atomic_t *interrupted);

#endif
