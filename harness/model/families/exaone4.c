/* EXAONE 4. LG AI Research 2025, arXiv 2507.11407; transformers 5: models/exaone4. Norms stand on what attention and MLP give,
 * and not before them; where some layers slide, the others have no positions. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    bool hybrid = sf_json_value(at, "sliding_window") != NULL;
    for (int l = 0; l < c->layers; l++) c->unrotated[l] = hybrid && !c->sliding[l];
    return SF_OK;
}

const sf_family sf_family_exaone4 = {
    .name = "exaone4",
    .qk_norm = true, .post_norms = true, .no_pre_norms = true,

    .model_type = {"exaone4"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "num_key_value_heads": 32, "sliding_window": 4096,
                         "sliding_window_pattern": 4}),
    .theta = 10000,
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .read = read,
};
