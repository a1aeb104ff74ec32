/* Llama 4's experts. */
#include "harness/model/unpack.h"

#include <stdio.h>

sf_status sf_unpack_llama4(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c)
{
    static const char *const TO[] = {"gate", "up", "down"}, *const FROM[] = {"gate_up_proj", "gate_up_proj", "down_proj"};
    const int64_t experts = c->router.experts, m = c->expert_mlp, d = c->d;
    sf_unpack u = {.folder = folder};
    sf_status status = SF_OK;
    for (int l = 0; l < c->layers; l++) {
        for (int part = 0; sf_layer_mixes(c, l) && status == SF_OK && part < 3; part++) {
            const bool down = part == 2;
            char name[192];
            sf_unpack_item i = {.to = {.dtype = SF_BF16, .rank = 3, .dim = {experts, down ? d : m, down ? m : d}},
                                .fill = sf_unpack_transposed, .which = part == 1};
            snprintf(i.name, sizeof i.name, "%slayers.%d.feed_forward.experts.%s", prefix, l, TO[part]);
            snprintf(name, sizeof name, "%slayers.%d.feed_forward.experts.%s", prefix, l, FROM[part]);
            status = sf_unpack_take(s, folder, name, "BF16", 3, (int64_t[]){experts, down ? m : d, down ? d : 2 * m}, &i.from[0]);
            if (status == SF_OK) status = sf_unpack_add(&u, &i);
        }
    }
    return sf_unpack_run(&u, status, s);
}
