/* Dilated: the first keys, the latest ones, and beyond them every step-th key up to a distance.
 *
 * MInference's code has two of them as baselines: dilated1 {sinks: 1024, local: 1, span: 8192, step: 2} and dilated2
 * {sinks: 0, local: 2048, span: 6144, step: 2}. */
#include "methods/method.h"

struct params {
    int sinks, local, span, step;
};

static const sf_param PARAMS[] = {
    {.name = "span", .type = SF_INT, .offset = offsetof(struct params, span), .budget = true,
     .low = 0, .high = 1 << 24, .initial = 8192, .doc = "distances up to which every step-th key is read"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 64, .doc = "latest keys a query reads, its own included"},
    {.name = "step", .type = SF_INT, .offset = offsetof(struct params, step),
     .low = 2, .high = 1 << 16, .initial = 2, .doc = "distances beyond the local ones: its multiples"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always read"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    const sf_band band[SF_BANDS_A_HEAD] = {
        {.sinks = p->sinks, .far = p->local, .step = 1},
        {.near = p->local, .far = p->span > p->local ? p->span : p->local, .step = p->step},
    };
    return sf_bands(a, out, 1, band, (sf_lists){0}, (sf_lists){0});
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

static int smaller(int x, int y) { return x < y ? x : y; }

/* Keys of row i when so many are asked for: first the span widens, then, at its widest, the latest keys. */
static void spread(const struct params *p, int amount, int keys, int *local, int *span)
{
    *local = smaller(p->local, amount);
    *span = *local + (amount - *local) * p->step;
    if (*span <= keys) return;
    *span = keys;
    *local += (int)(((int64_t)(amount - *local) * p->step + *local - keys) / (p->step - 1));
}

struct fitting {
    const struct params *p;
    int keys;
};

static double keys_of(const void *what, int amount, int row)
{
    const struct fitting *f = what;
    int local, span, from;
    spread(f->p, amount, f->keys, &local, &span);
    int far = smaller(span, row + 1) - 1; /* the farthest distance */
    double stepped = far >= local ? far / f->p->step - (local - 1) / f->p->step : 0;
    from = row + 1 - (span > local ? span : local); /* first keys that nothing else reads whole */
    double read = smaller(local, row + 1) + stepped;
    for (int j = 0; j < smaller(f->p->sinks, row + 1 - local); j++) read += j < from || (row - j) % f->p->step != 0;
    return read;
}

static double pairs(const sf_extent *e, const void *what, int amount) { return sf_sum_rows(e, what, amount, keys_of); }

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    const struct fitting f = {p, e->tokens + (e->phase == SF_DECODE ? e->output : 0)};
    int local, amount = sf_fit_amount(e, sparsity, 1, f.keys, pairs, &f);
    spread(p, amount, f.keys, &local, &p->span);
    p->local = local;
    return SF_OK;
}

const sf_method sf_dilated = {
    .abi = SF_METHOD_ABI,
    .name = "dilated",
    .form = SF_FORM_FIXED,
    .summary = "the first keys, the latest ones, and every step-th key up to a distance",
    .paper = "Jiang et al. 2024, MInference 1.0 (baselines), arXiv 2407.02490",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
