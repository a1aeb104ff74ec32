/* What the page's charts read: one JSON object; page/dataset.js says what is in it. */
#ifndef SF_REPORT_DATASET_H
#define SF_REPORT_DATASET_H

#include "harness/report/view.h"

#include <stdio.h>

/* After sf_view_bootstrap() with `seed`. Labels are escaped so that the text may stand in a script element. */
sf_status sf_report_dataset(const sf_view *view, uint64_t seed, FILE *out);

#endif
