/* A worker: one device, and the samples that it takes until none are left. */
#ifndef SF_WORKER_H
#define SF_WORKER_H

#include "harness/run/left.h"
#include "harness/run/work.h"

/* Runs what w->dispatch or, of ranks, rank 0 gives out, on w->backend, and adds it to the store. Error: the first that is no
 * cell's own (sf_worker_fail()); a cell that does not fit the memory limit, before anything runs; SF_INTERRUPTED. */
sf_status sf_worker_run(struct work *w);

/* Notes a cell as failed, with the message of `status`, and goes on; or passes the status on, where the fault is not the
 * cell's or the config says so. */
sf_status sf_worker_fail(const struct work *w, const sf_cell *cell, int sample, sf_status status);
/* The same of all those among `g` that lack the sample, which could not be made. */
sf_status sf_worker_fail_all(const struct work *w, sf_cells g, int sample, sf_status status);

#endif
