#include "tasks/python_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/suite.h"
#include "tasks/text.h"

typedef struct reader {
    const char *source, *path, *at;
} reader;

static int line_of(const reader *r)
{
    int line = 1;
    for (const char *at = r->source; at < r->at; at++) line += *at == '\n';
    return line;
}

static sf_status expected(const reader *r, const char *what)
{
    return sf_fail(SF_BAD_INPUT, "%s:%d: expected %s, found \"%.*s\"", r->path, line_of(r), what, (int)strcspn(r->at, "\n"), r->at);
}

static void skip_blanks(reader *r)
{
    while (*r->at) {
        if (isspace((unsigned char)*r->at)) r->at++;
        else if (*r->at == '\\' && r->at[1] == '\n') r->at += 2;
        else if (*r->at == '#') r->at += strcspn(r->at, "\n");
        else break;
    }
}

/* Letters in front of a literal's quote; −1: no literal begins here. */
static int prefix_of(const reader *r)
{
    int n = 0;
    while (n < 2 && r->at[n] && strchr("fFrRuUbB", r->at[n])) n++;
    return r->at[n] == '"' || r->at[n] == '\'' ? n : -1;
}

static void add_code_point(sf_text *out, unsigned c)
{
    if (c < 0x80) sf_text_char(out, (char)c);
    else if (c < 0x800) sf_text_char(out, (char)(0xc0 | c >> 6));
    else if (c < 0x10000) sf_text_char(out, (char)(0xe0 | c >> 12)), sf_text_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
    else {
        sf_text_char(out, (char)(0xf0 | c >> 18));
        sf_text_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        sf_text_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
    }
    if (c >= 0x80) sf_text_char(out, (char)(0x80 | (c & 0x3f)));
}

/* Behind a backslash. */
static sf_status read_escape(reader *r, sf_text *out)
{
    static const char letters[] = "nrtabfv\\'\"", bytes[] = "\n\r\t\a\b\f\v\\'\"";
    const char c = *r->at, *known = c ? strchr(letters, c) : NULL;
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (c == '\n') return r->at++, SF_OK;
    if (known) return sf_text_char(out, bytes[known - letters]), r->at++, SF_OK;
    unsigned value = 0;
    for (int i = 1; i <= digits; i++) {
        if (!isxdigit((unsigned char)r->at[i])) return expected(r, "hexadecimal digits behind a backslash");
        value = 16 * value + (unsigned)(isdigit((unsigned char)r->at[i]) ? r->at[i] - '0' : (r->at[i] | 32) - 'a' + 10);
    }
    if (!digits || !value || value > 0x10ffff) return expected(r, "an escape that this reader knows behind a backslash");
    add_code_point(out, value);
    r->at += 1 + digits;
    return SF_OK;
}

/* One literal; out NULL: it is passed over. */
static sf_status read_literal(reader *r, sf_text *out)
{
    const int n = prefix_of(r);
    if (n < 0) return expected(r, "a string");
    bool raw = false;
    for (int i = 0; i < n; i++) {
        raw |= (r->at[i] | 32) == 'r';
        if (out && (r->at[i] | 32) == 'b') return expected(r, "a string of characters");
    }
    r->at += n;
    const char quote = *r->at;
    const bool tripled = r->at[1] == quote && r->at[2] == quote;
    const reader begin = *r;
    sf_text scratch = {0};
    if (!out) out = &scratch;
    sf_status status = SF_OK;
    for (r->at += tripled ? 3 : 1; status == SF_OK; ) {
        if (!*r->at || (!tripled && *r->at == '\n')) {
            status = expected(&begin, "the end of a string");
        } else if (*r->at == quote && (!tripled || (r->at[1] == quote && r->at[2] == quote))) {
            r->at += tripled ? 3 : 1;
            break;
        } else if (*r->at == '\\' && !raw) {
            r->at++;
            status = read_escape(r, out);
        } else {
            if (*r->at == '\\' && r->at[1]) sf_text_char(out, *r->at++);
            sf_text_char(out, *r->at++);
        }
    }
    sf_text_free(&scratch);
    return status;
}

/* Goes past a value, to the ',' or the bracket behind it. */
static sf_status skip_value(reader *r)
{
    for (int depth = 0;; r->at++) {
        skip_blanks(r);
        while (prefix_of(r) >= 0) {
            SF_TRY(read_literal(r, NULL));
            skip_blanks(r);
        }
        if (!*r->at) return expected(r, "the end of a dictionary");
        if (depth == 0 && strchr(",)]}", *r->at)) return SF_OK;
        depth += strchr("([{", *r->at) != NULL;
        depth -= strchr(")]}", *r->at) != NULL;
        while (isalnum((unsigned char)*r->at) && isalnum((unsigned char)r->at[1])) r->at++; /* no prefix within a name */
    }
}

/* Literals side by side, in parentheses or not. */
static sf_status read_string(reader *r, sf_text *out)
{
    skip_blanks(r);
    const bool parentheses = *r->at == '(';
    r->at += parentheses;
    skip_blanks(r);
    do {
        SF_TRY(read_literal(r, out));
        skip_blanks(r);
    } while (prefix_of(r) >= 0);
    while (parentheses && *r->at == ',') { /* a tuple: its first text counts */
        r->at++;
        SF_TRY(skip_value(r));
    }
    if (parentheses && *r->at != ')') return expected(r, "')'");
    r->at += parentheses;
    return SF_OK;
}

/* To the value of a key of the dictionary that begins here. */
static sf_status enter(reader *r, const char *key)
{
    skip_blanks(r);
    if (*r->at != '{') return expected(r, "a dictionary");
    for (r->at++;; r->at++) {
        sf_text name = {0};
        skip_blanks(r);
        if (*r->at == '}')
            return sf_fail(SF_BAD_INPUT, "%s:%d: expected a key \"%s\" in the dictionary that ends here, found none", r->path, line_of(r), key);
        sf_status status = read_literal(r, &name);
        const bool same = status == SF_OK && strcmp(name.data ? name.data : "", key) == 0;
        sf_text_free(&name);
        SF_TRY(status);
        skip_blanks(r);
        if (*r->at != ':') return expected(r, "':' behind a key");
        r->at++;
        if (same) return SF_OK;
        SF_TRY(skip_value(r));
        if (*r->at == '}') {
            r->at--;
            continue;
        }
        if (*r->at != ',') return expected(r, "',' or '}'");
    }
}

/* Behind the '=' of the assignment that a key names. */
static bool find_assignment(reader *r, const char *key)
{
    const char *dot = strchr(key, '.'), *name = dot ? dot + 1 : key, *from = r->source;
    const size_t n = strcspn(name, "#");
    int before = name[n] ? atoi(name + n + 1) : 0;
    if (dot) {
        char begin[80];
        snprintf(begin, sizeof begin, "def %.*s(", (int)(dot - key), key);
        if (!(from = strstr(from, begin))) return false;
    }
    for (const char *line = from, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, name, n) != 0) continue;
        at += n;
        at += strspn(at, " \t");
        if (at[0] == '=' && at[1] != '=' && before-- == 0) return r->at = at + 1, true;
    }
    return false;
}

sf_status sf_python_text(const char *source, const char *path, const char *const *key, char **out)
{
    reader r = {source, path, source};
    sf_text text = {0};
    if (!find_assignment(&r, key[0]))
        return sf_fail(SF_BAD_INPUT, "%s: expected an assignment to %s, found none; is it the suite's own file?", path, key[0]);
    for (int i = 1; key[i]; i++) SF_TRY(enter(&r, key[i]));
    sf_status status = read_string(&r, &text);
    if (status == SF_OK && *r.at && strchr("+%.*", *r.at)) status = expected(&r, "string literals alone");
    if (status == SF_OK && text.failed) status = sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", path);
    if (status == SF_OK && !text.data) text.data = strdup("");
    if (status != SF_OK) sf_text_free(&text);
    *out = text.data;
    return status;
}

sf_status sf_python_file_text(const char *path, const char *const *key, char **out)
{
    char *source;
    SF_TRY(sf_suite_file(path, &source));
    sf_status status = sf_python_text(source, path, key, out);
    free(source);
    return status;
}
