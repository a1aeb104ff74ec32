/* Longformer, as a decoder: a window of keys, every d-th key of a wider one for some heads of the upper layers, and global
 * tokens, which all queries read and which read all that is before them.
 *
 * Globals are the first tokens here; they are counted once, window or not. The authors' code takes its window to each
 * side, so that their 256 is 256 keys before the own one, w + 1 with it: {window: 257}. Its pretrained encoder is not
 * dilated (dilation: 1); the paper dilates 2 heads of the upper layers, and only those. The layers' growing windows of its
 * language models are not offered. */
#include "methods/method.h"

#include <stdlib.h>

struct params {
    int window, globals, dilation, heads, from;
};

static const sf_param PARAMS[] = {
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 512, .doc = "keys of the window, the query's own included"},
    {.name = "globals", .type = SF_INT, .offset = offsetof(struct params, globals),
     .low = 0, .high = 1 << 16, .initial = 4, .doc = "first tokens that all read and that read all"},
    {.name = "dilation", .type = SF_INT, .offset = offsetof(struct params, dilation),
     .low = 1, .high = 1 << 16, .initial = 1, .doc = "dilated heads read every so many-th key"},
    {.name = "dilated_heads", .type = SF_INT, .offset = offsetof(struct params, heads),
     .low = 0, .high = 1 << 16, .initial = 2, .doc = "query heads that dilation widens, the first ones"},
    {.name = "dilated_from", .type = SF_INT, .offset = offsetof(struct params, from),
     .low = 0, .high = 1 << 16, .initial = 0, .doc = "first layer with dilated heads"},
    {0},
};

static int larger(int x, int y) { return x > y ? x : y; }

/* A dilated head's last key stands dilation * (window - 1) before its query. */
static sf_status choose(sf_attention *a, const struct params *p, bool rows, sf_pattern *out)
{
    int dilated = p->dilation > 1 && a->layer >= p->from ? p->heads : 0, heads = dilated ? a->heads : 1;
    sf_band band[heads][SF_BANDS_A_HEAD];
    for (int h = 0; h < heads; h++) {
        int64_t step = a->first_head + h < dilated ? p->dilation : 1, far = step * (p->window - 1) + 1;
        band[h][0] = (sf_band){.far = (int)(far < a->keys ? far : a->keys), .step = (int)step};
        band[h][1] = (sf_band){0};
    }
    int globals = p->globals < a->keys ? p->globals : a->keys;
    sf_lists first = globals ? sf_every(a, heads, 0, globals, 1) : (sf_lists){0};
    return sf_bands(a, out, heads, band[0], first, rows ? first : (sf_lists){0});
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out) { return choose(a, params, true, out); }

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return choose(a, params, false, out);
}

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int keys = e->phase == SF_PREFILL ? sf_fit_blocks(e, 1, sparsity) : sf_fit_keys(e, sparsity);
    p->window = larger(keys - p->globals, 1);
    if (sparsity <= 0) p->window = e->tokens + e->output;
    return SF_OK;
}

const sf_method sf_longformer = {
    .abi = SF_METHOD_ABI,
    .name = "longformer",
    .form = SF_FORM_FIXED,
    .summary = "a window, dilated for some heads, and global tokens",
    .paper = "Beltagy et al. 2020, Longformer, arXiv 2004.05150",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
