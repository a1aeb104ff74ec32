/* paper.tex: a document that shows how figures and a table of the report go into a paper. */
#ifndef SF_REPORT_PAPER_H
#define SF_REPORT_PAPER_H

#include "harness/report/made.h"

/* FOLDER/paper.tex: two figures and a table; compiles where the figures were drawn as PDF. */
sf_status sf_report_paper(const sf_view *view, const char *folder, int plots, const sf_made *made);

#endif
