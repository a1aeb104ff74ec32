/* Double-P: top-p twice over clusters of keys. Clusters' shares of the probability are estimated by their centroids and sizes; the fewest
 * that hold a share `mass` count at all; of these, the fewest that hold `exact` of it are read key by key, and each of the others
 * enters the same softmax as its centroid, with the mean of its values and the weight of its size.
 *
 * After the paper's abstract and two reviews of it (no code found): mass of cluster c = n_c exp(q · centroid / sqrt D). Unknown there and
 * chosen here: clusters of 32 keys on average, Lloyd's k-means with Euclidean distances once after the prefill, in segments of 8192 keys
 * (RetroInfer's); 4 first and 64 latest keys of the prompt, and all generated, are read exactly; each query head chooses for itself;
 * `exact` is a share of `mass`. The executor computes every centroid, also those that weigh nothing, so that each counts as a pair:
 * no density below 1 / each.
 *
 * A target sparsity sets `mass` at each step, for all heads of a layer together. */
#include "methods/method.h"
#include "methods/toll.h"

#include <math.h>

struct params {
    double density, mass, exact;
    int each, segment, iterations, sinks, local;
};

static const sf_param PARAMS[] = {
    {.name = "mass", .type = SF_REAL, .offset = offsetof(struct params, mass), .budget = true,
     .low = 0, .high = 1, .initial = 0.95, .doc = "share of the estimated probability whose clusters count"},
    {.name = "density", .type = SF_REAL, .offset = offsetof(struct params, density), .budget = true,
     .low = 0, .high = 1, .initial = 0, .doc = "share of pairs, centroids included; 0: as mass says"},
    {.name = "exact", .type = SF_REAL, .offset = offsetof(struct params, exact),
     .low = 0, .high = 1, .initial = 0.8, .doc = "share of mass whose clusters are read key by key"},
    {.name = "each", .type = SF_INT, .offset = offsetof(struct params, each),
     .low = 1, .high = 4096, .initial = 32, .doc = "keys a cluster has on average"},
    {.name = "segment", .type = SF_INT, .offset = offsetof(struct params, segment),
     .low = 1, .high = 1 << 20, .initial = 8192, .doc = "keys that are clustered together"},
    {.name = "iterations", .type = SF_INT, .offset = offsetof(struct params, iterations),
     .low = 0, .high = 1000, .initial = 10, .doc = "of k-means"},
    {.name = "sinks", .type = SF_INT, .offset = offsetof(struct params, sinks),
     .low = 0, .high = 1 << 20, .initial = 4, .doc = "first keys, always read"},
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local),
     .low = 0, .high = 1 << 24, .initial = 64, .doc = "latest keys of the prompt, always read"},
    {0},
};

enum { CENTROID, VALUE, MEMBER, SIZES }; /* [G, C, D] twice; [G, max_keys]; sizes and their logarithms [2, H, C] */

static sf_kmeans_how how_of(const struct params *p, int prompt)
{
    int begin = p->sinks < prompt ? p->sinks : prompt, end = prompt - p->local > begin ? prompt - p->local : begin;
    return (sf_kmeans_how){begin, end, p->segment, p->each, p->iterations};
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    const sf_kmeans_how how = how_of(params, a->keys);
    int clusters = sf_clusters(&how);
    if (clusters == 0) return SF_OK;
    for (int i = CENTROID; i <= VALUE; i++)
        out->tensor[i] = (sf_tensor){.dtype = a->kv.dtype, .rank = 3, .dim = {a->kv_heads, clusters, a->head_dim}};
    out->tensor[MEMBER] = (sf_tensor){.dtype = SF_I32, .rank = 2, .dim = {a->kv_heads, max_keys}};
    out->tensor[SIZES] = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {2, a->heads, clusters}};
    return SF_OK;
}

/* Sizes, or their logarithms. */
static sf_tensor sizes(const sf_state *s, bool logs)
{
    const sf_tensor *both = &s->tensor[SIZES];
    return (sf_tensor){.data = (float *)both->data + logs * both->dim[1] * both->dim[2], .dtype = SF_F32, .rank = 2, .dim = {both->dim[1], both->dim[2]}};
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    const sf_kmeans_how how = how_of(params, a->keys);
    if (first == 0 && sf_clusters(&how))
        sf_kmeans(a, &how, s->tensor[MEMBER], s->tensor[CENTROID], s->tensor[VALUE], sizes(s, false), sizes(s, true));
    return a->status;
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    const sf_kmeans_how how = how_of(p, a->kv.prompt.n);
    const sf_tensor centroid = s->tensor[CENTROID], value = s->tensor[VALUE], size = sizes(s, false);
    if (!centroid.data) return sf_dense(a, out);
    sf_tensor mass = sf_cluster_masses(a, centroid, value, size); /* [H, C] */
    if ((p->density > 0 ? p->density : p->mass) >= 1) return sf_dense(a, out);
    int64_t clusters = mass.dim[1], others = clusters + a->keys - (how.end - how.begin); /* centroids; keys without a cluster */
    sf_lists counted, heavy;
    if (p->density > 0) {
        sf_top_masses_within(a, mass, size, p->exact, others, p->density, &heavy, &counted);
    } else {
        counted = sf_top_mass(a, mass, p->mass, 1, clusters);
        heavy = sf_top_mass(a, mass, p->exact * p->mass, 0, clusters);
    }
    sf_tensor chosen = sf_copy(a, mass), bias = sf_copy(a, sizes(s, true));
    sf_fill_except(a, chosen, heavy, -INFINITY);
    sf_fill_except(a, bias, counted, -1e9); /* weighs nothing */
    sf_fill_at(a, bias, heavy, -1e9);
    sf_pages(a, out, 1, sf_top(a, sf_of_cluster(a, chosen, s->tensor[MEMBER]), a->keys));
    out->sum = (sf_summaries){.k = centroid, .v = value, .bias = bias};
    return a->status;
}

/* The clusters; of a step, their centroids. */
static sf_estimate estimate(const sf_extent *e, const void *params)
{
    const sf_kmeans_how how = how_of(params, sf_toll_prompt(e));
    const int clusters = sf_clusters(&how);
    sf_toll t;
    sf_toll_open(&t, e);
    if (clusters == 0) return sf_toll_paid(&t, 0);
    if (e->phase == SF_PREFILL) {
        sf_meter_kmeans(&t.backend, &t.a, &how);
        return sf_toll_paid(&t, 1);
    }
    t.a.keys = clusters;
    sf_meter_key_probabilities(&t.backend, &t.a);
    return sf_toll_paid(&t, 1);
}

const sf_method sf_double_p = {
    .abi = SF_METHOD_ABI,
    .name = "double_p",
    .summary = "clusters that hold a share of the probability: the heavy ones' keys, the others' centroids",
    .paper = "Double-P 2026, arXiv 2602.05191",
    .form = SF_FORM_SAMPLED,
    .version = 1, /* 0: choosing cost the centroids alone */
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = sf_density_fit,
    .estimate = estimate,
    .state = state,
    .observe = observe,
    .decode = decode,
    .across = SF_OVER_HEADS,
};
