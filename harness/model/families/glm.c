/* GLM-4 9B. Team GLM 2024, arXiv 2406.12793; transformers 5: models/glm. Llama, of whose heads the first half is rotated, by
 * neighbours; gate and up are one tensor. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c) { return sf_json_bool(at, "attention_bias", false, &c->qkv_bias); }

const sf_family sf_family_glm = {
    .name = "glm",
    .neighbours = true,

    .model_type = {"glm"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1.5625e-07,
                         "tie_word_embeddings": false, "num_key_value_heads": 2, "head_dim": 128, "attention_bias": true}),
    .theta = 10000,
    .partial_rotary = 0.5,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(gate), .hf = "mlp.gate_up_proj.weight"},
        {SF_LAYER_TENSOR(up), .hf = "mlp.gate_up_proj.weight"},
        {0}},
};
