/* `frontier check`: built-in methods pass every row, and a method that breaks one promise fails the row of that
 * promise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/lab/check.h"
#include "harness/lab/synthetic.h"
#include "kernels/backend.h"
#include "methods/find.h"

/* ---- broken methods ------------------------------------------------------------------------------------------------
 */

struct params {
    int keys;
    int sinks;
};

static const sf_param PARAMS[] = {
    {.name = "keys",
     .type = SF_INT,
     .budget = true,
     .low = 1,
     .high = 1 << 24,
     .initial = 64,
     .doc = "keys a query reads"},
    {.name = "sinks",
     .type = SF_INT,
     .offset = offsetof(struct params, sinks),
     .high = 64,
     .initial = 4,
     .doc = "first keys"},
    {0},
};

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    p->keys = e->phase == SF_PREFILL ? sf_fit_blocks(e, 1, sparsity) : sf_fit_keys(e, sparsity);
    return SF_OK;
}

/* Its sinks, but for those that its budget has no room for. */
static int sinks_of(const struct params *p) { return p->sinks < p->keys ? p->sinks : p->keys - 1; }

/* Sinks and a window: right, and what the broken ones are made from. */
static sf_status window(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_window(a, out, sinks_of(p), p->keys - sinks_of(p));
}

static sf_status window_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return window(a, params, out);
}

#define WINDOW                                                                                                         \
    .abi = SF_METHOD_ABI, .name = "broken", .summary = "breaks a promise", .params = PARAMS,                           \
    .params_size = sizeof(struct params), .fit = fit

/* Each query block reads the block after its own instead of its own. */
static sf_status block_after(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    int blocks = (a->keys + 15) / 16, rows = a->heads * blocks;
    int32_t *count = malloc((size_t)rows * sizeof *count), *index = malloc((size_t)rows * 2 * sizeof *index);
    for (int r = 0; r < rows; r++) {
        int next = r % blocks + 1 < blocks ? r % blocks + 1 : r % blocks;
        count[r] = next ? 2 : 1, index[2 * r] = 0, index[2 * r + 1] = next;
    }
    sf_lists lists = sf_host_lists(a, rows, 2, count, index);
    free(count), free(index);
    return sf_blocks(a, out, a->heads, 16, 16, lists);
}

static sf_status keep_twice(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)params;
    int32_t count[8], index[16];
    for (int g = 0; g < a->kv_heads; g++) count[g] = a->keys > 1 ? 2 : 1, index[2 * g] = index[2 * g + 1] = 0;
    return sf_keep(a, out, sf_host_lists(a, a->kv_heads, 2, count, index));
}

static sf_status fit_half(const sf_extent *e, double sparsity, void *params)
{
    return fit(e, sparsity > 0 ? (1 + sparsity) / 2 : 0, params);
}
static sf_status fit_sinks(const sf_extent *e, double sparsity, void *params)
{
    ((struct params *)params)->sinks = 0;
    return fit(e, sparsity, params);
}
static sf_status fit_below(const sf_extent *e, double sparsity, void *params)
{
    SF_TRY(fit(e, sparsity, params));
    ((struct params *)params)->keys *= -1;
    return SF_OK;
}

/* A share of the keys: a double, which the tables below call an int. */
struct share_params {
    double share;
};
static const sf_param SHARE[] = {
    {.name = "share", .type = SF_INT, .budget = true, .high = 1, .initial = 0, .doc = "share of the keys to read"},
    {0}};
static sf_status fit_share(const sf_extent *e, double sparsity, void *params)
{
    ((struct share_params *)params)->share = sparsity > 0 ? 0.5 : 1; /* whose lower half is the int 0 */
    (void)e;
    return SF_OK;
}
static sf_status window_share(sf_attention *a, const void *params, sf_pattern *out)
{
    return sf_window(a, out, 1, 1 + (int)(((const struct share_params *)params)->share * a->keys));
}

static sf_status fit_most(const sf_extent *e, double sparsity, void *params)
{
    return fit(e, sparsity > 0.01 ? sparsity : 0.01, params);
}

/* Looks at the prompt's last value to choose. */
static sf_status by_last_value(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    float last = ((const float *)a->kv.prompt.v)[(size_t)a->keys * (size_t)a->head_dim - 1];
    return sf_window(a, out, sinks_of(p), p->keys - sinks_of(p) - (last > 0 && p->keys > 10));
}

static sf_status makes_nothing(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)a, (void)params, (void)out;
    return SF_OK;
}

static sf_status always_dense(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_dense(a, out);
}

static sf_status block_0(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    int32_t count[256], index[256] = {0}, rows = a->heads * ((a->keys + 63) / 64);
    for (int32_t r = 0; r < rows && r < 256; r++) count[r] = r % 2;
    return sf_blocks(a, out, a->heads, 64, 64, sf_host_lists(a, rows, 1, count, index));
}

static sf_status columns_of(sf_attention *a, sf_pattern *out, bool lose_sinks, const struct params *p)
{
    sf_tensor column, diagonal;
    sf_probe(a, 64, SF_SUM, &column, &diagonal);
    if (lose_sinks && a->keys > 4) sf_exclude(a, column, 0, 4);
    sf_force(a, diagonal, 0, 1);
    return sf_columns_and_diagonals(a, out, sf_top(a, column, p->keys), sf_top(a, diagonal, 1));
}

static sf_status columns_unsaid(sf_attention *a, const void *params, sf_pattern *out)
{
    return columns_of(a, out, false, params);
}
static sf_estimate probe_cost(const sf_extent *e, const void *params)
{
    (void)params;
    return (sf_estimate){.exact = sf_probe_flops(e, 64)}; /* without the two selections */
}

static sf_status columns_no_sink(sf_attention *a, const void *params, sf_pattern *out)
{
    return columns_of(a, out, true, params);
}

static sf_status by_threads(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_window(a, out, sinks_of(p), p->keys - sinks_of(p) + (a->backend->threads > 1));
}

static sf_status by_backend(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    return sf_window(a, out, sinks_of(p), p->keys - sinks_of(p) + (strcmp(a->backend->ops->name, "reference") == 0));
}

static sf_status small_groups(sf_attention *a, const void *params, sf_pattern *out)
{
    return a->heads / a->kv_heads > 4 ? sf_fail(SF_UNSUPPORTED, "at most 4 query heads per kv head")
                                      : window(a, params, out);
}

static sf_status small_heads(sf_attention *a, const void *params, sf_pattern *out)
{
    return a->head_dim > 128 ? sf_fail(SF_UNSUPPORTED, "head dim 64 or 128") : window(a, params, out);
}

/* Keeps the first 32 keys of every prompt, also of shorter ones. */
static sf_status keep_32(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)params;
    int32_t count[8], index[8 * 32];
    for (int g = 0; g < a->kv_heads; g++) {
        count[g] = 32;
        for (int i = 0; i < 32; i++) index[g * 32 + i] = i;
    }
    return sf_keep(a, out, sf_host_lists(a, a->kv_heads, 32, count, index));
}

/* Quest in small, and three ways to get it wrong. */
enum { PAGE = 8 };

static sf_status bounds(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    for (int i = 0; i < 2; i++)
        out->tensor[i] =
            (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, (max_keys + PAGE - 1) / PAGE, a->head_dim}};
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    (void)params;
    sf_page_bounds(a, PAGE, first, s->tensor[0], s->tensor[1]);
    return a->status;
}

static sf_status observe_prompt_only(sf_attention *a, const void *params, sf_state *s, int first)
{
    return first == 0 ? observe(a, params, s, first) : SF_OK;
}

/* Two FLOPs an element of keys; of a step, those of its page, and both bounds of every page. */
static sf_estimate pages_cost(const sf_extent *e, const void *params)
{
    (void)params;
    const double width = (double)e->kv_heads * e->head_dim, pages = (e->tokens + PAGE - 1) / PAGE;
    if (e->phase == SF_PREFILL) return (sf_estimate){.exact = 2 * e->tokens * width};
    return (sf_estimate){.exact = ((e->tokens - 1) % PAGE + 1) * width + 2 * pages * width};
}

/* Without the page that is bounded anew. */
static sf_estimate scores_cost(const sf_extent *e, const void *params)
{
    const double width = (double)e->kv_heads * e->head_dim;
    if (e->phase == SF_PREFILL) return pages_cost(e, params);
    return (sf_estimate){.exact = 2 * ((e->tokens + PAGE - 1) / PAGE) * width};
}

enum current { FORCED, FORGOTTEN, BY_SCORE };

static sf_status pages(sf_attention *a, const struct params *p, sf_state *s, enum current current, sf_pattern *out)
{
    int last = (a->keys - 1) / PAGE;
    sf_tensor score = sf_page_scores(a, PAGE, s->tensor[0], s->tensor[1]);
    if (current == FORCED) sf_force(a, score, last, last + 1);
    if (current == FORGOTTEN && last > 0) sf_exclude(a, score, last, last + 1);
    return sf_pages(a, out, PAGE, sf_top(a, score, (p->keys + PAGE - 1) / PAGE));
}

static sf_status pages_right(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    return pages(a, params, s, FORCED, out);
}

static sf_status pages_no_current(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    return pages(a, params, s, FORGOTTEN, out);
}

static sf_status pages_by_score(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    return pages(a, params, s, BY_SCORE, out);
}

/* How many pages it reads depends on how many samples it has seen. */
static sf_status pages_by_samples_seen(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    static int seen;
    struct params p = *(const struct params *)params;
    p.keys += PAGE * (seen++ % 5);
    return pages(a, &p, s, FORCED, out);
}

/* Keeps its lists in one place for all lanes. */
static sf_status pages_one_place(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    static int32_t count[64], index[64 * 1024];
    SF_TRY(pages(a, params, s, FORCED, out));
    memcpy(count, out->first.count, (size_t)out->first.rows * sizeof *count);
    memcpy(index, out->first.index, (size_t)(out->first.rows * out->first.stride) * sizeof *index);
    out->first.count = count, out->first.index = index;
    return SF_OK;
}

/* TOVA in small, and one that lets a key return: it chooses among all keys at every step. */
static sf_status scores_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params;
    out->tensor[0] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {1, max_keys}};
    return SF_OK;
}

static sf_status observe_living(sf_attention *a, const struct params *p, sf_state *s, int first, bool forgetful)
{
    sf_tensor score = s->tensor[0], seen;
    if (first == 0 || forgetful) sf_living_open(a, score);
    if (first == 0) {
        sf_probe(a, 1, SF_SUM, &seen, NULL);
    } else {
        if (!forgetful) sf_living_keep(a, score, sf_top(a, score, p->keys));
        sf_living_born(a, score);
        seen = sf_listed_probabilities(a, sf_living(a, score));
    }
    sf_add(a, score, 0, sf_all_heads(a, seen, SF_MEAN));
    if (forgetful) {
        sf_force(a, score, 0, 4), sf_force(a, score, a->keys - 1, a->keys);
        sf_living_keep(a, score, sf_top(a, score, p->keys));
    }
    return a->status;
}

static sf_status observe_right(sf_attention *a, const void *params, sf_state *s, int first)
{
    return observe_living(a, params, s, first, false);
}
static sf_status observe_forgetful(sf_attention *a, const void *params, sf_state *s, int first)
{
    return observe_living(a, params, s, first, true);
}

static sf_status read_living(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    (void)params;
    return sf_pages(a, out, 1, sf_living(a, s->tensor[0]));
}

/* The last query over all keys, summed up over heads and added up; of a step, the keys that live. */
static sf_estimate living_cost(const sf_extent *e, const void *params)
{
    const int keys = ((const struct params *)params)->keys, before = e->tokens - 1;
    if (e->phase == SF_PREFILL) return (sf_estimate){.exact = sf_probe_flops(e, 1) + (double)e->heads * e->tokens + 2.0 * e->tokens};
    return (sf_estimate){.exact = (double)e->kv_heads * e->head_dim * ((keys < before ? keys : before) + 1)};
}

/* Never drops anything. */
static sf_status observe_hoarding(sf_attention *a, const void *params, sf_state *s, int first)
{
    struct params p = *(const struct params *)params;
    p.keys = a->keys;
    return observe_living(a, &p, s, first, false);
}

/* A window that is one key narrower from layer to layer, by what is carried; and by what a static says. */
static sf_status carry_width(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys;
    out->tensor[0] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {1, 1}};
    return SF_OK;
}

static sf_status carry_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    struct params p = *(const struct params *)params;
    float layers;
    sf_read(a, a->carry->tensor[0], &layers);
    if (a->status) return a->status;
    if (layers > 0 && p.keys > 8 && p.keys < a->keys) p.keys -= (int)layers;
    sf_fill(a, a->carry->tensor[0], 0, 1, layers + 1);
    return window(a, &p, out);
}

static sf_status carry_in_static(sf_attention *a, const void *params, sf_pattern *out)
{
    static int calls;
    struct params p = *(const struct params *)params;
    if (p.keys > 8 && p.keys < a->keys) p.keys -= calls++ % 3;
    return window(a, &p, out);
}

/* Knorm in small, over all layers: what compress writes down is settled at last. */
static sf_status norms_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    out->tensor[0] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    return SF_OK;
}

static sf_status note_norms(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    (void)params;
    sf_fill(a, s->tensor[0], 0, s->tensor[0].dim[1], -INFINITY);
    sf_fill(a, s->tensor[0], 0, a->keys, 0);
    sf_add(a, s->tensor[0], 1, sf_key_norms(a, false));
    return sf_dense(a, out);
}

/* Norms, added to what is there, and the choice, among all that there is room for. */
static sf_estimate norms_cost(const sf_extent *e, const void *params)
{
    (void)params;
    return (sf_estimate){.exact = e->kv_heads * ((double)e->tokens * (2 * e->head_dim + 2) + e->tokens + e->output)};
}

static sf_status keep_first(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    (void)params, (void)s;
    return sf_keep(a, out, sf_every(a, a->kv_heads, 0, 1, 1));
}

static sf_status settle_some(int layers, sf_attention *a, int keys, const sf_state *s, sf_pattern *out)
{
    for (int i = 0; i < layers; i++)
        SF_TRY(sf_keep(&a[i], &out[i], sf_top(&a[i], s[i].tensor[0], keys < a[i].keys ? keys : a[i].keys)));
    return SF_OK;
}

static sf_status settle_norms(int layers, sf_attention *a, const void *params, const sf_state *s, sf_pattern *out)
{
    return settle_some(layers, a, ((const struct params *)params)->keys, s, out);
}

static sf_status settle_twice(int layers, sf_attention *a, const void *params, const sf_state *s, sf_pattern *out)
{
    return settle_some(layers, a, 2 * ((const struct params *)params)->keys, s, out);
}

static sf_status settle_first(int layers, sf_attention *a, const void *params, const sf_state *s, sf_pattern *out)
{
    return settle_some(layers > 0, a, ((const struct params *)params)->keys, s, out);
}

/* A window in two parts that overlap by one key. */
static sf_status overlapping(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    const sf_band near[SF_BANDS_A_HEAD] = {{.far = p->keys, .step = 1}}, first[SF_BANDS_A_HEAD] = {{.sinks = 4, .apart = p->keys - 1}};
    sf_pattern part[2];
    sf_bands(a, &part[0], 1, near, (sf_lists){0}, (sf_lists){0});
    sf_bands(a, &part[1], 1, first, (sf_lists){0}, (sf_lists){0});
    return sf_parts(a, out, false, 2, part);
}

/* A weight of 0, whose logarithm is no number, for the first key that it lists. */
static sf_status weightless(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    (void)s;
    int n = ((const struct params *)params)->keys < a->keys ? ((const struct params *)params)->keys : a->keys;
    float bias[n];
    void *copy = NULL;
    for (int i = 0; i < n; i++) bias[i] = i ? 0 : -INFINITY;
    SF_TRY(sf_pages(a, out, 1, sf_every(a, 1, a->keys - n, a->keys, 1)));
    SF_TRY(sf_scratch_alloc(a->backend, sizeof bias, &copy));
    out->bias = (sf_tensor){.data = copy, .dtype = SF_F32, .rank = 2, .dim = {1, n}};
    return a->backend->ops->upload(a->backend, copy, bias, sizeof bias);
}

#define PAGES_OF .state = bounds, .observe = observe

/* Some put another hook over the one of WINDOW. */
#pragma GCC diagnostic ignored "-Woverride-init"
/* Heads' numbers are those of the layer, of which a rank may hold some. */
static sf_status blocks_by_head(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    int blocks = (a->keys + 15) / 16, rows = a->heads * blocks;
    int32_t *count = malloc((size_t)rows * sizeof *count), *index = malloc((size_t)rows * 2 * sizeof *index);
    for (int r = 0; r < rows; r++) {
        int own = r % blocks, head = r / blocks;
        index[2 * r] = head < own ? head : 0, index[2 * r + 1] = own;
        count[r] = own > 0 ? 2 : 1;
        if (!own) index[2 * r] = 0;
    }
    sf_lists lists = sf_host_lists(a, rows, 2, count, index);
    free(count), free(index);
    return sf_blocks(a, out, a->heads, 16, 16, lists);
}

/* As many keys as the budget gives the kv heads, wherever their norms are largest. */
static sf_status keep_over_heads(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    sf_tensor norm = sf_key_norms(a, false);
    sf_force(a, norm, 0, 1); /* each kv head keeps one */
    int keys = p->keys < a->keys ? p->keys : a->keys;
    return sf_keep(a, out, sf_top_total(a, norm, (int64_t)keys * a->kv_heads));
}

static sf_estimate over_heads_cost(const sf_extent *e, const void *params)
{
    (void)params;
    return (sf_estimate){.exact = (double)e->tokens * e->kv_heads * (2 * e->head_dim + 1)};
}

static const struct {
    const char *what;
    sf_method method;
    const char *row; /* that must fail; NULL: none may */
} METHODS[] = {
    {"a right window", {WINDOW, .prefill = window, .decode = window_decode}, NULL},
    {"right pages", {WINDOW, PAGES_OF, .decode = pages_right, .estimate = pages_cost}, NULL},
    {"pages, of which it says no cost", {WINDOW, PAGES_OF, .decode = pages_right}, "choosing costs what estimate() says"},
    {"pages, of which it leaves out some", {WINDOW, PAGES_OF, .decode = pages_right, .estimate = scores_cost}, "choosing costs what estimate() says"},
    {"a window that says it costs", {WINDOW, .prefill = window, .decode = window_decode, .estimate = pages_cost}, "choosing costs what estimate() says"},
    {"right eviction while decoding",
     {WINDOW, .state = scores_state, .observe = observe_right, .decode = read_living, .estimate = living_cost, .evicts = true, .across = SF_ONE_FOR_ALL},
     NULL},
    {"reads again what it evicted",
     {WINDOW, .state = scores_state, .observe = observe_forgetful, .decode = read_living, .evicts = true, .across = SF_ONE_FOR_ALL},
     "what is evicted never returns"},
    {"evicts nothing, and says it does",
     {WINDOW, .state = scores_state, .observe = observe_hoarding, .decode = read_living, .evicts = true, .across = SF_ONE_FOR_ALL},
     "memory falls as claimed"},
    {"right carrying", {WINDOW, .carry = carry_width, .prefill = carry_prefill}, NULL},
    {"carries in a place of its own", {WINDOW, .prefill = carry_in_static}, "no state kept"},
    {"right settling", {WINDOW, .state = norms_state, .compress = note_norms, .settle = settle_norms, .estimate = norms_cost, .leaves_sinks = true}, NULL},
    {"chooses, and settles too", {WINDOW, .state = norms_state, .compress = keep_first, .settle = settle_norms}, "indices in range"},
    {"settles for more than the target leaves",
     {WINDOW, .state = norms_state, .compress = note_norms, .settle = settle_twice, .leaves_sinks = true},
     "memory falls as claimed"},
    {"settles by the first layer alone",
     {WINDOW, .state = norms_state, .compress = note_norms, .settle = settle_first, .leaves_sinks = true},
     "returned without making a pattern"},
    {"parts that share a key", {WINDOW, .prefill = overlapping}, "indices in range"},
    {"a weight that is not finite", {WINDOW, .decode = weightless}, "indices in range"},
    {"reads the block after its own", {WINDOW, .prefill = block_after}, "indices in range"},
    {"keeps a key twice", {WINDOW, .compress = keep_twice}, "indices in range"},
    {"makes no pattern", {WINDOW, .prefill = makes_nothing}, "returned without making a pattern"},
    {"is dense whatever the target", {WINDOW, .prefill = always_dense}, "target sparsity"},
    {"leaves queries without a key", {WINDOW, .prefill = block_0}, "method 'broken', prefill at layer 1"},
    {"half of the budget", {WINDOW, .fit = fit_half, .prefill = window}, "target sparsity"},
    {"lowers what is no budget", {WINDOW, .fit = fit_sinks, .prefill = window}, "'sinks' was 4 and is 0"},
    {"fits out of range", {WINDOW, .fit = fit_below, .prefill = window}, "'keys' is -"},
    {"calls a double an int",
     {WINDOW, .params = SHARE, .params_size = sizeof(struct share_params), .fit = fit_share, .prefill = window_share},
     "each budget parameter moves density"},
    {"99 % for everything", {WINDOW, .fit = fit_most, .prefill = window}, "full budget equals dense"},
    {"chooses by a later value", {WINDOW, .prefill = by_last_value}, "no query reads a later value"},
    {"probes the last queries, unsaid", {WINDOW, .prefill = columns_unsaid}, "steering by later tokens"},
    {"estimates the probe only",
     {WINDOW, .prefill = columns_unsaid, .estimate = probe_cost, .steers_backwards = true},
     "choosing costs what estimate() says"},
    {"loses the sinks", {WINDOW, .prefill = columns_no_sink, .steers_backwards = true}, "an attention sink is read"},
    {"forgets the current page", {WINDOW, PAGES_OF, .decode = pages_no_current}, "the query's own key"},
    {"does not observe new keys",
     {WINDOW, .state = bounds, .observe = observe_prompt_only, .decode = pages_by_score},
     "the query's own key"},
    {"chooses by the backend", {WINDOW, .prefill = by_backend}, "same on the reference"},
    {"chooses by the thread count", {WINDOW, .prefill = by_threads}, "same with 1 and 2 threads"},
    {"shares its lists between lanes", {WINDOW, PAGES_OF, .decode = pages_one_place}, "same alone and in company"},
    {"leaks state between samples", {WINDOW, PAGES_OF, .decode = pages_by_samples_seen}, "no state kept"},
    {"groups of at most 4", {WINDOW, .prefill = small_groups}, "query heads per kv head"},
    {"head dim of at most 128", {WINDOW, .prefill = small_heads}, "head dim 64 128 256"},
    {"no prompt below 32 tokens", {WINDOW, .compress = keep_32}, "prompts of 1 to 65 tokens"},
    {"numbers heads by those at hand", {WINDOW, .prefill = blocks_by_head}, "same with heads split over ranks"},
    {"looks over all heads, unsaid", {WINDOW, .compress = keep_over_heads, .leaves_sinks = true}, "same with heads split over ranks"},
    {"looks over all heads", {WINDOW, .compress = keep_over_heads, .estimate = over_heads_cost, .leaves_sinks = true, .across = SF_OVER_HEADS}, NULL},
};

/* ---- what the table says
 * --------------------------------------------------------------------------------------------- */

/* The table of a method, its heads split over so many ranks; caller frees. */
static char *table(const sf_method *m, int ranks, int *failed)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    sf_status status = sf_check_method(m, "cpu", ranks, out, failed);
    fclose(out);
    if (status != SF_OK) fail_msg("%s: %s", m->name, sf_error());
    return text;
}

static void each_promise_has_a_row_that_catches_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++) {
        const bool split = !METHODS[i].row || strstr(METHODS[i].row, "ranks"); /* a row that takes long, and no other catches by */
        int failed = 0, caught = 0;
        char *text = table(&METHODS[i].method, split ? 2 : 1, &failed);
        printf("  %s:", METHODS[i].what);
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
            if (!strstr(line, " FAIL ")) continue;
            printf(" [%.*s]", 36, line + 12);
            if (METHODS[i].row && strstr(line, METHODS[i].row))
                caught = 1;
            else if (!METHODS[i].row)
                fail_msg("%s: %s", METHODS[i].what, line);
        }
        printf("\n");
        free(text);
        if (METHODS[i].row && !caught) fail_msg("%s: row '%s' does not catch it", METHODS[i].what, METHODS[i].row);
        assert_int_equal(failed > 0, METHODS[i].row != NULL);
    }
}

static void one_failure_is_told_once(void **state)
{
    (void)state;
    sf_method m = {WINDOW, .prefill = block_0};
    int failed = 0, told = 0, skipped = 0;
    char *text = table(&m, 1, &failed);
    for (const char *s = text; (s = strstr(s, "add the query's own block")); s++) told++;
    for (const char *s = text; (s = strstr(s, "not tried, as above")); s++) skipped++;
    if (failed != 1 || told != 1 || skipped < 10)
        fail_msg("%d failed, %d told, %d skipped:\n%s", failed, told, skipped, text);
    free(text);
}

static void built_in_methods_pass(void **state)
{
    (void)state;
    for (int i = 0; sf_methods[i]; i++) {
        int failed = 0;
        char *text = table(sf_methods[i], 2, &failed);
        if (failed) fail_msg("%s", text);
        free(text);
    }
}

static void names_a_device_that_is_not_there(void **state)
{
    (void)state;
    int failed;
    assert_int_equal(sf_check_method(sf_methods[0], "abacus", 2, stdout, &failed), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "abacus"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_promise_has_a_row_that_catches_it),
        cmocka_unit_test(one_failure_is_told_once),
        cmocka_unit_test(built_in_methods_pass),
        cmocka_unit_test(names_a_device_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
