/* What is asked of the engine: samples, the lanes that each runs under, and what comes back of a lane. */
#ifndef SF_LANE_H
#define SF_LANE_H

#include "base/picture.h"
#include "methods/method.h"

/* Density and recall of a phase are [layers, H]; NAN on sliding-window layers (they are not the method's), and in
 * decode when no step was executed (the first token comes from the prefill).
 *
 *   density   executed pairs / causal pairs. In decode the causal pairs are those of the whole prompt and all tokens
 *             generated so far, evicted or not.
 *   recall    share of the exact softmax mass on the keys that were read, mean over sampled queries; 1 where the phase
 *             is dense. In prefill `recall_rows` rows, one drawn from each of as many equal stretches of the prompt. In
 *             decode the first 2·recall_rows steps, then every 2nd, 4th, …, recall_rows each doubling, weighted by the
 *             steps that they stand for. Of an evicting lane: mass of what it kept among all keys, for its own decode
 *             queries (the prompt's cache is then kept beside the lane's copy, to look at). */
typedef struct sf_lane {
    /* in: NULL method = dense in that phase; params already fitted to this sample */
    const sf_method *prefill, *decode; /* decode: a method with `compress` or `decode` hooks */
    const void *prefill_params, *decode_params;

    /* out, caller-provided arrays */
    int32_t *output;           /* [max_output] generated ids, the stop token not included */
    float *density[SF_PHASES]; /* [layers, H]; NULL: not wanted */
    float *recall[SF_PHASES];  /* [layers, H]; NULL: not wanted */
    sf_picture *picture[SF_PHASES]; /* NULL: not wanted; written whole, in decode once there is a step */
    int outputs;
    bool stopped; /* by a stop token; else cut off at the limit */
    sf_meter meter;
    double seconds[SF_PHASES]; /* of this lane's share: its shared prefill and its own hooks there, of linear layers
                                  that prefills share its rows' part; each decode step divided by the lanes still
                                  running. Looking for recall is not counted. */
} sf_lane;

/* One sample: its tokens and the lanes that it runs under. */
typedef struct sf_job {
    const int32_t *token; /* [tokens] host */
    int tokens, lanes;
    sf_lane *lane; /* [lanes] */
} sf_job;

typedef struct sf_generation {
    int max_output;
    int recall_rows; /* query rows sampled for recall per layer; 0: none, recall arrays are NAN */
    uint64_t seed;   /* of that sampling */
    int picture_layer, picture_head; /* that pictures show; a layer with full attention */
    void (*progress)(void *user, sf_phase phase, int done, int of); /* layers of all prefills, steps of decode; or NULL */
    void *user;
} sf_generation;

#endif
