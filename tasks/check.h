/* Certifying a task: what every sweep takes for granted of one. */
#ifndef SF_TASK_CHECK_H
#define SF_TASK_CHECK_H

#include <stdio.h>

#include "tasks/task.h"

/* Prints one row a property, tried with default parameters at several lengths and two ways to count tokens; *failed
 * counts those that do not hold. A hook that crashes or hangs fails its row: each runs in a process of its own.
 * SF_UNSUPPORTED, and no row: it makes samples out of files that are the user's. */
sf_status sf_check_task(const sf_task *task, FILE *out, int *failed);

#endif
