/* What a results file's own config makes again. */
#ifndef SF_CLI_STORED_H
#define SF_CLI_STORED_H

#include "harness/run/study.h"
#include "harness/store/store.h"

/* The config that a results file keeps, with its overrides, opened again: as that of a stranger, whose plug-ins are not loaded. */
sf_status sf_stored_open(const char *config, sf_study *study);

/* The prompt of a stored sample, made by a study that sf_stored_open() opened; an sf_prompt_maker. Error: the config lacks its model,
 * task or length, or the prompt's token ids have another hash than those that were asked. */
sf_status sf_stored_prompt(void *study, const sf_cell_info *cell, const sf_record *record, char **prompt);

#endif
