/* One layer's attention over made-up queries, keys and values: what methods are checked on, without a model.
 *
 * Values are multiples of 1/64, so small that every q·k is exact in fp32; the same on every machine and backend. They
 * may hold what methods look for: attention sinks (the first 4 keys agree with every query), needles (3 keys that agree
 * with the last 32 queries), ties (coarse values, and keys that repeat others). tests/golden/methods makes the same
 * ones. */
#ifndef SF_SYNTHETIC_H
#define SF_SYNTHETIC_H

#include "harness/engine/arena.h"
#include "harness/engine/hooks.h"
#include "kernels/comm.h"

typedef struct sf_synthetic {
    /* in */
    int tokens, tail; /* of the prompt; generated after it */
    int heads, kv_heads, head_dim;
    int layer, layers; /* layers 0: this is the last */
    int width;        /* numbers of a row of the layer's input, made up too, of which q is not made; 0: there is none */
    bool sinks, needles, ties, own;
    bool bf16;                   /* values rounded to bf16, to compare with a backend that computes in it */
    int other_values, other_all; /* from this row on, other v; other q, k and v; 0: nowhere */
    uint64_t seed;
    const struct sf_side *sides; /* weights of methods that were trained; NULL: there are none */
    sf_comm *comm;               /* ranks, on each of which some of the heads are then made; NULL: all of them */

    /* made by sf_synthetic_open() */
    sf_backend *backend;
    sf_arena arena;
    void *q; /* [tokens + tail, H, D] */
    void *hidden; /* [tokens + tail, width]; NULL: none */
    uint8_t *begins;  /* [tokens] of a made-up text */
    float *frequency; /* [D/2] as if rotated by rotary embedding of base 10000, halves paired */
    sf_kv_part prompt, generated;
    sf_kv_part packed; /* the prompt, by sf_synthetic_pack(); k NULL: it is not */
    int all_heads, all_kv_heads; /* heads, kv_heads as given; those are this rank's now */
    struct sf_side *made; /* by sf_synthetic_weights() */
} sf_synthetic;

/* Fills the values, on the backend. Closed with sf_synthetic_close() whatever is returned. */
sf_status sf_synthetic_open(sf_synthetic *s, sf_backend *backend);
void sf_synthetic_close(sf_synthetic *s); /* accepts a zeroed one */

/* For a method that was trained, weights in the place of its file's, multiples of 1/64 in [-2, 2) too, the same at every layer, which
 * `params` then name: what holds of a method whatever it has learned can be seen by them. All kv heads' on every rank. Nothing is
 * done for a method without weights. Later calls for the same method keep the first one's, whose sizes may be by parameters. */
sf_status sf_synthetic_weights(sf_synthetic *s, const sf_method *method, void *params);

/* The caller sets backend->phase before it calls hooks.
 *
 * All prompt queries over the prompt; the query of the n-th generated token (1 … tail) over everything up to it. */
sf_attention sf_synthetic_prompt(const sf_synthetic *s);
sf_attention sf_synthetic_step(const sf_synthetic *s, int n);

/* From now on steps, observations and evictions find the prompt packed to this format (`cache: int8`); NULL: as it was. */
sf_status sf_synthetic_pack(sf_synthetic *s, const sf_cache_format *format);

/* A state for `method` that has observed the prompt and the tail, token by token, as in a generation. Memory is the
 * arena's. Not for methods that carry something along. */
sf_status sf_synthetic_observe(sf_synthetic *s, const sf_method *method, const void *params, sf_state *out);

/* The last generated token's query over the tail and those keys of the prompt that `keep` names (TOKENS; DENSE:
 * all). */
sf_status sf_synthetic_evict(sf_synthetic *s, const sf_pattern *keep, sf_attention *out);

/* Attention of `lanes` sequences at once (one if it is a prompt). out: lane 0's rows, [queries, H, D] to host memory as
 * fp32; pairs: its number. Fails where the executor's tally is not what count_pairs() says. */
sf_status sf_synthetic_attend(int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, float *out,
                              uint64_t *pairs);

#endif
