/* DeepSeek V3, V3.1 and R1, and Kimi K2, which is of the same code. DeepSeek-AI 2024, arXiv 2412.19437; transformers 5:
 * models/deepseek_v3. Latent attention; experts by sigmoids with a correction, from the best groups, beside one that all rows share. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <string.h>

/* Files repeat what the class knows; one that says otherwise is of another graph. */
static sf_status expect(sf_json_at at, const char *key, const char *value)
{
    const char *found = value;
    SF_TRY(sf_json_text(at, key, false, &found));
    return strcmp(found, value) == 0 ? SF_OK : sf_json_fail(SF_UNSUPPORTED, at, key, value);
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(expect(at, "scoring_func", "sigmoid"));
    SF_TRY(expect(at, "topk_method", "noaux_tc"));
    SF_TRY(sf_family_deepseek_experts(at, c));
    SF_TRY(sf_json_bool(at, "rope_interleave", true, &c->rope_interleaved));
    return sf_family_latent(at, c);
}

const sf_family sf_family_deepseek_v3 = {
    .name = "deepseek_v3",
    .latent = true,
    .predicts_further = true,

    .model_type = {"deepseek_v3", "kimi_k2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                         "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                         "num_key_value_heads": 128, "n_routed_experts": 256, "n_shared_experts": 1, "moe_intermediate_size": 2048,
                         "num_experts_per_tok": 8, "first_k_dense_replace": 3, "routed_scaling_factor": 2.5, "n_group": 8,
                         "topk_group": 4, "norm_topk_prob": true, "rope_interleave": true}),
    .theta = 10000,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,
    .unpack = sf_unpack_latent,
    .tensor = sf_latent_tensors,
};
