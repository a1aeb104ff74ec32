/* Files of a report: opened and closed with errors that name them, fields of a CSV file (RFC 4180), values of JSON. */
#ifndef SF_REPORT_OUT_H
#define SF_REPORT_OUT_H

#include "base/status.h"

#include <stdio.h>

/* FOLDER/NAME+ENDING, opened for writing; closing checks that it was written whole. Nothing happens once *status is an
 * error: a report's steps follow each other without a check between them. NULL is closed, too. */
FILE *sf_report_open(const char *folder, const char *name, const char *ending, sf_status *status);
void sf_report_close(FILE *file, const char *name, sf_status *status);

/* A file name of a label: letters, digits, '-', '_' and '.'. A label that has other signs, or is too long, is told from
 * its like by the beginning of its hash. */
void sf_file_label(const char *label, char text[64]);

/* A number as printf's `format` writes it, into `text`, which it returns; NAN: "--". What rounds to zero has no sign: "-0.0" would say
 * that there is a loss. */
const char *sf_number_text(char text[64], const char *format, double value);
#define SF_NUMBER(format, value) sf_number_text((char[64]){0}, format, value) /* for the rest of the block */

/* A text; NULL: empty. One that a spreadsheet would take for a formula (= + - @ in front) gets an apostrophe in front,
 * which such programs do not show. */
void sf_csv_text(FILE *out, const char *text);
/* A row: 's' a text, 'd' an int, 'f' a double (NAN: an empty field). */
void sf_csv_row(FILE *out, const char *types, ...);

/* A JSON string, safe inside a script element of a page too: < > & and the line separators of JavaScript are escaped; bytes
 * that are not UTF-8 become U+FFFD. NULL: "". */
void sf_script_text(FILE *out, const char *text);
/* Six digits, as in the CSV files; NAN and infinities: null. */
void sf_script_number(FILE *out, double value);
/* With as many digits as it takes to read the same number again. */
void sf_script_exact(FILE *out, double value);

#endif
