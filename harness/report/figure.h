/* A figure: the numbers it shows (CSV), what its gnuplot template needs to know, a caption.
 *
 * A figure's function writes rows to `csv` and assignments to `set`; plots/common.gp and plots/TEMPLATE.gp follow them
 * in the gnuplot file that is left beside the CSV, so that anyone can draw it again or change it. */
#ifndef SF_REPORT_FIGURE_H
#define SF_REPORT_FIGURE_H

#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct sf_plot {
    char name[128];       /* file name without ending; a figure of several plots adds to its own */
    const char *template; /* in plots/, without ending */
    double width, height; /* mm; 84 is a column, 174 a page */
    FILE *csv, *set, *caption;
    double xmax; /* of curves, in halvings of what is computed */
} sf_plot;

typedef struct sf_figure {
    const char *name, *title;
    /* How many plots these results give; NULL: one. None: the figure is left out, `lacks` says why. */
    int (*plots)(const sf_view *view);
    sf_status (*make)(const sf_view *view, int which, sf_plot *plot);
    const char *lacks; /* "needs two lengths" */
    bool in_paper;     /* one of those that paper.tex shows */
} sf_figure;

/* Assignments for the template: NAME = 'text', NAME = number, array NAME[n] = [...]. */
void sf_set_text(sf_plot *plot, const char *name, const char *text);
void sf_set_number(sf_plot *plot, const char *name, double value);
void sf_set_texts(sf_plot *plot, const char *name, int n, const char *const *text);
void sf_set_numbers(sf_plot *plot, const char *name, int n, const double *value);

/* Room for a legend of so many entries of at most so many characters, under the panels; adds to the height. Call it
 * once the width is known. */
void sf_set_legend(sf_plot *plot, int entries, int characters);
/* "prefill", "decode" */
const char *sf_phase_label(int phase);
/* "512", "16k", "128k", "15.7k" */
void sf_tokens_label(int tokens, char text[16]);

/* A unit for costs up to `largest`: power of 1000 to divide by and its prefix ("", "k", "M", … "E"). */
double sf_si_scale(double largest, const char **prefix);
/* Tics of an axis that do not crowd, as gnuplot takes them: "(1, 2, 5, 10)" on a logarithmic axis, a step on a linear
 * one, which serves better where the range is narrow; a single value is its own tic, of three digits. */
void sf_axis_tics(double low, double high, char text[256], int *logarithmic);

#endif
