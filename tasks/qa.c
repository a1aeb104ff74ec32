#include "tasks/qa.h"

#include <stdlib.h>
#include <string.h>

#include "tasks/random.h"

typedef struct packing {
    const sf_qa_style *style;
    const sf_qa_set *set;
    const sf_qa_item *item;
    sf_random base;
    int *distractor; /* [distractors] documents in the order in which they come in */
    int distractors;
    int *shown; /* [distractors + the item's documents] for write() */
} packing;

static bool is_about(const sf_qa_item *item, int document)
{
    for (int i = 0; i < item->documents; i++)
        if (item->document[i] == document) return true;
    return false;
}

/* Everything but the item's own documents, shuffled; those of the same article first, if the style wants it. Returns
 * the number of pieces. */
static int choose_distractors(packing *p)
{
    const sf_qa_item *item = p->item;
    sf_random r = sf_random_fork(&p->base, 1);
    int near = 0;
    p->distractors = 0;
    if (!p->style->named) {
        for (int i = item->near_begin; i < item->near_end; i++)
            if (!is_about(item, i)) p->distractor[near++] = i;
        sf_random_shuffle(&r, p->distractor, near);
        p->distractors = near;
    }
    for (int i = 0; i < p->set->documents; i++)
        if (!is_about(item, i) && (p->style->named || i < item->near_begin || i >= item->near_end))
            p->distractor[p->distractors++] = i;
    sf_random_shuffle(&r, p->distractor + near, p->distractors - near);

    int64_t pieces = 0;
    for (int i = 0; i < p->distractors; i++) pieces += p->set->document[p->distractor[i]].pieces;
    return pieces < 1 << 26 ? (int)pieces : 1 << 26;
}

/* The item's documents among so many pieces of distractors. */
static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    packing *p = self;
    const sf_qa_item *item = p->item;
    int n = 0, cut = -1, kept = 0, number = 0; /* document `cut` ends after `kept` pieces */
    for (; n < p->distractors && units > 0; n++) {
        int pieces = p->set->document[p->distractor[n]].pieces;
        p->shown[n] = p->distractor[n];
        if (pieces > units) {
            cut = p->distractor[n];
            kept = units;
        }
        units -= pieces;
    }
    for (int i = 0; i < item->documents; i++) p->shown[n++] = item->document[i];
    sf_random r = sf_random_fork(&p->base, 2);
    sf_random_shuffle(&r, p->shown, n);

    for (int i = 0; i < n; i++) {
        const char *text = p->set->document[p->shown[i]].text;
        if (p->shown[i] == item->document[0]) number = i + 1;
        sf_text_format(context, "%sDocument %d:\n", i ? "\n\n" : "", i + 1);
        sf_text_bytes(context, text, p->shown[i] == cut ? (size_t)sf_qa_cut(text, kept) : strlen(text));
    }
    if (p->style->named) sf_text_format(question, "This question is about document %d.\n", number);
    sf_text_add(question, p->style->ask);
    sf_text_add(question, item->question);
    return SF_OK;
}

/* The first `wanted` items of the shuffled data set that fit, or as many as there are; leaves the last in p->item.
 * Where none can fit, the shortest of all is left there: the message about a length that is too small then names the
 * least. */
static sf_status draw_items(packing *p, const sf_qa_params *params, const sf_request *request, int wanted, int *found)
{
    const sf_qa_set *set = p->set;
    const sf_prompt *prompt = &p->style->prompt;
    const sf_content content = {.self = p, .unit = "words of other documents", .write = write};
    const int most = params->longest < request->max_tokens ? params->longest : request->max_tokens;
    int *order = malloc((size_t)set->items * sizeof *order);
    if (!order) return sf_fail(SF_NO_MEMORY, "%s: no memory for %d questions", prompt->task, set->items);
    for (int i = 0; i < set->items; i++) order[i] = i;
    sf_random all = sf_random_stream(prompt->task, request->seed, -1);
    sf_random_shuffle(&all, order, set->items);

    const sf_qa_item *last = NULL;
    sf_status status = SF_OK;
    bool within, hopeless = false;
    *found = 0;
    for (int i = 0; i < set->items && *found < wanted && !hopeless && status == SF_OK; i++) {
        p->item = &set->item[order[i]];
        status = sf_prompt_is_within(request, prompt, &content, most, &within);
        if (status == SF_OK && within) {
            last = p->item;
            ++*found;
        } else if (status == SF_OK && i == 0) {
            p->item = &set->item[set->shortest];
            status = sf_prompt_is_within(request, prompt, &content, most, &within);
            hopeless = !within;
        }
    }
    free(order);
    p->item = last ? last : &set->item[set->shortest];
    return status;
}

static sf_status choose_item(packing *p, const sf_qa_params *params, const sf_request *request)
{
    const sf_prompt *prompt = &p->style->prompt;
    const sf_content content = {.self = p, .unit = "words of other documents", .write = write};
    int found, tokens;
    SF_TRY(draw_items(p, params, request, request->index + 1, &found));
    if (found > request->index) return SF_OK;
    if (found > 0)
        return sf_fail(SF_BAD_INPUT,
                       "%s: sample %d would repeat a question: only %d of %d take at most %d tokens with their "
                       "documents; ask for %d samples, a greater length or another file",
                       prompt->task, request->index, found, p->set->items,
                       params->longest < request->max_tokens ? params->longest : request->max_tokens, found);
    SF_TRY(sf_prompt_least(request, prompt, &content, &tokens));
    if (tokens > request->max_tokens || tokens <= params->longest)
        return SF_OK; /* the fitting says how many it takes */
    return sf_fail(SF_BAD_INPUT, "%s: no question takes at most %d tokens, the shortest %d; raise longest",
                   prompt->task, params->longest, tokens);
}

static sf_status open_packing(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style,
                              packing *out)
{
    const char *task = style->prompt.task;
    *out = (packing){.style = style, .base = sf_random_stream(task, request->seed, request->index)};
    SF_TRY(sf_blame(sf_qa_open(params->file, style->format, &out->set), "%s", task));
    out->distractor = malloc((size_t)out->set->documents * sizeof *out->distractor);
    out->shown = malloc(((size_t)out->set->documents + 64) * sizeof *out->shown);
    return out->distractor && out->shown
               ? SF_OK
               : sf_fail(SF_NO_MEMORY, "%s: no memory for %d documents", task, out->set->documents);
}

static void close_packing(packing *p)
{
    free(p->distractor);
    free(p->shown);
}

sf_status sf_qa_fit(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style, sf_sample *out)
{
    packing p;
    sf_status status = open_packing(params, request, style, &p);
    if (status == SF_OK) status = choose_item(&p, params, request);
    if (status == SF_OK) {
        const sf_content content = {
            .self = &p, .unit = "words of other documents", .most = choose_distractors(&p), .write = write};
        status = sf_prompt_fit(request, &style->prompt, &content, out);
    }
    for (int i = 0; status == SF_OK && i < p.item->golds; i++) status = sf_sample_gold(out, p.item->gold[i]);
    close_packing(&p);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

sf_status sf_qa_supply(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style, int most,
                       int *samples)
{
    packing p;
    *samples = 0;
    sf_status status = open_packing(params, request, style, &p);
    if (status == SF_OK) status = draw_items(&p, params, request, most, samples);
    close_packing(&p);
    return status;
}
