/* A figure of curves (plots/curves.gp): panels of score, or another value, against sparsity. */
#ifndef SF_REPORT_CURVES_H
#define SF_REPORT_CURVES_H

#include "harness/report/figure.h"
#include "harness/report/resample.h"

typedef struct sf_curves {
    int panels, series;
    const char **panel, **name;                /* titles; names of the series, as in the CSV */
    const bool *dashed;                        /* [series] dashed with hollow marks; NULL: none */
    const sf_average *reference;               /* [panels] a dense line and its band; NULL or NAN: none */
    const char **note;                         /* [panels] what is missing, "" for nothing; NULL: nothing */
    int columns;                               /* of panels; 0: chosen */
    const char *ylabel;
    bool percent;     /* values are shares */
    bool logarithmic; /* the axis, of values above 0 */
    const char *xlabel; /* of a share, 0 … 1, that stands in place of sparsity; NULL: sparsity */
    double low, high; /* of the values drawn with their bars; sf_curves_row() widens them */
    bool negative;    /* some value is; else the axis ends at 0, whatever the bars say */
} sf_curves;

/* The header of the CSV, then rows, then the rest of the figure: call in this order. */
void sf_curves_begin(sf_plot *plot, sf_curves *curves);
void sf_curves_row(sf_plot *plot, sf_curves *curves, int panel, int series, const sf_average *average);
void sf_curves_end(sf_plot *plot, sf_curves *curves);

#endif
