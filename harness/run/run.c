/* The main path: for each model, length and task, sample by sample, all cells of the grid that are not yet stored. */
#include "harness/run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/world.h"
#include "harness/model/cost.h"
#include "harness/engine/engine.h"
#include "harness/model/tokenizer.h"
#include "harness/run/apart.h"
#include "harness/run/dispatch.h"
#include "harness/run/progress.h"
#include "harness/run/ranks.h"
#include "harness/run/study.h"
#include "harness/run/schedule.h"
#include "harness/run/spread.h"
#include "harness/run/version.h"
#include "kernels/comm.h"

static volatile sig_atomic_t interrupted;
static bool silent; /* a worker says nothing, its parent or rank 0 does */

static void on_signal(int number)
{
    static const char words[] = "\nfrontier: stopping after the samples at hand; once more to stop at once\n";
    (void)number;
    interrupted = 1;
    if (!silent && write(STDERR_FILENO, words, sizeof words - 1) < 0) return;
}

/* All of a team stop, or none. */
static sf_status stop_if_asked(const sf_world *team)
{
    return sf_world_agree(team, interrupted ? sf_fail(SF_INTERRUPTED, "stopped as asked; run the same command again to go on from here") : SF_OK);
}

/* ---- samples at hand ------------------------------------------------------------------------------------------------ */

/* A sample whose lanes stand at [first, first + lanes). */
struct taken {
    int index, first, lanes, tokens;
    sf_sample sample;
    int32_t *ids;
    char *gold;
};

/* What a process of plug-ins' cells has in hand: whom its death is put down to. */
struct at_hand {
    int cell; /* position in the plan: the only one at hand; -1: several were */
    int sample;
};

/* What the samples at hand hold; sized once for the widest group of cells. */
struct work {
    const sf_study *study;
    sf_backend backend;
    sf_engine *engine;
    sf_store *store;
    sf_progress progress;
    sf_devices devices;                       /* of the run on this machine */
    sf_world world;                           /* processes that were started together, maybe on several … */
    sf_world team, leaders;                   /* … those that split a model with this one; the first of each such team */
    sf_comm comm;                             /* what they split it by */
    int worker, workers;                      /* this process among all that take samples */
    bool plugins;                             /* this pass runs the cells of plug-ins, in a process apart; else all others */
    struct at_hand *at_hand;                  /* shared with the process that waits for this one; NULL: none does */
    bool ran_plugins;                         /* in this run there were some to run */
    bool alone;                               /* the samples at hand run one lane at a time, to find who fails */
    sf_dispatch dispatch;                     /* what is left, of rank 0's and forked workers */
    sf_shared *shared;                        /* how far all workers are with it */
    uint64_t first_part;                      /* number of the first that these processes write */
    sf_ranks *ranks;                          /* NULL: all workers are of this machine */
    double taken_work, done_before;           /* of the samples at hand, and its share done by earlier engine runs */
    int lanes_now;                            /* in the engine run at hand */
    size_t memory_limit, memory_held;         /* bytes for caches and activations; what the engine may hold of them */
    int shard, shards;                        /* as in sf_run_options */
    bool verbose;                             /* too */
    int cells_done;                           /* of this worker, in groups that it has left */

    struct taken *taken;                      /* [room] */
    int takings;
    const sf_cell **pending;                  /* [room] cells of the group that lack the lane's sample */
    sf_lane *lane;                            /* [room] … */
    sf_picture (*picture)[SF_PHASES];
    int picture_layer, picture_head;          /* of the model at hand; layer -1: no pictures */
    void *(*params)[SF_PHASES];
    double *kept;
    sf_job *job;
    sf_cell_info *info;
    sf_record *record;
    sf_cell_info *done_info;                  /* of a sample's lanes that did not fail, as they are stored */
    sf_record *done_record;
    char **text;                              /* decoded outputs; NULL where the lane failed */
    double *sum;                              /* [cells of the group] strict scores of the samples run so far */
    int *samples;                             /* [cells of the group] how many */
    int lanes, room;
    int model;                                /* the engine's; -1: none */
};

static sf_status work_reserve(struct work *w, int room, int max_output, const sf_model_config *c)
{
    size_t n = (size_t)room, map = (size_t)c->layers * (size_t)c->heads;
    const int rows = w->study->sweep->divergence_rows, divergences[SF_PHASES] = {rows, rows ? max_output : 0};
    w->room = room;
    w->taken = calloc(n, sizeof *w->taken);
    w->kept = calloc(n, sizeof *w->kept);
    w->job = calloc(n, sizeof *w->job);
    w->pending = calloc(n, sizeof *w->pending);
    w->lane = calloc(n, sizeof *w->lane);
    w->picture = calloc(n, sizeof *w->picture);
    w->params = calloc(n, sizeof *w->params);
    w->info = calloc(n, sizeof *w->info);
    w->record = calloc(n, sizeof *w->record);
    w->done_info = calloc(n, sizeof *w->done_info);
    w->done_record = calloc(n, sizeof *w->done_record);
    w->text = calloc(n, sizeof *w->text);
    w->sum = calloc(n, sizeof *w->sum);
    w->samples = calloc(n, sizeof *w->samples);
    bool ok = w->taken && w->kept && w->job && w->pending && w->lane && w->picture && w->params && w->info && w->record &&
              w->done_info && w->done_record && w->text && w->sum && w->samples;
    for (int i = 0; ok && i < room; i++) {
        sf_lane *lane = &w->lane[i];
        lane->output = malloc((size_t)max_output * sizeof *lane->output);
        ok = lane->output != NULL;
        for (int p = 0; p < SF_PHASES; p++) {
            lane->density[p] = malloc(map * sizeof(float));
            lane->recall[p] = malloc(map * sizeof(float));
            ok = ok && lane->density[p] && lane->recall[p];
            if (!divergences[p]) continue;
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
        for (int p = 0; p < SF_PHASES; p++) {
            free(w->lane[i].density[p]);
            free(w->lane[i].recall[p]);
            free(w->lane[i].divergence[p]);
        }
    }
    free(w->taken);
    free(w->kept);
    free(w->job);
    free(w->pending);
    free(w->lane);
    free(w->picture);
    free(w->params);
    free(w->info);
    free(w->record);
    free(w->done_info);
    free(w->done_record);
    free(w->text);
    free(w->sum);
    free(w->samples);
    w->room = 0;
    w->taken = NULL, w->kept = NULL, w->job = NULL, w->pending = NULL, w->lane = NULL, w->picture = NULL;
    w->params = NULL, w->info = NULL, w->record = NULL, w->done_info = NULL, w->done_record = NULL, w->text = NULL;
    w->sum = NULL, w->samples = NULL;
}

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

static double mean_over_global(const float *map, const sf_model_config *c)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < c->layers * c->heads; i++)
        if (!isnan(map[i])) sum += map[i], n++;
    return n ? sum / n : 1;
}

static sf_diverged mean_divergence(const sf_lane *lane, sf_phase phase)
{
    sf_diverged mean = SF_NOT_DIVERGED;
    const int n = lane->divergence[phase] ? lane->divergences[phase] : 0;
    if (n) mean = (sf_diverged){0};
    for (int i = 0; i < n; i++) {
        const sf_divergence *d = &lane->divergence[phase][i];
        mean.nll += (double)d->nll / n;
        mean.dense_nll += (double)d->dense_nll / n;
        mean.kl += (double)d->kl / n;
        mean.agreement += (double)(d->rank == 1) / n;
        mean.rank += (double)d->rank / n;
    }
    return mean;
}

static char *gold_json(const sf_sample *sample)
{
    json_t *list = json_array();
    for (int i = 0; i < sample->gold_count; i++) json_array_append_new(list, json_string(sample->gold[i]));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

/* Where in the context the answer stands, 0 (begin) … 1 (end): its gold texts' first places, on average. NAN where one is
 * not there, or where they are further apart than a tenth. */
static double depth_of(const sf_sample *sample)
{
    const char *context = sample->prompt + sample->context_begin;
    size_t bytes = (size_t)(sample->context_end - sample->context_begin);
    double low = 1, high = 0, sum = 0;
    for (int i = 0; i < sample->gold_count; i++) {
        const char *at = memmem(context, bytes, sample->gold[i], strlen(sample->gold[i]));
        if (!at) return NAN;
        double depth = (double)(at - context) / (double)bytes;
        low = fmin(low, depth), high = fmax(high, depth), sum += depth;
    }
    return sample->gold_count && high - low <= 0.1 ? sum / sample->gold_count : NAN;
}

/* A picture is of a phase that a method makes sparse; of dense, it is of the attention itself. */
static bool is_pictured(const sf_lane *lane, sf_phase phase)
{
    return (!lane->prefill && !lane->decode) || (phase == SF_PREFILL ? lane->prefill != NULL : lane->decode != NULL);
}

/* ---- cells that fail ------------------------------------------------------------------------------------------------- */

static bool is_plugins(const sf_cell *cell)
{
    return (cell->prefill && *cell->prefill->code) || (cell->decode && *cell->decode->code);
}

static void take_in_hand(struct work *w, const sf_cell *cell, int sample)
{
    if (w->at_hand) *w->at_hand = (struct at_hand){cell ? (int)(cell - w->study->plan.cell) : -1, sample};
}

/* Notes a cell as failed, with the message of `status`, and goes on; or passes the status on, where the fault is not the
 * cell's or the config says so. */
static sf_status fail_cell(const struct work *w, const sf_cell *cell, int sample, sf_status status)
{
    bool cells_own = status == SF_BAD_INPUT || status == SF_UNSUPPORTED || status == SF_INTERNAL;
    if (status == SF_OK || !cells_own || w->study->sweep->stop_on_error) return status;
    char message[2048];
    snprintf(message, sizeof message, "%s", sf_error());
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

/* From a finished lane to what is stored of it. */
static sf_status judge(struct work *w, const struct taken *t, int i)
{
    const sf_cell *cell = w->pending[i];
    const sf_task_spec *task = &w->study->sweep->task[cell->task];
    const sf_model *model = w->study->model[cell->model];
    const sf_lane *lane = &w->lane[i];
    SF_TRY(sf_decode(model->tokenizer, lane->output, lane->outputs, true, &w->text[i]));
    sf_score score;
    SF_TRY(sf_task_score(task->task, task->params, &t->sample, w->text[i], &score));
    sf_record *r = &w->record[i];
    *r = (sf_record){.sample = t->index, .input_tokens = t->tokens, .output_tokens = lane->outputs,
                     .parsed = score.parsed, .truncated = !lane->stopped,
                     .strict = score.strict, .reference = score.reference, .meter = lane->meter,
                     .prediction = w->text[i], .gold = t->gold, .depth = depth_of(&t->sample),
                     .prompt_hash = XXH3_64bits(t->ids, (size_t)t->tokens * sizeof *t->ids)};
    while (model->bos >= 0 && r->bos_tokens < t->tokens && t->ids[r->bos_tokens] == model->bos) r->bos_tokens++;
    const sf_method *method[SF_PHASES] = {[SF_PREFILL] = lane->prefill, [SF_DECODE] = lane->decode};
    const sf_method *evicts = lane->decode && lane->decode->compress ? lane->decode : NULL;
    for (int p = 0; p < SF_PHASES; p++) {
        double density = mean_over_global(lane->density[p], &model->config);
        r->achieved[p] = 1 - density;
        r->seconds[p] = lane->seconds[p];
        r->density[p] = lane->density[p];
        r->recall[p] = w->study->sweep->recall_rows ? lane->recall[p] : NULL;
        r->diverged[p] = mean_divergence(lane, (sf_phase)p);
        r->picture[p] = lane->picture[p] && lane->picture[p]->keys ? lane->picture[p] : NULL;
        sf_cost cost;
        sf_cost_of(&model->config, &(sf_cost_query){.phase = (sf_phase)p, .tokens = t->tokens, .batch = 1, .density = density,
                                                    .method = method[p], .params = w->params[i][p], .evicts = evicts,
                                                    .evicts_params = w->params[i][SF_DECODE]}, &cost);
        if (!(cost.paper >= 0 && cost.exact >= 0) || isinf(cost.paper) || isinf(cost.exact))
            return sf_fail(SF_BAD_INPUT, "method '%s', estimate: the cost of the %s comes to %g (paper) and %g (exact), expected finite "
                           "numbers that are not negative", method[p] ? method[p]->name : evicts ? evicts->name : "dense",
                           p == SF_PREFILL ? "prefill" : "decode", cost.paper, cost.exact);
        r->cost_paper[p] = cost.paper;
        r->cost_exact[p] = cost.exact;
    }
    w->info[i] = sf_study_cell_info(w->study, cell);
    return SF_OK;
}

/* Lane i as its cell asks for it, its budget fitted to the sample. */
static sf_status fit_lane(struct work *w, const struct taken *t, int i)
{
    const sf_cell *cell = w->pending[i];
    const sf_model_config *c = &w->study->model[cell->model]->config;
    const int output = w->study->sweep->task[cell->task].output;
    const sf_arm *arm[SF_PHASES] = {[SF_PREFILL] = cell->prefill, [SF_DECODE] = cell->decode};
    for (int p = 0; p < SF_PHASES; p++)
        SF_TRY(sf_arm_fit(arm[p], cell->sparsity[p], (sf_phase)p, c, t->tokens, output, &w->params[i][p]));
    sf_lane *lane = &w->lane[i];
    lane->prefill = arm[SF_PREFILL] ? arm[SF_PREFILL]->method : NULL;
    lane->decode = arm[SF_DECODE] ? arm[SF_DECODE]->method : NULL;
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
    free(w->text[i]);
    w->text[i] = NULL;
}

/* Lanes [first, first + lanes) of one sample have run: they are scored, and stored in one step. Who cannot be is left out. */
static sf_status finish_lanes(struct work *w, const struct taken *t, int first, int lanes)
{
    int n = 0;
    for (int i = first; i < first + lanes; i++) {
        if (sf_store_failed(w->store, w->pending[i]->key)) continue; /* at an earlier sample */
        take_in_hand(w, w->pending[i], t->index);
        sf_status status = judge(w, t, i);
        if (status != SF_OK) forget_answer(w, i);
        SF_TRY(fail_cell(w, w->pending[i], t->index, status));
        if (status != SF_OK) continue;
        w->done_info[n] = w->info[i];
        w->done_record[n++] = w->record[i];
    }
    if (w->lanes_now > 1) take_in_hand(w, NULL, t->index);
    return sf_store_add(w->store, n, w->done_info, w->done_record);
}

/* Passes over the lane that comes next. */
static void drop_lane(const struct work *w, int *done, int *at)
{
    const struct taken *t = &w->taken[*at];
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
    for (int at = 0, done = 0; at < w->takings;) { /* done: lanes of all samples */
        int jobs = 0;
        SF_TRY(stop_if_asked(&w->team));
        for (int j = at; j < w->takings; j++) {
            const struct taken *t = &w->taken[j];
            int first = t->first > done ? t->first : done;
            w->job[jobs++] = (sf_job){t->ids, t->tokens, t->first + t->lanes - first, w->lane + first};
        }
        sf_fit fit;
        SF_TRY(sf_fit_memory(c, &w->backend, jobs, w->job, &how, w->kept + done, w->memory_limit, &fit));
        if (w->memory_held + fit.bytes > w->memory_limit) { /* what earlier ones left may be of another shape */
            sf_engine_trim(w->engine);
            w->memory_held = 0;
        }
        w->memory_held = fit.bytes > w->memory_held ? fit.bytes : w->memory_held;
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
        if (status != SF_OK && w->lanes_now > 1 && !sweep->stop_on_error && status != SF_NO_MEMORY) {
            w->alone = true;
            continue;
        }
        if (status != SF_OK) {
            SF_TRY(fail_cell(w, w->pending[done], w->taken[at].index, status));
            drop_lane(w, &done, &at);
            continue;
        }
        for (int j = 0; j < fit.jobs; j++) {
            const struct taken *t = &w->taken[at];
            SF_TRY(finish_lanes(w, t, done, w->job[j].lanes));
            done += w->job[j].lanes;
            at += done == t->first + t->lanes;
        }
        w->done_before = (double)done / w->lanes;
    }
    return SF_OK;
}

/* A group: the cells of one model, length and task; they stand together in the plan. */
struct group { const sf_cell *cell; int cells; };

static struct group group_at(const sf_plan *plan, int at)
{
    const sf_cell *first = &plan->cell[at];
    struct group g = {first, 0};
    while (at + g.cells < plan->cells && first[g.cells].model == first->model && first[g.cells].task == first->task &&
           first[g.cells].length == first->length)
        g.cells++;
    return g;
}

static bool same_arm(const sf_cell *a, const sf_cell *b)
{
    return a->prefill == b->prefill && (!a->prefill || a->sparsity[SF_PREFILL] == b->sparsity[SF_PREFILL]);
}

/* FLOPs, by formula, of one sample of these cells; a prefill that several share counts once. */
static double work_of(const sf_study *study, const sf_cell *const *cell, int n)
{
    double work = 0;
    for (int i = 0; i < n; i++) {
        bool shared = false;
        for (int j = 0; j < i && !shared; j++) shared = same_arm(cell[i], cell[j]);
        work += sf_study_work(study, cell[i], shared);
    }
    return work;
}

/* Whether this process's shard has this sample of a cell. Cells that share a prefill share a shard: the first of them
 * hashes for all. What is stored already plays no part, so that every process and every restart sees the same shards. */
static bool in_shard(const struct work *w, struct group g, const sf_cell *cell, int index)
{
    if (!w->shards) return true;
    const sf_cell *first = g.cell;
    while (first < cell && !same_arm(first, cell)) first++;
    return XXH3_64bits_withSeed(first->key, strlen(first->key), (uint64_t)index) % (uint64_t)w->shards ==
           (uint64_t)w->shard - 1;
}

/* The group's cells that lack this sample; those with a dense prefill first, so that they share it even when memory
 * splits the lanes. */
static int find_pending(const struct work *w, struct group g, int index, const sf_cell **out)
{
    int n = 0;
    for (int sparse = 0; sparse < 2; sparse++)
        for (int i = 0; i < g.cells; i++)
            if ((g.cell[i].prefill != NULL) == sparse && in_shard(w, g, &g.cell[i], index) &&
                is_plugins(&g.cell[i]) == w->plugins && !sf_store_has(w->store, g.cell[i].key, index) &&
                !sf_store_failed(w->store, g.cell[i].key))
                out[n++] = &g.cell[i];
    return n;
}

/* Fits the budgets of a sample's cells; those whose method cannot are left out. */
static sf_status fit_lanes(struct work *w, struct taken *t)
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
        SF_TRY(fail_cell(w, w->pending[kept], t->index, status));
    }
    t->lanes = kept - t->first;
    return SF_OK;
}

static void drop_taken(struct taken *t)
{
    free(t->gold);
    free(t->ids);
    sf_sample_free(&t->sample);
}

/* A team runs what its leader has found to be pending: what the others see of a file system may be older. */
static void tell_pending(struct work *w, struct group g, struct taken *t)
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
static sf_status take_sample(struct work *w, struct group g, int index)
{
    struct taken *t = &w->taken[w->takings];
    *t = (struct taken){.index = index, .first = w->lanes};
    t->lanes = find_pending(w, g, index, w->pending + w->lanes);
    tell_pending(w, g, t);
    if (!t->lanes) return SF_OK;
    SF_TRY(sf_study_sample(w->study, g.cell->model, g.cell->task, g.cell->length, index, &t->sample, &t->ids, &t->tokens));
    w->takings++;
    t->gold = gold_json(&t->sample);
    sf_status status = t->gold ? fit_lanes(w, t) : sf_fail(SF_INTERNAL, "the gold answer is not valid UTF-8");
    w->lanes += t->lanes;
    w->taken_work += work_of(w->study, w->pending + t->first, t->lanes);
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
static sf_status run_samples(struct work *w, struct group g, int from, int to)
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
        if (!w->text[n]) continue; /* failed */
        w->sum[w->pending[n] - g.cell] += w->record[n].strict;
        w->samples[w->pending[n] - g.cell]++;
    }
    drop_samples(w);
    return status;
}

/* ---- the sweep ------------------------------------------------------------------------------------------------------ */

/* One line a cell that this run added to, all of them written at once: other workers write to the same place. */
static void print_cells(const struct work *w, struct group g)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    for (int i = 0; out && i < g.cells; i++) {
        const sf_cell_info info = sf_study_cell_info(w->study, &g.cell[i]);
        if (!w->samples[i]) continue;
        if (w->workers > 1) fprintf(out, "%s: ", w->devices.name[w->worker]); /* its share of the samples */
        fprintf(out, "%s, %s, %d tokens, ", info.model, info.task_label, info.length);
        for (int p = 0; p < SF_PHASES; p++)
            if (strcmp(info.method[p], "dense") != 0)
                fprintf(out, isnan(info.sparsity[p]) ? "%s, " : "%s at %g, ", info.label[p], info.sparsity[p]);
        if (!g.cell[i].prefill && !g.cell[i].decode) fprintf(out, "dense, ");
        fprintf(out, "%s %.3f over %d samples\n", info.metric, w->sum[i] / w->samples[i], w->samples[i]);
    }
    if (out && fclose(out) == 0) fwrite(text, 1, bytes, stderr);
    free(text);
}

/* Whose picture is taken: the head that was asked for, else one in the middle of the model. */
static sf_status choose_picture(struct work *w, const char *path, const sf_model_config *c)
{
    const sf_sweep *s = w->study->sweep;
    int layer = s->picture_layer < 0 ? c->layers / 2 : s->picture_layer;
    while (s->picture_layer == -1 && layer < c->layers && sf_layer_slides(c, layer)) layer++;
    bool absent = layer >= c->layers || s->picture_head >= c->heads || sf_layer_slides(c, layer);
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
        if (!left || is_plugins(cell) != w->plugins || sf_store_failed(w->store, cell->key)) continue;
        take_in_hand(w, cell, 0);
        SF_TRY(fail_cell(w, cell, 0, sf_cell_memory(study, &w->backend, cell, &bytes)));
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

static int widest_group(const sf_plan *plan)
{
    int widest = 0;
    for (int at = 0; at < plan->cells;) {
        struct group g = group_at(plan, at);
        if (g.cells > widest) widest = g.cells;
        at += g.cells;
    }
    return widest;
}

/* The samples that some cells lack; of plug-ins' cells, this worker's. */
static sf_status list_units(struct work *w, int *units, sf_unit **out)
{
    const sf_plan *plan = &w->study->plan;
    size_t most = 0;
    for (int at = 0; at < plan->cells; at += group_at(plan, at).cells) most += (size_t)plan->cell[at].samples;
    const sf_cell **pending = calloc((size_t)widest_group(plan) + 1, sizeof *pending);
    sf_unit *unit = *out = malloc(most * sizeof *unit + 1);
    *units = 0;
    if (!pending || !unit) {
        free(pending);
        return sf_fail(SF_NO_MEMORY, "no memory for a list of %zu samples", most);
    }
    for (int at = 0; at < plan->cells;) {
        struct group g = group_at(plan, at);
        for (int i = 0; i < g.cell->samples; i++) {
            int lanes = w->plugins && i % w->workers != w->worker ? 0 : find_pending(w, g, i, pending);
            if (lanes) unit[(*units)++] = (sf_unit){.model = g.cell->model, .at = at, .sample = i, .lanes = lanes,
                                                    .work = work_of(w->study, pending, lanes)};
        }
        at += g.cells;
    }
    free(pending);
    return SF_OK;
}

static bool any_left_of_plugins(const struct work *w)
{
    for (int i = 0; i < w->study->plan.cells; i++) {
        const sf_cell *cell = &w->study->plan.cell[i];
        if (!is_plugins(cell) || sf_store_failed(w->store, cell->key)) continue;
        for (int n = 0; n < cell->samples; n++)
            if (!sf_store_has(w->store, cell->key, n)) return true;
    }
    return false;
}

/* Makes the list that is given out; to be closed also on failure. */
static sf_status open_dispatch(struct work *w, int workers)
{
    int units;
    sf_unit *unit;
    sf_status status = list_units(w, &units, &unit);
    if (status != SF_OK) free(unit);
    else status = sf_dispatch_open(units, unit, workers, &w->dispatch);
    if (status == SF_OK && !units && !w->ran_plugins && !w->plugins && !any_left_of_plugins(w))
        fprintf(stderr, "all %d cells are stored; nothing is left to run\n", w->study->plan.cells);
    return status;
}

static sf_status enter_model(struct work *w, int model)
{
    const sf_study *study = w->study;
    const sf_sweep *s = study->sweep;
    const sf_model_config *c = &study->model[model]->config;
    int output = 0;
    for (int t = 0; t < s->tasks; t++)
        if (s->task[t].output > output) output = s->task[t].output;
    sf_engine_close(w->engine);
    w->engine = NULL;
    work_release(w);
    SF_TRY(work_reserve(w, widest_group(&study->plan) + SF_LANES_TOGETHER, output, c));
    w->memory_held = 0;
    int longest = s->length[s->lengths - 1] + output;
    SF_TRY(choose_picture(w, s->model[model].path, c));
    return sf_blame(sf_engine_open(&w->backend, study->model[model], longest, &w->engine), "%s", s->model[model].path);
}

static sf_status enter_group(struct work *w, struct group g)
{
    const sf_sweep *s = w->study->sweep;
    if (w->model != g.cell->model) SF_TRY(enter_model(w, g.cell->model));
    w->model = g.cell->model;
    memset(w->sum, 0, (size_t)w->room * sizeof *w->sum);
    memset(w->samples, 0, (size_t)w->room * sizeof *w->samples);
    /* YaRN by rule depends on the length, so that a cell's results must not depend on the sweep's other lengths. */
    return sf_engine_set_length(w->engine, s->length[g.cell->length] + s->task[g.cell->task].output);
}

/* Where nobody watches a progress line: one line a group that this run added to. */
static void print_group(const struct work *w, struct group g)
{
    const sf_cell_info info = sf_study_cell_info(w->study, g.cell);
    char left[48], who[80];
    sf_progress_left(&w->progress, left);
    if (w->workers > 1) snprintf(who, sizeof who, "%.70s", w->devices.name[w->worker]); /* its share of the samples */
    else snprintf(who, sizeof who, "%d/%d cells", w->cells_done, w->study->plan.cells);
    fprintf(stderr, "%s: %s, %s, %d tokens; %s\n", who, info.model, info.task_label, info.length, left);
}

static void leave_group(struct work *w, struct group g)
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
    struct group g = {0};
    sf_progress_begin(&w->progress, w->dispatch.left ? w->dispatch.left[0] : 0);
    w->progress.terminal &= w->worker == 0; /* one line for all */
    w->model = -1;
    for (sf_take t = {0}; (status = stop_if_asked(&w->team)) == SF_OK && take_next(w, t.work, &t);) {
        if (!g.cells || g.cell != &w->study->plan.cell[t.at]) {
            leave_group(w, g);
            g = group_at(&w->study->plan, t.at);
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

/* ---- provenance and the end ------------------------------------------------------------------------------------------- */

/* To the microsecond: a run is known by its start and its host. */
static void iso_now(char out[40])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", gmtime(&now.tv_sec));
    snprintf(out + n, 40 - n, ".%06ldZ", now.tv_nsec / 1000);
}

static sf_status run_device(struct work *w)
{
    w->memory_limit = sf_memory_limit(w->study->sweep, &w->backend);
    if (w->study->sweep->memory_gib == 0 && sf_device_is_host(w->backend.ops->name))
        w->memory_limit /= (size_t)(w->world.size > 1 ? w->world.locals : w->workers); /* it is all one memory */
    sf_world_tell(&w->team, &w->memory_limit, sizeof w->memory_limit); /* what goes together must be the same on all of a team */
    SF_TRY(sf_world_agree(&w->team, check_memory(w)));
    return run_takes(w);
}

/* ---- plug-ins ------------------------------------------------------------------------------------------------------- */

static bool any_of_plugins(const sf_study *study)
{
    for (int i = 0; i < study->plan.cells; i++)
        if (is_plugins(&study->plan.cell[i])) return true;
    return false;
}

struct plugins_pass {
    struct work *w;
    const char *device;
    int threads;
};

/* In a process of its own, whose parts are named apart from its parent's; it does not fold, since it may be corrupt. */
static sf_status run_plugins_pass(void *user)
{
    const struct plugins_pass *pass = user;
    struct work *w = pass->w;
    silent = true;
    sf_shared own = {0};
    w->shared = &own;
    w->ranks = NULL;
    if (w->workers == 1) sf_store_share(w->store, 1, 2);
    SF_TRY(open_dispatch(w, 1));
    sf_status status = sf_backend_open(pass->device, pass->threads, &w->backend);
    if (status == SF_OK) status = run_device(w);
    return status;
}

/* The cells of plug-ins, in processes apart from this one, each going on where the last one died: a death with several
 * cells in hand is tried again with one at a time, one with a single cell in hand is that cell's failure. */
static sf_status run_plugins(struct work *w, const char *device, int threads)
{
    struct plugins_pass pass = {w, device, threads};
    if (!any_left_of_plugins(w)) return SF_OK;
    w->at_hand = mmap(NULL, sizeof *w->at_hand, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (w->at_hand == MAP_FAILED) return w->at_hand = NULL, sf_fail(SF_NO_MEMORY, "no memory that two processes share");
    w->plugins = w->ran_plugins = true;
    w->alone = false;
    sf_status status;
    for (bool died = true; died;) {
        *w->at_hand = (struct at_hand){-1, 0};
        status = sf_apart(run_plugins_pass, &pass, w->study->sweep->hook_limit, &interrupted, &died);
        if (!died) continue;
        char why[2048];
        snprintf(why, sizeof why, "%s", sf_error());
        const struct at_hand at = *w->at_hand;
        sf_status known = sf_store_refresh(w->store);
        sf_fail(status, "%s", why);
        if (known != SF_OK) status = known;
        else if (at.cell >= 0) status = fail_cell(w, &w->study->plan.cell[at.cell], at.sample, status);
        else if (!w->alone && !w->study->sweep->stop_on_error) status = SF_OK;
        w->alone = at.cell < 0;
        if (status != SF_OK) break;
    }
    munmap(w->at_hand, sizeof *w->at_hand);
    w->at_hand = NULL;
    w->plugins = w->alone = false;
    sf_status known = status == SF_OK || status == SF_INTERRUPTED ? sf_store_refresh(w->store) : SF_OK;
    return known != SF_OK ? known : status;
}

/* ---- several devices ------------------------------------------------------------------------------------------------- */

/* In a process of its own. Threads do not survive a fork: a host backend has but one here. */
static sf_status run_share(void *user, int worker, const char *device, sf_shared *shared)
{
    struct work *w = user;
    silent = true;
    w->worker = worker;
    w->shared = shared;
    sf_store_share(w->store, worker + 1, w->workers + 1);
    SF_TRY(run_plugins(w, device, 1));
    sf_status status = sf_backend_open(device, 1, &w->backend);
    if (status == SF_OK) status = run_device(w);
    sf_backend_close(&w->backend);
    return status;
}

static sf_status run_shares(struct work *w)
{
    SF_TRY(open_dispatch(w, w->workers));
    sf_status status = sf_spread(&w->devices, run_share, w, &interrupted);
    sf_store_share(w->store, 0, w->workers + 1);
    if (status == SF_OK) status = sf_store_refresh(w->store); /* who failed, in whichever of them */
    return status;
}

/* ---- several processes, maybe on several machines ------------------------------------------------------------------- */

/* Threads of each process of a node: those that it is bound to, else its share of all. */
static int threads_of_rank(const struct work *w)
{
    cpu_set_t set;
    if (w->study->sweep->threads || sched_getaffinity(0, sizeof set, &set) != 0) return w->study->sweep->threads;
    int mine = CPU_COUNT(&set), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int share = mine < all ? mine : all / w->world.locals;
    return share > 1 ? share : 1;
}

static sf_status open_rank(struct work *w)
{
    char device[SF_DEVICE_NAME];
    SF_TRY(sf_device_of_rank(w->study->sweep->device, w->world.local, w->world.locals, device));
    if (w->team.size == 1) SF_TRY(run_plugins(w, device, threads_of_rank(w)));
    else if (any_left_of_plugins(w))
        return sf_fail(SF_UNSUPPORTED, "cells of plug-ins run in processes apart, which cannot split a model: leave out `parallel` or the plug-ins");
    SF_TRY(sf_backend_open(device, threads_of_rank(w), &w->backend));
    return w->world.rank == 0 ? open_dispatch(w, w->workers) : SF_OK;
}

/* Collective, once all have their backends. */
static sf_status open_team(struct work *w)
{
    if (w->team.size == 1) return SF_OK;
    SF_TRY(sf_comm_open(&w->team, &w->backend, &w->comm));
    w->backend.comm = &w->comm;
    return SF_OK;
}

/* Before folding: a file system may show what another machine has written some time later. */
static sf_status await_parts(const struct work *w, const sf_ranks *ranks)
{
    enum { SECONDS = 60, TRIES_A_SECOND = 10 };
    const struct timespec pause = {.tv_nsec = 1000 * 1000 * 1000 / TRIES_A_SECOND};
    for (int rank = 0; rank < w->leaders.size; rank++) {
        int seen = -1;
        for (int i = 0; i < SECONDS * TRIES_A_SECOND; i++) {
            if (i) nanosleep(&pause, NULL);
            SF_TRY(sf_store_written(w->store, w->first_part, rank, &seen));
            if (seen == ranks->end[rank].parts) break;
        }
        if (seen != ranks->end[rank].parts)
            return sf_fail(SF_IO, "rank %d has written %d parts of results, of which %d are to be seen from rank 0 after %d seconds; "
                           "they are kept, and the same command folds them", rank, ranks->end[rank].parts, seen, SECONDS);
    }
    return sf_store_refresh(w->store); /* who failed, in whichever of them */
}

/* Rank 0 has opened the store before. */
static sf_status run_ranks(struct work *w)
{
    sf_ranks ranks = {0};
    sf_shared shared = {0};
    int written = 0;
    const bool leads = w->team.rank == 0;
    sf_store_share(w->store, leads ? w->leaders.rank : -1, w->leaders.size);
    sf_status status = sf_world_agree(&w->world, open_rank(w));
    if (status == SF_OK) status = sf_world_agree(&w->world, open_team(w));
    if (status == SF_OK) {
        w->shared = &shared;
        w->ranks = &ranks;
        if (leads) status = sf_ranks_open(&w->leaders, &w->dispatch, &shared, true, &ranks);
        status = sf_world_agree(&w->team, status);
        if (status == SF_OK) status = run_device(w);
        w->ranks = NULL;
        sf_status counted = leads ? sf_store_written(w->store, w->first_part, w->leaders.rank, &written) : SF_OK;
        if (status == SF_OK) status = counted;
        if (leads) status = sf_ranks_end(&ranks, status, written);
        if (w->world.rank == 0 && (status == SF_OK || status == SF_INTERRUPTED)) {
            sf_status seen = await_parts(w, &ranks);
            if (seen != SF_OK) status = seen;
        }
        sf_ranks_close(&ranks);
    }
    return status;
}

/* Plug-ins first, while this process has no threads and no device that a fork would not survive. */
static sf_status run_all(struct work *w)
{
    if (w->world.size > 1) return run_ranks(w);
    if (w->workers > 1) return run_shares(w);
    sf_shared own = {0};
    SF_TRY(run_plugins(w, w->devices.name[0], w->study->sweep->threads));
    w->shared = &own;
    if (!w->backend.ops) SF_TRY(sf_backend_open(w->devices.name[0], w->study->sweep->threads, &w->backend));
    SF_TRY(open_dispatch(w, 1));
    return run_device(w);
}

static int failed_cells(const struct work *w)
{
    int n = 0;
    for (int i = 0; i < w->study->plan.cells; i++) n += sf_store_failed(w->store, w->study->plan.cell[i].key);
    return n;
}

static sf_status name_results(const sf_run_options *options, const struct work *w, char path[4096])
{
    if (options->out) snprintf(path, 4096, "%s", options->out);
    else if (w->shards) snprintf(path, 4096, "results/%s-%dof%d.h5", w->study->sweep->name, w->shard, w->shards);
    else snprintf(path, 4096, "results/%s.h5", w->study->sweep->name);
    return w->world.rank == 0 ? sf_make_folder_of(path, "results") : SF_OK;
}

/* Cells that are stored under other labels than the config's get these; says what is stored already. */
static sf_status take_up(struct work *w, const char *path)
{
    const sf_study *study = w->study;
    int cells = 0, renamed = 0;
    long samples = 0, all = 0;
    sf_cell_info *info = malloc(((size_t)study->plan.cells + 1) * sizeof *info);
    if (!info) return sf_fail(SF_NO_MEMORY, "no memory for %d cells", study->plan.cells);
    for (int i = 0; i < study->plan.cells; i++) {
        int have = 0;
        info[i] = sf_study_cell_info(study, &study->plan.cell[i]);
        for (int n = 0; n < study->plan.cell[i].samples; n++) have += sf_store_has(w->store, info[i].key, n);
        w->cells_done += have == study->plan.cell[i].samples;
        samples += have;
        all += study->plan.cell[i].samples;
    }
    cells = w->cells_done;
    sf_status status = samples ? sf_store_relabel(w->store, study->plan.cells, info, &renamed) : SF_OK;
    free(info);
    if (renamed) fprintf(stderr, "%d stored cells are renamed: the config labels them otherwise now\n", renamed);
    if (samples && samples < all)
        fprintf(stderr, "%s: %d of %d cells are stored, %ld of %ld samples; what lacks is run\n", path, cells, study->plan.cells, samples, all);
    return status;
}

/* Rank 0 opens the results and notes the run, then the others join it. */
static sf_status open_results(const sf_run_options *options, struct work *w, const char *path, const sf_run_info *run)
{
    sf_status status = SF_OK;
    if (w->world.rank == 0) {
        status = sf_store_open(path, options->overwrite, &w->store);
        if (status == SF_OK) status = take_up(w, path);
        if (status == SF_OK) status = sf_store_note(w->store, run);
    }
    SF_TRY(sf_world_agree(&w->world, status));
    if (w->world.rank == 0) w->first_part = sf_store_lead(w->store);
    sf_world_tell(&w->world, &w->first_part, sizeof w->first_part);
    if (w->world.rank > 0) status = sf_store_join(path, w->first_part, &w->store);
    if (status == SF_OK && options->retry) sf_store_forgive(w->store);
    return sf_world_agree(&w->world, status);
}

/* Runs what is left and folds it, between two notes of who ran. */
static sf_status run_noted(const sf_run_options *options, struct work *w, const char *path, const char *started, double begun)
{
    const sf_study *study = w->study;
    struct utsname host = {0};
    uname(&host);
    char *versions = sf_versions_json(), *cells = sf_study_cells(study), *prompts = NULL;
    sf_status status = sf_study_first_prompts(study, &prompts);
    sf_run_info run = {.config = study->sweep->text, .revision = sf_revision(), .host = host.nodename, .versions = versions,
                       .started = started, .seconds = NAN, .batch = study->sweep->batch, .cells = cells, .first_prompts = prompts};
    status = sf_world_agree(&w->world, status);
    if (status == SF_OK) status = open_results(options, w, path, &run);
    if (status == SF_OK) status = run_all(w);
    if (status == SF_OK) run.seconds = sf_now() - begun;
    if (w->world.rank == 0 && w->store && (status == SF_OK || status == SF_INTERRUPTED)) { /* what is finished becomes the results file either way */
        sf_status folded = sf_store_fold(w->store, &run);
        if (status == SF_OK) status = folded;
    }
    free(versions);
    free(cells);
    free(prompts);
    return status;
}

/* All leave with what rank 0, which has heard the others, says of the whole. */
static sf_status end_together(const struct work *w, sf_status status, int *failed)
{
    struct { int status, failed; } whole = {(int)status, *failed};
    sf_world_tell(&w->world, &whole, sizeof whole);
    *failed = whole.failed;
    return (sf_status)whole.status;
}

/* Neighbours split a model: they are most likely on one node. */
static sf_status open_teams(struct work *w)
{
    const int each = w->study->sweep->tensor;
    w->team = sf_alone;
    w->leaders = w->world;
    if (each == 1) return SF_OK;
    if (w->world.size % each != 0 || w->world.size < each)
        return sf_fail(SF_BAD_INPUT, "parallel: {tensor: %d} takes %d processes or a multiple of them, this is one of %d: mpirun -n %d "
                       "frontier run …, or srun", each, each, w->world.size, each);
    SF_TRY(sf_world_split(&w->world, w->world.rank / each, &w->team));
    return sf_world_split(&w->world, w->world.rank % each, &w->leaders);
}

static sf_status run(const sf_run_options *options, struct work *w, char path[4096], int *failed)
{
    sf_study study = {0};
    char started[40];
    iso_now(started);
    double begun = sf_now();
    w->study = &study;
    silent = w->world.rank > 0;

    sf_status status = sf_study_open(options->config, options->sets, options->set, &study);
    if (status == SF_OK && options->only) status = sf_study_only(&study, options->only);
    if (status == SF_OK) status = sf_study_try_samples(&study);
    if (status == SF_OK && !silent) sf_study_print_cuts(&study, stderr);
    if (status == SF_OK) status = name_results(options, w, path);
    if (status == SF_OK) status = sf_devices_of(study.sweep->device, &w->devices);
    if (status == SF_OK) status = open_teams(w);
    w->workers = w->world.size > 1 ? w->leaders.size : w->devices.n;
    w->worker = w->leaders.rank;
    bool early = w->workers == 1 && (!any_of_plugins(&study) || sf_device_is_host(w->devices.name[0]));
    if (status == SF_OK && early) status = sf_backend_open(w->devices.name[0], study.sweep->threads, &w->backend);
    status = sf_world_agree(&w->world, status);
    if (status == SF_OK) {
        struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}; /* a second Ctrl-C ends at once */
        sigaction(SIGINT, &act, NULL);
        if (w->world.size > 1) act.sa_flags = 0; /* a batch system says it more than once, and ends at once by SIGKILL */
        sigaction(SIGTERM, &act, NULL);
        status = run_noted(options, w, path, started, begun);
        *failed = w->world.rank == 0 && w->store ? failed_cells(w) : 0;
        status = end_together(w, status, failed);
    }
    sf_dispatch_close(&w->dispatch);
    sf_store_close(w->store);
    sf_comm_close(&w->comm);
    sf_backend_close(&w->backend);
    sf_study_close(&study);
    if (w->leaders.self != w->world.self) sf_world_close(&w->leaders);
    sf_world_close(&w->team);
    return status;
}

sf_status sf_run(const sf_run_options *options, sf_run_end *end)
{
    struct work w = {.shard = options->shard, .shards = options->shards, .verbose = options->verbose, .team = sf_alone,
                     .leaders = sf_alone};
    *end = (sf_run_end){0};
    sf_status status = sf_world_open(&w.world);
    end->speaks = w.world.rank == 0;
    if (status == SF_OK) status = run(options, &w, end->path, &end->failed);
    end->world = w.world;
    return status;
}
