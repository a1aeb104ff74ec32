/* Delta Attention: what a sparse prefill S lacks of dense attention D at every 64th row is added to the rows that follow, up to the
 * next such row:
 *
 *     out_i = S_i + (D_a - S_a),   a = i - i % every
 *
 * so that row a itself is exact. As the authors' code (jeffwillette/delta-attention b1b2f77, delta_forward): the last
 * n % every + max(every, tail) rows are dense, with tail = 128; the difference is that of a head's output before o_proj; decode is
 * as the model has it. Theirs corrects a window of 2048 keys behind 1024 sinks, or HiP; here any method with a prefill whose
 * pattern is a single part. What is computed and counted beyond theirs: S_a a second time, and the method's own choice in
 * the dense rows at the end.
 *
 * A method `base` becomes another one, NAME_delta, made when it is first asked for: its prefill, carry and fit within these here, and
 * delta's parameters behind its own. */
#include "methods/delta.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 64, ROWS = 80, NAME = 80, OWN = 3 };

struct params {
    int every, tail;
    bool added;
    const char *of;                   /* the name of the base, by its address: how a hook finds its base */
    _Alignas(max_align_t) char own[]; /* the base's parameters */
};

static struct corrected {
    sf_method method;
    const sf_method *base;
    sf_param row[ROWS];
    char name[NAME], summary[3 * NAME];
} made[MOST];
static int corrected_methods;

const sf_param sf_delta_params[] = {
    {.name = "every", .type = SF_INT, .offset = offsetof(struct params, every),
     .low = 1, .high = 1 << 20, .initial = 64, .doc = "rows from one that is computed densely to the next"},
    {.name = "tail", .type = SF_INT, .offset = offsetof(struct params, tail),
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "rows at the prompt's end that are dense: so many, or `every`, and what that leaves"},
    {.name = "added", .type = SF_BOOL, .offset = offsetof(struct params, added),
     .doc = "a target sparsity is that of the method corrected, and what corrects it comes on top"},
    {0},
};

static const char *const NAMES[OWN] = {"delta_every", "delta_tail", "delta_added"};

const sf_method *sf_delta_base(const sf_method *method)
{
    for (int i = 0; i < corrected_methods; i++)
        if (&made[i].method == method) return made[i].base;
    return NULL;
}

static const sf_method *base_of(const struct params *p)
{
    for (int i = 0; i < corrected_methods; i++)
        if (made[i].base->name == p->of) return made[i].base;
    return sf_fail(SF_BAD_INPUT, "delta_of is '%s'; it is not to be set", p->of ? p->of : ""), NULL;
}

/* Rows from here on are dense. */
static int dense_from(const struct params *p, int rows)
{
    int from = rows - rows % p->every - (p->tail > p->every ? p->tail : p->every);
    return from > 0 ? from : 0;
}

/* Room of [1, rows * heads], of which those of rows from `from` on are `late`, the others `early`. */
static sf_tensor gates(sf_attention *a, int from, double early, double late)
{
    int64_t n = (int64_t)a->queries * a->heads, cut = (int64_t)from * a->heads;
    sf_tensor gate = sf_room(a, 1, n);
    sf_fill(a, gate, 0, cut, early), sf_fill(a, gate, cut, n, late);
    gate.dim[0] = a->queries, gate.dim[1] = a->heads;
    return gate;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    const sf_method *base = base_of(p);
    static const sf_band nothing[SF_BANDS_A_HEAD] = {{0}};
    sf_pattern part[4];
    int from = dense_from(p, a->queries);
    if (!base) return SF_BAD_INPUT;
    if (from == 0) return sf_dense(a, out);
    SF_TRY(base->prefill(a, p->own, &part[0]));
    if (part[0].kind == SF_DENSE) return sf_dense(a, out);
    if (part[0].kind == SF_PARTS)
        return sf_fail(SF_UNSUPPORTED, "delta over '%s': its pattern has parts, which cannot be a part of another's sum", base->name);
    part[1] = part[0];
    sf_dense(a, &part[2]);
    sf_bands(a, &part[3], 1, nothing, (sf_lists){0}, sf_every(a, 1, from, a->queries, 1));
    part[0].gate = part[2].gate = gates(a, from, 1, 0);
    part[1].gate = gates(a, from, -1, 0);
    part[1].repeat = part[2].repeat = p->every;
    return sf_parts(a, out, true, 4, part);
}

/* The base's density at which all parts together have the wanted one: what it computes, and a share of it again, beside the dense rows. */
static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    const sf_method *base = base_of(p);
    int from = dense_from(p, e->tokens);
    double whole = sf_causal_pairs(e->tokens, e->tokens), every = 0, dense = whole - sf_causal_pairs(from, from);
    if (!base) return SF_BAD_INPUT;
    for (int i = 0; i < e->tokens; i += p->every) every += i + 1;
    double rest = (1 - sparsity - (every + dense) / whole) / (1 + every / whole);
    return base->fit(e, p->added || sparsity <= 0 ? sparsity : 1 - (rest > 1e-3 ? rest : 1e-3), p->own);
}

static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const sf_method *base = base_of(params);
    return base && base->estimate && dense_from(params, e->tokens) ? base->estimate(e, ((const struct params *)params)->own) : (sf_estimate){0};
}

static sf_status carry(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const sf_method *base = base_of(params);
    return base ? base->carry(a, ((const struct params *)params)->own, max_keys, out) : SF_BAD_INPUT;
}

const sf_method *sf_delta_over(const sf_method *base)
{
    int rows = 0;
    if (!base || !base->prefill || sf_delta_base(base)) return NULL;
    for (int i = 0; i < corrected_methods; i++)
        if (made[i].base == base) return &made[i].method;
    while (base->params && base->params[rows].name) rows++;
    if (corrected_methods == MOST || rows + OWN + 2 > ROWS) return NULL;
    struct corrected *c = &made[corrected_methods++];
    c->base = base, c->method = *base;
    snprintf(c->name, sizeof c->name, "%s_delta", base->name);
    snprintf(c->summary, sizeof c->summary, "%s, corrected by dense rows (Delta Attention)", base->summary);
    for (int i = 0; i < rows; i++) c->row[i] = base->params[i], c->row[i].offset += offsetof(struct params, own);
    for (int i = 0; i < OWN; i++) c->row[rows + i] = sf_delta_params[i], c->row[rows + i].name = NAMES[i];
    c->row[rows + OWN] = (sf_param){.name = "delta_of", .type = SF_STRING, .offset = offsetof(struct params, of), .text = base->name,
                                    .doc = "what is corrected; not to be set"};
    c->method.name = c->name, c->method.summary = c->summary, c->method.evicts = false, c->method.never_dense = true;
    c->method.paper = "Willette et al. 2025, Delta Attention, arXiv 2505.11254";
    c->method.params = c->row, c->method.params_size = offsetof(struct params, own) + base->params_size;
    c->method.fit = base->fit ? fit : NULL, c->method.carry = base->carry ? carry : NULL, c->method.estimate = estimate, c->method.prefill = prefill;
    c->method.compress = NULL, c->method.settle = NULL, c->method.state = NULL, c->method.observe = NULL, c->method.decode = NULL;
    c->method.columns = NULL, c->method.calibrate = NULL, c->method.conclude = NULL; /* a table is the base's */
    return &c->method;
}
