/* Sparse Transformer. strided: the latest `length` keys, and every length-th key before. fixed: the own segment of
 * `length` keys up to the query, and the last `summary` keys of every segment before.
 *
 * The paper's local stretch has one key more than the authors' code, which is followed. Where their blocks must divide,
 * `length` is rounded up to whole summaries here. heads: union merges both in each head; split gives the stretch to
 * even heads and the rest, with the own key, to odd ones (strided only). With rotary positions the stride meets nothing
 * that the model was trained to leave there. */
#include "methods/method.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

struct params {
    int form, length, summary, heads;
};

static const sf_param PARAMS[] = {
    {.name = "length", .type = SF_INT, .offset = offsetof(struct params, length), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 128, .doc = "latest keys, and the stride; keys of a segment"},
    {.name = "form", .type = SF_CHOICE, .offset = offsetof(struct params, form), .choices = "strided|fixed", .initial = 0,
     .doc = "where the keys before the latest ones lie"},
    {.name = "summary", .type = SF_INT, .offset = offsetof(struct params, summary),
     .low = 1, .high = 4096, .initial = 16, .doc = "fixed: last keys of a segment that all later queries read"},
    {.name = "heads", .type = SF_CHOICE, .offset = offsetof(struct params, heads), .choices = "union|split", .initial = 0,
     .doc = "strided: both in each head, or one to each other head"},
    {0},
};

static int segment(const struct params *p) { return (p->length + p->summary - 1) / p->summary * p->summary; }

static sf_status strided(sf_attention *a, const struct params *p, sf_pattern *out)
{
    int heads = p->heads == 1 ? a->heads : 1;
    sf_band band[heads][SF_BANDS_A_HEAD];
    for (int h = 0; h < heads; h++) {
        const sf_band local = {.far = p->length, .step = 1}, stride = {.far = INT_MAX, .step = p->length}, none = {0};
        bool other = (a->first_head + h) % 2;
        band[h][0] = p->heads == 1 && other ? none : local;
        band[h][1] = p->heads == 1 && !other ? none : stride;
    }
    return sf_bands(a, out, heads, band[0], (sf_lists){0}, (sf_lists){0});
}

/* Block `own`, of `summary` keys: its segment up to it, and the last block of those before. */
static int32_t list(const struct params *p, int own, int32_t *out)
{
    int each = segment(p) / p->summary;
    int32_t n = 0;
    for (int s = each - 1; s < own / each * each; s += each) out[n++] = s;
    for (int b = own / each * each; b <= own; b++) out[n++] = b;
    return n;
}

static sf_lists fixed(sf_attention *a, const struct params *p, int first, int blocks)
{
    int each = segment(p) / p->summary, most = each + (blocks - 1) / each;
    int32_t *count = malloc((size_t)blocks * sizeof *count), *index = malloc((size_t)blocks * (size_t)most * sizeof *index);
    if (!count || !index) a->status = sf_fail(SF_NO_MEMORY, "sparse_transformer: %d lists of %d blocks", blocks, most);
    for (int b = first; b < blocks && !a->status; b++) count[b] = list(p, b, index + (size_t)b * (size_t)most);
    sf_lists lists = {0};
    if (!a->status) lists = sf_host_lists(a, blocks - first, most, count + first, index + (size_t)first * (size_t)most);
    free(count), free(index);
    return lists;
}

/* Lists are one for all heads. */
static sf_status check(const struct params *p)
{
    return p->form == 1 && p->heads == 1 ? sf_fail(SF_UNSUPPORTED, "sparse_transformer: heads: split is of form: strided alone") : SF_OK;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    SF_TRY(check(p));
    if (p->form == 0) return strided(a, p, out);
    return sf_blocks(a, out, 1, p->summary, p->summary, fixed(a, p, 0, (a->keys + p->summary - 1) / p->summary));
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    const struct params *p = params;
    (void)state;
    SF_TRY(check(p));
    if (p->form == 0) return strided(a, p, out);
    int last = (a->keys - 1) / p->summary;
    sf_pages(a, out, p->summary, fixed(a, p, last, last + 1));
    out->heads = 1;
    return a->status;
}

static double keys_of(const void *params, int amount, int row)
{
    struct params p = *(const struct params *)params;
    p.length = amount;
    int own = row / segment(&p) * segment(&p), far = row / amount;
    if (p.form == 1) return row - own + 1 + (double)own / segment(&p) * p.summary;
    if (p.heads == 1) return ((amount < row + 1 ? amount : row + 1) + far + 1) / 2.0;
    return (amount < row + 1 ? amount : row + 1) + far;
}

static double pairs(const sf_extent *e, const void *params, int amount) { return sf_sum_rows(e, params, amount, keys_of); }

/* The fewest pairs are those of a length near the root of what the summaries weigh; from there on they grow with it. */
static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int most = e->tokens + (e->phase == SF_DECODE ? e->output : 0);
    int least = (int)ceil(sqrt((p->form == 1 ? 2.0 * p->summary : 1) * e->tokens));
    p->length = sf_fit_amount(e, sparsity, least < most ? least : most, most, pairs, p);
    return SF_OK;
}

const sf_method sf_sparse_transformer = {
    .abi = SF_METHOD_ABI,
    .name = "sparse_transformer",
    .form = SF_FORM_FIXED,
    .summary = "the latest keys and a regular grid of those before",
    .paper = "Child et al. 2019, Sparse Transformer, arXiv 1904.10509",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
    .leaves_sinks = true,
};
