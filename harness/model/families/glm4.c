/* GLM-4-0414. Zhipu 2025, github.com/zai-org/GLM-4; transformers 5: models/glm4. GLM with norms also on what attention and MLP
 * give. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c) { return sf_json_bool(at, "attention_bias", false, &c->qkv_bias); }

const sf_family sf_family_glm4 = {
    .name = "glm4",
    .neighbours = true, .post_norms = true,

    .model_type = {"glm4"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1.5625e-07,
                         "tie_word_embeddings": false, "num_key_value_heads": 2, "head_dim": 128, "attention_bias": true}),
    .theta = 10000,
    .partial_rotary = 0.5,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .gguf = "glm4",
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(gate), .hf = "mlp.gate_up_proj.weight", .gguf = "ffn_up.weight"},
        {SF_LAYER_TENSOR(up), .hf = "mlp.gate_up_proj.weight", .gguf = "ffn_up.weight"},
        {SF_LAYER_TENSOR(post_attention_norm), .hf = "post_self_attn_layernorm.weight"},
        {SF_LAYER_TENSOR(post_mlp_norm), .hf = "post_mlp_layernorm.weight"},
        {0}},
};
