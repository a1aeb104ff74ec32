#include "tasks/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the shape ----------------------------------------------------------------------------------------------------- */

static void write_question(sf_text *t, const sf_prompt *p, const sf_text *question)
{
    const char *tag = p->plural ? "questions" : "question";
    sf_text_format(t, "<%s>\n", tag);
    sf_text_bytes(t, question->data ? question->data : "", question->size);
    sf_text_format(t, "\n</%s>\n\n", tag);
}

static void write_closing(sf_text *t, const sf_prompt *p, const sf_prompting *how)
{
    if (how->instructions || p->closing) {
        sf_text_add(t, how->instructions ? how->instructions : p->closing);
        return;
    }
    if (how->direct)
        sf_text_add(t, "Reply with the answer alone, without any explanation. Put it between answer tags, in exactly this "
                       "form:\n");
    else
        sf_text_add(t, "Proceed in two steps. First, explain in a few sentences which parts of the context matter and how "
                       "they lead to your answer. Then give the answer itself between answer tags, in exactly this form:\n");
    sf_text_format(t, "<answer>\n%s\n</answer>\n\nPlease note:\n", p->format);
    if (p->rules) sf_text_add(t, p->rules);
    if (!how->direct) sf_text_add(t, "- Keep the explanation short and to the point.\n");
    sf_text_add(t, "- Between the answer tags, write only the answer, in the form shown above.");
}

typedef struct draft {
    sf_text context, question, prompt;
    int context_begin, context_end;
} draft;

/* Puts the parts of the draft together. */
static void assemble(draft *d, const sf_prompt *p, const sf_prompting *how)
{
    sf_question_place place = how->place != SF_QUESTION_OWN ? how->place : p->place;
    bool before = place != SF_QUESTION_AFTER, after = place != SF_QUESTION_BEFORE;
    sf_text *t = &d->prompt;
    sf_text_clear(t);
    sf_text_format(t, "%s\n\n", how->introduction ? how->introduction : p->introduction);
    if (before) {
        if (after)
            sf_text_add(t, p->plural ? "Here are the questions. They are repeated after the context.\n\n"
                                     : "Here is the question. It is repeated after the context.\n\n");
        write_question(t, p, &d->question);
    }
    sf_text_add(t, p->before_context ? p->before_context : "<context>\n");
    d->context_begin = (int)t->size;
    sf_text_bytes(t, d->context.data ? d->context.data : "", d->context.size);
    d->context_end = (int)t->size;
    sf_text_add(t, p->after_context ? p->after_context : "\n</context>\n\n");
    if (after) write_question(t, p, &d->question);
    write_closing(t, p, how);
}

/* ---- the length ---------------------------------------------------------------------------------------------------- */

/* Writes the draft with `units` units and counts it. */
static sf_status measure(draft *d, const sf_request *r, const sf_prompt *p, const sf_content *c, int units, int *tokens)
{
    sf_text_clear(&d->context);
    sf_text_clear(&d->question);
    SF_TRY(c->write(c->self, units, &d->context, &d->question));
    assemble(d, p, &r->prompting);
    if (d->context.failed || d->question.failed || d->prompt.failed)
        return sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt of %d tokens", p->task, r->max_tokens);
    *tokens = r->tokens.count(r->tokens.self, d->prompt.data, d->prompt.size);
    if (*tokens < 0) return sf_blame(SF_BAD_INPUT, "%s: counting the tokens of a prompt", p->task);
    return SF_OK;
}

typedef struct point {
    int units, tokens;
} point;

/* Regula falsi on the number of units: each guess lies on the line through the two closest measurements. The first steps
 * go only a part of the way, because the cost of a unit is not known yet and a count costs as much as its text is long. */
static sf_status fit(draft *d, const sf_request *r, const sf_prompt *p, const sf_content *c, int *tokens)
{
    const int most = r->max_tokens, least = (int)ceil(0.95 * most);
    const double goal = 0.98 * most;
    point now = {.units = c->least}, before = {0}, low = {0}, high = {0}; /* high.units 0: not bracketed yet */
    SF_TRY(measure(d, r, p, c, now.units, &now.tokens));
    if (now.tokens > most)
        return sf_fail(SF_BAD_INPUT,
                       "%s: %d tokens are too few: the prompt with the least content (%d %s) takes %d; ask for a length of "
                       "at least %d, or make the task smaller through its parameters",
                       p->task, most, c->least, c->unit, now.tokens, (int)(now.tokens * 1.02) + 1);
    const point start = low = now;
    int next = start.units + 8;
    for (int round = 0; now.tokens < least || now.tokens > most; round++) {
        if (low.units == c->most)
            return sf_fail(SF_BAD_INPUT,
                           "%s: %d tokens are too many: all of its content (%d %s) fills %d; ask for a shorter length, or "
                           "make the task larger through its parameters",
                           p->task, most, c->most, c->unit, low.tokens);
        if (high.units && high.units - low.units <= 1)
            return sf_fail(SF_BAD_INPUT,
                           "%s: no number of %s fills 95 to 100 %% of %d tokens: %d take %d, one more %d; ask for another "
                           "length, or make the task smaller through its parameters",
                           p->task, c->unit, most, low.units, low.tokens, high.tokens);
        int ceiling = high.units ? high.units - 1 : c->most;
        now.units = next > ceiling ? ceiling : next <= low.units ? low.units + 1 : next;
        SF_TRY(measure(d, r, p, c, now.units, &now.tokens));

        before = now.tokens > most ? before : low;
        *(now.tokens > most ? &high : &low) = now;
        double gap = goal - low.tokens;
        if (high.units) {
            double part = round < 8 ? gap / (high.tokens - low.tokens) : 0.5;
            next = low.units + (int)(part * (high.units - low.units));
        } else {
            double rise = low.tokens > before.tokens ? low.tokens - before.tokens : 1;
            double whole = low.units + gap * (low.units - before.units) / rise;
            if (whole - start.units > 16.0 * (low.units - start.units)) whole = start.units + (whole - start.units) / 6;
            next = whole < c->most ? (int)whole : c->most;
        }
    }
    *tokens = now.tokens;
    return SF_OK;
}

sf_status sf_prompt_fit(const sf_request *request, const sf_prompt *prompt, const sf_content *content, sf_sample *out)
{
    draft d = {0};
    int tokens = 0;
    sf_status status = fit(&d, request, prompt, content, &tokens);
    if (status == SF_OK) {
        out->prompt = d.prompt.data;
        out->tokens = tokens;
        out->context_begin = d.context_begin;
        out->context_end = d.context_end;
        d.prompt = (sf_text){0};
    }
    sf_text_free(&d.context);
    sf_text_free(&d.question);
    sf_text_free(&d.prompt);
    return status;
}

/* ---- what else a sample holds -------------------------------------------------------------------------------------- */

sf_status sf_sample_gold(sf_sample *sample, const char *gold)
{
    char **grown = realloc(sample->gold, ((size_t)sample->gold_count + 1) * sizeof *grown);
    if (grown) sample->gold = grown;
    char *copy = grown ? strdup(gold) : NULL;
    if (!copy) return sf_fail(SF_NO_MEMORY, "no memory for an expected answer");
    sample->gold[sample->gold_count++] = copy;
    return SF_OK;
}

sf_status sf_sample_answer(sf_sample *sample, const sf_request *request, const char *explanation, const char *body)
{
    sf_text t = {0};
    if (!request->prompting.direct) sf_text_format(&t, "%s\n", explanation);
    sf_text_format(&t, "<answer>\n%s\n</answer>", body);
    if (t.failed) {
        sf_text_free(&t);
        return sf_fail(SF_NO_MEMORY, "no memory for an answer");
    }
    free(sample->answer);
    sample->answer = t.data;
    return SF_OK;
}

void sf_sample_free(sf_sample *sample)
{
    for (int i = 0; i < sample->gold_count; i++) free(sample->gold[i]);
    free(sample->gold);
    free(sample->prompt);
    free(sample->answer);
    *sample = (sf_sample){0};
}
