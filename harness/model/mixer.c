#include "harness/model/mixer.h"

struct sf_mixer_sizes sf_mixer_sizes(const sf_model_config *c)
{
    const int64_t d = c->d, before = c->kernel - 1;
    const sf_delta_shape *s = &c->delta;
    if (c->kernel == 0) return (struct sf_mixer_sizes){0};
    if (c->mixer == SF_SHORT_CONVOLUTION)
        return (struct sf_mixer_sizes){.in = {d, d}, .state = before * d, .matrices = 4 * d * d, .vectors = c->kernel * d, .flops = 2 * c->kernel * d};

    if (c->mixer == SF_STATE_SPACE) {
        const int64_t heads = s->value_heads, out = heads * s->value_dim, in = out + 2 * (int64_t)s->key_heads * s->key_dim, held = s->key_dim * out;
        return (struct sf_mixer_sizes){.in = {out, in, heads},
                                       .state = before * in + held,
                                       .matrices = d * (2 * out + in + heads),
                                       .vectors = (c->kernel + c->convolution_bias) * in + 3 * heads + (c->no_mixer_norm ? 0 : out),
                                       .flops = 2 * c->kernel * in + 5 * held + 2 * out};
    }
    const int64_t heads = s->value_heads, out = heads * s->value_dim, in = 2 * (int64_t)s->key_heads * s->key_dim + out, held = s->key_dim * out;
    return (struct sf_mixer_sizes){.in = {out, in, heads, heads},
                                   .state = before * in + held,
                                   .matrices = d * (2 * out + in + 2 * heads),
                                   .vectors = c->kernel * in + 2 * heads + s->value_dim,
                                   .flops = 2 * c->kernel * in + 7 * held};
}

const char *sf_mixer_name(const sf_model_config *c)
{
    if (c->kernel == 0) return "";
    static const char *const NAMES[] = {
        [SF_SHORT_CONVOLUTION] = "short convolution", [SF_GATED_DELTA] = "gated delta rule", [SF_STATE_SPACE] = "state space"};
    return NAMES[c->mixer];
}
