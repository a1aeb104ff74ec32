/* What makes rows a table of parameters: names, types, ranges, and a struct that they fit. */
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "base/param.h"

bool sf_good_name(const char *s)
{
    return s && *s && strnlen(s, 64) < 64 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(s);
}

/* A table without its last row {0} goes on into whatever lies behind it. Tables and their texts are static data, so
 * that what lies in no loaded object is none of them, and is not touched. */
enum { MOST_ROWS = 64 };

static bool loaded(const void *p)
{
    Dl_info info;
    return dladdr(p, &info) != 0;
}

static bool readable(const sf_param *p)
{
    return loaded(p) && loaded((const char *)(p + 1) - 1) &&
           (!p->name || (loaded(p->name) && (!p->doc || loaded(p->doc)) && (!p->choices || loaded(p->choices)) &&
                         (!p->text || loaded(p->text))));
}

/* Whose table it is, for messages. */
typedef struct owner {
    const char *where, *kind, *name;
    const sf_param *table;
    size_t size; /* of the struct */
} owner;

static sf_status check_end(const owner *m)
{
    for (int row = 0; row < MOST_ROWS; row++) {
        if (!readable(&m->table[row]))
            return sf_fail(SF_BAD_INPUT,
                           "%s: %s '%s': row %d of its parameters is none (texts must be string literals); is the "
                           "row {0} missing that ends the table?",
                           m->where, m->kind, m->name, row);
        if (!m->table[row].name) return SF_OK;
    }
    return sf_fail(SF_BAD_INPUT, "%s: %s '%s': more than %d parameters; is the row {0} missing that ends the table?",
                   m->where, m->kind, m->name, MOST_ROWS);
}

static int choices_in(const char *choices)
{
    int n = choices && *choices ? 1 : 0;
    for (const char *c = choices; c && *c; c++) n += *c == '|';
    return n;
}

size_t sf_param_size(sf_param_type type)
{
    switch (type) {
    case SF_INT:
        return sizeof(int);
    case SF_REAL:
        return sizeof(double);
    case SF_BOOL:
        return sizeof(bool);
    case SF_CHOICE:
        return sizeof(int);
    case SF_STRING:
        return sizeof(const char *);
    }
    return 0;
}

void sf_param_range(const sf_param *p, double *low, double *high)
{
    *low = p->low, *high = p->high;
    if (p->type == SF_BOOL) *low = 0, *high = 1;
    if (p->type == SF_CHOICE) *low = 0, *high = choices_in(p->choices) - 1;
}

static sf_status check_apart(const owner *m, const sf_param *p)
{
    for (const sf_param *other = m->table; other != p; other++) {
        if (strcmp(other->name, p->name) == 0)
            return sf_fail(SF_BAD_INPUT, "%s: %s.%s: declared twice", m->where, m->name, p->name);
        if (p->offset < other->offset + sf_param_size(other->type) &&
            other->offset < p->offset + sf_param_size(p->type))
            return sf_fail(SF_BAD_INPUT,
                           "%s: %s.%s: bytes %zu to %zu are '%s' too; is each type that of its field (SF_INT: int, "
                           "SF_REAL: double)?",
                           m->where, m->name, p->name, p->offset, p->offset + sf_param_size(p->type) - 1, other->name);
    }
    return SF_OK;
}

static sf_status check_param(const owner *m, const sf_param *p)
{
    const char *where = m->where, *method = m->name, *name = p->name;
    size_t size = sf_param_size(p->type);
    if (!sf_good_name(name))
        return sf_fail(SF_BAD_INPUT, "%s: %s '%s': parameter name '%.63s' must be [a-z0-9_]+", where, m->kind, method,
                       name);
    if (size == 0) return sf_fail(SF_BAD_INPUT, "%s: %s.%s: type %d is unknown", where, method, name, (int)p->type);
    if (p->offset > m->size || size > m->size - p->offset)
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: offset %zu + %zu bytes lies outside the parameter struct of %zu bytes",
                       where, method, name, p->offset, size, m->size);
    if (p->offset % size)
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: offset %zu is not aligned to its %zu bytes", where, method, name,
                       p->offset, size);
    if (!p->doc) return sf_fail(SF_BAD_INPUT, "%s: %s.%s: has no doc line", where, method, name);

    SF_TRY(check_apart(m, p));

    double low, high;
    sf_param_range(p, &low, &high);
    if (p->type == SF_STRING) return SF_OK;
    if (p->type == SF_CHOICE && high < 1)
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: a choice needs at least two names, as \"mean|max\"", where, method,
                       name);
    if (!(low <= p->initial && p->initial <= high))
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: default %g lies outside [%g, %g]", where, method, name, p->initial,
                       low, high);
    if (p->type != SF_REAL && p->initial != floor(p->initial))
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: default %g is not a whole number", where, method, name, p->initial);
    return SF_OK;
}

sf_status sf_params_validate(const sf_param *table, size_t size, const char *kind, const char *name, const char *where)
{
    if (!table != !size)
        return sf_fail(SF_BAD_INPUT, "%s: %s '%s': params and params_size (%zu bytes) must be given together", where,
                       kind, name, size);
    const owner m = {where, kind, name, table, size};
    if (table) SF_TRY(check_end(&m));
    for (const sf_param *p = table; p && p->name; p++) SF_TRY(check_param(&m, p));
    return SF_OK;
}
