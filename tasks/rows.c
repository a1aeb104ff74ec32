#include "tasks/rows.h"

#include "base/mapped.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

sf_status sf_rows_open(const char *path, sf_row_layout layout, sf_rows *out)
{
    *out = (sf_rows){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int error = errno;
        if (fd >= 0) close(fd);
        return sf_fail(SF_IO, "%s: cannot open the data set: %s", path, strerror(error));
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(fd);
        return S_ISREG(info.st_mode)
                   ? sf_fail(SF_BAD_INPUT, "%s:1: expected a JSON data set, found an empty file", path)
                   : sf_fail(SF_IO, "%s: expected a JSON file, found something else", path);
    }
    void *mapped = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    if (mapped == MAP_FAILED) return sf_fail(SF_IO, "%s: cannot read the data set: %s", path, strerror(error));
    sf_rows_of(mapped, (size_t)info.st_size, path, layout, out);
    sf_mapped_add(mapped, (size_t)info.st_size, path);
    out->mapped = mapped;
    out->mapped_bytes = (size_t)info.st_size;
    return SF_OK;
}

void sf_rows_of(const char *text, size_t bytes, const char *name, sf_row_layout layout, sf_rows *out)
{
    *out = (sf_rows){.where = name, .layout = layout, .at = text, .end = text + bytes, .line = 1, .row = -1};
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) out->at += 3; /* byte order mark */
}

void sf_rows_close(sf_rows *rows)
{
    if (rows->mapped) sf_mapped_drop(rows->mapped);
    if (rows->mapped) munmap(rows->mapped, rows->mapped_bytes);
    *rows = (sf_rows){0};
}

/* ---- the text between rows --------------------------------------------------------------------------------------- */

static void skip_space(sf_rows *r)
{
    for (; r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at; r->at++) r->line += *r->at == '\n';
}

static sf_status unexpected(const sf_rows *r, const char *wanted)
{
    if (r->at == r->end)
        return sf_fail(SF_BAD_INPUT, "%s:%d: expected %s, found the end of the file", r->where, r->line, wanted);
    unsigned char c = (unsigned char)*r->at;
    if (isprint(c)) return sf_fail(SF_BAD_INPUT, "%s:%d: expected %s, found '%c'", r->where, r->line, wanted, c);
    return sf_fail(SF_BAD_INPUT, "%s:%d: expected %s, found byte 0x%02x; is it JSON in UTF-8?", r->where, r->line,
                   wanted, c);
}

static sf_status take(sf_rows *r, char c, const char *wanted)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c) return unexpected(r, wanted);
    r->at++;
    return SF_OK;
}

static bool take_if(sf_rows *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Where the value at `at` ends, as far as quotes and brackets tell; `end` if it does not. */
static const char *value_end(const char *at, const char *end)
{
    bool quoted = false;
    for (int depth = 0; at < end; at++) {
        if (quoted) {
            if (*at == '\\' && at + 1 < end)
                at++;
            else if (*at == '"')
                quoted = false;
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '[' || *at == '{') {
            depth++;
            continue;
        } else if (depth == 0 && strchr(",]} \t\r\n", *at)) {
            return at;
        } else if (*at == ']' || *at == '}') {
            depth--;
        } else {
            continue;
        }
        if (depth == 0 && !quoted) return at + 1;
    }
    return end;
}

/* Parses the bytes from `at` to `to`, and goes there. */
static sf_status parse(sf_rows *r, const char *to, json_t **out)
{
    json_error_t error;
    *out = json_loadb(r->at, (size_t)(to - r->at), JSON_DECODE_ANY, &error);
    if (!*out)
        return sf_fail(SF_BAD_INPUT, "%s:%d: expected JSON in UTF-8: %s", r->where, r->line + error.line - 1,
                       error.text);
    for (; r->at < to; r->at++) r->line += *r->at == '\n';
    return SF_OK;
}

static sf_status parse_value(sf_rows *r, json_t **out)
{
    skip_space(r);
    const char *limit = r->end - r->at > SF_ROW_BYTES ? r->at + SF_ROW_BYTES : r->end;
    const char *to = value_end(r->at, limit);
    if (to == limit && limit < r->end)
        return sf_fail(SF_BAD_INPUT, "%s:%d: expected rows of at most %d MiB, found a longer one", r->where, r->line,
                       SF_ROW_BYTES >> 20);
    return parse(r, to, out);
}

/* Goes past members of the outermost object, to the array "data" (`inside`) or to the end. */
static sf_status skip_members(sf_rows *r, bool inside)
{
    while (true) {
        json_t *name, *value;
        skip_space(r);
        if (r->at == r->end || *r->at != '"') return unexpected(r, inside ? "a member \"data\"" : "a member");
        SF_TRY(parse_value(r, &name));
        bool found = inside && strcmp(json_string_value(name), "data") == 0;
        json_decref(name);
        SF_TRY(take(r, ':', "':' after the name of a member"));
        if (found) return take(r, '[', "'[' and a list of articles"); /* the rows follow */
        SF_TRY(parse_value(r, &value));
        json_decref(value);
        if (!inside && take_if(r, '}')) return SF_OK;
        SF_TRY(take(r, ',', inside ? "',' and a member \"data\"" : "',' or '}'"));
    }
}

static sf_status next_line(sf_rows *r, json_t **out)
{
    while (r->at < r->end) {
        size_t left = (size_t)(r->end - r->at);
        const char *to = memchr(r->at, '\n', left > SF_ROW_BYTES ? SF_ROW_BYTES : left);
        if (!to && left > SF_ROW_BYTES)
            return sf_fail(SF_BAD_INPUT, "%s:%d: expected lines of at most %d MiB, found a longer one", r->where,
                           r->line, SF_ROW_BYTES >> 20);
        if (!to) to = r->end;
        const char *text = r->at;
        while (text < to && strchr(" \t\r", *text) && *text) text++;
        if (text < to) {
            r->here = r->line;
            r->row++;
            SF_TRY(parse(r, to, out));
        }
        r->at = to < r->end ? to + 1 : to;
        r->line += to < r->end;
        if (*out) return SF_OK;
    }
    return SF_OK;
}

sf_status sf_rows_next(sf_rows *r, json_t **out)
{
    *out = NULL;
    if (r->ended) return SF_OK;
    if (r->layout == SF_ROWS_LINES) return next_line(r, out);
    bool first = !r->started;
    if (first) {
        r->started = true;
        if (r->layout == SF_ROWS_MEMBER) {
            SF_TRY(take(r, '{', "'{' and a member \"data\""));
            SF_TRY(skip_members(r, true));
        } else {
            SF_TRY(take(r, '[', "'[' and a list of questions"));
        }
    }
    if (take_if(r, ']')) {
        r->ended = true;
        if (r->layout == SF_ROWS_MEMBER && !take_if(r, '}')) {
            SF_TRY(take(r, ',', "',' or '}' after the list"));
            SF_TRY(skip_members(r, false));
        }
        skip_space(r);
        return r->at == r->end ? SF_OK : unexpected(r, "the end of the file");
    }
    if (!first) SF_TRY(take(r, ',', "',' or ']' after a row"));
    skip_space(r);
    r->here = r->line;
    r->row++;
    return parse_value(r, out);
}
