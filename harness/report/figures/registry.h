/* All figures, in page order. */
#ifndef SF_REPORT_FIGURES_H
#define SF_REPORT_FIGURES_H

#include "harness/report/figure.h"

extern const sf_figure *const sf_figures[]; /* NULL-terminated */

#endif
