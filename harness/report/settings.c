#include "harness/report/settings.h"
#include "base/heap.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory for the report's settings"); }

static const char *text_of(const char *text) { return text ? text : ""; }

/* ---- What must be equal ---- */

static bool same_device(const sf_cell_info *x, const sf_cell_info *y) /* which card does not matter */
{
    size_t n = strcspn(x->device, ":");
    return strcspn(y->device, ":") == n && strncmp(x->device, y->device, n) == 0 && strcmp(x->dtype, y->dtype) == 0;
}

static bool same_task(const sf_cell_info *x, const sf_cell_info *y)
{
    return strcmp(x->task, y->task) == 0 && strcmp(x->task_params, y->task_params) == 0 &&
           x->output_limit == y->output_limit && (x->seed == y->seed || strcmp(text_of(x->questions), "fixed") != 0);
}

/* Whether the attention that a model was trained under is the same code with the same weights, too: nothing else tells such cells apart. */
static bool same_attention(const sf_cell_info *x, const sf_cell_info *y)
{
    bool same = strcmp(text_of(x->attention), text_of(y->attention)) == 0;
    for (int p = 0; p < SF_PHASES && same && *text_of(x->attention); p++)
        same = strcmp(text_of(x->version[p]), text_of(y->version[p])) == 0 && strcmp(text_of(x->params[p]), text_of(y->params[p])) == 0;
    return same;
}

static bool same_model(const sf_cell_info *x, const sf_cell_info *y)
{
    return strcmp(x->model_hash, y->model_hash) == 0 && strcmp(text_of(x->chat), text_of(y->chat)) == 0 && same_attention(x, y);
}

/* ---- Groups ---- */

/* A group while it is made: a cell of it, a cell of each label's settings; -1: none yet. */
struct claims {
    int any, *task, *model; /* [labels] */
};

struct splitting {
    const sf_results *results;
    sf_heap *heap;
    int *order;                      /* [cells] which come first */
    int *task, *model;               /* [cells] position of the label */
    int tasks, models;
    const sf_run_info **run;         /* [runs] the latest first */
    bool *task_named, *model_named; /* [labels] by some run */
    int *group;                      /* [cells] -1: not yet */
    struct claims *claims;
    int groups;
};

static bool names(const sf_run_info *run, const sf_cell_info *cell)
{
    return strstr(text_of(run->cells), cell->key) != NULL;
}

/* Positions of labels among the different ones. */
static int number_labels(const sf_results *r, bool of_task, int *at, int *first)
{
    int n = 0;
    for (int c = 0; c < r->cells; c++) {
        const char *label = of_task ? r->cell[c].task_label : r->cell[c].model;
        int i = 0;
        while (i < n && strcmp(of_task ? r->cell[first[i]].task_label : r->cell[first[i]].model, label) != 0) i++;
        if (i == n) first[n++] = c;
        at[c] = i;
    }
    return n;
}

struct rank {
    int cell, records, output;
};

static int by_rank(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    int o = (y->records > x->records) - (y->records < x->records);
    if (!o) o = (y->output > x->output) - (y->output < x->output);
    return o ? o : x->cell - y->cell;
}

/* Which cells claim first where no run says: those with most samples, then those with room for the longest answers. */
static sf_status order_cells(struct splitting *s)
{
    const sf_results *r = s->results;
    struct rank *rank = malloc(((size_t)r->cells + 1) * sizeof *rank);
    if (!rank) return no_memory();
    for (int c = 0; c < r->cells; c++) rank[c] = (struct rank){c, r->records[c], r->cell[c].output_limit};
    qsort(rank, (size_t)r->cells, sizeof *rank, by_rank);
    for (int c = 0; c < r->cells; c++) s->order[c] = rank[c].cell;
    free(rank);
    return SF_OK;
}

static int latest_first(const void *a, const void *b)
{
    return strcmp((*(const sf_run_info *const *)b)->started, (*(const sf_run_info *const *)a)->started);
}

/* Runs, the latest first, and which labels any of them names. */
static sf_status order_runs(struct splitting *s)
{
    const sf_results *r = s->results;
    s->run = sf_heap_alloc(s->heap, (size_t)r->runs * sizeof *s->run);
    s->task_named = sf_heap_alloc(s->heap, (size_t)s->tasks);
    s->model_named = sf_heap_alloc(s->heap, (size_t)s->models);
    if (!s->run || !s->task_named || !s->model_named) return no_memory();
    for (int i = 0; i < r->runs; i++) s->run[i] = &r->run[i];
    qsort(s->run, (size_t)r->runs, sizeof *s->run, latest_first);
    for (int i = 0; i < r->runs; i++)
        for (int c = 0; c < r->cells; c++)
            if (names(&r->run[i], &r->cell[c])) s->task_named[s->task[c]] = s->model_named[s->model[c]] = true;
    return SF_OK;
}

static bool fits(const struct splitting *s, const struct claims *g, int c)
{
    const sf_cell_info *cell = s->results->cell;
    int task = g->task[s->task[c]], model = g->model[s->model[c]];
    return (g->any < 0 || same_device(&cell[g->any], &cell[c])) && (task < 0 || same_task(&cell[task], &cell[c])) &&
           (model < 0 || same_model(&cell[model], &cell[c]));
}

static void claim(const struct splitting *s, struct claims *g, int c)
{
    if (g->any < 0) g->any = c;
    if (g->task[s->task[c]] < 0) g->task[s->task[c]] = c;
    if (g->model[s->model[c]] < 0) g->model[s->model[c]] = c;
}

/* The settings of runs that agree with each other: the latest that has cells left, then the others by time. */
static void claim_runs(const struct splitting *s, struct claims *g)
{
    const sf_results *r = s->results;
    for (int i = 0; i < r->runs; i++) {
        bool agrees = true, left = false;
        for (int c = 0; c < r->cells; c++) {
            if (!r->records[c] || !names(s->run[i], &r->cell[c])) continue;
            agrees &= fits(s, g, c);
            left |= s->group[c] < 0;
        }
        for (int c = 0; c < r->cells && agrees && left; c++)
            if (r->records[c] && s->group[c] < 0 && names(s->run[i], &r->cell[c])) claim(s, g, c);
    }
}

/* Whether a cell's labels are those of the group, or are free and no run has named them. */
static bool may_join(const struct splitting *s, const struct claims *g, int c)
{
    int task = s->task[c], model = s->model[c];
    return fits(s, g, c) && (g->any < 0 || ((g->task[task] >= 0 || !s->task_named[task]) &&
                                            (g->model[model] >= 0 || !s->model_named[model])));
}

/* One group after the other: what the runs claim, then each cell that fits what those before it have claimed. */
static sf_status find_groups(struct splitting *s)
{
    const sf_results *r = s->results;
    for (int left = 0; left < r->cells;) {
        if (!r->records[s->order[left]] || s->group[s->order[left]] >= 0) {
            left++;
            continue;
        }
        struct claims *grown = realloc(s->claims, ((size_t)s->groups + 1) * sizeof *grown);
        if (!grown) return no_memory();
        s->claims = grown;
        struct claims *g = &s->claims[s->groups];
        *g = (struct claims){-1, sf_heap_alloc(s->heap, (size_t)s->tasks * sizeof(int)),
                             sf_heap_alloc(s->heap, (size_t)s->models * sizeof(int))};
        if (!g->task || !g->model) return no_memory();
        memset(g->task, -1, (size_t)s->tasks * sizeof(int));
        memset(g->model, -1, (size_t)s->models * sizeof(int));
        claim_runs(s, g);
        for (int i = left; i < r->cells; i++) {
            int c = s->order[i];
            if (!r->records[c] || s->group[c] >= 0 || !may_join(s, g, c)) continue;
            s->group[c] = s->groups;
            claim(s, g, c);
        }
        s->groups++;
    }
    return SF_OK;
}

/* ---- Names ---- */

static void say(char name[256], const char *format, const char *a, const char *b)
{
    char words[96];
    snprintf(words, sizeof words, format, a, b);
    size_t used = strlen(name);
    for (const char *at = name; (at = strstr(at, words)); at++) { /* said of another task already */
        size_t n = strlen(words);
        if ((at == name || at[-1] == ' ') && (at[n] == ',' || !at[n])) return;
    }
    snprintf(name + used, 240 - used, "%s%s", used ? ", " : "", words); /* leaves room for a number */
}

/* What differs in two JSON objects: "queries 2"; of long texts that there is another. */
static void say_parameters(char name[256], const json_t *now, const json_t *then)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        const json_t *other = json_object_get(then, key);
        if (json_equal(value, other)) continue;
        if (json_is_object(value) && json_is_object(other)) {
            say_parameters(name, value, other);
            continue;
        }
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        if (text && strlen(text) <= 24)
            say(name, "%s %s", key, json_is_string(value) ? json_string_value(value) : text);
        else
            say(name, "another %s%s", key, "");
        free(text);
    }
}

static void say_task(char name[256], const sf_cell_info *now, const sf_cell_info *then)
{
    char number[32];
    snprintf(number, sizeof number, "%d", now->output_limit);
    if (now->output_limit != then->output_limit) say(name, "%s %s", "output", number);
    snprintf(number, sizeof number, "%llu", (unsigned long long)now->seed);
    if (now->seed != then->seed && strcmp(text_of(now->questions), "fixed") == 0) say(name, "%s %s", "seed", number);
    if (strcmp(now->task, then->task) != 0) say(name, "%s is %s", now->task_label, now->task);
    if (strcmp(now->task_params, then->task_params) == 0) return;
    json_t *a = json_loads(now->task_params, 0, NULL), *b = json_loads(then->task_params, 0, NULL);
    if (a && b)
        say_parameters(name, a, b);
    else
        say(name, "%s of other parameters%s", now->task_label, "");
    json_decref(a);
    json_decref(b);
}

static void name_group(const struct splitting *s, int group, char name[256])
{
    const struct claims *now = &s->claims[group], *then = &s->claims[0];
    const sf_cell_info *cell = s->results->cell;
    *name = 0;
    if (!same_device(&cell[now->any], &cell[then->any])) say(name, "%s %s", cell[now->any].device, cell[now->any].dtype);
    for (int t = 0; t < s->tasks; t++)
        if (now->task[t] >= 0 && then->task[t] >= 0) say_task(name, &cell[now->task[t]], &cell[then->task[t]]);
    for (int m = 0; m < s->models; m++) {
        if (now->model[m] < 0 || then->model[m] < 0) continue;
        const sf_cell_info *a = &cell[now->model[m]], *b = &cell[then->model[m]];
        if (strcmp(text_of(a->chat), text_of(b->chat)) != 0)
            say(name, *text_of(a->chat) ? "chat %s%s" : "the model's own chat template%s%s", text_of(a->chat), "");
        if (strcmp(text_of(a->attention), text_of(b->attention)) != 0)
            say(name, *text_of(a->attention) ? "attention %s%s" : "all keys, by its family's attention%s%s", text_of(a->attention), "");
        else if (!same_attention(a, b))
            say(name, "other code or other weights of attention %s%s", text_of(a->attention), "");
        if (strcmp(a->model_hash, b->model_hash) != 0) say(name, "%s of other files (%.16s)", a->model, a->model_hash);
    }
    if (!*name) say(name, "%s%s", "other settings", "");
}

/* ---- Pooling over seeds ---- */

static int order_of_sparsity(double a, double b) /* NAN last, equal to itself */
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

/* Everything that tells cells of a group apart, but the seed. */
static int by_question(const sf_cell_info *x, const sf_cell_info *y)
{
    int o = strcmp(x->model, y->model);
    if (!o) o = strcmp(x->task_label, y->task_label);
    if (!o) o = (x->length > y->length) - (x->length < y->length);
    for (int p = 0; p < SF_PHASES && !o; p++) {
        o = strcmp(x->method[p], y->method[p]);
        if (!o) o = strcmp(x->label[p], y->label[p]);
        if (!o) o = strcmp(text_of(x->version[p]), text_of(y->version[p]));
        if (!o) o = order_of_sparsity(x->sparsity[p], y->sparsity[p]);
        if (!o) o = strcmp(x->params[p], y->params[p]);
    }
    if (!o) o = strcmp(sf_cell_cache(x), sf_cell_cache(y));
    return o;
}

/* A sample's identity in a group of several seeds. */
struct draw {
    uint64_t seed;
    int sample;
};

static int by_draw(const void *a, const void *b)
{
    const struct draw *x = a, *y = b;
    if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

static int by_sample(const void *a, const void *b)
{
    const sf_record *x = a, *y = b;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* All draws of a group, in order, each once: a sample's new number is its place among them. */
static sf_status find_draws(const sf_results *g, struct draw **out, int *count)
{
    size_t n = 0, kept = 0;
    for (int c = 0; c < g->cells; c++) n += (size_t)g->records[c];
    struct draw *draw = malloc((n + 1) * sizeof *draw);
    if (!draw) return no_memory();
    n = 0;
    for (int c = 0; c < g->cells; c++)
        for (int i = 0; i < g->records[c]; i++) draw[n++] = (struct draw){g->cell[c].seed, g->record[c][i].sample};
    qsort(draw, n, sizeof *draw, by_draw);
    for (size_t i = 0; i < n; i++)
        if (!i || by_draw(&draw[i - 1], &draw[i]) != 0) draw[kept++] = draw[i];
    *out = draw;
    *count = (int)kept;
    return SF_OK;
}

/* Mean maps of two cells as one of all their records. */
static sf_status add_maps(sf_heap *heap, sf_maps *sum, int have, const sf_maps *more, int n, size_t map)
{
    enum { KINDS = 4 };
    for (int k = 0; k < KINDS * SF_PHASES; k++) {
        const int p = k % SF_PHASES, kind = k / SF_PHASES;
        const float **to[KINDS] = {&sum->density[p], &sum->recall[p], &sum->error[p], (const float **)&sum->along[p]};
        const float *from[KINDS] = {more->density[p], more->recall[p], more->error[p], (const float *)more->along[p]};
        const float *a = *to[kind], *b = from[kind];
        const size_t floats = kind == KINDS - 1 ? sizeof(sf_profile) / sizeof(float) : map;
        if (!b || !floats) continue;
        float *mean = sf_heap_alloc(heap, floats * sizeof *mean);
        if (!mean) return no_memory();
        for (size_t i = 0; i < floats; i++)
            mean[i] = !a || isnan(a[i]) ? b[i] : isnan(b[i]) ? a[i] : (a[i] * (float)have + b[i] * (float)n) / (float)(have + n);
        *to[kind] = mean;
    }
    return SF_OK;
}

/* Puts cell `from` of the group into cell `into`, its samples under new numbers; both have the same question. */
static sf_status pool(sf_heap *heap, sf_results *g, int into, int from)
{
    int a = g->records[into], b = g->records[from];
    sf_record *record = sf_heap_alloc(heap, ((size_t)a + (size_t)b) * sizeof *record);
    if (!record) return no_memory();
    memcpy(record, g->record[into], (size_t)a * sizeof *record);
    memcpy(record + a, g->record[from], (size_t)b * sizeof *record);
    qsort(record, (size_t)a + (size_t)b, sizeof *record, by_sample);
    size_t floats = (size_t)g->cell[into].layers * (size_t)g->cell[into].heads;
    if (g->mean) SF_TRY(add_maps(heap, &g->mean[into], a, &g->mean[from], b, floats));
    g->record[into] = record;
    g->records[into] = a + b;
    return SF_OK;
}

static sf_status renumber(sf_heap *heap, sf_results *g, const struct draw *draw, int draws)
{
    for (int c = 0; c < g->cells; c++) {
        sf_record *record = sf_heap_alloc(heap, (size_t)g->records[c] * sizeof *record);
        if (!record) return no_memory();
        memcpy(record, g->record[c], (size_t)g->records[c] * sizeof *record);
        for (int i = 0; i < g->records[c]; i++) {
            struct draw key = {g->cell[c].seed, record[i].sample};
            record[i].sample = (int)((struct draw *)bsearch(&key, draw, (size_t)draws, sizeof *draw, by_draw) - draw);
        }
        g->record[c] = record;
    }
    return SF_OK;
}

static int indirect(const void *a, const void *b, void *cells)
{
    const sf_cell_info *x = (const sf_cell_info *)cells + *(const int *)a, *y = (const sf_cell_info *)cells + *(const int *)b;
    int o = by_question(x, y);
    if (!o) o = (x->seed > y->seed) - (x->seed < y->seed);
    return o ? o : *(const int *)a - *(const int *)b;
}

/* Cells of one question and several seeds become one. Two of the same seed stay two: the view says that they are. */
static sf_status pool_seeds(sf_heap *heap, sf_results *g)
{
    bool several = false;
    for (int c = 1; c < g->cells; c++) several |= g->cell[c].seed != g->cell[0].seed;
    if (!several) return SF_OK;
    struct draw *draw = NULL;
    int draws = 0, kept = 0, *order = malloc((size_t)g->cells * sizeof *order);
    bool *gone = calloc((size_t)g->cells, sizeof *gone);
    sf_status status = order && gone ? find_draws(g, &draw, &draws) : no_memory();
    if (status == SF_OK) status = renumber(heap, g, draw, draws);
    for (int c = 0; c < g->cells && status == SF_OK; c++) order[c] = c;
    if (status == SF_OK) qsort_r(order, (size_t)g->cells, sizeof *order, indirect, g->cell);
    for (int i = 0, first = 0; i < g->cells && status == SF_OK; i++) {
        int c = order[i], into = order[first], before = i ? order[i - 1] : c;
        if (i == first || by_question(&g->cell[into], &g->cell[c]) != 0) {
            first = i;
            continue;
        }
        if (g->cell[c].seed == g->cell[before].seed) continue;
        status = pool(heap, g, into, c);
        gone[c] = true;
    }
    for (int c = 0; c < g->cells && status == SF_OK; c++) {
        if (gone[c]) continue;
        g->cell[kept] = g->cell[c], g->records[kept] = g->records[c], g->record[kept] = g->record[c];
        if (g->mean) g->mean[kept] = g->mean[c];
        kept++;
    }
    if (status == SF_OK) g->cells = kept;
    free(draw);
    free(order);
    free(gone);
    return status;
}

/* ---- Together ---- */

static sf_status make_group(const struct splitting *s, int group, sf_settings_group *out)
{
    const sf_results *r = s->results;
    sf_results *g = &out->results;
    *out = (sf_settings_group){.results = {.runs = r->runs, .run = r->run}};
    if (group) {
        int alike = 0;
        name_group(s, group, out->name);
        for (int i = 1; i < group; i++) alike += strncmp(out[i - group].name, out->name, strlen(out->name)) == 0;
        if (alike) snprintf(out->name + strlen(out->name), sizeof out->name - strlen(out->name), " (%d)", alike + 1);
    } else
        g->problems = r->problems, g->problem = r->problem, g->failures = r->failures, g->failure = r->failure;
    for (int c = 0; c < r->cells; c++) out->cells += s->group[c] == group;
    size_t n = (size_t)out->cells;
    g->cell = sf_heap_alloc(s->heap, n * sizeof *g->cell);
    g->records = sf_heap_alloc(s->heap, n * sizeof *g->records);
    g->record = sf_heap_alloc(s->heap, n * sizeof *g->record);
    g->mean = r->mean ? sf_heap_alloc(s->heap, n * sizeof *g->mean) : NULL;
    if (!g->cell || !g->records || !g->record || (r->mean && !g->mean)) return no_memory();
    for (int c = 0; c < r->cells; c++) {
        if (s->group[c] != group) continue;
        g->cell[g->cells] = r->cell[c];
        g->records[g->cells] = r->records[c];
        g->record[g->cells] = r->record[c];
        if (r->mean) g->mean[g->cells] = r->mean[c];
        g->cells++;
        out->samples += r->records[c];
    }
    return pool_seeds(s->heap, g);
}

sf_status sf_settings_split(const sf_results *r, sf_settings *out)
{
    *out = (sf_settings){0};
    struct splitting s = {.results = r, .heap = calloc(1, sizeof *s.heap)};
    if (!s.heap) return no_memory();
    out->heap = s.heap;
    size_t n = (size_t)r->cells;
    s.order = sf_heap_alloc(s.heap, n * sizeof *s.order);
    s.task = sf_heap_alloc(s.heap, n * sizeof *s.task);
    s.model = sf_heap_alloc(s.heap, n * sizeof *s.model);
    s.group = sf_heap_alloc(s.heap, n * sizeof *s.group);
    sf_status status = s.order && s.task && s.model && s.group ? SF_OK : no_memory();
    if (status == SF_OK) {
        memset(s.group, -1, n * sizeof *s.group);
        s.tasks = number_labels(r, true, s.task, s.order); /* `order` is free until it is made */
        s.models = number_labels(r, false, s.model, s.order);
        status = order_cells(&s);
    }
    if (status == SF_OK) status = order_runs(&s);
    if (status == SF_OK) status = find_groups(&s);
    if (status == SF_OK && !(out->group = sf_heap_alloc(s.heap, (size_t)s.groups * sizeof *out->group))) status = no_memory();
    for (int g = 0; g < s.groups && status == SF_OK; g++, out->groups++) status = make_group(&s, g, &out->group[g]);
    free(s.claims);
    if (status != SF_OK) sf_settings_free(out);
    return status;
}

void sf_settings_free(sf_settings *s)
{
    if (s->heap) {
        sf_heap_free(s->heap);
        free(s->heap);
    }
    *s = (sf_settings){0};
}
