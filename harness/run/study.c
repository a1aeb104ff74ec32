/* What a sweep stands on: its models, its plan, and any one of its samples. */
#include "harness/run/study.h"
#include "base/data.h"
#include "harness/store/where.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "harness/model/cost.h"
#include "harness/engine/engine.h"
#include "harness/engine/hooks.h"
#include "harness/model/chat.h"
#include "harness/model/describe.h"
#include "harness/model/mixer.h"
#include "harness/model/part.h"
#include "harness/model/side.h"
#include "harness/model/tokenizer.h"
#include "harness/model/verify.h"
#include "harness/run/apart.h"
#include "harness/run/interrupt.h"
#include "tasks/find.h"

static sf_status open_model(const sf_model_spec *spec, bool weights, sf_model **out)
{
    if (spec->random && weights) {
        sf_model_config config;
        SF_TRY(sf_shape_open(spec->path, &config));
        SF_TRY(sf_model_random(&config, 0, out));
        return spec->dual_chunks ? sf_model_dual_chunks(*out, spec->reach) : SF_OK;
    }
    char room[4096];
    const char *path = sf_data_found(spec->path, room);
    SF_TRY(weights ? sf_model_open(path, out) : sf_model_open_text(path, out));
    if (spec->dual_chunks) SF_TRY(sf_model_dual_chunks(*out, spec->reach));
    return sf_blame(sf_model_chat(*out, spec->chat), "%s", spec->path);
}

static const char NO_TEMPLATE[] = "\"none\"";

static sf_status check_model(const sf_sweep *sweep, const sf_model_spec *spec, bool weights, const sf_model *model)
{
    if (weights && !model->weights.embedding.data)
        return sf_fail(SF_BAD_INPUT, "%s: is a shape without weights; `frontier cost` takes it, a run needs weights "
                                     "(or 'weights: random')", spec->path);
    if (!model->tokenizer)
        return sf_fail(SF_BAD_INPUT, "%s: has no tokenizer, so no task can be written for it", spec->path);
    if (!model->chat) return sf_fail(SF_BAD_INPUT, "%s: %s", spec->path, model->no_chat);
    int longest = sweep->length[sweep->lengths - 1], output = 0;
    for (int t = 0; t < sweep->tasks; t++)
        if (sf_task_behind(&sweep->task[t]) > output) output = sf_task_behind(&sweep->task[t]);
    int most = model->config.max_position;
    if (most && longest + output > most)
        return sf_fail(SF_BAD_INPUT, "%s: length %d and %d tokens of output do not fit its %d positions; lower `lengths` or "
                                     "`output`", spec->path, longest, output, most);
    return SF_OK;
}

/* How its positions were read, and what is doubted of it: about its files, its texts and its prompt. */
static sf_status understand(const sf_model *model, struct sf_understood *out)
{
    sf_doubts doubts = model->doubts;
    sf_round_trips trips;
    int32_t *ids;
    int n;
    sf_positions_text(&model->config, sizeof out->positions, out->positions);
    SF_TRY(sf_verify_texts(model, &trips, &doubts));
    SF_TRY(sf_verify_prompt(model, "How many legs do 3 spiders have?", &ids, &n, &doubts));
    free(ids);
    size_t used = 0;
    for (int i = 0; i < doubts.n && used < sizeof out->doubts; i++)
        used += (size_t)snprintf(out->doubts + used, sizeof out->doubts - used, "%s%s", i ? "; " : "", doubts.text[i]);
    return SF_OK;
}

/* The methods that a model is run under: its own attention alone, or those of the sweep. */
static int arms_of(const sf_sweep *s, const sf_model_spec *spec, const sf_arm_pair **out)
{
    *out = spec->alone ? &spec->own : s->arm;
    return spec->alone ? 1 : s->arms;
}

/* That methods have what was trained for this model. */
static sf_status check_weights(const sf_sweep *s, const sf_model_spec *spec, const sf_model_config *c)
{
    const sf_arm_pair *arm;
    for (int i = 0, n = arms_of(s, spec, &arm); i < n; i++) {
        const sf_arm *prefill = &arm[i].prefill, *decode = &arm[i].decode;
        if (prefill->method) SF_TRY(sf_blame(sf_side_check(c, prefill->method, prefill->params), "model '%s'", c->name));
        if (decode->method) SF_TRY(sf_blame(sf_side_check(c, decode->method, decode->params), "model '%s'", c->name));
    }
    return SF_OK;
}

/* That the model's cache can be rounded, or packed, as is asked, and methods go with it. */
static sf_status check_caches(const sf_sweep *s, const sf_model_spec *spec, const sf_model_config *c)
{
    const sf_arm_pair *arm;
    const int arms = arms_of(s, spec, &arm);
    for (int i = 0; i < s->caches; i++) {
        SF_TRY(sf_cache_check(s->cache[i], c, s->tensor));
        for (int a = 0; a < arms; a++) SF_TRY(sf_cache_check_method(s->cache[i], arm[a].decode.method, s->recall_rows > 0));
    }
    return SF_OK;
}

static bool rounds_to_int8(const sf_sweep *s) { return strncmp(s->device, "cpu-int8", 8) == 0; }

/* Weights of a model's linear layers by type: [SF_DTYPES] numbers of them. Those of experts are all counted. */
static void count_weights(const sf_model *model, double *of)
{
    const sf_model_config *c = &model->config;
    const sf_weights *w = &model->weights;
    of[w->head.dtype] += (double)sf_elements(&w->head);
    for (int l = 0; l < c->layers; l++) {
        const sf_tensor *t = (const sf_tensor *)&w->layer[l];
        for (size_t i = 0; i < sizeof w->layer[l] / sizeof *t; i++)
            if (t[i].data && t[i].rank == 2 && &t[i] != &w->layer[l].convolution) of[t[i].dtype] += (double)sf_elements(&t[i]);
        for (int64_t i = 0; w->expert && i < SF_EXPERT_PARTS * c->router.experts; i++) {
            const sf_tensor *e = w->expert + l * SF_EXPERT_PARTS * c->router.experts + i;
            if (e->data && e->rank == 2) of[e->dtype] += (double)sf_elements(e);
        }
        for (int64_t i = 0; w->head_part && i < SF_HEAD_PARTS * c->heads; i++) {
            const sf_tensor *part = w->head_part + l * SF_HEAD_PARTS * c->heads + i;
            if (part->data) of[part->dtype] += (double)sf_elements(part);
        }
    }
}

/* "Q4_0, Q6_K": the types of which there are weights and which are multiplied in whole numbers, or are not. */
static void name_types(const double *of, bool whole, size_t size, char *text)
{
    size_t used = 0;
    *text = 0;
    for (sf_dtype t = 0; t < SF_DTYPES && used < size; t++)
        if (of[t] > 0 && sf_integer_type(t) == whole)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", sf_dtypes[t].name);
}

/* That int8 arithmetic changes anything. */
static sf_status check_int8(const sf_sweep *s, const sf_model_spec *spec, const sf_model *model)
{
    double of[SF_DTYPES] = {0};
    char found[256], wanted[256];
    if (!rounds_to_int8(s)) return SF_OK;
    count_weights(model, of);
    for (sf_dtype t = 0; t < SF_DTYPES; t++)
        if (of[t] > 0 && sf_integer_type(t)) return SF_OK;
    name_types(of, false, sizeof found, found);
    for (sf_dtype t = 0; t < SF_DTYPES; t++) of[t] = sf_integer_type(t);
    name_types(of, true, sizeof wanted, wanted);
    return sf_fail(SF_UNSUPPORTED, "%s: arithmetic int8 is for weights in %s; its linear layers are in %s: take a GGUF file in one of these, or "
                                   "leave `arithmetic` out", spec->path, wanted, found);
}

void sf_study_print_arithmetic(const sf_study *study, FILE *out)
{
    for (int m = 0; rounds_to_int8(study->sweep) && m < study->sweep->models; m++) {
        double of[SF_DTYPES] = {0}, whole = 0, all = 0;
        char rounded[256], others[256];
        count_weights(study->model[m], of);
        for (sf_dtype t = 0; t < SF_DTYPES; t++) all += of[t], whole += sf_integer_type(t) ? of[t] : 0;
        name_types(of, true, sizeof rounded, rounded);
        name_types(of, false, sizeof others, others);
        fprintf(out, "%s, arithmetic int8: activations are rounded to 8 bits, 32 to a scale, for %.1f %% of the weights of linear layers (%s)%s%s%s\n",
                study->sweep->model[m].label, 100 * whole / all, rounded, *others ? "; the others (" : "", others, *others ? ") stay in fp32" : "");
    }
    for (int i = 0; i < study->sweep->caches; i++) {
        const sf_cache_format *f = study->sweep->cache[i];
        if (f && f->packed)
            fprintf(out, "cache %s: keys and values of prompts are stored at %d bits a number%s, and read so by each step of decode\n", f->name, f->bits,
                    f->scale_bytes ? " and its scales" : "");
        else if (f) fprintf(out, "cache %s: keys and values are rounded as they are stored, and kept as floats; bytes are counted at %d bits a number%s\n",
                       f->name, f->bits, f->scale_bytes ? " and its scales" : "");
    }
}

static bool any_task(const sf_sweep *s, bool raw)
{
    bool any = false;
    for (int t = 0; t < s->tasks; t++) any |= s->task[t].task->raw == raw;
    return any;
}

/* Opens the models of `sweep`, which the study then owns. */
static sf_status open_study(const char *config, sf_sweep *sweep, bool weights, sf_study *out)
{
    *out = (sf_study){.sweep = sweep};
    int n = out->sweep->models;
    out->model = calloc((size_t)n, sizeof *out->model);
    out->understood = weights ? calloc((size_t)n, sizeof *out->understood) : NULL;
    out->plain = any_task(sweep, true) ? calloc((size_t)n, sizeof *out->plain) : NULL;
    const char **hash = calloc((size_t)n, sizeof *hash);
    sf_status status = out->model && hash && (out->understood || !weights) && (out->plain || !any_task(sweep, true))
                           ? SF_OK
                           : sf_fail(SF_NO_MEMORY, "%s: no memory for its models", config);
    for (int i = 0; status == SF_OK && i < n; i++) {
        status = open_model(&out->sweep->model[i], weights, &out->model[i]);
        if (status == SF_OK && !out->model[i]->chat && !any_task(sweep, false)) status = sf_model_chat(out->model[i], NO_TEMPLATE);
        if (status == SF_OK) status = check_model(out->sweep, &out->sweep->model[i], weights, out->model[i]);
        if (status == SF_OK && out->plain) status = sf_chat_open(out->model[i]->chat_files, NO_TEMPLATE, &out->plain[i]);
        if (status == SF_OK && weights) status = understand(out->model[i], &out->understood[i]);
        if (status == SF_OK) status = check_caches(out->sweep, &out->sweep->model[i], &out->model[i]->config);
        if (status == SF_OK && weights) status = check_weights(out->sweep, &out->sweep->model[i], &out->model[i]->config);
        if (status == SF_OK && weights) status = check_int8(out->sweep, &out->sweep->model[i], out->model[i]);
        if (status == SF_OK) hash[i] = out->model[i]->hash;
    }
    if (status == SF_OK && weights) status = sf_plan_make(out->sweep, hash, &out->plan);
    free(hash);
    return status;
}

sf_status sf_study_open(const char *config, int sets, const char *const *set, sf_study *out)
{
    sf_sweep *sweep;
    *out = (sf_study){0};
    char room[4096];
    SF_TRY(sf_sweep_read(sf_data_found(config, room), sets, set, &sweep));
    return open_study(config, sweep, true, out);
}

sf_status sf_study_open_text(const char *config, int sets, const char *const *set, sf_study *out)
{
    sf_sweep *sweep;
    *out = (sf_study){0};
    char room[4096];
    SF_TRY(sf_sweep_read(sf_data_found(config, room), sets, set, &sweep));
    return open_study(config, sweep, false, out);
}

sf_status sf_study_open_stored(const char *config, int sets, const char *const *set, sf_study *out)
{
    sf_sweep *sweep;
    *out = (sf_study){0};
    SF_TRY(sf_sweep_read_stored(config, sets, set, &sweep));
    return open_study(config, sweep, false, out);
}

sf_status sf_study_check_split(const sf_study *study)
{
    for (int m = 0; m < study->sweep->models; m++) {
        sf_stage stage;
        SF_TRY(sf_part_check(study->model[m], study->sweep->tensor));
        SF_TRY(sf_stage_of(&study->model[m]->config, 0, study->sweep->pipeline, &stage));
    }
    return SF_OK;
}

sf_status sf_study_only(sf_study *study, const char *text)
{
    sf_where where;
    SF_TRY(sf_where_parse(text, &where));
    int kept = 0;
    for (int i = 0; i < study->plan.cells; i++) {
        const sf_cell_info info = sf_study_cell_info(study, &study->plan.cell[i]);
        if (sf_where_matches(&where, &info)) study->plan.cell[kept++] = study->plan.cell[i];
    }
    if (!kept) return sf_fail(SF_BAD_INPUT, "no cell of the sweep's %d is %s; `frontier plan --json` lists them", study->plan.cells, text);
    study->plan.cells = kept;
    return SF_OK;
}

void sf_study_close(sf_study *study)
{
    for (int i = 0; study->model && i < study->sweep->models; i++) sf_model_close(study->model[i]);
    for (int i = 0; study->plain && i < study->sweep->models; i++) sf_chat_free(study->plain[i]);
    free(study->model);
    free(study->plain);
    free(study->understood);
    sf_plan_free(&study->plan);
    sf_sweep_free(study->sweep);
    memset(study, 0, sizeof *study);
}

/* What the model reads: a user message in its template, and the beginning of its answer, if it is begun for it. */
static sf_status encode_input(const sf_model *m, const sf_chat *chat, const char *text, size_t bytes, const char *prefix, int32_t **ids, int *n)
{
    SF_TRY(sf_chat_encode(chat, m->tokenizer, text, bytes, ids, n));
    if (!prefix) return SF_OK;
    int32_t *begun = NULL, *grown = NULL;
    int more = 0;
    sf_status status = sf_chat_encode_answer(chat, m->tokenizer, prefix, strlen(prefix), &begun, &more);
    if (status == SF_OK && !(grown = realloc(*ids, ((size_t)*n + (size_t)more + 1) * sizeof *grown)))
        status = sf_fail(SF_NO_MEMORY, "no memory for %d tokens", *n + more);
    if (status == SF_OK) {
        memcpy(grown + *n, begun, (size_t)more * sizeof *begun);
        *ids = grown;
        *n += more;
    } else {
        free(*ids);
        *ids = NULL;
    }
    free(begun);
    return status;
}

/* Counts, and keeps the tokens of the text it counted last: that is mostly the sample's own. */
struct counter {
    const sf_model *model;
    const sf_chat *chat;
    int32_t *ids;
    int n;
    size_t bytes;
    XXH128_hash_t hash; /* of the text; a task begins all answers of a sample alike */
};

static struct counter counter_of(const sf_study *study, int model, const sf_task *task)
{
    const sf_model *m = study->model[model];
    return (struct counter){.model = m, .chat = task->raw ? study->plain[model] : m->chat};
}

static int count_input(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    struct counter *c = self;
    free(c->ids);
    const sf_status status = encode_input(c->model, c->chat, text, bytes, answer_prefix, &c->ids, &c->n);
    if (status != SF_OK) return c->ids = NULL, -(int)status;
    c->bytes = bytes;
    c->hash = XXH3_128bits(text, bytes);
    return c->n;
}

/* The sample and what follows it, as one text: cut where the sample's tokens end. */
static sf_status encode_whole(const struct counter *c, const sf_sample *sample, int output, sf_input *out)
{
    size_t before = strlen(sample->prompt), after = strlen(sample->continuation);
    char *whole = malloc(before + after + 1);
    int n = 0;
    if (!whole) return sf_fail(SF_NO_MEMORY, "no memory for a text of %zu bytes", before + after);
    memcpy(whole, sample->prompt, before);
    memcpy(whole + before, sample->continuation, after + 1);
    sf_status status = encode_input(c->model, c->chat, whole, before + after, sample->answer_prefix, &out->id, &n);
    free(whole);
    if (status != SF_OK) return status;
    out->tokens = n < sample->tokens ? n : sample->tokens;
    out->behind = n - out->tokens < output ? n - out->tokens : output;
    return SF_OK;
}

/* Tokens of a sample's input, moved out of the counter if it has them. */
static sf_status take_input(struct counter *c, const sf_sample *sample, int output, sf_input *out)
{
    size_t bytes = strlen(sample->prompt);
    *out = (sf_input){0};
    if (sample->continuation) return encode_whole(c, sample, output, out);
    if (!c->ids || bytes != c->bytes || !XXH128_isEqual(c->hash, XXH3_128bits(sample->prompt, bytes)))
        return encode_input(c->model, c->chat, sample->prompt, bytes, sample->answer_prefix, &out->id, &out->tokens);
    out->id = c->ids;
    out->tokens = c->n;
    c->ids = NULL;
    return SF_OK;
}

/* Keeps from the prefill what stands behind the context: the question, how to answer it, and the end of the user's turn. */
static sf_status hold_back(const struct counter *c, const sf_sample *sample, sf_input *input)
{
    const size_t bytes = strlen(sample->prompt);
    int head;
    if (sample->context_end <= sample->context_begin || (size_t)sample->context_end >= bytes)
        return sf_fail(SF_UNSUPPORTED, "question: late takes a sample that says where its context ends, before the question");
    SF_TRY(sf_chat_head(c->chat, c->model->tokenizer, sample->prompt, bytes, (size_t)sample->context_end, &head));
    if (head < 1 || head >= input->tokens)
        return sf_fail(SF_UNSUPPORTED, "question: late leaves %d of %d tokens to the prefill; expected some of them", head, input->tokens);
    input->late = input->tokens - head;
    return SF_OK;
}

void sf_input_free(sf_input *input)
{
    free(input->id);
    free(input->later);
    free(input->later_tokens);
    *input = (sf_input){0};
}

int sf_input_later(const sf_input *input)
{
    int tokens = 0;
    for (int i = 0; i < input->turns; i++) tokens += input->later_tokens[i];
    return tokens;
}

int sf_input_behind(const sf_input *input, enum sf_asking asking, int output)
{
    int most = input->late;
    for (int i = 0; asking == SF_ASK_SHARED && i < input->turns; i++)
        if (input->later_tokens[i] > most) most = input->later_tokens[i];
    return asking == SF_ASK_ON ? input->late + sf_input_later(input) + (1 + input->turns) * output : most + output;
}

/* What stands behind a shared context where its first question does: the tokens after the context's, which are those that the first has. */
static sf_status encode_shared(const struct counter *c, const sf_sample *first, const sf_sample *later, const sf_input *input, int32_t **ids, int *n)
{
    const int head = input->tokens - input->late;
    char *whole = NULL;
    if (asprintf(&whole, "%.*s%s", first->context_end, first->prompt, later->prompt) < 0) return sf_fail(SF_NO_MEMORY, "no memory for a prompt");
    sf_status status = encode_input(c->model, c->chat, whole, strlen(whole), NULL, ids, n);
    free(whole);
    if (status != SF_OK) return status;
    if (*n <= head || memcmp(*ids, input->id, (size_t)head * sizeof **ids) != 0)
        return free(*ids), sf_fail(SF_UNSUPPORTED, "shared: the context's tokens change with the question that follows");
    memmove(*ids, *ids + head, (size_t)(*n -= head) * sizeof **ids);
    return SF_OK;
}

/* Adds the question of a later turn to the input. */
static sf_status add_turn(const struct counter *c, const sf_sample *first, const sf_sample *turn, bool shared, sf_input *input)
{
    const int before = sf_input_later(input);
    int32_t *ids = NULL;
    int n = 0;
    SF_TRY(shared ? encode_shared(c, first, turn, input, &ids, &n)
                  : sf_chat_encode_later(c->chat, c->model->tokenizer, turn->prompt, strlen(turn->prompt), &ids, &n));
    int32_t *grown = n < 1 || n > SF_LATER_TOKENS ? NULL : realloc(input->later, (size_t)(before + n) * sizeof *grown);
    if (grown) {
        memcpy(grown + before, ids, (size_t)n * sizeof *ids);
        input->later = grown;
        input->later_tokens[input->turns++] = n;
    }
    free(ids);
    if (grown) return SF_OK;
    return n < 1 || n > SF_LATER_TOKENS ? sf_fail(SF_UNSUPPORTED, "turn %d asks %d tokens, expected at most %d", input->turns + 2, n, SF_LATER_TOKENS)
                                        : sf_fail(SF_NO_MEMORY, "no memory for %d tokens", before + n);
}

static sf_status add_turns(const struct counter *c, const sf_sample *sample, int turns, bool shared, sf_input *input)
{
    if (sample->laters != turns - 1)
        return sf_fail(SF_BAD_INPUT, "it was asked for %d turns and has %d", turns, sample->laters + 1);
    if (!sample->laters) return SF_OK;
    if (sample->answer_prefix)
        return sf_fail(SF_UNSUPPORTED, "turns: its answers are begun for the model, which is done once only");
    input->later_tokens = calloc((size_t)turns, sizeof *input->later_tokens);
    if (!input->later_tokens) return sf_fail(SF_NO_MEMORY, "no memory for %d turns", turns);
    for (int i = 0; i < sample->laters; i++) SF_TRY(add_turn(c, sample, &sample->later[i], shared, input));
    return SF_OK;
}

sf_status sf_study_sample(const sf_study *study, int model, int task, int length, int index, sf_sample *out, sf_input *input)
{
    const sf_sweep *s = study->sweep;
    const sf_task_spec *spec = &s->task[task];
    struct counter counter = counter_of(study, model, spec->task);
    const sf_request request = {.seed = s->seed, .index = index, .max_tokens = s->length[length], .output = spec->output,
                                .tokens = {&counter, count_input}, .prompting = spec->prompting, .turns = spec->turns,
                                .shared = spec->asking == SF_ASK_SHARED};
    memset(out, 0, sizeof *out);
    if (input) *input = (sf_input){0};
    sf_status status = sf_task_generate(spec->task, spec->params, &request, out);
    if (status == SF_OK && input) status = take_input(&counter, out, spec->output, input);
    if (status == SF_OK && input && spec->late) status = hold_back(&counter, out, input);
    if (status == SF_OK && input) status = add_turns(&counter, out, spec->turns, spec->asking == SF_ASK_SHARED, input);
    if (status != SF_OK && input) sf_input_free(input);
    free(counter.ids);
    if (status != SF_OK) {
        sf_sample_free(out);
        return sf_blame(status, "task %s, %d tokens, sample %d, for %s", spec->label, s->length[length], index,
                        s->model[model].label);
    }
    return SF_OK;
}

static bool same_group(const sf_cell *a, const sf_cell *b)
{
    return a->model == b->model && a->task == b->task && a->length == b->length;
}

sf_status sf_study_supply(const sf_study *study, int model, int task, int length, int most, int *samples)
{
    const sf_sweep *s = study->sweep;
    const sf_task_spec *spec = &s->task[task];
    *samples = most;
    if (!spec->task->supply) return SF_OK;
    struct counter counter = counter_of(study, model, spec->task);
    const sf_request request = {.seed = s->seed, .max_tokens = s->length[length], .output = spec->output, .tokens = {&counter, count_input},
                                .prompting = spec->prompting, .turns = spec->turns, .shared = spec->asking == SF_ASK_SHARED};
    sf_status status = sf_task_supply(spec->task, spec->params, &request, most, samples);
    free(counter.ids);
    return sf_blame(status, "task %s, %d tokens, for %s", spec->label, s->length[length], s->model[model].label);
}

static sf_status try_sample(const sf_study *study, const sf_cell *cell, int *samples)
{
    sf_sample sample;
    SF_TRY(sf_study_sample(study, cell->model, cell->task, cell->length, 0, &sample, NULL));
    sf_sample_free(&sample);
    return sf_study_supply(study, cell->model, cell->task, cell->length, study->sweep->samples, samples);
}

static bool of_plugin(const sf_study *study, int task) { return *study->sweep->task[task].code; }

/* Lets tasks of plug-ins write in a process apart, which may crash; what it is to leave is in memory that both share. */
static sf_status write_apart(const sf_study *study, sf_status (*write)(void *user), void *user)
{
    bool died;
    return sf_apart(write, user, study->sweep->hook_limit, &sf_interrupted, &died);
}

/* How many samples each cell has, where another process counts them too. */
struct tries {
    const sf_study *study;
    bool of_plugins;
    int *samples; /* [cells] */
};

static sf_status try_samples(void *user)
{
    const struct tries *t = user;
    const sf_cell *cell = t->study->plan.cell;
    for (int i = 0; i < t->study->plan.cells; i++) {
        if (of_plugin(t->study, cell[i].task) != t->of_plugins) continue;
        if (i && same_group(&cell[i - 1], &cell[i])) t->samples[i] = t->samples[i - 1];
        else SF_TRY(try_sample(t->study, &cell[i], &t->samples[i]));
    }
    return SF_OK;
}

sf_status sf_study_try_samples(sf_study *study)
{
    const size_t bytes = ((size_t)study->plan.cells + 1) * sizeof(int);
    bool plugins = false;
    for (int t = 0; t < study->sweep->tasks; t++) plugins |= of_plugin(study, t);
    struct tries t = {.study = study, .samples = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (t.samples == MAP_FAILED) return sf_fail(SF_NO_MEMORY, "no memory for %d cells", study->plan.cells);
    sf_status status = try_samples(&t);
    t.of_plugins = true;
    if (status == SF_OK && plugins) status = write_apart(study, try_samples, &t);
    for (int i = 0; status == SF_OK && i < study->plan.cells; i++) study->plan.cell[i].samples = t.samples[i];
    munmap(t.samples, bytes);
    return status;
}

void sf_study_print_cuts(const sf_study *study, FILE *out)
{
    const sf_sweep *s = study->sweep;
    for (int i = 0; i < study->plan.cells; i++) {
        const sf_cell *cell = &study->plan.cell[i];
        if (cell->samples == s->samples || (i && same_group(cell - 1, cell))) continue;
        fprintf(out, "%s, %d tokens, %s: %d samples instead of %d: it has no more that fit without repeating a question\n",
                s->task[cell->task].label, s->length[cell->length], s->model[cell->model].label, cell->samples, s->samples);
    }
}

static sf_extent extent_of(const sf_model_config *c, sf_phase phase, int tokens, int output)
{
    return (sf_extent){.phase = phase, .tokens = tokens, .output = output, .heads = c->heads, .kv_heads = c->kv_heads,
                       .head_dim = c->head_dim, .layers = c->layers, .width = c->d};
}

sf_status sf_arm_fit(const sf_arm *arm, double sparsity, sf_phase phase, const sf_model_config *model, int tokens,
                     int output, void **out)
{
    *out = NULL;
    if (!arm) return SF_OK;
    size_t size = arm->method->params_size;
    *out = calloc(1, size + 1);
    if (!*out) return sf_fail(SF_NO_MEMORY, "%s: no memory", arm->label);
    memcpy(*out, arm->params, size);
    if (isnan(sparsity)) return SF_OK;
    const sf_extent extent = extent_of(model, phase, tokens, output);
    sf_status status = sf_hook_fit(arm->method, &extent, sparsity, *out);
    if (status != SF_OK) {
        free(*out);
        *out = NULL;
    }
    return sf_blame(status, "%s, target sparsity %g, %d tokens", arm->label, sparsity, tokens);
}

/* Weights of the model, in elements; norms and biases are too few to matter and are left out. */
static double parameters(const sf_model_config *c)
{
    double mlp = 0;
    for (int l = 0; l < c->layers; l++)
        mlp += c->bare[l]             ? 0
               : sf_layer_mixes(c, l) ? (c->gateless ? 2.0 : 3.0) * c->d * ((double)c->router.experts * c->expert_mlp + c->shared_mlp + (c->experts_beside ? c->mlp : 0)) + (double)c->d * c->router.experts
                                    : (c->gateless ? 2.0 : 3.0) * c->d * sf_layer_mlp(c, l);
    double projections = 0, layered = c->layer_dim * ((double)c->layer_vocab + c->d) * c->layers + c->layers * sf_layer_input_elements(c);
    for (int l = 0; l < c->layers; l++) projections += sf_layer_attends(c, l) ? sf_projection_elements(c, l) : 0;
    const int recurring = sf_layers_recurring(c);
    const struct sf_mixer_sizes mixer = sf_mixer_sizes(c);
    const double mixers = recurring * (double)(mixer.matrices + mixer.vectors);
    return projections + layered + mixers + mlp + (c->tied ? 1.0 : 2.0) * c->vocab * c->d;
}

/* Which card does not matter, nor how many. */
static const char *kind_of(const char *device)
{
    for (int i = 0; sf_backends[i]; i++) {
        const char *name = sf_backends[i]->name;
        if (strcspn(device, ":") == strlen(name) && strncmp(device, name, strlen(name)) == 0) return name;
    }
    return device;
}

sf_cell_info sf_study_cell_info(const sf_study *study, const sf_cell *cell)
{
    const sf_sweep *s = study->sweep;
    const sf_task_spec *task = &s->task[cell->task];
    const sf_model *model = study->model[cell->model];
    const sf_model_config *c = &model->config;
    const sf_arm *arm[SF_PHASES] = {[SF_PREFILL] = cell->prefill, [SF_DECODE] = cell->decode}, *own = !cell->own ? NULL : arm[0] ? arm[0] : arm[1];
    sf_cell_info info = {
        .model = s->model[cell->model].label, .model_hash = model->hash,
        .task = task->task->name, .task_label = task->label, .task_params = task->json, .metric = task->task->metric,
        .length = s->length[cell->length], .output_limit = task->output,
        .layers = c->layers, .heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim,
        .d = c->mixer_beside || sf_heads_differ(c) || c->shared_from || c->layer_dim ? 0 : c->d /* no cost can be told of these numbers alone */, .mlp = c->mlp, .vocab = c->vocab,
        .window = c->chunked ? 0 : c->window,
        .parameters = parameters(c),
        .dispersion = task->task->high_dispersion, .scope = task->task->high_scope, .natural = task->task->natural,
        .device = kind_of(s->device), .seed = s->seed, .chat = model->chat ? sf_chat_used(model->chat) : "",
        .bos = model->bos >= 0 ? sf_token_text(model->tokenizer, model->bos) : "",
        .questions = task->task->supply ? "fixed" : "",
        .cache = cell->cache ? cell->cache->name : "exact", .attention = own ? own->label : "",
        .dtype = strncmp(s->device, "cuda", 4) == 0 || strncmp(s->device, "cpu-bf16", 8) == 0 ? "bf16" : rounds_to_int8(s) ? "int8" : "f32",
    };
    if (study->understood) {
        info.positions = study->understood[cell->model].positions;
        info.doubts = study->understood[cell->model].doubts;
    }
    for (int l = 0; l < c->layers; l++) info.sliding_layers += sf_layer_slides(c, l);
    info.recurrent_layers = c->layers - sf_layers_attending(c);
    sf_cost cost;
    sf_cost_of(c, &(sf_cost_query){.phase = SF_DECODE, .tokens = info.length, .batch = 1, .density = 1}, &cost);
    info.weight_elements = cost.weights;
    for (int p = 0; p < SF_PHASES; p++) {
        info.method[p] = arm[p] ? arm[p]->method->name : "dense";
        info.label[p] = arm[p] ? arm[p]->label : "dense";
        info.params[p] = arm[p] ? arm[p]->json : "{}";
        info.version[p] = arm[p] ? arm[p]->version : "";
        info.kind[p] = !arm[p] ? "" : arm[p]->method->oracle ? "oracle" : arm[p]->method->random ? "random"
                       : arm[p]->method->form ? sf_form_names[arm[p]->method->form] : "method";
        info.sparsity[p] = cell->sparsity[p];
    }
    memcpy(info.key, cell->key, sizeof info.key);
    return info;
}

char *sf_study_cells(const sf_study *study)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    if (!f) return NULL;
    for (int i = 0; i < study->plan.cells; i++) {
        const sf_cell *cell = &study->plan.cell[i];
        if (cell->length == 0 && sf_cell_plain(cell) && !cell->cache) fprintf(f, "%s%s", ftell(f) ? " " : "", cell->key);
    }
    fclose(f);
    return out;
}

int sf_study_prefills(const sf_study *study, const sf_cell *cell, bool shared)
{
    const sf_task_spec *task = &study->sweep->task[cell->task];
    return !shared + (task->asking == SF_ASK_ANEW ? task->turns - 1 : 0);
}

double sf_study_work(const sf_study *study, const sf_cell *cell, bool shared)
{
    const sf_model_config *c = &study->model[cell->model]->config;
    const sf_task_spec *task = &study->sweep->task[cell->task];
    int tokens = study->sweep->length[cell->length], output = task->output * task->turns;
    double density[SF_PHASES];
    for (int p = 0; p < SF_PHASES; p++) density[p] = isnan(cell->sparsity[p]) ? 1 : 1 - cell->sparsity[p];
    sf_cost cost;
    sf_cost_of(c, &(sf_cost_query){.phase = SF_PREFILL, .tokens = tokens, .batch = 1, .density = density[SF_PREFILL]}, &cost);
    const double work = cost.exact * sf_study_prefills(study, cell, shared);
    /* A decode step multiplies and adds each element it reads. */
    sf_cost_of(c, &(sf_cost_query){.phase = SF_DECODE, .tokens = tokens, .batch = 1, .density = density[SF_DECODE]}, &cost);
    return work + 2 * cost.exact * output;
}

/* The first and last tokens of a prompt. */
static json_t *ends_of(const sf_tokenizer *t, const int32_t *ids, int n)
{
    enum { MOST = 12 };
    json_t *side[2] = {json_array(), json_array()};
    for (int s = 0; s < 2; s++)
        for (int i = s && n > MOST ? n - MOST : 0; i < (s ? n : n < MOST ? n : MOST); i++) {
            char *text = NULL;
            if (sf_decode(t, &ids[i], 1, false, &text) == SF_OK) json_array_append_new(side[s], json_pack("[i, s]", ids[i], text));
            free(text);
        }
    return json_pack("{s:i, s:o, s:o}", "tokens", n, "begins", side[0], "ends", side[1]);
}

/* The first prompts of all models as one JSON text, in memory that another process may have written to. */
struct prompts {
    const sf_study *study;
    FILE *to;
};

static sf_status write_prompts(void *user)
{
    const struct prompts *p = user;
    const sf_study *study = p->study;
    json_t *all = json_object();
    sf_status status = SF_OK;
    for (int m = 0; status == SF_OK && m < study->sweep->models; m++) {
        sf_sample sample;
        sf_input input;
        status = sf_study_sample(study, m, 0, 0, 0, &sample, &input);
        if (status != SF_OK) break;
        json_object_set_new(all, study->sweep->model[m].label, ends_of(study->model[m]->tokenizer, input.id, input.tokens));
        sf_input_free(&input);
        sf_sample_free(&sample);
    }
    if (status == SF_OK && (json_dumpf(all, p->to, JSON_COMPACT) != 0 || fflush(p->to) != 0))
        status = sf_fail(SF_NO_MEMORY, "no memory for the first prompts");
    json_decref(all);
    return status;
}

sf_status sf_study_first_prompts(const sf_study *study, char **out)
{
    const int file = memfd_create("first prompts", MFD_CLOEXEC);
    struct prompts p = {.study = study, .to = file < 0 ? NULL : fdopen(file, "w+")};
    *out = NULL;
    if (!p.to) {
        if (file >= 0) close(file);
        return sf_fail(SF_NO_MEMORY, "no memory for the first prompts");
    }
    sf_status status = of_plugin(study, 0) ? write_apart(study, write_prompts, &p) : write_prompts(&p);
    size_t room = 0;
    rewind(p.to);
    if (status == SF_OK && getdelim(out, &room, 0, p.to) < 0) status = sf_fail(SF_IO, "the first prompts cannot be read back");
    fclose(p.to);
    return status;
}
