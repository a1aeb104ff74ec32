/* StarCoder 2. Lozhkov et al. 2024, arXiv 2402.19173; transformers 5: models/starcoder2. LayerNorm, biases everywhere, GELU
 * without a gate. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "use_bias", false, &c->qkv_bias));
    c->o_bias = c->mlp_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_starcoder2 = {
    .name = "starcoder2",
    .layer_norm = true, .norm_bias = true, .gateless = true, .activation = SF_GELU_TANH,

    .model_type = {"starcoder2"},
    .defaults = SF_JSON({"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 4096, "norm_epsilon": 1e-5,
                         "tie_word_embeddings": true, "num_key_value_heads": 2, "use_bias": true}),
    .theta = 10000,
    .norm_eps_key = "norm_epsilon",
    .sliding = SF_EVERY_LAYER_SLIDES,
    .own = (const char *const[]){"use_bias", NULL},
    .read = read,

    .gguf = "starcoder2",
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(up), .hf = "mlp.c_fc.weight"},
        {SF_LAYER_TENSOR(up_bias), .hf = "mlp.c_fc.bias"},
        {SF_LAYER_TENSOR(down), .hf = "mlp.c_proj.weight"},
        {SF_LAYER_TENSOR(down_bias), .hf = "mlp.c_proj.bias"},
        {0}},
};
