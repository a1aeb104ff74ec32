/* Being asked to stop, by Ctrl-C or a batch system: a run ends after the samples at hand. */
#ifndef SF_INTERRUPT_H
#define SF_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

/* Not 0: it was asked. Of this process; those that it has forked are told by it. */
extern volatile sig_atomic_t sf_interrupted;

/* From now on SIGINT and SIGTERM ask; this process says so, if it `speaks`, and those that it forks do not. A second SIGINT ends
 * it at once, as does a second SIGTERM unless it runs in a `batch` system, which says it more than once, and ends at once by
 * SIGKILL. */
void sf_interrupt_watch(bool speaks, bool batch);

#endif
