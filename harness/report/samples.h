/* The samples that the page shows: a list of all, and what was asked, expected and answered in each. */
#ifndef SF_REPORT_SAMPLES_H
#define SF_REPORT_SAMPLES_H

#include "harness/report/options.h"
#include "harness/report/view.h"

#include <stdio.h>

/* Where what is shown of single samples goes: into the page, or, beyond a few MB, into files beside it that the page loads
 * when they are wanted, FOLDER/samples/. */
bool sf_samples_inside(const sf_view *view);

/* The list, as a value of the page's data: of each cell its samples' numbers, scores and flags. */
void sf_samples_list(const sf_view *view, FILE *out);

/* The samples themselves: of each cell its answers, maps and pictures; of each model, task and length the prompts, as far as
 * options->prompt makes them again. `page`: where the page's script elements are written. */
sf_status sf_samples_write(const sf_view *view, const sf_report_options *options, const char *folder, FILE *page);

#endif
