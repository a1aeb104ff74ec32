#include "harness/lab/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "kernels/reference/reference.h"
#include "methods/side.h"

extern const sf_backend_ops sf_reference_ops;

enum { OUTPUT = 32, SIZE = 16 }; /* tokens of a generation that budgets are fitted for; what a weight's parameters are set to */

/* A trial set up: its lane of attention, and the pattern that it reads by. */
typedef struct lane {
    sf_synthetic s;
    void *params;
    sf_state state, carry;
    sf_attention look, read; /* what the hook sees; what attends */
    sf_pattern chosen, reads;
    double flops; /* of choosing, counted */
} lane;

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "a trial of a method"); }

static void set(const sf_param *p, double value, void *params)
{
    void *at = (char *)params + p->offset;
    if (p->type == SF_INT || p->type == SF_CHOICE) *(int *)at = (int)value;
    if (p->type == SF_REAL) *(double *)at = value;
    if (p->type == SF_BOOL) *(bool *)at = value != 0;
}

/* Where a trial's weights are made up, so are their sizes: small, as nothing that is checked hangs on them. */
static void shrink(const sf_method *m, void *params)
{
    for (const sf_side_weight *w = m->weights; w && w->name; w++)
        for (int i = 0; i < 2 && w->by[i]; i++) {
            const sf_param *p = sf_side_param(m, w->by[i]);
            set(p, fmax(p->low, fmin(SIZE, p->high)), params);
        }
}

static sf_extent extent_of(const sf_trial *t, sf_phase phase)
{
    return (sf_extent){.phase = phase,
                       .tokens = t->on.tokens,
                       .output = OUTPUT,
                       .heads = t->on.heads,
                       .kv_heads = t->on.kv_heads,
                       .head_dim = t->on.head_dim,
                       .layers = t->on.layers ? t->on.layers : t->on.layer + 1,
                       .width = t->on.width};
}

static sf_status fit(const sf_trial *t, lane *l)
{
    const sf_method *m = t->method;
    const sf_extent extent = extent_of(t, t->hook == SF_HOOK_PREFILL ? SF_PREFILL : SF_DECODE);
    if (!(l->params = calloc(1, m->params_size + 1))) return no_memory();
    SF_TRY(sf_yaml_params(NULL, m->params, NULL, l->params));
    shrink(m, l->params);
    for (const sf_param *p = m->params; t->set && t->rest_low && p->name; p++)
        if (p->budget) set(p, p->low, l->params);
    if (t->set) return set(t->set, t->value, l->params), SF_OK;
    return isnan(t->sparsity) || !m->fit ? SF_OK : sf_hook_fit(m, &extent, t->sparsity, l->params);
}

/* What a hook returned: on ranks, all go on or none. */
static sf_status together(const lane *l, sf_status status) { return sf_comm_agree(l->s.comm, status); }

/* A hook that compresses counts in the prefill. */
static sf_status choose(const sf_trial *t, sf_backend *b, lane *l)
{
    sf_meter meter = {0}, *before = b->meter;
    b->meter = &meter;
    sf_status status = together(l, sf_hook_choose(t->hook, &l->look, t->method, l->params, &l->state, &l->chosen));
    b->meter = before;
    l->flops = (double)meter.at[b->phase][SF_ESTIMATION].flops;
    return status;
}

static sf_state *carried(const sf_trial *t, lane *l) { return t->method->carry ? &l->carry : NULL; }

/* Calls the hook over the prompt at one layer as the engine would. */
static sf_status ask(const sf_trial *t, sf_backend *b, lane *l, int layer)
{
    l->s.layer = layer;
    l->look = sf_synthetic_prompt(&l->s);
    l->look.carry = carried(t, l);
    if (t->hook == SF_HOOK_COMPRESS)
        SF_TRY(together(l, sf_hook_state(&l->look, t->method, l->params, t->on.tokens + t->on.tail, &l->s.arena, &l->state)));
    return choose(t, b, l);
}

/* Calls the decode hook as the engine would: step by step, and where something is carried layer by layer in each. */
static sf_status generate(const sf_trial *t, sf_backend *b, lane *l, int first)
{
    const sf_method *m = t->method;
    int last = t->on.layer, layers = last - first + 1;
    sf_state state[layers];
    for (l->s.layer = first; l->s.layer <= last; l->s.layer++) {
        sf_attention a = sf_synthetic_prompt(&l->s);
        sf_mark mark = sf_scratch_mark(b);
        a.carry = carried(t, l);
        SF_TRY(together(l, sf_hook_state(&a, m, l->params, t->on.tokens + t->on.tail, &l->s.arena, &state[l->s.layer - first])));
        SF_TRY(together(l, sf_hook_observe(&a, m, l->params, &state[l->s.layer - first], 0)));
        sf_scratch_release(b, mark);
    }
    for (int n = 1; n <= l->s.tail; n++) {
        for (l->s.layer = first; l->s.layer <= last; l->s.layer++) {
            sf_mark mark = sf_scratch_mark(b);
            bool asked = n == l->s.tail && l->s.layer == last;
            l->look = sf_synthetic_step(&l->s, n);
            l->look.carry = carried(t, l);
            l->state = state[l->s.layer - first];
            SF_TRY(together(l, sf_hook_observe(&l->look, m, l->params, &l->state, l->look.keys - 1)));
            if (m->carry || asked) SF_TRY(choose(t, b, l));
            if (!asked) sf_scratch_release(b, mark);
        }
    }
    l->s.layer = last;
    return SF_OK;
}

/* All layers, and what is settled then for the trial's own. */
static sf_status settle(const sf_trial *t, sf_backend *b, lane *l)
{
    int layers = l->look.layers;
    sf_attention *a = calloc((size_t)layers, sizeof *a);
    sf_state *state = calloc((size_t)layers, sizeof *state);
    sf_pattern *out = calloc((size_t)layers, sizeof *out);
    sf_status status = a && state && out ? SF_OK : no_memory();
    for (int i = 0; i < layers && status == SF_OK; i++) {
        status = ask(t, b, l, i);
        a[i] = l->look, state[i] = l->state;
        a[i].queries = 0, a[i].q = NULL;
    }
    if (status == SF_OK) status = sf_hook_settle(layers, a, t->method, l->params, state, out);
    if (status == SF_OK) l->chosen = out[t->on.layer], l->s.layer = t->on.layer;
    free(a), free(state), free(out);
    return status;
}

/* What is carried comes from the layers before. */
static sf_status open_lane(const sf_trial *t, sf_backend *b, lane *l)
{
    const sf_method *m = t->method;
    l->s = t->on;
    SF_TRY(fit(t, l));
    l->s.layers = l->s.layers ? l->s.layers : l->s.layer + 1;
    SF_TRY(sf_synthetic_open(&l->s, b));
    SF_TRY(sf_synthetic_weights(&l->s, m, l->params));
    b->phase = t->hook == SF_HOOK_DECODE ? SF_DECODE : SF_PREFILL;
    l->look = l->read = sf_synthetic_prompt(&l->s);
    SF_TRY(together(l, sf_hook_carry(&l->look, m, l->params, t->on.tokens + t->on.tail, &l->s.arena, &l->carry)));
    int first = m->carry ? 0 : t->on.layer;
    if (t->hook == SF_HOOK_DECODE) {
        SF_TRY(generate(t, b, l, first));
        l->read = l->look;
    } else if (t->hook == SF_HOOK_COMPRESS && m->settle) {
        SF_TRY(settle(t, b, l));
    } else {
        for (int layer = first; layer <= t->on.layer; layer++) SF_TRY(ask(t, b, l, layer));
    }
    l->reads = l->chosen;
    if (t->hook != SF_HOOK_COMPRESS) return SF_OK;
    l->reads = (sf_pattern){.kind = SF_DENSE};
    return sf_synthetic_evict(&l->s, &l->chosen, &l->read);
}

static void close_lane(lane *l)
{
    sf_synthetic_close(&l->s);
    free(l->params);
}

/* ---- what was chosen --------------------------------------------------------------------------------------------- */

static sf_status append(sf_backend *b, const sf_lists *l, sf_outcome *o)
{
    size_t rows = (size_t)l->rows, room = rows * (size_t)l->stride;
    int32_t *count = malloc((rows + 1) * sizeof *count), *index = malloc((room + 1) * sizeof *index);
    int32_t *more = realloc(o->chosen, (o->choices + rows + room + 1) * sizeof *more);
    if (more) o->chosen = more;
    sf_status status = count && index && more ? SF_OK : no_memory();
    if (status == SF_OK) status = b->ops->download(b, count, l->count, rows * sizeof *count);
    if (status == SF_OK) status = b->ops->download(b, index, l->index, room * sizeof *index);
    for (size_t r = 0; r < rows && status == SF_OK; r++) {
        o->chosen[o->choices++] = count[r];
        for (int32_t i = 0; i < count[r]; i++) o->chosen[o->choices++] = index[r * (size_t)l->stride + (size_t)i];
    }
    free(count), free(index);
    return status;
}

static sf_status append_numbers(const int32_t *x, size_t n, sf_outcome *o)
{
    int32_t *more = realloc(o->chosen, (o->choices + n + 1) * sizeof *more);
    if (!more) return no_memory();
    o->chosen = more;
    memcpy(more + o->choices, x, n * sizeof *x);
    o->choices += n;
    return SF_OK;
}

static sf_status record(sf_backend *b, const sf_pattern *p, sf_outcome *o)
{
    if (p->kind == SF_DENSE || p->kind == SF_CONSTANT) return SF_OK;
    if (p->kind == SF_WINDOW) return append_numbers((const int32_t[]){p->sinks, p->local, p->last}, 3, o);
    for (int k = 0; p->kind == SF_PARTS && k < p->parts; k++) SF_TRY(record(b, &p->part[k], o));
    if (p->kind == SF_PARTS) return SF_OK;
    if (p->kind == SF_BANDS) {
        size_t bands = (size_t)p->heads * SF_BANDS_A_HEAD, numbers = bands * sizeof(sf_band) / sizeof(int32_t);
        int32_t host[numbers];
        SF_TRY(b->ops->download(b, host, p->band, sizeof host));
        SF_TRY(append_numbers(host, numbers, o));
    }
    if (p->first.rows) SF_TRY(append(b, &p->first, o));
    return p->second.rows ? append(b, &p->second, o) : SF_OK;
}

/* Kept keys and tail, for the one row that decodes. */
static void mask_kept(const lane *l, int h, uint8_t *mask)
{
    const sf_lists *keep = &l->chosen.first;
    int tokens = l->s.tokens, g = h / (l->s.heads / l->s.kv_heads);
    memset(mask, l->chosen.kind == SF_DENSE, (size_t)tokens);
    memset(mask + tokens, 1, (size_t)l->s.tail);
    for (int32_t i = 0; l->chosen.kind == SF_TOKENS && i < keep->count[g]; i++)
        mask[keep->index[g * keep->stride + i]] = 1;
}

static int blocks_of_the_future(const lane *l)
{
    const sf_pattern *p = &l->chosen;
    int64_t queries = (l->look.queries + p->block_q - 1) / p->block_q;
    int n = 0;
    for (int64_t r = 0; r < p->first.rows; r++) {
        int64_t end = (r % queries + 1) * p->block_q;
        int64_t last = l->look.keys - l->look.queries + (end < l->look.queries ? end : l->look.queries) - 1;
        for (int32_t i = 0; i < p->first.count[r]; i++)
            n += (int64_t)p->first.index[r * p->first.stride + i] * p->block_k > last;
    }
    return n;
}

/* Pairs of one part of a pattern, or of the whole where it has none, by its definition. */
static uint64_t named(const lane *l, const sf_pattern *p, uint8_t *mask)
{
    uint64_t pairs = 0;
    for (int h = 0; h < l->look.heads; h++)
        for (int i = 0; i < l->look.queries; i += p->repeat ? p->repeat : 1) {
            pairs += (uint64_t)sf_reference_mask(&l->look, p, h, i, mask);
            for (int64_t s = 0; p->sum.k.data && s < p->sum.k.dim[1]; s++)
                pairs += !p->sum.from || p->sum.from[s] <= l->look.keys - l->look.queries + i;
        }
    return pairs;
}

static sf_status explain(const sf_trial *t, const lane *l, sf_outcome *o)
{
    size_t row = (size_t)o->keys;
    if (!(o->mask = malloc((size_t)l->s.heads * (size_t)o->rows * row + 1))) return no_memory();
    for (int h = 0; h < l->s.heads; h++)
        for (int i = 0; i < o->rows; i++) {
            uint8_t *mask = o->mask + ((size_t)h * (size_t)o->rows + (size_t)i) * row;
            if (t->hook == SF_HOOK_COMPRESS)
                mask_kept(l, h, mask);
            else
                sf_reference_mask(&l->look, &l->chosen, h, i, mask);
            for (size_t j = 0; t->hook == SF_HOOK_COMPRESS && j < row; j++) o->named += mask[j];
        }
    if (t->hook == SF_HOOK_COMPRESS) return SF_OK;
    const sf_pattern *part = l->chosen.kind == SF_PARTS ? l->chosen.part : &l->chosen;
    uint8_t room[row + 1];
    for (int k = 0; k < (l->chosen.kind == SF_PARTS ? l->chosen.parts : 1); k++) o->named += named(l, &part[k], room);
    return SF_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------
 */

static sf_status run(const sf_trial *t, sf_backend *b, lane *l, lane *other, sf_outcome *o)
{
    SF_TRY(open_lane(t, b, l));
    if (t->among) {
        SF_TRY(open_lane(t->among, b, other));
        SF_TRY(sf_blame(b->ops->check_pattern(b, &l->look, &l->chosen, t->method->name),
                        "changed by another lane's hook"));
    }
    SF_TRY(record(b, &l->chosen, o));
    o->flops = l->flops, o->empty = l->reads.empty;
    o->rows = l->read.queries;
    o->keys = t->hook == SF_HOOK_PREFILL ? t->on.tokens : t->on.tokens + t->on.tail;

    const sf_attention *a[] = {&l->read, &other->read};
    const sf_pattern *p[] = {&l->reads, &other->reads};
    if (t->choose_only) {
        b->phase = t->hook == SF_HOOK_PREFILL ? SF_PREFILL : SF_DECODE;
        SF_TRY(b->ops->count_pairs(b, a[0], p[0], &o->pairs));
    } else {
        if (!(o->out = malloc((size_t)o->rows * (size_t)(l->s.heads * t->on.head_dim) * sizeof *o->out)))
            return no_memory();
        SF_TRY(sf_hook_blame(sf_synthetic_attend(t->among ? 2 : 1, a, p, o->out, &o->pairs), t->hook, t->method,
                             t->on.layer));
    }
    o->density = (double)o->pairs / (l->s.heads * sf_causal_pairs(o->rows, o->keys));
    if (b->ops != &sf_reference_ops) return SF_OK;
    if (l->chosen.kind == SF_BLOCKS) o->future = blocks_of_the_future(l);
    return t->explain ? explain(t, l, o) : SF_OK;
}

sf_status sf_trial_run(const sf_trial *t, sf_backend *b, sf_outcome *o)
{
    lane l = {0}, other = {0};
    sf_mark mark = sf_scratch_mark(b);
    *o = (sf_outcome){0};
    sf_status status = run(t, b, &l, &other, o);
    sf_scratch_release(b, mark);
    close_lane(&l), close_lane(&other);
    return status;
}

void sf_outcome_free(sf_outcome *o)
{
    free(o->chosen), free(o->out), free(o->mask);
    *o = (sf_outcome){0};
}

/* ---- what choosing costs ----------------------------------------------------------------------------------------- */

static double said(const sf_trial *t, const lane *l, sf_phase phase, bool watching, int step)
{
    if (!t->method->estimate) return 0;
    sf_extent e = extent_of(t, phase);
    e.output = t->on.tail, e.watching = watching, e.step = step, e.element = l->s.backend->activation;
    e.tokens += step;
    return e.layers * t->method->estimate(&e, l->params).exact;
}

/* At each layer the prompt as it is left to decode. */
static sf_status watch_prompt(const sf_trial *t, lane *l, sf_attention *left, sf_state *state)
{
    const sf_method *m = t->method;
    const int layers = l->s.layers;
    sf_pattern kept[layers];
    sf_attention whole[layers];
    for (int i = 0; i < layers; i++) {
        l->s.layer = i;
        left[i] = whole[i] = sf_synthetic_prompt(&l->s);
        whole[i].carry = left[i].carry = carried(t, l);
        SF_TRY(sf_hook_state(&whole[i], m, l->params, t->on.tokens + t->on.tail, &l->s.arena, &state[i]));
        kept[i] = (sf_pattern){.kind = SF_DENSE};
        if (m->compress) SF_TRY(sf_hook_choose(SF_HOOK_COMPRESS, &whole[i], m, l->params, &state[i], &kept[i]));
        whole[i].queries = 0, whole[i].q = NULL;
    }
    if (m->settle) SF_TRY(sf_hook_settle(layers, whole, m, l->params, state, kept));
    for (int i = 0; i < layers; i++) {
        l->s.layer = i;
        if (kept[i].kind != SF_DENSE) {
            sf_attention cut;
            SF_TRY(sf_synthetic_evict(&l->s, &kept[i], &cut));
            left[i].kv.prompt = cut.kv.prompt, left[i].keys = cut.kv.prompt.n, left[i].queries = 0, left[i].q = NULL;
        }
        SF_TRY(sf_hook_observe(&left[i], m, l->params, &state[i], 0));
    }
    return SF_OK;
}

static sf_status take_steps(const sf_trial *t, sf_backend *b, lane *l, const sf_attention *left, sf_state *state)
{
    const sf_method *m = t->method;
    for (int n = 1; n <= l->s.tail; n++)
        for (int i = 0; i < l->s.layers; i++) {
            sf_mark mark = sf_scratch_mark(b);
            l->s.layer = i;
            sf_attention a = sf_synthetic_step(&l->s, n);
            a.carry = carried(t, l), a.kv.prompt = left[i].kv.prompt, a.keys = a.kv.prompt.n + n;
            SF_TRY(sf_hook_observe(&a, m, l->params, &state[i], a.keys - 1));
            if (m->decode) SF_TRY(sf_hook_choose(SF_HOOK_DECODE, &a, m, l->params, &state[i], &l->chosen));
            sf_scratch_release(b, mark);
        }
    return SF_OK;
}

static sf_status bill(const sf_trial *t, sf_backend *b, lane *l, sf_bill *out)
{
    const sf_method *m = t->method;
    const sf_count *prompt = &b->meter->at[SF_PREFILL][SF_ESTIMATION], *steps = &b->meter->at[SF_DECODE][SF_ESTIMATION];
    l->s = t->on;
    SF_TRY(fit(t, l));
    l->s.layers = l->s.layers ? l->s.layers : l->s.layer + 1;
    SF_TRY(sf_synthetic_open(&l->s, b));
    SF_TRY(sf_synthetic_weights(&l->s, m, l->params));
    l->look = sf_synthetic_prompt(&l->s);
    SF_TRY(sf_hook_carry(&l->look, m, l->params, t->on.tokens + t->on.tail, &l->s.arena, &l->carry));
    b->phase = SF_PREFILL;
    if (t->hook == SF_HOOK_PREFILL) {
        for (l->s.layer = 0; l->s.layer < l->s.layers; l->s.layer++) {
            l->look = sf_synthetic_prompt(&l->s);
            l->look.carry = carried(t, l);
            SF_TRY(sf_hook_choose(SF_HOOK_PREFILL, &l->look, m, l->params, NULL, &l->chosen));
        }
        out->counted[SF_BILL_PREFILL] = (double)prompt->flops;
        out->said[SF_BILL_PREFILL] = said(t, l, SF_PREFILL, false, 0);
        return SF_OK;
    }
    sf_attention left[l->s.layers];
    sf_state state[l->s.layers];
    memset(state, 0, sizeof state);
    SF_TRY(watch_prompt(t, l, left, state));
    out->counted[SF_BILL_PROMPT] = (double)prompt->flops;
    if (m->compress || m->observe) out->said[SF_BILL_PROMPT] = said(t, l, SF_PREFILL, true, 0);
    b->phase = SF_DECODE;
    SF_TRY(take_steps(t, b, l, left, state));
    out->counted[SF_BILL_STEPS] = ((double)steps->weight_bytes + (double)steps->cache_bytes) / (double)sf_bytes(b->activation, 1);
    for (int n = 1; n <= t->on.tail && (m->decode || m->observe); n++) out->said[SF_BILL_STEPS] += said(t, l, SF_DECODE, false, n);
    return SF_OK;
}

sf_status sf_trial_bill(const sf_trial *t, sf_backend *b, sf_bill *out)
{
    lane l = {0};
    sf_meter meter = {0}, *before = b->meter;
    const sf_phase phase = b->phase;
    sf_mark mark = sf_scratch_mark(b);
    *out = (sf_bill){0};
    b->meter = &meter;
    sf_status status = bill(t, b, &l, out);
    b->meter = before, b->phase = phase;
    sf_scratch_release(b, mark);
    close_lane(&l);
    return status;
}
