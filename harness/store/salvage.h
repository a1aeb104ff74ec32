/* What is left of a damaged results file. libhdf5 can crash on one, so a child reads it, cell by cell, and leaves each
 * cell that it survives as a part in a scratch folder; a cell at which the child dies, or comes to no end, is passed over by the
 * next child. */
#ifndef SF_STORE_SALVAGE_H
#define SF_STORE_SALVAGE_H

#include "harness/store/part.h"

/* `took` receives each salvaged part, `lost` is called after sf_fail() has named something that cannot be read. Both
 * end the salvage by returning an error. Error: nothing at all can be read. */
sf_status sf_salvage(const char *path, unsigned what, sf_heap *arena, void *user,
                     sf_status (*took)(void *user, const sf_part *part), sf_status (*lost)(void *user));

#endif
