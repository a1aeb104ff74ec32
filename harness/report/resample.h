/* The statistics of a view: tests of cells, one bootstrap for everything, intervals and verdicts. */
#ifndef SF_REPORT_RESAMPLE_H
#define SF_REPORT_RESAMPLE_H

#include "harness/report/view.h"

enum { SF_RESAMPLES = 10000 };

/* Tests every cell against its dense cell: `verdict` of cells, without intervals. */
sf_status sf_view_test(sf_view *view);

/* Fills in replicates, intervals and verdicts of cells and points. Samples are drawn together for all cells of a model,
 * task and length, so that differences between cells are paired. */
sf_status sf_view_bootstrap(sf_view *view, int resamples, uint64_t seed);

bool sf_verdict_loss(const sf_verdict *verdict); /* below dense, p_holm <= 0.05 */

#endif
