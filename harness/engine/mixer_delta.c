/* Gated DeltaNet (Yang et al. 2024, arXiv 2412.06464), as Qwen3-Next and Qwen3.5 have it: q, k and v of a row go through a short
 * convolution with SiLU, then each value head's state forgets, and is corrected by what it says of the key (delta_rule() in
 * kernels/backend.h); what it says of the query is normed head by head, and gated by SiLU. The state: the convolution's last K - 1
 * rows, and a matrix [Dk, Dv] for each value head. */
#include "harness/engine/mixer.h"

static const sf_tensor none;

enum { GATE, QKV, DECAY, BETA };

static bool computed(const sf_backend_ops *ops) { return ops->convolve && ops->delta_rule; }

static sf_status project(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int64_t rows, const void *normed,
                         void *const *in)
{
    (void)c;
    SF_TRY(b->ops->linear(b, normed, rows, &w->mixer_gate, &none, false, in[GATE], b->activation));
    SF_TRY(b->ops->linear(b, normed, rows, &w->mixer_in, &none, false, in[QKV], b->activation));
    SF_TRY(b->ops->linear(b, normed, rows, &w->decay_in, &none, false, in[DECAY], b->activation));
    return b->ops->linear(b, normed, rows, &w->beta_in, &none, false, in[BETA], b->activation);
}

static sf_status advance(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int lanes, float *const *state, int64_t rows,
                         void *const *in, void *room)
{
    const int channels = (int)sf_mixer_sizes(c).in[QKV];
    const int64_t n = lanes * rows, heads = c->delta.value_heads;
    float *matrix[lanes];
    for (int l = 0; l < lanes; l++) matrix[l] = state[l] + (int64_t)(c->kernel - 1) * channels;
    SF_TRY(b->ops->convolve(b, lanes, state, rows, channels, &w->convolution, &none, true, in[QKV], in[QKV]));
    SF_TRY(b->ops->delta_rule(b, lanes, matrix, rows, c->delta, in[QKV], in[DECAY], in[BETA], &w->decay_rate, &w->decay_shift, room));
    SF_TRY(b->ops->rms_norm(b, room, b->activation, n * heads, c->delta.value_dim, &w->mixer_norm, 0, (float)c->norm_eps, room));
    return b->ops->gated(b, in[GATE], room, n, (int)sf_mixer_sizes(c).in[GATE], (sf_curve){.kind = SF_SILU});
}

const sf_mixer sf_mixer_delta = {.computed = computed, .project = project, .advance = advance};
