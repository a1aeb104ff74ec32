/* What the data say about the study's questions: sentences with a number, its interval and a verdict. */
#ifndef SF_REPORT_FINDINGS_H
#define SF_REPORT_FINDINGS_H

#include "harness/report/view.h"

typedef struct sf_finding {
    const char *question; /* "isoCost", "method", "length" */
    const char *verdict;  /* "yes", "no", "not decided" */
    char *text;
    double number, low, high; /* 95 % interval */
    int samples;              /* of the mean that has the fewest; 0: no number */
    bool ceiling;             /* the dense score that is to be beaten is so near 1 that a harder task is needed, not samples */
    bool detail;              /* one of many comparisons: in the CSV, not on the page */
} sf_finding;

typedef struct sf_findings {
    int count;
    sf_finding *at;
} sf_findings;

/* After sf_view_bootstrap(). */
sf_status sf_find(const sf_view *view, sf_findings *out);
void sf_findings_free(sf_findings *findings);

/* Score of an arm at any executed sparsity, by linear interpolation between its levels and dense at 0, as bootstrap
 * replicates [resamples]; over the tasks of `in` [tasks]. False: not reached, or a task is missing. */
bool sf_interpolate(const sf_view *view, int model, int length, int arm, const bool *in, double sparsity,
                    double *replicate);

/* logit(score) = a + b ln(parameters) + c ln(tokens) + d ln(1 - sparsity), by least squares over the cells of an arm
 * and of dense; scores are kept off 0 and 1 by half an answer. Error of prediction: cells of one (model, length) at a
 * time are left out of the fit and predicted. Columns of one value are left out (NAN). */
typedef struct sf_fit {
    int cells;
    double coefficient[4];
    double residual, held_out;
} sf_fit; /* errors: RMS, of scores */
sf_status sf_scaling_fit(const sf_view *view, int arm, sf_fit *out);

#endif
