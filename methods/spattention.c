/* SPAttention: every query head has a band of distances of its own; together they cover each distance below `length` once, so that
 * all heads cost what one dense head does.
 *
 * As the paper defines it (its text alone could be read, no code): with H heads and N tokens, head h reads the keys at distances
 * S_h <= i - j < S_h + W_h, where W_h = floor(N / H) + 1 for the first N mod H heads and floor(N / H) for the others, and S_h is the
 * sum of the widths before. For example N = 10, H = 4: from 0 three distances, from 3 three, from 6 two, from 8 two. Two
 * things follow that the text does not speak of: in rows i < S_h head h has no key at all, and gives 0 here; and bands hang on N, so
 * that they would move with every generated token if N were the number of tokens: here it is what the model was trained with, for
 * prompts of any length, and keys at that distance and beyond are read by none. Trained so from nothing: of a model that was not,
 * most heads lose what they look at, so it is a baseline there at most. */
#include "methods/method.h"

struct params {
    int length;
};

static const sf_param PARAMS[] = {
    {.name = "length", .type = SF_INT, .offset = offsetof(struct params, length),
     .low = 1, .high = 1 << 24, .initial = 4096,
     .doc = "tokens that the model was trained with: distances below it are shared out among the heads"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    const int all = a->comm ? a->all_heads : a->heads, each = p->length / all, wider = p->length % all;
    sf_band band[a->heads][SF_BANDS_A_HEAD];
    for (int i = 0; i < a->heads; i++) {
        const int h = a->first_head + i, near = h * each + (h < wider ? h : wider);
        band[i][0] = (sf_band){.near = near, .far = near + each + (h < wider), .step = 1};
        band[i][1] = (sf_band){0};
    }
    sf_status status = sf_bands(a, out, a->heads, band[0], (sf_lists){0}, (sf_lists){0});
    out->empty = true;
    return status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

const sf_method sf_spattention = {
    .abi = SF_METHOD_ABI,
    .name = "spattention",
    .form = SF_FORM_FIXED,
    .summary = "each query head its own band of distances, all of them once together",
    .paper = "Zhao et al. 2025, SPAttention, arXiv 2511.09596",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .prefill = prefill,
    .decode = decode,
    .packs = true,
    .never_dense = true,
    .leaves_sinks = true,
};
