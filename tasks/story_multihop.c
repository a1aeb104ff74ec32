/* Story Multi-hop: which item the traveller bought just before another one, chapters and other trade in between. */
#include <math.h>
#include <stdlib.h>

#include "tasks/score.h"
#include "tasks/story.h"

struct params {
    sf_story_shape shape;
    double depth;
};

typedef struct multihop {
    const struct params *p;
    sf_random base;
    sf_story story;
    int asked; /* chapter, from 0, in which the item of the question is bought; never the first */
} multihop;

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    multihop *s = self;
    SF_TRY(sf_story_write(&s->story, units, NULL, 0, context));
    sf_random r = sf_random_fork(&s->base, 2);
    s->asked = s->p->depth < 0 ? sf_random_between(&r, 1, units - 1) : 1 + (int)lround(s->p->depth * (units - 2));
    sf_text_add(question, "Which item did the traveller buy just before buying the ");
    sf_story_item(s->story.chapter[s->asked].item, question);
    sf_text_add(question, "?");
    return SF_OK;
}

static sf_status finish(const multihop *s, const sf_request *request, sf_sample *out)
{
    sf_text why = {0}, name = {0};
    sf_story_item(s->story.chapter[s->asked - 1].item, &name);
    sf_text_add(&why, "The ");
    sf_story_item(s->story.chapter[s->asked].item, &why);
    sf_text_format(&why, " was bought in chapter %d. The purchase before it, in chapter %d, was the %s.", s->asked + 1,
                   s->asked, name.failed ? "" : name.data);
    sf_status status = why.failed || name.failed ? sf_fail(SF_NO_MEMORY, "story_multihop: no memory for an answer")
                                                 : sf_sample_gold(out, name.data);
    if (status == SF_OK) status = sf_sample_answer(out, request, why.data, name.data);
    sf_text_free(&why);
    sf_text_free(&name);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    static const sf_prompt prompt = {
        .task = "story_multihop",
        .introduction =
            "The context below is the tale of a traveller, in numbered chapters. In every chapter the traveller comes "
            "to a place, meets a person and buys an item; sometimes the traveller also sells an item bought earlier. "
            "You are given the name of an item that was bought. Find the item that was bought in the chapter before.",
        .format = "<name of the item>",
        .rules = "- Write the full name of the item as the context has it, without an article or a full stop.\n"
                 "- Only purchases count, not sales.\n",
    };
    const struct params *p = params;
    multihop s = {.p = p, .base = sf_random_stream("story_multihop", request->seed, request->index)};
    const sf_content content = {
        .self = &s, .unit = "chapters", .least = 2, .most = sf_story_most(&p->shape), .pad = sf_story_pad, .write = write};
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
    {FIELD(depth), .type = SF_REAL, .low = -1, .high = 1, .initial = -1,
     .doc = "place of the item of the question, 0 (start) to 1 (end); below 0: anywhere"},
    SF_STORY_PARAMS(struct params),
    {0},
};

const sf_task sf_story_multihop = {
    .abi = SF_TASK_ABI,
    .name = "story_multihop",
    .summary = "the item bought just before another one",
    .source = SF_STORY_SOURCE,
    .metric = "exact",
    .version = 3,
    .output = 1024,
    .high_dispersion = true,
    .natural = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_item,
};
