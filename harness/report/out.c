#include "harness/report/out.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

FILE *sf_report_open(const char *folder, const char *name, const char *ending, sf_status *status)
{
    char path[4600];
    if (*status != SF_OK) return NULL;
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    FILE *f = fopen(path, "w");
    if (!f) *status = sf_fail(SF_IO, "cannot write %s: %s", path, strerror(errno));
    return f;
}

void sf_report_close(FILE *f, const char *name, sf_status *status)
{
    if (!f) return;
    bool bad = ferror(f);
    if ((fclose(f) != 0 || bad) && *status == SF_OK)
        *status = sf_fail(SF_IO, "cannot write %s: %s", name, strerror(errno));
}

void sf_file_label(const char *label, char text[64])
{
    enum { ROOM = 48 };
    int n = 0;
    bool changed = strlen(label) > ROOM;
    for (const char *at = label; *at && n < ROOM; at++) {
        bool plain = isalnum((unsigned char)*at) || strchr("-_.", *at);
        changed |= !plain;
        if (plain || !n || text[n - 1] != '_') text[n++] = plain ? *at : '_';
    }
    text[n] = 0;
    if (changed) snprintf(text + n, 16, "-%08x", (unsigned)XXH3_64bits(label, strlen(label)));
}

const char *sf_number_text(char text[64], const char *format, double value)
{
    if (isnan(value)) return strcpy(text, "--");
    snprintf(text, 64, format, value);
    if (strchr("+-", *text) && !strpbrk(text, "123456789in")) memmove(text, text + 1, strlen(text)); /* "inf" is not zero */
    return text;
}

void sf_csv_text(FILE *out, const char *text)
{
    text = text ? text : "";
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted) fputc('"', out);
    if (*text && strchr("=+-@\t\r", *text)) fputc('\'', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    if (quoted) fputc('"', out);
}

void sf_csv_row(FILE *out, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    for (const char *t = types; *t; t++) {
        if (t > types) fputc(',', out);
        if (*t == 's') {
            sf_csv_text(out, va_arg(args, const char *));
        } else if (*t == 'd') {
            fprintf(out, "%d", va_arg(args, int));
        } else {
            double value = va_arg(args, double);
            if (!isnan(value)) fputs(SF_NUMBER("%.6g", value), out);
        }
    }
    va_end(args);
    fputc('\n', out);
}

/* Bytes of the UTF-8 sequence at `at`, 0: not one. Shortest forms alone, no surrogates, up to U+10FFFF. */
static int utf8_length(const unsigned char *at)
{
    if (*at < 0x80) return 1;
    int n = *at >= 0xc2 && *at < 0xe0 ? 2 : *at >= 0xe0 && *at < 0xf0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    bool longer = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
    bool beyond = (*at == 0xed && at[1] >= 0xa0) || (*at == 0xf4 && at[1] >= 0x90);
    return longer || beyond ? 0 : n;
}

void sf_script_text(FILE *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)(text ? text : "");
    fputc('"', out);
    while (*at) {
        int n = utf8_length(at);
        bool separator = n == 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9);
        if (!n)
            fputs("\\ufffd", out), n = 1;
        else if (separator)
            fprintf(out, "\\u20%02x", at[2] - 0x80);
        else if (*at < ' ' || strchr("\"\\<>&\x7f", *at))
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, (size_t)n, out);
        at += n;
    }
    fputc('"', out);
}

void sf_script_number(FILE *out, double value)
{
    fputs(isfinite(value) ? SF_NUMBER("%.6g", value) : "null", out);
}

void sf_script_exact(FILE *out, double value)
{
    char text[64] = "null";
    for (int digits = 6; isfinite(value) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value + 0.0 /* -0 is 0 */);
        if (strtod(text, NULL) == value) break;
    }
    fputs(text, out);
}
