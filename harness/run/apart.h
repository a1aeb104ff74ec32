/* Work in a process of its own, which may crash, exit or hang without taking this one along: cells of plug-ins. */
#ifndef SF_APART_H
#define SF_APART_H

#include <signal.h>
#include <stdbool.h>

#include "base/status.h"

/* Forks, does work(user) there, and waits. Memory is the child's own but for what the caller has shared. A hook that runs
 * for longer than `hook_seconds` ends the child. Returns what work() returned, with its message. *died: it came to no
 * return; the message then says how, and in which hook. Must be called before this process has threads, which do not
 * survive a fork. */
sf_status sf_apart(sf_status (*work)(void *user), void *user, double hook_seconds, const volatile sig_atomic_t *interrupted,
                   bool *died);

#endif
