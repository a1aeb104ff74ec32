/* A figure: the numbers it shows (CSV), what its gnuplot template needs to know, a caption.
 *
 * A figure's function writes rows to `csv` and assignments to `set`; plots/common.gp and plots/TEMPLATE.gp follow them
 * in the gnuplot file that is left beside the CSV, so that anyone can draw it again or change it. */
#ifndef SF_REPORT_FIGURE_H
#define SF_REPORT_FIGURE_H

#include "harness/report/csv.h"
#include "harness/report/view.h"

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
} sf_figure;

extern const sf_figure *const sf_figures[]; /* NULL-terminated, in page order */

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

/* A mean over cells that a selection names, each task of each point weighing the same. -1: all. */
typedef struct sf_selection {
    int model, length, task, arm;
    int hard;                   /* 0: tasks of low dispersion and scope, 1: the others, -1: all */
    double sparsity[SF_PHASES]; /* requested */
} sf_selection;

typedef struct sf_average {
    int cells, samples;
    double score, error;     /* strict, and its standard error */
    double sparsity;         /* as executed, in the arm's phase */
    double loss, loss_error; /* (dense - sparse) / dense of each (model, length), averaged; over cells that both have */
    double drop, drop_error; /* dense - sparse */
} sf_average;

sf_average sf_view_average(const sf_view *view, const sf_selection *selection);
/* Requested sparsities of an arm, ascending, at most `most`; returns how many. */
int sf_arm_levels(const sf_view *view, int arm, int most, double (*level)[SF_PHASES]);

/* A figure of curves (plots/curves.gp): panels of score, or another value, against sparsity. */
typedef struct sf_curves {
    int panels, series;
    const char **panel, **name;                /* titles; names of the series, as in the CSV */
    const bool *dashed;                        /* [series] dashed with hollow marks; NULL: none */
    const double *reference, *reference_error; /* [panels] a dense line and its band; NULL or NAN: none */
    const char **note;                         /* [panels] what is missing, "" for nothing; NULL: nothing */
    int columns;                               /* of panels; 0: chosen */
    const char *ylabel;
    bool percent;     /* values are shares */
    double low, high; /* of the values drawn with their errors; sf_curves_row() widens them */
    bool negative;    /* some value is; else the axis ends at 0, whatever the errors say */
} sf_curves;

/* The header of the CSV, then rows, then the rest of the figure: call in this order. */
void sf_curves_begin(sf_plot *plot, sf_curves *curves);
void sf_curves_row(sf_plot *plot, sf_curves *curves, int panel, int series, double sparsity, double value, double error,
                   int cells, int samples);
void sf_curves_end(sf_plot *plot, sf_curves *curves);

/* A file name of a label: letters, digits, '-', '_' and '.', the rest as '_'. */
void sf_file_label(const char *label, char text[64]);

/* Draws NAME.FORMAT from NAME.gp for all plots in `folder`. Error: no gnuplot, or what it said. */
typedef struct sf_drawing {
    const char *name, *format;
} sf_drawing;
sf_status sf_gnuplot(const char *folder, int drawings, const sf_drawing *drawing);
/* The folder of the templates. Error: not found, where it was looked for. */
sf_status sf_plots_folder(char path[4096]);

#endif
