/* How sparse one may go: where a loss is excluded, where one is shown, and what lies between is open. */
#ifndef SF_REPORT_LIMITS_H
#define SF_REPORT_LIMITS_H

#include "harness/report/view.h"

#define SF_MARGIN 0.05 /* of score: a loss that is to be excluded */

typedef struct sf_limit {
    double safe;     /* highest tested sparsity up to which every interval excludes a loss above the margin; -1: none */
    double shown;    /* lowest sparsity with a loss that is shown; -1: none */
    double lowest;   /* tested */
    double excluded; /* the loss that is excluded at `safe`, or where that is -1 at `lowest`: the greatest of all points */
    int samples;     /* pairs of the point or cell that has the fewest */
} sf_limit;

/* Over an arm's points at a model and length, after sf_view_bootstrap(); task -1: the mean over tasks; model or length -1:
 * all of them, what holds for each. False: nothing stands beside dense. */
bool sf_view_limit(const sf_view *view, int model, int task, int length, int arm, sf_limit *out);

/* The fewest pairs whose interval can exclude a loss above so much, when they differ in nothing. */
int sf_pairs_needed(double loss);

/* "0.90", "none" */
void sf_limit_text(double sparsity, char text[16]);

#endif
