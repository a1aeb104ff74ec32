/* GLM-4.5 and 4.6. GLM Team 2025, arXiv 2508.06471; transformers 5: models/glm4_moe. Experts as DeepSeek V3's: chosen by sigmoids
 * with a correction, beside one that all share; the first layers are dense. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    SF_TRY(sf_json_bool(at, "use_qk_norm", false, &c->qk_norm));
    return sf_family_deepseek_experts(at, c);
}

const sf_family sf_family_glm4_moe = {
    .name = "glm4_moe",
    .predicts_further = true,

    .model_type = {"glm4_moe"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "num_key_value_heads": 8, "use_qk_norm": false,
                         "moe_intermediate_size": 1408, "num_experts_per_tok": 8, "n_shared_experts": 1,
                         "n_routed_experts": 128, "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1,
                         "first_k_dense_replace": 1, "norm_topk_prob": true}),
    .theta = 10000,
    .partial_rotary = 0.5,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,
};
