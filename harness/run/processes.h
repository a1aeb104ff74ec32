/* Who runs what is left: this process, one apart for the cells of plug-ins, one for each device, ranks of MPI. */
#ifndef SF_PROCESSES_H
#define SF_PROCESSES_H

#include "harness/run/work.h"

/* Runs all that is left; w->backend is opened where it is not yet. Cells of plug-ins first, while this process has no threads
 * and no device that a fork would not survive. */
sf_status sf_processes_run(struct work *w);

#endif
