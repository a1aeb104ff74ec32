/* Fields of a CSV file (RFC 4180). */
#ifndef SF_REPORT_CSV_H
#define SF_REPORT_CSV_H

#include <math.h>
#include <stdio.h>
#include <string.h>

static inline void sf_csv_text(FILE *out, const char *text)
{
    text = text ? text : "";
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* A row: 's' a text, 'd' an int, 'f' a double (NAN: an empty field). */
void sf_csv_row(FILE *out, const char *types, ...);

#endif
