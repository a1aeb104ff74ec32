/* What makes a struct a method (sf_method_validate), and methods from shared objects (sf_plugin_load). */
#include "methods/method.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool good_name(const char *s)
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

static sf_status check_end(const sf_method *m, const char *where)
{
    for (int row = 0; row < MOST_ROWS; row++) {
        if (!readable(&m->params[row]))
            return sf_fail(SF_BAD_INPUT,
                           "%s: method '%s': row %d of its parameters is none (texts must be string literals); is the "
                           "row {0} missing that ends the table?",
                           where, m->name, row);
        if (!m->params[row].name) return SF_OK;
    }
    return sf_fail(SF_BAD_INPUT,
                   "%s: method '%s': more than %d parameters; is the row {0} missing that ends the table?", where,
                   m->name, MOST_ROWS);
}

static int choices_in(const char *choices)
{
    int n = choices && *choices ? 1 : 0;
    for (const char *c = choices; c && *c; c++) n += *c == '|';
    return n;
}

static size_t size_of(sf_param_type type)
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

static void range_of(const sf_param *p, double *low, double *high)
{
    *low = p->low, *high = p->high;
    if (p->type == SF_BOOL) *low = 0, *high = 1;
    if (p->type == SF_CHOICE) *low = 0, *high = choices_in(p->choices) - 1;
}

static sf_status check_apart(const sf_method *m, const sf_param *p, const char *where)
{
    for (const sf_param *other = m->params; other != p; other++) {
        if (strcmp(other->name, p->name) == 0)
            return sf_fail(SF_BAD_INPUT, "%s: %s.%s: declared twice", where, m->name, p->name);
        if (p->offset < other->offset + size_of(other->type) && other->offset < p->offset + size_of(p->type))
            return sf_fail(SF_BAD_INPUT,
                           "%s: %s.%s: bytes %zu to %zu are '%s' too; is each type that of its field (SF_INT: int, "
                           "SF_REAL: double)?",
                           where, m->name, p->name, p->offset, p->offset + size_of(p->type) - 1, other->name);
    }
    return SF_OK;
}

static sf_status check_param(const sf_method *m, const sf_param *p, const char *where)
{
    const char *method = m->name, *name = p->name;
    size_t size = size_of(p->type);
    if (!good_name(name))
        return sf_fail(SF_BAD_INPUT, "%s: method '%s': parameter name '%.63s' must be [a-z0-9_]+", where, method, name);
    if (size == 0) return sf_fail(SF_BAD_INPUT, "%s: %s.%s: type %d is unknown", where, method, name, (int)p->type);
    if (p->offset > m->params_size || size > m->params_size - p->offset)
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: offset %zu + %zu bytes lies outside the parameter struct of %zu bytes",
                       where, method, name, p->offset, size, m->params_size);
    if (p->offset % size)
        return sf_fail(SF_BAD_INPUT, "%s: %s.%s: offset %zu is not aligned to its %zu bytes", where, method, name,
                       p->offset, size);
    if (!p->doc) return sf_fail(SF_BAD_INPUT, "%s: %s.%s: has no doc line", where, method, name);

    SF_TRY(check_apart(m, p, where));

    double low, high;
    range_of(p, &low, &high);
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

static double read_back(const sf_param *p, const void *params)
{
    const char *at = (const char *)params + p->offset;
    switch (p->type) {
    case SF_INT:
    case SF_CHOICE:
        return *(const int *)at;
    case SF_REAL:
        return *(const double *)at;
    case SF_BOOL:
        return *(const unsigned char *)at;
    case SF_STRING:
        break;
    }
    return 0;
}

sf_status sf_method_check_fit(const sf_method *m, const void *before, const void *params)
{
    for (const sf_param *p = m->params; p && p->name; p++) {
        const char *was = (const char *)before + p->offset, *is = (const char *)params + p->offset;
        double low, high, value = read_back(p, params);
        range_of(p, &low, &high);
        if (!p->budget && memcmp(was, is, size_of(p->type)) != 0)
            return sf_fail(
                SF_BAD_INPUT,
                "parameter '%s' was %g and is %g, but it is no budget; fit() sets budget parameters only, what "
                "does not fit is cut in the hook",
                p->name, read_back(p, before), value);
        if (p->type != SF_STRING && !(low <= value && value <= high))
            return sf_fail(
                SF_BAD_INPUT,
                "parameter '%s' is %g, outside [%g, %g]; is its type in the table that of its field (SF_INT: "
                "int, SF_REAL: double)?",
                p->name, value, low, high);
    }
    return SF_OK;
}

sf_status sf_method_validate(const sf_method *m, const char *where)
{
    if (!m) return sf_fail(SF_BAD_INPUT, "%s: no method (NULL)", where);
    if (m->abi != SF_METHOD_ABI)
        return sf_fail(SF_BAD_INPUT,
                       "%s: built for method ABI %u, this program has %d; build it again against its headers", where,
                       m->abi, SF_METHOD_ABI);
    if (!good_name(m->name))
        return sf_fail(SF_BAD_INPUT, "%s: method name '%s' must be [a-z0-9_]+", where, m->name ? m->name : "(none)");
    if (!m->summary) return sf_fail(SF_BAD_INPUT, "%s: method '%s' has no summary line", where, m->name);
    if (!m->prefill && !m->compress && !m->decode)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s' offers no hook: one of prefill, compress, decode is needed",
                       where, m->name);
    if (m->state && !m->decode && !m->compress)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s' keeps state but has no decode or compress hook to use it", where, m->name);
    if (m->settle && (!m->compress || !m->state))
        return sf_fail(SF_BAD_INPUT, "%s: method '%s' settles all layers at last, but has no compress and state hooks to settle by",
                       where, m->name);
    if (m->observe && !m->state)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s' observes keys but has no state hook to keep anything in", where,
                       m->name);
    if (m->steers_backwards && !m->prefill)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s': steers_backwards says something about prefill, which it lacks",
                       where, m->name);
    if (!m->params != !m->params_size)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s': params and params_size (%zu bytes) must be given together",
                       where, m->name, m->params_size);

    if (m->params) SF_TRY(check_end(m, where));
    bool budget = false;
    for (const sf_param *p = m->params; p && p->name; p++) {
        SF_TRY(check_param(m, p, where));
        budget |= p->budget;
    }
    if (m->fit && !budget)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s': fit() needs a parameter marked `budget` to set", where, m->name);
    return SF_OK;
}

sf_status sf_plugin_load(const char *path, const sf_method **out)
{
    char local[4096];
    if (access(path, R_OK) != 0) return sf_fail(SF_IO, "plug-in %s: cannot open: %s", path, strerror(errno));
    if (!strchr(path, '/')) { /* dlopen would search the system's folders for it */
        snprintf(local, sizeof local, "./%s", path);
        path = local;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return sf_fail(SF_BAD_INPUT, "plug-in %s: not a shared object this program can load: %s", path, dlerror());

    const sf_method *(*plugin)(void);
    *(void **)&plugin = dlsym(object, "sf_plugin");
    sf_status status = SF_OK;
    if (!plugin)
        status = sf_fail(SF_BAD_INPUT, "plug-in %s: exports no `const sf_method *sf_plugin(void)`", path);
    else
        status = sf_method_validate(plugin(), path);
    if (status != SF_OK) {
        dlclose(object);
        return status;
    }
    *out = plugin();
    return SF_OK;
}
