/* The statistics of a view: tests of cells, one bootstrap for everything, intervals and verdicts. */
#ifndef SF_REPORT_RESAMPLE_H
#define SF_REPORT_RESAMPLE_H

#include "harness/report/view.h"

enum {
    SF_RESAMPLES = 10000,
    SF_SHARES_FROM = 10 /* samples of a cell, from which on a share of resamples is said: of fewer it claims too much */
};

/* Tests every cell against its dense cell: `verdict` of cells, without intervals. */
sf_status sf_view_test(sf_view *view);

/* Fills in replicates, intervals and verdicts of cells and points. Samples are drawn together for all cells of a model,
 * task and length, so that differences between cells are paired. */
sf_status sf_view_bootstrap(sf_view *view, int resamples, uint64_t seed);

/* The view's points over the tasks of `in` [tasks] alone, after sf_view_bootstrap() and from its seed: out [points], whose cells
 * lie in cell [points, tasks]; tasks 0: none of them was run. p_holm: corrected over these points. */
sf_status sf_view_points_over(const sf_view *view, const bool *in, uint64_t seed, sf_point *out, int *cell);

/* ---- Averages; after sf_view_bootstrap(), one at a time: they share the view's room ---- */

/* 95 % interval of the mean over a point's tasks that are in `in` [tasks], of which it has one or more. */
void sf_point_interval(const sf_view *view, const sf_point *point, const bool *in, double *low, double *high);

/* What a mean is taken over, each task of each point weighing the same. -1: all. */
typedef struct sf_selection {
    int model, length, task, arm;
    int hard;                   /* 0: tasks of low dispersion and scope, 1: the others, -1: all */
    double sparsity[SF_PHASES]; /* requested */
} sf_selection;

typedef enum sf_averaged {
    SF_SCORE, /* strict */
    SF_DROP,  /* dense - sparse, of paired samples; points whose dense scores are all 0 are left out, as for SF_LOSS */
    SF_LOSS   /* (dense - sparse) / dense of each (model, length), the dense mean taken as known */
} sf_averaged;

typedef struct sf_average {
    int cells, samples;      /* averaged */
    double value, low, high; /* and its 95 % interval; NAN: there is no cell */
    double sparsity;         /* as executed, in the arm's phase */
} sf_average;

sf_average sf_view_average(const sf_view *view, const sf_selection *selection, sf_averaged of);

bool sf_verdict_loss(const sf_verdict *verdict); /* below dense, p_holm <= 0.05 */

#endif
