#include "tasks/haystack.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/embed.h"
#include "tasks/unicode.h"

SF_EMBED(shipped, "tasks/data/haystack.txt");

void sf_noise(void *unused, int i, sf_text *out)
{
    (void)unused;
    static const char *const sentence[SF_NOISE_PERIOD] = {"The lake is calm.", "The road is long.",
                                                          "The bread is warm.", "On we walk.", "Out and home again."};
    sf_text_add(out, sentence[i % SF_NOISE_PERIOD]);
}

int sf_noise_line(int from, int to, sf_text *out)
{
    int end = from + SF_NOISE_PERIOD < to ? from + SF_NOISE_PERIOD : to;
    for (int i = from; i < end; i++) {
        if (i > from) sf_text_char(out, ' ');
        sf_noise(NULL, i, out);
    }
    return end;
}

/* A full stop, question or exclamation mark, with quotes or brackets after it. Titles are not ends. */
static bool ends_sentence(const char *at, size_t bytes)
{
    static const char *const titles[] = {"Mr.", "Mrs.", "Dr.", "St."};
    while (bytes && strchr("\"'([", *at)) at++, bytes--;
    for (int i = 0; i < 4; i++)
        if (strlen(titles[i]) == bytes && memcmp(at, titles[i], bytes) == 0) return false;
    while (bytes && strchr("\"')]", at[bytes - 1])) bytes--;
    return bytes && strchr(".?!", at[bytes - 1]);
}

static sf_status split(const char *text, size_t bytes, const char *where, sf_prose *out)
{
    sf_prose_word *word = NULL;
    int count = 0, capacity = 0, line = 1, n;
    if (bytes > UINT32_MAX) return sf_fail(SF_BAD_INPUT, "%s: haystack text of more than 4 GiB", where);
    const char *end = text + bytes, *from = NULL;
    for (const char *at = text; at <= end; at += n) {
        int c = at < end ? sf_code_point(at, end, &n) : (n = 1, ' ');
        if (c <= 0) {
            free(word);
            return sf_fail(SF_BAD_INPUT,
                           "%s:%d: expected UTF-8 text, found byte 0x%02x at offset %td; convert the file", where, line,
                           (unsigned char)*at, at - text);
        }
        line += c == '\n';
        if (!sf_is_space(c)) {
            if (!from) from = at;
            continue;
        }
        if (!from) continue;
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 12;
            sf_prose_word *grown = realloc(word, (size_t)capacity * sizeof *word);
            if (!grown) {
                free(word);
                return sf_fail(SF_NO_MEMORY, "%s: no memory for %d words", where, capacity);
            }
            word = grown;
        }
        if (at - from > UINT16_MAX) {
            free(word);
            return sf_fail(SF_BAD_INPUT, "%s:%d: expected prose, found %td bytes without a space", where, line,
                           at - from);
        }
        word[count++] =
            (sf_prose_word){(uint32_t)(from - text), (uint16_t)(at - from), ends_sentence(from, (size_t)(at - from))};
        from = NULL;
    }
    if (count < 100) {
        free(word);
        return sf_fail(SF_BAD_INPUT, "%s: expected prose of at least 100 words, found %d", where, count);
    }
    *out = (sf_prose){text, word, count, {word, NULL}};
    return SF_OK;
}

static sf_status read_file(const char *path, char **text, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot open the haystack text: %s", path, strerror(errno));
    sf_text t = {0};
    char block[1 << 16];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) sf_text_bytes(&t, block, n);
    sf_status status = ferror(f)  ? sf_fail(SF_IO, "%s: cannot read the haystack text: %s", path, strerror(errno))
                       : t.failed ? sf_fail(SF_NO_MEMORY, "%s: no memory for the haystack text", path)
                                  : SF_OK;
    fclose(f);
    if (status != SF_OK) {
        sf_text_free(&t);
        return status;
    }
    *text = t.data;
    *bytes = t.size;
    return SF_OK;
}

sf_span sf_prose_shipped(void) { return (sf_span){shipped, (size_t)(shipped_end - shipped)}; }

static sf_prose own;
static sf_status own_status;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void split_shipped(void) { own_status = split(shipped, (size_t)(shipped_end - shipped), "haystack.txt", &own); }

static sf_status keep(char *text, size_t bytes, const char *where, sf_prose *out)
{
    sf_status status = split(text ? text : "", bytes, where, out);
    if (status != SF_OK)
        free(text);
    else
        out->owned[1] = text;
    return status;
}

sf_status sf_prose_open(const char *path, sf_prose *out)
{
    *out = (sf_prose){0};
    if (!path) {
        pthread_once(&once, split_shipped);
        *out = own;
        out->owned[0] = NULL; /* lives as long as the program */
        return own_status == SF_OK ? SF_OK : sf_fail(own_status, "no memory for the shipped haystack text");
    }
    char *text = NULL;
    size_t bytes = 0;
    SF_TRY(read_file(path, &text, &bytes));
    return keep(text, bytes, path, out);
}

sf_status sf_prose_of(char *text, const char *where, sf_prose *out) { return keep(text, strlen(text), where, out); }

void sf_prose_close(sf_prose *p)
{
    free(p->owned[0]);
    free(p->owned[1]);
    *p = (sf_prose){0};
}

void sf_prose_add(const sf_prose *p, int from, int to, sf_text *out)
{
    for (int i = from; i < to; i++) {
        const sf_prose_word *w = &p->word[i % p->words];
        if (i > from) sf_text_char(out, ' ');
        sf_text_bytes(out, p->text + w->at, w->bytes);
    }
}

int sf_prose_boundary(const sf_prose *p, int i, int limit)
{
    while (i > 0 && i < limit && !p->word[(i - 1) % p->words].ends) i++;
    return i < limit ? i : limit;
}
