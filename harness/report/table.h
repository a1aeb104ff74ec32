/* A table as LaTeX (booktabs; scaled down to the width of the page where it is wider), Markdown or HTML, written cell by cell. */
#ifndef SF_REPORT_TABLE_H
#define SF_REPORT_TABLE_H

#include "harness/report/escape.h"

typedef struct sf_table {
    FILE *out;
    sf_markup style;
    int texts, columns; /* the first `texts` columns stand left */
    int cells;          /* written so far */
} sf_table;

/* Cells follow, row by row; the first row is the head. `caption` is plain text, given again at the end. */
void sf_table_begin(sf_table *table, int texts, int numbers, const char *caption);
/* `mark`: a character behind the text, raised: "*", "+", "-"; "": none. */
void sf_table_cell(sf_table *table, const char *text, const char *mark);
void sf_table_number(sf_table *table, const char *format, double value, const char *mark); /* NAN: "--" */
void sf_table_end(sf_table *table, const char *name, const char *caption);

#endif
