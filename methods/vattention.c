/* vAttention: decode reads what is sure to matter (first and latest keys, and the best by an estimate) and a uniform sample of all
 * others, whose weights are the inverse of their chance. The sample is as large as it has to be for the softmax's denominator (or
 * numerator, or the output) to be within `error` of its own size in all but a share `failures` of the queries.
 *
 * The paper: n others, of which a first sample gives mean and variance s² of exp(logit), and so an estimate of the denominator;
 * then b >= (z n s / (error · denominator))² with z = Φ⁻¹(1 - failures / 2). The authors' code (skylight-org/sparse-attention-hub
 * f5abf91, adaptive_sampling.py) departs from it in ways that break the promise, which are mended here:
 *
 *   z        theirs is Φ⁻¹(1 - failures), of one side, while errors have two
 *   draws    theirs are with replacement and from a range that holds the best keys too; what is drawn twice counts once, so that
 *            the estimate is too small (half of n drawn: by a fifth). Here none comes twice, and only others are drawn; a sample of
 *            all is exact, and (1 - b / n) of the variance is left
 *   sums     theirs count the best keys' part twice in the denominator, and in s²
 *
 * As theirs: the first sample is thrown away, each query head draws its own keys, the default verifies the denominator. `output`
 * verifies numerator and denominator to error / (2 + error) and half of the failures each, which bounds the output's error by
 * `error`. The promise is that of a normal distribution: a heavy tail beyond the best keys that the first sample misses breaks it.
 *
 * The best keys are those of highest probability by keys of 4 bits, {predictor: exact} by all of each key (an oracle's, as in the
 * paper's own tables). A target sparsity sets `error`, in each step for all heads of a layer together, and cuts the sure keys and
 * the first sample to an eighth of the budget each where it is small. */
#include "methods/method.h"
#include "methods/toll.h"

enum { INT4, EXACT };

struct params {
    double density, error, failures, base;
    int sinks, local, top, verified, predictor, seed;
};

static const sf_param PARAMS[] = {
    {.name = "error", .type = SF_REAL, .offset = offsetof(struct params, error), .budget = true,
     .low = 0.001, .high = 100, .initial = 0.25, .doc = "relative error that is promised (the paper's epsilon)"},
    {.name = "failures", .type = SF_REAL, .offset = offsetof(struct params, failures), .budget = true,
     .low = 0.0001, .high = 0.99, .initial = 0.25, .doc = "share of queries that may miss it (the paper's delta)"},
    {.name = "base", .type = SF_REAL, .offset = offsetof(struct params, base), .budget = true,
     .low = 0, .high = 1, .initial = 0.05, .doc = "share of the others that is sampled first, and at least"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of the keys to read; 0: as error and failures say"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "first keys, always read"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 128, .doc = "latest keys, always read"},
    {.name = "top", .type = SF_INT, .offset = offsetof(struct params, top), .budget = true,
     .low = 0, .high = 1 << 24, .initial = 128, .doc = "best other keys by the predictor"},
    {.name = "verified", .type = SF_CHOICE, .offset = offsetof(struct params, verified),
     .choices = "denominator|numerator|output", .initial = 0, .doc = "whose error is promised"},
    {.name = "predictor", .type = SF_CHOICE, .offset = offsetof(struct params, predictor),
     .choices = "int4|exact", .initial = 0, .doc = "what the best keys are found by"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the draws; the same for every sample"},
    {0},
};

enum { CODE, RANGE };

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    if (((const struct params *)params)->predictor == INT4) sf_packed_state(a, max_keys, &out->tensor[CODE], &out->tensor[RANGE]);
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    if (((const struct params *)params)->predictor == INT4) sf_pack_keys(a, first, s->tensor[CODE], s->tensor[RANGE]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    int sure = p->sinks + p->local + p->top, others = a->keys - sure;
    if (others < 2 || p->density >= 1) return sf_dense(a, out);
    sf_tensor best = p->predictor == EXACT ? sf_key_probabilities(a)
                                           : sf_packed_probabilities(a, s->tensor[CODE], s->tensor[RANGE], NULL); /* [H, keys] */
    sf_exclude(a, best, 0, p->sinks);
    sf_exclude(a, best, a->keys - p->local, a->keys);
    sf_lists heavy = sf_top(a, best, p->top);
    sf_tensor drawn[2]; /* a first sample's, the sample's: numbers, +INFINITY for what is read anyhow */
    for (int which = 0; which < 2; which++) {
        drawn[which] = sf_draws(a, p->seed, which, NULL);
        sf_force(a, drawn[which], 0, p->sinks);
        sf_force(a, drawn[which], a->keys - p->local, a->keys);
        sf_force_at(a, drawn[which], heavy);
    }
    int first = (int)(p->base * others);
    sf_lists sample = sf_top(a, drawn[0], sure + (first < 2 ? 2 : first));
    sf_promise made = sf_promised(p->error, p->failures, (sf_verified)p->verified);
    sf_lists keys = sf_top_sized(a, drawn[1], sf_sample_sizes(a, drawn[0], sample, made, p->density));
    return sf_weighted_keys(a, out, keys, sf_sample_bias(a, drawn[1], NULL, keys));
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    int each = sf_fit_keys(extent, sparsity) / 8;
    sf_density_fit(extent, sparsity, params);
    if (p->sinks > each) p->sinks = each;
    if (p->local > each) p->local = each > 1 ? each : 1;
    if (p->top > each) p->top = each;
    if (p->base > p->density / 8) p->base = p->density / 8;
    return SF_OK;
}

/* Keys in 4 bits; of a step, its key, what predicts, of every key, and the keys of the first sample. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const int keys = e->tokens, sure = p->sinks + p->local + p->top, others = keys - sure, first = (int)(p->base * others);
    const int64_t h = e->heads, drawn = sure + (first < 2 ? 2 : first), moments = h * (drawn < keys ? drawn : keys);
    sf_toll t;
    sf_toll_open(&t, e);
    if (p->predictor == INT4) sf_meter_pack_keys(&t.backend, &t.a, e->phase == SF_PREFILL ? 0 : keys - 1);
    if (e->phase == SF_PREFILL || others < 2 || p->density >= 1) return sf_toll_paid(&t, 1);
    if (p->predictor == EXACT) sf_meter_key_probabilities(&t.backend, &t.a);
    else sf_meter_packed_probabilities(&t.backend, &t.a, h * keys, (int64_t)e->kv_heads * keys);
    sf_meter_sample_moments(&t.backend, &t.a, moments, p->verified != SF_DENOMINATOR);
    return sf_toll_paid(&t, 1);
}

const sf_method sf_vattention = {
    .abi = SF_METHOD_ABI,
    .name = "vattention",
    .version = 2, /* 0: estimates without the cap on logits; 1: choosing cost what predicts alone */
    .summary = "first, latest and best keys, and a weighted sample of the others that keeps a promise",
    .paper = "Desai et al. 2025, vAttention, arXiv 2510.05688",
    .form = SF_FORM_SAMPLED,
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
    .across = SF_OVER_HEADS,
};
