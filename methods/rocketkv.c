/* RocketKV: what the last queries of the prompt look at stays in the cache; of that, each step reads the chunks that few
 * components of its query and the chunks' bounds say it wants.
 *
 * As the authors' code (NVlabs/RocketKV 63637c8). Stage 1 is SnapKV with a window of 32 and max-pooling over 63, summed over
 * the group, the window kept inside the budget. Stage 2 takes, of a chunk, its keys' largest or smallest component, by the
 * sign of the group's summed query, in the `rank` components where the group's |q| is largest, with SparQ's divisor; softmax
 * over chunks, mean over the group. With a ratio R of stage 2 theirs has chunks of sqrt(R) keys and D · chunk / R components:
 * 4 and 32 of 128 are R = 16. Other than there: whole chunks are read, where theirs cuts the last one to fit.
 *
 * A target sparsity s is split evenly: sqrt(1 - s) of the prompt stays, and of it as much is read. */
#include <math.h>

#include "methods/method.h"
#include "methods/toll.h"

struct params {
    int capacity, budget, window, kernel, chunk, rank;
};

static const sf_param PARAMS[] = {
    {.name = "capacity", .type = SF_INT, .offset = offsetof(struct params, capacity), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 4096, .doc = "prompt keys to keep, the window included"},
    {.name = "budget", .type = SF_INT, .offset = offsetof(struct params, budget), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys to read, rounded to chunks"},
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window),
     .low = 1, .high = 1 << 20, .initial = 32, .doc = "last queries of the prompt, which say what stays"},
    {.name = "kernel", .type = SF_INT, .offset = offsetof(struct params, kernel),
     .low = 1, .high = 4095, .initial = 63, .doc = "keys a score is pooled over, odd"},
    {.name = "chunk", .type = SF_INT, .offset = offsetof(struct params, chunk),
     .low = 1, .high = 4096, .initial = 4, .doc = "keys per chunk of the second stage"},
    {.name = "rank", .type = SF_INT, .offset = offsetof(struct params, rank),
     .low = 1, .high = 1024, .initial = 32, .doc = "components that are looked at"},
    {0},
};

enum { LOW, HIGH }; /* [G, chunks, D] each */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const struct params *p = params;
    for (int i = LOW; i <= HIGH; i++)
        out->tensor[i] = (sf_tensor){
            .dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, (max_keys + p->chunk - 1) / p->chunk, a->head_dim}};
    return SF_OK;
}

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    if (p->kernel % 2 == 0) return sf_fail(SF_BAD_INPUT, "rocketkv: kernel %d is not odd", p->kernel);
    if (p->capacity >= a->keys) return sf_dense(a, out);
    int window = p->window < p->capacity ? p->window : p->capacity;
    sf_tensor score;
    sf_probe(a, p->window, SF_SUM, &score, NULL);
    score = sf_group(a, score, SF_SUM);
    sf_fill(a, score, a->keys - window, a->keys, 0); /* cut off before pooling */
    score = sf_pool(a, score, p->kernel, SF_MAX);
    sf_force(a, score, a->keys - window, a->keys);
    return sf_keep(a, out, sf_top(a, score, p->capacity));
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    sf_page_bounds(a, ((const struct params *)params)->chunk, first, s->tensor[LOW], s->tensor[HIGH]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    int chunks = (p->budget + p->chunk - 1) / p->chunk;
    sf_tensor size = sf_query_components(a, (sf_tensor){0}); /* [H, D] */
    sf_magnitudes(a, size);
    sf_lists at = sf_top(a, sf_group(a, size, SF_SUM), p->rank);
    sf_tensor score = sf_page_component_scores(a, p->chunk, s->tensor[LOW], s->tensor[HIGH], at, true); /* [H, chunks] */
    sf_softmax(a, score);
    return sf_pages(a, out, p->chunk, sf_top(a, sf_group(a, score, SF_MEAN), chunks));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    p->budget = sf_fit_keys(extent, sparsity);
    p->capacity = sparsity <= 0 ? extent->tokens : (int)lround(sqrt(1 - sparsity) * extent->tokens);
    if (p->capacity < 1) p->capacity = 1;
    return SF_OK;
}

/* Stage 1, and bounds of the chunks of what it keeps; of a step, the keys of its chunk, and `rank` components of each chunk's bounds. */
static sf_estimate of_step(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int prompt = sf_toll_prompt(e), kept = p->capacity < prompt ? p->capacity : prompt;
    sf_toll t;
    sf_toll_open(&t, e);
    if (e->phase == SF_PREFILL) {
        if (kept < prompt)
            sf_toll_probe(&t, p->window), sf_toll_group(&t, prompt), sf_toll_top(&t, e->kv_heads, prompt * (int64_t)(p->kernel + 1)); /* pooled too */
        t.a.keys = kept;
        sf_meter_page_bounds(&t.backend, &t.a, p->chunk, 0);
        return sf_toll_paid(&t, 1);
    }
    t.a.keys -= prompt - kept;
    const sf_lists at = {.stride = p->rank < e->head_dim ? p->rank : e->head_dim};
    sf_meter_page_bounds(&t.backend, &t.a, p->chunk, t.a.keys - 1);
    sf_meter_page_component_scores(&t.backend, &t.a, p->chunk, &at);
    return sf_toll_paid(&t, 1);
}

/* On average over what a chunk can hold by then. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    return sf_toll_mean(e, params, ((const struct params *)params)->chunk, of_step);
}

const sf_method sf_rocketkv = {
    .abi = SF_METHOD_ABI,
    .name = "rocketkv",
    .form = SF_FORM_PAGES,
    .summary = "a compressed cache, of which each step reads the chunks that bounds of few components point to",
    .paper = "Behnam et al. 2025, RocketKV, arXiv 2502.14051",
    .version = 1, /* 0: without what choosing costs */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .compress = compress,
    .observe = observe,
    .decode = decode,
    .packs = true,
};
