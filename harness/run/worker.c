#include "harness/run/worker.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/run/anew.h"
#include "harness/run/interrupt.h"
#include "harness/run/schedule.h"

/* All of a team stop, or none. */
static sf_status stop_if_asked(const sf_world *team)
{
    return sf_world_agree(team, sf_interrupted ? sf_fail(SF_INTERRUPTED, "stopped as asked; run the same command again to go on from here") : SF_OK);
}

/* ---- room for the samples at hand -------------------------------------------------------------------------------- */

/* turns, output: at most, of any sample's. */
static sf_status work_reserve(struct work *w, int room, int turns, int output, const sf_model_config *c)
{
    size_t n = (size_t)room, map = (size_t)c->layers * (size_t)c->heads;
    const int rows = w->study->sweep->divergence_rows, divergences[SF_PHASES] = {rows, rows ? output : 0};
    w->room = room;
    w->taken = calloc(n, sizeof *w->taken);
    w->kept = calloc(n, sizeof *w->kept);
    w->job = calloc(n, sizeof *w->job);
    w->pending = calloc(n, sizeof *w->pending);
    w->lane = calloc(n, sizeof *w->lane);
    w->picture = calloc(n, sizeof *w->picture);
    w->along = calloc(n, sizeof *w->along);
    w->params = calloc(n, sizeof *w->params);
    w->record = calloc(n, sizeof *w->record);
    w->done_info = calloc(n, sizeof *w->done_info);
    w->done_record = calloc(n, sizeof *w->done_record);
    w->answered = calloc(n, sizeof *w->answered);
    w->sum = calloc(n, sizeof *w->sum);
    w->samples = calloc(n, sizeof *w->samples);
    bool ok = w->taken && w->kept && w->job && w->pending && w->lane && w->picture && w->along && w->params && w->record &&
              w->done_info && w->done_record && w->answered && w->sum && w->samples;
    for (int i = 0; ok && i < room; i++) {
        sf_lane *lane = &w->lane[i];
        lane->output = malloc((size_t)output * (size_t)turns * sizeof *lane->output);
        lane->answer = malloc((size_t)turns * sizeof *lane->answer);
        ok = lane->output && lane->answer;
        for (int p = 0; p < SF_PHASES; p++) {
            lane->density[p] = malloc(map * sizeof(float));
            lane->recall[p] = malloc(map * sizeof(float));
            ok = ok && lane->density[p] && lane->recall[p];
            if (!divergences[p]) continue;
            lane->error[p] = malloc(map * sizeof(float));
            ok = ok && lane->error[p];
            lane->divergence[p] = malloc((size_t)divergences[p] * sizeof *lane->divergence[p]);
            ok = ok && lane->divergence[p];
        }
    }
    return ok ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the results of %d cells", room);
}

static void work_release(struct work *w)
{
    for (int i = 0; w->lane && i < w->room; i++) {
        free(w->lane[i].output);
        free(w->lane[i].answer);
        for (int p = 0; p < SF_PHASES; p++) {
            free(w->lane[i].density[p]);
            free(w->lane[i].recall[p]);
            free(w->lane[i].error[p]);
            free(w->lane[i].divergence[p]);
        }
    }
    free(w->taken);
    free(w->kept);
    free(w->job);
    free(w->pending);
    free(w->lane);
    free(w->picture);
    free(w->along);
    free(w->params);
    free(w->record);
    free(w->done_info);
    free(w->done_record);
    free(w->answered);
    free(w->sum);
    free(w->samples);
    w->room = 0;
    w->taken = NULL, w->kept = NULL, w->job = NULL, w->pending = NULL, w->lane = NULL, w->picture = NULL, w->along = NULL;
    w->params = NULL, w->record = NULL, w->done_info = NULL, w->done_record = NULL, w->answered = NULL;
    w->sum = NULL, w->samples = NULL;
}

/* ---- cells that fail ------------------------------------------------------------------------------------------------- */

/* The one cell at hand; NULL: several are. */
static void take_in_hand(struct work *w, const sf_cell *cell, int sample)
{
    if (w->at_hand) *w->at_hand = (struct at_hand){cell ? (int)(cell - w->study->plan.cell) : -1, false, sample};
}

/* All cells that lack a sample which a plug-in's task is about to make. */
static void take_all_in_hand(struct work *w, sf_cells g, int sample)
{
    if (w->at_hand && *w->study->sweep->task[g.cell->task].code) *w->at_hand = (struct at_hand){(int)(g.cell - w->study->plan.cell), true, sample};
}

sf_status sf_worker_fail(const struct work *w, const sf_cell *cell, int sample, sf_status status)
{
    bool cells_own = status == SF_BAD_INPUT || status == SF_UNSUPPORTED || status == SF_INTERNAL;
    if (status == SF_OK || !cells_own || w->study->sweep->stop_on_error) return status;
    char message[2048]; /* names what tells the cell from its like and has no column among failures */
    snprintf(message, sizeof message, cell->cache ? "under cache %s: %s" : "%s%s", cell->cache ? cell->cache->name : "", sf_error());
    const sf_cell_info info = sf_study_cell_info(w->study, cell);
    const sf_failure failure = {.key = info.key, .model = info.model, .task = info.task_label,
                                .label = {info.label[0], info.label[1]}, .sparsity = {info.sparsity[0], info.sparsity[1]},
                                .length = info.length, .sample = sample, .message = message};
    SF_TRY(sf_store_fail(w->store, &failure));
    if (w->team.rank > 0) return SF_OK;
    fprintf(stderr, "frontier: a cell failed and is left out: %s, %s, %d tokens, %s in prefill, %s in decode, sample %d: %s\n",
            info.model, info.task_label, info.length, info.label[SF_PREFILL], info.label[SF_DECODE], sample, message);
    return SF_OK;
}

sf_status sf_worker_fail_all(const struct work *w, sf_cells g, int sample, sf_status status)
{
    const sf_cell *lacks[g.cells];
    char why[2048];
    snprintf(why, sizeof why, "%s", sf_error());
    const int n = sf_left_cells(w, g, sample, lacks);
    for (int i = 0; i < n; i++) SF_TRY(sf_worker_fail(w, lacks[i], sample, sf_fail(status, "%s", why)));
    return n ? SF_OK : status;
}

/* ---- lanes ------------------------------------------------------------------------------------------------------------ */

static void show_progress(void *user, sf_phase phase, int done, int of)
{
    struct work *w = user;
    char detail[64];
    snprintf(detail, sizeof detail, "%s %d/%d", phase == SF_PREFILL ? "prefill layer" : "decode step", done, of);
    double share = of > 0 ? (double)done / of : 0, part = (double)w->lanes_now / w->lanes;
    w->progress.done = w->shared->done;
    share = phase == SF_PREFILL ? 0.8 * share : 0.8 + 0.2 * share;
    sf_progress_show(&w->progress, w->taken_work * (w->done_before + part * share), detail);
}

/* A picture is of a phase that a method makes sparse; of dense, it is of the attention itself, for which keys must not be packed. */
static bool is_pictured(const sf_lane *lane, sf_phase phase)
{
    const bool looks = phase == SF_PREFILL || !lane->cache || !lane->cache->packed;
    return (!lane->prefill && !lane->decode && looks) || (phase == SF_PREFILL ? lane->prefill != NULL : lane->decode != NULL);
}

/* Lane i as its cell asks for it, its budget fitted to the sample. */
static sf_status fit_lane(struct work *w, const sf_taken *t, int i)
{
    const sf_cell *cell = w->pending[i];
    const sf_model_config *c = &w->study->model[cell->model]->config;
    const sf_task_spec *task = &w->study->sweep->task[cell->task];
    const int tokens = t->input.tokens - t->input.late, output = sf_input_behind(&t->input, task->asking, task->output);
    const sf_arm *arm[SF_PHASES] = {[SF_PREFILL] = cell->prefill, [SF_DECODE] = cell->decode};
    for (int p = 0; p < SF_PHASES; p++)
        SF_TRY(sf_arm_fit(arm[p], cell->sparsity[p], (sf_phase)p, c, tokens, output, &w->params[i][p]));
    sf_lane *lane = &w->lane[i];
    lane->prefill = arm[SF_PREFILL] ? arm[SF_PREFILL]->method : NULL;
    lane->decode = arm[SF_DECODE] ? arm[SF_DECODE]->method : NULL;
    lane->cache = cell->cache;
    lane->prefill_params = w->params[i][SF_PREFILL];
    lane->decode_params = w->params[i][SF_DECODE];
    w->kept[i] = sf_cell_kept(cell);
    for (int p = 0; p < SF_PHASES; p++) {
        bool wanted = t->index == 0 && w->picture_layer >= 0 && is_pictured(lane, (sf_phase)p);
        lane->picture[p] = wanted ? &w->picture[i][p] : NULL;
        w->picture[i][p].keys = 0; /* not taken: no decode step was executed */
    }
    return SF_OK;
}

static void forget_answer(struct work *w, int i)
{
    free(w->answered[i].prediction);
    free(w->answered[i].turn_scores);
    w->answered[i] = (sf_answered){0};
}

/* Lanes [first, first + lanes) of one sample have run: they are scored, and stored in one step. Who cannot be is left out. */
static sf_status finish_lanes(struct work *w, const sf_taken *t, int first, int lanes)
{
    int n = 0;
    for (int i = first; i < first + lanes; i++) {
        if (sf_store_failed(w->store, w->pending[i]->key)) continue; /* at an earlier sample */
        take_in_hand(w, w->pending[i], t->index);
        sf_status status = sf_judge(w->study, w->pending[i], t, &w->lane[i], w->params[i], &w->answered[i], w->along[i], &w->record[i]);
        if (status != SF_OK) forget_answer(w, i);
        SF_TRY(sf_worker_fail(w, w->pending[i], t->index, status));
        if (status != SF_OK) continue;
        w->done_info[n] = sf_study_cell_info(w->study, w->pending[i]);
        w->done_record[n++] = w->record[i];
    }
    if (w->lanes_now > 1) take_in_hand(w, NULL, t->index);
    return sf_store_add(w->store, n, w->done_info, w->done_record);
}

/* Passes over the lane that comes next. */
static void drop_lane(const struct work *w, int *done, int *at)
{
    const sf_taken *t = &w->taken[*at];
    ++*done;
    *at += *done == t->first + t->lanes;
}

/* The taken samples' lanes, as many at a time as fit the memory limit. Where they fail together, they run again one at a
 * time, and who fails alone is left out. */
static sf_status run_lanes(struct work *w)
{
    const sf_sweep *sweep = w->study->sweep;
    const sf_cell *some = w->pending[0];
    const sf_model_config *c = &w->study->model[some->model]->config;
    const sf_generation how = {.max_output = sweep->task[some->task].output, .recall_rows = sweep->recall_rows,
                               .divergence_rows = sweep->divergence_rows, .seed = sweep->seed,
                               .picture_layer = w->picture_layer, .picture_head = w->picture_head,
                               .progress = show_progress, .user = w};
    const bool anew = sweep->task[some->task].asking == SF_ASK_ANEW;
    for (int at = 0, done = 0; at < w->takings;) { /* done: lanes of all samples */
        int jobs = 0;
        SF_TRY(stop_if_asked(&w->team));
        for (int j = at; j < w->takings; j++) {
            const sf_taken *t = &w->taken[j];
            int first = t->first > done ? t->first : done;
            const int tokens = t->input.tokens - t->input.late;
            w->job[jobs++] = (sf_job){.token = t->input.id, .tokens = tokens, .question = t->input.id + tokens, .questions = t->input.late,
                                      .lanes = t->first + t->lanes - first,
                                      .lane = w->lane + first, .continuation = t->input.id + t->input.tokens,
                                      .continuations = t->input.behind, .later = t->input.later, .later_tokens = t->input.later_tokens,
                                      .turns = anew ? 0 : t->input.turns, .shared = sweep->task[some->task].asking == SF_ASK_SHARED};
        }
        sf_fit fit;
        SF_TRY(sf_fit_memory(c, &w->backend, jobs, w->job, &how, w->kept + done, w->memory_limit, &fit));
        sf_anew_hold(w, fit.bytes);
        if (w->alone) fit.jobs = fit.lanes = 1;
        w->job[fit.jobs - 1].lanes = fit.lanes;
        w->lanes_now = 0;
        for (int j = 0; j < fit.jobs; j++) w->lanes_now += w->job[j].lanes;
        if (sf_store_failed(w->store, w->pending[done]->key)) { /* at an earlier sample of these */
            drop_lane(w, &done, &at);
            continue;
        }
        take_in_hand(w, w->lanes_now == 1 ? w->pending[done] : NULL, w->taken[at].index);
        sf_status status = sf_engine_run(w->engine, fit.jobs, w->job, &how);
        if (anew && status == SF_OK) status = sf_anew_run(w, at, done, &how);
        if (status != SF_OK && w->lanes_now > 1 && !sweep->stop_on_error && status != SF_NO_MEMORY) {
            w->alone = true;
            continue;
        }
        if (status != SF_OK) {
            SF_TRY(sf_worker_fail(w, w->pending[done], w->taken[at].index, status));
            drop_lane(w, &done, &at);
            continue;
        }
        for (int j = 0; j < fit.jobs; j++) {
            const sf_taken *t = &w->taken[at];
            SF_TRY(finish_lanes(w, t, done, w->job[j].lanes));
            done += w->job[j].lanes;
            at += done == t->first + t->lanes;
        }
        w->done_before = (double)done / w->lanes;
    }
    return SF_OK;
}

/* ---- samples ---------------------------------------------------------------------------------------------------------- */

static json_t *gold_list(const sf_sample *sample)
{
    json_t *list = json_array();
    for (int i = 0; i < sample->gold_count; i++) json_array_append_new(list, json_string(sample->gold[i]));
    return list;
}

/* A list of texts; of several turns, of such lists. */
static char *gold_json(const sf_sample *sample)
{
    json_t *list = gold_list(sample);
    if (sample->laters) list = json_pack("[o]", list);
    for (int i = 0; i < sample->laters; i++) json_array_append_new(list, gold_list(&sample->later[i]));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

/* Fits the budgets of a sample's cells; those whose method cannot are left out. */
static sf_status fit_lanes(struct work *w, sf_taken *t)
{
    int kept = t->first;
    for (int i = t->first; i < t->first + t->lanes; i++) {
        w->pending[kept] = w->pending[i];
        take_in_hand(w, w->pending[kept], t->index);
        sf_status status = fit_lane(w, t, kept);
        if (status == SF_OK) {
            kept++;
            continue;
        }
        for (int p = 0; p < SF_PHASES; p++) free(w->params[kept][p]), w->params[kept][p] = NULL;
        SF_TRY(sf_worker_fail(w, w->pending[kept], t->index, status));
    }
    t->lanes = kept - t->first;
    return SF_OK;
}

static void drop_taken(sf_taken *t)
{
    free(t->gold);
    sf_input_free(&t->input);
    sf_sample_free(&t->sample);
}

/* A team runs what its leader has found to be pending: what the others see of a file system may be older. */
static void tell_pending(struct work *w, sf_cells g, sf_taken *t)
{
    if (w->team.size == 1) return;
    int cell[g.cells + 1];
    for (int i = 0; i < t->lanes; i++) cell[i] = (int)(w->pending[t->first + i] - g.cell);
    cell[g.cells] = t->lanes;
    sf_world_tell(&w->team, cell, sizeof cell);
    t->lanes = cell[g.cells];
    for (int i = 0; i < t->lanes; i++) w->pending[t->first + i] = &g.cell[cell[i]];
}

/* Takes sample `index` if some cells lack it. */
static sf_status take_sample(struct work *w, sf_cells g, int index)
{
    sf_taken *t = &w->taken[w->takings];
    *t = (sf_taken){.index = index, .first = w->lanes};
    t->lanes = sf_left_cells(w, g, index, w->pending + w->lanes);
    tell_pending(w, g, t);
    if (!t->lanes) return SF_OK;
    take_all_in_hand(w, g, index);
    sf_status made = sf_study_sample(w->study, g.cell->model, g.cell->task, g.cell->length, index, &t->sample, &t->input);
    if (made != SF_OK) return sf_worker_fail_all(w, g, index, made);
    w->takings++;
    t->gold = gold_json(&t->sample);
    sf_status status = t->gold ? fit_lanes(w, t) : sf_fail(SF_INTERNAL, "the gold answer is not valid UTF-8");
    w->lanes += t->lanes;
    w->taken_work += sf_cells_work(w->study, w->pending + t->first, t->lanes);
    if (!t->lanes) drop_taken(&w->taken[--w->takings]); /* none is left that could run */
    return status;
}

static void drop_samples(struct work *w)
{
    for (int i = 0; i < w->lanes; i++) {
        forget_answer(w, i);
        for (int p = 0; p < SF_PHASES; p++) free(w->params[i][p]), w->params[i][p] = NULL;
    }
    for (int j = 0; j < w->takings; j++) drop_taken(&w->taken[j]);
}

/* Runs samples from … to - 1 of a group. */
static sf_status run_samples(struct work *w, sf_cells g, int from, int to)
{
    const sf_sweep *s = w->study->sweep;
    sf_status status = SF_OK;
    w->takings = w->lanes = 0;
    w->taken_work = w->done_before = 0;
    for (int i = from; status == SF_OK && i < to; i++) status = take_sample(w, g, i);
    char last[32] = "";
    if (to - from > 1) snprintf(last, sizeof last, "-%d", to);
    snprintf(w->progress.place, sizeof w->progress.place, "%s · %s · %d tokens · sample %d%s/%d", s->model[g.cell->model].label,
             s->task[g.cell->task].label, s->length[g.cell->length], from + 1, last, g.cell->samples);
    if (status == SF_OK && w->lanes > 0) status = run_lanes(w);
    if (w->lanes > 0) w->alone = false; /* the next ones have failed nobody yet */
    for (int n = 0; status == SF_OK && n < w->lanes; n++) {
        if (!w->answered[n].prediction) continue; /* failed */
        w->sum[w->pending[n] - g.cell] += w->record[n].strict;
        w->samples[w->pending[n] - g.cell]++;
    }
    drop_samples(w);
    return status;
}

/* ---- what it says ------------------------------------------------------------------------------------------------------ */

/* One line a cell that this run added to, all of them written at once: other workers write to the same place. */
static void print_cells(const struct work *w, sf_cells g)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    for (int i = 0; out && i < g.cells; i++) {
        const sf_cell_info info = sf_study_cell_info(w->study, &g.cell[i]);
        if (!w->samples[i]) continue;
        if (w->workers > 1) fprintf(out, "%s: ", w->devices.name[w->worker]); /* its share of the samples */
        fprintf(out, "%s, %s, %d tokens, ", info.model, info.task_label, info.length);
        for (int p = 0; p < SF_PHASES && !*info.attention; p++)
            if (strcmp(info.method[p], "dense") != 0)
                fprintf(out, isnan(info.sparsity[p]) ? "%s, " : "%s at %g, ", info.label[p], info.sparsity[p]);
        if (sf_cell_plain(&g.cell[i])) fprintf(out, "%s, ", *info.attention ? info.attention : "dense");
        if (g.cell[i].cache) fprintf(out, "%s, ", g.cell[i].cache->shown);
        fprintf(out, "%s %.3f over %d samples\n", info.metric, w->sum[i] / w->samples[i], w->samples[i]);
    }
    const bool whole = out && fclose(out) == 0;
    /* One write, unlike fwrite() to a stream, whatever its buffer holds. */
    for (size_t at = 0; whole && at < bytes;) {
        const ssize_t n = write(STDERR_FILENO, text + at, bytes - at);
        if (n < 0 && errno != EINTR) break;
        at += n > 0 ? (size_t)n : 0;
    }
    free(text);
}

/* Where nobody watches a progress line: one line a group that this run added to. */
static void print_group(const struct work *w, sf_cells g)
{
    const sf_cell_info info = sf_study_cell_info(w->study, g.cell);
    char left[48], who[80];
    sf_progress_left(&w->progress, left);
    if (w->workers > 1) snprintf(who, sizeof who, "%.70s", w->devices.name[w->worker]); /* its share of the samples */
    else snprintf(who, sizeof who, "%d/%d cells", w->cells_done, w->study->plan.cells);
    fprintf(stderr, "%s: %s, %s, %d tokens; %s\n", who, info.model, info.task_label, info.length, left);
}

/* ---- models, groups, takes --------------------------------------------------------------------------------------------- */

/* Whose picture is taken: the head that was asked for, else one in the middle of the model. */
static sf_status choose_picture(struct work *w, const char *path, const sf_model_config *c)
{
    const sf_sweep *s = w->study->sweep;
    int layer = s->picture_layer < 0 ? c->layers / 2 : s->picture_layer;
    while (s->picture_layer == -1 && layer < c->layers && !sf_layer_full(c, layer)) layer++;
    bool absent = layer >= c->layers || s->picture_head >= c->heads || !sf_layer_full(c, layer);
    w->picture_head = s->picture_head < 0 ? c->heads / 2 : s->picture_head;
    w->picture_layer = s->picture_layer == -2 || absent ? -1 : layer;
    if (s->picture_layer < 0 || !absent) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: picture: [%d, %d]: expected one of its %d layers, with full attention, and one of its "
                   "%d query heads, counted from 0", path, layer, s->picture_head, c->layers, c->heads);
}

/* Every cell with something left to run must fit the memory limit at least alone; known before anything runs. */
static sf_status check_memory(struct work *w)
{
    const sf_study *study = w->study;
    const sf_cell *largest = NULL;
    size_t most = 0;
    for (int i = 0; i < study->plan.cells; i++) {
        const sf_cell *cell = &study->plan.cell[i];
        bool left = false;
        for (int n = 0; n < cell->samples && !left; n++) left = !sf_store_has(w->store, cell->key, n);
        size_t bytes = 0;
        if (!left || sf_is_plugins(w->study, cell) != w->plugins || sf_store_failed(w->store, cell->key)) continue;
        take_in_hand(w, cell, 0);
        SF_TRY(sf_worker_fail(w, cell, 0, sf_cell_memory(study, &w->backend, cell, &bytes)));
        if (bytes > most) most = bytes, largest = cell;
    }
    if (most <= w->memory_limit) return SF_OK;
    const sf_cell_info info = sf_study_cell_info(study, largest);
    double least = ceil((double)most / (1 << 30) * 1000) / 1000;
    return sf_fail(SF_NO_MEMORY,
                   "%s, %d tokens, %s in prefill, %s in decode: one sample alone takes %.3f GiB of caches and activations; "
                   "the limit is %.3f GiB%s. The least is --memory %.3f; or shorten `lengths`",
                   info.model, info.length, info.label[SF_PREFILL], info.label[SF_DECODE], least,
                   (double)w->memory_limit / (1 << 30),
                   study->sweep->memory_gib > 0 ? "" : " (80 % of what is free; --memory sets another)", least);
}

static sf_status enter_model(struct work *w, int model)
{
    const sf_study *study = w->study;
    const sf_sweep *s = study->sweep;
    const sf_model_config *c = &study->model[model]->config;
    int output = 0, turns = 0, behind = 0;
    for (int t = 0; t < s->tasks; t++) {
        if (s->task[t].output > output) output = s->task[t].output;
        if (s->task[t].turns > turns) turns = s->task[t].turns;
        if (sf_task_behind(&s->task[t]) > behind) behind = sf_task_behind(&s->task[t]);
    }
    sf_engine_close(w->engine);
    w->engine = NULL;
    work_release(w);
    SF_TRY(work_reserve(w, sf_cells_widest(&study->plan) + SF_LANES_TOGETHER, turns, output, c));
    w->memory_held = 0;
    int longest = s->length[s->lengths - 1] + behind;
    SF_TRY(choose_picture(w, s->model[model].path, c));
    return sf_blame(sf_engine_open(&w->backend, study->model[model], longest, &w->engine), "%s", s->model[model].path);
}

static sf_status enter_group(struct work *w, sf_cells g)
{
    const sf_sweep *s = w->study->sweep;
    if (w->model != g.cell->model) SF_TRY(enter_model(w, g.cell->model));
    w->model = g.cell->model;
    memset(w->sum, 0, (size_t)w->room * sizeof *w->sum);
    memset(w->samples, 0, (size_t)w->room * sizeof *w->samples);
    /* YaRN by rule depends on the length, so that a cell's results must not depend on the sweep's other lengths. */
    return sf_engine_set_length(w->engine, s->length[g.cell->length] + sf_task_behind(&s->task[g.cell->task]));
}

static void leave_group(struct work *w, sf_cells g)
{
    int added = 0;
    for (int i = 0; i < g.cells; i++) added += w->samples[i] > 0;
    w->cells_done += added;
    if (w->shared) w->progress.done = w->shared->done;
    if (!added || w->ranks) return;
    if (w->verbose) sf_progress_clear(&w->progress), print_cells(w, g);
    else if (!isatty(STDERR_FILENO)) print_group(w, g);
}

static bool take_next(struct work *w, double done, sf_take *out)
{
    struct { bool there; sf_take take; } next = {0};
    if (w->ranks) {
        if (w->team.rank == 0) next.there = sf_ranks_take(w->ranks, done, &next.take);
        sf_world_tell(&w->team, &next, sizeof next);
        *out = next.take;
        return next.there;
    }
    sf_shared_add(w->shared, done);
    return sf_dispatch_take(&w->dispatch, &w->shared->next, out);
}

/* Takes samples until none are left. */
static sf_status run_takes(struct work *w)
{
    sf_status status = SF_OK;
    sf_cells g = {0};
    sf_progress_begin(&w->progress, w->dispatch.left ? w->dispatch.left[0] : 0);
    w->progress.terminal &= w->worker == 0; /* one line for all */
    w->model = -1;
    for (sf_take t = {0}; (status = stop_if_asked(&w->team)) == SF_OK && take_next(w, t.work, &t);) {
        if (!g.cells || g.cell != &w->study->plan.cell[t.at]) {
            leave_group(w, g);
            g = sf_cells_at(&w->study->plan, t.at);
            status = enter_group(w, g);
        }
        if (status == SF_OK) status = run_samples(w, g, t.from, t.to);
        if (status != SF_OK) break;
    }
    if (status == SF_OK) leave_group(w, g);
    sf_progress_clear(&w->progress);
    sf_engine_close(w->engine);
    w->engine = NULL;
    work_release(w);
    return status;
}

sf_status sf_worker_run(struct work *w)
{
    w->memory_limit = sf_memory_limit(w->study->sweep, &w->backend);
    if (w->study->sweep->memory_gib == 0)
        w->memory_limit /= (size_t)(w->world.size > 1 ? sf_devices_sharing(&w->devices, w->world.local, w->world.locals)
                                                      : sf_devices_sharing(&w->devices, w->worker, w->workers));
    sf_world_tell(&w->team, &w->memory_limit, sizeof w->memory_limit); /* what goes together must be the same on all of a team */
    SF_TRY(sf_world_agree(&w->team, check_memory(w)));
    return run_takes(w);
}
