/* What a report writes next to its figures: tables for papers, the page. */
#ifndef SF_REPORT_PAGE_H
#define SF_REPORT_PAGE_H

#include "harness/report/figure.h"
#include "harness/report/findings.h"
#include "harness/report/gates.h"

/* A plot that was made, with what the page says under it. `drawn`: NAME.png exists. */
typedef struct sf_made {
    char name[128];
    const char *title;
    char *caption;
    double width /* mm */;
    bool drawn;
} sf_made;

/* scores (means over tasks, with intervals and tests), tasks (each cell), limits (highest sparsity without a loss),
 * budgets and recall, each as .csv, .tex and .md in this folder; findings.csv, fits.csv. */
sf_status sf_report_tables(const sf_view *view, const char *folder, const sf_findings *findings);

/* budgets (requested and executed sparsity) and recall (attention mass kept), of arms that make one phase sparse. */
sf_status sf_report_fidelity(const sf_view *view, const char *folder);
void sf_report_fidelity_html(const sf_view *view, FILE *out);

/* The requested sparsities of these tables' columns, ascending; returns how many. */
enum { SF_LEVELS = 32 };
int sf_view_levels(const sf_view *view, double level[SF_LEVELS]);
/* The point of an arm that makes one phase sparse; NULL: not run. */
const sf_point *sf_point_at_level(const sf_view *view, int model, int length, int arm, double level);

/* FOLDER/index.html, one file that needs no other: figures inlined, tables, warnings, provenance. */
sf_status sf_report_page(const sf_view *view, const char *folder, int plots, const sf_made *made,
                         const sf_warnings *warnings, const sf_findings *findings, const char *trouble);

/* FOLDER/paper.tex: two figures and a table in a LaTeX document; compiles where the figures were drawn as PDF. */
sf_status sf_report_paper(const sf_view *view, const char *folder, int plots, const sf_made *made);

/* A file of the report, opened for writing; closing checks that it was written whole. */
FILE *sf_report_open(const char *folder, const char *name, const char *ending, sf_status *status);
void sf_report_close(FILE *file, const char *name, sf_status *status);

#endif
