/* Bamba. IBM, Princeton, CMU and UIUC 2024, huggingface.co/blog/bamba; transformers 5: models/bamba. A state space (Mamba 2) in most
 * layers, attention that rotates half of each head in the others. llama.cpp calls it granitehybrid (granite.c). */
#include "harness/model/family.h"

#include <string.h>

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_family_biases(at, c));
    memset(c->recurs, 1, (size_t)c->layers);
    SF_TRY(sf_family_attending(at, "attn_layer_indices", c));
    return sf_family_state_space(at, c);
}

const sf_family sf_family_bamba = {
    .name = "bamba",

    .model_type = {"bamba"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 262144, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
                         "intermediate_size": 14336, "num_key_value_heads": 8, "mamba_n_heads": 128, "mamba_n_groups": 1,
                         "mamba_d_state": 256, "mamba_d_head": "auto", "mamba_d_conv": 4, "mamba_expand": 2,
                         "mamba_conv_bias": true, "mamba_proj_bias": false}),
    .theta = 10000,
    .partial_rotary = 0.5,
    .final_norm = "final_layernorm.weight",
    .refused = (const char *const[]){"mlp_bias", NULL},
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .tensor = (const sf_tensor_name[]){
        SF_STATE_SPACE_TENSORS,
        {SF_LAYER_TENSOR(convolution), .hf = "mamba.conv1d.weight"},
        {SF_LAYER_TENSOR(mlp_norm), .hf = "pre_ff_layernorm.weight"},
        {SF_LAYER_TENSOR(gate), .hf = "feed_forward.gate_proj.weight"},
        {SF_LAYER_TENSOR(up), .hf = "feed_forward.up_proj.weight"},
        {SF_LAYER_TENSOR(down), .hf = "feed_forward.down_proj.weight"},
        {0}},
};
