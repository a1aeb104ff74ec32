#include "harness/engine/mixer.h"

const sf_mixer *sf_mixer_of(const sf_model_config *c)
{
    switch (c->mixer) {
    case SF_SHORT_CONVOLUTION: return &sf_mixer_convolution;
    case SF_GATED_DELTA: return &sf_mixer_delta;
    case SF_STATE_SPACE: return &sf_mixer_space;
    }
    return NULL;
}
