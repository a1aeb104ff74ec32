/* Mamba 2 (Dao and Gu 2024, arXiv 2405.21060), as Granite 4, Bamba and Falcon-H1 have it: what heads write, and B and C of their groups, go
 * through a short convolution with SiLU; each head's state decays, takes B ⊗ v in, and gives what C asks of it (state_space() in
 * kernels/backend.h); that is gated by SiLU, and then normed, group by group, or left so. The state: the convolution's last K - 1 rows, and a matrix
 * [Dk, Dv] for each head. */
#include "harness/engine/mixer.h"

static const sf_tensor none;

enum { GATE, VBC, STEP };

static bool computed(const sf_backend_ops *ops) { return ops->convolve && ops->state_space; }

static sf_status project(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int64_t rows, const void *normed,
                         void *const *in)
{
    const float by = c->multipliers.step;
    SF_TRY(b->ops->linear(b, normed, rows, &w->mixer_gate, &none, false, in[GATE], b->activation));
    SF_TRY(b->ops->linear(b, normed, rows, &w->mixer_in, &none, false, in[VBC], b->activation));
    SF_TRY(b->ops->linear(b, normed, rows, &w->decay_in, &none, false, in[STEP], b->activation));
    if (by == 0) return SF_OK;
    return b->ops->gated(b, in[STEP], NULL, rows, c->delta.value_heads, (sf_curve){.kind = SF_XIELU, .p = {0, 0, by, 0}}); /* by x, unbent */
}

/* x [rows, width] = each of the `groups` equal parts of a row, normed by itself. room [rows, width]. */
static sf_status norm_groups(sf_backend *b, const sf_tensor *weight, int groups, float eps, int64_t rows, void *x, void *room)
{
    const int64_t width = weight->dim[0], own = width / groups;
    if (groups == 1) return b->ops->rms_norm(b, x, b->activation, rows, (int)width, weight, 0, eps, x);
    for (int g = 0; g < groups; g++) {
        const sf_tensor part = {(char *)weight->data + sf_bytes(weight->dtype, g * own), weight->dtype, 1, {own}};
        void *at = (char *)x + sf_bytes(b->activation, g * own);
        SF_TRY(b->ops->copy_columns(b, at, width, rows, own, room, own));
        SF_TRY(b->ops->rms_norm(b, room, b->activation, rows, (int)own, &part, 0, eps, room));
        SF_TRY(b->ops->copy_columns(b, room, own, rows, own, at, width));
    }
    return SF_OK;
}

static sf_status advance(sf_backend *b, const sf_model_config *c, const sf_layer_weights *w, int lanes, float *const *state, int64_t rows,
                         void *const *in, void *room)
{
    const struct sf_mixer_sizes sizes = sf_mixer_sizes(c);
    const int64_t n = lanes * rows;
    float *matrix[lanes];
    for (int l = 0; l < lanes; l++) matrix[l] = state[l] + (c->kernel - 1) * sizes.in[VBC];
    SF_TRY(b->ops->convolve(b, lanes, state, rows, (int)sizes.in[VBC], &w->convolution, &w->convolution_bias, true, in[VBC], in[VBC]));
    SF_TRY(b->ops->state_space(b, lanes, matrix, rows, c->delta, in[VBC], in[STEP], &w->decay_rate, &w->decay_shift, &w->skip, room));
    const float by = c->multipliers.mixer_gate;
    if (by != 0) SF_TRY(b->ops->gated(b, in[GATE], NULL, n, (int)sizes.in[GATE], sf_silu_of(by)));
    SF_TRY(b->ops->gated(b, in[GATE], room, n, (int)sizes.in[GATE], (sf_curve){.kind = by != 0 ? SF_IDENTITY : SF_SILU}));
    if (c->no_mixer_norm) return SF_OK;
    return norm_groups(b, &w->mixer_norm, c->delta.key_heads, (float)c->norm_eps, n, in[GATE], room);
}

const sf_mixer sf_mixer_space = {.computed = computed, .project = project, .advance = advance};
