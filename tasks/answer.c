#include "tasks/answer.h"

#include <stdlib.h>
#include <string.h>

#include "tasks/unicode.h"

/* ---- tags -------------------------------------------------------------------------------------------------------- */

static const char opening[] = "<answer>", closing[] = "</answer>";

size_t sf_match_word(sf_span text, const char *word)
{
    static const char long_s[] = "\u017f";
    size_t i = 0;
    for (; *word; word++) {
        size_t left = text.bytes - i;
        const char *at = text.at + i;
        if (left && (*at == *word || (*word >= 'a' && *word <= 'z' && *at == *word - 'a' + 'A')))
            i++;
        else if (*word == 's' && left >= 2 && memcmp(at, long_s, 2) == 0)
            i += 2;
        else
            return 0;
    }
    return i;
}

/* Bytes of the tag that begins at the '<' of a NUL-terminated text; 0: it is another one. */
static size_t tag_at(const char *text, const char *tag, bool any_case)
{
    size_t n = strlen(tag);
    if (!any_case) return strncmp(text, tag, n) == 0 ? n : 0;
    return sf_match_word((sf_span){text, strnlen(text, 2 * n)}, tag);
}

static const char *find(const char *text, const char *tag, bool any_case, size_t *bytes)
{
    for (; (text = strchr(text, '<')); text++)
        if ((*bytes = tag_at(text, tag, any_case))) return text;
    return NULL;
}

bool sf_answer_first(const char *text, bool any_case, sf_span *out)
{
    size_t bytes;
    const char *from = find(text, opening, any_case, &bytes);
    const char *to = from ? find(from += bytes, closing, any_case, &bytes) : NULL;
    if (!to) return false;
    *out = (sf_span){from, (size_t)(to - from)};
    return true;
}

bool sf_answer_last(const char *text, sf_span *out)
{
    const char *from = NULL;
    bool found = false;
    for (size_t bytes; (text = strchr(text, '<')); text++)
        if ((bytes = tag_at(text, opening, true))) {
            from = text + bytes;
        } else if (from && tag_at(text, closing, true)) {
            *out = (sf_span){from, (size_t)(text - from)};
            found = true;
            from = NULL;
        }
    return found;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* Ends of the first run of code points that are not space. Empty: at the end of the text. */
static sf_span first_token(sf_span text)
{
    const char *at = text.at, *end = sf_span_end(text);
    int n;
    while (at < end && sf_is_space(sf_code_point(at, end, &n))) at += n;
    const char *from = at;
    while (at < end && !sf_is_space(sf_code_point(at, end, &n))) at += n;
    return (sf_span){from, (size_t)(at - from)};
}

bool sf_next_token(sf_span *rest, sf_span *token)
{
    *token = first_token(*rest);
    const char *end = sf_span_end(*rest), *after = sf_span_end(*token);
    *rest = (sf_span){after, (size_t)(end - after)};
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

void sf_add_collapsed(sf_text *out, sf_span text)
{
    sf_text_add(out, "");
    bool first = true;
    for (sf_span token, rest = text; sf_next_token(&rest, &token); first = false) {
        if (!first) sf_text_char(out, ' ');
        sf_text_bytes(out, token.at, token.bytes);
    }
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

void sf_list_add(sf_list *list, const char *at, size_t bytes)
{
    if (list->failed) return;
    if (list->count == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 16;
        char **grown = realloc(list->item, (size_t)capacity * sizeof *grown);
        if (!grown) {
            list->failed = true;
            return;
        }
        list->item = grown;
        list->capacity = capacity;
    }
    char *copy = malloc(bytes + 1);
    if (!copy) {
        list->failed = true;
        return;
    }
    memcpy(copy, at, bytes);
    copy[bytes] = 0;
    list->item[list->count++] = copy;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void sf_list_sort(sf_list *list)
{
    if (list->count) qsort(list->item, (size_t)list->count, sizeof *list->item, by_text);
}

void sf_list_set(sf_list *list)
{
    if (list->count == 0) return;
    sf_list_sort(list);
    int kept = 1;
    for (int i = 1; i < list->count; i++)
        if (strcmp(list->item[i], list->item[kept - 1]) == 0)
            free(list->item[i]);
        else
            list->item[kept++] = list->item[i];
    list->count = kept;
}

int sf_list_common(const sf_list *a, const sf_list *b)
{
    int common = 0;
    for (int i = 0, j = 0; i < a->count && j < b->count;) {
        int order = strcmp(a->item[i], b->item[j]);
        common += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return common;
}

void sf_list_free(sf_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->item[i]);
    free(list->item);
    *list = (sf_list){0};
}
