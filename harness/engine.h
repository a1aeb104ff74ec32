/* The engine: one sample's tokens through a model under many variants at once.
 *
 * A lane is one variant (one cell) of the sample. Lanes whose prefill is the same share it: the prompt's cache is computed
 * once and read by all; a lane that evicts keeps a compacted copy. All lanes then decode in lock-step as one batch, so
 * that weights are read once a step for all. Neither changes a result: a lane alone and a lane in company give the same
 * tokens and the same counts (counts are those of the lane alone). */
#ifndef SF_ENGINE_H
#define SF_ENGINE_H

#include "harness/model/model.h"
#include "methods/method.h"

typedef struct sf_engine sf_engine;

/* Imports the weights into the backend. `max_tokens`: the longest input plus output (rotation tables; YaRN by rule). */
sf_status sf_engine_open(sf_backend *backend, const sf_model *model, int max_tokens, sf_engine **out);
void sf_engine_close(sf_engine *engine);

typedef struct sf_lane {
    /* in: NULL method = dense in that phase; params already fitted to this sample */
    const sf_method *prefill, *decode;   /* decode: a method with `compress` or `decode` hooks */
    const void *prefill_params, *decode_params;

    /* out, caller-provided arrays */
    int32_t *output;                     /* [max_output] generated ids, the stop token not included */
    float *density[SF_PHASES];           /* [layers, H] executed pairs / causal pairs; NULL: not wanted */
    float *recall[SF_PHASES];            /* [layers, H] attention-mass recall (decode methods: in SF_DECODE); NULL: not wanted */
    int outputs;
    bool stopped;                        /* by a stop token; else cut off at the limit */
    sf_meter meter;
    double seconds[SF_PHASES];           /* of this lane's share: its prefill, and the lock-step decode / lanes */
} sf_lane;

typedef struct sf_generation {
    int max_output;
    int recall_rows;                     /* query rows sampled for recall per layer; 0: none */
    uint64_t seed;                       /* of that sampling */
    void (*progress)(void *user, sf_phase phase, int done, int of); /* layers of a prefill, steps of decode; may be NULL */
    void *user;
} sf_generation;

sf_status sf_engine_generate(sf_engine *engine, const int32_t *token, int tokens, const sf_generation *how, int lanes,
                             sf_lane *lane);

/* Dense logits, f32 [tokens, vocab] to host memory: for checks against other implementations. */
sf_status sf_engine_logits(sf_engine *engine, const int32_t *token, int tokens, float *logits);

/* Bytes that sf_engine_generate() will hold at its peak, weights not included; the plan's estimate. */
size_t sf_engine_memory(const sf_model_config *config, const sf_backend *backend, int tokens, int max_output, int lanes,
                        int evicting_lanes);

#endif
