/* index.html: the report on one page. */
#ifndef SF_REPORT_PAGE_H
#define SF_REPORT_PAGE_H

#include "harness/report/findings.h"
#include "harness/report/gates.h"
#include "harness/report/made.h"
#include "harness/report/options.h"
#include "harness/report/settings.h"

/* FOLDER/index.html, one file that needs no other (but for samples beyond a few MB, samples.h): charts and figures inlined, tables,
 * warnings, provenance. `settings` (or NULL):
 * of the results, whose other groups are named. `seed`: of sf_view_bootstrap(). `trouble`: why there are no pictures, "": there are. */
sf_status sf_report_page(const sf_view *view, uint64_t seed, const sf_report_options *options, const char *folder, int plots, const sf_made *made,
                         const sf_warnings *warnings, const sf_findings *findings, const sf_settings *settings,
                         const char *trouble);

#endif
