/* From results to what a person reads: the table at the end of a run, warnings, figures, tables, rows for other tools.
 */
#ifndef SF_REPORT_H
#define SF_REPORT_H

#include <stdio.h>

#include "harness/report/options.h"
#include "harness/store/store.h"

/* Terminal table: dense and sparse scores side by side, one line a (model, task, length), and what it says; of the
 * settings that the last run had (settings.h), the others are named. */
void sf_report_table(const sf_results *results, FILE *out);

/* The gates: what a careful reader would hold against these results, one warning a line with the cells it concerns.
 * Returns how many; prints nothing when there are none. */
int sf_report_gates(const sf_results *results, FILE *out);

/* Error: gnuplot missing (the CSV files are still written), folder not writable, an unknown figure or format. */
sf_status sf_report(const sf_results *results, const sf_report_options *options);

/* The leaderboard alone (leaderboard.h), of the settings that the last run had: "csv", "md", "tex" or "json". */
sf_status sf_report_leaderboard(const sf_results *results, double within, const char *format, FILE *out);

typedef enum sf_export_format { SF_EXPORT_CSV, SF_EXPORT_JSONL } sf_export_format;

/* One row a sample. */
sf_status sf_export(const sf_results *results, sf_export_format format, FILE *out);

/* Paired differences of the cells and samples that two results have in common. */
sf_status sf_compare(const sf_results *a, const sf_results *b, FILE *out);

#endif
