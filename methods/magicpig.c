/* MagicPIG: decode reads the first keys, the latest of the prompt, all that were generated, and of the others those that the query meets
 * in hash tables, each weighted by the inverse of its chance to be met. That estimates the softmax over all keys by importance
 * sampling: who has a small angle to the query is met often.
 *
 * As the authors' code (Infini-AI-Lab/MagicPIG ac9aa36): keys less their mean over what is hashed, queries as they are; signs of
 * `bits` random projections a table, `tables` tables, one set of projections for 16 layers; a key is read if two tables or more
 * agree; its chance is 1 - (1 - u)^L - L u (1 - u)^(L - 1) with u = (1 - angle / pi)^K, and 1e-4 is added to it. Each query head
 * its own. Their layers 0, 16, 32, 48 are dense: {dense_every: 16}. {least: 1} is the other rule in use (sparse-attention-hub's),
 * whose chance is 1 - (1 - u)^L. They keep buckets, where a query reads the lists of those who share one; here every key's codes are
 * compared, and that is what is counted. No dial: what is read depends on the angles; give bits and tables. */
#include "methods/method.h"
#include "methods/toll.h"

#include <math.h>

struct params {
    int bits, tables, least, sinks, local, dense_every, seed;
};

static const sf_param PARAMS[] = {
    {.name = "bits", .type = SF_INT, .offset = offsetof(struct params, bits), .budget = true,
     .low = 1, .high = 16, .initial = 10, .doc = "projections a table (the paper's K)"},
    {.name = "tables", .type = SF_INT, .offset = offsetof(struct params, tables), .budget = true,
     .low = 1, .high = 2048, .initial = 150, .doc = "hash tables (the paper's L)"},
    {.name = "least", .type = SF_INT, .offset = offsetof(struct params, least),
     .low = 1, .high = 2, .initial = 2, .doc = "tables that a key has to be met in"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always read"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 0, .high = 1 << 24, .initial = 64, .doc = "latest keys of the prompt, always read"},
    {.name = "dense_every", .type = SF_INT, .offset = offsetof(struct params, dense_every),
     .low = 0, .high = 1024, .initial = 0, .doc = "every so manyth layer from the first on reads everything; 0: none"},
    {.name = "seed", .type = SF_INT, .offset = offsetof(struct params, seed),
     .low = 0, .high = 1 << 30, .initial = 43, .doc = "of the projections"},
    {0},
};

enum { PLANE, CENTRE, CODE }; /* [tables * bits, D]; [G, D]; [G, max_keys, ceil(tables / 2)] two codes a word */

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const struct params *p = params;
    out->tensor[PLANE] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {p->tables * p->bits, a->head_dim}};
    out->tensor[CENTRE] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {a->kv_heads, a->head_dim}};
    out->tensor[CODE] = (sf_tensor){.dtype = SF_I32, .rank = 3, .dim = {a->kv_heads, max_keys, (p->tables + 1) / 2}};
    return SF_OK;
}

static sf_hash hash_of(const struct params *p, int prompt)
{
    int begin = p->sinks < prompt ? p->sinks : prompt, end = prompt - p->local > begin ? prompt - p->local : begin;
    return (sf_hash){.bits = p->bits, .tables = p->tables, .least = p->least, .begin = begin, .end = end};
}

static bool dense(const sf_attention *a, const struct params *p, sf_hash hash)
{
    return hash.end == hash.begin || (p->dense_every && a->layer % p->dense_every == 0);
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const struct params *p = params;
    sf_hash hash = hash_of(p, a->keys);
    if (first > 0 || dense(a, p, hash)) return SF_OK;
    sf_normals(a, p->seed, a->layer / 16, s->tensor[PLANE]);
    sf_hash_keys(a, &hash, s->tensor[PLANE], s->tensor[CENTRE], s->tensor[CODE]);
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    sf_hash hash = hash_of(p, a->keys - a->kv.tail.n);
    if (dense(a, p, hash)) return sf_dense(a, out);
    sf_tensor weight = sf_hash_matches(a, &hash, s->tensor[PLANE], s->tensor[CENTRE], s->tensor[CODE]); /* [H, keys] */
    sf_lists met = sf_top(a, weight, a->keys);
    return sf_weighted_keys(a, out, met, sf_pick_at(a, weight, met));
}

/* Planes and the codes of every key; of a step, the codes. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const struct params *p = params;
    const sf_hash hash = hash_of(p, sf_toll_prompt(e));
    const int dense_layers = p->dense_every ? (e->layers + p->dense_every - 1) / p->dense_every : 0;
    const int64_t planes = (int64_t)p->tables * p->bits * e->head_dim;
    sf_toll t;
    sf_toll_open(&t, e);
    if (e->phase == SF_PREFILL) {
        sf_meter_scores(&t.backend, 0, planes, 12 * planes);
        sf_meter_hash_keys(&t.backend, &t.a, &hash);
    } else {
        sf_meter_hash_matches(&t.backend, &t.a, &hash);
    }
    return sf_toll_paid(&t, hash.end > hash.begin && e->layers ? 1 - (double)dense_layers / e->layers : 0);
}

const sf_method sf_magicpig = {
    .abi = SF_METHOD_ABI,
    .name = "magicpig",
    .summary = "keys that the query meets in hash tables, weighted by the inverse of their chance",
    .paper = "Chen et al. 2024, MagicPIG, arXiv 2410.16179",
    .form = SF_FORM_SAMPLED,
    .version = 1, /* 0: choosing cost the codes alone */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
};
