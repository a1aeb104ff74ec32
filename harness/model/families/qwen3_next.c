/* Qwen3-Next-80B-A3B. Qwen team 2025, qwen.ai/blog; transformers 5: models/qwen3_next. Gated DeltaNet in three of four layers, attention
 * with a gate and a rotation of a quarter of each head in the fourth, experts beside one that all rows share. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c) { return sf_family_gguf_delta(g, "qwen3next", c); }

const sf_family sf_family_qwen3_next = {
    .name = "qwen3_next",
    .qk_norm = true, .norm_offset = 1, .predicts_further = true,

    .model_type = {"qwen3_next"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                         "num_key_value_heads": 2, "head_dim": 256, "intermediate_size": 5632, "linear_conv_kernel_dim": 4,
                         "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
                         "linear_num_value_heads": 32, "decoder_sparse_step": 1, "moe_intermediate_size": 512,
                         "shared_expert_intermediate_size": 512, "num_experts_per_tok": 10, "num_experts": 512,
                         "norm_topk_prob": true, "full_attention_interval": 4}),
    .theta = 10000,
    .partial_rotary = 0.25,
    .layer_types = true,
    .recurrent_type = "linear_attention",
    .own = (const char *const[]){"attention_bias", NULL},
    .unpack = sf_unpack_qwen3_next,
    .read = sf_family_delta_experts,

    .gguf = "qwen3next",
    .read_gguf = read_gguf,
    .tensor = sf_delta_tensors,
};
