#include "tasks/find.h"

#include <math.h>
#include <string.h>

#include "base/files.h"
#include "base/plugin.h"
#include "base/running.h"

enum { PLUGINS = 64 };

static struct {
    const sf_task *task;
    char hash[17];
} plugin[PLUGINS];
static int plugins;

const char *const sf_task_keys[] = {"answer", "question", "turns", "shared", "introduction", "instructions", "output", "label", NULL};

const sf_task *sf_suite_task(int n)
{
    for (int i = 0; sf_suites[i]; n -= sf_suites[i++]->tasks)
        if (n < sf_suites[i]->tasks) return &sf_suites[i]->task[n];
    return NULL;
}

const sf_task *sf_task_find(const char *name)
{
    for (int i = 0; sf_tasks[i]; i++)
        if (strcmp(sf_tasks[i]->name, name) == 0) return sf_tasks[i];
    for (int i = 0; sf_suite_task(i); i++)
        if (strcmp(sf_suite_task(i)->name, name) == 0) return sf_suite_task(i);
    for (int i = 0; i < plugins; i++)
        if (strcmp(plugin[i].task->name, name) == 0) return plugin[i].task;
    return NULL;
}

const sf_task *sf_task_plugin(int n) { return n < plugins ? plugin[n].task : NULL; }

const char *sf_task_code(const sf_task *task)
{
    for (int i = 0; i < plugins; i++)
        if (plugin[i].task == task) return plugin[i].hash;
    return "";
}

sf_status sf_task_validate(const sf_task *t, const char *where)
{
    if (!t) return sf_fail(SF_BAD_INPUT, "%s: no task (NULL)", where);
    if (t->abi != SF_TASK_ABI)
        return sf_fail(SF_BAD_INPUT,
                       "%s: built for task ABI %u, this program has %d; build it again against its headers", where,
                       t->abi, SF_TASK_ABI);
    if (!sf_good_name(t->name))
        return sf_fail(SF_BAD_INPUT, "%s: task name '%s' must be [a-z0-9_]+", where, t->name ? t->name : "(none)");
    if (!t->summary || !t->source || !t->metric)
        return sf_fail(SF_BAD_INPUT, "%s: task '%s' has no %s line", where, t->name,
                       !t->summary  ? "summary"
                       : !t->source ? "source"
                                    : "metric");
    if (!t->generate || !t->score)
        return sf_fail(SF_BAD_INPUT, "%s: task '%s' lacks a hook: both generate and score are needed", where, t->name);
    if (t->output < 1)
        return sf_fail(SF_BAD_INPUT, "%s: task '%s': output is %d; expected a limit of generated tokens", where,
                       t->name, t->output);
    SF_TRY(sf_params_validate(t->params, t->params_size, "task", t->name, where));
    for (const sf_param *p = t->params; p && p->name; p++)
        for (int i = 0; sf_task_keys[i]; i++)
            if (strcmp(p->name, sf_task_keys[i]) == 0)
                return sf_fail(SF_BAD_INPUT, "%s: %s.%s: every task has a key of that name; call it something else",
                               where, t->name, p->name);
    return SF_OK;
}

sf_status sf_task_load(const char *path, const sf_task **out)
{
    const sf_task *(*made)(void);
    *out = NULL;
    SF_TRY(sf_plugin_symbol(path, "sf_plugin_task", (void **)&made));
    if (!made) return SF_OK;
    SF_TRY(sf_task_validate(made(), path));
    const sf_task *task = made(), *other = sf_task_find(task->name);
    if (other && other != task)
        return sf_fail(SF_BAD_INPUT, "task '%s' of %s: another one has that name", task->name, path);
    if (!other) {
        if (plugins == PLUGINS) return sf_fail(SF_BAD_INPUT, "%s: more than %d plug-ins", path, PLUGINS);
        SF_TRY(sf_file_hash(path, plugin[plugins].hash));
        plugin[plugins++].task = task;
    }
    *out = task;
    return SF_OK;
}

static void enter(const sf_task *task, const char *hook, int sample)
{
    if (*sf_task_code(task)) sf_running_enter("task", task->name, hook, "sample", sample);
}

static sf_status leave(const sf_task *task, sf_status status)
{
    if (*sf_task_code(task)) sf_running_leave();
    return status;
}

sf_status sf_task_generate(const sf_task *task, const void *params, const sf_request *request, sf_sample *out)
{
    enter(task, "generate", request->index);
    return leave(task, task->generate(params, request, out));
}

sf_status sf_task_supply(const sf_task *task, const void *params, const sf_request *request, int most, int *samples)
{
    enter(task, "supply", -1);
    return leave(task, task->supply(params, request, most, samples));
}

sf_status sf_task_score(const sf_task *task, const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    *out = (sf_score){.strict = NAN};
    enter(task, "score", -1);
    SF_TRY(leave(task, task->score(params, sample, text, out)));
    if (!(out->strict >= 0 && out->strict <= 1))
        return sf_fail(SF_INTERNAL, "task '%s', score: strict is %g, expected 0 … 1", task->name, out->strict);
    if (!isnan(out->reference) && !(out->reference >= 0 && out->reference <= 1))
        return sf_fail(SF_INTERNAL, "task '%s', score: reference is %g, expected 0 … 1 or NaN", task->name, out->reference);
    if (out->strict > 0 && !out->parsed)
        return sf_fail(SF_INTERNAL, "task '%s', score: strict is %g of an answer that is not parsed, expected 0", task->name, out->strict);
    return SF_OK;
}
