/* Sizes of the layers that recur, in models that have such (sf_model_config.recurs). A mixer reads normed rows, by projections of its
 * own, carries a state of fixed size over them, and gives rows that are gated and projected back:
 *
 *     normed ─┬─ projections ─▶ recurrence over the rows, with a state ─▶ (norm) ─ × gate ─ out ─▶ hidden
 *             └─ gate ──────────────────────────────────────────────────────────────┘
 *
 *     short convolution (LFM2)    mixer_by ⊙ mixer_in, convolution, mixer_gate as it is
 *     gated delta rule (Qwen3-Next)   mixer_in, decay_in, beta_in; convolution with SiLU, delta rule, norm; mixer_gate through SiLU
 *     state space (Mamba 2)       mixer_in, decay_in; convolution with SiLU, state space; mixer_gate through SiLU, then the norm
 *
 * What it computes: harness/engine/mixer.h. */
#ifndef SF_MODEL_MIXER_H
#define SF_MODEL_MIXER_H

#include "harness/model/config.h"

enum { SF_MIXER_INPUTS = 4 };

struct sf_mixer_sizes {
    int64_t in[SF_MIXER_INPUTS]; /* numbers of a row: of the gate, which are those of what is gated; and of what the recurrence reads; 0: none */
    int64_t state;               /* f32 numbers of a lane */
    int64_t matrices;            /* elements of the matrices that a row goes through, gate and output projection among them */
    int64_t vectors;             /* … of all other weights that the recurrence reads */
    int64_t flops;               /* of a row's recurrence, beside the matrices */
};

/* Of one recurrent layer; all 0 where no layer recurs. */
struct sf_mixer_sizes sf_mixer_sizes(const sf_model_config *c);

/* "short convolution", for messages; "" where no layer recurs. */
const char *sf_mixer_name(const sf_model_config *c);

#endif
