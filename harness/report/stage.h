/* A report is made aside and moved to its place when it is whole: a program that dies over it leaves what was there. */
#ifndef SF_REPORT_STAGE_H
#define SF_REPORT_STAGE_H

#include "base/status.h"

typedef struct sf_stage {
    char folder[4200]; /* to be shown */
    char aside[4200];  /* where it is made meanwhile: FOLDER.tmp, or FOLDER/.tmp where FOLDER is there already */
} sf_stage;

/* Removes what a report that was killed left there, and makes the folder aside. */
sf_status sf_stage_open(const char *folder, sf_stage *out);
/* Moves it all to its place, index.html last; files of the same names are replaced, others stay. */
sf_status sf_stage_show(const sf_stage *stage);
/* Removes what is aside. */
void sf_stage_drop(const sf_stage *stage);

#endif
