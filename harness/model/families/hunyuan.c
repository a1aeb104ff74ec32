/* Hunyuan, dense. Tencent Hunyuan Team 2025, github.com/Tencent-Hunyuan; transformers 5: models/hunyuan_v1_dense. Its published
 * files call positions "dynamic" with a fixed alpha, which is another base and nothing dynamic. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_hunyuan = {
    .name = "hunyuan",
    .qk_norm = true, .norm_after_rope = true,

    .model_type = {"hunyuan_v1_dense"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false}),
    .theta = 10000,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(q_norm), .hf = "self_attn.query_layernorm.weight"},
        {SF_LAYER_TENSOR(k_norm), .hf = "self_attn.key_layernorm.weight"},
        {0}},
};
