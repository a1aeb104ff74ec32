/* GLM-4.7-Flash. Z.ai 2026, after arXiv 2508.06471; transformers 5: models/glm4_moe_lite. DeepSeek V3's attention and experts; which
 * layers are dense is a list. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <string.h>

static sf_status read_layers(sf_json_at at, sf_model_config *c)
{
    const json_t *types = sf_json_value(at, "mlp_layer_types");
    if (!types) return c->layers > 0 && c->whole_mlp[0] && (c->layers == 1 || !c->whole_mlp[1])
                           ? SF_OK : sf_json_fail(SF_UNSUPPORTED, at, "first_k_dense_replace", "1, as the class has it, or mlp_layer_types");
    if (!json_is_array(types) || json_array_size(types) != (size_t)c->layers)
        return sf_json_fail(SF_BAD_INPUT, at, "mlp_layer_types", "a list of dense and sparse, one a layer");
    for (int l = 0; l < c->layers; l++) {
        const char *type = json_string_value(json_array_get(types, (size_t)l));
        c->whole_mlp[l] = type && strcmp(type, "dense") == 0;
        if (!c->whole_mlp[l] && !(type && strcmp(type, "sparse") == 0))
            return sf_json_fail(SF_UNSUPPORTED, at, "mlp_layer_types", "only dense and sparse");
    }
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_family_deepseek_experts(at, c));
    SF_TRY(read_layers(at, c));
    SF_TRY(sf_json_bool(at, "rope_interleave", true, &c->rope_interleaved));
    return sf_family_latent(at, c);
}

const sf_family sf_family_glm4_moe_lite = {
    .name = "glm4_moe_lite",
    .latent = true,
    .predicts_further = true,

    .model_type = {"glm4_moe_lite"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 202752, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
                         "kv_lora_rank": 512, "q_lora_rank": 768, "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
                         "num_key_value_heads": 20, "n_routed_experts": 64, "n_shared_experts": 1, "moe_intermediate_size": 1536,
                         "num_experts_per_tok": 4, "first_k_dense_replace": 1, "routed_scaling_factor": 1.8, "n_group": 1,
                         "topk_group": 1, "norm_topk_prob": true, "rope_interleave": true}),
    .theta = 10000,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,
    .unpack = sf_unpack_latent,
    .tensor = sf_latent_tensors,
};
