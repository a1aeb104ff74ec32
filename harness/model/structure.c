#include "harness/model/structure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernels/attention.h"

/* What begins at `at`, the first character of a line. */
static uint8_t line(const char *at)
{
    at += strspn(at, " \t");
    bool chapter = *at == '#' || strncasecmp(at, "chapter", 7) == 0;
    return (uint8_t)(SF_BEGINS_LINE | SF_BEGINS_SENTENCE | (chapter ? SF_BEGINS_CHAPTER : 0));
}

/* What begins at text[at], where a character other than a line break stands. */
static uint8_t here(const char *text, size_t at)
{
    if (at == 0) return SF_BEGINS_LINE | SF_BEGINS_SENTENCE | SF_BEGINS_CHAPTER;
    if (text[at - 1] == '\n') return line(text + at);
    bool ended = at > 0 && memchr(".!?", text[at - 1], 3);
    return ended && (text[at] == ' ' || text[at] == '\t') ? SF_BEGINS_SENTENCE : 0;
}

sf_status sf_structure(const sf_tokenizer *t, const int32_t *id, int n, uint8_t *begins)
{
    char *text = NULL;
    size_t bytes = 0, *end = malloc(((size_t)n + 1) * sizeof *end); /* of each token's text */
    FILE *to = open_memstream(&text, &bytes);
    sf_status status = end && to ? SF_OK : sf_fail(SF_NO_MEMORY, "the structure of %d tokens", n);
    for (int i = 0; i < n && status == SF_OK; i++) {
        char *piece;
        if ((status = sf_decode(t, &id[i], 1, false, &piece)) != SF_OK) break;
        fputs(piece, to);
        free(piece);
        end[i] = (size_t)ftell(to);
    }
    if (to && fclose(to) != 0 && status == SF_OK) status = sf_fail(SF_NO_MEMORY, "the structure of %d tokens", n);
    size_t at = 0;
    for (int i = 0; i < n && status == SF_OK; i++)
        for (begins[i] = i == 0 ? here(text, 0) : 0; at < end[i]; at++)
            if (text[at] != '\n') begins[i] |= here(text, at);
    free(text), free(end);
    return status;
}
