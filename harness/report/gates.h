/* The gates: what a careful reader would hold against these results. */
#ifndef SF_REPORT_GATES_H
#define SF_REPORT_GATES_H

#include "harness/report/view.h"

/* What a warning is about, in the order in which they are given. */
typedef enum sf_topic { SF_TOPIC_RUN, SF_TOPIC_INPUT, SF_TOPIC_METHOD, SF_TOPIC_ANSWERS, SF_TOPICS } sf_topic;
extern const char *const sf_topic_names[SF_TOPICS]; /* "What was not run" */

typedef struct sf_warning {
    sf_topic topic;
    char *text;       /* what does not hold, and in which cells: the worst are named */
    char *cells;      /* all of them, worst first, a line each; NULL: `text` names all */
    const char *todo; /* what to do about it */
} sf_warning;

typedef struct sf_warnings {
    int count;
    sf_warning *at;
} sf_warnings;

/* One warning a gate that does not hold, naming the cells, by topic. After sf_view_test(). */
sf_status sf_gates(const sf_view *view, sf_warnings *out);
void sf_warnings_free(sf_warnings *warnings);

#endif
