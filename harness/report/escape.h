/* Texts as the source of a LaTeX, Markdown or HTML document: labels and captions come from configs and results files, and
 * must not be taken for markup or commands. */
#ifndef SF_REPORT_ESCAPE_H
#define SF_REPORT_ESCAPE_H

#include <stdio.h>

typedef enum sf_markup { SF_TEX, SF_MD, SF_HTML } sf_markup;

/* Control characters become blanks; NULL: nothing. In LaTeX, signs that its standard fonts lack become '?'. */
void sf_escape(FILE *out, sf_markup markup, const char *text);

#endif
