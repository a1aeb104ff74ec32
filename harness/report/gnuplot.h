/* Pictures of plots that lie ready as NAME.gp. */
#ifndef SF_REPORT_GNUPLOT_H
#define SF_REPORT_GNUPLOT_H

#include "base/status.h"

typedef struct sf_drawing {
    const char *name, *format;
} sf_drawing;

/* Draws NAME.FORMAT from NAME.gp for all plots in `folder`. Error: no gnuplot, or what it said. */
sf_status sf_gnuplot(const char *folder, int drawings, const sf_drawing *drawing);

#endif
