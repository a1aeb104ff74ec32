/* What is asked of the engine: samples, the lanes that each runs under, and what comes back of a lane. */
#ifndef SF_LANE_H
#define SF_LANE_H

#include "base/picture.h"
#include "harness/model/config.h"
#include "kernels/cache.h"
#include "kernels/meter.h"
#include "methods/method.h"

/* How one prediction differs from the dense model's after the same tokens; natural logarithms. */
typedef struct sf_divergence {
    int position;  /* of the token that is predicted, from 0 on, the prompt's first */
    int rank;      /* of the dense model's likeliest token among this lane's logits; 1: they agree */
    float nll;     /* -log p(token): in prefill the prompt's own token, in decode the continuation's, or the one that the dense lane generates */
    float dense_nll; /* that of the dense model */
    float kl;      /* KL(dense ‖ lane) over the whole vocabulary */
} sf_divergence;

/* One of a lane's answers: output [end of the one before, end). */
typedef struct sf_answer {
    int end;
    bool stopped; /* by a stop token; else cut off at the limit */
} sf_answer;

/* Density, recall and error of a phase are [layers, H]; NAN on sliding-window layers and those that recur (they are not the method's), and in
 * decode when no step was executed (the first token comes from the prefill).
 *
 *   density   executed pairs / causal pairs. In decode the causal pairs are those of the whole prompt and all tokens
 *             generated so far, evicted or not.
 *   recall    share of the exact softmax mass on the keys that were read, mean over sampled queries; 1 where the phase
 *             is dense. In prefill `recall_rows` rows, one drawn from each of as many equal stretches of the prompt. In
 *             decode the first 2·recall_rows steps, then every 2nd, 4th, …, recall_rows each doubling, weighted by the
 *             steps that they stand for. Of an evicting lane: mass of what it kept among all keys, for its own decode
 *             queries (the prompt's cache is then kept beside the lane's copy, to look at).
 *   error     |o - d| / |d| of the attention's output o of a query head against d, that of the same query over all keys,
 *             mean over the queries that recall is sampled at; 0 where the phase is dense. Of latent attention o is the mean of
 *             latents, before each head makes its values of it. What earlier layers did to query
 *             and keys is in both. */
typedef struct sf_lane {
    /* in: NULL method = dense in that phase; params already fitted to this sample */
    const sf_method *prefill, *decode; /* decode: a method with `compress` or `decode` hooks */
    const void *prefill_params, *decode_params;
    const sf_cache_format *cache;  /* that keys and values are rounded to as they are stored, before anything reads them, in the prefill
                                      too; NULL: they stay as they are. A lane with a format is not dense, whatever its methods are */
    const struct sf_lane *follows; /* a lane of the same sample whose tokens this one is fed with; NULL: with its own */
    bool forced;                   /* it is fed with the sample's continuation, and ends with that */

    /* out, caller-provided arrays */
    int32_t *output;           /* [max_output × answers] generated ids, stop tokens not included */
    sf_answer *answer;         /* [answers] where each ends; NULL: not wanted */
    uint64_t *read;            /* [sf_job_steps()] keys that each decode step reads, over layers and query heads; NULL: not wanted */
    float *density[SF_PHASES]; /* [layers, H]; NULL: not wanted */
    float *recall[SF_PHASES];  /* [layers, H]; NULL: not wanted */
    float *error[SF_PHASES];   /* [layers, H]; NULL: not wanted */
    sf_picture *picture[SF_PHASES]; /* NULL: not wanted; written whole, in decode once there is a step */
    sf_divergence *divergence[SF_PHASES]; /* NULL: not wanted; [divergence_rows] at rows of the prompt, one drawn from each of
                                             as many equal stretches; [max_output] along what the dense lane generates,
                                             its stop token included, or along the sample's continuation; of a question
                                             that is asked late, from its last token on */
    int divergences[SF_PHASES];           /* how many there are */
    int outputs;
    bool stopped; /* every answer by a stop token; else one was cut off at the limit */
    sf_meter meter;
    double seconds[SF_PHASES]; /* of this lane's share: its shared prefill and its own hooks there, of linear layers
                                  that prefills share its rows' part; each decode step divided by the lanes still
                                  running. Looking for recall is not counted. */
} sf_lane;

/* One sample: its tokens and the lanes that it runs under.
 *
 * A question that is asked late is read after the prefill, and after what compress and settle chose, as what is generated is read:
 * a token a step, in the decode phase, each seen by observe and chosen for by decode. A lane whose cache compress or settle has cut reads
 * what they kept and what came since, less what it evicts while decoding; one that is dense in decode reads all keys, however sparse
 * its prefill was. Its steps are decode steps in every count, density and recall.
 *
 * So is a later turn: a question that comes once the one before is answered, on what the lane holds by then. Its tokens begin with
 * what closes the answer (the stop token is not read, the last token of an answer that was cut off is), and each lane goes on from an
 * answer of its own. Nothing is prefilled or compressed anew: a lane whose cache was cut has what it kept then, and what came since,
 * less what it evicts while decoding; state of a method that chooses at each step goes on.
 *
 * Shared tokens are prefilled once, and compressed once, for a first question and later ones that know nothing of each other: each
 * is read, and answered, from there. The prefill is counted and timed once, decode of all of them; density in decode is over the
 * causal pairs of all, recall and error are means over their steps. A lane's picture of decode and `read` are the first question's. */
typedef struct sf_job {
    const int32_t *token; /* [tokens] host: what is prefilled */
    int tokens, lanes;
    sf_lane *lane; /* [lanes] */
    const int32_t *question; /* [questions] host: tokens that come behind those, before anything is generated */
    int questions;           /* 0: none; then there may be a continuation */
    const int32_t *continuation; /* [continuations] what follows the tokens in their source, at most max_output: divergence in
                                    decode is along this; none: along what the dense lane generates */
    int continuations;
    const int32_t *later; /* questions of later turns, one after the other … */
    const int *later_tokens; /* [turns] … and how many tokens each has; NULL: none, where a job is only measured */
    int turns;            /* later ones: a lane gives 1 + turns answers; then there is no continuation, and no divergence */
    bool shared;          /* the later questions are no turns: each is asked of what the tokens left, as the first one is */
    const struct sf_job *leads; /* an earlier one of a run, whose tokens these are, and whose prompts this one's lanes read; NULL: itself */
} sf_job;

typedef struct sf_generation {
    int max_output;
    int recall_rows; /* query rows sampled for recall and error per layer; 0: none, their arrays are NAN */
    int divergence_rows; /* rows of a prompt at which divergence is measured, where a lane wants it in prefill */
    uint64_t seed;   /* of both samplings */
    int picture_layer, picture_head; /* that pictures show; a layer with full attention */
    void (*progress)(void *user, sf_phase phase, int done, int of); /* layers of all prefills, steps of decode; or NULL */
    void *user;
} sf_generation;

/* Decode steps that a lane of the sample takes at most, for one of shared questions: the last token generated is never read. */
static inline int sf_job_steps(const sf_job *job, const sf_generation *how)
{
    int steps = job->questions + how->max_output - 1;
    for (int i = 0; i < job->turns; i++) {
        const int asked = (job->later_tokens ? job->later_tokens[i] : 0) + how->max_output;
        if (!job->shared) steps += asked;
        else if (asked - 1 > steps) steps = asked - 1;
    }
    return steps;
}

/* What the means of a lane are over, by phase: causal pairs of a layer and head for densities, steps (or 1, of a prefill) for recall
 * and error. 0: nothing. */
typedef struct sf_means {
    double pairs[SF_PHASES], looks[SF_PHASES];
} sf_means;

/* That of a lane that has run alone, or for one of shared questions of so many tokens. */
sf_means sf_lane_means(int tokens, int questions, const sf_lane *lane);

/* Share of the pairs that a lane read in a phase that weighed; 1 but of a model whose rows are normalised by α-entmax. */
double sf_lane_weighing(const sf_lane *lane, const sf_model_config *model, sf_phase phase);

/* Adds to a lane what another one took and gave, in the phases in which that weighs something: meter, seconds, and density, recall and
 * error [heads] as means over both. Outputs stay. */
void sf_lane_add(sf_lane *to, sf_means *weight, const sf_lane *other, sf_means by, int64_t heads);

#endif
