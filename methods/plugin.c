#include "methods/plugin.h"

#include <string.h>

#include "base/plugin.h"
#include "methods/side.h"

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
        sf_param_range(p, &low, &high);
        if (!p->budget && memcmp(was, is, sf_param_size(p->type)) != 0)
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

static bool begins_with_budget(const sf_method *m, sf_param_type type)
{
    for (const sf_param *p = m->params; p && p->name; p++)
        if (p->offset == 0 && p->type == type && p->budget) return true;
    return false;
}

sf_status sf_method_validate(const sf_method *m, const char *where)
{
    if (!m) return sf_fail(SF_BAD_INPUT, "%s: no method (NULL)", where);
    if (m->abi != SF_METHOD_ABI)
        return sf_fail(SF_BAD_INPUT,
                       "%s: built for method ABI %u, this program has %d; build it again against its headers", where,
                       m->abi, SF_METHOD_ABI);
    if (!sf_good_name(m->name))
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
    SF_TRY(sf_params_validate(m->params, m->params_size, "method", m->name, where));
    bool budget = false, file = false;
    for (const sf_param *p = m->params; p && p->name; p++) file |= strcmp(p->name, "weights") == 0 && p->type == SF_STRING && p->file;
    if (m->weights && (!m->weights->name || !file))
        return sf_fail(SF_BAD_INPUT, "%s: method '%s' has weights, which takes at least one row, and a parameter `weights` (SF_STRING, file) "
                       "that says where they are", where, m->name);
    for (const sf_side_weight *w = m->weights; w && w->name; w++)
        for (int i = 0; i < 2 && w->by[i]; i++)
            if (!sf_side_param(m, w->by[i]))
                return sf_fail(SF_BAD_INPUT, "%s: method '%s': the size of weight '%s' is by '%s', which is no parameter of whole numbers", where,
                               m->name, w->name, w->by[i]);
    for (const sf_param *p = m->params; p && p->name; p++) budget |= p->budget;
    if (m->fit && !budget)
        return sf_fail(SF_BAD_INPUT, "%s: method '%s': fit() needs a parameter marked `budget` to set", where, m->name);
    if ((m->fit == sf_keys_fit && !begins_with_budget(m, SF_INT)) || (m->fit == sf_density_fit && !begins_with_budget(m, SF_REAL)))
        return sf_fail(SF_BAD_INPUT, "%s: method '%s': its fit() sets what its parameters begin with: a budget, an int for sf_keys_fit(), "
                       "a double for sf_density_fit()", where, m->name);
    return SF_OK;
}

sf_status sf_plugin_load(const char *path, const sf_method **out)
{
    const sf_method *(*plugin)(void);
    SF_TRY(sf_plugin_symbol(path, "sf_plugin", (void **)&plugin));
    if (!plugin)
        return sf_fail(SF_BAD_INPUT, "plug-in %s: exports neither `const sf_method *sf_plugin(void)`, for a method, nor "
                       "`const sf_task *sf_plugin_task(void)`, for a task", path);
    SF_TRY(sf_method_validate(plugin(), path));
    *out = plugin();
    return SF_OK;
}
