#include "base/clock.h"
#include "harness/train/training.h"

#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/model/chat.h"
#include "harness/run/progress.h"
#include "harness/run/study.h"
#include "tasks/find.h"
#include "harness/train/hdf5.h"
#include "harness/run/version.h"
#include "tasks/random.h"

/* What is made between two writes, whatever the number of threads, as the file's layout follows it: enough that dozens of
 * threads end about together. */
enum { BATCH_TOKENS = 1 << 23, LEAST_BATCH = 64 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* One sample made. */
struct item {
    int task, sample;
    void *tokens; /* of the width that the file has */
    int n, prompt;
};

struct exporter {
    sf_study study;
    const sf_training_options *o;
    const sf_model *model; /* the first: all have the same tokenizer and template */
    int32_t stop;
    int width, threads; /* bytes of a token */
    int *samples;       /* [tasks] of each, by the mix */
    sf_training_file file;
    sf_progress progress;
    int64_t rows, tokens, answers; /* written: samples, their tokens, those of answers */
};

/* ---- what to make ----------------------------------------------------------------------------------------------- */

static sf_status check_seed(const struct exporter *e)
{
    uint64_t evaluation = e->study.sweep->seed;
    if (e->o->seed != evaluation && e->o->seed != SF_DEFAULT_SEED) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "seed %llu is %s: a model trained on these samples would be evaluated on the same ones; give "
                   "another --seed",
                   (unsigned long long)e->o->seed,
                   e->o->seed == evaluation ? "the evaluation seed of this config"
                                            : "the evaluation seed of every config that names none");
}

/* Samples are those of one tokenizer and template. */
static sf_status check_models(const struct exporter *e)
{
    const sf_sweep *s = e->study.sweep;
    for (int i = 1; i < s->models; i++)
        if (strcmp(e->study.model[i]->hash, e->model->hash) != 0)
            return sf_fail(SF_BAD_INPUT,
                           "%s: its tokenizer or chat template is not that of %s; choose one model with --set "
                           "'models=[PATH]'",
                           s->model[i].path, s->model[0].path);
    if (e->stop < 0) return sf_fail(SF_BAD_INPUT, "%s: has no stop token that could end an answer", s->model[0].path);
    return SF_OK;
}

static sf_status weigh(const struct exporter *e, const char *name, double weight)
{
    const sf_sweep *s = e->study.sweep;
    bool found = false;
    for (int t = 0; t < s->tasks; t++) {
        if (strcmp(s->task[t].task->name, name) != 0) continue;
        double samples = weight * e->o->samples;
        if (!(samples >= 0 && samples <= 1e9 - e->o->first))
            return sf_fail(SF_BAD_INPUT, "--mix: weight %g of task '%s' gives no possible number of samples", weight,
                           name);
        e->samples[t] = (int)(samples + 0.5);
        found = true;
    }
    return found ? SF_OK : sf_fail(SF_BAD_INPUT, "--mix: there is no task '%s' in the config", name);
}

static sf_status read_mix(const struct exporter *e)
{
    for (int t = 0; t < e->study.sweep->tasks; t++) e->samples[t] = e->o->samples;
    char *copy = strdup(e->o->mix ? e->o->mix : ""), *rest = copy;
    sf_status status = copy ? SF_OK : sf_fail(SF_NO_MEMORY, "--mix: no memory");
    for (char *part; status == SF_OK && (part = strsep(&rest, ","));) {
        if (!*part) continue;
        char *value = strchr(part, '='), *end = NULL;
        if (value) *value++ = 0;
        double weight = value ? strtod(value, &end) : 0;
        status = value && *value && !*end ? weigh(e, part, weight)
                                          : sf_fail(SF_BAD_INPUT, "--mix: expected TASK=WEIGHT, found '%s'", part);
    }
    free(copy);
    return status;
}

/* That no sample would repeat another, in any length. */
static sf_status check_supply(const struct exporter *e)
{
    const sf_sweep *s = e->study.sweep;
    for (int t = 0; t < s->tasks; t++)
        for (int l = 0; l < s->lengths; l++) {
            int wanted = e->samples[t] ? e->o->first + e->samples[t] : 0, samples;
            SF_TRY(sf_study_supply(&e->study, 0, t, l, wanted, &samples));
            if (samples < wanted)
                return sf_fail(SF_BAD_INPUT,
                               "task %s, %d tokens: it has %d samples that do not repeat a question, %d were asked for; "
                               "lower --samples or give it a weight in --mix",
                               s->task[t].label, s->length[l], samples, wanted);
        }
    return SF_OK;
}

/* All samples of a length, in the order in which they are written: item number k of the cells laid end to end. */
static int *order_of(const struct exporter *e, int length, int n)
{
    int *order = malloc(((size_t)n + 1) * sizeof *order);
    if (!order) return NULL;
    for (int i = 0; i < n; i++) order[i] = i;
    sf_random r = sf_random_stream("training order", e->o->seed, e->study.sweep->length[length]);
    sf_random_shuffle(&r, order, n);
    return order;
}

static struct item item_at(const struct exporter *e, int k)
{
    int task = 0;
    for (; k >= e->samples[task]; task++) k -= e->samples[task];
    return (struct item){.task = task, .sample = e->o->first + k};
}

/* ---- one sample ------------------------------------------------------------------------------------------------- */

/* That this answer, generated, would be right. */
static sf_status check_answer(const struct exporter *e, const sf_task_spec *spec, const sf_sample *sample,
                              const int32_t *ids, int n)
{
    char *text;
    sf_score score;
    SF_TRY(sf_decode(e->model->tokenizer, ids, n, true, &text));
    sf_status status = sf_task_score(spec->task, spec->params, sample, text, &score);
    if (status == SF_OK && score.strict != 1)
        status = sf_fail(SF_BAD_INPUT, "the perfect answer scores %g once it has been through the tokenizer: '%.200s'",
                         score.strict, text);
    free(text);
    return status;
}

/* Input, answer, stop token: one row of ids, of the file's width. */
static sf_status join(const struct exporter *e, const int32_t *prompt, const int32_t *answer, int answers,
                      struct item *out)
{
    const int vocab = e->model->config.vocab;
    out->n = out->prompt + answers + 1;
    out->tokens = malloc((size_t)out->n * (size_t)e->width);
    if (!out->tokens) return sf_fail(SF_NO_MEMORY, "no memory for %d tokens", out->n);
    for (int i = 0; i < out->n; i++) {
        int32_t id = i < out->prompt ? prompt[i] : i < out->n - 1 ? answer[i - out->prompt] : e->stop;
        if (id < 0 || id >= vocab)
            return sf_fail(SF_BAD_INPUT,
                           "token %d, but the model's vocabulary has %d: config.json and tokenizer.json do not "
                           "belong together",
                           id, vocab);
        if (e->width == 2)
            ((uint16_t *)out->tokens)[i] = (uint16_t)id;
        else
            ((uint32_t *)out->tokens)[i] = (uint32_t)id;
    }
    return SF_OK;
}

static sf_status make(const struct exporter *e, int length, struct item *out)
{
    const sf_sweep *s = e->study.sweep;
    const sf_task_spec *spec = &s->task[out->task];
    sf_sample sample;
    sf_input input;
    int32_t *answer = NULL;
    int answers = 0;
    SF_TRY(sf_study_sample(&e->study, 0, out->task, length, out->sample, &sample, &input));
    out->prompt = input.tokens;
    sf_status status = sample.laters ? sf_fail(SF_UNSUPPORTED, "several turns are no sample to train on: leave out `turns`")
                       : sample.answer ? SF_OK : sf_fail(SF_UNSUPPORTED, "it gives no answer to train on");
    if (status == SF_OK)
        status = sf_chat_encode_answer(e->model->chat, e->model->tokenizer, sample.answer, strlen(sample.answer),
                                       &answer, &answers);
    if (status == SF_OK) status = check_answer(e, spec, &sample, answer, answers);
    if (status == SF_OK) status = join(e, input.id, answer, answers, out);
    sf_input_free(&input);
    free(answer);
    sf_sample_free(&sample);
    return sf_blame(status, "task %s, %d tokens, sample %d", spec->label, s->length[length], out->sample);
}

/* ---- a batch: made by all threads, written by one --------------------------------------------------------------- */

static sf_status make_batch(const struct exporter *e, int length, int n, struct item *item)
{
    sf_status status = SF_OK;
    int failed = n;
    char why[4096];
#pragma omp parallel for schedule(dynamic) num_threads(e->threads)
    for (int i = 0; i < n; i++) {
        if (interrupted) continue;
        sf_status mine = make(e, length, &item[i]);
        if (mine == SF_OK) continue;
#pragma omp critical
        if (i < failed) { /* of several, the first */
            failed = i;
            status = mine;
            snprintf(why, sizeof why, "%s", sf_error());
        }
    }
    if (status != SF_OK) return sf_fail(status, "%s", why);
    return interrupted ? sf_fail(SF_INTERRUPTED, "stopped; nothing was written") : SF_OK;
}

struct columns {
    int64_t *offset, *sample;
    int32_t *prompt, *length;
    uint8_t *task;
    char *tokens;
};

static sf_status append_batch(struct exporter *e, int length, int n, const struct item *item, const struct columns *c)
{
    size_t at = 0, width = (size_t)e->width;
    for (int i = 0; i < n; i++) {
        memcpy(c->tokens + at * width, item[i].tokens, (size_t)item[i].n * width);
        at += (size_t)item[i].n;
        c->offset[i] = e->tokens + (int64_t)at;
        c->sample[i] = item[i].sample;
        c->prompt[i] = item[i].prompt;
        c->length[i] = e->study.sweep->length[length];
        c->task[i] = (uint8_t)item[i].task;
        e->answers += item[i].n - item[i].prompt;
    }
    e->tokens += (int64_t)at;
    e->rows += n;
    SF_TRY(sf_training_append(&e->file, SF_TRAINING_TOKENS, c->tokens, at));
    SF_TRY(sf_training_append(&e->file, SF_TRAINING_OFFSET, c->offset, (size_t)n));
    SF_TRY(sf_training_append(&e->file, SF_TRAINING_SAMPLE, c->sample, (size_t)n));
    SF_TRY(sf_training_append(&e->file, SF_TRAINING_PROMPT, c->prompt, (size_t)n));
    SF_TRY(sf_training_append(&e->file, SF_TRAINING_LENGTH, c->length, (size_t)n));
    return sf_training_append(&e->file, SF_TRAINING_TASK, c->task, (size_t)n);
}

static sf_status write_batch(struct exporter *e, int length, int n, const struct item *item)
{
    size_t tokens = 0, rows = (size_t)n;
    for (int i = 0; i < n; i++) tokens += (size_t)item[i].n;
    struct columns c = {malloc(rows * sizeof *c.offset),
                        malloc(rows * sizeof *c.sample),
                        malloc(rows * sizeof *c.prompt),
                        malloc(rows * sizeof *c.length),
                        malloc(rows),
                        malloc(tokens * (size_t)e->width)};
    bool ok = c.offset && c.sample && c.prompt && c.length && c.task && c.tokens;
    sf_status status =
        ok ? append_batch(e, length, n, item, &c) : sf_fail(SF_NO_MEMORY, "no memory for %zu tokens", tokens);
    free(c.offset), free(c.sample), free(c.prompt), free(c.length), free(c.task), free(c.tokens);
    return status;
}

static void show(struct exporter *e, int length, int n)
{
    snprintf(e->progress.place, sizeof e->progress.place, "%d tokens", e->study.sweep->length[length]);
    e->progress.done += (double)n * e->study.sweep->length[length];
    char detail[64];
    snprintf(detail, sizeof detail, "%.1f M written, %.2f M/s", (double)e->tokens / 1e6,
             (double)e->tokens / 1e6 / (sf_now() - e->progress.begun));
    sf_progress_show(&e->progress, 0, detail);
}

static sf_status export_length(struct exporter *e, int length)
{
    const int fit = BATCH_TOKENS / e->study.sweep->length[length], room = fit > LEAST_BATCH ? fit : LEAST_BATCH;
    int n = 0;
    for (int t = 0; t < e->study.sweep->tasks; t++) n += e->samples[t];
    int *order = order_of(e, length, n);
    struct item *item = malloc((size_t)room * sizeof *item);
    sf_status status = order && item ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for the order of %d samples", n);
    for (int at = 0, some; status == SF_OK && at < n; at += some) {
        some = n - at < room ? n - at : room;
        for (int i = 0; i < some; i++) item[i] = item_at(e, order[at + i]);
        status = make_batch(e, length, some, item);
        if (status == SF_OK) status = write_batch(e, length, some, item);
        for (int i = 0; i < some; i++) free(item[i].tokens);
        if (status == SF_OK) show(e, length, some);
    }
    free(order);
    free(item);
    return status;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static sf_status create(struct exporter *e, uint64_t evaluation_seed)
{
    const sf_sweep *s = e->study.sweep;
    const char **name = calloc(2 * (size_t)s->tasks, sizeof *name), **params = name + s->tasks;
    if (!name) return sf_fail(SF_NO_MEMORY, "no memory for the names of %d tasks", s->tasks);
    for (int t = 0; t < s->tasks; t++) name[t] = s->task[t].label, params[t] = s->task[t].json;
    const sf_training_info info = {
        .seed = e->o->seed,
        .evaluation_seed = evaluation_seed,
        .config = s->text,
        .revision = sf_revision(),
        .model = s->model[0].path,
        .tokenizer = e->model->hash,
        .chat = sf_chat_name(e->model->chat),
        .vocab = e->model->config.vocab,
        .stop = e->stop,
    };
    sf_status status = sf_training_create(e->o->out, &info, s->tasks, name, params, &e->file);
    free(name);
    return status;
}

static sf_status prepare(struct exporter *e)
{
    sf_sweep *s = e->study.sweep;
    e->model = e->study.model[0];
    e->stop = sf_chat_stop(e->model->chat, e->model->tokenizer, e->model->stop, e->model->stops);
    e->width = sf_training_token_bytes(e->model->config.vocab);
    e->threads = e->o->threads ? e->o->threads : s->threads ? s->threads : omp_get_max_threads();
    SF_TRY(check_seed(e));
    SF_TRY(check_models(e));
    if (s->tasks > 256) return sf_fail(SF_UNSUPPORTED, "%d tasks; a file of training samples numbers 256", s->tasks);
    e->samples = calloc((size_t)s->tasks, sizeof *e->samples);
    if (!e->samples) return sf_fail(SF_NO_MEMORY, "no memory for %d tasks", s->tasks);
    SF_TRY(read_mix(e));
    double all = 0, work = 0;
    for (int t = 0; t < s->tasks; t++) all += e->samples[t];
    if (all < 1 || all > 2e9) return sf_fail(SF_BAD_INPUT, "%.0f samples a length; expected 1 to 2000000000", all);
    for (int l = 0; l < s->lengths; l++) work += all * s->length[l];
    sf_progress_begin(&e->progress, work);
    return SF_OK;
}

static sf_status export_all(struct exporter *e)
{
    SF_TRY(prepare(e));
    SF_TRY(check_supply(e));
    uint64_t evaluation_seed = e->study.sweep->seed;
    sf_status status = create(e, evaluation_seed);
    e->study.sweep->seed = e->o->seed;
    for (int l = 0; status == SF_OK && l < e->study.sweep->lengths; l++) status = export_length(e, l);
    sf_progress_clear(&e->progress);
    SF_TRY(sf_training_close(&e->file, status));
    double seconds = sf_now() - e->progress.begun;
    char time[32];
    sf_duration(seconds, time);
    printf("%s: %lld samples, %.3f M tokens, %.3f M of them answers, %s (%.2f M tokens a second)\n", e->o->out,
           (long long)e->rows, (double)e->tokens / 1e6, (double)e->answers / 1e6, time,
           (double)e->tokens / 1e6 / seconds);
    return SF_OK;
}

sf_status sf_training_export(const sf_training_options *options)
{
    if (!options->overwrite && access(options->out, F_OK) == 0)
        return sf_fail(SF_BAD_INPUT, "%s is there already; --force replaces it", options->out);
    struct exporter e = {.o = options};
    sf_status status = sf_study_open_text(options->config, options->sets, options->set, &e.study);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (status == SF_OK) status = export_all(&e);
    free(e.samples);
    sf_study_close(&e.study);
    return status;
}
