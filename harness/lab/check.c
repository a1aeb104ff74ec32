#include "harness/lab/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "harness/lab/trial.h"

typedef enum verdict { PASS, FAIL, NOT_APPLICABLE } verdict;

typedef struct check {
    const sf_method *method;
    sf_hook hook;
    sf_backend reference, one, two; /* the device with one thread and with two */
    const char *device;
    int ranks;                      /* that heads are split over; 1: none */
    int tokens;                     /* of the usual prompt */
    bool error, hopeless;           /* the method failed in a row; it fails already on the usual prompt */
    sf_outcome usual[2];            /* of the usual trial on one thread and on the reference; rows 0: not run yet */
    double living;                  /* keys of a kv head that the row of evictions saw live at most */
    char detail[512];
} check;

enum { HOOKS = 3 };
static const char *const PHASE[HOOKS] = {"prefill", "eviction", "decode"};
#define IN(hook) (1u << (hook))
#define ALL      (IN(SF_HOOK_PREFILL) | IN(SF_HOOK_COMPRESS) | IN(SF_HOOK_DECODE))

static const double USUAL = 0.6; /* sparsity */

static verdict say(check *c, verdict v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->detail, sizeof c->detail, format, args);
    va_end(args);
    return v;
}

/* ---- running and comparing -------------------------------------------------------------------------------------- */

static sf_synthetic shape(const check *c, int tokens)
{
    return (sf_synthetic){.tokens = tokens,
                          .tail = c->hook == SF_HOOK_PREFILL ? 0 : 5,
                          .heads = 4,
                          .kv_heads = 2,
                          .head_dim = 32,
                          .width = c->method->hidden ? 96 : 0,
                          .layer = 1,
                          .seed = 7,
                          .bf16 = sf_rounds(&c->one)};
}

static sf_trial trial(const check *c, sf_synthetic on, double sparsity)
{
    return (sf_trial){.method = c->method, .hook = c->hook, .sparsity = sparsity, .on = on};
}

/* On failure, the message becomes the detail. */
static bool run(check *c, sf_backend *b, sf_trial t, sf_outcome *o)
{
    sf_status status = sf_trial_run(&t, b, o);
    c->error |= status != SF_OK;
    if (status != SF_OK)
        say(c, FAIL, "%d tokens, heads %d/%d of %d, on %s: %s", t.on.tokens, t.on.heads, t.on.kv_heads, t.on.head_dim,
            b->ops->name, sf_error());
    return status == SF_OK;
}

/* The trial that many rows hold another one against, run once a hook: on `one`, or on the reference, where it has a mask. NULL: it
 * failed, and the detail says why. */
static const sf_outcome *usual(check *c, sf_backend *b)
{
    sf_outcome *o = &c->usual[b == &c->reference];
    sf_trial t = trial(c, shape(c, c->tokens), USUAL);
    t.explain = b == &c->reference;
    if (o->rows || run(c, b, t, o)) return o;
    sf_outcome_free(o);
    return NULL;
}

static void forget_usual(check *c)
{
    for (int i = 0; i < 2; i++) sf_outcome_free(&c->usual[i]);
}

static bool same_choice(const sf_outcome *x, const sf_outcome *y)
{
    return x->choices == y->choices &&
           (!x->choices || memcmp(x->chosen, y->chosen, x->choices * sizeof *x->chosen) == 0);
}

static bool same(const sf_outcome *x, const sf_outcome *y, size_t elements)
{
    return same_choice(x, y) && x->pairs == y->pairs && memcmp(x->out, y->out, elements * sizeof *x->out) == 0;
}

static size_t elements(const sf_outcome *o, const sf_synthetic *s)
{
    return (size_t)o->rows * (size_t)s->heads * (size_t)s->head_dim;
}

/* Largest relative distance of an output row of a head; `off`: the share of them beyond `tolerance`. */
static double distance(const sf_outcome *x, const sf_outcome *y, const sf_synthetic *s, double tolerance, double *off)
{
    size_t dim = (size_t)s->head_dim, rows = elements(x, s) / dim, beyond = 0;
    double worst = 0;
    for (size_t r = 0; r < rows; r++) {
        double difference = 0, norm = 0;
        for (size_t d = r * dim; d < (r + 1) * dim; d++) {
            difference += pow((double)x->out[d] - y->out[d], 2);
            norm += pow(y->out[d], 2);
        }
        double relative = sqrt(difference) / (sqrt(norm) + 1e-30);
        if (!(relative <= tolerance)) beyond++;
        if (!(relative <= worst)) worst = relative; /* NaN too */
    }
    *off = (double)beyond / (double)rows;
    return worst;
}

/* fp32 backends differ by rounding; bf16 ones by theirs, of outputs and of probabilities. */
static double tolerance(const check *c) { return sf_rounds(&c->one) ? 2e-2 : 1e-5; }

/* What the reference and the device gave: the same choice, the same output. A choice may hang on the last bit of two scores, so a
 * few rows may differ. */
static bool agree_on(check *c, const sf_synthetic *on, const sf_outcome *reference, const sf_outcome *device)
{
    double off, worst = distance(device, reference, on, tolerance(c), &off);
    bool identical = same_choice(reference, device), good = off <= (identical ? 0 : sf_rounds(&c->one) ? 0.05 : 0.005);
    say(c, good ? PASS : FAIL, "%d tokens, heads %d/%d of %d: selection %s, largest relative difference %.1e%s", on->tokens, on->heads,
        on->kv_heads, on->head_dim, identical ? "identical" : "differs", worst, good && !identical ? " (near-ties)" : "");
    return good;
}

static bool agree(check *c, sf_trial t)
{
    sf_outcome x = {0}, y = {0};
    bool good = run(c, &c->reference, t, &x) && run(c, &c->one, t, &y) && agree_on(c, &t.on, &x, &y);
    sf_outcome_free(&x), sf_outcome_free(&y);
    return good;
}

static bool agrees_as_usual(check *c, const sf_synthetic *on)
{
    const sf_outcome *x = usual(c, &c->reference), *y = usual(c, &c->one);
    return x && y && agree_on(c, on, x, y);
}

/* ---- the properties -----------------------------------------------------------------------------------------------
 */

static verdict indices(check *c)
{
    for (int i = 0; i < 6; i++) {
        sf_trial t = trial(c, shape(c, c->tokens + 11 * (i % 2)), (double[]){0, 0.5, 0.9}[i / 2]);
        t.on.ties = i == 3;
        t.choose_only = true;
        sf_outcome o;
        bool good = run(c, &c->reference, t, &o);
        int future = o.future;
        sf_outcome_free(&o);
        if (!good) return FAIL;
        if (future) return say(c, FAIL, "%d tokens: %d key blocks lie wholly after their queries", t.on.tokens, future);
    }
    return say(c, PASS, "6 prompts, sparsity 0 to 0.9");
}

static verdict pairs_as_counted(check *c)
{
    const sf_outcome *o = usual(c, &c->reference);
    if (!o) return FAIL;
    return say(c, o->named == o->pairs ? PASS : FAIL, "%llu counted, %llu in the pattern, density %.3f", (unsigned long long)o->pairs,
               (unsigned long long)o->named, o->density);
}

static sf_status all_pairs(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_dense(a, out);
}

static sf_status all_keys(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return sf_dense(a, out);
}

static verdict full_budget(check *c)
{
    if (!c->method->fit) return say(c, NOT_APPLICABLE, "maps no target sparsity");
    if (c->method->never_dense) return say(c, NOT_APPLICABLE, "never dense, as the method says");
    static const sf_method everything = {
        .name = "everything", .prefill = all_pairs, .compress = all_keys, .decode = all_keys};
    sf_trial t = trial(c, shape(c, c->tokens), 0), dense = t;
    sf_outcome o = {0}, d = {0};
    dense.method = &everything;
    bool good = run(c, &c->one, t, &o) && run(c, &c->one, dense, &d);
    if (good) {
        double off, worst = distance(&o, &d, &t.on, tolerance(c), &off);
        good = off == 0 && o.pairs == d.pairs;
        say(c, good ? PASS : FAIL, "%llu of %llu pairs, largest relative difference %.1e", (unsigned long long)o.pairs,
            (unsigned long long)d.pairs, worst);
    }
    sf_outcome_free(&o), sf_outcome_free(&d);
    return good ? PASS : FAIL;
}

/* Rows before `from` of the usual prefill and of a changed one: equal to the bit? */
static verdict earlier_rows(check *c, sf_synthetic changed, int from, bool *moved)
{
    const sf_outcome *x = usual(c, &c->one);
    sf_outcome y = {0};
    bool good = x && run(c, &c->one, trial(c, changed, USUAL), &y);
    if (good) *moved = memcmp(x->out, y.out, (size_t)(from * changed.heads * changed.head_dim) * sizeof *x->out) != 0;
    sf_outcome_free(&y);
    return good ? PASS : FAIL;
}

static verdict causal(check *c)
{
    int from = c->tokens * 3 / 5;
    sf_synthetic changed = shape(c, c->tokens);
    changed.other_values = from;
    bool moved;
    if (earlier_rows(c, changed, from, &moved)) return FAIL;
    return say(c, moved ? FAIL : PASS, "values from row %d on changed: rows before it %s", from,
               moved ? "moved" : "equal to the bit");
}

static verdict steering(check *c)
{
    int from = c->tokens * 3 / 5;
    sf_synthetic changed = shape(c, c->tokens);
    changed.other_all = from;
    bool moved;
    if (earlier_rows(c, changed, from, &moved)) return FAIL;
    if (!moved) return say(c, PASS, "tokens from row %d on changed: rows before it equal to the bit", from);
    return c->method->steers_backwards
               ? say(c, PASS, "later tokens change what earlier rows read, and the method says so")
               : say(c, FAIL,
                     "later tokens change what earlier rows read: unless that is meant, a fault; if it is, "
                     "set .steers_backwards");
}

/* Do all queries read key 0, or their own? On inputs where it holds most of the attention. */
static verdict every_row_reads(check *c, bool own)
{
    sf_trial t = trial(c, shape(c, c->tokens), USUAL);
    t.on.own = own, t.on.sinks = !own;
    t.choose_only = t.explain = true;
    sf_outcome o;
    bool good = run(c, &c->reference, t, &o), none = own && o.empty;
    int blind = 0, rows = t.on.heads * o.rows;
    for (int r = 0; good && r < rows; r++) {
        int position = o.keys - o.rows + r % o.rows;
        blind += !o.mask[(size_t)r * (size_t)o.keys + (own ? (size_t)position : 0)];
    }
    sf_outcome_free(&o);
    if (!good) return FAIL;
    if (none) return say(c, NOT_APPLICABLE, "rows may read no key at all, as its patterns say: %d of %d read it", rows - blind, rows);
    return say(c, blind ? FAIL : PASS, "%d of %d query rows read it", rows - blind, rows);
}

static verdict sink(check *c)
{
    if (c->method->leaves_sinks) return say(c, NOT_APPLICABLE, "may go unread, as the method says");
    return every_row_reads(c, false);
}

static verdict own_key(check *c)
{
    if (c->method->leaves_own) return say(c, NOT_APPLICABLE, "may go unread, as the method says");
    return every_row_reads(c, true);
}

/* Long enough for budgets to tell apart; few heads, and no attention, to be quick. */
static sf_trial fitted_on(const check *c, double target)
{
    sf_trial t = trial(c, shape(c, 2048), target);
    t.on.heads = 2, t.on.kv_heads = 1;
    t.on.sinks = t.on.needles = t.choose_only = true;
    return t;
}

/* What the method leaves out at a target; NAN where it fails. */
static double achieved(check *c, double target)
{
    enum { LAYERS = 4 };
    sf_trial t = fitted_on(c, target);
    double sparsity = 0;
    int layers = c->method->over_layers ? LAYERS : 1;
    for (int i = 0; i < layers; i++) {
        sf_outcome o;
        if (layers > 1) t.on.layer = i, t.on.layers = layers;
        sparsity += run(c, &c->one, t, &o) ? (1 - o.density) / layers : NAN;
        sf_outcome_free(&o);
    }
    return sparsity;
}

/* Short of a target by more than 2 points is excused where the method cannot do more (its forced sets are what it
 * reaches at any target), and beyond it where its steps are wider (it answers every target up to there with the same
 * choice). */
static verdict target_sparsity(check *c)
{
    static const double LEVELS[] = {0.5, 0.6, 0.7, 0.8, 0.9, 0.95};
    enum { N = sizeof LEVELS / sizeof *LEVELS };
    if (!c->method->fit) return say(c, NOT_APPLICABLE, "maps no target sparsity");
    if (c->hook == SF_HOOK_COMPRESS && c->method->decode) return say(c, NOT_APPLICABLE, "met by what decode reads of what is kept");
    double most = achieved(c, 0.999);
    if (isnan(most)) return FAIL;
    if (most <= 0) return say(c, FAIL, "density 1 at every target: it leaves nothing out");
    char text[256] = "";
    bool good = true, floor = false, step = false;
    for (int i = 0; i < N; i++) {
        double got = achieved(c, LEVELS[i]), excess = got - LEVELS[i];
        if (isnan(got)) return FAIL;
        if (excess < -0.02) {
            if (most - got < 0.005)
                floor = true;
            else
                good = false;
        } else if (excess > 0.02) {
            if (achieved(c, (got + LEVELS[i]) / 2) == got)
                step = true;
            else
                good = false;
        }
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.2f:%.3f", i ? " " : "", LEVELS[i], got);
    }
    return say(c, good ? PASS : FAIL, "%s%s%s", text, floor ? " (what it forces is more)" : "",
               step ? " (its steps are wider)" : "");
}

/* What a config's reader does: the parameter by its row in the table, nothing through fit(). */
static verdict budgets(check *c)
{
    char text[256] = "";
    for (const sf_param *p = c->method->params; p && p->name; p++) {
        if (!p->budget || p->type == SF_STRING) continue;
        bool whole = p->type != SF_REAL, small = !whole || p->high - p->low < 64;
        double least = 2, most = -1;
        for (int i = 0; i < 8; i++) { /* of a long range, what a prompt of this length can tell apart */
            sf_trial t = fitted_on(c, NAN);
            double value = p->low + (small ? (p->high - p->low) * (i % 4 + 1) / 5 : (double[]){0, 8, 64, 1024}[i % 4]);
            t.set = p, t.value = whole ? floor(fmin(value, p->high)) : value;
            t.rest_low = i >= 4; /* one budget may hide another */
            sf_outcome o;
            if (!run(c, &c->one, t, &o)) return sf_outcome_free(&o), FAIL;
            least = fmin(least, o.density), most = fmax(most, o.density);
            sf_outcome_free(&o);
        }
        if (least == most)
            return say(c, FAIL, "density is %.3f whatever '%s' is; is its type in the table that of its field?", most,
                       p->name);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s:%.3f-%.3f", *text ? " " : "", p->name, least,
                 most);
    }
    return *text ? say(c, PASS, "%s", text) : say(c, NOT_APPLICABLE, "no parameter is a budget");
}

/* What estimate() says of choosing is what the meter counts: to the bit, or, where a method says that its cost depends on the sample, to
 * 1 %. */
static verdict estimate(check *c)
{
    static const char *const WHAT[SF_BILLS] = {"FLOPs", "FLOPs at the prompt", "elements read in steps"};
    sf_trial t = trial(c, shape(c, c->tokens), USUAL);
    sf_bill bill;
    bool good = true, any = false;
    t.on.layers = t.on.layer + 1;
    sf_status status = sf_trial_bill(&t, &c->one, &bill);
    c->error |= status != SF_OK;
    if (status != SF_OK) return say(c, FAIL, "%s", sf_error());
    char text[256] = "";
    for (int i = 0; i < SF_BILLS; i++) {
        double said = bill.said[i], counted = bill.counted[i], most = c->method->data_dependent ? 0.01 * counted : 1e-9 * counted;
        if (!(said || counted)) continue;
        any = true, good &= fabs(said - counted) <= most;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.0f %s counted, %.0f said", *text ? "; " : "", counted, WHAT[i], said);
    }
    if (!any) return say(c, PASS, "nothing is counted, and nothing said");
    return say(c, good ? PASS : FAIL, "%s%s", text, !c->method->estimate ? ": it has no estimate()" : c->method->data_dependent ? " (depends on the sample: to 1 %)" : "");
}

static verdict as_reference(check *c)
{
    sf_synthetic on = shape(c, c->tokens);
    on.sinks = on.needles = true;
    return agree(c, trial(c, on, USUAL)) ? PASS : FAIL;
}

/* The usual trial on one thread, and this one. */
static verdict equals_usual(check *c, sf_backend *b, sf_trial t, const char *good, const char *bad)
{
    const sf_outcome *x = usual(c, &c->one);
    sf_outcome y = {0};
    verdict v = FAIL;
    if (x && run(c, b, t, &y)) v = same(x, &y, elements(x, &t.on)) ? say(c, PASS, "%s", good) : say(c, FAIL, "%s", bad);
    sf_outcome_free(&y);
    return v;
}

static verdict threads(check *c)
{
    return equals_usual(c, &c->two, trial(c, shape(c, c->tokens), USUAL), "equal to the bit", "the result differs");
}

static verdict company(check *c)
{
    sf_trial together = trial(c, shape(c, c->tokens), USUAL), other = together;
    other.on.tokens += 77, other.on.tail = 2, other.on.seed = 99;
    together.among = &other;
    return equals_usual(c, &c->one, together, "equal to the bit", "the result differs");
}

/* Beside all rows before this one. */
static verdict stateless(check *c)
{
    sf_trial t = trial(c, shape(c, c->tokens), USUAL), between = t;
    between.on.seed = 99, between.on.tokens += 40;
    sf_outcome other;
    bool good = run(c, &c->one, between, &other);
    sf_outcome_free(&other);
    return good ? equals_usual(c, &c->one, t, "the same after another sample", "another result after another sample") : FAIL;
}

/* Two are usual. */
static verdict groups(check *c)
{
    for (int group = 1; group <= 8; group *= 2) {
        sf_synthetic on = shape(c, c->tokens);
        on.kv_heads = group < 8 ? 2 : 1, on.heads = group * on.kv_heads;
        if (!(group == 2 ? agrees_as_usual(c, &on) : agree(c, trial(c, on, USUAL)))) return FAIL;
    }
    return say(c, PASS, "as on the reference");
}

static verdict head_dims(check *c)
{
    for (int dim = 64; dim <= 256; dim *= 2) {
        sf_synthetic on = shape(c, c->tokens);
        on.heads = on.kv_heads, on.head_dim = dim;
        if (!agree(c, trial(c, on, USUAL))) return FAIL;
    }
    return say(c, PASS, "as on the reference");
}

static verdict short_prompts(check *c)
{
    static const int TOKENS[] = {1, 2, 5, 15, 16, 17, 63, 64, 65};
    for (size_t i = 0; i < sizeof TOKENS / sizeof *TOKENS; i++)
        for (int s = 0; s < 2; s++)
            if (!agree(c, trial(c, shape(c, TOKENS[i]), s ? 0.9 : 0))) return FAIL;
    return say(c, PASS, "as on the reference");
}

/* A trial whose heads are split over ranks: what each found. */
struct split {
    sf_trial trial;
    sf_outcome part[SF_CHECK_RANKS];
};

static sf_status try_part(sf_backend *b, void *user)
{
    struct split *s = user;
    sf_trial t = s->trial;
    t.on.comm = b->comm;
    return sf_trial_run(&t, b, &s->part[b->comm->rank]);
}

/* The lists that ranks chose, one rank's behind the other's, are the whole's. */
static bool same_lists(const struct split *s, int ranks, const sf_outcome *whole)
{
    size_t at = 0;
    for (int r = 0; r < ranks; r++) {
        const sf_outcome *part = &s->part[r];
        if (part->choices > whole->choices - at || memcmp(part->chosen, whole->chosen + at, part->choices * sizeof *part->chosen) != 0) return false;
        at += part->choices;
    }
    return at == whole->choices;
}

/* Outputs of these ranks' heads, row by row: to the bit; or, where a cache was cut, within `tolerance`, as the order of a sum may hang
 * on the longest list of a rank. */
static bool same_outputs(const struct split *s, int ranks, const sf_outcome *whole, double tolerance)
{
    const size_t all = (size_t)s->trial.on.heads, some = all / (size_t)ranks, dim = (size_t)s->trial.on.head_dim;
    const bool near = s->trial.hook == SF_HOOK_COMPRESS && same_lists(s, ranks, whole);
    for (size_t row = 0; row < (size_t)whole->rows; row++)
        for (size_t h = 0; h < all; h++) {
            const float *x = s->part[h / some].out + (row * some + h % some) * dim, *y = whole->out + (row * all + h) * dim;
            double difference = 0, norm = 0;
            for (size_t d = 0; d < dim; d++) difference += pow((double)x[d] - y[d], 2), norm += pow(y[d], 2);
            if (!(difference == 0 || (near && sqrt(difference) <= tolerance * sqrt(norm)))) return false;
        }
    return true;
}

/* What differs between all heads together and these ranks' parts of them, whose pairs and FLOPs are theirs together; NULL: nothing. */
static const char *unlike(const struct split *s, int ranks, const sf_outcome *whole, double tolerance)
{
    const size_t heads = (size_t)s->trial.on.heads / (size_t)ranks * (size_t)whole->rows * (size_t)whole->keys;
    uint64_t pairs = 0;
    double flops = 0;
    for (int r = 0; r < ranks; r++) {
        const sf_outcome *part = &s->part[r];
        pairs += part->pairs, flops += part->flops;
        if (part->rows != whole->rows || part->keys != whole->keys) return "rows and keys";
        if (whole->mask && memcmp(part->mask, whole->mask + (size_t)r * heads, heads) != 0) return "the keys that are read";
    }
    if (!same_outputs(s, ranks, whole, tolerance)) return "the outputs";
    return pairs != whole->pairs ? "the pairs" : flops != whole->flops ? "what choosing costs" : NULL;
}

/* One trial on `b`, with all heads together and with heads split; false: not the same, and the detail says what. A parameter that the method
 * refuses as it is set says nothing. */
static bool same_split(check *c, sf_backend *b, const char *device, sf_trial t)
{
    struct split s = {.trial = t};
    sf_outcome whole;
    s.trial.on.heads = 4 * c->ranks, s.trial.on.kv_heads = 2 * c->ranks;
    s.trial.on.sinks = s.trial.on.needles = true;
    s.trial.explain = b == &c->reference;
    const bool failed = c->error;
    bool good = run(c, b, s.trial, &whole);
    if (!good && t.set) return sf_outcome_free(&whole), c->error = failed, true;
    if (good && sf_comm_team(c->ranks, 1, device, 1, try_part, &s) != SF_OK) {
        c->error = true;
        good = say(c, FAIL, "on %s: %s", b->ops->name, sf_error()) == PASS;
    }
    const char *what = good ? unlike(&s, c->ranks, &whole, tolerance(c)) : NULL;
    if (what)
        say(c, FAIL, "on %s%s%s: %s are not those of all heads together", b->ops->name, t.set ? ", another " : "", t.set ? t.set->name : "", what);
    sf_outcome_free(&whole);
    for (int r = 0; r < c->ranks; r++) sf_outcome_free(&s.part[r]);
    return good && !what;
}

static int bars(const char *choices)
{
    int n = 0;
    while ((choices = strchr(choices, '|'))) n++, choices++;
    return n;
}

/* Heads split over ranks, each of which sees the others' only where the method says that it looks beyond a head. */
static verdict ranks(check *c)
{
    if (c->ranks == 1) return say(c, NOT_APPLICABLE, "not asked for");
    if (c->method->weights) return say(c, NOT_APPLICABLE, "has trained weights, which a split model refuses");
    if (c->hook == SF_HOOK_COMPRESS && c->method->settle) return say(c, NOT_APPLICABLE, "settles over all layers, which a split model refuses");
    for (int i = 0; i < 4; i++)
        if (!same_split(c, i % 2 ? &c->one : &c->reference, i % 2 ? c->device : "reference", trial(c, shape(c, c->tokens), i < 2 ? USUAL : 0.9))) return FAIL;
    for (const sf_param *p = c->method->params; p && p->name; p++) { /* what heads of a number do may hang on any */
        sf_trial t = trial(c, shape(c, 97), NAN);
        if (p->budget || (p->type == SF_INT ? p->initial >= p->high : p->type != SF_CHOICE || p->initial >= bars(p->choices))) continue;
        t.set = p, t.value = p->initial + 1;
        if (!same_split(c, &c->reference, "reference", t)) return FAIL;
    }
    return say(c, PASS, "%d heads over %d: selections, outputs and counts equal", 4 * c->ranks, c->ranks);
}

enum { STEPS = 40 };

/* What is gone stays gone: of a method that evicts while decoding, the keys that a step reads are among those of the step
 * before and its own. */
static verdict eviction(check *c)
{
    c->living = NAN;
    if (!c->method->evicts) return say(c, NOT_APPLICABLE, "evicts nothing while decoding");
    sf_outcome before = {0}, now = {0};
    double most = 0;
    int returned = 0;
    bool good = true;
    for (int step = 1; step <= STEPS && good && !returned; step++) {
        sf_trial t = trial(c, shape(c, c->tokens), USUAL);
        t.on.tail = step;
        t.choose_only = t.explain = true;
        good = run(c, &c->reference, t, &now);
        for (int h = 0; good && before.mask && h < t.on.heads; h++)
            for (int j = 0; j < before.keys; j++)
                returned += now.mask[h * now.keys + j] && !before.mask[h * before.keys + j];
        most = fmax(most, good ? (double)now.pairs / t.on.heads : 0);
        sf_outcome_free(&before);
        before = now;
        now = (sf_outcome){0};
        if (returned) say(c, FAIL, "step %d reads %d keys that step %d did not: they were gone", step, returned, step - 1);
    }
    sf_outcome_free(&before), sf_outcome_free(&now);
    if (!good || returned) return FAIL;
    c->living = most;
    return say(c, PASS, "%d steps: none returns", STEPS);
}

/* No more keys live than the target leaves of all tokens: of a method that evicts while decoding, but for what is born between
 * evictions; of one that compresses, on average over kv heads and, if it shares out over them, layers. */
static verdict memory(check *c)
{
    if (c->hook == SF_HOOK_DECODE) {
        if (!c->method->evicts || isnan(c->living)) return say(c, NOT_APPLICABLE, "keeps all keys, as far as it is told");
        if (!c->method->fit) return say(c, NOT_APPLICABLE, "maps no target sparsity");
        double room = (1 - USUAL) * c->tokens * 1.02 + STEPS;
        return say(c, c->living <= room ? PASS : FAIL, "at most %.0f keys live in a kv head, %.0f may", c->living, room);
    }
    if (!c->method->fit) return say(c, NOT_APPLICABLE, "maps no target sparsity");
    if (c->method->decode) return say(c, NOT_APPLICABLE, "a target is met by what decode reads of what is kept");
    double kept[2], tail = shape(c, c->tokens).tail, fullest = 0;
    for (int i = 0; i < 2; i++) {
        enum { LAYERS = 4 };
        int layers = c->method->over_layers ? LAYERS : 1;
        kept[i] = 0;
        for (int layer = 0; layer < layers; layer++) {
            sf_trial t = trial(c, shape(c, c->tokens), (double[]){0, USUAL}[i]);
            sf_outcome o;
            t.choose_only = true;
            if (layers > 1) t.on.layer = layer, t.on.layers = layers;
            bool good = run(c, &c->reference, t, &o);
            if (good) kept[i] += ((double)o.pairs / t.on.heads - tail) / layers;
            for (size_t at = 0; good && i && at < o.choices; at += 1 + (size_t)o.chosen[at]) fullest = fmax(fullest, o.chosen[at]);
            sf_outcome_free(&o);
            if (!good) return FAIL;
        }
    }
    double room = (1 - USUAL) * (c->tokens + tail) * 1.02 + 1;
    return say(c, kept[1] <= room && kept[1] < kept[0] ? PASS : FAIL, "%.0f keys of %.0f live in a kv head, %.0f may; the fullest %.0f",
               kept[1], kept[0], room, fullest);
}

static const struct {
    const char *name;
    unsigned hooks;
    verdict (*prove)(check *c);
} PROPERTIES[] = {
    {"indices in range, ascending, unique", ALL, indices},
    {"pairs as counted", ALL, pairs_as_counted},
    {"full budget equals dense", ALL, full_budget},
    {"target sparsity within 2 points", ALL, target_sparsity},
    {"each budget parameter moves density", ALL, budgets},
    {"choosing costs what estimate() says", ALL, estimate},
    {"no query reads a later value", IN(SF_HOOK_PREFILL), causal},
    {"steering by later tokens is declared", IN(SF_HOOK_PREFILL), steering},
    {"an attention sink is read", ALL, sink},
    {"the query's own key is read", ALL, own_key},
    {"same on the reference", ALL, as_reference},
    {"same with 1 and 2 threads", ALL, threads},
    {"same alone and in company", IN(SF_HOOK_COMPRESS) | IN(SF_HOOK_DECODE), company},
    {"no state kept between samples", ALL, stateless},
    {"what is evicted never returns", IN(SF_HOOK_DECODE), eviction},
    {"memory falls as claimed", IN(SF_HOOK_COMPRESS) | IN(SF_HOOK_DECODE), memory},
    {"query heads per kv head 1 2 4 8", ALL, groups},
    {"head dim 64 128 256", ALL, head_dims},
    {"prompts of 1 to 65 tokens", ALL, short_prompts},
    {"same with heads split over ranks", ALL, ranks},
};

static bool offers(const sf_method *m, sf_hook hook)
{
    return hook == SF_HOOK_PREFILL    ? m->prefill != NULL
           : hook == SF_HOOK_COMPRESS ? m->compress != NULL
                                      : m->decode != NULL;
}

/* The shortest usual prompt, no multiple of a block or page, on which the method leaves something out. */
static int usual_prompt(check *c)
{
    static const int TOKENS[] = {300, 601, 1203, 2405};
    for (size_t i = 0; i < sizeof TOKENS / sizeof *TOKENS; i++) {
        sf_trial t = trial(c, shape(c, TOKENS[i]), USUAL);
        t.choose_only = true;
        sf_outcome o;
        bool sparse = run(c, &c->one, t, &o) && o.density < 0.9;
        sf_outcome_free(&o);
        if (sparse) return TOKENS[i];
    }
    return TOKENS[0];
}

static sf_status open_backends(check *c, const char *device)
{
    SF_TRY(sf_backend_open("reference", 1, &c->reference));
    SF_TRY(sf_backend_open(device, 1, &c->one));
    return sf_backend_open(device, 2, &c->two);
}

sf_status sf_check_method(const sf_method *method, const char *device, int tensor, FILE *out, int *failed)
{
    static const char *const VERDICT[] = {"pass", "FAIL", "-"};
    check c = {.method = method, .device = device, .ranks = tensor};
    *failed = 0;
    if (tensor < 1 || tensor > SF_CHECK_RANKS)
        return sf_fail(SF_BAD_INPUT, "heads can be split over 1 to %d ranks here; found %d", SF_CHECK_RANKS, tensor);
    sf_status status = open_backends(&c, device);
    if (status == SF_OK) fprintf(out, "%s: %s, on %s\n", method->name, method->summary, device);
    if (status == SF_OK && method->weights) fprintf(out, "  with weights made up, as the keys are: what holds whatever was trained\n");
    for (int h = 0; status == SF_OK && h < HOOKS; h++) {
        c.hook = (sf_hook)h;
        if (!offers(method, c.hook)) continue;
        c.tokens = usual_prompt(&c);
        c.hopeless = !usual(&c, &c.one);
        c.error = false;
        for (size_t i = 0; i < sizeof PROPERTIES / sizeof *PROPERTIES; i++) {
            if (!(PROPERTIES[i].hooks & IN(h))) continue;
            c.detail[0] = '\0';
            bool told = c.error && c.hopeless; /* once is enough */
            verdict v = told ? say(&c, NOT_APPLICABLE, "not tried, as above") : PROPERTIES[i].prove(&c);
            *failed += v == FAIL;
            fprintf(out, "  %-9s %-36s %-5s %s\n", PHASE[h], PROPERTIES[i].name, VERDICT[v], c.detail);
        }
        forget_usual(&c);
    }
    if (status == SF_OK && !method->prefill && !method->compress && !method->decode)
        fprintf(out, "  offers no hook: nothing to certify\n");
    sf_backend_close(&c.reference), sf_backend_close(&c.one), sf_backend_close(&c.two);
    return status;
}
