/* Qwen3-30B-A3B and 235B-A22B. Yang et al. 2025, arXiv 2505.09388; transformers 5: models/qwen3_moe. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return sf_family_experts(at, c);
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c) { return sf_family_gguf_experts(g, "qwen3moe", c); }

const sf_family sf_family_qwen3_moe = {
    .name = "qwen3_moe",
    .qk_norm = true,

    .model_type = {"qwen3_moe"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 4, "use_sliding_window": false,
                         "sliding_window": 4096, "moe_intermediate_size": 768, "num_experts_per_tok": 8,
                         "norm_topk_prob": false, "decoder_sparse_step": 1}),
    .theta = 10000,
    .sliding = SF_EVERY_LAYER_SLIDES,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .gguf = "qwen3moe",
    .read_gguf = read_gguf,
};
