/* Prints how long samples come out, in per cent of the length asked for: a table for each tokenizer, a row for each task
 * of the config. Exit status 1 if a sample is not within 95 to 100 %, or fails for another reason than a length that its
 * task or its data cannot have.
 *
 *     make lengths
 *     build/tests/tools/lengths CONFIG.yaml [TOKENIZER.json:CASE …]
 *
 * The tokenizers are those of the config's models, whatever number of positions they take, and files of tokenizers with
 * the chat template of a case in tests/golden/tokenizer/chat.json. */
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/chat.h"
#include "harness/model/model.h"
#include "harness/config/sweep.h"

typedef struct reader {
    const char *name;
    sf_tokenizer *tokenizer;
    sf_chat *chat;
} reader;

/* What the samples of one task and length are like. */
typedef struct cell {
    int least, most; /* tokens */
    int made, short_, long_; /* samples: made, refused because the length is too small, too large */
    int bound;       /* the largest of the least lengths, or the smallest of the greatest, that the refusals name */
    char *error;     /* any other refusal */
} cell;

static int count(void *self, const char *text, size_t bytes, const char *answer_prefix)
{
    const reader *r = self;
    int32_t *ids;
    int n, begun = 0;
    if (sf_chat_encode(r->chat, r->tokenizer, text, bytes, &ids, &n) != SF_OK) return -1;
    free(ids);
    if (!answer_prefix) return n;
    if (sf_chat_encode_answer(r->chat, r->tokenizer, answer_prefix, strlen(answer_prefix), &ids, &begun) != SF_OK) return -1;
    free(ids);
    return n + begun;
}

static void add_sample(const sf_sweep *sweep, const reader *r, int task, int length, int index, cell *c)
{
    const sf_task_spec *spec = &sweep->task[task];
    const sf_request request = {.seed = sweep->seed, .index = index, .max_tokens = length,
                                .tokens = {(void *)r, count}, .prompting = spec->prompting};
    sf_sample sample = {0};
    sf_status status = spec->task->generate(spec->params, &request, &sample);
    const char *needs = strstr(sf_error(), "at least "), *fills = strstr(sf_error(), " fills ");
#pragma omp critical
    if (status == SF_OK) {
        if (!c->made || sample.tokens < c->least) c->least = sample.tokens;
        if (!c->made || sample.tokens > c->most) c->most = sample.tokens;
        c->made++;
    } else if (strstr(sf_error(), "too few") && needs) {
        c->short_++;
        if (atoi(needs + 9) > c->bound) c->bound = atoi(needs + 9);
    } else if (strstr(sf_error(), "too many") && fills) {
        c->long_++;
        if (!c->bound || atoi(fills + 7) < c->bound) c->bound = atoi(fills + 7);
    } else if (!c->error) {
        c->error = strdup(sf_error());
    }
    sf_sample_free(&sample);
}

static bool print_cell(const cell *c, int length)
{
    double least = 100.0 * c->least / length, most = 100.0 * c->most / length;
    bool good = !c->error && (!c->made || (least >= 95 && most <= 100));
    printf(" |");
    if (c->made) printf(" %.1f–%.1f", least, most);
    if (c->short_) printf(" needs %d", c->bound);
    if (c->long_) printf(" holds %d", c->bound);
    if (c->made && c->short_ + c->long_) printf(" (%d of %d)", c->short_ + c->long_, c->made + c->short_ + c->long_);
    if (c->error) printf(" FAILS: %s", c->error);
    else if (!good) printf(" WRONG");
    fflush(stdout);
    return good;
}

static bool print_table(const sf_sweep *sweep, const reader *r)
{
    bool good = true;
    printf("%s, %s, %d samples a cell\n\n| task", r->name, sf_chat_name(r->chat), sweep->samples);
    for (int l = 0; l < sweep->lengths; l++) printf(" | %d", sweep->length[l]);
    printf(" |\n|---");
    for (int l = 0; l < sweep->lengths; l++) printf("|---");
    printf("|\n");
    for (int t = 0; t < sweep->tasks; t++) {
        printf("| %s", sweep->task[t].label);
        for (int l = 0; l < sweep->lengths; l++) {
            cell c = {0};
#pragma omp parallel for schedule(dynamic)
            for (int i = 0; i < sweep->samples; i++) add_sample(sweep, r, t, sweep->length[l], i, &c);
            good &= print_cell(&c, sweep->length[l]);
            free(c.error);
        }
        printf(" |\n");
    }
    printf("\n");
    return good;
}

/* "FILE.json:CASE" */
static sf_status open_reader(const char *argument, const json_t *cases, reader *out)
{
    char path[PATH_MAX];
    const char *colon = strrchr(argument, ':');
    size_t i;
    json_t *item, *found = NULL;
    json_array_foreach(cases, i, item)
        if (colon && strcmp(json_string_value(json_object_get(item, "name")), colon + 1) == 0) found = item;
    if (!found) return sf_fail(SF_BAD_INPUT, "expected TOKENIZER.json:CASE of chat.json, found %s", argument);
    snprintf(path, sizeof path, "%.*s", (int)(colon - argument), argument);
    out->name = argument;
    SF_TRY(sf_tokenizer_from_json(path, NULL, 0, &out->tokenizer));
    sf_chat_files *files = sf_chat_files_new(argument);
    if (!files) return sf_fail(SF_NO_MEMORY, "%s: no memory", argument);
    json_object_update(files->tokens, json_pack("{s:O, s:s}", "bos_token", json_object_get(found, "bos"), "eos_token", "</s>"));
    sf_status status = sf_chat_files_add(files, "default", json_string_value(json_object_get(found, "template")));
    if (status == SF_OK) status = sf_chat_open(files, NULL, &out->chat);
    sf_chat_files_free(files);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) return fprintf(stderr, "usage: lengths CONFIG.yaml [TOKENIZER.json:CASE …]\n"), 2;
    sf_sweep *sweep = NULL;
    bool good = true;
    sf_status status = sf_sweep_read(argv[1], 0, NULL, &sweep);
    for (int m = 0; status == SF_OK && m < sweep->models; m++) {
        sf_model *model = NULL;
        status = sf_model_open(sweep->model[m].path, &model);
        if (status == SF_OK && !model->chat) status = sf_fail(SF_BAD_INPUT, "%s", model->no_chat);
        if (status == SF_OK) good &= print_table(sweep, &(reader){sweep->model[m].label, model->tokenizer, model->chat});
        sf_model_close(model);
    }
    json_t *file = json_load_file("tests/golden/tokenizer/chat.json", 0, NULL);
    for (int a = 2; status == SF_OK && a < argc; a++) {
        reader r = {0};
        status = open_reader(argv[a], json_object_get(file, "cases"), &r);
        if (status == SF_OK) good &= print_table(sweep, &r);
        sf_chat_free(r.chat);
        sf_tokenizer_free(r.tokenizer);
    }
    json_decref(file);
    sf_sweep_free(sweep);
    if (status != SF_OK) fprintf(stderr, "%s\n", sf_error());
    return status == SF_OK && good ? 0 : 1;
}
