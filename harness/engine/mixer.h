/* What stands in the place of attention, or beside it, in a layer that recurs: a mixer, a file each (mixer_*.c). It reads normed rows,
 * and carries a state of fixed size over the rows of a lane (sizes: harness/model/mixer.h). A prompt's rows go through it at once, a step
 * of decode is one row of each of several lanes; both are the same function, so that what a lane gets does not depend on how its rows
 * came. */
#ifndef SF_ENGINE_MIXER_H
#define SF_ENGINE_MIXER_H

#include <math.h>

#include "harness/model/mixer.h"
#include "harness/model/model.h"

typedef struct sf_mixer {
    bool (*computed)(const sf_backend_ops *ops); /* whether a backend has what this takes */

    /* in[i] [rows, sizes.in[i]] activation, of normed [rows, d]: the gate, and what the recurrence reads. */
    sf_status (*project)(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int64_t rows, const void *normed,
                         void *const *in);

    /* in[0] [lanes · rows, sizes.in[0]] = what the output projection reads: the recurrence over `rows` rows of each lane, from state[l]
     * [sizes.state] on, which goes with them, and the gate that stood there. state: host's array of backend memory, 0 before a lane's
     * first row. The others of `in`, and room [lanes · rows, sizes.in[0]], are left as they may be. */
    sf_status (*advance)(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int lanes, float *const *state, int64_t rows,
                         void *const *in, void *room);
} sf_mixer;

extern const sf_mixer sf_mixer_convolution, sf_mixer_delta, sf_mixer_space;

/* x σ(m x), which is SiLU of m x over m. */
static inline sf_curve sf_silu_of(float m) { return (sf_curve){.kind = SF_CLAMPED, .p = {m, INFINITY}}; }

/* Of a model that has layers which recur. */
const sf_mixer *sf_mixer_of(const sf_model_config *c);

#endif
