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

bool sf_verdict_loss(const sf_verdict *verdict); /* below dense, p_holm <= 0.05 */

#endif
