/* The backend table: everything that Frontier computes on a device, behind one struct of function pointers.
 *
 * Three fillings: `reference` (loops one can check by eye, double accumulators), `cpu` (SIMD, OpenMP, BLAS) and `cuda`.
 * Nothing above this table knows which one runs; nothing below it knows methods, models or tasks.
 *
 * Rules for every op, which the randomised twin test (tests/test_backends.c) holds each filling to:
 *  - Batch-invariant: a row's result depends on that row alone, never on how many rows travel with it, on how a prompt
 *    is cut, or on the number of threads. Reductions have one fixed order.
 *  - Selections compare fp32 scores, ties go to the lowest index, NaN never wins; so they do not depend on the backend
 *    beyond rounding of the scores themselves.
 *  - Every op adds what it did to backend->meter (see meter.h) under backend->phase; but the attention executors only
 *    tally pairs per query head (sf_attention.pairs), which the core turns into FLOPs and bytes once a phase.
 *  - Pointers are backend memory unless said to be host memory. Outputs are written whole. No op keeps a pointer.
 *  - Ops are asynchronous where the device is; download(), count_pairs() and synchronize() wait. What only the device
 *    sees (a query row without keys, what check_pattern() finds in its memory) is an error of each of them until a
 *    download() has said it. */
#ifndef SF_BACKEND_H
#define SF_BACKEND_H

#include <stdbool.h>

#include "kernels/attention.h"
#include "kernels/cache.h"
#include "kernels/meter.h"

typedef enum sf_activation {
    SF_SILU, SF_GELU_TANH, SF_GELU, SF_RELU2, SF_XIELU, SF_CLAMPED,
    SF_SIGMOID, SF_IDENTITY, /* of gates on what a layer's mixer gives, which the host's fillings compute */
} sf_activation;

/* An activation and its numbers. XIELU (2411.13010): p[0] x² + p[2] x above 0, else p[1] (exp(min(x, p[3])) - 1 - x) + p[2] x.
 * CLAMPED (gpt-oss): g σ(p[0] g) with g = min(x, p[1]), times up clamped to ±p[1] plus one. */
typedef struct sf_curve {
    sf_activation kind;
    float p[4];
} sf_curve;

/* How a router chooses experts for a row, and what each counts there. */
typedef enum sf_routing {
    SF_ROUTE_SOFTMAX, /* its part of the softmax over all logits (Mixtral, Qwen) */
    SF_ROUTE_CHOSEN,  /* … over those of the chosen (gpt-oss) */
    SF_ROUTE_SIGMOID, /* the sigmoid of its logit (DeepSeek V3, GLM) */
} sf_routing;

enum { SF_MOST_EXPERTS = 1024, SF_MOST_GROUPS = 64 };

typedef struct sf_router {
    sf_routing kind;
    int experts, chosen;      /* E, K; at most SF_MOST_EXPERTS */
    bool normalize;           /* shares are divided by their sum */
    float scale;              /* on shares */
    int groups, best_groups;  /* E / groups neighbours are a group, worth its best `group_top` scores together; experts come */
    int group_top;            /* from the best groups alone. groups 0 or 1: from anywhere */
} sf_router;

/* The heads of a gated delta rule, or of a state space, whose groups are key heads. Value head h is written by key head h / (Hv / Hk), or
 * h mod Hk where they are `tiled`. */
typedef struct sf_delta_shape {
    int key_heads, key_dim, value_heads, value_dim; /* Hk, Dk, Hv, Dv */
    bool tiled;
    float least; /* of a state space: no step is less than this (Nemotron-H) */
} sf_delta_shape;

static inline int sf_delta_key_head(sf_delta_shape s, int head) { return s.tiled ? head % s.key_heads : head / (s.value_heads / s.key_heads); }

enum { SF_STRETCH_KEY = 28 };

typedef struct sf_backend_ops {
    const char *name;
    bool views; /* the prompt's part of a cache may be a view (sf_kv_part.index) */
    bool apart; /* memory of its own: where that is large, a prompt goes through linear layers in larger pieces, which fill the device */
    bool caps;  /* logits may have a cap (sf_attention.softcap) */
    bool lse;   /* the attention executors write sf_attention.lse, which sink() needs */
    bool latent; /* keys may be values too (sf_attention.rotated) */
    bool entmax; /* rows may be normalised by α-entmax (sf_attention.alpha) */

    /* ---- life and memory -------------------------------------------------------------------------------------- */
    int (*devices)(void); /* of this kind that the process can see; NULL: one */
    sf_status (*open)(sf_backend *b, int device, int threads); /* threads 0: as many as cores */
    void (*close)(sf_backend *b);
    sf_status (*alloc)(sf_backend *b, size_t bytes, void **out); /* 64-byte aligned at least, contents undefined */
    void (*free)(sf_backend *b, void *p);
    sf_status (*upload)(sf_backend *b, void *to, const void *host, size_t bytes);
    sf_status (*download)(sf_backend *b, void *host, const void *from, size_t bytes);
    sf_status (*copy)(sf_backend *b, void *to, const void *from, size_t bytes);
    sf_status (*zero)(sf_backend *b, void *p, size_t bytes);
    sf_status (*synchronize)(sf_backend *b);
    sf_status (*memory)(sf_backend *b, size_t *available, size_t *total); /* bytes */

    /* What is queued from lane(b, i) on, until the next call, neither reads nor overwrites what lanes of other numbers
     * queue, and may run beside it; lane(b, -1) ends this, after a failure too: what follows comes after all of it. A download
     * waits for what its own lane queued; what the device finds wrong is then said by the next wait outside of lanes, and what the
     * device alone can count is added by lane(b, -1): meters live till then. NULL: nothing runs beside. */
    sf_status (*lane)(sf_backend *b, int lane);

    /* What is queued between replay() and recorded() is the same each time for equal keys [SF_STRETCH_KEY]: the same ops of
     * the layers around attention, with the same arguments, memory included (not what lies in it). done: they are queued as
     * they were, and counted; the caller leaves them and recorded() out. Only outside of lanes. NULL: nothing is kept. */
    sf_status (*replay)(sf_backend *b, const uint64_t *key, bool *done);
    sf_status (*recorded)(sf_backend *b);

    /* Starts or stops a watch on what is queued in between, without waiting: the time is added to b->watched, at the
     * latest by the time that a waiting op returns. */
    sf_status (*watch)(sf_backend *b, bool start);

    /* ---- what is handed in -------------------------------------------------------------------------------------- */

    /* Makes a weight usable by linear(), embed() and rms_norm(). `host` points into a mapped file that outlives the
     * backend. CPU backends alias it, so that weights stay in their file's dtype; devices copy. */
    sf_status (*import_weight)(sf_backend *b, const sf_tensor *host, sf_tensor *out);
    void (*release_weight)(sf_backend *b, sf_tensor *weight);

    /* Fails, saying what is wrong, if an index of the pattern is out of range, not ascending, or repeated, a row of a
     * decode or TOKENS pattern is empty, a weight is not finite, or a pair is in two parts of one softmax (looked for on a
     * few rows). `who` names the method in the message. Nothing is copied to the host for it: a device looks at lists, bands, weights
     * and parts by itself, says what is wrong when it is waited for, and empties lists and bands that are, so that no op reads by them. */
    sf_status (*check_pattern)(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const char *who);

    /* ---- the layers around attention: SF_EACH_OP() from here on ------------------------------------------------- */

    /* out[t] = scale * table[token[t]]        table [vocab, d], token [T] i32, out [T, d] f32 */
    sf_status (*embed)(sf_backend *b, const sf_tensor *table, const int32_t *token, int64_t rows, float scale, float *out);

    /* out = x / sqrt(mean(x²) + eps) * (weight + offset), per row of `width`. x of dtype `from`, out in activation dtype.
     * weight [width] any plain dtype; offset 1 for Gemma's (1 + w). In place allowed where dtypes agree. */
    sf_status (*rms_norm)(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight,
                          float offset, float eps, void *out);

    /* out = (x - mean) / sqrt(variance + eps) * (weight + offset) + bias, likewise. bias [width] or absent. */
    sf_status (*layer_norm)(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight,
                            const sf_tensor *bias, float offset, float eps, void *out);

    /* out [n] activation = x [n] f32 */
    sf_status (*cast)(sf_backend *b, const float *x, int64_t n, void *out);

    /* y (+)= x · Wᵀ + bias        x [rows, in] activation, W [out, in], bias [out] or absent, y [rows, out] in `dtype`
     * (f32 or activation). add: accumulate into y. */
    sf_status (*linear)(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add,
                        void *y, sf_dtype dtype);

    /* Rotary embedding in place, of the first `rotary` (R) numbers of each head. x [rows, heads, D] activation; position [rows]
     * i32; cosine, sine [positions, R/2] f32. Pairs are (i, i + R/2), or (2i, 2i + 1) when interleaved (ggml's Llama layout). */
    sf_status (*rope)(sf_backend *b, void *x, int64_t rows, int heads, int head_dim, int rotary, const int32_t *position,
                      const float *cosine, const float *sine, bool interleaved);

    /* q[r, h] *= delta + softplus(beta[r, h]) · ln(position[r] + 2)^(range · tanh(gamma[r, h]))        q [rows, H, D] activation,
     * beta, gamma [rows, H] f32, position [rows] i32. ASEntmax (2506.16640, section 4), n counted as in the authors' code. 10 FLOPs a
     * row and head, D products. */
    sf_status (*scale_queries)(sf_backend *b, void *q, int64_t rows, int heads, int head_dim, const int32_t *position,
                               const float *beta, const float *gamma, float delta, float range);

    /* gate = curve(gate) * up        both [rows, width], activation dtype; up NULL: curve(gate) alone */
    sf_status (*gated)(sf_backend *b, void *gate, const void *up, int64_t rows, int width, sf_curve curve);

    /* y[r, i] = x[r, i] for i < n; rows of x lie `from` numbers apart, rows of y `to`; activation dtype */
    sf_status (*copy_columns)(sf_backend *b, const void *x, int64_t from, int64_t rows, int64_t n, void *y, int64_t to);

    /* x += scale · y        x [n] f32, y [n] activation */
    sf_status (*add)(sf_backend *b, float *x, const void *y, int64_t n, float scale);

    /* ---- mixture of experts: K of E matrices for each row ------------------------------------------------------- */

    /* The experts of each row, ascending, and their shares. logits [rows, E] f32; correction [E], added to the scores to
     * choose by, not to the shares, or absent; expert, share [rows, K]. Ties go to the lower expert. 5 FLOPs a logit. */
    sf_status (*route)(sf_backend *b, const float *logits, int64_t rows, const sf_router *router, const sf_tensor *correction,
                       int32_t *expert, float *share);

    /* y[r·K + i] = x · W[expert[r, i]]ᵀ + bias[expert[r, i]], x being row r, or row r·K + i where each has its `own`. w, bias
     * [E] of [out, in] and [out]; bias NULL: none. x and y [.., in], [rows · K, out] activation. Which weights are read depends
     * on the rows, so their bytes are not counted here but by the core, once a phase. */
    sf_status (*experts)(sf_backend *b, const void *x, bool own, int64_t rows, int experts, int chosen, const int32_t *expert,
                         const sf_tensor *w, const sf_tensor *bias, void *y);

    /* x[r] += Σ_i share[r, i] · y[r·K + i], in that order        x [rows, width] f32, y [rows · K, width] activation */
    sf_status (*combine)(sf_backend *b, float *x, const void *y, int64_t rows, int chosen, int width, const float *share);

    /* Appends: row r of lane l goes to key part[l]->n + r of every kv head. k, v [lanes * rows, G, D] activation.
     * v NULL: keys are values too. Does not change part[l]->n; the caller checks the capacity and counts. */
    sf_status (*store_kv)(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim,
                          const void *k, const void *v);

    /* Rounds those rows, part[l]->n and on, that store_kv() has just stored, of lanes whose part has a format, to it: each row of a kv head
     * by itself, on every filling to the bit the same but for the rounding to its dtype. What packs numbers packs them as it stores them
     * (cache.h), so that nothing is counted. */
    sf_status (*round_kv)(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim);

    /* Packs rows from->n and on of `from`, floats as store_kv() left them, not rounded yet, into the rows of the same numbers of `to`, which is packed
     * and has a format. to->n stays. Nothing is counted, as of round_kv(). */
    sf_status (*pack_kv)(sf_backend *b, const sf_kv_part *from, const sf_kv_part *to, int64_t rows, int kv_heads, int head_dim);

    /* Compacts: to[g, i] = from[g, keep.index[g, i]] for each kv head; to->n = the longest count, to->count is filled
     * (caller allocates k, v of capacity >= the longest count, and count [G]). Where the caller has set to->index instead
     * (`views`), with a stride >= the longest count, keys stay in `from`, which must outlive `to`; counted is the same. `to`
     * has `from`'s format, and is packed where `from` is: the caller sets both. */
    sf_status (*gather_kv)(sf_backend *b, const sf_kv_part *from, const sf_lists *keep, int head_dim, sf_kv_part *to);

    /* token[r] = index of the largest logits[r, 0..vocab), ties to the lowest; -1 where none of them is a number        logits
     * f32, token i32 */
    sf_status (*argmax)(sf_backend *b, const float *logits, int64_t rows, int64_t vocab, int32_t *token);

    /* ---- attention executors: of a packed cache decode() and page_bounds() read the prompt; what else reads keys refuses it ------ */

    /* out [T, H, D] activation. kv.tail is empty. A query row for which a pattern names no key is an error, unless it says
     * `empty`, or is a part of a gated one: then 0. */
    sf_status (*prefill)(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out);

    /* One query (queries == 1) for each of several sequences; out [lanes, H, D]. */
    sf_status (*decode)(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, void *out);

    /* As if each row's softmax had had one key more, of logit sink[h] and value 0: out[t, h] /= 1 + exp(sink[h] - lse[t, h]).
     * out [rows, H, D] activation; lse [rows, H] as the executors write it; sink [H]. 5 FLOPs a row and head, D products. */
    sf_status (*sink)(sf_backend *b, void *out, const float *lse, const sf_tensor *sink, int64_t rows, int heads, int head_dim);

    /* Pairs the pattern computes, summed over heads, to host memory. */
    sf_status (*count_pairs)(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, uint64_t *total);

    /* Attention-mass recall: covered[h] = mean over `rows` sampled query rows of the exact softmax mass that lies on the
     * pattern's keys. row [rows] i32 host memory (row numbers of q); covered [H] f32. Not metered: it is an observation,
     * not part of the method. TOKENS patterns: mass of the kept keys. */
    sf_status (*mass)(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows, const int32_t *row,
                      float *covered);

    /* ---- estimation primitives: what methods are made of (scores are f32) ----------------------------------------- */

    /* Softmax of w queries against all their causal keys, p [H, w, N], never stored whole: the last one, T - 1, and before it
     * every `step`-th, w = min(window, ceil(T / step)) of them:
     * column[h, j] = reduce over rows of p, diagonal[h, o] = sum of p where query - key = o. Either may be NULL; diagonals
     * only with step 1. Estimation FLOPs: H·w·min(N, the layer's window)·(2D + 5). MInference (2407.02490) algorithm 1; SnapKV
     * (2404.14469) section 4; SampleAttention (2406.15877) section 4. */
    sf_status (*probe)(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce,
                       float *column /* [H, N] */, float *diagonal /* [H, N] */);

    /* out[g] = reduce over the `group` rows g*group … of x        x [rows * group, n], out [rows, n] */
    sf_status (*reduce_rows)(sf_backend *b, const float *x, int64_t rows, int group, int64_t n, sf_reduce reduce, float *out);

    /* 1-D pooling along n, stride 1, zero-padded by kernel/2 on both sides (mean divides by `kernel` always, max ignores
     * the padding), as PyTorch's avg_pool1d and max_pool1d. x, out [rows, n]; odd kernel; not in place. */
    sf_status (*pool)(sf_backend *b, const float *x, int64_t rows, int64_t n, int kernel, sf_reduce reduce, float *out);

    /* x[r, begin .. end) = value, clipped to [0, n) */
    sf_status (*fill)(sf_backend *b, float *x, int64_t rows, int64_t n, int64_t begin, int64_t end, float value);

    /* x[r, list[r][i]] = value */
    sf_status (*fill_at)(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value);

    /* The min(k, n) largest of each row, as ascending lists; entries of -INFINITY and NaN are never chosen.
     * out: rows lists of stride >= min(k, n). */
    sf_status (*top)(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, sf_lists *out);

    /* The `total` largest over all rows together (ties: lowest row, then lowest index), as ascending lists per row.
     * out: stride >= min(total, n). Ada-KV (2407.11550) algorithm 1. */
    sf_status (*top_total)(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t total, sf_lists *out);

    /* Per row: sorted descending, the shortest prefix whose share of the row's finite sum reaches `mass`, at least
     * `least` and at most `most` entries (clipped to n), as ascending lists. +INFINITY entries come first and carry no
     * mass. FlexPrefill (2502.20766) algorithm 2. out: stride >= min(most, n). */
    sf_status (*top_mass)(sf_backend *b, const float *x, int64_t rows, int64_t n, float mass, int64_t least, int64_t most,
                          sf_lists *out);

    /* top_mass() of the largest mass that a budget allows, as counts for top_counts(): count[r] = how many of row r top_mass(…,
     * share · m, least, n) takes, whole[r] (NULL: nobody asks) how many top_mass(…, m, 1, n) does. m, the same for all rows, is the
     * largest of 0, 2^-20, 2 · 2^-20, … below 1 at which the entries that `count` takes weigh at most `most` together: 1 each, or
     * weight[r, i], rounded to a whole number (of a row below 2^31); 0, if it never is. No entry of x or weight is negative. Not
     * metered, as a search is no part of a method; nothing waits for it. */
    sf_status (*top_mass_within)(sf_backend *b, const float *x, int64_t rows, int64_t n, const float *weight, double share, int64_t least,
                                 int64_t most, int32_t *count, int32_t *whole);

    /* As top(), with a k of each row's own: the min(count[r], n) largest of row r. count [rows] i32 backend memory, each at
     * most `most`. out: stride >= min(most, n). */
    sf_status (*top_counts)(sf_backend *b, const float *x, int64_t rows, int64_t n, const int32_t *count, int64_t most,
                            sf_lists *out);

    /* Means of q or k over blocks of rows; the last block averages the rows it has (NaN: a compacted cache holds none).
     * of_keys: out [G, ceil(N/block), D], else out [H, ceil(T/block), D], f32. */
    sf_status (*block_means)(sf_backend *b, const sf_attention *a, bool of_keys, int block, float *out);

    /* Key blocks for each query block of block_q rows: the k largest of scale * <q mean, k mean> among the blocks that
     * are not wholly in the future; the first `sinks` blocks and the `local` latest (the diagonal one included) are
     * forced, k counts them (if k is too small for all, the first ones stay). heads == H: each query head its own;
     * heads == G: scores summed over the group. out: heads * query_blocks lists of stride >= k. Query block b may see
     * key blocks up to that of its last row. Estimation FLOPs: 2·D per block pair scored. MInference algorithm 2. */
    sf_status (*top_blocks)(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q, const float *k_mean,
                            int block_k, int heads, int k, int sinks, int local, sf_lists *out);

    /* The pooled attention map: p[h, i, j] = softmax over j of scale * <q_mean[h, i], k_mean[h / group, j]> among the key
     * blocks j that are not wholly in the future of query block i (as top_blocks sees them); -INFINITY for the others.
     * q_mean [H, ceil(T/block_q), D], k_mean [G, ceil(N/block_k), D], p [H, ceil(T/block_q), ceil(N/block_k)].
     * Estimation FLOPs: 2·D + 5 per block pair scored. FlexPrefill algorithm 4. */
    sf_status (*block_probabilities)(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q,
                                     const float *k_mean, int block_k, float *p);

    /* As top_blocks() with heads as there, scored by the exact attention mass instead of an estimate: the sum of softmax
     * probabilities over the block's query rows and keys. Nothing is forced. Quadratic: for oracles. out: heads *
     * ceil(T/block_q) lists of stride >= min(k, ceil(N/block_k)). Estimation FLOPs: (2·D + 5) per causal pair and head. */
    sf_status (*top_block_mass)(sf_backend *b, const sf_attention *a, int block_q, int block_k, int heads, int k,
                                sf_lists *out);

    /* Elementwise min and max of the keys of each page touched by logical keys [first, N); earlier pages stay as they
     * are. low, high [G, pages, D] f32 with pages >= ceil(N/page) as the row stride; NaN where a compacted cache holds
     * no key of the page, whose score is then NaN. Quest (2406.10774) section 3. */
    sf_status (*page_bounds)(sf_backend *b, const sf_attention *a, int page, int first, int64_t pages, float *low, float *high);

    /* score[g, p] = sum over the group's query heads of sum_d max(q_d * low_d, q_d * high_d), p < ceil(N/page).
     * score [G, ceil(N/page)]; low, high [G, pages, D]. Estimation FLOPs 4·D per page and query head. */
    sf_status (*page_scores)(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                             const float *high, float *score);

    /* The antidiagonal map: queries and keys in groups of `stride`, whose score is the sum along the antidiagonal of their
     * stride x stride logits, s[h, a, c] = scale / stride · Σ_t <q[S·a + S-1-t], k[S·c + t]> over what exists; softmax over the
     * groups c that hold a key at or before group a's last query; p[h, i, j] = mean over block i's groups a of the sum over
     * block j's groups c, so that a row adds up to 1; -INFINITY for blocks wholly in the future of block i. block: a multiple
     * of stride. p [H, ceil(T/block), ceil(N/block)]. Only of a cache that holds every key. Estimation FLOPs: (2·D·stride + 5)
     * per pair of groups scored. XAttention (2503.16428) section 2. */
    sf_status (*antidiagonals)(sf_backend *b, const sf_attention *a, int block, int stride, float *p);

    /* ---- components: what a query and its keys have in some dimensions, or in a basis (decode) ---- */

    /* Of the query, out [H, R] f32 (rows of one query; stride, first are not looked at); or of the keys [first, N), out [G, R,
     * stride], columns first … N - 1: component c of x is Σ_d basis[g, d, c] · x_d. basis [G, D, R] f32; NULL: the dimensions
     * themselves, R = D. Keys are written in the activation dtype; NaN where a compacted cache holds no key. 2·D FLOPs a
     * component, none without a basis. Loki (2406.02542); Double Sparsity (2408.07092); SparQ (2312.04985). */
    sf_status (*components)(sf_backend *b, const sf_attention *a, bool of_keys, const float *basis, int R, int first,
                            int64_t stride, void *out);

    /* score[h, j] = scale · Σ over the components c that list g = h / group names (at NULL: all) of q[h, c] · k[g, c, j].
     * tempered: divided by the root of the share Σ_listed |q[h, c]| / Σ |q[h, c]|, as if the rest were of the same kind (SparQ,
     * equation 6). q [H, R] f32, k [G, R, stride] activation, at [G], score [H, N]. FLOPs and bytes by the lists' stride r:
     * 2·r per key and query head, r elements per key and kv head. */
    sf_status (*component_scores)(sf_backend *b, const sf_attention *a, const float *q, const void *k, int R, int64_t stride,
                                  const sf_lists *at, bool tempered, float *score);

    /* As page_scores(), but of each query head by itself, over the listed dimensions alone, and taking `high` where the
     * group's summed query is not negative, else `low`; scaled and tempered as component_scores(). at [G]; score [H,
     * ceil(N/page)]. RocketKV (2502.14051) section 3.4. */
    sf_status (*page_component_scores)(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                                       const float *high, const sf_lists *at, bool tempered, float *score);

    /* x = |x| */
    sf_status (*magnitudes)(sf_backend *b, float *x, int64_t rows, int64_t n);

    /* Each row becomes its softmax, over the entries that are not -INFINITY; those become 0. 5 FLOPs an entry. */
    sf_status (*softmax_rows)(sf_backend *b, float *x, int64_t rows, int64_t n);

    /* sum[0, r] = Σ of x[r, i] over the i that list r / (rows / at->rows) names; sum[1, r] = 1 - sum[0, r], what of a softmax lies
     * elsewhere. x [rows, n], sum [2, rows]. */
    sf_status (*sums_at)(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *sum);

    /* Values [first, N) are added to sum [G, D] f32 (first 0: it is set), and mean [G, D] activation becomes sum / N. Not of a
     * compacted cache. */
    sf_status (*value_means)(sf_backend *b, const sf_attention *a, int first, float *sum, void *mean);

    /* The keys that stand for their page: the `most` best of each of the pages [first, end) by score [G, stride] (ties to the
     * lowest), averaged: mean[g, p, D] f32, pages rows apart `pages`. Whole pages of held keys only. InfLLM (2402.04617). */
    sf_status (*representatives)(sf_backend *b, const sf_attention *a, int page, int most, const float *score, int64_t stride,
                                 int first, int end, int64_t pages, float *mean);

    /* One key and value for each of the m whole segments of the prompt: k = the mean of its keys, v = what the mean query of the
     * segment's rows, also over the group, attends to in it (its softmax over the segment's own keys). k, v [G, m, D]
     * activation, m <= N / segment. Combiner (2107.05768) section 4. (4·D + 5) FLOPs a key and kv head, D for each mean. */
    sf_status (*segment_summaries)(sf_backend *b, const sf_attention *a, int segment, int64_t m, void *k, void *v);

    /* y[i, j] = <x[i], w[j]>        x [m, k], w [n, k], y [m, n]. 2·k FLOPs each. */
    sf_status (*inner_products)(sf_backend *b, const float *x, const float *w, int64_t m, int64_t n, int64_t k, float *y);

    /* A step of a walk over n blocks, each of which goes to blocks at or before it: with W[c, j] = (score[c, j] / the largest |score|
     * of those j <= c)^power, walk[i, j] becomes Σ walk[i, c] · W[c, j] over c from j to i, over the row's largest magnitude;
     * -INFINITY where j > i. A row of nothing but 0, as memory is at first, stands at its own block: it becomes W[i, j], likewise.
     * W and sums in double, as powers lie far apart. walk, score [n, n] f32; power >= 1. FLOPs: 2 for each product of that sum,
     * power + 1 for each pair of blocks. Sketch-and-Walk (2602.07397). */
    sf_status (*walk)(sf_backend *b, int64_t n, const float *score, int power, float *walk);

    /* Exact softmax of one query (decode) over all keys: p[h, j]        p [H, N]. For oracles. */
    sf_status (*key_probabilities)(sf_backend *b, const sf_attention *a, float *p);

    /* The same over the keys that lists name, 0 elsewhere: those that eviction has left. at: 1, G or H lists. Counted: the
     * keys listed, each once for a kv head, or for a query head that has a list of its own. */
    sf_status (*listed_probabilities)(sf_backend *b, const sf_attention *a, const sf_lists *at, float *p);

    /* y[r, i] = keep * y[r, i] + x[r, i] for i < n; rows of y `stride` apart. -INFINITY in y stays. x NULL: zeros. */
    sf_status (*accumulate)(sf_backend *b, float *y, int64_t stride, float keep, const float *x, int64_t rows, int64_t n);

    /* y[r, i] *= x[r, i] */
    sf_status (*multiply)(sf_backend *b, float *y, const float *x, int64_t rows, int64_t n);

    /* x[r, i] = value for every i that list[r] does not name */
    sf_status (*fill_except)(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value);

    /* ---- scores of keys without queries, or without those to come: for caches that are compressed once. [G, N]; NaN where a
     * compacted cache holds no key. */

    /* Euclidean norms of keys, or of values. 2·D FLOPs each. Knorm (2406.11430). */
    sf_status (*key_norms)(sf_backend *b, const sf_attention *a, bool of_values, float *norm);

    /* Cosine of each key and the mean of its head's keys, taken to length 1 first. 6·D FLOPs each. KeyDiff (2504.15364). */
    sf_status (*key_cosines)(sf_backend *b, const sf_attention *a, float *cosine);

    /* p [H, N]: softmax over the keys from `skip` on (0 before) of the logits that queries `ahead` positions behind the last one, on average, are to be
     * expected to give: with mean m and covariance S of the prompt's queries from row `skip` on too, before their rotation, turned
     * by the mean rotation over the positions N … N + ahead - 1:  m·k * scale + k'Sk * scale² / 2. FLOPs T·D² + 2·N·D² a head.
     * Only with a->frequency. Expected Attention (2510.00636). */
    sf_status (*expected_attention)(sf_backend *b, const sf_attention *a, int skip, int ahead, float *p);

    /* ---- samples, and estimates from fewer bits ------------------------------------------------------------------- */

    /* x[r, i] = u, or weight[r, i] / u: u is number i in (0, 1) of stream sf_splitmix(stream, first + r) (kernels/draw.h). The k largest
     * of a row are then k entries drawn without replacement, each set as likely as another; of weights, a priority sample
     * (Duffield, Lund & Thorup 2007). 2 FLOPs a number. */
    sf_status (*draw)(sf_backend *b, uint64_t stream, int64_t first, int64_t rows, int64_t n, const float *weight, float *x);

    /* What each entry of a row's list stands for: bias[r, e] = log(1 / its probability of being drawn), 0 beyond the list's end, to
     * be added to its logit. An x of +INFINITY was not drawn, but taken: 0. weight NULL: the list's others are a uniform sample of
     * the row's finite x. Else they are a priority sample of their row, which the list holds the best of:
     * log(max(1, t / weight)), t the largest x that the list leaves out. bias [rows, at.stride]. A FLOP a score. */
    sf_status (*sample_bias)(sf_backend *b, const float *x, const float *weight, int64_t rows, int64_t n, const sf_lists *at,
                             float *bias);

    /* What a sample says of the keys of each query head (of one query): lists that hold the keys of x = +INFINITY, which are read
     * anyhow, and a uniform sample of the others, which are the row's finite x. at [H] of x [H, N]; moment [H], whose length and trace
     * are 0 without `values`. FLOPs per listed key: 2·D + 5, with values 5·D more; counted by the lists' stride. */
    sf_status (*sample_moments)(sf_backend *b, const sf_attention *a, const float *x, const sf_lists *at, bool values, sf_moments *moment);

    /* How many keys a row has to read so that what it estimates keeps a promise: count[r] = those read anyhow + the least b with
     * (z n s)² / b · (1 - b / n) <= (error · total)²,  n being the others, at least as many as were sampled; `total` is of all
     * exp(logit), s² their variance (denominator), or the length of the sum of exp(logit) value, s² the trace of its covariance
     * (numerator), or the larger b of both. vAttention (2510.05688). most >= 0: the error is not the promise's, but the smallest
     * that counts of no more than `most` together allow, 1 / d - 1 for the largest dial d of 0, 2^-20, 2 · 2^-20, … below 1
     * (sf_promise_at(), promise.h; 0, if none does). moment, count [rows]. Not metered; nothing waits for the search. */
    sf_status (*sample_sizes)(sf_backend *b, const sf_moments *moment, int64_t rows, sf_promise promise, int64_t most, int32_t *count);

    /* Keys [first, N) in 4 bits: k[d] is about low + step · code, low the least and low + 15 step the most of the key. code [G, room,
     * ceil(D/8)] i32, 8 codes a word, the first in its lowest bits; range [G, room, 2] = low, step. Keys that a compacted cache does
     * not hold: step NaN. 4·D FLOPs a key. Twilight (2502.02770) section 4. */
    sf_status (*pack_keys)(sf_backend *b, const sf_attention *a, int first, int64_t room, int32_t *code, float *range);

    /* Softmax of one query (decode) over the packed keys that lists name (1, G or H; NULL: over all), -INFINITY elsewhere. p [H, N].
     * Counted: D/2 + 8 bytes a key, as in listed_probabilities(), but by the lists' stride. */
    sf_status (*packed_probabilities)(sf_backend *b, const sf_attention *a, int64_t room, const int32_t *code, const float *range,
                                      const sf_lists *at, float *p);

    /* x[r, j] = y[r, m], m the member that j belongs to: j / page, or member[r * members / rows, j] (rows of `room`), where -1 gives
     * +INFINITY. y [rows, n], x [rows, N]. */
    sf_status (*spread)(sf_backend *b, const float *y, int64_t rows, int64_t n, int page, const int32_t *member, int64_t members,
                        int64_t room, int64_t keys, float *x);

    /* x[i] = number i of the stream, about normal (sf_draw_normal, kernels/draw.h). 12 FLOPs each. */
    sf_status (*normals)(sf_backend *b, uint64_t stream, int64_t n, float *x);

    /* out[r, e] = x[r, list[r][e]], 0 beyond the list's end. out [rows, at.stride]. */
    sf_status (*pick_at)(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *out);

    /* Locality-sensitive hashing by signs of random projections (SimHash): tables of `bits` planes each, bits <= 16, plane [tables ·
     * bits, D]. Keys [hash.begin, hash.end), less their mean centre [G, D], which is written: bit i of table t of code [G, room,
     * ceil(tables/2)] i32, two tables a word, the even one in the lower half, is 1 where k · plane[t · bits + i] > 0. All are held.
     * 2·D·bits·tables FLOPs a key. */
    sf_status (*hash_keys)(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room, float *centre,
                           int32_t *code);

    /* Which keys one query (decode) meets in at least hash.least tables: x[h, j] = -log(p + 1e-4), p the chance of it by the angle of query
     * and centred key, else -INFINITY; 0 for keys that are not hashed. x [H, N]. Counted: the query's code, a comparison a table and
     * key; the angle is of a product that attention over the key needs anyhow. MagicPIG (2410.16179), equations 8 to 11; least 1 or 2. */
    sf_status (*hash_matches)(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room,
                              const float *centre, const int32_t *code, float *x);

    /* Lloyd's k-means of the keys [how.begin, how.end) of each kv head, in segments of how.segment keys, each of which has one cluster
     * for how.each of its keys, rounded up: sf_clusters() in all, C. They begin at keys evenly spaced; how.iterations times each
     * key goes to the nearest centroid (of equal ones to the first), and centroids become means; then keys go once more. member [G, room]: the
     * cluster of each key, -1 outside. centroid, value [G, C, D] activation: means of its keys, of their values (of a cluster without
     * keys: what its centroid was, and 0). size, log_size [H, C] f32, for each query head its kv head's; at least e^-60 of a key.
     * Keys are held. 3·D FLOPs a key, cluster of its segment and pass. */
    sf_status (*kmeans)(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how, int64_t room, int32_t *member, void *centroid,
                        void *value, float *size, float *log_size);

    /* ---- searches that a filling may leave to the caller: NULL ----------------------------------------------------- */

    /* Amounts for a pattern of columns and diagonals that computes at most `most` pairs over all heads: the largest k for
     * which the k best columns and the k best diagonals of each row do (1 if none), then, beside k diagonals, the most
     * columns. column, diagonal [rows, N], rows H or G; best as for top(); results to host memory. Not metered, as a search
     * is not part of a method. Only where sf_sees_all(). Without it the caller searches by count_pairs(). */
    sf_status (*fit_slashes)(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                             uint64_t most, int64_t *columns, int64_t *diagonals);

    /* As fit_slashes(), for rows that each take as many of the best in *_forced as top_mass(…, mass, least, N) takes of
     * column and diagonal: the largest mass, in steps of 2^-19 below 1, for *least as given; if there is none, mass 0
     * and the largest *least below the given one (1 if none). */
    sf_status (*fit_masses)(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                            const float *column_forced, const float *diagonal_forced, uint64_t most, double *mass,
                            int64_t *least);

    /* ---- lists and counts of what has been chosen: whole numbers, not metered. On every filling; the host's have theirs in common --- */

    /* Counts become budgets, as sf_budgets says. count, mark, budget [rows] i32; mark NULL: none is marked. *largest, host memory: the
     * largest budget, which is the room that lists of so many need. */
    sf_status (*budgets)(sf_backend *b, const int32_t *count, int64_t rows, const sf_budgets *how, const int32_t *mark, int32_t *budget,
                         int32_t *largest);

    /* alike[r] = 1 where the distance of two rows as distributions, the square root of their Jensen-Shannon divergence in nats, is
     * less than `below`, else 0. x, y [rows, n] f32: rows of x sum to 1, those of y are scaled to. *many, host memory: how many
     * are. In double. */
    sf_status (*rows_alike)(sf_backend *b, const float *x, const float *y, int64_t rows, int64_t n, double below, int32_t *alike,
                            int32_t *many);

    /* Block lists [heads * n], heads = column->rows, of what lists [heads] of block columns, block diagonals (offset >= 0) and pairs of
     * blocks (query block * n + key block) name, future ones left out. pair NULL: none. out: stride n. */
    sf_status (*unite_blocks)(sf_backend *b, int64_t n, const sf_lists *column, const sf_lists *diagonal, const sf_lists *pair,
                              sf_lists *out);

    /* Keys of each tile of SF_DIAGONAL_TILE query rows, lists [heads * tiles], by lists [heads] of columns and diagonals as MInference's
     * kernel melts them (csrc/vertical_slash_index.cu): from the oldest diagonal on, the tile that begins at its key for the
     * tile's first row, or at key 0, opens a range, which grows by one tile for each next diagonal whose tile begins at or before its end
     * and ends beyond it; and columns outside of ranges. out->index NULL: counts alone. *longest, host memory: the longest list. */
    sf_status (*merge_tiles)(sf_backend *b, const sf_attention *a, const sf_lists *column, const sf_lists *diagonal, sf_lists *out,
                             int32_t *longest);

    /* Blocks drawn evenly for heads first … first + heads - 1, as sf_drawn says: lists [heads * each], the same on every filling.
     * out: stride >= the longest. */
    sf_status (*draw_blocks)(sf_backend *b, const sf_drawn *how, int first, int64_t heads, sf_lists *out);

    /* ---- recurrent layers, whose lanes carry a state of fixed size from row to row: NULL where a filling has none ---- */

    /* Row r of lane l, x[l · rows + r], after the rows of the lane that came before it, of which state[l] tells; it then tells of
     * these rows too. One call for many rows or many calls for one each: the same numbers, to the bit. */

    /* A causal convolution of each channel by itself: out[r, c] = Σ_i w[c, i] · x[r - (K - 1) + i, c] + bias[c], through SiLU where
     * `silu`. state[l] [K - 1, width] f32, host's array of backend memory: the last rows of x, 0 before the first. x, out [lanes ·
     * rows, width] activation, in place allowed; w [width, K], bias [width] or absent. Counted as a linear layer: 2·K FLOPs an
     * element, the weights, and a state read and written (cache). */
    sf_status (*convolve)(sf_backend *b, int lanes, float *const *state, int64_t rows, int width, const sf_tensor *w,
                          const sf_tensor *bias, bool silu, const void *x, void *out);

    /* The gated delta rule (Gated DeltaNet, 2412.06464, equation 10), of value head h, whose key head is h / (Hv / Hk); q and k are taken
     * to length 1 first (their squares' sum plus 1e-6), and q is divided by √Dk:
     *
     *     S = exp(-exp(rate[h]) · softplus(a[r, h] + shift[h])) S;  S += k ⊗ σ(b[r, h]) (v - Sᵀk);  out[r, h] = Sᵀq
     *
     * state[l] = S [Hv, Dk, Dv] f32, 0 before the first row. x [lanes · rows, 2 Hk Dk + Hv Dv] activation: q, k [Hk, Dk], v [Hv, Dv];
     * a, b [lanes · rows, Hv] activation; rate, shift [Hv]; out [lanes · rows, Hv, Dv] activation. Counted as a linear layer: 7·Dk·Dv
     * FLOPs a row and value head (decay, Sᵀk, the update, Sᵀq), rate and shift, and a state read and written (cache). */
    sf_status (*delta_rule)(sf_backend *b, int lanes, float *const *state, int64_t rows, sf_delta_shape shape, const void *x,
                            const void *a, const void *beta, const sf_tensor *rate, const sf_tensor *shift, void *out);

    /* The state space of Mamba 2 (Dao and Gu 2024, arXiv 2405.21060, section 7), of head h, whose group is h / (Hv / Hk):
     *
     *     Δ = max(softplus(dt[r, h] + shift[h]), least);  S = exp(-exp(rate[h]) Δ) S + Δ B ⊗ v;  out[r, h] = Sᵀ C + skip[h] v
     *
     * state[l] = S [Hv, Dk, Dv] f32, 0 before the first row. x [lanes · rows, Hv Dv + 2 Hk Dk] activation: v [Hv, Dv], B, C [Hk, Dk]; dt
     * [lanes · rows, Hv] activation; rate, shift, skip [Hv]; out [lanes · rows, Hv, Dv] activation. Counted as a linear layer: 5·Dk·Dv
     * FLOPs a row and head (decay, Δ B ⊗ v, Sᵀ C) and 2·Dv of what skips, the three vectors, and a state read and written (cache). */
    sf_status (*state_space)(sf_backend *b, int lanes, float *const *state, int64_t rows, sf_delta_shape shape, const void *x,
                             const void *dt, const sf_tensor *rate, const sf_tensor *shift, const sf_tensor *skip, void *out);

    /* x *= scale        x [n] f32. Of the hidden state behind a layer (Gemma 4). */
    sf_status (*scale)(sf_backend *b, float *x, int64_t n, float scale);

    /* share[i] *= of[expert[i]]        share, expert [n], of [E]. Shares that experts have besides (Gemma 4). */
    sf_status (*weigh_experts)(sf_backend *b, float *share, const int32_t *expert, int64_t n, const sf_tensor *of);

    /* ---- what was trained to choose: NULL where a filling has it not ---------------------------------------------- */

    /* What an indexer says of keys, to rows that stand at first, first + 1, …: score[r, j] = Σ_h w[r, h] · max(0, <q[r, h], k[j]>) where
     * j <= first + r, else -INFINITY. q [rows, heads, dim], w [rows, heads], k [first + rows, dim], score [rows, first + rows] f32. cuda
     * rounds q and k to 11 bits: each head's row, and each key, to fp16 of a power of two of its own.
     * Estimation FLOPs: heads · (2·dim + 3) a pair scored; bytes: keys once, as the cache they are, q, w and scores. DeepSeek Sparse
     * Attention (DeepSeek-V3.2-Exp, equation 1). */
    sf_status (*index_scores)(sf_backend *b, int64_t rows, int heads, int dim, int64_t first, const float *q, const float *w, const float *k,
                              float *score);

    /* ---- what trained methods make of queries, and of the layer's input. NULL where memory is the host's: there the first three are
     * sf_host_*() (host.h), and the others what the ops above do with activations, which are f32 there ---- */

    /* Gates of the queries at hand, which are linear in the query of the first head of kv head g's group as it was before rotary embedding
     * turned it and the model scaled it (a->frequency, a->scaled, of which nothing may be `learned`): gate[g, t] = <weight[g], q> + slope[g] ·
     * position of row t. weight [G, D], slope [G] or NULL, gate [G, T], rows of `stride`. Estimation FLOPs: 2·D a gate, 2 more with a
     * slope; the turning is none. Weights are read as such. Of one cache, not of latents. */
    sf_status (*query_gates)(sf_backend *b, const sf_attention *a, const float *weight, const float *slope, float *gate, int64_t stride);

    /* y[r, i] = 0 where x[r, i] <= most[r], else -INFINITY, for i < n; rows of x `from` apart, of y `to`; most [rows]. A FLOP a number. */
    sf_status (*marks)(sf_backend *b, const float *x, int64_t from, int64_t rows, int64_t n, const float *most, float *y, int64_t to);

    /* What top(…, k) chooses as a row grows: list r · n + i is of x[r, 0 … i - behind], empty where i < behind. x [rows, n]; out: rows · n lists
     * of stride >= min(k, n). Counted as one look at each score, as who keeps the best so far needs no other. */
    sf_status (*top_running)(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, int64_t behind, sf_lists *out);

    /* rope() of x [rows, heads, dim] f32, row r at position first + r: of the numbers that frequency [known] has in front of its first 0, as
     * many as dim has pairs, cosine and sine made here. Halves are paired. Counted as if it turned all that it may. */
    sf_status (*turn_rows)(sf_backend *b, float *x, int64_t rows, int heads, int dim, int64_t first, const float *frequency, int known);

    /* layer_norm() of x [rows, width] f32 to out, f32 too. weight, bias f32. */
    sf_status (*norm_rows)(sf_backend *b, const float *x, int64_t rows, int width, const sf_tensor *weight, const sf_tensor *bias, float eps,
                           float *out);

    /* out[i, r] = the sigmoid of x[r, i]        x [rows, n], out [n, rows] f32 */
    sf_status (*sigmoids)(sf_backend *b, const float *x, int64_t rows, int n, float *out);
} sf_backend_ops;

/* The ops that every filling has of its own, in the order of the table, which its prototypes and its rows are made from:
 * SF_EACH_OP(SF_OP_PROTOTYPE, sf_cpu_) declares sf_cpu_embed() and all that follow. */
#define SF_EACH_OP(DO, filling)                                                                                        \
    DO(filling, embed) DO(filling, rms_norm) DO(filling, layer_norm) DO(filling, cast) DO(filling, linear)             \
    DO(filling, rope) DO(filling, scale_queries) DO(filling, gated) DO(filling, copy_columns) DO(filling, add) DO(filling, route) DO(filling, experts)                      \
    DO(filling, combine) DO(filling, store_kv) DO(filling, round_kv) DO(filling, pack_kv) DO(filling, gather_kv) DO(filling, argmax) DO(filling, prefill)         \
    DO(filling, decode) DO(filling, sink) DO(filling, count_pairs) DO(filling, mass) DO(filling, probe) DO(filling, reduce_rows)         \
    DO(filling, pool) DO(filling, fill) DO(filling, fill_at) DO(filling, top) DO(filling, top_total)                   \
    DO(filling, top_mass) DO(filling, top_mass_within) DO(filling, top_counts) DO(filling, block_means) DO(filling, top_blocks)                     \
    DO(filling, block_probabilities) DO(filling, top_block_mass) DO(filling, page_bounds) DO(filling, page_scores)     \
    DO(filling, antidiagonals) DO(filling, components) DO(filling, component_scores)                                   \
    DO(filling, page_component_scores) DO(filling, magnitudes) DO(filling, softmax_rows) DO(filling, sums_at)          \
    DO(filling, value_means) DO(filling, representatives) DO(filling, segment_summaries)                               \
    DO(filling, inner_products) DO(filling, walk)                                                                      \
    DO(filling, key_probabilities) DO(filling, listed_probabilities) DO(filling, accumulate) DO(filling, multiply)     \
    DO(filling, fill_except) DO(filling, key_norms) DO(filling, key_cosines) DO(filling, expected_attention)  \
    DO(filling, draw) DO(filling, sample_bias) DO(filling, sample_moments) DO(filling, sample_sizes) DO(filling, pack_keys)                         \
    DO(filling, packed_probabilities) DO(filling, spread) DO(filling, normals) DO(filling, pick_at)             \
    DO(filling, hash_keys) DO(filling, hash_matches) DO(filling, kmeans)

#define SF_OP_PROTOTYPE(filling, op) __typeof__(*((sf_backend_ops *)0)->op) filling##op;
#define SF_OP_ROW(filling, op)       .op = filling##op,

struct sf_backend {
    const sf_backend_ops *ops;
    sf_dtype activation;   /* dtype of activations and cache: f32 on the host backends, bf16 on cuda */
    sf_dtype products;     /* what linear layers and attention of many rows round their factors to, where that is not their
                              dtype: bf16 on cpu-bf16; Q8_0 on cpu-int8, the activations of layers of quantised weights alone */
    int device, threads;
    double watched;        /* seconds, of watch() */
    sf_meter *meter;       /* where ops count; the core points it at the lane that is being served */
    sf_phase phase;
    void *self;            /* the filling's own */
    struct sf_comm *comm;   /* ranks that a model's heads are split over (comm.h); NULL: none */
    struct sf_comm *stages; /* that its layers are split over; NULL: none */
    struct sf_scratch *scratch;
    sf_meter aside;        /* of what is not to be counted: read by nobody */
};

/* Whether its products are of bf16. */
static inline bool sf_rounds(const sf_backend *b) { return b->activation == SF_BF16 || b->products == SF_BF16; }

/* The fillings compiled in, NULL-terminated. */
extern const sf_backend_ops *const sf_backends[];

/* Opens a backend by name ("cpu", "cpu-bf16", "cpu-int8", "reference", "cuda", "cuda:1"). Error: the name is unknown (lists those known), it names
 * several, or the device is not usable. The meter is `aside` until the caller sets it: *out stays where it is. */
sf_status sf_backend_open(const char *name, int threads, sf_backend *out);
void sf_backend_close(sf_backend *b); /* accepts a half-opened or zeroed one */

/* Scratch: memory that lives until the mark is released; for one layer's estimation, never per-token mallocs. */
typedef struct sf_mark { size_t chunk, used; } sf_mark;
sf_status sf_scratch_alloc(sf_backend *b, size_t bytes, void **out); /* 256-byte aligned */
sf_mark sf_scratch_mark(sf_backend *b);
void sf_scratch_release(sf_backend *b, sf_mark mark);

#endif
