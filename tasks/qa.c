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

/* An item that fits into the request. If many do not, the shortest of all is taken, so that the message about a length
 * that is too small names the least there is. */
static sf_status choose_item(packing *p, const sf_qa_params *params, const sf_request *request, const sf_prompt *prompt)
{
    enum { TRIALS = 64 };
    const sf_qa_set *set = p->set;
    int most = params->longest < request->max_tokens ? params->longest : request->max_tokens;
    int *order = malloc((size_t)set->items * sizeof *order);
    if (!order) return sf_fail(SF_NO_MEMORY, "%s: no memory for %d questions", p->style->task, set->items);
    for (int i = 0; i < set->items; i++) order[i] = i;
    sf_random all = sf_random_stream(p->style->task, request->seed, -1), r = sf_random_fork(&p->base, 3);
    sf_random_shuffle(&all, order, set->items);
    int next = order[request->index % set->items];
    free(order);

    const sf_content content = {.self = p, .unit = "words of other documents", .write = write};
    int tokens;
    for (int i = 0; i < TRIALS; i++) {
        p->item = &set->item[next];
        SF_TRY(sf_prompt_least(request, prompt, &content, &tokens));
        if (tokens <= most) return SF_OK;
        next = (int)sf_random_below(&r, (uint32_t)set->items);
    }
    p->item = &set->item[set->shortest];
    SF_TRY(sf_prompt_least(request, prompt, &content, &tokens));
    return tokens <= params->longest
               ? SF_OK
               : sf_fail(SF_BAD_INPUT, "%s: hardly a question takes at most %d tokens, the shortest %d; raise longest",
                         p->style->task, params->longest, tokens);
}

sf_status sf_qa_fit(const sf_qa_params *params, const sf_request *request, const sf_qa_style *style,
                    const sf_prompt *prompt, sf_sample *out)
{
    packing p = {.style = style, .base = sf_random_stream(style->task, request->seed, request->index)};
    sf_status status = sf_blame(sf_qa_open(params->file, style->format, &p.set), "%s", style->task);
    if (status != SF_OK) return status;
    p.distractor = malloc((size_t)p.set->documents * sizeof *p.distractor);
    p.shown = malloc(((size_t)p.set->documents + 64) * sizeof *p.shown);
    if (!p.distractor || !p.shown)
        status = sf_fail(SF_NO_MEMORY, "%s: no memory for %d documents", style->task, p.set->documents);
    if (status == SF_OK) status = choose_item(&p, params, request, prompt);
    if (status == SF_OK) {
        const sf_content content = {
            .self = &p, .unit = "words of other documents", .most = choose_distractors(&p), .write = write};
        status = sf_prompt_fit(request, prompt, &content, out);
    }
    for (int i = 0; status == SF_OK && i < p.item->golds; i++) status = sf_sample_gold(out, p.item->gold[i]);
    free(p.distractor);
    free(p.shown);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}
