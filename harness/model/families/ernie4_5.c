/* ERNIE 4.5, dense. ERNIE Team 2025, "ERNIE 4.5 Technical Report"; transformers 5: models/ernie4_5. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "use_bias", false, &c->qkv_bias));
    c->o_bias = c->mlp_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_ernie4_5 = {
    .name = "ernie4_5",
    .neighbours = true,

    .model_type = {"ernie4_5"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": true, "num_key_value_heads": 2, "head_dim": 128}),
    .theta = 5e5,
    .own = (const char *const[]){"use_bias", NULL},
    .read = read,

    .gguf = "ernie4_5",
};
