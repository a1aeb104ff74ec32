/* Qwen1.5-MoE and Qwen2-57B-A14B. Yang et al. 2024, arXiv 2407.10671; transformers 5: models/qwen2_moe. Beside the experts that
 * a row chooses goes one that all share, counted by a sigmoid. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    bool slides = false;
    int64_t shared = 0;
    SF_TRY(sf_json_bool(at, "qkv_bias", false, &c->qkv_bias));
    SF_TRY(sf_json_bool(at, "use_sliding_window", false, &slides));
    if (slides && !sf_json_value(at, "layer_types"))
        return sf_json_fail(SF_UNSUPPORTED, at, "use_sliding_window", "false, or layer_types beside it");
    SF_TRY(sf_json_int(at, "shared_expert_intermediate_size", true, 1, 1 << 24, &shared));
    c->shared_mlp = (int)shared;
    c->shared_switch = true;
    return sf_family_experts(at, c);
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    SF_TRY(sf_family_gguf_experts(g, "qwen2moe", c));
    SF_TRY(sf_gguf_int(g, "qwen2moe.expert_shared_feed_forward_length", true, 1, 1 << 24, &c->shared_mlp));
    c->shared_switch = true;
    c->router.normalize = false;
    return SF_OK;
}

const sf_family sf_family_qwen2_moe = {
    .name = "qwen2_moe",

    .model_type = {"qwen2_moe"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 16, "qkv_bias": true,
                         "use_sliding_window": false, "sliding_window": 4096, "moe_intermediate_size": 1408,
                         "shared_expert_intermediate_size": 5632, "num_experts_per_tok": 4, "num_experts": 60,
                         "norm_topk_prob": false, "decoder_sparse_step": 1}),
    .theta = 10000,
    .layer_types = true,
    .read = read,

    .gguf = "qwen2moe",
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(shared_gate), .hf = "mlp.shared_expert.gate_proj.weight"},
        {SF_LAYER_TENSOR(shared_up), .hf = "mlp.shared_expert.up_proj.weight"},
        {SF_LAYER_TENSOR(shared_down), .hf = "mlp.shared_expert.down_proj.weight"},
        {0}},
};
