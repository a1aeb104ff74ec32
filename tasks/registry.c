/* Every built-in task: one line each. */
#include "tasks/task.h"

extern const sf_task sf_niah, sf_vt, sf_cwe;

const sf_task *const sf_tasks[] = {
    &sf_niah,
    &sf_vt,
    &sf_cwe,
    NULL,
};
