/* The short convolution of LFM2 (arXiv 2511.23404, section 2): C ⊙ conv(B ⊙ x), with B, C and x projections of a row, and a causal
 * convolution of each channel over K rows. Its state are the last K - 1 rows of B ⊙ x. */
#include "harness/engine/mixer.h"

static const sf_curve as_it_is = {.kind = SF_IDENTITY};
static const sf_tensor none;

enum { GATE, X };

static bool computed(const sf_backend_ops *ops) { return ops->convolve != NULL; }

static sf_status project(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int64_t rows, const void *normed,
                         void *const *in)
{
    SF_TRY(b->ops->linear(b, normed, rows, &w->mixer_by, &none, false, in[GATE], b->activation));
    SF_TRY(b->ops->linear(b, normed, rows, &w->mixer_in, &none, false, in[X], b->activation));
    SF_TRY(b->ops->gated(b, in[X], in[GATE], rows, c->d, as_it_is));
    return b->ops->linear(b, normed, rows, &w->mixer_gate, &none, false, in[GATE], b->activation);
}

static sf_status advance(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int lanes, float *const *state, int64_t rows,
                         void *const *in, void *room)
{
    SF_TRY(b->ops->convolve(b, lanes, state, rows, c->d, &w->convolution, &none, false, in[X], room));
    return b->ops->gated(b, in[GATE], room, lanes * rows, c->d, as_it_is);
}

const sf_mixer sf_mixer_convolution = {.computed = computed, .project = project, .advance = advance};
