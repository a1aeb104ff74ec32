/* A plot that a report has made. */
#ifndef SF_REPORT_MADE_H
#define SF_REPORT_MADE_H

#include "harness/report/figure.h"

typedef struct sf_made {
    const sf_figure *figure;
    char name[128]; /* NAME.csv, NAME.gp in figures/ */
    char *caption;  /* what the page says under it */
    double width;   /* mm */
    bool drawn;     /* NAME.png exists */
} sf_made;

#endif
