#include "harness/model/model.h"

#include <stdio.h>

sf_status sf_model_dual_chunks(sf_model *m, sf_reach asked)
{
    sf_model_config *c = &m->config;
    bool by_rule = c->rope.scaling == SF_ROPE_YARN && c->rope.factor == 0, reaches = false;
    int trained = by_rule ? c->rope.original_positions : c->max_position;
    if (trained < 2)
        return sf_fail(SF_BAD_INPUT, "model '%s': dual chunks: its files do not say how many positions it was trained at", c->name);
    for (int layer = 0; layer < c->layers; layer++) reaches |= sf_layer_full(c, layer) && !c->unrotated[layer];
    if (!reaches)
        return sf_fail(SF_BAD_INPUT, "model '%s': dual chunks: no layer has both full attention and rotary positions", c->name);
    if (asked.chunk == 0) asked = (sf_reach){trained * 3 / 4 > 1 ? trained * 3 / 4 : 1, trained - 1};
    bool fits = asked.chunk >= 1 && asked.cap >= asked.chunk - 1 && asked.cap <= 2 * (int64_t)asked.chunk && asked.cap < trained;
    if (!fits)
        return sf_fail(SF_BAD_INPUT, "model '%s': dual chunks of %d keys and a cap of %d; expected a cap from chunk - 1 to twice the "
                                     "chunk, and at most %d, the last trained position", c->name, asked.chunk, asked.cap, trained - 1);
    if (by_rule) c->rope = (sf_rope_config){.theta = c->rope.theta, .factor = 1};
    c->reach = asked;
    c->max_position = 0;
    char text[64];
    sf_hash_fold(m->hash, text, (size_t)snprintf(text, sizeof text, "dual chunks %d %d", asked.chunk, asked.cap));
    return SF_OK;
}
