#include "harness/model/doubts.h"

#include <stdarg.h>
#include <stdio.h>

void sf_doubt(sf_doubts *d, const char *format, ...)
{
    if (d->n == SF_MAX_DOUBTS) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(d->text[d->n++], sizeof *d->text, format, arguments);
    va_end(arguments);
}
