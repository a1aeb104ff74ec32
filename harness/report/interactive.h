/* The part of the page that one can ask: charts, drawn in the browser by D3, with the report's numbers beside them. */
#ifndef SF_REPORT_INTERACTIVE_H
#define SF_REPORT_INTERACTIVE_H

#include "harness/report/options.h"
#include "harness/report/view.h"

#include <stdio.h>

/* D3 as Debian's libjs-d3 installs it, or the file that $FRONTIER_D3 names; NULL: not there. */
const char *sf_interactive_library(void);

/* The style of the whole page. */
void sf_interactive_style(FILE *out);
/* The section of charts, empty until the scripts fill it; where D3 is not there, a line that says what to install. */
void sf_interactive_section(FILE *out);
/* The sections of the leaderboard and of samples. */
void sf_interactive_leaderboard(FILE *out);
void sf_interactive_samples(FILE *out);
/* At the page's end: D3, the numbers, the samples, and what draws them; also FOLDER/config.yaml, which cells are run again with. Nothing
 * where D3 is not there. `seed`: of sf_view_bootstrap(). */
sf_status sf_interactive_scripts(const sf_view *view, uint64_t seed, const sf_report_options *options, const char *folder,
                                 FILE *out);

#endif
