/* Tasks by name: the built-ins, and the plug-ins loaded so far; and what makes a struct a task. */
#ifndef SF_TASK_FIND_H
#define SF_TASK_FIND_H

#include "tasks/task.h"

/* NULL: none has this name. */
const sf_task *sf_task_find(const char *name);
/* The n-th plug-in, in the order in which they were loaded; NULL: there are not so many. */
const sf_task *sf_task_plugin(int n);
/* Loads a shared object that exports `const sf_task *sf_plugin_task(void)`, and keeps its task, which can then be
 * found; a second time changes nothing. *out NULL: it exports none. Error: as sf_task_validate(), a name that is taken,
 * too many. */
sf_status sf_task_load(const char *path, const sf_task **out);
/* Hash of the file that a plug-in came from, in hex; "" of a built-in. */
const char *sf_task_code(const sf_task *task);

/* That a task has this program's ABI, a name, its texts and hooks, and a table of parameters that fits its struct. */
sf_status sf_task_validate(const sf_task *task, const char *where);

/* Keys of a task's entry in a config that mean the same for all tasks, so that no parameter can have them. */
extern const char *const sf_task_keys[]; /* NULL-terminated */

#endif
