/* Every built-in task: one line each. */
#include "tasks/task.h"

const sf_task *const sf_tasks[] = {
    NULL,
};
