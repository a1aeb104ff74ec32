/* Combiner, its fixed factorisation, without its training: a query reads its own segment, up to itself, and of each earlier
 * segment one summary.
 *
 * As the authors' code (google-research 5b09c22, combiner/tf/approx_attention.py): one softmax over the own segment's keys and
 * the summaries; a summary's key is the pooled key of its segment (mean; theirs may also take the largest or the sum, after a
 * relu), its value what the segment's pooled query attends to in it. Trained there; on a model that was not, a summary
 * that stands for n keys is given their weight, log n on its logit ({weight: one} leaves that out, as theirs). Other than
 * there: queries are pooled over the group too. Segments that end in the prompt's last part have no summary. */
#include <math.h>

#include "methods/method.h"

struct params {
    int segment, weight;
};

static const sf_param PARAMS[] = {
    {.name = "segment", .type = SF_INT, .offset = offsetof(struct params, segment), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 256, .doc = "keys per segment"},
    {.name = "weight", .type = SF_CHOICE, .offset = offsetof(struct params, weight),
     .choices = "keys|one", .initial = 0, .doc = "what a summary weighs: its segment's keys, or one key"},
    {0},
};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int segments = (a->keys + p->segment - 1) / p->segment;
    if (a->queries != a->keys) return sf_fail(SF_UNSUPPORTED, "combiner: keys before the first query");
    if (segments == 1) return sf_dense(a, out);
    sf_blocks(a, out, 1, p->segment, p->segment, sf_own(a, segments));
    out->sum = sf_segment_summaries(a, p->segment, p->weight == 0 ? log(p->segment) : 0);
    return a->status;
}

static double keys(const void *params, int segment, int i)
{
    (void)params;
    return i % segment + 1 + i / segment;
}

static double pairs(const sf_extent *e, const void *params, int segment) { return sf_sum_rows(e, params, segment, keys); }

/* Pairs are fewest where segments are as long as there are of them: from there to the whole prompt. */
static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    ((struct params *)params)->segment = sf_fit_amount(e, sparsity, (int)ceil(sqrt(e->tokens)), e->tokens, pairs, params);
    return SF_OK;
}

/* Two means and an attention of one query for each whole segment. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    double keys = p->segment < e->tokens ? (double)(e->tokens / p->segment) * p->segment : 0, dim = e->head_dim;
    double flops = keys * (e->kv_heads * (5 * dim + 5) + e->heads * dim);
    return (sf_estimate){.paper = flops, .exact = flops};
}

const sf_method sf_combiner = {
    .abi = SF_METHOD_ABI,
    .name = "combiner",
    .form = SF_FORM_FIXED,
    .summary = "the own segment's keys, and a summary of each earlier segment",
    .paper = "Ren et al. 2021, Combiner, arXiv 2107.05768",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .estimate = estimate,
    .prefill = prefill,
    .leaves_sinks = true, /* but in a summary */
};
