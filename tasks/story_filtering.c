/* Story Filtering: the few chapters in which the traveller buys nothing. Sales go on in them as in all others. */
#include <stdio.h>
#include <stdlib.h>

#include "tasks/score.h"
#include "tasks/story.h"

enum { MOST_EMPTY = 64 };

struct params {
    sf_story_shape shape;
    int empty;
};

typedef struct filtering {
    const struct params *p;
    sf_random base;
    sf_story story;
    int idle[MOST_EMPTY]; /* [empty] chapters from 1, ascending */
} filtering;

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    filtering *s = self;
    int empty = s->p->empty;
    sf_random r = sf_random_fork(&s->base, 2);
    sf_random_pick(&r, units, s->idle, empty);
    qsort(s->idle, (size_t)empty, sizeof *s->idle, by_value);
    for (int i = 0; i < empty; i++) s->idle[i]++;
    SF_TRY(sf_story_write(&s->story, units, s->idle, empty, context));
    if (empty == 1)
        sf_text_add(question, "There is one chapter in which the traveller buys nothing. Which one is it?");
    else
        sf_text_format(question, "There are %d chapters in which the traveller buys nothing. Which ones are they?",
                       empty);
    return SF_OK;
}

static sf_status finish(const filtering *s, const sf_request *request, sf_sample *out)
{
    sf_text answer = {0};
    sf_status status = SF_OK;
    for (int i = 0; i < s->p->empty && status == SF_OK; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", s->idle[i]);
        sf_text_format(&answer, "%s%s", i ? ", " : "", number);
        status = sf_sample_gold(out, number);
    }
    if (status == SF_OK && answer.failed) status = sf_fail(SF_NO_MEMORY, "story_filtering: no memory for an answer");
    if (status == SF_OK)
        status = sf_sample_answer(
            out, request, "I went through the chapters in turn and noted those that tell of no purchase.", answer.data);
    sf_text_free(&answer);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    const sf_prompt prompt = {
        .task = "story_filtering",
        .introduction =
            "The context below is the tale of a traveller, in numbered chapters. In every chapter the traveller comes "
            "to a place and meets a person, and in most chapters the traveller buys an item. Sometimes the "
            "traveller also sells an item bought earlier; that is no purchase. Find the chapters without a purchase.",
        .format = p->empty == 1 ? "<number of the chapter>"
                                : "<numbers of the chapters, separated by commas, as in: 2, 17, 30>",
        .rules = "- Write the numbers alone, in any order.\n",
    };
    filtering s = {.p = p, .base = sf_random_stream("story_filtering", request->seed, request->index)};
    const sf_content content = {
        .self = &s, .unit = "chapters", .least = p->empty + 1, .most = sf_story_most(&p->shape), .pad = sf_story_pad, .write = write};
    sf_random story = sf_random_fork(&s.base, 1);
    sf_status status = sf_story_open(&p->shape, &story, &s.story);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    if (status == SF_OK) status = finish(&s, request, out);
    if (status != SF_OK) sf_sample_free(out);
    sf_story_close(&s.story);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(empty), .type = SF_INT, .low = 1, .high = MOST_EMPTY, .initial = 3, .doc = "chapters without a purchase"},
    SF_STORY_PARAMS(struct params),
    {0},
};

const sf_task sf_story_filtering = {
    .abi = SF_TASK_ABI,
    .name = "story_filtering",
    .summary = "the chapters of a story without a purchase",
    .source = SF_STORY_SOURCE,
    .metric = "IoU",
    .version = 3,
    .output = 1024,
    .high_scope = true,
    .natural = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_chapters,
};
