/* Qwen3.5, its dense models. Qwen team 2026; transformers 5: models/qwen3_5. Layers as Qwen3-Next's, one MLP for all rows; text of a
 * multimodal model, whose rotation by three axes is the plain one where there are no pictures. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

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
    .own = (const char *const[]){"attention_bias", NULL},
    .unpack = sf_unpack_qwen3_5,
    .read = sf_family_delta,
};
