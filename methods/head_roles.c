/* Roles of heads, as DuoAttention gives them: some kv heads read everything, the others the first keys and the latest ones.
 *
 * `roles` names a table of one gate for each layer (a row) and kv head (a column), as the authors' full_attention_heads.tsv
 * has them; over the whole model, the share `streaming` of heads with the lowest gates stream. Without a table as many
 * heads of each layer stream, drawn by the seed: what roles are worth is the difference. Sizes are the authors' (sinks 128,
 * recent 256). */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/splitmix.h"
#include "methods/method.h"

struct params {
    double streaming;
    int sinks, recent, seed;
    const char *roles;
};

static const sf_param PARAMS[] = {
    {.name = "streaming", .type = SF_REAL, .offset = offsetof(struct params, streaming), .budget = true,
     .low = 0, .high = 1, .initial = 0.5, .doc = "share of the kv heads that read the first and the latest keys only"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 128, .doc = "first keys that streaming heads read"},
    {.name = "recent", .type = SF_INT, .offset = offsetof(struct params, recent),
     .low = 1, .high = 1 << 24, .initial = 256, .doc = "latest keys that streaming heads read, the query's own included"},
    {.name = "roles", .type = SF_STRING, .offset = offsetof(struct params, roles), .file = true,
     .doc = "file of gates, a row for each layer, a column for each kv head; without one, heads are drawn"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the draw"},
    {0},
};

static sf_status read_gates(const sf_attention *a, const char *path, double *gate)
{
    FILE *f = fopen(path, "r");
    if (!f) return sf_fail(SF_IO, "%s: the table of roles cannot be opened", path);
    int n = 0, wanted = a->layers * sf_layer_kv_heads(a);
    while (n < wanted && fscanf(f, "%lf", &gate[n]) == 1) n++;
    fclose(f);
    if (n == wanted) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: row %d, column %d: expected a gate; the model has %d layers of %d kv heads", path,
                   n / sf_layer_kv_heads(a) + 1, n % sf_layer_kv_heads(a) + 1, a->layers, sf_layer_kv_heads(a));
}

/* How many gates are lower than this one, equal ones in order. */
static int rank(const double *gate, int n, int of)
{
    int lower = 0;
    for (int i = 0; i < n; i++) lower += gate[i] < gate[of] || (gate[i] == gate[of] && i < of);
    return lower;
}

/* streams[g]: whether kv head g of this layer does. */
static sf_status roles(const sf_attention *a, const struct params *p, bool *streams)
{
    bool table = p->roles && *p->roles;
    int layers = table ? a->layers : 1, all = sf_layer_kv_heads(a), n = layers * all, first = table ? a->layer * all : 0;
    double gate[n];
    if (table) SF_TRY(read_gates(a, p->roles, gate));
    for (int i = 0; !table && i < n; i++) gate[i] = (double)(sf_splitmix(sf_splitmix((uint64_t)p->seed, (uint64_t)a->layer), (uint64_t)i) >> 11);
    int many = (int)(p->streaming * n + 0.5);
    for (int g = 0; g < a->kv_heads; g++) streams[g] = rank(gate, n, first + a->first_kv_head + g) < many;
    return SF_OK;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    bool streams[a->kv_heads];
    sf_band band[a->kv_heads][SF_BANDS_A_HEAD];
    SF_TRY(roles(a, p, streams));
    for (int g = 0; g < a->kv_heads; g++) {
        band[g][0] = (sf_band){.sinks = streams[g] ? p->sinks : 0, .far = streams[g] ? p->recent : INT_MAX, .step = 1};
        band[g][1] = (sf_band){0};
    }
    return sf_bands(a, out, a->kv_heads, band[0], (sf_lists){0}, (sf_lists){0});
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

/* What a streaming head leaves out, times their share. */
static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int keys = p->sinks + p->recent < e->tokens ? p->sinks + p->recent : e->tokens;
    double whole = e->phase == SF_PREFILL ? sf_causal_pairs(e->tokens, e->tokens) : e->tokens;
    double read = e->phase == SF_PREFILL ? (double)keys * (e->tokens - keys) + sf_causal_pairs(keys, keys) : keys;
    double left = 1 - read / whole;
    p->streaming = sparsity <= 0 ? 0 : left <= sparsity ? 1 : sparsity / left;
    return SF_OK;
}

const sf_method sf_head_roles = {
    .abi = SF_METHOD_ABI,
    .name = "head_roles",
    .form = SF_FORM_FIXED,
    .summary = "some kv heads read everything, the others the first and the latest keys",
    .paper = "Xiao et al. 2024, DuoAttention, arXiv 2410.10819",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
