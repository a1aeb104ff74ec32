/* Did a method do what was asked of it, and what did it keep? Two tables, budgets (requested and executed sparsity) and
 * recall (attention mass kept), of arms that make one phase sparse. */
#ifndef SF_REPORT_FIDELITY_H
#define SF_REPORT_FIDELITY_H

#include "harness/report/view.h"

#include <stdio.h>

sf_status sf_report_fidelity(const sf_view *view, const char *folder);
void sf_report_fidelity_html(const sf_view *view, FILE *out);

#endif
