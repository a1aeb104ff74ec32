#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[4096];

sf_status sf_fail(sf_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return code;
}

sf_status sf_blame(sf_status code, const char *format, ...)
{
    if (code == SF_OK) return code;
    char inner[sizeof message];
    memcpy(inner, message, sizeof inner);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    strncat(message, ": ", sizeof message - strlen(message) - 1);
    strncat(message, inner, sizeof message - strlen(message) - 1);
    return code;
}

const char *sf_error(void) { return message; }
