#include "harness/engine/hooks.h"

#include "base/running.h"
#include "kernels/comm.h"
#include "methods/plugin.h"
#include "methods/side.h"

#include <stdlib.h>
#include <string.h>

#define KIND(k) (1u << (k))

static const struct {
    const char *name;
    unsigned kinds; /* patterns that it may answer with */
    const char *expected;
} hooks[] = {
    [SF_HOOK_PREFILL] = {"prefill",
                         KIND(SF_DENSE) | KIND(SF_BLOCKS) | KIND(SF_COLUMNS_DIAGONALS) | KIND(SF_WINDOW) | KIND(SF_BANDS) |
                             KIND(SF_PARTS),
                         "dense, blocks, columns and diagonals, a window, bands, or parts"},
    [SF_HOOK_COMPRESS] = {"compress", KIND(SF_DENSE) | KIND(SF_TOKENS), "tokens to keep, or dense to keep all"},
    [SF_HOOK_DECODE] = {"decode", KIND(SF_DENSE) | KIND(SF_PAGES) | KIND(SF_WINDOW) | KIND(SF_BANDS) | KIND(SF_PARTS),
                        "dense, pages, a window, bands, or parts"},
};

static sf_status call(sf_hook hook, sf_attention *a, const sf_method *m, const void *params, sf_state *state,
                      sf_pattern *out)
{
    switch (hook) {
    case SF_HOOK_PREFILL: return m->prefill(a, params, out);
    case SF_HOOK_COMPRESS: return m->compress(a, params, state, out);
    case SF_HOOK_DECODE: return m->decode(a, params, state, out);
    }
    return sf_fail(SF_INTERNAL, "no hook %d", (int)hook);
}

/* ---- calling ------------------------------------------------------------------------------------------------------ */

/* Empties the message too, so that outcome() can tell whether the hook left one. */
static void enter(const sf_method *m, const char *hook, int layer)
{
    sf_running_enter("method", m->name, hook, "layer", layer);
    sf_fail(SF_OK, "%s", "");
}

static sf_status leave(sf_status status)
{
    sf_running_leave();
    if (status != SF_OK && !*sf_error())
        sf_fail(status, "failed with status %d and said nothing; a hook that fails returns sf_fail(…) with the reason",
                (int)status);
    return status;
}

/* A hook may report its failure by returning it or by leaving it in a->status. */
static sf_status outcome(const sf_attention *a, sf_status returned)
{
    return leave(returned != SF_OK ? returned : a->status);
}

sf_status sf_hook_fit(const sf_method *m, const sf_extent *extent, double sparsity, void *params)
{
    void *before = malloc(m->params_size);
    if (!before) return sf_fail(SF_NO_MEMORY, "method '%s': no memory for its parameters", m->name);
    memcpy(before, params, m->params_size);
    enter(m, "fit", -1);
    sf_status status = leave(m->fit(extent, sparsity, params));
    if (status == SF_OK) status = sf_method_check_fit(m, before, params);
    free(before);
    return sf_blame(status, "method '%s', fit", m->name);
}

static bool lists_missing(const sf_pattern *p)
{
    bool first = p->first.count && p->first.index, second = p->second.count && p->second.index;
    switch (p->kind) {
    case SF_BLOCKS:
    case SF_PAGES:
    case SF_TOKENS: return !first;
    case SF_COLUMNS_DIAGONALS: return !first || !second;
    default: return false;
    }
}

/* Whether the hook's answer is a pattern that it may give. */
static sf_status check_answer(sf_status status, sf_hook hook, sf_attention *a, const sf_method *m, const sf_pattern *out)
{
    if (status == SF_OK && out->kind == SF_PATTERN_KINDS)
        status = sf_fail(SF_BAD_INPUT, "returned without making a pattern; expected %s (sf_dense() computes everything)",
                         hooks[hook].expected);
    if (status == SF_OK && ((unsigned)out->kind >= SF_PATTERN_KINDS || !(hooks[hook].kinds & KIND(out->kind))))
        status = sf_fail(SF_BAD_INPUT, "expected a pattern of kind %s; found kind %d", hooks[hook].expected,
                         (int)out->kind);
    if (status == SF_OK && lists_missing(out))
        status = sf_fail(SF_BAD_INPUT, "the pattern's lists are not set; make it with sf_blocks(), sf_keep(), …");
    return status == SF_OK ? a->backend->ops->check_pattern(a->backend, a, out, m->name) : status;
}

static void skip_rows(sf_lists *l, int64_t rows, int64_t first, int64_t heads, int64_t all)
{
    int64_t each = rows / all;
    if (!l->rows) return;
    l->count += first * each;
    l->index += first * each * l->stride;
    l->rows = heads * each;
}

static void skip_floats(sf_tensor *t, int64_t first, int64_t heads, int64_t all)
{
    int64_t each = t->data ? sf_elements(t) / all : 0;
    if (!t->data) return;
    t->data = (float *)t->data + first * each;
    t->dim[0] = t->dim[0] / all * heads;
}

/* Of a pattern for the query heads of several ranks, that of this rank's. */
static sf_status narrow(const sf_attention *a, sf_pattern *p)
{
    const int heads = a->heads / a->repeat, first = a->comm->rank % a->repeat * heads;
    for (int i = 0; p->kind == SF_PARTS && i < p->parts; i++) SF_TRY(narrow(a, (sf_pattern *)&p->part[i])); /* of the view's own room */
    if (p->gate.data && p->gate.dim[0] > 1)
        return sf_fail(SF_UNSUPPORTED, "parts with gates for each row, on kv heads that %d ranks share", a->repeat);
    if (p->gate.data) p->gate.data = (float *)p->gate.data + first, p->gate.dim[1] = heads;
    if (p->sum.bias.data && p->sum.bias.dim[0] == a->heads) skip_floats(&p->sum.bias, first, heads, a->heads);
    if (p->heads != a->heads) return SF_OK; /* kv heads' or one for all */
    if (p->bias.data) skip_floats(&p->bias, first, heads, a->heads);
    skip_rows(&p->first, p->first.rows, first, heads, a->heads);
    skip_rows(&p->second, p->second.rows, first, heads, a->heads);
    if (p->band) p->band += first * SF_BANDS_A_HEAD;
    p->heads = heads;
    return SF_OK;
}

sf_status sf_hook_choose(sf_hook hook, sf_attention *a, const sf_method *m, const void *params, sf_state *state,
                         sf_pattern *out)
{
    *out = (sf_pattern){.kind = SF_PATTERN_KINDS}; /* none of them, so that a pattern never made is seen */
    a->across = m->across;
    a->side = sf_side_of(a->sides, m, params);
    enter(m, hooks[hook].name, a->layer);
    sf_status status = check_answer(outcome(a, call(hook, a, m, params, state, out)), hook, a, m, out);
    if (status == SF_OK && hook == SF_HOOK_COMPRESS && m->settle && out->kind != SF_DENSE)
        status = sf_fail(SF_BAD_INPUT, "chose keys to keep, which settle() does at last; expected sf_dense()");
    if (status == SF_OK && a->repeat > 1) status = narrow(a, out);
    return sf_hook_blame(status, hook, m, a->layer);
}

sf_status sf_hook_settle(int layers, sf_attention *a, const sf_method *m, const void *params, const sf_state *state,
                         sf_pattern *out)
{
    for (int i = 0; i < layers; i++) out[i] = (sf_pattern){.kind = SF_PATTERN_KINDS};
    if (layers && (a->comm || a->backend->stages))
        return sf_fail(SF_UNSUPPORTED, "method '%s' settles its choice over all layers, which is not done where a model is split over "
                       "ranks; run it unsplit", m->name);
    for (int i = 0; i < layers; i++) a[i].side = sf_side_of(a[i].sides, m, params);
    enter(m, "settle", -1);
    sf_status status = leave(m->settle(layers, a, params, state, out));
    for (int i = 0; i < layers && status == SF_OK; i++)
        status = sf_blame(check_answer(a[i].status, SF_HOOK_COMPRESS, &a[i], m, &out[i]), "layer %d", a[i].layer);
    return sf_blame(status, "method '%s', settle", m->name);
}

sf_status sf_hook_blame(sf_status status, sf_hook hook, const sf_method *m, int layer)
{
    return sf_blame(status, "method '%s', %s at layer %d", m->name, hooks[hook].name, layer);
}

static sf_status open_tensor(sf_backend *b, sf_arena *arena, sf_tensor *t)
{
    if (t->rank == 0) return SF_OK;
    if (t->rank < 0 || t->rank > 4 || (unsigned)t->dtype >= SF_DTYPES)
        return sf_fail(SF_BAD_INPUT, "expected a rank of 1 to 4 and a known dtype; found rank %d, dtype %d", t->rank,
                       (int)t->dtype);
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 1)
            return sf_fail(SF_BAD_INPUT, "expected positive dimensions; found %lld", (long long)t->dim[i]);
    size_t bytes = sf_bytes(t->dtype, sf_elements(t));
    SF_TRY(sf_arena_alloc(arena, bytes, &t->data));
    return t->data ? b->ops->zero(b, t->data, bytes) : SF_OK;
}

typedef sf_status state_hook(const sf_attention *a, const void *params, int max_keys, sf_state *out);

static sf_status open_state(state_hook *hook, const char *name, sf_attention *a, const sf_method *m, const void *params, int max_keys,
                            sf_arena *arena, sf_state *out)
{
    *out = (sf_state){0};
    if (!hook) return SF_OK;
    a->across = m->across;
    enter(m, name, a->layer);
    sf_status status = outcome(a, hook(a, params, max_keys, out));
    for (int i = 0; status == SF_OK && i < SF_STATE_TENSORS; i++)
        status = sf_blame(open_tensor(a->backend, arena, &out->tensor[i]), "tensor %d", i);
    return sf_blame(status, "method '%s', %s at layer %d", m->name, name, a->layer);
}

sf_status sf_hook_state(sf_attention *a, const sf_method *m, const void *params, int max_keys, sf_arena *arena,
                        sf_state *out)
{
    return open_state(m->state, "state", a, m, params, max_keys, arena, out);
}

sf_status sf_hook_carry(sf_attention *a, const sf_method *m, const void *params, int max_keys, sf_arena *arena,
                        sf_state *out)
{
    return open_state(m->carry, "carry", a, m, params, max_keys, arena, out);
}

sf_status sf_hook_observe(sf_attention *a, const sf_method *m, const void *params, sf_state *state, int first)
{
    if (!m->observe) return SF_OK;
    a->across = m->across;
    a->side = sf_side_of(a->sides, m, params);
    enter(m, "observe", a->layer);
    sf_status status = outcome(a, m->observe(a, params, state, first));
    return sf_blame(status, "method '%s', observe at layer %d", m->name, a->layer);
}
