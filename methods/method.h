/* The contract of a sparse-attention method, and the vocabulary to write one in.
 *
 * A method is a `const sf_method`: its name, its parameters as data, and hooks. A hook that is NULL is not offered. It
 * is written once, as a composition of the functions below, and so runs on every backend. To add one: write
 * methods/NAME.c and add a line to methods/registry.c; or build the same file as a shared object that exports
 * `const sf_method *sf_plugin(void)`, and name it under `plugins:` in the config. README.md walks through both.
 *
 * When hooks are called, for each sample:
 *
 *   estimate   for the cost models only, never in a run: what choosing costs
 *   fit        once, when the config asks for a target sparsity: set the budget parameters, and no others, for this
 *              sample, inside their ranges (what does not fit a short prompt is cut in the hook)
 *   carry      once, before the first layer: say what goes along from layer to layer
 *   prefill    once a layer, all prompt queries and keys present: choose which pairs the prefill computes
 *   state      once a layer, after that layer's prefill: say how much state the method keeps
 *   compress   then: choose which prompt keys stay in the cache (sf_dense: all)
 *   settle     once, after the last layer: choose for all layers, by what compress has left in their states
 *   observe    after the prompt's keys are cached (first = 0), with the prompt's queries, and after each generated token's
 *              key (first = its index), with that token's query: at every step, whatever decode then reads
 *              (of a cache that compress cut, the first observation sees keys without queries)
 *              (with settle: after it, layer by layer)
 *   decode     once a layer and generated token: choose what this query reads
 *
 * What is carried, a->carry, is zeroed before the prompt's first layer. A prefill has one of its own; a lane's is seen by
 * compress, observe and decode, and goes on from the last layer of a step to the first of the next.
 *
 * Methods are called on layers with full attention only; sliding-window layers stay as the model has them. */
#ifndef SF_METHOD_H
#define SF_METHOD_H

#include <stddef.h> /* offsetof, for parameter tables */

#include "base/param.h"
#include "kernels/attention.h"

enum { SF_METHOD_ABI = 13, SF_STATE_TENSORS = 4 };

/* What fit() and estimate() know. */
typedef struct sf_extent {
    sf_phase phase;
    int tokens;                    /* of the prompt; estimate(), decode: in the cache as it would be without evictions, the step's own among them */
    int output;                    /* largest number of generated tokens */
    int heads, kv_heads, head_dim, layers;
    int width;                     /* numbers of a row of the layers' input */

    /* Of estimate() alone. */
    bool watching;     /* prefill: what compress, settle and the first observe cost behind it, where `false` asks for prefill's own cost */
    int step;          /* decode: that of the generated token of this number, which is among `tokens`; 0: of any, and what is done once in so many
                          steps counts by its share */
    sf_dtype element;  /* decode: of the cache, in whose size elements are counted */
} sf_extent;

/* What choosing costs by formula, for one sequence at one layer, on average over layers: FLOPs in prefill; for a generated token in decode
 * elements read by observe and decode, of weights, of keys, and of what is kept to stand for them: scores and queries are made, not read.
 * `frontier check` holds `exact` against the meter. Norms, rotation and activations of a method's own are no FLOPs here, as those of
 * the model are none (harness/model/cost.h). */
typedef struct sf_estimate {
    double paper; /* as the study prints it (2504.17768, appendix on costs); `exact` where it prints nothing */
    double exact; /* as the meter counts the primitives that the hooks call: under estimation, flops; weight_bytes and cache_bytes */
} sf_estimate;

/* How far a choice looks beyond one head. Where a model is split over ranks, each holding some heads, what looks no further
 * needs nothing; the others' functions of the vocabulary (sf_top_total(), sf_all_heads()) then look at all ranks' heads. */
typedef enum sf_across {
    SF_EACH_HEAD,     /* each query head, or each group of one kv head, for itself */
    SF_OVER_HEADS,    /* rows for each head, chosen over all of the layer's together: one budget for all */
    SF_ONE_FOR_ALL    /* one row for all heads of the layer: tensors of one row are of all of them */
} sf_across;

/* What a method is of: methods of one form are compared with each other first. */
typedef enum sf_form {
    SF_FORM_OTHER,    /* nothing below */
    SF_FORM_FIXED,    /* looks at nothing to choose */
    SF_FORM_BLOCKS,   /* prefill: blocks of keys for blocks of queries, or for queries */
    SF_FORM_COLUMNS,  /* prefill: columns and diagonals, for all rows of a head */
    SF_FORM_PAGES,    /* decode: pages, or single keys, of a cache that is kept */
    SF_FORM_SAMPLED,  /* decode: drawn, and weighted for it; or by mass */
    SF_FORM_EVICTING, /* keys that are gone */
    SF_FORM_ORACLE,   /* bounds of what choosing is worth */
    SF_FORMS
} sf_form;

/* Their names, "" for the first. */
extern const char *const sf_form_names[SF_FORMS];

/* A trained weight that a method owns at each layer with full attention: a tensor of the safetensors file that its parameter `weights`
 * names (SF_STRING, `file`: what it holds is part of the cells' keys). Sizes are numbers, the model's, or the method's own:
 * SF_SIDE_PARAMS, the product of its parameters (SF_INT) that `by` names. */
enum { SF_SIDE_HEADS = -1, SF_SIDE_KV_HEADS = -2, SF_SIDE_HEAD_DIM = -3, SF_SIDE_WIDTH = -4, SF_SIDE_PARAMS = -5, SF_SIDE_SIZES = 8 };
#define SF_SIDE_TIMES(n, size) ((size) - SF_SIDE_SIZES * ((n) - 1)) /* n times a size of the model */
typedef struct sf_side_weight {
    const char *name; /* of the tensor; "%d" in it is the layer's number */
    int dim[4];       /* its shape: sizes as above; ended by 0 where there are fewer */
    const char *by[2]; /* names of parameters; NULL where there are fewer */
} sf_side_weight;

/* The row of that parameter, `field` of the parameter struct. */
#define SF_SIDE_FILE(params, field, of) \
    {.name = "weights", .type = SF_STRING, .offset = offsetof(params, field), .file = true, .doc = "safetensors file of " of}

/* State of one lane at one layer. The core allocates (zeroed), frees, and never shares it between samples. */
typedef struct sf_state {
    sf_tensor tensor[SF_STATE_TENSORS]; /* backend memory; state() fills dtype, rank and dim, the core fills data */
} sf_state;

typedef struct sf_method {
    unsigned abi;            /* SF_METHOD_ABI */
    const char *name;        /* [a-z0-9_]+ */
    const char *summary;     /* one line */
    const char *paper;       /* authors, year, title, arXiv number; NULL for a baseline */
    int version;             /* raise when what it chooses changes: part of every cell's key */
    const sf_param *params;  /* static, at most 64 rows, ended by the row {0}; NULL: none */
    size_t params_size;      /* bytes of the parameter struct */

    const sf_side_weight *weights; /* ended by the row {0}; NULL: it has none. Missing or of another shape: nothing is run */

    sf_status (*fit)(const sf_extent *extent, double sparsity, void *params);
    sf_estimate (*estimate)(const sf_extent *extent, const void *params); /* NULL: choosing costs nothing */
    sf_status (*carry)(const sf_attention *a, const void *params, int max_keys, sf_state *out);
    sf_status (*prefill)(sf_attention *a, const void *params, sf_pattern *out);
    sf_status (*compress)(sf_attention *a, const void *params, sf_state *state, sf_pattern *out);
    /* Instead of what compress chooses, which then is sf_dense(). a, state, out [layers]: those with full attention, the prompt's
     * keys without its queries. */
    sf_status (*settle)(int layers, sf_attention *a, const void *params, const sf_state *state, sf_pattern *out);
    sf_status (*state)(const sf_attention *a, const void *params, int max_keys, sf_state *out);
    sf_status (*observe)(sf_attention *a, const void *params, sf_state *state, int first);
    sf_status (*decode)(sf_attention *a, const void *params, sf_state *state, sf_pattern *out);

    bool steers_backwards;   /* prefill: later tokens may steer the selection of earlier rows (a probe of the last queries) */
    bool data_dependent;     /* what choosing costs depends on the sample, so that estimate() is right on average only */
    bool evicts;             /* decode: what a step does not read is gone; no later step reads it, memory is what lives */
    bool over_layers;        /* a target sparsity is met by all layers together, not by each */
    bool never_dense;        /* by nature: full budget is not dense attention */
    bool leaves_sinks;       /* by nature: first keys may go unread */
    bool leaves_own;         /* by nature: a query's own key may go unread */
    bool oracle;             /* looks at all of the attention to choose: a bound for others, no method */
    sf_across across;        /* how far a choice looks beyond one head */
    bool structure;          /* looks at where lines, sentences and chapters of the prompt begin: a->begins */
    bool hidden;             /* looks at what the layer's queries are made of: a->hidden */
    bool packs;              /* decode: settle, observe and decode read keys by sf_page_bounds() alone, or none, so that the prompt's may be packed
                                (cache: int8). Who has none of these hooks needs not say so */
    bool random;             /* looks at nothing to choose: what choosing is worth */
    sf_form form;

    /* Calibration, offline, once for a model (`frontier calibrate`): what makes the table that a parameter names, a row of
     * numbers for each layer. columns: how many numbers a layer's sums have. calibrate: adds to them what one prompt says, all
     * queries and keys present; q and k are those of dense attention. conclude: makes a row of the sums, in place, and says how
     * many numbers it has, at most `columns`, -1 after a failure; NULL: the sums are the row. */
    int64_t (*columns)(const sf_attention *a, const void *params);
    sf_status (*calibrate)(sf_attention *a, const void *params, double *sum);
    int64_t (*conclude)(const sf_attention *a, const void *params, double *row);
} sf_method;

/* Whether what the method does behind the prefill needs no keys but by sf_page_bounds(). NULL: dense. */
static inline bool sf_method_packs(const sf_method *m) { return !m || m->packs || (!m->settle && !m->observe && !m->decode); }

/* ---- What a hook must deliver -----------------------------------------------------------------------------------
 * prefill, compress and decode make one pattern (kernels/pattern.h) with a pattern maker below and return what that
 * returns; a failure is `return sf_fail(…)` with the reason. The core checks each pattern; what breaks a rule fails, by
 * method, hook and layer.
 *
 *   keys    every query sees at least one key at or before it: add the query's own block; compress: each kv head keeps one
 *   lists   ascending, without repeats, in range; row r holds count[r] entries from index[r * stride] on
 *   rows    blocks: head * query_blocks + query block. columns, diagonals: head. pages, keys to keep: kv head.
 *           Heads are all query heads, or the kv heads (one selection for the group)
 *   memory  sf_host_lists() copies: free your own arrays. What the vocabulary returns is freed after the hook
 *   draws   from (seed parameter, a->layer, head, row) alone, head a->first_head + h or a->first_kv_head + g, as sf_drawn_blocks() and
 *           sf_draws() do: no rand(), no statics; then neither thread count nor order nor other samples change a result
 *
 * The first block and the own one, as an example:
 *
 *     int blocks = (a->keys + 63) / 64, rows = a->heads * blocks;
 *     int32_t *count = malloc(rows * sizeof *count), *index = malloc(rows * 2 * sizeof *index);
 *     if (!count || !index) a->status = sf_fail(SF_NO_MEMORY, "%d lists of blocks", rows);
 *     for (int r = 0; r < rows && !a->status; r++) {
 *         int own = r % blocks;
 *         index[2 * r] = 0, index[2 * r + 1] = own;
 *         count[r] = own > 0 ? 2 : 1;
 *     }
 *     sf_lists lists = sf_host_lists(a, rows, 2, count, index);
 *     free(count), free(index);
 *     return sf_blocks(a, out, a->heads, 64, 64, lists); */

/* ---- The vocabulary ---------------------------------------------------------------------------------------------
 * Each function works on the attention at hand, allocates what it returns from scratch (released by the core after the
 * hook), and does nothing once a->status holds a failure; so a hook is written straight down and ends with
 * `return a->status` or with one of the pattern makers, which return it. */

/* Probe softmax of the last `window` queries: column [H, N], diagonal [H, N] (offsets 0 … N-1). Either may be NULL. */
void sf_probe(sf_attention *a, int window, sf_reduce reduce, sf_tensor *column, sf_tensor *diagonal);

/* Its columns [H, N], of every `step`-th query, the last one among them; of every query, over the `near` latest keys alone. */
sf_tensor sf_probe_every(sf_attention *a, int step, sf_reduce reduce);
sf_tensor sf_probe_near(sf_attention *a, int near, sf_reduce reduce);

sf_tensor sf_group(sf_attention *a, sf_tensor x, sf_reduce reduce);               /* [H, n] -> [G, n] */
sf_tensor sf_pool(sf_attention *a, sf_tensor x, int kernel, sf_reduce reduce);    /* [rows, n] -> [rows, n] */
void sf_force(sf_attention *a, sf_tensor x, int64_t begin, int64_t end);          /* always chosen: +INFINITY */
void sf_exclude(sf_attention *a, sf_tensor x, int64_t begin, int64_t end);        /* never chosen: -INFINITY */
void sf_force_at(sf_attention *a, sf_tensor x, sf_lists at);
void sf_fill_at(sf_attention *a, sf_tensor x, sf_lists at, double value);
static inline sf_tensor sf_row(sf_tensor x, int64_t r)                            /* of [rows, n] f32, as [1, n] */
{
    return (sf_tensor){(float *)x.data + r * x.dim[1], SF_F32, 2, {1, x.dim[1]}};
}
sf_lists sf_top(sf_attention *a, sf_tensor x, int64_t k);                         /* per row */
sf_lists sf_top_total(sf_attention *a, sf_tensor x, int64_t total);               /* over all rows */
sf_lists sf_top_mass(sf_attention *a, sf_tensor x, double mass, int64_t least, int64_t most);
sf_lists sf_top_counts(sf_attention *a, sf_tensor x, const int32_t *k);           /* k [rows] host: each row its own */

/* As many of row r as count[r], which other lists have, gives by sf_budgets of kernels/attention.h; count, mark [rows] backend memory,
 * mark NULL: none. What comes to the host is the largest budget. */
sf_lists sf_top_budgets(sf_attention *a, sf_tensor x, const int32_t *count, const sf_budgets *how, const int32_t *mark);

/* How many rows are less than `below` apart as distributions: the square root of their Jensen-Shannon divergence, in nats. Rows of x
 * sum to one, those of y are scaled to; both [rows, n]. alike [rows], backend memory: 1 for such a row, else 0. */
int sf_rows_alike(sf_attention *a, sf_tensor x, sf_tensor y, double below, int32_t **alike);

sf_tensor sf_block_sums(sf_attention *a, sf_tensor x, int block);                 /* [rows, n] -> [rows, ceil(n/block)] */
sf_tensor sf_block_means(sf_attention *a, bool of_keys, int block);
sf_lists sf_top_blocks(sf_attention *a, sf_tensor q_mean, int block_q, sf_tensor k_mean, int block_k, int heads, int k,
                       int sinks, int local);
sf_tensor sf_block_probabilities(sf_attention *a, sf_tensor q_mean, int block_q, sf_tensor k_mean, int block_k);
/* The same of the last `window` queries, as one block: [H, ceil(keys/block_k)]. */
sf_tensor sf_last_block_probabilities(sf_attention *a, int window, sf_tensor k_mean, int block_k);
sf_lists sf_top_block_mass(sf_attention *a, int block, int heads, int k);         /* exact and quadratic: for oracles */

void sf_page_bounds(sf_attention *a, int page, int first, sf_tensor low, sf_tensor high);
sf_tensor sf_page_scores(sf_attention *a, int page, sf_tensor low, sf_tensor high); /* [G, pages] */
sf_tensor sf_key_probabilities(sf_attention *a);                                  /* [H, N], decode only */
sf_tensor sf_listed_probabilities(sf_attention *a, sf_lists at);                  /* the same over these keys, else 0 */
sf_tensor sf_all_heads(sf_attention *a, sf_tensor x, sf_reduce reduce);           /* [H, n] -> [1, n] */
sf_tensor sf_key_norms(sf_attention *a, bool of_values);                          /* [G, N] */
sf_tensor sf_key_cosines(sf_attention *a);                                        /* [G, N] to the mean direction */
sf_tensor sf_expected_probabilities(sf_attention *a, int skip, int ahead);        /* [H, N] */

/* Components (decode): of the query [H, R] in a basis [G, D, R], or ({0}) the dimensions themselves, R = D; of the keys [first,
 * N) into a state tensor [G, R, max_keys] of the activation dtype; scores [H, N] by the components that lists [G] name (NULL:
 * all). Bounds of pages [G, pages, D] likewise, [H, pages]. kernels/backend.h says what `tempered` is. */
sf_tensor sf_query_components(sf_attention *a, sf_tensor basis);
void sf_key_components(sf_attention *a, sf_tensor basis, int first, sf_tensor to);
sf_tensor sf_component_scores(sf_attention *a, sf_tensor q, sf_tensor k, const sf_lists *at, bool tempered);
sf_tensor sf_page_component_scores(sf_attention *a, int page, sf_tensor low, sf_tensor high, sf_lists at, bool tempered);

sf_tensor sf_antidiagonals(sf_attention *a, int block, int stride);               /* [H, query blocks, key blocks] */

/* Of all heads of the layer together, and counted once (SF_ONE_FOR_ALL): means over heads of block means, [blocks, D]; inner products
 * of rows, [m, k] and [n, k] -> [m, n]; a step of a walk over blocks, walk, score [n, n], as backend.h says; the k blocks that each
 * has walked to most, the first and the own one among them. */
sf_tensor sf_block_means_of_all(sf_attention *a, bool of_keys, int block);
sf_tensor sf_inner_products(sf_attention *a, sf_tensor x, sf_tensor w);
void sf_walk(sf_attention *a, sf_tensor walk, sf_tensor score, int power);
sf_lists sf_top_walked(sf_attention *a, sf_tensor walk, int64_t k);
void sf_value_means(sf_attention *a, int first, sf_tensor sum, sf_tensor mean);   /* [G, 1, D] states: f32, activation */
void sf_representatives(sf_attention *a, int page, int most, sf_tensor score, int first, int end, sf_tensor mean);

void sf_magnitudes(sf_attention *a, sf_tensor x);                                 /* |x|, in place */
void sf_softmax(sf_attention *a, sf_tensor x);                                    /* of each row, in place */
sf_tensor sf_sums_at(sf_attention *a, sf_tensor x, sf_lists at);                  /* [2, rows]: at the lists, and 1 less that */

/* In place. sf_add: to = keep * to + x over the first columns of `to`, where -INFINITY stays; sf_multiply: to *= x. */
void sf_add(sf_attention *a, sf_tensor to, double keep, sf_tensor x);
void sf_scale(sf_attention *a, sf_tensor x, double by);
void sf_multiply(sf_attention *a, sf_tensor to, sf_tensor x);
void sf_fill(sf_attention *a, sf_tensor x, int64_t begin, int64_t end, double value);

/* Eviction while decoding: a state tensor of scores, [1 or G, max_keys], in which -INFINITY means gone or not there yet.
 *
 *   sf_living_open    the prompt's keys live, with a score of 0
 *   sf_living_born    the newest key too
 *   sf_living         lists of all that live: what the query may read (pages of 1)
 *   sf_living_keep    all but the listed are gone
 *   sf_living_most    how many may live: a share of all tokens so far if that is set, else so many */
void sf_living_open(sf_attention *a, sf_tensor score);
void sf_living_born(sf_attention *a, sf_tensor score);
sf_lists sf_living(sf_attention *a, sf_tensor score);
void sf_living_keep(sf_attention *a, sf_tensor score, sf_lists kept);

/* The budget of such a method, the first member of its parameters; its rows of the table; and what fit() does: a target sparsity
 * is of the prompt's keys, or, where it `grows`, of all tokens so far. spare: keys that live beside those that are kept. */
typedef struct sf_living_budget {
    int capacity, every;
    double share;
    bool grows;
} sf_living_budget;

#define SF_LIVING_PARAMS(steps)                                                                                        \
    {.name = "capacity", .type = SF_INT, .offset = offsetof(sf_living_budget, capacity), .budget = true, .low = 1,     \
     .high = 1 << 24, .initial = 1024, .doc = "keys that live; a step's own one on top"},                              \
    {.name = "share", .type = SF_REAL, .offset = offsetof(sf_living_budget, share), .budget = true, .high = 1,         \
     .doc = "instead: share of all tokens so far that lives; 0: as `capacity` says"},                                  \
    {.name = "every", .type = SF_INT, .offset = offsetof(sf_living_budget, every), .low = 1, .high = 1 << 20,          \
     .initial = steps, .doc = "steps between evictions"},                                                                  \
    {.name = "grows", .type = SF_BOOL, .offset = offsetof(sf_living_budget, grows),                                    \
     .doc = "a target sparsity is of all tokens so far, not of the prompt"}

int sf_living_most(const sf_attention *a, const sf_living_budget *budget);
void sf_fit_living(const sf_extent *extent, double sparsity, int spare, sf_living_budget *budget);

/* Hooks of such a method. decode: what lives by its first state tensor. fit: the step's own key comes on top. */
sf_status sf_living_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out);
sf_status sf_living_fit(const sf_extent *extent, double sparsity, void *params);

/* ---- sampling (kernels/backend.h says what each op computes): rows are query heads, x [H, N] as drawn, with forced keys.
 *
 *   sf_draws         a number in (0, 1) for each key, or weight / number, of (seed, layer, position, `which`) and the head alone
 *   sf_promised      a relative error of what is verified (of an output: by its numerator and its denominator, error / (2 + error) and
 *                    half of the failures each) that all but a share `failures` of normally distributed estimates keep
 *   sf_sample_sizes  counts on the device, for sf_top_sized(): how many keys keep the promise; density > 0: of the smallest error
 *                    whose keys, of all heads together, are within it
 *   sf_sample_bias   what each listed key stands for */
sf_tensor sf_draws(sf_attention *a, int seed, int which, const sf_tensor *weight);
sf_promise sf_promised(double error, double failures, sf_verified verified);
int32_t *sf_sample_sizes(sf_attention *a, sf_tensor x, sf_lists at, sf_promise promise, double density);
sf_lists sf_top_sized(sf_attention *a, sf_tensor x, const int32_t *count);
sf_tensor sf_sample_bias(sf_attention *a, sf_tensor x, const sf_tensor *weight, sf_lists at);

/* Hashing, as backend.h says: projections [n, D] of a seed, which layers may share; keys' codes and centre; what a query meets. */
void sf_normals(sf_attention *a, int seed, int which, sf_tensor plane);
void sf_hash_keys(sf_attention *a, const sf_hash *hash, sf_tensor plane, sf_tensor centre, sf_tensor code);
sf_tensor sf_hash_matches(sf_attention *a, const sf_hash *hash, sf_tensor plane, sf_tensor centre, sf_tensor code); /* [H, N] */
sf_tensor sf_pick_at(sf_attention *a, sf_tensor x, sf_lists at); /* x where the lists point, [rows, stride] */

/* Clusters, as backend.h says of kmeans(): centroid and value [G, C, D] of a->kv.dtype, member [G, max_keys] i32, size and log_size [H, C];
 * softmax of the query over centroids alone, each times `size`; each key's cluster's number of y [H, C], +INFINITY without one. */
void sf_kmeans(sf_attention *a, const sf_kmeans_how *how, sf_tensor member, sf_tensor centroid, sf_tensor value, sf_tensor size, sf_tensor log_size);
sf_tensor sf_cluster_masses(sf_attention *a, sf_tensor centroid, sf_tensor value, sf_tensor size); /* [H, C] */
sf_tensor sf_of_cluster(sf_attention *a, sf_tensor y, sf_tensor member);                           /* [H, N] */
void sf_fill_except(sf_attention *a, sf_tensor x, sf_lists at, double value);

/* Keys in 4 bits: two tensors of state, shaped by sf_packed_state(); what they give a query over listed keys (NULL: all). */
void sf_packed_state(const sf_attention *a, int max_keys, sf_tensor *code, sf_tensor *range);
void sf_pack_keys(sf_attention *a, int first, sf_tensor code, sf_tensor range);
sf_tensor sf_packed_probabilities(sf_attention *a, sf_tensor code, sf_tensor range, const sf_lists *at); /* [H, N], else -INFINITY */

/* Keys of the `pages` best pages and of the last one. score [rows, pages there are] is overwritten. */
sf_lists sf_keys_of_pages(sf_attention *a, sf_tensor score, int page, int64_t pages);

/* Block lists [heads * n] of what block columns, block diagonals (offset >= 0) and pairs of blocks (query block * n +
 * key block) name, future ones left out. pairs.count NULL: none. */
sf_lists sf_block_union(sf_attention *a, int n, sf_lists columns, sf_lists diagonals, sf_lists pairs);

sf_tensor sf_copy(sf_attention *a, sf_tensor x);                                  /* f32 */
sf_tensor sf_room(sf_attention *a, int64_t rows, int64_t n);                      /* f32, not filled */

/* To the host, for decisions that a method takes itself: small things only, each call waits for the device. */
void sf_read(sf_attention *a, sf_tensor x, float *host);

/* A trained weight of the layer, by its name in `weights`: backend memory, which lasts; of a->kv.dtype where it multiplies rows of the layer's
 * input (two sizes, SF_SIDE_WIDTH the second), else f32. Not in state(), carry() and calibrate(). */
sf_tensor sf_weight(sf_attention *a, const char *name);

/* Of methods with `hidden`, whose queries' input is a->hidden [T, width]; weights are sf_weight()'s.
 *
 *   sf_hidden_products   x · wᵀ of each row, w [n, width]: [T, n]. The meter counts w as weights that are read
 *   sf_hidden_gates             gate[i] [T, H], for i < n: the sigmoid of x · w[h · n + i], w [n · H, width]
 *   sf_layer_norm        of each row of x [rows, n]; weight, bias [n]
 *   sf_turn              rows of x [rows, heads · dim], the first at position `first`, are turned in place as the model's keys are: of each
 *                        head the first numbers, in halves, as many as the model turns of its own and dim has
 *   sf_put_rows          rows of x [rows, n] to rows from `first` on of a state [.., n] */
sf_tensor sf_hidden_products(sf_attention *a, sf_tensor w);
void sf_hidden_gates(sf_attention *a, sf_tensor w, int n, sf_tensor *gate);
sf_tensor sf_layer_norm(sf_attention *a, sf_tensor x, sf_tensor weight, sf_tensor bias, double eps);
void sf_turn(sf_attention *a, sf_tensor x, int dim, int first);
void sf_put_rows(sf_attention *a, sf_tensor to, int first, sf_tensor x);

/* Blocks of keys and what stands for them: k, v [G, m, D] f32, of which sf_block_summaries() writes the means of keys and of values of the
 * blocks that are whole, and were not before key `first`. sf_first_of_each: the first n of each head, [G, n, D]. sf_as_activations: the same
 * numbers of the activation dtype, as patterns have summaries.
 *
 * sf_top_summarised: for each kv head and row, lists [G · T] of at most `count` blocks: the first, the row's own and the one before it;
 * then the likeliest by softmax of the row's query over the summaries k [G, keys / block, D] of the blocks whose last key it sees,
 * mean over the group. Ties go to the lowest. */
void sf_block_summaries(sf_attention *a, int block, int first, sf_tensor k, sf_tensor v);
sf_tensor sf_first_of_each(sf_attention *a, sf_tensor x, int64_t n);
sf_tensor sf_as_activations(sf_attention *a, sf_tensor x);
sf_lists sf_top_summarised(sf_attention *a, sf_tensor k, int block, int count);

/* For each row, one list for all heads, of the `count` keys that it sees with the largest index_scores() (kernels/backend.h): of queries that are
 * sf_hidden_products() with wq [heads · dim, width], turned, and weights by ww [heads, width]; k [N or more, dim] f32. Queries of a few
 * rows at a time. */
sf_lists sf_top_indexed(sf_attention *a, sf_tensor wq, sf_tensor ww, sf_tensor k, int count);

void sf_read_lists(sf_attention *a, sf_lists x, int32_t *count, int32_t *index);  /* index may be NULL */

/* Lists a method made on the host: count [rows], index [rows, stride], copied to the backend. For selections that need
 * no scores (random, fixed). */
sf_lists sf_host_lists(sf_attention *a, int64_t rows, int64_t stride, const int32_t *count, const int32_t *index);

/* `rows` lists of the numbers begin, begin + step, … below end. */
/* Blocks drawn evenly for heads first … first + heads - 1 of the layer, how->each lists a head of at most `longest` blocks, by sf_drawn of
 * kernels/attention.h; its stream is of (seed, layer). until, whole 0: no limit, none. */
sf_lists sf_drawn_blocks(sf_attention *a, const sf_drawn *how, int seed, int first, int heads, int64_t longest);

sf_lists sf_own(sf_attention *a, int64_t rows);                                   /* row r: r */
void sf_clear(sf_attention *a, sf_lists x, int64_t begin, int64_t end);           /* rows [begin, end) name nothing */
void sf_write(sf_attention *a, sf_tensor to, const float *host);                  /* f32, from the host */

/* Summaries of the prompt's whole segments (segment_summaries() in kernels/backend.h), seen by what comes after each. Only where
 * all keys have their queries. */
sf_summaries sf_segment_summaries(sf_attention *a, int segment, double bias);

/* ---- Calibration: what it adds up, and how its tables are read -----------------------------------------------------
 * sf_table_row: row `row` of n numbers of the table at `path`. Errors: no such file, fewer rows, another count.
 * sf_table_choices: the same of whole numbers from 0 below `choices`; others are an error.
 * sf_key_moments: sum [G, D, D] += Σ k kᵀ. sf_channel_sizes: sum [G, D] += mean |q_d| (of the group) · mean |k_d|.
 * sf_recalled: sum[h · step] += the share of head h's attention that a pattern holds, mean over rows of the prompt.
 * sf_principal_axes: a symmetric m [n, n] becomes its eigenvectors, columns by falling eigenvalue. */
sf_status sf_table_row(const char *path, int row, int64_t n, double *out);
sf_status sf_table_choices(const char *path, int row, int64_t n, int choices, int *out);
sf_status sf_key_moments(sf_attention *a, double *sum);
sf_status sf_channel_sizes(sf_attention *a, double *sum);
sf_status sf_recalled(sf_attention *a, const sf_pattern *pattern, double *sum, int step);
sf_status sf_principal_axes(int n, double *m);

sf_lists sf_every(sf_attention *a, int64_t rows, int64_t begin, int64_t end, int64_t step);

/* Pattern makers. */
sf_status sf_dense(sf_attention *a, sf_pattern *out);
sf_status sf_blocks(sf_attention *a, sf_pattern *out, int heads, int block_q, int block_k, sf_lists blocks);
sf_status sf_columns_and_diagonals(sf_attention *a, sf_pattern *out, sf_lists columns, sf_lists diagonals);
/* The same in the tiles of MInference's kernel, which melt into ranges of whole tiles (merge_tiles() in kernels/backend.h): what a
 * diagonal computes moves with the ones before it, so that executors get the keys of each tile, as blocks of 64 queries and one key. Exact,
 * and slower than the own tiles. */
sf_status sf_columns_and_diagonals_merged(sf_attention *a, sf_pattern *out, sf_lists columns, sf_lists diagonals);
sf_status sf_window(sf_attention *a, sf_pattern *out, int sinks, int local);

/* band: [heads, SF_BANDS_A_HEAD] host memory, copied; heads 1, G or H. columns and rows as in pattern.h, or {0}. */
sf_status sf_bands(sf_attention *a, sf_pattern *out, int heads, const sf_band *band, sf_lists columns, sf_lists rows);

/* Parts of one softmax, or, gated, a sum of results. They are copied into a->part. */
sf_status sf_parts(sf_attention *a, sf_pattern *out, bool gated, int parts, const sf_pattern *part);
sf_status sf_pages(sf_attention *a, sf_pattern *out, int page, sf_lists pages); /* 1, G or H lists */
sf_status sf_keep(sf_attention *a, sf_pattern *out, sf_lists tokens);

/* Keys (pages of 1), each with what is added to its logit: bias [rows, stride] of the lists. */
sf_status sf_weighted_keys(sf_attention *a, sf_pattern *out, sf_lists keys, sf_tensor bias);

/* ---- Budgets ------------------------------------------------------------------------------------------------
 * Density is executed pairs over causal pairs of the phase, for every method; sparsity is 1 - density. */

/* Causal pairs of one head: `queries` rows, the last of which sees `keys`. */
double sf_causal_pairs(int64_t queries, int64_t keys);

/* The most pairs of a layer, over all its heads, whose share of the causal ones is at most `density`. */
uint64_t sf_most_pairs(const sf_attention *a, double density);

/* Share of a layer's causal pairs that `pattern` computes. Not metered. */
double sf_density(sf_attention *a, const sf_pattern *pattern);

/* Prefill: how many key blocks each query block may read (its diagonal one included, blocks of `block` x `block`) to
 * come nearest to `sparsity`. Block 1: how many keys each query may read. */
int sf_fit_blocks(const sf_extent *extent, int block, double sparsity);

/* Decode: how many keys a query may read, (1 - sparsity) of the prompt, at least 1; at sparsity 0 enough for every key
 * that the generation can reach. */
int sf_fit_keys(const sf_extent *extent, double sparsity);

/* Fit hooks, for parameters that begin with what they set. sf_keys_fit: an int, to sf_fit_keys(). sf_density_fit: a double, to 1 - sparsity,
 * which the method then meets layer by layer (sf_choose_within()); never to 0, which says that other parameters decide. */
sf_status sf_keys_fit(const sf_extent *extent, double sparsity, void *params);
sf_status sf_density_fit(const sf_extent *extent, double sparsity, void *params);

/* The amount from `low` to `high` whose pairs come nearest to a sparsity; pairs() never falls with the amount, and says
 * how many one head reads of the whole prompt (prefill) or at a step just behind it (decode). At sparsity 0: high. */
typedef double (*sf_pairs_of)(const sf_extent *extent, const void *params, int amount);
int sf_fit_amount(const sf_extent *extent, double sparsity, int low, int high, sf_pairs_of pairs, const void *params);

/* pairs() made of what each row reads: row i of the prompt, or the step behind it. */
typedef double (*sf_keys_of)(const void *params, int amount, int row);
double sf_sum_rows(const sf_extent *extent, const void *params, int amount, sf_keys_of keys);

/* In the hook, for amounts that only the scores can tell: a choice by a dial, which gives no fewer pairs the higher it
 * stands, and every pair at 1. sf_choose_within() finds the highest dial whose density is at most `density`, 0 if none
 * is, by bisection; only the choice made at it is metered. */
typedef sf_status (*sf_dial)(sf_attention *a, const void *what, double dial, sf_pattern *out);
sf_status sf_choose_within(sf_attention *a, sf_pattern *out, double density, sf_dial choose, const void *what);

/* In a decode hook, for choices by mass: that search on the device, without a wait, over all heads of the layer together (`across`).
 * The mass m is the largest of 0, 2^-20, 2 · 2^-20, … below 1 that stays within `density` < 1; 0, if none does.
 *
 *   sf_top_mass_within    sf_top_mass(x, m, 1, n), each entry a pair
 *   sf_top_masses_within  all: the same, but without pairs; heavy: sf_top_mass(x, share · m, 0, n), each entry weight [rows, n] pairs
 *                         of each head that goes by the row, beside `others` of each head that are computed anyhow
 *   sf_keys_of_mass       the pattern of sf_top_mass(x, mass, 1, n), or, density > 0, of sf_top_mass_within(); at 1: dense */
sf_lists sf_top_mass_within(sf_attention *a, sf_tensor x, double density);
void sf_top_masses_within(sf_attention *a, sf_tensor x, sf_tensor weight, double share, int64_t others, double density, sf_lists *heavy,
                          sf_lists *all);
sf_status sf_keys_of_mass(sf_attention *a, sf_pattern *out, sf_tensor x, double mass, double density);

/* Columns and diagonals, k of each, the largest k (at least 1) that stays within `density`; forced ones count. One more
 * diagonal can be much, where a prompt is short; what is left then goes to further columns. */
sf_status sf_columns_and_diagonals_within(sf_attention *a, sf_pattern *out, sf_tensor column, sf_tensor diagonal,
                                          double density);

/* The same search where each row takes as many of its best forced scores as sf_top_mass(…, mass, *least, N) takes of
 * the others, sorted once for all its trials: the largest mass at *least; if there is none, mass 0 and the largest
 * *least below. False: not offered here, or everything is within; search by sf_choose_within(). */
bool sf_fit_masses(sf_attention *a, sf_tensor column, sf_tensor diagonal, sf_tensor column_forced,
                   sf_tensor diagonal_forced, double density, double *mass, int64_t *least);

/* FLOPs of a prompt at one layer, for estimate(): of sf_probe(); of sf_hidden_products() with a weight of n rows; of sf_block_summaries(),
 * keys and values; of sf_top_summarised(); of sf_top_indexed(). */
double sf_probe_flops(const sf_extent *extent, int window);
double sf_hidden_flops(const sf_extent *extent, int64_t n);
double sf_summaries_flops(const sf_extent *extent, int block);
double sf_top_summarised_flops(const sf_extent *extent, int block);
double sf_top_indexed_flops(const sf_extent *extent, int heads, int dim);

#endif
