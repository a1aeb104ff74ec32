/* Changing what a results file holds: as with a fold, a new file grows beside it, is read back, and takes its place. */
#ifndef SF_STORE_EDIT_H
#define SF_STORE_EDIT_H

#include "harness/store/store.h"

/* Makes `aside` from `path` without the cells `key` [n], nor their failures; sealed and synced, to be renamed. */
sf_status sf_edit_without(const char *path, const char *aside, int n, const char *const *key);

/* Whether two accounts of a cell have the same labels of model, task and methods. */
bool sf_edit_same_labels(const sf_cell_info *a, const sf_cell_info *b);
/* How many of the cells [n] the file holds under other labels than these. */
sf_status sf_edit_count_labels(const char *path, int n, const sf_cell_info *cell, int *others);
/* Makes `aside` from `path`, where the cells [n], as far as they are there, have the labels that are given: of model, task and
 * methods. */
sf_status sf_edit_labels(const char *path, const char *aside, int n, const sf_cell_info *cell);

#endif
