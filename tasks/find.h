/* Tasks by name: the built-ins, and the plug-ins loaded so far; and what makes a struct a task. */
#ifndef SF_TASK_FIND_H
#define SF_TASK_FIND_H

#include "tasks/task.h"

/* Built-in tasks, NULL-terminated (tasks/registry.c). */
extern const sf_task *const sf_tasks[];

/* Suites of others, whose tasks read files of the user's: every one of their data sets is a task. NULL-terminated
 * (tasks/registry.c). */
typedef struct sf_suite {
    const sf_task *task; /* [tasks] */
    int tasks;
} sf_suite;
extern const sf_suite *const sf_suites[];
/* The n-th task of all suites; NULL: there are not so many. */
const sf_task *sf_suite_task(int n);

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

/* The task's hooks, noted while they run (base/running.h) where it is a plug-in's. Error: as theirs; of score() also where its
 * score lies outside of what sf_score says, by task and field. */
sf_status sf_task_generate(const sf_task *task, const void *params, const sf_request *request, sf_sample *out);
sf_status sf_task_supply(const sf_task *task, const void *params, const sf_request *request, int most, int *samples);
sf_status sf_task_score(const sf_task *task, const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* That a task has this program's ABI, a name, its texts and hooks, and a table of parameters that fits its struct. */
sf_status sf_task_validate(const sf_task *task, const char *where);

/* Keys of a task's entry in a config that mean the same for all tasks, so that no parameter can have them. */
extern const char *const sf_task_keys[]; /* NULL-terminated */

#endif
