#include "tasks/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sf_span sf_span_of(const char *string) { return (sf_span){string, strlen(string)}; }

const char *sf_span_end(sf_span span) { return span.at ? span.at + span.bytes : NULL; }

static bool reserve(sf_text *t, size_t more)
{
    if (t->failed) return false;
    if (t->size + more < t->capacity) return true;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity <= t->size + more) capacity *= 2;
    char *data = realloc(t->data, capacity);
    if (!data) return !(t->failed = true);
    t->data = data;
    t->capacity = capacity;
    return true;
}

void sf_text_bytes(sf_text *t, const char *bytes, size_t n)
{
    if (!reserve(t, n)) return;
    memcpy(t->data + t->size, bytes, n);
    t->data[t->size += n] = 0;
}

void sf_text_add(sf_text *t, const char *string) { sf_text_bytes(t, string, strlen(string)); }

void sf_text_char(sf_text *t, char c) { sf_text_bytes(t, &c, 1); }

void sf_text_int(sf_text *t, long number)
{
    char digits[24], *at = digits + sizeof digits;
    unsigned long rest = number < 0 ? 0ul - (unsigned long)number : (unsigned long)number;
    do *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) *--at = '-';
    sf_text_bytes(t, at, (size_t)(digits + sizeof digits - at));
}

void sf_text_format(sf_text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && reserve(t, (size_t)n + 1)) {
        vsnprintf(t->data + t->size, (size_t)n + 1, format, again);
        t->size += (size_t)n;
    }
    va_end(again);
}

void sf_text_clear(sf_text *t)
{
    t->size = 0;
    if (t->data) t->data[0] = 0;
}

void sf_text_free(sf_text *t)
{
    free(t->data);
    *t = (sf_text){0};
}
