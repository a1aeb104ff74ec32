/* Prints generated samples as JSON lines, for tests/oracle.py and for reading.
 *
 *     make build/tests/tools/samples
 *     build/tests/tools/samples TASK LENGTH SAMPLES [answer=direct] [tokens=words] [question=both|after|before]
 *                               [parameter=value …] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/counters.h"

static const sf_task *find(const char *name)
{
    for (int i = 0; sf_tasks[i]; i++)
        if (strcmp(sf_tasks[i]->name, name) == 0) return sf_tasks[i];
    fprintf(stderr, "no task %s; there are:", name);
    for (int i = 0; sf_tasks[i]; i++) fprintf(stderr, " %s", sf_tasks[i]->name);
    fprintf(stderr, "\n");
    exit(2);
}

static void set(const sf_param *row, void *params, const char *value)
{
    void *at = (char *)params + row->offset;
    switch (row->type) {
    case SF_INT:
        *(int *)at = atoi(value);
        break;
    case SF_REAL:
        *(double *)at = atof(value);
        break;
    case SF_BOOL:
        *(bool *)at = strcmp(value, "true") == 0;
        break;
    case SF_CHOICE: {
        int i = 0;
        for (const char *choice = row->choices; choice; choice = strchr(choice, '|'), choice += choice != NULL, i++)
            if (strncmp(choice, value, strlen(value)) == 0 && strchr("|", choice[strlen(value)])) *(int *)at = i;
        break;
    }
    case SF_STRING:
        *(const char **)at = value;
        break;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) return fprintf(stderr, "usage: samples TASK LENGTH SAMPLES [parameter=value …]\n"), 2;
    const sf_task *task = find(argv[1]);
    sf_request request = {.seed = 43, .max_tokens = atoi(argv[2]), .tokens = counter_fours};
    void *params = calloc(1, task->params_size + 1);
    for (const sf_param *row = task->params; row && row->name; row++) {
        void *at = (char *)params + row->offset;
        if (row->type == SF_INT || row->type == SF_CHOICE)
            *(int *)at = (int)row->initial;
        else if (row->type == SF_REAL)
            *(double *)at = row->initial;
        else if (row->type == SF_BOOL)
            *(bool *)at = row->initial != 0;
        else
            *(const char **)at = row->text;
    }
    for (int i = 4; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) return fprintf(stderr, "expected parameter=value, found %s\n", argv[i]), 2;
        *value++ = 0;
        const sf_param *row = task->params;
        while (row && row->name && strcmp(row->name, argv[i]) != 0) row++;
        if (strcmp(argv[i], "answer") == 0)
            request.prompting.direct = strcmp(value, "direct") == 0;
        else if (strcmp(argv[i], "tokens") == 0)
            request.tokens = strcmp(value, "words") == 0 ? counter_words : counter_fours;
        else if (strcmp(argv[i], "question") == 0)
            request.prompting.place = strcmp(value, "both") == 0    ? SF_QUESTION_BOTH
                                      : strcmp(value, "after") == 0 ? SF_QUESTION_AFTER
                                                                    : SF_QUESTION_BEFORE;
        else if (row && row->name)
            set(row, params, value);
        else
            return fprintf(stderr, "task %s has no parameter %s\n", task->name, argv[i]), 2;
    }
    for (request.index = 0; request.index < atoi(argv[3]); request.index++) {
        sf_sample sample = {0};
        if (task->generate(params, &request, &sample) != SF_OK) return fprintf(stderr, "%s\n", sf_error()), 1;
        json_t *gold = json_array();
        for (int i = 0; i < sample.gold_count; i++) json_array_append_new(gold, json_string(sample.gold[i]));
        json_t *line = json_pack("{s:s, s:i, s:i, s:s, s:s?, s:o, s:s}", "task", task->name, "index", request.index,
                                 "tokens", sample.tokens, "prompt", sample.prompt, "answer_prefix", sample.answer_prefix,
                                 "gold", gold, "answer", sample.answer);
        json_dumpf(line, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        json_decref(line);
        sf_sample_free(&sample);
    }
    free(params);
    return 0;
}
