#include "harness/run/judge.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/model/cost.h"
#include "harness/model/tokenizer.h"
#include "tasks/find.h"

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

/* By stretches of what positions count in: the prompt, or the output that there may be behind it. */
static void divergence_along(const sf_lane *lane, sf_phase phase, int tokens, int max_output, sf_profile *out)
{
    const int first = phase == SF_PREFILL ? 1 : tokens, whole = phase == SF_PREFILL ? tokens - 1 : max_output;
    int n[SF_STRETCHES] = {0};
    *out = (sf_profile){0};
    for (int i = 0; i < lane->divergences[phase]; i++) {
        const sf_divergence *d = &lane->divergence[phase][i];
        const int at = (int)((int64_t)(d->position - first) * SF_STRETCHES / whole);
        n[at]++;
        out->nll[at] += d->nll;
        out->dense_nll[at] += d->dense_nll;
        out->kl[at] += d->kl;
    }
    for (int k = 0; k < SF_STRETCHES; k++) {
        const float share = n[k] ? 1.0f / (float)n[k] : NAN;
        out->nll[k] *= share, out->dense_nll[k] *= share, out->kl[k] *= share;
    }
}

/* Where in the context the answer stands, 0 (begin) … 1 (end): its gold texts' first places, on average. NAN where one is
 * not there, or where they are further apart than a tenth, or where several turns ask. */
static double depth_of(const sf_sample *sample)
{
    if (sample->laters) return NAN;
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

/* A text, with '?' for its bytes beyond ASCII where it is cut within a character. */
static json_t *json_text(char *text)
{
    json_t *value = json_string(text);
    if (value) return value;
    for (char *at = text; *at; at++)
        if (*at & 0x80) *at = '?';
    return json_string(text);
}

/* Several turns: their texts and scores as lists, the means in *mean. */
static sf_status judge_turns(const sf_task_spec *task, const sf_model *model, const sf_taken *t, const sf_lane *lane, sf_answered *answered,
                             sf_score *mean)
{
    const int turns = 1 + t->sample.laters;
    json_t *texts = json_array(), *scores = json_array();
    sf_status status = texts && scores ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for %d answers", turns);
    *mean = (sf_score){.parsed = true};
    for (int i = 0, at = 0; i < turns && status == SF_OK; at = lane->answer[i++].end) {
        const sf_sample *asked = i ? &t->sample.later[i - 1] : &t->sample;
        sf_score score;
        char *text = NULL;
        status = sf_decode(model->tokenizer, lane->output + at, lane->answer[i].end - at, true, &text);
        if (status == SF_OK) status = sf_task_score(task->task, task->params, asked, text, &score);
        if (status == SF_OK) {
            json_array_append_new(texts, json_text(text));
            json_array_append_new(scores, json_real(score.strict));
            mean->strict += score.strict / turns;
            mean->reference += score.reference / turns;
            mean->parsed &= score.parsed;
        }
        free(text);
    }
    answered->prediction = status == SF_OK ? json_dumps(texts, JSON_COMPACT) : NULL;
    answered->turn_scores = status == SF_OK ? json_dumps(scores, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    const bool whole = json_array_size(texts) == (size_t)turns && answered->prediction && answered->turn_scores;
    json_decref(texts);
    json_decref(scores);
    return status != SF_OK || whole ? status : sf_fail(SF_NO_MEMORY, "no memory for %d answers", turns);
}

sf_status sf_judge(const sf_study *study, const sf_cell *cell, const sf_taken *t, const sf_lane *lane,
                   void *const params[SF_PHASES], sf_answered *answered, sf_profile along[SF_PHASES], sf_record *r)
{
    const sf_task_spec *task = &study->sweep->task[cell->task];
    const sf_model *model = study->model[cell->model];
    sf_score score;
    if (t->sample.laters) {
        SF_TRY(judge_turns(task, model, t, lane, answered, &score));
    } else {
        SF_TRY(sf_decode(model->tokenizer, lane->output, lane->outputs, true, &answered->prediction));
        SF_TRY(sf_task_score(task->task, task->params, &t->sample, answered->prediction, &score));
    }
    const int later = sf_input_later(&t->input), late = t->input.late + (task->asking != SF_ASK_ANEW || task->late ? later : 0);
    *r = (sf_record){.sample = t->index, .input_tokens = t->input.tokens + later, .late_tokens = late ? late : NAN,
                     .output_tokens = lane->outputs,
                     .parsed = score.parsed, .truncated = !lane->stopped,
                     .strict = score.strict, .reference = score.reference, .meter = lane->meter,
                     .prediction = answered->prediction, .turn_scores = answered->turn_scores, .gold = t->gold, .depth = depth_of(&t->sample),
                     .prompt_hash = XXH3_64bits(t->input.id, (size_t)t->input.tokens * sizeof *t->input.id)};
    while (model->bos >= 0 && r->bos_tokens < t->input.tokens && t->input.id[r->bos_tokens] == model->bos) r->bos_tokens++;
    const sf_method *method[SF_PHASES] = {[SF_PREFILL] = lane->prefill, [SF_DECODE] = lane->decode};
    const int tokens[SF_PHASES] = {[SF_PREFILL] = t->input.tokens - t->input.late, [SF_DECODE] = t->input.tokens}; /* before it begins to write */
    for (int p = 0; p < SF_PHASES; p++) {
        double density = mean_over_global(lane->density[p], &model->config);
        r->achieved[p] = 1 - density;
        r->seconds[p] = lane->seconds[p];
        r->density[p] = lane->density[p];
        r->recall[p] = study->sweep->recall_rows ? lane->recall[p] : NULL;
        r->diverged[p] = mean_divergence(lane, (sf_phase)p);
        if (lane->divergence[p]) {
            divergence_along(lane, (sf_phase)p, tokens[p], task->output, &along[p]);
            r->along[p] = &along[p];
        }
        r->error[p] = study->sweep->recall_rows ? lane->error[p] : NULL;
        r->picture[p] = lane->picture[p] && lane->picture[p]->keys ? lane->picture[p] : NULL;
        sf_cost cost;
        sf_cost_of(&model->config, &(sf_cost_query){.phase = (sf_phase)p, .tokens = tokens[p], .batch = 1, .density = density,
                                                    .weighing = sf_lane_weighing(lane, &model->config, (sf_phase)p),
                                                    .method = method[p], .params = params[p], .watches = lane->decode,
                                                    .watches_params = params[SF_DECODE], .output = task->output - 1,
                                                    .element = strncmp(study->sweep->device, "cuda", 4) == 0 ? SF_BF16 : SF_F32}, &cost);
        if (!(cost.paper >= 0 && cost.exact >= 0) || isinf(cost.paper) || isinf(cost.exact))
            return sf_fail(SF_BAD_INPUT, "method '%s', estimate: the cost of the %s comes to %g (paper) and %g (exact), expected finite "
                           "numbers that are not negative", method[p] ? method[p]->name : lane->decode ? lane->decode->name : "dense",
                           p == SF_PREFILL ? "prefill" : "decode", cost.paper, cost.exact);
        r->cost_paper[p] = cost.paper;
        r->cost_exact[p] = cost.exact;
    }
    return SF_OK;
}
