/* What a report is asked for. */
#ifndef SF_REPORT_OPTIONS_H
#define SF_REPORT_OPTIONS_H

#include "harness/store/store.h"

/* Makes the prompt of a stored sample again, NUL-terminated, to be freed by the caller. Error: it cannot be made here, or would be
 * another one than was asked. */
typedef sf_status sf_prompt_maker(void *user, const sf_cell_info *cell, const sf_record *record, char **prompt);

typedef struct sf_report_options {
    const char *folder;  /* made if missing; figures, CSV of every plotted number, tables, index.html; the same of each group
                            of other settings in a folder of its own */
    const char *figures; /* comma-separated names; NULL: all that the data allow */
    const char *formats; /* "png,pdf,svg"; NULL: png,pdf */
    const char *style;   /* "paper" or "slides"; NULL: paper */
    sf_prompt_maker *prompt; /* for the page's samples; NULL: none */
    const char *no_prompt;   /* then, why; NULL: none were asked for */
    void *user;              /* its argument */
    int prompts;             /* shown of each model, task and length, at most */
} sf_report_options;

#endif
