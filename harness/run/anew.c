#include "harness/run/anew.h"

#include <stdlib.h>
#include <string.h>

#include "harness/run/schedule.h"

/* One lane's next turn. */
typedef struct turn {
    const sf_taken *taken;
    sf_means over; /* what its means are over so far */
    sf_lane lane;
    int32_t *talk;
    float *map; /* density and recall of both phases */
    void *params[SF_PHASES];
} turn;

/* Tokens of the conversation before turn k is answered, written to `to`. Returns how many; to NULL: only that. */
static int write_talk(const sf_taken *t, const sf_lane *lane, int k, int32_t *to)
{
    const int32_t *later = t->input.later;
    int n = t->input.tokens;
    if (to) memcpy(to, t->input.id, (size_t)n * sizeof *to);
    for (int i = 0, from = 0; i < k; from = lane->answer[i++].end) {
        const int answered = lane->answer[i].end - from, asked = t->input.later_tokens[i];
        if (to) memcpy(to + n, lane->output + from, (size_t)answered * sizeof *to);
        if (to) memcpy(to + n + answered, later, (size_t)asked * sizeof *to);
        n += answered + asked;
        later += asked;
    }
    return n;
}

/* Turn k of lane i, its budgets fitted to the conversation. */
static sf_status prepare(const struct work *w, int i, int k, turn *t, sf_job *job)
{
    const sf_cell *cell = w->pending[i];
    const sf_task_spec *task = &w->study->sweep->task[cell->task];
    const sf_model_config *c = &w->study->model[cell->model]->config;
    const size_t heads = (size_t)c->layers * (size_t)c->heads;
    const int tokens = write_talk(t->taken, &w->lane[i], k, NULL), late = task->late ? t->taken->input.later_tokens[k - 1] : 0;
    const sf_arm *arm[SF_PHASES] = {[SF_PREFILL] = cell->prefill, [SF_DECODE] = cell->decode};
    t->talk = malloc((size_t)tokens * sizeof *t->talk);
    t->map = malloc(2 * SF_PHASES * heads * sizeof *t->map);
    if (!t->talk || !t->map) return sf_fail(SF_NO_MEMORY, "no memory for a conversation of %d tokens", tokens);
    write_talk(t->taken, &w->lane[i], k, t->talk);
    t->lane = (sf_lane){.prefill = w->lane[i].prefill, .decode = w->lane[i].decode, .cache = cell->cache, .output = w->lane[i].output + w->lane[i].outputs};
    for (int p = 0; p < SF_PHASES; p++) {
        t->lane.density[p] = t->map + 2 * (size_t)p * heads, t->lane.recall[p] = t->map + (2 * (size_t)p + 1) * heads;
        SF_TRY(sf_arm_fit(arm[p], cell->sparsity[p], (sf_phase)p, c, tokens - late, late + task->output, &t->params[p]));
    }
    t->lane.prefill_params = t->params[SF_PREFILL], t->lane.decode_params = t->params[SF_DECODE];
    *job = (sf_job){.token = t->talk, .tokens = tokens - late, .question = t->talk + tokens - late, .questions = late, .lanes = 1, .lane = &t->lane};
    return SF_OK;
}

/* Adds what a lane's turn k gave to the lane. */
static void finish(const struct work *w, int i, int k, turn *t, const sf_job *job)
{
    const sf_model_config *c = &w->study->model[w->pending[i]->model]->config;
    sf_lane *sum = &w->lane[i];
    sf_lane_add(sum, &t->over, &t->lane, sf_lane_means(job->tokens, job->questions, &t->lane), (int64_t)c->layers * c->heads);
    sum->outputs += t->lane.outputs;
    sum->stopped &= t->lane.stopped;
    sum->answer[k] = (sf_answer){sum->outputs, t->lane.stopped};
}

static void forget(turn *t)
{
    free(t->talk);
    free(t->map);
    for (int p = 0; p < SF_PHASES; p++) free(t->params[p]);
    *t = (turn){.taken = t->taken, .over = t->over};
}

void sf_anew_hold(struct work *w, size_t bytes)
{
    if (w->memory_held + bytes > w->memory_limit) { /* what earlier ones left may be of another shape */
        sf_engine_trim(w->engine);
        w->memory_held = 0;
    }
    w->memory_held = bytes > w->memory_held ? bytes : w->memory_held;
}

static sf_status run_turn(struct work *w, int first, int k, const sf_generation *how, turn *t, sf_job *job)
{
    const sf_model_config *c = &w->study->model[w->pending[first]->model]->config;
    const int n = w->lanes_now;
    for (int i = 0; i < n; i++) SF_TRY(prepare(w, first + i, k, &t[i], &job[i]));
    for (int i = 0; i < n;) {
        sf_fit fit;
        SF_TRY(sf_fit_memory(c, &w->backend, n - i, job + i, how, w->kept + first + i, w->memory_limit, &fit));
        sf_anew_hold(w, fit.bytes);
        SF_TRY(sf_engine_run(w->engine, fit.jobs, job + i, how));
        i += fit.jobs;
    }
    for (int i = 0; i < n; i++) finish(w, first + i, k, &t[i], &job[i]);
    return SF_OK;
}

sf_status sf_anew_run(struct work *w, int at, int first, const sf_generation *how)
{
    const int n = w->lanes_now, turns = w->taken[at].input.turns;
    turn *t = calloc((size_t)n, sizeof *t);
    sf_job *job = calloc((size_t)n, sizeof *job);
    sf_status status = t && job ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the turns of %d lanes", n);
    for (int i = 0; i < n && status == SF_OK; i++) {
        while (first + i >= w->taken[at].first + w->taken[at].lanes) at++;
        const sf_input *input = &w->taken[at].input;
        t[i].taken = &w->taken[at];
        t[i].over = sf_lane_means(input->tokens - input->late, input->late, &w->lane[first + i]);
    }
    for (int k = 1; k <= turns && status == SF_OK; k++) {
        status = run_turn(w, first, k, how, t, job);
        for (int i = 0; i < n; i++) forget(&t[i]);
    }
    free(t);
    free(job);
    return status;
}
