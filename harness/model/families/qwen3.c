/* Qwen3, dense. Yang et al. 2025, arXiv 2505.09388; transformers 5: models/qwen3. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_qwen3 = {
    .name = "qwen3",
    .qk_norm = true,

    .model_type = {"qwen3"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 32, "head_dim": 128,
                         "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}),
    .theta = 10000,
    .sliding = SF_SLIDES_FROM_LAYER,
    .layer_types = true,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .gguf = "qwen3",
};
