/* Tables of a report for papers and other tools, each as .csv, .tex and .md. */
#ifndef SF_REPORT_TABLES_H
#define SF_REPORT_TABLES_H

#include "harness/report/findings.h"

/* Into FOLDER: scores (means over tasks, with intervals and tests), tasks (each cell), limits (how sparse one may go), leaderboard,
 * budgets and recall (fidelity.h); findings.csv, fits.csv. `seed`: of
 * sf_view_bootstrap(). */
sf_status sf_report_tables(const sf_view *view, const char *folder, const sf_findings *findings, uint64_t seed);

#endif
