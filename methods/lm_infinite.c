/* LM-Infinite: a window of latest keys and the first keys, none of them seen farther away than a limit: beyond the window
 * every first key stands at the same distance.
 *
 * In the authors' code the window and the limit are the length that the model was trained at, and its convert helper sets
 * limit = local: so does limit 0 here. A limit beyond the window is a ceiling, as in the paper; the code would move nearer
 * keys out to it. Its middle keys (the 5 best of a head from layer 4 on, for the last query, at
 * distance 2048) are left out. */
#include "methods/method.h"

struct params {
    int global, local, limit;
};

static const sf_param PARAMS[] = {
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 4096, .doc = "latest keys a query reads, its own included"},
    {.name = "global", .type = SF_INT, .offset = offsetof(struct params, global), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 100, .doc = "first keys, always read; at most half of a target's keys"},
    {.name = "limit", .type = SF_INT, .offset = offsetof(struct params, limit),
     .low = 0, .high = 1 << 24, .initial = 0, .doc = "the farthest that a first key is seen away; 0: as `local`"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    const sf_band latest[SF_BANDS_A_HEAD] = {{.far = p->local, .step = 1}},
                  first[SF_BANDS_A_HEAD] = {{.sinks = p->global, .apart = p->local}};
    sf_pattern part[2];
    sf_bands(a, &part[0], 1, latest, (sf_lists){0}, (sf_lists){0});
    sf_bands(a, &part[1], 1, first, (sf_lists){0}, (sf_lists){0});
    part[1].reach = (sf_reach){1, p->limit ? p->limit : p->local};
    return sf_parts(a, out, false, 2, part);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int keys = e->phase == SF_PREFILL ? sf_fit_blocks(e, 1, sparsity) : sf_fit_keys(e, sparsity);
    if (p->global > keys / 2) p->global = keys / 2;
    p->local = sparsity <= 0 ? keys : keys > p->global ? keys - p->global : 1; /* the window reaches all: no limit is met */
    return SF_OK;
}

const sf_method sf_lm_infinite = {
    .abi = SF_METHOD_ABI,
    .name = "lm_infinite",
    .form = SF_FORM_FIXED,
    .summary = "the first keys and a sliding window, no distance beyond a limit",
    .paper = "Han et al. 2023, LM-Infinite, arXiv 2308.16137",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
