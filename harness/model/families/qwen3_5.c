/* Qwen3.5. Qwen team 2026; transformers 5: models/qwen3_5, models/qwen3_5_moe. Layers as Qwen3-Next's, one MLP for all rows or experts as
 * there; text of a multimodal model, whose rotation by three axes is the plain one where there are no pictures. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

static const char *const OWN[] = {"attention_bias", NULL};

static sf_status read_moe(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_family_delta_experts(at, c));
    c->router.normalize = true;
    return SF_OK;
}

/* llama.cpp's converter lays value heads out in the order in which their key heads come round. */
static sf_status read_tiled(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    SF_TRY(sf_family_gguf_delta(g, architecture, c));
    c->delta.tiled = c->delta.value_heads > c->delta.key_heads;
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c) { return read_tiled(g, "qwen35", c); }
static sf_status read_gguf_moe(const sf_gguf *g, sf_model_config *c) { return read_tiled(g, "qwen35moe", c); }

const sf_family sf_family_qwen3_5 = {
    .name = "qwen3_5",
    .qk_norm = true, .norm_offset = 1, .predicts_further = true,

    .model_type = {"qwen3_5_text"},
    .wrapper = "qwen3_5",
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                         "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 12288, "linear_conv_kernel_dim": 4,
                         "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
                         "linear_num_value_heads": 32, "full_attention_interval": 4}),
    .theta = 10000,
    .partial_rotary = 0.25,
    .layer_types = true,
    .recurrent_type = "linear_attention",
    .own = OWN,
    .unpack = sf_unpack_qwen3_5,
    .read = sf_family_delta,

    .gguf = "qwen35", .gguf_sections = true,
    .read_gguf = read_gguf,
    .tensor = sf_delta_tensors,
};

const sf_family sf_family_qwen3_5_moe = {
    .name = "qwen3_5_moe",
    .qk_norm = true, .norm_offset = 1, .predicts_further = true,

    .model_type = {"qwen3_5_moe_text"},
    .wrapper = "qwen3_5_moe",
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                         "num_key_value_heads": 2, "head_dim": 256, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
                         "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
                         "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "intermediate_size": 512,
                         "num_experts_per_tok": 8, "num_experts": 256, "full_attention_interval": 4}),
    .theta = 10000,
    .partial_rotary = 0.25,
    .layer_types = true,
    .recurrent_type = "linear_attention",
    .own = OWN,
    .unpack = sf_unpack_qwen3_5_moe,
    .read = read_moe,

    .gguf = "qwen35moe", .gguf_sections = true,
    .read_gguf = read_gguf_moe,
    .tensor = sf_delta_tensors,
};
