/* The gates: what a careful reader would hold against these results. */
#ifndef SF_REPORT_GATES_H
#define SF_REPORT_GATES_H

#include "harness/report/view.h"

typedef struct sf_warnings {
    int count;
    char **text;
} sf_warnings;

/* One warning a gate that does not hold, naming the cells. After sf_view_test(). */
sf_status sf_gates(const sf_view *view, sf_warnings *out);
void sf_warnings_free(sf_warnings *warnings);

#endif
