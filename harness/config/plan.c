/* The grid, unrolled: which cells a sweep has, in which order, and under which content keys. */
#include "harness/config/sweep.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Raise when the engine's arithmetic changes what a cell can give: old results are then not taken for new ones. */
enum { RESULT_VERSION = 1 };

static json_t *arm_json(const sf_arm *arm, double sparsity)
{
    if (!arm) return json_null();
    json_t *object = json_object();
    bool whole = true;
    whole &= json_object_set_new(object, "method", json_string(arm->method->name)) == 0;
    if (arm->method->version) /* absent for 0, so that keys made before methods had versions hold */
        whole &= json_object_set_new(object, "version", json_integer(arm->method->version)) == 0;
    whole &= json_object_set_new(object, "params", json_loads(arm->json, 0, NULL)) == 0;
    whole &= json_object_set_new(object, "code", json_string(arm->code)) == 0;
    whole &= json_object_set_new(object, "sparsity", isnan(sparsity) ? json_null() : json_real(sparsity)) == 0;
    if (whole) return object;
    json_decref(object); /* no memory: a key without one of these would be another cell's */
    return NULL;
}

/* What a cell's results depend on, as one canonical text, hashed. The number of samples is not part of it: more samples
 * extend a cell. The thread count is not, nor are the stages that a model's layers are split over: results do not depend on
 * either. */
static sf_status make_key(const sf_sweep *sweep, const char *hash, sf_cell *cell)
{
    const sf_model_spec *model = &sweep->model[cell->model];
    const sf_task_spec *task = &sweep->task[cell->task];
    size_t device = strcspn(sweep->device, ":"); /* which card does not matter, which backend does */
    json_t *o = json_object();
    bool whole = true;
    whole &= json_object_set_new(o, "version", json_integer(RESULT_VERSION)) == 0;
    whole &= json_object_set_new(o, "model", json_string(hash)) == 0;
    whole &= json_object_set_new(o, "prefix", model->prefix ? json_string(model->prefix) : json_null()) == 0;
    whole &= json_object_set_new(o, "suffix", model->suffix ? json_string(model->suffix) : json_null()) == 0;
    whole &= json_object_set_new(o, "task", json_string(task->task->name)) == 0;
    whole &= json_object_set_new(o, "task_version", json_integer(task->task->version)) == 0;
    if (*task->code) whole &= json_object_set_new(o, "task_code", json_string(task->code)) == 0;
    whole &= json_object_set_new(o, "task_params", json_loads(task->json, 0, NULL)) == 0;
    whole &= json_object_set_new(o, "output", json_integer(task->output)) == 0;
    whole &= json_object_set_new(o, "length", json_integer(sweep->length[cell->length])) == 0;
    whole &= json_object_set_new(o, "seed", json_integer((json_int_t)sweep->seed)) == 0;
    whole &= json_object_set_new(o, "backend", json_stringn(sweep->device, device)) == 0;
    if (sweep->tensor > 1) whole &= json_object_set_new(o, "tensor", json_integer(sweep->tensor)) == 0; /* sums round otherwise; stages change nothing */
    if (cell->cache) whole &= json_object_set_new(o, "cache", json_string(cell->cache->name)) == 0;
    if (cell->own && (cell->prefill || cell->decode)) whole &= json_object_set_new(o, "own", json_true()) == 0; /* the model as it is: not what a sweep puts on it */
    whole &= json_object_set_new(o, "prefill", arm_json(cell->prefill, cell->sparsity[SF_PREFILL])) == 0;
    whole &= json_object_set_new(o, "decode", arm_json(cell->decode, cell->sparsity[SF_DECODE])) == 0;
    char *text = whole ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(o);
    if (!text) return sf_fail(SF_NO_MEMORY, "plan: no memory for a cell's key; or a text of the sweep is not valid UTF-8");
    XXH128_hash_t h = XXH3_128bits(text, strlen(text));
    snprintf(cell->key, sizeof cell->key, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    free(text);
    return SF_OK;
}

/* Target sparsities of one arm: the sweep's, one NAN for explicit parameters, one 0 where the phase is dense. */
static int levels(const sf_sweep *s, const sf_arm *arm, const double **out)
{
    static const double dense = 0, given = NAN;
    if (!arm->method) return *out = &dense, 1;
    if (arm->explicit_budget) return *out = &given, 1;
    return *out = s->sparsity, s->sparsities;
}

/* Adds the cells of one model, task and length under one cache: dense, unless it is there already, and each arm's. */
static void add_cells(const sf_sweep *s, sf_cell at, const sf_cache_format *cache, sf_plan *out)
{
    const double *p, *d;
    at.cache = cache;
    if (cache) out->cell[out->cells++] = at;
    if (at.own) return;
    for (int i = 0; i < s->arms; i++) {
        const sf_arm_pair *pair = &s->arm[i];
        const int np = levels(s, &pair->prefill, &p), nd = levels(s, &pair->decode, &d);
        for (int a = 0; a < np; a++)
            for (int b = 0; b < nd; b++) {
                sf_cell *cell = &out->cell[out->cells++];
                *cell = at;
                cell->prefill = pair->prefill.method ? &pair->prefill : NULL;
                cell->decode = pair->decode.method ? &pair->decode : NULL;
                cell->sparsity[SF_PREFILL] = p[a], cell->sparsity[SF_DECODE] = d[b];
            }
    }
}

bool sf_cell_shares_prefill(const sf_cell *a, const sf_cell *b)
{
    const double x = a->sparsity[SF_PREFILL], y = b->sparsity[SF_PREFILL];
    if (a->cache != b->cache || !a->prefill != !b->prefill) return false;
    if (!a->prefill) return true;
    return a->prefill->method == b->prefill->method && strcmp(a->prefill->json, b->prefill->json) == 0 && (x == y || (isnan(x) && isnan(y)));
}

/* A model's dense cell; its own attention was trained with its numbers: NAN. */
static sf_cell dense_cell(const sf_sweep *s, int model, int length, int task)
{
    const sf_model_spec *spec = &s->model[model];
    sf_cell cell = {.model = model, .task = task, .length = length, .own = spec->alone};
    if (spec->own.prefill.method) cell.prefill = &spec->own.prefill, cell.sparsity[SF_PREFILL] = NAN;
    if (spec->own.decode.method) cell.decode = &spec->own.decode, cell.sparsity[SF_DECODE] = NAN;
    return cell;
}

sf_status sf_plan_make(const sf_sweep *s, const char *const *hash, sf_plan *out)
{
    int of_arms = 0;
    const double *p, *d;
    for (int i = 0; i < s->arms; i++) of_arms += levels(s, &s->arm[i].prefill, &p) * levels(s, &s->arm[i].decode, &d);
    const size_t per_group = 1 + (size_t)s->caches * (size_t)(1 + of_arms);
    *out = (sf_plan){0, calloc((size_t)s->models * (size_t)s->lengths * (size_t)s->tasks * per_group, sizeof(sf_cell))};
    if (!out->cell) return sf_fail(SF_NO_MEMORY, "plan: no memory for its cells");
    for (int m = 0; m < s->models; m++)
        for (int l = 0; l < s->lengths; l++)
            for (int t = 0; t < s->tasks; t++) {
                const sf_cell dense = dense_cell(s, m, l, t);
                out->cell[out->cells++] = dense;
                for (int c = 0; c < s->caches; c++) add_cells(s, dense, s->cache[c], out);
            }
    for (int i = 0; i < out->cells; i++) {
        out->cell[i].samples = s->samples;
        SF_TRY(make_key(s, hash[out->cell[i].model], &out->cell[i]));
    }
    return SF_OK;
}

void sf_plan_free(sf_plan *plan)
{
    free(plan->cell);
    *plan = (sf_plan){0};
}
