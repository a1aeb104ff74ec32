#include "tasks/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <utf8proc.h>

static const char opening[] = "<answer>", closing[] = "</answer>";

static const char *find(const char *text, const char *tag, bool any_case)
{
    size_t n = strlen(tag);
    for (; (text = strchr(text, '<')); text++)
        if ((any_case ? strncasecmp(text, tag, n) : strncmp(text, tag, n)) == 0) return text;
    return NULL;
}

sf_span sf_span_of(const char *string) { return (sf_span){string, strlen(string)}; }

bool sf_answer_first(const char *text, bool any_case, sf_span *out)
{
    const char *from = find(text, opening, any_case);
    const char *to = from ? find(from += strlen(opening), closing, any_case) : NULL;
    if (!to) return false;
    *out = (sf_span){from, (size_t)(to - from)};
    return true;
}

bool sf_answer_last(const char *text, sf_span *out)
{
    const char *from = NULL;
    bool found = false;
    for (; (text = strchr(text, '<')); text++)
        if (strncasecmp(text, opening, strlen(opening)) == 0) {
            from = text + strlen(opening);
        } else if (from && strncasecmp(text, closing, strlen(closing)) == 0) {
            *out = (sf_span){from, (size_t)(text - from)};
            found = true;
            from = NULL;
        }
    return found;
}

int sf_code_point(const char *at, const char *end, int *length)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &c);
    *length = n > 0 ? (int)n : 1;
    return n > 0 ? c : -1;
}

bool sf_is_space(int c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Ends of the first run of code points that are not space. Empty: at the end of the text. */
static sf_span first_token(sf_span text)
{
    const char *at = text.at, *end = text.at + text.bytes;
    int n;
    while (at < end && sf_is_space(sf_code_point(at, end, &n))) at += n;
    const char *from = at;
    while (at < end && !sf_is_space(sf_code_point(at, end, &n))) at += n;
    return (sf_span){from, (size_t)(at - from)};
}

bool sf_next_token(sf_span *rest, sf_span *token)
{
    *token = first_token(*rest);
    const char *end = rest->at + rest->bytes;
    *rest = (sf_span){token->at + token->bytes, (size_t)(end - token->at - token->bytes)};
    return token->bytes > 0;
}

sf_span sf_strip(sf_span text)
{
    sf_span token, rest = text, all = {text.at, 0};
    for (bool first = true; sf_next_token(&rest, &token); first = false) {
        if (first) all.at = token.at;
        all.bytes = (size_t)(token.at + token.bytes - all.at);
    }
    return all;
}

bool sf_next_line(sf_span *rest, sf_span *line)
{
    if (!rest->at) return false;
    const char *end = rest->at + rest->bytes, *newline = memchr(rest->at, '\n', rest->bytes);
    *line = sf_strip((sf_span){rest->at, newline ? (size_t)(newline - rest->at) : rest->bytes});
    *rest = newline ? (sf_span){newline + 1, (size_t)(end - newline - 1)} : (sf_span){0};
    return true;
}

static void add_mapped(sf_text *out, sf_span text, utf8proc_int32_t (*map)(utf8proc_int32_t))
{
    for (const char *at = text.at, *end = at + text.bytes; at < end;) {
        int n, c = sf_code_point(at, end, &n);
        if (c < 0) {
            sf_text_bytes(out, at, 1);
        } else {
            utf8proc_uint8_t bytes[4];
            sf_text_bytes(out, (char *)bytes, (size_t)utf8proc_encode_char(map(c), bytes));
        }
        at += n;
    }
}

static void add_collapsed(sf_text *out, sf_span text, utf8proc_int32_t (*map)(utf8proc_int32_t))
{
    sf_text_add(out, "");
    bool first = true;
    for (sf_span token, rest = text; sf_next_token(&rest, &token); first = false) {
        if (!first) sf_text_char(out, ' ');
        add_mapped(out, token, map);
    }
}

void sf_add_lower(sf_text *out, sf_span text) { add_collapsed(out, text, utf8proc_tolower); }
void sf_add_upper(sf_text *out, sf_span text) { add_collapsed(out, text, utf8proc_toupper); }

void sf_add_lower_as_is(sf_text *out, sf_span text)
{
    sf_text_add(out, "");
    add_mapped(out, text, utf8proc_tolower);
}

/* ---- lists: answers are small, and a scorer has no way to fail, so that no memory is the end --------------------- */

void sf_list_add(sf_list *list, const char *at, size_t bytes)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->item = realloc(list->item, (size_t)list->capacity * sizeof *list->item);
        if (!list->item) abort();
    }
    char *copy = malloc(bytes + 1);
    if (!copy) abort();
    memcpy(copy, at, bytes);
    copy[bytes] = 0;
    list->item[list->count++] = copy;
}

int sf_by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void sf_list_set(sf_list *list)
{
    if (list->count == 0) return;
    qsort(list->item, (size_t)list->count, sizeof *list->item, sf_by_text);
    int kept = 1;
    for (int i = 1; i < list->count; i++)
        if (strcmp(list->item[i], list->item[kept - 1]) == 0)
            free(list->item[i]);
        else
            list->item[kept++] = list->item[i];
    list->count = kept;
}

void sf_list_free(sf_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->item[i]);
    free(list->item);
    *list = (sf_list){0};
}
