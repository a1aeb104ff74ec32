/* Seed-OSS. ByteDance Seed 2025, github.com/ByteDance-Seed/seed-oss; transformers 5: models/seed_oss. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_family_biases(at, c));
    c->o_bias = false;
    return sf_json_bool(at, "attention_out_bias", false, &c->o_bias);
}

const sf_family sf_family_seed_oss = {
    .name = "seed_oss",

    .model_type = {"seed_oss"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 524288, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 8, "head_dim": 128,
                         "attention_bias": true, "attention_out_bias": false}),
    .theta = 10000,
    .own = (const char *const[]){"attention_bias", "attention_out_bias", "mlp_bias", NULL},
    .read = read,

    .gguf = "seed_oss",
    .tensor = (const sf_tensor_name[]){{SF_LAYER_TENSOR(mlp_norm), .gguf = "post_attention_norm.weight"}, {0}},
};
