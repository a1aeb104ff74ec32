#include "tasks/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the shape --------------------------------------------------------------------------------------------------- */

static void write_question(sf_text *t, const sf_prompt *p, const sf_text *question)
{
    const char *tag = p->plural ? "questions" : "question";
    if (!p->plain) sf_text_format(t, "<%s>\n", tag);
    sf_text_bytes(t, question->data ? question->data : "", question->size);
    if (!p->plain) sf_text_format(t, "\n</%s>", tag);
    sf_text_add(t, "\n\n");
}

static void write_context_end(sf_text *t, const sf_prompt *p) { sf_text_add(t, p->plain ? "\n\n" : "\n</context>\n\n"); }

static void write_closing(sf_text *t, const sf_prompt *p, const sf_prompting *how)
{
    if (how->instructions || p->closing) {
        sf_text_add(t, how->instructions ? how->instructions : p->closing);
        return;
    }
    if (how->direct)
        sf_text_add(t,
                    "Reply with the answer alone, without any explanation. Put it between answer tags, in exactly this "
                    "form:\n");
    else
        sf_text_add(
            t, "Proceed in two steps. First, explain in a few sentences which parts of the context matter and how "
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

static void fill_whole(draft *d, const char *whole)
{
    sf_text *t = &d->prompt;
    for (const char *at = whole; *at;) {
        const bool context = strncmp(at, "{context}", 9) == 0, query = strncmp(at, "{query}", 7) == 0;
        const sf_text *part = context ? &d->context : &d->question;
        if (context) d->context_begin = (int)t->size;
        if (context || query) sf_text_bytes(t, part->data ? part->data : "", part->size);
        if (context) d->context_end = (int)t->size;
        if (context || query) at += context ? 9 : 7;
        else sf_text_char(t, *at++);
    }
}

/* Puts the parts of the draft together. */
static void assemble(draft *d, const sf_prompt *p, const sf_prompting *how)
{
    sf_question_place place = how->place != SF_QUESTION_OWN ? how->place : p->place;
    bool before = place != SF_QUESTION_AFTER, after = place != SF_QUESTION_BEFORE;
    sf_text *t = &d->prompt;
    sf_text_clear(t);
    if (p->whole) {
        fill_whole(d, p->whole);
        return;
    }
    sf_text_format(t, "%s\n\n", how->introduction ? how->introduction : p->introduction);
    if (before) {
        if (after && !p->plain)
            sf_text_add(t, p->plural ? "Here are the questions. They are repeated after the context.\n\n"
                                     : "Here is the question. It is repeated after the context.\n\n");
        write_question(t, p, &d->question);
    }
    if (!p->plain) sf_text_add(t, "<context>\n");
    d->context_begin = (int)t->size;
    sf_text_bytes(t, d->context.data ? d->context.data : "", d->context.size);
    d->context_end = (int)t->size;
    write_context_end(t, p);
    if (after) write_question(t, p, &d->question);
    write_closing(t, p, how);
}

/* ---- the length -------------------------------------------------------------------------------------------------- */

/* A length that was tried: so much content, filled up with so many neutral sentences. */
typedef struct trial {
    int units, padding, tokens;
} trial;

static sf_status compose(draft *d, const sf_request *r, const sf_prompt *p, const sf_content *c, const trial *t)
{
    sf_text_clear(&d->context);
    sf_text_clear(&d->question);
    SF_TRY(c->write(c->self, t->units, &d->context, &d->question));
    for (int i = 0; i < t->padding; i++) {
        sf_text_char(&d->context, i ? ' ' : '\n');
        c->pad(c->self, i, &d->context);
    }
    assemble(d, p, &r->prompting);
    if (d->context.failed || d->question.failed || d->prompt.failed)
        return sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt of %d tokens", p->task, r->max_tokens);
    return SF_OK;
}

static sf_status try(draft *d, const sf_request *r, const sf_prompt *p, const sf_content *c, trial *t)
{
    SF_TRY(compose(d, r, p, c, t));
    t->tokens = r->tokens.count(r->tokens.self, d->prompt.data, d->prompt.size, p->answer_prefix);
    return t->tokens < 0 ? sf_blame((sf_status)-t->tokens, "%s: counting the tokens of a prompt", p->task) : SF_OK;
}

static int least_tokens(const sf_request *r) { return (int)ceil(0.95 * r->max_tokens); }

static bool fits(const sf_request *r, const trial *t)
{
    return t->tokens >= least_tokens(r) && t->tokens <= r->max_tokens;
}

/* Regula falsi along one axis, `units` or `padding`: each guess lies on the line through the two closest trials. The
 * first steps go only a part of the way, because the cost of a unit is not known yet and a count costs as much as its
 * text is long. Starts at `low`, which is too short. Ends with a trial that fits in `now`; or, if there is none, with
 * `low` the longest that is too short, and `high` the next, too long, or its place 0 if `most` is still too short. */
static sf_status search(draft *d, const sf_request *r, const sf_prompt *p, const sf_content *c, size_t axis, int most,
                        trial *low, trial *high, trial *now)
{
#define AT(t) (*(int *)((char *)(t) + axis))
    const double goal = 0.98 * r->max_tokens;
    const int start = AT(low);
    trial before = *low;
    *high = (trial){0};
    *now = *low;
    int next = start + 8;
    for (int round = 0; !fits(r, now); round++) {
        int ceiling = AT(high) ? AT(high) - 1 : most;
        if (AT(low) >= ceiling) return SF_OK;
        AT(now) = next > ceiling ? ceiling : next <= AT(low) ? AT(low) + 1 : next;
        SF_TRY(try(d, r, p, c, now));
        if (now->tokens > r->max_tokens) {
            *high = *now;
        } else {
            before = *low;
            *low = *now;
        }
        double gap = goal - low->tokens;
        if (AT(high)) {
            double part = round < 8 ? gap / (high->tokens - low->tokens) : 0.5;
            next = AT(low) + (int)(part * (AT(high) - AT(low)));
        } else {
            double rise = low->tokens > before.tokens ? low->tokens - before.tokens : 1;
            double whole = AT(low) + gap * (AT(low) - AT(&before)) / rise;
            if (whole - start > 16.0 * (AT(low) - start)) whole = start + (whole - start) / 6;
            next = whole < most ? (int)whole : most;
        }
    }
#undef AT
    return SF_OK;
}

static sf_status fit(draft *d, const sf_request *r, const sf_prompt *p, const sf_content *c, int *tokens)
{
    trial low = {.units = c->least}, high, now;
    SF_TRY(try(d, r, p, c, &low));
    if (low.tokens > r->max_tokens)
        return sf_fail(
            SF_BAD_INPUT,
            "%s: %d tokens are too few: the prompt with the least content (%d %s) takes %d; ask for a length of "
            "at least %d, or make the task smaller through its parameters",
            p->task, r->max_tokens, c->least, c->unit, low.tokens, (int)(low.tokens * 1.02) + 1);
    SF_TRY(search(d, r, p, c, offsetof(trial, units), c->most, &low, &high, &now));
    if (!fits(r, &now) && !high.units)
        return sf_fail(
            SF_BAD_INPUT,
            "%s: %d tokens are too many: all of its content (%d %s) fills %d; ask for a shorter length, or make "
            "the task larger through its parameters",
            p->task, r->max_tokens, c->most, c->unit, low.tokens);
    if (!fits(r, &now) && c->pad)
        SF_TRY(search(d, r, p, c, offsetof(trial, padding), r->max_tokens, &low, &high, &now));
    if (!fits(r, &now))
        return sf_fail(SF_BAD_INPUT,
                       "%s: no number of %s fills 95 to 100 %% of %d tokens: %d take %d, one more %d; ask for another "
                       "length, or make the task smaller through its parameters",
                       p->task, c->unit, r->max_tokens, low.units, low.tokens, high.tokens);
    *tokens = now.tokens;
    return SF_OK;
}

static void free_draft(draft *d)
{
    sf_text_free(&d->context);
    sf_text_free(&d->question);
    sf_text_free(&d->prompt);
}

sf_status sf_prompt_least(const sf_request *request, const sf_prompt *prompt, const sf_content *content, int *tokens)
{
    draft d = {0};
    trial least = {.units = content->least};
    sf_status status = try(&d, request, prompt, content, &least);
    free_draft(&d);
    *tokens = least.tokens;
    return status;
}

sf_status sf_prompt_is_within(const sf_request *request, const sf_prompt *prompt, const sf_content *content, int most,
                              bool *within)
{
    draft d = {0};
    trial least = {.units = content->least};
    sf_status status = compose(&d, request, prompt, content, &least);
    size_t bytes = d.prompt.size + (prompt->answer_prefix ? strlen(prompt->answer_prefix) : 0);
    *within = bytes + 512 <= (size_t)most;
    if (status == SF_OK && !*within) {
        status = try(&d, request, prompt, content, &least);
        *within = least.tokens <= most;
    }
    free_draft(&d);
    return status;
}

sf_status sf_prompt_fit(const sf_request *request, const sf_prompt *prompt, const sf_content *content, sf_sample *out)
{
    draft d = {0};
    int tokens = 0;
    sf_status status = fit(&d, request, prompt, content, &tokens);
    char *prefix = status == SF_OK && prompt->answer_prefix ? strdup(prompt->answer_prefix) : NULL;
    if (status == SF_OK && prompt->answer_prefix && !prefix)
        status = sf_fail(SF_NO_MEMORY, "%s: no memory for the beginning of an answer", prompt->task);
    if (status == SF_OK) {
        out->prompt = d.prompt.data;
        out->answer_prefix = prefix;
        out->tokens = tokens;
        out->context_begin = d.context_begin;
        out->context_end = d.context_end;
        d.prompt = (sf_text){0};
    }
    free_draft(&d);
    return status;
}

sf_status sf_prompt_later(const sf_request *request, const sf_prompt *prompt, const sf_text *question, char **out)
{
    sf_text t = {0};
    if (request->shared) write_context_end(&t, prompt);
    write_question(&t, prompt, question);
    write_closing(&t, prompt, &request->prompting);
    *out = t.failed || question->failed ? NULL : t.data;
    if (*out) return SF_OK;
    sf_text_free(&t);
    return sf_fail(SF_NO_MEMORY, "%s: no memory for a later question", prompt->task);
}

/* ---- what else a sample holds ------------------------------------------------------------------------------------ */

sf_status sf_sample_later(sf_sample *sample, sf_sample **later)
{
    sf_sample *grown = realloc(sample->later, ((size_t)sample->laters + 1) * sizeof *grown);
    if (!grown) return sf_fail(SF_NO_MEMORY, "no memory for a later question");
    sample->later = grown;
    *later = &grown[sample->laters++];
    **later = (sf_sample){0};
    return SF_OK;
}

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
    for (int i = 0; i < sample->laters; i++) sf_sample_free(&sample->later[i]);
    free(sample->later);
    for (int i = 0; i < sample->gold_count; i++) free(sample->gold[i]);
    free(sample->gold);
    free(sample->prompt);
    free(sample->answer_prefix);
    free(sample->answer);
    free(sample->continuation);
    free(sample->aside);
    *sample = (sf_sample){0};
}
