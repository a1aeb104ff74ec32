/* Story Retrieval: where the traveller was, whom he met or what he bought, chapter by chapter. */
#include <stdlib.h>

#include "tasks/score.h"
#include "tasks/story.h"

enum kind { PLACE, PERSON, ITEM, KINDS };
enum { MOST_QUERIES = 64, MOST_TURNS = KINDS /* so that no turn has to ask what an earlier one has asked */ };

struct params {
    sf_story_shape shape;
    int queries;
    double depth;
};

typedef struct retrieval {
    const struct params *p;
    sf_random base;
    sf_story story;
    int turns, chapters;
    int asked[MOST_TURNS][MOST_QUERIES]; /* [turns, queries] chapter × KINDS + kind, chapters from 0 */
} retrieval;

static bool was_asked(const retrieval *s, int turn, int what)
{
    for (int t = 0; t < turn; t++)
        for (int i = 0; i < s->p->queries; i++)
            if (s->asked[t][i] == what) return true;
    return false;
}

/* Draws what a turn asks: of some chapters one thing each, that no earlier turn has asked. */
static void draw(retrieval *s, int turn)
{
    const struct params *p = s->p;
    int *asked = s->asked[turn];
    int from = p->depth < 0 ? 0 : (int)(p->depth * (s->chapters - p->queries)); /* the first that may be asked about */
    sf_random r = sf_random_fork(&s->base, (uint64_t)(2 + turn));
    sf_random_pick(&r, p->depth < 0 ? s->chapters : p->queries, asked, p->queries);
    for (int i = 0; i < p->queries; i++) {
        const int chapter = from + asked[i];
        int kind = (int)sf_random_below(&r, KINDS);
        while (was_asked(s, turn, chapter * KINDS + kind)) kind = (kind + 1) % KINDS;
        asked[i] = chapter * KINDS + kind;
    }
}

static void add_question(const retrieval *s, int turn, sf_text *question)
{
    const int queries = s->p->queries;
    for (int i = 0; i < queries; i++) {
        int chapter = s->asked[turn][i] / KINDS + 1;
        if (i) sf_text_char(question, '\n');
        if (queries > 1) sf_text_format(question, "%d. ", i + 1);
        switch (s->asked[turn][i] % KINDS) {
        case PLACE:
            sf_text_format(question, "To which place did the traveller come in chapter %d?", chapter);
            break;
        case PERSON:
            sf_text_format(question, "Which person did the traveller meet in chapter %d?", chapter);
            break;
        default:
            sf_text_format(question, "Which item did the traveller buy in chapter %d?", chapter);
        }
    }
}

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    retrieval *s = self;
    SF_TRY(sf_story_write(&s->story, units, NULL, 0, context));
    s->chapters = units;
    for (int t = 0; t < s->turns; t++) draw(s, t);
    add_question(s, 0, question);
    return SF_OK;
}

static void add_answer(const retrieval *s, int asked, sf_text *out)
{
    const sf_chapter *c = &s->story.chapter[asked / KINDS];
    sf_span name;
    switch (asked % KINDS) {
    case PLACE:
        name = sf_phrase(SF_PLACES, c->place);
        sf_text_bytes(out, name.at, name.bytes);
        break;
    case PERSON:
        name = sf_phrase(SF_PERSONS, c->person);
        sf_text_bytes(out, name.at, name.bytes);
        break;
    default:
        sf_story_item(c->item, out);
    }
}

static sf_status finish(const retrieval *s, int turn, const sf_request *request, sf_sample *out)
{
    sf_text answer = {0}, name = {0};
    sf_status status = SF_OK;
    for (int i = 0; i < s->p->queries && status == SF_OK; i++) {
        sf_text_clear(&name);
        add_answer(s, s->asked[turn][i], &name);
        sf_text_format(&answer, "%s%d. %s", i ? "\n" : "", i + 1, name.failed ? "" : name.data);
        status = name.failed || answer.failed ? sf_fail(SF_NO_MEMORY, "story_retrieval: no memory for an answer")
                                              : sf_sample_gold(out, name.data);
    }
    if (status == SF_OK)
        status = sf_sample_answer(
            out, request, "I went to the chapter that each question names and copied what it says there.", answer.data);
    sf_text_free(&answer);
    sf_text_free(&name);
    return status;
}

static sf_status ask_on(const retrieval *s, const sf_request *request, const sf_prompt *prompt, sf_sample *out)
{
    sf_status status = SF_OK;
    for (int turn = 1; turn < s->turns && status == SF_OK; turn++) {
        sf_text question = {0};
        sf_sample *later;
        add_question(s, turn, &question);
        status = sf_sample_later(out, &later);
        if (status == SF_OK) status = sf_prompt_later(request, prompt, &question, &later->prompt);
        if (status == SF_OK) status = finish(s, turn, request, later);
        sf_text_free(&question);
    }
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    if (request->turns > MOST_TURNS)
        return sf_fail(SF_BAD_INPUT, "story_retrieval: %d turns are too many: a chapter has %d things to ask about; expected at most %d",
                       request->turns, KINDS, MOST_TURNS);
    const sf_prompt prompt = {
        .task = "story_retrieval",
        .introduction =
            "The context below is the tale of a traveller, in numbered chapters. In every chapter the traveller comes "
            "to a place, meets a person and buys an item; sometimes the traveller also sells an item bought earlier. "
            "You are asked about single chapters.",
        .plural = p->queries > 1,
        .format = p->queries == 1 ? "1. <the answer>"
                                  : "1. <answer to the first question>\n2. <answer to the second question>\nand so "
                                    "on, one line for each question",
        .rules = "- Answer with the name of the place, the first and last name of the person, or the full name of the "
                 "item, as the chapter has it.\n"
                 "- Write nothing else on the line: no article, no full stop.\n",
    };
    retrieval s = {.p = p, .turns = request->turns > 1 ? request->turns : 1, .base = sf_random_stream("story_retrieval", request->seed, request->index)};
    const sf_content content = {.self = &s,
                                .unit = "chapters",
                                .least = p->queries,
                                .most = sf_story_most(&p->shape),
                                .pad = sf_story_pad,
                                .write = write};
    sf_random story = sf_random_fork(&s.base, 1);
    sf_status status = sf_story_open(&p->shape, &story, &s.story);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    if (status == SF_OK) status = finish(&s, 0, request, out);
    if (status == SF_OK) status = ask_on(&s, request, &prompt, out);
    if (status != SF_OK) sf_sample_free(out);
    sf_story_close(&s.story);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(queries), .type = SF_INT, .low = 1, .high = MOST_QUERIES, .initial = 16,
     .doc = "questions, each about another chapter"},
    {FIELD(depth), .type = SF_REAL, .low = -1, .high = 1, .initial = -1,
     .doc = "place of the chapters asked about, 0 (start) to 1 (end); below 0: anywhere"},
    SF_STORY_PARAMS(struct params),
    {0},
};

const sf_task sf_story_retrieval = {
    .abi = SF_TASK_ABI,
    .name = "story_retrieval",
    .summary = "places, persons and items of single chapters of a story",
    .source = SF_STORY_SOURCE,
    .metric = "exact",
    .version = 4,
    .output = 1024,
    .natural = true,
    .turns = true,
    .shared = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_numbered,
};
